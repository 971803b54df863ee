package openaichat

import (
	"bytes"
	"encoding/base64"
	"strings"

	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// carryPrefix begins the signature of a thinking block that carries OpenRouter's reasoning_details: ours, version, whose. State
// that another provider gave has another prefix, and is left at home.
const carryPrefix = wire.CarryPrefix + "openrouter."

// maxCarry is the most state that is carried, in bytes of JSON. Longer state is dropped whole: half of it would be refused.
const maxCarry = 4 << 20

// details gathers reasoning_details from the pieces of a stream, to be sent back as one whole: pieces of one entry share its
// index, their texts are joined, and a signature may come last and alone.
type details struct {
	entries []*detail
	size    int
}

type detail struct {
	kind, index, id string
	members         []member
}

type member struct {
	key string
	raw []byte // a whole value; for a joined text the literal without its closing quote
	txt bool
}

// add takes the pieces of one delta.
func (d *details) add(list gjson.Result) {
	list.ForEach(func(_, v gjson.Result) bool {
		if v.IsObject() {
			d.piece(v)
		}
		return true
	})
}

func (d *details) piece(v gjson.Result) {
	kind, index, id := v.Get("type").Str, v.Get("index").Raw, v.Get("id").Str
	e := d.find(kind, index, id)
	if e == nil {
		e = &detail{kind: strings.Clone(kind), index: strings.Clone(index)}
		d.entries = append(d.entries, e)
	}
	if e.id == "" {
		e.id = strings.Clone(id)
	}
	v.ForEach(func(k, f gjson.Result) bool {
		d.size += len(f.Raw)
		e.merge(k.Str, f)
		return true
	})
}

// find is the entry that a piece continues. Opaque data is never continued: each piece of it is an entry.
func (d *details) find(kind, index, id string) *detail {
	if len(d.entries) == 0 || kind != "reasoning.text" && kind != "reasoning.summary" {
		return nil
	}
	for i := len(d.entries) - 1; i >= 0; i-- {
		e := d.entries[i]
		if e.kind != kind || e.index != index || id != "" && e.id != "" && e.id != id {
			if index == "" {
				return nil // without indexes only the last entry can go on
			}
			continue
		}
		return e
	}
	return nil
}

func (e *detail) merge(key string, f gjson.Result) {
	joined := (key == "text" || key == "summary") && f.Type == gjson.String
	for i := range e.members {
		m := &e.members[i]
		if m.key != key {
			continue
		}
		switch {
		case joined && m.txt:
			m.raw = messages.LiteralOf(f).AppendInner(m.raw)
		case string(m.raw) == "null" && f.Type != gjson.Null:
			*m = newMember(key, f, joined)
		}
		return
	}
	e.members = append(e.members, newMember(key, f, joined))
}

func newMember(key string, f gjson.Result, joined bool) member {
	m := member{key: strings.Clone(key), txt: joined}
	if joined {
		m.raw = messages.LiteralOf(f).AppendInner([]byte{'"'})
	} else {
		m.raw = []byte(f.Raw)
	}
	return m
}

// take packs what was gathered into a signature and forgets it; "" when there is nothing.
func (d *details) take() string {
	if len(d.entries) == 0 {
		return ""
	}
	var out []byte
	if d.size <= maxCarry {
		out = append(make([]byte, 0, d.size+64*len(d.entries)), '[')
		for i, e := range d.entries {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(out, '{')
			for k, m := range e.members {
				if k > 0 {
					out = append(out, ',')
				}
				out = messages.AppendQuote(out, m.key)
				out = append(out, ':')
				out = append(out, m.raw...)
				if m.txt {
					out = append(out, '"')
				}
			}
			out = append(out, '}')
		}
		out = append(out, ']')
	}
	*d = details{}
	return pack(out)
}

func pack(list []byte) string {
	if len(list) == 0 || len(list) > maxCarry {
		return ""
	}
	return carryPrefix + base64.RawURLEncoding.EncodeToString(list)
}

// unpack gives the entries behind a signature, as the inside of a JSON array; nil when it is not ours, not this provider's, or
// not whole any more: the caller has had it in hand meanwhile.
func unpack(signature string) []byte {
	rest, ok := strings.CutPrefix(signature, carryPrefix)
	if !ok {
		return nil
	}
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil || messages.Valid(b) != nil {
		return nil
	}
	b = bytes.TrimSpace(b)
	if len(b) < 2 || b[0] != '[' {
		return nil
	}
	whole := true
	messages.View(b).ForEach(func(_, v gjson.Result) bool {
		whole = whole && v.IsObject()
		return whole
	})
	if inside := bytes.TrimSpace(b[1 : len(b)-1]); whole && len(inside) > 0 {
		return inside
	}
	return nil
}
