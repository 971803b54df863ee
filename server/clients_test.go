package server

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/testkit"
)

// dial opens a connection to the gateway.
func (s *stand) dial(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c.(*net.TCPConn)
}

// raw sends bytes and reads whatever comes until the gateway closes, or the answer is whole.
func (s *stand) raw(t testing.TB, bytes string) (*http.Response, string) {
	t.Helper()
	c := s.dial(t)
	if _, err := io.WriteString(c, bytes); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(bytes, " ")
	resp, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		return nil, ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp, string(b)
}

// one is a gateway with one upstream of each dialect, named for it.
func one(t testing.TB, script func(*tongue, bool, *testkit.RawConn), more func(*config.Config)) (*stand, map[string]*testkit.RawUpstream) {
	t.Helper()
	ups := map[string]*testkit.RawUpstream{}
	s := newStand(t, func(c *config.Config) {
		for _, g := range tongues {
			up := testkit.NewRawUpstream(t, func(c *testkit.RawConn) {
				if !side(c) {
					script(g, streamed(c), c)
				}
			})
			ups[g.name] = up
			p := g.provider(up.URL())
			p.Timeouts = config.Timeouts{}
			c.Providers[g.name] = p
		}
		if more != nil {
			more(c)
		}
	})
	return s, ups
}

func total(ups map[string]*testkit.RawUpstream) (n int) {
	for _, g := range tongues {
		n += ups[g.name].To(g.path)
	}
	return n
}

