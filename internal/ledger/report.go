package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"signalbox/internal/exchange"
	"signalbox/internal/money"
)

// Groups are the words that a report can group by.
var Groups = []string{"agent", "model", "provider", "key", "session", "day"}

// Sum is what a report counts. A request counts once, however many attempts it took; Unpriced is attempts whose cost is not
// known, and is not in Cost.
type Sum struct {
	Requests   int64        `json:"requests"`
	Attempts   int64        `json:"attempts"`
	Input      int64        `json:"input_tokens"`
	Output     int64        `json:"output_tokens"`
	Thinking   int64        `json:"thinking_tokens"`
	CacheRead  int64        `json:"cache_read_tokens"`
	CacheWrite int64        `json:"cache_write_tokens"`
	Cost       money.Amount `json:"cost_nanousd"`
	Estimated  int64        `json:"estimated"`
	Unpriced   int64        `json:"unpriced"`
}

func (s *Sum) add(x *Sum) {
	s.Requests += x.Requests
	s.Attempts += x.Attempts
	s.Input += x.Input
	s.Output += x.Output
	s.Thinking += x.Thinking
	s.CacheRead += x.CacheRead
	s.CacheWrite += x.CacheWrite
	s.Cost += x.Cost
	s.Estimated += x.Estimated
	s.Unpriced += x.Unpriced
}

// Report is sums by group.
type Report struct {
	Since, Until time.Time
	By           []string
	Rows         []Group // the dearest first
	Total        Sum
}

// Group is one row of a report; Names are the values of Report.By, in its order.
type Group struct {
	Names []string
	Sum
}

// Row is one attempt.
type Row struct {
	ID         exchange.AttemptID `json:"attempt_id"`
	RequestID  string             `json:"request_id"`
	Time       time.Time          `json:"time"`
	Provider   string             `json:"provider"`
	Model      string             `json:"model"`
	Agent      string             `json:"agent"`
	Key        string             `json:"key"`
	Session    string             `json:"session"`
	State      exchange.State     `json:"state"`
	Outcome    string             `json:"outcome"`
	Input      int64              `json:"input_tokens"`
	Output     int64              `json:"output_tokens"`
	Thinking   int64              `json:"thinking_tokens"`
	CacheRead  int64              `json:"cache_read_tokens"`
	CacheWrite int64              `json:"cache_write_tokens"`
	Cost       *money.Amount      `json:"cost_nanousd"` // nil when no price is known, and while the attempt runs
	Price      string             `json:"price_version"`
	Fallback   string             `json:"fallback,omitempty"` // "target; reason" of the attempt that this one stands in for
}

// endOfTime stands for a window without an end; far enough, and days before it still fit in an int64.
var endOfTime = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// longestDay in any zone, in the nights when clocks change.
const longestDay = 26 * time.Hour

// part is a choice of rows from one table.
type part struct {
	table string
	where string
	args  []any
}

// parts splits a window: days that lie wholly inside come from the roll-up, the ends from the rows. Rows and cells carry
// their day's two instants, so that nothing is counted twice also when gateways in different zones wrote them.
func parts(since, until time.Time, s Scope) []part {
	from, to := since.UnixNano(), until.UnixNano()
	cells := part{"daily", "day * 1000000000 >= ? AND day_end * 1000000000 <= ?", []any{from, to}}
	head := part{"attempts", "time >= ? AND time < ? AND day * 1000000000 < ?", []any{from, min(to, from+int64(longestDay)), from}}
	tail := part{"attempts", "time >= ? AND time < ? AND day * 1000000000 >= ? AND day_end * 1000000000 > ?", []any{max(from, to-int64(longestDay)), to, from, to}}
	all := []part{cells, head, tail}
	for i := range all {
		all[i].scope(s)
	}
	return all
}

func (p *part) scope(s Scope) {
	for _, c := range []struct{ column, value string }{{"key", s.Key}, {"agent", s.Agent}, {"provider", s.Provider}, {"model", s.Model}} {
		if c.value != "" {
			p.where += " AND " + c.column + " = ?"
			p.args = append(p.args, c.value)
		}
	}
}

