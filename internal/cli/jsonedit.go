package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"signalbox/config"
)

// A file that other programs share is edited like a text: the bytes of one member change, and everything else (unknown keys,
// their order, the spelling of numbers, the indentation) stays as its writers left it.

// member is one member of an object by its places in the text.
type member struct {
	name       string
	begin      int    // of the name, its quote included
	from, to   int    // of the value
	afterColon string // what stands between the name and the value
}

// object is the place of an object in the text: of its brackets, and of what is between them.
type object struct {
	open, end int // of { and behind }
	members   []member
}

// setMember gives data with the member at path (names, from the outermost in) set to value, which is JSON. Objects on the way
// that do not exist are made. An empty text is an empty object. The error says what is not JSON, with its line.
func setMember(data []byte, path []string, value string) ([]byte, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		data = []byte("{}\n")
	}
	o, err := rootObject(data)
	if err != nil {
		return nil, err
	}
	style := styleOf(data, o)
	for depth, name := range path {
		m, ok := o.find(name)
		if !ok {
			return o.insert(data, name, style.nest(path[depth+1:], value, depth+2), style, depth+1), nil
		}
		if depth == len(path)-1 {
			return splice(data, m.from, m.to, value), nil
		}
		if string(data[m.from:m.to]) == "null" {
			return splice(data, m.from, m.to, style.nest(path[depth+1:], value, depth+2)), nil
		}
		if o, err = objectAt(data, m.from, strings.Join(path[:depth+1], ".")); err != nil {
			return nil, err
		}
	}
	return nil, errors.New("no path")
}

// removeMember gives data without the member at path; false when there is none.
func removeMember(data []byte, path []string) ([]byte, bool, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return data, false, nil
	}
	o, err := rootObject(data)
	if err != nil {
		return nil, false, err
	}
	for depth, name := range path {
		m, ok := o.find(name)
		if !ok || depth < len(path)-1 && string(data[m.from:m.to]) == "null" {
			return data, false, nil
		}
		if depth == len(path)-1 {
			return o.without(data, name), true, nil
		}
		if o, err = objectAt(data, m.from, strings.Join(path[:depth+1], ".")); err != nil {
			return nil, false, err
		}
	}
	return data, false, nil
}

