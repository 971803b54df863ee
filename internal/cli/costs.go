package cli

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"signalbox/config"
	"signalbox/internal/exchange"
	"signalbox/internal/ledger"
	"signalbox/internal/money"
)

// costs is one call of the command: what was asked, and the clock's answer to when.
type costs struct {
	env   *Env
	since string
	by    []string
	rows  bool
	reset bool
	csv   bool
	json  bool
}

// newCostsCommand reads the ledger. It asks no gateway: a running one brings its journal into the book within a second, and
// the journals of those that are gone are brought in here.
func newCostsCommand(env *Env) *cobra.Command {
	c := &costs{env: env}
	cmd := &cobra.Command{
		Use:   "costs",
		Short: "What the requests have cost, by agent, model, provider, key, session or day",
		Long: `costs reads the ledger: one row for every attempt at an upstream, whatever became of it.
A price that nobody knows is shown as "unpriced", which is not $0.00. "~" marks sums that hold estimates.`,
		Example: `  signalbox costs                          today, by agent and model
  signalbox costs --since 7d --by day      the last seven days, day by day
  signalbox costs --since 2026-11-01 --by provider,model --csv
  signalbox costs --rows --json            every attempt of today, one object a line
  signalbox costs --reset                  count from now on; no row is deleted`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&c.since, "since", "", `beginning: a date (2026-11-01), a time (2026-11-01T15:04), or how long ago (24h, 7d) (default: today, or the last --reset if that was later)`)
	f.BoolVar(&c.rows, "rows", false, "print every attempt instead of sums")
	f.StringSliceVar(&c.by, "by", []string{"agent", "model"}, "group by "+strings.Join(ledger.Groups, ", "))
	f.BoolVar(&c.reset, "reset", false, "begin the count anew; earlier rows stay and are shown with --since")
	f.BoolVar(&c.csv, "csv", false, "print CSV")
	f.BoolVar(&c.json, "json", false, "print JSON")
	cmd.MarkFlagsMutuallyExclusive("csv", "json")
	cmd.MarkFlagsMutuallyExclusive("rows", "by")
	cmd.MarkFlagsMutuallyExclusive("reset", "rows")
	cmd.MarkFlagsMutuallyExclusive("reset", "by")
	cmd.MarkFlagsMutuallyExclusive("reset", "since")
	cmd.MarkFlagsMutuallyExclusive("reset", "csv")
	return cmd
}

func (c *costs) run(cmd *cobra.Command) error {
	ctx, now := cmd.Context(), c.env.Now()
	if ctx == nil {
		ctx = context.Background()
	}
	by, err := groups(c.by)
	if err != nil {
		return fail(exitUsage, err)
	}
	var since time.Time
	if c.since != "" {
		if since, err = parseSince(c.since, now); err != nil {
			return fail(exitUsage, err)
		}
	}
	dir, err := c.env.StateDir()
	if err != nil {
		return err
	}
	upToDate(ctx, c.env, dir)
	book, err := ledger.OpenBook(dir)
	if err != nil {
		return err
	}
	defer book.Close()
	if c.reset {
		if err := book.Reset(ctx, now); err != nil {
			return err
		}
		if c.json {
			return c.line(map[string]string{"reset": now.Format(time.RFC3339)})
		}
		_, err := fmt.Fprintf(c.env.Stdout, "Counting from now on. Earlier rows are kept; --since shows them.\n")
		return err
	}
	if c.since == "" {
		y, m, d := now.Date()
		since = time.Date(y, m, d, 0, 0, 0, 0, now.Location())
		mark, err := book.Mark(ctx)
		if err != nil {
			return err
		}
		if mark.After(since) {
			since = mark.In(now.Location())
		}
	}
	if c.rows {
		return c.printRows(ctx, book, since)
	}
	r, err := book.Report(ctx, since, time.Time{}, by)
	if err != nil {
		return err
	}
	r.Until = now
	switch {
	case c.json:
		return c.line((*reportJSON)(r))
	case c.csv:
		return c.printCSV(r)
	}
	return c.printTable(r)
}

