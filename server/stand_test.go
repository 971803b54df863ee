package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/ledger"
	"signalbox/internal/testkit"
)

// stand is a real gateway under test: its address, its log, and its state, which can be read once it has stopped.
type stand struct {
	url, addr, state string
	log              *record
	cancel           context.CancelFunc
	kill             chan struct{}
	ended            chan error
	once             sync.Once
}

// record keeps what was logged.
type record struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.b.String()
}

// newStand starts a gateway whose only providers are signalbox and those that change adds.
func newStand(t testing.TB, change func(*config.Config)) *stand {
	t.Helper()
	return newStandOf(t, change, func(*Options) {})
}

// newStandWith is newStand with a reader of the configuration for reloads.
func newStandWith(t testing.TB, change func(*config.Config), reload func() (*config.Config, error)) *stand {
	t.Helper()
	return newStandOf(t, change, func(o *Options) { o.Reload = reload })
}

// newStandOf is newStand with other options.
func newStandOf(t testing.TB, change func(*config.Config), options func(*Options)) *stand {
	t.Helper()
	cfg := config.Default()
	cfg.Listen = "127.0.0.1:0"
	cfg.Breaker.Consecutive = 1000
	cfg.Grace = config.Duration(5 * time.Second)
	cfg.Providers = map[string]config.Provider{"signalbox": {Kind: "signalbox", Builtin: true}}
	if change != nil {
		change(cfg)
	}
	log := logrus.New()
	s := &stand{log: &record{}, state: t.TempDir(), kill: make(chan struct{}), ended: make(chan error, 1)}
	log.SetOutput(s.log)
	log.SetLevel(logrus.DebugLevel)
	log.SetFormatter(&logrus.JSONFormatter{})
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	ready := make(chan net.Addr, 1)
	o := Options{Config: cfg, Log: log, Version: "test", StateDir: s.state, Ready: func(a net.Addr) { ready <- a }, Grace: cfg.Grace.D(), Kill: s.kill}
	options(&o)
	go func() { s.ended <- Run(ctx, o) }()
	t.Cleanup(func() { s.stop(t) })
	select {
	case a := <-ready:
		s.addr = a.String()
		s.url = "http://" + s.addr
	case err := <-s.ended:
		s.ended <- err
		t.Fatalf("Run: %v", err)
	}
	return s
}

