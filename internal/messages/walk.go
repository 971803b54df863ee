package messages

import (
	"bytes"

	"github.com/tidwall/gjson"
)

// walker goes over JSON once, from left to right. The bytes must be of proven grammar (ParseRequest, Valid): it looks for the
// ends of values and checks nothing. What it returns are parts of those bytes, never copies.
//
// It stands before a value. skip passes it; enter steps into it, and next then moves from element to element:
//
//	for w.enter(); w.next('}'); {
//		switch string(w.key()) { … w.skip() … }
//	}
type walker struct {
	b []byte
	i int
}

// peek is the first byte of the value that comes, which tells its kind.
func (w *walker) peek() byte { return w.b[w.i] }

// enter steps into the array or object that comes.
func (w *walker) enter() { w.i++ }

// next moves to the next element or member. At the end it steps out, past the closing bracket, and says false.
func (w *walker) next(end byte) bool {
	w.space()
	switch w.b[w.i] {
	case end:
		w.i++
		return false
	case ',':
		w.i++
		w.space()
	}
	return true
}

// key passes a member's name and the colon. The name is decoded.
func (w *walker) key() []byte {
	start := w.i
	w.str()
	raw := w.b[start:w.i]
	w.space()
	w.i++
	w.space()
	name := raw[1 : len(raw)-1]
	if bytes.IndexByte(name, '\\') >= 0 {
		return []byte(Literal(raw).Value())
	}
	return name
}

// skip passes a value and gives it as it was written. Appending to it copies.
func (w *walker) skip() []byte {
	start := w.i
	switch w.b[w.i] {
	case '"':
		w.str()
	case '{', '[':
		w.container()
	default:
		for w.i < len(w.b) && plainValue[w.b[w.i]] {
			w.i++
		}
	}
	return w.b[start:w.i:w.i]
}

// plainValue are the bytes of numbers and of true, false and null.
var plainValue = func() (t [256]bool) {
	for _, c := range "+-.0123456789Eaeflnrstu" {
		t[c] = true
	}
	return
}()

// container passes an array or object: brackets are counted, strings leapt over.
func (w *walker) container() {
	for depth := 0; ; {
		switch w.b[w.i] {
		case '"':
			w.str()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				w.i++
				return
			}
		}
		w.i++
	}
}

// str passes a string. Only quotes are looked for: one with an odd number of backslashes before it belongs to the text.
func (w *walker) str() {
	for i := w.i + 1; ; i++ {
		i += bytes.IndexByte(w.b[i:], '"')
		escapes := 0
		for w.b[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes&1 == 0 {
			w.i = i + 1
			return
		}
	}
}

func (w *walker) space() {
	for w.i < len(w.b) && w.b[w.i] <= ' ' {
		w.i++
	}
}

// stringOf decodes a string without a copy where that can be; any other value is the empty text.
func stringOf(raw []byte) string {
	if raw[0] != '"' {
		return ""
	}
	if in := raw[1 : len(raw)-1]; bytes.IndexByte(in, '\\') < 0 {
		return view(in)
	}
	return Literal(raw).Value()
}

// wordOf is stringOf for names and ids, which some callers write as numbers.
func wordOf(raw []byte) string {
	switch raw[0] {
	case '"':
		return stringOf(raw)
	case 'n':
		return ""
	}
	return gjson.Parse(view(raw)).String()
}

// literal is a string as it was written; nil when the value is no string.
func literal(raw []byte) Literal {
	if raw[0] != '"' {
		return nil
	}
	return raw
}

// Base64 counts the images and documents that the messages hold as base64, and the bytes they take: what is no text when a
// request is weighed. It decodes nothing.
func (r *Request) Base64() (count int, size int64) {
	msgs := r.Member("messages")
	if !bytes.Contains(msgs, []byte(`base64`)) {
		return 0, 0
	}
	w := walker{b: msgs}
	w.base64(false, &count, &size)
	return count, size
}

func (w *walker) base64(source bool, count *int, size *int64) {
	switch w.peek() {
	case '[':
		for w.enter(); w.next(']'); {
			w.base64(false, count, size)
		}
	case '{':
		var kind, data []byte
		for w.enter(); w.next('}'); {
			key := w.key()
			switch {
			case source && string(key) == "type":
				kind = w.skip()
			case source && string(key) == "data":
				data = w.skip()
			default:
				w.base64(string(key) == "source", count, size)
			}
		}
		if string(kind) == `"base64"` {
			*count++
			*size += int64(len(data))
		}
	default:
		w.skip()
	}
}
