package metrics

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"
)

// Other stands for every name that has not earned a label of its own, None for a name that is not there (a request that was
// refused before anybody was chosen).
const (
	Other = "other"
	None  = "none"
)

// MaxModels is how many models of one provider get a label; MaxProviders how many providers do.
const (
	MaxModels    = 200
	MaxProviders = 200
	maxName      = 256 // bytes; a longer name is no model's
)

// Names decides which provider and model names become label values. A model name comes from a stranger's request, and each
// label value costs memory for as long as we run; so a name must first be vouched for: by the configuration, a provider's list
// or the catalogue (Allow, KnownFunc), or by an answer that succeeded (Learn). It is safe for concurrent use.
type Names struct {
	// KnownFunc, when set, is asked about a name that was not allowed yet: it looks the name up in the catalogue and in the
	// providers' lists. It must be quick, safe for concurrent use, and set before the first request.
	KnownFunc func(provider, model string) bool

	seen atomic.Pointer[map[pair]struct{}] // replaced whole, so that reading takes no lock
	mu   sync.Mutex                        // guards the making of the next seen
	size map[string]int                    // models by provider
}

type pair struct{ provider, model string }

// Allow vouches for a provider (with an empty model) or for a model of it. Past the limits it does nothing.
func (n *Names) Allow(provider, model string) {
	if !wellFormed(provider) || (model != "" && !wellFormed(model)) {
		return
	}
	provider, model = strings.Clone(provider), strings.Clone(model) // they may be pieces of a whole request body
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.size == nil {
		n.size = map[string]int{}
	}
	next := map[pair]struct{}{}
	if p := n.seen.Load(); p != nil {
		if _, ok := (*p)[pair{provider, model}]; ok {
			return
		}
		next = maps.Clone(*p)
	}
	if _, ok := n.size[provider]; !ok {
		if len(n.size) >= MaxProviders {
			return
		}
		n.size[provider] = 0
		next[pair{provider, ""}] = struct{}{}
	}
	if model != "" && n.size[provider] < MaxModels {
		n.size[provider]++
		next[pair{provider, model}] = struct{}{}
	}
	n.seen.Store(&next)
}

// Learn is Allow for a model that has just answered successfully.
func (n *Names) Learn(provider, model string) {
	if !n.has(provider, model) {
		n.Allow(provider, model)
	}
}

// Label is the label value of a model: its name, Other, or None when it is empty.
func (n *Names) Label(provider, model string) string {
	_, m := n.labels(provider, model)
	return m
}

// labels are the label values of both. A provider nobody vouched for takes its models along.
func (n *Names) labels(provider, model string) (string, string) {
	if n.has(provider, model) && provider != "" && model != "" {
		return provider, model
	}
	if provider == "" {
		return None, None
	}
	if model != "" && n.KnownFunc != nil && wellFormed(provider) && wellFormed(model) && n.KnownFunc(provider, model) {
		n.Allow(provider, model)
		if n.has(provider, model) {
			return provider, model
		}
	}
	p, m := Other, Other
	if n.has(provider, "") {
		p = provider
	}
	if model == "" {
		m = None
	}
	return p, m
}

func (n *Names) has(provider, model string) bool {
	p := n.seen.Load()
	if p == nil {
		return false
	}
	_, ok := (*p)[pair{provider, model}]
	return ok
}

// words bounds the values of a label whose words our own code chooses (an outcome, a reason, a field). It is a second fence:
// should such a word one day be made from a stranger's text, the label does not grow past max values.
type words struct {
	max  int
	mu   sync.RWMutex
	seen map[string]string // the word as it came, to the value it has
}

func (w *words) label(s string) string {
	w.mu.RLock()
	v, ok := w.seen[s]
	w.mu.RUnlock()
	if ok {
		return v
	}
	if s == "" {
		return None
	}
	if !wellFormed(s) {
		return Other
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen == nil {
		w.seen = map[string]string{}
	}
	if v, ok := w.seen[s]; ok {
		return v
	}
	if len(w.seen) >= w.max {
		return Other
	}
	s = strings.Clone(s)
	w.seen[s] = s
	return s
}

// wellFormed says that s may be a label value at all: client_golang panics on bytes that are not UTF-8.
func wellFormed(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
