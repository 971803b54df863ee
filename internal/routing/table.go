// Package routing answers one question: which model takes this request, and who is next if it fails? A Table is built once
// from a configuration and is a pure function afterwards: the same query gives the same plan. What a path says is taken
// apart in path.go; rules.go has the conditional rules, explain.go the same decision told step by step.
package routing

import (
	"sort"
	"strconv"
	"strings"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
)

// Settings is the part of the configuration that routing reads.
type Settings struct {
	Providers   []string // configured names, sorted
	Default     string
	Aliases     map[string]string       // a name may hold *
	Agents      map[string]config.Entry // by identity: NAME, command:NAME, skill:NAME, hook:NAME; a name may hold *
	Rules       []config.Rule
	Fallbacks   map[string][]string
	FallbackOn  bool
	ClaudeModel string
	// ClaudeKey reports whether the provider anthropic has a key of its own.
	ClaudeKey bool
	// Firm are the keys of the configuration that what a launcher found in a project does not change (config.Config.Firm).
	Firm map[string]bool
	// Offers lists the configured providers that are known to have a model of this bare name, sorted; nil knows nothing.
	Offers func(model string) []string
}

// Table decides. It is immutable.
type Table struct {
	s       Settings
	known   map[string]bool
	aliases patterns
	agents  map[string]patterns // by kind
	chains  patterns
}

// Query is what a request says about its target.
type Query struct {
	Path          *Target // from the path
	Header        string  // x-signalbox-target
	Agent         string  // the agent's identity, with its kind in front unless it is an agent
	Model         string  // the body's
	OwnCredential bool    // the caller brought a credential of his own

	// Project is what a launcher found in the folder of the agent; nil without one. Chains are never taken from it.
	Project *config.Project
	// Traits are asked for only by rules: see Table.Weighs.
	Traits   messages.Traits
	Tokens   int64 // of the prompt, by estimate; likewise
	Subagent bool
	// Seed chooses among the weighted targets of a rule. One seed, one choice: the session, so that a conversation stays where it
	// began, or the request where there is none.
	Seed string
}

// Plan is the ordered targets for one request.
type Plan struct {
	Targets []Target
	Rule    string       // which rule decided: path, header, agent, alias, body, default, or rules.N
	Name    string       // the alias, entry or target that was named; empty for a path
	Entry   config.Entry // the agent's own settings, wherever the request goes
	Skipped []string     // targets of the chain that were passed over, each with its reason, for the log
}

// prefixes tell the kinds of entries apart in an agent's identity.
var prefixes = map[string]string{"agents": "", "commands": "command:", "skills": "skill:", "hooks": "hook:"}

// SettingsOf is what a configuration says of routing; it knows no lists of models.
func SettingsOf(cfg *config.Config) Settings {
	agents := map[string]config.Entry{}
	for kind, entries := range cfg.Entries() {
		for name, e := range entries {
			agents[prefixes[kind]+name] = e
		}
	}
	claude := cfg.Providers["anthropic"]
	return Settings{Providers: cfg.ProviderNames(), Default: cfg.Default, Aliases: cfg.Aliases, Agents: agents, Rules: cfg.Rules, Firm: cfg.Firm,
		Fallbacks: cfg.Fallbacks, FallbackOn: cfg.FallbackOn(), ClaudeModel: cfg.ClaudeModel, ClaudeKey: !claude.APIKey.Empty()}
}

// Identity is the name of an entry with its kind in front, as it stands in the header x-signalbox-agent. kind is the configuration's
// key: agents, commands, skills or hooks.
func Identity(kind, name string) string { return prefixes[kind] + name }

// Claude is the target that stands for the caller's own Claude.
const Claude = "claude"

