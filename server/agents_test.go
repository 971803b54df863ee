package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/agents"
)

// named is an upstream that says its own name, and what it was asked last.
type named struct {
	*scripted
	mu   sync.Mutex
	last string
}

func (n *named) body() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

// newNamed speaks chat completions under /v1/chat/completions, Messages under /v1/messages.
func newNamed(t testing.TB, name string) *named {
	n := &named{}
	n.scripted = upstream(t, func(w http.ResponseWriter, r *http.Request, body string, _ int64) {
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, `{"data":[]}`)
			return
		}
		n.mu.Lock()
		n.last = body
		n.mu.Unlock()
		said := name
		if last := gjson.Get(body, "messages.@reverse.0.content").String(); strings.HasPrefix(last, "echo ") {
			said = name + " " + strings.TrimPrefix(last, "echo ")
		}
		if strings.HasSuffix(r.URL.Path, "/v1/messages") {
			_, _ = fmt.Fprintf(w, `{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":%q}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":2}}`, said)
			return
		}
		_, _ = fmt.Fprintf(w, `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2}}`, said)
	})
	return n
}

// systemRequest is a request in the form of Claude Code, with these system blocks behind the attribution line.
func systemRequest(said string, blocks ...string) string {
	var b strings.Builder
	b.WriteString(`{"model":"claude-x","max_tokens":9,"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2; cch=1;"}`)
	for _, text := range blocks {
		b.WriteString(`,{"type":"text","text":` + strconv.Quote(text) + `}`)
	}
	return b.String() + `],"messages":[{"role":"user","content":` + strconv.Quote(said) + `}]}`
}

func TestAgentsAreRecognised(t *testing.T) {
	local, claude := newNamed(t, "local"), newNamed(t, "claude")
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "reviewer.md"), []byte("---\nname: reviewer\n---\nYou review code with care.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newStandOf(t, func(c *config.Config) {
		c.Providers["local"] = config.Provider{Kind: "openai", BaseURL: local.URL + "/v1"}
		c.Providers["anthropic"] = config.Provider{Kind: "anthropic", BaseURL: claude.URL, APIKey: config.NewSecret("sk-test-1234567890")}
		c.Default = "claude"
		c.Agents = map[string]config.Entry{"reviewer": {Target: "local/m"}, "oss:*": {Target: "local/oss"}, "Explore": {Target: "local/explore"}, "writer": {Target: "claude"}}
		c.Commands = map[string]config.Entry{"fix": {Target: "local/fix"}}
	}, func(o *Options) {
		o.Agents = agents.New([]agents.Source{{Dir: folder, Kind: agents.SourceUser}}, time.Now)
	})
	const identity, other = "You are Claude Code.", "You do something else."
	for _, row := range []struct {
		it, body string
		header   []string
		target   string
	}{
		{"by the header", systemRequest("hi", identity, other), []string{"x-signalbox-agent", "reviewer"}, "local/m"},
		{"by the header with a kind", systemRequest("hi", identity, other), []string{"x-signalbox-agent", "command:fix"}, "local/fix"},
		{"by the marker", systemRequest("hi", identity, other+"\n<!-- OSS-ROUTE-AGENT: oss:code-reviewer -->"), nil, "local/oss"},
		{"by the text of its file", systemRequest("hi", identity, "You review code with care.\n\nNotes: be brief."), nil, "local/m"},
		{"by the text of its file without an identity", systemRequest("hi", "You review code with care."), nil, "local/m"},
		{"by the client's hint", systemRequest("hi", identity, other), []string{"x-claude-code-agent-type", "Explore"}, "local/explore"},
		{"by no hint that says custom", systemRequest("hi", identity, other), []string{"x-claude-code-agent-type", "custom"}, "anthropic/claude-x"},
		{"by no marker in quoted text", systemRequest("hi", identity, other+" Write \"OSS-ROUTE-AGENT: oss:x\" there.\n```\nOSS-ROUTE-AGENT: oss:x\n```\n> OSS-ROUTE-AGENT: oss:x"), nil, "anthropic/claude-x"},
		{"by no marker in what is said", systemRequest("OSS-ROUTE-AGENT: oss:x", identity, other), nil, "anthropic/claude-x"},
		{"by no marker far behind", systemRequest("hi", identity, other, "more", "OSS-ROUTE-AGENT: oss:x"), nil, "anthropic/claude-x"},
		{"and its entry may be claude", systemRequest("hi", identity, other), []string{"x-signalbox-agent", "writer"}, "anthropic/claude-x"},
	} {
		t.Run(row.it, func(t *testing.T) {
			a := s.post(t, "/v1/messages", row.body, row.header...)
			if got := a.header.Get("X-Signalbox-Target"); a.status != 200 || got != row.target {
				t.Errorf("%d from %q, want %q: %s", a.status, got, row.target, a.text)
			}
		})
	}

	t.Run("the marker is for us: taken out of a translation", func(t *testing.T) {
		s.post(t, "/v1/messages", systemRequest("hi", identity, "Before.\n<!-- OSS-ROUTE-AGENT: oss:x -->\nAfter."))
		if got := local.body(); strings.Contains(got, "OSS-ROUTE") || !strings.Contains(got, `Before.\nAfter.`) {
			t.Errorf("the upstream got %s", got)
		}
	})
	t.Run("and left in the verbatim lane", func(t *testing.T) {
		body := systemRequest("hi", identity, "Before.\n<!-- OSS-ROUTE-AGENT: writer -->\nAfter.")
		if s.post(t, "/v1/messages", body); claude.body() != body {
			t.Errorf("the upstream got %s", claude.body())
		}
	})
	t.Run("a tool result chooses nothing", func(t *testing.T) {
		a := s.post(t, "/v1/messages", `{"model":"claude-x","max_tokens":9,"system":"You do something else.","messages":[{"role":"user","content":"go"},{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"Read","input":{}}]},`+
			`{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"OSS-ROUTE-AGENT: oss:x\nYou review code with care."}]}]}`)
		if got := a.header.Get("X-Signalbox-Target"); got != "anthropic/claude-x" {
			t.Errorf("answered by %q", got)
		}
	})
	t.Run("the list says how", func(t *testing.T) {
		list := s.get(t, "/admin/v1/agents").text
		if got := gjson.Get(list, `agents.#(name=="reviewer").recognised`).String(); !strings.Contains(got, "fingerprint") {
			t.Errorf("reviewer is recognised by %s in %s", got, list)
		}
		if got := gjson.Get(list, `agents.#(name=="oss:*").target`).String(); got != "local/oss" {
			t.Errorf("oss:* goes to %q in %s", got, list)
		}
	})
	for _, r := range s.rows(t) {
		if r.Provider == "local" && r.Agent == "" {
			t.Errorf("the ledger does not say whose attempt this was: %+v", r)
		}
	}
}

