// Package sdkgo drives the gateway with the official Anthropic SDK for Go, as an agent would: what it accepts is what agents
// accept. It is a module of its own, so that the SDK stays out of the gateway's dependencies.
//
// The gateway is SIGNALBOX_BIN, or is built from the tree. A real Ollama is used when SIGNALBOX_TEST_OLLAMA_URL names one
// (tests/with-ollama.sh does).
package sdkgo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

// gateway is the address of the one that all tests share, upstream the scripted server behind it.
var (
	gateway  string
	upstream *scripted
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "signalbox-sdk-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	binary := os.Getenv("SIGNALBOX_BIN")
	if binary == "" {
		binary = filepath.Join(dir, "signalbox")
		if out, err := exec.Command("go", "build", "-C", "../..", "-tags", "nomsgpack", "-o", binary, "./cmd/signalbox").CombinedOutput(); err != nil {
			return 0, fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	upstream = &scripted{}
	server := httptest.NewServer(upstream)
	defer server.Close()

	played := httptest.NewServer(http.HandlerFunc(answers))
	defer played.Close()

	config := fmt.Sprintf("providers:\n  scripted: {kind: openai, base_url: %q, api_key: sk-of-the-gateway}\n", server.URL+"/v1")
	for name, kind := range map[string]string{"openai": "openai, profile: vllm", "openrouter": "openrouter", "openai-responses": "openai-responses", "gemini": "gemini"} {
		config += fmt.Sprintf("  %s: {kind: %s, base_url: %q, api_key: sk-of-the-gateway}\n", name, kind, played.URL)
	}
	config += fmt.Sprintf("  native: {kind: ollama, base_url: %q}\n", played.URL)
	if url := os.Getenv("SIGNALBOX_TEST_OLLAMA_URL"); url != "" {
		config += fmt.Sprintf("  ollama: {kind: ollama, base_url: %q, num_ctx: 2048}\n", url)
	}
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return 0, err
	}
	stop, err := start(binary, dir, file)
	if err != nil {
		return 0, err
	}
	defer stop()
	return m.Run(), nil
}

// start starts the gateway on a free port, and returns once it has said which.
func start(binary, dir, file string) (stop func(), err error) {
	cmd := exec.Command(binary, "serve", "--config", file, "--port", "0", "--json")
	cmd.Env = append(os.Environ(), "HOME="+dir, "SIGNALBOX_STATE_DIR="+filepath.Join(dir, "state"))
	cmd.Dir = dir
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	var said struct{ URL string }
	if err == nil {
		err = json.Unmarshal([]byte(line), &said)
	}
	if err != nil || said.URL == "" {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return nil, fmt.Errorf("the gateway did not start: %v: %q\n%s", err, line, log.String())
	}
	gateway = said.URL
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			fmt.Fprintf(os.Stderr, "the gateway ended badly: %v\n%s", err, log.String())
		}
	}, nil
}

// at is a client of a target through the path form: an agent's base URL. An empty target is the gateway's own address.
func at(target string, more ...option.RequestOption) anthropic.Client {
	base := gateway
	if target != "" {
		base += "/v1/" + target
	}
	options := []option.RequestOption{option.WithBaseURL(base), option.WithAPIKey("sk-of-the-caller"), option.WithMaxRetries(0)}
	return anthropic.NewClient(append(options, more...)...)
}

// deadline ends a test that hangs long before the suite does.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// scripted is an OpenAI-format server that answers by the model's name.
type scripted struct {
	mu    sync.Mutex
	calls map[string]int // by model
	gate  chan struct{}  // the model "slow" sends its second half when this closes
}

func (s *scripted) count(model string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls == nil {
		s.calls = map[string]int{}
	}
	s.calls[model]++
	return s.calls[model]
}

func (s *scripted) seen(model string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[model]
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/models" {
		io.WriteString(w, `{"object":"list","data":[{"id":"plain","object":"model","created":1700000000,"owned_by":"us"},{"id":"dir/tool:7b","object":"model","created":1700000000,"owned_by":"us"}]}`)
		return
	}
	var q struct {
		Model    string
		Stream   bool
		Messages []struct{ Role string }
	}
	if r.Header.Get("Authorization") != "Bearer sk-of-the-gateway" {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":{"message":"not the gateway's key","type":"invalid_request_error"}}`)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	n := s.count(q.Model)
	switch {
	case q.Model == "busy-once" && n == 1:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		io.WriteString(w, `{"error":{"message":"slow down","type":"rate_limit_error"}}`)
		return
	case q.Model == "missing":
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"error":{"message":"The model missing does not exist","type":"invalid_request_error","code":"model_not_found"}}`)
		return
	}
	delta, finish := []string{`{"role":"assistant","content":""}`, `{"content":"one "}`, `{"content":"two"}`}, "stop"
	message := `{"role":"assistant","content":"one two"}`
	if q.Model == "tool" && q.Messages[len(q.Messages)-1].Role != "tool" {
		finish = "tool_calls"
		message = `{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Łódź\"}"}}]}`
		delta = []string{
			`{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":""}}]}`,
			`{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":"}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":"\"Łódź\"}"}}]}`,
		}
	}
	const usage = `{"prompt_tokens":11,"completion_tokens":2,"total_tokens":13}`
	if !q.Stream {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"id":"c1","object":"chat.completion","model":%q,"choices":[{"index":0,"message":%s,"finish_reason":%q}],"usage":%s}`, q.Model, message, finish, usage)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(delta, finish string) {
		fmt.Fprintf(w, "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"model\":%q,\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":%s}]}\n\n", q.Model, delta, finish)
		w.(http.Flusher).Flush()
	}
	for i, d := range delta {
		if q.Model == "slow" && i == 2 {
			<-s.gate
		}
		if q.Model == "cut" && i == 2 {
			panic(http.ErrAbortHandler)
		}
		send(d, "null")
	}
	send("{}", `"`+finish+`"`)
	fmt.Fprintf(w, "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"model\":%q,\"choices\":[],\"usage\":%s}\n\ndata: [DONE]\n\n", q.Model, usage)
}

// text is the text of an answer.
func text(m *anthropic.Message) string {
	var b strings.Builder
	for _, c := range m.Content {
		b.WriteString(c.Text)
	}
	return b.String()
}
