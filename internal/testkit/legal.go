package testkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"signalbox/internal/sse"
)

// Answer is what a client understood of a stream of events.
type Answer struct {
	ID, Model                string
	Blocks                   []AnswerBlock
	StopReason, StopSequence string
	InputTokens              int64 // of the last message_delta
	OutputTokens             int64
	ErrorType, ErrorMessage  string // set when the stream ended in an error event
	Pings, Deltas            int
}

// AnswerBlock is one content block, its deltas joined.
type AnswerBlock struct {
	Type      string // text, thinking, tool_use
	Text      string // the text, or the arguments as they were written
	Signature string
	ID, Name  string
	Closed    bool
}

// Legal reads an event stream to its end as the strictest client would and reports the first thing that breaks the grammar:
//
//	message_start (block)* message_delta+ message_stop, or any prefix of that followed by error; ping anywhere
//	block = content_block_start(i) content_block_delta(i)* content_block_stop(i), i = 0, 1, 2, …, never two open
//
// Further, each event's name is its data's type, deltas fit their block, a tool's input is an object unless the stream ends in
// an error or with max_tokens, and nothing comes behind the end. What was understood up to then is returned beside an error.
func Legal(stream io.Reader) (*Answer, error) {
	var g Grammar
	frames := sse.NewReader(stream, 0)
	for {
		f, err := frames.Next()
		switch {
		case errors.Is(err, io.EOF):
			return &g.Answer, g.End()
		case err != nil:
			return &g.Answer, err
		case f.Lull():
			continue
		}
		if err := g.Event(f.Event, f.Data); err != nil {
			return &g.Answer, err
		}
	}
}

// Grammar is Legal for those who have the events one by one. The zero value is ready.
type Grammar struct {
	Answer
	started, open, delta, ended bool
	unproven                    bool // a tool's input was no object
}

// stopReasons are those that a message may end with.
var stopReasons = []string{"end_turn", "tool_use", "max_tokens", "stop_sequence", "refusal", "pause_turn", "model_context_window_exceeded"}

