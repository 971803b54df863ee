package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/providers"
	"signalbox/providers/ollama"
)

// How long a list of models may take: the gateway itself waits 2 s for its providers, and an Ollama answers from its disk.
const (
	gatewayListLimit = 5 * time.Second
	ollamaListLimit  = 2 * time.Second
)

func newModelsCommand(env *Env) *cobra.Command {
	list := newModelsListCommand(env)
	cmd := &cobra.Command{
		Use:   "models",
		Short: "Which model serves whom: show it, set it, test it",
		Long: `models shows which target serves each agent, command, skill and hook, and which models the providers offer.
set and unset write the user's ~/.oss/config.json (with --project the folder's .oss/config.json), which a running gateway watches.`,
		Example: `  signalbox models                                         what is set, and what there is
  signalbox models set oss:code-reviewer ollama/codellama  this agent runs on that model
  signalbox models set 'oss:*' fast --effort low           all of these on an alias
  signalbox models test ollama/codellama                   one tiny request to it
  signalbox models unset oss:code-reviewer`,
		Args: cobra.NoArgs,
		RunE: list.RunE,
	}
	cmd.Flags().AddFlagSet(list.Flags())
	costs := newCostsCommand(env)
	costs.Example = strings.ReplaceAll(costs.Example, "signalbox costs", "signalbox models costs")
	cmd.AddCommand(list, newModelsSetCommand(env), newModelsUnsetCommand(env), newModelsTestCommand(env), costs)
	return cmd
}

func newModelsListCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show what is configured and which models the providers offer",
		Long: `Show the entries of the configuration with the file that each comes from, and the models that the providers offer: those of
the gateway that runs on the port, else those of an Ollama that answers and those that the configuration names.`,
		Args: cobra.NoArgs,
	}
	provider := cmd.Flags().String("provider", "", "show this `PROVIDER` alone")
	port := addPort(cmd)
	addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := load(env)
		if err != nil {
			return err
		}
		if _, ok := cfg.Providers[*provider]; !ok && *provider != "" {
			return fail(exitUsage, fmt.Errorf("--provider: no provider is named %q; there are %s", *provider, strings.Join(cfg.ProviderNames(), ", ")))
		}
		g, err := find(env, cmd, *port)
		if err != nil {
			return err
		}
		l := &listing{Entries: entriesOf(cfg, *provider), Notes: []string{}}
		l.Models, l.Gateway, l.Notes = offers(cmd.Context(), env, cfg, g, *provider, gatewayListLimit)
		if asJSON(cmd) {
			writeJSON(env.Stdout, l)
			return nil
		}
		return l.print(env)
	}
	return cmd
}

// load reads the configuration of the folder that a command stands in.
func load(env *Env) (*config.Config, error) {
	return config.Load(config.LoadOptions{Dir: env.Dir, Getenv: env.Getenv, Home: env.Home})
}

// listing is what models list prints for programs.
type listing struct {
	Entries []entryLine `json:"entries"`
	Models  []modelLine `json:"models"`
	Gateway string      `json:"gateway,omitempty"` // the URL of the gateway that was asked; empty when none runs
	Notes   []string    `json:"notes"`             // what could not be asked, and the way out
}

// entryLine is one name that stands for a target.
type entryLine struct {
	Kind      string   `json:"kind"` // default, alias, agent, command, skill, hook
	Name      string   `json:"name"`
	Target    string   `json:"target"`
	Thinking  string   `json:"thinking,omitempty"`
	Effort    string   `json:"effort,omitempty"`
	Fallbacks []string `json:"fallbacks,omitempty"`
	File      string   `json:"file,omitempty"` // or the flag or environment variable
	Line      int      `json:"line,omitempty"`
}

// modelLine is one model of a provider.
type modelLine struct {
	ID       string `json:"id"` // provider/model
	Provider string `json:"provider"`
	Model    string `json:"model"`
	Window   int64  `json:"context_tokens,omitempty"` // 0 when unknown
	// Source is gateway, ollama, or configuration when only that names it.
	Source string `json:"source"`
	Note   string `json:"note,omitempty"`
}