func TestBytesThatAreNoProperRequest(t *testing.T) {
	s, ups := one(t, proper, func(c *config.Config) { c.BodyLimit = 4096 })
	body := question(false)
	head := func(line string, more ...string) string {
		return line + "\r\nHost: " + s.addr + "\r\nContent-Type: application/json\r\n" + strings.Join(more, "\r\n") + "\r\n\r\n"
	}
	length := fmt.Sprintf("Content-Length: %d", len(body))
	const post = "POST /v1/openai/m/messages HTTP/1.1"
	for _, row := range []struct {
		it, bytes string
		status    int  // 0: any of 4xx and 5xx, or a close
		ours      bool // the answer is an envelope
	}{
		{"F75 it is refused by its length alone", head(post, "Content-Length: 5000"), 413, true},
		{"F75 it is refused when chunks never end", head(post, "Transfer-Encoding: chunked") + strings.Repeat("400\r\n"+strings.Repeat("a", 1024)+"\r\n", 5), 413, true},
		{"F76 a bad chunk", head(post, "Transfer-Encoding: chunked") + "zz\r\n", 0, false},
		{"F77 two lengths", head(post, length, "Content-Length: 7") + body, 400, false},
		{"F77 a signed length", head(post, "Content-Length: +"+fmt.Sprint(len(body))) + body, 400, false},
		{"F77 a blank before the colon", head(post, "Content-Length : 7") + body, 400, false},
		{"F77 no host", "POST /v1/messages HTTP/1.1\r\nContent-Type: application/json\r\n" + length + "\r\n\r\n" + body, 400, false},
		{"F77 a bad host", "POST /v1/messages HTTP/1.1\r\nHost: a b\r\nContent-Type: application/json\r\n" + length + "\r\n\r\n" + body, 400, false},
		{"F77 no host, in HTTP/1.0", "POST /v1/messages HTTP/1.0\r\nContent-Type: application/json\r\n" + length + "\r\n\r\n" + body, 403, true},
		{"F77 CONNECT", "CONNECT " + s.addr + " HTTP/1.1\r\nHost: " + s.addr + "\r\n\r\n", 0, false},
		{"F77 CONNECT elsewhere", "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", 0, false},
		{"F77 TRACE", head("TRACE /v1/messages HTTP/1.1"), 405, true},
		{"F77 a method of one's own", head("BREW /v1/messages HTTP/1.1"), 405, true},
		{"F77 OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: " + s.addr + "\r\n\r\n", 403, true},
		{"F77 a preflight", head("OPTIONS /v1/messages HTTP/1.1", "Access-Control-Request-Method: POST"), 403, true},
		{"F77 Upgrade", head("GET /v1/messages HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket"), 405, true},
		{"F77 the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, false},
		{"F77 an absolute form with a foreign host", "POST http://evil.example/v1/openai/m/messages HTTP/1.1\r\nHost: " + s.addr + "\r\nContent-Type: application/json\r\n" + length + "\r\n\r\n" + body, 403, true},
		{"F77 not HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 0, false},
		{"F74 a huge head", "GET /" + strings.Repeat("a", 100_000) + " HTTP/1.1\r\nHost: x\r\n\r\n", 0, false},
		{"F74 a body that never comes, at a refused host", "POST /v1/messages HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n", 403, true},
		{"F74 a body that never comes, on a GET", head("GET /livez HTTP/1.1", "Content-Length: 1000"), 200, false},
		{"F74 a body that never comes, nowhere", head("POST /nowhere HTTP/1.1", "Content-Length: 1000"), 404, true},
	} {
		t.Run(row.it, func(t *testing.T) {
			begun := time.Now()
			resp, text := s.raw(t, row.bytes)
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			switch {
			case resp == nil && row.status != 0:
				t.Fatal("no answer")
			case resp == nil:
				return
			case resp.StatusCode == 200 && row.status != 200, row.status != 0 && resp.StatusCode != row.status:
				t.Fatalf("status %d, want %d: %s", resp.StatusCode, row.status, clipped(text))
			}
			if row.ours && (gjson.Get(text, "type").String() != "error" || resp.Header.Get("X-Signalbox-Request-Id") == "") {
				t.Errorf("not our envelope: %v %s", resp.Header, text)
			}
		})
	}
	if n := total(ups); n != 0 {
		t.Errorf("%d requests reached an upstream", n)
	}
	if rows := s.rows(t); len(rows) != 0 {
		t.Errorf("the book has %d rows", len(rows))
	}
}

func TestFramingOfTheCallerStaysWithUs(t *testing.T) {
	s, ups := one(t, proper, nil)
	body := question(false)
	for _, g := range tongues {
		resp, text := s.raw(t, "POST /v1/"+g.name+"/m/messages?beta=true HTTP/1.1\r\nHost: "+s.addr+"\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n"+
			"Idempotency-Key: once\r\nX-Idempotency-Key: once\r\nCookie: session=1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\nForwarded: for=1.2.3.4\r\nProxy-Authorization: Basic eDp5\r\n"+
			"X-Api-Key: callers-own-key\r\nAuthorization: Bearer callers-own-token\r\nX-Stainless-Retry-Count: 1\r\nConnection: close, Anthropic-Secret-Hop\r\nAnthropic-Secret-Hop: 1\r\nAnthropic-Beta: a\r\nAccept-Encoding: gzip\r\nTE: trailers\r\n\r\n"+
			fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body))
		if resp == nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %v %s", g.name, resp, text)
		}
		reqs := ups[g.name].Requests()
		r := reqs[len(reqs)-1]
		low := strings.ToLower(r.Head)
		if strings.Count(low, "content-length:") != 1 || strings.Contains(low, "transfer-encoding") {
			t.Errorf("%s: framing of two kinds:\n%s", g.name, r.Head)
		}
		for _, h := range []string{"idempotency", "cookie", "forwarded", "proxy-", "callers-own", "x-stainless", "hop", "accept-encoding: gzip", "\r\nte:"} {
			if strings.Contains(low, h) {
				t.Errorf("%s: %q went upstream:\n%s", g.name, h, r.Head)
			}
		}
		if g.name == "anthropic" && (r.Header.Get("Anthropic-Beta") != "a" || r.Target != "/v1/messages?beta=true") {
			t.Errorf("what belongs to Anthropic did not pass: %s", r.Head)
		}
		for _, h := range []string{"Set-Cookie", "Server", "Access-Control-Allow-Origin", "Content-Encoding"} {
			if resp.Header.Get(h) != "" {
				t.Errorf("%s: the answer has %s", g.name, h)
			}
		}
	}
}

