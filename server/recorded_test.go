package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/testkit"
)

// recordedRequest is a request of the real client: see tests/fixtures/claude-code.
type recordedRequest struct {
	Method, Path string
	Headers      map[string]string
	Body         json.RawMessage
}

// spoken is a body as an upstream reads it: every text in it, in order, and every JSON object, those inside texts included.
type spoken struct {
	texts   strings.Builder
	objects map[string]bool
}

func hear(body []byte) *spoken {
	s := &spoken{objects: map[string]bool{}}
	s.walk(gjson.ParseBytes(body))
	return s
}

func (s *spoken) walk(v gjson.Result) {
	switch {
	case v.IsObject():
		s.objects[same(v.Raw)] = true
		v.ForEach(func(k, f gjson.Result) bool {
			s.walk(f)
			return true
		})
	case v.IsArray():
		v.ForEach(func(_, f gjson.Result) bool {
			s.walk(f)
			return true
		})
	case v.Type == gjson.String:
		s.texts.WriteString(v.Str + "\x00")
		if strings.HasPrefix(v.Str, "{") && gjson.Valid(v.Str) {
			s.objects[same(v.Str)] = true
		}
	}
}

// same is one spelling of a JSON value, whatever the order of its members.
func same(raw string) string {
	var v any
	d := json.NewDecoder(strings.NewReader(raw))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return raw
	}
	out, _ := json.Marshal(v)
	return string(out)
}

// TestRecordedRequests: all that the real client says arrives at every kind of upstream, message by message in its order.
func TestRecordedRequests(t *testing.T) {
	files, err := filepath.Glob("../tests/fixtures/claude-code/*.json")
	if err != nil || len(files) < 10 {
		t.Fatal("the recorded requests are missing", err)
	}
	profiles := map[string]config.Provider{"plain": {Kind: "openai"}, "gpt": {Kind: "openai", Profile: "openai"}, "openrouter": {Kind: "openrouter"}}
	for _, row := range []string{"deepseek", "groq", "mistral", "vllm", "llamacpp", "xai"} {
		profiles[row] = config.Provider{Kind: "openai"}
	}
	answers := map[string]*tongue{}
	for _, g := range tongues {
		answers[g.name] = g
		if g.name != "openai" {
			profiles[g.name] = config.Provider{Kind: g.kind}
		}
	}
	ups := map[string]*testkit.RawUpstream{}
	s := newStand(t, func(c *config.Config) {
		for name, p := range profiles {
			g := answers[name]
			if g == nil {
				g = answers["openai"]
			}
			up := testkit.NewRawUpstream(t, func(c *testkit.RawConn) {
				switch {
				case strings.HasPrefix(c.Target, "/api/show"):
					c.Answer(http.StatusOK, "application/json", `{"model_info":{"general.architecture":"x","x.context_length":1048576},"capabilities":["completion","tools","vision","thinking"]}`)
				case strings.Contains(c.Target, "count_tokens"):
					c.Answer(http.StatusOK, "application/json", `{"input_tokens":7}`)
				case side(c):
				case streamed(c):
					c.Answer(http.StatusOK, g.streamType, g.stream())
				default:
					c.Answer(http.StatusOK, g.wholeType, g.whole)
				}
			})
			p.Name, p.BaseURL, p.APIKey = name, up.URL(), config.NewSecret("sk-test-"+name+"-1234567890")
			ups[name], c.Providers[name] = up, p
		}
	})
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var r recordedRequest
		if err := json.Unmarshal(raw, &r); err != nil {
			t.Fatal(file, err)
		}
		headers := []string{}
		for k, v := range r.Headers {
			if k != "Accept-Encoding" && k != "Authorization" && k != "Content-Length" && k != "Host" {
				headers = append(headers, k, v)
			}
		}
		for name := range profiles {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".json")+" "+name, func(t *testing.T) {
				path := strings.Replace(r.Path, "/v1/", "/v1/"+name+"/claude-m/v1/", 1)
				if r.Method == http.MethodGet {
					path = r.Path
				}
				var body bytes.Buffer // as the client writes it: without the spaces of the file
				if len(r.Body) > 0 && string(r.Body) != "null" {
					if err := json.Compact(&body, r.Body); err != nil {
						t.Fatal(err)
					}
				}
				before := len(ups[name].Requests())
				got := s.ask(t, r.Method, path, body.String(), headers...)
				if got.status != http.StatusOK {
					t.Fatalf("%d %s", got.status, clipped(got.text))
				}
				if r.Method == http.MethodGet {
					if !gjson.Get(got.text, "data").IsArray() {
						t.Errorf("no model list: %s", clipped(got.text))
					}
					return
				}
				if strings.Contains(r.Path, "count_tokens") {
					if gjson.Get(got.text, "input_tokens").Int() <= 0 {
						t.Errorf("no count: %s", clipped(got.text))
					}
					return
				}
				if gjson.GetBytes(body.Bytes(), "stream").Bool() {
					if err := grammar(got.events); err != nil {
						t.Fatal(err)
					}
				}
				var sent []byte
				for _, q := range ups[name].Requests()[before:] {
					if q.Method == http.MethodPost && !strings.HasPrefix(q.Target, "/api/show") {
						sent = q.Body
					}
				}
				if name == "anthropic" {
					want := strings.Replace(body.String(), `"model":`+gjson.GetBytes(body.Bytes(), "model").Raw, `"model":"claude-m"`, 1)
					if string(sent) != want {
						t.Errorf("the body is not the caller's own: %s", clipped(string(sent)))
					}
					return
				}
				arrived(t, name, gjson.ParseBytes(body.Bytes()), sent, got)
			})
		}
	}
}

