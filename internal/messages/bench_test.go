package messages_test

import (
	"strings"
	"testing"

	"signalbox/internal/messages"
	"signalbox/internal/sse"
	"signalbox/internal/testkit"
)

// bySize runs f on a coding agent's request of each size.
func bySize(b *testing.B, f func(b *testing.B, body []byte)) {
	for _, size := range testkit.Sizes {
		b.Run(size, func(b *testing.B) {
			body := testkit.AgentBody(size)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			f(b, body)
		})
	}
}

func mustParse(b *testing.B, body []byte) *messages.Request {
	r, err := messages.ParseRequest(body)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func BenchmarkParseRequest(b *testing.B) {
	bySize(b, func(b *testing.B, body []byte) {
		for b.Loop() {
			mustParse(b, body)
		}
	})
}

// BenchmarkConversation is the typed decode without the scan that comes before it.
func BenchmarkConversation(b *testing.B) {
	bySize(b, func(b *testing.B, body []byte) {
		r := mustParse(b, body)
		for b.Loop() {
			if _, err := messages.Decode(r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSplice(b *testing.B) {
	bySize(b, func(b *testing.B, body []byte) {
		r := mustParse(b, body)
		for b.Loop() {
			r.Splice(messages.Edit{Name: "model", Value: []byte(`"qwen/qwen3-coder"`)})
		}
	})
}

func BenchmarkVerbatim(b *testing.B) {
	bySize(b, func(b *testing.B, body []byte) {
		r := mustParse(b, body)
		for b.Loop() {
			r.Verbatim("qwen/qwen3-coder", func(string) bool { return false })
		}
	})
}

// BenchmarkEvent is one text delta as the caller gets it: the event's JSON and its frame.
func BenchmarkEvent(b *testing.B) {
	ev := messages.Event{Type: messages.BlockDelta, Index: 1, Block: messages.TextBlock, Text: messages.Quote(" a short piece of \"text\"\n")}
	b.ReportAllocs()
	var data, frame []byte
	for b.Loop() {
		data = ev.AppendJSON(data[:0])
		frame = sse.Append(frame[:0], sse.Frame{Event: ev.Type.Name(), Data: data})
	}
}

// BenchmarkLiteral copies 64 KB of text into a translated body.
func BenchmarkLiteral(b *testing.B) {
	for name, text := range map[string]string{
		"agent":   string(testkit.AgentBody("medium")),
		"chinese": strings.Repeat("网关把每一轮都传给模型，", 1800),
		"dashes":  strings.Repeat("one — two “three” … ", 2600),
		"base64":  strings.Repeat("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYA", 1800),
	} {
		lit := messages.Quote(text)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(lit)))
			dst := make([]byte, 0, 2*len(lit))
			for b.Loop() {
				dst = lit.AppendTo(dst[:0])
			}
		})
		b.Run(name+"/scan", func(b *testing.B) {
			body := append(append([]byte(`{"a":`), lit...), '}')
			b.SetBytes(int64(len(lit)))
			for b.Loop() {
				mustParse(b, body)
			}
		})
	}
}
