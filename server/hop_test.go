package server

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"signalbox/config"
	"signalbox/internal/testkit"
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
		}{{"small", small}, {"medium", testkit.AgentBody("medium")}, {"large", testkit.AgentBody("large")}} {
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
