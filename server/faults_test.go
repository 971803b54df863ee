package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/exchange"
	"signalbox/internal/testkit"
)

// faultRow is one row of the fault catalogue (reliability-security §8), for each dialect, whole and streamed.
type faultRow struct {
	id, it string
	only   string                                // dialects, empty: all
	mode   string                                // json or stream, empty: both
	set    func(*config.Provider)                // further configuration
	base   func(testing.TB) string               // an address, where no request ever arrives
	accept func(net.Conn) bool                   // what happens before a request is read
	play   func(*tongue, bool, *testkit.RawConn) // what is answered
	json   want
	stream want                               // status 0: as json
	also   func(testing.TB, *tongue, *answer) // further checks
}

// want is what must be seen: by the caller, in the book, and at the upstream.
type want struct {
	status int    // 200 with a kind: an error event
	kind   string // the error's type; empty: success
	or     string // another type that is as good, with its status: "504 timeout_error"
	state  []exchange.State
	labels string // possible outcomes; empty: any
	says   string // the text of a success; empty: "Hello sea"
}

var (
	void      = []exchange.State{exchange.Void}
	estimated = []exchange.State{exchange.Estimated}
	settled   = []exchange.State{exchange.Settled}
	either    = []exchange.State{exchange.Void, exchange.Estimated}
	counted   = []exchange.State{exchange.Estimated, exchange.Settled}
)

func e(status int, kind string, state []exchange.State, labels string) want {
	return want{status: status, kind: kind, state: state, labels: labels}
}
func bad(state []exchange.State, labels string) want  { return e(502, "api_error", state, labels) }
func late(state []exchange.State, labels string) want { return e(504, "timeout_error", state, labels) }
func event1(kind, labels string) want                 { return e(200, kind, estimated, labels) }
func good(state []exchange.State) want                { return want{status: 200, state: state, labels: "ok"} }

type play = func(*tongue, bool, *testkit.RawConn)

// proper answers as it should.
func proper(g *tongue, stream bool, c *testkit.RawConn) { body(g, stream, c, g.whole, g.stream()) }

// body answers with one of two texts, in the proper frame.
func body(g *tongue, stream bool, c *testkit.RawConn, whole, streamed string) {
	if !stream {
		c.Answer(200, g.wholeType, whole)
		return
	}
	c.Send(testkit.Head(200, g.streamType, "Transfer-Encoding: chunked"))
	if streamed != "" {
		c.Chunk(streamed)
	}
	c.Send("0\r\n\r\n")
}

// begin opens a chunked stream and says the first word.
func begin(g *tongue, c *testkit.RawConn) {
	c.Send(testkit.Head(200, g.streamType, "Transfer-Encoding: chunked"))
	c.Chunk(g.first)
}

func status(code int, kind, text string, header ...string) play {
	return func(_ *tongue, _ bool, c *testkit.RawConn) { c.Answer(code, kind, text, header...) }
}

func raw(bytes string, then func(*testkit.RawConn)) play {
	return func(_ *tongue, _ bool, c *testkit.RawConn) {
		c.Send(bytes)
		then(c)
	}
}

func whileLeft(bytes string) play {
	return func(_ *tongue, _ bool, c *testkit.RawConn) {
		for c.Send(bytes) {
		}
		c.FIN()
	}
}

// instead answers with these texts per dialect.
func instead(whole, streamed map[string]string) play {
	return func(g *tongue, stream bool, c *testkit.RawConn) { body(g, stream, c, whole[g.name], streamed[g.name]) }
}

func quick(p *config.Provider) { p.Timeouts.Total = config.Duration(3 * time.Second) }

const jsonError = `{"error":{"message":"something about it","type":"x"}}`