// stop drains the gateway and waits for its end.
func (s *stand) stop(t testing.TB) {
	t.Helper()
	s.once.Do(func() {
		s.cancel()
		if err := <-s.ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// rows stops the gateway and reads the attempts from its book.
func (s *stand) rows(t testing.TB) (out []ledger.Row) {
	t.Helper()
	s.stop(t)
	b, err := ledger.OpenBook(s.state)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for r, err := range b.Rows(context.Background(), time.Time{}, time.Time{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// scrape is the metrics page.
func (s *stand) scrape(t testing.TB) string {
	t.Helper()
	return s.get(t, "/metrics").text
}

// answer is what a caller got.
type answer struct {
	status int
	header http.Header
	text   string
	events []event
	broken error // the body did not come to a proper end
}

type event struct{ name, data string }

func (a *answer) errorType() string {
	if a.status >= 400 {
		return gjson.Get(a.text, "error.type").String()
	}
	if n := len(a.events); n > 0 && a.events[n-1].name == "error" {
		return gjson.Get(a.events[n-1].data, "error.type").String()
	}
	return ""
}

func (a *answer) message() string {
	if n := len(a.events); n > 0 {
		return gjson.Get(a.events[n-1].data, "error.message").String()
	}
	return gjson.Get(a.text, "error.message").String()
}

// said is the text of a whole or streamed answer.
func (a *answer) said() string {
	var b strings.Builder
	for _, e := range a.events {
		b.WriteString(gjson.Get(e.data, "delta.text").String())
	}
	if len(a.events) == 0 {
		for _, block := range gjson.Get(a.text, "content").Array() {
			b.WriteString(block.Get("text").String())
		}
	}
	return b.String()
}

// callers do not share a client with anybody, so that goleak sees what they leave.
var callers = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

func (s *stand) get(t testing.TB, path string, header ...string) *answer {
	t.Helper()
	return s.ask(t, http.MethodGet, path, "", header...)
}

func (s *stand) post(t testing.TB, path, body string, header ...string) *answer {
	t.Helper()
	return s.ask(t, http.MethodPost, path, body, header...)
}

// ask sends a request and reads the answer to its end.
func (s *stand) ask(t testing.TB, method, path, body string, header ...string) *answer {
	t.Helper()
	a, err := s.do(context.Background(), method, path, body, header...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	a.parse(t)
	return a
}

// do is ask for goroutines; the events are not parsed yet.
func (s *stand) do(ctx context.Context, method, path, body string, header ...string) (*answer, error) {
	var rd io.Reader
	if body != "" {
		rd = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, rd)
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
			continue
		}
		req.Header.Del(header[i])
		if header[i+1] != "" {
			req.Header[http.CanonicalHeaderKey(header[i])] = []string{header[i+1]}
		}
	}
	resp, err := callers.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return &answer{status: resp.StatusCode, header: resp.Header, text: string(b), broken: err}, nil
}

func (a *answer) parse(t testing.TB) {
	t.Helper()
	if strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") {
		a.events = parseEvents(t, a.text)
	}
}

// parseEvents is a strict reader of our own streams: one event line, one data line, a blank line.
func parseEvents(t testing.TB, text string) (out []event) {
	t.Helper()
	for _, f := range strings.Split(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		name, data, ok := strings.Cut(f, "\n")
		name, isEvent := strings.CutPrefix(name, "event: ")
		data, isData := strings.CutPrefix(data, "data: ")
		if !ok || !isEvent || !isData || strings.ContainsAny(data, "\r\n") || !gjson.Valid(data) {
			t.Errorf("not an event: %q", clipped(f))
			continue
		}
		if got := gjson.Get(data, "type").String(); got != name {
			t.Errorf("event %q says it is %q", name, got)
		}
		out = append(out, event{name, data})
	}
	return out
}

// grammar says what is wrong with a stream (I8): blocks one after the other with indexes 0, 1, 2, deltas inside their block, one
// end, and nothing behind it.
func grammar(events []event) error {
	open, next, ended, begun := -1, 0, "", false
	for i, e := range events {
		if ended != "" {
			return fmt.Errorf("event %d (%s) stands behind %s", i, e.name, ended)
		}
		index := int(gjson.Get(e.data, "index").Int())
		switch e.name {
		case "ping":
		case "message_start":
			if begun {
				return fmt.Errorf("event %d: a second start", i)
			}
			begun = true
		case "content_block_start":
			if open >= 0 || index != next {
				return fmt.Errorf("event %d: block %d starts while %d is open and %d is next", i, index, open, next)
			}
			open, next = index, next+1
		case "content_block_delta":
			if index != open {
				return fmt.Errorf("event %d: a delta for %d while %d is open", i, index, open)
			}
		case "content_block_stop":
			if index != open {
				return fmt.Errorf("event %d: a stop for %d while %d is open", i, index, open)
			}
			open = -1
		case "message_delta":
			if open >= 0 {
				return fmt.Errorf("event %d: message_delta inside block %d", i, open)
			}
		case "message_stop", "error":
			ended = e.name
		}
		if !begun && e.name != "ping" && e.name != "error" {
			return fmt.Errorf("event %d (%s) stands before the start", i, e.name)
		}
	}
	if ended == "" {
		return fmt.Errorf("the stream has no end (%d events)", len(events))
	}
	return nil
}

func clipped(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}

// ask is a small request.
func question(stream bool) string {
	return fmt.Sprintf(`{"model":"m","max_tokens":100,"stream":%v,"messages":[{"role":"user","content":"Say a word about the sea."}]}`, stream)
}

// tongue is what a dialect's upstream says.
type tongue struct {
	name, kind, path string

	whole      string // a whole answer: "Hello sea"
	wholeType  string
	streamType string
	first      string // the part of a stream that commits: "Hello"
	more       string // " sea"
	finish     string // the finish, and what belongs to it
	end        string // what stands behind the finish
	failure    string // an error document of 529 or 503 inside the stream
	failedAs   string // the type it is mapped to
}

// text makes another piece of text.
func (g *tongue) text(quoted string) string { return strings.Replace(g.more, `" sea"`, quoted, 1) }

func (g *tongue) stream() string { return g.first + g.more + g.finish + g.end }

// provider is a configuration for an upstream of this dialect, with short clocks.
func (g *tongue) provider(base string) config.Provider {
	ms := func(n int) config.Duration { return config.Duration(time.Duration(n) * time.Millisecond) }
	return config.Provider{Kind: g.kind, BaseURL: base, APIKey: config.NewSecret("sk-test-" + g.name + "-1234567890"),
		Timeouts: config.Timeouts{Connect: ms(2000), TLS: ms(2000), Head: ms(3000), FirstEvent: ms(3000), Idle: ms(2500)}}
}

var tongues = []*tongue{
	{
		name: "openai", kind: "openai", path: "/chat/completions", wholeType: "application/json", streamType: "text/event-stream",
		whole:  `{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello sea"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":3}}`,
		first:  "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Hello\"}}]}\n\n",
		more:   "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" sea\"}}]}\n\n",
		finish: "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3}}\n\n",
		end:    "data: [DONE]\n\n", failure: "data: {\"error\":{\"message\":\"too busy\",\"code\":429}}\n\n", failedAs: "rate_limit_error",
	},
	{
		name: "ollama", kind: "ollama", path: "/api/chat", wholeType: "application/json", streamType: "application/x-ndjson",
		whole:   `{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"Hello sea"},"done":true,"done_reason":"stop","prompt_eval_count":12,"eval_count":3}`,
		first:   "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hello\"},\"done\":false}\n",
		more:    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\" sea\"},\"done\":false}\n",
		finish:  "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":12,\"eval_count\":3}\n",
		failure: "{\"error\":\"the runner has stopped\"}\n", failedAs: "api_error",
	},
	{
		name: "anthropic", kind: "anthropic", path: "/v1/messages", wholeType: "application/json", streamType: "text/event-stream",
		whole:   `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hello sea"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":12,"output_tokens":3}}`,
		first:   "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":12,\"output_tokens\":1}}}\n\nevent: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n",
		more:    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" sea\"}}\n\n",
		finish:  "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":3}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
		failure: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n", failedAs: "overloaded_error",
	},
	{
		name: "openai-responses", kind: "openai-responses", path: "/responses", wholeType: "application/json", streamType: "text/event-stream",
		whole:   `{"id":"r","object":"response","status":"completed","model":"m","output":[{"type":"message","id":"i","role":"assistant","status":"completed","content":[{"type":"output_text","text":"Hello sea","annotations":[]}]}],"usage":{"input_tokens":12,"output_tokens":3}}`,
		first:   "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"r\",\"status\":\"in_progress\",\"output\":[]}}\n\nevent: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\"Hello\"}\n\n",
		more:    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\" sea\"}\n\n",
		finish:  "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":12,\"output_tokens\":3}}}\n\n",
		failure: "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"r\",\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"too busy\"}}}\n\n", failedAs: "rate_limit_error",
	},
	{
		name: "gemini", kind: "gemini", path: "/v1beta/models/", wholeType: "application/json", streamType: "text/event-stream",
		whole:   `{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello sea"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":12,"candidatesTokenCount":3},"modelVersion":"m"}`,
		first:   "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"Hello\"}]}}]}\n\n",
		more:    "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\" sea\"}]}}]}\n\n",
		finish:  "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":12,\"candidatesTokenCount\":3}}\n\n",
		failure: "data: {\"error\":{\"code\":503,\"message\":\"too busy\",\"status\":\"UNAVAILABLE\"}}\n\n", failedAs: "overloaded_error",
	},
}

// streamed reports whether a request asks for a stream: the body says so, at Gemini the path.
func streamed(c *testkit.RawConn) bool {
	return gjson.GetBytes(c.Body, "stream").Bool() || strings.Contains(c.Target, ":streamGenerateContent")
}

// side answers what a dialect asks beside the message itself, and says whether it did.
func side(c *testkit.RawConn) bool {
	switch {
	case strings.HasPrefix(c.Target, "/api/show"):
		c.Answer(200, "application/json", `{"model_info":{"general.architecture":"x","x.context_length":1048576},"capabilities":["completion","tools"]}`)
	case strings.HasPrefix(c.Target, "/api/ps"):
		c.Answer(200, "application/json", `{"models":[]}`)
	case strings.HasPrefix(c.Target, "/api/tags"):
		c.Answer(200, "application/json", `{"models":[]}`)
	case strings.HasSuffix(c.Target, "/models") || strings.Contains(c.Target, "/models?"):
		c.Answer(200, "application/json", `{"data":[]}`)
	default:
		return false
	}
	return true
}
