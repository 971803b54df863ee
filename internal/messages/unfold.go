package messages

import (
	"iter"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"
)

// RawEvent is one event of a streamed message as its type and its JSON.
type RawEvent struct {
	Type string
	Data []byte
}

// Unfold makes the events of a whole message, for a caller who asked for a stream. Every member travels: what a stream says in
// pieces (text, thinking, signatures, citations, inputs) as deltas, the rest in the start. The bytes must be of proven grammar,
// and content an array.
func Unfold(message []byte) iter.Seq[RawEvent] {
	return func(yield func(RawEvent) bool) {
		v := View(message)
		if !yield(RawEvent{"message_start", startOf(v)}) {
			return
		}
		index := -1
		more := true
		v.Get("content").ForEach(func(_, block gjson.Result) bool {
			if !block.IsObject() {
				return true
			}
			index++
			more = unfoldBlock(index, block, yield)
			return more
		})
		if !more {
			return
		}
		end := []byte(`{"type":"message_delta","delta":{"stop_reason":`)
		end = append(end, orRaw(v.Get("stop_reason"), "null")...)
		end = append(end, `,"stop_sequence":`...)
		end = append(end, orRaw(v.Get("stop_sequence"), "null")...)
		if d := v.Get("stop_details"); d.Exists() {
			end = append(end, `,"stop_details":`...)
			end = append(end, d.Raw...)
		}
		end = append(end, `},"usage":`...)
		if u := v.Get("usage"); u.IsObject() {
			end = append(end, u.Raw...)
		} else {
			end = append(end, `{"output_tokens":0}`...)
		}
		if yield(RawEvent{"message_delta", append(end, '}')}) {
			yield(RawEvent{"message_stop", []byte(`{"type":"message_stop"}`)})
		}
	}
}

func orRaw(v gjson.Result, other string) string {
	if v.Exists() {
		return v.Raw
	}
	return other
}

// startOf is the message without what the events to come will say.
func startOf(v gjson.Result) []byte {
	usage := v.Get("usage").IsObject()
	out := without([]byte(`{"type":"message_start","message":`), v, func(name string) string {
		switch {
		case name == "content":
			return "[]"
		case name == "stop_reason", name == "stop_sequence", name == "stop_details":
			return "null"
		case name == "usage" && !usage:
			return `{"input_tokens":0,"output_tokens":0}`
		}
		return ""
	})
	return append(out, '}')
}

func unfoldBlock(index int, block gjson.Result, yield func(RawEvent) bool) bool {
	at := strconv.AppendInt([]byte(`,"index":`), int64(index), 10)
	event := func(kind, member string, value []byte) bool {
		data := append([]byte(`{"type":"`), kind...)
		data = append(append(data, '"'), at...)
		data = append(data, member...)
		return yield(RawEvent{kind, append(append(data, value...), '}')})
	}
	delta := func(kind, member string, value string) bool {
		return event("content_block_delta", `,"delta":`, []byte(`{"type":"`+kind+`","`+member+`":`+value+`}`))
	}
	// The members that a stream says in pieces, in the order in which they are said; blocks of other types are said at once.
	var pieces []string
	switch block.Get("type").Str {
	case "text":
		pieces = []string{"text", "citations"}
	case "thinking":
		pieces = []string{"thinking", "signature"}
	case "tool_use", "server_tool_use", "mcp_tool_use":
		pieces = []string{"input"}
	}
	start := without(nil, block, func(name string) string {
		switch f := block.Get(name); {
		case !slices.Contains(pieces, name):
		case f.Type == gjson.String:
			return `""`
		case f.IsArray():
			return "[]"
		case f.IsObject():
			return "{}"
		}
		return ""
	})
	if !event("content_block_start", `,"content_block":`, start) {
		return false
	}
	for _, name := range pieces {
		more := true
		switch f := block.Get(name); {
		case f.Type == gjson.String && f.Str != "":
			more = delta(name+"_delta", name, f.Raw)
		case f.IsObject() && len(f.Map()) > 0:
			more = delta("input_json_delta", "partial_json", string(Quote(f.Raw)))
		case f.IsArray():
			for _, c := range f.Array() {
				more = more && delta("citations_delta", "citation", c.Raw)
			}
		}
		if !more {
			return false
		}
	}
	return event("content_block_stop", "", nil)
}

// without appends an object to dst with some of its members' values replaced; an empty replacement keeps the value.
func without(dst []byte, v gjson.Result, with func(name string) string) []byte {
	dst = append(dst, '{')
	first := true
	v.ForEach(func(k, f gjson.Result) bool {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(dst, k.Raw...), ':')
		if r := with(k.Str); r != "" {
			dst = append(dst, r...)
		} else {
			dst = append(dst, f.Raw...)
		}
		return true
	})
	return append(dst, '}')
}