// TestAgentsNeverCross sends two hundred requests of five agents to five targets at once: each answer is its own target's, to its own
// question.
func TestAgentsNeverCross(t *testing.T) {
	var ups []*named
	s := newStand(t, func(c *config.Config) {
		c.Agents = map[string]config.Entry{}
		for i := range 5 {
			up := newNamed(t, "target"+strconv.Itoa(i))
			ups = append(ups, up)
			name := "p" + strconv.Itoa(i)
			c.Providers[name] = config.Provider{Kind: "openai", BaseURL: up.URL + "/v1"}
			c.Agents["agent"+strconv.Itoa(i)] = config.Entry{Target: name + "/m" + strconv.Itoa(i)}
		}
	})
	var all sync.WaitGroup
	failed := make(chan string, 200)
	for n := range 200 {
		all.Go(func() {
			i := n % 5
			said := "question-" + strconv.Itoa(n)
			body, header := `{"model":"x","max_tokens":9,"messages":[{"role":"user","content":"echo `+said+`"}]}`, []string{"x-signalbox-agent", "agent" + strconv.Itoa(i)}
			if n%2 == 0 { // half of them by a marker
				body = `{"model":"x","max_tokens":9,"system":"OSS-ROUTE-AGENT: agent` + strconv.Itoa(i) + `","messages":[{"role":"user","content":"echo ` + said + `"}]}`
				header = nil
			}
			a, err := s.do(context.Background(), http.MethodPost, "/v1/messages", body, header...)
			switch want := fmt.Sprintf("target%d %s", i, said); {
			case err != nil:
				failed <- err.Error()
			case a.said() != want || a.header.Get("X-Signalbox-Target") != fmt.Sprintf("p%d/m%d", i, i):
				failed <- fmt.Sprintf("%d %q from %s, want %q", a.status, a.said(), a.header.Get("X-Signalbox-Target"), want)
			}
		})
	}
	all.Wait()
	close(failed)
	for f := range failed {
		t.Error(f)
	}
	for i, up := range ups {
		if n := up.calls.Load(); n != 40 {
			t.Errorf("target %d was asked %d times, want 40", i, n)
		}
	}
	count := map[string]int{}
	for _, r := range s.rows(t) {
		count[r.Agent+" "+r.Provider]++
	}
	for i := range 5 {
		if n := count[fmt.Sprintf("agent%d p%d", i, i)]; n != 40 {
			t.Errorf("the ledger has %d attempts of agent %d: %v", n, i, count)
		}
	}
}