var faultRows = []faultRow{
	// A. Reaching the upstream
	{id: "F1", it: "does not resolve", base: func(testing.TB) string { return "http://nobody.test:80" }, json: bad(void, "dns")},
	{id: "F2a", it: "resolves slowly", base: func(testing.TB) string { return "http://slow.test:80" }, json: late(void, "connect_timeout")},
	{id: "F2b", it: "resolves to a dead first address", base: func(t testing.TB) string {
		up := testkit.NewRawUpstream(t, func(c *testkit.RawConn) {
			if side(c) {
				return
			}
			for _, g := range tongues {
				if strings.HasPrefix(c.Target, g.path) {
					proper(g, streamed(c), c)
				}
			}
		})
		_, port, _ := net.SplitHostPort(up.Addr)
		return "http://two.test:" + port
	}, json: good(settled)},
	{id: "F3", it: "refuses the connection", base: func(t testing.TB) string { return "http://" + boundPort(t, -1) }, json: bad(void, "connect")},
	{id: "F4", it: "swallows the SYN", base: deafPort, json: late(void, "connect_timeout")},
	{id: "F5", it: "shows a certificate that nobody knows", base: func(t testing.TB) string {
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		return s.URL
	}, json: bad(void, "tls"), also: func(t testing.TB, _ *tongue, a *answer) {
		if strings.Contains(a.text, "x509") || strings.Contains(a.text, "certificate") {
			t.Errorf("the caller hears of the chain: %s", a.text)
		}
	}},
	{id: "F6", it: "hangs in the TLS handshake", base: func(t testing.TB) string {
		up := testkit.NewRawAcceptor(t, func(net.Conn) bool { return false }, nil)
		return "https://" + up.Addr
	}, json: late(void, "tls_timeout")},
	{id: "F7", it: "resets before the request is written", accept: func(c net.Conn) bool {
		_ = c.(*net.TCPConn).SetLinger(0)
		_ = c.Close()
		return false
	}, json: bad(either, "reset no_response connect")}, // the reset may overtake the end of the dial

	// B. Before the first token
	{id: "F10a", it: "closes without an answer", play: raw("", (*testkit.RawConn).FIN), json: bad(estimated, "no_response")},
	{id: "F10b", it: "resets without an answer", play: raw("", (*testkit.RawConn).RST), json: bad(estimated, "no_response")},
	{id: "F11", it: "is silent for ever", play: raw("", (*testkit.RawConn).Hang), set: quick, json: late(estimated, "head_timeout total_timeout")},
	{id: "F12a", it: "says half a status line", play: raw("HTTP/1.1 20", (*testkit.RawConn).Hang), set: quick, json: late(estimated, "head_timeout total_timeout")},
	{id: "F12b", it: "says a head byte by byte", set: quick, play: func(_ *tongue, _ bool, c *testkit.RawConn) {
		c.Send("HTTP/1.1 200 OK\r\nX-Slow: ")
		c.Drip("a", 50*time.Millisecond)
	}, json: late(estimated, "head_timeout total_timeout")},
	{id: "F13a", it: "never ends its headers", play: func(g *tongue, s bool, c *testkit.RawConn) {
		c.Send("HTTP/1.1 200 OK\r\n")
		whileLeft("X-A: "+strings.Repeat("a", 1000)+"\r\n")(g, s, c)
	}, json: bad(estimated, "protocol")},
	{id: "F13b", it: "says one huge header", play: func(g *tongue, s bool, c *testkit.RawConn) {
		c.Send("HTTP/1.1 200 OK\r\nX-A: ")
		whileLeft(strings.Repeat("a", 1000))(g, s, c)
	}, json: bad(estimated, "protocol")},
	{id: "F14", it: "says 1xx for ever", set: quick, play: whileLeft("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), json: want{status: 502, kind: "api_error", or: "504 timeout_error", state: estimated}},
	{id: "F15a", it: "is not HTTP at all", play: raw("SSH-2.0-OpenSSH_9.2\r\n", (*testkit.RawConn).FIN), json: bad(estimated, "protocol")},
	{id: "F15b", it: "says an impossible status line", play: raw("HTTP/1.1 abc OK\r\n\r\n", (*testkit.RawConn).FIN), json: bad(estimated, "protocol")},
	{id: "F16a", it: "says 204", play: raw("HTTP/1.1 204 No Content\r\n\r\n", func(*testkit.RawConn) {}), json: bad(void, "protocol")},
	{id: "F16b", it: "says 101", play: raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", (*testkit.RawConn).Hang), json: bad(void, "protocol")},
	{id: "F16c", it: "says 999", play: status(999, "text/plain", "what?"), json: bad(void, "protocol")},
	{id: "F16d", it: "says 206", play: status(206, "application/json", "{}"), json: bad(void, "protocol")},
	{id: "F17", it: "redirects", play: status(307, "text/html", "<a href=x>moved</a>", "Location: http://127.0.0.1:1/elsewhere?key=secret"), json: bad(void, "redirect")},
	{id: "F18a", it: "says 400", play: status(400, "application/json", jsonError), json: e(400, "invalid_request_error", void, "bad_request")},
	{id: "F18b", it: "says 422", play: status(422, "application/json", `{"detail":[{"loc":["body"],"msg":"something about it"}]}`), json: e(400, "invalid_request_error", void, "bad_request")},
	{id: "F19a", it: "says 401", play: status(401, "application/json", jsonError), json: bad(void, "upstream_auth"), also: permanent},
	{id: "F19b", it: "says 403", play: status(403, "application/json", jsonError), json: e(403, "permission_error", void, "upstream_auth"), also: permanent},
	{id: "F20a", it: "says 402", play: status(402, "application/json", jsonError), json: e(402, "billing_error", void, "upstream_billing"), also: permanent},
	{id: "F20b", it: "says that its quota is used up", play: status(429, "application/json", `{"error":{"message":"You exceeded your quota","code":"insufficient_quota"}}`), json: e(402, "billing_error", void, "upstream_billing"), also: permanent},
	{id: "F21", it: "does not know the model", play: status(404, "application/json", jsonError), json: e(404, "not_found_error", void, "not_found")},
	{id: "F22a", it: "says 408", play: status(408, "application/json", jsonError), json: late(estimated, "upstream_timeout")},
	{id: "F22b", it: "says 504", play: status(504, "text/html", "<html>gateway timeout</html>"), json: late(estimated, "upstream_timeout")},
	{id: "F23a", it: "says 413", play: status(413, "application/json", jsonError), json: e(413, "request_too_large", void, "too_large")},
	{id: "F23b", it: "says that the context is too long", play: status(400, "application/json", `{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.","code":"context_length_exceeded"}}`),
		json: e(400, "invalid_request_error", void, "too_large"), also: func(t testing.TB, _ *tongue, a *answer) {
			if a.message() != "prompt is too long: 9000 tokens > 8192 maximum" {
				t.Errorf("the message is %q", a.message())
			}
		}},
	{id: "F24a", it: "says 429 with seconds", play: status(429, "application/json", jsonError, "Retry-After: 7"), json: e(429, "rate_limit_error", void, "rate_limited"), also: retryAfter("7")},
	{id: "F24b", it: "says 429 with a date", play: status(429, "application/json", jsonError, "Date: Sun, 01 Nov 2026 10:00:00 GMT", "Retry-After: Sun, 01 Nov 2026 10:00:09 GMT"), json: e(429, "rate_limit_error", void, "rate_limited"), also: retryAfter("9")},
	{id: "F24c", it: "says 429 with reset headers", play: status(429, "application/json", jsonError, "X-Ratelimit-Reset-Requests: 2s", "X-Ratelimit-Remaining-Requests: 0"), json: e(429, "rate_limit_error", void, "rate_limited"), also: retryAfter("2")},
	{id: "F25a", it: "says 429 without a time", play: status(429, "application/json", jsonError), json: e(429, "rate_limit_error", void, "rate_limited"), also: retryAfter("")},
	{id: "F25b", it: "says 429 with a senseless time", play: status(429, "application/json", jsonError, "Retry-After: -5"), json: e(429, "rate_limit_error", void, "rate_limited"), also: retryAfter("")},
	{id: "F25c", it: "says 429 with a year", play: status(429, "application/json", jsonError, "Retry-After: 31536000"), json: e(429, "rate_limit_error", void, "rate_limited"), also: retryAfter("")},
	{id: "F26a", it: "says 500 in JSON", play: status(500, "application/json", jsonError), json: bad(estimated, "upstream_5xx")},
	{id: "F26b", it: "says 502 in HTML", play: status(502, "text/html", "<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>"), json: bad(estimated, "upstream_5xx")},
	{id: "F26c", it: "says 500 with an empty body", play: status(500, "", ""), json: bad(estimated, "upstream_5xx")},
	{id: "F26d", it: "says 503", play: status(503, "text/html", "<html>busy</html>"), json: e(529, "overloaded_error", estimated, "upstream_5xx")},
	{id: "F26e", it: "says 503 and when to come back", play: status(503, "application/json", jsonError, "Retry-After: 3"), json: e(529, "overloaded_error", void, "upstream_5xx"), also: retryAfter("3")},
	{id: "F27", it: "says 529", play: status(529, "application/json", jsonError), json: e(529, "overloaded_error", void, "overloaded")},
	{id: "F28a", it: "never ends its error body", play: func(g *tongue, s bool, c *testkit.RawConn) {
		c.Send(testkit.Head(400, "text/plain", "Connection: close"))
		whileLeft(strings.Repeat("bad ", 1000))(g, s, c)
	}, json: e(400, "invalid_request_error", void, "bad_request")},
	{id: "F28b", it: "hangs in its error body", play: raw("HTTP/1.1 404 Not Found\r\nContent-Length: 1000\r\n\r\n{\"error\":", (*testkit.RawConn).Hang), json: e(404, "not_found_error", void, "not_found")},
	{id: "F29", it: "says our key back", play: func(g *tongue, _ bool, c *testkit.RawConn) {
		key := "sk-test-" + g.name + "-1234567890"
		c.Answer(400, "text/html", "<html><script>alert(1)</script>\x1b[31mBad key "+key+" at http://10.0.0.7:8080/x?key="+key+"</html>")
	}, json: e(400, "invalid_request_error", void, "bad_request"), also: scrubbed},
	{id: "F29b", it: "says our key back in an envelope", play: func(g *tongue, _ bool, c *testkit.RawConn) {
		c.Answer(400, "application/json", `{"type":"error","error":{"type":"invalid_request_error","message":"Bad key sk-test-`+g.name+`-1234567890"}}`)
	}, json: e(400, "invalid_request_error", void, "bad_request"), also: scrubbed},
	{id: "F29c", it: "is no HTTP server and says our head back", play: func(_ *tongue, _ bool, c *testkit.RawConn) {
		c.Send("HTTP/1.1 200 OK\r\n" + strings.ReplaceAll(c.Head, ": ", " "))
		c.FIN()
	}, json: bad(estimated, "protocol"), also: scrubbed},
	{id: "F30", it: "says 200 with an error document", play: instead(
		map[string]string{"openai": `{"error":{"message":"too busy","code":429}}`, "ollama": `{"error":"model runner has unexpectedly stopped"}`, "anthropic": `{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}`,
			"gemini": `{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}`, "openai-responses": `{"object":"response","status":"failed","error":{"code":"rate_limit_exceeded","message":"slow down"},"output":[]}`},
		map[string]string{"openai": "data: {\"error\":{\"message\":\"too busy\",\"code\":429}}\n\n", "ollama": "{\"error\":\"model runner has unexpectedly stopped\"}\n", "anthropic": "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow down\"}}\n\n",
			"gemini": "data: {\"error\":{\"code\":429,\"message\":\"slow down\",\"status\":\"RESOURCE_EXHAUSTED\"}}\n\n", "openai-responses": "data: {\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"slow down\"}\n\n"}),
		json: want{status: 429, kind: "rate_limit_error", or: "502 api_error", state: void, labels: "error_in_200"}},
	{id: "F31a", it: "says 200 with HTML", play: status(200, "text/html", "<!DOCTYPE html><html><body>Sign in</body></html>"), json: bad(estimated, "bad_body protocol empty_stream truncated")},
	{id: "F31b", it: "says 200 with nothing", play: status(200, "application/json", ""), json: bad(estimated, "bad_body empty_stream")},
	{id: "F31c", it: "labels a right body wrong", play: func(g *tongue, s bool, c *testkit.RawConn) {
		wrong := *g
		wrong.wholeType, wrong.streamType = "text/plain", "application/octet-stream"
		proper(&wrong, s, c)
	}, json: good(settled)},
	{id: "F32a", it: "cuts its JSON short of its length", mode: "json", play: func(g *tongue, _ bool, c *testkit.RawConn) {
		c.Send(testkit.Head(200, "application/json", fmt.Sprintf("Content-Length: %d", len(g.whole))) + g.whole[:len(g.whole)/2])
		c.FIN()
	}, json: bad(estimated, "bad_body")},
	{id: "F32b", it: "cuts its JSON in a proper frame", mode: "json", play: func(g *tongue, _ bool, c *testkit.RawConn) {
		c.Answer(200, "application/json", g.whole[:len(g.whole)/2])
	}, json: bad(estimated, "bad_body")},
	{id: "F33a", it: "answers with wrong types", mode: "json", play: instead(map[string]string{"openai": `{"choices":"none","usage":[]}`, "ollama": `{"message":[1],"done":"yes"}`, "anthropic": `{"type":7,"content":"x"}`, "gemini": `{"candidates":"none"}`, "openai-responses": `{"output":"none","status":7}`}, nil), json: bad(estimated, "bad_body protocol empty_stream truncated")},
	{id: "F33b", it: "answers with nulls", mode: "json", play: instead(map[string]string{"openai": `{"choices":null,"usage":null}`, "ollama": `{"message":null,"done":null}`, "anthropic": `{"type":null,"content":null}`, "gemini": `{"candidates":null}`, "openai-responses": `{"output":null,"status":null}`}, nil), json: bad(estimated, "bad_body protocol empty_stream truncated")},
	{id: "F33c", it: "answers with an array", mode: "json", play: status(200, "application/json", `[]`), json: bad(estimated, "bad_body protocol")},
	{id: "F34a", it: "nests deeply", play: func(g *tongue, s bool, c *testkit.RawConn) {
		deep := strings.Repeat("[", 200_000)
		body(g, s, c, deep, "data: "+deep+"\n\n")
	}, json: bad(estimated, "bad_body protocol empty_stream truncated")},
	{id: "F34b", it: "says giant numbers and everything twice", play: func(g *tongue, s bool, c *testkit.RawConn) {
		more := `{"huge":1e99999,"long":` + strings.Repeat("9", 5000) + `,"model":"m","model":"n",`
		body(g, s, c, strings.Replace(g.whole, "{", more, 1), strings.Replace(g.stream(), "{", more, 1))
	}, json: good(settled)},
	{id: "F35", it: "never ends its JSON", mode: "json", play: func(_ *tongue, _ bool, c *testkit.RawConn) {
		c.Send(testkit.Head(200, "application/json", "Connection: close") + `{"a":"`)
		for c.Send(strings.Repeat("a", 1<<20)) {
		}
		c.FIN()
	}, json: bad(estimated, "too_large_answer")},
	{id: "F36a", it: "compresses unasked", play: func(g *tongue, s bool, c *testkit.RawConn) {
		c.Answer(200, g.wholeType, zipped(g.whole), "Content-Encoding: gzip")
	}, json: bad(estimated, "encoding")},
	{id: "F36b", it: "sends a gzip bomb", play: func(g *tongue, s bool, c *testkit.RawConn) {
		c.Answer(200, g.wholeType, bomb(), "Content-Encoding: gzip")
	}, json: bad(estimated, "encoding")},
	{id: "F37", it: "streams where a whole answer was asked for, and the other way round", play: func(g *tongue, s bool, c *testkit.RawConn) {
		proper(g, !s, c)
	}, json: want{status: 200, or: "502 api_error", state: counted}},
	{id: "F38", it: "says 103 first", play: func(g *tongue, s bool, c *testkit.RawConn) {
		c.Send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
		proper(g, s, c)
	}, json: good(settled)},
	{id: "F39", it: "ends its body with the connection", play: func(g *tongue, s bool, c *testkit.RawConn) {
		text, kind := g.whole, g.wholeType
		if s {
			text, kind = g.stream(), g.streamType
		}
		c.Send("HTTP/1.0 200 OK\r\nContent-Type: " + kind + "\r\n\r\n" + text)
		c.FIN()
	}, json: good(settled)},
	{id: "F40a", it: "leaves its usage out", play: usage(`12`, ``), json: good(counted)},
	{id: "F40b", it: "says a negative usage", play: usage(`-12`, `-3`), json: good(estimated)},
	{id: "F40c", it: "says a huge usage", play: usage(`12000000000000`, `99999999999999999999`), json: good(estimated)},
	{id: "F40d", it: "says its usage as a text", play: usage(`"12"`, `"3"`), json: good(counted)},
	{id: "F40e", it: "says its usage in fractions", play: usage(`12.5`, `3.5`), json: good(estimated)},
	{id: "F41a", it: "says a head and then nothing", mode: "stream", play: func(g *tongue, _ bool, c *testkit.RawConn) {
		c.Send(testkit.Head(200, g.streamType, "Transfer-Encoding: chunked"))
		c.Hang()
	}, json: late(estimated, "first_token_timeout")},
	{id: "F41b", it: "says nothing but comments and blank lines", mode: "stream", play: func(g *tongue, _ bool, c *testkit.RawConn) {
		c.Send(testkit.Head(200, g.streamType, "Connection: close"))
		text := ": still there\n\n"
		if g.name == "ollama" {
			text = "\n\n"
		}
		c.Drip(text, 50*time.Millisecond)
	}, json: late(estimated, "first_token_timeout")},
	{id: "F41c", it: "says nothing but pings and a role", mode: "stream", only: "openai anthropic", play: func(g *tongue, _ bool, c *testkit.RawConn) {
		c.Send(testkit.Head(200, g.streamType, "Connection: close"))
		text := "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
		if g.name == "anthropic" {
			start, _, _ := strings.Cut(g.first, "event: content_block_start")
			c.Send(start)
			text = "event: ping\ndata: {\"type\":\"ping\"}\n\n"
		}
		c.Drip(text, 50*time.Millisecond)
	}, json: late(estimated, "first_token_timeout")},
	{id: "F42", it: "says a head and ends", mode: "stream", play: instead(nil, nil), json: bad(estimated, "empty_stream")},
	{id: "F42b", it: "says only that it is done", mode: "stream", only: "openai", play: instead(nil, map[string]string{"openai": "data: [DONE]\n\n"}), json: bad(estimated, "empty_stream")},

	// C. After the first token
	{id: "F50", it: "resets", play: func(g *tongue, s bool, c *testkit.RawConn) {
		half(g, s, c)
		c.Wait(500 * time.Millisecond)
		c.RST()
	}, json: bad(estimated, "midstream_reset midstream_eof bad_body"), stream: event1("api_error", "midstream_reset midstream_eof")},
	{id: "F51a", it: "closes without the last chunk", play: func(g *tongue, s bool, c *testkit.RawConn) {
		half(g, s, c)
		c.FIN()
	}, json: bad(estimated, "midstream_eof bad_body"), stream: event1("api_error", "midstream_eof")},
	{id: "F51b", it: "says a bad chunk size", play: func(g *tongue, s bool, c *testkit.RawConn) {
		half(g, s, c)
		c.Wait(500 * time.Millisecond)
		c.Send("zz\r\nwhat\r\n")
		c.Hang()
	}, json: bad(estimated, "midstream_eof bad_body"), stream: event1("api_error", "midstream_eof")},
	{id: "F52a", it: "falls silent", set: quickWhole, play: func(g *tongue, s bool, c *testkit.RawConn) {
		half(g, s, c)
		c.Hang()
	}, json: late(estimated, "total_timeout"), stream: event1("timeout_error", "midstream_timeout total_timeout")},
	{id: "F52b", it: "says one byte at a time inside a line", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		half(g, s, c)
		c.Drip("1\r\n{\r\n", 50*time.Millisecond)
	}, stream: event1("timeout_error", "midstream_timeout")},
	{id: "F52c", it: "says only comments", mode: "stream", only: "openai anthropic gemini openai-responses", play: func(g *tongue, s bool, c *testkit.RawConn) {
		half(g, s, c)
		c.Drip("5\r\n: hm\n\r\n", 50*time.Millisecond)
	}, stream: event1("timeout_error", "midstream_timeout")},
	{id: "F53", it: "ends without an end", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		body(g, s, c, "", g.first+g.more)
	}, stream: event1("api_error", "truncated")},
	{id: "F54a", it: "gives its finish, but neither usage nor [DONE]", mode: "stream", only: "openai", play: func(g *tongue, s bool, c *testkit.RawConn) {
		body(g, s, c, "", g.first+g.more+"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n")
	}, stream: good(estimated)},
	{id: "F54b", it: "gives its finish and lingers", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		begin(g, c)
		c.Chunk(g.more + g.finish)
		c.Hang()
	}, stream: good(counted)},
	{id: "F55", it: "sends an error as an event", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		body(g, s, c, "", g.first+g.failure)
	}, stream: want{status: 200, kind: "?failure", state: estimated, labels: "midstream_error"}},
	{id: "F56a", it: "sends a malformed event", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		bad := "data: {\"choices\":[{]}\n\n"
		if g.name == "ollama" {
			bad = "{\"message\":{]}\n"
		}
		body(g, s, c, "", g.first+bad+g.more+g.finish+g.end)
	}, stream: event1("api_error", "protocol")},
	{id: "F56b", it: "sends binary", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		bad := "data: \x00\x01\xff\xfe{}\n\n"
		if g.name == "ollama" {
			bad = "\x00\x01\xff\xfe{}\n"
		}
		body(g, s, c, "", g.first+bad+g.more+g.finish+g.end)
	}, stream: event1("api_error", "protocol")},
	{id: "F57", it: "never ends a line", mode: "stream", set: patient, play: func(g *tongue, s bool, c *testkit.RawConn) {
		c.Send(testkit.Head(200, g.streamType, "Connection: close"))
		c.Send(g.first + "data: {\"a\":\"")
		for c.Send(strings.Repeat("a", 1<<20)) {
		}
		c.FIN()
	}, stream: event1("api_error", "protocol")},
	{id: "F58", it: "talks for ever", mode: "stream", set: quick, play: func(g *tongue, s bool, c *testkit.RawConn) {
		c.Send(testkit.Head(200, g.streamType, "Connection: close"))
		c.Send(g.first)
		c.Drip(g.more, 10*time.Millisecond)
	}, stream: event1("timeout_error", "total_timeout runaway")},
	{id: "F59a", it: "cuts a tool's arguments", only: "openai openai-responses", play: instead(
		map[string]string{"openai-responses": `{"status":"completed","output":[{"type":"function_call","call_id":"c1","name":"t","arguments":"{\"a\":"}]}`,
			"openai": `{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"t","arguments":"{\"a\":"}}]},"finish_reason":"tool_calls"}]}`},
		map[string]string{"openai-responses": "data: {\"type\":\"response.output_item.added\",\"output_index\":0,\"item\":{\"type\":\"function_call\",\"call_id\":\"c1\",\"name\":\"t\",\"arguments\":\"\"}}\n\ndata: {\"type\":\"response.function_call_arguments.delta\",\"output_index\":0,\"delta\":\"{\\\"a\\\":\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[]}}\n\n",
			"openai": "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"t\",\"arguments\":\"{\\\"a\\\":\"}}]}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n"}),
		json: bad(estimated, "bad_tool"), stream: event1("api_error", "bad_tool"), also: func(t testing.TB, _ *tongue, a *answer) {
			for _, ev := range a.events {
				if ev.name == "content_block_stop" {
					t.Error("the cut call is presented as complete")
				}
			}
		}},
	{id: "F59b", it: "gives arguments that are no object", only: "openai ollama gemini", play: instead(
		map[string]string{"gemini": `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"t","args":[1]}}]},"finishReason":"STOP"}]}`,
			"openai": `{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"t","arguments":"[1]"}}]},"finish_reason":"tool_calls"}]}`,
			"ollama": `{"model":"m","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"t","arguments":[1]}}]},"done":true,"done_reason":"stop"}`},
		map[string]string{"gemini": "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"t\",\"args\":[1]}}]},\"finishReason\":\"STOP\"}]}\n\n",
			"openai": "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c1\",\"function\":{\"name\":\"t\",\"arguments\":\"[1]\"}}]}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n",
			"ollama": "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"t\",\"arguments\":[1]}}]},\"done\":false}\n{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}\n"}),
		json: bad(estimated, "bad_tool"), stream: event1("api_error", "bad_tool")},
	{id: "F60", it: "lets two calls interleave, jumps with indexes, forgets and repeats ids", mode: "stream", only: "openai", play: instead(nil, map[string]string{"openai": strings.Join([]string{
		`data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":3,"id":"same","function":{"name":"one","arguments":"{\"a\""}}]}}]}`,
		`data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":7,"function":{"name":"two","arguments":"{\"b\""}}]}}]}`,
		`data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":3,"function":{"arguments":":1}"}}]}}]}`,
		`data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":7,"function":{"arguments":":2}"}}]}}]}`,
		`data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":9,"id":"same","function":{"name":"three","arguments":"{}"}}]}}]}`,
		`data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":12,"completion_tokens":3}}`,
		"data: [DONE]", ""}, "\n\n")}), stream: want{status: 200, state: settled, labels: "ok", says: "-"}, also: func(t testing.TB, _ *tongue, a *answer) {
		ids, names, args := map[string]bool{}, "", ""
		for _, ev := range a.events {
			if b := gjson.Get(ev.data, "content_block"); b.Exists() {
				ids[b.Get("id").String()] = true
				names += b.Get("name").String() + " "
			}
			args += gjson.Get(ev.data, "delta.partial_json").String()
		}
		if len(ids) != 3 || names != "one two three " || args != `{"a":1}{"b":2}{}` {
			t.Errorf("ids %v, names %q, arguments %q", ids, names, args)
		}
	}},
	{id: "F61a", it: "talks on after its end", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		body(g, s, c, "", g.stream()+g.more+g.finish+g.first)
	}, stream: good(settled)},
	{id: "F61b", it: "talks on after its end for ever", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		c.Send(testkit.Head(200, g.streamType, "Connection: close"))
		c.Send(g.stream())
		c.Drip(g.more, 10*time.Millisecond)
	}, stream: good(settled)},
	{id: "F62", it: "frames its events in every legal way", mode: "stream", only: "openai anthropic", play: func(g *tongue, s bool, c *testkit.RawConn) {
		c.Send(testkit.Head(200, g.streamType, "Connection: close"))
		text := strings.ReplaceAll(g.stream(), "data: ", "data:")
		text = strings.ReplaceAll(text, "\n\n", "\r\n: comment\r\nid: 7\r\nretry: 10\r\n\r\n")
		text = "\xef\xbb\xbf" + strings.ReplaceAll(text, `"delta":{`, "\r\ndata: \"delta\":{")
		for len(text) > 0 {
			n := min(7, len(text))
			c.Send(text[:n])
			text = text[n:]
		}
		c.FIN()
	}, stream: good(settled)},
	{id: "F62b", it: "ends its lines with CR", mode: "stream", only: "openai anthropic gemini openai-responses", play: func(g *tongue, s bool, c *testkit.RawConn) {
		body(g, s, c, "", strings.ReplaceAll(g.stream(), "\n", "\r"))
	}, stream: good(settled)},
	{id: "F62c", it: "splits runes over reads", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		c.Send(testkit.Head(200, g.streamType, "Connection: close"))
		text := g.first + g.text(`" séa 😀"`) + g.finish + g.end
		for i := range len(text) {
			c.Send(text[i : i+1])
		}
		c.FIN()
	}, stream: want{status: 200, state: settled, labels: "ok", says: "Hello séa 😀"}},
	{id: "F63a", it: "says text that imitates framing", play: func(g *tongue, s bool, c *testkit.RawConn) {
		evil := `"\r\n\r\nevent: message_stop\r\ndata: {\"type\":\"message_stop\"}\n\n\u2028\u0000\rdata: x"`
		body(g, s, c, strings.Replace(g.whole, `"Hello sea"`, evil, 1), g.first+g.text(evil)+g.finish+g.end)
	}, json: want{status: 200, state: settled, labels: "ok", says: "\r\n\r\nevent: message_stop\r\ndata: {\"type\":\"message_stop\"}\n\n\u2028\u0000\rdata: x"},
		stream: want{status: 200, state: settled, labels: "ok", says: "Hello\r\n\r\nevent: message_stop\r\ndata: {\"type\":\"message_stop\"}\n\n\u2028\u0000\rdata: x"}},
	{id: "F63b", it: "says a lone surrogate", only: "openai ollama gemini openai-responses", play: func(g *tongue, s bool, c *testkit.RawConn) {
		body(g, s, c, strings.Replace(g.whole, `"Hello sea"`, `"Hello \ud800 sea"`, 1), g.first+g.text(`" \ud800 sea"`)+g.finish+g.end)
	}, json: want{status: 200, state: settled, labels: "ok", says: "Hello \ufffd sea"}},
	{id: "F63c", it: "says invalid UTF-8", play: func(g *tongue, s bool, c *testkit.RawConn) {
		body(g, s, c, strings.Replace(g.whole, `"Hello sea"`, "\"Hello \xff sea\"", 1), g.first+g.text("\" \xff sea\"")+g.finish+g.end)
	}, json: want{status: 200, state: counted, says: "Hello \ufffd sea"}},
	{id: "F64a", it: "says a token of 2 MiB", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		body(g, s, c, "", g.first+g.text(`"`+strings.Repeat("a", 2<<20)+`"`)+g.finish+g.end)
	}, stream: want{status: 200, state: settled, labels: "ok", says: "Hello" + strings.Repeat("a", 2<<20)}},
	{id: "F64b", it: "says 10 000 tokens of a byte", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		body(g, s, c, "", g.first+strings.Repeat(g.text(`"a"`), 10_000)+g.finish+g.end)
	}, stream: want{status: 200, state: settled, labels: "ok", says: "Hello" + strings.Repeat("a", 10_000)}},
	{id: "F65", it: "is slow but alive", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		begin(g, c)
		for range 6 {
			c.Wait(600 * time.Millisecond) // together more than the idle limit
			c.Chunk(g.text(`"."`))
		}
		c.Chunk(g.finish + g.end)
		c.Send("0\r\n\r\n")
	}, stream: want{status: 200, state: settled, labels: "ok", says: "Hello......"}},
	{id: "F66", it: "sends events and blocks that nobody knows", mode: "stream", play: func(g *tongue, s bool, c *testkit.RawConn) {
		news := map[string]string{
			"openai":           "event: news\ndata: {\"object\":\"news\"}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"hologram\":{\"a\":1}}}]}\n\ndata: {\"choices\":[{\"index\":5,\"delta\":{\"content\":\"other\"}}]}\n\n",
			"ollama":           "{\"news\":[1,2]}\n{\"message\":{\"role\":\"assistant\",\"hologram\":{\"a\":1}},\"done\":false}\n",
			"gemini":           "data: {\"news\":1}\n\ndata: {\"candidates\":[{\"content\":{\"parts\":[{\"hologram\":{\"a\":1}}]}}]}\n\ndata: {\"candidates\":[{\"index\":5,\"content\":{\"parts\":[{\"text\":\"other\"}]}}]}\n\n",
			"openai-responses": "event: response.news\ndata: {\"type\":\"response.news\",\"a\":1}\n\ndata: {\"type\":\"response.output_item.added\",\"output_index\":7,\"item\":{\"type\":\"hologram\",\"id\":\"h\"}}\n\n",
			"anthropic":        "event: news\ndata: {\"type\":\"news\",\"a\":1}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"hologram_delta\",\"a\":1}}\n\n",
		}
		body(g, s, c, "", g.first+news[g.name]+g.more+g.finish+g.end)
	}, stream: good(settled)},
}

