package providers

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"signalbox/config"
	"signalbox/internal/exchange"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/sse"
	"signalbox/internal/wire"
)

// Limits of what is read from an upstream.
const (
	maxReply     = 16 << 20 // a whole answer (F35)
	maxErrorBody = 64 << 10
	errorPause   = 2 * time.Second // an error body that does not end is cut here (F28)
	lingerGrace  = time.Second     // a stream that said its finish but stays open (F54)
	pingGrace    = 10 * time.Minute
)

// Upstream is HTTP to one provider: its transport, its clocks, and the rules that hold for every call. Redirects are never
// followed, nothing is ever sent twice, answers are never gunzipped unasked.
type Upstream struct {
	Name   string
	Config config.Provider
	Deps   Deps

	base   *url.URL
	client *http.Client
	clocks clocks

	conceded struct {
		sync.Mutex
		models map[string]wire.Concessions // what lasts, by model
	}
}

// clocks are the configured time limits with their defaults filled in.
type clocks struct{ connect, tls, head, first, idle, total time.Duration }

func or(d config.Duration, def time.Duration) time.Duration {
	if d > 0 {
		return d.D()
	}
	return def
}

// NewUpstream checks the base URL (defaultBase when the configuration has none) and makes the transport. The error names
// the field.
func NewUpstream(cfg config.Provider, defaultBase string, deps Deps) (*Upstream, error) {
	raw := cfg.BaseURL
	if raw == "" {
		raw = defaultBase
	}
	base, err := url.Parse(strings.TrimRight(raw, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fault.New(fault.Invalid, "providers.%s.base_url: must be an http or https address", cfg.Name)
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	t := cfg.Timeouts
	head := 60 * time.Second
	if cfg.Kind == "ollama" {
		head = 300 * time.Second // the first request waits for the model to load, and nothing is sent meanwhile
	}
	u := &Upstream{Name: cfg.Name, Config: cfg, Deps: deps, base: base, clocks: clocks{connect: or(t.Connect, 5*time.Second),
		tls: or(t.TLS, 5*time.Second), head: or(t.Head, head), first: or(t.FirstEvent, 120*time.Second),
		idle: or(t.Idle, 60*time.Second), total: t.Total.D()}}
	dialer := &net.Dialer{Timeout: u.clocks.connect, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}}
	u.client = &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSHandshakeTimeout:    u.clocks.tls,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: cfg.InsecureSkipVerify}, //nolint:gosec // per provider, warned of at start
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			MaxIdleConns:           512,
			MaxIdleConnsPerHost:    512,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
			ReadBufferSize:         8 << 10, // a thousand quiet streams hold a thousand of them
			ExpectContinueTimeout:  time.Second,
		},
	}
	return u, nil
}

// URL is the address of a path below the base.
func (u *Upstream) URL(path string) string { return u.base.String() + path }

// Base is the configured address without a trailing slash.
func (u *Upstream) Base() string { return u.base.String() }

// CloseIdle closes pooled connections.
func (u *Upstream) CloseIdle() { u.client.CloseIdleConnections() }

// Exchange sends a translated job and returns at the commit. sign sets the headers; it is where a provider reveals its key.
func (u *Upstream) Exchange(ctx context.Context, path string, sign func(http.Header), job wire.Job, call Call) (*Reply, error) {
	if call.Strict {
		if err := outdated(call); err != nil {
			return nil, err
		}
		if err := job.Notes().Refuse(); err != nil {
			return nil, err
		}
	}
	if call.DryRun {
		return &Reply{Notes: job.Notes(), Lane: exchange.Translated}, nil
	}
	streamed := call.Request.Stream()
	a, resp, err := u.open(ctx, path, sign, job.Body(), streamed)
	if err != nil {
		return nil, err
	}
	reply := &Reply{Header: shown(resp.Header), Notes: job.Notes(), Lane: exchange.Translated, NotesFunc: job.Notes, UsageFunc: job.Usage, CloseFunc: a.close}
	if resp.StatusCode != http.StatusOK {
		return nil, a.refused(resp, job.DecodeError)
	}
	if !streamed {
		body, err := a.readAll(resp)
		if err != nil {
			return nil, err
		}
		whole, err := job.Decode(body)
		a.close()
		if err != nil {
			return nil, u.name(err)
		}
		reply.Body, reply.Notes = whole.AppendJSON(make([]byte, 0, len(body)+256)), job.Notes()
		return reply, nil
	}
	if err := a.commit(Frames(job.DecodeStream(a)), reply); err != nil {
		return nil, err
	}
	reply.Notes = job.Notes() // the first that was said may have left one
	return reply, nil
}

