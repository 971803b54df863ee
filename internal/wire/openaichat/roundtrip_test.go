package openaichat

import (
	"testing"

	"signalbox/internal/messages"
	"signalbox/internal/testkit/roundtrip"
	"signalbox/internal/wire"
)

// FuzzRoundTrip: what goes up as history comes back as the same answer.
func FuzzRoundTrip(f *testing.F) {
	roundtrip.Fuzz(f, roundtrip.Dialect{
		Encode: func(c *messages.Conversation) (wire.Job, error) { return Encode(c, "m", Quirks{Provider: "up"}) },
		Said:   "messages.1",
		Reply: func(said string) string {
			return `{"choices":[{"index":0,"message":` + said + `,"finish_reason":"stop"}]}`
		},
	})
}
