package openaicompat

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire/responses"
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
func upstream(t *testing.T, cfg config.Provider, answer http.HandlerFunc) (*Client, func() []seen) {
	t.Helper()
	calls := make(chan seen, 16)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := seen{method: r.Method, path: r.URL.Path, header: r.Header}
		_ = json.NewDecoder(r.Body).Decode(&c.body)
		calls <- c
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	cfg.BaseURL = s.URL + "/v1/"
	if cfg.Name == "" {
		cfg.Name = "lab"
	}
	p, err := New(cfg, deps())
	if err != nil {
		t.Fatal(err)
	}
	c := p.(*Client)
	t.Cleanup(c.CloseIdle)
	return c, func() (all []seen) {
		for {
			select {
			case x := <-calls:
				all = append(all, x)
			default:
				return all
			}
		}
	}
}

func call(t *testing.T, body string) providers.Call {
	t.Helper()
	r, err := messages.ParseRequest([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return providers.Call{Request: r, Model: "vendor/m:1", Header: http.Header{"X-Api-Key": {"callers-own"}, "Cookie": {"a=b"}, "Anthropic-Version": {"2023-06-01"}}}
}

const (
	whole  = `{"model":"asked","max_tokens":5,"messages":[{"role":"user","content":"q"}]}`
	stream = `{"model":"asked","max_tokens":5,"stream":true,"messages":[{"role":"user","content":"q"}]}`
	reply  = `{"choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}`
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
	got := calls()
	if len(got) != 1 {
		t.Fatalf("%d calls", len(got))
	}
	h := got[0].header
	if got[0].path != "/v1/chat/completions" || h.Get("Authorization") != "Bearer test-key-openai" || h.Get("X-Team") != "blue" {
		t.Errorf("%s %v", got[0].path, h)
	}
	for _, name := range []string{"X-Api-Key", "Cookie", "Anthropic-Version"} {
		if h.Get(name) != "" {
			t.Errorf("the caller's %s went up", name)
		}
	}
	if got[0].body["model"] != "vendor/m:1" || got[0].body["max_tokens"] != 5.0 {
		t.Errorf("body %v", got[0].body)
	}
}

func TestSendStream(t *testing.T) {
	gone := make(chan struct{})
	c, _ := upstream(t, config.Provider{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"early\"}}]}\n\n")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	rep, err := c.Send(context.Background(), call(t, stream))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for f, err := range rep.Frames {
		if err != nil {
			t.Fatal(err)
		}
		if f.Lull() {
			continue
		}
		got = append(got, f.Event)
		if f.Event == "content_block_delta" {
			if !strings.Contains(string(f.Data), "early") {
				t.Errorf("%s", f.Data)
			}
			break // the caller leaves while the upstream still works
		}
	}
	_ = rep.Close()
	if s := strings.Join(got, " "); s != "message_start content_block_start content_block_delta" {
		t.Error(s)
	}
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Fatal("the upstream was not left")
	}
}

func TestSendErrors(t *testing.T) {
	for _, row := range []struct {
		it     string
		status int
		header [2]string
		body   string
		kind   fault.Kind
		want   string
		wait   time.Duration
	}{
		{"keeps the waiting time", 429, [2]string{"Retry-After", "7"}, `{"error":{"message":"Rate limit reached"}}`, fault.RateLimit, "Rate limit", 7 * time.Second},
		{"names the provider when its key is refused", 401, [2]string{}, `{"error":{"message":"bad key test-key-openai"}}`, fault.UpstreamKey, "lab", 0},
		{"makes agents compact", 400, [2]string{}, `{"error":{"message":"x","code":"context_length_exceeded"}}`, fault.ContextOverflow, "prompt is too long", 0},
		{"sees an error inside a 200", 200, [2]string{}, `{"error":{"message":"boom","code":503}}`, fault.Overloaded, "boom", 0},
	} {
		for _, body := range []string{whole, stream} {
			t.Run(row.it, func(t *testing.T) {
				c, _ := upstream(t, config.Provider{APIKey: config.NewSecret("test-key-openai")}, func(w http.ResponseWriter, r *http.Request) {
					if row.header[0] != "" {
						w.Header().Set(row.header[0], row.header[1])
					}
					w.WriteHeader(row.status)
					_, _ = io.WriteString(w, row.body)
				})
				_, err := c.Send(context.Background(), call(t, body))
				var f *fault.Error
				if !errors.As(err, &f) || f.Kind != row.kind || f.RetryAfter != row.wait || !strings.Contains(f.Message, row.want) || f.Provider != "lab" {
					t.Errorf("got %v", err)
				}
				if err != nil && strings.Contains(err.Error(), "test-key-openai") {
					t.Errorf("the key is in the error: %v", err)
				}
			})
		}
	}
}

func TestProfile(t *testing.T) {
	c, calls := upstream(t, config.Provider{Name: "work", Profile: "mistral"}, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, reply) })
	body := strings.Replace(stream, `"stream":true`, `"stream":true,"tools":[{"name":"t","input_schema":{}}],"tool_choice":{"type":"any"}`, 1)
	rep, err := c.Send(context.Background(), call(t, body))
	if err != nil {
		t.Fatal(err)
	}
	_ = rep.Close()
	if b := calls()[0].body; b["tool_choice"] != "any" || b["stream_options"] != nil {
		t.Errorf("the row was not read: %v", b)
	}
	for _, row := range []struct {
		it   string
		cfg  config.Provider
		want string
	}{
		{"refuses a profile that nobody wrote", config.Provider{Name: "a", BaseURL: "http://localhost", Profile: "nope"}, "profile"},
		{"wants an address where no row has one", config.Provider{Name: "a"}, "base_url"},
		{"takes the row of the provider's name", config.Provider{Name: "groq"}, ""},
		{"takes plain for an answer", config.Provider{Name: "groq", Profile: "plain", BaseURL: "http://localhost"}, ""},
	} {
		t.Run(row.it, func(t *testing.T) {
			_, err := New(row.cfg, deps())
			if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Models that chat completions would not let think beside their tools speak the other dialect, where the server surely has it.
func TestOtherDialect(t *testing.T) {
	for base, want := range map[string]bool{"": true, "https://api.openai.com/v1": true, "http://127.0.0.1:1/v1": false} {
		p, err := New(config.Provider{Name: "openai", BaseURL: base}, deps())
		if err != nil {
			t.Fatal(err)
		}
		if got := p.(*Client).other != nil; got != want {
			t.Errorf("%q: %v", base, got)
		}
	}
	if p, err := New(config.Provider{Name: "groq", BaseURL: "https://api.openai.com/v1"}, deps()); err != nil || p.(*Client).other != nil {
		t.Errorf("a row that does not say so: %v", err)
	}
	c, calls := upstream(t, config.Provider{Name: "openai"}, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/responses") {
			_, _ = io.WriteString(w, `{"status":"completed","output":[{"type":"function_call","call_id":"c","name":"t","arguments":"{}"}]}`)
			return
		}
		_, _ = io.WriteString(w, reply)
	})
	c.other = &responses.Quirks{Provider: "openai"}
	tools := strings.Replace(whole, `"messages"`, `"tools":[{"name":"t"}],"messages"`, 1)
	for _, row := range []struct{ it, model, body, path string }{
		{"sends tools to the other dialect", "gpt-5.4", tools, "/v1/responses"},
		{"sends a request without tools as ever", "gpt-5.4", whole, "/v1/chat/completions"},
		{"sends a model that takes both as ever", "gpt-5.1", tools, "/v1/chat/completions"},
	} {
		t.Run(row.it, func(t *testing.T) {
			x := call(t, row.body)
			x.Model = row.model
			rep, err := c.Send(context.Background(), x)
			if err != nil {
				t.Fatal(err)
			}
			defer rep.Close()
			if got := calls()[0]; got.path != row.path {
				t.Errorf("it went to %s", got.path)
			}
			if called := strings.Contains(string(rep.Body), `"tool_use"`); called != (row.path == "/v1/responses") {
				t.Errorf("got %s", rep.Body)
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
		_, _ = io.WriteString(w, `{"data":[{"id":"a/b","created":5,"max_model_len":8192},{"id":"c","context_window":-1},{}]}`)
	}
	good, calls := upstream(t, config.Provider{APIKey: config.NewSecret("good-key-123")}, list)
	ms, err := good.Models(context.Background())
	if err != nil || len(ms) != 2 || ms[0].ID != "a/b" || ms[0].Window != 8192 || ms[1].Window != 0 {
		t.Errorf("%+v %v", ms, err)
	}
	if err := good.Ping(context.Background()); err != nil {
		t.Error(err)
	}
	if got := calls(); got[1].path != "/v1/models" || got[1].method != http.MethodGet {
		t.Errorf("%+v", got)
	}
	bad, _ := upstream(t, config.Provider{APIKey: config.NewSecret("bad-key-1234")}, list)
	var f *fault.Error
	if err := bad.Ping(context.Background()); !errors.As(err, &f) || f.Kind != fault.UpstreamKey {
		t.Errorf("a refused key is healthy: %v", err)
	}
	keyless, calls := upstream(t, config.Provider{}, list)
	if err := keyless.Ping(context.Background()); err != nil || len(calls()) != 0 {
		t.Errorf("a keyless server only has to be there: %v", err)
	}
	ln, _ := net.Listen("tcp", "127.0.0.1:0")
	addr := ln.Addr().String()
	_ = ln.Close()
	p, _ := New(config.Provider{Name: "gone", BaseURL: "http://" + addr}, deps())
	if err := p.Ping(context.Background()); err == nil {
		t.Error("nobody is there, and it is healthy")
	}
}

// A server that takes no user behind a result is asked once more with the assistant between, and the next time at once.
func TestBridge(t *testing.T) {
	tries := 0
	c, calls := upstream(t, config.Provider{}, func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries == 1 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"object":"error","message":"Unexpected role 'user' after role 'tool'","type":"invalid_request_message_order","param":null,"code":"3230"}`)
			return
		}
		_, _ = io.WriteString(w, reply)
	})
	const turns = `{"model":"asked","max_tokens":5,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"r"}]},{"role":"user","content":"and"},{"role":"user","content":"more"}]}`
	for _, want := range [][]string{{"user assistant tool user user", "user assistant tool assistant user user"}, {"user assistant tool assistant user user"}} {
		rep, err := c.Send(context.Background(), call(t, turns))
		if err != nil {
			t.Fatal(err)
		}
		_ = rep.Close()
		got := calls()
		if len(got) != len(want) {
			t.Fatalf("%d calls, want %d", len(got), len(want))
		}
		for i := range got {
			var roles []string
			for _, m := range got[i].body["messages"].([]any) {
				roles = append(roles, m.(map[string]any)["role"].(string))
			}
			if s := strings.Join(roles, " "); s != want[i] {
				t.Errorf("call %d: %s, want %s", i, s, want[i])
			}
		}
	}
}

// A server that thinks by itself and misses the reasoning of earlier calls is given it, or told that there is none, and from then
// on at once; nobody else is.
func TestReasoningBack(t *testing.T) {
	tries := 0
	c, calls := upstream(t, config.Provider{}, func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries == 1 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":{"message":"thinking is enabled but reasoning_content is missing in assistant tool call message at index 1","type":"invalid_request_error"}}`)
			return
		}
		_, _ = io.WriteString(w, reply)
	})
	const turns = `{"model":"asked","max_tokens":5,"messages":[{"role":"user","content":"q"},
		{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"tool_use","id":"a","name":"f","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"r"}]},
		{"role":"assistant","content":[{"type":"tool_use","id":"b","name":"f","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"b","content":"r"}]}]}`
	for _, want := range [][][2]any{{{nil, nil}, {"hm", ""}}, {{"hm", ""}}} {
		rep, err := c.Send(context.Background(), call(t, turns))
		if err != nil {
			t.Fatal(err)
		}
		_ = rep.Close()
		got := calls()
		if len(got) != len(want) {
			t.Fatalf("%d calls, want %d", len(got), len(want))
		}
		for i := range got {
			m := got[i].body["messages"].([]any)
			if a, b := m[1].(map[string]any)["reasoning_content"], m[3].(map[string]any)["reasoning_content"]; a != want[i][0] || b != want[i][1] {
				t.Errorf("call %d: %v and %v, want %v", i, a, b, want[i])
			}
		}
	}
}

