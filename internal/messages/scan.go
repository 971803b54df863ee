package messages

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of one body, checked before anything else reads it.
const (
	MaxDepth    = 128
	MaxMessages = 100_000
	MaxTools    = 4_096
	// MaxBlocks is how many content blocks a translation takes, in all messages together: a block is much larger decoded than
	// written, and a body of nothing but tiny ones would fill the memory.
	MaxBlocks  = 200_000
	maxMembers = 256 // top-level members; the API has about thirty
)

// span is a part of the body, as byte offsets.
type span struct{ start, end int }

// member is one top-level member: its decoded name, where its key begins and where its value lies.
type member struct {
	name  string
	key   int // offset of the key's opening quote
	value span
	elems int // elements, when the value is an array
}

// syntaxError is a place in the body and what is wrong there.
type syntaxError struct {
	offset int
	what   string
}

func (e *syntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.what, e.offset) }

// scanner proves that a body is one JSON document of legal grammar, depth and UTF-8. It decodes nothing but member names of
// the outermost object.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) fail(what string) error { return &syntaxError{s.i, what} }

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\n', '\t', '\r':
			s.i++
		default:
			return
		}
	}
}

// object walks the outermost object and lists its members.
func (s *scanner) object() ([]member, error) {
	if bytes.HasPrefix(s.b, []byte("\xef\xbb\xbf")) {
		return nil, s.fail("byte order mark")
	}
	s.space()
	if s.i >= len(s.b) {
		return nil, s.fail("empty body")
	}
	if s.b[s.i] != '{' {
		return nil, s.fail("the body is not a JSON object")
	}
	s.i++
	members := make([]member, 0, 16)
	s.space()
	if s.i < len(s.b) && s.b[s.i] == '}' {
		s.i++
		return members, s.tail()
	}
	for {
		s.space()
		key := s.i
		if s.i >= len(s.b) || s.b[s.i] != '"' {
			return nil, s.fail("a member name must be a string")
		}
		if err := s.str(); err != nil {
			return nil, err
		}
		name := stringOf(s.b[key:s.i])
		s.space()
		if s.i >= len(s.b) || s.b[s.i] != ':' {
			return nil, s.fail("missing ':'")
		}
		s.i++
		s.space()
		start := s.i
		elems, err := s.value(1)
		if err != nil {
			return nil, err
		}
		if len(members) == maxMembers {
			return nil, s.fail("too many members")
		}
		members = append(members, member{name: name, key: key, value: span{start, s.i}, elems: elems})
		s.space()
		if s.i >= len(s.b) {
			return nil, s.fail("unexpected end of the body")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
		case '}':
			s.i++
			return members, s.tail()
		default:
			return nil, s.fail("missing ',' or '}'")
		}
	}
}

// tail proves that nothing but white space follows.
func (s *scanner) tail() error {
	s.space()
	if s.i != len(s.b) {
		return s.fail("data after the JSON document")
	}
	return nil
}

// value walks one value that lies depth containers deep. elems is the number of elements of an array.
func (s *scanner) value(depth int) (elems int, err error) {
	if s.i >= len(s.b) {
		return 0, s.fail("unexpected end of the body")
	}
	switch c := s.b[s.i]; c {
	case '"':
		return 0, s.str()
	case '{', '[':
		return s.container(depth, c)
	case 't':
		return 0, s.word("true")
	case 'f':
		return 0, s.word("false")
	case 'n':
		return 0, s.word("null")
	default:
		return 0, s.number()
	}
}

func (s *scanner) container(depth int, open byte) (elems int, err error) {
	if depth >= MaxDepth {
		return 0, s.fail(fmt.Sprintf("nested deeper than %d", MaxDepth))
	}
	object := open == '{'
	end := byte(']')
	if object {
		end = '}'
	}
	s.i++
	s.space()
	if s.i < len(s.b) && s.b[s.i] == end {
		s.i++
		return 0, nil
	}
	for {
		s.space()
		if object {
			if s.i >= len(s.b) || s.b[s.i] != '"' {
				return 0, s.fail("a member name must be a string")
			}
			if err := s.str(); err != nil {
				return 0, err
			}
			s.space()
			if s.i >= len(s.b) || s.b[s.i] != ':' {
				return 0, s.fail("missing ':'")
			}
			s.i++
			s.space()
		}
		if _, err := s.value(depth + 1); err != nil {
			return 0, err
		}
		elems++
		s.space()
		if s.i >= len(s.b) {
			return 0, s.fail("unexpected end of the body")
		}
		switch s.b[s.i] {
		case ',':
			s.i++
		case end:
			s.i++
			return elems, nil
		default:
			return 0, s.fail("missing ',' or '" + string(end) + "'")
		}
	}
}