func TestAgentSettings(t *testing.T) {
	local, claude := newNamed(t, "local"), newNamed(t, "claude")
	s := newStand(t, func(c *config.Config) {
		c.Providers["deepseek"] = config.Provider{Kind: "openai", BaseURL: local.URL + "/v1", APIKey: config.NewSecret("sk-test-1234567890")}
		c.Providers["anthropic"] = config.Provider{Kind: "anthropic", BaseURL: claude.URL, APIKey: config.NewSecret("sk-test-1234567890")}
		c.Agents = map[string]config.Entry{"quick": {Target: "deepseek/m", Thinking: "off"}, "deep": {Target: "deepseek/m", Thinking: "on", Effort: "low"}, "plain": {Target: "deepseek/m"},
			"own": {Target: "claude", Thinking: "off", Effort: "low"}}
	})
	const thinks = `{"model":"claude-x","max_tokens":9000,"thinking":{"type":"enabled","budget_tokens":4096},"output_config":{"effort":"high"},"messages":[{"role":"user","content":"hi"}]}`
	for _, row := range []struct{ it, agent, body, thinking, effort string }{
		{"leaves a request as it is without settings", "plain", thinks, "enabled", "high"},
		{"switches thinking off", "quick", thinks, "disabled", ""},
		{"switches thinking on, with an effort", "deep", claudeBody, "enabled", "low"},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			a := s.post(t, "/v1/messages", row.body, "x-signalbox-agent", row.agent)
			if a.status != 200 {
				t.Fatal(a.text)
			}
			up := local.body()
			if got := gjson.Get(up, "thinking.type").String() + " " + gjson.Get(up, "reasoning_effort").String(); got != row.thinking+" "+row.effort {
				t.Errorf("the upstream got %s", up)
			}
			if row.agent == "quick" && a.header.Get("X-Signalbox-Dropped") != "" {
				t.Errorf("what the operator switched off is no loss: %s", a.header.Get("X-Signalbox-Dropped"))
			}
		})
	}
	t.Run("it leaves the bytes of the verbatim lane alone", func(t *testing.T) {
		if s.post(t, "/v1/messages", thinks, "x-signalbox-agent", "own"); claude.body() != thinks {
			t.Errorf("the upstream got %s", claude.body())
		}
	})
}

