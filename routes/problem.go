package routes

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/middleware"
)

// row is how a kind of fault looks to the caller.
type row struct {
	status int
	kind   string // Anthropic's error type
	retry  bool   // may be sent again as it is; false adds x-should-retry: false to a status that clients would retry
}

// table is the one error map (reliability-security §2). Every kind has a row; a test walks them.
var table = map[fault.Kind]row{
	fault.Internal:        {http.StatusInternalServerError, "api_error", true},
	fault.Invalid:         {http.StatusBadRequest, "invalid_request_error", false},
	fault.ContextOverflow: {http.StatusBadRequest, "invalid_request_error", false},
	fault.TooLarge:        {http.StatusRequestEntityTooLarge, "request_too_large", false},
	fault.MediaType:       {http.StatusUnsupportedMediaType, "invalid_request_error", false},
	fault.Method:          {http.StatusMethodNotAllowed, "invalid_request_error", false},
	fault.Conflict:        {http.StatusConflict, "invalid_request_error", true},
	fault.BodyTimeout:     {http.StatusRequestTimeout, "timeout_error", true},
	fault.Authentication:  {http.StatusUnauthorized, "authentication_error", true},
	fault.Billing:         {http.StatusPaymentRequired, "billing_error", false},
	fault.Budget:          {http.StatusTooManyRequests, "billing_error", false},
	fault.Permission:      {http.StatusForbidden, "permission_error", false},
	fault.NotFound:        {http.StatusNotFound, "not_found_error", false},
	fault.RateLimit:       {http.StatusTooManyRequests, "rate_limit_error", true},
	fault.Upstream:        {http.StatusBadGateway, "api_error", true},
	fault.UpstreamKey:     {http.StatusBadGateway, "api_error", false},
	fault.Unreachable:     {http.StatusBadGateway, "api_error", true},
	fault.Timeout:         {http.StatusGatewayTimeout, "timeout_error", true},
	fault.Overloaded:      {529, "overloaded_error", true},
	fault.Canceled:        {499, "api_error", false},
}

// Problem writes an error answer and notes it on the record. It is the only place that shapes an error for a caller.
func Problem(c *gin.Context, err error) {
	f := fault.From(err)
	rec := middleware.Record(c)
	rec.Err = err
	rec.Status = statusOf(f)
	rec.Kind, rec.Outcome = f.Kind.String(), f.Label()
	if c.Writer.Written() {
		return
	}
	middleware.LeaveBody(c)
	h := c.Writer.Header()
	for k, v := range f.Header {
		h[k] = v
	}
	if f.RetryAfter > 0 {
		h.Set("Retry-After", retryAfter(f.RetryAfter))
	}
	if !table[f.Kind].retry && (h.Get("X-Should-Retry") == "" || f.Kind == fault.Billing) {
		h.Set("X-Should-Retry", "false")
	}
	answerHeaders(c, nil)
	h.Set("Content-Type", "application/json")
	body := problemBody(f, rec.RequestID)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.Writer.WriteHeader(statusOf(f))
	if c.Request.Method != http.MethodHead {
		_, _ = c.Writer.Write(body)
	}
}

func statusOf(f *fault.Error) int {
	if f.Body != nil && f.Status >= 400 {
		return f.Status
	}
	return table[f.Kind].status
}

// problemBody is the Anthropic envelope: the upstream's own where it may be passed, else ours.
func problemBody(f *fault.Error, requestID string) []byte {
	if f.Body != nil {
		return f.Body
	}
	b := append([]byte(nil), `{"type":"error","error":{"type":`...)
	b = messages.AppendQuote(b, table[f.Kind].kind)
	b = append(b, `,"message":`...)
	b = messages.AppendQuote(b, messageOf(f))
	b = append(b, `},"request_id":`...)
	b = messages.AppendQuote(b, requestID)
	return append(b, '}')
}

// messageOf is what the caller reads.
func messageOf(f *fault.Error) string {
	switch {
	case f.Kind == fault.Internal:
		return "Internal error; the gateway's log has the details under this request id"
	case f.Provider != "" && !startsWith(f.Message, f.Provider) && f.Kind != fault.ContextOverflow:
		return f.Provider + ": " + f.Message
	}
	return f.Message
}

// problemEvent is the data of an error event in an open stream: one line, whatever the upstream's envelope looked like.
func problemEvent(f *fault.Error, requestID string) []byte {
	b := problemBody(f, requestID)
	if f.Body != nil {
		b = bytes.Map(func(r rune) rune {
			if r == '\n' || r == '\r' {
				return ' '
			}
			return r
		}, b)
	}
	return b
}

func startsWith(message, provider string) bool {
	return len(message) > len(provider) && message[:len(provider)] == provider && (message[len(provider)] == ':' || message[len(provider)] == ' ')
}

// retryAfter is whole seconds, rounded up.
func retryAfter(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
