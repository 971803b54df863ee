package openaichat

import (
	"net/http"

	"signalbox/internal/fault"
	"signalbox/internal/wire"
)

// DecodeError reads an error answer of any shape.
func (j *Job) DecodeError(status int, h http.Header, body []byte) *fault.Error {
	return wire.ReadError(j.quirks.Provider, status, h, body)
}

// errorFinish is what a failure without a word of its own is called.
const errorFinish = "the upstream failed while it was answering, and did not say why"

// errorNative reports whether a native finish reason tells of a failure, which OpenRouter gives a harmless finish reason.
func errorNative(native string) bool {
	switch native {
	case "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "malformed_function_call", "network_error", "error", "OTHER":
		return true
	}
	return false
}
