package gemini

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
	"github.com/tidwall/gjson"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/testkit"
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

// answer reads a stream, holds it against the grammar, and gives what was understood.
func answer(t *testing.T, job *Job, r io.Reader) testkit.Answer {
	t.Helper()
	var g testkit.Grammar
	for ev, err := range job.DecodeStream(r) {
		if err != nil {
			var f *fault.Error
			if !errors.As(err, &f) || f.Message == "" {
				t.Fatalf("%T is no *fault.Error: %v", err, err)
			}
			if err := g.Event("error", fmt.Appendf(nil, `{"type":"error","error":{"type":"api_error","message":%s}}`, messages.Quote(f.Message))); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if ev.Type == messages.Lull {
			continue
		}
		if err := g.Event(ev.Type.Name(), ev.AppendJSON(nil)); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.End(); err != nil {
		t.Fatal(err)
	}
	return g.Answer
}

func corpus(f *testing.F, add func(data []byte, i uint32)) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for i, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, s := range ar.Files {
			if s.Name == "upstream.sse" || s.Name == "upstream.json" {
				add(s.Data, uint32(i))
			}
		}
	}
}

// FuzzDecodeStream holds for any bytes: the events are a legal stream, or a prefix of one with an error, nothing panics, and
// the result does not depend on how the network cut them.
func FuzzDecodeStream(f *testing.F) {
	corpus(f, func(data []byte, i uint32) { f.Add(data, i) })
	f.Add([]byte("[{\"candidates\":1}] [DONE]"), uint32(80))
	f.Fuzz(func(t *testing.T, raw []byte, seed uint32) {
		run := func(r io.Reader) string {
			job := newTestJob(t, true)
			a := answer(t, job, r)
			a.ID, a.Deltas = "", 0
			for i := range a.Blocks {
				a.Blocks[i].ID = stable(a.Blocks[i].ID)
			}
			return fmt.Sprintf("%+v %s", a, usageText(job.Usage()))
		}
		whole := run(bytes.NewReader(raw))
		if cut := run(&splitReader{bytes.Clone(raw), seed}); cut != whole {
			t.Fatalf("the result depends on the split:\n%s\n----\n%s", whole, cut)
		}
	})
}

// FuzzDecode holds for any bytes: a whole reply is a message or an error that says something.
func FuzzDecode(f *testing.F) {
	corpus(f, func(data []byte, _ uint32) { f.Add(data) })
	f.Fuzz(func(t *testing.T, raw []byte) {
		resp, err := newTestJob(t, false).Decode(raw)
		if err != nil {
			var fe *fault.Error
			if !errors.As(err, &fe) || fe.Message == "" {
				t.Fatalf("%T is no *fault.Error: %v", err, err)
			}
			return
		}
		out := resp.AppendJSON(nil)
		if !json.Valid(out) {
			t.Fatalf("no JSON: %s", out)
		}
		// What we say goes back with the next request, whatever it was.
		again := `{"max_tokens":9,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":` + gjson.GetBytes(out, "content").Raw + `},{"role":"user","content":"r"}]}`
		if body := encode(t, again, "gemini-3-flash").Body(); !json.Valid(body) {
			t.Fatalf("no JSON: %s", body)
		}
	})
}

func encode(t testing.TB, request, model string) *Job {
	t.Helper()
	r, err := messages.ParseRequest([]byte(request))
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Conversation()
	if err != nil {
		t.Fatal(err)
	}
	job, err := Encode(c, model, Options{Provider: "up"})
	if err != nil {
		t.Fatal(err)
	}
	return job
}

func newTestJob(t testing.TB, stream bool) *Job {
	t.Helper()
	return encode(t, fmt.Sprintf(`{"model":"m","max_tokens":9,"stream":%v,"messages":[{"role":"user","content":"q"}]}`, stream), "gemini-2.5-flash")
}

// lullReader gives one piece for each read.
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
		return []byte(`data: {"candidates":[{"content":{"parts":[{"text":"` + s + `"}]}}]}` + "\r\n\r\n")
	}
	r := &lullReader{pieces: [][]byte{chunk("a"), append(chunk("b"), chunk("c")...), []byte("data: {\"candidates\":[{\"finishReason\":\"STOP\"}]}\r\n\r\n")}}
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

func TestErrors(t *testing.T) {
	job := newTestJob(t, false)
	for _, c := range []struct {
		name    string
		status  int
		body    string
		kind    fault.Kind
		seconds float64
		says    string
	}{
		{"speed", 429, `[{"error":{"code":429,"message":"Resource has been exhausted","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"0.5s"}]}}]`, fault.RateLimit, 0.5, "Resource has been exhausted"},
		{"overflow", 400, `{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}`, fault.ContextOverflow, 0, "prompt is too long: 1200000 tokens > 1048576 maximum"},
		{"key", 400, `{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID"}]}}`, fault.UpstreamKey, 0, "refused the gateway's API key"},
		{"overloaded", 503, `{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}`, fault.Overloaded, 0, "overloaded"},
		{"deadline", 504, `{"error":{"code":504,"message":"Deadline expired","status":"DEADLINE_EXCEEDED"}}`, fault.Timeout, 0, "Deadline"},
		{"bad request", 400, `{"error":{"code":400,"message":"Corrupted thought signature.","status":"INVALID_ARGUMENT"}}`, fault.Invalid, 0, "Corrupted thought signature."},
		{"nothing", 404, ``, fault.NotFound, 0, "404"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := job.DecodeError(c.status, nil, []byte(c.body))
			if f.Kind != c.kind || f.RetryAfter.Seconds() != c.seconds || !strings.Contains(f.Message, c.says) {
				t.Errorf("%s after %v: %s", f.Kind, f.RetryAfter, f.Message)
			}
		})
	}
}