// groups checks the words of --by; twice the same is once.
func groups(by []string) ([]string, error) {
	out := []string{}
	for _, g := range by {
		g = strings.ToLower(strings.TrimSpace(g))
		known, have := false, false
		for _, k := range ledger.Groups {
			known = known || g == k
		}
		if !known {
			return nil, fmt.Errorf("--by %s: known are %s", g, strings.Join(ledger.Groups, ", "))
		}
		for _, o := range out {
			have = have || o == g
		}
		if !have {
			out = append(out, g)
		}
	}
	return out, nil
}

// parseSince reads a date or time in the zone of now, or how long before now.
func parseSince(s string, now time.Time) (time.Time, error) {
	y, m, d := now.Date()
	midnight := time.Date(y, m, d, 0, 0, 0, 0, now.Location())
	switch s {
	case "today":
		return midnight, nil
	case "yesterday":
		return midnight.AddDate(0, 0, -1), nil
	case "all":
		return time.Unix(0, 0).In(now.Location()), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return past(s, t, now)
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02T15:04:05", time.DateTime} {
		if t, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return past(s, t, now)
		}
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 && n < 100_000 {
			return now.AddDate(0, 0, -n), nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		return now.Add(-d), nil
	}
	return time.Time{}, fmt.Errorf("--since %s: give a date (2026-11-01), a time (2026-11-01T15:04), how long ago (24h, 7d), today, yesterday or all", s)
}

func past(s string, t, now time.Time) (time.Time, error) {
	if t.After(now) {
		return t, fmt.Errorf("--since %s lies in the future", s)
	}
	return t, nil
}

