package providers

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"signalbox/internal/exchange"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/sse"
	"signalbox/internal/wire"
)

// Verbatim sends the caller's own bytes, with only the model respliced and foreign thinking removed, to an upstream that
// speaks Messages, and hands its answer back unchanged. sign sets the headers.
func (u *Upstream) Verbatim(ctx context.Context, path string, sign func(http.Header), call Call) (*Reply, error) {
	body, notes := VerbatimBody(call.Request, call.Model)
	if call.Strict {
		if err := notes.Refuse(); err != nil {
			return nil, err
		}
	}
	if call.DryRun {
		return &Reply{Notes: notes, Lane: exchange.Verbatim}, nil
	}
	if call.Query != "" {
		path += "?" + call.Query
	}
	streamed := call.Request.Stream()
	a, resp, err := u.open(ctx, path, sign, body, streamed)
	if err != nil {
		return nil, err
	}
	tap := &exchange.Tap{}
	reply := &Reply{Header: shown(resp.Header), Notes: notes, Lane: exchange.Verbatim, UsageFunc: tap.Usage, CloseFunc: a.close}
	decode := func(status int, h http.Header, body []byte) *fault.Error { return u.envelope(status, h, body, call) }
	if resp.StatusCode != http.StatusOK {
		return nil, a.refused(resp, decode)
	}
	if !streamed {
		whole, err := a.readAll(resp)
		if err != nil {
			return nil, err
		}
		a.close()
		whole, f := u.message(whole, resp.Header, call)
		if f != nil {
			return nil, f
		}
		tap.Whole(whole)
		reply.Body = whole
		return reply, nil
	}
	v := &verbatimStream{u: u, call: call, a: a, header: resp.Header}
	if err := a.commit(tap.Frames(v.frames()), reply); err != nil {
		return nil, err
	}
	return reply, nil
}

// message takes a whole answer for a message, or says what it is instead.
func (u *Upstream) message(whole []byte, h http.Header, call Call) ([]byte, *fault.Error) {
	bad := func(what string) ([]byte, *fault.Error) {
		return nil, &fault.Error{Kind: fault.Upstream, Provider: u.Name, Outcome: "bad_body", Message: "the upstream's answer is " + what}
	}
	whole, err := messages.Mended(whole)
	if err != nil {
		return bad("not JSON")
	}
	v := messages.View(whole)
	kind := v.Get("type").Str
	switch {
	case kind == "message" && v.Get("content").IsArray():
		return whole, nil
	case kind == "error", kind == "" && wire.IsError(v.Get("error")):
		return nil, errorIn200(u.envelope(0, h, whole, call))
	}
	return bad("not a message")
}

// VerbatimBody is the body for an upstream that speaks Messages, and what was lost on the way.
func VerbatimBody(r *messages.Request, model string) ([]byte, wire.Notes) {
	var notes wire.Notes
	body, removed := r.Verbatim(model, wire.OwnSignature)
	if removed > 0 {
		notes.Drop("thinking")
	}
	return body, notes
}

// errorIn200 is an error document that came with a success status: nothing was generated.
func errorIn200(f *fault.Error) *fault.Error {
	f.Outcome, f.Void = "error_in_200", true
	return f
}

// statusOf is the status of an Anthropic error type, for errors that come inside a 200.
var statusOf = map[string]int{"invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
	"not_found_error": 404, "conflict_error": 409, "request_too_large": 413, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504, "overloaded_error": 529}

// envelope reads an error of an upstream that speaks Messages. Its own envelope goes back byte for byte with its status,
// after the secret scan; a 401 against our own key is not the caller's fault, and anything else is mapped like everybody's.
func (u *Upstream) envelope(status int, h http.Header, body []byte, call Call) *fault.Error {
	f := u.readEnvelope(status, h, body)
	if f.Kind != fault.Authentication && f.Kind != fault.UpstreamKey {
		return f
	}
	if call.Credential.Empty() || !u.Config.APIKey.Empty() {
		// Our own words, so also our own request id: nothing of the upstream's answer is passed.
		return &fault.Error{Kind: fault.UpstreamKey, Provider: u.Name, Outcome: f.Outcome, Void: true,
			Message: "the provider " + u.Name + " refused the gateway's key; set a valid providers." + u.Name + ".api_key"}
	}
	f.Kind = fault.Authentication
	if f.Body == nil {
		if f.Message = wire.ErrorText(body); f.Message == "" {
			f.Message = "the upstream refused the credential that came with the request"
		}
	}
	return f
}