// outdated raises, for a strict caller, what his version of the API refuses. Upstreams that speak Messages do so themselves; other
// models may be sampled as their callers like, whatever the version.
func outdated(call Call) error {
	const version = "2026-10-21"
	if call.Header.Get("Anthropic-Version") != version {
		return nil
	}
	for _, name := range [...]string{"temperature", "top_p", "top_k"} {
		if call.Request.Member(name) != nil {
			return fault.New(fault.Invalid, "%s: is not part of anthropic-version %s, and strict mode refuses it", name, version)
		}
	}
	return nil
}

// Frames writes each event as a frame. The bytes live in one buffer that the next frame reuses.
func Frames(events iter.Seq2[messages.Event, error]) iter.Seq2[sse.Frame, error] {
	return func(yield func(sse.Frame, error) bool) {
		buf := make([]byte, 0, 512)
		for ev, err := range events {
			if err != nil {
				yield(sse.Frame{}, err)
				return
			}
			if ev.Type == messages.Lull {
				if !yield(sse.Frame{}, nil) {
					return
				}
				continue
			}
			buf = ev.AppendJSON(buf[:0])
			if !yield(sse.Frame{Event: ev.Type.Name(), Data: buf}, nil) {
				return
			}
		}
	}
}

// attempt is one open HTTP call with its clocks. It is an io.ReadCloser over the response's body that a timer may end, a
// wire.Lingerer and a wire.Listener.
type attempt struct {
	u      *Upstream
	ctx    context.Context
	cancel context.CancelCauseFunc
	body   io.ReadCloser
	sent   http.Header // what was sent, for what must not be said back
	timer  *time.Timer
	linger atomic.Bool
	once   sync.Once
	mu     sync.Mutex // guards timer

	// The running limit: armed with a duration, refreshed by each event with content. The timer looks at the clock when it
	// fires and goes back to sleep for what is left, so an event costs no timer operation.
	limit atomic.Int64
	since atomic.Int64
	cause atomic.Pointer[fault.Error]
	start time.Time
	// giving is set while the caller takes a frame: his slowness is not the upstream's silence.
	giving atomic.Bool
}

func (a *attempt) Read(p []byte) (int, error) {
	n, err := a.body.Read(p)
	if err != nil && err != io.EOF {
		if a.linger.Load() {
			return n, io.EOF
		}
		err = a.u.broken(a.ctx, err, true, a.sent)
	}
	return n, err
}

// Linger gives an upstream that has said its finish one more second to end its stream by itself.
func (a *attempt) Linger() {
	a.linger.Store(true)
	a.arm(lingerGrace, &fault.Error{Kind: fault.Upstream})
}

// Resume takes Linger back: the upstream says more.
func (a *attempt) Resume() {
	a.linger.Store(false)
	a.arm(a.u.clocks.idle, a.u.timeout("midstream_timeout", midstreamPause))
}

// Heard starts the idle clock anew. A finish that was read keeps its own, shorter one.
func (a *attempt) Heard() {
	if !a.linger.Load() {
		a.touch()
	}
}

// close ends the call; it is safe to repeat.
func (a *attempt) close() error {
	a.once.Do(func() {
		a.limit.Store(0)
		a.mu.Lock()
		if a.timer != nil {
			a.timer.Stop()
		}
		a.mu.Unlock()
		if a.body != nil {
			_ = a.body.Close()
		}
		a.cancel(context.Canceled)
	})
	return nil
}