// arrived holds that everything of a request is in what the upstream read.
func arrived(t *testing.T, provider string, request gjson.Result, sent []byte, got *answer) {
	t.Helper()
	heard := hear(sent)
	all := heard.texts.String()
	if strings.Contains(all, "x-anthropic-billing-header") {
		t.Error("the attribution line went up")
	}
	dropped := got.header.Get("X-Signalbox-Dropped")
	from := 0
	text := func(what, want string, from int) int {
		if want == "" || strings.HasPrefix(want, "x-anthropic-billing-header:") {
			return from
		}
		i := strings.Index(all[from:], want)
		if i < 0 {
			t.Errorf("%s is lost or out of its place: %s", what, clipped(want))
			return from
		}
		return from + i + len(want)
	}
	blocks := func(v gjson.Result) []gjson.Result {
		if v.Type == gjson.String {
			return []gjson.Result{gjson.Parse(`{"type":"text","text":` + v.Raw + `}`)}
		}
		return v.Array()
	}
	for _, b := range blocks(request.Get("system")) {
		text("a system text", b.Get("text").Str, 0)
	}
	loaded := map[string]bool{}
	for n, m := range request.Get("messages").Array() {
		end := from
		var walk func(list []gjson.Result)
		walk = func(list []gjson.Result) {
			for _, b := range list {
				switch b.Get("type").Str {
				case "text":
					end = max(end, text("a text of message "+m.Get("role").Str, b.Get("text").Str, from))
				case "tool_use":
					if !heard.objects[same(b.Get("input").Raw)] {
						t.Errorf("message %d: the input %s is lost", n, clipped(b.Get("input").Raw))
					}
					end = max(end, text("a call", b.Get("name").Str, from))
					if provider != "gemini" && provider != "mistral" {
						text("the id of a call", b.Get("id").Str, from)
					}
				case "tool_result":
					if b.Get("is_error").Bool() && !strings.Contains(string(sent), "Error: ") && !strings.Contains(string(sent), `"error":`) {
						t.Errorf("message %d: that a result is an error is lost", n)
					}
					walk(blocks(b.Get("content")))
				case "tool_reference":
					loaded[b.Get("tool_name").Str] = true
				case "image", "document":
					if data := b.Get("source.data").Str; !strings.Contains(all, data) && !strings.Contains(dropped, b.Get("type").Str) {
						t.Errorf("message %d: an %s is lost, and only %q is reported", n, b.Get("type").Str, dropped)
					}
				case "thinking", "redacted_thinking": // another provider's
				default:
					t.Errorf("message %d holds a %s, which this test does not know", n, b.Get("type").Str)
				}
			}
		}
		walk(blocks(m.Get("content")))
		from = end
	}
	for _, tool := range request.Get("tools").Array() {
		if name := tool.Get("name").Str; !tool.Get("defer_loading").Bool() || loaded[name] {
			text("a tool", name, 0)
			text("a tool's description", tool.Get("description").Str, 0)
			for key := range tool.Get("input_schema.properties").Map() {
				if !strings.Contains(string(sent), `"`+key+`"`) {
					t.Errorf("%s: the property %s is lost", name, key)
				}
			}
		}
	}
	if schema := request.Get("output_config.format.schema"); schema.Exists() && !strings.Contains(dropped, "output_config.format") {
		for key := range schema.Get("properties").Map() {
			if !strings.Contains(string(sent), `"`+key+`"`) {
				t.Errorf("the property %s of the answer's schema is lost", key)
			}
		}
	}
}
