package ledger

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/goleak"

	"signalbox/internal/exchange"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/money"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

func attempt(request, provider, model, agent string, at time.Time) Intent {
	return Intent{ID: exchange.AttemptID(uuid.Must(uuid.NewV7()).String()), RequestID: request, Provider: provider, Model: model, Agent: agent, Key: "ci", Session: "s1", Time: at}
}

func settled(id exchange.AttemptID, at time.Time, cost money.Amount) Settlement {
	return Settlement{ID: id, Time: at, State: exchange.Settled, Outcome: "ok", Usage: messages.Usage{Input: 10, Output: 5, Thinking: 2, CacheRead: 3, CacheWrite5m: 4, CacheWrite1h: 1, Known: true},
		Cost: cost, Priced: true, Price: "test"}
}

func start(t testing.TB, dir string, o Options) *Ledger {
	t.Helper()
	l, err := Start(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func book(t testing.TB, dir string) *Book {
	t.Helper()
	b, err := OpenBook(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() }) // twice is harmless
	return b
}

func allRows(t testing.TB, b *Book) []Row {
	t.Helper()
	var all []Row
	for r, err := range b.Rows(context.Background(), time.Time{}, time.Time{}) {
		must(t, err)
		all = append(all, r)
	}
	return all
}

// files lists what a state directory holds, without what SQLite keeps beside the book.
func files(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), bookName+"-") {
			names = append(names, e.Name())
		}
	}
	return names
}

func TestLedger(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	l := start(t, dir, Options{Port: 3456})
	now := time.Now()
	a := attempt("r1", "ollama", "qwen3:8b", "oss:reviewer", now)
	b := attempt("r1", "anthropic", "claude-haiku-4-5", "oss:reviewer", now.Add(time.Millisecond)) // the fallback of the same request
	c := attempt("r2", "anthropic", "claude-haiku-4-5", "", now.Add(2*time.Millisecond))
	d := attempt("r3", "lab", "new", "", now.Add(3*time.Millisecond))
	e := attempt("r4", "lab", "new", "", now.Add(4*time.Millisecond)) // still runs
	for _, in := range []Intent{a, b, c, d, e} {
		must(t, l.Open(ctx, in))
	}
	must(t, l.Settle(ctx, Settlement{ID: a.ID, Time: now, State: exchange.Void, Outcome: "unreachable"}))
	must(t, l.Settle(ctx, settled(b.ID, now, 1000)))
	must(t, l.Settle(ctx, settled(c.ID, now, 500)))
	must(t, l.Settle(ctx, settled(c.ID, now, 70_000))) // twice counts once
	unpriced := settled(d.ID, now, 0)
	unpriced.State, unpriced.Priced, unpriced.Price = exchange.Estimated, false, ""
	must(t, l.Settle(ctx, unpriced))
	must(t, l.Flush(ctx))
	if q := l.Queue(); q != 0 {
		t.Errorf("%d records in the queue after a flush", q)
	}
	if s := l.Status(); s != "ok" {
		t.Errorf("status %s", s)
	}

	bk := book(t, dir)
	midnight := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.Local)
	for _, window := range [][2]time.Time{{midnight, {}}, {now.Add(-time.Second), {}}, {midnight, now.Add(time.Second)}, {now.Add(-time.Second), now.Add(time.Second)}, {time.Time{}, {}}} {
		r, err := bk.Report(ctx, window[0], window[1], []string{"provider"})
		must(t, err)
		want := []Group{
			{[]string{"anthropic"}, Sum{2, 2, 20, 10, 4, 6, 10, 1500, 0, 0}},
			{[]string{"lab"}, Sum{2, 2, 10, 5, 2, 3, 5, 0, 1, 1}},
			{[]string{"ollama"}, Sum{1, 1, 0, 0, 0, 0, 0, 0, 0, 0}},
		}
		total := Sum{4, 5, 30, 15, 6, 9, 15, 1500, 1, 1} // r1 touched two providers and is one request
		if !slices.EqualFunc(r.Rows, want, func(a, b Group) bool { return a.Names[0] == b.Names[0] && a.Sum == b.Sum }) || r.Total != total {
			t.Errorf("window %v: got %+v total %+v", window, r.Rows, r.Total)
		}
		for _, by := range [][]string{nil, {"session"}, {"agent", "model", "provider", "key", "session", "day"}, {"day"}} {
			r, err := bk.Report(ctx, window[0], window[1], by)
			must(t, err)
			if r.Total != total {
				t.Errorf("by %v: total %+v, want %+v", by, r.Total, total)
			}
		}
	}
	rows := allRows(t, bk)
	if len(rows) != 5 || rows[0].State != exchange.Void || *rows[0].Cost != 0 || *rows[1].Cost != 1000 || rows[3].Cost != nil || rows[4].State != exchange.Open {
		t.Errorf("rows %+v", rows)
	}
	for _, tt := range []struct {
		s    Scope
		want money.Amount
	}{{Scope{}, 1500}, {Scope{Provider: "anthropic"}, 1500}, {Scope{Agent: "oss:reviewer"}, 1000}, {Scope{Key: "nobody"}, 0}} {
		if got, err := l.Spend(ctx, tt.s, Window{Since: midnight}); err != nil || got != tt.want {
			t.Errorf("spend of %+v: %d, %v", tt.s, got, err)
		}
	}
	if _, err := bk.Report(ctx, midnight, time.Time{}, []string{"model; DROP TABLE attempts"}); err == nil {
		t.Error("an unknown group was taken")
	}

	must(t, l.Close())
	must(t, l.Close())
	if rows := allRows(t, bk); rows[4].State != exchange.Estimated || rows[4].Outcome != "shutdown" || rows[4].Cost != nil {
		t.Errorf("what was open at the end: %+v", rows[4])
	}
	if err := l.Open(ctx, attempt("r", "p", "m", "", now)); fault.From(err).Kind != fault.Overloaded {
		t.Errorf("an intent after the end: %v", err)
	}
	if names := files(t, dir); !slices.Equal(names, []string{"ledger.db", "ledger.lock"}) {
		t.Errorf("a clean end left %v", names)
	}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	dir := t.TempDir()
	l := start(t, dir, Options{Port: 1})
	must(t, l.Flush(context.Background()))
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", e.Name(), info.Mode().Perm())
		}
	}
}

