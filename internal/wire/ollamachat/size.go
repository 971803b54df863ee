package ollamachat

import (
	"bytes"

	"signalbox/internal/messages"
)

// Size is what can be known of a prompt without a tokenizer.
type Size struct {
	Bytes  int64 // text, thinking, tools and arguments, about as many as the prompt will have
	Images int
	Turns  int // messages, the system prompt included
}

// Measure adds up a conversation. It looks at lengths alone.
func Measure(c *messages.Conversation) Size {
	var s Size
	if len(c.System) > 0 {
		s.Turns++
	}
	s.blocks(c.System)
	for i := range c.Messages {
		s.Turns++
		s.Bytes += 16 // role and marks
		s.blocks(c.Messages[i].Content)
	}
	for i := range c.Tools {
		t := &c.Tools[i]
		if !t.Deferred {
			s.Bytes += int64(len(t.Name)+len(t.Description)+len(t.Schema)) + 64
		}
	}
	return s
}

func (s *Size) blocks(blocks []messages.Block) {
	for i := range blocks {
		b := &blocks[i]
		switch {
		case b.Type == "image":
			s.Images++
		case b.Source.Type == "text":
			s.Bytes += int64(len(b.Source.Data))
		default:
			s.Bytes += int64(len(b.Text)+len(b.Thinking)+len(b.Name)) + int64(len(b.Input))
		}
		s.blocks(b.Content)
	}
}

// Floor is how many tokens a conversation's text certainly has, whatever the tokenizer: no token reaches across a gap between
// two words, and data (hashes, base64) and scripts without gaps are taken a few letters at a time. Only plain text is
// counted, since a model's template may leave out tools, calls and thinking. With last only the last message is counted: the one
// part that even a template gives to the model which gives it little.
func Floor(c *messages.Conversation, last bool) int64 {
	f := floor{}
	if last {
		if n := len(c.Messages); n > 0 {
			f.last(c.Messages[n-1].Content)
		}
		return f.tokens
	}
	f.blocks(c.System)
	for i := range c.Messages {
		f.blocks(c.Messages[i].Content)
	}
	return f.tokens
}

type floor struct{ tokens int64 }

func (f *floor) blocks(blocks []messages.Block) {
	for i := range blocks {
		b := &blocks[i]
		switch b.Type {
		case "text":
			f.text(b.Text)
		case "tool_result":
			f.blocks(b.Content)
		}
	}
}

// last counts what goes up as the very last message: what stands beside the results, or else the last result.
func (f *floor) last(blocks []messages.Block) {
	var result *messages.Block
	beside := false
	for i := range blocks {
		if b := &blocks[i]; b.Type == "tool_result" {
			result = b
		} else {
			beside = beside || b.Type == "text"
		}
	}
	if !beside && result != nil {
		f.blocks(result.Content)
		return
	}
	for i := range blocks {
		if blocks[i].Type == "text" {
			f.text(blocks[i].Text)
		}
	}
}

// billing begins a line that is taken out before anything is sent.
var billing = []byte(`"x-anthropic-billing-header:`)

func (f *floor) text(l messages.Literal) {
	if len(l) < 2 || bytes.HasPrefix(l, billing) {
		return
	}
	in := l[1 : len(l)-1]
	var w word
	for i := 0; i < len(in); i++ {
		switch c := in[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9':
			w.run++
		case c == ' ':
			f.end(&w)
		case c == '\\':
			i++
			switch in[i] {
			case 'n', 't', 'r':
				f.end(&w)
			case 'u':
				i += 4 // it may be a letter or a space: counted as neither
			default:
				w.mark()
			}
		case c >= 0x80:
			w.cut()
			w.high++
		default:
			w.mark()
		}
	}
	f.end(&w)
}

// word is what stands between two gaps, in bytes.
type word struct {
	run   int // letters and digits, ASCII, that have just come one behind the other
	data  int // such runs that are too long to be words
	high  int // other scripts
	marks int
}

// How many bytes one token has at most, on the average of a long text.
const (
	longestWord = 64  // more letters and digits in a row are data
	dataToken   = 4   // of which tokenizers take two or three at a time
	highToken   = 16  // five letters of a script with three bytes a letter
	markToken   = 128 // vocabularies hold long rules and indents as one token
)

func (w *word) cut() {
	if w.run > longestWord {
		w.data += w.run
	} else if w.run > 0 {
		w.marks++ // it is in the word, and no more than that
	}
	w.run = 0
}

func (w *word) mark() {
	w.cut()
	w.marks++
}

// end counts the word that has just ended.
func (f *floor) end(w *word) {
	w.cut()
	if *w != (word{}) {
		f.tokens += max(1, int64(w.data/dataToken+w.high/highToken+w.marks/markToken))
	}
	*w = word{}
}
