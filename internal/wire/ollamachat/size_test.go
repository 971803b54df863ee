package ollamachat

import (
	"fmt"
	"strings"
	"testing"

	"signalbox/internal/messages"
)

func TestFloor(t *testing.T) {
	for name, c := range map[string]struct {
		content   string // the last user message's content, raw
		all, last int64
	}{
		"it counts words":                          {`"one two  three\nfour\tfive"`, 7, 5},
		"it counts nothing in an empty text":       {`""`, 2, 0},
		"it counts a long word as one":             {`"` + strings.Repeat("x", 64) + `"`, 3, 1},
		"it counts data by its letters":            {`"` + strings.Repeat("x", 300) + `"`, 77, 75},
		"it counts data between marks":             {`"(` + strings.Repeat("x", 300) + `, or ` + strings.Repeat("y", 100) + `)"`, 103, 101},
		"it counts a script without gaps":          {`"` + strings.Repeat("字", 100) + `"`, 20, 18},
		"it counts a long rule by the longest":     {`"` + strings.Repeat("-", 300) + `"`, 4, 2},
		"it takes code for a word":                 {`"a.b(c)[d]->e_f=\"g\";"`, 3, 1},
		"it takes no escape for a gap or a letter": {`"a\u0020b\u0041"`, 3, 1},
		"it takes the text beside a result":        {`[{"type":"tool_result","tool_use_id":"t","content":"a b c"},{"type":"text","text":"d"}]`, 6, 1},
		"it takes the last result":                 {`[{"type":"tool_result","tool_use_id":"t","content":"a b c"},{"type":"tool_result","tool_use_id":"u","content":[{"type":"text","text":"d e"}]}]`, 7, 2},
		"it leaves out images":                     {`[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]`, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			conv := conversation(t, fmt.Appendf(nil, `{"max_tokens":9,"system":[{"type":"text","text":"x-anthropic-billing-header: a b c"},{"type":"text","text":"be brief"}],"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":{"a":"b c d"}},{"type":"tool_use","id":"u","name":"n","input":{}}]},{"role":"user","content":%s}]}`, c.content))
			if got := Floor(conv, false); got != c.all {
				t.Errorf("all: %d, want %d", got, c.all)
			}
			if got := Floor(conv, true); got != c.last {
				t.Errorf("last: %d, want %d", got, c.last)
			}
			if size := Measure(conv); size.Bytes < Floor(conv, false) {
				t.Errorf("%d bytes cannot hold %d tokens", size.Bytes, Floor(conv, false))
			}
		})
	}
}

func large(t testing.TB) *messages.Conversation {
	t.Helper()
	var sb strings.Builder
	sb.WriteString(`{"model":"m","max_tokens":4096,"stream":true,"system":[{"type":"text","text":"You are a coding agent."},{"type":"text","text":"` + strings.Repeat("Rules and more rules. ", 600) + `"}],"tools":[`)
	for i := range 20 {
		if i > 0 {
			sb.WriteByte(',')
		}
		fmt.Fprintf(&sb, `{"name":"tool_%02d","description":"%s","input_schema":{"type":"object","properties":{"a":{"type":"string","description":"%[2]s"},"b":{"type":"integer"}},"required":["a"]}}`, i, strings.Repeat("what it does ", 30))
	}
	sb.WriteString(`],"messages":[{"role":"user","content":"Fix the failing test."}`)
	for i := range 6 {
		fmt.Fprintf(&sb, `,{"role":"assistant","content":[{"type":"text","text":"I look."},{"type":"tool_use","id":"toolu_%d","name":"tool_00","input":{"a":"/src/main.go","b":%[1]d}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_%[1]d","content":[{"type":"text","text":"%s"}]}]}`, i, strings.Repeat(`\tif err := run(\"step\"); err != nil {\n`, 70))
	}
	sb.WriteString(`]}`)
	return conversation(t, []byte(sb.String()))
}

func BenchmarkEncode(b *testing.B) {
	for _, c := range []struct {
		name string
		conv *messages.Conversation
	}{
		{"small", conversation(b, []byte(`{"model":"m","max_tokens":256,"stream":true,"messages":[{"role":"user","content":"Please write one short sentence about the sea, and then stop there."}]}`))},
		{"medium", large(b)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				j, err := Encode(c.conv, "qwen3:8b", Options{NumCtx: 32768})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(j.Body())))
			}
		})
	}
}

// BenchmarkStreamLine is the cost of one line, read, proven, translated and written as an event's data.
func BenchmarkStreamLine(b *testing.B) {
	const line = `{"model":"qwen3:8b","created_at":"2026-08-01T10:00:00.123456Z","message":{"role":"assistant","content":" some\n words"},"done":false}` + "\n"
	j := job(b, true)
	up := &repeat{line: line, n: b.N}
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	b.ResetTimer()
	var buf []byte
	for ev, err := range j.DecodeStream(up) {
		if err != nil {
			break // the stream ends without done, on purpose
		}
		buf = ev.AppendJSON(buf[:0])
	}
}

type repeat struct {
	line string
	n    int
}

func (r *repeat) Read(b []byte) (int, error) {
	got := 0
	for r.n > 0 && len(b)-got >= len(r.line) {
		got += copy(b[got:], r.line)
		r.n--
	}
	if got == 0 {
		return 0, fmt.Errorf("end")
	}
	return got, nil
}

func BenchmarkFloor(b *testing.B) {
	conv := large(b)
	b.ReportAllocs()
	for b.Loop() {
		Floor(conv, false)
	}
}