// Ids that are too long for a server are hashes for it from its first refusal on, the same for a call and its result.
func TestShortIDs(t *testing.T) {
	tries := 0
	c, calls := upstream(t, config.Provider{}, func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries == 1 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":{"message":"Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got a string with length 46 instead.","type":"invalid_request_error","code":"string_above_max_length"}}`)
			return
		}
		_, _ = io.WriteString(w, reply)
	})
	const long = "chatcmpl-tool-0123456789abcdef0123456789abcdef"
	const turns = `{"model":"asked","max_tokens":5,"messages":[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"tool_use","id":"` + long + `","name":"f","input":{}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"` + long + `","content":"r"}]}]}`
	for _, want := range [][]bool{{true, false}, {false}} {
		rep, err := c.Send(context.Background(), call(t, turns))
		if err != nil {
			t.Fatal(err)
		}
		_ = rep.Close()
		got := calls()
		if len(got) != len(want) {
			t.Fatalf("%d calls, want %d", len(got), len(want))
		}
		for i := range got {
			m := got[i].body["messages"].([]any)
			id := m[1].(map[string]any)["tool_calls"].([]any)[0].(map[string]any)["id"].(string)
			if (id == long) != want[i] || len(id) > 40 != want[i] || m[2].(map[string]any)["tool_call_id"] != id {
				t.Errorf("call %d: %s and %v", i, id, m[2])
			}
		}
	}
}

// A model that reasons behind an address that does not tell says step by step what it will not have, and is remembered.
func TestUnknownReasoner(t *testing.T) {
	tries := 0
	c, calls := upstream(t, config.Provider{}, func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries <= 2 {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, []string{`{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."}}`,
				`{"error":{"message":"Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported."}}`}[tries-1])
			return
		}
		_, _ = io.WriteString(w, reply)
	})
	const asked = `{"model":"asked","max_tokens":5,"temperature":0.2,"messages":[{"role":"user","content":"q"}]}`
	for _, want := range []int{3, 1} {
		rep, err := c.Send(context.Background(), call(t, asked))
		if err != nil {
			t.Fatal(err)
		}
		_ = rep.Close()
		if dropped := strings.Join(rep.Notes.Fields(), " "); dropped != "temperature" {
			t.Errorf("dropped %q", dropped)
		}
		got := calls()
		if len(got) != want {
			t.Fatalf("%d calls, want %d", len(got), want)
		}
		last := got[len(got)-1].body
		_, limit := last["max_tokens"]
		if _, warm := last["temperature"]; limit || warm || last["max_completion_tokens"] != 5.0 {
			t.Errorf("sent %v", last)
		}
	}
}
