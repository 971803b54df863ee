package server

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"signalbox/config"
)

// carrier is an upstream that gives opaque state with each call and wants it back on exactly that call.
type carrier struct {
	name     string
	provider config.Provider
	// answer is the n-th answer, streamed: a thought, the state and a call.
	answer func(n int) string
	// kept says what of the n-th answer is missing in a later request; "" when it is all there.
	kept func(body gjson.Result, n int) string
}

func state(n int) string { return fmt.Sprintf("c3RhdGUt%04d", n) }

var carriers = []*carrier{
	{
		name: "openrouter", provider: config.Provider{Kind: "openrouter"},
		answer: func(n int) string {
			return sse(`{"choices":[{"index":0,"delta":{"role":"assistant","reasoning":"Thought","reasoning_details":[{"type":"reasoning.text","text":"Thought","index":0,"format":"google-gemini-v1"}]}}]}`,
				fmt.Sprintf(`{"choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.encrypted","data":%q,"index":1,"id":"call_%d","format":"google-gemini-v1"}]}}]}`, state(n), n),
				fmt.Sprintf(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_%d","type":"function","function":{"name":"read","arguments":"{\"n\":%d}"}}]}}]}`, n, n),
				`{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":9,"completion_tokens":3}}`, `[DONE]`)
		},
		kept: func(body gjson.Result, n int) string {
			for _, m := range body.Get("messages").Array() {
				if m.Get("tool_calls.0.id").String() == fmt.Sprintf("call_%d", n) {
					want := fmt.Sprintf(`[{"type":"reasoning.text","text":"Thought","index":0,"format":"google-gemini-v1"},{"type":"reasoning.encrypted","data":%q,"index":1,"id":"call_%d","format":"google-gemini-v1"}]`, state(n), n)
					if got := m.Get("reasoning_details").Raw; got != want {
						return "reasoning_details are " + got
					}
					return ""
				}
			}
			return "the call is gone"
		},
	},
	{
		name: "deepseek", provider: config.Provider{Kind: "openai"},
		answer: func(n int) string {
			return sse(fmt.Sprintf(`{"choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":%q}}]}`, state(n)),
				fmt.Sprintf(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_%d","type":"function","function":{"name":"read","arguments":"{\"n\":%d}"}}]}}]}`, n, n),
				`{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":9,"completion_tokens":3}}`, `[DONE]`)
		},
		kept: func(body gjson.Result, n int) string {
			for _, m := range body.Get("messages").Array() {
				if m.Get("tool_calls.0.id").String() == fmt.Sprintf("call_%d", n) {
					if got := m.Get("reasoning_content").String(); got != state(n) {
						return "reasoning_content is " + got
					}
					return ""
				}
			}
			return "the call is gone"
		},
	},
	{
		name: "gemini", provider: config.Provider{Kind: "gemini"},
		answer: func(n int) string {
			return sse(`{"candidates":[{"content":{"role":"model","parts":[{"text":"Thought","thought":true}]}}]}`,
				fmt.Sprintf(`{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"read","args":{"n":%d}},"thoughtSignature":%q}]}}]}`, n, state(n)),
				`{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":3}}`)
		},
		kept: func(body gjson.Result, n int) string {
			for _, m := range body.Get("contents").Array() {
				for _, p := range m.Get("parts").Array() {
					if p.Get("functionCall.args.n").Exists() && p.Get("functionCall.args.n").Int() == int64(n) {
						if got := p.Get("thoughtSignature").String(); got != state(n) {
							return "thoughtSignature is " + got
						}
						return ""
					}
				}
			}
			return "the call is gone"
		},
	},
	{
		name: "openai-responses", provider: config.Provider{Kind: "openai-responses"},
		answer: func(n int) string {
			reasoning := fmt.Sprintf(`{"type":"reasoning","id":"rs_%d","summary":[{"type":"summary_text","text":"Thought"}],"encrypted_content":%q}`, n, state(n))
			call := fmt.Sprintf(`{"type":"function_call","id":"fc_%d","call_id":"call_%d","name":"read","arguments":"{\"n\":%d}","status":"completed"}`, n, n, n)
			return sse(fmt.Sprintf(`{"type":"response.output_item.added","output_index":0,"item":{"type":"reasoning","id":"rs_%d","summary":[]}}`, n),
				`{"type":"response.reasoning_summary_text.delta","output_index":0,"summary_index":0,"delta":"Thought"}`,
				`{"type":"response.output_item.done","output_index":0,"item":`+reasoning+`}`,
				fmt.Sprintf(`{"type":"response.output_item.added","output_index":1,"item":{"type":"function_call","id":"fc_%d","call_id":"call_%d","name":"read","arguments":""}}`, n, n),
				fmt.Sprintf(`{"type":"response.function_call_arguments.delta","output_index":1,"delta":"{\"n\":%d}"}`, n),
				`{"type":"response.output_item.done","output_index":1,"item":`+call+`}`,
				`{"type":"response.completed","response":{"status":"completed","output":[`+reasoning+`,`+call+`],"usage":{"input_tokens":9,"output_tokens":3}}}`)
		},
		kept: func(body gjson.Result, n int) string {
			items := body.Get("input").Array()
			for i, m := range items {
				if m.Get("type").String() == "function_call" && m.Get("call_id").String() == fmt.Sprintf("call_%d", n) {
					if i == 0 || items[i-1].Get("encrypted_content").String() != state(n) || items[i-1].Get("id").String() != fmt.Sprintf("rs_%d", n) {
						return "the reasoning item does not stand before its call"
					}
					if got := items[i-1].Get("summary.0.text").String(); got != "Thought" {
						return "the summary is " + got
					}
					return ""
				}
			}
			return "the call is gone"
		},
	},
}