// Event takes the next event.
func (g *Grammar) Event(name string, data []byte) error {
	var e struct {
		Type    string
		Index   *int
		Message *struct {
			ID, Type, Role, Model string
			Content               *[]json.RawMessage
			StopReason            *string `json:"stop_reason"`
			Usage                 map[string]json.RawMessage
		}
		Block *struct {
			Type                string
			Text, Thinking      *string
			Signature, ID, Name *string
			Input               json.RawMessage
		} `json:"content_block"`
		Delta map[string]*string
		Usage *struct {
			In  *int64 `json:"input_tokens"`
			Out *int64 `json:"output_tokens"`
		}
		Error *struct{ Type, Message string }
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("event %q: its data is not the JSON it should be: %w: %s", name, err, data)
	}
	wrong := func(what string) error { return fmt.Errorf("%s: %s", what, data) }
	switch {
	case e.Type != name:
		return wrong("the event's name " + name + " is not its type")
	case g.ended:
		return wrong("an event behind the end")
	case name == "ping":
		g.Pings++
		return nil
	case name == "error":
		g.ended = true
		if e.Error == nil || e.Error.Type == "" || e.Error.Message == "" {
			return wrong("an error without type and message")
		}
		g.ErrorType, g.ErrorMessage = e.Error.Type, e.Error.Message
		return nil
	case !g.started && name != "message_start":
		return wrong("an event before message_start")
	case g.delta && name != "message_delta" && name != "message_stop":
		return wrong("content behind message_delta")
	}
	var last *AnswerBlock
	if n := len(g.Blocks); n > 0 {
		last = &g.Blocks[n-1]
	}
	switch name {
	case "message_start":
		m := e.Message
		if g.started {
			return wrong("a second message_start")
		}
		if m == nil || m.ID == "" || m.Type != "message" || m.Role != "assistant" || m.Content == nil || len(*m.Content) != 0 || m.StopReason != nil || m.Usage["input_tokens"] == nil || m.Usage["output_tokens"] == nil {
			return wrong("a message_start without all its members")
		}
		g.started, g.ID, g.Model = true, m.ID, m.Model
	case "content_block_start":
		b := e.Block
		if g.open || e.Index == nil || *e.Index != len(g.Blocks) || b == nil {
			return wrong("a block that begins out of turn")
		}
		n := AnswerBlock{Type: b.Type}
		switch {
		case b.Type == "text" && b.Text != nil && *b.Text == "":
		case b.Type == "thinking" && b.Thinking != nil && *b.Thinking == "" && b.Signature != nil && *b.Signature == "":
		case b.Type == "tool_use" && b.ID != nil && *b.ID != "" && b.Name != nil && *b.Name != "" && string(b.Input) == "{}":
			n.ID, n.Name = *b.ID, *b.Name
		default:
			return wrong("a block that does not begin empty")
		}
		g.open = true
		g.Blocks = append(g.Blocks, n)
	case "content_block_delta":
		if !g.open || e.Index == nil || *e.Index != len(g.Blocks)-1 || e.Delta["type"] == nil {
			return wrong("a delta outside its block")
		}
		member := map[string]string{"text text_delta": "text", "thinking thinking_delta": "thinking", "thinking signature_delta": "signature",
			"tool_use input_json_delta": "partial_json"}[last.Type+" "+*e.Delta["type"]]
		text := e.Delta[member]
		switch {
		case member == "" || text == nil:
			return wrong("a delta that does not fit its block")
		case member == "signature" && last.Signature != "":
			return wrong("a second signature")
		case member == "signature":
			last.Signature = *text
		case last.Signature != "":
			return wrong("thinking behind its signature")
		default:
			last.Text += *text
		}
		g.Deltas++
	case "content_block_stop":
		if !g.open || e.Index == nil || *e.Index != len(g.Blocks)-1 {
			return wrong("a block that ends out of turn")
		}
		g.open, last.Closed = false, true
		var object map[string]json.RawMessage
		input := strings.TrimSpace(last.Text)
		if last.Type == "tool_use" && input != "" && (input[0] != '{' || json.Unmarshal([]byte(input), &object) != nil) {
			g.unproven = true
		}
	case "message_delta":
		if g.open {
			return wrong("a message_delta while a block is open")
		}
		if r := e.Delta["stop_reason"]; r != nil {
			if !slices.Contains(stopReasons, *r) {
				return wrong("an unknown stop reason")
			}
			g.StopReason = *r
		}
		if s := e.Delta["stop_sequence"]; s != nil {
			g.StopSequence = *s
		}
		if e.Usage == nil || e.Usage.Out == nil || *e.Usage.Out < 0 || e.Usage.In != nil && *e.Usage.In < 0 {
			return wrong("a message_delta without its usage")
		}
		if g.OutputTokens = *e.Usage.Out; e.Usage.In != nil {
			g.InputTokens = *e.Usage.In
		}
		g.delta = true
	case "message_stop":
		calls := slices.ContainsFunc(g.Blocks, func(b AnswerBlock) bool { return b.Type == "tool_use" })
		switch {
		case !g.delta || g.StopReason == "":
			return wrong("a message_stop without a stop reason")
		case g.unproven && g.StopReason != "max_tokens":
			return wrong("a tool's input that is no object")
		case g.StopReason == "tool_use" && !calls, g.StopReason == "end_turn" && calls:
			return wrong("the stop reason " + g.StopReason + " does not fit the blocks")
		}
		g.ended = true
	default:
		return wrong("an unknown event")
	}
	return nil
}

// End reports whether the stream may end here: only behind message_stop or error.
func (g *Grammar) End() error {
	if !g.ended {
		return errors.New("the stream ended without message_stop or error")
	}
	return nil
}
