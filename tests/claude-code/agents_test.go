package claudecode

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// agent is the file of an agent that names no model: which one serves it is the gateway's configuration alone.
func agent(name, prompt string) string {
	return "---\nname: " + name + "\ndescription: The " + name + "\ntools: Bash\n---\n\n" + prompt + "\n"
}

// known puts an agent's file where the client finds it, and where the gateway does: on one machine that is one home folder.
func (u *user) known(t *testing.T, name, prompt string) {
	t.Helper()
	for _, home := range []string{u.home, u.gateway.home} {
		p := filepath.Join(home, ".claude", "agents", name+".md")
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(agent(name, prompt)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// exchange is a line of the gateway's log about one request.
type exchange struct {
	Message  string `json:"msg"`
	Agent    string
	Provider string
	Model    string
	Kind     string
	Status   int
}

// served says which targets answered each agent's requests, as the log has it.
func (g *gateway) served() map[string]map[string]int {
	out := map[string]map[string]int{}
	for line := range strings.Lines(g.log.String()) {
		var e exchange
		if json.Unmarshal([]byte(line), &e) != nil || e.Provider == "" || e.Status != 200 {
			continue
		}
		if out[e.Agent] == nil {
			out[e.Agent] = map[string]int{}
		}
		out[e.Agent][e.Provider+"/"+e.Model]++
	}
	return out
}

// count and tell are two calls of Agent in one turn.
func count(background bool) []call {
	one := func(id, name, prompt string) call {
		return call{id, "Agent", map[string]any{"description": "Do it", "prompt": prompt, "subagent_type": name, "run_in_background": background}}
	}
	return []call{one("call_c", "counter", "count the beans"), one("call_t", "teller", "tell a story")}
}

const (
	countPrompt = "You are the bean counter.\n\nCount what you are given, and say how many there were."
	tellPrompt  = "You are the teller of stories.\nTell them short."
)

// Two subagents whose files name no model and hold no marker are served by two models of the configuration: the gateway knows them by
// the text of their files. The main agent stays where it is.
func TestTwoAgents(t *testing.T) {
	says := func(text string) *upstream {
		return newUpstream(t, chatCompletions, func(*chat) answer { return answer{says: text} })
	}
	counts, tells := says("There were 42."), says("Once upon a time.")
	up := newUpstream(t, chatCompletions, func(q *chat) answer {
		if len(q.results()) == 0 {
			return answer{calls: count(false)}
		}
		return answer{says: q.result("call_c") + " " + q.result("call_t")}
	})
	u := newUser(t, serve(t, "agents: {counter: counts/small, teller: tells/large}\nproviders:\n"+up.config("up")+counts.config("counts")+tells.config("tells")))
	u.known(t, "counter", countPrompt)
	u.known(t, "teller", tellPrompt)
	o := u.ask(t, "have it done", "up/clever")
	o.succeeds(t, "There were 42.")
	o.succeeds(t, "Once upon a time.")
	for _, row := range []struct {
		up            *upstream
		model, prompt string
		n             int
	}{{counts, "small", "You are the bean counter.", 1}, {tells, "large", "You are the teller of stories.", 1}, {up, "clever", "", 2}} {
		if n := len(row.up.requests()); n != row.n {
			t.Errorf("%s got %d requests, want %d", row.model, n, row.n)
		}
		for _, q := range row.up.requests() {
			if q.Model != row.model || row.prompt != "" && !q.told("system", row.prompt) || row.prompt == "" && q.told("system", "You are the bean counter.") {
				t.Errorf("%s was asked as %q, or with another's prompt", row.model, q.Model)
			}
		}
	}
	if got := u.gateway.served(); got["counter"]["counts/small"] != 1 || got["teller"]["tells/large"] != 1 || got[""]["up/clever"] != 2 {
		t.Errorf("the log says %v", got)
	}
}

// claude is a scripted Anthropic: it gets the client's own bytes and speaks the Messages API. Its script says what to answer to a
// body.
type claude struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	keys   []string
}

// said is a block of an answer: a text, or a call.
type said struct {
	text string
	call *call
}

func newClaude(t *testing.T, script func(body string) []said) *claude {
	c := &claude{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path != "/v1/messages" {
			http.NotFound(w, r)
			return
		}
		c.mu.Lock()
		c.bodies, c.keys = append(c.bodies, string(b)), append(c.keys, r.Header.Get("X-Api-Key")+r.Header.Get("Authorization"))
		c.mu.Unlock()
		w.Header().Set("Content-Type", "text/event-stream")
		send := func(name string, v map[string]any) {
			v["type"] = name
			data, _ := json.Marshal(v)
			fmt.Fprintf(w, "event: %s\ndata: %s\n\n", name, data)
		}
		var asked struct{ Model string }
		_ = json.Unmarshal(b, &asked)
		send("message_start", map[string]any{"message": map[string]any{"id": "msg_1", "type": "message", "role": "assistant", "model": asked.Model, "content": []any{},
			"stop_reason": nil, "stop_sequence": nil, "usage": map[string]any{"input_tokens": 1000, "output_tokens": 1}}})
		reason := "end_turn"
		for i, s := range script(string(b)) {
			start, delta := map[string]any{"type": "text", "text": ""}, map[string]any{"type": "text_delta", "text": s.text}
			if s.call != nil {
				reason = "tool_use"
				start, delta = map[string]any{"type": "tool_use", "id": s.call.id, "name": s.call.name, "input": map[string]any{}}, map[string]any{"type": "input_json_delta", "partial_json": s.call.arguments()}
			}
			send("content_block_start", map[string]any{"index": i, "content_block": start})
			send("content_block_delta", map[string]any{"index": i, "delta": delta})
			send("content_block_stop", map[string]any{"index": i})
		}
		send("message_delta", map[string]any{"delta": map[string]any{"stop_reason": reason, "stop_sequence": nil}, "usage": map[string]any{"output_tokens": 10}})
		send("message_stop", map[string]any{})
	}))
	t.Cleanup(c.Close)
	return c
}

