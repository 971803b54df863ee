package textcall

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// verdict is what can be said of a candidate.
type verdict uint8

const (
	no   verdict = iota // it is no call, whatever comes
	more                // what comes decides
	yes                 // it is a call, or several
)

// scan looks at one candidate.
type scan struct {
	tools map[string]*tool
	b     []byte
	end   bool // nothing follows b
	bare  bool // JSON without a tag may be a call
	calls []Call
	sure  bool // a tag says so
	seen  int  // how far it looked
}

// candidate looks at what begins at i; n is the place behind it when the verdict is yes.
func (s *scan) candidate(i int) (n int, v verdict) {
	switch s.b[i] {
	case '<', '[':
		for _, f := range [...]struct {
			tag  string
			read func(*scan, int) (int, verdict)
		}{
			{"<tool_call>", func(s *scan, i int) (int, verdict) { return s.tagged(i, "</tool_call>") }},
			{"<tool_calls>", func(s *scan, i int) (int, verdict) { return s.tagged(i, "</tool_calls>") }},
			{"<tools>", func(s *scan, i int) (int, verdict) { return s.tagged(i, "</tools>") }},
			{"<TOOLCALL>", func(s *scan, i int) (int, verdict) { return s.tagged(i, "</TOOLCALL>") }},
			{"<function_call>", func(s *scan, i int) (int, verdict) { return s.tagged(i, "</function_call>") }},
			{"<function_calls>", func(s *scan, i int) (int, verdict) { return s.tagged(i, "</function_calls>") }},
			{"<|tool_call|>", func(s *scan, i int) (int, verdict) { return s.tagged(i, "<|/tool_call|>") }},
			{"<|python_tag|>", func(s *scan, i int) (int, verdict) { return s.tagged(i, "<|eom_id|>") }},
			{"[TOOL_CALLS]", (*scan).mistral},
			{"<function=", (*scan).function},
			{"<function name=", (*scan).function},
			{"<invoke name=", (*scan).function},
		} {
			switch s.prefix(i, f.tag) {
			case more:
				v = more
			case yes:
				s.sure = true
				at := i + len(f.tag)
				if f.tag[len(f.tag)-1] == '=' {
					at = i
				}
				return f.read(s, at)
			}
		}
		if v == no && s.b[i] == '[' && s.bare {
			return s.json(i)
		}
	case '{':
		if s.bare {
			return s.json(i)
		}
	case '`', '~':
		if s.bare {
			return s.fenced(i)
		}
	}
	s.look(i + 1)
	return i, v
}

func (s *scan) look(at int) { s.seen = max(s.seen, at) }

// prefix reports whether word stands at i, or may stand there.
func (s *scan) prefix(i int, word string) verdict {
	rest := s.b[min(i, len(s.b)):]
	s.look(min(i+len(word), len(s.b)))
	switch {
	case bytes.HasPrefix(rest, []byte(word)):
		return yes
	case !s.end && strings.HasPrefix(word, string(rest[:min(len(rest), len(word))])):
		return more
	}
	return no
}

// rest is the verdict when everything was read and something is missing.
func (s *scan) missing() verdict {
	s.look(len(s.b))
	if s.end {
		return no
	}
	return more
}

func space(b []byte) int { return len(b) - len(bytes.TrimLeft(b, " \t\r\n")) }

// skip is the place behind white space.
func (s *scan) skip(i int) int { return i + space(s.b[i:]) }

// tagged reads what stands between a tag and its end: JSON, functions, or a name with keys and values. Models leave the end
// out, and some servers cut it off.
func (s *scan) tagged(i int, close string) (int, verdict) {
	i = s.skip(i)
	if i == len(s.b) {
		return i, s.missing()
	}
	var v verdict
	switch c := s.b[i]; {
	case c == '{' || c == '[':
		if i, v = s.json(i); v == yes {
			for at := s.skip(i); at < len(s.b) && s.b[at] == '{'; at = s.skip(i) {
				if i, v = s.json(at); v != yes {
					return i, v
				}
			}
		}
	case c == '<':
		i, v = s.functions(i)
	default:
		i, v = s.keyed(i)
	}
	if v != yes {
		return i, v
	}
	return s.closed(i, close)
}

