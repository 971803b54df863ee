package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"signalbox/internal/exchange"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/money"
)

// Intent is written before the first byte of an attempt goes upstream.
type Intent struct {
	ID                                              exchange.AttemptID
	RequestID, Provider, Model, Agent, Key, Session string
	Time                                            time.Time
	// Free says that the provider costs nothing because its kind says so. It is the price of an attempt that a crash ended;
	// without it such an attempt is unpriced.
	Free bool
	// Fallback says why this target was asked: "target; reason" of the one that failed before it. Empty for the first.
	Fallback string
}

// Settlement is what became of an attempt. With Priced false the cost is unknown, which is not zero; a void attempt costs nothing.
type Settlement struct {
	ID      exchange.AttemptID
	Time    time.Time
	State   exchange.State // void, settled or estimated
	Outcome string
	Usage   messages.Usage
	Cost    money.Amount
	Priced  bool
	Price   string // the version of the price that was used
}

// Scope chooses rows; an empty member is any.
type Scope struct{ Key, Agent, Provider, Model string }

// Window is a stretch of time, Since included and Until not; a zero Until is no end.
type Window struct{ Since, Until time.Time }

// Store is what attempts and budgets need of a ledger.
type Store interface {
	// Open writes an intent. Its error means that the attempt must not be made, because it could not be accounted for.
	Open(context.Context, Intent) error
	// Settle writes what became of an attempt. It is called once for every Open; what is settled twice counts once.
	Settle(context.Context, Settlement) error
	// Spend is what was spent so far.
	Spend(context.Context, Scope, Window) (money.Amount, error)
	// Close brings everything into the book and lets go of the files.
	Close() error
}

var _ Store = (*Ledger)(nil)

// Options are what a gateway's ledger is made from.
type Options struct {
	// Port names the journal: one process, one port, one journal.
	Port int
	// Sync is what a journal record survives: os (default; a killed process), interval (a power cut but for the last 100 ms),
	// always (a power cut).
	Sync string
	// Keep is how long rows stay in the book; the daily sums stay for ever. 0 keeps all.
	Keep time.Duration
	Log  logrus.FieldLogger
	Now  func() time.Time
}

const (
	fillEvery = time.Second            // the book is at most this far behind
	fillRows  = 256                    // or this many rows
	syncEvery = 100 * time.Millisecond // sync: interval
	closeWait = 10 * time.Second       // for a book that another process holds
	warnEvery = 10 * time.Second       // between two log lines about the same trouble
)

// Ledger is the spend book of one gateway. It is safe for concurrent use.
type Ledger struct {
	dir     string
	o       Options
	journal *journal
	book    atomic.Pointer[Book]

	mu     sync.Mutex
	open   map[exchange.AttemptID]Intent
	closed bool

	queued    atomic.Int64 // records that are not yet in the book
	failures  atomic.Int64
	damaged   atomic.Int64
	bookFails atomic.Bool
	refusing  atomic.Bool
	warned    atomic.Int64

	kick    chan struct{}
	flush   chan chan error
	stop    chan struct{}
	done    chan struct{}
	syncing chan struct{} // closed when the interval's goroutine has ended
	ready   bool          // the filler has recovered what was there
	pruned  time.Time
}

// Start takes the journal of a port and begins to fill the book in the background. What an earlier process left is brought in
// there too, so starting does not wait for SQLite. Errors are those of the folder and the journal: without them nothing can
// be accounted for. A book that cannot be opened is tried again, and Status says so.
func Start(dir string, o Options) (*Ledger, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		o.Log = l
	}
	switch o.Sync {
	case "":
		o.Sync = "os"
	case "os", "interval", "always":
	default:
		return nil, fmt.Errorf("ledger: sync %q is none of os, interval, always", o.Sync)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	l := &Ledger{
		dir: dir, o: o, open: map[exchange.AttemptID]Intent{},
		kick: make(chan struct{}, 1), flush: make(chan chan error), stop: make(chan struct{}), done: make(chan struct{}), syncing: make(chan struct{}),
	}
	j, err := openJournal(dir, o.Port, o.Sync, l.failed)
	if err != nil {
		return nil, err
	}
	l.journal = j
	go l.fill()
	if o.Sync == "interval" {
		go l.syncLoop()
	} else {
		close(l.syncing)
	}
	return l, nil
}

