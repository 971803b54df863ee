package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/exchange"
	"signalbox/internal/testkit"
)

// These are the behaviours of the plan that signalbox began with, as far as they show at a whole gateway: docs/seed.md says
// which test proves which.

const (
	ollamaReply = `{"model":"m","message":{"role":"assistant","content":"from ollama"},"done":true,"done_reason":"stop","prompt_eval_count":11,"eval_count":3}`
	geminiReply = `{"candidates":[{"content":{"role":"model","parts":[{"text":"from gemini"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":12,"candidatesTokenCount":3}}`
)

// seedUps are the plan's two upstreams, and one more: what each was asked is kept as "path model".
type seedUps struct {
	*scripted
	seen chan string
}

// seedUpstream answers in the words of every dialect that the plan's providers speak.
func seedUpstream(t testing.TB) *seedUps {
	u := &seedUps{seen: make(chan string, 100)}
	u.scripted = upstream(t, func(w http.ResponseWriter, r *http.Request, body string, _ int64) {
		switch r.URL.Path {
		case "/api/show":
			fmt.Fprint(w, `{"model_info":{"general.architecture":"x","x.context_length":131072},"capabilities":["completion","tools"]}`)
			return
		}
		if r.Method == http.MethodGet { // a list of models, or a probe
			fmt.Fprint(w, `{"data":[],"models":[]}`)
			return
		}
		u.seen <- r.URL.Path + " " + gjson.Get(body, "model").String()
		switch {
		case r.URL.Path == "/api/chat":
			fmt.Fprint(w, ollamaReply)
		case strings.HasSuffix(r.URL.Path, "/messages"):
			fmt.Fprint(w, ownReply)
		case strings.HasPrefix(r.URL.Path, "/v1beta/"):
			fmt.Fprint(w, geminiReply)
		default:
			fmt.Fprint(w, chatReply)
		}
	})
	return u
}

// seedProviders are one provider of each kind at the same upstream.
func seedProviders(c *config.Config, base string) {
	for name, key := range map[string]string{"ollama": "", "openrouter": "sk-or-0123456789", "gemini": "g-0123456789", "anthropic": ""} {
		c.Providers[name] = config.Provider{Name: name, Kind: name, BaseURL: base, APIKey: config.NewSecret(key)}
	}
}

// A model string is provider/model wherever it stands, and the model reaches the upstream as it is, slashes and colons included.
func TestTargets(t *testing.T) {
	up := seedUpstream(t)
	s := newStand(t, func(c *config.Config) {
		seedProviders(c, up.URL)
		c.Aliases = map[string]string{"fast": "ollama/qwen3:8b"}
	})
	body := func(model string) string {
		return `{"model":"` + model + `","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`
	}
	for _, row := range []struct{ it, path, model, header, target, seen string }{
		{"in the path, for Ollama", "/v1/ollama/codellama/messages", "m", "", "ollama/codellama", "/api/chat codellama"},
		{"in the path with a tag", "/v1/ollama/qwen3:8b/v1/messages", "m", "", "ollama/qwen3:8b", "/api/chat qwen3:8b"},
		{"in the path, for OpenRouter, with a slash in the model", "/v1/openrouter/meta/llama-3:free/messages", "m", "", "openrouter/meta/llama-3:free", "/chat/completions meta/llama-3:free"},
		{"in the path, for Claude at OpenRouter", "/v1/openrouter/anthropic/claude-3-haiku/messages", "m", "", "openrouter/anthropic/claude-3-haiku", "/messages anthropic/claude-3-haiku"},
		{"in the body", "/v1/messages", "ollama/codellama", "", "ollama/codellama", "/api/chat codellama"},
		{"in the body, with a slash in the model", "/v1/messages", "openrouter/meta/llama-3:free", "", "openrouter/meta/llama-3:free", "/chat/completions meta/llama-3:free"},
		{"in the header", "/v1/messages?beta=true", "claude-sonnet-4-5", "ollama/codellama", "ollama/codellama", "/api/chat codellama"},
		{"as an alias", "/v1/messages", "fast", "", "ollama/qwen3:8b", "/api/chat qwen3:8b"},
	} {
		t.Run("it stands "+row.it, func(t *testing.T) {
			a := s.post(t, row.path, body(row.model), "x-signalbox-target", row.header)
			if a.status != 200 || a.header.Get("X-Signalbox-Target") != row.target || a.header.Get("Content-Type") != "application/json" {
				t.Fatalf("%d %v %s", a.status, a.header, a.text)
			}
			if got := <-up.seen; got != row.seen {
				t.Errorf("the upstream got %q, want %q", got, row.seen)
			}
			if gjson.Get(a.text, "type").String() != "message" || gjson.Get(a.text, "role").String() != "assistant" || a.said() == "" {
				t.Errorf("no message: %s", a.text)
			}
		})
	}
}

