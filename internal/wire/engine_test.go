package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/sse"
	"signalbox/internal/testkit"
)

// item is one thing that an upstream says: it feeds the engine, or ends the stream.
type item func(e *Engine) error

func text(s string) item {
	return func(e *Engine) error { e.Text(messages.Quote(s)); return nil }
}

func think(s string) item {
	return func(e *Engine) error { e.Thinking(messages.Quote(s)); return nil }
}

func apart(e *Engine) error { e.Apart(); return nil }

func carry(s string) item {
	return func(e *Engine) error { e.Carry(s); return nil }
}

// call is a piece with an index; piece builds the rest.
func call(index int, id, name, args string) item {
	return piece(Piece{Index: index, ID: id, Name: name, Args: messages.Quote(args)})
}

func whole(id, name, input string) item {
	return piece(Piece{Index: -1, ID: id, Name: name, Input: jsontext.Value(input), Whole: true})
}

func piece(p Piece) item { return func(e *Engine) error { e.Call(p); return nil } }

func usage(in, out int64) item {
	return func(e *Engine) error { e.Usage(messages.Usage{Input: in, Output: out, Known: true}); return nil }
}

func finish(reason string) item {
	return func(e *Engine) error { e.Finish(reason, ""); return nil }
}

func fails(err error) item { return func(*Engine) error { return err } }

var lull = fails(ErrLull)

// stream runs the items through Stream and gives what came out in short form:
//
//	start <0:text "a" "b" >0 <1:name#id "{}" >1 =tool_use(3/4) end      ~sig is a signature, … a lull, !outcome an error
func stream(t testing.TB, e *Engine, items ...item) (short string, wrote []byte, failed error) {
	t.Helper()
	next := func() error {
		if len(items) == 0 {
			return io.EOF
		}
		it := items[0]
		items = items[1:]
		return it(e)
	}
	var out []string
	for ev, err := range e.Stream(strings.NewReader(""), next) {
		if err != nil {
			label := err.Error()
			var f *fault.Error
			if errors.As(err, &f) {
				label = f.Label()
			}
			out = append(out, "!"+label)
			failed = err
			continue
		}
		if failed != nil {
			t.Fatalf("an event behind the error: %+v", ev)
		}
		out = append(out, shortOf(&ev))
		if ev.Type != messages.Lull {
			wrote = sse.Append(wrote, sse.Frame{Event: ev.Type.Name(), Data: ev.AppendJSON(nil)})
		}
	}
	return strings.Join(out, " "), wrote, failed
}

func shortOf(ev *messages.Event) string {
	switch ev.Type {
	case messages.Lull:
		return "…"
	case messages.MessageStart:
		return "start"
	case messages.BlockStart:
		switch ev.Block {
		case messages.TextBlock:
			return fmt.Sprintf("<%d:text", ev.Index)
		case messages.ThinkingBlock:
			return fmt.Sprintf("<%d:thinking", ev.Index)
		}
		id := ev.ID
		if strings.HasPrefix(id, minted) {
			id = "minted"
			if o := OriginalID(ev.ID); o != ev.ID {
				id += "(" + o + ")"
			}
		}
		return fmt.Sprintf("<%d:%s#%s", ev.Index, ev.Name, id)
	case messages.BlockDelta:
		if ev.Signature != "" {
			return "~" + ev.Signature
		}
		return strconv.Quote(ev.Text.Value())
	case messages.BlockStop:
		return fmt.Sprintf(">%d", ev.Index)
	case messages.MessageDelta:
		return fmt.Sprintf("=%s(%d/%d)", ev.StopReason, ev.Usage.Input, ev.Usage.Output)
	}
	return "end"
}

