// Package metrics is every metric of the gateway: its name, its labels, its buckets, on one page.
//
// It turns finished records into numbers and keeps label values bounded; when things are counted is the business of those who
// call it. Read New for the names, ObserveExchange for what one request adds, names.go for which names become labels.
// docs/metrics.md is printed from here.
package metrics

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"signalbox/internal/exchange"
)

const prefix = "signalbox_"

// Buckets in seconds. An agent's turn runs from milliseconds (a refusal) to many minutes (a long answer of a large model).
var (
	durationBuckets  = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600}
	firstByteBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 40, 80, 160}
	overheadBuckets  = []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1}
)

// Buckets of a share of the truth: a count within a twentieth is good, one that is off by half leads agents astray.
var errorBuckets = []float64{.01, .02, .05, .1, .2, .3, .5, 1, 2}

// Metrics counts what happens. All methods are safe for concurrent use.
type Metrics struct {
	// Names decides which provider and model names become labels.
	Names Names

	reg   prometheus.Registerer
	table []row // what New registered, for docs/metrics.md

	requests, counts, attempts, tokens, cost, unpriced, fallbacks, notes, rejected *prometheus.CounterVec
	duration, first, guesses                                                       *prometheus.HistogramVec
	overhead                                                                       prometheus.Histogram
	inflight, reload                                                               prometheus.Gauge
	up, circuit, build                                                             *prometheus.GaugeVec

	outcomes, fields words

	mu     sync.Mutex                       // guards the making of the next series
	series atomic.Pointer[map[pair]*series] // by label values; replaced whole
}

// series are the children of one (provider, model), resolved once: looking them up by label values costs more than counting.
type series struct {
	ok, attemptOK   prometheus.Counter
	duration, first prometheus.Observer
	tokens          [len(kinds)]prometheus.Counter
	// low and high are the provider's, for a guess below the truth and for one that is not.
	low, high func() prometheus.Observer
	// cost and unpriced appear with their first observation, so that a model without a price never shows a cost of zero.
	cost, unpriced func() prometheus.Counter
}

// The values of the label kind. Thinking tokens are part of the output tokens.
var kinds = [...]string{"input", "output", "cache_read", "cache_write", "thinking"}

// New registers all metrics with reg and panics when they are there already, which is a mistake of the program.
func New(reg prometheus.Registerer) *Metrics {
	m := &Metrics{reg: reg, outcomes: words{max: 100}, fields: words{max: 200}}
	m.requests = m.counter("requests_total", "Requests for an answer that have ended, by what became of them (ok, or the kind of failure).", "provider", "model", "outcome")
	m.duration = m.histogram("request_duration_seconds", "Time from the request's arrival to the end of its answer.", durationBuckets, "provider", "model")
	m.first = m.histogram("time_to_first_token_seconds", "Time from the request's arrival to the first frame of its answer.", firstByteBuckets, "provider", "model")
	m.overhead = m.histogram("gateway_overhead_seconds", "Time of a request that was not spent waiting for an upstream.", overheadBuckets).WithLabelValues().(prometheus.Histogram)
	m.inflight = m.gauge("inflight_requests", "Requests that are running now.").WithLabelValues()
	m.tokens = m.counter("tokens_total", "Tokens by kind (input, output, cache_read, cache_write, thinking). Input excludes cached tokens; thinking is part of output.", "provider", "model", "kind")
	m.cost = m.counter("cost_usd_total", "Cost in US dollars of attempts whose price is known; 0 for local models.", "provider", "model")
	m.unpriced = m.counter("unpriced_requests_total", "Requests that may have cost something for which no price is known. They are not in cost_usd_total.", "provider", "model")
	m.attempts = m.counter("upstream_attempts_total", "Requests sent to upstreams, by result (ok, or the kind of failure). Retries and fallbacks make them more than requests.", "provider", "model", "result")
	m.fallbacks = m.counter("fallbacks_total", "Switches from one target (provider/model) to the next of a written chain, by the failure that caused them.", "from", "to", "reason")
	m.counts = m.counter("count_requests_total", "Token counts (count_tokens) that have ended. They are no generations and are in none of the other request metrics.", "provider", "model", "outcome")
	m.guesses = m.histogram("estimate_error_ratio", "How far the estimate of a prompt's tokens, which count_tokens gives where nobody counts, was from the usage that the answer reported, as a share of that; side says whether it was too low, or not (high). Each answer is compared before it is learned from.", errorBuckets, "provider", "side")
	m.up = m.gauge("provider_up", "1 when the provider's last probe succeeded, else 0.", "provider")
	m.circuit = m.gauge("circuit_state", "State of a target's circuit breaker: 0 closed, 1 half open, 2 open.", "provider", "model")
	m.rejected = m.counter("rejected_total", "Requests refused at the door, by reason.", "reason")
	m.notes = m.counter("translation_notes_total", "Fields that a translation left out or carried in another form, by kind (dropped, approximated).", "provider", "field", "kind")
	m.reload = m.gauge("config_last_reload_successful", "1 when the last reading of the configuration succeeded, else 0: the gateway then runs on the one before.").WithLabelValues()
	m.build = m.gauge("build_info", "Always 1; the labels say which build this is.", "version", "goversion")
	// Ledger registers these two; they stand in the table from the start.
	m.note("ledger_queue_rows", "gauge", "Rows of the journal that are not in the book yet.")
	m.note("ledger_write_failures_total", "counter", "Writes to the journal or the book that failed.")
	return m
}

