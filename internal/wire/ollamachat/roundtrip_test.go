package ollamachat

import (
	"testing"

	"signalbox/internal/messages"
	"signalbox/internal/testkit/roundtrip"
	"signalbox/internal/wire"
)

// FuzzRoundTrip: what goes up as history comes back as the same answer.
func FuzzRoundTrip(f *testing.F) {
	roundtrip.Fuzz(f, roundtrip.Dialect{
		Encode: func(c *messages.Conversation) (wire.Job, error) { return Encode(c, "m", Options{}) },
		Said:   "messages.1",
		Reply: func(said string) string {
			return `{"message":` + said + `,"done":true,"done_reason":"stop","prompt_eval_count":1}`
		},
	})
}
