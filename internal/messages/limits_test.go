package messages

import (
	"strings"
	"testing"

	"signalbox/internal/fault"
)

// TestTooManyBlocks: a body of tiny blocks is refused before it fills the memory; one at the limit is not.
func TestTooManyBlocks(t *testing.T) {
	for n, want := range map[int]string{MaxBlocks: "", MaxBlocks + 1: "messages.0.content.200000: is one content block too many"} {
		r, err := ParseRequest([]byte(`{"max_tokens":1,"messages":[{"role":"user","content":[` + strings.Repeat(`{"type":"text","text":""},`, n-1) + `{"type":"text","text":""}]}]}`))
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Conversation()
		if got := fault.From(err); (err == nil) != (want == "") || err != nil && !strings.HasPrefix(got.Message, want) {
			t.Errorf("%d blocks: %v", n, err)
		}
	}
}
