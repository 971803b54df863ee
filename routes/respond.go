package routes

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"signalbox/internal/exchange"
	"signalbox/internal/fault"
	"signalbox/internal/sse"
	"signalbox/middleware"
	"signalbox/providers"
)

// Times of an open stream.
const (
	pingAfter    = 15 * time.Second // of silence
	writeRefresh = 5 * time.Second  // a write deadline is renewed when it is this old
	flushAt      = 32 << 10         // bytes gathered at most before they are sent
	piece        = 256 << 10        // bytes that share one write deadline
)

// answerHeaders says who answered and how. Headers of the reply are those that the provider chose to show.
func answerHeaders(c *gin.Context, reply *providers.Reply) {
	rec, h := middleware.Record(c), c.Writer.Header()
	if reply != nil {
		for k, v := range reply.Header {
			h[k] = v
		}
		if id := reply.Header.Get(middleware.HeaderUpstreamRequestID); id != "" {
			rec.UpstreamID = id
			if reply.Lane != exchange.Verbatim {
				h.Set(middleware.HeaderUpstreamRequestID, rec.RequestID)
			}
		}
	}
	if t := rec.Target(); t != "" {
		h.Set("X-Signalbox-Target", t)
	}
	if n := len(rec.Attempts); n > 0 || reply != nil {
		if reply != nil && reply.Frames != nil {
			n++ // the running one has not been settled yet
		}
		h.Set("X-Signalbox-Attempts", strconv.Itoa(n))
	}
	if rec.Fallback != "" {
		h.Set("X-Signalbox-Fallback", rec.Fallback)
	}
	if len(rec.Dropped) > 0 {
		h.Set("X-Signalbox-Dropped", strings.Join(rec.Dropped, ", "))
	}
}

// respond writes a reply. It returns when the answer has ended or the caller has left; the caller closes the reply.
func respond(c *gin.Context, reply *providers.Reply, s *stream) {
	rec := middleware.Record(c)
	if !s.begun {
		answerHeaders(c, reply)
	}
	if reply.Body != nil {
		h := c.Writer.Header()
		cost, priced := rec.Cost()
		if priced {
			h.Set("X-Signalbox-Cost-Usd", cost.Decimal())
		} else {
			h.Set("X-Signalbox-Cost-Usd", "unpriced")
		}
		rec.FirstFrame = time.Since(rec.Start)
		writeWhole(c, http.StatusOK, "application/json", reply.Body, s.limit)
		return
	}
	s.run(reply)
}

// writeWhole sends a body in pieces, each with a fresh deadline, so that a slow reader of a large answer is not cut while he
// reads.
func writeWhole(c *gin.Context, status int, kind string, body []byte, limit time.Duration) {
	middleware.LeaveBody(c)
	h := c.Writer.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.Writer.WriteHeader(status)
	rc := http.NewResponseController(c.Writer)
	defer func() { _ = rc.SetWriteDeadline(time.Time{}) }()
	for len(body) > 0 {
		n := min(piece, len(body))
		_ = rc.SetWriteDeadline(time.Now().Add(limit))
		if _, err := c.Writer.Write(body[:n]); err != nil {
			gone(c, err)
			return
		}
		body = body[n:]
	}
}

// gone notes that the caller did not take the answer.
func gone(c *gin.Context, err error) {
	rec := middleware.Record(c)
	rec.Status = 499
	rec.Err = fault.Wrap(fault.Canceled, err, "the caller left")
}

// stream writes frames to one caller. The serving goroutine writes frames; a timer writes pings; mu keeps them apart.
type stream struct {
	c     *gin.Context
	rec   *exchange.Record
	rc    *http.ResponseController
	limit time.Duration

	mu      sync.Mutex
	begun   bool
	buf     []byte
	renewed time.Time // when the write deadline was last set
	last    time.Time // when something was last sent
	closed  bool
	failed  error
	ping    *time.Timer
}

func newStream(c *gin.Context, rec *exchange.Record, limit time.Duration) *stream {
	return &stream{c: c, rec: rec, rc: http.NewResponseController(c.Writer), limit: limit}
}

