package server

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"signalbox/config"
	"signalbox/internal/exchange"
)

// scripted is a well-behaved upstream that answers by the model asked for, and remembers what it was asked.
type scripted struct {
	*httptest.Server
	mu    sync.Mutex
	asked []*http.Request
	calls atomic.Int64
}

func upstream(t testing.TB, answer func(w http.ResponseWriter, r *http.Request, body string, n int64)) *scripted {
	t.Helper()
	s := &scripted{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.asked = append(s.asked, r)
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		answer(w, r, string(body), s.calls.Add(1))
	}))
	t.Cleanup(s.Close)
	return s
}

const (
	chatReply = `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"from chat"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":2}}`
	ownReply  = `{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"from claude"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":2}}`
)

func say(status int, body string, header ...string) func(http.ResponseWriter, *http.Request, string, int64) {
	return func(w http.ResponseWriter, _ *http.Request, _ string, _ int64) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const claudeBody = `{"model":"claude-x","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`

// TestFallback is the fallback column of the error table, over real sockets.
func TestFallback(t *testing.T) {
	for _, row := range []struct {
		it     string
		status int
		body   string
		next   bool
		reason string
	}{
		{"tries the next after a broken upstream", 500, `{"error":{"message":"x"}}`, true, "upstream_5xx"},
		{"tries the next after an overload", 529, `{}`, true, "overloaded"},
		{"tries the next after the upstream's rate limit", 429, `{}`, true, "rate_limited"},
		{"tries the next after a refused key", 401, `{}`, true, "upstream_auth"},
		{"tries the next after a missing model", 404, `{"error":{"message":"no such model"}}`, true, "not_found"},
		{"tries the next after an overflow", 400, `{"error":{"code":"context_length_exceeded","message":"maximum context length is 10 tokens"}}`, true, "too_large"},
		{"keeps a request that all would refuse", 400, `{"error":{"message":"bad field"}}`, false, ""},
	} {
		t.Run(row.it, func(t *testing.T) {
			first, second := upstream(t, say(row.status, row.body)), upstream(t, say(200, chatReply))
			s := newStand(t, func(c *config.Config) {
				c.Providers["a"] = config.Provider{Name: "a", Kind: "openai", BaseURL: first.URL, APIKey: config.NewSecret("key-of-a-123456")}
				c.Providers["b"] = config.Provider{Name: "b", Kind: "openai", BaseURL: second.URL, APIKey: config.NewSecret("key-of-b-123456")}
				c.Fallbacks = map[string][]string{"a/*": {"b/other"}}
			})
			a := s.post(t, "/v1/a/m/messages", question(false))
			if row.next != (a.status == 200) || row.next != (second.calls.Load() == 1) {
				t.Fatalf("%d %s; the second was asked %d times", a.status, a.text, second.calls.Load())
			}
			if !row.next {
				return
			}
			if got, want := a.header.Get("X-Signalbox-Fallback"), "a/m -> b/other; "+row.reason; got != want {
				t.Errorf("fallback header %q, want %q", got, want)
			}
			if a.header.Get("X-Signalbox-Target") != "b/other" || a.header.Get("X-Signalbox-Attempts") != "2" {
				t.Errorf("%v", a.header)
			}
			// A model that never answered has no label of its own, hence a/other.
			if page := s.scrape(t); !strings.Contains(page, `signalbox_fallbacks_total{from="a/other",reason="`+row.reason+`",to="b/other"} 1`) {
				t.Error("no fallback in the metrics")
			}
			rows := s.rows(t)
			if len(rows) != 2 || rows[0].Provider == rows[1].Provider {
				t.Errorf("rows %+v", rows)
			}
		})
	}
	t.Run("says so when the next fails as well", func(t *testing.T) {
		first, second := upstream(t, say(500, `{}`)), upstream(t, say(529, `{}`))
		s := newStand(t, func(c *config.Config) {
			c.Providers["a"] = config.Provider{Name: "a", Kind: "openai", BaseURL: first.URL}
			c.Providers["b"] = config.Provider{Name: "b", Kind: "openai", BaseURL: second.URL}
			c.Fallbacks = map[string][]string{"a/*": {"b/other"}}
		})
		a := s.post(t, "/v1/a/m/messages", question(false))
		if a.status != 529 || a.header.Get("X-Signalbox-Target") != "b/other" || a.header.Get("X-Signalbox-Fallback") != "a/m -> b/other; upstream_5xx" {
			t.Errorf("%d %v", a.status, a.header)
		}
	})
	t.Run("calls nobody else without a chain", func(t *testing.T) {
		first, second := upstream(t, say(500, `{}`)), upstream(t, say(200, chatReply))
		s := newStand(t, func(c *config.Config) {
			c.Providers["a"] = config.Provider{Name: "a", Kind: "openai", BaseURL: first.URL}
			c.Providers["b"] = config.Provider{Name: "b", Kind: "openai", BaseURL: second.URL}
		})
		if a := s.post(t, "/v1/a/m/messages", question(false)); a.status != 502 || second.calls.Load() != 0 {
			t.Errorf("%d, %d calls elsewhere", a.status, second.calls.Load())
		}
	})
}

// TestRetries proves R1–R4: only as often as configured, only where nothing can have been charged, with the upstream's time.
func TestRetries(t *testing.T) {
	for _, row := range []struct {
		it     string
		change func(*config.Config)
		first  func(http.ResponseWriter, *http.Request, string, int64)
		calls  int64
		status int
	}{
		{"never repeats by default", nil, say(429, `{}`, "Retry-After", "0"), 1, 429},
		{"repeats a rate limit where configured", func(c *config.Config) { c.Retry.Attempts = 2 }, say(429, `{}`), 2, 200},
		{"does not repeat what may have been charged", func(c *config.Config) { c.Retry.Attempts = 2 }, say(500, `{}`), 1, 502},
		{"repeats it where the operator says so", func(c *config.Config) { c.Retry.Attempts = 2; c.Retry.PossiblyCharged = true }, say(500, `{}`), 2, 200},
		{"never repeats a bad request", func(c *config.Config) { c.Retry.Attempts = 3 }, say(400, `{"error":{"message":"no"}}`), 1, 400},
		{"gives a long wait back to the caller", func(c *config.Config) { c.Retry.Attempts = 2 }, say(429, `{}`, "Retry-After", "60"), 1, 429},
	} {
		t.Run(row.it, func(t *testing.T) {
			up := upstream(t, func(w http.ResponseWriter, r *http.Request, body string, n int64) {
				if n == 1 {
					row.first(w, r, body, n)
					return
				}
				say(200, chatReply)(w, r, body, n)
			})
			s := newStand(t, func(c *config.Config) {
				c.Providers["a"] = config.Provider{Name: "a", Kind: "openai", BaseURL: up.URL}
				if row.change != nil {
					row.change(c)
				}
			})
			a := s.post(t, "/v1/a/m/messages", question(false))
			if a.status != row.status || up.calls.Load() != row.calls {
				t.Errorf("%d after %d calls: %s", a.status, up.calls.Load(), a.text)
			}
			if n := len(s.rows(t)); int64(n) != row.calls {
				t.Errorf("%d rows for %d calls", n, row.calls)
			}
		})
	}
}

func TestBreaker(t *testing.T) {
	up := upstream(t, say(500, `{}`))
	s := newStand(t, func(c *config.Config) {
		c.Breaker.Consecutive = 3
		c.Providers["a"] = config.Provider{Name: "a", Kind: "openai", BaseURL: up.URL}
	})
	for range 3 {
		if a := s.post(t, "/v1/a/m/messages", question(false)); a.status != 502 {
			t.Fatalf("%d %s", a.status, a.text)
		}
	}
	a := s.post(t, "/v1/a/m/messages", question(false))
	if a.status != 529 || a.errorType() != "overloaded_error" || a.header.Get("Retry-After") == "" || up.calls.Load() != 3 {
		t.Errorf("%d %s after %d calls", a.status, a.text, up.calls.Load())
	}
	if other := s.post(t, "/v1/a/other/messages", question(false)); other.status != 502 {
		t.Errorf("another model of the same provider: %d", other.status)
	}
	if n := len(s.rows(t)); n != 4 {
		t.Errorf("%d rows, want one for each call that was made", n)
	}
}

// TestCredentials proves who gets whose key: ours never leaves for another provider, the caller's own goes to a keyless
// anthropic and to nobody else, and neither is ever written down.
func TestCredentials(t *testing.T) {
	const own, ours = "sk-ant-own-0123456789abcdef", "sk-ant-ours-0123456789abcdef"
	for _, row := range []struct {
		it       string
		kind     string
		key      string
		header   []string
		wantKey  string // x-api-key upstream
		wantAuth string
	}{
		{"passes the caller's key to a keyless anthropic", "anthropic", "", []string{"x-api-key", own}, own, ""},
		{"passes the caller's bearer to a keyless anthropic", "anthropic", "", []string{"authorization", "Bearer " + own}, "", "Bearer " + own},
		{"uses our key and drops the caller's", "anthropic", ours, []string{"x-api-key", own, "authorization", "Bearer " + own}, ours, ""},
		{"never passes the caller's to another kind", "openai", "", []string{"x-api-key", own, "authorization", "Bearer " + own}, "", ""},
		{"uses our bearer at another kind", "openai", ours, []string{"x-api-key", own}, "", "Bearer " + ours},
	} {
		t.Run(row.it, func(t *testing.T) {
			reply := ownReply
			if row.kind == "openai" {
				reply = chatReply
			}
			up := upstream(t, say(200, reply))
			s := newStand(t, func(c *config.Config) {
				c.Providers["p"] = config.Provider{Name: "p", Kind: row.kind, BaseURL: up.URL, APIKey: config.NewSecret(row.key)}
			})
			header := append([]string{"cookie", "a=" + own, "x-forwarded-for", "1.2.3.4", "idempotency-key", "k", "anthropic-beta", "b1,b2"}, row.header...)
			if a := s.post(t, "/v1/p/claude-x/messages", claudeBody, header...); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.text)
			}
			got := up.asked[0].Header
			if got.Get("X-Api-Key") != row.wantKey || got.Get("Authorization") != row.wantAuth {
				t.Errorf("x-api-key %q, authorization %q", got.Get("X-Api-Key"), got.Get("Authorization"))
			}
			for _, name := range []string{"Cookie", "X-Forwarded-For", "Idempotency-Key"} {
				if got.Get(name) != "" {
					t.Errorf("%s went up", name)
				}
			}
			if beta := got.Get("Anthropic-Beta"); (beta == "b1,b2") != (row.kind == "anthropic") {
				t.Errorf("anthropic-beta %q", beta)
			}
			if page := s.scrape(t); strings.Contains(page, own) || strings.Contains(page, ours) {
				t.Error("a key is in the metrics")
			}
			s.stop(t)
			if log := s.log.String(); strings.Contains(log, own) || strings.Contains(log, ours) || strings.Contains(log, "Say a word") {
				t.Errorf("the log holds a secret: %s", log)
			}
		})
	}
	t.Run("never takes a key of this gateway for the caller's own", func(t *testing.T) {
		up := upstream(t, say(200, ownReply))
		s := newStand(t, func(c *config.Config) {
			c.AdminKey, c.MetricsKey = config.NewSecret("the-admin-key"), config.NewSecret("the-metrics-key")
			c.Providers["p"] = config.Provider{Name: "p", Kind: "anthropic", BaseURL: up.URL}
		})
		for _, header := range [][]string{{"x-api-key", "the-admin-key"}, {"authorization", "bearer the-admin-key"}, {"x-api-key", "the-metrics-key"}} {
			s.post(t, "/v1/p/claude-x/messages", claudeBody, header...)
		}
		for _, q := range up.asked {
			if q.Header.Get("X-Api-Key") != "" || q.Header.Get("Authorization") != "" {
				t.Errorf("our key went up: %v", q.Header)
			}
		}
	})
	t.Run("asks Claude for nobody who has no credential", func(t *testing.T) {
		first, claude := upstream(t, say(500, `{"error":{"message":"broken engine"}}`)), upstream(t, say(200, ownReply))
		s := newStand(t, func(c *config.Config) {
			c.Providers["a"] = config.Provider{Name: "a", Kind: "openai", BaseURL: first.URL}
			c.Providers["anthropic"] = config.Provider{Name: "anthropic", Kind: "anthropic", BaseURL: claude.URL}
			c.Fallbacks = map[string][]string{"a/*": {"claude"}}
		})
		a := s.post(t, "/v1/a/m/messages", claudeBody, "authorization", "Bearer "+config.NoCredential)
		if a.status != 502 || !strings.Contains(a.text, "broken engine") || claude.calls.Load() != 0 {
			t.Errorf("%d %s, Claude was asked %d times", a.status, a.text, claude.calls.Load())
		}
	})
	t.Run("blames nobody's key but ours on a 401", func(t *testing.T) {
		up := upstream(t, say(401, `{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key `+ours+`"}}`))
		s := newStand(t, func(c *config.Config) {
			c.Providers["p"] = config.Provider{Name: "p", Kind: "anthropic", BaseURL: up.URL, APIKey: config.NewSecret(ours)}
		})
		a := s.post(t, "/v1/p/claude-x/messages", claudeBody, "x-api-key", own)
		if a.status != 502 || a.errorType() != "api_error" || a.header.Get("X-Should-Retry") != "false" || strings.Contains(a.text, ours) {
			t.Errorf("%d %v %s", a.status, a.header, a.text)
		}
	})
	t.Run("hands the caller's own 401 back as it is", func(t *testing.T) {
		const envelope = `{"type":"error","error":{"type":"authentication_error","message":"OAuth token has expired."},"request_id":"req_up"}`
		up := upstream(t, say(401, envelope, "request-id", "req_up"))
		s := newStand(t, func(c *config.Config) {
			c.Providers["p"] = config.Provider{Name: "p", Kind: "anthropic", BaseURL: up.URL}
		})
		a := s.post(t, "/v1/p/claude-x/messages", claudeBody, "authorization", "Bearer "+own)
		if a.status != 401 || a.text != envelope || a.header.Get("Request-Id") != "req_up" {
			t.Errorf("%d %v %s", a.status, a.header, a.text)
		}
	})
	t.Run("lets the first target's error stand when a fallback refuses the caller", func(t *testing.T) {
		first, claude := upstream(t, say(500, `{"error":{"message":"broken engine"}}`)), upstream(t, say(401, `{"type":"error","error":{"type":"authentication_error","message":"no"}}`))
		s := newStand(t, func(c *config.Config) {
			c.Providers["a"] = config.Provider{Name: "a", Kind: "openai", BaseURL: first.URL}
			c.Providers["anthropic"] = config.Provider{Name: "anthropic", Kind: "anthropic", BaseURL: claude.URL}
			c.Fallbacks = map[string][]string{"a/*": {"claude"}}
		})
		a := s.post(t, "/v1/a/m/messages", claudeBody, "x-api-key", own)
		if a.status != 502 || !strings.Contains(a.text, "broken engine") || claude.calls.Load() != 1 {
			t.Errorf("%d %s", a.status, a.text)
		}
		if a.header.Get("X-Signalbox-Target") != "a/m" || a.header.Get("X-Signalbox-Fallback") != "" {
			t.Errorf("the headers name who did not answer: %v", a.header)
		}
	})
}