var records = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// Open writes an intent. It costs one write to the journal, and returns a *fault.Error when the attempt could not be
// accounted for and so must not be made.
func (l *Ledger) Open(_ context.Context, in Intent) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return fault.New(fault.Overloaded, "the gateway is shutting down")
	}
	l.open[in.ID] = in
	l.mu.Unlock()
	b := records.Get().(*[]byte)
	*b = appendIntent((*b)[:0], &in)
	err := l.journal.write(*b, true)
	records.Put(b)
	if err != nil {
		l.mu.Lock()
		delete(l.open, in.ID)
		l.mu.Unlock()
		l.refusing.Store(true)
		return fault.Wrap(fault.Overloaded, err, "accounting unavailable")
	}
	l.refusing.Store(false)
	l.wrote()
	return nil
}

// Settle writes what became of an attempt. A second settlement of the same attempt is ignored.
func (l *Ledger) Settle(_ context.Context, s Settlement) error {
	l.mu.Lock()
	in, ok := l.open[s.ID]
	delete(l.open, s.ID)
	closed := l.closed
	l.mu.Unlock()
	if !ok || closed {
		return nil // settled before, or as unfinished when the ledger was closed
	}
	l.settle(&in, &s)
	return nil
}

func (l *Ledger) settle(in *Intent, s *Settlement) {
	clean(s)
	b := records.Get().(*[]byte)
	*b = appendSettle((*b)[:0], s, in)
	_ = l.journal.write(*b, false) // never refused; a failing disk is counted there
	records.Put(b)
	l.wrote()
}

func (l *Ledger) wrote() {
	if l.queued.Add(1) >= fillRows {
		select {
		case l.kick <- struct{}{}:
		default:
		}
	}
}

// Spend is what was spent in a window up to now; it waits for the book to be up to date.
func (l *Ledger) Spend(ctx context.Context, s Scope, w Window) (money.Amount, error) {
	if err := l.Flush(ctx); err != nil {
		return 0, err
	}
	return l.book.Load().Spend(ctx, s, w)
}

// Flush returns once everything written so far is in the book, or says why it is not.
func (l *Ledger) Flush(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case l.flush <- answer:
	case <-l.done:
		return errors.New("ledger: closed")
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Queue is how many records are written and not yet in the book.
func (l *Ledger) Queue() int { return int(l.queued.Load()) }

// Failures counts writes, syncs and transactions that failed. What they held is kept and tried again.
func (l *Ledger) Failures() int64 { return l.failures.Load() }

// Status is for /health: ok; degraded when something failed that is being tried again, or when a journal was found damaged
// (more than a torn end) since the start; failing when attempts are refused because they cannot be accounted for.
func (l *Ledger) Status() string {
	_, _, waiting := l.journal.state()
	switch {
	case l.refusing.Load() && waiting > 0:
		return "failing"
	case waiting > 0, l.bookFails.Load(), l.damaged.Load() > 0:
		return "degraded"
	}
	return "ok"
}

// Close settles what is still open as estimated, brings everything into the book, and lets go of the files. What the book
// would not take stays in the journal for the next start. It may be called twice.
func (l *Ledger) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		<-l.done
		return nil
	}
	l.closed = true
	left := l.open
	l.open = map[exchange.AttemptID]Intent{}
	l.mu.Unlock()
	for id, in := range left {
		l.settle(&in, &Settlement{ID: id, Time: l.o.Now(), State: exchange.Estimated, Outcome: "shutdown", Priced: in.Free, Price: freePrice(in.Free)})
	}
	close(l.stop)
	<-l.done
	<-l.syncing
	_, _, waiting := l.journal.state()
	var err error
	if waiting > 0 {
		err = fmt.Errorf("ledger: %d records could not be written and are lost", waiting)
		l.o.Log.WithField("records", waiting).Error("ledger records could not be written before the end")
	}
	book := l.book.Load()
	complete := waiting == 0 && l.queued.Load() == 0 && l.journal.oldest() == nil && book != nil
	if complete {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		active, _, _ := l.journal.state()
		complete = book.checkpoint(ctx) == nil && book.forget(ctx, active.id) == nil
	}
	err = errors.Join(err, l.journal.close(complete))
	if book != nil {
		err = errors.Join(err, book.Close())
	}
	return err
}

func freePrice(free bool) string {
	if free {
		return "local"
	}
	return ""
}

// failed counts a failure and logs it, once in a while: a full disk fails at every request.
func (l *Ledger) failed(what string, err error) {
	l.failures.Add(1)
	now := time.Now().UnixNano()
	if last := l.warned.Load(); now-last > int64(warnEvery) && l.warned.CompareAndSwap(last, now) {
		l.o.Log.WithError(err).WithField("step", what).Error("ledger cannot be written; records are kept and tried again")
	}
}

