package openaichat

import (
	"math/rand/v2"
	"testing"

	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/testkit"
)

// FuzzRoundTrip holds that what an assistant said in an earlier turn, as the upstream is told of it, is what the agent would be
// told if the upstream now said it: the same text, the same calls by name and id, the inputs to the byte.
func FuzzRoundTrip(f *testing.F) {
	for i := range uint64(200) {
		f.Add(i)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		turn := testkit.InventTurn(rand.New(rand.NewPCG(seed, 1)))
		r, err := messages.ParseRequest(turn.Request())
		if err != nil {
			t.Fatal(err)
		}
		c, err := r.Conversation()
		if err != nil {
			t.Fatal(err)
		}
		told, err := Encode(c, "m", Quirks{Provider: "up"})
		if err != nil {
			t.Fatal(err)
		}
		said := gjson.GetBytes(told.Body(), `messages.1`).Raw
		r, err = messages.ParseRequest([]byte(`{"model":"m","max_tokens":99,"tools":` + testkit.Tools + `,"messages":[{"role":"user","content":"q"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		if c, err = r.Conversation(); err != nil {
			t.Fatal(err)
		}
		job, err := Encode(c, "m", Quirks{Provider: "up"})
		if err != nil {
			t.Fatal(err)
		}
		got, err := job.Decode([]byte(`{"choices":[{"index":0,"message":` + said + `,"finish_reason":"stop"}]}`))
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		text, calls := "", []testkit.TurnCall(nil)
		for _, p := range got.Content {
			if p.Block == messages.ToolUseBlock {
				calls = append(calls, testkit.TurnCall{ID: p.ID, Name: p.Name, Input: string(p.Input)})
			} else {
				text += p.Text
			}
		}
		if text != turn.Text || len(calls) != len(turn.Calls) {
			t.Fatalf("%q became %q, %d calls became %d\n%s", turn.Text, text, len(turn.Calls), len(calls), said)
		}
		for i := range calls {
			want := turn.Calls[i]
			if calls[i] != want {
				t.Errorf("%+v became %+v\n%s", want, calls[i], said)
			}
		}
	})
}