func (a *attempt) touch() { a.since.Store(int64(time.Since(a.start))) }

func (a *attempt) arm(d time.Duration, f *fault.Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cause.Store(f)
	a.touch()
	old := a.limit.Swap(int64(d))
	switch {
	case d <= 0:
	case a.timer == nil:
		a.timer = time.AfterFunc(d, a.fire)
	case old == 0 || int64(d) < old:
		a.timer.Reset(d)
	}
}

func (a *attempt) fire() {
	d := a.limit.Load()
	if d == 0 {
		return
	}
	left := d - (int64(time.Since(a.start)) - a.since.Load())
	if a.giving.Load() {
		left = max(left, d)
	}
	if left > 0 {
		a.mu.Lock()
		a.timer.Reset(time.Duration(left))
		a.mu.Unlock()
		return
	}
	a.cancel(a.cause.Load())
}

func (u *Upstream) timeout(outcome, what string) *fault.Error {
	return &fault.Error{Kind: fault.Timeout, Provider: u.Name, Outcome: outcome, Message: what}
}

// open sends one request and waits for the response's head.
func (u *Upstream) open(ctx context.Context, path string, sign func(http.Header), body []byte, streamed bool) (*attempt, *http.Response, error) {
	actx, cancel := context.WithCancelCause(ctx)
	a := &attempt{u: u, ctx: actx, cancel: cancel, start: time.Now()}
	upload := &once{b: body}
	req, err := http.NewRequestWithContext(actx, http.MethodPost, u.URL(path), upload)
	if err != nil {
		a.close()
		return nil, nil, fault.Wrap(fault.Internal, err, "Internal error")
	}
	req.ContentLength = int64(len(body))
	req.GetBody = nil // every resend is our own, visible in the ledger
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "signalbox/"+u.Deps.Version)
	if streamed {
		req.Header.Set("Accept", "text/event-stream, application/json")
	} else {
		req.Header.Set("Accept", "application/json")
	}
	sign(req.Header)
	a.sent = req.Header
	if u.clocks.total > 0 {
		total := time.AfterFunc(u.clocks.total, func() {
			cancel(u.timeout("total_timeout", "the answer took longer than the configured total"))
		})
		context.AfterFunc(actx, func() { total.Stop() })
	}
	if streamed {
		a.arm(u.clocks.head, u.timeout("head_timeout", "the upstream did not begin to answer in time"))
	} else {
		a.arm(config.BeginLimit, u.timeout("head_timeout", "the upstream did not answer in time"))
	}
	resp, err := u.client.Do(req)
	if err != nil {
		f := u.broken(actx, err, false, a.sent)
		if f.Outcome == "no_response" && !upload.gone() {
			f.Outcome, f.Void, f.Message = "reset", true, "the upstream closed the connection before the request was sent"
		}
		a.close()
		return nil, nil, f
	}
	a.body = resp.Body
	u.date(resp)
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		defer a.close()
		return nil, nil, &fault.Error{Kind: fault.Upstream, Provider: u.Name, Outcome: "redirect", Void: true,
			Message: "the upstream answered with a redirect, which is never followed; check base_url"}
	case resp.StatusCode < 200, resp.StatusCode > 200 && resp.StatusCode < 300, resp.StatusCode > 599:
		defer a.close()
		return nil, nil, &fault.Error{Kind: fault.Upstream, Provider: u.Name, Outcome: "protocol", Void: true,
			Message: "the upstream answered with a status that makes no sense here"}
	}
	if resp.StatusCode == http.StatusOK && encoded(resp) {
		defer a.close()
		return nil, nil, &fault.Error{Kind: fault.Upstream, Provider: u.Name, Outcome: "encoding", Message: "the upstream compressed its answer though it was not asked to"}
	}
	return a, resp, nil
}

