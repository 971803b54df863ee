package messages

import (
	"slices"

	"github.com/tidwall/gjson"
)

// maxUnread is how many names of unread members are kept. A stranger may invent any number of them; more tell nobody more.
const maxUnread = 64

// UnreadMore stands in Conversation.Unread for all names behind the 64th.
const UnreadMore = "unknown_field"

// odd is a member of a block that nobody reads, as far as was known when it passed; wrong says that it has not the type that it
// must have, so that nobody can.
type odd struct {
	key, raw []byte
	wrong    bool
}

// unread remembers that a member of something that is read is not read itself, so that no translation loses it in silence. A
// member that says no more than its absence would is passed over.
func (c *Conversation) unread(in, name, raw string) {
	if path := in + "." + name; says(path, raw) {
		c.note(path)
	}
}

func (c *Conversation) note(path string) {
	if slices.Contains(c.Unread, path) {
		return
	}
	if n := len(c.Unread); n == maxUnread-1 {
		path = UnreadMore
	} else if n == maxUnread {
		return
	}
	c.Unread = append(c.Unread, path)
}

// says reports whether a member says more than its absence would.
func says(path, raw string) bool {
	v := gjson.Parse(raw)
	if v.Type == gjson.Null {
		return false
	}
	switch path {
	case "text.citations", "document.citations", "search_result.citations":
		more := !v.IsArray() && !v.IsObject()
		v.ForEach(func(k, f gjson.Result) bool {
			more = v.IsArray() || k.Str != "enabled" || f.Type != gjson.False
			return !more
		})
		return more
	case "tool_use.caller":
		return v.Get("type").Str != "direct"
	case "tools.allowed_callers":
		return v.Get("#").Int() != 1 || v.Get("0").Str != "direct"
	case "tools.input_examples":
		return !v.IsArray() || v.Get("0").Exists()
	case "tools.strict", "tools.eager_input_streaming":
		return v.Type != gjson.False
	}
	return true
}

// carries reports whether a block of a type is read with this member. Of a type that is not listed here the whole block is
// somebody's to carry or to report: nothing of it is lost unseen.
func carries(kind string, member []byte) bool {
	switch kind {
	case "text":
		return isOneOf(member, "text", "cache_control")
	case "image":
		return isOneOf(member, "source", "cache_control")
	case "document":
		return isOneOf(member, "source", "title", "context", "cache_control")
	case "search_result":
		return isOneOf(member, "source", "title", "content", "cache_control")
	case "tool_use":
		return isOneOf(member, "id", "name", "input", "cache_control")
	case "tool_result":
		return isOneOf(member, "tool_use_id", "content", "is_error", "cache_control")
	case "tool_reference":
		return isOneOf(member, "tool_name", "cache_control")
	case "":
		return false // not known yet
	}
	return true
}

// listed reports whether carries knows a block's type.
func listed(kind string) bool { return !carries(kind, nil) }

// fits reports whether a block's member begins as its type must. Of the others any type is read, or judged elsewhere.
func fits(member []byte, first byte) bool {
	switch string(member) {
	case "title", "context":
		return first == '"'
	case "is_error":
		return first == 't' || first == 'f'
	}
	return true
}

// toolFits does the same for a tool's. A schema that is true allows everything, as none does.
func toolFits(member, raw []byte) bool {
	switch string(member) {
	case "type", "description":
		return raw[0] == '"'
	case "defer_loading":
		return raw[0] == 't' || raw[0] == 'f'
	case "input_schema":
		return raw[0] == '{' || raw[0] == 't'
	}
	return true
}

// sourceCarries is carries for the source of an image or document. A type that is not listed is refused by whoever cannot
// carry it.
func sourceCarries(kind string, member []byte) bool {
	switch kind {
	case "base64", "text":
		return isOneOf(member, "media_type", "data")
	case "url":
		return isOneOf(member, "url")
	case "content":
		return isOneOf(member, "content")
	}
	return true
}

func isOneOf(member []byte, names ...string) bool {
	for _, n := range names {
		if string(member) == n {
			return true
		}
	}
	return false
}
