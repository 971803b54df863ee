package messages

import (
	"bytes"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// Literal is a JSON string literal as it was written, quotes included, of proven grammar. Text that we only hand on stays
// one: most of it can be copied as it stands, and is never decoded and encoded again. The nil Literal is the empty text.
type Literal []byte

// Quote makes a Literal of a decoded text.
func Quote(s string) Literal { return AppendQuote(nil, s) }

// Empty reports whether the text is empty.
func (l Literal) Empty() bool { return len(l) <= 2 }

// inner is the literal without its quotes.
func (l Literal) inner() []byte {
	if len(l) < 2 {
		return nil
	}
	return l[1 : len(l)-1]
}

// Value decodes the text. A lone surrogate becomes U+FFFD.
func (l Literal) Value() string {
	in := l.inner()
	if bytes.IndexByte(in, '\\') < 0 {
		return string(in)
	}
	return string(appendDecoded(make([]byte, 0, len(in)), in))
}

// AppendValue appends the decoded text to dst.
func (l Literal) AppendValue(dst []byte) []byte { return appendDecoded(dst, l.inner()) }

func appendDecoded(out, in []byte) []byte {
	for len(in) > 0 {
		i := bytes.IndexByte(in, '\\')
		if i < 0 {
			return append(out, in...)
		}
		out = append(out, in[:i]...)
		in = in[i:]
		switch c := in[1]; c {
		case 'b':
			out, in = append(out, '\b'), in[2:]
		case 'f':
			out, in = append(out, '\f'), in[2:]
		case 'n':
			out, in = append(out, '\n'), in[2:]
		case 'r':
			out, in = append(out, '\r'), in[2:]
		case 't':
			out, in = append(out, '\t'), in[2:]
		case 'u':
			r := unhex(in[2:6])
			in = in[6:]
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if len(in) >= 6 && in[0] == '\\' && in[1] == 'u' {
					low = unhex(in[2:6])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					in = in[6:]
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			out, in = append(out, c), in[2:]
		}
	}
	return out
}

func unhex(b []byte) rune {
	n, err := strconv.ParseUint(string(b), 16, 32)
	if err != nil {
		return utf8.RuneError
	}
	return rune(n)
}

// AppendTo appends the literal to dst, mended where another reader could stumble: lone surrogates become U+FFFD, and the
// line separators U+2028 and U+2029 are escaped.
func (l Literal) AppendTo(dst []byte) []byte {
	dst = append(dst, '"')
	dst = l.AppendInner(dst)
	return append(dst, '"')
}

// AppendInner is AppendTo without the quotes, for texts that are joined.
func (l Literal) AppendInner(dst []byte) []byte {
	in := l.inner()
	if clean(in) {
		return append(dst, in...)
	}
	q := AppendQuote(nil, l.Value())
	return append(dst, q[1:len(q)-1]...)
}

// clean reports whether the inside of a literal may be copied as it stands.
func clean(in []byte) bool {
	if i := bytes.IndexByte(in, 0xe2); i >= 0 && (bytes.Contains(in[i:], []byte("\u2028")) || bytes.Contains(in[i:], []byte("\u2029"))) {
		return false
	}
	i := bytes.IndexByte(in, '\\')
	for i >= 0 {
		in = in[i:]
		if i = bytes.Index(in, []byte(`\u`)); i < 0 {
			return true
		}
		if len(in) > i+2 && in[i+2]|0x20 == 'd' {
			return false // maybe a lone surrogate (or an escaped backslash before u): let the slow path decide
		}
		i += 2
	}
	return true
}

// AppendQuote appends s as a JSON string literal. Invalid UTF-8 becomes U+FFFD; control characters, U+2028 and U+2029 are
// escaped, so that the result fits on one line of an event stream.
func AppendQuote(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		j := i
		for j < len(s) && plain[s[j]] {
			j++
		}
		dst = append(dst, s[i:j]...)
		if j >= len(s) {
			break
		}
		i = j
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
			i++
		case c == '\n':
			dst = append(dst, `\n`...)
			i++
		case c == '\t':
			dst = append(dst, `\t`...)
			i++
		case c == '\r':
			dst = append(dst, `\r`...)
			i++
		case c < 0x20 || c == 0x7f:
			dst = append(dst, `\u00`...)
			dst = append(dst, "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == '\u2028' || r == '\u2029' {
				dst = append(dst, `\u202`...)
				dst = append(dst, "89"[r-'\u2028'])
			} else {
				dst = utf8.AppendRune(dst, r)
			}
			i += n
		}
	}
	return append(dst, '"')
}

// view is b as a string without a copy; b must not change afterwards. Bodies never do once they are parsed.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf is the way back for a substring of a view; the bytes must not be changed.
func bytesOf(s string) []byte {
	if s == "" {
		return nil
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}
