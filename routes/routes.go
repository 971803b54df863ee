// Package routes is HTTP in, HTTP out: the timetable of every path, and the handlers behind it. It is the last place that
// sees Gin on the way down. Read routes.go for what is served and what each request passes on its way, messages.go for the
// one thing that this program is for.
package routes

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/sirupsen/logrus"

	"signalbox/config"
	"signalbox/internal/agents"
	"signalbox/internal/dispatch"
	"signalbox/internal/estimate"
	"signalbox/internal/fault"
	"signalbox/internal/routing"
	"signalbox/middleware"
	"signalbox/providers"
)

// Generation is one immutable state of a running gateway: what a configuration became. A request keeps the one it started
// with.
type Generation struct {
	Config    *config.Config
	Providers *providers.Registry
	Table     *routing.Table
	Dispatch  *dispatch.Dispatcher
	Lists     *Lists
	Probes    *Probes
}

// Deps are what the handlers stand on beside a generation.
type Deps struct {
	// Current gives the generation of now; release is called when the request has ended.
	Current func() (g *Generation, release func())
	// Config is the current configuration, for those who need only it.
	Config func() *config.Config

	Meter       middleware.Meter
	Rejected    func(reason string)
	Panicked    func()
	Metrics     http.Handler
	Ledger      func() string  // ok, degraded or failing
	ConfigError func() *string // of the last reload, nil when it was good
	Draining    func() bool
	Status      func() any // what GET /admin/v1/status answers
	Reload      func() error
	Flush       func(context.Context) error // brings the spend book up to date
	Agents      *agents.Directory           // who asks, by what they carry; nil knows no definition files
	Estimate    func(provider, model string, size estimate.Size) int64

	Log         logrus.FieldLogger
	Now         func() time.Time
	Version     string
	PID         int
	MaxInflight int
	Queue       int
}

type handlers struct {
	d      Deps
	chains map[string][]gin.HandlerFunc
}

// The chains. Every route has one; a test walks Gin's own list and fails when a route has none.
const (
	chainOpen   = "open"    // probes: no key, no body
	chainScrape = "scrape"  // metrics and health: the metrics key once it is set
	chainAdmin  = "admin"   // this machine, or the admin key
	chainRead   = "read"    // small answers for callers
	chainWork   = "message" // requests that may reach an upstream: admitted, counted, accounted
)

// route is one line of the timetable.
type route struct {
	methods string
	path    string
	chain   string
	handler func(h *handlers) gin.HandlerFunc
}

// timetable is every route. Fixed paths win over the prefix form; their first words are not free as provider names.
var timetable = []route{
	{"GET HEAD", "/", chainOpen, func(h *handlers) gin.HandlerFunc { return h.hello }},
	{"GET HEAD", "/api/hello", chainOpen, func(h *handlers) gin.HandlerFunc { return h.hello }},
	{"GET HEAD", "/livez", chainOpen, func(h *handlers) gin.HandlerFunc { return h.live }},
	{"GET HEAD", "/readyz", chainOpen, func(h *handlers) gin.HandlerFunc { return h.ready }},
	{"GET HEAD", "/health", chainScrape, func(h *handlers) gin.HandlerFunc { return h.with(h.health) }},
	{"GET HEAD", "/metrics", chainScrape, func(h *handlers) gin.HandlerFunc { return gin.WrapH(h.d.Metrics) }},
	{"POST", "/v1/messages", chainWork, func(h *handlers) gin.HandlerFunc {
		return h.parsed(middleware.ForMessage, func(c *gin.Context, g *Generation) { h.messages(c, g, nil) })
	}},
	{"POST", "/v1/messages/count_tokens", chainWork, func(h *handlers) gin.HandlerFunc {
		return h.parsed(middleware.ForCount, func(c *gin.Context, g *Generation) { h.countTokens(c, g, nil) })
	}},
	{"GET HEAD", "/v1/models", chainRead, func(h *handlers) gin.HandlerFunc {
		return h.with(func(c *gin.Context, g *Generation) { h.listModels(c, g, nil) })
	}},
	{"GET HEAD", "/v1/models/*id", chainRead, func(h *handlers) gin.HandlerFunc {
		return h.with(func(c *gin.Context, g *Generation) { h.getModel(c, g, c.Param("id")) })
	}},
	{"GET HEAD POST PUT PATCH DELETE", "/v1/:provider/*rest", chainWork, func(h *handlers) gin.HandlerFunc { return h.with(h.prefix) }},
	{"GET", "/admin/v1/status", chainAdmin, func(h *handlers) gin.HandlerFunc { return h.status }},
	{"POST", "/admin/v1/explain", chainAdmin, func(h *handlers) gin.HandlerFunc { return h.with(h.explain) }},
	{"GET", "/admin/v1/agents", chainAdmin, func(h *handlers) gin.HandlerFunc { return h.with(h.listAgents) }},
	{"POST", "/admin/v1/flush", chainAdmin, func(h *handlers) gin.HandlerFunc { return h.flush }},
	{"POST", "/admin/v1/reload", chainAdmin, func(h *handlers) gin.HandlerFunc { return h.reload }},
}

