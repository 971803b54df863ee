package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"signalbox/config"
)

// S2, S3, S4, F79: who may speak to a gateway without keys.
func TestGate(t *testing.T) {
	s, ups := one(t, proper, func(c *config.Config) { c.AllowedHosts = []string{"SignalBox"} })
	_, port, _ := strings.Cut(s.addr, ":")
	const path = "/v1/openai/m/messages"
	for _, row := range []struct {
		it     string
		header []string
		status int
	}{
		{"takes its own address", nil, 200},
		{"takes localhost", []string{"Host", "localhost"}, 200},
		{"takes localhost at any port", []string{"Host", "localhost:9"}, 200},
		{"takes LOCALHOST.", []string{"Host", "LOCALHOST.:" + port}, 200},
		{"takes ::1", []string{"Host", "[::1]:3456"}, 200},
		{"takes ::1 without a port", []string{"Host", "[::1]"}, 200},
		{"takes an allowed name", []string{"Host", "signalbox:3456"}, 200},
		{"refuses a foreign name", []string{"Host", "evil.example"}, 403},
		{"refuses a suffix", []string{"Host", "localhost.evil.example"}, 403},
		{"refuses a prefix", []string{"Host", "evil-localhost"}, 403},
		{"refuses two dots", []string{"Host", "localhost..:3456"}, 403},
		{"refuses .local", []string{"Host", "mybox.local"}, 403},
		{"refuses a private address", []string{"Host", "192.168.0.7:3456"}, 403},
		{"refuses another loopback address", []string{"Host", "127.0.0.2:3456"}, 403},
		{"refuses 0.0.0.0", []string{"Host", "0.0.0.0:3456"}, 403},
		{"refuses a decimal address", []string{"Host", "2130706433"}, 403},
		{"refuses brackets around a name", []string{"Host", "[localhost]"}, 403},
		{"takes its own origin", []string{"Origin", "http://" + s.addr}, 200},
		{"refuses a foreign origin", []string{"Origin", "https://evil.example"}, 403},
		{"refuses another port's origin", []string{"Origin", "http://127.0.0.1:1"}, 403},
		{"refuses null", []string{"Origin", "null"}, 403},
		{"refuses an origin with a user", []string{"Origin", "http://evil@" + s.addr}, 403},
		{"refuses an origin with a path", []string{"Origin", "http://" + s.addr + "/x"}, 403},
		{"refuses a file's origin", []string{"Origin", "file://" + s.addr}, 403},
		{"refuses an extension's origin", []string{"Origin", "chrome-extension://abcdef"}, 403},
		{"takes a navigation", []string{"Sec-Fetch-Site", "none"}, 200},
		{"takes its own page", []string{"Sec-Fetch-Site", "same-origin"}, 200},
		{"refuses another site's page", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"refuses another page of the site", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"refuses a word nobody knows", []string{"Sec-Fetch-Site", "maybe"}, 403},
		{"takes a charset", []string{"Content-Type", "application/json; charset=utf-8"}, 200},
		{"takes a kind of JSON", []string{"Content-Type", "application/vnd.api+json"}, 200},
		{"refuses text", []string{"Content-Type", "text/plain"}, 415},
		{"refuses a form", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
		{"refuses a multipart form", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415},
		{"refuses a missing type", []string{"Content-Type", ""}, 415},
		{"refuses a compressed body", []string{"Content-Encoding", "gzip"}, 415},
		{"refuses JSON in words", []string{"Content-Type", "text/plain; application/json"}, 415},
		{"refuses a broken type", []string{"Content-Type", "application/json;;="}, 415},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			a := s.post(t, path, question(false), row.header...)
			if a.status != row.status {
				t.Fatalf("%d %s", a.status, a.text)
			}
			if want := map[int]string{403: "permission_error", 415: "invalid_request_error"}[row.status]; a.errorType() != want {
				t.Errorf("type %q", a.errorType())
			}
			for k := range a.header {
				if strings.HasPrefix(k, "Access-Control-") {
					t.Errorf("a CORS header: %s", k)
				}
			}
			if row.status == 403 {
				for _, p := range []string{"/health", "/metrics", "/livez", "/", "/v1/models", "/admin/v1/status", "/nowhere"} {
					if a := s.get(t, p, row.header...); a.status != 403 {
						t.Errorf("%s is exempt: %d", p, a.status)
					}
				}
			}
		})
	}
	if a := s.post(t, "/v1/filesystem/m/messages", question(false), "Content-Type", "multipart/form-data; boundary=x"); a.status != 415 {
		t.Errorf("a form reaches what only looks like Anthropic's files: %d", a.status)
	}
	if a := s.ask(t, http.MethodOptions, path, "", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST"); a.status != 403 {
		t.Errorf("a preflight: %d", a.status)
	}
	n := 0
	for _, r := range ups["openai"].Requests() {
		if strings.HasPrefix(r.Target, "/chat") {
			n++
		}
	}
	if n == 0 || n > 12 {
		t.Errorf("%d requests reached the upstream", n)
	}
}