func TestEngine(t *testing.T) {
	used := func(ids ...string) *messages.Conversation {
		c := &messages.Conversation{Messages: []messages.Message{{Role: "assistant"}}}
		for _, id := range ids {
			c.Messages[0].Content = append(c.Messages[0].Content, messages.Block{Type: "tool_use", ID: id})
		}
		return c
	}
	reset := errors.New("reset")
	for name, row := range map[string]struct {
		items []item
		want  string
		used  []string
	}{
		"it streams text as it comes": {items: []item{text("a"), lull, text("b"), finish("end_turn"), usage(3, 4)},
			want: `start <0:text "a" … "b" >0 =end_turn(3/4) end`},
		"it says one lull for many waits": {items: []item{lull, text("a"), lull, lull, lull, finish("end_turn")},
			want: `start <0:text "a" … >0 =end_turn(0/0) end`},
		"it gives an answer of nothing": {items: []item{text(""), think(""), call(0, "", "", ""), finish("end_turn")},
			want: `start =end_turn(0/0) end`},
		"it closes thinking before text": {items: []item{think("x"), think("y"), text("a"), finish("end_turn")},
			want: `start <0:thinking "x" "y" >0 <1:text "a" >1 =end_turn(0/0) end`},
		"it opens a new block for thinking behind text": {items: []item{text("a"), think("x"), text("b"), finish("end_turn")},
			want: `start <0:text "a" >0 <1:thinking "x" >1 <2:text "b" >2 =end_turn(0/0) end`},
		"it does not switch for an empty piece": {items: []item{text("a"), think(""), call(0, "", "", ""), text("b"), finish("end_turn")},
			want: `start <0:text "a" "b" >0 =end_turn(0/0) end`},
		"it signs thinking when it closes": {items: []item{think("x"), carry("s"), text("a"), finish("end_turn")},
			want: `start <0:thinking "x" ~s >0 <1:text "a" >1 =end_turn(0/0) end`},
		"it carries state without thinking": {items: []item{carry("s"), text("a"), finish("end_turn")},
			want: `start <0:thinking ~s >0 <1:text "a" >1 =end_turn(0/0) end`},
		"it carries state that comes at the end": {items: []item{think("x"), text("a"), carry("s"), finish("end_turn")},
			want: `start <0:thinking "x" >0 <1:text "a" >1 <2:thinking ~s >2 =end_turn(0/0) end`},
		"it loses no state when there is more of it": {items: []item{think("x"), carry("s"), carry("s"), carry("r"), finish("end_turn")},
			want: `start <0:thinking "x" ~s >0 <1:thinking ~r >1 =end_turn(0/0) end`},
		"it begins a block of its own for another item": {items: []item{think("x"), carry("s"), apart, think("y"), carry("r"), apart, text("a"), apart, apart, text("b"), finish("end_turn")},
			want: `start <0:thinking "x" ~s >0 <1:thinking "y" ~r >1 <2:text "a" >2 <3:text "b" >3 =end_turn(0/0) end`},
		"it gives an item's state to no other's thinking": {items: []item{think("x"), apart, carry("s"), text("a"), finish("end_turn")},
			want: `start <0:thinking "x" >0 <1:thinking ~s >1 <2:text "a" >2 =end_turn(0/0) end`},
		"it begins no block for an item that says nothing": {items: []item{text("a"), apart, text(""), finish("end_turn")},
			want: `start <0:text "a" >0 =end_turn(0/0) end`},
		"it ignores empty state": {items: []item{carry(""), text("a"), finish("end_turn")},
			want: `start <0:text "a" >0 =end_turn(0/0) end`},

		"it streams a call's arguments": {items: []item{call(0, "a", "f", ""), call(0, "", "", `{"x"`), lull, call(0, "", "", `:1}`), finish("tool_use")},
			want: `start <0:f#a "{\"x\"" … ":1}" >0 =tool_use(0/0) end`},
		"it puts interleaved calls in line": {items: []item{call(0, "a", "f", `{"x":`), call(1, "b", "g", `{"y":`), call(0, "", "", `1}`), call(1, "", "", `2}`), finish("tool_use")},
			want: `start <0:f#a "{\"x\":" "1}" >0 <1:g#b "{\"y\":" "2}" >1 =tool_use(0/0) end`},
		"it holds three at a time": {items: []item{call(0, "a", "f", `{`), call(1, "b", "g", `{`), call(2, "c", "h", `{}`), call(1, "", "", `}`), call(0, "", "", `}`), finish("tool_use")},
			want: `start <0:f#a "{" "}" >0 <1:g#b "{}" >1 <2:h#c "{}" >2 =tool_use(0/0) end`},
		"it keeps text in the middle of a call": {items: []item{call(0, "a", "f", `{`), text("t"), call(0, "", "", `}`), text("u"), finish("tool_use")},
			want: `start <0:f#a "{" "}" >0 <1:text "t" "u" >1 =tool_use(0/0) end`},
		"it gives text behind a call at once": {items: []item{call(0, "a", "f", `{}`), text("t"), lull, text("u"), finish("tool_use")},
			want: `start <0:f#a "{}" >0 <1:text "t" … "u" >1 =tool_use(0/0) end`},
		"it waits for arguments that may still come": {items: []item{call(0, "a", "f", ""), text("t"), call(0, "", "", `{}`), finish("tool_use")},
			want: `start <0:f#a "{}" >0 <1:text "t" >1 =tool_use(0/0) end`},
		"it takes a brace in a string for text": {items: []item{call(0, "a", "f", `{"x":"}\"}`), call(1, "b", "g", `{}`), call(0, "", "", `"}`), finish("tool_use")},
			want: `start <0:f#a "{\"x\":\"}\\\"}" "\"}" >0 <1:g#b "{}" >1 =tool_use(0/0) end`},
		"it keeps arguments that come before the name": {items: []item{call(0, "a", "", `{"x"`), lull, call(0, "", "f", `:1}`), finish("tool_use")},
			want: `start … <0:f#a "{\"x\":1}" >0 =tool_use(0/0) end`},
		"it takes no arguments for {}": {items: []item{call(0, "a", "f", ""), call(1, "b", "g", " \n"), finish("tool_use")},
			want: `start <0:f#a >0 <1:g#b >1 =tool_use(0/0) end`},
		"it joins a name that comes in pieces": {items: []item{call(0, "a", "get_", ""), lull, call(0, "", "weather", ""), call(0, "", "", `{}`), finish("tool_use")},
			want: `start … <0:get_weather#a "{}" >0 =tool_use(0/0) end`},
		"it joins a name that grows": {items: []item{call(0, "a", "get", ""), call(0, "a", "get_weather", `{`), call(0, "a", "get_weather", `}`), finish("tool_use")},
			want: `start <0:get_weather#a "{" "}" >0 =tool_use(0/0) end`},
		"it takes a name with its first argument for whole": {items: []item{call(0, "a", "get", ""), call(0, "", "", `{`), call(0, "", "_weather", `}`), finish("tool_use")},
			want: `start <0:get#a "{" "}" >0 =tool_use(0/0) end`},
		"it takes a name behind which something comes for whole": {items: []item{call(0, "a", "get", ""), call(1, "b", "get_weather", `{}`), finish("tool_use")},
			want: `start <0:get#a >0 <1:get_weather#b "{}" >1 =tool_use(0/0) end`},
		"it takes a name at the end for whole": {items: []item{call(0, "a", "get", ""), finish("tool_use")},
			want: `start <0:get#a >0 =tool_use(0/0) end`},
		"it joins no name that is no tool's": {items: []item{call(0, "a", "get_", ""), call(0, "", "time", `{}`), finish("tool_use")},
			want: `start <0:get_#a "{}" >0 =tool_use(0/0) end`},
		"it takes a second id under one index for a second call": {items: []item{call(0, "a", "f", `{}`), call(0, "b", "f", `{}`), finish("tool_use")},
			want: `start <0:f#a "{}" >0 <1:f#b "{}" >1 =tool_use(0/0) end`},
		"it finds each id again under one index": {items: []item{call(0, "a", "f", `{`), call(0, "b", "f", `{`), call(0, "a", "", `}`), call(0, "b", "", `}`), finish("tool_use")},
			want: `start <0:f#a "{" "}" >0 <1:f#b "{" "}" >1 =tool_use(0/0) end`},
		"it takes an id of its own for each piece for the same call": {items: []item{call(0, "a", "f", ""), call(0, "b", "", `{`), call(0, "b", "", `}`), call(0, "c", "", ""), call(1, "d", "g", ""), call(0, "c", "", ""), call(1, "e", "", `{}`), finish("tool_use")},
			want: `start <0:f#a "{" "}" >0 <1:g#d "{}" >1 =tool_use(0/0) end`},
		"it takes a repeated id and name for the same call": {items: []item{call(0, "a", "f", `{`), call(0, "a", "f", `}`), call(0, "a", "f", ``), finish("tool_use")},
			want: `start <0:f#a "{" "}" >0 =tool_use(0/0) end`},
		"it begins no call when a closed one is repeated": {items: []item{call(0, "a", "f", `{}`), call(1, "b", "g", `{}`), call(0, "a", "f", ``), call(0, "", "", ` `), finish("tool_use")},
			want: `start <0:f#a "{}" >0 <1:g#b "{}" >1 =tool_use(0/0) end`},
		"it breaks when a closed call goes on": {items: []item{call(0, "a", "f", `{}`), call(1, "b", "g", `{}`), call(0, "", "", `x`), finish("tool_use")},
			want: `start <0:f#a "{}" >0 <1:g#b "{}" !bad_tool`},
		"it tells calls apart by id without an index": {items: []item{call(-1, "a", "f", `{}`), call(-1, "b", "f", `{`), call(-1, "b", "", `}`), finish("tool_use")},
			want: `start <0:f#a "{}" >0 <1:f#b "{" "}" >1 =tool_use(0/0) end`},
		"it tells calls apart by name without index and id": {items: []item{call(-1, "", "f", `{`), call(-1, "", "", `}`), call(-1, "", "g", `{}`), finish("tool_use")},
			want: `start <0:f#minted "{" "}" >0 <1:g#minted "{}" >1 =tool_use(0/0) end`},
		"it takes the same name with nothing else for the same call": {items: []item{call(-1, "", "f", `{`), call(-1, "", "f", `}`), finish("tool_use")},
			want: `start <0:f#minted "{" "}" >0 =tool_use(0/0) end`},
		"it takes whole arguments twice for two calls": {items: []item{call(-1, "", "f", `{}`), call(-1, "", "f", `{}`), call(0, "", "g", `{}`), call(0, "", "g", `{}`), finish("tool_use")},
			want: `start <0:f#minted "{}" >0 <1:f#minted "{}" >1 <2:g#minted "{}" >2 <3:g#minted "{}" >3 =tool_use(0/0) end`},
		"it takes an id that comes late": {items: []item{call(-1, "", "f", `{`), call(-1, "a", "", `}`), finish("tool_use")},
			want: `start <0:f#minted "{" "}" >0 =tool_use(0/0) end`},
		"it gives whole calls": {items: []item{whole("a", "f", `{"n":1.50}`), whole("", "f", `{}`), whole("", "f", ""), text("t"), finish("end_turn")},
			want: `start <0:f#a "{\"n\":1.50}" >0 <1:f#minted "{}" >1 <2:f#minted >2 <3:text "t" >3 =tool_use(0/0) end`},

		"it does not repeat an id of the conversation": {used: []string{"call_0"}, items: []item{call(0, "call_0", "f", `{}`), finish("tool_use")},
			want: `start <0:f#minted(call_0) "{}" >0 =tool_use(0/0) end`},
		"it does not repeat an id of its own": {items: []item{whole("a", "f", `{}`), whole("a", "f", `{}`), finish("tool_use")},
			want: `start <0:f#a "{}" >0 <1:f#minted(a) "{}" >1 =tool_use(0/0) end`},
		"it carries an id that is not legal": {items: []item{call(0, "functions.Bash:0", "f", `{}`), finish("tool_use")},
			want: `start <0:f#minted(functions.Bash:0) "{}" >0 =tool_use(0/0) end`},

		"it ends in an error when arguments are no JSON": {items: []item{call(0, "a", "f", `{"x":oops`), finish("tool_use"), usage(1, 2)},
			want: `start <0:f#a "{\"x\":oops" !bad_tool`},
		"it ends in an error when arguments are no object": {items: []item{call(0, "a", "f", `[1]`), finish("tool_use")},
			want: `start <0:f#a "[1]" !bad_tool`},
		"it ends in an error when arguments go on": {items: []item{call(0, "a", "f", `{}`), call(0, "", "", `{}`), finish("tool_use")},
			want: `start <0:f#a "{}" "{}" !bad_tool`},
		"it ends in an error when a whole call is broken": {items: []item{whole("a", "f", `"x"`), whole("b", "g", `{}`), finish("tool_use")},
			want: `start <0:f#a "\"x\"" !bad_tool`},
		"it gives what came before the broken call": {items: []item{text("t"), call(0, "a", "f", `{}`), call(1, "b", "g", `{`), finish("end_turn")},
			want: `start <0:text "t" >0 <1:f#a "{}" >1 <2:g#b "{" !bad_tool`},
		"it ends with max_tokens when the limit cut a call": {items: []item{call(0, "a", "f", `{"x":"lo`), finish("max_tokens")},
			want: `start <0:f#a "{\"x\":\"lo" >0 =max_tokens(0/0) end`},
		"it gives what stands behind a cut call": {items: []item{call(0, "a", "f", `{`), call(1, "b", "g", `{}`), text("t"), finish("max_tokens")},
			want: `start <0:f#a "{" >0 <1:g#b "{}" >1 <2:text "t" >2 =max_tokens(0/0) end`},
		"it leaves out a call that was cut before its name": {items: []item{text("t"), call(0, "a", "", ""), finish("max_tokens")},
			want: `start <0:text "t" >0 =max_tokens(0/0) end`},
		"it refuses a call without a name": {items: []item{call(0, "a", "", `{}`), finish("tool_use")},
			want: `start !bad_tool`},

		"it corrects end_turn with calls":        {items: []item{whole("a", "f", `{}`), finish("end_turn")}, want: `start <0:f#a "{}" >0 =tool_use(0/0) end`},
		"it corrects tool_use without calls":     {items: []item{text("t"), finish("tool_use")}, want: `start <0:text "t" >0 =end_turn(0/0) end`},
		"it reads no reason for the fitting one": {items: []item{text("t"), finish("")}, want: `start <0:text "t" >0 =end_turn(0/0) end`},
		"it keeps max_tokens with calls":         {items: []item{whole("a", "f", `{}`), finish("max_tokens")}, want: `start <0:f#a "{}" >0 =max_tokens(0/0) end`},
		"it keeps refusal":                       {items: []item{text("no"), finish("refusal")}, want: `start <0:text "no" >0 =refusal(0/0) end`},
		"it counts the first finish":             {items: []item{text("t"), finish("max_tokens"), finish("end_turn")}, want: `start <0:text "t" >0 =max_tokens(0/0) end`},
		"it does not listen behind the finish": {items: []item{text("t"), finish("end_turn"), text("u"), think("v"), whole("a", "f", `{}`)},
			want: `start <0:text "t" >0 =end_turn(0/0) end`},

		"it takes usage before the finish":  {items: []item{usage(1, 1), text("t"), usage(5, 6), finish("end_turn")}, want: `start <0:text "t" >0 =end_turn(5/6) end`},
		"it takes usage behind the finish":  {items: []item{text("t"), finish("end_turn"), usage(5, 6)}, want: `start <0:text "t" >0 =end_turn(5/6) end`},
		"it takes usage without an answer":  {items: []item{usage(5, 6), finish("end_turn")}, want: `start =end_turn(5/6) end`},
		"it commits to nothing for a usage": {items: []item{usage(5, 6)}, want: `!empty_stream`},
		"it keeps known figures": {items: []item{text("t"), usage(5, 6), finish("end_turn"), func(e *Engine) error { e.Usage(messages.Usage{}); return nil }},
			want: `start <0:text "t" >0 =end_turn(5/6) end`},

		"it tells of an empty stream":             {want: `!empty_stream`},
		"it tells of a truncated stream":          {items: []item{text("t")}, want: `start <0:text "t" !truncated`},
		"it tells of a truncated call":            {items: []item{call(0, "a", "f", `{`)}, want: `start <0:f#a "{" !truncated`},
		"it tells of a broken connection":         {items: []item{text("t"), fails(reset)}, want: `start <0:text "t" !reset`},
		"it forgives one that breaks at the end":  {items: []item{text("t"), finish("end_turn"), fails(reset)}, want: `start <0:text "t" >0 =end_turn(0/0) end`},
		"it passes an upstream's error on":        {items: []item{text("t"), fails(fault.New(fault.Overloaded, "busy"))}, want: `start <0:text "t" !overloaded`},
		"it passes an error behind the finish on": {items: []item{text("t"), finish("end_turn"), fails(fault.New(fault.Overloaded, "busy"))}, want: `start <0:text "t" !overloaded`},
		"it gives what an item said before it failed": {items: []item{func(e *Engine) error { e.Text(messages.Quote("t")); return fault.New(fault.Upstream, "x") }},
			want: `start <0:text "t" !upstream`},
	} {
		t.Run(name, func(t *testing.T) {
			got, wrote, failed := stream(t, NewEngine(EngineOptions{Model: "m", IDs: NewIDs(used(row.used...)), Tools: []string{"get", "get_weather"}}), row.items...)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Fatal(diff)
			}
			legal(t, wrote, failed)
		})
	}
}