// TestDrain proves F90: running answers are finished, new ones are not taken, and the grace has an end that is said.
func TestDrain(t *testing.T) {
	proceed, begun := make(chan struct{}), make(chan struct{}, 2)
	stream := func(w http.ResponseWriter, r *http.Request, _ string, _ int64) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one \"}}]}\n\n")
		_ = http.NewResponseController(w).Flush()
		begun <- struct{}{}
		select {
		case <-proceed:
		case <-r.Context().Done():
			return
		}
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"two\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	}
	start := func(t *testing.T, grace time.Duration) (*stand, chan *answer) {
		up := upstream(t, stream)
		s := newStand(t, func(c *config.Config) {
			c.Grace = config.Duration(grace)
			c.Providers["a"] = config.Provider{Name: "a", Kind: "openai", BaseURL: up.URL}
		})
		got := make(chan *answer, 1)
		go func() {
			a, err := s.do(context.Background(), http.MethodPost, "/v1/a/m/messages", question(true))
			if err != nil {
				a = &answer{broken: err}
			}
			got <- a
		}()
		<-begun
		s.cancel()
		return s, got
	}
	t.Run("finishes what runs", func(t *testing.T) {
		s, got := start(t, time.Minute)
		until(t, func() bool { return strings.Contains(s.log.String(), "draining") })
		close(proceed)
		a := <-got
		a.parse(t)
		if a.broken != nil || a.said() != "one two" {
			t.Errorf("%+v", a)
		}
		s.stop(t)
	})
	t.Run("says that it leaves once the grace is over", func(t *testing.T) {
		proceed = make(chan struct{})
		s, got := start(t, 50*time.Millisecond)
		a := <-got
		a.parse(t)
		if a.errorType() != "overloaded_error" || a.broken != nil {
			t.Errorf("%+v", a)
		}
		rows := s.rows(t)
		if len(rows) != 1 || rows[0].State != exchange.Estimated {
			t.Errorf("rows %+v", rows)
		}
	})
}

