package claudecode

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// with is a gateway whose provider "up" is a server of chat completions with this script.
func with(t *testing.T, script func(q *chat) answer) (*upstream, *gateway) {
	t.Helper()
	u := newUpstream(t, chatCompletions, script)
	return u, serve(t, "providers:\n"+u.config("up"))
}

func bash(id, command string) call {
	return call{id, "Bash", map[string]any{"command": command, "description": "Run it"}}
}

// picture is a small image.
func picture() string {
	m := image.NewRGBA(image.Rect(0, 0, 20, 10))
	for i := range 200 {
		m.Set(i%20, i/20, color.RGBA{uint8(i), 90, uint8(255 - i), 255})
	}
	var b bytes.Buffer
	_ = png.Encode(&b, m)
	return b.String()
}

// isPicture says what is wrong with an image that should be picture's.
func isPicture(url string) error {
	head, data, _ := strings.Cut(url, ",")
	b, err := base64.StdEncoding.DecodeString(data)
	if err != nil || !strings.HasSuffix(head, ";base64") {
		return fmt.Errorf("%.60s: %v", url, err)
	}
	m, format, err := image.DecodeConfig(bytes.NewReader(b))
	if err != nil || m.Width != 20 || m.Height != 10 {
		return fmt.Errorf("%.60s is %s, %d × %d: %v", url, format, m.Width, m.Height, err)
	}
	return nil
}

// Thinking, Write, Read, Edit, a command that fails, and an image, over every dialect: each result goes up under its id, the
// upstream's own state comes back to it, nothing of the conversation is lost, and what the tools did is really there.
func TestToolLoop(t *testing.T) {
	for name, speaks := range map[string]dialect{"chat-completions": chatCompletions, "deepseek": deepseek, "ollama": ollamaChat, "gemini": gemini, "responses": responses} {
		t.Run(name, func(t *testing.T) {
			var dir string
			up := newUpstream(t, speaks, func(q *chat) answer {
				note := filepath.Join(dir, "note.txt")
				switch len(q.results()) {
				case 0:
					return answer{thinks: "A note is wanted.", says: "I write it.", calls: []call{{"write-1", "Write", map[string]any{"file_path": note, "content": "first line\nzażółć 'gęślą' \"jaźń\"\n"}}}}
				case 1:
					return answer{thinks: "Is it there?", calls: []call{{"read-1", "Read", map[string]any{"file_path": note}}}}
				case 2:
					return answer{calls: []call{{"edit-1", "Edit", map[string]any{"file_path": note, "old_string": "first", "new_string": "changed"}}}}
				case 3:
					return answer{calls: []call{bash("bash-1", "cat note.txt; exit 3")}}
				case 4:
					return answer{says: "And the picture.", calls: []call{{"read-2", "Read", map[string]any{"file_path": filepath.Join(dir, "picture.png")}}}}
				}
				return answer{thinks: "That is all.", says: "All done, friend."}
			})
			g := serve(t, "providers:\n"+up.config("up"))
			u := newUser(t, g)
			dir = u.dir
			u.file(t, "picture.png", picture())
			o := u.ask(t, "make a note", "up/clever")
			o.succeeds(t, "All done, friend.")

			if got, want := u.read(t, "note.txt"), "changed line\nzażółć 'gęślą' \"jaźń\"\n"; got != want {
				t.Errorf("the file holds %q, want %q", got, want)
			}
			if got, want := strings.Join(o.calls(), " "), "Write Read Edit Bash Read"; got != want {
				t.Errorf("ran %s, want %s", got, want)
			}
			up.grows(t)
			all := up.requests()
			if len(all) != 6 {
				t.Fatalf("%d requests, want 6", len(all))
			}
			last := all[5]
			for id, want := range map[string]string{"write-1": "note.txt", "read-1": "zażółć 'gęślą' \"jaźń\"", "edit-1": "note.txt", "bash-1": "changed line"} {
				if got := last.result(id); !strings.Contains(got, want) {
					t.Errorf("the result of %s is %q, want %q in it", id, got, want)
				}
			}
			if got := last.result("bash-1"); !strings.HasPrefix(got, "Error: ") {
				t.Errorf("a command that fails gives %q", got)
			}
			if urls := last.images(); len(urls) != 1 {
				t.Errorf("%d images", len(urls))
			} else if err := isPicture(urls[0]); err != nil {
				t.Errorf("the image: %v", err)
			}
			for i, want := range []string{"A note is wanted.", "Is it there?"} {
				switch name {
				case "chat-completions": // has no place for it
					want = ""
				case "gemini", "responses":
					want = sealed(want)
				}
				if got := last.assistant(i).Reasoning; got != want {
					t.Errorf("the reasoning of answer %d came back as %q, want %q", i, got, want)
				}
			}
			if o.Usage.InputTokens < 1000 || o.Usage.OutputTokens < 10 || o.ModelUsage["up/clever"].OutputTokens != 60 {
				t.Errorf("usage %+v, by model %+v", o.Usage, o.ModelUsage)
			}
		})
	}
}