// legal holds what the caller would have read against the grammar.
func legal(t testing.TB, wrote []byte, failed error) *testkit.Answer {
	t.Helper()
	if failed != nil {
		wrote = append(bytes.Clone(wrote), "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"x\"}}\n\n"...)
	}
	a, err := testkit.Legal(bytes.NewReader(wrote))
	if err != nil {
		t.Fatalf("%v\n%s", err, wrote)
	}
	if failed != nil && a.StopReason != "" {
		t.Fatalf("a false success: %s", wrote)
	}
	return a
}

func TestEngineKeepsItsMemory(t *testing.T) {
	t.Run("it copies what an item's buffer held", func(t *testing.T) {
		e := NewEngine(EngineOptions{})
		id := func() item {
			return func(e *Engine) error {
				buf := []byte(`{"id":"same"}`)
				e.Call(Piece{Index: -1, ID: messages.View(buf).Get("id").Str, Name: "f", Whole: true})
				copy(buf, `{"id":"next"}`)
				return nil
			}
		}
		got, _, _ := stream(t, e, id(), id(), finish("tool_use"))
		if want := `start <0:f#same >0 <1:f#minted(same) >1 =tool_use(0/0) end`; got != want {
			t.Fatal(got)
		}
	})
	t.Run("it gives up on an upstream that says too much behind an open call", func(t *testing.T) {
		big := text(strings.Repeat("x", 1<<20))
		items := []item{call(0, "a", "f", `{`)}
		for range 40 {
			items = append(items, big)
		}
		got, wrote, failed := stream(t, NewEngine(EngineOptions{}), items...)
		if want := `start <0:f#a "{" !too_large_answer`; got != want {
			t.Fatal(got)
		}
		legal(t, wrote, failed)
	})
	t.Run("it gives up on an upstream that begins calls without end", func(t *testing.T) {
		items := []item{call(0, "a", "f", `{`)}
		for i := range 10_000 {
			items = append(items, call(1+i, "", "f", `{`))
		}
		if got, _, _ := stream(t, NewEngine(EngineOptions{}), items...); got != `start <0:f#a "{" !too_large_answer` {
			t.Fatal(got)
		}
	})
	t.Run("it lets any amount through that does not wait", func(t *testing.T) {
		big := strings.Repeat("x", 1<<20)
		items := []item{call(0, "a", "f", `{"x":"`)}
		for range 20 {
			items = append(items, text(""), call(0, "", "", big))
		}
		e := NewEngine(EngineOptions{})
		_, _, failed := stream(t, e, append(items, call(0, "", "", `"}`), finish("tool_use"))...)
		if failed != nil || e.waiting != 0 {
			t.Fatal(failed, e.waiting)
		}
	})
}

