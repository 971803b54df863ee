package routes

import (
	"io"
	"net/http"
	"strings"

	"github.com/gin-gonic/gin"

	"signalbox/internal/exchange"
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
		plan, err := g.Table.Plan(routing.Query{Header: c.GetHeader("X-Signalbox-Target"), Agent: agent(c), Model: g.Config.ClaudeModel, OwnCredential: true})
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
	resp, err := passer.Pass(c.Request.Context(), c.Request.Method, path, call, body)
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
		if _, err := io.Copy(c.Writer, resp.Body); err != nil {
			gone(c, err)
		}
	}
	return nil
}
