package server

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"signalbox/config"
)

// gateway starts a real gateway on a free port and stops it with the test.
func gateway(t testing.TB, change func(*config.Config)) (url string) {
	t.Helper()
	cfg := config.Default()
	cfg.Listen = "127.0.0.1:0"
	cfg.Providers = map[string]config.Provider{"signalbox": {Kind: "signalbox", Builtin: true}}
	change(cfg)
	log := logrus.New()
	log.SetOutput(io.Discard)
	log.SetFormatter(&logrus.JSONFormatter{})
	ctx, stop := context.WithCancel(context.Background())
	state := t.TempDir()
	ready, ended := make(chan net.Addr, 1), make(chan error, 1)
	go func() {
		ended <- Run(ctx, Options{Config: cfg, Log: log, Version: "test", StateDir: state, Ready: func(a net.Addr) { ready <- a }, Grace: 5 * time.Second})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case a := <-ready:
		return "http://" + a.String()
	case err := <-ended:
		ended <- nil
		t.Fatalf("Run: %v", err)
	}
	return ""
}

// agentBody is a request like a coding agent's: 20 tools, 12 turns, results of that many bytes.
func agentBody(result int, stream bool) []byte {
	type obj = map[string]any
	fill := func(n int) string { return strings.Repeat("lorem ipsum dolor ", n/18+1)[:n] }
	code := func(n int) string {
		const line = "\tif err := run(\"step\", n); err != nil {\n\t\treturn fmt.Errorf(\"run: %w\", err)\n\t}\n"
		return strings.Repeat(line, n/len(line)+1)[:n]
	}
	var tools, msgs []any
	for i := range 20 {
		props := obj{}
		for j := range 6 {
			props[fmt.Sprintf("field_%d", j)] = obj{"type": []string{"string", "integer", "boolean"}[j%3], "description": fill(90)}
		}
		tools = append(tools, obj{"name": fmt.Sprintf("tool_%02d", i), "description": fill(450), "input_schema": obj{"type": "object", "properties": props, "required": []string{"field_0"}}})
	}
	msgs = append(msgs, obj{"role": "user", "content": []any{obj{"type": "text", "text": fill(400)}}})
	for i := range 6 {
		id := fmt.Sprintf("toolu_%02d", i)
		msgs = append(msgs, obj{"role": "assistant", "content": []any{obj{"type": "text", "text": fill(120)}, obj{"type": "tool_use", "id": id, "name": fmt.Sprintf("tool_%02d", i), "input": obj{"field_0": "/src/main.go", "field_1": i}}}},
			obj{"role": "user", "content": []any{obj{"type": "tool_result", "tool_use_id": id, "content": []any{obj{"type": "text", "text": code(result)}}}}})
	}
	b, err := json.Marshal(obj{"model": "m", "max_tokens": 4096, "stream": stream, "system": []any{obj{"type": "text", "text": fill(13_000)}}, "tools": tools, "messages": msgs})
	if err != nil {
		panic(err)
	}
	return b
}

// BenchmarkHop is a whole exchange over real sockets: caller, gateway, upstream, and back. The upstream's and the caller's own
// work is in the figure, too.
func BenchmarkHop(b *testing.B) {
	openai := []byte(`{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"` + strings.Repeat("word ", 50) + `"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1234,"completion_tokens":77}}`)
	message := []byte(`{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"` + strings.Repeat("word ", 50) + `"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1234,"output_tokens":77}}`)
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/messages") {
			_, _ = w.Write(message)
			return
		}
		_, _ = w.Write(openai)
	}))
	defer up.Close()
	url := gateway(b, func(c *config.Config) {
		c.Providers["openai"] = config.Provider{Kind: "openai", BaseURL: up.URL, APIKey: config.NewSecret("k")}
		c.Providers["anthropic"] = config.Provider{Kind: "anthropic", BaseURL: up.URL, APIKey: config.NewSecret("k")}
	})
	small := []byte(`{"model":"m","max_tokens":256,"stream":false,"messages":[{"role":"user","content":"Please write one short sentence about the sea, and then stop there."}]}`)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	for _, lane := range []string{"openai", "anthropic"} {
		for _, size := range []struct {
			name string
			body []byte
		}{{"small", small}, {"medium", agentBody(2600, false)}, {"large", agentBody(160_000, false)}} {
			b.Run(lane+"/"+size.name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(size.body)))
				for b.Loop() {
					resp, err := client.Post(url+"/v1/"+lane+"/m/messages", "application/json", bytes.NewReader(size.body))
					if err != nil {
						b.Fatal(err)
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						b.Fatalf("status %d", resp.StatusCode)
					}
				}
			})
		}
	}
}
