package responses

import (
	"net/http"

	"signalbox/internal/fault"
	"signalbox/internal/wire"
)

// DecodeError reads an error answer of any shape.
func (j *Job) DecodeError(status int, h http.Header, body []byte) *fault.Error {
	return wire.ReadError(j.quirks.Provider, status, h, body)
}
