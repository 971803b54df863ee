package ollamachat

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

func job(t testing.TB, stream bool) *Job { return jobOf(t, stream, 0) }

// jobOf makes a job that reads its answer as it comes, that looks for calls in the text, or that forced one tool or one of two.
func jobOf(t testing.TB, stream bool, kind uint8) *Job {
	t.Helper()
	choice := [...]string{"", "", `,{"name":"b"}],"tool_choice":{"type":"tool","name":"a"`, `,{"name":"b"}],"tool_choice":{"type":"any"`}[kind%4]
	if choice == "" {
		choice = `],"tool_choice":{"type":"auto"`
	}
	j, err := Encode(conversation(t, fmt.Appendf(nil, `{"max_tokens":9,"stream":%t,"tools":[{"name":"a"}%s},"messages":[{"role":"user","content":"Hi"}]}`, stream, choice)), "m",
		Options{TextTools: wire.TextTools{On: kind%4 == 1}})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// told decodes a stream and gives its events as text, the way it ended last.
func decoded(t testing.TB, up io.Reader, kind uint8) string {
	t.Helper()
	var sb strings.Builder
	for ev, err := range jobOf(t, true, kind).DecodeStream(up) {
		if err != nil {
			var f *fault.Error
			if !errors.As(err, &f) {
				t.Fatalf("the error is no *fault.Error: %v", err)
			}
			return sb.String() + string(told(err))
		}
		if ev.Type != messages.Lull {
			sb.Write(append(ev.AppendJSON(nil), '\n'))
		}
	}
	return string(anonymous([]byte(sb.String())))
}

// FuzzDecodeStream: whatever the bytes, the events are a legal stream, and they do not depend on how the network cut them.
func FuzzDecodeStream(f *testing.F) {
	f.Add([]byte(`{"message":{"content":"He"},"done":false}`+"\n"+`{"message":{"content":"llo"},"done":true,"done_reason":"stop","prompt_eval_count":2,"eval_count":1}`), uint8(3))
	f.Add([]byte(`{"message":{"thinking":"x"}}`+"\r\n\r\n"+`{"message":{"tool_calls":[{"id":"c","function":{"name":"a","arguments":{"b":"\u00e9"}}}]},"done":true}`), uint8(7))
	f.Add([]byte(`{"message":{"tool_calls":[{"function":{"name":"a","arguments":"{"}}]}}`+"\n"+`{"done":true,"done_reason":"length"}`), uint8(1))
	f.Add([]byte("{\n\"message\": {\"content\": \"a\"},\n\"done\": true}"), uint8(2))
	f.Add([]byte(`{"error":"boom"}`), uint8(1))
	f.Add([]byte(`{"message":{"content":"{\"x\":"}}`+"\n"+`{"message":{"content":"1}"},"done":true}`), uint8(40))
	f.Add([]byte(`{"message":{"content":"{\"name\":\"b\",\"argu"}}`+"\n"+`{"message":{"content":"ments\":{}}"},"done":true}`), uint8(60))
	f.Add([]byte(`{"message":{"content":"<tool_call>{\"name\":\"a\""}}`+"\n"+`{"message":{"content":",\"arguments\":{}}"},"done":true}`), uint8(20))
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		kind := cut / 17
		whole := string(anonymous([]byte(decoded(t, bytes.NewReader(data), kind))))
		legal(t, jobOf(t, true, kind), bytes.NewReader(data))
		split := string(anonymous([]byte(decoded(t, &pieces{data, int(cut)%17 + 1}, kind))))
		if whole != split {
			t.Fatalf("the events depend on the split:\n%s\nand in pieces of %d:\n%s", whole, int(cut)%17+1, split)
		}
	})
}