// NewTable checks that targets are well formed and aliases end somewhere; the error names the field. A target whose provider
// is not configured passes: a project's file may name one that this machine does not have, and must neither stop the gateway
// nor be dropped, which would route its requests elsewhere. Whoever asks for it gets a 404.
func NewTable(s Settings) (*Table, error) {
	t := &Table{s: s, known: map[string]bool{}, aliases: patternsOf(s.Aliases), agents: map[string]patterns{}, chains: patternsOf(s.Fallbacks)}
	for _, pattern := range patternsOf(s.Agents) {
		kind, _ := kindOf(pattern)
		t.agents[kind] = append(t.agents[kind], pattern)
	}
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
		for _, target := range append([]string{s.Agents[name].Target}, s.Agents[name].Fallbacks...) {
			if err := check("agents."+name, target); err != nil {
				return nil, err
			}
		}
	}
	for i, r := range s.Rules {
		for _, to := range r.To {
			if err := check("rules."+strconv.Itoa(i+1), to.Target); err != nil {
				return nil, err
			}
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

// Entry is the entry of an agent; false where there is none.
func (t *Table) Entry(identity string) (config.Entry, bool) {
	e, name := t.entry(Query{Agent: identity})
	return e, name != ""
}

// Agents are the entries by identity.
func (t *Table) Agents() map[string]config.Entry { return t.s.Agents }

// Plan decides. The precedence is path > header > agent rule > alias or provider/model in the body > default; what the last four
// give, a rule may change. The error is Invalid or NotFound and says what is there.
func (t *Table) Plan(q Query) (Plan, error) { return t.plan(q, nil) }

// plan decides and tells the trace how. A nil trace hears nothing.
func (t *Table) plan(q Query, tr *trace) (Plan, error) {
	entry, entryName := t.entry(q)
	name, rule := t.first(q, entry, entryName, tr)
	p, err := t.named(q, name, rule, entry, tr)
	if rule != "path" && rule != "header" {
		// What was found so far may be nothing: a rule can be the first to know a name.
		if to, n, ok := t.rule(q, p, err, tr); ok {
			rule = "rules." + strconv.Itoa(n)
			p, err = t.named(q, to, rule, entry, tr)
		}
	}
	if err != nil {
		return Plan{}, err
	}
	p.Entry = entry
	return p, nil
}

// named is the plan of what a rule names.
func (t *Table) named(q Query, name, rule string, entry config.Entry, tr *trace) (Plan, error) {
	switch rule {
	case "path":
		if err := t.configured(*q.Path); err != nil {
			return Plan{}, err
		}
		return t.chain(*q.Path, "", rule, nil, q, tr), nil
	case "":
		target, err := t.bare(q)
		if err != nil {
			return Plan{}, err
		}
		return t.chain(target, "", "body", nil, q, tr), nil
	}
	target, err := t.resolve(name, q, 0)
	if err != nil {
		return Plan{}, err
	}
	var own []string
	if rule == "agent" {
		own = entry.Fallbacks
	}
	return t.chain(target, name, rule, own, q, tr), nil
}

// first is the first step that holds, and the name it gives.
func (t *Table) first(q Query, entry config.Entry, entryName string, tr *trace) (name, rule string) {
	if q.Path != nil {
		tr.took("path", q.Path.String())
		return "", "path"
	}
	tr.passed("path", "the path names no target")
	if q.Header != "" {
		tr.took("header", q.Header)
		return q.Header, "header"
	}
	tr.passed("header", "there is no x-signalbox-target")
	switch {
	case entryName != "":
		tr.took("agent", entryName+": "+entry.Target)
		return entry.Target, "agent"
	case q.Agent == "":
		tr.passed("agent", "nobody is recognised")
	default:
		tr.passed("agent", "there is no entry for "+clip(q.Agent))
	}
	if to, _, ok := t.alias(q.Model, q.Project); ok {
		tr.took("alias", q.Model+": "+to)
		return q.Model, "alias"
	}
	tr.passed("alias", "the body's model is no alias")
	if p, _, ok := strings.Cut(q.Model, "/"); ok && t.known[p] {
		tr.took("body", q.Model)
		return q.Model, "body"
	}
	tr.passed("body", "the body's model names no configured provider")
	if d := t.defaultFor(q.Project); d != "" {
		tr.took("default", d)
		return d, "default"
	}
	tr.passed("default", "there is no default")
	return "", ""
}

// entry is the agent's entry and the name it stands under: an exact name before a pattern, and each time the project's before our
// own, unless ours was written where a project's files do not reach.
func (t *Table) entry(q Query) (e config.Entry, name string) {
	if q.Agent == "" {
		return e, ""
	}
	kind, bare := kindOf(q.Agent)
	var theirs map[string]config.Entry
	if q.Project != nil {
		theirs = map[string]map[string]config.Entry{"agents": q.Project.Agents, "commands": q.Project.Commands, "skills": q.Project.Skills, "hooks": q.Project.Hooks}[kind]
	}
	prefix := strings.TrimSuffix(q.Agent, bare)
	free := func(name string) bool { return !t.s.Firm[kind+"."+name] }
	if e, ok := theirs[bare]; ok && free(bare) {
		return e, q.Agent
	}
	if e, ok := t.s.Agents[q.Agent]; ok {
		return e, q.Agent
	}
	if len(theirs) > 0 {
		if name, ok := patternsOf(theirs).find(bare); ok && free(name) {
			return theirs[name], prefix + name
		}
	}
	if name, ok := t.agents[kind].find(q.Agent); ok {
		return t.s.Agents[name], name
	}
	return e, ""
}

// kindOf splits an identity into the configuration's key and the name under it.
func kindOf(identity string) (kind, name string) {
	for _, k := range []string{"command", "skill", "hook"} {
		if name, ok := strings.CutPrefix(identity, k+":"); ok {
			return k + "s", name
		}
	}
	return "agents", identity
}

// alias is what an alias stands for, and the name under which it is written: an exact name before a pattern.
func (t *Table) alias(name string, project *config.Project) (to, under string, ok bool) {
	if name == "" || name == Claude || name == "default" || strings.Contains(name, "/") {
		return "", "", false // those two are targets themselves, whatever pattern they fit
	}
	if project != nil {
		if to, ok := project.Aliases[name]; ok && !t.s.Firm["aliases."+name] {
			return to, name, true
		}
	}
	if to, ok := t.s.Aliases[name]; ok {
		return to, name, true
	}
	if pattern, ok := t.aliases.find(name); ok {
		return t.s.Aliases[pattern], pattern, true
	}
	return "", "", false
}

func (t *Table) defaultFor(project *config.Project) string {
	if project != nil && project.Default != "" && !t.s.Firm["default"] {
		return project.Default
	}
	return t.s.Default
}

// bare finds who has a model that the body names without a provider, where no default is set.
func (t *Table) bare(q Query) (Target, error) {
	if q.Model == "" {
		return Target{}, fault.New(fault.Invalid, "model: is required when no path, header, agent rule or default gives one; %s", t.choices())
	}
	if err := CheckModel(q.Model); err != nil {
		return Target{}, err
	}
	if strings.HasPrefix(q.Model, "claude-") && t.known["anthropic"] {
		return Target{"anthropic", q.Model}, nil
	}
	if t.s.Offers != nil {
		switch has := t.s.Offers(q.Model); len(has) {
		case 0:
		case 1:
			return Target{has[0], q.Model}, nil
		default:
			return Target{}, fault.New(fault.NotFound, "model %q is offered by several providers (%s); write provider/model", clip(q.Model), strings.Join(has, ", "))
		}
	}
	return Target{}, fault.New(fault.NotFound, "model %q is not known here; %s", clip(q.Model), t.choices())
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
	if next, _, ok := t.alias(name, q.Project); ok {
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

// chain adds the written fallbacks of a target: the entry's own, those of the name that led to it, of the target itself, or of the
// longest pattern that fits.
func (t *Table) chain(first Target, name, rule string, own []string, q Query, tr *trace) Plan {
	p := Plan{Targets: []Target{first}, Rule: rule, Name: name}
	if len(own) == 0 {
		own = t.fallbacks(first, name, q.Project)
	}
	if !t.s.FallbackOn {
		if len(own) > 0 {
			tr.excluded(own, "fallback_enabled is false")
		}
		return p
	}
	for _, next := range own {
		target, err := t.resolve(next, q, 0)
		why := ""
		switch {
		case err != nil:
			why = fault.From(err).Message
		case target.Provider == "anthropic" && !t.s.ClaudeKey && !q.OwnCredential:
			why = "neither the provider anthropic nor the caller has a credential"
		case contains(p.Targets, target):
			tr.excluded([]string{next}, "it stands in the plan already")
			continue
		case len(p.Targets) == maxTargets:
			why = "a request makes at most " + strconv.Itoa(maxTargets) + " attempts"
		}
		if why != "" {
			p.Skipped = append(p.Skipped, next+": "+why)
			tr.excluded([]string{next}, why)
			continue
		}
		p.Targets = append(p.Targets, target)
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

func (t *Table) fallbacks(target Target, name string, project *config.Project) []string {
	if f, ok := t.s.Fallbacks[name]; ok && name != "" {
		return f
	}
	if _, under, ok := t.alias(name, project); ok {
		if f, ok := t.s.Fallbacks[under]; ok {
			return f
		}
	}
	full := target.String()
	if f, ok := t.s.Fallbacks[full]; ok {
		return f
	}
	pattern, _ := t.chains.find(full)
	return t.s.Fallbacks[pattern]
}
