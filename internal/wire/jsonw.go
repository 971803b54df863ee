package wire

import (
	"strconv"

	"signalbox/internal/messages"
)

// JSON writes a JSON document by appending; commas come by themselves. The caller keeps objects and arrays balanced. The zero
// value is ready.
type JSON struct{ b []byte }

// NewJSON starts with room for n bytes.
func NewJSON(n int) *JSON { return &JSON{b: make([]byte, 0, n)} }

// sep puts the comma that a further member or element needs. A value never ends in one of these four bytes.
func (j *JSON) sep() {
	if n := len(j.b); n > 0 {
		switch j.b[n-1] {
		case '{', '[', ':', ',':
		default:
			j.b = append(j.b, ',')
		}
	}
}

// Obj opens an object.
func (j *JSON) Obj() { j.sep(); j.b = append(j.b, '{') }

// End closes an object.
func (j *JSON) End() { j.b = append(j.b, '}') }

// Arr opens an array.
func (j *JSON) Arr() { j.sep(); j.b = append(j.b, '[') }

// EndArr closes an array.
func (j *JSON) EndArr() { j.b = append(j.b, ']') }

// Key writes a member's name; it must need no escaping or be quoted by AppendQuote's rules.
func (j *JSON) Key(k string) {
	j.sep()
	j.b = messages.AppendQuote(j.b, k)
	j.b = append(j.b, ':')
}

// Str writes a decoded text.
func (j *JSON) Str(s string) { j.sep(); j.b = messages.AppendQuote(j.b, s) }

// Lit writes a literal as it was written; the nil Literal is "".
func (j *JSON) Lit(l messages.Literal) { j.sep(); j.b = l.AppendTo(j.b) }

// Raw writes a value of proven grammar as it stands.
func (j *JSON) Raw(v []byte) { j.sep(); j.b = append(j.b, v...) }

// Int writes a whole number.
func (j *JSON) Int(n int64) { j.sep(); j.b = strconv.AppendInt(j.b, n, 10) }

// Bool writes true or false.
func (j *JSON) Bool(v bool) { j.sep(); j.b = strconv.AppendBool(j.b, v) }

// Null writes null.
func (j *JSON) Null() { j.sep(); j.b = append(j.b, "null"...) }

// Bytes is what was written.
func (j *JSON) Bytes() []byte { return j.b }
