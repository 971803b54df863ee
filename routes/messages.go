package routes

import (
	"cmp"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"signalbox/config"
	"signalbox/internal/agents"
	"signalbox/internal/dispatch"
	"signalbox/internal/estimate"
	"signalbox/internal/fault"
	"signalbox/internal/routing"
	"signalbox/middleware"
)

const defaultWrite = 30 * time.Second

// messages serves a message: routing makes a plan, dispatch carries it out, respond writes what comes.
func (h *handlers) messages(c *gin.Context, g *Generation, path *routing.Target) {
	rec := middleware.Record(c)
	ask, err := h.ask(c, g, path)
	if err != nil {
		Problem(c, err)
		return
	}
	out := newStream(c, rec, defaultWrite)
	defer out.abandon()
	opened := func() bool { return false }
	if wait := g.Config.EarlyCommit.D(); wait > 0 && rec.Stream {
		opened = out.early(wait)
	}
	reply, err := g.Dispatch.Do(c.Request.Context(), ask, rec)
	if begun := opened(); err != nil {
		if begun {
			out.fail(err)
			out.end()
			return
		}
		Problem(c, err)
		return
	}
	defer func() { _ = reply.Close() }()
	if cfg, ok := g.Providers.Config(rec.Provider); ok && cfg.Timeouts.ClientWrite > 0 {
		out.limit = cfg.Timeouts.ClientWrite.D()
	}
	respond(c, reply, out)
}

// countTokens answers how many tokens a prompt has: by the upstream's own counter, else by estimate.
func (h *handlers) countTokens(c *gin.Context, g *Generation, path *routing.Target) {
	rec := middleware.Record(c)
	rec.Count = true
	ask, err := h.ask(c, g, path)
	if err != nil {
		Problem(c, err)
		return
	}
	count, exact, err := g.Dispatch.Count(c.Request.Context(), ask, rec)
	if err != nil {
		Problem(c, err)
		return
	}
	for k, v := range count.Header {
		c.Writer.Header()[k] = v
	}
	answerHeaders(c, nil)
	if !exact {
		c.Writer.Header().Set("X-Signalbox-Estimated", "true")
	}
	if count.Body != nil {
		writeWhole(c, http.StatusOK, "application/json", count.Body, defaultWrite)
		return
	}
	writeJSON(c, http.StatusOK, map[string]int64{"input_tokens": count.Tokens})
}

// ask gathers what dispatch needs.
func (h *handlers) ask(c *gin.Context, g *Generation, path *routing.Target) (dispatch.Ask, error) {
	q, id, err := h.query(c, g, path)
	middleware.Record(c).Agent = id.Name
	if err != nil {
		return dispatch.Ask{}, err
	}
	plan, err := g.Table.Plan(q)
	if err != nil {
		return dispatch.Ask{}, err
	}
	switch v := c.GetHeader("Anthropic-Version"); v {
	case "", "2023-06-01", "2026-10-21":
	default:
		h.d.Log.WithField("request_id", middleware.Record(c).RequestID).WithField("anthropic_version", clip(v)).Info("a version of the API that is not known here")
	}
	for _, s := range plan.Skipped {
		h.d.Log.WithField("request_id", middleware.Record(c).RequestID).WithField("target", s).Info("fallback target passed over")
	}
	return asked(c, plan), nil
}

func asked(c *gin.Context, plan routing.Plan) dispatch.Ask {
	own := middleware.Caller(c)
	return dispatch.Ask{Request: middleware.Request(c), Plan: plan, Query: c.Request.URL.RawQuery, Header: c.Request.Header,
		Credential: own.Secret, Bearer: own.Bearer, Strict: c.GetHeader("X-Signalbox-Strict") == "true"}
}

// query is what a request says about its target, and who asks. The marks of an agent choose only among configured targets.
func (h *handlers) query(c *gin.Context, g *Generation, path *routing.Target) (routing.Query, agents.Identity, error) {
	req, rec := middleware.Request(c), middleware.Record(c)
	var project *config.Project
	if v := c.GetHeader(config.ProjectHeader); v != "" {
		var err error
		if project, err = config.DecodeProject(v); err != nil {
			return routing.Query{}, agents.Identity{}, fault.New(fault.Invalid, "%s: %s; it is set by signalbox run", config.ProjectHeader, err)
		}
	}
	var known []config.Fingerprint
	if project != nil {
		known = project.Known
	}
	id := h.d.Agents.Identify(c.Request.Header, req, known)
	q := routing.Query{Path: path, Header: c.GetHeader("X-Signalbox-Target"), Agent: id.Name, Model: req.Model(),
		OwnCredential: !middleware.Caller(c).Secret.Empty(), Project: project, Subagent: id.Subagent, Seed: cmp.Or(rec.Session, rec.RequestID)}
	if g.Table.Weighs() {
		q.Traits = req.Traits()
		q.Tokens = h.d.Estimate("", "", estimate.Of(req)) // of no model in particular: which one it is to be is not known yet
	}
	return q, id, nil
}

// pass hands a path that we do not serve to a provider that speaks Anthropic's API, when the target or the default is one.
func (h *handlers) pass(c *gin.Context, g *Generation, path string, provider string) {
	if err := plain(path); err != nil {
		Problem(c, err)
		return
	}
	body, err := middleware.Body(c, g.Config.BodyLimit)
	if err != nil {
		Problem(c, err)
		return
	}
	if err := h.handOn(c, g, path, provider, body); err != nil {
		Problem(c, err)
	}
}

func notServed(path string) error {
	return fault.New(fault.NotFound, "%s is Anthropic's own and is not served by this target; set default to an anthropic provider, or use the path /v1/<anthropic provider>/<model>%s", path, path)
}
