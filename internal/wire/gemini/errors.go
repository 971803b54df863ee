package gemini

import (
	"bytes"
	"net/http"

	"github.com/tidwall/gjson"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// The labels of failures inside a 200.
const (
	errorIn200 = "error_in_200"
	badBody    = "bad_body"
	protocol   = "protocol"
	midstream  = "midstream_error"
	empty      = "empty_answer"
)

// DecodeError reads an error answer of any shape.
func (j *Job) DecodeError(status int, h http.Header, body []byte) *fault.Error {
	return ReadError(j.o.Provider, status, h, body)
}

// ReadError reads an error answer of any shape. Google calls a key that it does not know a bad request, which is no fault of
// the caller's request.
func ReadError(provider string, status int, h http.Header, body []byte) *fault.Error {
	if status == http.StatusBadRequest && bytes.Contains(body, []byte("API_KEY_INVALID")) {
		status = http.StatusUnauthorized
	}
	return wire.ReadError(provider, status, h, body)
}

// inside is an error document that came with a 200: in a whole reply, or in a chunk of a stream.
func (j *Job) inside(doc []byte, outcome string) *fault.Error {
	e := wire.ReadError(j.o.Provider, http.StatusOK, nil, doc)
	e.Outcome = outcome
	return e
}

func (j *Job) broken(outcome, message string) *fault.Error {
	return &fault.Error{Kind: fault.Upstream, Provider: j.o.Provider, Message: message, Outcome: outcome}
}

// isError reports whether a top-level error member says that something went wrong.
func isError(v gjson.Result) bool {
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

// valid proves the grammar of an upstream's JSON before anything reads it.
func valid(b []byte) bool { return messages.Valid(b) == nil }
