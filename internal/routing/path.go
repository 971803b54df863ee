package routing

import (
	"net/url"
	"strings"

	"signalbox/internal/fault"
)

// Op is what a path under the prefix /v1/<provider>/<model…> asks for.
type Op uint8

// The operations.
const (
	OpNone        Op = iota // nothing we serve
	OpMessages              // …/messages, …/v1/messages
	OpCountTokens           // …/messages/count_tokens
	OpModels                // …/v1/models
	OpModel                 // …/v1/models/<id>
	OpProbe                 // the prefix itself, or …/api/hello
	OpPass                  // another path of Anthropic's, such as …/v1/messages/batches
)

// Target is a provider and one of its models, written provider/model: the first slash separates.
type Target struct{ Provider, Model string }

// String is provider/model.
func (t Target) String() string { return t.Provider + "/" + t.Model }

// Path is a split path.
type Path struct {
	Op     Op
	Target Target
	Rest   string // OpModel: the model's id; OpPass: the path behind the prefix, beginning with /v1/
}

// form is what a caller is shown whose path has no model.
const form = "POST /v1/<provider>/<model>/messages"

// passed are the further resources of Anthropic's API that a path prefix may ask for.
var passed = []string{"/v1/messages/batches", "/v1/files", "/v1/skills", "/v1/agents", "/v1/complete", "/v1/environments", "/v1/sessions"}

// SplitPath takes an escaped path below /v1/ apart ("ollama/qwen3:8b/messages"). The longest operation suffix wins, and
// percent-encoding is decoded exactly once. Errors are NotFound or Invalid; a path with an unknown operation is OpNone.
func SplitPath(escaped string) (Path, error) {
	rest := "/" + strings.TrimSuffix(escaped, "/")
	var p Path
	cut := func(suffix string, op Op) bool {
		if before, ok := strings.CutSuffix(rest, suffix); ok {
			rest, p.Op = before, op
			return true
		}
		return false
	}
	switch {
	case cut("/v1/messages/count_tokens", OpCountTokens), cut("/messages/count_tokens", OpCountTokens),
		cut("/v1/messages", OpMessages), cut("/messages", OpMessages), cut("/v1/models", OpModels), cut("/api/hello", OpProbe):
	default:
		if i := strings.LastIndex(rest, "/v1/models/"); i >= 0 {
			id, err := url.PathUnescape(rest[i+len("/v1/models/"):])
			if err != nil {
				return p, fault.New(fault.Invalid, "the path is not properly percent-encoded")
			}
			p.Op, p.Rest, rest = OpModel, id, rest[:i]
			break
		}
		for _, s := range passed {
			if i := strings.Index(rest, s); i >= 0 && (len(rest) == i+len(s) || rest[i+len(s)] == '/') {
				p.Op, p.Rest, rest = OpPass, rest[i:], rest[:i]
				break
			}
		}
	}
	name, err := url.PathUnescape(strings.TrimPrefix(rest, "/"))
	if err != nil {
		return p, fault.New(fault.Invalid, "the path is not properly percent-encoded")
	}
	provider, model, _ := strings.Cut(name, "/")
	if provider == "" {
		return p, fault.New(fault.Invalid, "the path names no provider and model; use %s", form)
	}
	if model == "" {
		if p.Op == OpNone {
			return p, nil
		}
		return p, fault.New(fault.Invalid, "the path names the provider %q but no model; use %s", clip(provider), form)
	}
	if p.Op == OpNone {
		p.Op = OpProbe
	}
	p.Target = Target{provider, model}
	return p, p.Target.check()
}

// ParseTarget reads provider/model. The error is Invalid.
func ParseTarget(s string) (Target, error) {
	provider, model, ok := strings.Cut(s, "/")
	t := Target{provider, model}
	if !ok || provider == "" || model == "" {
		return t, fault.New(fault.Invalid, "%q is no target; write provider/model", clip(s))
	}
	return t, t.check()
}

// Limits of a model's name (S12).
const (
	maxName     = 256
	maxSegments = 6
)

// check holds a target against the one grammar of names: segments of [A-Za-z0-9][A-Za-z0-9._:@+-]* joined by single slashes.
// The name later travels in JSON bodies and metric labels.
func (t Target) check() error {
	if len(t.Provider) > 64 || !segment(t.Provider) {
		return fault.New(fault.Invalid, "%q is no provider name: letters, digits and . _ : @ + - only", clip(t.Provider))
	}
	return CheckModel(t.Model)
}

// CheckModel holds a model's name against the grammar; the error is Invalid.
func CheckModel(model string) error {
	if strings.Contains(model, "%") {
		return fault.New(fault.Invalid, "model: the name still holds a %% after decoding once")
	}
	segments := strings.Split(model, "/")
	ok := model != "" && len(model) <= maxName && len(segments) <= maxSegments
	for _, s := range segments {
		ok = ok && segment(s)
	}
	if !ok {
		return fault.New(fault.Invalid, "model: %q is no model name: 1 to 256 letters, digits and . _ : @ + - in up to 6 parts joined by single slashes", clip(model))
	}
	return nil
}

func segment(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._:@+-", rune(c))) {
			return false
		}
	}
	return s != ""
}

func clip(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
