// Package openrouter is the upstream that stands before many others. Claude models go to its Messages endpoint as the caller's
// own bytes, so that signatures, cache marks and server tools survive; all other models go through chat completions, which
// carry reasoning_details and name the cost.
//
// The dialect is internal/wire/openaichat with its OpenRouter quirks, the HTTP is providers.Upstream.
package openrouter

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
	"signalbox/internal/wire/openaichat"
	"signalbox/providers"
)

const (
	defaultBase = "https://openrouter.ai/api/v1"
	listLimit   = 15 * time.Second
	pingLimit   = 5 * time.Second
)

// Client is one OpenRouter account.
type Client struct {
	*providers.Upstream
	cfg     config.Provider
	callers *providers.Callers
}

var (
	_ providers.Provider = (*Client)(nil)
	_ providers.Speaker  = (*Client)(nil)
)

// New makes the provider.
func New(cfg config.Provider, deps providers.Deps) (providers.Provider, error) {
	u, err := providers.NewUpstream(cfg, defaultBase, deps)
	if err != nil {
		return nil, err
	}
	return &Client{u, cfg, providers.NewCallers(cfg, false)}, nil
}

// Send carries out one attempt.
func (c *Client) Send(ctx context.Context, call providers.Call) (*providers.Reply, error) {
	if c.SpeaksMessages(call.Model) {
		return c.Verbatim(ctx, "/messages", c.signMessages(call), call)
	}
	conv, err := call.Conversation()
	if err != nil {
		return nil, err
	}
	quirks := openaichat.OpenRouter()
	quirks.Provider, quirks.Strict, quirks.TextTools = c.Name, call.Strict, c.callers.For(call.Model)
	return c.Conceding(call.Model, openaichat.Yields, func(x wire.Concessions) (*providers.Reply, error) {
		quirks.Concessions = x
		job, err := openaichat.Encode(conv, call.Model, quirks)
		if err != nil {
			return nil, err
		}
		return c.Exchange(ctx, "/chat/completions", c.sign, job, call)
	})
}

// SpeaksMessages says which models OpenRouter serves by Anthropic's own interface without a translation of its own.
func (c *Client) SpeaksMessages(model string) bool {
	return strings.HasPrefix(model, "anthropic/") || strings.HasPrefix(model, "~anthropic/")
}

// sign sets the key and the attribution: ours by default, the configured headers win.
func (c *Client) sign(h http.Header) {
	h.Set("X-Openrouter-Title", "signalbox")
	providers.Bearer(c.cfg)(h)
}

// signMessages adds what an Anthropic endpoint reads of the caller's headers. The caller's credential is never among them: the
// account is the gateway's.
func (c *Client) signMessages(call providers.Call) func(http.Header) {
	call.Credential = config.Secret{}
	keyless := c.cfg
	keyless.APIKey = config.Secret{} // the endpoint takes the key as a bearer token alone
	anthropic := providers.Anthropic(call, keyless)
	return func(h http.Header) {
		anthropic(h)
		c.sign(h)
	}
}

// Models lists what OpenRouter offers, with windows and prices. The list needs no key.
func (c *Client) Models(ctx context.Context) ([]providers.Model, error) {
	data, err := c.Get(ctx, "/models", c.sign, listLimit)
	if err != nil {
		return nil, err
	}
	if messages.Valid(data) != nil {
		return nil, &fault.Error{Kind: fault.Upstream, Provider: c.Name, Outcome: "bad_body", Message: "the model list is not JSON"}
	}
	var out []providers.Model
	messages.View(data).Get("data").ForEach(func(_, m gjson.Result) bool {
		id := m.Get("id").String()
		if id == "" {
			return true
		}
		top := m.Get("top_provider")
		window := count(top.Get("context_length"))
		if window == 0 {
			window = count(m.Get("context_length"))
		}
		out = append(out, providers.Model{ID: id, DisplayName: m.Get("name").String(), Created: m.Get("created").Int(), Window: window,
			MaxOutput: count(top.Get("max_completion_tokens")), Price: price(m.Get("pricing"))})
		return true
	})
	return out, nil
}

func count(v gjson.Result) int64 {
	n, _ := messages.Count(v)
	return n
}

// price reads the list's decimal strings, dollars a token. A negative price is a placeholder of the router models: unknown.
func price(v gjson.Result) *providers.ListPrice {
	of := func(member string) string {
		s := strings.TrimSpace(v.Get(member).String())
		if strings.HasPrefix(s, "-") {
			return ""
		}
		return s
	}
	p := &providers.ListPrice{Input: of("prompt"), Output: of("completion"), CacheRead: of("input_cache_read"), CacheWrite: of("input_cache_write")}
	if p.Input == "" || p.Output == "" {
		return nil
	}
	return p
}

// Ping asks about the key itself: the model list would answer without one.
func (c *Client) Ping(ctx context.Context) error {
	if c.cfg.APIKey.Empty() {
		return c.Connect(ctx)
	}
	_, err := c.Get(ctx, "/key", c.sign, pingLimit)
	return err
}
