// Package echo is the provider that is always there: signalbox/echo answers without a network, without a price and without
// chance, so that a gateway, an agent's wiring or a test can be tried before any model is.
//
// It says the last user message again, word by word; thinks when asked to; calls a tool when the request asks for one; and
// says what the tool said. Its answers are made by the stream engine like everybody's. Read plan.go for what it answers,
// echo.go for how.
package echo

import (
	"context"
	"io"

	"signalbox/config"
	"signalbox/internal/exchange"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
	"signalbox/providers"
)

// Model is the one model.
const Model = "echo"

// Client is the provider. It has no state.
type Client struct{ name string }

var (
	_ providers.Provider     = (*Client)(nil)
	_ providers.TokenCounter = (*Client)(nil)
)

// New makes the provider; nothing of the configuration but its name matters.
func New(cfg config.Provider, _ providers.Deps) (providers.Provider, error) {
	c := &Client{name: cfg.Name}
	if c.name == "" {
		c.name = "signalbox"
	}
	return c, nil
}

// Send answers. It never fails but for another model's name and for a request that no target could serve.
func (c *Client) Send(ctx context.Context, call providers.Call) (*providers.Reply, error) {
	if err := c.knows(call.Model); err != nil {
		return nil, err
	}
	conv, err := call.Conversation()
	if err != nil {
		return nil, err
	}
	prep, err := wire.Prepare(conv, wire.Rules{ResultImages: true, Files: true, ImageURLs: true, SystemInPlace: true, Reasoning: true, Strict: call.Strict})
	if err != nil {
		return nil, err
	}
	if call.Strict {
		if err := prep.Notes.Refuse(); err != nil {
			return nil, err
		}
	}
	if call.DryRun {
		return &providers.Reply{Notes: prep.Notes, Lane: exchange.Translated}, nil
	}
	p := think(conv, prep)
	asked := conv.Model
	if asked == "" {
		asked = c.name + "/" + Model
	}
	engine := wire.NewEngine(wire.EngineOptions{Model: asked, IDs: prep.IDs, CallerName: prep.CallerName})
	engine.Usage(messages.Usage{Input: p.usage.Input})
	reply := &providers.Reply{Notes: prep.Notes, Lane: exchange.Translated, UsageFunc: engine.Total}
	if conv.Stream {
		reply.Frames = providers.Frames(engine.Stream(nil, func() error {
			if ctx.Err() != nil {
				return fault.From(context.Cause(ctx))
			}
			return p.say(engine)
		}))
		return reply, nil
	}
	for p.say(engine) == nil {
	}
	whole, err := engine.Response()
	if err != nil {
		return nil, err
	}
	reply.Body = whole.AppendJSON(nil)
	return reply, nil
}

// CountTokens counts as the usage of an answer does.
func (c *Client) CountTokens(_ context.Context, call providers.Call) (providers.Count, error) {
	if err := c.knows(call.Model); err != nil {
		return providers.Count{}, err
	}
	conv, err := call.Conversation()
	if err != nil {
		return providers.Count{}, err
	}
	return providers.Count{Tokens: promptTokens(conv)}, nil
}

// Models lists the one model.
func (c *Client) Models(context.Context) ([]providers.Model, error) {
	return []providers.Model{{ID: Model, DisplayName: "Echo"}}, nil
}

// Ping always succeeds.
func (c *Client) Ping(context.Context) error { return nil }

func (c *Client) knows(model string) error {
	if model == Model {
		return nil
	}
	if len(model) > 80 {
		model = model[:80] + "…"
	}
	e := fault.New(fault.NotFound, "model %q does not exist here; %s has one model: %s", model, c.name, Model)
	e.Provider, e.Void = c.name, true
	return e
}

// say feeds the engine the next piece of the answer; io.EOF when all was said.
func (a *plan) say(e *wire.Engine) error {
	switch {
	case len(a.thinking) > 0:
		e.Thinking(messages.Quote(a.thinking[0]))
		a.thinking = a.thinking[1:]
	case len(a.words) > 0:
		e.Text(messages.Quote(a.words[0]))
		a.words = a.words[1:]
	case a.call != nil:
		e.Call(*a.call)
		a.call = nil
	case !e.Finished():
		e.Usage(a.usage)
		e.Finish(a.stop, a.sequence)
	default:
		return io.EOF
	}
	return nil
}
