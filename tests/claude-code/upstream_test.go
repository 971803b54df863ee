package claudecode

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// upstream is a scripted server. Its script looks at what a request holds and says what to answer; what must hold for every
// request of Claude Code is checked here.
type upstream struct {
	t      *testing.T
	server *httptest.Server
	speaks dialect
	script func(q *chat) answer

	mu  sync.Mutex
	got []*chat
}

// dialect reads requests and writes answers of one kind of provider.
type dialect struct {
	kind  string // of the provider, with what else its configuration needs
	base  string // what its base_url ends in
	read  func(r *http.Request, body []byte) (*chat, error)
	write func(w http.ResponseWriter, q *chat, a answer)
}

// chatCompletions is OpenAI's format, as vLLM speaks it.
var chatCompletions = dialect{kind: "openai, profile: vllm", base: "/v1", write: writeChat,
	read: func(_ *http.Request, body []byte) (*chat, error) {
		q := &chat{}
		return q, json.Unmarshal(body, q)
	}}

// chat is a request as it came, in the words of chat completions.
type chat struct {
	N        int // how many came before it
	Model    string
	Stream   bool
	Messages []message
	Tools    []struct{ Function struct{ Name string } }
	raw      string
}

type message struct {
	Role       string
	Content    content
	ToolCalls  []toolCall `json:"tool_calls"`
	ToolCallID string     `json:"tool_call_id"`
	Reasoning  string     `json:"reasoning_content"` // or the state that stands for it
}

type toolCall struct {
	ID       string
	Function struct{ Name, Arguments string }
}

// content is a text, or texts and images.
type content struct {
	text   string
	images []string // URLs
}

func (c *content) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if b[0] == '"' {
		return json.Unmarshal(b, &c.text)
	}
	var parts []struct {
		Type, Text string
		ImageURL   struct{ URL string } `json:"image_url"`
	}
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	for _, p := range parts {
		switch p.Type {
		case "text":
			c.text += p.Text + "\n"
		case "image_url":
			c.images = append(c.images, p.ImageURL.URL)
		default:
			return fmt.Errorf("a part of type %q", p.Type)
		}
	}
	return nil
}

// told says whether a message of this role holds the text.
func (q *chat) told(role, text string) bool {
	for _, m := range q.Messages {
		if m.Role == role && strings.Contains(m.Content.text, text) {
			return true
		}
	}
	return false
}

// results are all tool results of the conversation so far.
func (q *chat) results() (rs []message) {
	for _, m := range q.Messages {
		if m.Role == "tool" {
			rs = append(rs, m)
		}
	}
	return rs
}

// result is the text of the result of the call with this id.
func (q *chat) result(id string) string {
	for _, m := range q.results() {
		if m.ToolCallID == id {
			return m.Content.text
		}
	}
	return ""
}

// assistant is the i-th message of the assistant.
func (q *chat) assistant(i int) message {
	for _, m := range q.Messages {
		if m.Role == "assistant" {
			if i == 0 {
				return m
			}
			i--
		}
	}
	return message{}
}

// images are the images of the conversation so far.
func (q *chat) images() (urls []string) {
	for _, m := range q.Messages {
		urls = append(urls, m.Content.images...)
	}
	return urls
}

// answer is what the upstream does: it fails with a status, or it thinks, speaks and calls.
type answer struct {
	status     int
	body       string // of a failure
	retryAfter string

	thinks, says string
	calls        []call
	finish       string // when it is not the one that fits
	cut          bool   // the connection breaks before the end: in chat completions, in the middle of the last thing it does
}

type call struct {
	id, name string
	input    map[string]any
}

func (c call) arguments() string {
	if half, ok := c.input["half"].(string); ok {
		return half // no whole JSON
	}
	b, _ := json.Marshal(c.input)
	return string(b)
}

// most is how many requests a story may take; a script that is never content would go on for ever.
const most = 20