func TestAdminGate(t *testing.T) {
	open := newStand(t, nil)
	locked := newStand(t, func(c *config.Config) {
		c.AdminKey = config.NewSecret("the-admin-key")
		c.MetricsKey = config.NewSecret("the-metrics-key")
		c.AllowedHosts = []string{"signalbox"}
	})
	for _, row := range []struct {
		it     string
		s      *stand
		path   string
		header []string
		status int
	}{
		{"lets this machine in", open, "/admin/v1/status", nil, 200},
		{"refuses a proxy's word", open, "/admin/v1/status", []string{"X-Forwarded-For", "127.0.0.1"}, 403},
		{"refuses any forwarded header", open, "/admin/v1/status", []string{"X-Forwarded-Whatever", "x"}, 403},
		{"refuses Forwarded", open, "/admin/v1/status", []string{"Forwarded", "for=127.0.0.1"}, 403},
		{"refuses a foreign origin", open, "/admin/v1/status", []string{"Origin", "http://evil.example"}, 403},
		{"lets this machine in with a key set", locked, "/admin/v1/status", nil, 200},
		{"refuses an allowed name that is not loopback", locked, "/admin/v1/status", []string{"Host", "signalbox"}, 403},
		{"takes the admin key there", locked, "/admin/v1/status", []string{"Host", "signalbox", "X-Api-Key", "the-admin-key"}, 200},
		{"takes it as a bearer, through a proxy", locked, "/admin/v1/status", []string{"X-Forwarded-For", "1.2.3.4", "Authorization", "Bearer the-admin-key"}, 200},
		{"refuses a wrong key", locked, "/admin/v1/status", []string{"Host", "signalbox", "X-Api-Key", "the-admin-kez"}, 403},
		{"refuses the metrics key", locked, "/admin/v1/status", []string{"Host", "signalbox", "X-Api-Key", "the-metrics-key"}, 403},
		{"shows metrics without a key set", open, "/metrics", nil, 200},
		{"asks for the metrics key", locked, "/metrics", nil, 401},
		{"asks for it at /health", locked, "/health", nil, 401},
		{"takes it", locked, "/metrics", []string{"X-Api-Key", "the-metrics-key"}, 200},
		{"takes it as a bearer", locked, "/health", []string{"Authorization", "Bearer the-metrics-key"}, 503},
		{"refuses the admin key there", locked, "/metrics", []string{"X-Api-Key", "the-admin-key"}, 401},
		{"never asks a probe for it", locked, "/livez", nil, 200},
		{"never asks the other probe", locked, "/readyz", nil, 200},
		{"never asks a client's probe", locked, "/api/hello", nil, 200},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			a := row.s.get(t, row.path, row.header...)
			if a.status != row.status {
				t.Fatalf("%d %s", a.status, a.text)
			}
			if a.status >= 400 && a.status != 503 && gjson.Get(a.text, "type").String() != "error" {
				t.Errorf("not an envelope: %s", a.text)
			}
			if strings.Contains(a.text, "the-admin-key") || strings.Contains(a.text, "the-metrics-key") {
				t.Error("the answer holds a key")
			}
		})
	}
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		if a := open.ask(t, method, "/admin/v1/reload", ""); a.status != 405 {
			t.Errorf("%s of what changes something: %d", method, a.status)
		}
	}
}

