package testkit

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// RawUpstream is an upstream made of bytes: a TCP server that answers each request with a script, so that it can do what
// net/http is too polite for. It writes down what reached it.
type RawUpstream struct {
	// Addr is host:port.
	Addr string

	ln      net.Listener
	script  func(*RawConn)
	accept  func(net.Conn) bool
	done    chan struct{}
	running sync.WaitGroup
	mu      sync.Mutex
	asked   []*RawRequest
	conns   map[net.Conn]bool
	opened  int
}

// RawRequest is one request that arrived whole.
type RawRequest struct {
	Method, Target string // the request line's
	Head           string // the head's very bytes, the request line included
	Header         http.Header
	Body           []byte
	Conn           int // the how-manieth connection, from 1

	left chan struct{}
	at   time.Time
}

// Left is closed once the peer has gone: its end of the connection was closed or reset.
func (r *RawRequest) Left() <-chan struct{} { return r.left }

// LeftAt is when that was; only to be read after Left.
func (r *RawRequest) LeftAt() time.Time { return r.at }

// RawConn is the connection a script answers on. Its methods never fail the test: a peer who has gone is part of the play.
type RawConn struct {
	*RawRequest
	up    *RawUpstream
	conn  net.Conn
	ended bool
}

// NewRawUpstream listens on a loopback port until the test ends. The script is run for each request; when it returns without
// having closed the connection, the next request is read from it.
func NewRawUpstream(t testing.TB, script func(*RawConn)) *RawUpstream {
	t.Helper()
	return startRaw(t, script, nil)
}

// NewRawAcceptor is NewRawUpstream for plays that begin before a request is read: accept is given each new connection and
// says whether requests are to be read from it. The connection is closed with the test.
func NewRawAcceptor(t testing.TB, accept func(net.Conn) bool, script func(*RawConn)) *RawUpstream {
	t.Helper()
	return startRaw(t, script, accept)
}

func startRaw(t testing.TB, script func(*RawConn), accept func(net.Conn) bool) *RawUpstream {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &RawUpstream{Addr: ln.Addr().String(), ln: ln, script: script, accept: accept, done: make(chan struct{}), conns: map[net.Conn]bool{}}
	u.running.Add(1)
	go u.serve()
	t.Cleanup(u.Close)
	return u
}

// URL is the base address.
func (u *RawUpstream) URL() string { return "http://" + u.Addr }

// Close ends every connection and waits for the scripts.
func (u *RawUpstream) Close() {
	u.mu.Lock()
	select {
	case <-u.done:
	default:
		close(u.done)
	}
	_ = u.ln.Close()
	for c := range u.conns {
		_ = c.Close()
	}
	u.mu.Unlock()
	u.running.Wait()
}

// Requests are those that arrived whole so far.
func (u *RawUpstream) Requests() []*RawRequest {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]*RawRequest(nil), u.asked...)
}

// To counts the requests whose target begins with a path.
func (u *RawUpstream) To(path string) (n int) {
	for _, r := range u.Requests() {
		if strings.HasPrefix(r.Target, path) {
			n++
		}
	}
	return n
}

// Opened counts the connections that were made.
func (u *RawUpstream) Opened() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.opened
}

func (u *RawUpstream) serve() {
	defer u.running.Done()
	for {
		c, err := u.ln.Accept()
		if err != nil {
			return
		}
		u.mu.Lock()
		select {
		case <-u.done:
			_ = c.Close()
		default:
			u.conns[c] = true
			u.opened++
			u.running.Add(1)
			go u.play(c, u.opened)
		}
		u.mu.Unlock()
	}
}

func (u *RawUpstream) play(c net.Conn, number int) {
	defer u.running.Done()
	defer func() {
		u.mu.Lock()
		delete(u.conns, c)
		u.mu.Unlock()
		_ = c.Close()
	}()
	if u.accept != nil && !u.accept(c) {
		<-u.done
		return
	}
	var head bytes.Buffer
	rd := bufio.NewReader(c)
	for {
		head.Reset()
		req, err := readRaw(rd, &head)
		if err != nil {
			return
		}
		req.Conn = number
		u.mu.Lock()
		u.asked = append(u.asked, req)
		u.mu.Unlock()
		more := make(chan struct{})
		go func() {
			defer close(more)
			if _, err := rd.Peek(1); err != nil {
				req.at = time.Now()
				close(req.left)
			}
		}()
		rc := &RawConn{RawRequest: req, up: u, conn: c}
		u.script(rc)
		if rc.ended {
			<-more // the peer's end, or ours
			return
		}
		<-more
		select {
		case <-req.left:
			return
		default:
		}
	}
}

// readRaw reads one request and keeps its head's bytes.
func readRaw(rd *bufio.Reader, head *bytes.Buffer) (*RawRequest, error) {
	for {
		line, err := rd.ReadString('\n')
		if err != nil {
			return nil, err
		}
		head.WriteString(line)
		if strings.TrimRight(line, "\r\n") == "" {
			break
		}
	}
	text := head.String()
	req, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(text), rd)))
	if err != nil {
		return nil, err
	}
	// http.ReadRequest reads ahead of the head, so the body is read by its length; ours is always sent with one.
	if req.ContentLength < 0 {
		return nil, errors.New("testkit: a raw upstream reads only requests with a length")
	}
	body := make([]byte, req.ContentLength)
	if _, err := io.ReadFull(req.Body, body); err != nil {
		return nil, err
	}
	return &RawRequest{Method: req.Method, Target: req.RequestURI, Head: text, Header: req.Header, Body: body, left: make(chan struct{})}, nil
}

// Send writes bytes as they are. False: the peer has gone.
func (c *RawConn) Send(s string) bool {
	_, err := io.WriteString(c.conn, s)
	return err == nil
}

// Chunk writes one chunk of a chunked body.
func (c *RawConn) Chunk(s string) bool { return c.Send(fmt.Sprintf("%x\r\n%s\r\n", len(s), s)) }

// Answer writes a whole answer of known length.
func (c *RawConn) Answer(status int, kind, body string, header ...string) bool {
	return c.Send(Head(status, kind, append(header, fmt.Sprintf("Content-Length: %d", len(body)))...) + body)
}

// Head is the head of an answer; each header is a line without its end. An empty kind leaves the content type out.
func Head(status int, kind string, header ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", status, "X")
	if kind != "" {
		fmt.Fprintf(&b, "Content-Type: %s\r\n", kind)
	}
	for _, h := range header {
		b.WriteString(h + "\r\n")
	}
	return b.String() + "\r\n"
}

// FIN closes the connection in the proper way.
func (c *RawConn) FIN() {
	c.ended = true
	_ = c.conn.Close()
}

// RST closes the connection so that the peer sees a reset.
func (c *RawConn) RST() {
	if tc, ok := c.conn.(*net.TCPConn); ok {
		_ = tc.SetLinger(0)
	}
	c.FIN()
}

// Hang says nothing more until the peer has gone.
func (c *RawConn) Hang() {
	c.ended = true
	select {
	case <-c.left:
	case <-c.up.done:
	}
}

// Drip sends a text again and again, with a pause between, until the peer has gone.
func (c *RawConn) Drip(s string, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for c.Send(s) {
		select {
		case <-tick.C:
		case <-c.left:
			c.ended = true
			return
		case <-c.up.done:
			c.ended = true
			return
		}
	}
	c.ended = true
}

// Wait lets time pass, less when the peer goes.
func (c *RawConn) Wait(d time.Duration) {
	pause := time.NewTimer(d)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-c.left:
	case <-c.up.done:
	}
}
