// Package anthropic is the upstream that speaks our own inner language: the caller's bytes go up as they are, with the model
// respliced, and its answer comes back as it is. The key is the configuration's, or else the caller's own.
//
// The lane itself is providers.Upstream.Verbatim; here is only what Anthropic alone has: its addresses, its model list, its
// token counter, and the further paths that are handed on.
package anthropic

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/providers"
)

const (
	defaultBase = "https://api.anthropic.com"
	listLimit   = 10 * time.Second
	countLimit  = 30 * time.Second
)

// Client is one Anthropic account.
type Client struct {
	*providers.Upstream
	cfg config.Provider
}

var (
	_ providers.Provider     = (*Client)(nil)
	_ providers.TokenCounter = (*Client)(nil)
	_ providers.Passer       = (*Client)(nil)
	_ providers.Speaker      = (*Client)(nil)
)

// New makes the provider. Without a key it serves callers who bring their own credential.
func New(cfg config.Provider, deps providers.Deps) (providers.Provider, error) {
	u, err := providers.NewUpstream(cfg, defaultBase, deps)
	if err != nil {
		return nil, err
	}
	return &Client{u, cfg}, nil
}

// Send carries out one attempt.
func (c *Client) Send(ctx context.Context, call providers.Call) (*providers.Reply, error) {
	if err := c.credential(call); err != nil {
		return nil, err
	}
	return c.Verbatim(ctx, "/v1/messages", providers.Anthropic(call, c.cfg), call)
}

func (c *Client) credential(call providers.Call) error {
	if c.cfg.APIKey.Empty() && call.Credential.Empty() {
		return &fault.Error{Kind: fault.UpstreamKey, Provider: c.Name, Void: true,
			Message: "no key: set ANTHROPIC_API_KEY or providers." + c.Name + ".api_key, or send your own x-api-key"}
	}
	return nil
}

// SpeaksMessages is true for all its models.
func (c *Client) SpeaksMessages(string) bool { return true }

// CountTokens asks Anthropic's own counter.
func (c *Client) CountTokens(ctx context.Context, call providers.Call) (providers.Count, error) {
	if err := c.credential(call); err != nil {
		return providers.Count{}, err
	}
	return c.Upstream.CountTokens(ctx, "/v1/messages/count_tokens", providers.Anthropic(call, c.cfg), call, countLimit)
}

// Models lists what the account offers. It needs a key of its own.
func (c *Client) Models(ctx context.Context) ([]providers.Model, error) {
	if c.cfg.APIKey.Empty() {
		return nil, nil
	}
	var out []providers.Model
	after := ""
	for page := 0; page < 10; page++ {
		q := url.Values{"limit": {"1000"}}
		if after != "" {
			q.Set("after_id", after)
		}
		data, err := c.Get(ctx, "/v1/models?"+q.Encode(), providers.Anthropic(providers.Call{}, c.cfg), listLimit)
		if err != nil {
			return nil, err
		}
		if messages.Valid(data) != nil {
			return nil, &fault.Error{Kind: fault.Upstream, Provider: c.Name, Outcome: "bad_body", Message: "the model list is not JSON"}
		}
		v := messages.View(data)
		v.Get("data").ForEach(func(_, m gjson.Result) bool {
			created, _ := time.Parse(time.RFC3339, m.Get("created_at").String())
			unix := created.Unix()
			if created.IsZero() {
				unix = 0
			}
			out = append(out, providers.Model{ID: m.Get("id").String(), DisplayName: m.Get("display_name").String(), Created: unix,
				Window: m.Get("max_input_tokens").Int(), MaxOutput: m.Get("max_tokens").Int()})
			return true
		})
		if after = v.Get("last_id").String(); !v.Get("has_more").Bool() || after == "" {
			break
		}
	}
	return out, nil
}

// Ping asks for one model, which proves the key; without a key only the connection can be proven.
func (c *Client) Ping(ctx context.Context) error {
	if c.cfg.APIKey.Empty() {
		return c.Connect(ctx)
	}
	_, err := c.Get(ctx, "/v1/models?limit=1", providers.Anthropic(providers.Call{}, c.cfg), 5*time.Second)
	return err
}

// Pass hands a path on that we do not serve ourselves.
func (c *Client) Pass(ctx context.Context, method, path string, call providers.Call, body []byte) (*http.Response, error) {
	if err := c.credential(call); err != nil {
		return nil, err
	}
	return c.Upstream.Pass(ctx, method, path, providers.Anthropic(call, c.cfg), call, body)
}
