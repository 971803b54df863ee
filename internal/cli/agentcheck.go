package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"signalbox/config"
)

// agentCheck is the answer of agent-model-check (contract §1).
type agentCheck struct {
	UseProxy        bool   `json:"useProxy"`
	Model           string `json:"model"`    // provider/model; empty when the agent keeps its Claude
	Provider        string `json:"provider"` // empty likewise
	ProxyURL        string `json:"proxyUrl"`
	FallbackEnabled bool   `json:"fallbackEnabled"` // another target answers when this one cannot
	Banner          string `json:"banner"`          // one line for people
}

func newAgentModelCheckCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent-model-check --agent NAME",
		Short: "Tell a launcher which model an agent gets here",
		Long: `Print one JSON object that tells a launcher whether an agent (command, skill, hook) runs on a model of its own in this folder:
useProxy, model, provider, proxyUrl, fallbackEnabled, banner. The folder's files, the user's and the configuration are read; nothing
is sent. useProxy is false when there is no entry, or when the entry is claude. Exit code 0 either way, 2 when the configuration is broken.`,
		Args: cobra.NoArgs,
	}
	names := map[string]*string{}
	for _, key := range []string{"agents", "commands", "skills", "hooks"} {
		kind := kindOf[key]
		names[key] = cmd.Flags().String(kind, "", "the `NAME` of the "+kind)
	}
	cmd.MarkFlagsMutuallyExclusive("agent", "command", "skill", "hook")
	port := addPort(cmd)
	addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load(env)
		if err != nil {
			return err
		}
		g, err := find(env, cmd, *port)
		if err != nil {
			return err
		}
		for key, entries := range cfg.Entries() {
			if name := *names[key]; cmd.Flags().Changed(kindOf[key]) && name != "" {
				a := checkAgent(cfg, entries, name)
				a.ProxyURL = g.url
				writeJSON(env.Stdout, a)
				return nil
			}
		}
		return failText(exitUsage, "say whom it is about: --agent NAME, or --command, --skill, --hook")
	}
	return cmd
}

// checkAgent answers for one name.
func checkAgent(cfg *config.Config, entries map[string]config.Entry, name string) agentCheck {
	_, e, ok := config.EntryFor(entries, name)
	target := cfg.Resolve(e.Target)
	if !ok || target == "claude" {
		return agentCheck{Banner: printable(name) + " runs on Claude, as without signalbox"}
	}
	a := agentCheck{UseProxy: true, Model: target, Provider: firstWord(target), FallbackEnabled: len(cfg.Chain(e)) > 0,
		Banner: fmt.Sprintf("%s runs on %s through signalbox", printable(name), target)}
	p := cfg.Providers[a.Provider]
	switch wrong := cfg.CheckTarget(e.Target); {
	case wrong != "": // a project's file names what this machine does not have; the gateway says the same with a 404
		a.Banner = fmt.Sprintf("%s is set to %s, which cannot serve: %s", printable(name), e.Target, wrong)
	case p.Local() && !priced(cfg, target):
		a.Banner += " ($0)"
	}
	return a
}

// priced reports whether the configuration has a price above zero for a local target.
func priced(cfg *config.Config, target string) bool {
	p, ok := cfg.PriceOf(target)
	return ok && !(free(string(p.Input)) && free(string(p.Output)))
}