// closed reads the end of a tag, which may be missing behind a call that is whole.
func (s *scan) closed(i int, close string) (int, verdict) {
	at := s.skip(i)
	switch s.prefix(at, close) {
	case yes:
		return at + len(close), yes
	case more:
		return i, more
	}
	return i, yes
}

// functions reads one function behind the other.
func (s *scan) functions(i int) (int, verdict) {
	for first := true; ; first = false {
		at, v, begins := s.skip(i), no, false
		for _, tag := range [...]string{"<function=", "<function name=", "<invoke name="} {
			switch s.prefix(at, tag) {
			case more:
				v = more
			case yes:
				begins = true
			}
		}
		switch {
		case begins:
			if i, v = s.function(at); v != yes {
				return i, v
			}
		case v == more && (first || at < len(s.b)):
			return i, more
		case first:
			return i, no
		default:
			return i, yes
		}
	}
}

// function reads <function=NAME>…</function>, or the same with name="NAME"; inside are parameters or a JSON object.
func (s *scan) function(i int) (int, verdict) {
	invoke := s.prefix(i, "<invoke") == yes
	i += bytes.IndexByte(s.b[i:], '=') + 1
	name, i, v := s.attribute(i)
	if v != yes {
		return i, v
	}
	t := s.tools[name]
	if t == nil {
		return i, no
	}
	last := "</function>"
	if invoke {
		last = "</invoke>"
	}
	i = s.skip(i)
	if i == len(s.b) {
		return i, s.missing()
	}
	if s.b[i] == '{' {
		input, n, v := s.value(i)
		if v != yes {
			return i, v
		}
		if !s.add(t, input) {
			return i, no
		}
		return s.closed(n, last)
	}
	input := object{tool: t}
	for {
		i = s.skip(i)
		switch s.prefix(i, last) {
		case yes:
			if !s.add(t, input.bytes()) {
				return i, no
			}
			return i + len(last), yes
		case more:
			return i, more
		}
		form := s.prefix(i, "<parameter")
		switch {
		case form == no && i == len(s.b) && input.members > 0: // the end is missing, the call is whole
			if !s.add(t, input.bytes()) {
				return i, no
			}
			return i, yes
		case form != yes:
			return i, form
		}
		at := i + len("<parameter")
		switch {
		case s.prefix(at, "=") == yes:
			at++
		case s.prefix(at, " name=") == yes:
			at += len(" name=")
		case s.prefix(at, " name=") == more:
			return i, more
		default:
			return i, no
		}
		var key string
		if key, at, v = s.attribute(at); v != yes {
			return i, v
		}
		text, n, v := s.until(at, "</parameter>", "<parameter", last)
		if v != yes {
			return i, v
		}
		if !input.add(key, text) {
			return i, no
		}
		i = n
	}
}

// attribute reads NAME> or "NAME">; a name goes on for at most 128 bytes.
func (s *scan) attribute(i int) (name string, n int, v verdict) {
	const most = 128
	rest := s.b[i:]
	end := bytes.IndexByte(rest[:min(len(rest), most)], '>')
	s.look(i + min(len(rest), most))
	switch {
	case end >= 0:
		name = strings.Trim(strings.TrimSpace(string(rest[:end])), `"'`)
		if name == "" || strings.ContainsAny(name, "\n<") {
			return "", i, no
		}
		return name, i + end + 1, yes
	case len(rest) >= most || bytes.IndexByte(rest, '\n') >= 0:
		return "", i, no
	}
	return "", i, s.missing()
}