// A provider that is not there is a 404 that lists those that are; no upstream is asked, and nothing is made up.
func TestUnknownProvider(t *testing.T) {
	up := seedUpstream(t)
	s := newStand(t, func(c *config.Config) { seedProviders(c, up.URL) })
	for _, row := range []struct{ it, path, model, header string }{
		{"in the path", "/v1/invalid/model/messages", "m", ""},
		{"in the header", "/v1/messages", "m", "invalid/model"},
		{"in the body", "/v1/messages", "invalid/model", ""},
	} {
		t.Run("it stands "+row.it, func(t *testing.T) {
			a := s.post(t, row.path, `{"model":"`+row.model+`","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`, "x-signalbox-target", row.header)
			if a.status != 404 || a.errorType() != "not_found_error" || !strings.Contains(a.message(), "anthropic, gemini, ollama, openrouter, signalbox") || a.header.Get("X-Should-Retry") != "false" {
				t.Errorf("%d %v %s", a.status, a.header, a.text)
			}
		})
	}
	if len(up.seen) != 0 {
		t.Errorf("an upstream was asked: %s", <-up.seen)
	}
	if rows := s.rows(t); len(rows) != 0 {
		t.Errorf("the book has %+v", rows)
	}
}

// Agents go where they are mapped, whatever kind of provider that is; nobody else is asked.
func TestAgentsGoWhereTheyAreMapped(t *testing.T) {
	up := seedUpstream(t)
	s := newStand(t, func(c *config.Config) {
		seedProviders(c, up.URL)
		c.Default = "ollama/base"
		c.Agents = map[string]config.Entry{"oss:code-reviewer": {Target: "ollama/codellama"}, "oss:planner": {Target: "openrouter/meta/llama"}, "oss:docs": {Target: "gemini/gemini-pro"}, "oss:main": {Target: "claude"}}
		c.Commands = map[string]config.Entry{"review": {Target: "openrouter/x/y"}}
	})
	for agent, seen := range map[string]string{"oss:code-reviewer": "/api/chat codellama", "oss:planner": "/chat/completions meta/llama", "oss:docs": "/v1beta/models/gemini-pro:generateContent ",
		"oss:main": "/v1/messages claude-x", "command:review": "/chat/completions x/y", "nobody": "/api/chat base"} {
		if a := s.post(t, "/v1/messages", claudeBody, "x-signalbox-agent", agent, "x-api-key", "sk-ant-own-0123456789"); a.status != 200 {
			t.Errorf("%s: %d %s", agent, a.status, a.text)
			continue
		}
		if got := <-up.seen; got != seen {
			t.Errorf("%s went to %q, want %q", agent, got, seen)
		}
	}
	agents := map[string]bool{}
	for _, r := range s.rows(t) {
		agents[r.Agent] = true
	}
	if !agents["oss:code-reviewer"] || len(agents) != 6 {
		t.Errorf("the book knows the agents %v", agents)
	}
}