type lingering struct {
	io.Reader
	told, recalled int
}

func (l *lingering) Linger() { l.told++ }
func (l *lingering) Resume() { l.recalled++ }

func TestStreamTellsALingerer(t *testing.T) {
	l := &lingering{Reader: strings.NewReader("")}
	e := NewEngine(EngineOptions{})
	steps := 0
	for ev, err := range e.Stream(l, func() error {
		steps++
		switch steps {
		case 1:
			e.Text(messages.Quote("t"))
		case 2:
			if l.told != 0 {
				t.Error("told before the finish")
			}
			e.Finish("end_turn", "")
		case 4:
			return io.EOF
		}
		return nil
	}) {
		if err != nil {
			t.Fatal(ev, err)
		}
	}
	if l.told != 1 || l.recalled != 0 {
		t.Fatalf("told %d times, recalled %d times", l.told, l.recalled)
	}
}

func TestFinishThatIsTakenBack(t *testing.T) {
	l := &lingering{Reader: strings.NewReader("")}
	e := NewEngine(EngineOptions{})
	steps := 0
	m, err := Collect(e.Stream(l, func() error {
		switch steps++; steps {
		case 1:
			e.Text(messages.Quote("one"))
			e.Finish("end_turn", "")
		case 2:
			e.Resume()
			e.Text(messages.Quote(" two"))
		case 3:
			e.Finish("max_tokens", "")
		case 4:
			return io.EOF
		}
		return nil
	}))
	if err != nil || len(m.Content) != 1 || m.Content[0].Text != "one two" || m.StopReason != "max_tokens" {
		t.Fatalf("%+v %v", m, err)
	}
	if l.told != 2 || l.recalled != 1 {
		t.Fatalf("told %d times, recalled %d times", l.told, l.recalled)
	}
}