// sse writes data events.
func sse(data ...string) string {
	var b strings.Builder
	for _, d := range data {
		b.WriteString("data: " + d + "\n\n")
	}
	return b.String()
}

// agent is a caller that goes on with a conversation as Claude Code does: what it got goes back as it came.
type agent struct {
	s        *stand
	messages []json.RawMessage
	ids      map[string]bool
}

func newAgent(s *stand) *agent {
	return &agent{s: s, messages: []json.RawMessage{json.RawMessage(`{"role":"user","content":"Read them all."}`)}, ids: map[string]bool{}}
}

// turn asks a target, remembers the answer, and answers each of its calls.
func (a *agent) turn(t *testing.T, target string) []map[string]any {
	t.Helper()
	history, _ := json.Marshal(a.messages)
	body := `{"model":"m","max_tokens":9000,"stream":true,"thinking":{"type":"adaptive"},"tools":[{"name":"read","input_schema":{"type":"object","properties":{"n":{"type":"integer"}}}}],"messages":` + string(history) + `}`
	got := a.s.post(t, "/v1/"+target+"/messages", body)
	if got.status != http.StatusOK {
		t.Fatalf("%s: %d %s", target, got.status, clipped(got.text))
	}
	if err := grammar(got.events); err != nil {
		t.Fatal(err)
	}
	content := assemble(t, got.events)
	said, _ := json.Marshal(map[string]any{"role": "assistant", "content": content})
	a.messages = append(a.messages, said)
	var results []any
	for _, b := range content {
		if b["type"] != "tool_use" {
			continue
		}
		id := b["id"].(string)
		if a.ids[id] {
			t.Fatalf("%s: the id %s comes twice in one conversation", target, id)
		}
		a.ids[id] = true
		results = append(results, map[string]any{"type": "tool_result", "tool_use_id": id, "content": "read"})
	}
	if results == nil {
		results = []any{map[string]any{"type": "text", "text": "Go on."}}
	}
	next, _ := json.Marshal(map[string]any{"role": "user", "content": results})
	a.messages = append(a.messages, next)
	return content
}

// assemble makes the content of a message out of its events.
func assemble(t *testing.T, events []event) (content []map[string]any) {
	t.Helper()
	args := ""
	for _, e := range events {
		v := gjson.Parse(e.data)
		switch e.name {
		case "content_block_start":
			var b map[string]any
			if err := json.Unmarshal([]byte(v.Get("content_block").Raw), &b); err != nil {
				t.Fatal(err)
			}
			content, args = append(content, b), ""
		case "content_block_delta":
			b, d := content[len(content)-1], v.Get("delta")
			for _, k := range [...]string{"text", "thinking", "signature"} {
				if x := d.Get(k); x.Exists() {
					b[k] = b[k].(string) + x.String()
				}
			}
			args += d.Get("partial_json").String()
		case "content_block_stop":
			if b := content[len(content)-1]; b["type"] == "tool_use" && args != "" {
				b["input"] = json.RawMessage(args)
			}
		case "error":
			t.Fatalf("the answer failed: %s", e.data)
		}
	}
	return content
}

// Opaque reasoning state survives a tool loop of fifty turns: each piece comes back on the call it came with, every time, with
// no memory in the gateway.
func TestStateSurvivesFiftyTurns(t *testing.T) {
	for _, c := range carriers {
		t.Run(c.name, func(t *testing.T) {
			const turns = 50
			up := upstream(t, func(w http.ResponseWriter, _ *http.Request, body string, n int64) {
				turn := int(n) - 1
				for earlier := range turn {
					if wrong := c.kept(gjson.Parse(body), earlier); wrong != "" {
						t.Errorf("turn %d: of turn %d: %s", turn, earlier, wrong)
						break
					}
				}
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, c.answer(turn))
			})
			p := c.provider
			p.BaseURL, p.APIKey = up.URL, config.NewSecret("sk-1234567890")
			s := newStand(t, func(cfg *config.Config) { cfg.Providers[c.name] = p })
			a := newAgent(s)
			for range turns {
				if t.Failed() {
					return
				}
				a.turn(t, c.name+"/m")
			}
		})
	}
}