func TestRedirectIsNotFollowedNorTheKeySentOn(t *testing.T) {
	elsewhere := testkit.NewRawUpstream(t, func(c *testkit.RawConn) { c.Answer(200, "application/json", "{}") })
	for _, code := range []int{301, 302, 303, 307, 308} {
		s, ups := one(t, func(_ *tongue, _ bool, c *testkit.RawConn) {
			c.Answer(code, "", "", "Location: "+elsewhere.URL()+"/steal")
		}, nil)
		for _, g := range tongues {
			if a := s.post(t, "/v1/"+g.name+"/m/messages", question(false)); a.status != 502 || a.errorType() != "api_error" {
				t.Errorf("%d %s: %d %s", code, g.name, a.status, a.text)
			}
		}
		if n := total(ups); n != len(tongues) {
			t.Errorf("%d: %d requests", code, n)
		}
	}
	if n := len(elsewhere.Requests()); n != 0 {
		t.Errorf("%d requests followed the redirect", n)
	}
}

func TestBodies(t *testing.T) {
	s, ups := one(t, proper, nil)
	ok := `"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}]`
	for _, row := range []struct{ it, body, field string }{
		{"is empty", ` `, "JSON"},
		{"is no JSON", `{"model":`, "JSON"},
		{"is an array", `[]`, "JSON"},
		{"is a text", `"x"`, "JSON"},
		{"is two documents", `{` + ok + `}{}`, "JSON"},
		{"begins with a byte order mark", "\xef\xbb\xbf{" + ok + `}`, "JSON"},
		{"holds invalid UTF-8", "{" + ok + ",\"a\":\"\xff\"}", "JSON"},
		{"holds NaN", `{` + ok + `,"temperature":NaN}`, "JSON"},
		{"holds a leading zero", `{` + ok + `,"top_k":01}`, "JSON"},
		{"holds a comment", `{` + ok + `/*x*/}`, "JSON"},
		{"holds a trailing comma", `{` + ok + `,}`, "JSON"},
		{"holds single quotes", `{'a':1}`, "JSON"},
		{"holds a raw control character", "{" + ok + ",\"a\":\"\x01\"}", "JSON"},
		{"names a field twice", `{` + ok + `,"model":"n"}`, "model"},
		{"names a field twice by case", `{` + ok + `,"MODEL":"n"}`, "MODEL"},
		{"names a field twice by an escape", `{` + ok + `,"m\u006fdel":"n"}`, "model"},
		{"names a field twice by case alone, unknown ones", `{` + ok + `,"abc":1,"ABC":2}`, "ABC"},
		{"spells a known field in capitals", `{"Model":"m","max_tokens":5,"messages":[]}`, "Model"},
		{"nests too deeply", `{` + ok + `,"a":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`, "deeper"},
		{"has no messages", `{"model":"m","max_tokens":5}`, "messages"},
		{"has empty messages", `{"model":"m","max_tokens":5,"messages":[]}`, "messages"},
		{"has messages that are no array", `{"model":"m","max_tokens":5,"messages":{}}`, "messages"},
		{"has null for messages", `{"model":"m","max_tokens":5,"messages":null}`, "messages"},
		{"has no max_tokens", `{"model":"m","messages":[{"role":"user","content":"x"}]}`, "max_tokens"},
		{"has a negative max_tokens", `{"model":"m","max_tokens":-1,"messages":[{"role":"user","content":"x"}]}`, "max_tokens"},
		{"has half a max_tokens", `{"model":"m","max_tokens":1.5,"messages":[{"role":"user","content":"x"}]}`, "max_tokens"},
		{"has an endless max_tokens", `{"model":"m","max_tokens":1e400,"messages":[{"role":"user","content":"x"}]}`, "max_tokens"},
		{"has a text for max_tokens", `{"model":"m","max_tokens":"5","messages":[{"role":"user","content":"x"}]}`, "max_tokens"},
		{"has null for max_tokens", `{"model":"m","max_tokens":null,"messages":[{"role":"user","content":"x"}]}`, "max_tokens"},
		{"has an empty model", `{"model":"","max_tokens":5,"messages":[{"role":"user","content":"x"}]}`, "model"},
		{"has a number for a model", `{"model":5,"max_tokens":5,"messages":[{"role":"user","content":"x"}]}`, "model"},
		{"has null for a model", `{"model":null,"max_tokens":5,"messages":[{"role":"user","content":"x"}]}`, "model"},
		{"has a text for stream", `{` + ok + `,"stream":"yes"}`, "stream"},
		{"has an object for tools", `{` + ok + `,"tools":{}}`, "tools"},
		{"has too many tools", `{` + ok + `,"tools":[` + strings.TrimSuffix(strings.Repeat("1,", 4097), ",") + `]}`, "tools"},
		{"has too many messages", `{"model":"m","max_tokens":5,"messages":[` + strings.TrimSuffix(strings.Repeat("1,", 100_001), ",") + `]}`, "messages"},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			for _, g := range tongues {
				refused(t, s.post(t, "/v1/"+g.name+"/m/messages", row.body), row.field)
			}
		})
	}
	if n := total(ups); n != 0 {
		t.Errorf("%d requests reached an upstream", n)
	}
	if rows := s.rows(t); len(rows) != 0 {
		t.Errorf("the book has %d rows", len(rows))
	}
}