func TestStreamStopsWhenTheCallerLeaves(t *testing.T) {
	e := NewEngine(EngineOptions{})
	asked := 0
	for range e.Stream(nil, func() error { asked++; e.Text(messages.Quote("t")); return nil }) {
		break
	}
	if asked != 1 {
		t.Fatalf("asked %d times", asked)
	}
}

func TestResponse(t *testing.T) {
	feed := func(items ...item) (*messages.Response, error) {
		e := NewEngine(EngineOptions{Model: "m", CallerName: strings.ToUpper})
		for _, it := range items {
			if err := it(e); err != nil {
				t.Fatal(err)
			}
		}
		return e.Response()
	}
	t.Run("it gathers what was said", func(t *testing.T) {
		r, err := feed(think("x"), carry("s"), text("a"), text("b"), whole("i", "f", ` {"n":1.50} `), whole("k", "g", ""), usage(1, 2), finish("end_turn"))
		if err != nil {
			t.Fatal(err)
		}
		r.ID = "msg_1"
		want := `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"x","signature":"s"},{"type":"text","text":"ab"},{"type":"tool_use","id":"i","name":"F","input":{"n":1.50}},{"type":"tool_use","id":"k","name":"G","input":{}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":1,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":2}}`
		if diff := cmp.Diff(want, string(r.AppendJSON(nil))); diff != "" {
			t.Fatal(diff)
		}
	})
	t.Run("it gives content [] for nothing", func(t *testing.T) {
		r, err := feed(finish("end_turn"))
		if err != nil || !strings.Contains(string(r.AppendJSON(nil)), `"content":[],"stop_reason":"end_turn"`) {
			t.Fatal(r, err)
		}
	})
	for name, items := range map[string][]item{
		"it refuses broken arguments":          {whole("a", "f", `{"x":`), finish("tool_use")},
		"it refuses a call that was cut":       {whole("a", "f", `{"x":`), finish("max_tokens")},
		"it refuses arguments that are a list": {whole("a", "f", `[]`), finish("tool_use")},
		"it refuses an unfinished answer":      {text("a")},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := feed(items...); fault.From(err).Kind != fault.Upstream {
				t.Fatal(err)
			}
		})
	}
}