// TestReload proves F92 and F93 at the server's side: good ones count from the next request on, bad ones change nothing.
func TestReload(t *testing.T) {
	one, two := upstream(t, say(200, chatReply)), upstream(t, say(200, chatReply))
	made := func(url string) *config.Config {
		c := config.Default()
		c.Listen = "127.0.0.1:0"
		c.Providers = map[string]config.Provider{"signalbox": {Name: "signalbox", Kind: "signalbox", Builtin: true}, "a": {Name: "a", Kind: "openai", BaseURL: url}}
		return c
	}
	next := func() (*config.Config, error) { return made(two.URL), nil }
	stand := newStandWith(t, func(c *config.Config) { *c = *made(one.URL) }, func() (*config.Config, error) { return next() })
	if a := stand.post(t, "/v1/a/m/messages", question(false)); a.status != 200 || one.calls.Load() != 1 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if a := stand.post(t, "/admin/v1/reload", "{}"); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.text)
	}
	if a := stand.post(t, "/v1/a/m/messages", question(false)); a.status != 200 || two.calls.Load() != 1 {
		t.Fatalf("the new one is not in force: %d %s", a.status, a.text)
	}
	next = func() (*config.Config, error) { return nil, fmt.Errorf("signalbox.yaml:3: nonsense") }
	if a := stand.post(t, "/admin/v1/reload", "{}"); a.status != 400 || !strings.Contains(a.text, "signalbox.yaml:3") {
		t.Errorf("%d %s", a.status, a.text)
	}
	if a := stand.post(t, "/v1/a/m/messages", question(false)); a.status != 200 || two.calls.Load() != 2 {
		t.Errorf("a bad one changed something: %d", a.status)
	}
	if page := stand.scrape(t); !strings.Contains(page, "signalbox_config_last_reload_successful 0") {
		t.Error("the metric does not say it")
	}
	if a := stand.get(t, "/health"); !strings.Contains(a.text, "signalbox.yaml:3") {
		t.Errorf("/health does not say it: %s", a.text)
	}
}