// refused is a 400 that names a field.
func refused(t *testing.T, a *answer, field string) {
	t.Helper()
	if a.status != 400 || a.errorType() != "invalid_request_error" || !strings.Contains(a.message(), field) || a.header.Get("X-Should-Retry") != "false" {
		t.Errorf("%d %s, want a 400 that names %s", a.status, clipped(a.text), field)
	}
}

// What only a translator can judge is refused where a translation is made, and passed where Anthropic judges for itself.
func TestWrongConversations(t *testing.T) {
	s, ups := one(t, proper, nil)
	user := `{"role":"user","content":"x"}`
	with := func(msgs string, more ...string) string {
		return `{"model":"m","max_tokens":5,"messages":[` + msgs + `]` + strings.Join(append([]string{""}, more...), ",") + `}`
	}
	use := `{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"a","input":{}}]}`
	for _, row := range []struct{ it, body, field string }{
		{"has a message that is no object", with(`5`), "messages.0"},
		{"has a message without a role", with(`{"content":"x"}`), "messages.0.role"},
		{"has a role that nobody knows", with(user + `,{"role":"wizard","content":"x"}`), "messages.1.role"},
		{"has a number for a role", with(`{"role":7,"content":"x"}`), "messages.0.role"},
		{"has a message without content", with(`{"role":"user"}`), "messages.0.content"},
		{"has a number for content", with(`{"role":"user","content":7}`), "messages.0.content"},
		{"has null for content", with(`{"role":"user","content":null}`), "messages.0.content"},
		{"has a block that is no object", with(`{"role":"user","content":["x"]}`), "messages.0.content.0"},
		{"has a block without a type", with(`{"role":"user","content":[{"text":"x"}]}`), "messages.0.content.0.type"},
		{"has a number for a type", with(`{"role":"user","content":[{"type":7}]}`), "messages.0.content.0.type"},
		{"has a text block without text", with(`{"role":"user","content":[{"type":"text"}]}`), "messages.0.content.0.text"},
		{"has an image without a source", with(`{"role":"user","content":[{"type":"image"}]}`), "messages.0.content.0.source"},
		{"has a source without a type", with(`{"role":"user","content":[{"type":"image","source":{}}]}`), "messages.0.content.0.source.type"},
		{"has a source without data", with(`{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png"}}]}`), "messages.0.content.0.source"},
		{"has a call without an id", with(user + `,{"role":"assistant","content":[{"type":"tool_use","name":"a","input":{}}]}`), "messages.1.content.0.id"},
		{"has a call without a name", with(user + `,{"role":"assistant","content":[{"type":"tool_use","id":"t","input":{}}]}`), "messages.1.content.0.name"},
		{"has a call whose input is no object", with(user + `,{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"a","input":[1]}]}`), "messages.1.content.0.input"},
		{"has a result without an id", with(user + `,` + use + `,{"role":"user","content":[{"type":"tool_result","content":"x"}]}`), "messages.2.content.0.tool_use_id"},
		{"has a result that nobody asked for", with(user + `,` + use + `,{"role":"user","content":[{"type":"tool_result","tool_use_id":"t2","content":"x"}]}`), "messages.2.content.0.tool_use_id"},
		{"has a block inside a result without a type", with(user + `,` + use + `,{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":[{"text":"x"}]}]}`), "messages.2.content.0.content.0.type"},
		{"has a system that is a number", with(user, `"system":7`), "system"},
		{"has a picture in its system", with(user, `"system":[{"type":"image","source":{"type":"url","url":"x"}}]`), "system.0.type"},
		{"has a tool that is no object", with(user, `"tools":[7]`), "tools.0"},
		{"has a tool without a name", with(user, `"tools":[{"input_schema":{"type":"object"}}]`), "tools.0.name"},
		{"has a tool with a number for a name", with(user, `"tools":[{"name":7,"input_schema":{"type":"object"}}]`), "tools.0.name"},
		{"has two tools of one name", with(user, `"tools":[{"name":"a","input_schema":{"type":"object"}},{"name":"a","input_schema":{"type":"object"}}]`), "tools.1.name"},
		{"has a tool choice that nobody knows", with(user, `"tools":[{"name":"a"}],"tool_choice":{"type":"perhaps"}`), "tool_choice.type"},
		{"has a tool choice without a type", with(user, `"tools":[{"name":"a"}],"tool_choice":{}`), "tool_choice.type"},
		{"has a tool choice that is a text", with(user, `"tools":[{"name":"a"}],"tool_choice":"auto"`), "tool_choice"},
		{"has a tool choice without a name", with(user, `"tools":[{"name":"a"}],"tool_choice":{"type":"tool"}`), "tool_choice.name"},
		{"chooses a tool that is not offered", with(user, `"tools":[{"name":"a"}],"tool_choice":{"type":"tool","name":"b"}`), "tool_choice.name"},
		{"chooses a tool where none is offered", with(user, `"tool_choice":{"type":"tool","name":"b"}`), "tool_choice.name"},
		{"has a text for a temperature", with(user, `"temperature":"hot"`), "temperature"},
		{"has an endless temperature", with(user, `"temperature":1e400`), "temperature"},
		{"has half a top_k", with(user, `"top_k":1.5`), "top_k"},
		{"has a negative top_k", with(user, `"top_k":-1`), "top_k"},
		{"has stop sequences that are no array", with(user, `"stop_sequences":"x"`), "stop_sequences"},
		{"has a stop sequence that is a number", with(user, `"stop_sequences":[7]`), "stop_sequences.0"},
		{"has a text for thinking", with(user, `"thinking":"much"`), "thinking"},
		{"has thinking without a type", with(user, `"thinking":{}`), "thinking.type"},
		{"has a negative budget", with(user, `"thinking":{"type":"enabled","budget_tokens":-5}`), "thinking.budget_tokens"},
		{"has metadata that is a text", with(user, `"metadata":"me"`), "metadata"},
		{"only warms a cache", strings.Replace(with(user), `"max_tokens":5`, `"max_tokens":0`, 1), "max_tokens"},
		{"offers only a tool that a server runs", with(user, `"tools":[{"type":"web_search_20250305","name":"web_search"}]`), "web_search"},
		{"brings servers of its own", with(user, `"mcp_servers":[{"type":"url","url":"http://x","name":"x"}]`), "mcp_servers"},
		{"brings a container", with(user, `"container":"c"`), "container"},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			for _, name := range []string{"openai", "ollama"} {
				for _, path := range []string{"/messages", "/messages/count_tokens"} {
					if strings.HasSuffix(path, "count_tokens") && (strings.Contains(row.it, "warms") || strings.Contains(row.it, "server") || strings.Contains(row.it, "container") || strings.Contains(row.it, "nobody asked")) {
						continue // a count asks nobody
					}
					refused(t, s.post(t, "/v1/"+name+"/m"+path, row.body), row.field)
				}
			}
			if a := s.post(t, "/v1/anthropic/m/messages", row.body); a.status != 200 {
				t.Errorf("the verbatim lane judges for itself: %d %s", a.status, a.text)
			}
		})
	}
	for _, name := range []string{"openai", "ollama"} {
		for _, r := range ups[name].Requests() {
			if r.Method == http.MethodPost && !strings.HasPrefix(r.Target, "/api/show") {
				t.Errorf("%s was asked: %s", name, r.Target)
			}
		}
	}
}

