package messages

import (
	"bytes"
	"strings"

	"github.com/tidwall/gjson"
)

// MarkerWord begins the line by which an agent names itself in its own system prompt (contract, "Agent identity").
const MarkerWord = "OSS-ROUTE-AGENT:"

// BillingWord begins the attribution line of Claude Code, which changes with every request.
const BillingWord = "x-anthropic-billing-header:"

// markerBlocks is how many system blocks may hold a marker: an attribution line, an identity sentence, and the agent's prompt.
// What stands behind them may be anybody's text.
const markerBlocks = 3

// MaxIdentity bounds an agent's name in bytes.
const MaxIdentity = 128

// Identity reports whether a text can be an agent's name: 1 to 128 bytes of visible ASCII.
func Identity(name string) bool {
	for i := 0; i < len(name); i++ {
		if name[i] <= ' ' || name[i] >= 0x7f {
			return false
		}
	}
	return name != "" && len(name) <= MaxIdentity
}

// Marker looks for the marker in a system text: OSS-ROUTE-AGENT: NAME in a line of its own, also as an HTML comment. It is not
// taken from quoted text: not from a fenced or indented block of code, not from an element that holds what others wrote, such as
// <document>, nor from a line that has anything else in it. start and end are the line with its line end; the first one counts.
func Marker(text string) (name string, start, end int, ok bool) {
	fence, element := "", ""
	for at := 0; at < len(text); {
		line, next := text[at:], len(text)
		if i := strings.IndexByte(line, '\n'); i >= 0 {
			line, next = line[:i], at+i+1
		}
		trimmed := strings.Trim(line, " \t\r")
		code := indent(line) >= 4
		switch mark := fenceOf(trimmed); {
		case element != "":
			if strings.Contains(strings.ToLower(line), "</"+element+">") {
				element = ""
			}
		case fence != "":
			// A fence is closed by one of its own kind that is at least as long and has nothing behind it.
			if strings.HasPrefix(mark, fence) && mark == trimmed && !code {
				fence = ""
			}
		case code:
		case mark != "":
			fence = mark
		default:
			if name, ok := markerName(trimmed); ok {
				return name, at, next, true
			}
			element = elementOf(trimmed)
		}
		at = next
	}
	return "", 0, 0, false
}

// indent is how far in a line begins, in columns: four and more are a block of code.
func indent(line string) (columns int) {
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
			columns++
		case '\t':
			columns += 4 - columns%4
		default:
			return columns
		}
	}
	return columns
}

// fenceOf is the run of backticks or tildes that opens or closes a block of code; empty when the line has none. Backticks with
// another one behind them are code within a line.
func fenceOf(line string) string {
	for _, c := range []string{"`", "~"} {
		rest := strings.TrimLeft(line, c)
		if n := len(line) - len(rest); n >= 3 && (c == "~" || !strings.Contains(rest, c)) {
			return line[:n]
		}
	}
	return ""
}

// quoting are the elements that prompts put other people's text into.
var quoting = []string{"document_contents", "document_content", "documents", "document", "examples", "example", "blockquote", "pre", "code"}

// elementOf is the name of the quoting element that a line opens and does not close; empty when it opens none.
func elementOf(line string) string {
	rest, ok := strings.CutPrefix(line, "<")
	if !ok {
		return ""
	}
	rest = strings.ToLower(rest)
	for _, name := range quoting {
		if tail, ok := strings.CutPrefix(rest, name); ok && tail != "" && strings.ContainsRune("> \t", rune(tail[0])) && !strings.Contains(tail, "</"+name+">") {
			return name
		}
	}
	return ""
}

func markerName(line string) (string, bool) {
	if inner, ok := strings.CutPrefix(line, "<!--"); ok {
		if inner, ok = strings.CutSuffix(inner, "-->"); !ok {
			return "", false
		}
		line = strings.TrimSpace(inner)
	}
	name, ok := strings.CutPrefix(line, MarkerWord)
	name = strings.TrimSpace(name)
	return name, ok && Identity(name) && !strings.ContainsAny(name, "<>\"'`")
}

// WithoutMarker is a system block's text without its marker lines, all that are one; block is its place in the system prompt.
func WithoutMarker(l Literal, block int) Literal {
	if block >= markerBlocks || !bytes.Contains(l, []byte(MarkerWord)) {
		return l
	}
	rest, found := l.Value(), false
	for {
		_, start, end, ok := Marker(rest)
		if !ok {
			break
		}
		rest, found = rest[:start]+rest[end:], true
	}
	if !found {
		return l
	}
	if strings.TrimSpace(rest) == "" {
		return nil
	}
	return Quote(rest)
}

// SystemTexts are the texts of the first blocks of the system prompt (a plain string is one), at most four, the attribution line
// left out. A request whose system member is something else has none.
func (r *Request) SystemTexts() []string {
	raw := r.Member("system")
	if len(raw) == 0 {
		return nil
	}
	var out []string
	take := func(text string) {
		if rest, ok := strings.CutPrefix(text, BillingWord); ok {
			_, text, _ = strings.Cut(rest, "\n")
			if text = strings.TrimLeft(text, "\r\n"); text == "" {
				return
			}
		}
		out = append(out, text)
	}
	v := View(raw)
	if v.Type == gjson.String {
		take(v.Str)
		return out
	}
	n := 0
	v.ForEach(func(_, b gjson.Result) bool {
		if t := b.Get("text"); b.Get("type").Str == "text" && t.Type == gjson.String {
			take(t.Str)
		}
		n++
		return n < markerBlocks+1
	})
	return out
}

// Marker is the name by which the agent marks itself in its system prompt; empty when it does not.
func (r *Request) Marker() string {
	raw := r.Member("system")
	if !bytes.Contains(raw, []byte(MarkerWord)) {
		return ""
	}
	v := View(raw)
	if v.Type == gjson.String {
		name, _, _, _ := Marker(v.Str)
		return name
	}
	found, n := "", 0
	v.ForEach(func(_, b gjson.Result) bool {
		if b.Get("type").Str == "text" {
			found, _, _, _ = Marker(b.Get("text").Str)
		}
		n++
		return found == "" && n < markerBlocks
	})
	return found
}

// Traits are what routing rules ask of a request beside its names.
type Traits struct {
	Images   bool // an image anywhere in the messages
	Tools    bool // at least one tool is offered
	Thinking bool // the model is asked to think
}

// Traits looks at a request without decoding it whole.
func (r *Request) Traits() Traits {
	var t Traits
	if v := View(r.Member("tools")); v.IsArray() {
		t.Tools = v.Get("0").Exists()
	}
	if kind := View(r.Member("thinking")).Get("type").Str; kind != "" && kind != "disabled" {
		t.Thinking = true
	}
	msgs := r.Member("messages")
	if bytes.Contains(msgs, []byte(`"image"`)) { // most have none
		t.Images = hasImage(View(msgs), 0)
	}
	return t
}

// hasImage looks at blocks, and at the blocks inside of tool results and documents; never into a tool's input.
func hasImage(list gjson.Result, depth int) bool {
	found := false
	if depth > 4 || !list.IsArray() {
		return false
	}
	list.ForEach(func(_, b gjson.Result) bool {
		found = b.Get("type").Str == "image" || hasImage(b.Get("content"), depth+1) || hasImage(b.Get("source.content"), depth+1)
		return !found
	})
	return found
}
