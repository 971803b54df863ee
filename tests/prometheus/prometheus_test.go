// Package prometheus lets a real Prometheus scrape a real gateway after real traffic, with the files of deploy/, and runs every
// query of the Grafana dashboard against it: a panel that shows nothing is a panel that lies.
package prometheus

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	dashboardFile = "../../deploy/grafana/dashboards/signalbox.json"
	// mayBeEmpty begins the description of a panel that shows nothing while all is well.
	mayBeEmpty = "Empty is good news: "
	patience   = 60 * time.Second
)

type panel struct {
	Title, Type, Description string
	Targets                  []struct{ Expr string }
}

func dashboard(t *testing.T) []panel {
	t.Helper()
	text, err := os.ReadFile(dashboardFile)
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		UID    string
		Panels []panel
	}
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if d.UID != "signalbox" || len(d.Panels) == 0 {
		t.Fatalf("uid %q with %d panels", d.UID, len(d.Panels))
	}
	return slices.DeleteFunc(d.Panels, func(p panel) bool { return p.Type == "row" })
}

// Every metric that the dashboard and the alerts name exists: a misspelt one would be empty for ever, and an alert on it silent.
func TestNames(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(signalbox_[a-z0-9_]+)`").FindAllSubmatch(page, -1) {
		known[string(m[1])] = true
	}
	for _, file := range []string{dashboardFile, "../../deploy/alerts.yml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		names := regexp.MustCompile(`signalbox_[a-z0-9_]+`).FindAllString(string(text), -1)
		if len(names) == 0 {
			t.Errorf("%s names no metric", file)
		}
		for _, n := range names {
			if !known[n] && !known[strings.TrimSuffix(n, "_bucket")] {
				t.Errorf("%s: there is no metric %s", file, n)
			}
		}
	}
}

func TestDashboard(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("SIGNALBOX_REQUIRE_REAL") == "1" {
			t.Fatal("no Prometheus, but SIGNALBOX_REQUIRE_REAL=1 asks for one (Debian: apt-get install prometheus)")
		}
		t.Skip("skipped: no Prometheus (Debian: apt-get install prometheus)")
	}
	dir := t.TempDir()
	gateway := startGateway(t, dir)
	prom := startPrometheus(t, program, dir, gateway)

	// A rate needs a counter that grows between two scrapes, so traffic goes on while the panels are asked.
	sent := traffic(t, gateway)
	open := map[string]panel{}
	for _, p := range dashboard(t) {
		for _, q := range p.Targets {
			open[q.Expr] = p
		}
	}
	if len(open) < 20 {
		t.Fatalf("only %d queries", len(open))
	}
	quiet := map[string]bool{} // asked at least once without an error, and allowed to be empty
	tick, end := time.NewTicker(300*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for waiting := len(open); waiting > 0; {
		select {
		case <-tick.C:
			sent += traffic(t, gateway)
			waiting = 0
			for expr, p := range open {
				switch answered := hasData(t, prom, expr); {
				case answered:
					delete(open, expr)
				case strings.HasPrefix(p.Description, mayBeEmpty):
					quiet[expr] = true
				default:
					waiting++
				}
			}
		case <-end:
			for expr, p := range open {
				if !quiet[expr] {
					t.Errorf("%s shows nothing: %s", p.Title, expr)
				}
			}
			t.FailNow()
		}
	}
	for _, p := range open {
		t.Logf("%s is empty, as it may be", p.Title)
	}
	exact(t, prom, sent)
	rules(t, prom)
}

// exact compares what Prometheus has with what was sent, once the last request is scraped.
func exact(t *testing.T, prom string, sent int) {
	n := float64(sent)
	for expr, want := range map[string]float64{
		`sum(signalbox_requests_total{provider="signalbox",model="echo",outcome="ok"})`:             n,
		`sum(signalbox_count_requests_total)`:                                                       n,
		`sum(signalbox_tokens_total{provider="paid",kind="input"})`:                                 1000 * n,
		`sum(signalbox_tokens_total{provider="paid",kind="output"})`:                                200 * n,
		`sum(signalbox_cost_usd_total{provider="paid"})`:                                            n * (1000*3 + 200*15) / 1e6,
		`sum(signalbox_cost_usd_total{provider="signalbox"})`:                                       0,
		`sum(signalbox_unpriced_requests_total{provider="free"})`:                                   n * 2, // asked directly, and as the fallback
		`sum(signalbox_cost_usd_total{provider="free"}) or vector(-1)`:                              -1,    // unpriced is not zero
		`sum(signalbox_fallbacks_total{from=~"down/.*",to="free/plain"})`:                           n,
		`sum(signalbox_time_to_first_token_seconds_count{provider="paid"})`:                         n,
		`sum(signalbox_translation_notes_total{provider="paid",field="top_k",kind="dropped"})`:      n,
		`sum(signalbox_requests_total{model="no-such-model",provider="paid"}) or vector(-1)`:        -1, // a stranger's name is no label
		`sum(signalbox_requests_total{model="other",provider="paid",outcome="not_found"})`:          n,
		`sum(signalbox_inflight_requests)`:                                                          0,
		`sum(up{job="signalbox"})`:                                                                  1,
		`sum(signalbox_provider_up{provider="paid"}) - sum(signalbox_provider_up{provider="down"})`: 1,
	} {
		var got float64
		if !eventually(func() bool {
			v, ok := number(t, prom, expr)
			got = v
			return ok && math.Abs(v-want) < 1e-9
		}) {
			t.Errorf("%s is %v, want %v", expr, got, want)
		}
	}
}

// rules: Prometheus could evaluate each alert.
func rules(t *testing.T, prom string) {
	var answer struct {
		Data struct {
			Groups []struct {
				Rules []struct{ Name, Health, LastError string }
			}
		}
	}
	if !eventually(func() bool {
		get(t, prom+"/api/v1/rules", &answer)
		return len(answer.Data.Groups) > 0 && !slices.ContainsFunc(answer.Data.Groups[0].Rules, func(r struct{ Name, Health, LastError string }) bool { return r.Health != "ok" })
	}) {
		t.Errorf("rules: %+v", answer)
	}
}

// eventually asks again until it is true or patience ends.
func eventually(holds func() bool) bool {
	tick, end := time.NewTicker(200*time.Millisecond), time.After(patience/2)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-end:
			return false
		}
	}
	return true
}

// traffic sends one request of every sort and gives the number of rounds, 1.
func traffic(t *testing.T, gateway string) int {
	t.Helper()
	const ask = `{"model":"m","max_tokens":50,"top_k":4,"messages":[{"role":"user","content":"say this again"}]}`
	const streamed = `{"model":"m","max_tokens":50,"top_k":4,"stream":true,"messages":[{"role":"user","content":"say this again"}]}`
	for _, r := range []struct {
		path, body, host string
		status           int
	}{
		{"/v1/signalbox/echo/messages", streamed, "", 200},
		{"/v1/signalbox/echo/messages/count_tokens", ask, "", 200},
		{"/v1/paid/plain/messages", streamed, "", 200},
		{"/v1/paid/no-such-model/messages", ask, "", 404},
		{"/v1/free/plain/messages", ask, "", 200},
		{"/v1/down/plain/messages", ask, "", 200},
		{"/v1/signalbox/echo/messages", ask, "rebound.example", 403},
	} {
		req, err := http.NewRequest("POST", gateway+r.path, strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Host = r.host
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != r.status {
			t.Fatalf("%s: %d %v %s", r.path, res.StatusCode, err, body)
		}
	}
	res, err := http.Get(gateway + "/health") // probes the providers
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return 1
}

func hasData(t *testing.T, prom, expr string) bool {
	expr = strings.NewReplacer("$__rate_interval", "20s", "$provider", ".*").Replace(expr)
	_, ok := number(t, prom, expr)
	return ok
}

// number is the first finite value that a query gives.
func number(t *testing.T, prom, expr string) (float64, bool) {
	t.Helper()
	var answer struct {
		Status, Error string
		Data          struct{ Result []struct{ Value [2]any } }
	}
	get(t, prom+"/api/v1/query?query="+url.QueryEscape(expr), &answer)
	if answer.Status != "success" {
		t.Fatalf("%s: %s", expr, answer.Error)
	}
	for _, r := range answer.Data.Result {
		if s, ok := r.Value[1].(string); ok {
			if v, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
				return v, true
			}
		}
	}
	return 0, false
}

func get(t *testing.T, address string, into any) {
	t.Helper()
	res, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// startGateway starts a gateway with a scripted OpenAI-format upstream in three roles (priced, unpriced, and as the fallback
// of one that is down) and gives its address.
func startGateway(t *testing.T, dir string) string {
	t.Helper()
	binary := os.Getenv("SIGNALBOX_BIN")
	if binary == "" {
		binary = filepath.Join(dir, "signalbox")
		if out, err := exec.Command("go", "build", "-C", "../..", "-tags", "nomsgpack", "-o", binary, "./cmd/signalbox").CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
	}
	upstream := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(upstream.Close)
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
default: paid/plain
providers:
  paid: {kind: openai, base_url: "%[1]s/v1", api_key: sk-test}
  free: {kind: openai, base_url: "%[1]s/v1", api_key: sk-test}
  down: {kind: openai, base_url: "http://127.0.0.1:1/v1", api_key: sk-test}
prices: {"paid/*": {input: 3, output: 15}}
fallbacks: {"down/*": [free/plain]}
`, upstream.URL), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "serve", "--config", config, "--port", "0", "--json")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "SIGNALBOX_STATE_DIR="+filepath.Join(dir, "state"))
	out := start(t, cmd)
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var said struct{ URL string }
	if err != nil || json.Unmarshal(line, &said) != nil || said.URL == "" {
		t.Fatalf("the gateway says %q, %v", line, err)
	}
	return said.URL
}