// FuzzEngine says random things in a random order: what comes out is always legal, and the whole message of the same things
// says the same.
func FuzzEngine(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15})
	f.Add([]byte{0x30, 0x00, 0x71, 0x00, 0x31, 0x12, 0x71, 0x12, 0x0a, 0x90})
	f.Add([]byte{0x40, 0x05, 0x00, 0x51, 0x23, 0x92})
	f.Add([]byte{0x33, 0xff, 0x70, 0x33, 0x70, 0x20, 0x96})
	words := []string{"", "a", "two words", "\"\\\n\u2028", "é", "}", "{"}
	ids := []string{"", "", "a", "b", "functions.x:0", "toolu_sb1x"}
	names := []string{"", "", "f", "g"}
	args := []string{"", "{}", `{"x"`, `:1}`, "{", "}", `"}"`, " ", `[]`, "nul", `{"a":"\u00`, `e9"}`, `-1.5e+3`, `,`, `:`, `"k"`}
	reasons := []string{"end_turn", "tool_use", "max_tokens", "refusal", ""}
	f.Fuzz(func(t *testing.T, script []byte) {
		take := func() int {
			if len(script) == 0 {
				return 0
			}
			b := script[0]
			script = script[1:]
			return int(b)
		}
		var items []item
		for len(script) > 0 && len(items) < 64 {
			op := take()
			switch op >> 4 {
			case 0, 1:
				items = append(items, text(words[op&15%len(words)]))
			case 2:
				items = append(items, think(words[op&15%len(words)]))
			case 3, 4, 5, 6, 7, 8:
				more := take()
				p := Piece{Index: op>>4 - 5, ID: ids[more&15%len(ids)], Name: names[more>>4&3], Args: messages.Quote(args[op&15])}
				if p.Index < -1 {
					p.Index, p.Whole = -1, true
					if more&64 != 0 {
						p.Input, p.Args = jsontext.Value(args[op&15]), nil
					}
				}
				items = append(items, piece(p))
			case 9:
				items = append(items, finish(reasons[op&15%len(reasons)]))
			case 10:
				items = append(items, carry(words[op&3]))
			case 11:
				items = append(items, usage(int64(op), 1))
			case 12:
				items = append(items, lull)
			case 13:
				items = append(items, apart)
			}
		}
		again := func(ids *IDs) *Engine { return NewEngine(EngineOptions{Model: "m", IDs: ids}) }
		got, wrote, failed := stream(t, again(nil), items...)
		if len(wrote) == 0 {
			if failed == nil {
				t.Fatal("nothing said, and no error")
			}
			return
		}
		answer := legal(t, wrote, failed)
		e := again(nil)
		for _, it := range items {
			_ = it(e)
		}
		r, err := e.Response()
		if err != nil {
			cut := answer.StopReason == "max_tokens"
			if failed == nil && !cut {
				t.Fatalf("the stream went well, the message failed: %v: %s", err, got)
			}
			return
		}
		if failed != nil {
			t.Fatalf("the message went well, the stream failed: %v: %s", failed, got)
		}
		if r.StopReason != answer.StopReason || len(r.Content) != len(answer.Blocks) {
			t.Fatalf("%+v\n%s", r, got)
		}
		for i, p := range r.Content {
			b := answer.Blocks[i]
			text := p.Text
			if p.Block == messages.ToolUseBlock {
				text, b.Text = string(p.Input), strings.TrimSpace(b.Text)
			}
			if text != b.Text || p.Signature != b.Signature || p.Name != b.Name || OriginalID(p.ID) != OriginalID(b.ID) && !strings.HasPrefix(p.ID, minted) {
				t.Fatalf("%+v, streamed %+v\n%s", p, b, got)
			}
		}
		if !jsontext.Value(r.AppendJSON(nil)).IsValid() {
			t.Fatalf("no JSON: %s", r.AppendJSON(nil))
		}
	})
}

