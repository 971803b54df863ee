package textcall

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Reader reads the text of one answer, piece by piece. It is used by one goroutine.
//
// A form with a tag is a call at the beginning of a line, whatever follows it, unless the line before leads up to it without saying
// that something is about to be done. There, in the middle of a line, and for JSON in a fence or bare at the beginning of a line,
// it is one only when nothing else but further calls stands behind it: prose goes on after an example, an agent's model does not. Inside a code block, inside inline code, behind a line that announces an
// example, and for JSON behind a long text, nothing is a call.
type Reader struct {
	tools map[string]*tool
	o     Options

	held  []byte // what is not given yet; while a candidate is open it begins with it
	at    int    // behind the calls that were found in held
	calls []Call // found in held[:at]
	sure  bool   // all of them are calls whatever follows
	open  bool   // held begins with a candidate
	tried int    // length of held when it was last looked at
	off   bool

	lead  []byte // white space at the very beginning
	parts []Part
	prose prose
	fed   int
	work  int
}

// New makes a reader for an answer to a request with these tools.
func New(tools []Tool, o Options) *Reader {
	r := &Reader{tools: make(map[string]*tool, len(tools)), o: o}
	for _, t := range tools {
		r.tools[t.Name] = &tool{name: t.Name, schema: t.Schema, forced: o.Forced}
	}
	r.off, r.prose.head = len(tools) == 0, true
	return r
}

// Feed takes a piece of text and gives what is decided. The parts are valid until the next call.
func (r *Reader) Feed(text []byte) []Part {
	r.parts = r.parts[:0]
	if r.off {
		return append(r.parts, Part{Text: text})
	}
	r.fed += len(text)
	if len(r.held) == 0 && r.prose.said { // nearly always: prose that is given as it came
		i := r.prose.advance(text, r.o.TaggedOnly)
		if i > 0 {
			r.parts = append(r.parts, Part{Text: text[:i:i]})
		}
		if text = text[i:]; len(text) == 0 {
			return r.parts
		}
	}
	r.held = append(r.held, text...)
	if r.o.Only != "" && r.only(false, false) {
		return r.parts
	}
	r.run(false)
	return r.parts
}

// only decides about an answer that should be the arguments of one tool. It reports false when it is an answer like any other.
func (r *Reader) only(end, cut bool) bool {
	at := space(r.held)
	if at == len(r.held) && !end {
		return true
	}
	if at < len(r.held) && r.held[at] == '{' && len(r.held) <= maxHeld {
		if !end {
			return true
		}
		input := jsontext.Value(bytes.TrimSpace(r.held))
		if t := r.tools[r.o.Only]; t != nil && (cut && !input.IsValid() || input.IsValid() && !t.wraps(input) && t.fits(input)) {
			r.parts = append(r.parts, Part{Call: &Call{Name: t.name, Input: bytes.Clone(input)}})
			r.held = r.held[:0]
			return true
		}
	}
	r.o.Only = ""
	return false
}

// End says that the answer is whole: what only waited for its end is decided. With cut it was broken off by a limit or a
// fault, and what is not a whole call is text.
func (r *Reader) End(cut bool) []Part {
	r.parts = r.parts[:0]
	if r.off {
		return nil
	}
	if r.o.Only != "" {
		r.only(true, cut)
	}
	if cut {
		if r.open && r.sure && len(r.calls) > 0 {
			r.emit()
		}
		r.release()
	} else {
		r.run(true)
	}
	r.off = true
	return r.parts
}

// Pause gives back what is held as text: something that is no text comes between.
func (r *Reader) Pause() []Part {
	r.parts = r.parts[:0]
	if !r.off && (len(r.held) > 0) {
		r.release()
	}
	return r.parts
}

// Pass takes text that the caller gives itself: nothing in it is looked at.
func (r *Reader) Pass(text []byte) {
	for _, c := range text {
		r.prose.byte(c)
	}
}

// Stop gives back what is held as text and looks no further: the model calls properly, or the text is no text.
func (r *Reader) Stop() []Part {
	r.Pause()
	if !r.off {
		r.giveLead()
		r.off = true
	}
	return r.parts
}