// isCounter reports whether a request is the subagent's: its own prompt stands in the system prompt, where the main agent's has none
// of it.
func isCounter(body string) bool {
	var asked struct{ System json.RawMessage }
	_ = json.Unmarshal([]byte(body), &asked)
	return strings.Contains(string(asked.System), "You are the bean counter.")
}

// The plan's own story with the real client: the main agent on Claude, two subagents on two models of a real Ollama, known by the
// text of their files and free of charge; with Ollama gone Claude answers for them with the credential of the caller, and is named;
// with the fallback disabled the client hears why not.
func TestOllamaTwoAgents(t *testing.T) {
	url := realOllama(t)
	model(t, url, "beans", "There were 42.")
	model(t, url, "stories", "Once upon a time.")
	up := newClaude(t, func(body string) []said {
		switch calls := count(false); {
		case isCounter(body):
			return []said{{text: "Counted by Claude."}}
		case !strings.Contains(body, "tool_result"):
			return []said{{call: &calls[0]}, {call: &calls[1]}}
		case strings.Contains(body, "There were 42.") && strings.Contains(body, "Once upon a time."):
			return []said{{text: "Both have answered."}}
		case strings.Contains(body, "Counted by Claude."):
			return []said{{text: "Claude has counted."}}
		}
		return []said{{text: "Nobody has answered."}}
	})
	agents := "claude_model: claude-haiku-4-5\nagents: {counter: ollama/beans, teller: ollama/stories}\n"
	anthropic := fmt.Sprintf("  anthropic: {kind: anthropic, base_url: %q}\n", up.URL)

	u := newUser(t, serve(t, agents+ollamaConfig(url, "")+anthropic))
	u.known(t, "counter", countPrompt)
	u.known(t, "teller", tellPrompt)
	u.ask(t, "have it done", "claude-sonnet-4-5").succeeds(t, "Both have answered.")
	if got := u.gateway.served(); got["counter"]["ollama/beans"] == 0 || got["teller"]["ollama/stories"] == 0 || got[""]["anthropic/claude-sonnet-4-5"] != 2 {
		t.Errorf("the log says %v", got)
	}
	for agent, cost := range u.gateway.costs(t) {
		if free := agent == "counter" || agent == "teller"; free != (cost == 0) {
			t.Errorf("%q has cost %d nano-USD", agent, cost)
		}
	}

	const gone = "  ollama: {kind: ollama, base_url: \"http://127.0.0.1:9\"}\n"
	const chain = "fallbacks: {\"ollama/*\": [claude]}\n"
	u = newUser(t, serve(t, agents+chain+"providers:\n"+gone+anthropic))
	u.known(t, "counter", countPrompt)
	u.known(t, "teller", tellPrompt)
	u.ask(t, "have it done", "claude-sonnet-4-5").succeeds(t, "Claude has counted.")
	if log := u.gateway.log.String(); !strings.Contains(log, `"from":"ollama/beans"`) || !strings.Contains(log, `"msg":"fallback"`) {
		t.Error("the log does not name the fallback")
	}
	for _, key := range up.keys {
		if key != "sk-of-the-caller" {
			t.Errorf("Claude was asked with %q", key)
		}
	}

	u = newUser(t, serve(t, agents+chain+"fallback_enabled: false\nproviders:\n"+gone+anthropic), "CLAUDE_CODE_MAX_RETRIES=0")
	u.known(t, "counter", countPrompt)
	u.known(t, "teller", tellPrompt)
	if o := u.ask(t, "have it done", "claude-sonnet-4-5"); !strings.Contains(o.raw, "start it with: ollama serve") {
		t.Error("nobody is told that Ollama does not run")
	}
}

// costs is what the ledger says that each agent has cost, in nano-USD.
func (g *gateway) costs(t *testing.T) map[string]int64 {
	t.Helper()
	cmd := exec.Command(binary, "costs", "--json", "--by", "agent")
	cmd.Env = []string{"HOME=" + g.home, "SIGNALBOX_STATE_DIR=" + filepath.Join(g.home, "state")}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Rows []struct {
			Agent string
			Cost  int64 `json:"cost_nanousd"`
		}
	}
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	all := map[string]int64{}
	for _, r := range report.Rows {
		all[r.Agent] = r.Cost
	}
	if len(all) < 3 {
		t.Errorf("the ledger knows too few agents: %s", out)
	}
	return all
}
