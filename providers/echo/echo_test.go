package echo

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/providers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func call(t testing.TB, model, body string) providers.Call {
	t.Helper()
	r, err := messages.ParseRequest([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return providers.Call{Request: r, Model: model}
}

func provider(t testing.TB) *Client {
	t.Helper()
	p, err := New(config.Provider{Name: "signalbox"}, providers.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	return p.(*Client)
}

// told writes an answer in one line: blocks, stop reason, usage.
func told(t *testing.T, body []byte) string {
	t.Helper()
	var m struct {
		Content []struct {
			Type, Text, Thinking, ID, Name string
			Input                          json.RawMessage
		}
		StopReason   string `json:"stop_reason"`
		StopSequence string `json:"stop_sequence"`
		Usage        struct {
			Input  int64 `json:"input_tokens"`
			Output int64 `json:"output_tokens"`
		}
	}
	if err := json.Unmarshal(body, &m); err != nil {
		t.Fatal(err)
	}
	var sb strings.Builder
	for _, b := range m.Content {
		switch b.Type {
		case "tool_use":
			if b.ID == "" {
				t.Error("the call has no id")
			}
			fmt.Fprintf(&sb, "call %s %s | ", b.Name, b.Input)
		default:
			fmt.Fprintf(&sb, "%s %q | ", b.Type, b.Text+b.Thinking)
		}
	}
	fmt.Fprintf(&sb, "%s", m.StopReason)
	if m.StopSequence != "" {
		fmt.Fprintf(&sb, " %q", m.StopSequence)
	}
	fmt.Fprintf(&sb, " %d/%d", m.Usage.Input, m.Usage.Output)
	return sb.String()
}

// gathered puts a stream together as the whole message that it stands for, and proves that text came word by word.
func gathered(t *testing.T, reply *providers.Reply) []byte {
	t.Helper()
	m := map[string]any{}
	var content []map[string]any
	var types []string
	for f, err := range reply.Frames {
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, f.Event)
		var ev map[string]any
		if err := json.Unmarshal(f.Data, &ev); err != nil || ev["type"] != f.Event {
			t.Fatalf("%s: %s (%v)", f.Event, f.Data, err)
		}
		switch f.Event {
		case "content_block_start":
			b := ev["content_block"].(map[string]any)
			if b["type"] == "tool_use" {
				b["input"] = ""
			}
			content = append(content, b)
		case "content_block_delta":
			d := ev["delta"].(map[string]any)
			b := content[int(ev["index"].(float64))]
			for from, to := range map[string]string{"text": "text", "thinking": "thinking", "partial_json": "input"} {
				if piece, ok := d[from].(string); ok {
					if to == "text" && len(strings.Fields(piece)) > 1 {
						t.Errorf("%q is more than a word", piece)
					}
					b[to] = b[to].(string) + piece
				}
			}
		case "message_delta":
			for k, v := range ev["delta"].(map[string]any) {
				m[k] = v
			}
			m["usage"] = ev["usage"]
		}
	}
	if n := len(types); n < 3 || types[0] != "message_start" || types[n-2] != "message_delta" || types[n-1] != "message_stop" {
		t.Errorf("the events are %v", types)
	}
	for _, b := range content {
		if s, ok := b["input"].(string); ok {
			b["input"] = json.RawMessage(s)
		}
	}
	m["content"] = content
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const tools = `"tools":[{"name":"get_weather","description":"Weather of a city","input_schema":{"type":"object","properties":{"city":{"type":"string"},"days":{"type":"integer"},"ratio":{"type":["null","number"]},"now":{"type":"boolean"},"tags":{"type":"array"},"more":{"type":"object"},"unit":{"enum":["C","F"]},"kind":{"const":7},"any":{"anyOf":[{"type":"null"}]},"free":true}}},{"name":"stop"}],`

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"it says the last message again":          {`"messages":[{"role":"user","content":"first"},{"role":"assistant","content":"a"},{"role":"user","content":"Hello  big\nworld"}]`, `text "Hello  big\nworld" | end_turn 8/3`},
		"it keeps what is hard to write":          {`"messages":[{"role":"user","content":" \ud83d\ude00 \"q\"\u2028data: x\u0000 "}]`, `text " 😀 \"q\"\u2028data: x\x00 " | end_turn 5/5`},
		"it joins the texts of a message":         {`"messages":[{"role":"user","content":[{"type":"text","text":"one"},{"type":"text","text":"two"}]}]`, `text "one\ntwo" | end_turn 3/2`},
		"it says nothing to a picture":            {`"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]}]`, `end_turn 3/0`},
		"it thinks when asked to":                 {`"thinking":{"type":"adaptive"},"messages":[{"role":"user","content":"Hi"}]`, `thinking "I say what I was told." | text "Hi" | end_turn 2/7`},
		"it stops at max_tokens":                  {`"max_tokens":2,"messages":[{"role":"user","content":"one two three"}]`, `text "one two " | max_tokens 4/2`},
		"it stops at the first stop sequence":     {`"stop_sequences":["three","two"],"messages":[{"role":"user","content":"one two three"}]`, `text "one " | stop_sequence "two" 4/1`},
		"it calls no tool unasked":                {tools + `"messages":[{"role":"user","content":"How is the weather?"}]`, `text "How is the weather?" | end_turn 82/4`},
		"it calls the first tool when it must":    {tools + `"tool_choice":{"type":"any"},"messages":[{"role":"user","content":"Oslo"}]`, `call get_weather {"city":"Oslo","days":1,"ratio":1,"now":true,"tags":[],"more":{},"unit":"C","kind":7,"any":null,"free":"Oslo"} | tool_use 79/2`},
		"it calls the named tool":                 {tools + `"tool_choice":{"type":"tool","name":"stop"},"messages":[{"role":"user","content":"Oslo"}]`, `call stop {} | tool_use 79/2`},
		"it calls a tool when the text asks":      {tools + `"messages":[{"role":"user","content":"Please use the tool \"stop\"."}]`, `call stop {} | tool_use 83/2`},
		"it does not take a word for its tool":    {tools + `"messages":[{"role":"user","content":"call me, nonstop"}]`, `text "call me, nonstop" | end_turn 81/3`},
		"it calls nothing when that is forbidden": {tools + `"tool_choice":{"type":"none"},"messages":[{"role":"user","content":"call stop"}]`, `text "call stop" | end_turn 80/2`},
		"it says what the tool said":              {tools + `"tool_choice":{"type":"any"},"messages":[{"role":"user","content":"x"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"stop","input":{}},{"type":"tool_use","id":"u","name":"stop","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"done it"},{"type":"tool_result","tool_use_id":"u","is_error":true,"content":"no"}]}]`, `text "done it\nError: no" | end_turn 86/4`},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{` + c.body
			if !strings.Contains(body, `"max_tokens"`) {
				body += `,"max_tokens":100`
			}
			p := provider(t)
			whole, err := p.Send(t.Context(), call(t, Model, body+`}`))
			if err != nil {
				t.Fatal(err)
			}
			streamed, err := p.Send(t.Context(), call(t, Model, body+`,"stream":true}`))
			if err != nil {
				t.Fatal(err)
			}
			for way, answer := range map[string][]byte{"whole": whole.Body, "streamed": gathered(t, streamed)} {
				if diff := cmp.Diff(c.want, told(t, answer)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", way, diff)
				}
			}
			n, err := p.CountTokens(t.Context(), call(t, Model, body+`}`))
			for _, r := range []*providers.Reply{whole, streamed} {
				if u := r.Usage(); err != nil || !u.Known || u.Input != n.Tokens {
					t.Errorf("counted %v (%v), the usage says %+v", n, err, u)
				}
			}
		})
	}
}

func TestUnknownModel(t *testing.T) {
	p := provider(t)
	_, err := p.Send(t.Context(), call(t, "gpt", `{"max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}`))
	if f := fault.From(err); f.Kind != fault.NotFound || !strings.Contains(f.Message, "echo") {
		t.Errorf("got %v", err)
	}
	if _, err := p.CountTokens(t.Context(), call(t, "gpt", `{"messages":[]}`)); fault.From(err).Kind != fault.NotFound {
		t.Errorf("count: %v", err)
	}
}

func TestStrict(t *testing.T) {
	c := call(t, Model, `{"max_tokens":9,"speed":"fast","later":1,"messages":[{"role":"user","content":"Hi"}]}`)
	reply, err := provider(t).Send(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if got := reply.Notes.Fields(); !cmp.Equal(got, []string{"later", "speed"}) {
		t.Errorf("dropped %v", got)
	}
	c.Strict = true
	if _, err := provider(t).Send(t.Context(), c); err == nil || !strings.Contains(err.Error(), "later, speed: ") {
		t.Errorf("strict: %v", err)
	}
}

func TestCounterNeedsNoLimit(t *testing.T) {
	n, err := provider(t).CountTokens(t.Context(), call(t, Model, `{"messages":[{"role":"user","content":"one two three"}]}`))
	if err != nil || n.Tokens != 4 {
		t.Errorf("counted %v, %v", n, err)
	}
}

func TestCallerLeaves(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reply, err := provider(t).Send(ctx, call(t, Model, `{"max_tokens":9,"stream":true,"messages":[{"role":"user","content":"one two three"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var last error
	for _, err := range reply.Frames {
		cancel()
		last = err
	}
	if fault.From(last) == nil || fault.From(last).Kind != fault.Canceled {
		t.Errorf("a stream whose caller left ends with %v", last)
	}
}

func TestWordsAreTheText(t *testing.T) {
	for _, s := range []string{"", " ", "a", " a", "a ", "a  b", "\na b\n", "é ü", strings.Repeat("ab ", 1000)} {
		if got := strings.Join(words(s), ""); got != s {
			t.Errorf("%q becomes %q", s, got)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	p := provider(b)
	c := call(b, Model, `{"max_tokens":100000,"stream":true,"messages":[{"role":"user","content":"`+strings.Repeat("word ", 1000)+`"}]}`)
	b.ReportAllocs()
	for b.Loop() {
		reply, err := p.Send(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		for range reply.Frames {
		}
	}
}
