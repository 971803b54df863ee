package config

import (
	"path/filepath"
	"slices"
	"strings"
)

// Origin is where a key was written.
type Origin struct {
	File string // a file, or the name of a flag or environment variable; empty when nobody wrote it
	Line int    // 0 when unknown
}

// Origin tells where a key of the configuration (default, agents.NAME, providers.NAME.base_url, …) was written last: its own place, or
// that of the nearest mapping around it.
func (c *Config) Origin(key string) Origin {
	for {
		if o, ok := c.origins[key]; ok && o.File != "" {
			return o
		}
		i := strings.LastIndexByte(key, '.')
		if i < 0 {
			return Origin{}
		}
		key = key[:i]
	}
}

// CheckTarget says what is wrong with a target (provider/model, an alias, claude or default) in this configuration; empty when
// nothing is.
func (c *Config) CheckTarget(target string) string { return (&checker{c: c}).wrongTarget(target, true) }

// Resolve follows an alias to what it stands for: provider/model, or claude. Default means claude, as the value of an entry does.
func (c *Config) Resolve(target string) string {
	if next, ok := c.Aliases[target]; ok {
		target = next // validate has refused aliases of aliases
	}
	if target == "default" {
		return "claude"
	}
	return target
}

// Targets are all provider/model pairs that the configuration names, sorted, each once.
func (c *Config) Targets() []string {
	named := []string{c.Default}
	for _, t := range c.Aliases {
		named = append(named, t)
	}
	for _, entries := range c.Entries() {
		for _, e := range entries {
			named = append(append(named, e.Target), e.Fallbacks...)
		}
	}
	for _, r := range c.Rules {
		for _, to := range r.To {
			named = append(named, to.Target)
		}
	}
	for first, chain := range c.Fallbacks {
		named = append(append(named, first), chain...)
	}
	for name, p := range c.Providers {
		for model := range p.Models {
			named = append(named, name+"/"+model)
		}
	}
	if c.ClaudeModel != "" {
		named = append(named, "anthropic/"+c.ClaudeModel)
	}
	named = slices.DeleteFunc(named, func(t string) bool { return !strings.Contains(t, "/") || strings.Contains(t, "*") })
	slices.Sort(named)
	return slices.Compact(named)
}

// Local reports whether a provider runs on machines of one's own, so that its answers are free.
func (p *Provider) Local() bool { return p.Kind == "ollama" || p.Kind == "signalbox" }

// UserFile is the user's own configuration file: $XDG_CONFIG_HOME/signalbox/config.yaml, usually under ~/.config. Empty without a home.
func UserFile(getenv func(string) string, home string) string {
	xdg := getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(xdg) { // the specification says to ignore a relative one
		if home == "" {
			return ""
		}
		xdg = filepath.Join(home, ".config")
	}
	return filepath.Join(xdg, "signalbox", "config.yaml")
}

// PriceOf is the price that the configuration itself gives a target; false when it gives none.
func (c *Config) PriceOf(target string) (Price, bool) { return longest(c.Prices, target) }

// longest is the value of the name itself, else of the longest pattern that fits it.
func longest[V any](m map[string]V, name string) (v V, ok bool) {
	if v, ok := m[name]; ok {
		return v, true
	}
	best := -1
	for pattern, value := range m {
		if strings.Contains(pattern, "*") && len(pattern) > best && Match(pattern, name) {
			best, v, ok = len(pattern), value, true
		}
	}
	return v, ok
}
