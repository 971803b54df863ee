package gemini

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"signalbox/config"
	"signalbox/internal/exchange"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/providers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const key = "AIzaTestKeyOfTheGateway0000000000000000"

// upstream starts a scripted Gemini and a client of it; the base URL of the configuration is its address and path. The last
// request is kept with its body.
func upstream(t *testing.T, path string, answer http.HandlerFunc) (*Client, *http.Request, *[]byte) {
	t.Helper()
	last, body := &http.Request{}, new([]byte)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*body, _ = io.ReadAll(r.Body)
		*last = *r
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	log := logrus.New()
	log.SetOutput(io.Discard)
	cfg := config.Provider{Name: "g", Kind: "gemini", BaseURL: s.URL + path, APIKey: config.NewSecret(key), Headers: map[string]string{"X-Team": "a"}}
	p, err := New(cfg, providers.Deps{Log: log, Now: time.Now, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	c := p.(*Client)
	t.Cleanup(c.CloseIdle)
	return c, last, body
}

func call(t *testing.T, model, body string) providers.Call {
	t.Helper()
	r, err := messages.ParseRequest([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return providers.Call{Request: r, Model: model, Query: "beta=true", Header: http.Header{"X-Api-Key": {"callers-own"}, "Anthropic-Version": {"2023-06-01"}}, Credential: config.NewSecret("callers-own")}
}

const (
	ask    = `{"model":"asked","max_tokens":5,"messages":[{"role":"user","content":"q"}]}`
	stream = `{"model":"asked","max_tokens":5,"stream":true,"messages":[{"role":"user","content":"q"}]}`
	ok     = `{"candidates":[{"content":{"parts":[{"text":"ok"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":2}}`
)

func TestWhole(t *testing.T) {
	c, last, body := upstream(t, "", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, ok) })
	rep, err := c.Send(context.Background(), call(t, "gemini-2.5-pro", ask))
	if err != nil {
		t.Fatal(err)
	}
	defer rep.Close()
	var m struct {
		Model   string
		Content []struct{ Type, Text string }
	}
	if err := json.Unmarshal(rep.Body, &m); err != nil || m.Model != "asked" || len(m.Content) != 1 || m.Content[0].Text != "ok" {
		t.Errorf("%s %v", rep.Body, err)
	}
	if u := rep.Usage(); u.Input != 10 || u.Output != 2 || !u.Known || rep.Lane != exchange.Translated {
		t.Errorf("%+v %v", u, rep.Lane)
	}
	h := last.Header
	if h.Get("X-Goog-Api-Key") != key || h.Get("Authorization") != "" || h.Get("X-Api-Key") != "" || h.Get("Anthropic-Version") != "" || h.Get("X-Team") != "a" {
		t.Errorf("%v", h)
	}
	if last.Method != http.MethodPost || last.URL.RequestURI() != "/v1beta/models/gemini-2.5-pro:generateContent" {
		t.Errorf("%s %s", last.Method, last.URL)
	}
	if !json.Valid(*body) || strings.Contains(string(*body), "asked") {
		t.Errorf("%s", *body)
	}
}

func TestStream(t *testing.T) {
	c, last, _ := upstream(t, "/v1beta/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, s := range []string{`{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}`, `{"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}}`} {
			_, _ = io.WriteString(w, "data: "+s+"\r\n\r\n")
			w.(http.Flusher).Flush()
		}
	})
	rep, err := c.Send(context.Background(), call(t, "gemini-3-pro", stream))
	if err != nil {
		t.Fatal(err)
	}
	defer rep.Close()
	var said strings.Builder
	var events []string
	for f, err := range rep.Frames {
		if err != nil {
			t.Fatal(err)
		}
		if f.Lull() {
			continue
		}
		events = append(events, f.Event)
		var d struct{ Delta struct{ Text string } }
		if err := json.Unmarshal(f.Data, &d); err != nil {
			t.Fatal(err)
		}
		said.WriteString(d.Delta.Text)
	}
	if said.String() != "ab" || events[len(events)-1] != "message_stop" || rep.Usage().Output != 2 {
		t.Errorf("%q %v %+v", said.String(), events, rep.Usage())
	}
	if last.URL.RequestURI() != "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse" {
		t.Errorf("%s", last.URL)
	}
}

func TestPaths(t *testing.T) {
	for _, test := range []struct{ base, model, want string }{
		{"", "gemini-x", "/v1beta/models/gemini-x:generateContent"},
		{"/", "models/gemini-x", "/v1beta/models/gemini-x:generateContent"},
		{"/proxy/gemini", "gemini-x", "/proxy/gemini/v1beta/models/gemini-x:generateContent"},
		{"/v1", "gemini-x", "/v1/models/gemini-x:generateContent"},
		{"/v1alpha", "gemini-x", "/v1alpha/models/gemini-x:generateContent"},
		{"/a/v1beta1/", "gemini-x", "/a/v1beta1/models/gemini-x:generateContent"},
		{"/vertex", "tunedModels/mine-1", "/vertex/v1beta/tunedModels/mine-1:generateContent"},
		{"", "a/b c?d#e%2e..", "/v1beta/models/a%2Fb%20c%3Fd%23e%252e..:generateContent"},
	} {
		c, last, _ := upstream(t, test.base, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, ok) })
		rep, err := c.Send(context.Background(), call(t, test.model, ask))
		if err != nil {
			t.Fatal(err)
		}
		_ = rep.Close()
		if last.RequestURI != test.want {
			t.Errorf("%q with base %q: %s", test.model, test.base, last.RequestURI)
		}
	}
}

func TestRefused(t *testing.T) {
	c, _, _ := upstream(t, "", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, `[{"error":{"code":429,"message":"Slow down, `+key+`","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3s"}]}}]`)
	})
	_, err := c.Send(context.Background(), call(t, "m", stream))
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.RateLimit || f.RetryAfter != 3*time.Second || f.Provider != "g" || strings.Contains(f.Message, key) {
		t.Errorf("%+v", f)
	}
	strict := call(t, "m", strings.Replace(ask, `"max_tokens"`, `"tools":[{"name":"a"}],"tool_choice":{"type":"any","disable_parallel_tool_use":true},"max_tokens"`, 1))
	strict.Strict = true
	if _, err := c.Send(context.Background(), strict); !errors.As(err, &f) || f.Kind != fault.Invalid {
		t.Errorf("%v", err)
	}
}

func TestModelsAndPing(t *testing.T) {
	c, last, _ := upstream(t, "", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("pageToken") == "p=2" {
			_, _ = io.WriteString(w, `{"models":[{"name":"models/c"}]}`)
			return
		}
		_, _ = io.WriteString(w, `{"models":[{"name":"models/a","displayName":"A","inputTokenLimit":1048576,"outputTokenLimit":65536,"supportedGenerationMethods":["countTokens","generateContent"]},
			{"name":"models/b","supportedGenerationMethods":["embedContent"]},{"name":""}],"nextPageToken":"p=2"}`)
	})
	ms, err := c.Models(context.Background())
	if err != nil || len(ms) != 2 || ms[1].ID != "c" {
		t.Fatalf("%+v %v", ms, err)
	}
	if m := ms[0]; m != (providers.Model{ID: "a", DisplayName: "A", Window: 1048576, MaxOutput: 65536}) {
		t.Errorf("%+v", m)
	}
	if err := c.Ping(context.Background()); err != nil || last.URL.RequestURI() != "/v1beta/models?pageSize=1" || last.Header.Get("X-Goog-Api-Key") != key {
		t.Errorf("%s %v", last.URL, err)
	}
	endless, _, _ := upstream(t, "", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"models":[{"name":"models/a"}],"nextPageToken":"again"}`)
	})
	if ms, err := endless.Models(context.Background()); err != nil || len(ms) != maxPages {
		t.Errorf("a list without end: %d %v", len(ms), err)
	}
	bad, _, _ := upstream(t, "", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}`)
	})
	var f *fault.Error
	if err := bad.Ping(context.Background()); !errors.As(err, &f) || f.Kind != fault.UpstreamKey {
		t.Errorf("a refused key is healthy: %v", err)
	}
	if _, err := bad.Send(context.Background(), call(t, "m", ask)); !errors.As(err, &f) || f.Kind != fault.UpstreamKey {
		t.Errorf("%v", err)
	}
}

func TestStateGivenUp(t *testing.T) {
	history := func(model string, signed bool) string {
		carry := ""
		if signed {
			carry = `{"type":"thinking","thinking":"","signature":"sbx1.gemini.` + base64.RawURLEncoding.EncodeToString([]byte(`{"on":"call","thoughtSignature":"OLD"}`)) + `"},`
		}
		return `{"model":"` + model + `","max_tokens":5,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[` + carry +
			`{"type":"tool_use","id":"toolu_1","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"r"}]}]}`
	}
	const (
		mute    = `{"candidates":[{"content":{"role":"model"},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10}}`
		unnamed = `{"candidates":[{"finishReason":"MISSING_THOUGHT_SIGNATURE"}]}`
		missing = `{"error":{"code":400,"message":"Function call is missing a thought_signature in functionCall parts.","status":"INVALID_ARGUMENT"}}`
		standIn = `"thoughtSignature":"skip_thought_signature_validator"`
	)
	for name, c := range map[string]struct {
		model  string
		signed bool
		status int
		first  string
		want   string // in the second request; "" when there must be none
		lacks  string
	}{
		"an empty answer to old state":         {"gemini-2.5-pro", true, 200, mute, `"functionCall"`, "thoughtSignature"},
		"an empty answer without state":        {"gemini-2.5-pro", false, 200, mute, "", ""},
		"a refusal of a call without state":    {"gemini-flash-latest", false, 400, missing, standIn, ""},
		"a finish for a call without state":    {"gemini-flash-latest", false, 200, unnamed, standIn, ""},
		"a refusal where that was said before": {"gemini-3-pro", false, 400, missing, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			p, _, body := upstream(t, "", func(w http.ResponseWriter, _ *http.Request) {
				if calls++; calls > 1 {
					_, _ = io.WriteString(w, ok)
					return
				}
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.first)
			})
			rep, err := p.Send(context.Background(), call(t, c.model, history(c.model, c.signed)))
			if c.want == "" {
				if err == nil || calls != 1 {
					t.Fatalf("%v after %d calls", err, calls)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer rep.Close()
			if got := string(*body); calls != 2 || !strings.Contains(got, c.want) || c.lacks != "" && strings.Contains(got, c.lacks) {
				t.Errorf("%d calls, the last with %s", calls, got)
			}
		})
	}
}