// until reads a text up to its end mark. The text may hold the mark itself (a file about this very form): only a mark behind
// which one of follows stands ends it.
func (s *scan) until(i int, mark string, follows ...string) (text []byte, n int, v verdict) {
	for at := i; ; {
		k := bytes.Index(s.b[at:], []byte(mark))
		if k < 0 {
			return nil, i, s.missing()
		}
		end := at + k
		at = end + len(mark)
		next := s.skip(at)
		if next == len(s.b) {
			if s.end {
				return s.b[i:end], at, yes
			}
			return nil, i, s.missing()
		}
		for _, f := range follows {
			switch s.prefix(next, f) {
			case yes:
				return s.b[i:end], at, yes
			case more:
				return nil, i, more
			}
		}
	}
}

// keyed reads NAME followed by <arg_key>KEY</arg_key><arg_value>VALUE</arg_value> pairs.
func (s *scan) keyed(i int) (int, verdict) {
	t, n, v := s.word(i)
	if v != yes {
		return i, v
	}
	input := object{tool: t}
	for i = n; ; {
		at := s.skip(i)
		switch s.prefix(at, "<arg_key>") {
		case more:
			return i, more
		case no:
			if at == len(s.b) && !s.end {
				return i, more
			}
			if at < len(s.b) && s.prefix(at, "</tool_call") == no || !s.add(t, input.bytes()) {
				return i, no
			}
			return i, yes
		}
		key, at, v := s.until(at+len("<arg_key>"), "</arg_key>", "<arg_value>")
		if v != yes {
			return i, v
		}
		at = s.skip(at)
		if v := s.prefix(at, "<arg_value>"); v != yes {
			return i, v
		}
		text, at, v := s.until(at+len("<arg_value>"), "</arg_value>", "<arg_key>", "</tool_call>")
		if v != yes {
			return i, v
		}
		if !input.add(strings.TrimSpace(string(key)), text) {
			return i, no
		}
		i = at
	}
}

// word reads a tool's name that stands free.
func (s *scan) word(i int) (t *tool, n int, v verdict) {
	end := bytes.IndexAny(s.b[i:], "<[{ \t\r\n")
	if end < 0 {
		s.look(len(s.b))
		if !s.end && s.anyTool(func(name string) bool { return strings.HasPrefix(name, string(s.b[i:])) }) {
			return nil, i, more
		}
		return nil, i, no
	}
	s.look(i + end)
	if t = s.tools[string(s.b[i:i+end])]; t == nil {
		return nil, i, no
	}
	return t, i + end, yes
}

func (s *scan) anyTool(fits func(name string) bool) bool {
	for name := range s.tools {
		if fits(name) {
			return true
		}
	}
	return false
}

// mistral reads what follows [TOOL_CALLS]: a list of calls, or NAME[ARGS]{…}.
func (s *scan) mistral(i int) (int, verdict) {
	i = s.skip(i)
	if i == len(s.b) {
		return i, s.missing()
	}
	if s.b[i] == '[' || s.b[i] == '{' {
		return s.json(i)
	}
	t, n, v := s.word(i)
	if v != yes {
		return i, v
	}
	switch s.prefix(n, "[ARGS]") {
	case yes:
		n += len("[ARGS]")
	case more:
		if n < len(s.b) {
			return i, more
		}
	}
	if n = s.skip(n); n == len(s.b) {
		return i, s.missing()
	}
	if s.b[n] != '{' {
		return i, no
	}
	input, n, v := s.value(n)
	if v != yes {
		return i, v
	}
	if !s.add(t, input) {
		return i, no
	}
	return n, yes
}

// infos are the words behind a fence that may hold a call.
var infos = []string{"", "json", "jsonc", "json5", "tool_call", "tool_calls", "tool_use", "tool_code", "tool", "function_call", "function", "xml", "text", "plaintext"}

