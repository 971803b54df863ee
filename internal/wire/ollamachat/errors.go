package ollamachat

import (
	"errors"
	"net/http"
	"strings"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// DecodeError reads an error answer of any shape: {"error": "text"}, where the text may itself be a JSON document of the
// engine behind the server, or whatever a proxy in between made of it.
func (j *Job) DecodeError(status int, h http.Header, body []byte) *fault.Error {
	e := wire.ReadError(j.opts.provider(), status, h, body)
	text := strings.ToLower(e.Message)
	switch {
	case e.Kind == fault.NotFound && strings.Contains(text, "model") && strings.Contains(text, "not found"):
		e.Message = "model " + quoted(j.model) + " is not pulled; run: ollama pull " + j.model + " (" + e.Message + ")"
	case strings.Contains(text, "json schema in format"):
		e.Kind = fault.Invalid // a 500 of the server's, but the schema is the caller's
		e.Message = "output_config.format: the server can make no grammar of this schema; leave out what is not structure (lookaheads in patterns) (" + e.Message + ")"
	case e.Kind == fault.UpstreamKey && messages.Valid(body) == nil && messages.View(body).Get("signin_url").Exists():
		// Not a key of ours: the server is to ask the cloud for this model and is not signed in there.
		e.Message = "the server is not signed in to Ollama's cloud, where " + quoted(j.model) + " runs; run there: ollama signin"
	}
	return e
}

// Without reports whether an error says that the server does not know how to do what was asked beside the question, before it did
// anything: o is then changed so that the same request goes without. Each change is made once.
func (j *Job) Without(err error, o *Options) bool {
	var f *fault.Error
	// Its word counts, not the status: a proxy in between, or a 200, may have taken that away.
	if !errors.As(err, &f) || f.Kind != fault.Invalid && f.Kind != fault.Upstream {
		return false
	}
	switch text := strings.ToLower(f.Message); {
	case (len(j.forced) > 0 || j.beside) && !o.NoForce && strings.Contains(text, "json schema in format"):
		o.NoForce = true
	case o.Thinking != No && strings.Contains(text, "does not support thinking"):
		o.Thinking = No
	case o.Levels && strings.Contains(text, "think value"):
		o.Levels = false
	default:
		return false
	}
	return true
}

// failure reads an error that came inside an answer whose status said that all was well.
func (j *Job) failure(body []byte) *fault.Error {
	e := j.DecodeError(http.StatusOK, nil, body)
	if j.engine.Started() {
		e.Outcome = "midstream_error"
	}
	return e
}

func quoted(s string) string { return string(messages.Quote(s)) }
