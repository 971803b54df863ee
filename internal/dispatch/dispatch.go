// Package dispatch carries out a plan: one request, several attempts. It decides when an attempt may be repeated and when
// the next target is tried, and it is the only place that opens an attempt (attempt.go), so that whatever happens to an
// upstream call is written in the ledger and on the record.
package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/sirupsen/logrus"

	"signalbox/config"
	"signalbox/internal/estimate"
	"signalbox/internal/exchange"
	"signalbox/internal/fault"
	"signalbox/internal/ledger"
	"signalbox/internal/messages"
	"signalbox/internal/money"
	"signalbox/internal/routing"
	"signalbox/providers"
)

// Bounds of one request, and of waiting between two attempts (R1, R4).
const (
	maxAttempts  = 8
	backoffBase  = 250 * time.Millisecond
	backoffCap   = 8 * time.Second
	longestWait  = 30 * time.Second
	bookTimeout  = 2 * time.Second // book-keeping after the caller has left
	claudeTarget = "anthropic"
)

// Providers gives providers by name.
type Providers interface {
	Get(name string) (providers.Provider, error)
	Config(name string) (config.Provider, bool)
}

// Book takes the two records of every attempt.
type Book interface {
	Open(context.Context, ledger.Intent) error
	Settle(context.Context, ledger.Settlement) error
}

// Pricer knows what usage costs; false means that no price is known, which is not zero.
type Pricer interface {
	Cost(provider, model string, u messages.Usage) (money.Amount, string, bool)
	Free(provider string) bool // its kind costs nothing
}

// Options are what a Dispatcher stands on.
type Options struct {
	Providers Providers
	Book      Book
	Pricer    Pricer
	Estimator *estimate.Estimator
	Retry     config.Retry
	Breakers  *Breakers
	Strict    bool
	// Window is a target's context window in tokens as far as it is known without asking anybody; 0 is unknown. Nil knows none.
	Window func(provider, model string) int64
	Log    logrus.FieldLogger
	Now    func() time.Time
}

// Dispatcher carries out plans. It is safe for concurrent use.
type Dispatcher struct {
	o      Options
	budget retryBudget
}

// New makes a Dispatcher.
func New(o Options) *Dispatcher {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Dispatcher{o: o}
}

// Ask is one request to carry out.
type Ask struct {
	Request    *messages.Request
	Plan       routing.Plan
	Query      string        // raw query string
	Header     http.Header   // the caller's
	Credential config.Secret // the caller's own, empty when he brought none
	Bearer     bool
	Strict     bool
}

// Do tries the plan's targets in order until one has begun to answer. The error is the last target's, or the first one's where a later
// one's would hide why it was asked. The caller closes the reply.
func (d *Dispatcher) Do(ctx context.Context, ask Ask, rec *exchange.Record) (*providers.Reply, error) {
	var first *fault.Error
	attempts, instead := 0, ""
	for i := 0; i < len(ask.Plan.Targets); i++ {
		target := ask.Plan.Targets[i]
		if i > 0 {
			rec.Fallback = ask.Plan.Targets[0].String() + " -> " + target.String() + "; " + first.Label()
		}
		reply, f, n := d.target(ctx, ask, target, rec, maxAttempts-attempts, instead)
		attempts += n
		if f == nil {
			return reply, nil
		}
		for f.Kind == fault.ContextOverflow && i+1 < len(ask.Plan.Targets) && !d.larger(ask.Plan.Targets[i+1], target) {
			i++ // what did not fit here fits there no better
			d.o.Log.WithFields(logrus.Fields{"request_id": rec.RequestID, "target": ask.Plan.Targets[i].String()}).Info("fallback target passed over: its window is no larger")
		}
		if first == nil {
			first = f
		} else if hides(f.Kind) || first.Kind == fault.ContextOverflow {
			f = first // the answer is the first target's
			rec.Provider, rec.Model, rec.Fallback = ask.Plan.Targets[0].Provider, ask.Plan.Targets[0].Model, ""
		}
		if i+1 == len(ask.Plan.Targets) || !f.AnotherTarget() || attempts >= maxAttempts || ctx.Err() != nil {
			return nil, f
		}
		next := ask.Plan.Targets[i+1]
		instead = target.String() + "; " + f.Label()
		rec.Fallbacks = append(rec.Fallbacks, [3]string{target.String(), next.String(), f.Label()})
		d.o.Log.WithFields(logrus.Fields{"request_id": rec.RequestID, "from": target.String(), "to": next.String(), "reason": f.Label()}).Warn("fallback")
	}
	return nil, fault.New(fault.Internal, "the plan has no target")
}

// hides reports whether a fallback's failure would hide why it was asked at all: its refused credential is not the caller's affair,
// and a request that it cannot take says nothing about one that the first target could have (an agent that hears of a prompt too long
// for the second begins to throw its conversation away). Where the first said that a prompt is too long, that stands: there is a way
// out of it.
func hides(k fault.Kind) bool {
	switch k {
	case fault.Authentication, fault.UpstreamKey, fault.Invalid, fault.ContextOverflow, fault.TooLarge:
		return true
	}
	return false
}

// larger reports whether a target's window may be larger than another's: one of which nothing is known is tried.
func (d *Dispatcher) larger(next, than routing.Target) bool {
	if d.o.Window == nil {
		return true
	}
	a, b := d.o.Window(next.Provider, next.Model), d.o.Window(than.Provider, than.Model)
	return a == 0 || b == 0 || a > b
}

