package gemini

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// carryPrefix begins the signature of a thinking block that carries a thoughtSignature: ours, version, whose. State that
// another provider gave has another prefix, and is left at home.
const carryPrefix = wire.CarryPrefix + "gemini."

// maxCarry is the longest thoughtSignature that is carried. A longer one is dropped whole: half of it would be refused.
const maxCarry = 4 << 20

// anchor says where the part stood that a thoughtSignature belongs to, seen from the block that carries it.
type anchor string

// The anchors.
const (
	onThought anchor = "thought" // the thought whose text the block itself holds
	onCall    anchor = "call"    // the next call
	onNext    anchor = "next"    // a piece of the text behind it
	onLast    anchor = "last"    // a piece of the text before it
	onEmpty   anchor = "empty"   // a part of empty text, which stood in the block's own place
)

// state is one thoughtSignature and where it belongs.
type state struct {
	signature  string
	on         anchor
	from, size int  // the piece of the text in bytes, for onNext and onLast; Gemini also signs empty pieces
	ids        bool // the upstream numbers its calls
}

// pack makes the signature of a thinking block; "" when there is nothing to carry.
func (s state) pack() string {
	if s.signature == "" || len(s.signature) > maxCarry {
		return ""
	}
	var j wire.JSON
	j.Obj()
	j.Key("on")
	j.Str(string(s.on))
	if s.from > 0 {
		j.Key("from")
		j.Int(int64(s.from))
	}
	if s.size > 0 {
		j.Key("size")
		j.Int(int64(s.size))
	}
	if s.ids {
		j.Key("ids")
		j.Bool(true)
	}
	j.Key("thoughtSignature")
	j.Str(s.signature)
	j.End()
	return carryPrefix + base64.RawURLEncoding.EncodeToString(j.Bytes())
}

// unpack reads what pack made; ok is false when the signature is not ours, not Gemini's, or not whole any more: the caller has
// had it in hand meanwhile.
func unpack(signature string) (s state, ok bool) {
	rest, ok := strings.CutPrefix(signature, carryPrefix)
	if !ok {
		return s, false
	}
	b, err := base64.RawURLEncoding.DecodeString(rest)
	if err != nil || messages.Valid(b) != nil {
		return s, false
	}
	v := messages.View(b)
	if !v.IsObject() {
		return s, false
	}
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "on":
			s.on = anchor(f.Str)
		case "from":
			n, _ := messages.Count(f)
			s.from = int(n)
		case "size":
			n, _ := messages.Count(f)
			s.size = int(n)
		case "ids":
			s.ids = f.Type == gjson.True
		case "thoughtSignature":
			s.signature = messages.LiteralOf(f).Value()
		}
		return true
	})
	switch s.on {
	case onThought, onCall, onNext, onLast, onEmpty:
		return s, s.signature != ""
	}
	return s, false
}

// cut takes a text apart into the pieces that had signatures and those between them. Where the pieces no longer fit, since the
// caller has changed the text, the first signature gets all of it, and the others stand on empty pieces behind it.
func cut(text messages.Literal, signed []state) []piece {
	if len(signed) == 0 {
		return []piece{{text: text}}
	}
	slices.SortStableFunc(signed, func(a, b state) int { return cmp.Compare(a.from, b.from) })
	v := text.Value()
	var out []piece
	at := 0
	for _, s := range signed {
		end := s.from + s.size
		if s.from < at || end > len(v) || !boundary(v, s.from) || !boundary(v, end) {
			out = []piece{{text: text, signature: signed[0].signature}}
			for _, x := range signed[1:] {
				out = append(out, piece{signature: x.signature})
			}
			return out
		}
		if s.from > at {
			out = append(out, piece{text: messages.Quote(v[at:s.from])})
		}
		out = append(out, piece{text: messages.Quote(v[s.from:end]), signature: s.signature})
		at = end
	}
	if at < len(v) {
		out = append(out, piece{text: messages.Quote(v[at:])})
	}
	return out
}

// boundary reports whether a text may be cut there.
func boundary(v string, at int) bool { return at == len(v) || utf8.RuneStart(v[at]) }
