package exchange

import (
	"iter"

	"signalbox/internal/messages"
	"signalbox/internal/sse"
)

// Tap reads usage from frames that pass in the verbatim lane. It opens message_start and message_delta alone; text flows
// past it unopened.
type Tap struct {
	usage messages.Usage
}

// Frames passes every frame on and reads as they go.
func (t *Tap) Frames(seq iter.Seq2[sse.Frame, error]) iter.Seq2[sse.Frame, error] {
	return func(yield func(sse.Frame, error) bool) {
		for f, err := range seq {
			if err == nil {
				t.see(f)
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

func (t *Tap) see(f sse.Frame) {
	switch f.Event {
	case "message_start":
		t.usage.MergeUsage(messages.View(f.Data).Get("message.usage"), false)
	case "message_delta":
		t.usage.MergeUsage(messages.View(f.Data).Get("usage"), true)
	}
}

// Whole reads the usage of a whole message of proven grammar.
func (t *Tap) Whole(body []byte) {
	t.usage.MergeUsage(messages.View(body).Get("usage"), true)
}

// Usage is what was read so far.
func (t *Tap) Usage() messages.Usage { return t.usage }
