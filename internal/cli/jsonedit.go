package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// Edits of a JSON file that somebody else owns: single members of objects are set and removed in the text itself, so that the
// order of keys, the spacing and the spelling of everything else stay as they are.

// jsonMember is where a member of an object stands in the text.
type jsonMember struct {
	name       string
	key        int // where its name begins
	value, end int // where its value begins, and where it has ended
}

// jsonObject is an object in a text that is valid JSON.
type jsonObject struct {
	open, close int // its braces
	members     []jsonMember
}

var errNoObject = errors.New("is no JSON object")

// rootObject takes a whole text apart. It must be valid JSON.
func rootObject(text []byte) (jsonObject, error) {
	if !json.Valid(text) {
		return jsonObject{}, errors.New("is not valid JSON")
	}
	return objectAt(text, skipSpace(text, 0))
}

// objectAt takes the object apart that begins at a place.
func objectAt(text []byte, at int) (jsonObject, error) {
	if text[at] != '{' {
		return jsonObject{}, errNoObject
	}
	o := jsonObject{open: at}
	i := skipSpace(text, at+1)
	for text[i] != '}' {
		m := jsonMember{key: i}
		i = skipValue(text, i)
		if err := json.Unmarshal(text[m.key:i], &m.name); err != nil {
			return o, err
		}
		m.value = skipSpace(text, skipSpace(text, i)+1) // behind the colon
		m.end = skipValue(text, m.value)
		o.members = append(o.members, m)
		if i = skipSpace(text, m.end); text[i] == ',' {
			i = skipSpace(text, i+1)
		}
	}
	o.close = i
	return o, nil
}

// find is the place of a member in the list, -1 without one. Of several with one name the last counts, as for JSON.parse.
func (o jsonObject) find(name string) int {
	for i := len(o.members) - 1; i >= 0; i-- {
		if o.members[i].name == name {
			return i
		}
	}
	return -1
}

func skipSpace(text []byte, i int) int {
	for i < len(text) && strings.IndexByte(" \t\r\n", text[i]) >= 0 {
		i++
	}
	return i
}

// skipValue is the place behind the value that begins at i.
func skipValue(text []byte, i int) int {
	depth := 0
	for i < len(text) {
		switch c := text[i]; {
		case c == '"':
			for i++; text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
			i++
		case c == '{' || c == '[':
			depth++
			i++
		case c == '}' || c == ']':
			depth--
			i++
		default:
			for i++; i < len(text) && strings.IndexByte(" \t\r\n,:{}[]\"", text[i]) < 0; i++ {
			}
		}
		if depth == 0 {
			return i
		}
		for i < len(text) && strings.IndexByte(" \t\r\n,:", text[i]) >= 0 {
			i++
		}
	}
	return i
}

// setMember gives a member of an object a value, written as JSON. A new one goes to the end, spaced like its neighbours;
// outer is how far the line of an object that was empty is indented.
func setMember(text []byte, o jsonObject, name string, value []byte, outer string) []byte {
	if i := o.find(name); i >= 0 {
		return spliced(text, o.members[i].value, o.members[i].end, value)
	}
	key, _ := json.Marshal(name) // text always has a form
	var b bytes.Buffer
	n := len(o.members)
	if n == 0 {
		b.WriteString("\n" + outer + "  ")
		b.Write(key)
		b.WriteString(": ")
		b.Write(value)
		b.WriteString("\n" + outer)
		return spliced(text, o.open+1, o.close, b.Bytes())
	}
	last := o.members[n-1]
	b.WriteByte(',')
	b.Write(spaceBefore(text, last.key))
	b.Write(key)
	b.Write(text[skipValue(text, last.key):last.value])
	b.Write(value)
	return spliced(text, last.end, last.end, b.Bytes())
}

// spaceBefore is the white space that ends at a place.
func spaceBefore(text []byte, at int) []byte {
	i := at
	for i > 0 && strings.IndexByte(" \t\r\n", text[i-1]) >= 0 {
		i--
	}
	return text[i:at]
}

// removeMember takes a member out, with the comma that belongs to it.
func removeMember(text []byte, o jsonObject, name string) []byte {
	i := o.find(name)
	switch {
	case i < 0:
		return text
	case len(o.members) == 1:
		return spliced(text, o.open+1, o.close, nil)
	case i == 0:
		return spliced(text, o.members[0].key, o.members[1].key, nil)
	}
	return spliced(text, o.members[i-1].end, o.members[i].end, nil)
}

func spliced(text []byte, from, to int, with []byte) []byte {
	out := make([]byte, 0, len(text)+len(with))
	out = append(out, text[:from]...)
	out = append(out, with...)
	return append(out, text[to:]...)
}