// FuzzProof holds the arguments' watch against the scanner, however the text is cut.
func FuzzProof(f *testing.F) {
	for _, s := range []string{`{}`, ` {"a":[1,-0.5e+3,true,false,null,{"b":"\u00e9\n\""}]} `, `{"a":01}`, `{"a":1.}`, `{"a",}`, `[]`, `{}{}`, "{\"a\":\"\x01\"}", `{"a":tru}`,
		strings.Repeat(`{"a":`, 130), `{"a":` + strings.Repeat("[", 127) + strings.Repeat("]", 127) + `}`, `{"a":-}`, `{"a":1e}`, `{"a":[}`, `{]`} {
		f.Add([]byte(s), uint8(3))
	}
	f.Fuzz(func(t *testing.T, text []byte, cut uint8) {
		var whole, parts proof
		whole.feed(text)
		for rest := text; len(rest) > 0; {
			n := min(len(rest), int(cut)%7+1)
			parts.feed(rest[:n])
			rest = rest[n:]
		}
		if whole != parts {
			t.Fatalf("%+v in one, %+v in pieces", whole, parts)
		}
		trimmed := bytes.Trim(text, " \n\t\r")
		valid := messages.Valid([]byte(strings.ToValidUTF8(string(trimmed), "?"))) == nil && trimmed[0] == '{'
		if whole.complete() != valid || (whole.state == nothing) != (len(trimmed) == 0) {
			t.Fatalf("%+v, but valid is %v: %q", whole, valid, text)
		}
	})
}