// What a later client may send is no error.
func TestWhatNobodyKnowsIsNoError(t *testing.T) {
	s, _ := one(t, proper, nil)
	for _, body := range []string{
		`{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"hologram","text":"x"},{"type":"hologram2","a":1},{"type":"text","text":"y"}]}],"safeguards":[1],"speed":null,"service_tier":"auto"}`,
		`{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"},{"role":"system","content":"y"}],"tools":[],"context_management":{"edits":[{"type":"clear_thinking_20251015","keep":"all"}]},"thinking":{"type":"adaptive","display":"omitted"},"output_config":{"effort":"high"}}`,
		`{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"\ud800"}],"temperature":null,"tools":null,"system":null,"thinking":null,"tool_choice":null,"metadata":null,"stop_sequences":null}`,
		`{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"hi"}],"mcp_servers":[],"tools":[],"safeguards":[ ],"stop_sequences":[]}`,
		`{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x","extra":{"model":1,"Model":2}}]}`,
	} {
		for _, g := range tongues {
			if a := s.post(t, "/v1/"+g.name+"/m/messages?beta=true", body, "Anthropic-Version", "2031-01-01", "Anthropic-Beta", "what-ever-2031"); a.status != 200 {
				t.Errorf("%s: %d %s for %s", g.name, a.status, a.text, body)
			}
		}
	}
}