func TestOneJournalBelongsToOneProcess(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, Options{Port: 7})
	if _, err := openLocked(filepath.Join(dir, "journal-7"), 0); !errors.Is(err, errBusy) {
		t.Errorf("the journal of a living ledger could be locked: %v", err)
	}
	start(t, dir, Options{Port: 8}) // another port is another journal
	if _, err := Start(dir, Options{Port: 9, Sync: "sometimes"}); err == nil {
		t.Error("an unknown sync was taken")
	}
}

// TestReportLeavesLivingJournalsAlone: a report beside a running gateway must not declare its attempts crashed.
func TestReportLeavesLivingJournalsAlone(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	l := start(t, dir, Options{Port: 1})
	in := attempt("r", "p", "m", "", time.Now())
	must(t, l.Open(ctx, in))
	must(t, l.Flush(ctx))
	if rows := allRows(t, book(t, dir)); len(rows) != 1 || rows[0].State != exchange.Open {
		t.Fatalf("rows %+v", rows)
	}
	must(t, l.Settle(ctx, settled(in.ID, time.Now(), 9)))
	must(t, l.Flush(ctx))
	if rows := allRows(t, book(t, dir)); len(rows) != 1 || *rows[0].Cost != 9 {
		t.Fatalf("rows %+v", rows)
	}
}

// TestDaysAndPruning: sums over many days are the same from rows and from the roll-up, and stay when rows go.
func TestDaysAndPruning(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	now := time.Now()
	l := start(t, dir, Options{Port: 1})
	noon := time.Date(now.Year(), now.Month(), now.Day(), 12, 0, 0, 0, time.Local)
	for day := range 30 {
		for i := range 4 {
			at := noon.AddDate(0, 0, -day).Add(time.Duration(i) * time.Hour)
			in := attempt(fmt.Sprintf("r%d-%d", day, i/2), "p", fmt.Sprintf("m%d", i), "a", at)
			must(t, l.Open(ctx, in))
			must(t, l.Settle(ctx, settled(in.ID, at, 100)))
		}
	}
	must(t, l.Flush(ctx))
	bk := book(t, dir)
	check := func(since, until time.Time, by []string, requests, attempts int64) {
		t.Helper()
		r, err := bk.Report(ctx, since, until, by)
		must(t, err)
		if r.Total.Requests != requests || r.Total.Attempts != attempts || r.Total.Cost != money.Amount(attempts*100) {
			t.Errorf("since %v until %v by %v: %+v", since, until, by, r.Total)
		}
	}
	for _, by := range [][]string{{"model"}, {"day"}, {"session"}} {
		check(noon.AddDate(0, 0, -29), time.Time{}, by, 60, 120)
		check(noon.AddDate(0, 0, -9), noon.AddDate(0, 0, 1), by, 20, 40)
		check(noon.AddDate(0, 0, -9).Add(90*time.Minute), noon.Add(90*time.Minute), by, 18, 36) // both ends inside a day
	}
	must(t, bk.prune(ctx, noon.AddDate(0, 0, -9)))
	must(t, bk.prune(ctx, noon.AddDate(0, 0, -9)))
	if n := len(allRows(t, bk)); n != 40 {
		t.Errorf("%d rows are left", n)
	}
	check(time.Time{}, time.Time{}, []string{"model"}, 60, 120)
	check(noon.AddDate(0, 0, -9), time.Time{}, []string{"model"}, 20, 40)
	r, err := bk.Report(ctx, time.Time{}, time.Time{}, []string{"day"})
	must(t, err)
	if len(r.Rows) != 30 || r.Rows[29].Names[0] != noon.Format(time.DateOnly) {
		t.Errorf("days %v", r.Rows)
	}
}