// A session that changes its provider in the middle, and comes back: what belongs to another provider stays at home, what
// belongs to this one comes back, and every call keeps its id and its result.
func TestSessionChangesProvider(t *testing.T) {
	const realSignature = "ErUBCkYIBBgCIkDtheRealOne=="
	turnsOf := map[string][]int{}
	var bodies []string
	turn := 0
	providers := map[string]config.Provider{}
	add := func(name string, p config.Provider, answer func(w http.ResponseWriter, body string)) {
		up := upstream(t, func(w http.ResponseWriter, r *http.Request, body string, _ int64) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/api/show"):
				_, _ = io.WriteString(w, `{"model_info":{"general.architecture":"x","x.context_length":131072},"capabilities":["completion","tools","thinking"]}`)
				return
			case r.Method == http.MethodGet:
				_, _ = io.WriteString(w, `{"models":[]}`)
				return
			}
			bodies = append(bodies, body)
			answer(w, body)
		})
		p.BaseURL, p.APIKey = up.URL, config.NewSecret("sk-1234567890")
		providers[name] = p
	}
	for _, c := range carriers {
		add(c.name, c.provider, func(w http.ResponseWriter, body string) {
			for _, earlier := range turnsOf[c.name] {
				if wrong := c.kept(gjson.Parse(body), earlier); wrong != "" {
					t.Errorf("turn %d at %s: of its turn %d: %s", turn, c.name, earlier, wrong)
				}
			}
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, c.answer(turn))
		})
	}
	add("anthropic", config.Provider{Kind: "anthropic"}, func(w http.ResponseWriter, body string) {
		if n := len(turnsOf["anthropic"]); strings.Count(body, realSignature) != n {
			t.Errorf("turn %d: %d of Anthropic's own %d signatures came back", turn, strings.Count(body, realSignature), n)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, d := range []string{
			`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":9,"output_tokens":1}}}`,
			`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Mine"}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"` + realSignature + `"}}`,
			`{"type":"content_block_stop","index":0}`,
			fmt.Sprintf(`{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_real%d","name":"read","input":{}}}`, turn),
			fmt.Sprintf(`{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"n\":%d}"}}`, turn),
			`{"type":"content_block_stop","index":1}`,
			`{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":3}}`,
			`{"type":"message_stop"}`,
		} {
			_, _ = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", gjson.Get(d, "type").String(), d)
		}
	})
	add("ollama", config.Provider{Kind: "ollama"}, func(w http.ResponseWriter, _ string) {
		w.Header().Set("Content-Type", "application/x-ndjson")
		_, _ = fmt.Fprintf(w, "{\"message\":{\"role\":\"assistant\",\"content\":\"\",\"thinking\":\"Local\"}}\n{\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"read\",\"arguments\":{\"n\":%d}}}]}}\n{\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":9,\"eval_count\":3}\n", turn)
	})
	s := newStand(t, func(cfg *config.Config) {
		for name, p := range providers {
			cfg.Providers[name] = p
		}
	})
	a := newAgent(s)
	order := []string{"openrouter", "anthropic", "gemini", "ollama", "deepseek", "openai-responses"}
	for range 3 {
		for _, name := range order {
			bodies = nil
			a.turn(t, name+"/m")
			if t.Failed() {
				return
			}
			if len(bodies) != 1 {
				t.Fatalf("turn %d at %s: %d requests", turn, name, len(bodies))
			}
			body := bodies[0]
			if strings.Contains(body, "sbx1.") {
				t.Errorf("turn %d: a signature of ours reached %s", turn, name)
			}
			if name != "anthropic" && strings.Contains(body, realSignature) {
				t.Errorf("turn %d: Anthropic's signature reached %s", turn, name)
			}
			for other, turns := range turnsOf {
				for _, n := range turns {
					if other != name && other != "deepseek" && strings.Contains(body, state(n)) {
						t.Errorf("turn %d: state of %s reached %s", turn, other, name)
					}
				}
			}
			if n := strings.Count(body, `\"n\":`) + strings.Count(body, `{"n":`); n < turn+1 {
				t.Errorf("turn %d at %s: %d calls of %d arrived", turn, name, n, turn)
			}
			turnsOf[name] = append(turnsOf[name], turn)
			turn++
		}
	}
}
