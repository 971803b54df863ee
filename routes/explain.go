package routes

import (
	"net/http"
	"net/url"
	"sort"
	"strings"

	"github.com/gin-gonic/gin"

	"signalbox/config"
	"signalbox/internal/agents"
	"signalbox/internal/dispatch"
	"signalbox/internal/exchange"
	"signalbox/internal/fault"
	"signalbox/internal/money"
	"signalbox/internal/routing"
	"signalbox/internal/wire"
	"signalbox/middleware"
)

// explanation is what POST /admin/v1/explain answers.
type explanation struct {
	Target     string              `json:"target"` // who would be asked first; empty when nobody can be
	Rule       string              `json:"rule"`
	Agent      agents.Identity     `json:"agent"`
	Steps      []routing.Step      `json:"steps"`
	Candidates []candidate         `json:"candidates"` // the plan, in its order
	Excluded   []routing.Exclusion `json:"excluded"`   // written in the chain, and passed over
	Error      *problemText        `json:"error"`      // what the request would be answered instead; null when it would be served
}

type problemText struct {
	Status  int    `json:"status"`
	Type    string `json:"type"`
	Message string `json:"message"`
}

type candidate struct {
	Target     string        `json:"target"`
	Serves     bool          `json:"serves"`
	Why        string        `json:"why,omitempty"` // why it would not
	Lane       exchange.Lane `json:"lane,omitempty"`
	Tokens     int64         `json:"tokens"` // of the prompt, by estimate
	Window     *int64        `json:"window"` // of the model, in tokens; null when unknown
	Fits       *bool         `json:"fits"`   // the prompt fits into it; null when unknown
	Price      *priceRange   `json:"price"`  // null when no price is known, which is not zero
	Lost       []string      `json:"lost"`   // fields that would be dropped
	Approx     []string      `json:"approximated"`
	ThinkingAs string        `json:"thinking,omitempty"` // what the agent's entry makes of it
	EffortAs   string        `json:"effort,omitempty"`
}

// priceRange is in nano-USD: from a cached prompt with no answer to a new one with max_tokens of it.
type priceRange struct {
	Min money.Amount `json:"min_nanousd"`
	Max money.Amount `json:"max_nanousd"`
}

// explain says which target a request would take, and why. Its body is the request; the headers that name targets and agents count
// as in a real one, and ?path= is the path that it would go to. Nothing of it is sent anywhere.
func (h *handlers) explain(c *gin.Context, g *Generation) {
	middleware.Credential(func() *config.Config { return g.Config })(c)
	target, ask, err := explained(c.Query("path"))
	if err != nil {
		Problem(c, err)
		return
	}
	if !h.parse(c, g, ask) {
		return
	}
	q, id, err := h.query(c, g, target)
	if err != nil {
		Problem(c, err)
		return
	}
	plan, how, err := g.Table.Explain(q)
	out := explanation{Agent: id, Steps: how.Steps, Excluded: how.Excluded, Candidates: []candidate{}}
	if err != nil {
		out.Error = problemOf(err)
		writeJSON(c, http.StatusOK, out)
		return
	}
	out.Target, out.Rule = plan.Targets[0].String(), plan.Rule
	for _, seen := range g.Dispatch.Preview(c.Request.Context(), asked(c, plan)) {
		out.Candidates = append(out.Candidates, shownCandidate(seen, plan))
	}
	writeJSON(c, http.StatusOK, out)
}

// explained takes the path of a real request apart; none is POST /v1/messages.
func explained(path string) (*routing.Target, middleware.Ask, error) {
	path, _, _ = strings.Cut(path, "?")
	switch path {
	case "", "/v1/messages":
		return nil, middleware.ForMessage, nil
	case "/v1/messages/count_tokens":
		return nil, middleware.ForCount, nil
	}
	escaped := path
	if u, err := url.Parse(path); err == nil {
		escaped = u.EscapedPath()
	}
	p, err := routing.SplitPath(strings.TrimPrefix(escaped, "/v1/"))
	switch {
	case err != nil:
		return nil, 0, err
	case p.Op == routing.OpMessages:
		return &p.Target, middleware.ForMessage, nil
	case p.Op == routing.OpCountTokens:
		return &p.Target, middleware.ForCount, nil
	}
	return nil, 0, fault.New(fault.Invalid, "path: %q is no path of a message; as in /v1/ollama/qwen3:8b/messages", clip(path))
}

func problemOf(err error) *problemText {
	f := fault.From(err)
	return &problemText{statusOf(f), table[f.Kind].kind, messageOf(f)}
}

func shownCandidate(seen dispatch.Candidate, plan routing.Plan) candidate {
	out := candidate{Target: seen.Target, Serves: seen.Fault == nil && !seen.Open, Lane: seen.Lane, Tokens: seen.Tokens, Lost: []string{}, Approx: []string{}}
	switch {
	case seen.Fault != nil:
		out.Why = messageOf(seen.Fault)
	case seen.Open:
		out.Why = "it keeps failing and is given a rest"
	}
	if fits, known := seen.Fits(); known {
		out.Window, out.Fits = &seen.Window, &fits
	}
	if seen.Priced {
		out.Price = &priceRange{seen.Min, seen.Max}
	}
	for _, n := range seen.Notes {
		switch n.Kind {
		case wire.Dropped:
			out.Lost = append(out.Lost, n.Field) // whoever wrote it knows the name; the label is for metrics
		case wire.Approximated:
			out.Approx = append(out.Approx, n.Field)
		}
	}
	if seen.Lane == exchange.Translated {
		out.ThinkingAs, out.EffortAs = string(plan.Entry.Thinking), string(plan.Entry.Effort)
	}
	return out
}

// knownAgent is an agent that has an entry, or whose definition file is known.
type knownAgent struct {
	Name       string   `json:"name"`
	Target     string   `json:"target,omitempty"` // of its entry, or the model that its file asks for
	From       string   `json:"from"`             // entry, or where its file is: user, project, plugin
	File       string   `json:"file,omitempty"`
	Recognised []string `json:"recognised"` // the signs by which it is known
	Thinking   string   `json:"thinking,omitempty"`
	Effort     string   `json:"effort,omitempty"`
	Fallbacks  []string `json:"fallbacks,omitempty"`
}

func withEntry(a knownAgent, e config.Entry) knownAgent {
	a.Target, a.Thinking, a.Effort, a.Fallbacks = e.Target, string(e.Thinking), string(e.Effort), e.Fallbacks
	return a
}

// listAgents lists the agents that the gateway knows, and how each is recognised.
func (h *handlers) listAgents(c *gin.Context, g *Generation) {
	out := []knownAgent{}
	byName := map[string]int{}
	for _, d := range h.d.Agents.Definitions() {
		if _, twice := byName[d.Name]; twice {
			continue // the client takes the first of one name, too
		}
		byName[d.Name] = len(out)
		out = append(out, knownAgent{Name: d.Name, Target: d.Model, From: d.Source, File: d.File, Recognised: []string{"fingerprint", "header", "marker"}})
	}
	entries := g.Table.Agents()
	for name, e := range entries {
		if strings.Contains(name, "*") {
			out = append(out, withEntry(knownAgent{Name: name, From: "entry", Recognised: []string{"header", "marker", "fingerprint", "hint"}}, e))
			continue
		}
		if i, ok := byName[name]; ok {
			out[i] = withEntry(out[i], e)
			continue
		}
		out = append(out, withEntry(knownAgent{Name: name, From: "entry", Recognised: []string{"header", "marker", "hint"}}, e))
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	writeJSON(c, http.StatusOK, gin.H{"agents": out})
}
