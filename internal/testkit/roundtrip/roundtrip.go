// Package roundtrip holds that what an assistant said in an earlier turn, as an upstream is told of it, is what the agent would be
// told if the upstream now said it.
package roundtrip

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// Dialect is what a wire's own test gives.
type Dialect struct {
	Encode func(*messages.Conversation) (wire.Job, error)
	// Said is the place of the second message of a request.
	Said string
	// Reply is a whole answer that says it.
	Reply func(said string) string
	// OwnIDs says that the dialect may give calls other ids.
	OwnIDs bool
}

// Fuzz puts invented turns through a dialect: the same text, the same calls by name and id, the inputs to the byte.
func Fuzz(f *testing.F, d Dialect) {
	for i := range uint64(200) {
		f.Add(i)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		turn := invent(rand.New(rand.NewPCG(seed, 1)))
		said := gjson.GetBytes(d.job(t, turn.request()).Body(), d.Said).Raw
		job := d.job(t, []byte(`{"model":"m","max_tokens":99,"tools":`+tools+`,"messages":[{"role":"user","content":"q"}]}`))
		got, err := job.Decode([]byte(d.Reply(said)))
		if err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
		text, calls := "", []call(nil)
		for _, p := range got.Content {
			if p.Block == messages.ToolUseBlock {
				calls = append(calls, call{p.ID, p.Name, string(p.Input)})
			} else {
				text += p.Text
			}
		}
		if text != turn.text || len(calls) != len(turn.calls) {
			t.Fatalf("%q became %q, %d calls became %d\n%s", turn.text, text, len(turn.calls), len(calls), said)
		}
		for i, want := range turn.calls {
			if d.OwnIDs {
				want.id = calls[i].id
			}
			if calls[i] != want {
				t.Errorf("%+v became %+v\n%s", want, calls[i], said)
			}
		}
	})
}

func (d Dialect) job(t *testing.T, body []byte) wire.Job {
	t.Helper()
	r, err := messages.ParseRequest(body)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Conversation()
	if err != nil {
		t.Fatal(err)
	}
	j, err := d.Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// turn is an invented assistant turn: a text, which may be empty, and calls.
type turn struct {
	text  string
	calls []call
}

// call is a call of an invented turn. Its input is JSON as a caller may write it: any order, any spelling of numbers.
type call struct{ id, name, input string }

// tools are the tools that a turn may call, in the Messages form. Some names are illegal in other dialects.
const tools = `[{"name":"read","input_schema":{"type":"object"}},{"name":"files/read","input_schema":{"type":"object"}},{"name":"mcp__a__b","input_schema":{"type":"object"}},{"name":"files.read","input_schema":{"type":"object"}}]`

// invent makes a turn that says something.
func invent(r *rand.Rand) turn {
	names := [...]string{"read", "files/read", "mcp__a__b", "files.read"}
	var t turn
	if r.IntN(3) > 0 {
		t.text = "x" + inventText(r)
	}
	for i := range r.IntN(4) {
		t.calls = append(t.calls, call{fmt.Sprintf("call_%d_%d", r.IntN(1000), i), names[r.IntN(len(names))], inventObject(r, 3)})
	}
	if t.text == "" && len(t.calls) == 0 {
		t.text = "."
	}
	return t
}

// request is a Messages request in which the turn was said and answered. It is put together by hand: encoding/json would write
// the inputs anew.
func (t turn) request() []byte {
	var blocks, results []string
	if t.text != "" {
		text, _ := json.Marshal(t.text)
		blocks = append(blocks, `{"type":"text","text":`+string(text)+`}`)
	}
	for _, c := range t.calls {
		blocks = append(blocks, fmt.Sprintf(`{"type":"tool_use","id":%q,"name":%q,"input":%s}`, c.id, c.name, c.input))
		results = append(results, fmt.Sprintf(`{"type":"tool_result","tool_use_id":%q,"content":"r"}`, c.id))
	}
	results = append(results, `{"type":"text","text":"Go on."}`)
	return fmt.Appendf(nil, `{"model":"m","max_tokens":99,"tools":%s,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[%s]},{"role":"user","content":[%s]}]}`,
		tools, strings.Join(blocks, ","), strings.Join(results, ","))
}

func inventText(r *rand.Rand) string {
	runes := []rune("ab \n\t\"\\/<>&é😀\u2028\u0001{}[]:,")
	out := make([]rune, r.IntN(12))
	for i := range out {
		out[i] = runes[r.IntN(len(runes))]
	}
	return string(out)
}

func inventObject(r *rand.Rand, depth int) string {
	var b strings.Builder
	b.WriteByte('{')
	for i := range r.IntN(4) {
		if i > 0 {
			b.WriteString(", ")
		}
		key, _ := json.Marshal(fmt.Sprintf("%s%d", inventText(r), i))
		fmt.Fprintf(&b, "%s:%s", key, inventValue(r, depth))
	}
	b.WriteByte('}')
	return b.String()
}

func inventValue(r *rand.Rand, depth int) string {
	switch n := r.IntN(8); {
	case n == 0 && depth > 0:
		return inventObject(r, depth-1)
	case n == 1 && depth > 0:
		return "[" + inventValue(r, depth-1) + " ," + inventValue(r, depth-1) + "]"
	case n == 2:
		return [...]string{"1.50", "-0", "1e400", "12345678901234567890123", "0.1E-7"}[r.IntN(5)]
	case n == 3:
		return [...]string{"true", "false", "null"}[r.IntN(3)]
	default:
		s, _ := json.Marshal(inventText(r))
		return string(s)
	}
}