// served are the methods of the prefix form.
var served = map[string]bool{"GET": true, "HEAD": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true}

// New builds the handler of a gateway.
func New(d Deps) http.Handler { return engine(d) }

func engine(d Deps) *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	gin.DefaultWriter, gin.DefaultErrorWriter = io.Discard, io.Discard
	e := gin.New()
	e.RedirectTrailingSlash = false
	e.RedirectFixedPath = false
	e.HandleMethodNotAllowed = true
	e.ForwardedByClientIP = false
	_ = e.SetTrustedProxies(nil)

	h := &handlers{d: d}
	e.Use(middleware.RequestID(d.Now), middleware.AccessLog(d.Log, d.Now), middleware.Recover(d.Log, Problem, d.Panicked), middleware.Gate(d.Config, Problem, d.Rejected))
	h.chains = chainsOf(d)
	for _, r := range timetable {
		for _, method := range strings.Fields(r.methods) {
			chain := append(append([]gin.HandlerFunc{}, h.chains[r.chain]...), r.handler(h))
			e.Handle(method, r.path, chain...)
		}
	}
	e.NoRoute(func(c *gin.Context) {
		Problem(c, nothingAt(c.Request.URL.Path))
	})
	fixed := map[string]bool{}
	for _, r := range timetable {
		fixed[r.path] = true
	}
	e.NoMethod(func(c *gin.Context) {
		if path := c.Request.URL.Path; path != "/" && strings.HasSuffix(path, "/") {
			// Another method's prefix form took the path for its own; a slash too much is no method's fault.
			Problem(c, fault.New(fault.NotFound, "there is nothing at %s; leave the last slash out", clip(path)))
			return
		}
		// Gin looks for other methods by pattern, and the prefix form fits nearly every path; only a fixed path has a method.
		if path := c.Request.URL.Path; strings.HasPrefix(path, "/v1/") && !fixed[path] && served[c.Request.Method] {
			Problem(c, nothingAt(path))
			return
		}
		Problem(c, fault.New(fault.Method, "%s is not allowed here", clip(c.Request.Method)))
	})
	return e
}

// chainsOf is what each kind of route passes on its way.
func chainsOf(d Deps) map[string][]gin.HandlerFunc {
	admit := middleware.Admit(d.MaxInflight, d.Queue, func() int64 { return d.Config().BodyLimit }, Problem, d.Rejected)
	return map[string][]gin.HandlerFunc{
		chainOpen:   {},
		chainScrape: {middleware.Scrape(d.Config, Problem, d.Rejected)},
		chainAdmin:  {middleware.Admin(d.Config, Problem, d.Rejected)},
		chainRead:   {middleware.Credential(d.Config)},
		chainWork:   {middleware.Credential(d.Config), middleware.Account(d.Meter, d.Now), admit},
	}
}

func nothingAt(path string) error {
	return fault.New(fault.NotFound, "there is nothing at %s; messages go to POST /v1/messages or POST /v1/<provider>/<model>/messages", clip(path))
}

// with gives a handler the generation of now and keeps it alive until the handler returns.
func (h *handlers) with(next func(*gin.Context, *Generation)) gin.HandlerFunc {
	return func(c *gin.Context) {
		g, release := h.d.Current()
		defer release()
		next(c, g)
	}
}