func span(since, until time.Time) (time.Time, time.Time) {
	if until.IsZero() || until.After(endOfTime) {
		until = endOfTime
	}
	if since.Before(time.Unix(0, 0)) {
		since = time.Unix(0, 0)
	}
	return since, until
}

// Spend is what was spent in a window; attempts without a known price are not in it.
func (b *Book) Spend(ctx context.Context, s Scope, w Window) (money.Amount, error) {
	since, until := span(w.Since, w.Until)
	var sum money.Amount
	tx, err := b.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	for _, p := range parts(since, until, s) {
		var n sql.NullInt64
		if err := tx.QueryRowContext(ctx, "SELECT sum(cost) FROM "+p.table+" WHERE "+p.where, p.args...).Scan(&n); err != nil {
			return 0, err
		}
		sum += money.Amount(n.Int64)
	}
	return sum, nil
}

const (
	cellSums = "sum(singles), sum(attempts), sum(input), sum(output), sum(thinking), sum(cache_read), sum(cache_write), sum(cost), sum(estimated), sum(unpriced)"
	rowSums  = "sum(NOT EXISTS (SELECT 1 FROM retried r WHERE r.id = attempts.id)), count(*), sum(input), sum(output), sum(thinking), sum(cache_read), sum(cache_write_5m + cache_write_1h), " +
		"coalesce(sum(cost), 0), sum(state = 'estimated'), sum(cost IS NULL AND state <> 'open')"
)

// Report sums the attempts of [since, until) by the named groups; a zero until is no end. Sessions are in the rows alone, so
// that a report by session goes as far back as rows are kept.
func (b *Book) Report(ctx context.Context, since, until time.Time, by []string) (*Report, error) {
	for _, g := range by {
		if !slices.Contains(Groups, g) {
			return nil, fmt.Errorf("ledger: cannot group by %q; known are %s", g, strings.Join(Groups, ", "))
		}
	}
	r := &Report{Since: since, Until: until, By: by}
	since, until = span(since, until)
	choice := parts(since, until, Scope{})
	if slices.Contains(by, "session") {
		choice = []part{{"attempts", "time >= ? AND time < ?", []any{since.UnixNano(), until.UnixNano()}}}
	}
	tx, err := b.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true}) // all parts of one moment
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	t := tally{by: by, groups: map[string]*Group{}}
	for _, p := range choice {
		sums := cellSums
		if p.table == "attempts" {
			sums = rowSums
		}
		if err := t.collect(ctx, tx, p, sums); err != nil {
			return nil, err
		}
	}
	for _, g := range t.groups {
		r.Total.add(&g.Sum)
	}
	// A request of several attempts counts once in each group that it touched, and once in the total.
	total, err := t.requests(ctx, tx, since, until)
	if err != nil {
		return nil, err
	}
	r.Total.Requests += total
	for _, g := range t.groups {
		r.Rows = append(r.Rows, *g)
	}
	slices.SortFunc(r.Rows, func(a, b Group) int {
		if i := slices.Index(by, "day"); i >= 0 && a.Names[i] != b.Names[i] {
			return strings.Compare(a.Names[i], b.Names[i])
		}
		if a.Cost != b.Cost {
			return int(max(-1, min(1, b.Cost-a.Cost)))
		}
		if a.Attempts != b.Attempts {
			return int(max(-1, min(1, b.Attempts-a.Attempts)))
		}
		return slices.Compare(a.Names, b.Names)
	})
	return r, nil
}

// tally gathers groups from several queries.
type tally struct {
	by     []string
	groups map[string]*Group
}

func (t *tally) columns() string {
	cols := make([]string, 0, len(t.by)+1)
	for _, g := range t.by {
		if g == "day" {
			g = "(day + day_end) / 2" // noon falls on the right date in nearly every zone
		}
		cols = append(cols, g)
	}
	return strings.Join(cols, ", ")
}

