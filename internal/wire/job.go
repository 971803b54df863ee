package wire

import (
	"errors"
	"io"
	"iter"
	"net/http"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
)

// Job is one translated request and the way to read its answer. Every dialect's Encode returns one. A Job serves one attempt
// and is used by one goroutine.
type Job interface {
	// Body is the translated request.
	Body() []byte
	// Notes says what could not be carried.
	Notes() Notes
	// Decode reads a whole reply; the errors are *fault.Error.
	Decode(body []byte) (*messages.Response, error)
	// DecodeStream reads a streamed reply as it comes. It does not close up. An error ends the sequence.
	DecodeStream(up io.Reader) iter.Seq2[messages.Event, error]
	// DecodeError reads an error answer of any shape.
	DecodeError(status int, h http.Header, body []byte) *fault.Error
	// Usage is what the upstream reported; final once the answer has ended.
	Usage() messages.Usage
}

// ErrLull is what a dialect's reader hands to Engine.Stream when nothing more is in memory and the next read will wait.
var ErrLull = errors.New("wire: nothing more in memory")

// Lingerer is a body that wants to know when the answer's finish has been read, so that it can end by itself if the upstream
// keeps the connection open without saying more; and that it was no finish, since the upstream says more.
type Lingerer interface {
	Linger()
	Resume()
}

// Listener is a body that wants to know that the upstream has said something of which no event came yet, because it is held back
// until it is known what it is: that is no silence.
type Listener interface{ Heard() }