// quickWhole bounds whole answers only: streams have their idle limit.
func quickWhole(p *config.Provider) { p.Timeouts.Total = config.Duration(4 * time.Second) }

// patient leaves a slow machine the time to read megabytes.
func patient(p *config.Provider) { p.Timeouts.Idle = config.Duration(20 * time.Second) }

// half says the first half of an answer, in chunks.
func half(g *tongue, stream bool, c *testkit.RawConn) {
	if stream {
		begin(g, c)
		return
	}
	c.Send(testkit.Head(200, g.wholeType, "Transfer-Encoding: chunked"))
	c.Chunk(g.whole[:len(g.whole)/2])
}

// usage answers with other figures; without an output figure the usage is left out.
func usage(in, out string) play {
	return func(g *tongue, s bool, c *testkit.RawConn) {
		change := func(text string) string {
			if out == "" {
				for _, u := range []string{`"usage":{"prompt_tokens":12,"completion_tokens":3}`, `"usage":{"input_tokens":12,"output_tokens":3}`, `"usage":{"input_tokens":12,"output_tokens":1}`, `"usage":{"output_tokens":3}`} {
					text = strings.ReplaceAll(text, u, `"usage":null`)
				}
				text = strings.ReplaceAll(text, `"usageMetadata":{"promptTokenCount":12,"candidatesTokenCount":3}`, `"usageMetadata":null`)
				return strings.ReplaceAll(text, `,"prompt_eval_count":12,"eval_count":3`, "")
			}
			for _, k := range []string{"prompt_tokens", "input_tokens", "prompt_eval_count", "promptTokenCount"} {
				text = strings.ReplaceAll(text, `"`+k+`":12`, `"`+k+`":`+in)
			}
			for _, k := range []string{"completion_tokens", "output_tokens", "eval_count", "candidatesTokenCount"} {
				text = strings.ReplaceAll(text, `"`+k+`":3`, `"`+k+`":`+out)
				text = strings.ReplaceAll(text, `"`+k+`":1}`, `"`+k+`":`+out+`}`)
			}
			return text
		}
		body(g, s, c, change(g.whole), change(g.stream()))
	}
}

func zipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

var bomb = sync.OnceValue(func() string { return zipped(strings.Repeat("a", 32<<20)) })

func permanent(t testing.TB, _ *tongue, a *answer) {
	if a.header.Get("X-Should-Retry") != "false" {
		t.Error("the caller is not told to give up")
	}
}

func retryAfter(seconds string) func(testing.TB, *tongue, *answer) {
	return func(t testing.TB, _ *tongue, a *answer) {
		if got := a.header.Get("Retry-After"); got != seconds {
			t.Errorf("retry-after is %q, want %q", got, seconds)
		}
	}
}

func scrubbed(t testing.TB, g *tongue, a *answer) {
	for _, secret := range []string{"sk-test-" + g.name, "10.0.0.7", "\\u001b", "<script", "<html"} {
		if strings.Contains(a.text, secret) {
			t.Errorf("the answer holds %q: %s", secret, a.text)
		}
	}
}

// deafPort is an address whose queue of connections is full, so that a further SYN is not answered.
func deafPort(t testing.TB) string {
	addr := boundPort(t, 0)
	for range 64 {
		c, err := net.DialTimeout("tcp", addr, 300*time.Millisecond)
		if err != nil {
			return "http://" + addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the queue does not fill")
	return ""
}

// boundPort holds a port; a backlog below zero does not listen on it.
func boundPort(t testing.TB, backlog int) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if backlog >= 0 {
		if err := syscall.Listen(fd, backlog); err != nil {
			t.Fatal(err)
		}
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port)
}

// trial is one row in one dialect and one mode.
type trial struct {
	row      *faultRow
	g        *tongue
	stream   bool
	name     string // the provider's, which finds its ledger rows
	up       *testkit.RawUpstream
	got      *answer
	err      error
	took     time.Duration
	expected want
}

func TestFaults(t *testing.T) {
	var trials []*trial
	for i := range faultRows {
		r := &faultRows[i]
		for _, g := range tongues {
			if r.only != "" && !slices.Contains(strings.Fields(r.only), g.name) {
				continue
			}
			for _, mode := range []string{"json", "stream"} {
				if r.mode != "" && r.mode != mode {
					continue
				}
				x := &trial{row: r, g: g, stream: mode == "stream", name: strings.ToLower(r.id) + "-" + g.name + "-" + mode, expected: r.json}
				if x.stream && r.stream.status != 0 {
					x.expected = r.stream
				}
				if x.expected.kind == "?failure" {
					x.expected.kind = g.failedAs
				}
				trials = append(trials, x)
			}
		}
	}
	s := newStand(t, func(c *config.Config) {
		for _, x := range trials {
			base := ""
			if x.row.base != nil {
				base = x.row.base(t)
			} else {
				script := func(c *testkit.RawConn) {
					if !side(c) {
						x.row.play(x.g, x.stream, c)
					}
				}
				x.up = testkit.NewRawAcceptor(t, x.row.accept, script)
				base = x.up.URL()
			}
			p := x.g.provider(base)
			if x.row.set != nil {
				x.row.set(&p)
			}
			c.Providers[x.name] = p
		}
	})
	bomb()
	var wg sync.WaitGroup
	places := make(chan struct{}, 32)
	for _, x := range trials {
		wg.Add(1)
		go func() {
			defer wg.Done()
			places <- struct{}{}
			defer func() { <-places }()
			begun := time.Now()
			x.got, x.err = s.do(context.Background(), http.MethodPost, "/v1/"+x.name+"/m/messages", question(x.stream))
			x.took = time.Since(begun)
		}()
	}
	wg.Wait()
	callers.CloseIdleConnections()
	rows := map[string][]string{}
	spent := map[string]int64{}
	for _, r := range s.rows(t) {
		rows[r.Provider] = append(rows[r.Provider], string(r.State)+" "+r.Outcome)
		spent[r.Provider] += r.Input + r.Output
	}
	for _, x := range trials {
		t.Run(x.row.id+" "+x.row.it+"/"+x.g.name+"/"+map[bool]string{true: "stream", false: "json"}[x.stream], func(t *testing.T) {
			if x.err != nil {
				t.Fatalf("no answer: %v", x.err)
			}
			x.check(t)
			if len(rows[x.name]) != 1 {
				t.Fatalf("the book has %d rows: %v", len(rows[x.name]), rows[x.name])
			}
			state, outcome, _ := strings.Cut(rows[x.name][0], " ")
			if !slices.Contains(x.expected.state, exchange.State(state)) {
				t.Errorf("the book says %s (%s), want one of %v", state, outcome, x.expected.state)
			}
			if x.expected.labels != "" && !slices.Contains(strings.Fields(x.expected.labels), outcome) {
				t.Errorf("the book says outcome %s, want one of %s", outcome, x.expected.labels)
			}
			if strings.HasPrefix(x.row.id, "F26") && spent[x.name] != 0 {
				t.Errorf("the upstream's own error is charged with %d tokens", spent[x.name])
			}
		})
	}
	logged := s.log.String()
	for _, g := range tongues {
		if strings.Contains(logged, "sk-test-"+g.name) {
			t.Errorf("the log holds the key of %s", g.name)
		}
	}
}

var idForm = regexp.MustCompile(`^req_[0-9a-f-]{36}$`)

// check looks at the answer alone.
func (x *trial) check(t *testing.T) {
	a, w := x.got, x.expected
	a.parse(t)
	if a.broken != nil {
		t.Errorf("the body has no proper end: %v", a.broken)
	}
	if id := a.header.Get("X-Signalbox-Request-Id"); !idForm.MatchString(id) {
		t.Errorf("request id %q", id)
	}
	if a.text == "" || strings.Contains(a.header.Get("Content-Type"), "html") {
		t.Errorf("%d %s with %q", a.status, a.header.Get("Content-Type"), clipped(a.text))
	}
	if x.up != nil {
		if n := x.up.To(x.g.path); n > 1 {
			t.Errorf("the upstream was asked %d times", n)
		}
	}
	status, kind := a.status, a.errorType()
	if got := fmt.Sprintf("%d %s", status, kind); (status != w.status || kind != w.kind) && got != w.or {
		t.Fatalf("got %s, want %d %s; body: %s", got, w.status, w.kind, clipped(a.text))
	}
	if status >= 400 {
		if !gjson.Valid(a.text) || gjson.Get(a.text, "type").String() != "error" || a.message() == "" || a.header.Get("Content-Type") != "application/json" {
			t.Errorf("not an envelope: %s", clipped(a.text))
		}
		if n := len([]rune(a.message())); n > 700 {
			t.Errorf("the message has %d characters", n)
		}
	}
	if len(a.events) > 0 {
		if err := grammar(a.events); err != nil {
			t.Error(err)
		}
	} else if x.stream && status == 200 {
		t.Errorf("a streamed answer without events: %s", clipped(a.text))
	}
	if status == 200 && kind == "" {
		says := w.says
		if says == "" {
			says = "Hello sea"
		}
		if says != "-" && a.said() != says {
			t.Errorf("it says %q, want %q", clipped(a.said()), clipped(says))
		}
	}
	if x.row.also != nil {
		x.row.also(t, x.g, a)
	}
	if x.took > 15*time.Second {
		t.Errorf("it took %s", x.took)
	}
}