// valueAt is the JSON of the member at path; nil when there is none.
func valueAt(data []byte, path []string) ([]byte, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, nil
	}
	o, err := rootObject(data)
	if err != nil {
		return nil, err
	}
	for depth, name := range path {
		m, ok := o.find(name)
		switch {
		case !ok:
			return nil, nil
		case depth == len(path)-1:
			return data[m.from:m.to], nil
		case data[m.from] != '{':
			return nil, nil
		}
		if o, err = objectAt(data, m.from, name); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// rootObject checks the whole text, which no edit may do without: what is broken is left to whoever broke it.
func rootObject(data []byte) (object, error) {
	from := 0
	if bytes.HasPrefix(data, []byte("\ufeff")) {
		from = 3
	}
	d := jsontext.NewDecoder(bytes.NewReader(data[from:]))
	v, err := d.ReadValue()
	if err == nil {
		from += int(d.InputOffset()) - len(v)
		if _, err = d.ReadToken(); err == nil {
			err = errors.New("a second value behind the first")
		} else if errors.Is(err, io.EOF) {
			return objectAt(data, from, "")
		}
	}
	at, text := int(d.InputOffset()), err.Error()
	var se *jsontext.SyntacticError
	if errors.As(err, &se) {
		at = int(se.ByteOffset)
		text = se.Err.Error()
		if errors.Is(se.Err, jsontext.ErrDuplicateName) {
			text = fmt.Sprintf("%s: written twice", se.JSONPointer.LastToken())
		}
	} else if errors.Is(err, io.ErrUnexpectedEOF) {
		at, text = len(data), "it ends in the middle"
	}
	at = min(max(0, at), len(data))
	return object{}, lineError(data, at, "not JSON: "+text)
}

// lineError is a fault of the text at an offset; who knows the file's name adds it.
func lineError(data []byte, at int, message string) error {
	return &config.Error{Line: 1 + bytes.Count(data[:at], []byte("\n")), Message: message}
}

// objectAt reads the members of the object that begins at from. The text has been checked.
func objectAt(data []byte, from int, key string) (object, error) {
	if data[from] != '{' {
		what := "the file"
		if key != "" {
			what = key
		}
		return object{}, lineError(data, from, what+" is no object, so nothing can be written into it")
	}
	d := jsontext.NewDecoder(bytes.NewReader(data[from:]))
	o := object{open: from}
	if _, err := d.ReadToken(); err != nil {
		return o, err
	}
	for d.PeekKind() != '}' {
		raw, err := d.ReadValue()
		if err != nil {
			return o, err
		}
		behind := from + int(d.InputOffset())
		m := member{begin: behind - len(raw)}
		if m.name, err = unquote(raw); err != nil {
			return o, err
		}
		if raw, err = d.ReadValue(); err != nil {
			return o, err
		}
		m.to = from + int(d.InputOffset())
		m.from = m.to - len(raw)
		m.afterColon = strings.TrimLeft(string(data[behind:m.from]), " \t\r\n")
		o.members = append(o.members, m)
	}
	if _, err := d.ReadToken(); err != nil {
		return o, err
	}
	o.end = from + int(d.InputOffset())
	return o, nil
}

func unquote(raw []byte) (string, error) {
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err
}

// find looks for a member by its exact name.
func (o *object) find(name string) (member, bool) {
	i := slices.IndexFunc(o.members, func(m member) bool { return m.name == name })
	if i < 0 {
		return member{}, false
	}
	return o.members[i], true
}

// insert adds a member at the end, in the form of those that are there.
func (o *object) insert(data []byte, name, value string, s textStyle, depth int) []byte {
	key := string(quoted(name))
	if n := len(o.members); n > 0 {
		first, last := o.members[0], o.members[n-1]
		gap := string(data[o.open+1 : first.begin]) // the white space in front of the first member
		if !strings.Contains(gap, "\n") {
			gap = strings.TrimPrefix(first.afterColon, ":")
		}
		return splice(data, last.to, last.to, ","+gap+key+first.afterColon+value)
	}
	return splice(data, o.open, o.end, s.wrap(key+s.colon()+value, depth))
}

// without takes a member out, and the comma that belonged to it.
func (o *object) without(data []byte, name string) []byte {
	i := slices.IndexFunc(o.members, func(m member) bool { return m.name == name })
	switch m := o.members[i]; {
	case len(o.members) == 1:
		return splice(data, o.open, o.end, "{}")
	case i == 0:
		return splice(data, m.begin, o.members[1].begin, "")
	default:
		return splice(data, o.members[i-1].to, m.to, "")
	}
}

func splice(data []byte, from, to int, text string) []byte {
	return slices.Concat(data[:from], []byte(text), data[to:])
}

// textStyle is how a file is laid out, for what is added to it.
type textStyle struct {
	unit    string // one step of indentation
	newline string // empty: everything is on one line
}

func styleOf(data []byte, root object) textStyle {
	s := textStyle{unit: "  ", newline: "\n"}
	if bytes.Contains(data, []byte("\r\n")) {
		s.newline = "\r\n"
	}
	if len(root.members) == 0 {
		return s
	}
	gap := string(data[root.open+1 : root.members[0].begin])
	i := strings.LastIndexByte(gap, '\n')
	if i < 0 {
		return textStyle{}
	}
	s.unit = gap[i+1:]
	return s
}

func (s textStyle) colon() string {
	if s.newline == "" {
		return ":"
	}
	return ": "
}

// wrap puts an object's brackets around its one member; depth is that of the member.
func (s textStyle) wrap(inner string, depth int) string {
	if s.newline == "" {
		return "{" + inner + "}"
	}
	return "{" + s.newline + strings.Repeat(s.unit, depth) + inner + s.newline + strings.Repeat(s.unit, depth-1) + "}"
}

// nest is value inside the objects of path; depth is that of the first name of path.
func (s textStyle) nest(path []string, value string, depth int) string {
	if len(path) == 0 {
		return value
	}
	return s.wrap(string(quoted(path[0]))+s.colon()+s.nest(path[1:], value, depth+1), depth)
}
