package messages

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
)

// EventType is the type of one event of a streamed message.
type EventType uint8

// The events of the grammar, and Lull: no event at all, but word that the next one is not in memory yet.
const (
	Lull EventType = iota
	MessageStart
	BlockStart
	BlockDelta
	BlockStop
	MessageDelta
	MessageStop
	Ping
)

var eventNames = [...]string{"", "message_start", "content_block_start", "content_block_delta", "content_block_stop",
	"message_delta", "message_stop", "ping"}

// Name is the event's wire name.
func (t EventType) Name() string { return eventNames[t] }

// BlockType is the type of an answer's content block.
type BlockType uint8

// The blocks we make ourselves.
const (
	NoBlock BlockType = iota
	TextBlock
	ThinkingBlock
	ToolUseBlock
)

// Event is one event of a streamed message that we make (translated lane). Only the members of its type are set. Its Text
// and Bytes are valid until the next event is pulled.
type Event struct {
	Type  EventType
	Index int       // block events
	Block BlockType // BlockStart, BlockDelta

	ID, Name string // MessageStart: id and model; BlockStart of a tool: id and name

	// Text is the delta as a JSON string literal: text, thinking, or partial_json.
	Text Literal
	// Signature makes a BlockDelta a signature_delta.
	Signature string

	StopReason   string // MessageDelta
	StopSequence string // MessageDelta; empty is null
	Usage        Usage  // MessageStart: what is known; MessageDelta: final
}

// AppendJSON writes the event's data. It is the only writer of events in the translated lane.
func (e *Event) AppendJSON(dst []byte) []byte {
	switch e.Type {
	case MessageStart:
		dst = append(dst, `{"type":"message_start","message":{"id":`...)
		dst = AppendQuote(dst, e.ID)
		dst = append(dst, `,"type":"message","role":"assistant","model":`...)
		dst = AppendQuote(dst, e.Name)
		dst = append(dst, `,"content":[],"stop_reason":null,"stop_sequence":null,"usage":`...)
		dst = e.Usage.AppendJSON(dst)
		return append(dst, "}}"...)
	case BlockStart:
		dst = append(dst, `{"type":"content_block_start","index":`...)
		dst = strconv.AppendInt(dst, int64(e.Index), 10)
		dst = append(dst, `,"content_block":`...)
		switch e.Block {
		case TextBlock:
			dst = append(dst, `{"type":"text","text":""}`...)
		case ThinkingBlock:
			dst = append(dst, `{"type":"thinking","thinking":"","signature":""}`...)
		case ToolUseBlock:
			dst = append(dst, `{"type":"tool_use","id":`...)
			dst = AppendQuote(dst, e.ID)
			dst = append(dst, `,"name":`...)
			dst = AppendQuote(dst, e.Name)
			dst = append(dst, `,"input":{}}`...)
		default:
			dst = append(dst, "null"...)
		}
		return append(dst, '}')
	case BlockDelta:
		dst = append(dst, `{"type":"content_block_delta","index":`...)
		dst = strconv.AppendInt(dst, int64(e.Index), 10)
		switch {
		case e.Signature != "":
			dst = append(dst, `,"delta":{"type":"signature_delta","signature":`...)
			dst = AppendQuote(dst, e.Signature)
			return append(dst, "}}"...)
		case e.Block == ThinkingBlock:
			dst = append(dst, `,"delta":{"type":"thinking_delta","thinking":`...)
		case e.Block == ToolUseBlock:
			dst = append(dst, `,"delta":{"type":"input_json_delta","partial_json":`...)
		default:
			dst = append(dst, `,"delta":{"type":"text_delta","text":`...)
		}
		dst = e.Text.AppendTo(dst)
		return append(dst, "}}"...)
	case BlockStop:
		dst = append(dst, `{"type":"content_block_stop","index":`...)
		dst = strconv.AppendInt(dst, int64(e.Index), 10)
		return append(dst, '}')
	case MessageDelta:
		dst = append(dst, `{"type":"message_delta","delta":{"stop_reason":`...)
		dst = AppendQuote(dst, e.StopReason)
		dst = append(dst, `,"stop_sequence":`...)
		dst = appendNullable(dst, e.StopSequence)
		dst = append(dst, `},"usage":`...)
		dst = e.Usage.AppendJSON(dst)
		return append(dst, '}')
	case MessageStop:
		return append(dst, `{"type":"message_stop"}`...)
	case Ping:
		return append(dst, `{"type":"ping"}`...)
	}
	return dst
}

func appendNullable(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return AppendQuote(dst, s)
}

// Response is a whole message that we make (translated lane).
type Response struct {
	ID, Model    string
	Content      []Part
	StopReason   string
	StopSequence string // empty is null
	Usage        Usage
}

// Part is one content block of a whole message.
type Part struct {
	Block     BlockType
	Text      string         // text, thinking
	Signature string         // thinking
	ID, Name  string         // tool_use
	Input     jsontext.Value // tool_use: an object, as the model wrote it
}

// AppendJSON writes the message.
func (r *Response) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"id":`...)
	dst = AppendQuote(dst, r.ID)
	dst = append(dst, `,"type":"message","role":"assistant","model":`...)
	dst = AppendQuote(dst, r.Model)
	dst = append(dst, `,"content":[`...)
	for i := range r.Content {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = r.Content[i].appendJSON(dst)
	}
	dst = append(dst, `],"stop_reason":`...)
	dst = AppendQuote(dst, r.StopReason)
	dst = append(dst, `,"stop_sequence":`...)
	dst = appendNullable(dst, r.StopSequence)
	dst = append(dst, `,"usage":`...)
	dst = r.Usage.AppendJSON(dst)
	return append(dst, '}')
}

func (p *Part) appendJSON(dst []byte) []byte {
	switch p.Block {
	case ThinkingBlock:
		dst = append(dst, `{"type":"thinking","thinking":`...)
		dst = AppendQuote(dst, p.Text)
		dst = append(dst, `,"signature":`...)
		dst = AppendQuote(dst, p.Signature)
	case ToolUseBlock:
		dst = append(dst, `{"type":"tool_use","id":`...)
		dst = AppendQuote(dst, p.ID)
		dst = append(dst, `,"name":`...)
		dst = AppendQuote(dst, p.Name)
		dst = append(dst, `,"input":`...)
		if len(p.Input) == 0 {
			dst = append(dst, "{}"...)
		} else {
			dst = append(dst, p.Input...)
		}
	default:
		dst = append(dst, `{"type":"text","text":`...)
		dst = AppendQuote(dst, p.Text)
	}
	return append(dst, '}')
}

// View parses proven JSON bytes without a copy. The result is valid as long as b is, and b must not change meanwhile.
func View(b []byte) gjson.Result { return gjson.Parse(view(b)) }

// LiteralOf is a gjson string as the literal it was written as; nil when it is no string.
func LiteralOf(v gjson.Result) Literal { return literalOf(v) }

// RawOf is a gjson value as its raw bytes; nil when it is missing or null.
func RawOf(v gjson.Result) jsontext.Value { return rawOf(v) }