// kindOf are the four kinds of entries by their key.
var kindOf = map[string]string{"agents": "agent", "commands": "command", "skills": "skill", "hooks": "hook"}

// entriesOf lists what is configured, in the order that it is read; with a provider, what leads to it.
func entriesOf(cfg *config.Config, provider string) []entryLine {
	out := []entryLine{}
	add := func(key string, e entryLine) {
		if p, _, _ := strings.Cut(providerForm(cfg, e.Target), "/"); provider != "" && p != provider {
			return
		}
		o := cfg.Origin(key)
		e.File, e.Line = o.File, o.Line
		out = append(out, e)
	}
	if cfg.Default != "" {
		add("default", entryLine{Kind: "default", Target: cfg.Default})
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.Aliases)) {
		add("aliases."+name, entryLine{Kind: "alias", Name: name, Target: cfg.Aliases[name]})
	}
	for key, entries := range cfg.Entries() {
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			e := entries[name]
			add(key+"."+name, entryLine{Kind: kindOf[key], Name: name, Target: e.Target, Thinking: string(e.Thinking), Effort: string(e.Effort), Fallbacks: e.Fallbacks})
		}
	}
	return out
}

// providerForm is a target as provider/model: the target claude is the provider anthropic's.
func providerForm(cfg *config.Config, target string) string {
	if target = cfg.Resolve(target); target == "claude" {
		return "anthropic/" + cfg.ClaudeModel
	}
	return target
}

// offers are the models of the providers, sorted: from the gateway that runs, else from every Ollama, and those that only the
// configuration names; each may take as long as patience. The notes say what could not be asked.
func offers(ctx context.Context, env *Env, cfg *config.Config, g *gateway, provider string, patience time.Duration) (models []modelLine, gateway string, notes []string) {
	models, notes = []modelLine{}, []string{}
	complete := map[string]bool{} // Ollamas whose list is known
	list, ok := gatewayModels(g, patience)
	if ok {
		gateway = g.url
		for _, m := range list {
			models = append(models, m)
			complete[m.Provider] = true
		}
	} else {
		for _, name := range cfg.ProviderNames() {
			p := cfg.Providers[name]
			if p.Kind != "ollama" || provider != "" && name != provider {
				continue
			}
			list, err := ollamaModels(ctx, env, p, patience)
			if err != nil {
				notes = append(notes, err.Error())
				continue
			}
			complete[name] = true
			models = append(models, list...)
		}
	}
	for _, target := range cfg.Targets() {
		name, model, _ := strings.Cut(target, "/")
		p, known := cfg.Providers[name]
		if !known || slices.ContainsFunc(models, func(m modelLine) bool { return m.Provider == name && sameModel(m.Model, model) }) {
			continue
		}
		line := modelLine{ID: target, Provider: name, Model: model, Source: "configuration"}
		if p.Kind == "ollama" && complete[name] {
			line.Note = "not pulled; run: ollama pull " + model
		}
		models = append(models, line)
	}
	models = slices.DeleteFunc(models, func(m modelLine) bool { return provider != "" && m.Provider != provider })
	slices.SortFunc(models, func(a, b modelLine) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.Model, b.Model))
	})
	return models, gateway, notes
}

// sameModel compares names of models; Ollama's default tag may be left out.
func sameModel(a, b string) bool {
	return strings.TrimSuffix(a, ":latest") == strings.TrimSuffix(b, ":latest")
}

