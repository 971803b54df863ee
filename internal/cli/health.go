package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"signalbox/config"
)

// healthLimit is above the 2 s that the gateway itself waits for its providers.
const healthLimit = 5 * time.Second

func newHealthCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Ask a running gateway whether it can take requests",
		Long: `Ask a running gateway whether it is ready (/readyz); with --providers, whether a target can serve (/health).
Exit codes: 0 healthy, 1 not running or not ready, 5 no target can serve. This is the check for containers.`,
		Args: cobra.NoArgs,
	}
	port := addPort(cmd)
	withProviders := cmd.Flags().Bool("providers", false, "ask the providers too")
	addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		g, err := find(env, cmd, *port)
		if err != nil {
			return err
		}
		if *withProviders {
			return providersHealth(env, cmd, g)
		}
		return ready(env, cmd, g)
	}
	return cmd
}

// ready asks /readyz.
func ready(env *Env, cmd *cobra.Command, g *gateway) error {
	a, err := ask(g.url, "/readyz", config.Secret{}, healthLimit)
	if err != nil || !a.ours {
		return unreachable(g)
	}
	if a.status != 200 {
		var why struct {
			Reason string `json:"reason"`
		}
		_ = json.Unmarshal(a.body, &why)
		return &ExitError{Code: exitFailure, Err: fmt.Errorf("the gateway on port %d is not ready: %s", g.port, why.Reason), Port: g.port, PID: g.record.PID}
	}
	if asJSON(cmd) {
		writeJSON(env.Stdout, map[string]any{"ready": true, "port": g.port, "url": g.url})
		return nil
	}
	_, err = fmt.Fprintf(env.Stdout, "%s %s is ready.\n", paint(env.Color(env.Stdout), styleGood, "✓"), g.url)
	return err
}

// health is the answer of /health (contract §2).
type health struct {
	Healthy   bool   `json:"healthy"`
	Status    string `json:"status"`
	Providers map[string]struct {
		Healthy   bool    `json:"healthy"`
		LatencyMS int64   `json:"latency_ms"`
		Error     *string `json:"error"`
	} `json:"providers"`
}

// providersHealth asks /health and shows each provider.
func providersHealth(env *Env, cmd *cobra.Command, g *gateway) error {
	a, err := ask(g.url, "/health", g.metricsKey, healthLimit)
	if err != nil || !a.ours {
		return unreachable(g)
	}
	var h health
	if json.Unmarshal(a.body, &h) != nil || h.Status == "" {
		return &ExitError{Code: exitFailure, Err: fmt.Errorf("/health answered %d; set metrics_key here as it is set there", a.status), Port: g.port}
	}
	if asJSON(cmd) {
		_, err = env.Stdout.Write(append(a.body[:len(a.body):len(a.body)], '\n'))
	} else {
		color := env.Color(env.Stdout)
		for _, name := range slices.Sorted(maps.Keys(h.Providers)) {
			p := h.Providers[name]
			mark, note := paint(color, styleGood, "✓"), fmt.Sprintf("%d ms", p.LatencyMS)
			if !p.Healthy {
				mark, note = paint(color, styleBad, "✗"), "not reachable"
				if p.Error != nil {
					note = printable(*p.Error)
				}
			}
			fmt.Fprintf(env.Stdout, "%s %-14s %s\n", mark, name, note)
		}
	}
	switch {
	case h.Healthy:
		return err
	case h.Status == "draining":
		return &ExitError{Code: exitFailure, Err: fmt.Errorf("the gateway on port %d is shutting down", g.port), Port: g.port}
	}
	return &ExitError{Code: exitNoTarget, Err: fmt.Errorf("no target of the gateway on port %d can serve", g.port), Port: g.port}
}

func unreachable(g *gateway) error {
	return &ExitError{Code: exitFailure, Err: fmt.Errorf("no gateway answers at %s; start one with: signalbox start", g.url), Port: g.port}
}