// fill is the goroutine that keeps the book up to date.
func (l *Ledger) fill() {
	defer close(l.done)
	tick := time.NewTicker(fillEvery)
	defer tick.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	l.fillOnce(ctx)
	for {
		select {
		case <-l.kick:
			l.fillOnce(ctx)
		case <-tick.C:
			l.fillOnce(ctx)
		case answer := <-l.flush:
			answer <- l.fillOnce(ctx)
		case <-l.stop:
			last, cancel := context.WithTimeout(ctx, closeWait)
			defer cancel()
			for l.fillOnce(last) != nil {
				select {
				case <-last.Done():
					return
				case <-time.After(retryEvery): // another process may hold the book for a moment
				}
				if l.hopeless() {
					return
				}
			}
			return
		}
	}
}

// hopeless says that waiting longer at the end would not help: the disk refuses, and a supervisor is waiting for us.
func (l *Ledger) hopeless() bool {
	_, _, waiting := l.journal.state()
	return waiting > 0
}

// fillOnce brings the book up to date. Its error is for Flush; it has been counted and logged.
func (l *Ledger) fillOnce(ctx context.Context) error {
	err := l.fillAll(ctx)
	l.bookFails.Store(err != nil)
	if err != nil {
		l.failed("book", err)
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

func (l *Ledger) fillAll(ctx context.Context) error {
	l.journal.retry()
	if _, end, _ := l.journal.state(); end > segmentSize {
		if err := l.journal.rotate(); err != nil {
			l.failed("rotate", err) // it goes on in the file it has
		}
	}
	book := l.book.Load()
	if book == nil {
		b, err := openBook(ctx, l.dir)
		if err != nil {
			return err
		}
		l.book.Store(b)
		book = b
	}
	if !l.ready {
		if err := l.recover(ctx, book); err != nil {
			return err
		}
		l.ready = true
	}
	for {
		s := l.journal.oldest()
		sealed := s != nil
		active, end, waiting := l.journal.state()
		if !sealed {
			s = active
		} else {
			end = s.end
		}
		if s.filled < end {
			var sum Recovered
			err := book.fillFrom(ctx, l.journal.name, s, end, false, &sum)
			l.queued.Add(-int64(sum.Rows))
			l.hurt(sum.Damaged)
			if err != nil {
				return err
			}
		}
		if !sealed {
			if waiting > 0 {
				return fmt.Errorf("%d records wait in memory for the journal", waiting)
			}
			break
		}
		if err := book.checkpoint(ctx); err != nil {
			return err
		}
		if err := book.forget(ctx, s.id); err != nil {
			return err
		}
		l.journal.drop(s, true)
	}
	if now := l.o.Now(); l.o.Keep > 0 && now.Sub(l.pruned) > time.Hour {
		l.pruned = now
		return book.prune(ctx, now.Add(-l.o.Keep))
	}
	return nil
}

// recover brings in what an earlier process of this port left, then the journals of others that are gone.
func (l *Ledger) recover(ctx context.Context, book *Book) error {
	var sum Recovered
	for s := l.journal.oldest(); s != nil && s.left; s = l.journal.oldest() {
		if err := book.bringIn(ctx, l.journal.name, s, &sum); err != nil {
			return err
		}
		if err := book.checkpoint(ctx); err != nil {
			return err
		}
		if err := book.forget(ctx, s.id); err != nil {
			return err
		}
		l.journal.drop(s, true)
	}
	n, err := book.crash(ctx, l.journal.name)
	sum.Crashed += n
	if err != nil {
		return err
	}
	others, err := book.recoverDead(ctx, l.dir)
	sum.Rows += others.Rows
	sum.Crashed += others.Crashed
	sum.Torn += others.Torn
	sum.Damaged += others.Damaged
	l.hurt(sum.Damaged)
	if sum != (Recovered{}) {
		l.o.Log.WithFields(logrus.Fields{"records": sum.Rows, "crashed_attempts": sum.Crashed, "torn": sum.Torn, "damaged": sum.Damaged}).Warn("ledger recovered the journals of processes that ended without closing them")
	}
	if err != nil { // somebody else's journal must not stop ours
		l.failed("recover", err)
	}
	return nil
}

func (l *Ledger) hurt(n int) {
	if n > 0 {
		l.damaged.Add(int64(n))
		l.o.Log.WithField("damaged", n).Error("ledger found bytes in a journal that are no record; they are kept beside it")
	}
}

// syncLoop is sync: interval.
func (l *Ledger) syncLoop() {
	defer close(l.syncing)
	t := time.NewTicker(syncEvery)
	defer t.Stop()
	var synced uint64
	for {
		select {
		case <-t.C:
			l.journal.mu.Lock()
			dirty := l.journal.written != synced
			l.journal.mu.Unlock()
			if dirty {
				synced = l.journal.syncNow()
			}
		case <-l.stop:
			return
		}
	}
}
