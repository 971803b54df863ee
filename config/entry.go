package config

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Entry is what an agent, command, skill or hook gets. In YAML and JSON it is a target alone ("ollama/codellama"), or a mapping
// with the target and settings of its own.
type Entry struct {
	// Target is provider/model, an alias, or claude (also written default): the caller's own Claude.
	Target string `yaml:"target" json:"target"`
	// Thinking replaces what requests say of it: off, on, or a budget in tokens. Not for targets that speak Messages.
	Thinking Thinking `yaml:"thinking,omitempty" json:"thinking,omitempty"`
	// Effort replaces what requests say of it: low, medium, high, xhigh or max. Not for targets that speak Messages.
	Effort Effort `yaml:"effort,omitempty" json:"effort,omitempty"`
	// Fallbacks are the targets to try next for this entry alone; they win over the chains of fallbacks.
	Fallbacks []string `yaml:"fallbacks,omitempty" json:"fallbacks,omitempty"`
}

// setShort takes an entry that is a target alone.
func (e *Entry) setShort(text string) { *e = Entry{Target: text} }

// MarshalJSON writes an entry that is a target alone as its text, as people write it.
func (e Entry) MarshalJSON() ([]byte, error) {
	if e.Plain() {
		return json.Marshal(e.Target)
	}
	type whole Entry
	return json.Marshal(whole(e))
}

// UnmarshalJSON reads both forms.
func (e *Entry) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		*e = Entry{}
		return json.Unmarshal(data, &e.Target)
	}
	type whole Entry
	return json.Unmarshal(data, (*whole)(e))
}

// NewEntry makes an entry of what people type; empty settings leave requests as they are. The error says which is wrong.
func NewEntry(target, thinking, effort string) (Entry, error) {
	e := Entry{Target: target}
	if thinking != "" {
		if err := e.Thinking.setText(thinking); err != nil {
			return e, fmt.Errorf("thinking: %w", err)
		}
	}
	if effort != "" {
		if err := e.Effort.setText(effort); err != nil {
			return e, fmt.Errorf("effort: %w", err)
		}
	}
	return e, nil
}

// Match reports whether a name is one that a pattern stands for: each * is any run of characters, none included.
func Match(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return pattern == name
	}
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return true
}

// Plain reports whether an entry is a target without settings.
func (e Entry) Plain() bool { return e.Thinking == "" && e.Effort == "" && len(e.Fallbacks) == 0 }

// Thinking is off, on, or a number of tokens; empty leaves requests as they are.
type Thinking string