// begin sends the head of the stream, once; mu is held.
func (s *stream) begin() {
	if s.begun {
		return
	}
	s.begun = true
	s.buf = make([]byte, 0, 4096)
	h := s.c.Writer.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	s.c.Writer.WriteHeader(http.StatusOK)
	s.last = time.Now()
	s.ping = time.AfterFunc(pingAfter, s.keepAlive)
}

// early opens the stream with a ping when the upstream has said nothing for a while, for callers behind proxies that give up.
// From then on an error is an event. stop reports whether that has happened.
func (s *stream) early(after time.Duration) (stop func() bool) {
	t := time.AfterFunc(after, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed {
			return
		}
		s.begin()
		s.buf = sse.Append(s.buf, sse.Frame{Event: "ping", Data: []byte(`{"type":"ping"}`)})
		_ = s.flush()
	})
	return func() bool {
		t.Stop()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.closed = !s.begun
		return s.begun
	}
}

func (s *stream) run(reply *providers.Reply) {
	s.mu.Lock()
	s.closed = false
	s.begin()
	s.mu.Unlock()
	defer s.end()
	s.rec.FirstFrame = time.Since(s.rec.Start)
	returned := false
	defer func() {
		if !returned { // a panic passes through: the caller is told before Recover writes it down
			s.fail(&fault.Error{Kind: fault.Internal, Outcome: "panic", Message: "Internal error"})
		}
	}()
	s.follow(reply)
	returned = true
}

func (s *stream) follow(reply *providers.Reply) {
	for f, err := range reply.Frames {
		if err != nil {
			s.fail(err)
			return
		}
		if err := s.frame(f); err != nil {
			gone(s.c, err)
			return
		}
	}
}

// abandon makes sure that no timer writes to a connection whose handler has returned.
func (s *stream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.ping != nil {
		s.ping.Stop()
	}
}

// frame gathers a frame; a lull, or enough of them, sends what was gathered.
func (s *stream) frame(f sse.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	if f.Lull() {
		return s.flush()
	}
	s.buf = sse.Append(s.buf, f)
	if len(s.buf) >= flushAt {
		return s.flush()
	}
	return nil
}

// flush sends what was gathered; mu is held.
func (s *stream) flush() error {
	if len(s.buf) == 0 {
		return s.failed
	}
	var err error
	for rest := s.buf; len(rest) > 0 && err == nil; {
		n := min(piece, len(rest))
		if now := time.Now(); now.Sub(s.renewed) >= min(writeRefresh, s.limit/4) {
			s.renewed = now
			_ = s.rc.SetWriteDeadline(now.Add(s.limit))
		}
		if _, err = s.c.Writer.Write(rest[:n]); err == nil {
			err = s.rc.Flush()
		}
		rest = rest[n:]
	}
	s.buf = s.buf[:0]
	if cap(s.buf) > 8*flushAt {
		s.buf = make([]byte, 0, 4096) // one huge event must not stay with the stream
	}
	s.last = time.Now()
	s.failed = err
	return err
}

// keepAlive sends a ping after a silence, and looks again later.
func (s *stream) keepAlive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.failed != nil {
		return
	}
	if quiet := time.Since(s.last); quiet < pingAfter {
		s.ping.Reset(pingAfter - quiet)
		return
	}
	s.buf = sse.Append(s.buf, sse.Frame{Event: "ping", Data: []byte(`{"type":"ping"}`)})
	if s.flush() == nil {
		s.ping.Reset(pingAfter)
	}
}

// fail ends the stream with an error event, after which nothing follows.
func (s *stream) fail(err error) {
	f := fault.From(err)
	if f.Kind == fault.Canceled {
		gone(s.c, err)
		return
	}
	s.rec.Err, s.rec.Status = err, statusOf(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = sse.Append(s.buf, sse.Frame{Event: "error", Data: problemEvent(f, s.rec.RequestID)})
	_ = s.flush()
}

func (s *stream) end() {
	s.ping.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if err := s.flush(); err != nil && s.rec.Err == nil && !errors.Is(err, http.ErrNotSupported) {
		gone(s.c, err)
	}
	_ = s.rc.SetWriteDeadline(time.Time{})
}
