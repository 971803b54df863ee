package messages

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"

	"signalbox/internal/fault"
)

// Envelope is what every upstream would ask of a request. Its tags are read by middleware/validate; whatever else is wrong
// with a request is the upstream's to judge.
type Envelope struct {
	Model     string `json:"model" validate:"required"`
	Messages  int    `json:"messages" validate:"min=1"`
	MaxTokens *int64 `json:"max_tokens" validate:"required,min=0"`
	Stream    bool   `json:"stream"`
}

// Request is a parsed body: its envelope, and the bytes it came from. It is safe for concurrent use once parsed; the body
// must not be changed.
type Request struct {
	body     []byte
	members  []member
	envelope Envelope

	once sync.Once
	conv *Conversation
	err  error
}

// known are the member names that have a meaning to somebody. A name that differs from one of them by case alone is refused:
// different JSON readers would disagree about it.
var known = func() map[string]bool {
	m := map[string]bool{}
	for _, n := range strings.Fields(`model messages max_tokens stream system temperature top_p top_k tools tool_choice thinking
		output_config output_format stop_sequences metadata cache_control service_tier speed inference_geo container diagnostics
		context_management mcp_servers`) {
		m[n] = true
	}
	return m
}()

// ParseRequest reads a body in one scan. The errors are *fault.Error of kind Invalid and name the field. A model, a
// max_tokens and messages may be missing here; middleware/validate asks for them, because a path may bring the model and a
// count needs no max_tokens.
func ParseRequest(body []byte) (*Request, error) {
	s := scanner{b: body}
	members, err := s.object()
	if err != nil {
		var se *syntaxError
		errors.As(err, &se)
		return nil, fault.New(fault.Invalid, "the request body is not valid JSON: %s", se.Error())
	}
	r := &Request{body: body, members: members}
	for i, m := range members {
		for _, o := range members[:i] {
			if strings.EqualFold(o.name, m.name) {
				return nil, fault.New(fault.Invalid, "%s: the field is given twice (names that differ by case alone count as one)", field(m.name))
			}
		}
		if !known[m.name] {
			if name := otherCase(m.name); name != "" {
				return nil, fault.New(fault.Invalid, "%s: unknown field; field names match by exact case, did you mean %q?", field(m.name), name)
			}
		}
		if err := r.read(m); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// otherCase is the known name that a reader who folds cases would take a name for. Folding is Unicode's: the long s and the sign
// for kelvin are letters of ours to such a reader.
func otherCase(name string) string {
	for k := range known {
		if strings.EqualFold(k, name) {
			return k
		}
	}
	return ""
}

func field(name string) string {
	if len(name) > 64 {
		name = name[:64]
	}
	for _, c := range name {
		if c < 0x20 || c == 0x7f {
			return strconv.QuoteToASCII(name)
		}
	}
	return name
}

// read takes what the envelope needs of one member.
func (r *Request) read(m member) error {
	raw := r.body[m.value.start:m.value.end]
	bad := func(want string) error { return fault.New(fault.Invalid, "%s: must be %s", m.name, want) }
	switch m.name {
	case "model":
		if raw[0] != '"' {
			return bad("a string")
		}
		r.envelope.Model = stringOf(raw)
	case "messages":
		if raw[0] != '[' {
			return bad("an array of messages")
		}
		if m.elems > MaxMessages {
			return fault.New(fault.Invalid, "messages: at most %d messages are allowed", MaxMessages)
		}
		r.envelope.Messages = m.elems
	case "tools":
		if raw[0] != '[' && string(raw) != "null" {
			return bad("an array of tools")
		}
		if m.elems > MaxTools {
			return fault.New(fault.Invalid, "tools: at most %d tools are allowed", MaxTools)
		}
	case "max_tokens":
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil {
			return bad("an integer of 0 or more")
		}
		r.envelope.MaxTokens = &n
	case "stream":
		switch string(raw) {
		case "true":
			r.envelope.Stream = true
		case "false", "null":
		default:
			return bad("true or false")
		}
	}
	return nil
}

// Envelope is what was read of the request so far.
func (r *Request) Envelope() Envelope { return r.envelope }

// Model is the body's own model name, empty when it has none.
func (r *Request) Model() string { return r.envelope.Model }

// Stream reports whether the caller asked for events.
func (r *Request) Stream() bool { return r.envelope.Stream }

// Body is the caller's bytes. They must not be changed.
func (r *Request) Body() []byte { return r.body }

// Member is the raw value of a top-level member, nil when it is missing.
func (r *Request) Member(name string) []byte {
	for _, m := range r.members {
		if m.name == name {
			return r.body[m.value.start:m.value.end]
		}
	}
	return nil
}

// Edit replaces or removes one top-level member.
type Edit struct {
	Name  string
	Value []byte // the new raw JSON value; nil removes the member
}

// Splice returns the caller's bytes with the named members replaced or removed. A member that is replaced but missing is
// added in front. Key order, number spelling, white space and unknown fields survive. Without an edit that changes something
// the body itself is returned.
func (r *Request) Splice(edits ...Edit) []byte {
	var cuts []cut
	var front []byte
	gone := make([]bool, len(r.members))
	left := len(r.members)
	for _, e := range edits {
		i := -1
		for k, m := range r.members {
			if m.name == e.Name {
				i = k
				break
			}
		}
		switch {
		case i >= 0 && e.Value != nil:
			v := r.members[i].value
			if string(r.body[v.start:v.end]) != string(e.Value) {
				cuts = append(cuts, cut{v, e.Value})
			}
		case i >= 0 && !gone[i]:
			gone[i] = true
			left--
		case i < 0 && e.Value != nil:
			if len(front) > 0 {
				front = append(front, ',')
			}
			front = AppendQuote(front, e.Name)
			front = append(front, ':')
			front = append(front, e.Value...)
		}
	}
	for i, g := range gone {
		if g {
			cuts = append(cuts, cut{r.around(i, gone), nil})
		}
	}
	if len(front) > 0 {
		if left > 0 {
			front = append(front, ',')
		}
		at := strings.IndexByte(view(r.body), '{') + 1
		cuts = append([]cut{{span{at, at}, front}}, cuts...)
	}
	return apply(r.body, cuts)
}

// around is a member with the comma that must go with it: the one behind it, or, where all behind it go as well, the one
// before.
func (r *Request) around(i int, gone []bool) span {
	m := r.members[i]
	for _, g := range gone[i+1:] {
		if !g {
			return span{m.key, r.members[i+1].key}
		}
	}
	if i == 0 {
		return span{m.key, m.value.end}
	}
	return span{r.members[i-1].value.end, m.value.end}
}

// cut is one replacement in a body.
type cut struct {
	span
	with []byte
}

// apply carries out the cuts.
func apply(body []byte, cuts []cut) []byte {
	if len(cuts) == 0 {
		return body
	}
	slices.SortStableFunc(cuts, func(a, b cut) int { return a.start - b.start })
	n := len(body)
	for _, c := range cuts {
		n += len(c.with)
	}
	var out strings.Builder // its memory is not cleared first, which is half the price of a large body
	out.Grow(n)
	at := 0
	for _, c := range cuts {
		if c.start > at {
			out.Write(body[at:c.start])
		}
		out.Write(c.with)
		at = max(at, c.end)
	}
	out.Write(body[at:])
	return bytesOf(out.String())
}

// Conversation is the full typed decode, done once, on first use. The errors are *fault.Error of kind Invalid and name the
// field by its path. The result is shared and must not be changed.
func (r *Request) Conversation() (*Conversation, error) {
	r.once.Do(func() { r.conv, r.err = decodeConversation(r) })
	return r.conv, r.err
}