// once is a body that cannot be rewound, so the transport cannot send it twice.
type once struct {
	b []byte
	i atomic.Int64 // the transport may still be reading when the call has failed
}

func (o *once) Read(p []byte) (int, error) {
	i := o.i.Load()
	if i >= int64(len(o.b)) {
		return 0, io.EOF
	}
	n := copy(p, o.b[i:])
	o.i.Store(i + int64(n))
	return n, nil
}

// gone reports whether all of the body was taken for sending. Before that no upstream can have worked on it.
func (o *once) gone() bool { return o.i.Load() >= int64(len(o.b)) }

// broken classifies a failure of the connection. The address inside a url.Error never reaches a caller, and what was sent in
// the headers never the log: an upstream that is no HTTP server may say our own bytes back, and net/http quotes it.
func (u *Upstream) broken(ctx context.Context, err error, answered bool, sent http.Header) *fault.Error {
	var f *fault.Error
	if cause := context.Cause(ctx); cause != nil {
		if errors.As(cause, &f) {
			return f
		}
		return &fault.Error{Kind: fault.Canceled, Provider: u.Name, Message: "the caller left", Cause: cause}
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	made := func(k fault.Kind, outcome string, void bool, msg string) *fault.Error {
		return &fault.Error{Kind: k, Provider: u.Name, Outcome: outcome, Void: void, Message: msg, Cause: &reason{err, sent}}
	}
	var dns *net.DNSError
	var op *net.OpError
	var certErr *tls.CertificateVerificationError
	var recErr tls.RecordHeaderError
	switch {
	case answered && !errors.Is(err, syscall.ECONNRESET):
		return made(fault.Upstream, "midstream_eof", false, "the upstream's answer broke off before its end")
	case answered:
		return made(fault.Upstream, "midstream_reset", false, "the connection to the upstream broke in the middle of its answer")
	case errors.As(err, &dns) && dns.IsTimeout:
		return made(fault.Timeout, "connect_timeout", true, "the upstream's name "+dns.Name+" was not resolved in time")
	case errors.As(err, &dns):
		return made(fault.Unreachable, "dns", true, "the upstream's name "+dns.Name+" could not be resolved; check base_url")
	case errors.As(err, &certErr), errors.As(err, &recErr), strings.Contains(err.Error(), "tls:"), strings.Contains(err.Error(), "x509:"):
		return made(fault.Unreachable, "tls", true, "no trusted TLS connection to the upstream could be made")
	case strings.Contains(err.Error(), "TLS handshake timeout"):
		return made(fault.Timeout, "tls_timeout", true, "the upstream did not complete the TLS handshake in time")
	case errors.As(err, &op) && op.Op == "dial" && op.Timeout():
		return made(fault.Timeout, "connect_timeout", true, "the upstream did not accept a connection in time")
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EADDRNOTAVAIL):
		return made(fault.Overloaded, "local_resource", true, "the gateway has no free connection to the upstream")
	case errors.As(err, &op) && op.Op == "dial":
		return made(fault.Unreachable, "connect", true, "no connection to the upstream at "+u.base.Host+"; is it running?")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "server closed idle connection"):
		return made(fault.Upstream, "no_response", false, "the upstream closed the connection without an answer")
	}
	return made(fault.Upstream, "protocol", false, "the upstream did not answer with proper HTTP")
}

// name puts the provider's name on a wire's error, and cuts this provider's key out of what it says.
func (u *Upstream) name(err error) error {
	var f *fault.Error
	if errors.As(err, &f) {
		if f.Provider == "" {
			f.Provider = u.Name
		}
		f.Message = scrub(f.Message, u.Config.APIKey)
	}
	return err
}

// refused reads an error answer, bounded in size and time, and lets the dialect say what it means.
func (a *attempt) refused(resp *http.Response, decode func(int, http.Header, []byte) *fault.Error) error {
	a.arm(errorPause, &fault.Error{Kind: fault.Upstream})
	body := refusal(resp)
	a.close()
	return a.u.refused(resp, body, decode)
}

