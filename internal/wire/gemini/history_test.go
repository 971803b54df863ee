package gemini

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
)

// Whatever Gemini says comes back as it said it: the parts of an answer, streamed or whole, are the parts of the model's
// content in the next request, signatures on their own parts. Streamed says where a stream keeps less.
func TestAnswerReturns(t *testing.T) {
	for _, test := range []struct{ name, parts, back, streamed string }{
		{"text", `[{"text":"a"},{"text":"b"}]`, `[{"text":"ab"}]`, ""},
		{"signed text", `[{"text":"a\"\u017c","thoughtSignature":"s1"},{"text":"b"},{"text":"cd","thoughtSignature":"s2"},{"text":"","thoughtSignature":"s3"}]`,
			`[{"text":"a\"ż","thoughtSignature":"s1"},{"text":"b"},{"text":"cd","thoughtSignature":"s2"},{"text":"","thoughtSignature":"s3"}]`,
			`[{"text":"a\"ż","thoughtSignature":"s1"},{"text":"bcd"}]`},
		{"signed text behind an unsigned thought", `[{"text":"T","thought":true},{"text":"a","thoughtSignature":"s1"},{"text":"b"}]`, `[{"text":"a","thoughtSignature":"s1"},{"text":"b"}]`, ""},
		{"signed thoughts", `[{"text":"A","thought":true,"thoughtSignature":"s1"},{"text":"B","thought":true,"thoughtSignature":"s2"},{"text":"x"}]`,
			`[{"text":"A","thought":true,"thoughtSignature":"s1"},{"text":"B","thought":true,"thoughtSignature":"s2"},{"text":"x"}]`, ""},
		{"calls", `[{"text":"T","thought":true},{"text":"I look."},{"functionCall":{"name":"read","args":{"n":1.50,"b":{"x":[]}}},"thoughtSignature":"s/+=1"},{"functionCall":{"name":"read","args":{}}},{"functionCall":{"name":"odd.name","args":{"a":null}},"thoughtSignature":"s2"}]`,
			`[{"text":"I look."},{"functionCall":{"name":"read","args":{"n":1.50,"b":{"x":[]}}},"thoughtSignature":"s/+=1"},{"functionCall":{"name":"read","args":{}}},{"functionCall":{"name":"odd_name_919b02c3","args":{"a":null}},"thoughtSignature":"s2"}]`, ""},
		{"numbered calls", `[{"functionCall":{"id":"call_1","name":"read","args":{}},"thoughtSignature":"s1"},{"functionCall":{"id":"call_2","name":"read","args":{}}},{"functionCall":{"id":"odd:3","name":"read","args":{}}}]`,
			`[{"functionCall":{"id":"call_1","name":"read","args":{}},"thoughtSignature":"s1"},{"functionCall":{"id":"call_2","name":"read","args":{}}},{"functionCall":{"id":"odd:3","name":"read","args":{}}}]`, ""},
		{"text between calls", `[{"functionCall":{"name":"read","args":{}},"thoughtSignature":"s1"},{"text":"and","thoughtSignature":"s2"},{"functionCall":{"name":"read","args":{"z":1}},"thoughtSignature":"s3"}]`,
			`[{"functionCall":{"name":"read","args":{}},"thoughtSignature":"s1"},{"text":"and","thoughtSignature":"s2"},{"functionCall":{"name":"read","args":{"z":1}},"thoughtSignature":"s3"}]`, ""},
		{"signed text before a call", `[{"text":"a"},{"text":"b","thoughtSignature":"s1"},{"text":"c"},{"text":"","thoughtSignature":"s2"},{"functionCall":{"name":"read","args":{}}}]`,
			`[{"text":"a"},{"text":"b","thoughtSignature":"s1"},{"text":"c"},{"text":"","thoughtSignature":"s2"},{"functionCall":{"name":"read","args":{}}}]`, ""},
		{"a signature behind its call", `[{"functionCall":{"name":"read","args":{}}},{"text":"","thoughtSignature":"s1"}]`, `[{"functionCall":{"name":"read","args":{}}},{"text":"","thoughtSignature":"s1"}]`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			const ask = `{"model":"m","max_tokens":9,"stream":%v,"tools":[{"name":"read"},{"name":"odd.name"}],"messages":[{"role":"user","content":"q"}%s]}`
			whole, err := encode(t, fmt.Sprintf(ask, false, ""), "gemini-2.5-flash").Decode([]byte(`{"candidates":[{"content":{"parts":` + test.parts + `},"finishReason":"STOP"}]}`))
			if err != nil {
				t.Fatal(err)
			}
			var stream bytes.Buffer
			gjson.Parse(test.parts).ForEach(func(_, p gjson.Result) bool {
				fmt.Fprintf(&stream, "data: {\"candidates\":[{\"content\":{\"parts\":[%s]}}]}\n\n", p.Raw)
				return true
			})
			stream.WriteString("data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\n\n")
			streamed := content(t, encode(t, fmt.Sprintf(ask, true, ""), "gemini-2.5-flash"), &stream)
			for form, said := range map[string]string{"whole": gjson.GetBytes(whole.AppendJSON(nil), "content").Raw, "streamed": streamed} {
				next := fmt.Sprintf(`,{"role":"assistant","content":%s},{"role":"user","content":[`, said)
				results := 0
				for _, id := range gjson.Get(said, `#(type=="tool_use")#.id`).Array() {
					next += fmt.Sprintf(`{"type":"tool_result","tool_use_id":%q,"content":"r"},`, id.String())
					results++
				}
				next += `{"type":"text","text":"go on"}]}`
				body := encode(t, fmt.Sprintf(ask, false, next), "gemini-2.5-flash").Body()
				want := test.back
				if form == "streamed" && test.streamed != "" {
					want = test.streamed
				}
				if got := gjson.GetBytes(body, "contents.1.parts").Raw; got != want {
					t.Errorf("%s: (-want +got)\n%s", form, cmp.Diff(want, got))
				}
				if got := gjson.GetBytes(body, "contents.1.role").String(); got != "model" {
					t.Errorf("%s: role %q", form, got)
				}
				calls := gjson.GetBytes(body, "contents.1.parts.#.functionCall").Array()
				answers := gjson.GetBytes(body, "contents.2.parts.#.functionResponse").Array()
				if len(calls) != results || len(answers) != results {
					t.Fatalf("%s: %d results became %d calls and %d answers", form, results, len(calls), len(answers))
				}
				for i := range calls {
					if calls[i].Get("name").String() != answers[i].Get("name").String() || calls[i].Get("id").String() != answers[i].Get("id").String() {
						t.Errorf("%s: %s is answered by %s", form, calls[i], answers[i])
					}
				}
			}
		})
	}
}

