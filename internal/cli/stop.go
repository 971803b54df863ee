package cli

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"signalbox/config"
)

func newStopCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Stop the gateway of a port",
		Long: `Stop the gateway of a port: SIGTERM to the process of its pid file, then wait until it has ended. Running answers are
finished first, so this takes as long as they do, at most its --grace. --timeout gives up waiting, not the stopping.`,
		Args: cobra.NoArgs,
	}
	port := addPort(cmd)
	wait := cmd.Flags().Duration("timeout", 40*time.Second, "how long to wait for its end")
	addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		g, err := find(env, cmd, *port)
		if err != nil {
			return err
		}
		return stop(env, cmd, g, *wait)
	}
	return cmd
}

func stop(env *Env, cmd *cobra.Command, g *gateway, wait time.Duration) error {
	if !g.running {
		return &ExitError{Code: exitFailure, Err: errors.New(notRunning(g)), Port: g.port}
	}
	pid := g.record.PID
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return &ExitError{Code: exitFailure, Err: fmt.Errorf("cannot stop pid %d: %w", pid, err), Port: g.port, PID: pid}
	}
	limit := time.NewTimer(wait)
	defer limit.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for g.record.running(env) {
		select {
		case <-look.C:
		case <-limit.C:
			return &ExitError{Code: exitFailure, Port: g.port, PID: pid,
				Err: fmt.Errorf("the gateway on port %d (pid %d) still finishes answers after %s; stop again to end it at once", g.port, pid, wait)}
		}
	}
	if machine(env, cmd) {
		writeJSON(env.Stdout, struct {
			Port    int  `json:"port"`
			PID     int  `json:"pid"`
			Stopped bool `json:"stopped"`
		}{g.port, pid, true})
		return nil
	}
	_, err := fmt.Fprintf(env.Stdout, "Stopped the gateway on port %d (pid %d).\n", g.port, pid)
	return err
}

// notRunning says that no gateway of ours runs there, and who has the port instead.
func notRunning(g *gateway) string {
	text := fmt.Sprintf("no gateway runs on port %d", g.port)
	if a, err := ask(g.url, "/livez", config.Secret{}, 500*time.Millisecond); err == nil && a.ours {
		return text + " with this state directory; one with another does"
	}
	if pid, name := portOwner(g.port); pid != 0 {
		return text + fmt.Sprintf("; %s (pid %d) has the port", strings.TrimSpace(name), pid)
	}
	return text
}
