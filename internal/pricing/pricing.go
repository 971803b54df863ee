// Package pricing says which price holds: what the upstream itself charged, then the configuration, then the provider's own
// list, then the built-in catalogue. An unknown price is unknown and never zero; only a provider whose kind is local is free.
//
// It knows tokens and money, not requests; what is done with a cost is the ledger's and the metrics' business. Read
// pricing.go for the order of the sources, rates.go for how tokens become money, catalog.go for the embedded file, which
// tools/catalog writes.
package pricing

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"signalbox/internal/messages"
	"signalbox/internal/money"
)

// Price is what the configuration says of a target: USD per million tokens, as decimals. An empty member costs nothing, but
// with Input given, empty cache prices are those of the input.
type Price struct{ Input, Output, CacheRead, CacheWrite string }

// Row is a model of a provider's own price list: USD a token, as decimals. An empty or negative member is unknown.
type Row struct{ Model, Input, Output, CacheRead, CacheWrite string }

// Options are what a Catalog is made from.
type Options struct {
	// Overrides are prices by target pattern (lab/*, ollama/qwen3:8b). Each * stands for any text; the longest pattern wins.
	Overrides map[string]Price
	// Catalogs gives for a provider the kind or preset by whose name its prices are known: work-anthropic -> anthropic.
	Catalogs map[string]string
	// Free are the providers that cost nothing because their kind says so: ollama, signalbox.
	Free []string
	// Now is the clock, for prices that hold from a day or between hours. Default time.Now.
	Now func() time.Time
}

// Catalog answers what an attempt cost. It is safe for concurrent use.
type Catalog struct {
	overrides []override // the most telling first
	catalogs  map[string]string
	free      map[string]bool
	now       func() time.Time

	mu    sync.RWMutex
	lists map[string]list
}

type override struct {
	pattern string
	rates   rates
}

type list struct {
	version string
	rows    map[string]rates
}

// New makes a Catalog. The error names the override that holds no number.
func New(o Options) (*Catalog, error) {
	c := &Catalog{catalogs: o.Catalogs, free: map[string]bool{}, now: o.Now, lists: map[string]list{}}
	if c.now == nil {
		c.now = time.Now
	}
	for _, name := range o.Free {
		c.free[name] = true
	}
	for pattern, p := range o.Overrides {
		r, err := p.rates()
		if err != nil {
			return nil, fmt.Errorf("prices.%q: %w", pattern, err)
		}
		c.overrides = append(c.overrides, override{pattern, r})
	}
	slices.SortFunc(c.overrides, func(a, b override) int {
		return cmp.Or(cmp.Compare(len(b.pattern), len(a.pattern)), strings.Compare(a.pattern, b.pattern))
	})
	return c, nil
}

// Cost is what the tokens of u cost at a target, which price said so, and whether any did. With ok false the amount means
// nothing: the price is unknown, for the model or for something in u (a web search, where only tokens have a price).
func (c *Catalog) Cost(provider, model string, u messages.Usage) (amount money.Amount, version string, ok bool) {
	if u.Cost != nil && *u.Cost >= 0 {
		return *u.Cost, "upstream", true
	}
	if o := c.override(provider, model); o != nil {
		a, ok := o.rates.cost(u)
		return a, "config:" + o.pattern, ok
	}
	if c.free[provider] {
		return 0, "local", true
	}
	if r, version, found := c.listed(provider, model); found {
		if a, ok := r.cost(u); ok {
			return a, version, true
		}
	}
	e := lookup(c.catalogs[provider], model)
	if e == nil || len(e.prices) == 0 {
		return 0, "", false
	}
	a, ok := e.at(c.now()).cost(u)
	if !ok {
		return 0, "", false
	}
	return a, catalogVersion(), true
}

// Free reports whether a provider costs nothing because its kind says so.
func (c *Catalog) Free(provider string) bool { return c.free[provider] }

// Known reports whether a provider's list or the catalogue names the model. Rules that fit many names (claude-2*) name
// nothing, so that the names that are known are as many as there are models.
func (c *Catalog) Known(provider, model string) bool {
	c.mu.RLock()
	_, ok := c.lists[provider].rows[model]
	c.mu.RUnlock()
	return ok || named(c.catalogs[provider], model)
}

// Window is the model's context window in tokens as the catalogue has it; 0 when unknown.
func (c *Catalog) Window(provider, model string) int64 {
	if e := lookup(c.catalogs[provider], model); e != nil {
		return e.Window
	}
	return 0
}

// SetList takes a provider's own price list, as its model list gave it; it replaces the one before.
func (c *Catalog) SetList(provider string, rows []Row) {
	l := list{version: "list:" + provider + "@" + c.now().UTC().Format(time.RFC3339), rows: make(map[string]rates, len(rows))}
	for _, row := range rows {
		l.rows[row.Model] = row.rates()
	}
	c.mu.Lock()
	c.lists[provider] = l
	c.mu.Unlock()
}

func (c *Catalog) listed(provider, model string) (rates, string, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	l := c.lists[provider]
	r, ok := l.rows[model]
	return r, l.version, ok
}

func (c *Catalog) override(provider, model string) *override {
	if len(c.overrides) == 0 {
		return nil
	}
	target := provider + "/" + model
	for i := range c.overrides {
		if glob(c.overrides[i].pattern, target, false) {
			return &c.overrides[i]
		}
	}
	return nil
}
