package fidelity

import (
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sirupsen/logrus"

	"signalbox/config"
	"signalbox/internal/messages"
	"signalbox/providers"
	"signalbox/providers/anthropic"
	"signalbox/providers/gemini"
	"signalbox/providers/ollama"
	"signalbox/providers/openaicompat"
	"signalbox/providers/openairesponses"
	"signalbox/providers/openrouter"
)

// What the tables judge is what the providers send: the same request through the real client, over a socket, has the same
// bytes. OpenAI's own Responses is left out, because only its real address makes a provider speak as to it.
func TestWiresAreTheProviders(t *testing.T) {
	const probe = `{"model":"asked","max_tokens":100,"temperature":0.5,"thinking":{"type":"enabled","budget_tokens":7777},"stop_sequences":["a"],
		"tools":[{"name":"look","input_schema":{"type":"object","properties":{"a":{"type":"array"}}}}],"tool_choice":{"type":"any"},
		"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":"hi"},
		{"role":"assistant","content":[{"type":"thinking","thinking":"why","signature":"EqQB"},{"type":"tool_use","id":"toolu_1","name":"look","input":{"a":[]}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"seen"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QQ=="}}]}]}]}`
	abilities := map[string]string{"able": `{"capabilities":["completion","tools","thinking","vision"]}`, "cannot see": `{"capabilities":["completion","tools","thinking"]}`,
		"cannot think": `{"capabilities":["completion","tools","vision"]}`}
	window := regexp.MustCompile(`"num_ctx":\d+,`)
	log := logrus.New()
	log.SetOutput(io.Discard)
	tried := 0
	for _, w := range Wires() {
		cfg, build := config.Provider{Name: "p"}, providers.Constructor(nil)
		switch w.Column {
		case Verbatim:
			build, cfg.APIKey = anthropic.New, config.NewSecret("k")
		case Chat:
			build, cfg.Profile = openaicompat.New, strings.Trim(w.Name, "`")
			switch {
			case strings.HasPrefix(w.Name, "OpenRouter"):
				build = openrouter.New
			case strings.HasPrefix(w.Name, "gpt-oss"):
				cfg.Profile = "groq"
			case strings.HasPrefix(w.Name, "`openai`"):
				cfg.Profile = "openai"
			}
		case Responses:
			if w.Name == "other servers" {
				build = openairesponses.New
			}
		case Gemini:
			build, cfg.APIKey = gemini.New, config.NewSecret("k")
		case Ollama:
			if abilities[w.Name] != "" {
				build = ollama.New
			}
		}
		if build == nil {
			continue
		}
		tried++
		t.Run(w.Column+" "+w.Name, func(t *testing.T) {
			got := ""
			s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/api/show" {
					_, _ = io.WriteString(rw, abilities[w.Name])
					return
				}
				body, _ := io.ReadAll(r.Body)
				got = string(body)
				rw.WriteHeader(http.StatusTeapot)
			}))
			defer s.Close()
			cfg.BaseURL = s.URL
			p, err := build(cfg, providers.Deps{Log: log, Now: time.Now, Version: "test"})
			if err != nil {
				t.Fatal(err)
			}
			r, err := messages.ParseRequest([]byte(probe))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Send(t.Context(), providers.Call{Request: r, Model: w.Model, Header: http.Header{}}); err == nil {
				t.Fatal("the scripted server refused, and it was taken for an answer")
			}
			want, _, err := w.Encode(r, false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), window.ReplaceAllString(got, "")); diff != "" {
				t.Errorf("the provider sends something else (-wire +provider):\n%s", diff)
			}
		})
	}
	if tried < 20 {
		t.Errorf("only %d wires were tried", tried)
	}
}
