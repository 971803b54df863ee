package openaichat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
)

// splitReader gives its bytes in pieces of the sizes that seed says.
type splitReader struct {
	b    []byte
	seed uint32
}

func (s *splitReader) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	s.seed = s.seed*1664525 + 1013904223
	n := min(int(s.seed>>24)%17+1, len(p), len(s.b))
	copy(p, s.b[:n])
	s.b = s.b[n:]
	return n, nil
}

// legal holds a sequence of events against the grammar, and gives it as text without the random ids.
type legal struct {
	t       *testing.T
	open    int // -1: none
	next    int
	kind    messages.BlockType
	args    []byte
	state   int // 0 before the start, 1 inside, 2 after message_delta, 3 after message_stop
	reason  string
	errored bool
	text    strings.Builder
}

func (l *legal) event(ev messages.Event) {
	t := l.t
	if l.errored || l.state == 3 {
		t.Fatalf("%s after the end", ev.Type.Name())
	}
	raw := ev.AppendJSON(nil)
	if ev.Type != messages.Lull {
		if !json.Valid(raw) {
			t.Fatalf("no JSON: %s", raw)
		}
		if bytes.ContainsAny(raw, "\r\n") {
			t.Fatalf("a line end in an event: %q", raw)
		}
		if ev.Type != messages.BlockDelta { // how a text is cut may differ
			fmt.Fprintf(&l.text, "%s\n", stable(string(raw)))
		}
	}
	switch ev.Type {
	case messages.Lull, messages.Ping:
	case messages.MessageStart:
		if l.state != 0 {
			t.Fatal("a second message_start")
		}
		l.state, l.open = 1, -1
	case messages.BlockStart:
		if l.state != 1 || l.open != -1 || ev.Index != l.next {
			t.Fatalf("block %d begins in state %d while %d is open, next is %d", ev.Index, l.state, l.open, l.next)
		}
		l.open, l.kind, l.args = ev.Index, ev.Block, nil
		l.next++
		if ev.Block == messages.ToolUseBlock && (ev.ID == "" || ev.Name == "") {
			t.Fatal("a tool without an id or a name")
		}
	case messages.BlockDelta:
		if l.state != 1 || ev.Index != l.open || ev.Block != l.kind {
			t.Fatalf("a delta of %d while %d is open", ev.Index, l.open)
		}
		if l.kind == messages.ToolUseBlock {
			l.args = append(l.args, ev.Text.Value()...)
		}
		l.text.WriteString(ev.Text.Value())
		l.text.WriteString(ev.Signature)
	case messages.BlockStop:
		if ev.Index != l.open {
			t.Fatalf("%d ends while %d is open", ev.Index, l.open)
		}
		l.open = -1
		if a := bytes.TrimSpace(l.args); l.kind == messages.ToolUseBlock && len(a) > 0 && (a[0] != '{' || !json.Valid(a)) {
			l.reason = "max_tokens" // nothing else may follow
		}
	case messages.MessageDelta:
		if l.state != 1 || l.open != -1 {
			t.Fatal("message_delta inside a block")
		}
		if l.reason != "" && ev.StopReason != l.reason {
			t.Fatalf("broken arguments ended with %s", ev.StopReason)
		}
		l.state = 2
	case messages.MessageStop:
		if l.state != 2 {
			t.Fatal("message_stop before message_delta")
		}
		l.state = 3
	}
}

// FuzzDecodeStream holds for any bytes: the events are a legal stream or a prefix of one with an error, nothing panics, and
// the result does not depend on how the network cut them.
func FuzzDecodeStream(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for i, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, s := range ar.Files {
			if s.Name == "upstream.sse" || s.Name == "upstream.json" {
				f.Add(s.Data, uint32(i))
			}
		}
	}
	f.Add([]byte("data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{}\"}},{\"index\":0,\"id\":\"x\",\"function\":{\"name\":\"n\",\"arguments\":\"{\"}}]}}]}\r\rdata: [DONE]\r\r"), uint32(9))
	f.Add([]byte("data: {\"choices\":[{\"delta\":{\"content\":\"<tool_call>{\\\"name\\\":\\\"f\\\",\\\"arguments\\\":{}}\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"</tool_call>\"},\"finish_reason\":\"stop\"}]}\n\n"), uint32(11))
	f.Add([]byte("[{\"choices\":1}] [DONE]"), uint32(80)) // once depended on where the first bytes were cut
	f.Fuzz(func(t *testing.T, raw []byte, seed uint32) {
		run := func(r io.Reader) string {
			job := newTestJob(t, true)
			if seed&1 == 1 {
				job = textToolsJob(t)
			}
			l := &legal{t: t}
			for ev, err := range job.DecodeStream(r) {
				if err != nil {
					var fe *fault.Error
					if !errors.As(err, &fe) || fe.Message == "" {
						t.Fatalf("%T is no *fault.Error: %v", err, err)
					}
					fmt.Fprintf(&l.text, "error %s %s\n", fe.Kind, fe.Message)
					l.errored = true
					continue
				}
				l.event(ev)
			}
			if l.state != 3 && !l.errored {
				t.Fatal("the stream ended without an end or an error")
			}
			fmt.Fprint(&l.text, usageText(job.Usage()))
			return l.text.String()
		}
		whole := run(bytes.NewReader(raw))
		if cut := run(&splitReader{bytes.Clone(raw), seed}); cut != whole {
			t.Fatalf("the result depends on the split:\n%s\n----\n%s", whole, cut)
		}
		if resp, err := newTestJob(t, false).Decode(raw); err == nil {
			if out := resp.AppendJSON(nil); !json.Valid(out) {
				t.Fatalf("no JSON: %s", out)
			}
		}
	})
}