func TestReset(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	bk := book(t, dir)
	if at, err := bk.Mark(ctx); err != nil || !at.IsZero() {
		t.Fatalf("mark %v %v", at, err)
	}
	now := time.Now()
	must(t, bk.Reset(ctx, now.Add(-time.Hour)))
	must(t, bk.Reset(ctx, now))
	if at, err := bk.Mark(ctx); err != nil || !at.Equal(now) {
		t.Errorf("mark %v %v", at, err)
	}
}

// TestRotation: files are set aside, brought in and removed while writing goes on.
func TestRotation(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	l := start(t, dir, Options{Port: 5, Sync: "interval"})
	var want int64
	for range 5 {
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 50 {
					in := attempt(uuid.NewString(), "p", "m", "", time.Now())
					if l.Open(ctx, in) != nil || l.Settle(ctx, settled(in.ID, time.Now(), 1)) != nil {
						t.Error("refused")
					}
				}
			})
		}
		must(t, l.journal.rotate()) // called by the filler alone in life; here it is idle enough to be safe under the lock
		wg.Wait()
		want += 200
		must(t, l.Flush(ctx))
	}
	if names := files(t, dir); !slices.Equal(names, []string{"journal-5", "ledger.db", "ledger.lock"}) {
		t.Errorf("files %v", names)
	}
	r, err := book(t, dir).Report(ctx, time.Time{}, time.Time{}, nil)
	must(t, err)
	if r.Total.Attempts != want || r.Total.Cost != money.Amount(want) || r.Total.Requests != want {
		t.Errorf("total %+v, want %d", r.Total, want)
	}
	if f := l.Failures(); f != 0 {
		t.Errorf("%d failures", f)
	}
}

// TestDiskFull (L5, F98): with a disk that refuses, records are kept, counted and said; when it takes them again, nothing is lost.
func TestDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip("skipped: no /dev/full here")
	}
	defer full.Close()
	ctx, dir := context.Background(), t.TempDir()
	l := start(t, dir, Options{Port: 5})
	must(t, l.Flush(ctx))
	swap := func(f *os.File) (old *os.File) {
		l.journal.mu.Lock()
		defer l.journal.mu.Unlock()
		old, l.journal.active.f = l.journal.active.f, f
		l.journal.lastTry = time.Time{}
		return old
	}
	good := swap(full)
	var ids []exchange.AttemptID
	for range 100 {
		in := attempt("", "p", "m", "", time.Now())
		must(t, l.Open(ctx, in))
		ids = append(ids, in.ID)
	}
	for _, id := range ids {
		must(t, l.Settle(ctx, settled(id, time.Now(), 3)))
	}
	if l.Status() != "degraded" || l.Failures() == 0 || l.Queue() != 200 {
		t.Errorf("status %s, failures %d, queue %d", l.Status(), l.Failures(), l.Queue())
	}
	if err := l.Flush(ctx); err == nil {
		t.Error("a flush that could not flush said nothing")
	}
	// Past the bound an attempt is refused, while what runs may still settle.
	in := attempt("", "p", "m", "", time.Now())
	must(t, l.Open(ctx, in))
	l.journal.mu.Lock()
	kept := l.journal.pending
	l.journal.pending = append(slices.Clone(kept), make([]byte, pendingBytes)...)
	l.journal.mu.Unlock()
	refused := l.Open(ctx, attempt("", "p", "m", "", time.Now()))
	if f := fault.From(refused); f == nil || f.Kind != fault.Overloaded || l.Status() != "failing" {
		t.Errorf("past the bound: %v, status %s", refused, l.Status())
	}
	l.journal.mu.Lock()
	l.journal.pending = kept
	l.journal.mu.Unlock()
	must(t, l.Settle(ctx, settled(in.ID, time.Now(), 3)))

	swap(good)
	must(t, l.Flush(ctx))
	must(t, l.Open(ctx, attempt("", "p", "m", "", time.Now())))
	if l.Status() != "ok" {
		t.Errorf("status %s after the disk came back", l.Status())
	}
	if got, err := l.Spend(ctx, Scope{}, Window{}); err != nil || got != 303 {
		t.Errorf("spent %d, %v", got, err)
	}
}

