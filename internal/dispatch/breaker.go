package dispatch

import (
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"signalbox/internal/fault"
	"signalbox/internal/routing"
)

// How long an open breaker stays open before one probe may pass, and how wide the window of the share rule is.
const (
	breakerPause  = 10 * time.Second
	breakerWindow = 60 * time.Second
	breakerSample = 20
	maxBreakers   = 4096
)

// Breakers keeps one circuit breaker for each target. An open one sends requests to the next target, or back with a 529,
// instead of letting each of them wait for an upstream that does not answer. It outlives reloads.
type Breakers struct {
	mu          sync.RWMutex
	all         map[routing.Target]*gobreaker.TwoStepCircuitBreaker[struct{}]
	consecutive uint32
	changed     func(provider, model string, state float64)
}

// NewBreakers opens a breaker after so many failures in a row, or when half of twenty fail. changed hears of each change: 0
// closed, 1 half-open, 2 open.
func NewBreakers(consecutive uint32, changed func(provider, model string, state float64)) *Breakers {
	return &Breakers{all: map[routing.Target]*gobreaker.TwoStepCircuitBreaker[struct{}]{}, consecutive: max(1, consecutive), changed: changed}
}

// allow asks whether a target may be called. done takes what became of the call; probe says that all others wait for that.
func (b *Breakers) allow(t routing.Target) (done func(error), probe bool, f *fault.Error) {
	cb := b.get(t)
	if cb == nil {
		return func(error) {}, false, nil
	}
	report, err := cb.Allow()
	if err != nil {
		return nil, false, &fault.Error{Kind: fault.Overloaded, Provider: t.Provider, Outcome: breakerOpen, Void: true, RetryAfter: breakerPause,
			Message: "the target " + t.String() + " keeps failing and is given a rest; try again in some seconds"}
	}
	var once sync.Once
	return func(err error) { once.Do(func() { report(err) }) }, cb.State() == gobreaker.StateHalfOpen, nil
}

func (b *Breakers) get(t routing.Target) *gobreaker.TwoStepCircuitBreaker[struct{}] {
	b.mu.RLock()
	cb := b.all[t]
	b.mu.RUnlock()
	if cb != nil {
		return cb
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if cb = b.all[t]; cb == nil && len(b.all) < maxBreakers {
		cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](b.settings(t))
		b.all[t] = cb
	}
	return cb
}

func (b *Breakers) settings(t routing.Target) gobreaker.Settings {
	return gobreaker.Settings{
		Name:         t.String(),
		MaxRequests:  1,
		Interval:     breakerWindow,
		BucketPeriod: breakerWindow / 6,
		Timeout:      breakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= b.consecutive || c.Requests >= breakerSample && 2*c.TotalFailures >= c.Requests
		},
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if b.changed != nil {
				b.changed(t.Provider, t.Model, map[gobreaker.State]float64{gobreaker.StateClosed: 0, gobreaker.StateHalfOpen: 1, gobreaker.StateOpen: 2}[to])
			}
		},
		IsSuccessful: func(err error) bool { return !blamed(err) },
		IsExcluded: func(err error) bool {
			// Who leaves says nothing about the upstream.
			f := fault.From(err)
			return f != nil && f.Kind == fault.Canceled
		},
	}
}

// blamed says whether a failure counts against the upstream.
func blamed(err error) bool {
	if err == nil {
		return false
	}
	switch fault.From(err).Kind {
	case fault.Upstream, fault.Unreachable, fault.Timeout, fault.Overloaded:
		return true
	}
	return false
}

// retryBudget lets at most a tenth of a provider's requests of the last ten seconds be repeated (at least three), so that a
// dead provider does not double its own load (R5).
type retryBudget struct {
	mu sync.Mutex
	by map[string]*window
}

type window struct {
	at                time.Time
	requests, retries int
}

const (
	budgetWindow = 10 * time.Second
	budgetFloor  = 3
)

func (b *retryBudget) of(provider string, now time.Time) *window {
	if b.by == nil {
		b.by = map[string]*window{}
	}
	w := b.by[provider]
	if w == nil || now.Sub(w.at) > budgetWindow || now.Before(w.at) {
		w = &window{at: now}
		b.by[provider] = w
	}
	return w
}

func (b *retryBudget) request(provider string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.of(provider, now).requests++
}

func (b *retryBudget) retry(provider string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.of(provider, now)
	if w.retries >= max(budgetFloor, w.requests/10) {
		return false
	}
	w.retries++
	return true
}

// open reports whether a target is given a rest now.
func (b *Breakers) open(t routing.Target) bool {
	b.mu.RLock()
	cb := b.all[t]
	b.mu.RUnlock()
	return cb != nil && cb.State() == gobreaker.StateOpen
}
