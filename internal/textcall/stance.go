package textcall

import (
	"bytes"
	"strings"
)

// stance is what the line in front of a candidate says it is. A model that calls says what it is about to do, or nothing; one that
// explains announces an example.
type stance uint8

const (
	acts  stance = iota // a call is what comes next
	tells               // it may be one
	shows               // it is none
)

// stance reads the last line that says something. Where its last sentence says what the speaker is about to do, what that
// is done to (a JSON file, a template) announces nothing.
func (p *prose) stance() stance {
	line := bytes.TrimSpace(p.line)
	if len(line) == 0 {
		line = bytes.TrimSpace(p.last)
	}
	switch {
	case len(line) == 0:
		return acts
	case bytes.HasPrefix(line, []byte("//")), bytes.HasPrefix(line, []byte("/*")):
		return shows // the comment of a piece of code
	}
	text := strings.ReplaceAll(strings.ToLower(string(line)), "’", "'")
	switch said := lastSentence(text); {
	case says(said, intents) && !says(said, noIntents):
		if says(said, showings) {
			return shows
		}
		return acts
	case says(said, doings) && !says(text, examples):
		return acts
	}
	if says(text, examples) || says(text, subjects) && (!closed(text) || says(text, pointers)) {
		return shows
	}
	return tells
}

// leads reports whether JSON without a tag may be a call behind the line: one that ends in a colon, or nowhere, has to speak of tools,
// or of what is being done.
func (p *prose) leads() bool {
	switch p.stance() {
	case acts:
		return true
	case shows:
		return false
	}
	text := strings.ToLower(string(bytes.TrimSpace(p.last)))
	return closed(text) || says(text, cues) || says(text, doings)
}

// closed reports whether a line leads up to nothing: a whole sentence, or a step of a plan.
func closed(text string) bool {
	for _, end := range [...]string{".", "!", "?", "…", "。", "！"} {
		if strings.HasSuffix(text, end) {
			return true
		}
	}
	item := strings.TrimLeft(text, "0123456789")
	return !strings.HasSuffix(text, ":") &&
		(len(item) < len(text) && (strings.HasPrefix(item, ". ") || strings.HasPrefix(item, ") ")) || strings.HasPrefix(text, "- ") || strings.HasPrefix(text, "* ") || strings.HasPrefix(text, "• "))
}

// goesOn reports whether a tag makes a call even when prose stands behind it. Prose that leads up to one, or is about tags, may
// go on explaining.
func (p *prose) goesOn() bool {
	if p.stance() != tells {
		return true // what shows an example is looked at before
	}
	line := bytes.TrimSpace(p.last)
	text := strings.ToLower(string(line))
	return (text == "" || closed(text)) && !says(text, mechanics)
}

// lastSentence is what stands behind the last full stop. The dots of file names and abbreviations have no blank behind them, or end
// the line.
func lastSentence(s string) string {
	begin := 0
	for _, stop := range [...]string{". ", "! ", "? ", ".** ", ") "} {
		if i := strings.LastIndex(s, stop); i >= 0 {
			begin = max(begin, i+len(stop))
		}
	}
	return s[begin:]
}

// says reports whether one of the words stands in a text, in lower case. One that begins with a letter begins a word: the "json" of
// package.json is part of a name.
func says(text string, words []string) bool {
	for _, w := range words {
		for from := 0; ; {
			i := strings.Index(text[from:], w)
			if i < 0 {
				break
			}
			at := from + i
			if at == 0 || !within(text[at-1]) || !within(w[0]) || w[0] >= 0x80 {
				return true
			}
			from = at + 1
		}
	}
	return false
}

func within(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 0x80 || c == '_' || c == '-' || c == '.' || c == '/'
}

// The words, in lower case. Each list is what was seen before calls and before examples, not a grammar.
var (
	// intents begin what the speaker is about to do.
	intents = []string{"let me", "let's", "let us", "i'll", "i will", "i need", "i'm going to", "i am going to", "i should", "i must", "i want to", "i have to",
		"i'd like to", "i would like to", "we'll", "we will", "we need", "we should", "ich werde", "ich lese", "ich muss", "ich schaue", "ich prüfe", "lass mich", "lassen sie mich",
		"je vais", "laissez-moi", "laisse-moi", "voy a", "déjame", "vamos a", "vou ", "я прочита", "я посмотр", "я провер", "мне нужно", "давайте", "让我", "我将", "我来", "我需要", "我先"}
	noIntents = []string{"let me know", "let's say", "let us say", "let's assume", "let's suppose", "let's imagine"}

	// doings say what the speaker is at.
	doings = []string{"reading", "checking", "opening", "looking at", "looking for", "searching", "inspecting", "examining", "running", "fetching", "listing"}

	// showings make an intent one to show something.
	showings = []string{"show", "demonstrat", "illustrat", "explain", "describ", "give you", "provid", "suggest", "propos", "draft", "write down", "write out", "spell out",
		"an example", "for example", "example of", "examples", "example:", "e.g.", "for instance", "like this", "like so", "looks like", "look like", "would look", "would be",
		"would write", "you can", "you could", "you would", "you might", "you asked", "you wanted", "you requested", "one would", "one could", "hypothetical", "suppose", "imagine",
		"pretend", "as json", "in json", "beispiel", "exemple", "ejemplo", "esempio", "exemplo", "пример", "例"}

	// examples announce one.
	examples = []string{"example", "e.g.", "for instance", "looks like", "look like", "would be", "would look", "like this", "like so", "you can", "you could", "you would", "you might",
		"you should", "you must", "you need to", "you have to", "one would", "one could", "would write", "would call", "would use", "let's say", "suppose", "imagine", "hypothetical", "instead of", "illustrat", "shape",
		"was:", "returned:", "returns:", "result:", "response:", "output:", "beispiel", "exemple", "ejemplo", "esempio", "exemplo", "пример", "例"}

	// subjects are what such lines are about, and what they report of it.
	subjects = []string{"json", "format", "syntax", "schema", "sample", "template", "snippet", "body", "payload", "transcript", "log line", "the log ", "the log:", "logged", "file content",
		"contains", "contain:", "contained", "answered", "replied", "responded", "printed", "wrote", "written", "added", "created", "saved", "sent ", "sent:", "received", "stored", "recorded", "produced", "generated", "expected"}

	// cues are what a line says that leads up to a call without a tag.
	cues = []string{"tool", "call", "function", "action", "step", "invok", "execut", "use the", "use `", "using the", "using `",
		"read ", "run ", "list ", "search ", "check ", "open ", "fetch ", "get ", "edit ", "write "}

	// pointers make a whole sentence about them an announcement all the same.
	pointers = []string{"here", "this is", "these are", "following", "follows", "below", "above", "is the", "is json", "are json"}

	// mechanics are what is said of calls by those who do not make one.
	mechanics = []string{"xml", "tag", "tags", "tool calls", "tool_call", "function calls", "calls", "wrap", "parse", "markup", "hermes", "protocol", "transcript", "emit"}
)
