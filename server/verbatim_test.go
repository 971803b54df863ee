package server

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/config"
)

// script is an upstream that speaks Messages and answers everything with what it was last told.
type script struct {
	*httptest.Server
	play atomic.Pointer[http.HandlerFunc]
	got  atomic.Pointer[http.Request]
}

func newScript(t testing.TB) *script {
	s := &script{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		s.got.Store(r)
		(*s.play.Load())(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *script) answer(status int, body string, header ...string) {
	play := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
	s.play.Store(&play)
}

// verbatim is a gateway before one such upstream, with a key of its own.
func verbatim(t testing.TB, key string) (*stand, *script) {
	up := newScript(t)
	return newStand(t, func(c *config.Config) {
		p := config.Provider{Kind: "anthropic", BaseURL: up.URL}
		if key != "" {
			p.APIKey = config.NewSecret(key)
		}
		c.Providers["anthropic"] = p
		c.Providers["openrouter"] = config.Provider{Kind: "openrouter", BaseURL: up.URL + "/api/v1", APIKey: config.NewSecret("router-key-1")}
	}), up
}

const (
	askWhole  = `{"max_tokens":5,"messages":[{"role":"user","content":"q"}]}`
	askStream = `{"max_tokens":5,"stream":true,"messages":[{"role":"user","content":"q"}]}`
	target    = "/v1/anthropic/claude-x/messages"
)

func envelope(kind, message string) string {
	return `{ "type":"error", "error":{"message":"` + message + `","type":"` + kind + `"},"request_id":"req_theirs"}`
}

// TestEnvelope holds an upstream's own error envelope against the contract: byte for byte, after the secret scan.
func TestEnvelope(t *testing.T) {
	s, up := verbatim(t, "our-very-own/key")
	large := func(n int) string {
		e := envelope("invalid_request_error", "@")
		return strings.Replace(e, "@", strings.Repeat("x", n-len(e)+1), 1)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, envelope("rate_limit_error", "slow"))
	_ = z.Close()
	for _, row := range []struct {
		it     string
		status int
		body   string
		header []string
		want   int
		same   bool
		heads  map[string]string
	}{
		{"passes a refusal and says that it is for good", 400, envelope("invalid_request_error", "no <thinking>"), nil, 400, true,
			map[string]string{"X-Should-Retry": "false", "Request-Id": "req_theirs"}},
		{"leaves the word on retries to the upstream", 404, envelope("not_found_error", "model: x"), []string{"X-Should-Retry", "true", "Request-Id", "req_head"}, 404, true,
			map[string]string{"X-Should-Retry": "true", "Request-Id": "req_head"}},
		{"passes a wait", 429, envelope("rate_limit_error", "slow"), []string{"Retry-After", "7"}, 429, true, map[string]string{"Retry-After": "7", "X-Should-Retry": ""}},
		{"turns a date into a wait", 429, envelope("rate_limit_error", "slow"), []string{"Date", "Tue, 01 Sep 2026 12:00:00 GMT", "Retry-After", "Tue, 01 Sep 2026 12:00:30 GMT"}, 429, true, map[string]string{"Retry-After": "30"}},
		{"passes no negative wait", 429, envelope("rate_limit_error", "slow"), []string{"Retry-After", "-7"}, 429, true, map[string]string{"Retry-After": ""}},
		{"passes no wait that is no number", 529, envelope("overloaded_error", "busy"), []string{"Retry-After", "soon"}, 529, true, map[string]string{"Retry-After": ""}},
		{"passes no wait of more than a day", 429, envelope("rate_limit_error", "slow"), []string{"Retry-After", "86401"}, 429, true, map[string]string{"Retry-After": ""}},
		{"passes 64 KiB", 400, large(64 << 10), nil, 400, true, nil},
		{"maps what is larger", 400, large(64<<10 + 1), nil, 400, false, nil},
		{"maps an envelope without a message", 400, `{"type":"error","error":{"type":"invalid_request_error","message":null}}`, nil, 400, false, nil},
		{"cuts our key out", 400, envelope("invalid_request_error", "bad key our-very-own/key"), nil, 400, false, nil},
		{"cuts our key out when it is escaped", 400, envelope("invalid_request_error", `bad key \u006fur-very-own\/key`), nil, 400, false, nil},
		{"hides a 401, its request id too", 401, envelope("authentication_error", "invalid x-api-key"), []string{"Request-Id", "req_head", "Retry-After", "3"}, 502, false,
			map[string]string{"X-Should-Retry": "false", "Retry-After": ""}},
		{"unpacks a refusal", 429, zipped.String(), []string{"Content-Encoding", "gzip"}, 429, false, map[string]string{"Request-Id": "req_theirs"}},
		{"keeps the status of what it cannot unpack", 429, "?", []string{"Content-Encoding", "br"}, 429, false, nil},
		{"finds the error inside a 200", 200, envelope("overloaded_error", "busy"), nil, 529, true, nil},
		{"takes no message without content", 200, `{"type":"message","content":null}`, nil, 502, false, nil},
	} {
		for _, ask := range []string{askWhole, askStream} {
			up.answer(row.status, row.body, row.header...)
			a := s.post(t, target, ask)
			if a.status != row.want || (a.text == row.body) != row.same {
				t.Errorf("it %s: %d %s", row.it, a.status, a.text)
			}
			if strings.Contains(gjson.Get(a.text, "error.message").Str, "own/key") {
				t.Errorf("it %s: says our key: %s", row.it, a.text)
			}
			if !row.same && row.status != 429 && a.header.Get("Request-Id") != gjson.Get(a.text, "request_id").Str {
				t.Errorf("it %s: request id %q beside %s", row.it, a.header.Get("Request-Id"), a.text)
			}
			for k, want := range row.heads {
				if got := a.header.Get(k); got != want {
					t.Errorf("it %s: %s %q, want %q", row.it, k, got, want)
				}
			}
		}
	}
}

// TestDateWithoutDate: where an upstream does not say what time it is, its dates are held against our clock.
func TestDateWithoutDate(t *testing.T) {
	s, up := verbatim(t, "k")
	up.answer(429, envelope("rate_limit_error", "slow"), "Date", "", "Retry-After", time.Now().Add(time.Minute).UTC().Format(http.TimeFormat))
	a := s.post(t, target, askWhole)
	if n, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || n < 1 || n > 60 {
		t.Errorf("retry-after %q", a.header.Get("Retry-After"))
	}
}

// TestCallersOwnRefusal: who brings his own credential hears what the upstream says of it.
func TestCallersOwnRefusal(t *testing.T) {
	s, up := verbatim(t, "")
	up.answer(401, envelope("authentication_error", "invalid x-api-key"))
	if a := s.post(t, target, askWhole, "authorization", "bearer callers-own"); a.status != 401 || !strings.Contains(a.text, "req_theirs") || a.header.Get("X-Should-Retry") != "" {
		t.Errorf("%d %v %s", a.status, a.header, a.text)
	}
	if got := up.got.Load().Header.Get("Authorization"); got != "Bearer callers-own" {
		t.Errorf("went up as %q", got)
	}
	up.answer(401, "<html><title>Sign in</title></html>", "Content-Type", "text/html")
	if a := s.post(t, target, askWhole, "x-api-key", "callers-own"); a.status != 401 || a.message() != "anthropic: Sign in" {
		t.Errorf("%d %s", a.status, a.text)
	}
}

func framed(events ...string) string {
	var b strings.Builder
	for _, e := range events {
		b.WriteString("event: " + gjson.Get(e, "type").Str + "\ndata: " + e + "\n\n")
	}
	return b.String()
}

const (
	evStart = `{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"c","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}`
	evOpen  = `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`
	evSay   = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}`
	evClose = `{"type":"content_block_stop","index":0}`
	evDelta = `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1}}`
	evStop  = `{"type":"message_stop"}`
	evNews  = `{"type":"news","a":1}`
)

// TestVerbatimCommit: what nobody knows neither commits nor gets lost.
func TestVerbatimCommit(t *testing.T) {
	s, up := verbatim(t, "k")
	failure := envelope("overloaded_error", "busy")
	rest := framed(evOpen, evSay, evClose, evDelta, evStop)
	for _, row := range []struct {
		it, stream string
		status     int
		kinds      string // of the events
		kind       string // of the error
	}{
		{"holds an event that nobody knows, in front of the start", framed(evNews, evStart) + rest, 200, "message_start news content_block_start content_block_delta content_block_stop message_delta message_stop", ""},
		{"holds one behind the start", framed(evStart, evNews) + rest, 200, "message_start news content_block_start content_block_delta content_block_stop message_delta message_stop", ""},
		{"does not commit to it", framed(evStart, evNews, failure), 529, "", "overloaded_error"},
		{"does not hold without end", strings.Repeat(framed(evNews), 1000), 502, "", "api_error"},
		{"passes over an event without data", framed(evStart) + "event: ping\ndata:\n\n" + rest, 200, "message_start content_block_start content_block_delta content_block_stop message_delta message_stop", ""},
		{"knows an error by its event line", framed(evStart) + "event: error\ndata: {\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n", 529, "", "overloaded_error"},
		{"knows an error by its member", framed(evStart, evOpen) + "data: {\"error\":{\"code\":429,\"message\":\"slow\"}}\n\n", 200, "message_start content_block_start error", "rate_limit_error"},
		{"knows an error that is no JSON", framed(evStart) + "event: error\ndata: out of order\n\n", 502, "", "api_error"},
	} {
		up.answer(200, row.stream, "Content-Type", "text/event-stream")
		a := s.post(t, target, askStream)
		var kinds []string
		for _, e := range a.events {
			kinds = append(kinds, e.name)
		}
		if a.status != row.status || strings.Join(kinds, " ") != row.kinds || a.errorType() != row.kind {
			t.Errorf("it %s: %d %v %s %s", row.it, a.status, kinds, a.errorType(), a.text)
		}
	}
}

// TestUnfolded: a message that came whole though a stream was asked for loses nothing on its way into events.
func TestUnfolded(t *testing.T) {
	s, up := verbatim(t, "k")
	up.answer(200, `{"id":"m","type":"message","role":"assistant","model":"c","container":null,
		"content":[{"type":"thinking","signature":"sig","thinking":"hm"},{"type":"text","text":"a\nb","citations":[{"type":"x"}]},
		{"type":"tool_use","id":"t","name":"f","input":{"n":1.50}},{"type":"tool_use","id":"u","name":"g","input":{}},{"type":"hologram","text":"z"}],
		"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":4}}`)
	a := s.post(t, target, askStream)
	var got strings.Builder
	for _, e := range a.events {
		got.WriteString(e.data + "\n")
	}
	want := `{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"c","container":null,"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":4}}}
{"type":"content_block_start","index":0,"content_block":{"type":"thinking","signature":"","thinking":""}}
{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}
{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}
{"type":"content_block_stop","index":0}
{"type":"content_block_start","index":1,"content_block":{"type":"text","text":"","citations":[]}}
{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"a\nb"}}
{"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"type":"x"}}}
{"type":"content_block_stop","index":1}
{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}
{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"n\":1.50}"}}
{"type":"content_block_stop","index":2}
{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"u","name":"g","input":{}}}
{"type":"content_block_stop","index":3}
{"type":"content_block_start","index":4,"content_block":{"type":"hologram","text":"z"}}
{"type":"content_block_stop","index":4}
{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":3,"output_tokens":4}}
{"type":"message_stop"}
`
	if got.String() != want {
		t.Errorf("got\n%s", got.String())
	}
}

// TestVerbatimCount: a count is the upstream's own answer where it counts, and an estimate where it does not; what is inside the
// messages is judged there.
func TestVerbatimCount(t *testing.T) {
	s, up := verbatim(t, "k")
	const answer = `{ "input_tokens": 42, "context_management":{"original_input_tokens":50} }`
	const odd = `{"messages":[{"role":"user","content":[{"hologram":1}]}]}`
	const mixed = `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":""},{"type":"text","text":"a"}]}]}`
	for _, row := range []struct {
		it, path, ask string
		status        int
		body          string
		want          int
		says          string // of the answer
		estimated     bool
	}{
		{"passes the answer as it is", "/v1/anthropic/claude-x", odd, 200, answer, 200, answer, false},
		{"says what was left out", "/v1/anthropic/claude-x", mixed, 200, answer, 200, answer, false},
		{"estimates where the path is unknown", "/v1/anthropic/claude-x", odd, 404, "404 page not found", 200, "", true},
		{"estimates where the method is unknown", "/v1/anthropic/claude-x", odd, 405, "", 200, "", true},
		{"passes a refusal", "/v1/anthropic/claude-x", odd, 404, envelope("not_found_error", "model: claude-x"), 404, envelope("not_found_error", "model: claude-x"), false},
		{"finds the error inside a 200", "/v1/anthropic/claude-x", odd, 200, envelope("overloaded_error", "busy"), 529, envelope("overloaded_error", "busy"), false},
		{"estimates for Claude at OpenRouter", "/v1/openrouter/anthropic/claude-x", odd, 500, "", 200, "", true},
		{"refuses for a translated model at OpenRouter", "/v1/openrouter/qwen/q", odd, 500, "", 400, "", false},
	} {
		up.answer(row.status, row.body, "Request-Id", "req_theirs")
		a := s.post(t, row.path+"/messages/count_tokens", row.ask)
		if a.status != row.want || row.says != "" && (a.text != row.says || a.header.Get("Request-Id") != "req_theirs") || (a.header.Get("X-Signalbox-Estimated") == "true") != row.estimated {
			t.Errorf("it %s: %d %v %s", row.it, a.status, a.header, a.text)
		}
		if got := a.header.Get("X-Signalbox-Dropped"); (got == "thinking") != (row.ask == mixed) {
			t.Errorf("it %s: dropped %q", row.it, got)
		}
	}
}

