package dispatch

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/tidwall/gjson"

	"signalbox/internal/estimate"
	"signalbox/internal/exchange"
	"signalbox/internal/fault"
	"signalbox/internal/ledger"
	"signalbox/internal/messages"
	"signalbox/internal/routing"
	"signalbox/internal/sse"
	"signalbox/internal/wire"
	"signalbox/providers"
)

// attempt is the only way to call an upstream. Its intent is in the journal before the first byte goes up, and its settle
// follows exactly once, whatever happens.
type attempt struct {
	d      *Dispatcher
	ctx    context.Context // without cancellation: a caller who hangs up is still charged
	id     exchange.AttemptID
	target routing.Target
	rec    *exchange.Record
	size   estimate.Size
	said   int64 // what the estimator would have said of the prompt, once the truth is known
	start  time.Time
	once   sync.Once
}

func (d *Dispatcher) open(ctx context.Context, target routing.Target, rec *exchange.Record, size estimate.Size, instead string) (*attempt, *fault.Error) {
	id, err := uuid.NewV7()
	if err != nil {
		id = uuid.New()
	}
	a := &attempt{d: d, ctx: context.WithoutCancel(ctx), id: exchange.AttemptID(id.String()), target: target, rec: rec, size: size, start: d.o.Now()}
	err = d.o.Book.Open(a.ctx, ledger.Intent{ID: a.id, RequestID: rec.RequestID, Provider: target.Provider, Model: target.Model,
		Agent: rec.Agent, Key: rec.Key, Session: rec.Session, Time: a.start, Free: d.o.Pricer.Free(target.Provider), Fallback: instead})
	if err != nil {
		// The book keeps what it cannot write for a while; an error means that it can keep no more.
		return nil, &fault.Error{Kind: fault.Overloaded, Cause: err, Outcome: "accounting_unavailable", RetryAfter: 10 * time.Second, Void: true,
			Message: "accounting is unavailable: the ledger cannot be written; see /health"}
	}
	return a, nil
}

// settle closes the attempt: on the record, and in the book.
func (a *attempt) settle(state exchange.State, outcome string, u messages.Usage) {
	a.once.Do(func() {
		row := exchange.Attempt{ID: a.id, Provider: a.target.Provider, Model: a.target.Model, Start: a.start,
			Duration: max(0, a.d.o.Now().Sub(a.start)), State: state, Outcome: outcome, Usage: u, Guess: a.said, Priced: true}
		if state != exchange.Void {
			row.Cost, row.Price, row.Priced = a.d.o.Pricer.Cost(a.target.Provider, a.target.Model, u)
		}
		a.rec.Attempts = append(a.rec.Attempts, row)
		ctx, cancel := context.WithTimeout(a.ctx, bookTimeout)
		defer cancel()
		err := a.d.o.Book.Settle(ctx, ledger.Settlement{ID: a.id, Time: a.d.o.Now(), State: state, Outcome: outcome, Usage: u,
			Cost: row.Cost, Priced: row.Priced, Price: row.Price})
		if err != nil {
			a.d.o.Log.WithField("request_id", a.rec.RequestID).WithError(err).Warn("ledger: the settlement was not written")
		}
	})
}

// fail settles an attempt that never began to answer.
func (a *attempt) fail(f *fault.Error) {
	switch {
	case f.Void:
		a.settle(exchange.Void, f.Label(), messages.Usage{})
		return
	case f.Outcome == "upstream_5xx":
		// Most upstreams do not charge for their own errors, but none promises it: written down as nothing, marked as a guess.
		a.settle(exchange.Estimated, f.Label(), messages.Usage{})
		return
	case f.Kind == fault.Timeout, f.Kind == fault.Canceled, f.Kind == fault.Upstream, f.Outcome == "panic", f.Outcome == "shutdown":
		a.settle(exchange.Estimated, f.Label(), a.guess(messages.Usage{}, 0))
		return
	}
	a.settle(exchange.Void, f.Label(), messages.Usage{})
}

// guess fills in what the upstream did not say, from what was sent and what came.
func (a *attempt) guess(u messages.Usage, said int64) messages.Usage {
	if u.Known {
		return u
	}
	if u.Prompt() == 0 {
		u.Input = a.d.o.Estimator.Tokens(a.target.Provider, a.target.Model, a.size)
	}
	u.Output = max(u.Output, (said+3)/4)
	return u
}

