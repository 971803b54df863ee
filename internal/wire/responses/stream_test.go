package responses

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

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

// newTestJob is a job whose request has the tools t and u. Its options are members of the request.
func newTestJob(t testing.TB, stream bool, members string) *Job {
	t.Helper()
	r, err := messages.ParseRequest([]byte(fmt.Sprintf(`{"model":"m","max_tokens":99,"stream":%v,%s"tools":[{"name":"t"},{"name":"u/v"}],"messages":[{"role":"user","content":"q"}]}`, stream, members)))
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Conversation()
	if err != nil {
		t.Fatal(err)
	}
	job, err := Encode(c, "m", Quirks{Provider: "up"})
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// read reads a stream, holds it against the grammar of legal answers, and gives what a client understood of it.
func read(t testing.TB, job *Job, up io.Reader) (*testkit.Answer, error) {
	t.Helper()
	var g testkit.Grammar
	var failed error
	for ev, err := range job.DecodeStream(up) {
		if err != nil {
			var f *fault.Error
			if !errors.As(err, &f) || f.Message == "" {
				t.Fatalf("%T is no *fault.Error: %v", err, err)
			}
			failed = err
			text, _ := json.Marshal(f.Message)
			if err := g.Event("error", []byte(`{"type":"error","error":{"type":"api_error","message":`+string(text)+`}}`)); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if ev.Type == messages.Lull {
			continue
		}
		raw := ev.AppendJSON(nil)
		if bytes.ContainsAny(raw, "\r\n") {
			t.Fatalf("a line end in an event: %q", raw)
		}
		if err := g.Event(ev.Type.Name(), raw); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.End(); err != nil {
		t.Fatal(err)
	}
	return &g.Answer, failed
}

// FuzzDecodeStream holds for any bytes: the events are a legal stream that ends in message_stop or in one error, nothing
// panics, and the result does not depend on how the network cut them.
func FuzzDecodeStream(f *testing.F) {
	seeds(f, func(b []byte, i int) { f.Add(b, uint32(i)) })
	f.Add([]byte("data: {\"type\":\"response.output_item.done\",\"item\":{\"type\":\"function_call\"}}\r\rdata: {\"type\":\"response.completed\"}\r\r"), uint32(9))
	f.Add([]byte("data: {\"type\":\"response.output_text.delta\",\"delta\":\"\\ud83d\"}\n\ndata: {\"type\":\"response.output_text.done\",\"text\":\"\\ud83d\\ude00\"}\n\ndata: {\"type\":\"response.done\",\"response\":{\"output\":[0,{}]}}\n\n"), uint32(3))
	f.Fuzz(func(t *testing.T, raw []byte, seed uint32) {
		run := func(r io.Reader) string {
			job := newTestJob(t, true, `"stop_sequences":["END","Ew"],`)
			a, err := read(t, job, r)
			for i := range a.Blocks {
				a.Blocks[i].ID = stable(a.Blocks[i].ID)
			}
			a.ID, a.Deltas = "", 0 // how a text is cut may differ
			return fmt.Sprintf("%+v %v %s", a, err, usageText(job.Usage()))
		}
		whole := run(bytes.NewReader(raw))
		if cut := run(&splitReader{bytes.Clone(raw), seed}); cut != whole {
			t.Fatalf("the result depends on the split:\n%s\n----\n%s", whole, cut)
		}
	})
}

// FuzzDecode holds for any whole reply: it is a message that is JSON, or a *fault.Error.
func FuzzDecode(f *testing.F) {
	seeds(f, func(b []byte, _ int) { f.Add(b) })
	f.Fuzz(func(t *testing.T, raw []byte) {
		resp, err := newTestJob(t, false, "").Decode(raw)
		if err != nil {
			var fe *fault.Error
			if !errors.As(err, &fe) || fe.Message == "" {
				t.Fatalf("%T is no *fault.Error: %v", err, err)
			}
			return
		}
		if out := resp.AppendJSON(nil); !json.Valid(out) {
			t.Fatalf("no JSON: %s", out)
		}
		for _, p := range resp.Content {
			if p.Block == messages.TextBlock && p.Text == "" {
				t.Fatal("an empty text block")
			}
		}
	})
}

func seeds(f *testing.F, add func([]byte, int)) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for i, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, s := range ar.Files {
			if s.Name == "upstream.sse" || s.Name == "upstream.json" {
				add(s.Data, i)
			}
		}
	}
}

// teller tells one answer as a stream, in one of the many ways in which servers do.
type teller struct {
	*rand.Rand
	output []map[string]any
	sb     strings.Builder
	parts  bool // the ends of parts are told
	index  bool // events have indexes
	ids    int  // 0: stable ids, 1: other ones in every event, 2: none
	end    bool // the last event holds the whole output
	count  int
}

func (w *teller) event(kind string, i int, members map[string]any) {
	members["type"] = "response." + kind
	members["sequence_number"] = w.count
	w.count++
	if w.index {
		members["output_index"] = i
	}
	if _, item := members["item"]; !item && w.ids < 2 {
		members["item_id"] = w.id(i)
	}
	b, _ := json.Marshal(members)
	if w.IntN(2) == 0 {
		fmt.Fprintf(&w.sb, "event: response.%s\n", kind)
	}
	fmt.Fprintf(&w.sb, "data: %s\n\n", b)
}

func (w *teller) id(i int) string {
	if w.ids == 1 {
		w.count++
		return fmt.Sprintf("id_%d", w.count)
	}
	return w.output[i]["id"].(string)
}

// item is an item of the output under the id of the moment.
func (w *teller) item(i int, with map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range w.output[i] {
		out[k] = v
	}
	for k, v := range with {
		out[k] = v
	}
	if w.ids == 2 {
		delete(out, "id")
	} else if out["type"] != "reasoning" { // its id is part of what is carried
		out["id"] = w.id(i)
	}
	return out
}

// cut cuts a text into pieces.
func (w *teller) cut(s string) (out []string) {
	for runes := []rune(s); len(runes) > 0; {
		n := 1 + w.IntN(len(runes))
		out = append(out, string(runes[:n]))
		runes = runes[n:]
	}
	return out
}

func (w *teller) tell() string {
	w.event("created", 0, map[string]any{"response": map[string]any{"status": "in_progress", "output": []any{}}})
	for i, it := range w.output {
		switch it["type"] {
		case "message":
			w.message(i, it)
		case "function_call":
			w.call(i, it)
		case "reasoning":
			w.reasoning(i, it)
		}
	}
	response := map[string]any{"status": "completed", "usage": map[string]any{"input_tokens": 3, "output_tokens": 4}}
	if w.end {
		var all []any
		for i := range w.output {
			all = append(all, w.item(i, nil))
		}
		response["output"] = all
	}
	w.event("completed", 0, map[string]any{"response": response})
	return w.sb.String()
}

func (w *teller) added(i int, with map[string]any) {
	if w.IntN(4) > 0 || w.ids > 0 {
		w.event("output_item.added", i, map[string]any{"item": w.item(i, with)})
	}
}

func (w *teller) message(i int, it map[string]any) {
	w.added(i, map[string]any{"content": []any{}})
	done := w.IntN(2) == 0
	told := true
	for n, p := range it["content"].([]any) {
		part := p.(map[string]any)
		text := part["text"].(string)
		at := map[string]any{"content_index": n}
		with := func(m map[string]any) map[string]any {
			for k, v := range at {
				m[k] = v
			}
			return m
		}
		if w.parts {
			w.event("content_part.added", i, with(map[string]any{"part": map[string]any{"type": "output_text", "text": ""}}))
		}
		pieces := w.cut(text)
		keep := len(pieces)
		if w.parts || n == len(it["content"].([]any))-1 {
			keep = w.IntN(len(pieces) + 1) // the rest comes with the end of the part or of the item
		}
		for _, s := range pieces[:keep] {
			w.event("output_text.delta", i, with(map[string]any{"delta": s}))
		}
		if w.parts {
			w.event("output_text.done", i, with(map[string]any{"text": text}))
			w.event("content_part.done", i, with(map[string]any{"part": part}))
		} else if keep < len(pieces) {
			told = false
		}
	}
	if done || !told {
		w.event("output_item.done", i, map[string]any{"item": w.item(i, nil)})
	}
}

func (w *teller) call(i int, it map[string]any) {
	w.event("output_item.added", i, map[string]any{"item": w.item(i, map[string]any{"arguments": ""})})
	args := it["arguments"].(string)
	pieces := w.cut(args)
	told := w.IntN(len(pieces) + 1)
	for _, s := range pieces[:told] {
		w.event("function_call_arguments.delta", i, map[string]any{"delta": s})
	}
	way := w.IntN(3)
	if way == 0 {
		w.event("function_call_arguments.done", i, map[string]any{"arguments": args})
	}
	if way == 1 || way == 2 && (told < len(pieces) || w.IntN(2) == 0) {
		w.event("output_item.done", i, map[string]any{"item": w.item(i, nil)})
	}
}

func (w *teller) reasoning(i int, it map[string]any) {
	w.added(i, map[string]any{"summary": []any{}, "encrypted_content": "half"})
	if w.IntN(3) > 0 {
		for n, p := range it["summary"].([]any) {
			text := p.(map[string]any)["text"].(string)
			if w.parts {
				w.event("reasoning_summary_part.added", i, map[string]any{"summary_index": n, "part": map[string]any{"type": "summary_text", "text": ""}})
			}
			for _, s := range w.cut(text) {
				w.event("reasoning_summary_text.delta", i, map[string]any{"summary_index": n, "delta": s})
			}
			if w.parts {
				w.event("reasoning_summary_text.done", i, map[string]any{"summary_index": n, "text": text})
				w.event("reasoning_summary_part.done", i, map[string]any{"summary_index": n, "part": p})
			}
		}
	}
	w.event("output_item.done", i, map[string]any{"item": w.item(i, nil)}) // its state has no other place before what it led to
}

// invent makes an output of items in which no two calls or states are alike.
func invent(r *rand.Rand) (output []map[string]any) {
	words := []string{"Hello", " wörld", "Ä", "😀!", "END", "so\n", `{"a"`, "x"}
	text := func() string {
		s := ""
		for range 1 + r.IntN(4) {
			s += words[r.IntN(len(words))]
		}
		return s
	}
	for n := range 1 + r.IntN(6) {
		switch r.IntN(3) {
		case 0:
			var content []any
			for range 1 + r.IntN(2) {
				content = append(content, map[string]any{"type": "output_text", "text": text(), "annotations": []any{}})
			}
			output = append(output, map[string]any{"type": "message", "id": fmt.Sprintf("id_%d", n), "role": "assistant", "status": "completed", "content": content})
		case 1:
			args, _ := json.Marshal(map[string]any{"n": n, "s": text()})
			output = append(output, map[string]any{"type": "function_call", "id": fmt.Sprintf("id_%d", n), "call_id": fmt.Sprintf("call_%d", n), "name": "t", "arguments": string(args), "status": "completed"})
		case 2:
			parts := []any{}
			for range r.IntN(3) {
				parts = append(parts, map[string]any{"type": "summary_text", "text": text()})
			}
			output = append(output, map[string]any{"type": "reasoning", "id": fmt.Sprintf("rs_%d", n), "summary": parts, "encrypted_content": fmt.Sprintf("c3RhdGU%d", n)})
		}
	}
	return output
}

// meaning is what an output must look like as blocks, in short form.
func meaning(output []map[string]any) (blocks []string) {
	for _, it := range output {
		switch it["type"] {
		case "message":
			s := ""
			for _, p := range it["content"].([]any) {
				s += p.(map[string]any)["text"].(string)
			}
			blocks = append(blocks, "text "+s)
		case "function_call":
			blocks = append(blocks, fmt.Sprintf("tool_use %s %s %s", it["call_id"], it["name"], it["arguments"]))
		case "reasoning":
			var parts []string
			for _, p := range it["summary"].([]any) {
				parts = append(parts, p.(map[string]any)["text"].(string))
			}
			blocks = append(blocks, fmt.Sprintf("thinking %s %s", strings.Join(parts, "\n\n"), it["encrypted_content"]))
		}
	}
	return blocks
}

func understood(t testing.TB, a *testkit.Answer) (blocks []string) {
	t.Helper()
	q := Quirks{Provider: "up"}
	for _, b := range a.Blocks {
		switch b.Type {
		case "tool_use":
			blocks = append(blocks, fmt.Sprintf("tool_use %s %s %s", b.ID, b.Name, b.Text))
		case "thinking":
			var item struct {
				State string `json:"encrypted_content"`
			}
			if state := q.unpack(b.Signature); state != nil {
				if err := json.Unmarshal(state, &item); err != nil {
					t.Fatalf("%q: %v", b.Signature, err)
				}
			}
			blocks = append(blocks, "thinking "+b.Text+" "+item.State)
		default:
			blocks = append(blocks, b.Type+" "+b.Text)
		}
	}
	return blocks
}

// FuzzTellings tells one answer in any of the ways servers have, with texts in pieces, whole, both or half of each, and holds
// that it is understood the same: nothing twice, nothing lost, each state in its place.
func FuzzTellings(f *testing.F) {
	for i := range uint64(200) {
		f.Add(i)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := &teller{Rand: r, output: invent(r), parts: r.IntN(2) == 0, index: true, ids: r.IntN(3), end: r.IntN(2) == 0}
		if w.ids == 0 {
			w.index = r.IntN(3) > 0
		}
		want := meaning(w.output)
		stream := w.tell()
		a, err := read(t, newTestJob(t, true, ""), &splitReader{[]byte(stream), uint32(seed)})
		if err != nil {
			t.Fatalf("%v\n%s", err, stream)
		}
		if diff := cmp.Diff(want, understood(t, a)); diff != "" {
			t.Fatalf("(-want +got)\n%s\n%s", diff, stream)
		}
		// The same as a whole reply, and at the end of a stream that said nothing before.
		reply, _ := json.Marshal(map[string]any{"status": "completed", "output": w.output})
		for _, up := range []string{string(reply), `data: {"type":"response.completed","response":` + string(reply) + "}\n\n"} {
			a, err := read(t, newTestJob(t, true, ""), strings.NewReader(up))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, understood(t, a)); diff != "" {
				t.Fatalf("(-want +got)\n%s\n%s", diff, up)
			}
		}
	})
}