// ObserveExchange counts one ended request; duration runs from its arrival to the end of its answer.
func (m *Metrics) ObserveExchange(rec *exchange.Record, duration time.Duration) {
	for i := range rec.Attempts {
		if a := &rec.Attempts[i]; a.Outcome == ok {
			m.Names.Learn(a.Provider, a.Model)
		}
	}
	outcome := rec.Outcome
	if rec.Count {
		p, mod := m.Names.labels(rec.Provider, rec.Model)
		m.counts.WithLabelValues(p, mod, m.outcomes.label(outcome)).Inc()
		return
	}
	s, p, mod := m.of(rec.Provider, rec.Model)
	if outcome == ok {
		s.ok.Inc()
	} else {
		m.requests.WithLabelValues(p, mod, m.outcomes.label(outcome)).Inc()
	}
	s.duration.Observe(duration.Seconds())
	if rec.FirstFrame > 0 {
		s.first.Observe(rec.FirstFrame.Seconds())
	}
	m.overhead.Observe(max(0, duration-rec.Upstream).Seconds())
	m.observeAttempts(rec, s)
	if _, priced := rec.Cost(); !priced {
		s.unpriced().Inc()
	}
	for _, f := range rec.Fallbacks {
		m.fallbacks.WithLabelValues(m.target(f[0]), m.target(f[1]), m.outcomes.label(f[2])).Inc()
	}
	for _, n := range rec.Notes {
		p, _ := m.Names.labels(n[0], "")
		m.notes.WithLabelValues(p, m.fields.label(n[1]), m.fields.label(n[2])).Inc()
	}
}

// observeAttempts adds what each attempt used and cost to its own target. s is the answering target's series: mostly the same.
func (m *Metrics) observeAttempts(rec *exchange.Record, s *series) {
	for i := range rec.Attempts {
		a := &rec.Attempts[i]
		at := s
		if a.Provider != rec.Provider || a.Model != rec.Model {
			at, _, _ = m.of(a.Provider, a.Model)
		}
		if a.Outcome == ok {
			at.attemptOK.Inc()
		} else {
			p, mod := m.Names.labels(a.Provider, a.Model)
			m.attempts.WithLabelValues(p, mod, m.outcomes.label(a.Outcome)).Inc()
		}
		if a.State == exchange.Void {
			continue
		}
		u := &a.Usage
		for k, n := range [len(kinds)]int64{u.Input, u.Output, u.CacheRead, u.CacheWrite5m + u.CacheWrite1h, u.Thinking} {
			if n > 0 { // a counter panics on what is below zero
				at.tokens[k].Add(float64(n))
			}
		}
		if truth := u.Prompt(); a.Guess > 0 && truth > 0 {
			if off := float64(a.Guess-truth) / float64(truth); off < 0 {
				at.low().Observe(-off)
			} else {
				at.high().Observe(off)
			}
		}
		if a.Priced {
			at.cost().Add(max(0, a.Cost.Dollars()))
		}
	}
}

// Inflight adds delta to the requests that are running.
func (m *Metrics) Inflight(delta float64) { m.inflight.Add(delta) }

// ProviderUp says what the last probe of a configured provider found.
func (m *Metrics) ProviderUp(provider string, up bool) {
	m.Names.Allow(provider, "")
	p, _ := m.Names.labels(provider, "")
	m.up.WithLabelValues(p).Set(truth(up))
}

