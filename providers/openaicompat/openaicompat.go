// Package openaicompat is every upstream that speaks OpenAI's chat completions: OpenAI itself, Mistral, Groq, vLLM, LM Studio and
// whoever else. What differs between them is a row of providers/presets.json; a further server is a further row.
//
// The dialect is internal/wire/openaichat, the HTTP is providers.Upstream; here they meet.
package openaicompat

import (
	"context"
	"time"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
	"signalbox/internal/wire/openaichat"
	"signalbox/internal/wire/responses"
	"signalbox/providers"
)

const pingLimit = 5 * time.Second

// Client is one account at a compatible server.
type Client struct {
	*providers.Upstream
	cfg     config.Provider
	callers *providers.Callers
	quirks  openaichat.Quirks
	other   *responses.Quirks // the server's other dialect, for what chat completions refuse; nil: it may not have one
}

var _ providers.Provider = (*Client)(nil)

// New makes the provider. The row of cfg.Profile, or else of the provider's own name, says what its server needs; without one
// it is the plain dialect, and a base URL is required.
func New(cfg config.Provider, deps providers.Deps) (providers.Provider, error) {
	row, known := providers.PresetFor(cfg.Name)
	if cfg.Profile != "" {
		if row, known = providers.PresetFor(cfg.Profile); !known && cfg.Profile != "plain" {
			return nil, fault.New(fault.Invalid, "providers.%s.profile: %q is unknown; known profiles: %v, plain", cfg.Name, cfg.Profile, providers.PresetNames())
		}
	}
	if cfg.BaseURL == "" && !known {
		return nil, fault.New(fault.Invalid, "providers.%s.base_url: required, no profile names one", cfg.Name)
	}
	u, err := providers.NewUpstream(cfg, row.BaseURL, deps)
	if err != nil {
		return nil, err
	}
	quirks := row.Quirks
	quirks.Provider = cfg.Name
	c := &Client{Upstream: u, cfg: cfg, callers: providers.NewCallers(cfg, row.TextTools || !known), quirks: quirks}
	if row.Responses && providers.OwnedByOpenAI(u.Base()) {
		other := responses.OpenAI()
		other.Provider = cfg.Name
		c.other = &other
	}
	return c, nil
}

// Send carries out one attempt.
func (c *Client) Send(ctx context.Context, call providers.Call) (*providers.Reply, error) {
	conv, err := call.Conversation()
	if err != nil {
		return nil, err
	}
	if c.other != nil && len(conv.Tools) > 0 && wire.ReadOpenAIModel(call.Model).NoEffort {
		return c.respond(ctx, conv, call)
	}
	quirks := c.quirks
	quirks.Strict, quirks.TextTools = call.Strict, c.callers.For(call.Model)
	return c.Conceding(call.Model, openaichat.Yields, func(x wire.Concessions) (*providers.Reply, error) {
		quirks.Concessions = x
		job, err := openaichat.Encode(conv, call.Model, quirks)
		if err != nil {
			return nil, err
		}
		return c.Exchange(ctx, "/chat/completions", providers.Bearer(c.cfg), job, call)
	})
}

// respond carries out an attempt at a model that chat completions would not let think beside its tools.
func (c *Client) respond(ctx context.Context, conv *messages.Conversation, call providers.Call) (*providers.Reply, error) {
	quirks := *c.other
	quirks.Strict = call.Strict
	return c.Conceding(call.Model, responses.Yields, func(x wire.Concessions) (*providers.Reply, error) {
		quirks.Concessions = x
		job, err := responses.Encode(conv, call.Model, quirks)
		if err != nil {
			return nil, err
		}
		return c.Exchange(ctx, "/responses", providers.Bearer(c.cfg), job, call)
	})
}

// Models lists what the server offers.
func (c *Client) Models(ctx context.Context) ([]providers.Model, error) {
	return c.OpenAIModels(ctx, providers.Bearer(c.cfg))
}

// Ping asks for the model list, which proves the key; a server that wants none only has to be there.
func (c *Client) Ping(ctx context.Context) error {
	if c.cfg.APIKey.Empty() {
		return c.Connect(ctx)
	}
	_, err := c.Get(ctx, "/models", providers.Bearer(c.cfg), pingLimit)
	return err
}
