package claudecode

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
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

// The same over a real Ollama, free of charge; with it gone each agent's chain answers, and without a chain the client hears why not.
func TestOllamaTwoAgents(t *testing.T) {
	url := realOllama(t)
	var both strings.Builder
	for _, c := range count(false) {
		both.WriteString(calling(c.name, c.input))
	}
	model(t, url, "lead", first(both.String()))
	model(t, url, "beans", "There were 42.")
	model(t, url, "stories", "Once upon a time.")
	agents := "agents: {counter: ollama/beans, teller: ollama/stories}\n"

	u := newUser(t, serve(t, agents+ollamaConfig(url, "")))
	u.known(t, "counter", countPrompt)
	u.known(t, "teller", tellPrompt)
	o := u.ask(t, "have it done", "ollama/lead")
	o.succeeds(t, "There were 42.")
	o.succeeds(t, "Once upon a time.")
	if got := u.gateway.served(); got["counter"]["ollama/beans"] == 0 || got["teller"]["ollama/stories"] == 0 || got[""]["ollama/lead"] == 0 {
		t.Errorf("the log says %v", got)
	}

	up := newUpstream(t, chatCompletions, func(q *chat) answer {
		switch {
		case q.told("system", "You are the bean counter."):
			return answer{says: "By the fallback."}
		case len(q.results()) == 0:
			return answer{calls: count(false)[:1]}
		}
		return answer{says: q.result("call_c")}
	})
	const gone = "  ollama: {kind: ollama, base_url: \"http://127.0.0.1:9\"}\n"
	u = newUser(t, serve(t, "agents: {counter: {target: ollama/beans, fallbacks: [up/clever]}}\nproviders:\n"+gone+up.config("up")))
	u.known(t, "counter", countPrompt)
	u.ask(t, "have it done", "up/clever").succeeds(t, "By the fallback.")
	if log := u.gateway.log.String(); !strings.Contains(log, `"from":"ollama/beans"`) || !strings.Contains(log, `"msg":"fallback"`) {
		t.Error("the log does not name the fallback")
	}
	u = newUser(t, serve(t, "agents: {counter: {target: ollama/beans, fallbacks: [up/clever]}}\nfallback_enabled: false\nproviders:\n"+gone+up.config("up")), "CLAUDE_CODE_MAX_RETRIES=0")
	u.known(t, "counter", countPrompt)
	if o := u.ask(t, "have it done", "up/clever"); !strings.Contains(o.raw, "start it with: ollama serve") {
		t.Error("nobody is told that Ollama does not run")
	}
}