// TestPassedOnErrors: the paths that are handed on keep the error contract.
func TestPassedOnErrors(t *testing.T) {
	s, up := verbatim(t, "our-very-own-key")
	for _, row := range []struct {
		it     string
		status int
		body   string
		want   int
		same   bool
	}{
		{"passes an envelope", 404, envelope("not_found_error", "no such batch"), 404, true},
		{"says no markup", 502, "<html><body>down</body></html>", 502, false},
		{"hides a 401", 401, envelope("authentication_error", "invalid x-api-key"), 502, false},
		{"cuts our key out", 400, envelope("invalid_request_error", "our-very-own-key"), 400, false},
	} {
		up.answer(row.status, row.body)
		a := s.get(t, "/v1/anthropic/claude-x/v1/messages/batches/b1")
		if a.status != row.want || (a.text == row.body) != row.same || a.errorType() == "" || strings.Contains(a.text, "very-own") || strings.Contains(a.text, "<html") {
			t.Errorf("it %s: %d %s", row.it, a.status, a.text)
		}
	}
}

// TestModelPages: a list is walked in both directions, and has_more speaks of the direction that was asked for.
func TestModelPages(t *testing.T) {
	s := newStand(t, func(c *config.Config) {
		c.Aliases = map[string]string{"a": "signalbox/echo", "b": "signalbox/echo", "c": "signalbox/echo", "d": "signalbox/echo"}
	})
	for _, row := range []struct{ query, ids, more string }{
		{"limit=2", "a b", "true"},
		{"limit=2&after_id=b", "c d", "true"},
		{"limit=2&after_id=d", "signalbox/echo", "false"},
		{"limit=2&before_id=d", "b c", "true"},
		{"limit=2&before_id=c", "a b", "false"},
		{"limit=2&before_id=b", "a", "false"},
		{"limit=2&before_id=a", "", "false"},
		{"", "a b c d signalbox/echo", "false"},
	} {
		a := s.get(t, "/v1/models?"+row.query)
		var ids []string
		for _, m := range gjson.Get(a.text, "data.#.id").Array() {
			ids = append(ids, m.Str)
		}
		if strings.Join(ids, " ") != row.ids || gjson.Get(a.text, "has_more").Raw != row.more {
			t.Errorf("%s: %s", row.query, a.text)
		}
	}
}

// TestStrictVersion: a strict caller hears from us what his version of the API no longer has; others sample as they like.
func TestStrictVersion(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request, _ string, _ int64) { _, _ = io.WriteString(w, chatReply) })
	s := newStand(t, func(c *config.Config) {
		c.Providers["lab"] = config.Provider{Name: "lab", Kind: "openai", Profile: "plain", BaseURL: up.URL + "/v1"}
	})
	const ask = `{"max_tokens":5,"temperature":1,"messages":[{"role":"user","content":"q"}]}`
	for _, row := range []struct {
		version, strict string
		want            int
	}{{"2026-10-21", "true", 400}, {"2026-10-21", "", 200}, {"2023-06-01", "true", 200}, {"2099-01-01", "", 200}} {
		if a := s.post(t, "/v1/lab/m/messages", ask, "anthropic-version", row.version, "x-signalbox-strict", row.strict); a.status != row.want {
			t.Errorf("version %s, strict %q: %d %s", row.version, row.strict, a.status, a.text)
		}
	}
}
