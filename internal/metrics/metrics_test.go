package metrics

import (
	"bytes"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"signalbox/internal/exchange"
	"signalbox/internal/messages"
	"signalbox/internal/money"
)

var update = flag.Bool("update", false, "rewrite docs/metrics.md")

func answered(provider, model string) *exchange.Record {
	return &exchange.Record{
		Provider: provider, Model: model, Outcome: "ok", Status: 200, FirstFrame: 30 * time.Millisecond, Upstream: 90 * time.Millisecond,
		Attempts: []exchange.Attempt{{
			Provider: provider, Model: model, Outcome: "ok", State: exchange.Settled, Priced: true, Cost: money.Amount(2_500_000),
			Usage: messages.Usage{Input: 10, Output: 20, Thinking: 5, CacheRead: 3, CacheWrite5m: 1, CacheWrite1h: 1},
		}},
	}
}

func TestObserveExchange(t *testing.T) {
	tests := []struct {
		name string
		rec  func() *exchange.Record
		want string // samples without histograms, in the registry's order
	}{
		{"it counts an answer with its tokens and its cost", func() *exchange.Record { return answered("ollama", "qwen3:8b") }, `
signalbox_cost_usd_total{model="qwen3:8b",provider="ollama"} 0.0025
signalbox_requests_total{model="qwen3:8b",outcome="ok",provider="ollama"} 1
signalbox_tokens_total{kind="cache_read",model="qwen3:8b",provider="ollama"} 3
signalbox_tokens_total{kind="cache_write",model="qwen3:8b",provider="ollama"} 2
signalbox_tokens_total{kind="input",model="qwen3:8b",provider="ollama"} 10
signalbox_tokens_total{kind="output",model="qwen3:8b",provider="ollama"} 20
signalbox_tokens_total{kind="thinking",model="qwen3:8b",provider="ollama"} 5
signalbox_upstream_attempts_total{model="qwen3:8b",provider="ollama",result="ok"} 1
`},
		{"it keeps a token count out of the generations", func() *exchange.Record {
			r := answered("anthropic", "claude-sonnet-4-5")
			r.Count = true
			return r
		}, `
signalbox_count_requests_total{model="claude-sonnet-4-5",outcome="ok",provider="anthropic"} 1
`},
		{"it shows no cost where no price is known", func() *exchange.Record {
			r := answered("lab", "m")
			r.Attempts[0].Priced = false
			r.Attempts[0].Cost = 0
			r.Attempts[0].Usage = messages.Usage{Input: 1}
			return r
		}, `
signalbox_requests_total{model="m",outcome="ok",provider="lab"} 1
signalbox_tokens_total{kind="input",model="m",provider="lab"} 1
signalbox_unpriced_requests_total{model="m",provider="lab"} 1
signalbox_upstream_attempts_total{model="m",provider="lab",result="ok"} 1
`},
		{"it gives a failed attempt to the target that failed", func() *exchange.Record {
			r := answered("openrouter", "m")
			r.Attempts[0].Usage, r.Attempts[0].Cost = messages.Usage{Output: 7}, 0
			r.Attempts = append([]exchange.Attempt{{Provider: "ollama", Model: "stranger", Outcome: "unreachable", State: exchange.Void}}, r.Attempts...)
			r.Fallbacks = [][3]string{{"ollama/stranger", "openrouter/m", "unreachable"}}
			r.Notes = [][3]string{{"openrouter", "top_k", "dropped"}}
			return r
		}, `
signalbox_cost_usd_total{model="m",provider="openrouter"} 0
signalbox_fallbacks_total{from="ollama/other",reason="unreachable",to="openrouter/m"} 1
signalbox_requests_total{model="m",outcome="ok",provider="openrouter"} 1
signalbox_tokens_total{kind="output",model="m",provider="openrouter"} 7
signalbox_translation_notes_total{field="top_k",kind="dropped",provider="openrouter"} 1
signalbox_upstream_attempts_total{model="m",provider="openrouter",result="ok"} 1
signalbox_upstream_attempts_total{model="other",provider="ollama",result="unreachable"} 1
`},
		{"it survives a request that was refused before anybody was chosen, and figures below zero", func() *exchange.Record {
			return &exchange.Record{Outcome: "invalid", Upstream: time.Hour, Attempts: []exchange.Attempt{
				{Provider: "ollama", Model: "\xff\xfe", Outcome: "bad\xff", Priced: true, Cost: -5, Usage: messages.Usage{Input: -1}}}}
		}, `
signalbox_cost_usd_total{model="other",provider="ollama"} 0
signalbox_requests_total{model="none",outcome="invalid",provider="none"} 1
signalbox_upstream_attempts_total{model="other",provider="ollama",result="other"} 1
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reg := prometheus.NewPedanticRegistry()
			m := New(reg)
			m.Names.Allow("ollama", "")
			m.ObserveExchange(tt.rec(), 100*time.Millisecond)
			if diff := cmp.Diff(strings.TrimSpace(tt.want), samples(t, reg)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestHistograms(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := New(reg)
	m.ObserveExchange(answered("ollama", "m"), 100*time.Millisecond)
	late := answered("ollama", "m")
	late.FirstFrame = 0
	m.ObserveExchange(late, 80*time.Millisecond) // less than its wait for the upstream, which rounding may cause
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range families {
		if h := f.Metric[0].GetHistogram(); h != nil {
			got[f.GetName()] = fmt.Sprintf("%d %.3f native=%v", h.GetSampleCount(), h.GetSampleSum(), h.Schema != nil)
		}
	}
	want := map[string]string{
		"signalbox_request_duration_seconds":    "2 0.180 native=true",
		"signalbox_time_to_first_token_seconds": "1 0.030 native=true",
		"signalbox_gateway_overhead_seconds":    "2 0.010 native=true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// How far an estimate was off is told apart by its side; what was not compared, or came to nothing, is not counted.
func TestEstimateError(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := New(reg)
	for _, row := range []struct {
		state exchange.State
		guess int64
	}{{exchange.Settled, 75}, {exchange.Settled, 100}, {exchange.Settled, 150}, {exchange.Settled, 0}, {exchange.Void, 75}} {
		rec := answered("ollama", "m")
		rec.Attempts[0].State, rec.Attempts[0].Guess, rec.Attempts[0].Usage = row.state, row.guess, messages.Usage{Input: 60, CacheRead: 40}
		m.ObserveExchange(rec, time.Second)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, f := range families {
		if f.GetName() != "signalbox_estimate_error_ratio" {
			continue
		}
		for _, x := range f.Metric {
			got[fmt.Sprint(x.Label)] = fmt.Sprintf("%d %.2f", x.Histogram.GetSampleCount(), x.Histogram.GetSampleSum())
		}
	}
	want := map[string]string{`[name:"provider" value:"ollama" name:"side" value:"low"]`: "1 0.25", `[name:"provider" value:"ollama" name:"side" value:"high"]`: "2 0.50"}
	if len(got) != len(want) {
		t.Errorf("%v", got)
	}
	for labels, figures := range got {
		if w := want[strings.ReplaceAll(labels, "  ", " ")]; w != figures { // the text form of a label has one blank or two
			t.Errorf("%s: %s, want %s", labels, figures, w)
		}
	}
}

func TestStates(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := New(reg)
	m.Names.Allow("ollama", "m")
	m.Inflight(1)
	m.Inflight(1)
	m.Inflight(-1)
	m.ProviderUp("ollama", true)
	m.ProviderUp("gone", false)
	m.Circuit("ollama", "m", 2)
	m.Circuit("ollama", "stranger", 1)
	m.Forget("gone")
	m.Rejected("host")
	m.Reload(true)
	m.BuildInfo("v1", "go1.26")
	m.Ledger(func() int { return 7 }, func() int64 { return 2 })
	want := `signalbox_build_info{goversion="go1.26",version="v1"} 1
signalbox_circuit_state{model="m",provider="ollama"} 2
signalbox_config_last_reload_successful{} 1
signalbox_inflight_requests{} 1
signalbox_ledger_queue_rows{} 7
signalbox_ledger_write_failures_total{} 2
signalbox_provider_up{provider="ollama"} 1
signalbox_rejected_total{reason="host"} 1`
	if diff := cmp.Diff(want, samples(t, reg)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	n := &Names{KnownFunc: func(p, m string) bool { return m == "listed" }}
	n.Allow("ollama", "configured")
	tests := []struct{ name, provider, model, want string }{
		{"it names what the configuration names", "ollama", "configured", "configured"},
		{"it names what a list names", "ollama", "listed", "listed"},
		{"it hides a stranger's name", "ollama", "x", Other},
		{"it says none for no model", "ollama", "", None},
		{"it hides bytes that are no text", "ollama", "a\xff", Other},
		{"it hides a name of another line", "ollama", "a\nb", Other},
		{"it hides a whole page", "ollama", strings.Repeat("a", 300), Other},
		{"it hides a stranger's provider", "evil", "configured", Other},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := n.Label(tt.provider, tt.model); got != tt.want {
				t.Errorf("Label(%q, %q) = %q, want %q", tt.provider, tt.model, got, tt.want)
			}
		})
	}
	if p, _ := n.labels("evil", "configured"); p != Other {
		t.Errorf("a stranger's provider became the label %q", p)
	}
}

// Names that answered successfully fill the table up to its limit, whoever asks at the same time.
func TestNamesAreBounded(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := New(reg)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 300 {
				m.ObserveExchange(answered("ollama", fmt.Sprintf("m%d-%d", w, i)), time.Millisecond)
				m.ObserveExchange(answered(fmt.Sprintf("p%d-%d", w, i), "m"), time.Millisecond)
				m.Rejected(fmt.Sprintf("r%d-%d", w, i))
			}
		}()
	}
	wg.Wait()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := map[string]int{}
	var sum float64
	for _, f := range families {
		series[f.GetName()] = len(f.Metric)
		if f.GetName() == "signalbox_requests_total" {
			for _, s := range f.Metric {
				sum += s.GetCounter().GetValue()
			}
		}
	}
	// 200 models and other of ollama, and the other 199 providers with one model each; the rest is other/other.
	if models, want := series["signalbox_requests_total"], MaxModels+1+MaxProviders-1+1; models > want || models < want-2 {
		t.Errorf("%d series of requests_total, want about %d", models, want)
	}
	if n := series["signalbox_rejected_total"]; n > 101 {
		t.Errorf("%d reasons", n)
	}
	if sum != 2400 {
		t.Errorf("requests_total sums to %v, want 2400: none may be lost", sum)
	}
}

func TestHandlerSpeaksBothForms(t *testing.T) {
	reg := NewRegistry()
	m := New(reg)
	m.ObserveExchange(answered("ollama", "m"), time.Second)
	for accept, want := range map[string]string{"": "signalbox_requests_total{", "application/openmetrics-text; version=1.0.0": "# EOF"} {
		req := httptest.NewRequest("GET", "/metrics", nil)
		req.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		Handler(reg).ServeHTTP(w, req)
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("Accept %q: no %q in the answer", accept, want)
		}
	}
}

// The table of docs/metrics.md is printed from the code; run with -update after a change.
func TestDocs(t *testing.T) {
	const page, begin, end = "../../docs/metrics.md", "<!-- table: printed by go test ./internal/metrics -update -->\n", "<!-- end of table -->"
	var b strings.Builder
	b.WriteString("| metric | type | labels | what it says |\n| --- | --- | --- | --- |\n")
	for _, r := range New(prometheus.NewRegistry()).table {
		labels := "–"
		if len(r.labels) > 0 {
			labels = "`" + strings.Join(r.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.name, r.kind, labels, r.help)
	}
	old, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := bytes.Cut(old, []byte(begin))
	_, tail, found2 := bytes.Cut(rest, []byte(end))
	if !found || !found2 {
		t.Fatalf("%s has lost the marks around its table", page)
	}
	fresh := string(head) + begin + b.String() + end + string(tail)
	if *update {
		if err := os.WriteFile(page, []byte(fresh), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(fresh, string(old)); diff != "" {
		t.Errorf("%s does not say what the code does; run go test ./internal/metrics -update (-want +got)\n%s", page, diff)
	}
}

func BenchmarkObserveExchange(b *testing.B) {
	m := New(prometheus.NewRegistry())
	rec := answered("ollama", "qwen3:8b")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			m.ObserveExchange(rec, 100*time.Millisecond)
		}
	})
}

// samples prints all counters and gauges that are not zero, and those without labels only when they were set.
func samples(t *testing.T, reg prometheus.Gatherer) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range families {
		for _, s := range f.Metric {
			v := s.GetCounter().GetValue() + s.GetGauge().GetValue()
			if s.Histogram != nil || v == 0 && f.GetName() != "signalbox_cost_usd_total" {
				continue
			}
			var labels []string
			for _, l := range s.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			lines = append(lines, fmt.Sprintf("%s{%s} %v", f.GetName(), strings.Join(labels, ","), v))
		}
	}
	return strings.Join(lines, "\n")
}
