package responses

import (
	"net/http"

	"github.com/tidwall/gjson"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// DecodeError reads an error answer of any shape.
func (j *Job) DecodeError(status int, h http.Header, body []byte) *fault.Error {
	return wire.ReadError(j.quirks.Provider, status, h, body)
}

// inside is an error document that came with a 200: in a whole reply, or in an event of a stream.
func (j *Job) inside(doc []byte, outcome string) *fault.Error {
	e := wire.ReadError(j.quirks.Provider, http.StatusOK, nil, doc)
	e.Outcome = outcome
	return e
}

func (j *Job) broken(outcome, message string) *fault.Error {
	return &fault.Error{Kind: fault.Upstream, Provider: j.quirks.Provider, Message: message, Outcome: outcome}
}

// The labels of failures inside a 200.
const (
	errorIn200 = "error_in_200"
	badBody    = "bad_body"
	protocol   = "protocol"
	midstream  = "midstream_error"
)

// isError reports whether an error member says that something went wrong: it is always there, and mostly null.
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