func newTestJob(t testing.TB, stream bool) *Job {
	t.Helper()
	r, err := messages.ParseRequest([]byte(fmt.Sprintf(`{"model":"m","max_tokens":9,"stream":%v,"stop_sequences":["END"],"messages":[{"role":"user","content":"q"}]}`, stream)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Conversation()
	if err != nil {
		t.Fatal(err)
	}
	job, err := Encode(c, "m", OpenRouter())
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// textToolsJob looks for calls in the text.
func textToolsJob(t testing.TB) *Job {
	t.Helper()
	r, err := messages.ParseRequest([]byte(`{"model":"m","max_tokens":9,"stream":true,"tools":[{"name":"f","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"q"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Conversation()
	if err != nil {
		t.Fatal(err)
	}
	q := OpenRouter()
	q.TextTools.On = true
	job, err := Encode(c, "m", q)
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// lullReader gives one piece for each read, and counts what was asked of it beyond.
type lullReader struct{ pieces [][]byte }

func (l *lullReader) Read(p []byte) (int, error) {
	if len(l.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(p, l.pieces[0])
	if l.pieces[0] = l.pieces[0][n:]; len(l.pieces[0]) == 0 {
		l.pieces = l.pieces[1:]
	}
	return n, nil
}

func TestLull(t *testing.T) {
	chunk := func(s string) []byte {
		return []byte(`data: {"choices":[{"index":0,"delta":{"content":"` + s + `"}}]}` + "\n\n")
	}
	r := &lullReader{pieces: [][]byte{chunk("a"), append(chunk("b"), chunk("c")...), []byte("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")}}
	var got []string
	for ev, err := range newTestJob(t, true).DecodeStream(r) {
		if err != nil {
			t.Fatal(err)
		}
		switch ev.Type {
		case messages.Lull:
			got = append(got, "lull")
		case messages.BlockDelta:
			got = append(got, ev.Text.Value())
		}
	}
	if s := strings.Join(got, " "); s != "a lull b c lull" {
		t.Errorf("it must say when the next pull will wait: %q", s)
	}
}

// TestCarry sends state through a stream and back, and holds that what goes back is what came.
func TestCarry(t *testing.T) {
	want := `{"type":"reasoning.text","text":"a\u0001b \"c\" d","id":"r1","format":"anthropic-claude-v1","index":0,"signature":"EqQB"},{"type":"reasoning.encrypted","data":"QQ==","index":1}`
	pieces := []string{
		`{"type":"reasoning.text","text":"a\u0001b ","id":"r1","format":"anthropic-claude-v1","index":0,"signature":null}`,
		`{"type":"reasoning.text","text":"\"c\" d","index":0}`,
		`{"type":"reasoning.text","signature":"EqQB","index":0}`,
		`{"type":"reasoning.encrypted","data":"QQ==","index":1}`,
	}
	var d details
	for _, p := range pieces {
		d.add(messages.View([]byte("[" + p + "]")))
	}
	back := unpack(d.take())
	var a, b any
	if err := json.Unmarshal([]byte("["+string(back)+"]"), &a); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal([]byte("["+want+"]"), &b)
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("got  %s\nwant %s", back, want)
	}
	if d.take() != "" {
		t.Error("what was taken is still there")
	}
	for _, bad := range []string{"", "EqQB", "sbx1.gemini.W10", carryPrefix + "!!", carryPrefix + "W10", carryPrefix + "WzFd", carryPrefix + "e30"} {
		if got := unpack(bad); got != nil {
			t.Errorf("unpack(%q) = %q", bad, got)
		}
	}
}
