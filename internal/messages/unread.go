package messages

import (
	"slices"

	"github.com/tidwall/gjson"
)

// maxUnread is how many names of unread members are kept. A stranger may invent any number of them; more tell nobody more.
const maxUnread = 64

// UnreadMore stands in Conversation.Unread for all names behind the 64th.
const UnreadMore = "unknown_field"

// odd is a member of a block that nobody reads, as far as was known when it passed.
type odd struct{ key, raw []byte }

// unread remembers that a member of something that is read is not read itself, so that no translation loses it in silence. A
// member that says no more than its absence would is passed over.
func (c *Conversation) unread(in, name, raw string) {
	if says(name, raw) {
		c.note(in + "." + name)
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
func says(name, raw string) bool {
	switch v := gjson.Parse(raw); name {
	case "citations":
		return v.IsArray() && v.Get("0").Exists() || v.Get("enabled").Bool() || !v.IsArray() && !v.IsObject() && v.Type != gjson.Null
	case "caller":
		return v.Type != gjson.Null && v.Get("type").Str != "direct"
	case "allowed_callers":
		return v.Type != gjson.Null && (v.Get("#").Int() != 1 || v.Get("0").Str != "direct")
	case "input_examples":
		return v.Type != gjson.Null && (!v.IsArray() || v.Get("0").Exists())
	case "strict", "eager_input_streaming":
		return v.Type != gjson.Null && v.Type != gjson.False
	default:
		return v.Type != gjson.Null
	}
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