// gatewayModels asks a running gateway, page by page; false when none answers. Aliases are left out: they are entries.
func gatewayModels(g *gateway, patience time.Duration) ([]modelLine, bool) {
	if !answers(g, patience) {
		return nil, false
	}
	var out []modelLine
	after := ""
	for range 100 { // 100,000 models are more than anybody offers
		a, err := ask(g.url, "/v1/models?limit=1000"+after, config.Secret{}, patience)
		if err != nil || a.status != 200 {
			return nil, false
		}
		var page struct {
			Data []struct {
				ID     string `json:"id"`
				Window int64  `json:"max_input_tokens"`
			} `json:"data"`
			HasMore bool   `json:"has_more"`
			LastID  string `json:"last_id"`
		}
		if json.Unmarshal(a.body, &page) != nil {
			return nil, false
		}
		for _, m := range page.Data {
			if p, model, ok := strings.Cut(m.ID, "/"); ok {
				out = append(out, modelLine{ID: m.ID, Provider: p, Model: model, Window: m.Window, Source: "gateway"})
			}
		}
		if !page.HasMore || page.LastID == "" {
			break
		}
		after = "&after_id=" + url.QueryEscape(page.LastID)
	}
	return out, true
}

// answers reports whether the gateway of a port is up, whoever started it.
func answers(g *gateway, patience time.Duration) bool {
	a, err := ask(g.url, "/livez", config.Secret{}, min(patience, 2*time.Second))
	return err == nil && a.ours
}

// ollamaModels asks an Ollama for what it has. The error says what is wrong and what to do.
func ollamaModels(ctx context.Context, env *Env, p config.Provider, patience time.Duration) ([]modelLine, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, min(patience, ollamaListLimit))
	defer cancel()
	up, err := ollama.New(p, providers.Deps{Log: silent(), Now: env.Now, Version: env.Version})
	if err != nil {
		return nil, err
	}
	list, err := up.Models(ctx)
	if c, ok := up.(interface{ CloseIdle() }); ok {
		c.CloseIdle()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s", p.Name, strings.TrimPrefix(fault.From(err).Message, p.Name+": "))
	}
	var out []modelLine
	for _, m := range list {
		out = append(out, modelLine{ID: p.Name + "/" + m.ID, Provider: p.Name, Model: m.ID, Window: m.Window, Source: "ollama"})
	}
	return out, nil
}

// silent is the log of a gateway's parts inside a command: what goes wrong is said by the command itself.
func silent() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

func (l *listing) print(env *Env) error {
	color := env.Color(env.Stdout)
	if len(l.Entries) == 0 {
		fmt.Fprint(env.Stdout, "Nothing is set yet. Give an agent its own model:\n  signalbox models set oss:code-reviewer ollama/codellama\n")
	} else {
		if err := printEntries(env, l.Entries); err != nil {
			return err
		}
	}
	if len(l.Models) > 0 {
		t := table{head: []column{{"MODEL", false}, {"CONTEXT", true}, {"SOURCE", false}, {"", false}}, color: color}
		for _, m := range l.Models {
			window := ""
			if m.Window > 0 {
				window = thousands(m.Window)
			}
			t.rows = append(t.rows, []string{shown(m.ID), window, m.Source, printable(m.Note)})
		}
		fmt.Fprintln(env.Stdout)
		if err := t.print(env.Stdout); err != nil {
			return err
		}
	}
	for i, n := range l.Notes {
		if i == 0 {
			fmt.Fprintln(env.Stdout)
		}
		fmt.Fprintf(env.Stdout, "%s %s\n", paint(color, styleBad, "!"), printable(n))
	}
	return nil
}

func printEntries(env *Env, entries []entryLine) error {
	t := table{head: []column{{"KIND", false}, {"NAME", false}, {"TARGET", false}, {"SETTINGS", false}, {"FROM", false}}, color: env.Color(env.Stdout)}
	for _, e := range entries {
		t.rows = append(t.rows, []string{e.Kind, shown(e.Name), shown(e.Target), shown(e.settings()), shown(place(env, config.Origin{File: e.File, Line: e.Line}))})
	}
	return t.print(env.Stdout)
}

func (e *entryLine) settings() string {
	var parts []string
	if e.Thinking != "" {
		parts = append(parts, "thinking "+e.Thinking)
	}
	if e.Effort != "" {
		parts = append(parts, "effort "+e.Effort)
	}
	if len(e.Fallbacks) > 0 {
		parts = append(parts, "then "+strings.Join(e.Fallbacks, ", "))
	}
	return strings.Join(parts, "; ")
}
