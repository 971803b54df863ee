package routes

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"signalbox/config"
	"signalbox/internal/agents"
	"signalbox/internal/exchange"
	"signalbox/internal/fault"
	"signalbox/internal/routing"
	"signalbox/middleware"
	"signalbox/providers"
)

// resources are the paths of Anthropic's API that we know by name but do not serve.
var resources = []string{"/v1/messages/batches", "/v1/files", "/v1/skills", "/v1/agents", "/v1/complete", "/v1/environments", "/v1/sessions", "/v1/organizations"}

func isResource(path string) bool {
	for _, r := range resources {
		if path == r || strings.HasPrefix(path, r+"/") {
			return true
		}
	}
	return false
}

// handOn passes a request to the provider named, or to the default target's.
func (h *handlers) handOn(c *gin.Context, g *Generation, path, provider string, body []byte) error {
	rec, own := middleware.Record(c), middleware.Caller(c)
	if provider == "" {
		plan, err := g.Table.Plan(routing.Query{Header: c.GetHeader("X-Signalbox-Target"), Agent: agents.Named(c.Request.Header), Model: g.Config.ClaudeModel, OwnCredential: true})
		if err != nil {
			return notServed(path)
		}
		provider = plan.Targets[0].Provider
	}
	p, err := g.Providers.Get(provider)
	if err != nil {
		return err
	}
	passer, ok := p.(providers.Passer)
	if !ok {
		return notServed(path)
	}
	rec.Provider = provider
	call := providers.Call{Query: c.Request.URL.RawQuery, Header: c.Request.Header}
	if cfg, _ := g.Providers.Config(provider); cfg.APIKey.Empty() {
		call.Credential, call.Bearer = own.Secret, own.Bearer
	}
	ctx, cancel := context.WithTimeoutCause(c.Request.Context(), config.BeginLimit, &fault.Error{Kind: fault.Timeout, Provider: provider,
		Outcome: "total_timeout", Message: "the upstream did not answer in time"})
	defer cancel()
	resp, err := passer.Pass(ctx, c.Request.Method, path, call, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	out := c.Writer.Header()
	for k, v := range resp.Header {
		low := strings.ToLower(k)
		if low == "content-type" || low == "retry-after" || low == "request-id" || strings.HasPrefix(low, "anthropic-ratelimit-") {
			out[k] = v
		}
	}
	answerHeaders(c, nil)
	rec.Status, rec.Lane = resp.StatusCode, exchange.Verbatim
	c.Writer.WriteHeader(resp.StatusCode)
	if c.Request.Method != http.MethodHead {
		if _, err := io.Copy(&patient{c.Writer, http.NewResponseController(c.Writer)}, resp.Body); err != nil {
			gone(c, err)
			// Half an answer must not look like a whole one.
			panic(http.ErrAbortHandler)
		}
	}
	return nil
}

// patient is a writer whose reader may be slow but must not stop.
type patient struct {
	w  io.Writer
	rc *http.ResponseController
}

func (p *patient) Write(b []byte) (int, error) {
	_ = p.rc.SetWriteDeadline(time.Now().Add(defaultWrite))
	return p.w.Write(b)
}

// plain holds a path that becomes part of an upstream's address against what a client of that API would write: whole segments
// that lead downwards.
func plain(escaped string) error {
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return fault.New(fault.Invalid, "the path is not properly percent-encoded")
	}
	for _, s := range strings.Split(strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"), "/") {
		ok := s != "" && s != "." && s != ".."
		for _, c := range []byte(s) {
			ok = ok && c > ' ' && c < 0x7f && c != '%' && c != '\\' && c != '?' && c != '#'
		}
		if !ok {
			return fault.New(fault.Invalid, "the path %q cannot be passed on", clip(path))
		}
	}
	return nil
}
