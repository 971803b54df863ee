package server

import (
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"signalbox/config"
	"signalbox/internal/dispatch"
	"signalbox/internal/fault"
	"signalbox/internal/pricing"
	"signalbox/internal/routing"
	"signalbox/providers"
	"signalbox/providers/anthropic"
	"signalbox/providers/echo"
	"signalbox/providers/gemini"
	"signalbox/providers/ollama"
	"signalbox/providers/openaicompat"
	"signalbox/providers/openairesponses"
	"signalbox/providers/openrouter"
	"signalbox/routes"
)

// kinds are the constructors of every kind of provider that this build has.
var kinds = map[string]providers.Constructor{
	"anthropic":        anthropic.New,
	"gemini":           gemini.New,
	"ollama":           ollama.New,
	"openai":           openaicompat.New,
	"openai-responses": openairesponses.New,
	"openrouter":       openrouter.New,
	"signalbox":        echo.New,
}

// generation is one immutable state of the gateway with the requests that still use it. It closes when it was replaced and
// the last of them has ended.
type generation struct {
	routes.Generation
	pricing *pricing.Catalog
	refs    atomic.Int64 // requests, and one for being current
}

func (g *generation) release() {
	if g.refs.Add(-1) == 0 {
		g.Providers.Close()
	}
}

// acquire takes the current generation. One that has just been retired is not taken again.
func (s *Server) acquire() *generation {
	for {
		g := s.current.Load()
		for n := g.refs.Load(); n > 0; n = g.refs.Load() {
			if g.refs.CompareAndSwap(n, n+1) {
				return g
			}
		}
		runtime.Gosched() // it was retired between the two loads; the next one is already there
	}
}

// build makes a generation of a configuration and checks it whole. Nothing of it is in use before it succeeds.
func (s *Server) build(cfg *config.Config) (*generation, error) {
	deps := providers.Deps{Log: s.o.Log, Now: s.now, Version: s.o.Version}
	reg, err := Providers(cfg, deps)
	if err != nil {
		return nil, err
	}
	prices, err := Prices(cfg, s.now)
	if err != nil {
		return nil, err
	}
	g := &generation{pricing: prices}
	g.refs.Store(1)
	lists := routes.NewLists(reg, s.now, func(provider string, models []providers.Model) { s.learned(g, provider, models) })
	settings := routing.SettingsOf(cfg)
	settings.Offers = lists.Offers
	table, err := routing.NewTable(settings)
	if err != nil {
		return nil, err
	}
	for name, p := range cfg.Providers {
		s.metrics.Names.Allow(name, "")
		if p.InsecureSkipVerify {
			s.o.Log.WithField("provider", name).Warn("TLS verification is switched off for this provider")
		}
	}
	for _, name := range cfg.Targets() { // their models are metric labels from the start
		if t, err := routing.ParseTarget(name); err == nil {
			s.metrics.Names.Allow(t.Provider, t.Model)
		}
	}
	g.Generation = routes.Generation{
		Config: cfg, Providers: reg, Table: table, Lists: lists,
		Probes: routes.NewProbes(reg, cfg, s.now, s.metrics.ProviderUp),
		Dispatch: dispatch.New(dispatch.Options{Providers: reg, Book: s.ledger, Pricer: prices, Estimator: s.estimator, Retry: cfg.Retry,
			Breakers: s.breakers, Strict: cfg.Strict, Window: window(cfg, lists, prices), Log: s.o.Log, Now: s.now}),
	}
	return g, nil
}

// window is a target's context window as far as it is known without asking anybody: from the provider's list if there is one, else
// from the catalogue, and no larger than the configuration allows.
func window(cfg *config.Config, lists *routes.Lists, prices *pricing.Catalog) func(provider, model string) int64 {
	return func(provider, model string) int64 {
		n := lists.Window(provider, model)
		if n == 0 {
			n = prices.Window(provider, model)
		}
		p := cfg.Providers[provider]
		for _, most := range []int64{int64(p.NumCtx), int64(p.MaxNumCtx)} {
			if most > 0 && (n == 0 || most < n) {
				n = most
			}
		}
		return n
	}
}

// Providers is the registry of what a configuration names; nothing in it is built yet. What only this build can say of a
// configuration, that it has no such kind or preset, is an error that names the field.
func Providers(cfg *config.Config, deps providers.Deps) (*providers.Registry, error) {
	reg, err := providers.NewRegistry(kinds, cfg.Providers, deps)
	if err != nil {
		return nil, err
	}
	for _, name := range reg.Names() {
		p := cfg.Providers[name]
		if _, ok := providers.PresetFor(p.Profile); p.Profile != "" && p.Profile != "plain" && !ok {
			return nil, fault.New(fault.Invalid, "providers.%s.profile: %q is no preset; known: plain, %s", name, p.Profile, strings.Join(providers.PresetNames(), ", "))
		}
	}
	return reg, nil
}

// Prices is the catalogue with the configuration's own prices over it.
func Prices(cfg *config.Config, now func() time.Time) (*pricing.Catalog, error) {
	o := pricing.Options{Overrides: map[string]pricing.Price{}, Catalogs: map[string]string{}, Now: now}
	for pattern, p := range cfg.Prices {
		o.Overrides[pattern] = pricing.Price{Input: string(p.Input), Output: string(p.Output), CacheRead: string(p.CacheRead), CacheWrite: string(p.CacheWrite)}
	}
	for name, p := range cfg.Providers {
		kind := p.Kind
		if kind == "" {
			kind = name
		}
		o.Catalogs[name] = kind
		switch kind {
		case "ollama", "signalbox":
			o.Free = append(o.Free, name)
		case "openai":
			delete(o.Catalogs, name) // a nameless server is not OpenAI, whatever its models are called
			if p.Profile != "" {
				o.Catalogs[name] = p.Profile
			} else if _, ok := providers.PresetFor(name); ok {
				o.Catalogs[name] = name
			}
		}
	}
	return pricing.New(o)
}

// learned takes a provider's own list: its models may be metric labels, and its prices hold.
func (s *Server) learned(g *generation, provider string, models []providers.Model) {
	var rows []pricing.Row
	for _, m := range models {
		s.metrics.Names.Allow(provider, m.ID)
		if p := m.Price; p != nil {
			rows = append(rows, pricing.Row{Model: m.ID, Input: p.Input, Output: p.Output, CacheRead: p.CacheRead, CacheWrite: p.CacheWrite})
		}
	}
	if len(rows) > 0 {
		g.pricing.SetList(provider, rows)
	}
}