func newUpstream(t *testing.T, speaks dialect, script func(q *chat) answer) *upstream {
	u := &upstream{t: t, speaks: speaks, script: script}
	u.server = httptest.NewServer(u)
	t.Cleanup(u.server.Close)
	t.Cleanup(func() {
		if t.Failed() {
			for i, q := range u.requests() {
				t.Logf("request %d upstream, %s, stream %v, %d tools:", i, q.Model, q.Stream, len(q.Tools))
				for k, m := range q.Messages {
					t.Logf("  %d %s %s %+v %s", k, m.Role, m.ToolCallID, m.ToolCalls, shortened(m.Content.text))
				}
			}
		}
	})
	return u
}

func (u *upstream) requests() []*chat {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.got
}

// config is a provider that leads here.
func (u *upstream) config(name string) string {
	key := ", api_key: sk-of-the-gateway"
	if u.speaks.kind == "ollama" {
		key = ""
	}
	return fmt.Sprintf("  %s: {kind: %s, base_url: %q%s}\n", name, u.speaks.kind, u.server.URL+u.speaks.base, key)
}

// grows checks that each request holds all of the one before, unchanged: no message is lost, and a prefix cache always hits.
func (u *upstream) grows(t *testing.T) {
	t.Helper()
	all := u.requests()
	for i := 1; i < len(all); i++ {
		before, now := all[i-1].Messages, all[i].Messages
		if len(now) <= len(before) {
			t.Errorf("request %d has %d messages, the one before %d", i, len(now), len(before))
			continue
		}
		for k := range before {
			if !reflect.DeepEqual(before[k], now[k]) {
				t.Errorf("request %d: message %d was %+v, is %+v", i, k, before[k], now[k])
			}
		}
	}
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/v1/models":
		io.WriteString(w, `{"object":"list","data":[{"id":"clever","object":"model","created":1700000000,"owned_by":"us"}]}`)
		return
	case "/api/show":
		io.WriteString(w, `{"model_info":{"general.architecture":"x","x.context_length":131072},"capabilities":["completion","tools","thinking","vision"]}`)
		return
	case "/api/version":
		io.WriteString(w, `{"version":"0.30.0"}`)
		return
	case "/api/tags", "/api/ps":
		io.WriteString(w, `{"models":[]}`)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	q, err := u.speaks.read(r, body)
	if err != nil {
		u.t.Errorf("a request to %s that is not understood: %v", r.URL.Path, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	q.raw = string(body)
	u.mu.Lock()
	q.N = len(u.got)
	u.got = append(u.got, q)
	u.mu.Unlock()
	if key := r.Header.Get("Authorization") + r.Header.Get("X-Goog-Api-Key"); u.speaks.kind != "ollama" && strings.TrimPrefix(key, "Bearer ") != "sk-of-the-gateway" {
		u.t.Errorf("signed in with %q", key)
	}
	for _, err := range wrongs(q) {
		u.t.Errorf("request %d: %v", q.N, err)
	}
	a := answer{says: "That is enough."}
	if q.N < most {
		a = u.script(q)
	} else {
		u.t.Errorf("request %d: the conversation has no end", q.N)
	}
	if a.status == 0 {
		u.speaks.write(w, q, a)
		return
	}
	if a.retryAfter != "" {
		w.Header().Set("Retry-After", a.retryAfter)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

// wrongs are the ways in which a request breaks what every request must keep.
func wrongs(q *chat) (errs []error) {
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if strings.Contains(q.raw, "x-anthropic-billing-header") {
		wrong("holds the attribution line, which defeats prefix caches")
	}
	if strings.Contains(q.raw, "cache_control") || strings.Contains(q.raw, "sk-of-the-caller") {
		wrong("holds what was not meant for this upstream")
	}
	open, used := []string{}, map[string]bool{}
	for i, m := range q.Messages {
		if m.Role != "tool" && len(open) > 0 {
			wrong("message %d (%s) comes before the results of %v", i, m.Role, open)
			open = nil
		}
		switch m.Role {
		case "system", "user":
		case "assistant":
			for _, c := range m.ToolCalls {
				if used[c.ID] {
					wrong("message %d: the id %q comes twice", i, c.ID)
				}
				if !json.Valid([]byte(c.Function.Arguments)) {
					wrong("message %d: arguments %q", i, c.Function.Arguments)
				}
				used[c.ID] = true
				open = append(open, c.ID)
			}
		case "tool":
			found := false
			for k, id := range open {
				if found = id == m.ToolCallID; found {
					open = append(open[:k:k], open[k+1:]...)
					break
				}
			}
			if !found {
				wrong("message %d is a result for %q, which nobody waits for", i, m.ToolCallID)
			}
		default:
			wrong("message %d has the role %q", i, m.Role)
		}
	}
	if len(open) > 0 {
		wrong("no results of %v", open)
	}
	if strings.Contains(q.raw, `"tools":[]`) {
		wrong("holds an empty list of tools")
	}
	return errs
}

// writeChat answers as a server of chat completions does.
func writeChat(w http.ResponseWriter, q *chat, a answer) {
	finish := "stop"
	if len(a.calls) > 0 {
		finish = "tool_calls"
	}
	if a.finish != "" {
		finish = a.finish
	}
	usage := map[string]any{"prompt_tokens": 1000 + q.N, "completion_tokens": 10, "total_tokens": 1010 + q.N}
	id := fmt.Sprintf("chatcmpl-%d", q.N)
	if !q.Stream {
		m := map[string]any{"role": "assistant", "content": a.says}
		if a.thinks != "" {
			m["reasoning_content"] = a.thinks
		}
		for i, c := range a.calls {
			tc, _ := m["tool_calls"].([]any)
			m["tool_calls"] = append(tc, c.piece(i, c.arguments()))
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"id": id, "object": "chat.completion", "created": 1700000000, "model": q.Model, "usage": usage,
			"choices": []any{map[string]any{"index": 0, "message": m, "finish_reason": finish}}})
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	send := func(delta map[string]any, finish any) {
		sse(w, map[string]any{"id": id, "object": "chat.completion.chunk", "created": 1700000000, "model": q.Model,
			"choices": []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish}}})
	}
	send(map[string]any{"role": "assistant", "content": ""}, nil)
	deltas := a.deltas()
	if a.cut {
		deltas = deltas[:len(deltas)-1]
	}
	for _, d := range deltas {
		send(d, nil)
	}
	if a.cut {
		panic(http.ErrAbortHandler)
	}
	send(map[string]any{}, finish)
	sse(w, map[string]any{"id": id, "object": "chat.completion.chunk", "created": 1700000000, "model": q.Model, "choices": []any{}, "usage": usage})
	io.WriteString(w, "data: [DONE]\n\n")
}

// sse writes one event at once.
func sse(w http.ResponseWriter, data any) {
	b, _ := json.Marshal(data)
	fmt.Fprintf(w, "data: %s\n\n", b)
	w.(http.Flusher).Flush()
}

// deltas are the pieces of a streamed answer: thinking, text, then the calls, whose arguments come interleaved.
func (a answer) deltas() (ds []map[string]any) {
	for _, s := range halves(a.thinks) {
		ds = append(ds, map[string]any{"reasoning_content": s})
	}
	for _, s := range halves(a.says) {
		ds = append(ds, map[string]any{"content": s})
	}
	for i, c := range a.calls {
		ds = append(ds, map[string]any{"tool_calls": []any{c.piece(i, "")}})
	}
	for half := range 2 {
		for i, c := range a.calls {
			ds = append(ds, map[string]any{"tool_calls": []any{map[string]any{"index": i, "function": map[string]any{"arguments": halves(c.arguments())[half]}}}})
		}
	}
	return ds
}

func (c call) piece(i int, arguments string) map[string]any {
	return map[string]any{"index": i, "id": c.id, "type": "function", "function": map[string]any{"name": c.name, "arguments": arguments}}
}

// halves are the two halves of a text; nothing of an empty one.
func halves(s string) []string {
	if s == "" {
		return nil
	}
	r := []rune(s)
	return []string{string(r[:len(r)/2]), string(r[len(r)/2:])}
}