// finish settles an attempt that answered to its end.
func (a *attempt) finish(reply *providers.Reply, said int64) {
	u := reply.Usage()
	a.rec.OutputBytes = said
	if !u.Known {
		a.settle(exchange.Estimated, "ok", a.guess(u, said))
		return
	}
	a.said = a.d.o.Estimator.Learn(a.target.Provider, a.target.Model, a.size, u.Prompt())
	a.settle(exchange.Settled, "ok", u)
}

// notes puts what a translation could not carry on the record; called again, only what is new.
func (a *attempt) notes(all wire.Notes) {
	for _, n := range all {
		row := [3]string{a.target.Provider, n.Label(), string(n.Kind)}
		if !slices.Contains(a.rec.Notes, row) {
			a.rec.Notes = append(a.rec.Notes, row)
		}
	}
	a.rec.Dropped = all.Fields()
}

// spoken is how many bytes a whole message says: its texts, thinking and inputs, without what stands around them.
func spoken(message []byte) (n int64) {
	messages.View(message).Get("content").ForEach(func(_, block gjson.Result) bool {
		for _, member := range [...]string{"text", "thinking", "input"} {
			switch f := block.Get(member); {
			case f.Type == gjson.String:
				n += int64(len(f.Raw)) - 2
			case f.Exists():
				n += int64(len(f.Raw))
			}
		}
		return true
	})
	return n
}

// deltaFrame is about how many bytes of a delta's data are not what the model said.
const deltaFrame = 84

// follow passes a stream on and settles when it ends, breaks, or is left.
func (a *attempt) follow(reply *providers.Reply, done func(error), probe bool) *providers.Reply {
	if probe {
		done(nil) // it answers: a long answer must not keep the others waiting for the breaker
	}
	inner, said, ended := reply.Frames, int64(0), false
	begun := a.d.o.Now()
	var over sync.Once
	// What passes after the commit is the upstream's time: the gateway only hands it on.
	stop := func() {
		over.Do(func() {
			a.rec.Upstream += max(0, a.d.o.Now().Sub(begun))
			if reply.NotesFunc != nil {
				a.notes(reply.NotesFunc())
			}
		})
	}
	closeInner := reply.CloseFunc
	left := func() {
		// Nobody ranged to the end: the caller left, or we did.
		done(nil)
		a.settle(exchange.Estimated, fault.Canceled.String(), a.guess(reply.Usage(), said))
	}
	reply.Frames = iter.Seq2[sse.Frame, error](func(yield func(sse.Frame, error) bool) {
		defer stop()
		broke := func(e *fault.Error) {
			ended = true
			done(e)
			a.rec.OutputBytes = said
			a.settle(exchange.Estimated, e.Label(), a.guess(reply.Usage(), said))
		}
		returned := false
		defer func() {
			if !returned && !ended { // a panic passes through
				broke(&fault.Error{Kind: fault.Internal, Outcome: "panic", Message: "Internal error"})
			}
		}()
		for f, err := range inner {
			if err != nil {
				broke(fault.From(err))
				yield(sse.Frame{}, err)
				return
			}
			if f.Event == "content_block_delta" {
				said += max(1, int64(len(f.Data))-deltaFrame)
			}
			if f.Event == "message_stop" {
				// Settled before the caller sees the end, so that whoever asks next finds the row.
				ended = true
				done(nil)
				a.finish(reply, said)
			}
			if !yield(f, nil) {
				returned = true
				return
			}
		}
		if returned = true; !ended {
			// Whoever made the frames owes an end or an error; without either the caller would take a torso for an answer.
			e := &fault.Error{Kind: fault.Upstream, Provider: a.target.Provider, Outcome: "truncated", Message: "the upstream's answer broke off before its end"}
			broke(e)
			yield(sse.Frame{}, e)
		}
	})
	reply.CloseFunc = func() error {
		var err error
		if closeInner != nil {
			err = closeInner()
		}
		if !ended {
			left()
		}
		return err
	}
	return reply
}
