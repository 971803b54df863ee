// Package ollama is an Ollama server as an upstream: its native chat, its model list, and what it says of each model.
//
// It decides what only the server can know: whether a model can think and see, and how large its window is to be. The
// language itself is internal/wire/ollamachat; the HTTP is providers.Upstream. Read ollama.go first, then window.go; show.go
// is what is asked about a model.
package ollama

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire/ollamachat"
	"signalbox/providers"
)

// DefaultBase is where a local server listens.
const DefaultBase = "http://127.0.0.1:11434"

// Limits of the side requests.
const (
	showLimit = 6 * time.Second // longer than the connect limit, which says more
	listLimit = 10 * time.Second
	pingLimit = 2 * time.Second
	psLimit   = 2 * time.Second
)

// Client is one Ollama server. It is safe for concurrent use.
type Client struct {
	up    *providers.Upstream
	cfg   config.Provider
	deps  providers.Deps
	sign  func(http.Header)
	cards cards

	callers *providers.Callers

	mu      sync.Mutex
	windows map[string]*window // by model; made only for models that the server knows
}

var (
	_ providers.Provider  = (*Client)(nil)
	_ providers.Describer = (*Client)(nil)
)

// New makes a client; nothing is sent yet. An api_key is for Ollama's cloud and goes out as a bearer.
func New(cfg config.Provider, deps providers.Deps) (providers.Provider, error) {
	cfg.Kind = "ollama"
	if cfg.Name == "" {
		cfg.Name = cfg.Kind
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	up, err := providers.NewUpstream(cfg, DefaultBase, deps)
	if err != nil {
		return nil, err
	}
	c := &Client{up: up, cfg: cfg, deps: deps, sign: providers.Bearer(cfg), callers: providers.NewCallers(cfg, true), windows: map[string]*window{}}
	c.cards = cards{fetch: c.show, now: deps.Now, known: map[string]*entry{}}
	return c, nil
}

// CloseIdle lets go of pooled connections.
func (c *Client) CloseIdle() { c.up.CloseIdle() }

// Send carries out one attempt. What the server says of the model comes from a cache; when it says nothing the request goes
// out without. A prompt that certainly does not fit is refused here.
func (c *Client) Send(ctx context.Context, call providers.Call) (*providers.Reply, error) {
	conv, err := call.Conversation()
	if err != nil {
		return nil, err
	}
	about, err := c.cards.get(ctx, call.Model)
	if hopeless(err) {
		return nil, c.notRunning(err) // the chat would fail in the same way, only later
	}
	if call.DryRun && err != nil {
		return nil, c.notRunning(err) // the chat itself is not there to say so
	}
	w := c.window(call.Model, about)
	if call.DryRun {
		w = w.apart()
	}
	size := ollamachat.Measure(conv)
	numCtx, err := w.fit(conv, size)
	if err != nil {
		return nil, err
	}
	o := ollamachat.Options{Provider: c.cfg.Name, NumCtx: numCtx, KeepAlive: c.cfg.KeepAlive,
		Thinking: about.thinking, Levels: about.levels, Vision: about.vision, Strict: call.Strict, TextTools: c.callers.For(call.Model)}
	var reply *providers.Reply
	for {
		job, err := ollamachat.Encode(conv, call.Model, o)
		if err != nil {
			return nil, err
		}
		if reply, err = c.up.Exchange(ctx, "/api/chat", c.sign, job, call); err == nil {
			break
		}
		// Refused before the model was asked, so the last is the only one that costs anything.
		if !job.Without(err, &o) && !w.overflowed(err, &o) {
			return nil, c.notRunning(err)
		}
	}
	if reply.Window = int64(c.most(about)); !call.DryRun {
		w.watch(reply, conv, size)
	}
	return reply, nil
}

// hopeless reports whether an error says that no request can reach the server, or that nobody waits any more.
func hopeless(err error) bool {
	var f *fault.Error
	if !errors.As(err, &f) {
		return false
	}
	return f.Kind == fault.Unreachable || f.Kind == fault.Canceled || f.Kind == fault.Timeout && f.Void
}

// notRunning says what to do when nobody listens. The error may have been shared by all who waited for it, so each gets one
// of its own.
func (c *Client) notRunning(err error) error {
	var f *fault.Error
	if !errors.As(err, &f) {
		return err
	}
	own := *f
	if f.Kind == fault.Unreachable && errors.Is(f.Cause, syscall.ECONNREFUSED) {
		own.Message = "Ollama is not running at " + c.up.Base() + "; start it with: ollama serve"
	}
	return &own
}

// Models lists what is pulled.
func (c *Client) Models(ctx context.Context) ([]providers.Model, error) {
	body, err := c.up.Get(ctx, "/api/tags", c.sign, listLimit)
	if err != nil {
		return nil, c.notRunning(err)
	}
	if err := messages.Valid(body); err != nil {
		return nil, &fault.Error{Kind: fault.Upstream, Provider: c.cfg.Name, Outcome: "bad_body", Message: "the server's model list is no JSON"}
	}
	var models []providers.Model
	messages.View(body).Get("models").ForEach(func(_, m gjson.Result) bool {
		id := m.Get("model").String()
		if id == "" {
			id = m.Get("name").String()
		}
		if id == "" {
			return true
		}
		model := providers.Model{ID: id, DisplayName: m.Get("name").String()}
		if at, err := time.Parse(time.RFC3339Nano, m.Get("modified_at").String()); err == nil {
			model.Created = at.Unix()
		}
		model.Window, _ = messages.Count(m.Get("details.context_length"))
		models = append(models, model)
		return true
	})
	return models, nil
}

// Ping asks for the version: the cheapest thing that only a working server can answer.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.up.Get(ctx, "/api/version", c.sign, pingLimit)
	return c.notRunning(err)
}