// fenced reads a code block that holds calls and nothing else.
func (s *scan) fenced(i int) (int, verdict) {
	mark := s.b[i]
	n := i
	for n < len(s.b) && s.b[n] == mark {
		n++
	}
	s.look(n)
	if n == len(s.b) {
		return i, s.missing()
	}
	marks := n - i
	if marks < 3 {
		return i, no
	}
	end := bytes.IndexByte(s.b[n:], '\n')
	if end < 0 {
		word, fits := strings.TrimSpace(string(s.b[n:min(len(s.b), n+32)])), false
		s.look(min(len(s.b), n+32))
		for _, info := range infos {
			fits = fits || strings.HasPrefix(info, word)
		}
		if !fits || s.end {
			return i, no
		}
		return i, more
	}
	fits := false
	word := strings.TrimSpace(string(s.b[n : n+end]))
	for _, info := range infos {
		fits = fits || info == word
	}
	if !fits {
		return i, no
	}
	if n = s.skip(n + end); n == len(s.b) {
		return i, s.missing()
	}
	inner := scan{tools: s.tools, b: s.b, end: s.end, bare: true}
	for first := true; ; first = false {
		n = s.skip(n)
		if n == len(s.b) {
			if s.end && !first {
				break // the closing fence is missing
			}
			return i, s.missing()
		}
		if !first && s.b[n] == mark {
			k := n
			for k < len(s.b) && s.b[k] == mark {
				k++
			}
			if k-n < marks && k == len(s.b) && !s.end {
				return i, more
			}
			if k-n < marks {
				return i, no
			}
			n = k
			break
		}
		if s.b[n] == mark {
			return i, no
		}
		var v verdict
		n, v = inner.candidate(n)
		s.look(inner.seen)
		if v != yes {
			return i, v
		}
	}
	s.calls, s.sure = append(s.calls, inner.calls...), false
	return n, yes
}

// json reads an object or a list of objects that are calls.
func (s *scan) json(i int) (int, verdict) {
	if s.b[i] == '{' {
		d := s.decoder(i)
		v := s.object(d, i)
		return i + int(d.InputOffset()), v
	}
	d := s.decoder(i)
	if _, err := d.ReadToken(); err != nil {
		return i, s.partial(err)
	}
	for some := false; ; some = true {
		switch d.PeekKind() {
		case '{':
			if v := s.object(d, i); v != yes {
				return i, v
			}
		case ']':
			if !some {
				return i, no
			}
			if _, err := d.ReadToken(); err != nil {
				return i, s.partial(err)
			}
			return i + int(d.InputOffset()), yes
		default:
			_, err := d.ReadToken()
			if err == nil {
				return i, no // a list of something else
			}
			return i, s.partial(err)
		}
	}
}

func (s *scan) decoder(i int) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(s.b[i:]), jsontext.AllowInvalidUTF8(true))
}

// partial is the verdict when JSON cannot be read on.
func (s *scan) partial(err error) verdict {
	s.look(len(s.b))
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return s.missing()
	}
	return no
}

// value reads one JSON value.
func (s *scan) value(i int) (v jsontext.Value, n int, is verdict) {
	d := s.decoder(i)
	v, err := d.ReadValue()
	if err != nil {
		return nil, i, s.partial(err)
	}
	n = i + int(d.InputOffset())
	s.look(n)
	return bytes.Clone(v), n, yes
}

// What a member of a call says.
type role uint8

const (
	stranger role = iota
	nameRole
	inputRole
	functionRole // the name, or an object of name and arguments
	typeRole
	idRole
	listRole
)

var roles = map[string]role{
	"name": nameRole, "action": nameRole, "tool": nameRole, "tool_name": nameRole, "function_name": nameRole,
	"arguments": inputRole, "parameters": inputRole, "input": inputRole, "args": inputRole, "tool_input": inputRole, "action_input": inputRole,
	"function": functionRole, "function_call": functionRole, "tool_call": functionRole, "type": typeRole, "id": idRole, "call_id": idRole, "tool_call_id": idRole, "tool_calls": listRole,
}