// run decides what can be decided about held; with end, everything.
func (r *Reader) run(end bool) {
	for len(r.held) > 0 {
		if !r.open {
			i := r.prose.advance(r.held, r.o.TaggedOnly)
			r.give(r.held[:i])
			r.held = append(r.held[:0], r.held[i:]...)
			if len(r.held) == 0 {
				break
			}
			r.open, r.at, r.tried, r.sure, r.calls = true, 0, 0, true, nil
		}
		switch {
		case r.work > maxWork*r.fed+freeWork || len(r.held) > maxHeld:
			r.release()
			r.off = true
			return
		case !end && len(r.held) > eager && len(r.held) < r.tried+r.tried/16:
			return
		}
		r.tried = len(r.held)
		if !r.candidate(end) {
			return
		}
	}
	if end && r.open {
		r.emit()
	}
	if end {
		r.giveLead()
	}
}

// candidate looks at what is held. It reports false when more has to come.
func (r *Reader) candidate(end bool) bool {
	for {
		wait := false
		if len(r.calls) > 0 {
			r.at, wait = behind(r.held, r.at, end)
		}
		if wait {
			return false
		}
		if r.at == len(r.held) {
			if end {
				r.emit()
			}
			return false
		}
		s := scan{tools: r.tools, b: r.held, end: end, bare: !r.o.TaggedOnly && r.prose.bare()}
		n, v := s.candidate(r.at)
		r.work += s.seen - r.at
		if v != no && !r.prose.head && r.prose.stance() == shows {
			v = no
		}
		switch v {
		case more:
			return false
		case yes:
			r.calls = append(r.calls, s.calls...)
			r.sure = r.sure && s.sure && r.prose.head && r.prose.goesOn()
			r.at = n
			continue
		}
		switch {
		case len(r.calls) == 0: // it never was one: its first byte is prose, and the next may begin another
			r.say(r.held[:1])
			r.held = append(r.held[:0], r.held[1:]...)
			r.open = false
		case r.sure:
			r.emit()
		default: // prose behind it: it was an example, and so is what may follow
			r.prose.blocks++
			r.say(r.held[:r.at])
			r.held = append(r.held[:0], r.held[r.at:]...)
			r.open, r.calls = false, nil
		}
		return true
	}
}