// What an answer cost is in its header, in the book and in the metrics: nothing for Ollama, what OpenRouter says, what the
// catalogue says, and a word where nobody knows.
func TestCosts(t *testing.T) {
	up := upstream(t, func(w http.ResponseWriter, r *http.Request, _ string, _ int64) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/api/show"):
			fmt.Fprint(w, `{}`)
		case strings.HasPrefix(r.URL.Path, "/api/chat"):
			fmt.Fprint(w, ollamaReply)
		case r.URL.Path == "/v1/messages":
			fmt.Fprint(w, ownReply)
		case r.Header.Get("Authorization") == "Bearer sk-or-0123456789":
			fmt.Fprint(w, strings.Replace(chatReply, `"usage":{`, `"usage":{"cost":0.00095,`, 1))
		default:
			fmt.Fprint(w, chatReply)
		}
	})
	s := newStand(t, func(c *config.Config) {
		seedProviders(c, up.URL)
		c.Providers["anthropic"] = config.Provider{Name: "anthropic", Kind: "anthropic", BaseURL: up.URL, APIKey: config.NewSecret("sk-ant-0123456789")}
		c.Providers["lab"] = config.Provider{Name: "lab", Kind: "openai", BaseURL: up.URL}
	})
	for _, row := range []struct{ target, cost string }{{"ollama/codellama", "0.00"}, {"openrouter/x/y", "0.00095"}, {"lab/m", "unpriced"}} {
		if a := s.post(t, "/v1/"+row.target+"/messages", question(false)); a.status != 200 || a.header.Get("X-Signalbox-Cost-Usd") != row.cost {
			t.Errorf("%s: %d, cost %q, want %q", row.target, a.status, a.header.Get("X-Signalbox-Cost-Usd"), row.cost)
		}
	}
	a := s.post(t, "/v1/anthropic/claude-sonnet-4-5/messages", question(false))
	if cost := a.header.Get("X-Signalbox-Cost-Usd"); a.status != 200 || !strings.HasPrefix(cost, "0.0") || strings.Trim(cost, "0.") == "" {
		t.Errorf("a priced one: %d %q %s", a.status, cost, a.text)
	}
	page := s.scrape(t)
	for _, want := range []string{`signalbox_requests_total{model="codellama",outcome="ok",provider="ollama"} 1`, `signalbox_cost_usd_total{model="x/y",provider="openrouter"} 0.00095`, `signalbox_unpriced_requests_total{model="m",provider="lab"} 1`} {
		if !strings.Contains(page, want) {
			t.Errorf("the metrics do not hold %s", want)
		}
	}
	for _, r := range s.rows(t) {
		switch {
		case r.Provider == "lab" && r.Cost != nil:
			t.Errorf("an unknown price is %v in the book", *r.Cost)
		case r.Provider == "ollama" && (r.Cost == nil || *r.Cost != 0 || r.Input != 11 || r.Output != 3):
			t.Errorf("Ollama's row is %+v", r)
		case r.State != exchange.Settled:
			t.Errorf("%s is %s", r.Provider, r.State)
		}
	}
}