func (u *Upstream) refused(resp *http.Response, body []byte, decode func(int, http.Header, []byte) *fault.Error) *fault.Error {
	if holdsSecret(body, u.Config.APIKey) {
		body = []byte(scrub(string(body), u.Config.APIKey)) // before the text is cut short, so that no half of a key survives
	}
	f := decode(resp.StatusCode, resp.Header, body)
	_ = u.name(f)
	return f
}

// refusal is the body of an error answer, to one byte more than is ever passed on. One that was compressed unasked is unpacked or
// left out: its status counts all the same.
func refusal(resp *http.Response) []byte {
	from := io.Reader(resp.Body)
	if encoded(resp) {
		if !strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
			return nil
		}
		plain, err := gzip.NewReader(resp.Body)
		if err != nil {
			return nil
		}
		from = plain
	}
	body, _ := io.ReadAll(io.LimitReader(from, maxErrorBody+1))
	return body
}

// date gives an answer without a date ours, so that a date in its retry-after has something to be held against.
func (u *Upstream) date(resp *http.Response) {
	if resp.Header.Get("Date") == "" {
		resp.Header.Set("Date", u.Deps.Now().UTC().Format(http.TimeFormat))
	}
}

func encoded(resp *http.Response) bool {
	enc := resp.Header.Get("Content-Encoding")
	return enc != "" && !strings.EqualFold(enc, "identity")
}

// readAll reads a whole answer.
func (a *attempt) readAll(resp *http.Response) ([]byte, error) {
	size := resp.ContentLength
	if size < 0 || size > maxReply {
		size = 4096
	}
	buf := make([]byte, 0, size+1)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := a.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if len(buf) > maxReply {
			a.close()
			return nil, &fault.Error{Kind: fault.Upstream, Provider: a.u.Name, Outcome: "too_large_answer", Message: "the upstream's answer is larger than 16 MiB"}
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			var f *fault.Error
			if errors.As(err, &f) && f.Outcome == "midstream_eof" && resp.ContentLength >= 0 {
				f.Outcome = "bad_body" // shorter than it said
			}
			a.close()
			return nil, err
		}
	}
}

const midstreamPause = "the upstream stopped in the middle of its answer"

// commit pulls frames until the answer has begun: the first frame that is neither a lull nor a ping. From then on the idle
// clock runs. An error before that is returned with its HTTP status still open.
func (a *attempt) commit(seq iter.Seq2[sse.Frame, error], reply *Reply) error {
	a.arm(a.u.clocks.first, a.u.timeout("first_token_timeout", "the upstream did not begin its answer in time"))
	next, stop := iter.Pull2(seq)
	var first sse.Frame
	for {
		f, err, ok := next()
		if err == nil && !ok {
			err = &fault.Error{Kind: fault.Upstream, Outcome: "empty_stream", Message: "the upstream ended its answer before it said anything"}
		}
		if err != nil {
			stop()
			a.close()
			return a.u.name(err)
		}
		if !f.Lull() && f.Event != "ping" {
			first = f
			break
		}
	}
	if !a.linger.Load() {
		a.arm(a.u.clocks.idle, a.u.timeout("midstream_timeout", midstreamPause))
	}
	var closing sync.Mutex // stop must not run while next does: a writer may close from a timer
	closed := false
	reply.CloseFunc = func() error {
		a.close()
		closing.Lock()
		defer closing.Unlock()
		if !closed {
			closed = true
			stop()
		}
		return nil
	}
	pull := func() (sse.Frame, error, bool) {
		closing.Lock()
		defer closing.Unlock()
		if closed {
			return sse.Frame{}, nil, false
		}
		return next()
	}
	reply.Frames = func(yield func(sse.Frame, error) bool) {
		defer reply.CloseFunc()
		lastContent := time.Now()
		f, err, ok := first, error(nil), true
		for ; ok; f, err, ok = pull() {
			if err != nil {
				yield(sse.Frame{}, a.u.name(err))
				return
			}
			switch {
			case f.Lull():
			case !says(f.Event):
				if time.Since(lastContent) < pingGrace {
					a.touch()
				}
			case !a.linger.Load():
				lastContent = time.Now()
				a.touch()
			}
			if !a.give(yield, f) {
				return
			}
		}
	}
	return nil
}

