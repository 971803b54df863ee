// Package gemini is Google's Gemini API as an upstream, with an API key. Servers that speak the same dialect under another
// address are reached by base_url.
//
// The dialect is internal/wire/gemini, the HTTP is providers.Upstream; here they meet.
package gemini

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
	dialect "signalbox/internal/wire/gemini"
	"signalbox/providers"
)

const (
	defaultBase = "https://generativelanguage.googleapis.com"
	listLimit   = 15 * time.Second
	pingLimit   = 5 * time.Second
	maxPages    = 20 // of the model list
)

// versioned is a base URL that names a version of the API already.
var versioned = regexp.MustCompile(`/v[0-9]+[a-z0-9]*$`)

// Client is one account at Google.
type Client struct {
	*providers.Upstream
	cfg    config.Provider
	prefix string // what stands between the base URL and /models
}

var _ providers.Provider = (*Client)(nil)

// New makes the provider.
func New(cfg config.Provider, deps providers.Deps) (providers.Provider, error) {
	u, err := providers.NewUpstream(cfg, defaultBase, deps)
	if err != nil {
		return nil, err
	}
	c := &Client{u, cfg, "/v1beta"}
	if versioned.MatchString(u.Base()) {
		c.prefix = ""
	}
	return c, nil
}

// Send carries out one attempt.
func (c *Client) Send(ctx context.Context, call providers.Call) (*providers.Reply, error) {
	conv, err := call.Conversation()
	if err != nil {
		return nil, err
	}
	method := ":generateContent"
	if call.Request.Stream() {
		method = ":streamGenerateContent?alt=sse"
	}
	return c.Conceding(call.Model, dialect.Yields, func(x wire.Concessions) (*providers.Reply, error) {
		job, err := dialect.Encode(conv, call.Model, dialect.Options{Provider: c.Name, Concessions: x, Strict: call.Strict})
		if err != nil {
			return nil, err
		}
		return c.Exchange(ctx, c.prefix+resource(call.Model)+method, c.sign, job, call)
	})
}

// resource is the path of a model. Google's own lists write the name with its collection in front.
func resource(model string) string {
	for _, collection := range [...]string{"models/", "tunedModels/"} {
		if name, ok := strings.CutPrefix(model, collection); ok {
			return "/" + collection + url.PathEscape(name)
		}
	}
	return "/models/" + url.PathEscape(model)
}

// sign sets the key, and the extra headers of the configuration.
func (c *Client) sign(h http.Header) {
	if !c.cfg.APIKey.Empty() {
		h.Set("X-Goog-Api-Key", c.cfg.APIKey.Reveal())
	}
	providers.Extra(h, c.cfg)
}

// Models lists what can be asked for content.
func (c *Client) Models(ctx context.Context) ([]providers.Model, error) {
	var out []providers.Model
	page := ""
	for range maxPages {
		data, err := c.Get(ctx, c.prefix+"/models?pageSize=1000"+page, c.sign, listLimit)
		if err != nil {
			return nil, c.refused(err)
		}
		if messages.Valid(data) != nil {
			return nil, &fault.Error{Kind: fault.Upstream, Provider: c.Name, Outcome: "bad_body", Message: "the model list is not JSON"}
		}
		list := messages.View(data)
		list.Get("models").ForEach(func(_, m gjson.Result) bool {
			id := strings.TrimPrefix(m.Get("name").String(), "models/")
			if id != "" && generates(m.Get("supportedGenerationMethods")) {
				out = append(out, providers.Model{ID: id, DisplayName: m.Get("displayName").String(),
					Window: count(m.Get("inputTokenLimit")), MaxOutput: count(m.Get("outputTokenLimit"))})
			}
			return true
		})
		next := list.Get("nextPageToken").String()
		if next == "" {
			break
		}
		page = "&pageToken=" + url.QueryEscape(next)
	}
	return out, nil
}

// generates says whether a model of the list answers messages: others embed, or make pictures. A list that does not say is
// believed.
func generates(methods gjson.Result) bool {
	if !methods.IsArray() {
		return true
	}
	found := false
	methods.ForEach(func(_, m gjson.Result) bool {
		found = m.String() == "generateContent"
		return !found
	})
	return found
}

func count(v gjson.Result) int64 {
	n, _ := messages.Count(v)
	return n
}

// Ping asks for the model list, which proves the key; a server that wants none only has to be there.
func (c *Client) Ping(ctx context.Context) error {
	if c.cfg.APIKey.Empty() {
		return c.Connect(ctx)
	}
	_, err := c.Get(ctx, c.prefix+"/models?pageSize=1", c.sign, pingLimit)
	return c.refused(err)
}

// refused gives a key that Google does not know its own kind: Google calls it a bad request, and these requests hold nothing
// else that could be bad.
func (c *Client) refused(err error) error {
	if f := (*fault.Error)(nil); errors.As(err, &f) && f.Kind == fault.Invalid {
		return dialect.ReadError(c.Name, http.StatusUnauthorized, nil, nil)
	}
	return err
}
