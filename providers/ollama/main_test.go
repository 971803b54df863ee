package ollama

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	logtest "github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/providers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client is a client of the server at url; what it logs can be read.
func client(t *testing.T, cfg config.Provider) (*Client, *logtest.Hook) {
	t.Helper()
	log, hook := logtest.NewNullLogger()
	log.SetLevel(logrus.InfoLevel)
	if cfg.Name == "" {
		cfg.Name = "ollama"
	}
	p, err := New(cfg, providers.Deps{Log: log, Now: time.Now, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	c := p.(*Client)
	t.Cleanup(c.CloseIdle)
	return c, hook
}

// call makes a call of a body without a model.
func call(t testing.TB, model, body string) providers.Call {
	t.Helper()
	r, err := messages.ParseRequest([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return providers.Call{Request: r, Model: model}
}

// message is an answer as a caller puts it together.
type message struct {
	Role       string
	Model      string
	Content    []block
	StopReason string `json:"stop_reason"`
	Usage      struct {
		Input  int64 `json:"input_tokens"`
		Output int64 `json:"output_tokens"`
	}
}

type block struct {
	Type, Text, Thinking, ID, Name string
	Input                          json.RawMessage
}

// said joins the text blocks.
func (m *message) said() (text string) {
	for _, b := range m.Content {
		text += b.Text
	}
	return text
}

// send sends a call and puts the answer together, whole or streamed.
func send(ctx context.Context, c providers.Provider, call providers.Call) (*message, *providers.Reply, error) {
	reply, err := c.Send(ctx, call)
	if err != nil {
		return nil, nil, err
	}
	defer reply.Close()
	m := &message{}
	if reply.Body != nil {
		return m, reply, json.Unmarshal(reply.Body, m)
	}
	stopped := false
	for f, err := range reply.Frames {
		if err != nil {
			return m, reply, err
		}
		if f.Lull() {
			continue
		}
		var ev struct {
			Message      *message
			Index        int
			ContentBlock *block `json:"content_block"`
			Delta        struct {
				Text, Thinking string
				PartialJSON    string `json:"partial_json"`
				StopReason     string `json:"stop_reason"`
			}
			Usage *struct {
				Input  int64 `json:"input_tokens"`
				Output int64 `json:"output_tokens"`
			}
		}
		if err := json.Unmarshal(f.Data, &ev); err != nil {
			return nil, reply, err
		}
		switch f.Event {
		case "message_start":
			m = ev.Message
		case "content_block_start":
			ev.ContentBlock.Input = nil
			m.Content = append(m.Content, *ev.ContentBlock)
		case "content_block_delta":
			b := &m.Content[ev.Index]
			b.Text += ev.Delta.Text
			b.Thinking += ev.Delta.Thinking
			b.Input = append(b.Input, ev.Delta.PartialJSON...)
		case "message_delta":
			m.StopReason = ev.Delta.StopReason
			m.Usage.Input, m.Usage.Output = ev.Usage.Input, ev.Usage.Output
		case "message_stop":
			stopped = true
		}
	}
	if !stopped {
		return m, reply, errors.New("the stream ended without message_stop")
	}
	return m, reply, nil
}

// server is a scripted Ollama: show answers /api/show, chat answers /api/chat. Nil answers are a 404 and a plain "ok".
type server struct {
	*httptest.Server
	show func(w http.ResponseWriter, model string)
	chat func(w http.ResponseWriter, r *http.Request, body []byte)
	ps   string // the answer of /api/ps

	mu      sync.Mutex
	shows   int
	bodies  [][]byte
	headers []http.Header
}

const ok = `{"message":{"role":"assistant","content":"ok"},"done":true,"done_reason":"stop","prompt_eval_count":26,"eval_count":1}`

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.headers = append(s.headers, r.Header.Clone())
		s.mu.Unlock()
		switch r.URL.Path {
		case "/api/show":
			var asked struct{ Model string }
			_ = json.Unmarshal(body, &asked)
			s.mu.Lock()
			s.shows++
			s.mu.Unlock()
			if s.show == nil {
				http.NotFound(w, r)
				return
			}
			s.show(w, asked.Model)
		case "/api/chat":
			s.mu.Lock()
			s.bodies = append(s.bodies, body)
			s.mu.Unlock()
			if s.chat == nil {
				_, _ = io.WriteString(w, ok)
				return
			}
			s.chat(w, r, body)
		case "/api/ps":
			_, _ = io.WriteString(w, s.ps)
		case "/api/version":
			_, _ = io.WriteString(w, `{"version":"0.17.4"}`)
		case "/api/tags":
			_, _ = io.WriteString(w, `{"models":[{"name":"a:latest","model":"a:latest","modified_at":"2026-11-22T22:58:53.666383885Z","details":{"context_length":4096}},{"name":"b:7b"},{}]}`)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// limited answers /api/show for a model whose window is at most limit.
func limited(limit int) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, _ string) {
		fmt.Fprintf(w, `{"details":{"family":"llama"},"model_info":{"general.architecture":"llama","llama.context_length":%d,"tokenizer.ggml.tokens":null},"capabilities":["completion","tools"],"parameters":"num_ctx                        4096\nstop \"x\""}`, limit)
	}
}

// sent is the body of the n-th chat, decoded.
func (s *server) sent(t *testing.T, n int) (body struct {
	Think   any
	Options struct {
		NumCtx int `json:"num_ctx"`
	}
}) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.bodies) <= n {
		t.Fatalf("there were only %d chats", len(s.bodies))
	}
	if err := json.NewDecoder(bytes.NewReader(s.bodies[n])).Decode(&body); err != nil {
		t.Fatal(err)
	}
	return body
}

func (s *server) chats() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bodies)
}

// prompt is a request whose last message has so many words, of four letters and a blank.
func prompt(words int) string {
	return `{"max_tokens":100,"messages":[{"role":"user","content":"` + strings.Repeat("word ", words) + `"}]}`
}

func kindOf(err error) fault.Kind {
	if err == nil {
		return 255
	}
	return fault.From(err).Kind
}
