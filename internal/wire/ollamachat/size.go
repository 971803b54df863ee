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
// two words, and none is longer than longestToken. Only plain text is counted, since a model's template may leave out tools,
// calls and thinking. With last only the last message is counted: the one part that every template gives to the model.
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

// longestToken is well above the longest run of one kind that vocabularies hold as one token, in bytes.
const longestToken = 128

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
	word := 0
	for i := 0; i < len(in); i++ {
		switch c := in[i]; {
		case c == ' ':
			f.word(&word)
		case c == '\\':
			i++
			switch in[i] {
			case 'n', 't', 'r':
				f.word(&word)
			case 'u':
				i += 4 // it may be a letter or a space: counted as neither
			default:
				word++
			}
		default:
			word++
		}
	}
	f.word(&word)
}

// word counts the run of letters that has just ended.
func (f *floor) word(n *int) {
	f.tokens += int64((*n + longestToken - 1) / longestToken)
	*n = 0
}