// F71, F72: whoever leaves takes his upstream call with him, whatever it was doing.
func TestLeavingCaller(t *testing.T) {
	type leave struct {
		it     string
		stream bool
		play   play // what the upstream does; it announces by hanging that the caller may leave
		half   bool // the caller waits for the first word before he leaves
	}
	var slow []string
	for _, l := range []leave{
		{"while the head is awaited", true, func(_ *tongue, _ bool, c *testkit.RawConn) { c.Hang() }, false},
		{"while a whole answer is awaited", false, func(_ *tongue, _ bool, c *testkit.RawConn) { c.Hang() }, false},
		{"while a whole answer comes", false, func(g *tongue, s bool, c *testkit.RawConn) { half(g, s, c); c.Hang() }, false},
		{"before the first token", true, func(g *tongue, _ bool, c *testkit.RawConn) {
			c.Send(testkit.Head(200, g.streamType, "Transfer-Encoding: chunked"))
			c.Hang()
		}, false},
		{"in the middle of a silent stream", true, func(g *tongue, _ bool, c *testkit.RawConn) { begin(g, c); c.Hang() }, true},
		{"in the middle of a talking stream", true, func(g *tongue, _ bool, c *testkit.RawConn) {
			c.Send(testkit.Head(200, g.streamType, "Connection: close"))
			c.Send(g.first)
			c.Drip(g.more, time.Millisecond)
		}, true},
	} {
		for _, how := range []string{"FIN", "RST"} {
			t.Run(l.it+" by "+how, func(t *testing.T) {
				arrived := make(chan *testkit.RawRequest, 1)
				s, ups := one(t, func(g *tongue, stream bool, c *testkit.RawConn) {
					arrived <- c.RawRequest
					l.play(g, stream, c)
				}, func(c *config.Config) { c.Retry = config.Retry{Attempts: 3, PossiblyCharged: true} })
				for _, g := range tongues {
					conn := s.dial(t)
					body := question(l.stream)
					fmt.Fprintf(conn, "POST /v1/%s/m/messages HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", g.name, s.addr, len(body), body)
					req := <-arrived
					if l.half {
						if _, err := readUntil(conn, "Hello"); err != nil {
							t.Fatalf("%s: %v", g.name, err)
						}
					}
					if how == "RST" {
						_ = conn.SetLinger(0)
					}
					left := time.Now()
					_ = conn.Close()
					select {
					case <-req.Left():
					case <-time.After(10 * time.Second):
						t.Fatalf("%s: the upstream call goes on", g.name)
					}
					took := req.LeftAt().Sub(left)
					slow = append(slow, fmt.Sprintf("%s/%s: %s", g.name, l.it, took))
					if took > 250*time.Millisecond {
						t.Errorf("%s: the upstream was released after %s", g.name, took)
					}
				}
				if n := total(ups); n != len(tongues) {
					t.Errorf("%d attempts for %d requests", n, len(tongues))
				}
				for _, r := range s.rows(t) {
					if r.State != "estimated" || r.Outcome != "canceled" {
						t.Errorf("%s: the book says %s %s", r.Provider, r.State, r.Outcome)
					}
				}
				if log := s.log.String(); strings.Count(log, `"status":499`) != len(tongues) {
					t.Errorf("not every one is a 499 in the log:\n%s", log)
				}
			})
		}
	}
	if testing.Verbose() {
		t.Log(strings.Join(slow, "\n"))
	}
}

