package providers

import (
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"signalbox/config"
	"signalbox/internal/fault"
)

// Deps is what a provider is given besides its configuration.
type Deps struct {
	Log     logrus.FieldLogger
	Now     func() time.Time
	Version string // for the user agent
}

// Constructor builds a provider of one kind.
type Constructor func(cfg config.Provider, deps Deps) (Provider, error)

// Registry knows the configured providers by name and builds each on first use, once however many ask. Look-ups of built
// ones take no lock that a writer holds.
type Registry struct {
	entries map[string]*entry
	names   []string
	deps    Deps
}

type entry struct {
	cfg   config.Provider
	build Constructor
	once  sync.Once
	p     Provider
	err   error
}

// NewRegistry takes the constructors by kind and the configured providers. It builds nothing yet. A kind without a
// constructor is an error of the configuration.
func NewRegistry(kinds map[string]Constructor, cfgs map[string]config.Provider, deps Deps) (*Registry, error) {
	r := &Registry{entries: map[string]*entry{}, deps: deps}
	for name, cfg := range cfgs {
		cfg.Name = name
		kind := cfg.Kind
		if kind == "" {
			kind = name
		}
		build, ok := kinds[kind]
		if !ok {
			known := make([]string, 0, len(kinds))
			for k := range kinds {
				known = append(known, k)
			}
			sort.Strings(known)
			return nil, fault.New(fault.Invalid, "providers.%s.kind: %q is unknown; known kinds: %s", name, kind, strings.Join(known, ", "))
		}
		r.entries[name] = &entry{cfg: cfg, build: build}
		r.names = append(r.names, name)
	}
	sort.Strings(r.names)
	return r, nil
}

// Names lists the configured providers, sorted.
func (r *Registry) Names() []string { return r.names }

// Config is the configuration of a provider.
func (r *Registry) Config(name string) (config.Provider, bool) {
	e, ok := r.entries[name]
	if !ok {
		return config.Provider{}, false
	}
	return e.cfg, true
}

// Get builds the provider on first use. An unknown name is a NotFound that lists the known ones.
func (r *Registry) Get(name string) (Provider, error) {
	e, ok := r.entries[name]
	if !ok {
		return nil, fault.New(fault.NotFound, "provider %q is not configured; known providers: %s", clip(name), strings.Join(r.names, ", "))
	}
	e.once.Do(func() { e.p, e.err = e.build(e.cfg, r.deps) })
	return e.p, e.err
}

// Close lets go of pooled connections of the providers that were built.
func (r *Registry) Close() {
	for _, e := range r.entries {
		e.once.Do(func() { e.err = fault.New(fault.Internal, "the gateway is closing") })
		if c, ok := e.p.(interface{ CloseIdle() }); ok && c != nil {
			c.CloseIdle()
		}
	}
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