// /health says of each provider whether it can be reached, by asking it, and of the default whether it can serve. /livez and
// /readyz do not depend on it.
func TestHealth(t *testing.T) {
	var probes atomic.Int64
	up := upstream(t, func(w http.ResponseWriter, r *http.Request, _ string, _ int64) {
		if r.URL.Path == "/api/version" {
			probes.Add(1)
		}
		fmt.Fprint(w, `{"version":"0.17.4"}`)
	})
	dead := "http://" + boundPort(t, -1)
	with := func(change func(*config.Config)) *stand {
		return newStand(t, func(c *config.Config) {
			c.Providers["ollama"] = config.Provider{Name: "ollama", Kind: "ollama", BaseURL: up.URL}
			c.Providers["lab"] = config.Provider{Name: "lab", Kind: "ollama", BaseURL: dead}
			if change != nil {
				change(c)
			}
		})
	}
	s := with(func(c *config.Config) { c.Default = "ollama/codellama" })
	for range 3 {
		a := s.get(t, "/health")
		if a.status != 200 || a.header.Get("Content-Type") != "application/json; charset=utf-8" && a.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%d %v %s", a.status, a.header, a.text)
		}
		for path, want := range map[string]string{"healthy": "true", "status": "degraded", "provider": "ollama", "model": "codellama", "providers.ollama.healthy": "true", "providers.ollama.error": "",
			"providers.lab.healthy": "false", "ledger": "ok", "config_error": ""} {
			if got := gjson.Get(a.text, path).String(); got != want {
				t.Errorf("%s is %q, want %q in %s", path, got, want, a.text)
			}
		}
		if !gjson.Get(a.text, "providers.ollama.latency_ms").Exists() || !strings.Contains(gjson.Get(a.text, "providers.lab.error").String(), "ollama serve") {
			t.Errorf("latency and the way out are missing: %s", a.text)
		}
	}
	if n := probes.Load(); n != 1 {
		t.Errorf("the upstream was asked %d times within the age of an answer", n)
	}
	if a := s.ask(t, http.MethodHead, "/health", ""); a.status != 200 || a.text != "" {
		t.Errorf("HEAD: %d %q", a.status, a.text)
	}
	if page := s.scrape(t); !strings.Contains(page, `signalbox_provider_up{provider="lab"} 0`) || !strings.Contains(page, `signalbox_provider_up{provider="ollama"} 1`) {
		t.Error("the metrics do not say who is up")
	}
	ill := with(func(c *config.Config) { c.Default = "lab/codellama" })
	if a := ill.get(t, "/health"); a.status != 503 || gjson.Get(a.text, "healthy").Bool() || gjson.Get(a.text, "provider").String() != "lab" {
		t.Errorf("the default cannot serve: %d %s", a.status, a.text)
	}
	for _, path := range []string{"/livez", "/readyz"} {
		if a := ill.get(t, path); a.status != 200 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	if a := with(nil).get(t, "/health"); a.status != 200 || !gjson.Get(a.text, "healthy").Bool() {
		t.Errorf("one of two is enough without a default: %d %s", a.status, a.text)
	}
	if a := with(func(c *config.Config) { delete(c.Providers, "ollama") }).get(t, "/health"); a.status != 503 {
		t.Errorf("nobody can serve: %d %s", a.status, a.text)
	}
}

