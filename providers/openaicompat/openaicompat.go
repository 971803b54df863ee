// Package openaicompat is every upstream that speaks OpenAI's chat completions: OpenAI itself, Mistral, Groq, vLLM, LM Studio and
// whoever else. What differs between them is a row of providers/presets.json; a further server is a further row.
//
// The dialect is internal/wire/openaichat, the HTTP is providers.Upstream; here they meet.
package openaicompat

import (
	"context"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire/openaichat"
	"signalbox/providers"
)

const (
	listLimit = 10 * time.Second
	pingLimit = 5 * time.Second
)

// Client is one account at a compatible server.
type Client struct {
	*providers.Upstream
	cfg    config.Provider
	quirks openaichat.Quirks
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
	return &Client{u, cfg, quirks}, nil
}

// Send carries out one attempt.
func (c *Client) Send(ctx context.Context, call providers.Call) (*providers.Reply, error) {
	conv, err := call.Request.Conversation()
	if err != nil {
		return nil, err
	}
	quirks := c.quirks
	quirks.Strict = call.Strict
	job, err := openaichat.Encode(conv, call.Model, quirks)
	if err != nil {
		return nil, err
	}
	return c.Exchange(ctx, "/chat/completions", providers.Bearer(c.cfg), job, call)
}

// Models lists what the server offers. The windows come under several names; 0 where none is given.
func (c *Client) Models(ctx context.Context) ([]providers.Model, error) {
	data, err := c.Get(ctx, "/models", providers.Bearer(c.cfg), listLimit)
	if err != nil {
		return nil, err
	}
	if messages.Valid(data) != nil {
		return nil, &fault.Error{Kind: fault.Upstream, Provider: c.Name, Outcome: "bad_body", Message: "the model list is not JSON"}
	}
	list := messages.View(data)
	if list.IsObject() {
		list = list.Get("data")
	}
	var out []providers.Model
	list.ForEach(func(_, m gjson.Result) bool {
		if id := m.Get("id").String(); id != "" {
			out = append(out, providers.Model{ID: id, DisplayName: m.Get("display_name").String(), Created: count(m, "created"),
				Window:    count(m, "context_length", "context_window", "max_context_length", "max_model_len", "meta.n_ctx_train"),
				MaxOutput: count(m, "max_completion_tokens", "max_output_tokens")})
		}
		return true
	})
	return out, nil
}

// count is the first of the members that holds a whole number.
func count(m gjson.Result, paths ...string) int64 {
	for _, p := range paths {
		if v := m.Get(p); v.Type == gjson.Number && v.Num >= 0 && v.Num < 1<<53 && v.Int() > 0 {
			return v.Int()
		}
	}
	return 0
}

// Ping asks for the model list, which proves the key; a server that wants none only has to be there.
func (c *Client) Ping(ctx context.Context) error {
	if c.cfg.APIKey.Empty() {
		return c.Connect(ctx)
	}
	_, err := c.Get(ctx, "/models", providers.Bearer(c.cfg), pingLimit)
	return err
}
