package wire

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"net/http"

	"github.com/tidwall/gjson"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/sse"
)

// The labels of failures inside a 200.
const (
	ErrorIn200 = "error_in_200"
	BadBody    = "bad_body"
	Protocol   = "protocol"
	Midstream  = "midstream_error"
)

// EventReader reads one answer of a dialect that streams server-sent events: the framing, a document where a stream was asked for
// and a stream where none was, and what breaks in every such dialect. What the words mean is the dialect's own.
type EventReader struct {
	Engine   *Engine
	Provider string // the provider's name, for errors
	// Document feeds the engine from a whole reply and finishes it. body is JSON of proven grammar, v a view of it.
	Document func(v gjson.Result, body []byte) error
	// Event feeds the engine from one event; the same holds for its data.
	Event func(name string, v gjson.Result, data []byte) error
	// Last is told that the data has ended, where the dialect has to know; may be nil.
	Last func() error

	up     io.Reader
	frames *sse.Reader
	ended  bool
}

// Stream reads a streamed reply as it comes. It does not close up; an error ends the sequence.
func (r *EventReader) Stream(up io.Reader) iter.Seq2[messages.Event, error] {
	r.up = up
	events := r.Engine.Stream(up, r.next)
	return func(yield func(messages.Event, error) bool) {
		for ev, err := range events {
			if err != nil {
				err = r.named(err)
			}
			if !yield(ev, err) {
				return
			}
		}
	}
}

// Whole reads a whole reply. The errors are *fault.Error.
func (r *EventReader) Whole(body []byte) (*messages.Response, error) {
	body = Trim(body)
	if IsStream(body) {
		return Collect(r.Stream(bytes.NewReader(body)))
	}
	if err := r.document(body); err != nil {
		return nil, err
	}
	answer, err := r.Engine.Response()
	if err != nil {
		return nil, r.named(err)
	}
	return answer, nil
}

// Broken is an answer that breaks the dialect's rules.
func (r *EventReader) Broken(outcome, message string) *fault.Error {
	return &fault.Error{Kind: fault.Upstream, Provider: r.Provider, Message: message, Outcome: outcome}
}

// Inside is an error document that came with a 200: in a whole reply, or in an event of a stream.
func (r *EventReader) Inside(doc []byte, outcome string) *fault.Error {
	e := ReadError(r.Provider, http.StatusOK, nil, doc)
	e.Outcome = outcome
	return e
}

// named puts the provider's name on an error of the engine or the reader.
func (r *EventReader) named(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Provider == "" {
		f.Provider = r.Provider
	}
	return err
}

// next reads one frame and feeds the engine.
func (r *EventReader) next() error {
	err := r.read()
	if err == io.EOF && r.Last != nil {
		if last := r.Last(); last != nil {
			return last
		}
	}
	return err
}

func (r *EventReader) read() error {
	if r.ended {
		return io.EOF
	}
	if r.frames == nil {
		frames, document, err := Open(r.up)
		switch {
		case err != nil:
			return err
		case document != nil:
			r.ended = true
			return r.document(document)
		}
		r.frames = frames
	}
	f, err := r.frames.Next()
	if err != nil {
		if errors.Is(err, sse.ErrTooLong) {
			return r.Broken(Protocol, "the upstream sent an event longer than the limit")
		}
		return err
	}
	if f.Lull() {
		return ErrLull
	}
	data := bytes.TrimSpace(f.Data)
	switch {
	case len(data) == 0:
		return nil
	case string(data) == "[DONE]":
		r.ended = true
		return io.EOF
	}
	data, err = messages.Mended(data)
	switch {
	case err == nil:
		return r.Event(f.Event, messages.View(data), data)
	case f.Event == "error":
		return r.Inside(data, r.Failure())
	case r.Engine.Finished():
		return nil // talk after the end is not listened to
	}
	return r.Broken(Protocol, "the upstream sent an event that is not JSON")
}

// End says that the event was the last: what stands behind it is not read.
func (r *EventReader) End() { r.ended = true }

func (r *EventReader) document(body []byte) error {
	if len(body) == 0 {
		return r.Broken(BadBody, "the upstream answered 200 with an empty body")
	}
	body, err := messages.Mended(body)
	if err != nil {
		return r.Broken(BadBody, "the upstream answered 200 with a body that is not JSON")
	}
	return r.Document(messages.View(body), body)
}

// Failure is the label of a failure that the upstream tells of now.
func (r *EventReader) Failure() string {
	if r.Engine.Started() {
		return Midstream
	}
	return ErrorIn200
}

// IsError reports whether an error member says that something went wrong: many servers always send one, null or empty.
func IsError(v gjson.Result) bool {
	switch v.Type {
	case gjson.String:
		return v.Str != ""
	case gjson.True:
		return true
	case gjson.JSON:
		found := false
		v.ForEach(func(_, _ gjson.Result) bool {
			found = true
			return false
		})
		return found
	}
	return false
}