// OpenRouter as it is: comments while it works, a cost at the end, errors inside a 200, and statuses of its own.
func TestOpenRouter(t *testing.T) {
	const key = "sk-or-0123456789"
	var script atomic.Value
	type play struct {
		status int
		header []string
		text   string
	}
	up := upstream(t, func(w http.ResponseWriter, r *http.Request, _ string, n int64) {
		p := script.Load().(play)
		say(p.status, p.text, p.header...)(w, r, "", n)
	})
	s := newStand(t, func(c *config.Config) {
		c.Providers["openrouter"] = config.Provider{Name: "openrouter", Kind: "openrouter", BaseURL: up.URL, APIKey: config.NewSecret(key), Headers: map[string]string{"HTTP-Referer": "https://team.example"}}
	})
	ask := func(stream bool, p play) *answer {
		script.Store(p)
		return s.post(t, "/v1/openrouter/meta/llama/messages", question(stream), "x-api-key", "sk-callers-own-1", "cookie", "a=b")
	}
	stream := ": OPENROUTER PROCESSING\n\n" + sse(`{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}`) + ": OPENROUTER PROCESSING\n\n" +
		sse(`{"choices":[{"index":0,"delta":{"content":"Hello"}}]}`, `{"choices":[{"index":0,"delta":{"content":" sea"}}]}`, `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
			`{"choices":[],"usage":{"prompt_tokens":1194,"completion_tokens":2,"cost":0.00095,"prompt_tokens_details":{"cached_tokens":1000}}}`, `[DONE]`)
	t.Run("it streams", func(t *testing.T) {
		a := ask(true, play{200, []string{"Content-Type", "text/event-stream"}, stream})
		if a.status != 200 || a.said() != "Hello sea" || grammar(a.events) != nil || !strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") {
			t.Fatalf("%d %v\n%s", a.status, a.header, a.text)
		}
		last := a.events[len(a.events)-2].data
		if gjson.Get(last, "delta.stop_reason").String() != "end_turn" || gjson.Get(last, "usage.cache_read_input_tokens").Int() != 1000 || gjson.Get(last, "usage.input_tokens").Int() != 194 || gjson.Get(last, "usage.output_tokens").Int() != 2 {
			t.Errorf("its end is %s", last)
		}
		up.mu.Lock()
		r := up.asked[len(up.asked)-1]
		up.mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer "+key || r.Header.Get("X-Openrouter-Title") != "signalbox" || r.Header.Get("Http-Referer") != "https://team.example" {
			t.Errorf("headers %v", r.Header)
		}
		for name, values := range r.Header {
			if strings.Contains(strings.Join(values, " "), "callers-own") || name == "Cookie" {
				t.Errorf("the caller's %s went up", name)
			}
		}
	})
	for _, row := range []struct {
		it     string
		stream bool
		play   play
		status int
		kind   string
		header [2]string
	}{
		{"says that our key is refused, and not that the caller's is", false, play{401, nil, `{"error":{"message":"No auth credentials found","code":401}}`}, 502, "api_error", [2]string{"X-Should-Retry", "false"}},
		{"keeps a rate limit and its time", false, play{429, []string{"Retry-After", "7"}, `{"error":{"message":"slow down","code":429}}`}, 429, "rate_limit_error", [2]string{"Retry-After", "7"}},
		{"keeps a rate limit that it says inside a 200", false, play{200, nil, `{"error":{"message":"slow down","code":429}}`}, 429, "rate_limit_error", [2]string{}},
		{"keeps one that it says first in a stream", true, play{200, []string{"Content-Type", "text/event-stream"}, ": OPENROUTER PROCESSING\n\n" + sse(`{"error":{"message":"slow down","code":429},"choices":[]}`)}, 429, "rate_limit_error", [2]string{}},
		{"says that the account is empty", false, play{402, nil, `{"error":{"message":"Insufficient credits","code":402}}`}, 402, "billing_error", [2]string{"X-Should-Retry", "false"}},
		{"says that it is broken", false, play{500, []string{"Content-Type", "text/html"}, "<html>oh</html>"}, 502, "api_error", [2]string{}},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			a := ask(row.stream, row.play)
			if a.status != row.status || a.errorType() != row.kind || row.header[0] != "" && a.header.Get(row.header[0]) != row.header[1] || strings.Contains(a.text, key) || strings.Contains(a.text, "<html") {
				t.Errorf("%d %v %s", a.status, a.header, a.text)
			}
			if row.status == 502 && row.header[0] != "" && !strings.Contains(a.message(), "openrouter") {
				t.Errorf("the provider is not named: %s", a.message())
			}
		})
	}
	first := true
	for _, r := range s.rows(t) {
		if first && (r.Cost == nil || r.Cost.Decimal() != "0.00095" || r.Price != "upstream") {
			t.Errorf("the book has %+v", r)
		}
		first = false
	}
}

// When the Ollama of an agent is away or says nothing, Claude answers with the caller's own credential, and everybody is told.
func TestOllamaFallsBackToClaude(t *testing.T) {
	const own = "sk-ant-own-0123456789abcdef"
	silent := testkit.NewRawUpstream(t, func(c *testkit.RawConn) {
		if !side(c) {
			c.Hang()
		}
	})
	for _, row := range []struct{ it, base, reason, says string }{
		{"is not running", "http://" + boundPort(t, -1), "connect", "ollama serve"},
		{"says nothing", silent.URL(), "head_timeout", ""},
	} {
		for _, armed := range []bool{true, false} {
			t.Run(fmt.Sprintf("it %s, armed %v", row.it, armed), func(t *testing.T) {
				claude := upstream(t, say(200, tongues[2].stream(), "Content-Type", "text/event-stream"))
				s := newStand(t, func(c *config.Config) {
					c.Providers["ollama"] = config.Provider{Name: "ollama", Kind: "ollama", BaseURL: row.base, Timeouts: config.Timeouts{Head: config.Duration(200 * time.Millisecond), FirstEvent: config.Duration(200 * time.Millisecond)}}
					c.Providers["anthropic"] = config.Provider{Name: "anthropic", Kind: "anthropic", BaseURL: claude.URL}
					c.Agents = map[string]config.Entry{"oss:code-reviewer": {Target: "ollama/codellama"}}
					c.Fallbacks = map[string][]string{"ollama/*": {"claude"}}
					c.FallbackEnabled = &armed
				})
				a := s.post(t, "/v1/messages", strings.Replace(question(true), `"model":"m"`, `"model":"claude-x"`, 1), "x-signalbox-agent", "oss:code-reviewer", "x-api-key", own)
				if !armed {
					if claude.calls.Load() != 0 || a.status != 502 && a.status != 504 || !strings.Contains(a.text, row.says) {
						t.Errorf("nobody else is to be asked: %d %s", a.status, a.text)
					}
					return
				}
				if a.status != 200 || a.said() != "Hello sea" || a.header.Get("X-Signalbox-Target") != "anthropic/claude-x" || a.header.Get("X-Signalbox-Fallback") != "ollama/codellama -> anthropic/claude-x; "+row.reason {
					t.Fatalf("%d %v %s", a.status, a.header, a.text)
				}
				if got := claude.asked[0].Header.Get("X-Api-Key"); got != own {
					t.Errorf("Claude was asked with %q", got)
				}
				if page := s.scrape(t); !strings.Contains(page, "signalbox_fallbacks_total{") || !strings.Contains(page, `reason="`+row.reason+`"`) {
					t.Error("the metrics do not tell")
				}
				s.stop(t)
				if log := s.log.String(); !strings.Contains(log, `"level":"warning"`) || !strings.Contains(log, "ollama/codellama -") {
					t.Errorf("the log does not tell: %s", log)
				}
			})
		}
	}
}

// An answer reaches the caller while its upstream still speaks; whoever asks for a whole one gets JSON.
func TestAnswersComeAsTheyAreMade(t *testing.T) {
	heard := make(chan struct{})
	s, ups := one(t, func(g *tongue, stream bool, c *testkit.RawConn) {
		if !stream {
			proper(g, stream, c)
			return
		}
		begin(g, c)
		<-heard // the caller has the first word before the second is said
		c.Chunk(g.more + g.finish + g.end)
		c.Send("0\r\n\r\n")
	}, nil)
	for _, g := range tongues {
		t.Run(g.name, func(t *testing.T) {
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/v1/"+g.name+"/m/messages", strings.NewReader(question(true)))
			req.Header.Set("Content-Type", "application/json")
			resp, err := callers.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			first, err := readUntil(resp.Body, "Hello")
			if err != nil {
				t.Fatalf("%v after %q", err, first)
			}
			heard <- struct{}{}
			rest, err := io.ReadAll(resp.Body)
			if text := first + string(rest); err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") || !strings.Contains(text, " sea") || !strings.Contains(text, "message_stop") {
				t.Errorf("%v %v\n%s", err, resp.Header, text)
			}
			a := s.post(t, "/v1/"+g.name+"/m/messages", question(false))
			if a.status != 200 || a.header.Get("Content-Type") != "application/json" || a.said() != "Hello sea" || len(a.events) != 0 {
				t.Errorf("%d %v %s", a.status, a.header, a.text)
			}
		})
	}
	if total(ups) < 2*len(tongues) {
		t.Errorf("%d requests", total(ups))
	}
}

// A whole answer of 10 MB comes whole.
func TestLargeAnswer(t *testing.T) {
	large := strings.Repeat("0123456789abcdef", 10<<20>>4)
	s, _ := one(t, func(g *tongue, stream bool, c *testkit.RawConn) {
		body(g, stream, c, strings.Replace(g.whole, "Hello sea", large, 1), "")
	}, nil)
	for _, g := range tongues {
		if a := s.post(t, "/v1/"+g.name+"/m/messages", question(false)); a.status != 200 || a.said() != large {
			t.Errorf("%s: %d, %d bytes", g.name, a.status, len(a.said()))
		}
	}
}

// A body that comes byte by byte, its letters cut in two, arrives as it was meant; one that never ends is cut off.
func TestBodyInPieces(t *testing.T) {
	const text = "Grüße, 世界 😀 – ça va?"
	got := make(chan string, 2)
	up := upstream(t, func(w http.ResponseWriter, r *http.Request, body string, _ int64) {
		got <- gjson.Get(body, "messages.0.content").String()
		fmt.Fprint(w, chatReply)
	})
	s := newStand(t, func(c *config.Config) {
		c.BodyLimit = 4096
		c.Providers["lab"] = config.Provider{Name: "lab", Kind: "openai", BaseURL: up.URL}
	})
	body := `{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"` + text + `"}]}`
	conn := s.dial(t)
	fmt.Fprintf(conn, "POST /v1/lab/m/messages HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n", s.addr, len(body))
	for i := range len(body) {
		if _, err := conn.Write([]byte{body[i]}); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if heard := <-got; resp.StatusCode != 200 || heard != text {
		t.Errorf("%d, and the upstream heard %q", resp.StatusCode, heard)
	}
	if a := s.post(t, "/v1/lab/m/messages", strings.Replace(body, text, strings.Repeat("a", 5000), 1)); a.status != 413 || a.errorType() != "request_too_large" || up.calls.Load() != 1 {
		t.Errorf("%d %s", a.status, a.text)
	}
}

// A gateway that ends leaves no connection open, those without a request included, and takes no new one.
func TestEndClosesConnections(t *testing.T) {
	s := newStand(t, nil)
	conn := s.dial(t)
	fmt.Fprintf(conn, "GET /livez HTTP/1.1\r\nHost: %s\r\n\r\n", s.addr)
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	s.stop(t)
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("the idle connection says %v", err)
	}
	if c, err := net.Dial("tcp", s.addr); err == nil {
		_ = c.Close()
		t.Error("somebody still listens")
	}
}

// A second signal ends the grace at once; what ran is told, and stands in the book.
func TestSecondSignal(t *testing.T) {
	begun := make(chan struct{})
	up := testkit.NewRawUpstream(t, func(c *testkit.RawConn) {
		if side(c) {
			return
		}
		begin(tongues[0], c)
		close(begun)
		c.Hang()
	})
	s := newStand(t, func(c *config.Config) {
		c.Grace = config.Duration(time.Hour)
		c.Providers["a"] = config.Provider{Name: "a", Kind: "openai", BaseURL: up.URL()}
	})
	got := make(chan *answer, 1)
	go func() {
		a, err := s.do(context.Background(), http.MethodPost, "/v1/a/m/messages", question(true))
		if err != nil {
			a = &answer{broken: err}
		}
		got <- a
	}()
	<-begun
	s.cancel()
	until(t, func() bool { return strings.Contains(s.log.String(), "draining") })
	close(s.kill)
	a := <-got
	a.parse(t)
	if a.broken == nil && a.errorType() != "overloaded_error" {
		t.Errorf("%+v", a)
	}
	if rows := s.rows(t); len(rows) != 1 || rows[0].State != exchange.Estimated {
		t.Errorf("the book has %+v", rows)
	}
}