// content is what a client makes of a stream.
func content(t *testing.T, job *Job, r *bytes.Buffer) string {
	t.Helper()
	var out []any
	for _, b := range answer(t, job, r).Blocks {
		switch b.Type {
		case "text":
			out = append(out, map[string]any{"type": "text", "text": b.Text})
		case "thinking":
			out = append(out, map[string]any{"type": "thinking", "thinking": b.Text, "signature": b.Signature})
		default:
			input := b.Text
			if input == "" {
				input = "{}"
			}
			out = append(out, map[string]any{"type": "tool_use", "id": b.ID, "name": b.Name, "input": json.RawMessage(input)})
		}
	}
	var buf bytes.Buffer
	w := json.NewEncoder(&buf)
	w.SetEscapeHTML(false)
	if err := w.Encode(out); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// A history means the same when it is read back from what Gemini is sent: every text, call and result, in its order.
func TestHistoryArrivesWhole(t *testing.T) {
	bodies := map[string][]byte{}
	fixtures, _ := filepath.Glob("../../../tests/fixtures/claude-code/*.json")
	for _, f := range fixtures {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		body := gjson.GetBytes(raw, "request.body").Raw
		if body == "" {
			body = gjson.GetBytes(raw, "body").Raw
		}
		if body == "" {
			body = string(raw)
		}
		if gjson.Get(body, "messages").IsArray() {
			bodies[filepath.Base(f)] = []byte(body)
		}
	}
	bodies["made"] = []byte(`{"max_tokens":9,"system":[{"type":"text","text":"S1"},{"type":"text","text":"S2"}],"messages":[
		{"role":"user","content":[{"type":"text","text":"one"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QQ=="}},{"type":"text","text":"two"}]},
		{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"tool_use","id":"toolu_1","name":"x","input":{"k":1}},{"type":"text","text":"b"},{"type":"tool_use","id":"toolu_2","name":"y","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_2","content":"second","is_error":true},{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"first"}]},{"type":"text","text":"three"}]},
		{"role":"assistant","content":"c"},{"role":"user","content":"four"}]}`)
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			r, err := messages.ParseRequest(body)
			if err != nil {
				t.Fatal(err)
			}
			shared, err := r.Conversation()
			if err != nil {
				t.Fatal(err)
			}
			c := *shared
			c.MaxTokens = max(c.MaxTokens, 1) // a count has none
			job, err := Encode(&c, "gemini-2.5-flash", Options{Provider: "up"})
			if err != nil {
				t.Fatal(err)
			}
			if got, want := read(t, job.Body()), meaning(&c); got != want {
				t.Errorf("(-want +got)\n%s", cmp.Diff(want, got))
			}
		})
	}
}