func (s *scanner) word(w string) error {
	if !strings.HasPrefix(string(s.b[s.i:min(len(s.b), s.i+len(w))]), w) {
		return s.fail("not a JSON value")
	}
	s.i += len(w)
	return nil
}

func (s *scanner) number() error {
	start, b := s.i, s.b
	digits := func() bool {
		n := s.i
		for s.i < len(b) && b[s.i] >= '0' && b[s.i] <= '9' {
			s.i++
		}
		return s.i > n
	}
	if s.i < len(b) && b[s.i] == '-' {
		s.i++
	}
	switch {
	case s.i < len(b) && b[s.i] == '0':
		s.i++
	case !digits():
		s.i = start
		return s.fail("not a JSON value")
	}
	if s.i < len(b) && b[s.i] == '.' {
		s.i++
		if !digits() {
			return s.fail("bad number")
		}
	}
	if s.i < len(b) && (b[s.i] == 'e' || b[s.i] == 'E') {
		s.i++
		if s.i < len(b) && (b[s.i] == '+' || b[s.i] == '-') {
			s.i++
		}
		if !digits() {
			return s.fail("bad number")
		}
	}
	return nil
}

// plain marks the bytes that a string may hold as they are and that need no further look.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return
}()

// str walks one string literal from its opening quote. Lone surrogates are legal grammar; they are mended where the text
// is decoded. (Words of eight bytes at once were tried: on source code, with an escape every dozen bytes, they take twice as
// long.)
func (s *scanner) str() error {
	b, i := s.b, s.i+1
	for {
		for i+8 <= len(b) && plain[b[i]] && plain[b[i+1]] && plain[b[i+2]] && plain[b[i+3]] &&
			plain[b[i+4]] && plain[b[i+5]] && plain[b[i+6]] && plain[b[i+7]] {
			i += 8
		}
		for i < len(b) && plain[b[i]] {
			i++
		}
		switch {
		case i >= len(b):
			return s.badString()
		case b[i] == '"':
			s.i = i + 1
			return nil
		case b[i] >= 0x80:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n <= 1 {
				return s.badString()
			}
			run := i + n
			for i = run; i < len(b) && b[i] >= 0x80; {
				i++
			}
			if i > run && !utf8.Valid(b[run:i]) {
				return s.badString()
			}
		case b[i] != '\\' || i+1 >= len(b):
			return s.badString()
		case escapes[b[i+1]]:
			i += 2
		case b[i+1] == 'u' && i+6 <= len(b) && hex4(b[i+2:i+6]):
			i += 6
		default:
			return s.badString()
		}
	}
}

// escapes are the bytes that may follow a backslash, apart from u.
var escapes = func() (t [256]bool) {
	for _, c := range `"\/bfnrt` {
		t[c] = true
	}
	return
}()

// badString says what is wrong with a string, and where.
func (s *scanner) badString() error {
	b := s.b
	for s.i++; s.i < len(b); {
		switch c := b[s.i]; {
		case plain[c]:
			s.i++
		case c == '\\' && s.i+1 >= len(b):
			return s.fail("unexpected end of a string")
		case c == '\\' && escapes[b[s.i+1]]:
			s.i += 2
		case c == '\\' && b[s.i+1] != 'u':
			return s.fail("bad escape")
		case c == '\\' && (s.i+6 > len(b) || !hex4(b[s.i+2:s.i+6])):
			return s.fail("bad \\u escape")
		case c == '\\':
			s.i += 6
		case c < 0x20:
			return s.fail("control character in a string")
		default:
			r, n := utf8.DecodeRune(b[s.i:])
			if r == utf8.RuneError && n <= 1 {
				return s.fail("invalid UTF-8")
			}
			s.i += n
		}
	}
	return s.fail("unexpected end of a string")
}

func hex4(b []byte) bool {
	for _, c := range b[:4] {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}

// Valid proves that b is one JSON value with the limits of a body. It is for bytes that come from upstreams.
func Valid(b []byte) error {
	s := scanner{b: b}
	s.space()
	if _, err := s.value(0); err != nil {
		return err
	}
	return s.tail()
}

// Mended is Valid for what models say: where b is no JSON only because a text in it is no UTF-8, what is wrong becomes U+FFFD.
// Other bytes come back as they are.
func Mended(b []byte) ([]byte, error) {
	err := Valid(b)
	if err == nil || utf8.Valid(b) {
		return b, err
	}
	b = bytes.ToValidUTF8(b, []byte("\ufffd"))
	return b, Valid(b)
}
