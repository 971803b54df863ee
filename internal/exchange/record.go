// Package exchange is the record of one request with its answer, and the tap that fills it from passing frames.
//
// A Record is born at the door and belongs to the goroutine that serves the request. It is read once at the end by the log
// line and the metrics; its attempts are the ledger's rows, so the three cannot disagree.
package exchange

import (
	"time"

	"signalbox/internal/messages"
	"signalbox/internal/money"
)

// AttemptID names one attempt; it is unique for ever (UUIDv7).
type AttemptID string

// State is what became of an attempt, as the ledger keeps it.
type State string

// The states. Open is only seen while an attempt runs, or after a crash before recovery.
const (
	Open      State = "open"
	Void      State = "void"      // known not to have been processed; costs nothing
	Settled   State = "settled"   // usage known
	Estimated State = "estimated" // money may have been spent, usage unknown: charged by estimate
)

// Lane is the way an answer was made.
type Lane string

// The two lanes.
const (
	Verbatim   Lane = "verbatim"
	Translated Lane = "translated"
)

// Attempt is one request that we sent to an upstream.
type Attempt struct {
	ID       AttemptID
	Provider string
	Model    string
	Start    time.Time
	Duration time.Duration
	State    State
	Outcome  string // "ok", or the label of the fault
	Usage    messages.Usage
	Guess    int64 // tokens that the estimator would have said of the prompt; 0 where nobody compared
	Cost     money.Amount
	Priced   bool // false: no price is known, which is not zero
	Price    string
}

// Record is what we write about one exchange.
type Record struct {
	RequestID   string
	UpstreamID  string // the upstream's own request id
	Start       time.Time
	Route       string // the route's pattern, never the path
	Agent       string
	Key         string // name of the virtual key
	Session     string
	AskedModel  string // the body's model
	Provider    string // who answered, or was asked last
	Model       string
	Lane        Lane
	Stream      bool
	Count       bool // a token count, which is no generation
	Attempts    []Attempt
	Dropped     []string
	Notes       [][3]string // provider, field, kind: for the metric
	Fallback    string      // "from -> to; reason", empty when none happened
	Fallbacks   [][3]string // from, to, reason: for the metric
	FirstFrame  time.Duration
	Upstream    time.Duration // time spent waiting for upstreams, for the overhead metric
	Status      int
	Kind        string // the fault's kind, empty on success
	Outcome     string // "ok", or the label of the fault
	Err         error  // for the log
	InputBytes  int64  // bytes of text the request holds, the base of estimates
	OutputBytes int64  // bytes of text the answer held
}

// Target is who answered, as provider/model; empty before anybody was chosen.
func (r *Record) Target() string {
	if r.Provider == "" {
		return ""
	}
	return r.Provider + "/" + r.Model
}

// Usage is the sum over the attempts.
func (r *Record) Usage() messages.Usage {
	var u messages.Usage
	for i := range r.Attempts {
		a := &r.Attempts[i].Usage
		u.Input += a.Input
		u.Output += a.Output
		u.Thinking += a.Thinking
		u.CacheRead += a.CacheRead
		u.CacheWrite5m += a.CacheWrite5m
		u.CacheWrite1h += a.CacheWrite1h
		u.WebSearches += a.WebSearches
	}
	return u
}

// Cost is the sum over the attempts; priced is false when one of them that may have cost something has no known price.
func (r *Record) Cost() (sum money.Amount, priced bool) {
	priced = true
	for i := range r.Attempts {
		a := &r.Attempts[i]
		if a.State == Void {
			continue
		}
		sum += a.Cost
		priced = priced && a.Priced
	}
	return sum, priced
}