// meaning is a conversation as plain lines.
func meaning(c *messages.Conversation) string {
	var sb strings.Builder
	names := map[string]string{}
	for i := range c.System {
		if text := c.System[i].Text.Value(); !strings.HasPrefix(text, "x-anthropic-billing-header:") && text != "" {
			fmt.Fprintf(&sb, "system %s\n", text)
		}
	}
	for i := range c.Messages {
		m := &c.Messages[i]
		var results, moved, rest strings.Builder
		for k := range m.Content {
			b := &m.Content[k]
			switch b.Type {
			case "text":
				if !b.Text.Empty() {
					fmt.Fprintf(&rest, "text %s\n", b.Text.Value())
				}
			case "image", "document":
				fmt.Fprintf(&rest, "data %s\n", b.Source.Data.Value())
			case "tool_use":
				names[b.ID] = b.Name
				fmt.Fprintf(&rest, "call %s %s\n", b.Name, b.Input)
			case "tool_result":
				kind, texts := "result", []string{}
				if b.IsError {
					kind = "error"
				}
				for x := range b.Content {
					switch in := &b.Content[x]; in.Type {
					case "text":
						texts = append(texts, in.Text.Value())
					case "tool_reference":
						texts = append(texts, "Loaded: "+in.Name)
					case "image":
						texts = append(texts, "[the image follows in the next message]")
						fmt.Fprintf(&moved, "data %s\n", in.Source.Data.Value())
					case "document":
						texts = append(texts, "[the document follows in the next message]")
						fmt.Fprintf(&moved, "data %s\n", in.Source.Data.Value())
					}
				}
				fmt.Fprintf(&results, "%s %s %s\n", kind, names[b.ToolUseID], strings.Join(texts, "\n"))
			}
		}
		sb.WriteString(results.String() + moved.String() + rest.String())
	}
	return sb.String()
}

// read is what Gemini is sent as the same lines.
func read(t *testing.T, body []byte) string {
	t.Helper()
	if !json.Valid(body) {
		t.Fatalf("no JSON: %s", body)
	}
	var sb strings.Builder
	for _, p := range gjson.GetBytes(body, "systemInstruction.parts").Array() {
		fmt.Fprintf(&sb, "system %s\n", p.Get("text").String())
	}
	last := ""
	for _, c := range gjson.GetBytes(body, "contents").Array() {
		if role := c.Get("role").String(); role == last || role != "user" && role != "model" {
			t.Errorf("role %q behind %q", role, last)
		}
		last = c.Get("role").String()
		for _, p := range c.Get("parts").Array() {
			switch {
			case p.Get("text").Exists():
				fmt.Fprintf(&sb, "text %s\n", p.Get("text").String())
			case p.Get("inlineData").Exists():
				fmt.Fprintf(&sb, "data %s\n", p.Get("inlineData.data").String())
			case p.Get("functionCall").Exists():
				fmt.Fprintf(&sb, "call %s %s\n", p.Get("functionCall.name"), p.Get("functionCall.args").Raw)
			case p.Get("functionResponse.response.error").Exists():
				fmt.Fprintf(&sb, "error %s %s\n", p.Get("functionResponse.name"), p.Get("functionResponse.response.error"))
			default:
				fmt.Fprintf(&sb, "result %s %s\n", p.Get("functionResponse.name"), p.Get("functionResponse.response.result"))
			}
		}
	}
	return sb.String()
}