func (u *Upstream) readEnvelope(status int, h http.Header, body []byte) *fault.Error {
	own := len(body) <= maxErrorBody && messages.Valid(body) == nil
	kind, id := "", ""
	if own {
		v := messages.View(body)
		kind, id = v.Get("error.type").Str, v.Get("request_id").Str
		own = v.Get("type").Str == "error" && kind != "" && v.Get("error.message").Str != ""
	}
	switch {
	case status != 0:
	case !own:
		status = http.StatusOK // an error of no known type: whatever else it says is judged
	default:
		if status = statusOf[kind]; status == 0 {
			status = http.StatusInternalServerError
		}
	}
	f := wire.ReadError(u.Name, status, h, body)
	if !own || holdsSecret(body, u.Config.APIKey) {
		return f
	}
	f.Status, f.Header, f.Body = status, shown(h), bytes.Clone(body)
	if f.Header.Get("Request-Id") == "" && word(id) {
		f.Header.Set("Request-Id", id) // the two are one name
	}
	if v := h.Get("X-Should-Retry"); v == "true" || v == "false" {
		f.Header.Set("X-Should-Retry", v)
	}
	return f
}

// verbatimStream reads an Anthropic stream frame by frame. Framing is read and written anew, the JSON is not touched.
type verbatimStream struct {
	u      *Upstream
	call   Call
	a      *attempt
	header http.Header
}

// maxHeld is how many events that nobody knows are kept until the answer begins.
const maxHeld = 64

func (v *verbatimStream) frames() iter.Seq2[sse.Frame, error] {
	return func(yield func(sse.Frame, error) bool) {
		fail := func(outcome, message string) {
			yield(sse.Frame{}, &fault.Error{Kind: fault.Upstream, Outcome: outcome, Message: message})
		}
		rd, document, err := wire.Open(v.a)
		switch {
		case err != nil:
			yield(sse.Frame{}, err)
			return
		case document != nil:
			v.document(document, yield)
			return
		}
		// The start, and what nobody knows, wait until there is something to commit to: until then an error has a status.
		var start []byte
		var held []sse.Frame
		started := false
		for {
			f, err := rd.Next()
			switch {
			case err == io.EOF && start == nil && !started:
				fail("empty_stream", "the upstream ended its answer before it said anything")
				return
			case err == io.EOF:
				fail("truncated", "the upstream's answer broke off before its end")
				return
			case err == sse.ErrTooLong:
				fail("protocol", "one event of the upstream is larger than 8 MiB")
				return
			case err != nil:
				yield(sse.Frame{}, err)
				return
			}
			if f.Lull() {
				if !yield(f, nil) {
					return
				}
				continue
			}
			kind, data, err := v.read(f)
			if err != nil {
				yield(sse.Frame{}, err)
				return
			}
			f = sse.Frame{Event: eventName(kind), Data: data}
			switch kind {
			case "":
				continue
			case "message_start":
				if start == nil && !started {
					start = bytes.Clone(data)
				}
				continue
			case "error":
				e := v.u.envelope(0, v.header, data, v.call)
				if start == nil && !started {
					e = errorIn200(e)
				} else {
					e.Outcome, e.Void = "midstream_error", false
				}
				yield(sse.Frame{}, e)
				return
			case "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop":
				if started {
					break
				}
				if start == nil {
					fail("protocol", "the upstream's answer does not begin with message_start")
					return
				}
				// A frame's bytes must survive until the next pull, which those of the held ones do.
				for _, h := range append([]sse.Frame{{Event: "message_start", Data: start}}, held...) {
					if !yield(h, nil) {
						return
					}
				}
				start, held, started = nil, nil, true
			case "ping":
			default:
				if started {
					break
				}
				if len(held) == maxHeld {
					fail("protocol", "the upstream sends events that nobody knows, and no answer")
					return
				}
				held = append(held, sse.Frame{Event: f.Event, Data: bytes.Clone(data)})
				continue
			}
			if !yield(f, nil) {
				return
			}
			if kind == "message_stop" {
				v.rest(rd, yield)
				return
			}
		}
	}
}

// read gives the kind of an event and its JSON on one line. The kind is empty where there is nothing to pass on.
func (v *verbatimStream) read(f sse.Frame) (kind string, data []byte, err error) {
	data = bytes.TrimSpace(f.Data)
	if len(data) == 0 || string(data) == "[DONE]" {
		return "", nil, nil
	}
	data, err = messages.Mended(data)
	switch {
	case err != nil && f.Event == "error":
		return "error", data, nil
	case err != nil:
		return "", nil, &fault.Error{Kind: fault.Upstream, Outcome: "protocol", Message: "the upstream sent an event that is not JSON"}
	}
	said := messages.View(data)
	kind = said.Get("type").Str
	if kind == "" && (f.Event == "error" || wire.IsError(said.Get("error"))) {
		kind = "error" // some who stand before others forget the type
	}
	if !word(kind) {
		return "", nil, nil
	}
	return kind, oneLine(data), nil
}

// document is an answer that came whole though events were asked for: an error, or a message of which the events are made.
func (v *verbatimStream) document(doc []byte, yield func(sse.Frame, error) bool) {
	doc, f := v.u.message(doc, v.header, v.call)
	if f != nil {
		yield(sse.Frame{}, f)
		return
	}
	for f := range messages.Unfold(doc) {
		if !yield(sse.Frame{Event: eventName(f.Type), Data: oneLine(f.Data)}, nil) {
			return
		}
	}
}