// parsed is with, for handlers whose body is a request.
func (h *handlers) parsed(ask middleware.Ask, next func(*gin.Context, *Generation)) gin.HandlerFunc {
	return h.with(func(c *gin.Context, g *Generation) {
		if h.parse(c, g, ask) {
			next(c, g)
		}
	})
}

func (h *handlers) parse(c *gin.Context, g *Generation, ask middleware.Ask) bool {
	if err := middleware.Validate(c, ask, g.Config.BodyLimit); err != nil {
		f := fault.From(err)
		if f.Kind != fault.Canceled {
			h.d.Rejected(f.Kind.String())
		}
		Problem(c, err)
		return false
	}
	return true
}

// prefix serves /v1/<provider>/<model…>/<operation>.
func (h *handlers) prefix(c *gin.Context, g *Generation) {
	path := c.Request.URL.EscapedPath()
	if isResource(c.Request.URL.Path) {
		h.pass(c, g, path, "")
		return
	}
	if fixed(c.Request.URL.Path) {
		Problem(c, fault.New(fault.Method, "%s is not allowed here", clip(c.Request.Method)))
		return
	}
	p, err := routing.SplitPath(strings.TrimPrefix(path, "/v1/"))
	if err != nil {
		Problem(c, err)
		return
	}
	get := c.Request.Method == http.MethodGet || c.Request.Method == http.MethodHead
	post := c.Request.Method == http.MethodPost
	switch {
	case p.Op == routing.OpMessages && post:
		if h.parse(c, g, middleware.ForMessage) {
			h.messages(c, g, &p.Target)
		}
	case p.Op == routing.OpCountTokens && post:
		if h.parse(c, g, middleware.ForCount) {
			h.countTokens(c, g, &p.Target)
		}
	case p.Op == routing.OpMessages, p.Op == routing.OpCountTokens:
		Problem(c, fault.New(fault.Method, "%s is not allowed here; use POST", clip(c.Request.Method)))
	case p.Op == routing.OpPass:
		h.pass(c, g, p.Rest, p.Target.Provider)
	case !get && (p.Op == routing.OpModels || p.Op == routing.OpModel):
		Problem(c, fault.New(fault.Method, "%s is not allowed here; use GET", clip(c.Request.Method)))
	case p.Op == routing.OpNone, !get:
		Problem(c, nothingAt(c.Request.URL.Path))
	default:
		if _, ok := g.Providers.Config(p.Target.Provider); !ok {
			_, err := g.Providers.Get(p.Target.Provider)
			Problem(c, err)
			return
		}
		switch p.Op {
		case routing.OpModels:
			h.listModels(c, g, &p.Target)
		case routing.OpModel:
			h.getModel(c, g, p.Rest)
		default:
			h.hello(c)
		}
	}
}

// fixed reports whether a path is one of the timetable's own that was asked for with another method: Gin then finds the
// prefix form, which has every method.
func fixed(path string) bool {
	return path == "/v1/messages/count_tokens" || strings.HasPrefix(path, "/v1/models/")
}

// hello answers the connectivity probes of clients.
func (h *handlers) hello(c *gin.Context) {
	writeJSON(c, http.StatusOK, gin.H{"name": "signalbox", "version": h.d.Version})
}

func (h *handlers) status(c *gin.Context) { writeJSON(c, http.StatusOK, h.d.Status()) }

func (h *handlers) reload(c *gin.Context) {
	if err := h.d.Reload(); err != nil {
		Problem(c, fault.New(fault.Invalid, "the configuration was not changed: %s", err.Error()))
		return
	}
	writeJSON(c, http.StatusOK, gin.H{"reloaded": true})
}

// flush brings the spend book up to date, for those who are about to read it.
func (h *handlers) flush(c *gin.Context) {
	if err := h.d.Flush(c.Request.Context()); err != nil {
		Problem(c, fault.Wrap(fault.Internal, err, "Internal error"))
		return
	}
	writeJSON(c, http.StatusOK, gin.H{"flushed": true})
}

// writeJSON writes a small document of ours.
func writeJSON(c *gin.Context, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		Problem(c, fault.Wrap(fault.Internal, err, "Internal error"))
		return
	}
	writeWhole(c, status, "application/json", body, defaultWrite)
}