// Circuit sets the state of a target's breaker: 0 closed, 1 half open, 2 open. A model without a label of its own is left out,
// since several of them cannot share one state.
func (m *Metrics) Circuit(provider, model string, state float64) {
	if p, mod := m.Names.labels(provider, model); mod != Other && mod != None {
		m.circuit.WithLabelValues(p, mod).Set(state)
	}
}

// Forget removes the states of a provider that the configuration no longer names, or they would stand still for ever.
func (m *Metrics) Forget(provider string) {
	m.up.DeletePartialMatch(prometheus.Labels{"provider": provider})
	m.circuit.DeletePartialMatch(prometheus.Labels{"provider": provider})
}

// Rejected counts a request refused at the door; reason is one of our own words.
func (m *Metrics) Rejected(reason string) {
	m.rejected.WithLabelValues(m.outcomes.label(reason)).Inc()
}

// Reload says whether the configuration was read successfully. The first reading counts.
func (m *Metrics) Reload(ok bool) { m.reload.Set(truth(ok)) }

// BuildInfo names this build.
func (m *Metrics) BuildInfo(version, goversion string) {
	m.build.WithLabelValues(strings.ToValidUTF8(version, ""), strings.ToValidUTF8(goversion, "")).Set(1)
}

// Ledger registers the ledger's own figures, which are asked for at each scrape. It is called once, when the ledger is open.
func (m *Metrics) Ledger(queue func() int, failures func() int64) {
	m.reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + "ledger_queue_rows", Help: m.help("ledger_queue_rows")},
			func() float64 { return float64(queue()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{Name: prefix + "ledger_write_failures_total", Help: m.help("ledger_write_failures_total")},
			func() float64 { return float64(failures()) }),
	)
}

// NewRegistry is a registry of our own with the figures of the Go runtime and of the process, never the global one.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return reg
}

// Handler serves the registry as Prometheus and OpenMetrics.
func Handler(reg *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 8})
}

const ok = "ok"

// of gives the series of a target and its label values.
func (m *Metrics) of(provider, model string) (*series, string, string) {
	p, mod := m.Names.labels(provider, model)
	key := pair{p, mod}
	if all := m.series.Load(); all != nil {
		if s := (*all)[key]; s != nil {
			return s, p, mod
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next := map[pair]*series{}
	if all := m.series.Load(); all != nil {
		for k, s := range *all {
			next[k] = s
		}
	}
	s := next[key]
	if s == nil { // nobody was quicker
		s = m.resolve(p, mod)
		next[key] = s
		m.series.Store(&next)
	}
	return s, p, mod
}

func (m *Metrics) resolve(p, mod string) *series {
	s := &series{
		ok:        m.requests.WithLabelValues(p, mod, ok),
		attemptOK: m.attempts.WithLabelValues(p, mod, ok),
		duration:  m.duration.WithLabelValues(p, mod),
		first:     m.first.WithLabelValues(p, mod),
		cost:      sync.OnceValue(func() prometheus.Counter { return m.cost.WithLabelValues(p, mod) }),
		low:       sync.OnceValue(func() prometheus.Observer { return m.guesses.WithLabelValues(p, "low") }),
		high:      sync.OnceValue(func() prometheus.Observer { return m.guesses.WithLabelValues(p, "high") }),
		unpriced:  sync.OnceValue(func() prometheus.Counter { return m.unpriced.WithLabelValues(p, mod) }),
	}
	for i, k := range kinds {
		s.tokens[i] = m.tokens.WithLabelValues(p, mod, k)
	}
	return s
}

// target is the label value of a provider/model.
func (m *Metrics) target(t string) string {
	provider, model, _ := strings.Cut(t, "/")
	p, mod := m.Names.labels(provider, model)
	return p + "/" + mod
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// row is one metric as docs/metrics.md shows it.
type row struct {
	name, kind, help string
	labels           []string
}

func (m *Metrics) note(name, kind, help string, labels ...string) {
	m.table = append(m.table, row{prefix + name, kind, help, labels})
}

func (m *Metrics) help(name string) string {
	for _, r := range m.table {
		if r.name == prefix+name {
			return r.help
		}
	}
	return ""
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	m.note(name, "counter", help, labels...)
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
	m.reg.MustRegister(v)
	return v
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	m.note(name, "gauge", help, labels...)
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, labels)
	m.reg.MustRegister(v)
	return v
}

// histogram has classic buckets for every scraper, and native ones for those that ask for them.
func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	m.note(name, "histogram", help, labels...)
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: prefix + name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
	}, labels)
	m.reg.MustRegister(v)
	return v
}
