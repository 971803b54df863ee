package claudecode

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
)

// Over a real Ollama there is no script: what a model says, its template decides, and how the server tells it is the server's
// own affair. A template below is what stands in the place of a mind.

// template is how a model of tests/models is told what to say. The first part is the conversation, of which the server must
// see that it can hold tools and calls; what the model says comes last.
const template = `{{ range $m := .Messages }}{{ if %s }}<|msg|>{{ $m.Role }}
{{ $m.Content }}{{ if .ToolCalls }}<tool_call>{{ range .ToolCalls }}{"name": "{{ .Function.Name }}", "arguments": {{ .Function.Arguments }}}{{ end }}</tool_call>{{ end }}
{{ end }}{{ end }}{{ range .Tools }}{{ end }}<|src|><|src0|>%s<|endoftext|><|out|><|out0|>`

// model makes a model on the real server that says what a template gives. No message reaches it beyond that, so a turn costs
// milliseconds however long Claude Code's prompt is.
func model(t *testing.T, server, name, says string) {
	t.Helper()
	create(t, server, name, fmt.Sprintf(template, `eq $m.Role "nobody"`, says))
}

func create(t *testing.T, server, name, template string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"model": name, "from": "echo", "stream": false, "template": template,
		"parameters": map[string]any{"temperature": 0, "num_thread": 1, "num_predict": 2048}})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(server+"/api/create", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if said, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Fatalf("create %s: %s: %s", name, res.Status, said)
	}
}

// first is a template that says one thing, and after a tool has answered, what all tools answered.
func first(says string) string {
	return `{{ $done := false }}{{ range .Messages }}{{ if eq .Role "tool" }}{{ $done = true }}The tool said: {{ .Content }} {{ end }}{{ end }}{{ if not $done }}` + says + `{{ end }}`
}

// calling is how a model of tests/models calls a tool.
func calling(name string, input map[string]any) string {
	b, _ := json.Marshal(input)
	return fmt.Sprintf("<tool_call>{\"name\": %q, \"arguments\": %s}</tool_call>", name, b)
}

// realOllama is the address of the real server.
func realOllama(t *testing.T) string {
	t.Helper()
	url := os.Getenv("SIGNALBOX_TEST_OLLAMA_URL")
	if url == "" {
		if os.Getenv("SIGNALBOX_REQUIRE_REAL") == "1" {
			t.Fatal("no real Ollama: SIGNALBOX_TEST_OLLAMA_URL is not set")
		}
		t.Skip("skipped: no real Ollama (tests/with-ollama.sh starts one)")
	}
	return url
}

func ollamaConfig(url, more string) string {
	return fmt.Sprintf("providers:\n  ollama: {kind: ollama, base_url: %q%s}\n", url, more)
}

// A tool runs, and what it said is in the model's answer.
func TestOllamaToolLoop(t *testing.T) {
	url := realOllama(t)
	model(t, url, "worker", first(calling("Bash", map[string]any{"command": "echo answer-$((6*7)) > made.txt; cat made.txt", "description": "Make a file"})))
	u := newUser(t, serve(t, ollamaConfig(url, "")))
	o := u.ask(t, "make a file", "ollama/worker")
	o.succeeds(t, "The tool said: answer-42")
	if got := u.read(t, "made.txt"); got != "answer-42\n" {
		t.Errorf("the file holds %q", got)
	}
	if o.Usage.InputTokens == 0 || o.Usage.OutputTokens == 0 {
		t.Errorf("usage %+v", o.Usage)
	}
}

// Two calls in one answer: both run, and both results are before the model.
func TestOllamaParallelTools(t *testing.T) {
	url := realOllama(t)
	model(t, url, "pair", first(calling("Bash", map[string]any{"command": "echo one-$((1+0))", "description": "One"})+calling("Bash", map[string]any{"command": "echo two-$((1+1))", "description": "Two"})))
	o := newUser(t, serve(t, ollamaConfig(url, ""))).ask(t, "do both", "ollama/pair")
	o.succeeds(t, "one-1")
	o.succeeds(t, "two-2")
	if got := strings.Join(o.calls(), " "); got != "Bash Bash" {
		t.Errorf("ran %s", got)
	}
}

