package gemini

import (
	"bytes"
	"net/http"
	"strings"

	"signalbox/internal/fault"
	"signalbox/internal/wire"
)

// empty is the label of an answer that holds nothing.
const empty = "empty_answer"

// DecodeError reads an error answer of any shape.
func (j *Job) DecodeError(status int, h http.Header, body []byte) *fault.Error {
	e := ReadError(j.o.Provider, status, h, body)
	if j.unsigned && e.Kind == fault.Invalid && missesState(e.Message) {
		e.Cause = wire.ErrStateMissed
	}
	return e
}

// missesState knows the words for a call without a signature.
func missesState(message string) bool {
	text := strings.ToLower(message)
	return strings.Contains(text, "missing") && (strings.Contains(text, "thought_signature") || strings.Contains(text, "thought signature"))
}

// ReadError reads an error answer of any shape. Google calls a key that it does not know a bad request, which is no fault of
// the caller's request.
func ReadError(provider string, status int, h http.Header, body []byte) *fault.Error {
	if status == http.StatusBadRequest && bytes.Contains(body, []byte("API_KEY_INVALID")) {
		status = http.StatusUnauthorized
	}
	return wire.ReadError(provider, status, h, body)
}