func (t *tally) group(names []any) *Group {
	g := Group{Names: make([]string, len(names))}
	for i, n := range names {
		switch v := n.(type) {
		case int64:
			g.Names[i] = time.Unix(v, 0).Format(time.DateOnly)
		case string:
			g.Names[i] = v
		case []byte:
			g.Names[i] = string(v)
		}
	}
	key := strings.Join(g.Names, "\x00")
	if have := t.groups[key]; have != nil {
		return have
	}
	t.groups[key] = &g
	return &g
}

func (t *tally) collect(ctx context.Context, tx *sql.Tx, p part, sums string) error {
	query := "SELECT " + sums + " FROM " + p.table + " WHERE " + p.where + " HAVING count(*) > 0"
	if len(t.by) > 0 {
		query = "SELECT " + sums + ", " + t.columns() + " FROM " + p.table + " WHERE " + p.where + " GROUP BY " + t.columns()
	}
	rows, err := tx.QueryContext(ctx, query, p.args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var s Sum
		names := make([]any, len(t.by))
		to := []any{&s.Requests, &s.Attempts, &s.Input, &s.Output, &s.Thinking, &s.CacheRead, &s.CacheWrite, &s.Cost, &s.Estimated, &s.Unpriced}
		for i := range names {
			to = append(to, &names[i])
		}
		if err := rows.Scan(to...); err != nil {
			return err
		}
		t.group(names).Sum.add(&s)
	}
	return rows.Err()
}

// requests adds to each group the requests of several attempts that touched it, and gives how many there are in all.
func (t *tally) requests(ctx context.Context, tx *sql.Tx, since, until time.Time) (int64, error) {
	const from = " FROM retried WHERE time >= ? AND time < ?"
	args := []any{since.UnixNano(), until.UnixNano()}
	var total int64
	if err := tx.QueryRowContext(ctx, "SELECT count(DISTINCT request_id)"+from, args...).Scan(&total); err != nil || total == 0 {
		return 0, err
	}
	query := "SELECT count(DISTINCT request_id)" + from
	if len(t.by) > 0 {
		query = "SELECT count(DISTINCT request_id), " + t.columns() + from + " GROUP BY " + t.columns()
	}
	rows, err := tx.QueryContext(ctx, query, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var n int64
		names := make([]any, len(t.by))
		to := []any{&n}
		for i := range names {
			to = append(to, &names[i])
		}
		if err := rows.Scan(to...); err != nil {
			return 0, err
		}
		t.group(names).Requests += n
	}
	return total, rows.Err()
}

// Rows gives the attempts of [since, until) by the time they were opened; a zero until is no end. An error ends it.
func (b *Book) Rows(ctx context.Context, since, until time.Time) iter.Seq2[Row, error] {
	since, until = span(since, until)
	return func(yield func(Row, error) bool) {
		rows, err := b.db.QueryContext(ctx, `SELECT id, request_id, time, provider, model, agent, key, session, state, outcome, input, output, thinking, cache_read,
			cache_write_5m + cache_write_1h, cost, price, fallback FROM attempts WHERE time >= ? AND time < ? ORDER BY time, id`, since.UnixNano(), until.UnixNano())
		if err != nil {
			yield(Row{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var r Row
			var at int64
			var cost sql.NullInt64
			if err := rows.Scan(&r.ID, &r.RequestID, &at, &r.Provider, &r.Model, &r.Agent, &r.Key, &r.Session, &r.State, &r.Outcome, &r.Input, &r.Output, &r.Thinking,
				&r.CacheRead, &r.CacheWrite, &cost, &r.Price, &r.Fallback); err != nil {
				yield(Row{}, err)
				return
			}
			r.Time = time.Unix(0, at)
			if cost.Valid {
				a := money.Amount(cost.Int64)
				r.Cost = &a
			}
			if !yield(r, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Row{}, err)
		}
	}
}
