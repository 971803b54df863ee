package openairesponses

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/providers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func deps() providers.Deps {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return providers.Deps{Log: log, Now: time.Now, Version: "test"}
}

// seen is one call as the upstream got it.
type seen struct {
	method, path string
	header       http.Header
	body         map[string]any
}

// upstream starts a scripted server and a client of it.
func upstream(t *testing.T, cfg config.Provider, answer http.HandlerFunc) (*Client, chan seen) {
	t.Helper()
	calls := make(chan seen, 16)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := seen{method: r.Method, path: r.URL.Path, header: r.Header}
		_ = json.NewDecoder(r.Body).Decode(&c.body)
		calls <- c
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	cfg.Name, cfg.BaseURL = "lab", s.URL+"/v1/"
	p, err := New(cfg, deps())
	if err != nil {
		t.Fatal(err)
	}
	c := p.(*Client)
	t.Cleanup(c.CloseIdle)
	return c, calls
}

func call(t *testing.T, body string) providers.Call {
	t.Helper()
	r, err := messages.ParseRequest([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return providers.Call{Request: r, Model: "gpt-5.4", Header: http.Header{"X-Api-Key": {"callers-own"}, "Cookie": {"a=b"}}}
}

const (
	whole  = `{"model":"asked","max_tokens":50,"messages":[{"role":"user","content":"q"}]}`
	stream = `{"model":"asked","max_tokens":50,"stream":true,"messages":[{"role":"user","content":"q"}]}`
	reply  = `{"status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":3,"output_tokens":1}}`
)

func TestSend(t *testing.T) {
	c, calls := upstream(t, config.Provider{APIKey: config.NewSecret("test-key-openai"), Headers: map[string]string{"X-Team": "blue"}}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Request-Id", "up-1")
		_, _ = io.WriteString(w, reply)
	})
	rep, err := c.Send(context.Background(), call(t, whole))
	if err != nil {
		t.Fatal(err)
	}
	defer rep.Close()
	var m struct {
		Model   string
		Content []struct{ Text string }
	}
	if err := json.Unmarshal(rep.Body, &m); err != nil || m.Model != "asked" || len(m.Content) != 1 || m.Content[0].Text != "hi" {
		t.Errorf("%s %v", rep.Body, err)
	}
	if u := rep.Usage(); u.Input != 3 || u.Output != 1 || !u.Known {
		t.Errorf("usage %+v", u)
	}
	got := <-calls
	if got.path != "/v1/responses" || got.header.Get("Authorization") != "Bearer test-key-openai" || got.header.Get("X-Team") != "blue" {
		t.Errorf("%s %v", got.path, got.header)
	}
	for _, name := range []string{"X-Api-Key", "Cookie"} {
		if got.header.Get(name) != "" {
			t.Errorf("the caller's %s went up", name)
		}
	}
	if got.body["model"] != "gpt-5.4" || got.body["store"] != false || got.body["max_output_tokens"] != 50.0 {
		t.Errorf("body %v", got.body)
	}
	strict := call(t, strings.Replace(whole, `"max_tokens"`, `"top_k":3,"max_tokens"`, 1))
	strict.Strict = true
	var f *fault.Error
	if _, err := c.Send(context.Background(), strict); !errors.As(err, &f) || f.Kind != fault.Invalid || len(calls) != 0 {
		t.Errorf("strict: %v, %d calls", err, len(calls))
	}
}

func TestSendStream(t *testing.T) {
	gone := make(chan struct{})
	c, _ := upstream(t, config.Provider{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"early\"}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	rep, err := c.Send(context.Background(), call(t, stream))
	if err != nil {
		t.Fatal(err)
	}
	for f, err := range rep.Frames {
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(f.Data), "early") {
			break // the caller leaves
		}
	}
	<-gone
}

// A stop sequence ends the answer here, and then the upstream's, which would talk on for the caller's money.
func TestStopSequenceEndsTheUpstream(t *testing.T) {
	gone := make(chan struct{})
	c, calls := upstream(t, config.Provider{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"one STOP two\"}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	rep, err := c.Send(context.Background(), call(t, strings.Replace(stream, `"stream"`, `"stop_sequences":["STOP"],"stream"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for f, err := range rep.Frames {
		if err != nil {
			t.Fatal(err)
		}
		all.Write(f.Data)
	}
	<-gone
	if s := all.String(); !strings.Contains(s, `"text":"one "`) || strings.Contains(s, "two") || !strings.Contains(s, `"stop_sequence":"STOP"`) || !strings.Contains(s, "message_stop") {
		t.Errorf("got %s", s)
	}
	if b := (<-calls).body; b["stop"] != nil || b["stop_sequences"] != nil {
		t.Errorf("the API knows no such field: %v", b)
	}
}

func TestErrors(t *testing.T) {
	for _, row := range []struct {
		it, body string
		status   int
		stream   bool
		kind     fault.Kind
		want     string
	}{
		{"says that the provider's key is refused", `{"error":{"message":"Incorrect API key provided: test-key-openai","code":"invalid_api_key"}}`, 401, false, fault.UpstreamKey, "lab"},
		{"passes a rate limit on", `{"error":{"message":"Slow down","code":"rate_limit_exceeded"}}`, 429, true, fault.RateLimit, "Slow down"},
		{"knows a prompt that does not fit", `{"error":{"message":"Your input exceeds the context window of this model.","code":"context_length_exceeded"}}`, 400, true, fault.ContextOverflow, "prompt is too long"},
		{"fails before the commit", "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\",\"message\":\"broke\"}}}\n\n", 200, true, fault.Upstream, "broke"},
		{"reads a page", "<html><title>Bad gateway</title></html>", 502, false, fault.Upstream, "Bad gateway"},
		{"reads nothing", "", 200, true, fault.Upstream, "before it said anything"},
	} {
		t.Run(row.it, func(t *testing.T) {
			c, _ := upstream(t, config.Provider{APIKey: config.NewSecret("test-key-openai")}, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(row.status)
				_, _ = io.WriteString(w, row.body)
			})
			body := whole
			if row.stream {
				body = stream
			}
			_, err := c.Send(context.Background(), call(t, body))
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != row.kind || !strings.Contains(f.Message, row.want) || f.Provider != "lab" || strings.Contains(f.Message, "test-key-openai") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestModelsAndPing(t *testing.T) {
	list := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer good-key-123" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"data":[{"id":"gpt-5.4","created":5},{"id":"o3"}]}`)
	}
	good, calls := upstream(t, config.Provider{APIKey: config.NewSecret("good-key-123")}, list)
	ms, err := good.Models(context.Background())
	if err != nil || len(ms) != 2 || ms[0].ID != "gpt-5.4" || ms[0].Created != 5 {
		t.Errorf("%+v %v", ms, err)
	}
	if err := good.Ping(context.Background()); err != nil {
		t.Error(err)
	}
	if got := <-calls; got.path != "/v1/models" || got.method != http.MethodGet {
		t.Errorf("%+v", got)
	}
	bad, _ := upstream(t, config.Provider{APIKey: config.NewSecret("bad-key-1234")}, list)
	var f *fault.Error
	if err := bad.Ping(context.Background()); !errors.As(err, &f) || f.Kind != fault.UpstreamKey {
		t.Errorf("a refused key is healthy: %v", err)
	}
	keyless, calls := upstream(t, config.Provider{}, list)
	if err := keyless.Ping(context.Background()); err != nil || len(calls) != 0 {
		t.Errorf("a keyless server only has to be there: %v", err)
	}
}

// What only OpenAI's own server is known to take is sent to nobody else.
func TestOwnServer(t *testing.T) {
	for base, own := range map[string]bool{"": true, "https://api.openai.com/v1": true, "https://eu.api.openai.com/v1/": true,
		"https://api.openai.com.example/v1": false, "http://127.0.0.1:8000/v1": false, "https://example.com/api.openai.com": false} {
		p, err := New(config.Provider{Name: "x", BaseURL: base}, deps())
		if err != nil {
			t.Fatal(err)
		}
		if got := p.(*Client).quirks.SystemInPlace; got != own {
			t.Errorf("%q: %v", base, got)
		}
	}
}

// What a model refuses of reasoning is left out at once, and of the next requests from the beginning.
func TestReasoningGivenUp(t *testing.T) {
	thinking := strings.Replace(whole, `"max_tokens"`, `"thinking":{"type":"adaptive"},"max_tokens"`, 1)
	for name, row := range map[string]struct {
		refusal string
		fine    func(body map[string]any) bool
	}{
		"no reasoning": {"Encrypted content is not supported with this model.", func(b map[string]any) bool { return b["include"] == nil && b["reasoning"] == nil }},
		"no summaries": {"Your organization must be verified to generate reasoning summaries.", func(b map[string]any) bool {
			r, _ := b["reasoning"].(map[string]any)
			return r["effort"] == "medium" && r["summary"] == nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var seen atomic.Int64
			c, calls := upstream(t, config.Provider{}, func(w http.ResponseWriter, _ *http.Request) {
				if seen.Add(1) == 1 {
					w.WriteHeader(http.StatusBadRequest)
					_, _ = io.WriteString(w, `{"error":{"message":"`+row.refusal+`","type":"invalid_request_error"}}`)
					return
				}
				_, _ = io.WriteString(w, reply)
			})
			if _, err := c.Send(context.Background(), call(t, thinking)); err != nil {
				t.Fatal(err)
			}
			if first := <-calls; row.fine(first.body) {
				t.Errorf("it did not try: %v", first.body)
			}
			if second := <-calls; !row.fine(second.body) {
				t.Errorf("it went again with %v", second.body)
			}
			if _, err := c.Send(context.Background(), call(t, thinking)); err != nil {
				t.Fatal(err)
			}
			if third := <-calls; !row.fine(third.body) || len(calls) != 0 {
				t.Errorf("forgotten: %v, %d calls more", third.body, len(calls))
			}
		})
	}
}