// says reports whether an event moves the answer on. A ping, and whatever nobody knows yet, only proves that the upstream lives.
func says(event string) bool {
	switch event {
	case "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop":
		return true
	}
	return false
}

// give hands a frame to the caller and takes the time that costs out of the running limit: an event that waits in the socket
// while the caller reads slowly was not late.
func (a *attempt) give(yield func(sse.Frame, error) bool, f sse.Frame) bool {
	begun := time.Now()
	a.giving.Store(true)
	more := yield(f, nil)
	a.since.Add(int64(time.Since(begun)))
	a.giving.Store(false)
	return more
}

// shown picks the few upstream headers that callers may see. A senseless retry-after is not among them.
func shown(h http.Header) http.Header {
	out := http.Header{}
	for k, v := range h {
		low := strings.ToLower(k)
		switch {
		case low == "retry-after":
			if strings.TrimSpace(v[0]) == "0" || wire.Wait(h) > 0 {
				out.Set(k, v[0])
			}
		case low == "request-id", strings.HasPrefix(low, "anthropic-ratelimit-"), strings.HasPrefix(low, "anthropic-priority-"),
			strings.HasPrefix(low, "anthropic-fast-"), strings.HasPrefix(low, "x-ratelimit-"), low == "anthropic-organization-id", low == "anthropic-workspace-id":
			out[k] = v
		case low == "x-request-id", low == "x-generation-id":
			if out.Get("Request-Id") == "" {
				out.Set("Request-Id", v[0])
			}
		}
	}
	return out
}

// Get fetches a small JSON document.
func (u *Upstream) Get(ctx context.Context, path string, sign func(http.Header), limit time.Duration) ([]byte, error) {
	return u.small(ctx, http.MethodGet, path, sign, nil, limit)
}

// PostJSON asks for a small JSON document.
func (u *Upstream) PostJSON(ctx context.Context, path string, sign func(http.Header), body []byte, limit time.Duration) ([]byte, error) {
	return u.small(ctx, http.MethodPost, path, sign, body, limit)
}

func (u *Upstream) small(ctx context.Context, method, path string, sign func(http.Header), body []byte, limit time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, u.timeout("side_timeout", "the upstream did not answer in time"))
	defer cancel()
	var rd io.Reader
	if body != nil {
		rd = &once{b: body}
	}
	req, err := http.NewRequestWithContext(ctx, method, u.URL(path), rd)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "Internal error")
	}
	if body != nil {
		req.ContentLength = int64(len(body))
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "signalbox/"+u.Deps.Version)
	if sign != nil {
		sign(req.Header)
	}
	resp, err := u.client.Do(req)
	if err != nil {
		return nil, u.broken(ctx, err, false, req.Header)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
		return nil, u.name(wire.ReadError(u.Name, resp.StatusCode, resp.Header, text))
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return nil, u.broken(ctx, err, true, req.Header)
	}
	if len(data) > maxReply {
		return nil, &fault.Error{Kind: fault.Upstream, Provider: u.Name, Outcome: "too_large_answer", Message: "the upstream's list is larger than 16 MiB"}
	}
	return data, nil
}

// Connect opens and closes a TCP connection: all that a keyless upstream can be asked for its health.
func (u *Upstream) Connect(ctx context.Context) error {
	host := u.base.Host
	if u.base.Port() == "" {
		port := "80"
		if u.base.Scheme == "https" {
			port = "443"
		}
		host = net.JoinHostPort(u.base.Hostname(), port)
	}
	d := net.Dialer{Timeout: u.clocks.connect}
	c, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return u.broken(ctx, err, false, nil)
	}
	return c.Close()
}
