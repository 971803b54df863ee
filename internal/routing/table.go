// Package routing answers one question: which model takes this request, and who is next if it fails? A Table is built once
// from a configuration and is a pure function afterwards: the same query gives the same plan. What a path says is taken
// apart in path.go.
package routing

import (
	"sort"
	"strings"

	"signalbox/internal/fault"
)

// Settings is the part of the configuration that routing reads.
type Settings struct {
	Providers   []string // configured names, sorted
	Default     string
	Aliases     map[string]string
	Agents      map[string]string // by identity: NAME, command:NAME, skill:NAME, hook:NAME
	Fallbacks   map[string][]string
	FallbackOn  bool
	ClaudeModel string
	// ClaudeReady reports whether the provider anthropic has a key of its own.
	ClaudeKey bool
	// Offers lists the configured providers that are known to have a model of this bare name, sorted; nil knows nothing.
	Offers func(model string) []string
}

// Table decides. It is immutable.
type Table struct {
	s     Settings
	known map[string]bool
}

// Query is what a request says about its target.
type Query struct {
	Path          *Target // from the path
	Header        string  // x-signalbox-target
	Agent         string  // the agent's identity, with its kind in front unless it is an agent
	Model         string  // the body's
	OwnCredential bool    // the caller brought a credential of his own
}

// Plan is the ordered targets for one request.
type Plan struct {
	Targets []Target
	Rule    string   // which rule decided: path, header, agent, alias, body, default
	Skipped []string // targets of the chain that were passed over, each with its reason, for the log
}

// Claude is the target that stands for the caller's own Claude.
const Claude = "claude"

// NewTable checks that targets are well formed and aliases end somewhere; the error names the field. A target whose provider
// is not configured passes: a project's file may name one that this machine does not have, and must neither stop the gateway
// nor be dropped, which would route its requests elsewhere. Whoever asks for it gets a 404.
func NewTable(s Settings) (*Table, error) {
	t := &Table{s: s, known: map[string]bool{}}
	for _, p := range s.Providers {
		t.known[p] = true
	}
	check := func(field, value string) error {
		if _, err := t.resolve(value, Query{Model: "claude-x"}, 0); err != nil && fault.From(err).Kind != fault.NotFound {
			return fault.New(fault.Invalid, "%s: %s", field, fault.From(err).Message)
		}
		return nil
	}
	if s.Default != "" {
		if err := check("default", s.Default); err != nil {
			return nil, err
		}
	}
	for _, name := range sorted(s.Aliases) {
		if strings.Contains(name, "/") || name == Claude || name == "default" {
			return nil, fault.New(fault.Invalid, "aliases.%s: the name is taken; use one without a slash that is not claude or default", name)
		}
		if err := check("aliases."+name, s.Aliases[name]); err != nil {
			return nil, err
		}
	}
	for _, name := range sorted(s.Agents) {
		if err := check("agents."+name, s.Agents[name]); err != nil {
			return nil, err
		}
	}
	for _, name := range sorted(s.Fallbacks) {
		for _, next := range s.Fallbacks[name] {
			if err := check("fallbacks."+name, next); err != nil {
				return nil, err
			}
		}
	}
	return t, nil
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	sort.Strings(names)
	return names
}

// Aliases lists the alias names, sorted.
func (t *Table) Aliases() []string { return sorted(t.s.Aliases) }

// Default is the default target as it was written, empty without one.
func (t *Table) Default() string { return t.s.Default }

// Plan decides. The precedence is path > header > agent rule > alias or provider/model in the body > default. The error is
// Invalid or NotFound and says what is there.
func (t *Table) Plan(q Query) (Plan, error) {
	name, rule := t.first(q)
	if rule == "path" {
		if err := t.configured(*q.Path); err != nil {
			return Plan{}, err
		}
		return t.chain(*q.Path, "", rule, q), nil
	}
	if rule == "" {
		return t.bare(q)
	}
	target, err := t.resolve(name, q, 0)
	if err != nil {
		return Plan{}, err
	}
	return t.chain(target, name, rule, q), nil
}

// first is the first rule that holds, and the name it gives.
func (t *Table) first(q Query) (name, rule string) {
	switch {
	case q.Path != nil:
		return "", "path"
	case q.Header != "":
		return q.Header, "header"
	}
	if v, ok := t.s.Agents[q.Agent]; ok && q.Agent != "" {
		return v, "agent"
	}
	if _, ok := t.s.Aliases[q.Model]; ok {
		return q.Model, "alias"
	}
	if p, _, ok := strings.Cut(q.Model, "/"); ok && t.known[p] {
		return q.Model, "body"
	}
	if t.s.Default != "" {
		return t.s.Default, "default"
	}
	return "", ""
}