func (c *costs) line(v any) error {
	e := json.NewEncoder(c.env.Stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// reportJSON gives each row its groups as members, in the order that was asked for.
type reportJSON ledger.Report

func (r *reportJSON) MarshalJSON() ([]byte, error) {
	rows := make([]json.RawMessage, len(r.Rows))
	for i := range r.Rows {
		b := []byte("{")
		for j, g := range r.By {
			b = append(append(append(appendQuoted(b, g), ':'), quoted(r.Rows[i].Names[j])...), ',')
		}
		sum, err := json.Marshal(r.Rows[i].Sum)
		if err != nil {
			return nil, err
		}
		rows[i] = append(b, sum[1:]...)
	}
	return json.Marshal(struct {
		Since time.Time         `json:"since"`
		Until time.Time         `json:"until"`
		By    []string          `json:"by"`
		Rows  []json.RawMessage `json:"rows"`
		Total ledger.Sum        `json:"total"`
	}{r.Since.Truncate(time.Second), r.Until.Truncate(time.Second), r.By, rows, r.Total})
}

func appendQuoted(dst []byte, s string) []byte { return append(dst, quoted(s)...) }

func quoted(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always can
		return []byte(`""`)
	}
	return b
}

var sumNames = []string{"requests", "attempts", "input_tokens", "output_tokens", "thinking_tokens", "cache_read_tokens", "cache_write_tokens", "cost_nanousd", "estimated", "unpriced"}

func (c *costs) printCSV(r *ledger.Report) error {
	w := csv.NewWriter(c.env.Stdout)
	records := [][]string{append(append([]string{}, r.By...), sumNames...)}
	for i := range r.Rows {
		s := &r.Rows[i].Sum
		record := append([]string{}, r.Rows[i].Names...)
		for _, n := range []int64{s.Requests, s.Attempts, s.Input, s.Output, s.Thinking, s.CacheRead, s.CacheWrite, int64(s.Cost), s.Estimated, s.Unpriced} {
			record = append(record, strconv.FormatInt(n, 10))
		}
		records = append(records, record)
	}
	return w.WriteAll(records)
}

// printTable is for people: sums by group, and the total.
func (c *costs) printTable(r *ledger.Report) error {
	if len(r.Rows) == 0 {
		return c.nothing(r.Since)
	}
	t := table{}
	for _, g := range r.By {
		t.head = append(t.head, column{strings.ToUpper(g), false})
	}
	for _, h := range []string{"REQUESTS", "INPUT", "OUTPUT", "CACHED", "COST"} {
		t.head = append(t.head, column{h, true})
	}
	add := func(names []string, s *ledger.Sum) {
		var cells []string
		for _, n := range names {
			cells = append(cells, shown(n))
		}
		t.rows = append(t.rows, append(cells, thousands(s.Requests), thousands(s.Input), thousands(s.Output), thousands(s.CacheRead+s.CacheWrite), costOf(s)))
	}
	for i := range r.Rows {
		add(r.Rows[i].Names, &r.Rows[i].Sum)
	}
	names := make([]string, len(r.By))
	for i := range names {
		names[i] = " "
	}
	if len(names) > 0 {
		names[0] = "total"
	}
	add(names, &r.Total)
	t.footer = true
	if _, err := fmt.Fprintf(c.env.Stdout, "Since %s\n\n", r.Since.Format("2006-01-02 15:04")); err != nil {
		return err
	}
	if err := t.print(c.env.Stdout); err != nil {
		return err
	}
	return c.legend(&r.Total)
}

// legend explains only what is on the page.
func (c *costs) legend(total *ledger.Sum) error {
	var lines []string
	if total.Unpriced > 0 {
		lines = append(lines, fmt.Sprintf("unpriced: no price is known for %s; give one under prices: in config.yaml (docs/costs.md)", attempts(total.Unpriced)))
	}
	if total.Estimated > 0 {
		lines = append(lines, fmt.Sprintf("~ holds estimates: %s ended without the upstream's own figures", attempts(total.Estimated)))
	}
	if len(lines) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(c.env.Stdout, "\n%s\n", strings.Join(lines, "\n"))
	return err
}

func attempts(n int64) string {
	if n == 1 {
		return "1 attempt"
	}
	return thousands(n) + " attempts"
}

func (c *costs) nothing(since time.Time) error {
	_, err := fmt.Fprintf(c.env.Stdout, `Nothing yet since %s.

A request through the gateway puts a row here, free ones too:
  signalbox serve
  curl http://127.0.0.1:3456/v1/signalbox/echo/messages -H 'content-type: application/json' \
    -d '{"model":"echo","max_tokens":64,"messages":[{"role":"user","content":"hello"}]}'
Further back: signalbox costs --since 7d
`, since.Format("2006-01-02 15:04"))
	return err
}

func (c *costs) printRows(ctx context.Context, book *ledger.Book, since time.Time) error {
	w := csv.NewWriter(c.env.Stdout)
	if c.csv {
		if err := w.Write([]string{"attempt_id", "request_id", "time", "provider", "model", "agent", "key", "session", "state", "outcome",
			"input_tokens", "output_tokens", "thinking_tokens", "cache_read_tokens", "cache_write_tokens", "cost_nanousd", "price_version", "fallback"}); err != nil {
			return err
		}
	}
	t := table{head: []column{{"TIME", false}, {"TARGET", false}, {"AGENT", false}, {"STATE", false}, {"OUTCOME", false}, {"INPUT", true}, {"OUTPUT", true}, {"COST", true}}}
	zone := c.env.Now().Location()
	for r, err := range book.Rows(ctx, since, time.Time{}) {
		if err != nil {
			return err
		}
		r.Time = r.Time.In(zone)
		switch {
		case c.json:
			err = c.line(r)
		case c.csv:
			err = w.Write(csvRow(&r))
		default:
			cost := "unpriced"
			switch {
			case r.Cost != nil:
				cost = dollars(*r.Cost)
			case r.State == exchange.Open:
				cost = ""
			}
			t.rows = append(t.rows, []string{r.Time.Format("01-02 15:04:05"), shown(r.Provider + "/" + r.Model), shown(r.Agent), string(r.State), shown(r.Outcome),
				thousands(r.Input), thousands(r.Output), cost})
		}
		if err != nil {
			return err
		}
	}
	switch {
	case c.json:
		return nil
	case c.csv:
		w.Flush()
		return w.Error()
	case len(t.rows) == 0:
		return c.nothing(since)
	}
	return t.print(c.env.Stdout)
}

func csvRow(r *ledger.Row) []string {
	cost := ""
	if r.Cost != nil {
		cost = strconv.FormatInt(int64(*r.Cost), 10)
	}
	n := func(i int64) string { return strconv.FormatInt(i, 10) }
	return []string{string(r.ID), r.RequestID, r.Time.Format(time.RFC3339Nano), r.Provider, r.Model, r.Agent, r.Key, r.Session, string(r.State), r.Outcome,
		n(r.Input), n(r.Output), n(r.Thinking), n(r.CacheRead), n(r.CacheWrite), cost, r.Price, r.Fallback}
}

// costOf never shows an unknown price as zero.
func costOf(s *ledger.Sum) string {
	text := dollars(s.Cost)
	if s.Estimated > 0 {
		text = "~" + text
	}
	switch {
	case s.Unpriced == 0:
		return text
	case s.Cost == 0:
		return "unpriced"
	}
	return text + " + unpriced"
}

// dollars shows what people can compare at a glance: cents from ten dollars on, millionths below.
func dollars(a money.Amount) string {
	digits, unit := 6, money.Amount(1_000)
	switch {
	case a == 0:
		return "$0.00"
	case a < unit:
		return "<$0.000001"
	case a >= 10e9:
		digits, unit = 2, 10_000_000
	case a >= 1e9:
		digits, unit = 4, 100_000
	}
	n := (a + unit/2) / unit
	scale := money.Amount(1)
	for range digits {
		scale *= 10
	}
	return fmt.Sprintf("$%s.%0*d", thousands(int64(n/scale)), digits, int64(n%scale))
}

func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// flushLimit is how long a gateway may take to write down what it has just done.
const flushLimit = 2 * time.Second

// upToDate has every gateway of the state directory bring its journal into the book: it does so by itself within a second, and who
// asks what the last request has cost should not have to wait. One that does not answer is no hindrance; its rows come later.
func upToDate(ctx context.Context, env *Env, state string) {
	ctx, cancel := context.WithTimeout(ctx, flushLimit)
	defer cancel()
	files, _ := filepath.Glob(filepath.Join(state, "proxy*.pid"))
	for _, file := range files {
		r, ok, err := readPID(file)
		if err != nil || !ok || !r.running(env) {
			continue
		}
		host, key := "127.0.0.1", config.Secret{}
		if cfg, err := load(env); err == nil {
			key = cfg.AdminKey
			if cfg.Port() == r.Port {
				host = cfg.Host()
			}
		}
		_, _ = admin(ctx, http.MethodPost, baseURL(host, r.Port)+"/admin/v1/flush", key, http.Header{}, nil)
	}
}

// shown makes a stranger's name safe for a terminal, and something of no name.
func shown(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// table aligns columns: names to the left, numbers to the right.
type table struct {
	head   []column
	rows   [][]string
	footer bool // the last row is a total
	color  bool // the head is set off by colour
}

type column struct {
	name  string
	right bool
}

func (t *table) print(w io.Writer) error {
	widths := make([]int, len(t.head))
	for i, h := range t.head {
		widths[i] = utf8.RuneCountInString(h.name)
		for _, r := range t.rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(r[i]))
		}
	}
	total := 2 * (len(widths) - 1)
	for _, n := range widths {
		total += n
	}
	var b strings.Builder
	line := func(cells []string) {
		var l strings.Builder
		for i, c := range cells {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i > 0 {
				l.WriteString("  ")
			}
			if t.head[i].right {
				l.WriteString(pad + c)
			} else {
				l.WriteString(c + pad)
			}
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	names := make([]string, len(t.head))
	for i, h := range t.head {
		names[i] = h.name
	}
	line(names)
	if head := b.String(); t.color {
		b.Reset()
		b.WriteString(paint(true, styleFaint, strings.TrimSuffix(head, "\n")) + "\n")
	}
	for i, r := range t.rows {
		if t.footer && i == len(t.rows)-1 {
			b.WriteString(strings.Repeat("─", total) + "\n")
		}
		line(r)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
