package ledger

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver named sqlite

	"signalbox/internal/exchange"
)

//go:embed migrations/*.sql
var migrations embed.FS

// schema is the number of the newest migration.
const schema = 2

const bookName = "ledger.db"

// Book is ledger.db: rows of attempts, and their sums by day. Several processes may have it open; every change is one
// immediate transaction. It is safe for concurrent use.
type Book struct {
	db *sql.DB

	mu    sync.Mutex // one writer at a time in this process, on a connection of its own
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	day   [2]time.Time // the day that was asked for last
}

// OpenBook opens the book of a state directory for reports, after bringing in the journals of processes that are gone. A
// running gateway is not asked: it brings its own journal in within a second. The caller closes the book.
func OpenBook(dir string) (*Book, error) {
	ctx := context.Background()
	b, err := openBook(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	if _, err := b.recoverDead(ctx, dir); err != nil {
		b.Close()
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return b, nil
}

// openBook opens or makes the book and brings its tables up to date, under a lock so that two processes do not both.
func openBook(ctx context.Context, dir string) (*Book, error) {
	path := filepath.Join(dir, bookName)
	lock, err := os.OpenFile(filepath.Join(dir, "ledger.lock"), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	// Made here, because SQLite would make it readable for others; what it makes beside it takes the mode from it. A file that
	// is there is not opened: closing it again would drop SQLite's own locks of this process.
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, err
		}
		f.Close()
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	b := &Book{db: db, stmts: map[string]*sql.Stmt{}}
	err = b.migrate(ctx)
	if err == nil {
		b.conn, err = db.Conn(ctx)
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// migrate asks first, since nearly always there is nothing to do and goose takes its time.
func (b *Book) migrate(ctx context.Context) error {
	var have int
	var table string
	err := b.db.QueryRowContext(ctx, `SELECT name FROM sqlite_master WHERE name = 'goose_db_version'`).Scan(&table)
	switch {
	case errors.Is(err, sql.ErrNoRows):
	case err != nil:
		return err
	default:
		if err := b.db.QueryRowContext(ctx, `SELECT coalesce(max(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&have); err != nil {
			return err
		}
	}
	if have == schema {
		return nil
	}
	if have > schema {
		return fmt.Errorf("the book was written by a newer version (tables %d, known here %d): update this program", have, schema)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, b.db, files)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// Close lets go of the book.
func (b *Book) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var err error
	for _, s := range b.stmts {
		err = errors.Join(err, s.Close())
	}
	return errors.Join(err, b.conn.Close(), b.db.Close())
}

// prepared gives a statement of the writer; each is prepared once.
func (b *Book) prepared(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := b.stmts[query]; s != nil {
		return s, nil
	}
	s, err := b.conn.PrepareContext(ctx, query)
	if err == nil {
		b.stmts[query] = s
	}
	return s, err
}

func (b *Book) exec(ctx context.Context, query string, args ...any) (int64, error) {
	s, err := b.prepared(ctx, query)
	if err != nil {
		return 0, err
	}
	r, err := s.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// change runs f in one immediate transaction.
func (b *Book) change(ctx context.Context, f func(*cells) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.exec(ctx, `BEGIN IMMEDIATE`); err != nil {
		return err
	}
	c := &cells{sums: map[cell]*sums{}}
	err := f(c)
	if err == nil {
		err = b.roll(ctx, c)
	}
	if err == nil {
		_, err = b.exec(ctx, `COMMIT`)
	}
	if err != nil {
		_, _ = b.exec(context.WithoutCancel(ctx), `ROLLBACK`) // none is open when BEGIN or COMMIT already ended it
	}
	return err
}

// cell is one row of the roll-up, sums what is added to it.
type cell struct {
	day, end                    int64
	agent, provider, model, key string
}

type sums struct {
	singles, attempts, input, output, thinking, cacheRead, cacheWrite, cost, estimated, unpriced int64
}

type cells struct{ sums map[cell]*sums }

func (c *cells) at(k cell) *sums {
	s := c.sums[k]
	if s == nil {
		s = &sums{}
		c.sums[k] = s
	}
	return s
}

func (b *Book) roll(ctx context.Context, c *cells) error {
	for k, s := range c.sums {
		_, err := b.exec(ctx, `INSERT INTO daily (day, day_end, agent, provider, model, key, singles, attempts, input, output, thinking, cache_read, cache_write, cost, estimated, unpriced)
			VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET singles = singles + excluded.singles, attempts = attempts + excluded.attempts,
			input = input + excluded.input, output = output + excluded.output, thinking = thinking + excluded.thinking,
			cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write,
			cost = cost + excluded.cost, estimated = estimated + excluded.estimated, unpriced = unpriced + excluded.unpriced`,
			k.day, k.end, k.agent, k.provider, k.model, k.key, s.singles, s.attempts, s.input, s.output, s.thinking, s.cacheRead, s.cacheWrite, s.cost, s.estimated, s.unpriced)
		if err != nil {
			return err
		}
	}
	return nil
}

// apply brings records of a journal's file into the book, and moves its position, in one transaction. Records that are in
// the book already change nothing.
func (b *Book) apply(ctx context.Context, owner, file string, records []record, offset int64) error {
	if len(records) == 0 && file == "" {
		return nil
	}
	return b.change(ctx, func(c *cells) error {
		// An attempt that ended within the batch is written once, closed. Only the first settle of an attempt counts.
		ends := make(map[exchange.AttemptID]*Settlement, len(records)/2)
		for i := len(records) - 1; i >= 0; i-- {
			if r := &records[i]; r.kind == kindSettle {
				ends[r.intent.ID] = &r.settle
			}
		}
		for i := range records {
			r := &records[i]
			end := ends[r.intent.ID]
			if r.kind == kindSettle && end == nil {
				continue // written with its intent, or an earlier settle of this batch
			}
			inserted, err := b.insert(ctx, c, owner, &r.intent, end)
			if err == nil && !inserted && r.kind == kindSettle {
				_, err = b.closeRow(ctx, c, r.intent.ID, end)
			}
			if err != nil {
				return err
			}
			if inserted || r.kind == kindSettle {
				delete(ends, r.intent.ID)
			}
		}
		if file == "" {
			return nil
		}
		_, err := b.exec(ctx, `INSERT INTO positions (file, offset) VALUES (?,?) ON CONFLICT DO UPDATE SET offset = max(offset, excluded.offset)`, file, offset)
		return err
	})
}

// insert adds a row, unless the attempt is there: open, or closed when its end is known. A settle whose intent was lost
// comes this way too.
func (b *Book) insert(ctx context.Context, c *cells, owner string, in *Intent, end *Settlement) (bool, error) {
	k := cell{agent: in.Agent, provider: in.Provider, model: in.Model, key: in.Key}
	k.day, k.end = b.dayOf(in.Time)
	var none Settlement
	s, settled, cost := end, sql.NullInt64{}, sql.NullInt64{}
	if end == nil {
		none.State = exchange.Open
		s = &none
	} else {
		settled = sql.NullInt64{Int64: end.Time.UnixNano(), Valid: true}
		cost = costOf(end)
	}
	u := &s.Usage
	n, err := b.exec(ctx, `INSERT INTO attempts (id, request_id, time, day, day_end, provider, model, agent, key, session, state, outcome, input, output, thinking, cache_read,
		cache_write_5m, cache_write_1h, web_searches, tier, cost, price, free, fallback, journal, settled) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
		string(in.ID), in.RequestID, in.Time.UnixNano(), k.day, k.end, in.Provider, in.Model, in.Agent, in.Key, in.Session, string(s.State), s.Outcome, u.Input, u.Output, u.Thinking, u.CacheRead,
		u.CacheWrite5m, u.CacheWrite1h, u.WebSearches, u.Tier, cost, s.Price, in.Free, in.Fallback, owner, settled)
	if err != nil || n == 0 {
		return false, err
	}
	t := c.at(k)
	t.attempts++
	if end != nil {
		t.add(end, cost)
	}
	if in.RequestID == "" {
		t.singles++
		return true, nil
	}
	return true, b.countRequest(ctx, c, in, k)
}

// add counts what became of an attempt.
func (t *sums) add(s *Settlement, cost sql.NullInt64) {
	u := &s.Usage
	t.input += u.Input
	t.output += u.Output
	t.thinking += u.Thinking
	t.cacheRead += u.CacheRead
	t.cacheWrite += u.CacheWrite5m + u.CacheWrite1h
	t.cost += cost.Int64
	if s.State == exchange.Estimated {
		t.estimated++
	}
	if !cost.Valid {
		t.unpriced++
	}
}

// costOf is the row's cost: null when no price is known, and zero for what was never processed.
func costOf(s *Settlement) sql.NullInt64 {
	if s.Priced {
		return sql.NullInt64{Int64: int64(s.Cost), Valid: true}
	}
	return sql.NullInt64{Valid: s.State == exchange.Void}
}

// countRequest sees to it that a request counts once however many attempts it took: with the second, the first one's single
// is taken back and both go to the table of those that were retried.
func (b *Book) countRequest(ctx context.Context, c *cells, in *Intent, k cell) error {
	q, err := b.prepared(ctx, `SELECT id, time, day, day_end, agent, provider, model, key, session FROM attempts WHERE request_id = ? AND id <> ? LIMIT 2`)
	if err != nil {
		return err
	}
	rows, err := q.QueryContext(ctx, in.RequestID, string(in.ID))
	if err != nil {
		return err
	}
	var first Intent
	var at int64
	var fk cell
	n := 0
	for ; rows.Next(); n++ {
		if err := rows.Scan(&first.ID, &at, &fk.day, &fk.end, &fk.agent, &fk.provider, &fk.model, &fk.key, &first.Session); err != nil {
			rows.Close()
			return err
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	if n == 0 {
		c.at(k).singles++
		return nil
	}
	if n == 1 {
		c.at(fk).singles--
		if err := b.retried(ctx, string(first.ID), in.RequestID, true, at, fk, first.Session); err != nil {
			return err
		}
	}
	return b.retried(ctx, string(in.ID), in.RequestID, false, in.Time.UnixNano(), k, in.Session)
}

func (b *Book) retried(ctx context.Context, id, request string, first bool, at int64, k cell, session string) error {
	_, err := b.exec(ctx, `INSERT INTO retried (id, request_id, first, time, day, day_end, agent, provider, model, key, session) VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING`,
		id, request, first, at, k.day, k.end, k.agent, k.provider, k.model, k.key, session)
	return err
}

// closeRow settles an open row. A row that is there and not open was settled before, and stays as it is.
func (b *Book) closeRow(ctx context.Context, c *cells, id exchange.AttemptID, s *Settlement) (bool, error) {
	q, err := b.prepared(ctx, `UPDATE attempts SET state = ?, outcome = ?, input = ?, output = ?, thinking = ?, cache_read = ?, cache_write_5m = ?, cache_write_1h = ?,
		web_searches = ?, tier = ?, cost = ?, price = ?, settled = ? WHERE id = ? AND state = 'open' RETURNING day, day_end, agent, provider, model, key`)
	if err != nil {
		return false, err
	}
	u, cost := &s.Usage, costOf(s)
	var k cell
	err = q.QueryRowContext(ctx, string(s.State), s.Outcome, u.Input, u.Output, u.Thinking, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h,
		u.WebSearches, u.Tier, cost, s.Price, s.Time.UnixNano(), string(id)).Scan(&k.day, &k.end, &k.agent, &k.provider, &k.model, &k.key)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	c.at(k).add(s, cost)
	return true, nil
}

// dayOf is the day in the zone of this process, as seconds since 1970.
func (b *Book) dayOf(t time.Time) (day, end int64) {
	t = t.Local()
	if b.day[0].IsZero() || t.Before(b.day[0]) || !t.Before(b.day[1]) {
		y, m, d := t.Date()
		b.day = [2]time.Time{time.Date(y, m, d, 0, 0, 0, 0, time.Local), time.Date(y, m, d+1, 0, 0, 0, 0, time.Local)}
	}
	return b.day[0].Unix(), b.day[1].Unix()
}

// crash makes the open rows of a journal whose process is gone estimated: money may have been spent, and nobody knows how much.
func (b *Book) crash(ctx context.Context, owner string) (n int, err error) {
	err = b.change(ctx, func(c *cells) error {
		q, err := b.prepared(ctx, `SELECT id, free FROM attempts WHERE journal = ? AND state = 'open'`)
		if err != nil {
			return err
		}
		rows, err := q.QueryContext(ctx, owner)
		if err != nil {
			return err
		}
		var open []Intent
		for rows.Next() {
			var in Intent
			if err := rows.Scan(&in.ID, &in.Free); err != nil {
				rows.Close()
				return err
			}
			open = append(open, in)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return err
		}
		now := time.Now()
		for i := range open {
			s := Settlement{Time: now, State: exchange.Estimated, Outcome: "crash", Priced: open[i].Free, Price: freePrice(open[i].Free)}
			if _, err := b.closeRow(ctx, c, open[i].ID, &s); err != nil {
				return err
			}
		}
		n = len(open)
		return nil
	})
	return n, err
}

// owners are the journals that have open rows.
func (b *Book) owners(ctx context.Context) ([]string, error) {
	rows, err := b.db.QueryContext(ctx, `SELECT DISTINCT journal FROM attempts WHERE state = 'open'`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

// position is how far a journal's file is in the book.
func (b *Book) position(ctx context.Context, file string) (at int64, err error) {
	if file == "" {
		return 0, nil
	}
	err = b.db.QueryRowContext(ctx, `SELECT offset FROM positions WHERE file = ?`, file).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return at, err
}

func (b *Book) forget(ctx context.Context, file string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.exec(ctx, `DELETE FROM positions WHERE file = ?`, file)
	return err
}

// checkpoint brings what was committed to the disk itself; only then may a journal go. Its error also means that a reader
// held a part back, which passes.
func (b *Book) checkpoint(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var busy, log, done int
	if err := b.conn.QueryRowContext(ctx, `PRAGMA wal_checkpoint(PASSIVE)`).Scan(&busy, &log, &done); err != nil {
		return err
	}
	if done < log {
		return errors.New("the book is being read; the journal is kept a little longer")
	}
	return nil
}

// prune takes out rows of days that ended before a time. Their sums stay in the roll-up, where a request that was retried then
// counts with its first attempt.
func (b *Book) prune(ctx context.Context, before time.Time) error {
	for {
		var gone int64
		err := b.change(ctx, func(*cells) error {
			if _, err := b.exec(ctx, `UPDATE daily SET singles = singles + coalesce((SELECT count(*) FROM retried r WHERE r.first AND r.day = daily.day AND r.day_end = daily.day_end
				AND r.agent = daily.agent AND r.provider = daily.provider AND r.model = daily.model AND r.key = daily.key), 0)
				WHERE day_end < ? AND EXISTS (SELECT 1 FROM retried WHERE day_end < ?)`, before.Unix(), before.Unix()); err != nil {
				return err
			}
			if _, err := b.exec(ctx, `DELETE FROM retried WHERE day_end < ?`, before.Unix()); err != nil {
				return err
			}
			var err error
			gone, err = b.exec(ctx, `DELETE FROM attempts WHERE id IN (SELECT id FROM attempts WHERE time < ? AND day_end < ? AND state <> 'open' LIMIT 5000)`, before.UnixNano(), before.Unix())
			return err
		})
		if err != nil || gone < 5000 {
			return err
		}
	}
}

// Reset begins the count anew: reports that name no beginning start here. No row is taken out.
func (b *Book) Reset(ctx context.Context, now time.Time) error {
	return b.change(ctx, func(*cells) error {
		_, err := b.exec(ctx, `INSERT INTO marks (time) VALUES (?) ON CONFLICT DO NOTHING`, now.UnixNano())
		return err
	})
}

// Mark is when the count was last begun anew; zero when never.
func (b *Book) Mark(ctx context.Context) (time.Time, error) {
	var at sql.NullInt64
	if err := b.db.QueryRowContext(ctx, `SELECT max(time) FROM marks`).Scan(&at); err != nil || !at.Valid {
		return time.Time{}, err
	}
	return time.Unix(0, at.Int64), nil
}
