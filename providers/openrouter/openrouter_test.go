package openrouter

import (
	"context"
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

// upstream starts a scripted OpenRouter and a client of it. The last request is kept with its body.
func upstream(t *testing.T, key string, headers map[string]string, answer func(w http.ResponseWriter, r *http.Request)) (*Client, *http.Request, *[]byte) {
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
	cfg := config.Provider{Name: "openrouter", Kind: "openrouter", BaseURL: s.URL + "/api/v1", Headers: headers}
	if key != "" {
		cfg.APIKey = config.NewSecret(key)
	}
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
	return providers.Call{Request: r, Model: model, Header: http.Header{"X-Api-Key": {"callers-own"}, "Anthropic-Version": {"2023-06-01"}, "Anthropic-Beta": {"x-2026"}}, Credential: config.NewSecret("callers-own")}
}

const ask = `{"model":"asked","max_tokens":5,"messages":[{"role":"user","content":"q"}]}`

func TestChat(t *testing.T) {
	c, last, body := upstream(t, "test-key-openrouter", map[string]string{"HTTP-Referer": "https://team.example"}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"ok"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":2,"cost":0.00095}}`)
	})
	rep, err := c.Send(context.Background(), call(t, "google/gemini:free", ask))
	if err != nil {
		t.Fatal(err)
	}
	defer rep.Close()
	if u := rep.Usage(); u.Cost == nil || u.Cost.Decimal() != "0.00095" || rep.Lane != exchange.Translated {
		t.Errorf("%+v %v", u, rep.Lane)
	}
	h := last.Header
	if last.URL.Path != "/api/v1/chat/completions" || h.Get("Authorization") != "Bearer test-key-openrouter" || h.Get("X-Api-Key") != "" || h.Get("Anthropic-Version") != "" {
		t.Errorf("%s %v", last.URL, h)
	}
	if h.Get("X-OpenRouter-Title") != "signalbox" || h.Get("HTTP-Referer") != "https://team.example" {
		t.Errorf("attribution: %v", h)
	}
	var b struct{ Model string }
	if _ = json.Unmarshal(*body, &b); b.Model != "google/gemini:free" {
		t.Errorf("%s", *body)
	}
}

func TestClaudeGoesVerbatim(t *testing.T) {
	answer := `{"id":"msg_1","type":"message","role":"assistant","model":"anthropic/claude","content":[],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1,"cost":0.5}}`
	c, last, body := upstream(t, "test-key-openrouter", map[string]string{"X-OpenRouter-Title": "mine"}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	})
	rep, err := c.Send(context.Background(), call(t, "anthropic/claude-sonnet-4.5", ask))
	if err != nil {
		t.Fatal(err)
	}
	defer rep.Close()
	if string(rep.Body) != answer || rep.Lane != exchange.Verbatim {
		t.Errorf("%s %v", rep.Body, rep.Lane)
	}
	if want := strings.Replace(ask, `"asked"`, `"anthropic/claude-sonnet-4.5"`, 1); string(*body) != want {
		t.Errorf("got %s", *body)
	}
	h := last.Header
	if last.URL.Path != "/api/v1/messages" || h.Get("Authorization") != "Bearer test-key-openrouter" || h.Get("X-Api-Key") != "" || h.Get("Anthropic-Beta") != "x-2026" || h.Get("X-OpenRouter-Title") != "mine" {
		t.Errorf("%s %v", last.URL, h)
	}
}

func TestModelsAndPing(t *testing.T) {
	c, last, _ := upstream(t, "test-key-openrouter", nil, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/v1/key":
			_, _ = io.WriteString(w, `{"data":{"limit":null}}`)
		default:
			_, _ = io.WriteString(w, `{"data":[{"id":"a/b:free","name":"A","created":7,"context_length":1000,"top_provider":{"context_length":800,"max_completion_tokens":100},"pricing":{"prompt":"0.0000001","completion":"0.000002","input_cache_read":"0.00000001"}},{"id":"openrouter/auto","pricing":{"prompt":"-1","completion":"-1"}},{"name":"none"}]}`)
		}
	})
	ms, err := c.Models(context.Background())
	if err != nil || len(ms) != 2 {
		t.Fatalf("%+v %v", ms, err)
	}
	if m := ms[0]; m.ID != "a/b:free" || m.Window != 800 || m.MaxOutput != 100 || m.Price == nil || *m.Price != (providers.ListPrice{Input: "0.0000001", Output: "0.000002", CacheRead: "0.00000001"}) {
		t.Errorf("%+v %+v", m, m.Price)
	}
	if ms[1].Price != nil {
		t.Errorf("a placeholder is no price: %+v", ms[1].Price)
	}
	if err := c.Ping(context.Background()); err != nil || last.URL.Path != "/api/v1/key" {
		t.Errorf("%s %v", last.URL, err)
	}
	bad, _, _ := upstream(t, "bad-key-12345", nil, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	var f *fault.Error
	if err := bad.Ping(context.Background()); !errors.As(err, &f) || f.Kind != fault.UpstreamKey {
		t.Errorf("a refused key is healthy: %v", err)
	}
}