// readUntil reads until a word has come.
func readUntil(r io.Reader, word string) (string, error) {
	var all []byte
	buf := make([]byte, 4096)
	for !strings.Contains(string(all), word) {
		n, err := r.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			return string(all), err
		}
	}
	return string(all), nil
}

// F70: nothing goes up before the body is whole.
func TestLeavesBeforeTheBodyIsComplete(t *testing.T) {
	s, ups := one(t, proper, nil)
	conn := s.dial(t)
	body := question(true)
	fmt.Fprintf(conn, "POST /v1/openai/m/messages HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", s.addr, len(body)+10, body)
	_ = conn.Close()
	if a := s.post(t, "/v1/openai/m/messages", body); a.status != 200 {
		t.Fatal(a.text)
	}
	if rows := s.rows(t); len(rows) != 1 || total(ups) != 1 {
		t.Errorf("%d rows, %d attempts", len(rows), total(ups))
	}
	if !strings.Contains(s.log.String(), `"status":499`) {
		t.Error("no 499 in the log")
	}
}

// F73: who stops reading holds up his upstream and nobody else, and is cut in the end.
func TestStopsReading(t *testing.T) {
	gone := make(chan struct{})
	s, _ := one(t, func(g *tongue, _ bool, c *testkit.RawConn) {
		defer close(gone)
		c.Send(testkit.Head(200, g.streamType, "Connection: close"))
		c.Send(g.first)
		piece := strings.Repeat(g.text(`"`+strings.Repeat("a", 1000)+`"`), 50)
		for c.Send(piece) {
		}
		c.FIN()
	}, func(c *config.Config) {
		p := c.Providers["openai"]
		p.Timeouts.ClientWrite = config.Duration(2500 * time.Millisecond)
		p.Timeouts.Idle = config.Duration(1500 * time.Millisecond) // shorter: the caller's slowness is not the upstream's silence
		c.Providers["openai"] = p
	})
	conn := s.dial(t)
	_ = conn.SetReadBuffer(4096)
	body := question(true)
	fmt.Fprintf(conn, "POST /v1/openai/m/messages HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", s.addr, len(body), body)
	if _, err := readUntil(conn, "Hello"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(15 * time.Second):
		t.Fatal("the upstream is still held")
	}
	rows := s.rows(t)
	if len(rows) != 1 || rows[0].State != "estimated" || rows[0].Outcome != "canceled" {
		t.Errorf("the book says %+v", rows)
	}
}

// F73: a slow reader gets everything, however short the clocks of writing and idling are.
func TestReadsSlowly(t *testing.T) {
	const words = 300
	s, _ := one(t, func(g *tongue, _ bool, c *testkit.RawConn) {
		c.Send(testkit.Head(200, g.streamType, "Connection: close"))
		c.Send(g.first)
		for range words {
			c.Send(g.text(`"` + strings.Repeat("a", 10_000) + `"`))
		}
		c.Send(g.finish + g.end)
		c.FIN()
	}, func(c *config.Config) {
		for name, p := range c.Providers {
			p.Timeouts.ClientWrite = config.Duration(time.Second)
			p.Timeouts.Idle = config.Duration(200 * time.Millisecond)
			c.Providers[name] = p
		}
	})
	var wg sync.WaitGroup
	for _, g := range tongues {
		wg.Add(1)
		go func() {
			defer wg.Done()
			conn, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.(*net.TCPConn).SetReadBuffer(16 << 10)
			body := question(true)
			fmt.Fprintf(conn, "POST /v1/%s/m/messages HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", g.name, s.addr, len(body), body)
			buf, size, last := make([]byte, 64<<10), 0, ""
			tick := time.NewTicker(25 * time.Millisecond)
			defer tick.Stop()
			for {
				<-tick.C
				n, err := conn.Read(buf)
				size += n
				if n > 0 {
					last = string(buf[max(0, n-200):n])
				}
				if err != nil {
					break
				}
			}
			if size < words*10_000 || !strings.Contains(last, "message_stop") {
				t.Errorf("%s: %d bytes, ending in %q", g.name, size, last)
			}
		}()
	}
	wg.Wait()
}

