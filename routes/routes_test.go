package routes

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"signalbox/config"
	"signalbox/internal/exchange"
	"signalbox/internal/fault"
)

// nothing counts nothing.
type nothing struct{}

func (nothing) ObserveExchange(*exchange.Record, time.Duration) {}
func (nothing) Inflight(float64)                                {}

func deps(log io.Writer) Deps {
	l := logrus.New()
	l.SetOutput(log)
	cfg := config.Default()
	return Deps{Current: func() (*Generation, func()) { panic("sk-secret-0123456789 in a panic") }, Config: func() *config.Config { return cfg }, Meter: nothing{},
		Rejected: func(string) {}, Panicked: func() {}, Metrics: http.NotFoundHandler(), Ledger: func() string { return "ok" }, ConfigError: func() *string { return nil },
		Draining: func() bool { return false }, Status: func() any { return nil }, Reload: func() error { return nil }, Log: l, Now: time.Now, Version: "test", MaxInflight: 4, Queue: 1}
}

// TestEveryKindHasARow walks the kinds: one without a row would be a status of 0.
func TestEveryKindHasARow(t *testing.T) {
	for k := fault.Internal; k <= fault.Canceled; k++ {
		r, ok := table[k]
		if !ok || r.status < 400 || !strings.HasSuffix(r.kind, "_error") && r.kind != "request_too_large" {
			t.Errorf("%s has the row %+v", k, r)
		}
	}
	if len(table) != int(fault.Canceled)+1 {
		t.Errorf("the table has %d rows for %d kinds", len(table), fault.Canceled+1)
	}
}

// TestEveryRouteHasItsChain fails when a line of the timetable names no chain, when a chain that guards something is empty, or
// when work could reach an upstream past admission and accounting (S6).
func TestEveryRouteHasItsChain(t *testing.T) {
	h := &handlers{d: deps(io.Discard)}
	h.chains = chainsOf(h.d)
	for _, r := range timetable {
		chain, ok := h.chains[r.chain]
		if !ok {
			t.Errorf("%s %s has no chain", r.methods, r.path)
		}
		if r.chain != chainOpen && len(chain) == 0 {
			t.Errorf("%s %s passes nothing", r.methods, r.path)
		}
		work := strings.Contains(r.path, "messages") || strings.Contains(r.path, ":provider")
		if work && (r.chain != chainWork || len(chain) < 3) {
			t.Errorf("%s %s may reach an upstream without admission and accounting", r.methods, r.path)
		}
		if strings.HasPrefix(r.path, "/admin/") && r.chain != chainAdmin {
			t.Errorf("%s %s is open to all", r.methods, r.path)
		}
		if strings.Contains(r.methods, "GET") && strings.Contains(r.path, "reload") {
			t.Errorf("%s %s changes state by GET", r.methods, r.path)
		}
	}
	known := map[string]bool{}
	for _, r := range timetable {
		for _, m := range strings.Fields(r.methods) {
			known[m+" "+r.path] = true
		}
	}
	for _, r := range engine(h.d).Routes() {
		if !known[r.Method+" "+r.Path] {
			t.Errorf("gin serves %s %s, which is not in the timetable", r.Method, r.Path)
		}
	}
}

// TestPanic proves F104 and T11: the caller hears of an internal error, the log has the stack and no header.
func TestPanic(t *testing.T) {
	var log strings.Builder
	s := httptest.NewServer(New(deps(&log)))
	defer s.Close()
	ctx, stop := context.WithTimeout(t.Context(), 5*time.Second)
	defer stop()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, s.URL+"/v1/messages?k=sk-secret-query", strings.NewReader("{}"))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Api-Key", "sk-secret-header")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 500 || !strings.Contains(string(body), `"api_error"`) || !strings.Contains(string(body), resp.Header.Get("X-Signalbox-Request-Id")) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	s.Close()
	if text := log.String(); strings.Contains(text, "sk-secret") || strings.Contains(string(body), "sk-secret") || !strings.Contains(text, "routes_test.go") {
		t.Errorf("log: %s", text)
	}
}
