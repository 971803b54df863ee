package providers

import (
	"sync"

	"signalbox/config"
	"signalbox/internal/wire"
)

// proven is how many answers with proper calls show, without one that wrote a call as text, that a model calls properly.
const proven = 3

// Callers remembers how the models of one provider call tools, so that text is searched for calls only where it can pay. It is
// safe for concurrent use; a new configuration begins a new one.
type Callers struct {
	cfg  config.Provider
	auto bool // what auto means for a model that has not called yet

	mu     sync.Mutex
	models map[string]*caller
}

type caller struct {
	proper  int
	written bool
}

// maxCallers bounds what is remembered: model names come from requests.
const maxCallers = 1024

// NewCallers makes a memory. With auto, calls are looked for where the configuration says auto: right for servers whose
// models may be of any kind.
func NewCallers(cfg config.Provider, auto bool) *Callers {
	return &Callers{cfg: cfg, auto: auto, models: map[string]*caller{}}
}

// For says what holds for a model now.
func (c *Callers) For(model string) wire.TextTools {
	switch set := c.cfg.TextToolsFor(model); {
	case set == config.TextToolsOn:
		return wire.TextTools{On: true}
	case set == config.TextToolsOff, !c.auto:
		return wire.TextTools{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.models[model]
	return wire.TextTools{On: m == nil || m.written || m.proper < proven, Seen: func(written bool) { c.saw(model, written) }}
}

func (c *Callers) saw(model string, written bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.models[model]
	if m == nil {
		if len(c.models) == maxCallers {
			clear(c.models)
		}
		m = &caller{}
		c.models[model] = m
	}
	if written {
		m.written = true
	} else {
		m.proper++
	}
}
