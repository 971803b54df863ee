package echo

import (
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// plan is an answer before it is given.
type plan struct {
	thinking []string
	words    []string
	call     *wire.Piece
	stop     string // Anthropic's word
	sequence string
	usage    messages.Usage
}

// thought is what it thinks when it is asked to.
const thought = "I say what I was told."

// think decides what to answer: what the tools said when results came last, else a call when one is asked for, else the text
// of the last user message.
func think(c *messages.Conversation, p *wire.Prepared) *plan {
	a := &plan{stop: "end_turn"}
	if c.Thinking.On() {
		a.thinking = words(thought)
	}
	text, results := last(p)
	tool := wanted(p, text)
	switch {
	case results != nil:
		a.speak(*results, c)
	case tool != nil:
		a.call = &wire.Piece{Index: -1, ID: "", Name: tool.Name, Input: arguments(tool.Schema, text), Whole: true}
		a.stop = "tool_use"
	default:
		a.speak(text, c)
	}
	a.usage = messages.Usage{Input: promptTokens(c), Thinking: int64(len(a.thinking)), Output: int64(len(a.thinking) + len(a.words)), Known: true}
	if a.call != nil {
		a.usage.Output += count(string(a.call.Input)) + 1
	}
	return a
}

// speak plans a text as the words it will be said in, as far as the stop sequences and max_tokens let it.
func (a *plan) speak(text string, c *messages.Conversation) {
	end := len(text)
	for _, s := range c.StopSequences {
		if i := strings.Index(text[:end], s); i >= 0 && s != "" {
			end, a.stop, a.sequence = i, "stop_sequence", s
		}
	}
	a.words = words(text[:end])
	if room := max(c.MaxTokens-int64(len(a.thinking)), 0); int64(len(a.words)) > room {
		a.words = a.words[:room]
		a.stop, a.sequence = "max_tokens", ""
	}
}

// last is the text of the last user turn, and what its tool results say if it has any.
func last(p *wire.Prepared) (text string, results *string) {
	for i := len(p.Turns) - 1; i >= 0; i-- {
		t := &p.Turns[i]
		if t.Role != messages.RoleUser {
			continue
		}
		if len(t.Results) > 0 {
			said := make([]string, len(t.Results))
			for k := range t.Results {
				said[k] = t.Results[k].Text.Value()
			}
			all := strings.Join(said, "\n")
			results = &all
		}
		return wire.JoinText(t.Parts, "\n").Value(), results
	}
	return "", nil
}

// wanted is the tool that the request asks to have called: by its tool_choice, or by the words of its last message ("call the
// tool get_weather", "use get_weather").
func wanted(p *wire.Prepared, text string) *wire.Tool {
	if len(p.Tools) == 0 {
		return nil
	}
	switch p.Choice.Type {
	case "none":
		return nil
	case "any":
		return &p.Tools[0]
	case "tool":
		for i := range p.Tools {
			if p.Tools[i].Name == p.Choice.Name {
				return &p.Tools[i]
			}
		}
	}
	verb := false
	for word := range strings.FieldsFuncSeq(text, outsideName) {
		if low := strings.ToLower(word); low == "call" || low == "use" {
			verb = true
			continue
		}
		for i := range p.Tools {
			if verb && word == p.CallerName(p.Tools[i].Name) {
				return &p.Tools[i]
			}
		}
	}
	return nil
}

func outsideName(r rune) bool {
	return !(unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == '-')
}

// arguments makes arguments that fit a schema: strings get the text, an enum its first value, numbers 1, booleans true,
// arrays and objects are empty.
func arguments(schema jsontext.Value, text string) jsontext.Value {
	var j wire.JSON
	j.Obj()
	if schema != nil {
		messages.View(schema).Get("properties").ForEach(func(name, property gjson.Result) bool {
			j.Key(name.String())
			value(&j, property, text)
			return true
		})
	}
	j.End()
	return jsontext.Value(j.Bytes())
}

func value(j *wire.JSON, schema gjson.Result, text string) {
	if fixed := schema.Get("const"); fixed.Exists() {
		j.Raw([]byte(fixed.Raw))
		return
	}
	if first := schema.Get("enum.0"); first.Exists() {
		j.Raw([]byte(first.Raw))
		return
	}
	kind := schema.Get("type")
	for _, k := range kind.Array() { // of several types the first that is not null
		if kind = k; k.Str != "null" {
			break
		}
	}
	if !kind.Exists() {
		for _, of := range []string{"anyOf.0", "oneOf.0"} {
			if one := schema.Get(of); one.IsObject() {
				value(j, one, text)
				return
			}
		}
	}
	switch kind.Str {
	case "integer", "number":
		j.Int(1)
	case "boolean":
		j.Bool(true)
	case "array":
		j.Arr()
		j.EndArr()
	case "object":
		j.Obj()
		j.End()
	case "null":
		j.Null()
	default:
		j.Str(text)
	}
}

// words cuts a text into words, each with the white space behind it; joined they are the text.
func words(text string) []string {
	var out []string
	start, space := 0, false
	for i, r := range text {
		if s := unicode.IsSpace(r); s {
			space = true
		} else if space {
			out = append(out, text[start:i])
			start, space = i, false
		}
	}
	if start < len(text) {
		out = append(out, text[start:])
	}
	return out
}

// promptTokens counts a prompt: a token for each word of text and each four bytes of anything else. It is a rule, not an
// estimate: the same request has the same count everywhere.
func promptTokens(c *messages.Conversation) int64 {
	n := blockTokens(c.System)
	for i := range c.Messages {
		n += 1 + blockTokens(c.Messages[i].Content)
	}
	for i := range c.Tools {
		n += 1 + count(c.Tools[i].Description.Value()) + int64(len(c.Tools[i].Schema)+3)/4
	}
	return n
}

func blockTokens(blocks []messages.Block) (n int64) {
	for i := range blocks {
		b := &blocks[i]
		n += count(b.Text.Value()) + count(b.Thinking.Value()) + int64(len(b.Input)+3)/4 + blockTokens(b.Content)
		if b.Source.Type == "base64" {
			n += int64(len(b.Source.Data)+3) / 4
		} else {
			n += count(b.Source.Data.Value())
		}
	}
	return n
}

func count(text string) (n int64) {
	for range strings.FieldsSeq(text) {
		n++
	}
	return n
}
