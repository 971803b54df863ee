package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"signalbox/config"
)

func newStatusCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the running gateway of a port",
		Long:  "Show the running gateway of a port: where it listens, since when, what it serves, and which files it was configured from.\nExit code 1 when none runs.",
		Args:  cobra.NoArgs,
	}
	port := addPort(cmd)
	addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		g, err := find(env, cmd, *port)
		if err != nil {
			return err
		}
		return status(env, cmd, g)
	}
	return cmd
}

// statusLine is what status prints for programs. What only the admin API knows is missing when it may not be asked.
type statusLine struct {
	Running     bool     `json:"running"`
	Port        int      `json:"port"`
	PID         int      `json:"pid"`
	URL         string   `json:"url"`
	Version     string   `json:"version,omitempty"`
	Uptime      int64    `json:"uptime_seconds"`
	Model       string   `json:"model"`
	Providers   []string `json:"providers,omitempty"`
	Discovered  bool     `json:"discovered"`
	Sources     []string `json:"sources"`
	Draining    bool     `json:"draining"`
	ConfigError string   `json:"config_error,omitempty"`
	Ledger      string   `json:"ledger,omitempty"`
}

func status(env *Env, cmd *cobra.Command, g *gateway) error {
	live, err := ask(g.url, "/livez", config.Secret{}, 2*time.Second)
	if err != nil || !live.ours {
		if g.running {
			return &ExitError{Code: exitFailure, Port: g.port, PID: g.record.PID,
				Err: fmt.Errorf("the gateway on port %d (pid %d) runs and does not answer at %s", g.port, g.record.PID, g.url)}
		}
		return &ExitError{Code: exitFailure, Err: errors.New(notRunning(g)), Port: g.port}
	}
	s := statusLine{Sources: []string{}}
	if a, err := ask(g.url, "/admin/v1/status", g.adminKey, 2*time.Second); err == nil && a.status == 200 {
		_ = json.Unmarshal(a.body, &s) // an older gateway says less
	} else {
		_ = json.Unmarshal(live.body, &s) // pid and version
	}
	s.Running, s.Port, s.URL = true, g.port, g.url
	if g.running {
		s.PID = g.record.PID
	}
	if asJSON(cmd) {
		writeJSON(env.Stdout, s)
		return nil
	}
	color := env.Color(env.Stdout)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(env.Stdout, "  %s %s\n", paint(color, styleFaint, fmt.Sprintf("%-10s", name)), value)
		}
	}
	state := paint(color, styleGood, "●") + " signalbox " + s.Version + " is running"
	if s.Draining {
		state = paint(color, styleBad, "●") + " signalbox " + s.Version + " is shutting down"
	}
	fmt.Fprintln(env.Stdout, state)
	row("url", paint(color, styleLink, s.URL))
	row("pid", fmt.Sprintf("%d, up %s", s.PID, time.Duration(s.Uptime)*time.Second))
	row("default", s.Model)
	row("providers", strings.Join(s.Providers, ", "))
	if len(s.Sources) > 0 {
		row("read from", strings.Join(s.Sources, ", "))
	} else if s.Discovered {
		row("read from", "no file; providers were found by themselves")
	}
	row("ledger", s.Ledger)
	if s.ConfigError != "" {
		row("error", paint(color, styleBad, printable(s.ConfigError)))
	}
	return nil
}