// FuzzDecode: a whole reply gives a message that is JSON, or a *fault.Error.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"message":{"content":"ok","thinking":"t","tool_calls":[{"function":{"name":"a","arguments":{}}}]},"done":true,"prompt_eval_count":1}`))
	f.Add([]byte(`{"message":{"content":"ok"}}` + "\n" + `{"done":true}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := job(t, false).Decode(body)
		var fe *fault.Error
		switch {
		case err != nil && !errors.As(err, &fe):
			t.Fatalf("the error is no *fault.Error: %v", err)
		case err == nil:
			if err := messages.Valid(r.AppendJSON(nil)); err != nil {
				t.Fatalf("the message is no JSON: %v", err)
			}
		}
	})
}

type pieces struct {
	data []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.data)
	p.data = p.data[n:]
	return n, nil
}

// legal proves the grammar of an answer: one open block at a time, indexes 0, 1, 2, deltas inside their block alone, and an
// end that is message_delta, message_stop, or an error with nothing behind it.
func legal(t *testing.T, j *Job, up io.Reader) {
	t.Helper()
	open, next, started, stopped, ended := -1, 0, false, false, false
	kind := messages.NoBlock
	for ev, err := range j.DecodeStream(up) {
		if ended {
			t.Fatal("something comes after the end")
		}
		if err != nil {
			ended = true
			continue
		}
		if ev.Type == messages.Lull {
			continue
		}
		if v := messages.Valid(ev.AppendJSON(nil)); v != nil {
			t.Fatalf("an event is no JSON: %v", v)
		}
		ok := started && !stopped
		switch ev.Type {
		case messages.MessageStart:
			ok, started = !started, true
		case messages.BlockStart:
			ok = ok && open < 0 && ev.Index == next
			open, next, kind = ev.Index, next+1, ev.Block
		case messages.BlockDelta:
			ok = ok && ev.Index == open && ev.Block == kind
		case messages.BlockStop:
			ok = ok && ev.Index == open
			open = -1
		case messages.MessageDelta:
			ok, stopped = ok && open < 0, true
		case messages.MessageStop:
			ok, ended = stopped, true
		}
		if !ok {
			t.Fatalf("%s is not allowed here", ev.Type.Name())
		}
	}
	if !ended {
		t.Fatal("the stream just stops")
	}
}

// waiting gives what the network brings, one packet at a time, and fails the test when more is awaited while the consumer
// still holds events that it was not told to flush.
type waiting struct {
	t     *testing.T
	lines []string
	held  int
}

func (w *waiting) Read(b []byte) (int, error) {
	if w.held > 0 {
		w.t.Errorf("more is awaited while %d events are not flushed", w.held)
	}
	if len(w.lines) == 0 {
		return 0, io.EOF
	}
	n := copy(b, w.lines[0])
	w.lines = w.lines[1:]
	return n, nil
}

func TestTellsBeforeItWaits(t *testing.T) {
	w := &waiting{t: t, lines: []string{
		`{"message":{"content":"a"}}` + "\n" + `{"message":{"content":"b"}}` + "\n",
		`{"message":{"content":"c"}}` + "\n",
		`{"done":true,"prompt_eval_count":1}` + "\n"}}
	var seen []string
	for ev, err := range job(t, true).DecodeStream(w) {
		if err != nil {
			t.Fatal(err)
		}
		if w.held++; ev.Type == messages.Lull {
			w.held = 0
		}
		if ev.Type == messages.BlockDelta {
			seen = append(seen, ev.Text.Value())
		}
		if ev.Type == messages.MessageDelta && !ev.Usage.Known {
			t.Error("the usage is not known")
		}
	}
	if got := strings.Join(seen, ""); got != "abc" {
		t.Errorf("text is %q", got)
	}
}

func TestBrokenConnection(t *testing.T) {
	cut := io.MultiReader(strings.NewReader(`{"message":{"content":"a"}}`+"\n"), iotest.ErrReader(errors.New("reset")))
	var last error
	for _, err := range job(t, true).DecodeStream(cut) {
		last = err
	}
	if last == nil || last.Error() != "reset" {
		t.Errorf("the reader's own error should come through, got %v", last)
	}
}

func TestLineTooLong(t *testing.T) {
	var last error
	for _, err := range job(t, true).DecodeStream(io.LimitReader(endless{}, 64<<20)) {
		last = err
	}
	if f := fault.From(last); f == nil || f.Kind != fault.Upstream || f.Outcome != "protocol" {
		t.Errorf("an endless line gives %v", last)
	}
}

type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

func TestUsage(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		want messages.Usage
	}{
		"it knows both figures":                  {`{"done":true,"prompt_eval_count":26,"eval_count":9}`, messages.Usage{Input: 26, Output: 9, Known: true}},
		"it takes a missing output for zero":     {`{"done":true,"prompt_eval_count":26}`, messages.Usage{Input: 26, Known: true}},
		"it does not know without the prompt's":  {`{"done":true,"eval_count":9}`, messages.Usage{Output: 9}},
		"it believes no figure below zero":       {`{"done":true,"prompt_eval_count":-1,"eval_count":9}`, messages.Usage{Output: 9}},
		"it believes no figure that is no count": {`{"done":true,"prompt_eval_count":1,"eval_count":1e99}`, messages.Usage{Input: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t, true)
			for _, err := range j.DecodeStream(strings.NewReader(c.line)) {
				if err != nil {
					t.Fatal(err)
				}
			}
			if got := j.Usage(); got != c.want {
				t.Errorf("usage is %+v, want %+v", got, c.want)
			}
		})
	}
}