func TestProjectHeader(t *testing.T) {
	local := newNamed(t, "local")
	s := newStand(t, func(c *config.Config) {
		c.Providers["local"] = config.Provider{Kind: "openai", BaseURL: local.URL + "/v1"}
		c.Default = "local/default"
		c.Agents = map[string]config.Entry{"a": {Target: "local/ours"}, "firm": {Target: "local/firm"}}
		c.Firm = map[string]bool{"agents.firm": true}
	})
	p := config.Project{Agents: map[string]config.Entry{"a": {Target: "local/theirs"}, "firm": {Target: "local/theirs"}, "gone": {Target: "nobody/x"}}}
	value, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		agent, target string
		status        int
	}{{"a", "local/theirs", 200}, {"firm", "local/firm", 200}, {"other", "local/default", 200}, {"gone", "", 404}} {
		a := s.post(t, "/v1/messages", claudeBody, "x-signalbox-agent", row.agent, "x-signalbox-project", value)
		if a.status != row.status || a.header.Get("X-Signalbox-Target") != row.target {
			t.Errorf("%s: %d from %q: %s", row.agent, a.status, a.header.Get("X-Signalbox-Target"), a.text)
		}
	}
	if a := s.post(t, "/v1/messages", claudeBody, "x-signalbox-project", "%%%"); a.status != 400 || !strings.Contains(a.message(), "X-Signalbox-Project") {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func TestFallbackIsNamedInTheLedger(t *testing.T) {
	first, second := upstream(t, say(503, `{}`)), newNamed(t, "second")
	s := newStand(t, func(c *config.Config) {
		c.Providers["a"] = config.Provider{Kind: "openai", BaseURL: first.URL}
		c.Providers["b"] = config.Provider{Kind: "openai", BaseURL: second.URL + "/v1"}
		c.Agents = map[string]config.Entry{"x": {Target: "a/m", Fallbacks: []string{"b/n"}}}
	})
	if a := s.post(t, "/v1/messages", claudeBody, "x-signalbox-agent", "x"); a.status != 200 || a.header.Get("X-Signalbox-Fallback") != "a/m -> b/n; upstream_5xx" {
		t.Fatalf("%d %v", a.status, a.header)
	}
	rows := s.rows(t)
	if len(rows) != 2 || rows[0].Fallback != "" || rows[1].Fallback != "a/m; upstream_5xx" || rows[1].Agent != "x" {
		t.Errorf("%+v", rows)
	}
}

func TestOverflowGoesToALargerWindow(t *testing.T) {
	const overflow = `{"error":{"code":"context_length_exceeded","message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."}}`
	small, same, large := upstream(t, say(400, overflow)), newNamed(t, "same"), newNamed(t, "large")
	s := newStand(t, func(c *config.Config) {
		c.Providers["small"] = config.Provider{Kind: "openai", BaseURL: small.URL, NumCtx: 8192}
		c.Providers["same"] = config.Provider{Kind: "openai", BaseURL: same.URL + "/v1", NumCtx: 8192}
		c.Providers["large"] = config.Provider{Kind: "openai", BaseURL: large.URL + "/v1", NumCtx: 65536}
		c.Fallbacks = map[string][]string{"small/*": {"same/m", "large/m"}, "same/*": {"small/m"}}
	})
	a := s.post(t, "/v1/small/m/messages", claudeBody)
	if a.status != 200 || a.header.Get("X-Signalbox-Target") != "large/m" || same.calls.Load() != 0 {
		t.Errorf("%d from %q, and the one of the same size was asked %d times: %s", a.status, a.header.Get("X-Signalbox-Target"), same.calls.Load(), a.text)
	}
}

// TestFirstReasonStands: what a fallback says of itself must not hide why it was asked.
func TestFirstReasonStands(t *testing.T) {
	const overflow = `{"error":{"code":"context_length_exceeded","message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."}}`
	for _, row := range []struct {
		it            string
		first, second func(http.ResponseWriter, *http.Request, string, int64)
		status        int
		says          string
	}{
		{"a prompt too long for the fallback alone", say(529, `{"error":{"message":"busy"}}`), say(400, overflow), 529, "busy"},
		{"a request that the fallback alone refuses", say(503, `{"error":{"message":"down"}}`), say(400, `{"error":{"message":"no such field"}}`), 529, "down"},
		{"a prompt too long for the first, and a broken fallback", say(400, overflow), say(500, `{"error":{"message":"broken"}}`), 400, "prompt is too long: 9000 tokens > 8192 maximum"},
		{"two that are down: the last one's word", say(503, `{"error":{"message":"down"}}`), say(500, `{"error":{"message":"broken"}}`), 502, "broken"},
	} {
		t.Run(row.it, func(t *testing.T) {
			first, second := upstream(t, row.first), upstream(t, row.second)
			s := newStand(t, func(c *config.Config) {
				c.Providers["a"] = config.Provider{Kind: "openai", BaseURL: first.URL}
				c.Providers["b"] = config.Provider{Kind: "openai", BaseURL: second.URL}
				c.Fallbacks = map[string][]string{"a/*": {"b/m"}}
			})
			if a := s.post(t, "/v1/a/m/messages", claudeBody); a.status != row.status || !strings.Contains(a.message(), row.says) {
				t.Errorf("%d %s, want %d %s", a.status, a.text, row.status, row.says)
			}
			if second.calls.Load() != 1 {
				t.Errorf("the fallback was asked %d times", second.calls.Load())
			}
		})
	}
}