// F81: past its places and its queue the gateway sheds, and at once; whoever leaves the queue leaves nothing behind.
func TestOverload(t *testing.T) {
	release := make(chan struct{})
	arrived := make(chan struct{}, 16)
	s, ups := one(t, func(g *tongue, stream bool, c *testkit.RawConn) {
		arrived <- struct{}{}
		<-release
		proper(g, stream, c)
	}, func(c *config.Config) { c.MaxInflight, c.Queue = 2, 1 })
	var wg sync.WaitGroup
	ask := func(ctx context.Context, into *answer) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if a, err := s.do(ctx, http.MethodPost, "/v1/openai/m/messages", question(false)); err == nil {
				*into = *a
			}
		}()
	}
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	var first, second, fourth answer
	ask(context.Background(), &first)
	ask(context.Background(), &second)
	<-arrived
	<-arrived
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	wg.Add(1)
	go func() { // the third waits; a probe may be in the queue before it, then it is shed and comes again
		defer wg.Done()
		for ctx.Err() == nil {
			_, _ = s.do(ctx, http.MethodPost, "/v1/openai/m/messages", question(false))
		}
	}()
	// A probe waits in the queue unless somebody else does; then it is shed.
	probe := func() int {
		ctx, stop := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer stop()
		a, err := s.do(ctx, http.MethodPost, "/v1/openai/m/messages", question(false))
		if err != nil {
			return 0
		}
		return a.status
	}
	until(t, func() bool { return probe() == 529 })
	begun := time.Now()
	shed := s.post(t, "/v1/openai/m/messages", question(false))
	if shed.errorType() != "overloaded_error" || shed.header.Get("Retry-After") == "" {
		t.Errorf("%d %v %s", shed.status, shed.header, shed.text)
	}
	t.Logf("shed after %s", time.Since(begun))
	leave()
	// The place in the queue is free again: somebody else may wait there, and is served.
	until(t, func() bool { return probe() == 0 })
	until(t, func() bool { return strings.Contains(s.scrape(t), "signalbox_inflight_requests 2") })
	ask(context.Background(), &fourth)
	free()
	wg.Wait()
	for i, a := range []answer{first, second, fourth} {
		if a.status != 200 {
			t.Errorf("request %d: %d %s", i, a.status, a.text)
		}
	}
	if n := total(ups); n != 3 {
		t.Errorf("%d attempts, want 3", n)
	}
	if rows := s.rows(t); len(rows) != 3 {
		t.Errorf("%d rows", len(rows))
	}
}

// until waits for something that is about to be so.
func until(t testing.TB, so func() bool) {
	t.Helper()
	end := time.Now().Add(10 * time.Second)
	for !so() {
		if time.Now().After(end) {
			t.Fatal("it does not come to pass")
		}
		runtime.Gosched()
	}
}

// F64, I7: a long answer and a large request pass without being gathered.
func TestMemoryStaysFlat(t *testing.T) {
	const size = 10 << 20
	s, ups := one(t, func(g *tongue, _ bool, c *testkit.RawConn) {
		c.Send(testkit.Head(200, g.streamType, "Connection: close"))
		c.Send(g.first)
		piece := g.text(`"` + strings.Repeat("a", 1<<10) + `"`)
		for range size >> 10 {
			c.Send(piece)
		}
		c.Send(g.finish + g.end)
		c.FIN()
	}, nil)
	question := strings.Replace(question(true), "Say a word", strings.Repeat("word ", 200_000), 1)
	for _, g := range tongues {
		req, _ := http.NewRequest(http.MethodPost, s.url+"/v1/"+g.name+"/m/messages", strings.NewReader(question))
		req.Header.Set("Content-Type", "application/json")
		resp, err := callers.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var most, n uint64
		buf := make([]byte, 256<<10)
		tail := ""
		for {
			k, err := io.ReadFull(resp.Body, buf)
			n += uint64(k)
			if k > 0 {
				tail = string(buf[max(0, k-100):k])
			}
			if err != nil {
				break
			}
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
		}
		_ = resp.Body.Close()
		if n < size || !strings.Contains(tail, "message_stop") {
			t.Errorf("%s: %d bytes, ending in %q", g.name, n, tail)
		}
		// The request is here several times (the test's own, the raw upstream's record, the gateway's two); the answer must not be.
		if most > 40<<20 {
			t.Errorf("%s: %d MiB of heap while the answer passes", g.name, most>>20)
		}
		t.Logf("%s: at most %.1f MiB of heap for %d MiB of answer", g.name, float64(most)/(1<<20), n>>20)
	}
	_ = ups
}
