package dispatch

import (
	"context"

	"signalbox/internal/estimate"
	"signalbox/internal/exchange"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/money"
	"signalbox/internal/wire"
)

// Candidate is what would become of a request at one target of its plan. Nothing of it is sent; a local server may be asked what
// it knows of the model.
type Candidate struct {
	Target string
	Lane   exchange.Lane // empty where Fault is set
	Tokens int64         // of the prompt, by estimate with what was learned of this model
	Window int64         // the model's, in tokens; 0 is unknown
	Notes  wire.Notes    // what would be lost
	Fault  *fault.Error  // why this target would not serve it, nil when it would
	Open   bool          // the breaker gives it a rest at the moment

	Priced   bool         // false: no price is known, which is not zero
	Min, Max money.Amount // from a cached prompt with no answer to a new one with max_tokens of it
}

// Fits reports whether the prompt and its answer fit into the window; known is false where the window is unknown.
func (c *Candidate) Fits() (fits, known bool) {
	return c.Window == 0 || c.Tokens <= c.Window, c.Window > 0
}

// Preview goes with a request as far as the network, at each target of its plan. It is what Do would do, in the same code.
func (d *Dispatcher) Preview(ctx context.Context, ask Ask) []Candidate {
	out := make([]Candidate, 0, len(ask.Plan.Targets))
	for _, target := range ask.Plan.Targets {
		c := Candidate{Target: target.String(), Tokens: d.o.Estimator.Tokens(target.Provider, target.Model, estimate.Of(ask.Request)),
			Open: d.o.Breakers.open(target)}
		if d.o.Window != nil {
			c.Window = d.o.Window(target.Provider, target.Model)
		}
		p, err := d.o.Providers.Get(target.Provider)
		if err == nil {
			call := d.call(ask, target)
			call.DryRun = true
			reply, failed := p.Send(ctx, call)
			if err = failed; err == nil {
				c.Lane, c.Notes = reply.Lane, reply.Notes
				if reply.Window > 0 {
					c.Window = reply.Window
				}
				_ = reply.Close()
			}
		}
		if err != nil {
			if c.Fault = fault.From(err); c.Fault.Window > 0 {
				c.Window = c.Fault.Window
			}
		}
		var most int64
		if n := ask.Request.Envelope().MaxTokens; n != nil {
			most = *n
		}
		cost := func(u messages.Usage) (money.Amount, bool) {
			amount, _, ok := d.o.Pricer.Cost(target.Provider, target.Model, u)
			return amount, ok
		}
		c.Max, c.Priced = cost(messages.Usage{Input: c.Tokens, Output: most})
		c.Min, _ = cost(messages.Usage{Input: c.Tokens})
		if cached, ok := cost(messages.Usage{CacheRead: c.Tokens}); ok && cached < c.Min {
			c.Min = cached
		}
		out = append(out, c)
	}
	return out
}
