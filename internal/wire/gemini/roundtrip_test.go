package gemini

import (
	"testing"

	"signalbox/internal/messages"
	"signalbox/internal/testkit/roundtrip"
	"signalbox/internal/wire"
)

// FuzzRoundTrip: what goes up as history comes back as the same answer.
func FuzzRoundTrip(f *testing.F) {
	roundtrip.Fuzz(f, roundtrip.Dialect{
		Encode: func(c *messages.Conversation) (wire.Job, error) { return Encode(c, "m", Options{Provider: "up"}) },
		Said:   "contents.1",
		Reply:  func(said string) string { return `{"candidates":[{"content":` + said + `,"finishReason":"STOP"}]}` },
		OwnIDs: true, // it numbers its calls in some versions alone, and is never given another's
	})
}
