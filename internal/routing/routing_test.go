package routing

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/fault"
)

func TestSplitPath(t *testing.T) {
	target := func(p, m string) Target { return Target{p, m} }
	for _, row := range []struct {
		it, path string
		want     Path
	}{
		{"takes the operation off the end", "ollama/qwen3:8b/messages", Path{Op: OpMessages, Target: target("ollama", "qwen3:8b")}},
		{"knows the spelling of clients with a base URL", "ollama/qwen3:8b/v1/messages", Path{Op: OpMessages, Target: target("ollama", "qwen3:8b")}},
		{"keeps slashes of the model", "openrouter/anthropic/claude-3-haiku/messages", Path{Op: OpMessages, Target: target("openrouter", "anthropic/claude-3-haiku")}},
		{"decodes once", "openrouter/anthropic%2Fclaude-3%3Afree/messages", Path{Op: OpMessages, Target: target("openrouter", "anthropic/claude-3:free")}},
		{"takes the longest operation", "a/b/v1/messages/count_tokens", Path{Op: OpCountTokens, Target: target("a", "b")}},
		{"counts beside the short form", "a/b/messages/count_tokens", Path{Op: OpCountTokens, Target: target("a", "b")}},
		{"lists models under the prefix", "a/b/v1/models", Path{Op: OpModels, Target: target("a", "b")}},
		{"gives one model under the prefix", "a/b/v1/models/a%2Fb", Path{Op: OpModel, Target: target("a", "b"), Rest: "a/b"}},
		{"answers probes", "a/b/api/hello", Path{Op: OpProbe, Target: target("a", "b")}},
		{"answers probes of the base itself", "a/b/", Path{Op: OpProbe, Target: target("a", "b")}},
		{"knows what it does not serve", "a/b/v1/messages/batches/x", Path{Op: OpPass, Target: target("a", "b"), Rest: "/v1/messages/batches/x"}},
		{"leaves an unknown path alone", "chat", Path{}},
	} {
		t.Run(row.it, func(t *testing.T) {
			got, err := SplitPath(row.path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for it, path := range map[string]string{
		"a provider alone": "ollama/messages", "nothing": "/messages", "dots": "a/../messages", "encoded dots": "a/%2e%2e/messages",
		"a NUL": "a/b%00/messages", "a line end": "a/b%0d%0a/messages", "double encoding": "a/b%252f/messages", "bad encoding": "a/b%zz/messages",
		"empty segments": "a/b//c/messages", "too many segments": "a/1/2/3/4/5/6/7/messages", "a long name": "a/" + strings.Repeat("x", 300) + "/messages",
		"invalid UTF-8": "a/%ff/messages", "a space": "a/b%20c/messages",
	} {
		t.Run("it refuses "+it, func(t *testing.T) {
			if p, err := SplitPath(path); fault.From(err) == nil || fault.From(err).Kind != fault.Invalid {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
}

func FuzzSplitPath(f *testing.F) {
	for _, s := range []string{"ollama/q:8b/messages", "a/b%2fc/v1/messages/count_tokens", "a/%ff/messages", "/v1/models/x", "a/b/v1/models/%2e"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		p, err := SplitPath(path)
		if err != nil {
			if k := fault.From(err).Kind; k != fault.Invalid {
				t.Fatalf("kind %s", k)
			}
			return
		}
		if p.Op == OpNone {
			return
		}
		if err := CheckModel(p.Target.Model); err != nil {
			t.Fatalf("accepted %q: %v", p.Target.Model, err)
		}
		if strings.ContainsAny(p.Target.String(), "%\\ \r\n\x00") || strings.Contains(p.Target.String(), "..") && strings.Contains(p.Target.String(), "/../") {
			t.Fatalf("accepted %q", p.Target)
		}
	})
}

func table(t *testing.T, change func(*Settings)) *Table {
	t.Helper()
	s := Settings{Providers: []string{"anthropic", "ollama", "openrouter"}, Aliases: map[string]string{"fast": "ollama/qwen3:8b", "faster": "fast"},
		Agents: map[string]string{"oss:code-reviewer": "ollama/codellama", "main": "claude", "command:x": "fast", "foreign": "gemini/pro"}, FallbackOn: true}
	if change != nil {
		change(&s)
	}
	tb, err := NewTable(s)
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

func TestPrecedence(t *testing.T) {
	path := &Target{"openrouter", "x/y"}
	withDefault := func(s *Settings) { s.Default = "ollama/base" }
	for _, row := range []struct {
		it     string
		change func(*Settings)
		q      Query
		want   string // target; rule
	}{
		{"takes the path before all", withDefault, Query{Path: path, Header: "fast", Agent: "main", Model: "fast"}, "openrouter/x/y path"},
		{"takes the header before the agent", withDefault, Query{Header: "fast", Agent: "oss:code-reviewer", Model: "faster"}, "ollama/qwen3:8b header"},
		{"takes the agent before the body", withDefault, Query{Agent: "oss:code-reviewer", Model: "fast"}, "ollama/codellama agent"},
		{"knows the kinds of agents", withDefault, Query{Agent: "command:x", Model: "m"}, "ollama/qwen3:8b agent"},
		{"passes over an agent without a rule", withDefault, Query{Agent: "nobody", Model: "fast"}, "ollama/qwen3:8b alias"},
		{"follows aliases of aliases", withDefault, Query{Model: "faster"}, "ollama/qwen3:8b alias"},
		{"takes a target in the body", withDefault, Query{Model: "openrouter/meta/llama:free"}, "openrouter/meta/llama:free body"},
		{"sends an unknown provider in the body to the default", withDefault, Query{Model: "meta/llama"}, "ollama/base default"},
		{"sends a bare name to the default", withDefault, Query{Model: "claude-sonnet-4-5"}, "ollama/base default"},
		{"sends Claude's names to Anthropic without a default", nil, Query{Model: "claude-sonnet-4-5"}, "anthropic/claude-sonnet-4-5 body"},
		{"asks who has a bare name", func(s *Settings) { s.Offers = func(string) []string { return []string{"ollama"} } }, Query{Model: "qwen3:8b"}, "ollama/qwen3:8b body"},
		{"takes the body's Claude for the target claude", nil, Query{Agent: "main", Model: "claude-opus-4"}, "anthropic/claude-opus-4 agent"},
		{"takes the configured Claude where the body names none", func(s *Settings) { s.ClaudeModel = "claude-haiku" }, Query{Agent: "main", Model: "qwen"}, "anthropic/claude-haiku agent"},
	} {
		t.Run(row.it, func(t *testing.T) {
			p, err := table(t, row.change).Plan(row.q)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Targets[0].String() + " " + p.Rule; got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
	for _, row := range []struct {
		it   string
		q    Query
		kind fault.Kind
		says string
	}{
		{"lists the providers for an unknown one", Query{Path: &Target{"nobody", "x"}}, fault.NotFound, "anthropic, ollama, openrouter"},
		{"lists the aliases for an unknown name", Query{Model: "gpt-9"}, fault.NotFound, "fast, faster"},
		{"asks for a model", Query{}, fault.Invalid, "model: is required"},
		{"does not know a word in the header", Query{Header: "nonsense"}, fault.NotFound, "neither a target nor an alias"},
		{"answers an agent of a foreign provider", Query{Agent: "foreign", Model: "m"}, fault.NotFound, "gemini"},
		{"needs a Claude for the target claude", Query{Agent: "main", Model: "qwen"}, fault.Invalid, "claude_model"},
		{"holds the body to the grammar", Query{Model: "a b"}, fault.Invalid, "no model name"},
	} {
		t.Run(row.it, func(t *testing.T) {
			_, err := table(t, nil).Plan(row.q)
			f := fault.From(err)
			if f == nil || f.Kind != row.kind || !strings.Contains(f.Message, row.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestFallbackChains(t *testing.T) {
	chains := func(s *Settings) {
		s.Fallbacks = map[string][]string{"ollama/*": {"openrouter/a/b", "claude"}, "ollama/codellama": {"fast"}, "fast": {"openrouter/x/y"}}
		s.ClaudeModel = "claude-haiku"
	}
	for _, row := range []struct {
		it     string
		change func(*Settings)
		q      Query
		want   []string
	}{
		{"takes a pattern", chains, Query{Model: "ollama/any", OwnCredential: true}, []string{"ollama/any", "openrouter/a/b", "anthropic/claude-haiku"}},
		{"passes Claude over where nobody has a credential", chains, Query{Model: "ollama/any"}, []string{"ollama/any", "openrouter/a/b"}},
		{"uses Anthropic's own key", func(s *Settings) { chains(s); s.ClaudeKey = true }, Query{Model: "ollama/any"}, []string{"ollama/any", "openrouter/a/b", "anthropic/claude-haiku"}},
		{"takes the target's own chain before a pattern", chains, Query{Agent: "oss:code-reviewer"}, []string{"ollama/codellama", "ollama/qwen3:8b"}},
		{"takes the alias's chain", chains, Query{Model: "fast"}, []string{"ollama/qwen3:8b", "openrouter/x/y"}},
		{"calls nobody else without an entry", chains, Query{Model: "openrouter/q"}, []string{"openrouter/q"}},
		{"calls nobody else when switched off", func(s *Settings) { chains(s); s.FallbackOn = false }, Query{Model: "ollama/any", OwnCredential: true}, []string{"ollama/any"}},
	} {
		t.Run(row.it, func(t *testing.T) {
			p, err := table(t, row.change).Plan(row.q)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, target := range p.Targets {
				got = append(got, target.String())
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNewTableRefuses(t *testing.T) {
	for it, s := range map[string]Settings{
		"a circle":            {Aliases: map[string]string{"a": "b", "b": "a"}},
		"an alias with slash": {Aliases: map[string]string{"a/b": "ollama/x"}},
		"an alias claude":     {Aliases: map[string]string{"claude": "ollama/x"}},
		"a bad target":        {Default: "ollama/a b"},
	} {
		t.Run(it, func(t *testing.T) {
			s.Providers = []string{"ollama"}
			if _, err := NewTable(s); fault.From(err) == nil || fault.From(err).Kind != fault.Invalid {
				t.Errorf("got %v", err)
			}
		})
	}
}
