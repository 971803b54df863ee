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
		if messages.Valid(whole) != nil {
			return nil, &fault.Error{Kind: fault.Upstream, Provider: u.Name, Outcome: "bad_body", Message: "the upstream's answer is not JSON"}
		}
		switch messages.View(whole).Get("type").Str {
		case "message":
		case "error":
			return nil, errorIn200(u.envelope(0, resp.Header, whole, call))
		default:
			return nil, &fault.Error{Kind: fault.Upstream, Provider: u.Name, Outcome: "bad_body", Message: "the upstream's answer is not a message"}
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
	if status == http.StatusUnauthorized || f.Kind == fault.Authentication || f.Kind == fault.UpstreamKey {
		if call.Credential.Empty() || !u.Config.APIKey.Empty() {
			f.Kind, f.Void, f.Body = fault.UpstreamKey, true, nil
			f.Message = "the provider " + u.Name + " refused the gateway's key; set a valid providers." + u.Name + ".api_key"
			return f
		}
		f.Kind = fault.Authentication
	}
	return f
}

func (u *Upstream) readEnvelope(status int, h http.Header, body []byte) *fault.Error {
	own := len(body) < maxErrorBody && messages.Valid(body) == nil
	kind := ""
	if own {
		v := messages.View(body)
		kind = v.Get("error.type").Str
		own = v.Get("type").Str == "error" && kind != "" && v.Get("error.message").Exists()
	}
	if status == 0 {
		status = statusOf[kind]
		if status == 0 {
			status = http.StatusInternalServerError
		}
	}
	f := wire.ReadError(u.Name, status, h, body)
	if !own || holdsSecret(body, u.Config.APIKey) {
		return f
	}
	f.Status, f.Header, f.Body = status, shown(h), bytes.Clone(body)
	return f
}

// verbatimStream reads an Anthropic stream frame by frame. Framing is read and written anew, the JSON is not touched.
type verbatimStream struct {
	u      *Upstream
	call   Call
	a      *attempt
	header http.Header
}

func (v *verbatimStream) frames() iter.Seq2[sse.Frame, error] {
	return func(yield func(sse.Frame, error) bool) {
		rd := sse.NewReader(v.a, 0)
		var held []byte // message_start, until there is something to commit to
		started := false
		for {
			f, err := rd.Next()
			if err != nil {
				if err == io.EOF {
					err = &fault.Error{Kind: fault.Upstream, Outcome: "truncated", Message: "the upstream's answer broke off before its end"}
					if held == nil && !started {
						err = &fault.Error{Kind: fault.Upstream, Outcome: "empty_stream", Message: "the upstream ended its answer before it said anything"}
					}
				} else if err == sse.ErrTooLong {
					err = &fault.Error{Kind: fault.Upstream, Outcome: "protocol", Message: "one event of the upstream is larger than 8 MiB"}
				}
				yield(sse.Frame{}, err)
				return
			}
			if f.Lull() {
				if !yield(f, nil) {
					return
				}
				continue
			}
			if string(f.Data) == "[DONE]" {
				continue
			}
			if messages.Valid(f.Data) != nil {
				yield(sse.Frame{}, &fault.Error{Kind: fault.Upstream, Outcome: "protocol", Message: "the upstream sent an event that is not JSON"})
				return
			}
			kind := messages.View(f.Data).Get("type").Str
			if !word(kind) {
				continue
			}
			f = sse.Frame{Event: eventName(kind), Data: oneLine(f.Data)}
			switch kind {
			case "message_start":
				if held != nil || started {
					continue
				}
				held = bytes.Clone(f.Data)
				continue
			case "ping":
			case "error":
				e := v.u.envelope(0, v.header, f.Data, v.call)
				if held == nil && !started {
					e = errorIn200(e)
				} else {
					e.Outcome = "midstream_error"
				}
				yield(sse.Frame{}, e)
				return
			default:
				if held != nil {
					// The held frame's bytes must survive until the next pull, as every frame's do.
					if !yield(sse.Frame{Event: "message_start", Data: held}, nil) {
						return
					}
					held, started = nil, true
				}
				if !started {
					yield(sse.Frame{}, &fault.Error{Kind: fault.Upstream, Outcome: "protocol", Message: "the upstream's answer does not begin with message_start"})
					return
				}
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

// word reports whether an event's type may stand in an event line.
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

// CountTokens asks an upstream's own counter; the body goes up as a message's does.
func (u *Upstream) CountTokens(ctx context.Context, path string, sign func(http.Header), call Call, limit time.Duration) (int64, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, u.timeout("head_timeout", "the upstream did not count in time"))
	defer cancel()
	body, _ := VerbatimBody(call.Request, call.Model)
	if call.Query != "" {
		path += "?" + call.Query
	}
	a, resp, err := u.open(ctx, path, sign, body, false)
	if err != nil {
		return 0, err
	}
	if resp.StatusCode != http.StatusOK {
		return 0, a.refused(resp, func(status int, h http.Header, body []byte) *fault.Error { return u.envelope(status, h, body, call) })
	}
	data, err := a.readAll(resp)
	if err != nil {
		return 0, err
	}
	a.close()
	if messages.Valid(data) == nil {
		if n, ok := messages.Count(messages.View(data).Get("input_tokens")); ok {
			return n, nil
		}
	}
	return 0, &fault.Error{Kind: fault.Upstream, Provider: u.Name, Outcome: "bad_body", Message: "the upstream's count is no number"}
}

// Pass hands a request of the same API on and returns the upstream's response as it is, redirects excepted. The caller closes
// its body.
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
	return resp, nil
}
