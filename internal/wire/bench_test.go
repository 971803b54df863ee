package wire

import (
	"testing"

	"signalbox/internal/messages"
	"signalbox/internal/testkit"
)

// BenchmarkPrepare is what every translation costs before the dialect writes its first byte.
func BenchmarkPrepare(b *testing.B) {
	for _, size := range testkit.Sizes {
		b.Run(size, func(b *testing.B) {
			body := testkit.AgentBody(size)
			r, err := messages.ParseRequest(body)
			if err != nil {
				b.Fatal(err)
			}
			c, err := r.Conversation()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Prepare(c, Rules{ImageURLs: true, Files: true}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkEngine is a delta of text, and a piece of a call's arguments, from the dialect's hand to the event.
func BenchmarkEngine(b *testing.B) {
	text, args := messages.Quote(" a short piece of text"), messages.Quote(`{"path":"/src/main.go","text":"a longer piece of a file that is written`)
	b.Run("text", func(b *testing.B) {
		e := NewEngine(EngineOptions{})
		b.ReportAllocs()
		for b.Loop() {
			e.Text(text)
			e.queue = e.queue[:0]
		}
	})
	b.Run("arguments", func(b *testing.B) {
		e := NewEngine(EngineOptions{})
		b.ReportAllocs()
		for b.Loop() {
			e.Call(Piece{Index: 0, ID: "a", Name: "write", Args: args})
			e.queue = e.queue[:0]
		}
	})
}