// FuzzRoundTrip gives an answer to a client who sends it back as it came, and holds that the request then holds the very items of
// the answer.
func FuzzRoundTrip(f *testing.F) {
	for i := range uint64(100) {
		f.Add(i)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		output := invent(rand.New(rand.NewPCG(seed, 2)))
		reply, _ := json.Marshal(map[string]any{"status": "completed", "output": output})
		resp, err := newTestJob(t, false, "").Decode(reply)
		if err != nil {
			t.Fatal(err)
		}
		var said struct{ Content json.RawMessage }
		if err := json.Unmarshal(resp.AppendJSON(nil), &said); err != nil {
			t.Fatal(err)
		}
		var results []any
		for _, p := range resp.Content {
			if p.Block == messages.ToolUseBlock {
				results = append(results, map[string]any{"type": "tool_result", "tool_use_id": p.ID, "content": "r"})
			}
		}
		results = append(results, map[string]any{"type": "text", "text": "Go on."})
		back, _ := json.Marshal(results)
		r, err := messages.ParseRequest([]byte(`{"model":"m","max_tokens":99,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":` + string(said.Content) + `},{"role":"user","content":` + string(back) + `}]}`))
		if err != nil {
			t.Fatal(err)
		}
		c, err := r.Conversation()
		if err != nil {
			t.Fatal(err)
		}
		job, err := Encode(c, "m", Quirks{Provider: "up"})
		if err != nil {
			t.Fatal(err)
		}
		var body struct{ Input []map[string]any }
		if err := json.Unmarshal(job.Body(), &body); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, it := range body.Input[1:] {
			if it["role"] == "user" || it["type"] == "function_call_output" {
				break
			}
			got = append(got, meaning([]map[string]any{it})...)
		}
		want := meaning(output)
		for len(want) > 0 && strings.HasPrefix(want[len(want)-1], "thinking ") {
			want = want[:len(want)-1] // it led to nothing
		}
		if diff := cmp.Diff(joinTexts(want), joinTexts(got)); diff != "" {
			t.Fatalf("(-want +got)\n%s\n%s\n%s", diff, reply, job.Body())
		}
	})
}

