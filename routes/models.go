package routes

import (
	"context"
	"net/http"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/singleflight"

	"signalbox/internal/fault"
	"signalbox/internal/routing"
	"signalbox/providers"
)

// How old a provider's list may be, and how long a caller waits for a new one.
const (
	listAge  = 60 * time.Second
	listWait = 2 * time.Second
)

// Lists keeps each provider's model list for a while, fetched once for all who ask.
type Lists struct {
	providers *providers.Registry
	now       func() time.Time
	learned   func(provider string, models []providers.Model)
	group     singleflight.Group
	mu        sync.Mutex
	by        map[string]list
}

type list struct {
	models []providers.Model
	err    error
	at     time.Time
}

// NewLists asks the registry's providers. learned hears of every list that came.
func NewLists(p *providers.Registry, now func() time.Time, learned func(string, []providers.Model)) *Lists {
	return &Lists{providers: p, now: now, learned: learned, by: map[string]list{}}
}

// Of is a provider's list: a fresh one if it comes soon, else the last one that is known. The error is the last fetch's.
func (l *Lists) Of(ctx context.Context, name string) ([]providers.Model, error) {
	l.mu.Lock()
	have, ok := l.by[name]
	l.mu.Unlock()
	if ok && l.now().Sub(have.at) < listAge {
		return have.models, have.err
	}
	done := l.group.DoChan(name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		p, err := l.providers.Get(name)
		next := list{at: l.now(), models: have.models}
		if err == nil {
			var models []providers.Model
			if models, err = p.Models(ctx); err == nil {
				next.models = models
				l.learned(name, models)
			}
		}
		next.err = err
		l.mu.Lock()
		l.by[name] = next
		l.mu.Unlock()
		return nil, nil
	})
	wait := time.NewTimer(listWait)
	defer wait.Stop()
	select {
	case <-done:
	case <-wait.C:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	have = l.by[name]
	return have.models, have.err
}

// Window is the context window of a model in tokens, from a list that has come before; 0 is unknown.
func (l *Lists) Window(provider, model string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.by[provider].models {
		if sameModel(m.ID, model) {
			return m.Window
		}
	}
	return 0
}

// Offers lists the providers known to have a model of this bare name, sorted.
func (l *Lists) Offers(model string) []string {
	var out []string
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, name := range l.providers.Names() {
		wg.Add(1)
		go func() {
			defer wg.Done()
			models, _ := l.Of(context.Background(), name)
			for _, m := range models {
				if sameModel(m.ID, model) {
					mu.Lock()
					out = append(out, name)
					mu.Unlock()
					return
				}
			}
		}()
	}
	wg.Wait()
	sort.Strings(out)
	return out
}

// sameModel compares ids; Ollama's default tag may be left out.
func sameModel(id, asked string) bool {
	return id == asked || strings.TrimSuffix(id, ":latest") == strings.TrimSuffix(asked, ":latest")
}

// modelInfo is Anthropic's ModelInfo.
type modelInfo struct {
	Type           string `json:"type"`
	ID             string `json:"id"`
	DisplayName    string `json:"display_name"`
	CreatedAt      string `json:"created_at"`
	MaxInputTokens *int64 `json:"max_input_tokens"`
	MaxTokens      *int64 `json:"max_tokens"`
}

func info(id string, m providers.Model) modelInfo {
	out := modelInfo{Type: "model", ID: id, DisplayName: m.DisplayName, CreatedAt: time.Unix(m.Created, 0).UTC().Format(time.RFC3339)}
	if out.DisplayName == "" {
		out.DisplayName = id
	}
	if m.Window > 0 {
		out.MaxInputTokens = &m.Window
	}
	if m.MaxOutput > 0 {
		out.MaxTokens = &m.MaxOutput
	}
	return out
}

// listModels serves GET /v1/models: the aliases first, then every provider's models as provider/model. Under a path prefix it
// lists that one target.
func (h *handlers) listModels(c *gin.Context, g *Generation, only *routing.Target) {
	var all []modelInfo
	if only != nil {
		all = append(all, h.one(c, g, only.Model, *only))
	} else {
		all = h.everything(c, g)
	}
	limit := 20
	if s := c.Query("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1000 {
			Problem(c, fault.New(fault.Invalid, "limit: must be a number from 1 to 1000"))
			return
		}
		limit = n
	}
	from, to, back := 0, len(all), false
	if id := c.Query("after_id"); id != "" {
		for i := range all {
			if all[i].ID == id {
				from = i + 1
			}
		}
	}
	if id := c.Query("before_id"); id != "" {
		for i := range all {
			if all[i].ID == id {
				to = i
			}
		}
		first := from
		from = max(from, to-limit)
		back = from > first
	}
	from = min(from, to)
	page := all[from:min(to, from+limit)]
	out := gin.H{"data": page, "has_more": back || from+len(page) < to, "first_id": nil, "last_id": nil}
	if len(page) == 0 {
		out["data"] = []modelInfo{}
	} else {
		out["first_id"], out["last_id"] = page[0].ID, page[len(page)-1].ID
	}
	writeJSON(c, http.StatusOK, out)
}

func (h *handlers) everything(c *gin.Context, g *Generation) []modelInfo {
	var all []modelInfo
	for _, name := range g.Table.Aliases() {
		all = append(all, info(name, providers.Model{DisplayName: name + " (" + g.Config.Aliases[name] + ")"}))
	}
	lists := make([][]modelInfo, len(g.Providers.Names()))
	var wg sync.WaitGroup
	for i, name := range g.Providers.Names() {
		wg.Add(1)
		go func() {
			defer wg.Done()
			models, _ := g.Lists.Of(c.Request.Context(), name)
			for _, m := range models {
				lists[i] = append(lists[i], info(name+"/"+m.ID, m))
			}
		}()
	}
	wg.Wait()
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// getModel serves GET /v1/models/<id>, where the id is an alias or a target.
func (h *handlers) getModel(c *gin.Context, g *Generation, id string) {
	id = strings.Trim(id, "/")
	plan, err := g.Table.Plan(routing.Query{Header: id, Model: id, OwnCredential: true})
	if err != nil && !strings.Contains(id, "/") {
		// A bare name: whoever would serve it as the body's model.
		plan, err = g.Table.Plan(routing.Query{Model: id, OwnCredential: true})
		if err == nil && plan.Rule == "default" {
			err = fault.New(fault.NotFound, "model %q is not known here", clip(id))
		}
	}
	if err != nil {
		f := fault.From(err)
		if f.Kind == fault.Invalid {
			f = fault.New(fault.NotFound, "%s", f.Message)
		}
		Problem(c, f)
		return
	}
	target := plan.Targets[0]
	models, lerr := g.Lists.Of(c.Request.Context(), target.Provider)
	found := false
	for _, m := range models {
		found = found || sameModel(m.ID, target.Model)
	}
	if !found && lerr == nil && len(models) > 0 {
		Problem(c, &fault.Error{Kind: fault.NotFound, Provider: target.Provider, Message: "has no model " + strconv.Quote(clip(target.Model))})
		return
	}
	writeJSON(c, http.StatusOK, h.one(c, g, id, target))
}

// one is what is known of a target's model.
func (h *handlers) one(c *gin.Context, g *Generation, id string, target routing.Target) modelInfo {
	models, _ := g.Lists.Of(c.Request.Context(), target.Provider)
	for _, m := range models {
		if sameModel(m.ID, target.Model) {
			return info(id, m)
		}
	}
	return info(id, providers.Model{})
}

func clip(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