// Three calls in one answer, their arguments interleaved: all run, and all results come back at once, in the order that
// Claude Code gives them in, which is that of their ends.
func TestParallelTools(t *testing.T) {
	var dir string
	up, g := with(t, func(q *chat) answer {
		if len(q.results()) == 0 {
			return answer{says: "All three at once.", calls: []call{
				{"call_1", "Read", map[string]any{"file_path": filepath.Join(dir, "one.txt")}},
				bash("call_2", "sleep 0.3; echo from the shell"),
				{"call_3", "Read", map[string]any{"file_path": filepath.Join(dir, "missing.txt")}},
			}}
		}
		return answer{says: "Seen all three."}
	})
	u := newUser(t, g)
	dir = u.dir
	u.file(t, "one.txt", "the first file\n")
	o := u.ask(t, "look at these", "up/clever")
	o.succeeds(t, "Seen all three.")

	up.grows(t)
	all := up.requests()
	if len(all) != 2 {
		t.Fatalf("%d requests, want 2", len(all))
	}
	var shown, came []string
	for _, r := range o.results() {
		shown = append(shown, r.ToolUseID)
	}
	for _, r := range all[1].results() {
		came = append(came, r.ToolCallID)
	}
	if len(came) != 3 || strings.Join(came, " ") != strings.Join(shown, " ") {
		t.Errorf("results of %s came up, of %s were shown", came, shown)
	}
	for id, want := range map[string]string{"call_1": "the first file", "call_2": "from the shell", "call_3": "Error: "} {
		if got := all[1].result(id); !strings.Contains(got, want) {
			t.Errorf("the result of %s is %q, want %q in it", id, got, want)
		}
	}
}

// counter is the file of an agent that has one tool and this model.
func counter(model string) string {
	return "---\nname: counter\ndescription: Counts beans\nmodel: " + model + "\ntools: Bash\n---\nYou are the bean counter.\n"
}

// An agent's file names a model of its own: that subagent alone goes there, runs its tools, and its report comes back, at
// once or as a notice when it works in the background.
func TestSubagent(t *testing.T) {
	for _, background := range []bool{false, true} {
		t.Run(fmt.Sprintf("background %v", background), func(t *testing.T) {
			const report = "My report: counted 42"
			sub := newUpstream(t, chatCompletions, func(q *chat) answer {
				if len(q.results()) == 0 {
					return answer{calls: []call{bash("call_s", "echo counted 42")}}
				}
				return answer{says: "My report: " + q.result("call_s")}
			})
			up := newUpstream(t, chatCompletions, func(q *chat) answer {
				switch {
				case len(q.results()) == 0:
					return answer{calls: []call{{"call_a", "Agent", map[string]any{"description": "Count things", "prompt": "count the beans", "subagent_type": "counter", "run_in_background": background}}}}
				case q.told("tool", report) || q.told("user", report):
					return answer{says: "It is done."}
				}
				return answer{says: "I wait."}
			})
			u := newUser(t, serve(t, "providers:\n"+up.config("up")+sub.config("other")))
			u.file(t, ".claude/agents/counter.md", counter("other/small:7b"))
			o := u.ask(t, "have it counted", "up/clever")
			o.succeeds(t, "It is done.")

			up.grows(t)
			sub.grows(t)
			if n := len(sub.requests()); n != 2 {
				t.Fatalf("the subagent's model got %d requests, want 2", n)
			}
			for _, q := range sub.requests() {
				if q.Model != "small:7b" || !q.told("system", "You are the bean counter.") || !q.told("user", "count the beans") {
					t.Errorf("the subagent's model was asked as %q, or without its own prompt", q.Model)
				}
				if len(q.Tools) != 1 || q.Tools[0].Function.Name != "Bash" {
					t.Errorf("the subagent has the tools %v", q.Tools)
				}
			}
			for _, q := range up.requests() {
				if q.Model != "clever" || q.told("system", "bean counter") {
					t.Errorf("the main agent's model was asked as %q", q.Model)
				}
			}
		})
	}
}