// TestBookThatCannotBeOpened: the gateway runs on its journal, says so, and fills the book when it can.
func TestBookThatCannotBeOpened(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, bookName), []byte(strings.Repeat("no database ", 1000)), 0o600))
	l := start(t, dir, Options{Port: 5})
	in := attempt("r", "p", "m", "", time.Now())
	must(t, l.Open(ctx, in))
	must(t, l.Settle(ctx, settled(in.ID, time.Now(), 5)))
	if err := l.Flush(ctx); err == nil {
		t.Error("a flush into no database said nothing")
	}
	if l.Status() != "degraded" {
		t.Errorf("status %s", l.Status())
	}
	must(t, l.journal.rotate())
	must(t, os.Remove(filepath.Join(dir, bookName)))
	if got, err := l.Spend(ctx, Scope{}, Window{}); err != nil || got != 5 {
		t.Errorf("spent %d, %v", got, err)
	}
	if l.Status() != "ok" {
		t.Errorf("status %s", l.Status())
	}
}

func TestNewerBookIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	bk, err := OpenBook(dir)
	must(t, err)
	_, err = bk.db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`)
	must(t, err)
	must(t, bk.Close())
	if _, err := OpenBook(dir); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("error %v", err)
	}
}

// TestSyncAlways: many writers share few syncs, and each returns only when its record is covered.
func TestSyncAlways(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	l := start(t, dir, Options{Port: 5, Sync: "always"})
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 10 {
				in := attempt("", "p", "m", "", time.Now())
				if err := l.Open(ctx, in); err != nil {
					t.Error(err)
				}
				if err := l.Settle(ctx, settled(in.ID, time.Now(), 1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, err := l.Spend(ctx, Scope{}, Window{}); err != nil || got != 160 {
		t.Errorf("spent %d, %v", got, err)
	}
}

func BenchmarkOpenSettle(b *testing.B) {
	for _, mode := range []string{"os", "interval"} {
		b.Run(mode, func(b *testing.B) {
			ctx := context.Background()
			l := start(b, b.TempDir(), Options{Port: 1, Sync: mode})
			now := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				in := attempt("0192f0c1-1111-7000-8000-000000000001", "anthropic", "claude-sonnet-4-5-20250929", "oss:code-reviewer", now)
				in.RequestID = string(in.ID)
				if err := l.Open(ctx, in); err != nil {
					b.Fatal(err)
				}
				if err := l.Settle(ctx, settled(in.ID, now, 1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen is the journal alone: what a request waits for before its first byte goes upstream.
func BenchmarkOpen(b *testing.B) {
	l := start(b, b.TempDir(), Options{Port: 1})
	in := attempt("0192f0c1-1111-7000-8000-000000000001", "anthropic", "claude-sonnet-4-5-20250929", "oss:code-reviewer", time.Now())
	b.ReportAllocs()
	for b.Loop() {
		if err := l.journal.write(appendIntent(nil, &in), true); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBook is bringing an attempt (two records) into the book.
func BenchmarkBook(b *testing.B) {
	ctx := context.Background()
	bk, err := OpenBook(b.TempDir())
	must(b, err)
	defer bk.Close()
	for b.Loop() {
		var batch []record
		for range fillRows {
			in := attempt("", "anthropic", "claude-sonnet-4-5-20250929", "oss:code-reviewer", time.Now())
			in.RequestID = string(in.ID)
			batch = append(batch, record{kind: kindIntent, intent: in}, record{kind: kindSettle, intent: in, settle: settled(in.ID, time.Now(), 1)})
		}
		must(b, bk.apply(ctx, "journal-1", "x", batch, 1))
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/fillRows, "µs/attempt")
}

func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		l, err := Start(dir, Options{Port: 1})
		must(b, err)
		b.StopTimer()
		must(b, l.Close())
		b.StartTimer()
	}
}

func BenchmarkOpenBook(b *testing.B) {
	dir := b.TempDir()
	must(b, book(b, dir).Close())
	for b.Loop() {
		bk, err := OpenBook(dir)
		must(b, err)
		must(b, bk.Close())
	}
}