// target tries one target, as often as the configuration allows. instead is why it is asked, for the book.
func (d *Dispatcher) target(ctx context.Context, ask Ask, target routing.Target, rec *exchange.Record, left int, instead string) (*providers.Reply, *fault.Error, int) {
	rec.Provider, rec.Model = target.Provider, target.Model
	p, err := d.o.Providers.Get(target.Provider)
	if err != nil {
		return nil, fault.From(err), 0
	}
	d.budget.request(target.Provider, d.o.Now())
	for n := 1; ; n++ {
		reply, f := d.once(ctx, ask, target, p, rec, instead)
		if f == nil {
			return reply, nil, n
		}
		if f.Kind != fault.Invalid { // a request that we refuse ourselves is nobody's fault but the caller's; the field comes first
			f.Provider = orName(f.Provider, target.Provider)
		}
		if f.Kind != fault.Canceled {
			d.o.Log.WithFields(logrus.Fields{"request_id": rec.RequestID, "provider": target.Provider, "model": target.Model, "attempt": n, "kind": f.Label(), "error": logText(f)}).Warn("attempt failed")
		}
		if n >= d.o.Retry.Attempts || n >= left || ctx.Err() != nil || !d.repeatable(f) || !d.budget.retry(target.Provider, d.o.Now()) {
			return nil, f, n
		}
		wait := f.RetryAfter
		if wait == 0 {
			wait = time.Duration(rand.Int64N(int64(min(backoffCap, backoffBase<<(n-1))) + 1))
		}
		if wait > longestWait {
			return nil, f, n
		}
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, fault.From(context.Cause(ctx)), n
		}
	}
}

func orName(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

// logText is the cause for the log: our own words and the network's, never an upstream's body.
func logText(f *fault.Error) string {
	if f.Cause != nil {
		return f.Cause.Error()
	}
	return f.Message
}

// repeatable says whether the same target may be asked again (R2, R3).
func (d *Dispatcher) repeatable(f *fault.Error) bool {
	switch f.Kind {
	case fault.Unreachable, fault.RateLimit:
		return true
	case fault.Upstream, fault.Timeout, fault.Overloaded:
		return f.Outcome != breakerOpen && (f.Void || d.o.Retry.PossiblyCharged)
	}
	return false
}

const breakerOpen = "breaker_open"

// once makes one attempt.
func (d *Dispatcher) once(ctx context.Context, ask Ask, target routing.Target, p providers.Provider, rec *exchange.Record, instead string) (*providers.Reply, *fault.Error) {
	done, probe, f := d.o.Breakers.allow(target)
	if f != nil {
		return nil, f
	}
	call := d.call(ask, target)
	a, f := d.open(ctx, target, rec, estimate.Of(ask.Request), instead)
	if f != nil {
		done(nil)
		return nil, f
	}
	call.Attempt = a.id
	returned := false
	defer func() {
		if returned {
			return
		}
		// A panic passes through: the breaker's probe is given back and the book learns of it before anybody recovers.
		f := &fault.Error{Kind: fault.Internal, Outcome: "panic", Message: "Internal error"}
		done(f)
		a.fail(f)
	}()
	sent := d.o.Now()
	reply, err := p.Send(ctx, call)
	returned = true
	rec.Upstream += d.o.Now().Sub(sent)
	if err != nil {
		f := fault.From(err)
		if f.Kind == fault.Internal {
			var typed *fault.Error
			if !errors.As(err, &typed) {
				f = fault.Wrap(fault.Internal, err, "Internal error")
			}
		}
		done(f)
		a.fail(f)
		return nil, f
	}
	rec.Lane = reply.Lane
	a.notes(reply.Notes)
	if reply.Body != nil {
		done(nil)
		a.finish(reply, spoken(reply.Body))
		return reply, nil
	}
	return a.follow(reply, done, probe), nil
}

// call is the question of one attempt.
func (d *Dispatcher) call(ask Ask, target routing.Target) providers.Call {
	cfg, _ := d.o.Providers.Config(target.Provider)
	call := providers.Call{Request: ask.Request, Model: target.Model, Query: ask.Query, Header: ask.Header, Strict: ask.Strict || d.o.Strict || cfg.Strict,
		Thinking: ask.Plan.Entry.Thinking, Effort: ask.Plan.Entry.Effort}
	if cfg.Kind == claudeTarget && cfg.APIKey.Empty() {
		// The caller's own credential goes to an anthropic provider without a key of its own, and to nobody else.
		call.Credential, call.Bearer = ask.Credential, ask.Bearer
	}
	return call
}

// Count asks a target's own counter, or estimates where it has none. exact is false for an estimate.
func (d *Dispatcher) Count(ctx context.Context, ask Ask, rec *exchange.Record) (count providers.Count, exact bool, err error) {
	target := ask.Plan.Targets[0]
	rec.Provider, rec.Model = target.Provider, target.Model
	p, err := d.o.Providers.Get(target.Provider)
	if err != nil {
		return count, false, err
	}
	if c, ok := p.(providers.TokenCounter); ok {
		call := d.call(ask, target)
		call.Strict = false // a count loses nothing
		if count, err = c.CountTokens(ctx, call); !errors.Is(err, providers.ErrNoCounter) {
			rec.Dropped = count.Notes.Fields()
			return count, true, err
		}
	}
	if s, ok := p.(providers.Speaker); !ok || !s.SpeaksMessages(target.Model) {
		// A translated target's checks hold for its counts, too: what it could not be asked it cannot count.
		if _, err := ask.Request.Conversation(); err != nil {
			return count, false, err
		}
	}
	count.Tokens = d.o.Estimator.Tokens(target.Provider, target.Model, estimate.Of(ask.Request))
	return count, false, nil
}