// rest reads what stands behind the end, so that the connection can be used again; the caller has the whole answer by then.
// An upstream that keeps the stream open, or talks on, is left soon.
func (v *verbatimStream) rest(rd *sse.Reader, yield func(sse.Frame, error) bool) {
	if !yield(sse.Frame{}, nil) {
		return
	}
	v.a.Linger()
	for size := 0; size < maxErrorBody; {
		f, err := rd.Next()
		if err != nil {
			return
		}
		size += 1 + len(f.Data)
	}
}

// word reports whether an event's type may stand in an event line, or an id in a header.
func word(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range s {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-') {
			return false
		}
	}
	return true
}

// eventName gives the constant for the names of today, so that no frame keeps the upstream's bytes alive.
func eventName(kind string) string {
	switch kind {
	case "content_block_delta":
		return "content_block_delta"
	case "content_block_start":
		return "content_block_start"
	case "content_block_stop":
		return "content_block_stop"
	case "message_start":
		return "message_start"
	case "message_delta":
		return "message_delta"
	case "message_stop":
		return "message_stop"
	case "ping":
		return "ping"
	}
	return strings.Clone(kind)
}

// oneLine replaces line ends, which in valid JSON are white space between values, by blanks.
func oneLine(data []byte) []byte {
	for i, c := range data {
		if c == '\n' || c == '\r' {
			data[i] = ' '
		}
	}
	return data
}

// CountTokens asks an upstream's own counter; the body goes up as a message's does, and the answer comes back as it is. An
// upstream that does not know the path has no counter.
func (u *Upstream) CountTokens(ctx context.Context, path string, sign func(http.Header), call Call, limit time.Duration) (Count, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, u.timeout("head_timeout", "the upstream did not count in time"))
	defer cancel()
	body, notes := VerbatimBody(call.Request, call.Model)
	if call.Query != "" {
		path += "?" + call.Query
	}
	a, resp, err := u.open(ctx, path, sign, body, false)
	if err != nil {
		return Count{}, err
	}
	if resp.StatusCode != http.StatusOK {
		err := a.refused(resp, func(status int, h http.Header, body []byte) *fault.Error { return u.envelope(status, h, body, call) })
		switch resp.StatusCode {
		case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
			if fault.From(err).Body == nil { // who counts and knows no such model says so in an envelope
				return Count{}, ErrNoCounter
			}
		}
		return Count{}, err
	}
	data, err := a.readAll(resp)
	if err != nil {
		return Count{}, err
	}
	a.close()
	if messages.Valid(data) == nil {
		v := messages.View(data)
		if n, ok := messages.Count(v.Get("input_tokens")); ok {
			return Count{Tokens: n, Body: data, Header: shown(resp.Header), Notes: notes}, nil
		}
		if v.Get("type").Str == "error" {
			return Count{}, errorIn200(u.envelope(0, resp.Header, data, call))
		}
	}
	return Count{}, &fault.Error{Kind: fault.Upstream, Provider: u.Name, Outcome: "bad_body", Message: "the upstream's count is no number"}
}

// Pass hands a request of the same API on and returns the upstream's response as it is. Redirects and errors are none: those are
// judged as a message's are. The caller closes the response's body.
func (u *Upstream) Pass(ctx context.Context, method, path string, sign func(http.Header), call Call, body []byte) (*http.Response, error) {
	if call.Query != "" {
		path += "?" + call.Query
	}
	var rd io.Reader
	if len(body) > 0 {
		rd = &once{b: body}
	}
	req, err := http.NewRequestWithContext(ctx, method, u.URL(path), rd)
	if err != nil {
		return nil, fault.New(fault.Invalid, "the path cannot be passed on")
	}
	req.ContentLength = int64(len(body))
	if ct := call.Header.Get("Content-Type"); ct != "" {
		req.Header.Set("Content-Type", ct)
	}
	req.Header.Set("Accept", "application/json")
	sign(req.Header)
	resp, err := u.client.Do(req)
	if err != nil {
		return nil, u.broken(ctx, err, false, req.Header)
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		_ = resp.Body.Close()
		return nil, &fault.Error{Kind: fault.Upstream, Provider: u.Name, Outcome: "redirect", Message: "the upstream answered with a redirect, which is never followed"}
	}
	u.date(resp)
	if resp.StatusCode >= 400 {
		cut := time.AfterFunc(errorPause, func() { _ = resp.Body.Close() })
		said := refusal(resp)
		cut.Stop()
		_ = resp.Body.Close()
		return nil, u.refused(resp, said, func(status int, h http.Header, body []byte) *fault.Error { return u.envelope(status, h, body, call) })
	}
	if encoded(resp) {
		_ = resp.Body.Close()
		return nil, &fault.Error{Kind: fault.Upstream, Provider: u.Name, Outcome: "encoding", Message: "the upstream compressed its answer though it was not asked to"}
	}
	return resp, nil
}