// The header that a user gives to a whole session names an agent: its rule wins over the model that Claude Code asks for, for
// the session and its subagents.
func TestAgentRule(t *testing.T) {
	ruled := newUpstream(t, chatCompletions, func(*chat) answer { return answer{says: "By the rule."} })
	up := newUpstream(t, chatCompletions, func(*chat) answer { return answer{says: "By the model."} })
	g := serve(t, "agents: {\"oss:code-reviewer\": other/large}\nproviders:\n"+up.config("up")+ruled.config("other"))
	newUser(t, g, "ANTHROPIC_CUSTOM_HEADERS=x-signalbox-agent: oss:code-reviewer").ask(t, "hello", "up/clever").succeeds(t, "By the rule.")
	newUser(t, g).ask(t, "hello", "up/clever").succeeds(t, "By the model.")
}

// overflow is how vLLM says that a prompt is too long.
const overflow = `{"object":"error","message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. Please reduce the length of the messages.","type":"BadRequestError","code":400}`

// openAIOverflow is how OpenAI says it.
const openAIOverflow = `{"error":{"message":"Your input exceeds the context window of this model.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`

// A conversation that no longer fits: Claude Code knows it by our words, has it summed up, and goes on with the summary.
func TestContextOverflow(t *testing.T) {
	for name, body := range map[string]string{"with figures": overflow, "without figures": openAIOverflow} {
		t.Run(name, func(t *testing.T) {
			const summary = "They asked about apples."
			up, g := with(t, func(q *chat) answer {
				switch {
				case q.told("user", "CRITICAL: Respond with TEXT ONLY"):
					return answer{says: "<analysis>short</analysis>\n<summary>" + summary + "</summary>"}
				case q.told("user", "about pears") && !q.told("user", summary):
					return answer{status: 400, body: body}
				case q.told("user", "about pears"):
					return answer{says: "Pears it is."}
				}
				return answer{says: "Apples it is."}
			})
			u := newUser(t, g)
			first := u.ask(t, "tell me about apples", "up/clever")
			first.succeeds(t, "Apples it is.")
			o := u.ask(t, "tell me about pears", "up/clever", "--resume", first.SessionID)
			o.succeeds(t, "Pears it is.")
			if !o.has("compact_boundary") {
				t.Error("Claude Code did not compact the conversation")
			}
			refused := 0
			for _, q := range up.requests() {
				if q.told("user", "about pears") && !q.told("user", summary) && !q.told("user", "CRITICAL: Respond") {
					refused++
				}
			}
			if refused != 1 {
				t.Errorf("the overflow came %d times, want once", refused)
			}
		})
	}
	// Where there is nothing to sum up the run ends, and says why, after one request.
	t.Run("first question", func(t *testing.T) {
		up, g := with(t, func(*chat) answer { return answer{status: 400, body: overflow} })
		o := newUser(t, g).ask(t, "tell me about apples", "up/clever")
		if !o.IsError || o.TerminalReason != "prompt_too_long" || !strings.Contains(o.Result, "9000 tokens (limit 8192)") {
			t.Errorf("ended as %q, says %q", o.TerminalReason, o.Result)
		}
		if n := len(up.requests()); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

// A connection that breaks in the middle: half an answer is never taken for a whole one, no tool runs on half its arguments,
// and the run goes on to a good end. A call that was whole before the break may run.
func TestBreak(t *testing.T) {
	touch := bash("touch-1", "touch ran.txt && echo touched")
	half := call{"half-1", "Bash", map[string]any{"half": `{"command": "touch ran.txt`}}
	text := answer{says: "Half of this is lost", cut: true}
	for name, c := range map[string]struct {
		speaks dialect
		broken answer
	}{
		"text":                         {chatCompletions, text},
		"text of Gemini":               {gemini, text},
		"text of Responses":            {responses, text},
		"text of Ollama":               {ollamaChat, text},
		"thinking":                     {chatCompletions, answer{thinks: "Half of this is lost", cut: true}},
		"a call":                       {chatCompletions, answer{calls: []call{touch}, cut: true}},
		"a call behind text":           {chatCompletions, answer{says: "First the text.", calls: []call{touch}, cut: true}},
		"the second call of 2":         {chatCompletions, answer{calls: []call{bash("one-1", "echo one"), touch}, cut: true}},
		"half a call that looks whole": {chatCompletions, answer{calls: []call{half}}},
		"half a call, out of tokens":   {chatCompletions, answer{calls: []call{half}, finish: "length"}},
	} {
		t.Run(name, func(t *testing.T) {
			var file string
			early := false
			up := newUpstream(t, c.speaks, func(q *chat) answer {
				if q.N == 0 {
					return c.broken
				}
				if q.result("touch-1") != "" {
					return answer{says: "Whole at last."}
				}
				_, err := os.Stat(file)
				early = early || err == nil
				return answer{says: "Again.", calls: []call{touch}}
			})
			u := newUser(t, serve(t, "providers:\n"+up.config("up")))
			file = filepath.Join(u.dir, "ran.txt")
			o := u.ask(t, "touch the file", "up/clever")
			o.succeeds(t, "Whole at last.")
			if early {
				t.Error("a tool ran on half its arguments")
			}
			if strings.Contains(o.raw, "Half of") {
				t.Error("half an answer was shown as a whole one")
			}
			u.read(t, "ran.txt")
			all := up.requests()
			if len(all) != 3 {
				t.Fatalf("%d requests, want 3", len(all))
			}
			if got := all[2].result("touch-1"); got != "touched" {
				t.Errorf("the result of the call is %q", got)
			}
		})
	}
}

// What may pass is tried again by Claude Code, and what will not pass ends the run with the reason in it, at once.
func TestFailures(t *testing.T) {
	for name, c := range map[string]struct {
		fails answer
		says  string // of the run's end; empty when the second try succeeds
	}{
		"busy":            {fails: answer{status: 429, retryAfter: "1", body: `{"error":{"message":"slow down","type":"rate_limit_error"}}`}},
		"overloaded":      {fails: answer{status: 503, body: `{"error":{"message":"no workers"}}`}},
		"broken":          {fails: answer{status: 500, body: `<html>oops</html>`}},
		"out of money":    {fails: answer{status: 402, body: `{"error":{"message":"add credits"}}`}, says: "add credits"},
		"the wrong key":   {fails: answer{status: 401, body: `{"error":{"message":"invalid key"}}`}, says: "providers.up.api_key"},
		"a missing model": {fails: answer{status: 404, body: `{"error":{"message":"no such model","code":"model_not_found"}}`}, says: "up/clever"},
	} {
		t.Run(name, func(t *testing.T) {
			up, g := with(t, func(q *chat) answer {
				if q.N == 0 || c.says != "" {
					return c.fails
				}
				return answer{says: "It works now."}
			})
			o := newUser(t, g).ask(t, "hello", "up/clever")
			n := len(up.requests())
			if c.says == "" {
				o.succeeds(t, "It works now.")
				if n != 2 {
					t.Errorf("%d requests, want 2", n)
				}
				return
			}
			if !o.IsError || !strings.Contains(o.Result, c.says) {
				t.Errorf("is_error %v, says %q, want %q in it", o.IsError, o.Result, c.says)
			}
			if n > 2 { // a missing model is asked for once more, without streaming
				t.Errorf("%d requests for what will not pass", n)
			}
		})
	}
}

// An alias is a model like any other to Claude Code: it is in the list that Claude Code offers its user, it can be asked for,
// and the accounting of the run shows its name.
func TestAlias(t *testing.T) {
	var list string
	up := newUpstream(t, chatCompletions, func(*chat) answer {
		// The list is fetched beside the first turn, which must not end before it has come.
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if _, err := os.Stat(list); err == nil {
				break
			}
		}
		return answer{says: "Through the alias."}
	})
	g := serve(t, "aliases: {claude-ours: up/clever}\nproviders:\n"+up.config("up"))
	u := newUser(t, g, "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY=1")
	list = filepath.Join(u.home, ".claude", "cache", "gateway-models.json")
	o := u.ask(t, "hello", "claude-ours")
	o.succeeds(t, "Through the alias.")
	if _, ok := o.ModelUsage["claude-ours"]; !ok {
		t.Errorf("the run's accounting names %v", o.ModelUsage)
	}
	if b, err := os.ReadFile(list); err != nil || !strings.Contains(string(b), `"id":"claude-ours"`) {
		t.Errorf("the list of models: %s %v", b, err)
	}
	if all := up.requests(); len(all) != 1 || all[0].Model != "clever" {
		t.Errorf("%d requests upstream", len(all))
	}
}

// What fills the context is counted at the gateway, part by part, and no model is called for it.
func TestContextCommand(t *testing.T) {
	up, g := with(t, func(*chat) answer { return answer{says: "Not asked."} })
	newUser(t, g).ask(t, "/context", "up/clever").succeeds(t, "System prompt")
	counts := 0
	for line := range strings.Lines(g.log.String()) {
		if strings.Contains(line, "/count_tokens") {
			counts++
			if !strings.Contains(line, `"status":200`) {
				t.Errorf("a count failed: %s", line)
			}
		}
	}
	if counts == 0 {
		t.Error("nothing was counted at the gateway")
	}
	if n := len(up.requests()); n != 0 {
		t.Errorf("%d requests upstream, want none", n)
	}
}