// TestEarlyCommit opens the stream before the upstream has said anything; from then on an error is an event.
func TestEarlyCommit(t *testing.T) {
	for _, row := range []struct {
		it     string
		answer func(http.ResponseWriter, *http.Request, string, int64)
		said   string
		kind   string
	}{
		{"goes on with the answer", func(w http.ResponseWriter, _ *http.Request, _ string, _ int64) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"late\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
		}, "late", ""},
		{"tells of an error by event", say(500, `{"error":{"message":"x"}}`), "", "api_error"},
	} {
		t.Run(row.it, func(t *testing.T) {
			opened := make(chan struct{})
			up := upstream(t, func(w http.ResponseWriter, r *http.Request, body string, n int64) {
				select {
				case <-opened:
				case <-r.Context().Done():
				}
				row.answer(w, r, body, n)
			})
			s := newStand(t, func(c *config.Config) {
				c.EarlyCommit = config.Duration(20 * time.Millisecond)
				c.Providers["a"] = config.Provider{Name: "a", Kind: "openai", BaseURL: up.URL}
			})
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/a/m/messages", strings.NewReader(question(true)))
			req.Header.Set("Content-Type", "application/json")
			resp, err := callers.Do(req) // returns though the upstream still waits for us
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			close(opened)
			text, err := io.ReadAll(resp.Body)
			a := &answer{status: resp.StatusCode, header: resp.Header, text: string(text), broken: err}
			a.events = parseEvents(t, a.text)
			if a.status != 200 || len(a.events) < 2 || a.events[0].name != "ping" || a.said() != row.said || a.errorType() != row.kind || err != nil {
				t.Errorf("%d %v\n%s", a.status, err, a.text)
			}
		})
	}
}
