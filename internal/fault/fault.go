// Package fault is the one error type that crosses room boundaries.
//
// An error is made where the knowledge is (a wire folder reads an upstream's error body, routing knows what does not
// exist) and is shaped for the caller in one place, routes/problem.go. This package knows kinds, not status codes.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Kind says what went wrong, in the words of the error map. It decides the status, the Anthropic error type and whether
// another target may be tried.
type Kind uint8

// The kinds. Internal is the zero value on purpose: an error nobody classified is our bug until proven otherwise.
const (
	Internal        Kind = iota
	Invalid              // the request is wrong: 400
	ContextOverflow      // the prompt does not fit the model: 400, "prompt is too long"
	TooLarge             // the body is over the limit: 413
	MediaType            // not JSON by its content type: 415
	Method               // wrong method on a known path: 405
	Conflict             // 409
	BodyTimeout          // the caller's body did not arrive in time: 408
	Authentication       // no or wrong gateway key: 401
	Billing              // the upstream wants money: 402
	Budget               // a budget of ours is used up: 429 billing_error
	Permission           // 403
	NotFound             // 404
	RateLimit            // ours or the upstream's: 429
	Upstream             // the upstream failed or broke the protocol: 502
	UpstreamKey          // the upstream refused the gateway's own key: 502, never to be retried
	Unreachable          // no connection could be made: 502
	Timeout              // the upstream was silent past a limit: 504
	Overloaded           // the upstream or we shed load: 529
	Canceled             // the caller left: 499 in log and metrics only
)

var kindNames = [...]string{"internal", "invalid", "context_overflow", "too_large", "media_type", "method", "conflict", "body_timeout",
	"authentication", "billing", "budget", "permission", "not_found", "rate_limit", "upstream", "upstream_key", "unreachable",
	"timeout", "overloaded", "canceled"}

// String is the kind's name in logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Error is a failure with all that the caller, the log and the ledger need to know of it.
type Error struct {
	Kind     Kind
	Message  string // for the caller: what went wrong, where, and what to do next; never a secret
	Provider string // the provider it happened at; empty when it is ours
	// RetryAfter is how long to wait before another try; zero if nobody said.
	RetryAfter time.Duration
	Cause      error
	// Outcome refines the kind for the metric's outcome label (reset, dns, truncated, …); the kind's name when empty.
	Outcome string
	// Void says that the upstream is known not to have processed the request, so that nothing can be charged.
	Void bool
	// Window is the model's, in tokens, where a prompt was found not to fit before it was sent; zero otherwise.
	Window int64

	// Status, Header and Body are an upstream's own Anthropic envelope, already scanned for secrets, to be passed as it is.
	// Body is nil when the error is to be shaped by us.
	Status int
	Header http.Header
	Body   []byte
}

// New makes an error of a kind with a message for the caller.
func New(k Kind, format string, args ...any) *Error {
	return &Error{Kind: k, Message: fmt.Sprintf(format, args...)}
}

// Wrap is New with a cause for the log.
func Wrap(k Kind, cause error, format string, args ...any) *Error {
	e := New(k, format, args...)
	e.Cause = cause
	return e
}

// Error gives the message and, behind it, the cause.
func (e *Error) Error() string {
	s := e.Message
	if e.Provider != "" {
		s = e.Provider + ": " + s
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Label is the value of the outcome label.
func (e *Error) Label() string {
	if e.Outcome != "" {
		return e.Outcome
	}
	return e.Kind.String()
}

// From finds the *Error in err. An error of an unknown kind becomes Internal (its text is for the log alone), a cancelled
// context becomes Canceled, a deadline becomes Timeout. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Wrap(Canceled, err, "the caller left")
	case errors.Is(err, context.DeadlineExceeded):
		return Wrap(Timeout, err, "the time limit passed")
	}
	return Wrap(Internal, err, "Internal error")
}

// AnotherTarget says whether the next target of a written chain may be tried after e. The rows are those of the error
// table in ARCHITECTURE.md.
func (e *Error) AnotherTarget() bool {
	switch e.Kind {
	case Upstream, UpstreamKey, Unreachable, Timeout, Overloaded, ContextOverflow:
		return true
	case RateLimit, NotFound, Billing, Permission:
		return e.Provider != ""
	}
	return false
}
