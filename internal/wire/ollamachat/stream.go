package ollamachat

import (
	"bytes"
	"errors"
	"io"
	"iter"

	"signalbox/internal/messages"
	"signalbox/internal/sse"
	"signalbox/internal/wire"
)

// maxDocument is the largest whole reply that is read where lines were asked for, in bytes.
const maxDocument = 16 << 20

// DecodeStream reads newline-delimited JSON as it comes. A server that answers with one JSON document, on one line or on
// many, is understood as well. It does not close up; an error ends the sequence.
func (j *Job) DecodeStream(up io.Reader) iter.Seq2[messages.Event, error] {
	j.begin()
	s := &lines{job: j, in: sse.NewLines(up, 0, false)}
	return j.engine.Stream(up, s.next)
}

// lines reads one line after the other and feeds the engine.
type lines struct {
	job   *Job
	in    *sse.Lines
	owe   bool // something was read since the last lull
	begun bool // the first line was read
	ended error
}

// next reads one line; before it would have to wait for the network it says so once.
func (s *lines) next() error {
	if s.ended != nil {
		return s.ended
	}
	if s.owe && !s.in.Ready() {
		s.owe = false
		return wire.ErrLull
	}
	line, err := s.in.Next()
	if err != nil && err != io.EOF {
		if errors.Is(err, sse.ErrTooLong) {
			err = broken("protocol", "the upstream sent a line longer than 8 MiB")
		}
		return err
	}
	s.ended = err
	s.owe = true
	if !s.begun {
		line, s.begun = wire.Trim(line), true // a proxy may have put a byte order mark in front
	}
	// What stands behind the end is not read any more; the bytes are only passed over, so that the connection can be used again.
	if line = bytes.TrimSpace(line); len(line) > 0 && !s.job.engine.Finished() {
		if err := s.line(line); err != nil {
			return err
		}
	}
	return s.ended
}

func (s *lines) line(line []byte) error {
	line, err := messages.Mended(line)
	if err != nil {
		if !begins(line) {
			return broken("protocol", "the upstream sent a line that is no JSON")
		}
		if line, err = s.document(line); err != nil {
			return err
		}
	}
	return s.job.object(line)
}

// begins reports whether a line can be the first of a JSON document that goes on in the next: printed in that form it ends
// behind an opening bracket or a comma.
func begins(line []byte) bool {
	if line[0] != '{' {
		return false
	}
	switch line[len(line)-1] {
	case '{', '[', ',':
		return true
	}
	return false
}

// document reads the rest of a document whose first line was read.
func (s *lines) document(first []byte) ([]byte, error) {
	whole := bytes.Clone(first)
	for s.ended == nil {
		line, err := s.in.Next()
		if err != nil && err != io.EOF {
			return nil, err
		}
		s.ended = err
		whole = append(append(whole, '\n'), line...)
		if len(whole) > maxDocument {
			return nil, broken("too_large_answer", "the upstream's answer is larger than 16 MiB")
		}
	}
	if messages.Valid(whole) != nil {
		return nil, broken("protocol", "the upstream's answer is no JSON")
	}
	return whole, nil
}
