package routing

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
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
		Agents: map[string]config.Entry{"oss:code-reviewer": {Target: "ollama/codellama"}, "main": {Target: "claude"}, "command:x": {Target: "fast"}, "foreign": {Target: "gemini/pro"},
			"team:*": {Target: "ollama/team"}, "team:lead*": {Target: "openrouter/lead", Thinking: "off", Fallbacks: []string{"fast"}}}, FallbackOn: true}
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
		{"takes the chain of an alias that is a pattern", func(s *Settings) {
			s.Aliases = map[string]string{"claude-haiku-*": "ollama/small"}
			s.Fallbacks = map[string][]string{"claude-haiku-*": {"openrouter/a/b"}}
		}, Query{Model: "claude-haiku-3"}, []string{"ollama/small", "openrouter/a/b"}},
		{"leaves a pattern's chain alone where a project gives the name", func(s *Settings) {
			s.Aliases = map[string]string{"claude-haiku-*": "ollama/small"}
			s.Fallbacks = map[string][]string{"claude-haiku-*": {"openrouter/a/b"}}
		}, Query{Model: "claude-haiku-3", Project: &config.Project{Aliases: map[string]string{"claude-haiku-3": "ollama/theirs"}}}, []string{"ollama/theirs"}},
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

func TestWildcards(t *testing.T) {
	aliases := func(s *Settings) {
		s.Aliases = map[string]string{"claude-*": "ollama/any", "claude-haiku-*": "ollama/small", "claude-haiku-4-5": "ollama/exact", "*-latest": "ollama/latest"}
	}
	for _, row := range []struct {
		it     string
		change func(*Settings)
		q      Query
		want   string
	}{
		{"takes the pattern with most letters", aliases, Query{Model: "claude-haiku-3"}, "ollama/small alias"},
		{"takes an exact name before a pattern", aliases, Query{Model: "claude-haiku-4-5"}, "ollama/exact alias"},
		{"takes the shorter pattern where the longer does not fit", aliases, Query{Model: "claude-opus-4"}, "ollama/any alias"},
		{"finds a star in front", aliases, Query{Model: "x-latest"}, "ollama/latest alias"},
		{"never takes a target for an alias", func(s *Settings) { s.Aliases = map[string]string{"*": "ollama/all"} }, Query{Model: "openrouter/x"}, "openrouter/x body"},
		{"never takes claude for an alias", func(s *Settings) {
			s.Aliases = map[string]string{"claude*": "ollama/all"}
			s.Default = "ollama/d"
		}, Query{Model: "claude"}, "ollama/d default"},
		{"keeps the kinds apart", func(s *Settings) {
			s.Default = "ollama/d"
			s.Agents = map[string]config.Entry{"*": {Target: "ollama/agent"}}
		}, Query{Agent: "command:fix"}, "ollama/d default"},
		{"takes a pattern of commands", func(s *Settings) {
			s.Agents = map[string]config.Entry{"*": {Target: "ollama/agent"}, "command:f*": {Target: "ollama/command"}}
		}, Query{Agent: "command:fix"}, "ollama/command agent"},
		{"takes a pattern of agents", nil, Query{Agent: "team:writer"}, "ollama/team agent"},
		{"takes the longer pattern of agents", nil, Query{Agent: "team:leader"}, "openrouter/lead agent"},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			p, err := table(t, row.change).Plan(row.q)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Targets[0].String() + " " + p.Rule; got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
	t.Run("it gives an entry's settings and chain", func(t *testing.T) {
		p, err := table(t, nil).Plan(Query{Agent: "team:leader"})
		if err != nil || p.Entry.Thinking != "off" || len(p.Targets) != 2 || p.Targets[1].String() != "ollama/qwen3:8b" {
			t.Errorf("%+v %v", p, err)
		}
	})
	t.Run("it gives an agent's settings where the path chooses the target", func(t *testing.T) {
		p, err := table(t, nil).Plan(Query{Agent: "team:leader", Path: &Target{"ollama", "x"}})
		if err != nil || p.Entry.Thinking != "off" || p.Targets[0].String() != "ollama/x" || len(p.Targets) != 1 {
			t.Errorf("%+v %v", p, err)
		}
	})
}

func TestProject(t *testing.T) {
	project := &config.Project{Default: "ollama/theirs", Aliases: map[string]string{"fast": "ollama/quick", "claude": "ollama/evil"},
		Agents: map[string]config.Entry{"oss:code-reviewer": {Target: "ollama/project"}, "p:*": {Target: "fast"}, "far": {Target: "nobody/x"}}}
	for _, row := range []struct {
		it     string
		change func(*Settings)
		q      Query
		want   string
	}{
		{"takes the project's entry", nil, Query{Agent: "oss:code-reviewer"}, "ollama/project agent"},
		{"leaves what a named file wrote", func(s *Settings) { s.Firm = map[string]bool{"agents.oss:code-reviewer": true} }, Query{Agent: "oss:code-reviewer"}, "ollama/codellama agent"},
		{"takes the project's pattern and alias", nil, Query{Agent: "p:x"}, "ollama/quick agent"},
		{"takes the project's default", func(s *Settings) { s.Default = "ollama/ours" }, Query{Model: "zzz"}, "ollama/theirs default"},
		{"leaves a firm default", func(s *Settings) { s.Default, s.Firm = "ollama/ours", map[string]bool{"default": true} }, Query{Model: "zzz"}, "ollama/ours default"},
		{"lets nobody redefine claude", nil, Query{Agent: "main", Model: "claude-opus-4"}, "anthropic/claude-opus-4 agent"},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			row.q.Project = project
			p, err := table(t, row.change).Plan(row.q)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Targets[0].String() + " " + p.Rule; got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
	if _, err := table(t, nil).Plan(Query{Agent: "far", Project: project}); fault.From(err) == nil || fault.From(err).Kind != fault.NotFound {
		t.Errorf("a project chooses only what is configured: %v", err)
	}
}

func TestRules(t *testing.T) {
	yes, no := true, false
	to := func(targets ...string) (out []config.Choice) {
		for _, target := range targets {
			out = append(out, config.Choice{Target: target})
		}
		return out
	}
	rules := func(s *Settings) {
		s.Default = "ollama/base"
		s.Rules = []config.Rule{
			{When: config.Condition{Images: &yes, Target: "ollama/*"}, To: to("ollama/llava")},
			{When: config.Condition{TokensOver: 60_000}, To: to("openrouter/long")},
			{When: config.Condition{Agent: "team:*", Tools: &no}, To: to("fast")},
			{When: config.Condition{Thinking: &yes, TokensUnder: 100}, To: to("ollama/thinker")},
			{When: config.Condition{Subagent: &yes, Model: "claude-*"}, To: to("ollama/sub")},
		}
	}
	for _, row := range []struct {
		it   string
		q    Query
		want string
	}{
		{"leaves what no rule holds for", Query{Model: "m", Tokens: 500}, "ollama/base default"},
		{"goes by images", Query{Traits: messages.Traits{Images: true}}, "ollama/llava rules.1"},
		{"goes by the target found so far", Query{Model: "openrouter/x", Traits: messages.Traits{Images: true}, Tokens: 500}, "openrouter/x body"},
		{"goes by tokens", Query{Tokens: 60_001}, "openrouter/long rules.2"},
		{"counts the bound itself out", Query{Tokens: 60_000}, "ollama/base default"},
		{"goes by agent and tools", Query{Agent: "team:writer", Tokens: 500}, "ollama/qwen3:8b rules.3"},
		{"wants all conditions", Query{Agent: "team:writer", Tokens: 500, Traits: messages.Traits{Tools: true}}, "ollama/team agent"},
		{"goes by thinking and few tokens", Query{Tokens: 99, Traits: messages.Traits{Thinking: true}}, "ollama/thinker rules.4"},
		{"goes by subagent and model", Query{Subagent: true, Model: "claude-opus-4", Tokens: 500}, "ollama/sub rules.5"},
		{"never touches a path", Query{Path: &Target{"ollama", "x"}, Traits: messages.Traits{Images: true}}, "ollama/x path"},
		{"never touches a header", Query{Header: "fast", Tokens: 99_999}, "ollama/qwen3:8b header"},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			p, err := table(t, rules).Plan(row.q)
			if err != nil {
				t.Fatal(err)
			}
			if got := p.Targets[0].String() + " " + p.Rule; got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
	t.Run("it knows a name that nothing else knows", func(t *testing.T) {
		p, err := table(t, func(s *Settings) {
			s.Rules = []config.Rule{{When: config.Condition{Model: "gpt-*"}, To: to("ollama/gpt-oss")}}
		}).Plan(Query{Model: "gpt-9"})
		if err != nil || p.Targets[0].String() != "ollama/gpt-oss" {
			t.Errorf("%+v %v", p, err)
		}
	})
	t.Run("it shares by weight, and a session stays", func(t *testing.T) {
		tb := table(t, func(s *Settings) {
			s.Rules = []config.Rule{{To: []config.Choice{{Target: "ollama/a", Weight: 3}, {Target: "ollama/b"}}}}
		})
		count := map[string]int{}
		for i := range 4000 {
			q := Query{Model: "m", Seed: strconv.Itoa(i)}
			p, err := tb.Plan(q)
			if err != nil {
				t.Fatal(err)
			}
			again, _ := tb.Plan(q)
			if again.Targets[0] != p.Targets[0] {
				t.Fatal("a session went elsewhere")
			}
			count[p.Targets[0].Model]++
		}
		if count["a"] < 2850 || count["a"] > 3150 || count["a"]+count["b"] != 4000 {
			t.Errorf("of 4000 requests, 3000 should go to a: %v", count)
		}
	})
}

// TestExplained holds that what is explained is what is done, for settings and requests that nobody thought of.
func TestExplained(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	targets := []string{"ollama/a", "ollama/b:8b", "openrouter/x/y", "anthropic/claude-z", "claude", "fast", "gone/z", "slow"}
	bools := []*bool{nil, new(true), new(false)}
	choices := func() (out []config.Choice) {
		for range 1 + r.IntN(3) {
			out = append(out, config.Choice{Target: pick(targets...), Weight: r.IntN(4)})
		}
		return out
	}
	for range 3000 {
		s := Settings{Providers: []string{"anthropic", "ollama", "openrouter"}, Aliases: map[string]string{"fast": "ollama/f", "slow": "fast", "claude-*": "ollama/c"},
			Agents:    map[string]config.Entry{"a": {Target: pick(targets...), Fallbacks: []string{pick(targets...)}}, "o:*": {Target: pick(targets...)}},
			Fallbacks: map[string][]string{"ollama/*": {pick(targets...), pick(targets...)}, "fast": {pick(targets...)}}, FallbackOn: r.IntN(4) > 0, ClaudeModel: pick("", "claude-m"), ClaudeKey: r.IntN(2) == 0,
			Default: pick("", "ollama/d", "fast", "claude")}
		for range r.IntN(3) {
			s.Rules = append(s.Rules, config.Rule{To: choices(), When: config.Condition{Agent: pick("", "o:*"), Model: pick("", "claude-*"), Target: pick("", "ollama/*"), TokensOver: int64(r.IntN(2) * 100), Images: bools[r.IntN(3)], Subagent: bools[r.IntN(3)]}})
		}
		tb, err := NewTable(s)
		if err != nil {
			continue // claude without a model, and the like
		}
		q := Query{Header: pick("", "", "fast", "ollama/h", "nonsense"), Agent: pick("", "a", "o:1", "unknown"), Model: pick("", "claude-opus", "ollama/q", "zzz", "fast"), OwnCredential: r.IntN(2) == 0,
			Tokens: int64(r.IntN(200)), Traits: messages.Traits{Images: r.IntN(2) == 0}, Subagent: r.IntN(2) == 0, Seed: strconv.Itoa(r.IntN(9))}
		if r.IntN(5) == 0 {
			q.Path = &Target{pick("ollama", "gone"), "p"}
		}
		plan, err := tb.Plan(q)
		told, how, err2 := tb.Explain(q)
		if diff := cmp.Diff(plan, told); diff != "" || (err == nil) != (err2 == nil) {
			t.Fatalf("%+v: %v, %v\n%s", q, err, err2, diff)
		}
		if err != nil {
			continue
		}
		last := ""
		for _, step := range how.Steps {
			if step.Taken {
				last = step.Rule
			}
		}
		if last != plan.Rule && !(last == "" && plan.Rule == "body") {
			t.Fatalf("%+v: explained %q, done %q", q, last, plan.Rule)
		}
		for _, skipped := range plan.Skipped {
			if !slices.ContainsFunc(how.Excluded, func(e Exclusion) bool { return e.Target+": "+e.Why == skipped }) {
				t.Fatalf("%q was passed over and not told: %+v", skipped, how.Excluded)
			}
		}
	}
}
