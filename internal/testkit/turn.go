package testkit

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Turn is an invented assistant turn: a text, which may be empty, and calls.
type Turn struct {
	Text  string
	Calls []TurnCall
}

// TurnCall is a call of an invented turn. Input is JSON as a caller may write it: any order, any spelling of numbers.
type TurnCall struct{ ID, Name, Input string }

// Tools are the tools that a turn may call, in the Messages form. Some names are illegal in other dialects.
const Tools = `[{"name":"read","input_schema":{"type":"object"}},{"name":"files/read","input_schema":{"type":"object"}},{"name":"mcp__a__b","input_schema":{"type":"object"}},{"name":"files.read","input_schema":{"type":"object"}}]`

// InventTurn makes a turn that says something.
func InventTurn(r *rand.Rand) Turn {
	names := [...]string{"read", "files/read", "mcp__a__b", "files.read"}
	var t Turn
	if r.IntN(3) > 0 {
		t.Text = "x" + inventText(r)
	}
	for i := range r.IntN(4) {
		t.Calls = append(t.Calls, TurnCall{ID: fmt.Sprintf("call_%d_%d", r.IntN(1000), i), Name: names[r.IntN(len(names))], Input: inventObject(r, 3)})
	}
	if t.Text == "" && len(t.Calls) == 0 {
		t.Text = "."
	}
	return t
}

// Request is a Messages request in which the turn was said and answered.
func (t Turn) Request() []byte {
	results := []any{}
	for _, c := range t.Calls {
		results = append(results, map[string]any{"type": "tool_result", "tool_use_id": c.ID, "content": "r"})
	}
	results = append(results, map[string]any{"type": "text", "text": "Go on."})
	var b strings.Builder
	fmt.Fprintf(&b, `{"model":"m","max_tokens":99,"tools":%s,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[`, Tools)
	// By hand: encoding/json would write the inputs anew.
	if t.Text != "" {
		text, _ := json.Marshal(t.Text)
		fmt.Fprintf(&b, `{"type":"text","text":%s}`, text)
	}
	for i, c := range t.Calls {
		if i > 0 || t.Text != "" {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"type":"tool_use","id":%q,"name":%q,"input":%s}`, c.ID, c.Name, c.Input)
	}
	back, _ := json.Marshal(results)
	fmt.Fprintf(&b, `]},{"role":"user","content":%s}]}`, back)
	return []byte(b.String())
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
