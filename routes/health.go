package routes

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/internal/routing"
	"signalbox/providers"
)

// Times of probes.
const (
	probeAge   = 5 * time.Second
	probeWait  = 2 * time.Second
	probeLimit = 10 * time.Second
)

// Probes asks providers whether they can be reached, and remembers the answer for a while. A provider is asked once however
// many want to know.
type Probes struct {
	providers *providers.Registry
	names     []string
	now       func() time.Time
	seen      func(provider string, up bool)
	mu        sync.Mutex
	last      map[string]probe
	running   map[string]chan struct{}
}

type probe struct {
	Healthy   bool      `json:"healthy"`
	LatencyMS int64     `json:"latency_ms"`
	CheckedAt time.Time `json:"checked_at"`
	Error     *string   `json:"error"`
}

// NewProbes probes what was configured or discovered: never signalbox itself, nor the keyless anthropic that nobody asked for.
func NewProbes(p *providers.Registry, cfg *config.Config, now func() time.Time, seen func(string, bool)) *Probes {
	out := &Probes{providers: p, now: now, seen: seen, last: map[string]probe{}, running: map[string]chan struct{}{}}
	for _, name := range p.Names() {
		if c, _ := p.Config(name); !c.Builtin && c.Kind != "signalbox" {
			out.names = append(out.names, name)
		}
	}
	return out
}

// All is the state of every provider, no older than the wait allows.
func (p *Probes) All(ctx context.Context) map[string]probe {
	var pending []chan struct{}
	for _, name := range p.names {
		if ch := p.refresh(name); ch != nil {
			pending = append(pending, ch)
		}
	}
	wait := time.NewTimer(probeWait)
	defer wait.Stop()
	for _, ch := range pending {
		select {
		case <-ch:
			continue
		case <-wait.C:
		case <-ctx.Done():
		}
		break
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string]probe, len(p.names))
	for _, name := range p.names {
		r, ok := p.last[name]
		if !ok {
			text := "not answered yet"
			r = probe{CheckedAt: p.now(), Error: &text}
		}
		out[name] = r
	}
	return out
}

// refresh starts a probe unless a fresh result is there or one is running.
func (p *Probes) refresh(name string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ch := p.running[name]; ch != nil {
		return ch
	}
	if r, ok := p.last[name]; ok && p.now().Sub(r.CheckedAt) < probeAge && !p.now().Before(r.CheckedAt) {
		return nil
	}
	ch := make(chan struct{})
	p.running[name] = ch
	go func() {
		r := p.ping(name)
		p.seen(name, r.Healthy)
		p.mu.Lock()
		p.last[name] = r
		delete(p.running, name)
		p.mu.Unlock()
		close(ch)
	}()
	return ch
}

func (p *Probes) ping(name string) probe {
	ctx, cancel := context.WithTimeout(context.Background(), probeLimit)
	defer cancel()
	start := time.Now()
	prov, err := p.providers.Get(name)
	if err == nil {
		err = prov.Ping(ctx)
	}
	r := probe{Healthy: err == nil, LatencyMS: time.Since(start).Milliseconds(), CheckedAt: p.now()}
	if err != nil {
		text := fault.From(err).Message
		r.Error = &text
	}
	return r
}

// healthAnswer is the body of /health (contract §2).
type healthAnswer struct {
	Healthy     bool             `json:"healthy"`
	Status      string           `json:"status"`
	Provider    string           `json:"provider"`
	Model       string           `json:"model"`
	Providers   map[string]probe `json:"providers"`
	ConfigError *string          `json:"config_error"`
	Ledger      string           `json:"ledger"`
}

// health serves GET /health: can the default target, or without one any provider, be reached?
func (h *handlers) health(c *gin.Context, g *Generation) {
	a := healthAnswer{Status: "ok", Providers: g.Probes.All(c.Request.Context()), Ledger: h.d.Ledger(), ConfigError: h.d.ConfigError()}
	if plan, err := g.Table.Plan(routing.Query{OwnCredential: true}); err == nil {
		a.Provider, a.Model = plan.Targets[0].Provider, plan.Targets[0].Model
		p, probed := a.Providers[a.Provider]
		a.Healthy = p.Healthy || !probed
	} else {
		for _, p := range a.Providers {
			a.Healthy = a.Healthy || p.Healthy
		}
	}
	for _, p := range a.Providers {
		if !p.Healthy {
			a.Status = "degraded"
		}
	}
	if a.ConfigError != nil || a.Ledger != "ok" {
		a.Status = "degraded"
	}
	if !a.Healthy {
		a.Status = "degraded"
	}
	if h.d.Draining() {
		a.Healthy, a.Status = false, "draining"
	}
	status := http.StatusOK
	if !a.Healthy {
		status = http.StatusServiceUnavailable
	}
	writeJSON(c, status, a)
}

// ready serves /readyz: configuration loaded, ledger writable, not draining.
func (h *handlers) ready(c *gin.Context) {
	switch ledger := h.d.Ledger(); {
	case h.d.Draining():
		writeJSON(c, http.StatusServiceUnavailable, gin.H{"ready": false, "reason": "draining"})
	case ledger == "failing":
		writeJSON(c, http.StatusServiceUnavailable, gin.H{"ready": false, "reason": "the ledger cannot be written"})
	default:
		writeJSON(c, http.StatusOK, gin.H{"ready": true})
	}
}

// live serves /livez: the process answers.
func (h *handlers) live(c *gin.Context) {
	writeJSON(c, http.StatusOK, gin.H{"live": true, "version": h.d.Version, "pid": h.d.PID})
}