// bare finds who has a model that the body names without a provider, where no default is set.
func (t *Table) bare(q Query) (Plan, error) {
	if q.Model == "" {
		return Plan{}, fault.New(fault.Invalid, "model: is required when no path, header, agent rule or default gives one; %s", t.choices())
	}
	if err := CheckModel(q.Model); err != nil {
		return Plan{}, err
	}
	if strings.HasPrefix(q.Model, "claude-") && t.known["anthropic"] {
		return t.chain(Target{"anthropic", q.Model}, "", "body", q), nil
	}
	if t.s.Offers != nil {
		switch has := t.s.Offers(q.Model); len(has) {
		case 0:
		case 1:
			return t.chain(Target{has[0], q.Model}, "", "body", q), nil
		default:
			return Plan{}, fault.New(fault.NotFound, "model %q is offered by several providers (%s); write provider/model", clip(q.Model), strings.Join(has, ", "))
		}
	}
	return Plan{}, fault.New(fault.NotFound, "model %q is not known here; %s", clip(q.Model), t.choices())
}

// choices says what a caller may write.
func (t *Table) choices() string {
	s := "write provider/model with one of the providers " + strings.Join(t.s.Providers, ", ")
	if a := t.Aliases(); len(a) > 0 {
		s += ", or one of the aliases " + strings.Join(a, ", ")
	}
	return s
}

func (t *Table) configured(target Target) error {
	if !t.known[target.Provider] {
		return fault.New(fault.NotFound, "provider %q is not configured; known providers: %s", clip(target.Provider), strings.Join(t.s.Providers, ", "))
	}
	return nil
}

// resolve follows aliases to a target.
func (t *Table) resolve(name string, q Query, depth int) (Target, error) {
	if depth > 8 {
		return Target{}, fault.New(fault.Invalid, "the alias %q leads in a circle", clip(name))
	}
	if name == Claude || name == "default" {
		if target, ok := t.claude(q); ok {
			return target, nil
		}
		return Target{}, fault.New(fault.Invalid, "model: the target claude needs an Anthropic model in the body, or claude_model in the configuration")
	}
	if next, ok := t.s.Aliases[name]; ok {
		return t.resolve(next, q, depth+1)
	}
	target, err := ParseTarget(name)
	if err != nil {
		if !strings.Contains(name, "/") {
			return target, fault.New(fault.NotFound, "%q is neither a target nor an alias; %s", clip(name), t.choices())
		}
		return target, err
	}
	return target, t.configured(target)
}

// claude is the caller's own Claude: the body's model when it is an Anthropic one, else the configured one.
func (t *Table) claude(q Query) (Target, bool) {
	if !t.known["anthropic"] {
		return Target{}, false
	}
	model := strings.TrimPrefix(q.Model, "anthropic/")
	if strings.HasPrefix(model, "claude") && CheckModel(model) == nil {
		return Target{"anthropic", model}, true
	}
	if t.s.ClaudeModel != "" {
		return Target{"anthropic", t.s.ClaudeModel}, true
	}
	return Target{}, false
}

// chain adds the written fallbacks of a target: those of the name that led to it, of the target itself, or of the longest
// pattern that fits.
func (t *Table) chain(first Target, name, rule string, q Query) Plan {
	p := Plan{Targets: []Target{first}, Rule: rule}
	if !t.s.FallbackOn {
		return p
	}
	for _, next := range t.fallbacks(first, name) {
		target, err := t.resolve(next, q, 0)
		switch {
		case err != nil:
			p.Skipped = append(p.Skipped, next+": "+fault.From(err).Message)
		case target.Provider == "anthropic" && !t.s.ClaudeKey && !q.OwnCredential:
			p.Skipped = append(p.Skipped, next+": neither the provider anthropic nor the caller has a credential")
		case len(p.Targets) < maxTargets && !contains(p.Targets, target):
			p.Targets = append(p.Targets, target)
		}
	}
	return p
}

// maxTargets bounds the attempts of one request.
const maxTargets = 8

func contains(list []Target, t Target) bool {
	for _, o := range list {
		if o == t {
			return true
		}
	}
	return false
}

func (t *Table) fallbacks(target Target, name string) []string {
	if f, ok := t.s.Fallbacks[name]; ok && name != "" {
		return f
	}
	full := target.String()
	if f, ok := t.s.Fallbacks[full]; ok {
		return f
	}
	best := ""
	for pattern := range t.s.Fallbacks {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(full, prefix) && len(pattern) > len(best) {
			best = pattern
		}
	}
	return t.s.Fallbacks[best]
}