// No redirects, JSON for everything that is not there, and HEAD where there is GET.
func TestPaths(t *testing.T) {
	s, ups := one(t, proper, nil)
	client := &http.Client{Transport: callers.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, row := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 200}, {"HEAD", "/", 200}, {"GET", "/api/hello", 200}, {"HEAD", "/api/hello", 200}, {"HEAD", "/v1/openai/m/api/hello", 200}, {"GET", "/v1/openai/m", 200},
		{"GET", "/livez", 200}, {"HEAD", "/livez", 200}, {"HEAD", "/metrics", 200}, {"GET", "/v1/models", 200}, {"HEAD", "/v1/models", 200},
		{"GET", "/v1/models/signalbox%2Fecho", 200}, {"GET", "/v1/models/signalbox/echo", 200}, {"GET", "/v1/models/nobody/x", 404}, {"GET", "/v1/models/x%2", 400},
		{"GET", "/v1/openai/m/v1/models", 200}, {"GET", "/v1/openai/m/v1/models?limit=1000", 200}, {"GET", "/v1/models?limit=0", 400}, {"GET", "/v1/models?limit=x", 400},
		{"POST", "/v1/openai/m/messages", 200}, {"POST", "/v1/openai/m/v1/messages", 200}, {"POST", "/v1/openai/m/messages?beta=true&x=%zz", 200},
		{"POST", "/v1/openai/m/messages/count_tokens", 200}, {"POST", "/v1/openai/m/v1/messages/count_tokens", 200},
		{"POST", "/v1/openai%2Fa%2Fb:c@d+e/messages", 200}, {"POST", "/v1/openai/a/b/c/d/e/f/messages", 200}, {"POST", "/v1/openai/messages/messages", 200}, {"POST", "/v1/openai/v1/v1/messages", 200},
		{"GET", "/v1/messages", 405}, {"HEAD", "/v1/messages", 405}, {"PUT", "/v1/messages", 405}, {"DELETE", "/v1/openai/m/messages", 405}, {"GET", "/v1/openai/m/v1/messages", 405},
		{"GET", "/v1/messages/count_tokens", 405}, {"DELETE", "/v1/messages/count_tokens", 405}, {"POST", "/v1/models", 405}, {"POST", "/v1/models/x", 405}, {"DELETE", "/v1/models/x", 405},
		{"POST", "/livez", 405}, {"POST", "/metrics", 405}, {"POST", "/", 405},
		{"POST", "/v1/openai/messages", 400}, {"POST", "/v1/openai/v1/messages", 400}, {"POST", "/v1/messages/", 404}, {"POST", "/v1//messages", 400},
		{"POST", "/v1/nobody/m/messages", 404}, {"GET", "/nowhere", 404}, {"GET", "/v1", 404}, {"GET", "/v2/messages", 404}, {"POST", "/v1/openai/m", 404}, {"POST", "/v1/openai/m/completions", 404},
		{"GET", "/livez/", 404}, {"GET", "/LIVEZ", 404}, {"GET", "/V1/models", 404}, {"GET", "//livez", 404}, {"GET", "/v1/../livez", 400}, {"POST", "/v1/messages/batches", 404}, {"GET", "/v1/files", 404},
		{"POST", "/v1/openai/m/v1/messages/batches", 404}, {"GET", "/v1/nobody/m/v1/models", 404},
		// S12, F78: hostile names
		{"POST", "/v1/openai/%ff/messages", 400}, {"POST", "/v1/openai/%00/messages", 400}, {"POST", "/v1/openai/a%0d%0ab/messages", 400}, {"POST", "/v1/openai/../messages", 400},
		{"POST", "/v1/openai/..%2f..%2fadmin/messages", 400}, {"POST", "/v1/openai/a/./b/messages", 400}, {"POST", "/v1/openai/a//b/messages", 400}, {"POST", "/v1/openai/%2561/messages", 400},
		{"POST", "/v1/openai/-m/messages", 400}, {"POST", "/v1/openai/.m/messages", 400}, {"POST", "/v1/openai/a b/messages", 400}, {"POST", "/v1/openai/é/messages", 400}, {"POST", "/v1/openai/a%5cb/messages", 400},
		{"POST", "/v1/openai/a/b/c/d/e/f/g/messages", 400}, {"POST", "/v1/openai/" + strings.Repeat("a", 257) + "/messages", 400}, {"POST", "/v1/%6fpenai/m/messages", 200}, {"POST", "/v1/..%2f/m/messages", 400},
		{"POST", "/v1/openai/m%", 400}, {"POST", "/v1/" + strings.Repeat("a", 300) + "/m/messages", 400}, {"POST", "/v1//openai/m/messages", 400},
		{"POST", "/v1/files/../../admin", 400}, {"GET", "/v1/files/%2e%2e/x", 400}, {"GET", "/v1/files/%ff", 400},
	} {
		t.Run(row.method+" "+clipped(row.path), func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), row.method, s.url+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			raw, query, _ := strings.Cut(row.path, "?")
			req.URL.Opaque, req.URL.RawQuery = "//"+s.addr+strings.ReplaceAll(strings.ReplaceAll(raw, " ", "%20"), "é", "%c3%a9"), query
			if row.method == "POST" || row.method == "PUT" {
				body := question(false)
				req.Body, req.ContentLength = http.NoBody, 0
				req, _ = http.NewRequestWithContext(t.Context(), row.method, s.url+"/", strings.NewReader(body))
				req.URL.Opaque, req.URL.RawQuery = "//"+s.addr+strings.ReplaceAll(strings.ReplaceAll(raw, " ", "%20"), "é", "%c3%a9"), query
				req.Header.Set("Content-Type", "application/json")
			}
			resp, err := client.Do(req)
			if err != nil {
				if row.status == 400 && strings.Contains(row.path, "m%") {
					return // net/http answers this one itself
				}
				t.Fatal(err)
			}
			defer resp.Body.Close()
			text := readAll(t, resp)
			// A bare answer of net/http: the path cannot be read at all.
			if resp.StatusCode == 400 && row.status == 400 && resp.Header.Get("X-Signalbox-Request-Id") == "" && strings.HasPrefix(text, "400 Bad Request") {
				return
			}
			if resp.StatusCode != row.status {
				t.Fatalf("%d %s", resp.StatusCode, clipped(text))
			}
			if resp.Header.Get("X-Signalbox-Request-Id") == "" {
				t.Error("no request id")
			}
			if row.status >= 400 && row.method != "HEAD" && gjson.Get(text, "type").String() != "error" {
				t.Errorf("not an envelope: %s", clipped(text))
			}
			if row.method == "HEAD" && text != "" {
				t.Errorf("HEAD has a body: %s", text)
			}
		})
	}
	for _, r := range ups["openai"].Requests() {
		if strings.Contains(r.Target, "..") || strings.Contains(r.Target, "%") {
			t.Errorf("a hostile path went up: %s", r.Target)
		}
	}
	metrics := s.scrape(t)
	for _, bad := range []string{"aaaaaaaa", "\\x", "..", "nobody"} {
		for _, line := range strings.Split(metrics, "\n") {
			if strings.HasPrefix(line, "signalbox_") && strings.Contains(line, `"`+bad) {
				t.Errorf("a hostile name is a label: %s", line)
			}
		}
	}
}

func readAll(t testing.TB, resp *http.Response) string {
	t.Helper()
	var b strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := resp.Body.Read(buf)
		b.Write(buf[:n])
		if err != nil {
			return b.String()
		}
	}
}
