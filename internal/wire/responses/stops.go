package responses

import (
	"strings"

	"signalbox/internal/messages"
)

// stopper looks for stop sequences in a text that comes in pieces. The Responses API has no such field, and a model that runs on
// behind a sequence would say what the caller never wanted to read. Only what may yet become a sequence is held back, so at
// most the longest one less a byte.
type stopper struct {
	stops []string
	held  string // the end of the text so far, where it could be the beginning of a sequence
}

// feed takes a piece and gives what may be said of the text by now. match is the sequence that was found: the text ends before
// it, whatever comes.
func (s *stopper) feed(l messages.Literal) (say messages.Literal, match string) {
	text := l.Value()
	if s.held != "" {
		text = s.held + text
	}
	end := len(text) + 1 // of the sequence that is complete first; of several, the longest
	for _, stop := range s.stops {
		if i := strings.Index(text, stop); i >= 0 && (i+len(stop) < end || i+len(stop) == end && len(stop) > len(match)) {
			end, match = i+len(stop), stop
		}
	}
	if match != "" {
		s.held = ""
		return messages.Quote(text[:end-len(match)]), match
	}
	keep := s.prefix(text)
	if keep == 0 && s.held == "" {
		return l, ""
	}
	s.held = strings.Clone(text[len(text)-keep:])
	return messages.Quote(text[:len(text)-keep]), ""
}

// prefix is how long the end of the text is that begins a sequence, at most.
func (s *stopper) prefix(text string) int {
	best := 0
	for _, stop := range s.stops {
		for n := min(len(stop)-1, len(text)); n > best; n-- {
			if strings.HasSuffix(text, stop[:n]) {
				best = n
				break
			}
		}
	}
	return best
}

// flush gives what was held back: the text is over and no sequence came of it.
func (s *stopper) flush() messages.Literal {
	if s.held == "" {
		return nil
	}
	l := messages.Quote(s.held)
	s.held = ""
	return l
}
