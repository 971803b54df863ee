package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"signalbox/internal/exchange"
	"signalbox/internal/ledger"
	"signalbox/internal/messages"
	"signalbox/internal/money"
)

// costsEnv is a state directory with a ledger in it, and a clock that stands at an afternoon.
type costsEnv struct {
	t   *testing.T
	dir string
	now time.Time
}

func newCostsEnv(t *testing.T) *costsEnv {
	y, m, d := time.Now().Date()
	return &costsEnv{t, t.TempDir(), time.Date(y, m, d, 15, 0, 0, 0, time.Local)}
}

func (e *costsEnv) run(args ...string) (string, error) {
	e.t.Helper()
	var out bytes.Buffer
	env := &Env{Stdout: &out, Stderr: io.Discard, StateDir: func() (string, error) { return e.dir, nil }, Now: func() time.Time { return e.now }}
	cmd := newCostsCommand(env)
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(io.Discard)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(context.Background())
	return out.String(), err
}

func (e *costsEnv) must(args ...string) string {
	e.t.Helper()
	out, err := e.run(args...)
	if err != nil {
		e.t.Fatal(err)
	}
	return out
}

// spend writes three attempts of today and one of three days ago.
func (e *costsEnv) spend() {
	e.t.Helper()
	l, err := ledger.Start(e.dir, ledger.Options{Port: 1})
	if err != nil {
		e.t.Fatal(err)
	}
	ctx := context.Background()
	for _, a := range []struct {
		id, request, provider, model, agent string
		at                                  time.Time
		s                                   ledger.Settlement
	}{
		{"a1", "r1", "anthropic", "claude-haiku-4-5", "oss:reviewer", e.now.Add(-3 * time.Hour), ledger.Settlement{State: exchange.Settled, Outcome: "ok", Cost: 4_500_000, Priced: true, Price: "v1", Usage: messages.Usage{Input: 1200, Output: 300, CacheRead: 5000}}},
		{"a2", "r2", "ollama", "qwen3:8b", "", e.now.Add(-2 * time.Hour), ledger.Settlement{State: exchange.Settled, Outcome: "ok", Priced: true, Price: "local", Usage: messages.Usage{Input: 10, Output: 20}}},
		{"a3", "r3", "lab", "new\x1b[31m", "", e.now.Add(-time.Hour), ledger.Settlement{State: exchange.Estimated, Outcome: "timeout", Usage: messages.Usage{Input: 7}}},
		{"a4", "r4", "anthropic", "claude-haiku-4-5", "", e.now.AddDate(0, 0, -3), ledger.Settlement{State: exchange.Settled, Outcome: "ok", Cost: 1e9, Priced: true, Price: "v1"}},
	} {
		in := ledger.Intent{ID: exchange.AttemptID(a.id), RequestID: a.request, Provider: a.provider, Model: a.model, Agent: a.agent, Key: "ci", Session: "s", Time: a.at}
		a.s.ID, a.s.Time = in.ID, a.at
		if err := errors.Join(l.Open(ctx, in), l.Settle(ctx, a.s)); err != nil {
			e.t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		e.t.Fatal(err)
	}
}

func TestCostsNothingYet(t *testing.T) {
	e := newCostsEnv(t)
	out := e.must()
	for _, want := range []string{"Nothing yet", "signalbox serve", "--since 7d"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in:\n%s", want, out)
		}
	}
	out = e.must("--json")
	if !strings.Contains(out, `"rows":[],"total":{"requests":0`) {
		t.Errorf("json of nothing: %s", out)
	}
}

func TestCostsTable(t *testing.T) {
	e := newCostsEnv(t)
	e.spend()
	out := e.must("--by", "provider,model")
	want := strings.ReplaceAll(`PROVIDER   MODEL             REQUESTS  INPUT  OUTPUT  CACHED                  COST
anthropic  claude-haiku-4-5         1  1,200     300   5,000             $0.004500
lab        new�[31m                 1      7       0       0              unpriced
ollama     qwen3:8b                 1     10      20       0                 $0.00
──────────────────────────────────────────────────────────────────────────────────
total                               3  1,217     320   5,000  ~$0.004500 + unpriced
`, "\t", "")
	_, table, _ := strings.Cut(out, "\n\n")
	// Widths follow the content; compare cells, and alignment by the ends of lines.
	squeeze := func(s string) string { return strings.Join(strings.Fields(strings.ReplaceAll(s, "─", "")), " ") }
	table, legend, _ := strings.Cut(table, "\n\n")
	if squeeze(table) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", table, want)
	}
	lines := strings.Split(strings.TrimSpace(table), "\n")
	for _, l := range lines {
		if len([]rune(l)) != len([]rune(lines[0])) {
			t.Errorf("the last column is ragged:\n%s", table)
		}
	}
	if !strings.Contains(legend, "no price is known for 1 attempt;") || !strings.Contains(legend, "~ holds estimates: 1 attempt ") {
		t.Errorf("legend %q", legend)
	}
	if strings.Contains(out, "\x1b") {
		t.Error("a model's name reached the terminal as an escape")
	}
}