// answer is the upstream: 1000 tokens in and 200 out, whole or streamed.
func answer(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Model  string
		Stream bool
	}
	if r.URL.Path == "/v1/models" {
		io.WriteString(w, `{"object":"list","data":[{"id":"plain","object":"model"}]}`)
		return
	}
	_ = json.NewDecoder(r.Body).Decode(&q)
	const usage = `{"prompt_tokens":1000,"completion_tokens":200,"total_tokens":1200}`
	switch {
	case q.Model != "plain":
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"error":{"message":"The model does not exist","code":"model_not_found"}}`)
	case q.Stream:
		w.Header().Set("Content-Type", "text/event-stream")
		io.WriteString(w, `data: {"choices":[{"index":0,"delta":{"content":"yes"},"finish_reason":null}]}

data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: {"choices":[],"usage":`+usage+`}

data: [DONE]

`)
	default:
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"choices":[{"index":0,"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}],"usage":`+usage+`}`)
	}
}

// startPrometheus starts the server with the configuration of deploy/, its target and its interval replaced.
func startPrometheus(t *testing.T, program, dir, gateway string) string {
	t.Helper()
	config, err := os.ReadFile("../../deploy/prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	for old, now := range map[string]string{"signalbox:3456": strings.TrimPrefix(gateway, "http://"), "_interval: 15s": "_interval: 1s"} {
		if !bytes.Contains(config, []byte(old)) {
			t.Fatalf("deploy/prometheus.yml has no %q", old)
		}
		config = bytes.ReplaceAll(config, []byte(old), []byte(now))
	}
	alerts, err := os.ReadFile("../../deploy/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"prometheus.yml": config, "alerts.yml": alerts} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	start(t, exec.Command(program, "--config.file="+filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path="+filepath.Join(dir, "series"),
		"--web.listen-address="+address, "--log.level=warn"))
	prom := "http://" + address
	if !eventually(func() bool {
		res, err := http.Get(prom + "/-/ready")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	}) {
		t.Fatal("Prometheus did not start")
	}
	return prom
}

// start starts a program that ends with the test, and shows what it said when the test failed.
func start(t *testing.T, cmd *exec.Cmd) io.Reader {
	t.Helper()
	said := &bytes.Buffer{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", cmd.Path, err)
		}
		if t.Failed() {
			text := said.String()
			t.Logf("%s said:\n%s", cmd.Path, text[max(0, len(text)-4000):])
		}
	})
	return out
}
