package server

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"signalbox/config"
)

func TestExplain(t *testing.T) {
	chat, claude := newNamed(t, "chat"), newNamed(t, "claude")
	s := newStand(t, func(c *config.Config) {
		c.Providers["chat"] = config.Provider{Kind: "openai", BaseURL: chat.URL + "/v1", NumCtx: 1000}
		c.Providers["anthropic"] = config.Provider{Kind: "anthropic", BaseURL: claude.URL}
		c.Default = "chat/base"
		c.Aliases = map[string]string{"fast": "chat/quick", "claude-haiku-*": "chat/small"}
		c.Agents = map[string]config.Entry{"reviewer": {Target: "chat/review", Thinking: "off"}, "oss:*": {Target: "fast"}}
		c.Fallbacks = map[string][]string{"chat/*": {"claude", "anthropic/claude-z", "chat/base"}}
		c.Rules = []config.Rule{{When: config.Condition{TokensOver: 2000, Agent: "oss:*"}, To: []config.Choice{{Target: "chat/long"}}},
			{When: config.Condition{Images: new(true)}, To: []config.Choice{{Target: "chat/eyes", Weight: 2}, {Target: "chat/other"}}}}
		c.Prices = map[string]config.Price{"chat/*": {Input: "2", Output: "10"}}
	})
	long := strings.Repeat("A few more words to read. ", 600)
	image := `[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="}},{"type":"text","text":"what is it"}]`
	body := func(model, content string) string {
		return fmt.Sprintf(`{"model":%q,"max_tokens":100,"messages":[{"role":"user","content":%s}]}`, model, content)
	}
	t.Run("the route that is explained is the one that is taken", func(t *testing.T) {
		for _, path := range []string{"/v1/messages", "/v1/chat/by-path/messages", "/v1/chat/a%2Fb:c/v1/messages"} {
			for _, model := range []string{"claude-x", "claude-haiku-3", "fast", "chat/named", "unknown"} {
				for _, content := range []string{`"hi"`, `"` + long + `"`, image} {
					for _, header := range [][]string{nil, {"x-signalbox-target", "fast"}, {"x-signalbox-agent", "reviewer"}, {"x-signalbox-agent", "oss:a", "x-claude-code-session-id", "s1"}, {"x-claude-code-session-id", "s2"}, {"x-signalbox-target", "nobody/x"}} {
						what := fmt.Sprintf("%s %s %d bytes %v", path, model, len(content), header)
						before := chat.calls.Load() + claude.calls.Load()
						told := s.post(t, "/admin/v1/explain?path="+url.QueryEscape(path), body(model, content), header...)
						if told.status != 200 {
							t.Fatalf("%s: %d %s", what, told.status, told.text)
						}
						if n := chat.calls.Load() + claude.calls.Load() - before; n != 0 {
							t.Fatalf("%s: explaining sent %d requests", what, n)
						}
						if strings.Contains(gjson.Get(told.text, "steps").Raw, "by weight") && !strings.Contains(fmt.Sprint(header), "session") {
							continue // every request without a session has a die of its own
						}
						done := s.post(t, path, body(model, content), header...)
						if e := gjson.Get(told.text, "error"); e.IsObject() {
							if int64(done.status) != e.Get("status").Int() || done.message() != e.Get("message").String() {
								t.Errorf("%s: explained %s, done %d %s", what, e, done.status, done.text)
							}
							continue
						}
						if got, want := done.header.Get("X-Signalbox-Target"), gjson.Get(told.text, "target").String(); got != want {
							t.Errorf("%s: explained %q, done %q", what, want, got)
						}
					}
				}
			}
		}
	})

	told := s.post(t, "/admin/v1/explain", `{"model":"claude-x","max_tokens":100,"top_k":5,"frobnicate":1,"thinking":{"type":"adaptive"},"messages":[{"role":"user","content":"`+strings.Repeat("word ", 2000)+`"}]}`, "x-signalbox-agent", "reviewer").text
	for path, want := range map[string]string{
		"target": "chat/review", "rule": "agent", "agent.name": "reviewer", "agent.by": "header",
		`steps.#(rule=="path").why`: "the path names no target", `steps.#(rule=="agent").taken`: "true", `steps.#(rule=="rules.2").why`: "the request has no images",
		"candidates.0.lost": `["frobnicate","top_k"]`, "candidates.0.fits": "false", "candidates.0.window": "1000", "candidates.0.lane": "translated", "candidates.0.thinking": "off", "candidates.0.serves": "true",
		"candidates.1.target": "chat/base", `excluded.#(target=="claude").why`: "neither the provider anthropic nor the caller has a credential", "error": "",
	} {
		if got := gjson.Get(told, path).String(); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	tokens := gjson.Get(told, "candidates.0.tokens").Int()
	if lo, hi := gjson.Get(told, "candidates.0.price.min_nanousd").Int(), gjson.Get(told, "candidates.0.price.max_nanousd").Int(); tokens < 1000 || hi != tokens*2000+100*10000 || lo > tokens*2000 {
		t.Errorf("%d tokens cost from %d to %d", tokens, lo, hi)
	}
	t.Run("with a credential of the caller's own, Claude is a candidate", func(t *testing.T) {
		told := s.post(t, "/admin/v1/explain", claudeBody, "x-signalbox-agent", "reviewer", "x-api-key", "sk-ant-of-the-caller").text
		if got := gjson.Get(told, "candidates.1.target").String() + " " + gjson.Get(told, "candidates.1.lane").String(); got != "anthropic/claude-x verbatim" {
			t.Errorf("got %q in %s", got, told)
		}
		if strings.Contains(told, "sk-ant") {
			t.Error("the credential is told")
		}
	})
	t.Run("a request that no target could serve says so", func(t *testing.T) {
		told := s.post(t, "/admin/v1/explain", `{"model":"x","max_tokens":9,"mcp_servers":[{"type":"url"}],"messages":[{"role":"user","content":"hi"}]}`).text
		if c := gjson.Get(told, "candidates.0"); c.Get("serves").Bool() || !strings.Contains(c.Get("why").String(), "mcp_servers") {
			t.Errorf("%s", told)
		}
	})
	t.Run("a prompt that is refused before it is sent does not fit", func(t *testing.T) {
		small := upstream(t, func(w http.ResponseWriter, _ *http.Request, _ string, _ int64) {
			_, _ = io.WriteString(w, `{"model_info":{"general.architecture":"x","x.context_length":2048},"capabilities":["completion"]}`)
		})
		s := newStand(t, func(c *config.Config) { c.Providers["ollama"] = config.Provider{Kind: "ollama", BaseURL: small.URL} })
		told := s.post(t, "/admin/v1/explain", body("ollama/small", `"`+strings.Repeat("a word ", 20000)+`"`)).text
		c := gjson.Get(told, "candidates.0")
		if c.Get("serves").Bool() || c.Get("fits").Raw != "false" || c.Get("window").Int() != 2048 || !strings.Contains(c.Get("why").String(), "prompt is too long") {
			t.Errorf("%s", told)
		}
	})
	t.Run("what is no request is refused", func(t *testing.T) {
		if a := s.post(t, "/admin/v1/explain", `{"model":`); a.status != http.StatusBadRequest {
			t.Errorf("%d %s", a.status, a.text)
		}
		if a := s.post(t, "/admin/v1/explain?path=/v1/models", claudeBody); a.status != http.StatusBadRequest || !strings.Contains(a.message(), "path") {
			t.Errorf("%d %s", a.status, a.text)
		}
	})
}
