// Package openairesponses is every upstream that speaks OpenAI's Responses API: OpenAI itself, and servers that offer the same
// path.
//
// The dialect is internal/wire/responses, the HTTP is providers.Upstream; here they meet.
package openairesponses

import (
	"context"
	"time"

	"signalbox/config"
	"signalbox/internal/wire"
	"signalbox/internal/wire/responses"
	"signalbox/providers"
)

const pingLimit = 5 * time.Second

// Client is one account.
type Client struct {
	*providers.Upstream
	cfg    config.Provider
	quirks responses.Quirks
}

var _ providers.Provider = (*Client)(nil)

// New makes the provider. Without a base URL it is OpenAI's own server.
func New(cfg config.Provider, deps providers.Deps) (providers.Provider, error) {
	u, err := providers.NewUpstream(cfg, providers.OpenAIBase, deps)
	if err != nil {
		return nil, err
	}
	var quirks responses.Quirks
	if providers.OwnedByOpenAI(u.Base()) {
		quirks = responses.OpenAI()
	}
	quirks.Provider = cfg.Name
	return &Client{u, cfg, quirks}, nil
}

// Send carries out one attempt.
func (c *Client) Send(ctx context.Context, call providers.Call) (*providers.Reply, error) {
	conv, err := call.Conversation()
	if err != nil {
		return nil, err
	}
	quirks := c.quirks
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
