package routing

import (
	"sort"
	"strings"

	"signalbox/config"
)

// patterns are the names of a mapping that hold a *, the one with most letters of its own first.
type patterns []string

func patternsOf[V any](m map[string]V) patterns {
	var p patterns
	for name := range m {
		if strings.Contains(name, "*") {
			p = append(p, name)
		}
	}
	letters := func(s string) int { return len(s) - strings.Count(s, "*") }
	sort.Slice(p, func(i, j int) bool {
		if a, b := letters(p[i]), letters(p[j]); a != b {
			return a > b
		}
		return p[i] < p[j]
	})
	return p
}

// find is the first pattern that a name fits.
func (p patterns) find(name string) (string, bool) {
	for _, pattern := range p {
		if config.Match(pattern, name) {
			return pattern, true
		}
	}
	return "", false
}