// Budget is the number of tokens, 0 where none is written.
func (t Thinking) Budget() int64 {
	n, err := strconv.ParseInt(string(t), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// setText reads off, on or a budget. YAML of the old kind reads on and off as truth; here they are words.
func (t *Thinking) setText(text string) error {
	switch text {
	case "on", "true", "yes":
		*t = "on"
		return nil
	case "off", "false", "no":
		*t = "off"
		return nil
	}
	if n, err := strconv.ParseInt(text, 10, 32); err != nil || n < 1024 {
		return fmt.Errorf("%q is neither off nor on nor a budget of at least 1024 tokens", text)
	}
	*t = Thinking(text)
	return nil
}

// Effort is low, medium, high, xhigh or max; empty leaves requests as they are.
type Effort string

func (e *Effort) setText(text string) error {
	switch text {
	case "low", "medium", "high", "xhigh", "max":
		*e = Effort(text)
		return nil
	}
	return fmt.Errorf("%q is none of low, medium, high, xhigh, max", text)
}

// Rule sends requests of a kind elsewhere. Rules are tried in their order after a target was found by agent, alias, body or
// default; the first whose conditions all hold decides. What a path or a header names is never touched by a rule.
type Rule struct {
	// When are the conditions; those that are left out always hold.
	When Condition `yaml:"when,omitempty"`
	// To is a target or alias, or several that share the requests by weight. A session stays with one of them.
	To []Choice `yaml:"to" validate:"required,min=1,dive"`
}

// Condition is what a rule asks of a request. Patterns may hold * for any run of characters.
type Condition struct {
	// Agent is a pattern of the agent's name: oss:*, command:*.
	Agent string `yaml:"agent,omitempty"`
	// Model is a pattern of the body's model.
	Model string `yaml:"model,omitempty"`
	// Target is a pattern of the target that was found so far.
	Target string `yaml:"target,omitempty"`
	// TokensOver holds for prompts of more than this many tokens, by estimate.
	TokensOver int64 `yaml:"tokens_over,omitempty" validate:"min=0"`
	// TokensUnder holds for prompts of fewer tokens than this, by estimate. 0 is no bound.
	TokensUnder int64 `yaml:"tokens_under,omitempty" validate:"min=0"`
	// Images holds for requests with (true) or without (false) an image.
	Images *bool `yaml:"images,omitempty"`
	// Tools holds for requests that offer tools (true) or none (false).
	Tools *bool `yaml:"tools,omitempty"`
	// Thinking holds for requests that ask the model to think (true) or do not (false).
	Thinking *bool `yaml:"thinking,omitempty"`
	// Subagent holds for requests of a subagent (true) or of the main agent (false), as Claude Code marks them.
	Subagent *bool `yaml:"subagent,omitempty"`
}

// Choice is one target of a rule.
type Choice struct {
	// Target is provider/model, an alias, or claude.
	Target string `yaml:"target" validate:"required"`
	// Weight is its share of the requests. Default 1.
	Weight int `yaml:"weight,omitempty" validate:"min=0,max=1000000"`
}

func (c *Choice) setShort(text string) { *c = Choice{Target: text} }

// shorthand is a mapping that may be written as one word.
type shorthand interface{ setShort(text string) }

// Project is what a launcher found in the folder it stands in and hands to a gateway that was started elsewhere, with every
// request, in the header ProjectHeader. It only chooses among configured targets, as a project's files do.
type Project struct {
	Default  string            `json:"default,omitempty"`
	Aliases  map[string]string `json:"aliases,omitempty"`
	Agents   map[string]Entry  `json:"agents,omitempty"`
	Commands map[string]Entry  `json:"commands,omitempty"`
	Skills   map[string]Entry  `json:"skills,omitempty"`
	Hooks    map[string]Entry  `json:"hooks,omitempty"`
	// Known are the fingerprints of the project's agent definition files.
	Known []Fingerprint `json:"known,omitempty"`
}

// Fingerprint tells an agent by the text of its definition file: the length of the normalised text and the first 16 hex digits of
// its SHA-256.
type Fingerprint struct {
	Name string `json:"name"`
	Len  int    `json:"len"`
	Sum  string `json:"sum"`
}

// ProjectHeader carries a Project.
const ProjectHeader = "X-Signalbox-Project"

// maxProject bounds the header's value in bytes: all headers together may have 64 KiB.
const maxProject = 48 << 10

// Empty reports whether there is nothing to hand on.
func (p *Project) Empty() bool {
	return p == nil || p.Default == "" && len(p.Aliases)+len(p.Agents)+len(p.Commands)+len(p.Skills)+len(p.Hooks)+len(p.Known) == 0
}

// Encode is the header's value: base64 (URL alphabet, no padding) of JSON, so that names may hold any letters.
func (p *Project) Encode() (string, error) {
	data, err := json.Marshal(p)
	if err != nil {
		return "", err
	}
	s := base64.RawURLEncoding.EncodeToString(data)
	if len(s) > maxProject {
		return "", fmt.Errorf("what the project's files say takes %d bytes, and the header holds %d", len(s), maxProject)
	}
	return s, nil
}

// DecodeProject reads the header's value. Targets are not checked here: routing knows what is configured.
func DecodeProject(value string) (*Project, error) {
	if len(value) > maxProject {
		return nil, errors.New("too long")
	}
	data, err := base64.RawURLEncoding.DecodeString(value)
	if err != nil {
		return nil, errors.New("no base64")
	}
	var p Project
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, errors.New("no JSON of a project")
	}
	for _, entries := range []map[string]Entry{p.Agents, p.Commands, p.Skills, p.Hooks} {
		for name, e := range entries {
			if e.Thinking != "" && (&e).Thinking.setText(string(e.Thinking)) != nil || e.Effort != "" && (&e).Effort.setText(string(e.Effort)) != nil {
				return nil, fmt.Errorf("%q has settings that nobody knows", name)
			}
			e.Fallbacks = nil // a repository chooses no chain
			entries[name] = e
		}
	}
	return &p, nil
}