func TestCostsJSON(t *testing.T) {
	e := newCostsEnv(t)
	e.spend()
	var r struct {
		Since, Until time.Time
		By           []string
		Rows         []map[string]any
		Total        map[string]any
	}
	if err := json.Unmarshal([]byte(e.must("--json")), &r); err != nil {
		t.Fatal(err)
	}
	if !r.Since.Equal(time.Date(e.now.Year(), e.now.Month(), e.now.Day(), 0, 0, 0, 0, time.Local)) || !r.Until.Equal(e.now) || strings.Join(r.By, ",") != "agent,model" || len(r.Rows) != 3 {
		t.Errorf("got %+v", r)
	}
	first := r.Rows[0]
	if len(first) != 12 || first["agent"] != "oss:reviewer" || first["model"] != "claude-haiku-4-5" || first["cost_nanousd"] != 4.5e6 || first["cache_read_tokens"] != 5000.0 {
		t.Errorf("row %v", first)
	}
	for name, want := range map[string]float64{"requests": 3, "attempts": 3, "input_tokens": 1217, "output_tokens": 320, "thinking_tokens": 0, "cache_read_tokens": 5000, "cache_write_tokens": 0, "cost_nanousd": 4_500_000, "estimated": 1, "unpriced": 1} {
		if r.Total[name] != want {
			t.Errorf("total %s is %v, want %v", name, r.Total[name], want)
		}
	}
	lines := strings.Split(strings.TrimSpace(e.must("--rows", "--json")), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines", len(lines))
	}
	var row map[string]any
	if err := json.Unmarshal([]byte(lines[2]), &row); err != nil {
		t.Fatal(err)
	}
	if cost, there := row["cost_nanousd"]; !there || cost != nil || row["state"] != "estimated" || row["attempt_id"] != "a3" || len(row) != 17 {
		t.Errorf("unpriced row %v", row)
	}
}

func TestCostsCSV(t *testing.T) {
	e := newCostsEnv(t)
	e.spend()
	out := e.must("--csv", "--by", "key", "--since", "7d")
	want := "key,requests,attempts,input_tokens,output_tokens,thinking_tokens,cache_read_tokens,cache_write_tokens,cost_nanousd,estimated,unpriced\nci,4,4,1217,320,0,5000,0,1004500000,1,1\n"
	if out != want {
		t.Errorf("got %q", out)
	}
	if out := e.must("--csv", "--rows"); strings.Count(out, "\n") != 4 || !strings.Contains(out, ",,\n") {
		t.Errorf("rows %q", out)
	}
}

func TestCostsReset(t *testing.T) {
	e := newCostsEnv(t)
	e.spend()
	e.must("--reset")
	if out := e.must(); !strings.Contains(out, "Nothing yet since "+e.now.Format("2006-01-02 15:04")) {
		t.Errorf("after a reset:\n%s", out)
	}
	if out := e.must("--since", "today", "--csv"); strings.Count(out, "\n") != 4 {
		t.Errorf("a reset hid rows from --since:\n%s", out)
	}
	e.now = e.now.AddDate(0, 0, 1)
	if out := e.must(); !strings.Contains(out, "since "+e.now.Format("2006-01-02")+" 00:00") {
		t.Errorf("the day after a reset counts from midnight:\n%s", out)
	}
}

func TestParseSince(t *testing.T) {
	zone := time.FixedZone("here", 2*3600)
	now := time.Date(2026, 3, 10, 15, 30, 0, 0, zone)
	for in, want := range map[string]string{
		"today": "2026-03-10T00:00:00+02:00", "yesterday": "2026-03-09T00:00:00+02:00", "2026-03-01": "2026-03-01T00:00:00+02:00",
		"2026-03-01T12:30": "2026-03-01T12:30:00+02:00", "2026-03-01T12:30:00Z": "2026-03-01T12:30:00Z", "24h": "2026-03-09T15:30:00+02:00",
		"7d": "2026-03-03T15:30:00+02:00", "90m": "2026-03-10T14:00:00+02:00",
	} {
		if got, err := parseSince(in, now); err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: %s, %v; want %s", in, got.Format(time.RFC3339), err, want)
		}
	}
	for _, in := range []string{"soon", "-7d", "0d", "-1h", "2027-01-01", "2026-13-01", "7", "99999999d"} {
		if got, err := parseSince(in, now); err == nil {
			t.Errorf("%s was taken for %v", in, got)
		}
	}
}

func TestCostsUsage(t *testing.T) {
	e := newCostsEnv(t)
	for _, args := range [][]string{{"--by", "colour"}, {"--since", "soon"}, {"--json", "--csv"}, {"--rows", "--by", "day"}, {"--reset", "--since", "7d"}, {"extra"}} {
		_, err := e.run(args...)
		var exit *ExitError
		if err == nil || errors.As(err, &exit) && exit.Code != exitUsage || !errors.As(err, &exit) && codeOf(err) != exitUsage {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestDollars(t *testing.T) {
	for a, want := range map[money.Amount]string{0: "$0.00", 1: "<$0.000001", 999: "<$0.000001", 1000: "$0.000001", 4_500_000: "$0.004500", 999_999_999: "$1.000000", 1e9: "$1.0000", 12_345_678_901: "$12.35", 1_234_567_890_000_000: "$1,234,567.89"} {
		if got := dollars(a); got != want {
			t.Errorf("%d: %s, want %s", int64(a), got, want)
		}
	}
}
