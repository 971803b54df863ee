package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"signalbox/config"
	"signalbox/internal/routing"
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
		table, err := routing.NewTable(routing.SettingsOf(cfg))
		if err != nil {
			return fail(exitUsage, err)
		}
		for kind := range cfg.Entries() {
			if name := *names[kind]; cmd.Flags().Changed(kindOf[kind]) && name != "" {
				a := checkAgent(cfg, table, routing.Identity(kind, name), name)
				a.ProxyURL = g.url
				writeJSON(env.Stdout, a)
				return nil
			}
		}
		return failText(exitUsage, "say whom it is about: --agent NAME, or --command, --skill, --hook")
	}
	return cmd
}

// checkAgent answers for one identity, by the code that routes: its entry, else the default.
func checkAgent(cfg *config.Config, table *routing.Table, identity, name string) agentCheck {
	e, ok := table.Entry(identity)
	why := ""
	if !ok {
		e, why = config.Entry{Target: table.Default()}, ", the default"
	}
	target := cfg.Resolve(e.Target)
	if target == "" || target == routing.Claude {
		return agentCheck{Banner: printable(name) + " runs on Claude, as without signalbox"}
	}
	plan, err := table.Plan(routing.Query{Agent: identity, Model: "claude-x", OwnCredential: true})
	a := agentCheck{UseProxy: true, Model: target, Provider: firstWord(target), FallbackEnabled: err == nil && len(plan.Targets) > 1,
		Banner: fmt.Sprintf("%s runs on %s%s through signalbox", printable(name), target, why)}
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