// joinTexts makes one of messages in a row: they come back as one with several parts.
func joinTexts(blocks []string) (out []string) {
	for _, b := range blocks {
		if n := len(out); n > 0 && strings.HasPrefix(b, "text ") && strings.HasPrefix(out[n-1], "text ") {
			out[n-1] += strings.TrimPrefix(b, "text ")
			continue
		}
		out = append(out, b)
	}
	return out
}

// FuzzStopper holds that a stop sequence is found at the same place however the text is cut, and that without one all of the
// text is said.
func FuzzStopper(f *testing.F) {
	for _, s := range []string{"", "no end here", "One END two", "ENEND", "aaab", "\n\nHuman: hi", "ééé"} {
		f.Add(s, uint32(len(s)))
	}
	stops := []string{"END", "aab", "\n\nHuman:", "é", "ND"}
	f.Fuzz(func(t *testing.T, text string, seed uint32) {
		text = strings.ToValidUTF8(text[:min(len(text), 200)], "?")
		want, found, first := text, "", len(text)+1
		for end := range len(text) + 1 {
			for _, s := range stops {
				if strings.HasSuffix(text[:end], s) && end <= first && len(s) > len(found) {
					first, found, want = end, s, text[:end-len(s)]
				}
			}
		}
		s := stopper{stops: stops}
		got, match := "", ""
		for runes := []rune(text); len(runes) > 0 && match == ""; {
			seed = seed*1664525 + 1013904223
			n := min(1+int(seed>>28), len(runes))
			var said messages.Literal
			said, match = s.feed(messages.Quote(string(runes[:n])))
			got += said.Value()
			runes = runes[n:]
			if len(s.held) >= len("\n\nHuman:") {
				t.Fatalf("%q is held back", s.held)
			}
		}
		last := s.flush()
		got += last.Value()
		if got != want || match != found {
			t.Fatalf("%q ended by %q, want %q by %q", got, match, want, found)
		}
	})
}