// The main agent's model starts a subagent, which has a model of its own and a tool.
func TestOllamaSubagent(t *testing.T) {
	url := realOllama(t)
	model(t, url, "lead", first(calling("Agent", map[string]any{"description": "Count things", "prompt": "count the beans", "subagent_type": "counter", "run_in_background": false})))
	model(t, url, "counter", first(calling("Bash", map[string]any{"command": "echo beans-$((40+2))", "description": "Count"})))
	u := newUser(t, serve(t, ollamaConfig(url, "")))
	u.file(t, ".claude/agents/counter.md", counter("ollama/counter"))
	o := u.ask(t, "have it counted", "ollama/lead")
	o.succeeds(t, "The tool said: beans-42")
	for _, m := range []string{"ollama/lead", "ollama/counter"} {
		if o.ModelUsage[m].OutputTokens == 0 {
			t.Errorf("the accounting shows nothing of %s: %+v", m, o.ModelUsage)
		}
	}
}

// A model that cannot see is told that an image was there: it is neither refused nor left in the belief that there was none.
func TestOllamaImage(t *testing.T) {
	url := realOllama(t)
	u := newUser(t, serve(t, ollamaConfig(url, "")))
	file := u.file(t, "picture.png", picture())
	model(t, url, "blind", first(calling("Read", map[string]any{"file_path": file})))
	o := u.ask(t, "look at the picture", "ollama/blind")
	o.succeeds(t, "an image was here")
}

// A prompt that does not fit the window is not cut by the server in silence: Claude Code learns that it is too long.
func TestOllamaContextOverflow(t *testing.T) {
	url := realOllama(t)
	create(t, url, "reader", fmt.Sprintf(template, "true", "Hello.")) // is given the whole conversation
	o := newUser(t, serve(t, ollamaConfig(url, ", max_num_ctx: 4096"))).ask(t, "hello", "ollama/reader")
	if !o.IsError || o.TerminalReason != "prompt_too_long" || !strings.Contains(o.Result, "Prompt is too long") {
		t.Errorf("is_error %v, ended as %q, says %q", o.IsError, o.TerminalReason, o.Result)
	}
}

// The connection to the server breaks in the middle of an answer: the half is not taken, and the answer comes whole.
func TestOllamaBreak(t *testing.T) {
	url := realOllama(t)
	model(t, url, "worker", "These words come one after the other, and all of them are wanted.")
	var chats atomic.Int32
	breaks := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.Clone(r.Context())
		q.RequestURI = ""
		q.URL.Scheme, q.URL.Host = "http", strings.TrimPrefix(url, "http://")
		res, err := http.DefaultTransport.RoundTrip(q)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		for k, v := range res.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(res.StatusCode)
		if r.URL.Path != "/api/chat" || chats.Add(1) > 1 {
			_, _ = io.Copy(w, res.Body)
			return
		}
		lines := bufio.NewReader(res.Body)
		for range 4 {
			line, _ := lines.ReadBytes('\n')
			_, _ = w.Write(line)
			w.(http.Flusher).Flush()
		}
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(breaks.Close)
	o := newUser(t, serve(t, ollamaConfig(breaks.URL, ""))).ask(t, "say it", "ollama/worker")
	o.succeeds(t, "These words come one after the other, and all of them are wanted.")
	if n := chats.Load(); n != 2 {
		t.Errorf("%d answers were asked for, want 2", n)
	}
	shown := 0
	for _, e := range o.events {
		if e.Type == "assistant" && strings.Contains(string(e.Message.Content), "These") {
			shown++
		}
	}
	if shown != 1 {
		t.Errorf("the words were shown %d times", shown)
	}
}
