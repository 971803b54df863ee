package wire

import "signalbox/internal/messages"

// proof follows a call's arguments as they come, piece by piece, and knows at any time whether they are one JSON object so
// far complete, or broken. It keeps a position in the grammar and not the text, so a tool input of any size costs nothing to
// watch. Pieces may be cut anywhere, even inside an escape.
type proof struct {
	state  state
	depth  int
	object [2]uint64 // which of the open containers are objects, a bit for each
	key    bool      // the string is a member's name
	hex    int       // hex digits that an escape still needs
	word   string    // what is left of true, false or null
}

// state is a place in the grammar: what may come next.
type state uint8

const (
	nothing    state = iota // no arguments at all yet
	nameOrEnd               // behind {
	name                    // behind a comma in an object
	colon                   // behind a name
	value                   // behind a colon, or a comma in an array
	valueOrEnd              // behind [
	afterValue              // a comma or a closing bracket
	inString
	inEscape
	inHex
	inWord
	minus // the parts of a number
	zero
	digits
	point
	fraction
	exponent
	exponentSign
	exponentDigits
	complete
	broken
)

func (p *proof) complete() bool { return p.state == complete }

// fine reports whether the arguments may end here: as an object, or as nothing at all, which means {}.
func (p *proof) fine() bool { return p.state == complete || p.state == nothing }

func (p *proof) feed(text []byte) {
	for i := 0; i < len(text) && p.state != broken; i++ {
		c := text[i]
		switch p.state {
		case inString:
			for c >= 0x20 && c != '"' && c != '\\' && i+1 < len(text) {
				i++
				c = text[i]
			}
			p.string(c)
		case inEscape:
			p.escape(c)
		case inHex:
			switch {
			case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'f':
				if p.hex--; p.hex == 0 {
					p.state = inString
				}
			default:
				p.state = broken
			}
		case inWord:
			if c != p.word[0] {
				p.state = broken
			} else if p.word = p.word[1:]; p.word == "" {
				p.state = afterValue
			}
		case minus, zero, digits, point, fraction, exponent, exponentSign, exponentDigits:
			p.number(c)
		default:
			if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
				p.structure(c)
			}
		}
	}
}

func (p *proof) structure(c byte) {
	switch {
	case p.state == nothing && c == '{', (p.state == value || p.state == valueOrEnd) && (c == '{' || c == '['):
		p.open(c)
	case p.state == nameOrEnd && c == '}', p.state == valueOrEnd && c == ']':
		p.close()
	case p.state == afterValue && c == ',' && p.inObject():
		p.state = name
	case p.state == afterValue && c == ',':
		p.state = value
	case p.state == afterValue && (c == '}' && p.inObject() || c == ']' && !p.inObject()):
		p.close()
	case (p.state == nameOrEnd || p.state == name) && c == '"':
		p.state, p.key = inString, true
	case p.state == colon && c == ':':
		p.state = value
	case p.state == value, p.state == valueOrEnd:
		p.begin(c)
	default:
		p.state = broken
	}
}

// begin begins a value that is no container.
func (p *proof) begin(c byte) {
	switch {
	case c == '"':
		p.state, p.key = inString, false
	case c == 't':
		p.state, p.word = inWord, "rue"
	case c == 'f':
		p.state, p.word = inWord, "alse"
	case c == 'n':
		p.state, p.word = inWord, "ull"
	case c == '-':
		p.state = minus
	case c == '0':
		p.state = zero
	case c >= '1' && c <= '9':
		p.state = digits
	default:
		p.state = broken
	}
}

func (p *proof) string(c byte) {
	switch {
	case c == '"' && p.key:
		p.state = colon
	case c == '"':
		p.state = afterValue
	case c == '\\':
		p.state = inEscape
	case c < 0x20:
		p.state = broken
	}
}

func (p *proof) escape(c byte) {
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		p.state = inString
	case 'u':
		p.state, p.hex = inHex, 4
	default:
		p.state = broken
	}
}

func (p *proof) number(c byte) {
	digit := c >= '0' && c <= '9'
	switch s := p.state; {
	case s == minus && c == '0':
		p.state = zero
	case s == minus && digit, s == digits && digit:
		p.state = digits
	case (s == zero || s == digits) && c == '.':
		p.state = point
	case (s == point || s == fraction) && digit:
		p.state = fraction
	case (s == zero || s == digits || s == fraction) && c|0x20 == 'e':
		p.state = exponent
	case s == exponent && (c == '+' || c == '-'):
		p.state = exponentSign
	case (s == exponent || s == exponentSign || s == exponentDigits) && digit:
		p.state = exponentDigits
	case s == zero, s == digits, s == fraction, s == exponentDigits:
		p.state = afterValue // the number has ended, and c comes behind it
		if c != ' ' && c != '\n' && c != '\t' && c != '\r' {
			p.structure(c)
		}
	default:
		p.state = broken
	}
}

func (p *proof) open(c byte) {
	if p.depth == messages.MaxDepth {
		p.state = broken
		return
	}
	bit := uint64(1) << (p.depth & 63)
	if c == '{' {
		p.object[p.depth>>6] |= bit
		p.state = nameOrEnd
	} else {
		p.object[p.depth>>6] &^= bit
		p.state = valueOrEnd
	}
	p.depth++
}

func (p *proof) close() {
	if p.depth--; p.depth == 0 {
		p.state = complete
	} else {
		p.state = afterValue
	}
}

func (p *proof) inObject() bool {
	d := p.depth - 1
	return p.object[d>>6]>>(d&63)&1 == 1
}