// object reads a call at the decoder's place: a name, arguments, and nothing that a call does not have.
func (s *scan) object(d *jsontext.Decoder, base int) verdict {
	if _, err := d.ReadToken(); err != nil {
		return s.partial(err)
	}
	var t *tool
	var input jsontext.Value
	list := false
	for d.PeekKind() != '}' {
		at := base + int(d.InputOffset())
		token, err := d.ReadToken()
		if err != nil {
			if v := s.partial(err); v != more || !s.begins(at, ", \t\r\n", func(begin string) bool {
				for key := range roles {
					if strings.HasPrefix(`"`+key+`"`, begin) {
						return true
					}
				}
				return false
			}) {
				return no
			}
			return more
		}
		role := roles[token.String()]
		if role == stranger {
			s.look(base + int(d.InputOffset()))
			return no
		}
		at = base + int(d.InputOffset())
		if role == functionRole && d.PeekKind() == '{' {
			if t != nil || input != nil || len(s.calls) > 0 && list {
				return no
			}
			had := len(s.calls)
			if v := s.object(d, base); v != yes {
				return v
			}
			if len(s.calls) != had+1 {
				return no
			}
			list = true
			continue
		}
		value, err := d.ReadValue()
		if err != nil {
			if v := s.partial(err); v != more || !s.couldBe(role, at) {
				return no
			}
			return more
		}
		s.look(base + int(d.InputOffset()))
		switch role {
		case nameRole, functionRole:
			name, err := jsontext.AppendUnquote(nil, value)
			if value.Kind() != '"' || err != nil || t != nil || s.tools[string(name)] == nil {
				return no
			}
			t = s.tools[string(name)]
		case inputRole:
			if input != nil {
				return no
			}
			if input = arguments(value); input == nil {
				return no
			}
		case typeRole:
			if k := string(value); k != `"function"` && k != `"tool_use"` && k != `"tool_call"` && k != `"function_call"` {
				return no
			}
		case listRole:
			inner := scan{tools: s.tools, b: value, end: true, bare: true}
			if value.Kind() != '[' || t != nil || input != nil {
				return no
			}
			if _, v := inner.json(0); v != yes {
				return no
			}
			s.calls, list = append(s.calls, inner.calls...), true
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return s.partial(err)
	}
	if t != nil && input == nil && s.sure {
		input = jsontext.Value("{}") // inside a tag a name is enough for a tool that needs no more
	}
	switch {
	case list && t == nil && input == nil:
		return yes
	case list || t == nil || input == nil:
		return no
	case !s.add(t, input):
		return no
	}
	return yes
}

// couldBe reports whether a value that is not whole yet can be one of its role.
func (s *scan) couldBe(r role, at int) bool {
	return s.begins(at, ": \t\r\n", func(begin string) bool {
		if begin == "" {
			return true
		}
		switch r {
		case nameRole, functionRole:
			return s.anyTool(func(name string) bool { return strings.HasPrefix(`"`+name+`"`, begin) })
		case typeRole:
			return strings.HasPrefix(`"function_call"`, begin) || strings.HasPrefix(`"tool_use"`, begin) || strings.HasPrefix(`"tool_call"`, begin)
		case inputRole:
			return begin[0] == '{' || begin[0] == '"' || strings.HasPrefix("null", begin)
		case listRole:
			return begin[0] == '['
		}
		return true
	})
}

// begins holds the rest of the text from at on, without the bytes of skip before it, against what may begin there.
func (s *scan) begins(at int, skip string, may func(string) bool) bool {
	return may(string(bytes.TrimLeft(s.b[at:], skip)))
}

// arguments are the arguments of a call as an object: as it is, or as a text that holds it. nil: they are neither.
func arguments(v jsontext.Value) jsontext.Value {
	switch v.Kind() {
	case '{':
		return bytes.Clone(v)
	case '"':
		text, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return nil
		}
		inner := jsontext.Value(bytes.TrimSpace(text))
		if inner.Kind() == '{' && inner.IsValid() {
			return inner
		}
	}
	return nil
}

// add takes a call whose arguments fit.
func (s *scan) add(t *tool, input jsontext.Value) bool {
	if !t.fits(input) {
		return false
	}
	s.calls = append(s.calls, Call{Name: t.name, Input: input})
	return true
}