// strays are marks that stand behind a call and say nothing: the end of a tag whose beginning was forgotten, and the ends of a
// turn that a server left in.
var strays = []string{"</tool_call>", "</function_calls>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "</s>"}

// behind is the place behind white space and strays; wait says that one may just be coming.
func behind(b []byte, at int, end bool) (n int, wait bool) {
	for {
		at += space(b[at:])
		next := at
		if at < len(b) && b[at] == ';' { // Llama puts it between two calls
			after := at + 1 + space(b[at+1:])
			if after == len(b) && !end {
				return at, true
			}
			if after < len(b) && b[after] == '{' {
				return after, false
			}
		}
		for _, s := range strays {
			switch rest := b[at:]; {
			case bytes.HasPrefix(rest, []byte(s)):
				next = at + len(s)
			case !end && len(rest) > 0 && strings.HasPrefix(s, string(rest[:min(len(rest), len(s))])):
				wait = true
			}
		}
		if next == at {
			return at, wait
		}
		at, wait = next, false
	}
}

// emit gives the calls that were found.
func (r *Reader) emit() {
	for i := range r.calls {
		r.parts = append(r.parts, Part{Call: &r.calls[i]})
	}
	if len(r.calls) > 0 {
		r.lead = nil
	}
	r.held = append(r.held[:0], r.held[r.at:]...)
	r.prose.called()
	r.open, r.at, r.calls = false, 0, nil
}

// release gives everything that is held as text.
func (r *Reader) release() {
	r.say(r.held)
	r.giveLead()
	r.held, r.open, r.at, r.calls = r.held[:0], false, 0, nil
}

// say takes text as prose and gives it.
func (r *Reader) say(b []byte) {
	for _, c := range b {
		r.prose.byte(c)
	}
	r.give(b)
}

// give gives prose. White space at the very beginning waits until it is known to stand before text.
func (r *Reader) give(b []byte) {
	if len(b) == 0 {
		return
	}
	if !r.prose.said {
		r.lead = append(r.lead, b...)
		return
	}
	r.giveLead()
	r.text(b)
}

func (r *Reader) giveLead() {
	if len(r.lead) > 0 {
		r.text(r.lead)
		r.lead = nil
	}
}

func (r *Reader) text(b []byte) {
	if n := len(r.parts); n > 0 && r.parts[n-1].Call == nil {
		r.parts[n-1].Text = append(r.parts[n-1].Text, b...)
		return
	}
	r.parts = append(r.parts, Part{Text: bytes.Clone(b)})
}

// prose is where the text that was given stands.
type prose struct {
	head   bool // nothing but a small indent stands in this line
	indent int
	said   bool // something other than white space was given
	length int  // bytes that were given
	ticks  bool // inside inline code

	mark   byte // the character of a fence at the head of this line, 0: none
	marks  int
	info   bool // something stands behind the fence in this line
	hidden bool // inside <think>, with which the answer began
	fence  byte // inside a code block that this character closes, 0: outside
	fenced int
	blocks int // code blocks and examples that were given

	line  []byte // this line, its newest part
	shown bool   // this line is an example
	last  []byte // the newest line that says something
}

const (
	maxIndent = 3 // in Markdown a deeper one makes a code block
	maxLine   = 240
)

// advance takes prose up to the first byte in b that may begin a call and gives its place; len(b) when there is none.
func (p *prose) advance(b []byte, tagged bool) int {
	for i, c := range b {
		if p.may(c, tagged) {
			return i
		}
		p.byte(c)
	}
	return len(b)
}

// may reports whether a call may begin with c here.
func (p *prose) may(c byte, tagged bool) bool {
	switch c {
	case '<', '[', '{', '`', '~':
	default:
		return false
	}
	if p.hidden || p.fence != 0 || p.ticks || p.marks > 0 || p.head && p.said && p.indent > maxIndent {
		return false
	}
	if c != '<' && c != '[' && (tagged || !p.bare()) {
		return false
	}
	if !p.head || p.stance() != shows {
		return true // in the middle of a line the tag is read first: most of these bytes begin none
	}
	p.shown = true // what the line before announced; no JSON behind it is a call either
	p.blocks++
	return false
}

// bare reports whether JSON without a tag may be a call here.
func (p *prose) bare() bool {
	return p.head && p.blocks == 0 && p.length <= preface && p.leads()
}

func (p *prose) byte(c byte) {
	p.length++
	if c == '\n' {
		p.newline()
		return
	}
	blank := c == ' ' || c == '\t' || c == '\r'
	p.said = p.said || !blank
	switch {
	case p.head && blank:
		p.indent++
		if c == '\t' {
			p.indent += maxIndent
		}
	case (c == '`' || c == '~') && (p.head && p.indent <= maxIndent || p.mark == c && !p.info):
		p.mark, p.marks, p.head = c, p.marks+1, false
	default:
		p.info = p.info || p.marks > 0 && !blank
		p.head = false
	}
	if c == '`' {
		p.ticks = !p.ticks
	}
	if len(p.line) == 2*maxLine {
		p.line = append(p.line[:0], p.line[maxLine:]...)
	}
	p.line = append(p.line, c)
	if c == '>' {
		p.thought()
	}
}

// thought follows reasoning that a server left in the text. A model weighs calls there; it does not make them. The beginning of
// it may be missing: some templates put that into the prompt.
func (p *prose) thought() {
	switch line := bytes.TrimSpace(p.line); {
	case p.hidden:
		if bytes.HasSuffix(line, []byte("</think>")) || bytes.HasSuffix(line, []byte("</thinking>")) {
			p.anew()
		}
	case p.fence == 0 && (string(line) == "</think>" || string(line) == "</thinking>"):
		p.anew()
	case len(p.last) == 0 && (string(line) == "<think>" || string(line) == "<thinking>"):
		p.hidden = true
	}
}

// anew begins the answer behind the reasoning.
func (p *prose) anew() {
	p.called()
	p.hidden, p.fence, p.length, p.blocks = false, 0, 0, 0
}

func (p *prose) newline() {
	switch {
	case p.fence == 0 && p.marks >= 3:
		p.fence, p.fenced = p.mark, p.marks
	case p.fence != 0 && p.mark == p.fence && p.marks >= p.fenced && !p.info:
		p.fence = 0
		p.blocks++
	}
	if len(bytes.TrimSpace(p.line)) > 0 && !p.shown { // what announced the example may announce another
		p.line, p.last = p.last[:0], p.line
	}
	p.line, p.shown = p.line[:0], false
	p.head, p.indent, p.ticks, p.mark, p.marks, p.info = true, 0, false, 0, 0, false
}

// called says that a call was given where the text stands: what comes next begins a line of its own.
func (p *prose) called() {
	p.newline()
	p.last = p.last[:0]
}
