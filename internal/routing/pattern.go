package routing

import (
	"sort"
	"strings"
)

// Match reports whether a name fits a pattern in which each * stands for any run of characters, none included.
func Match(pattern, name string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	name, ok := strings.CutPrefix(name, head)
	if !ok {
		return false
	}
	for {
		part, more, another := strings.Cut(rest, "*")
		if !another {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name, rest = name[i+len(part):], more
	}
}

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
		if Match(pattern, name) {
			return pattern, true
		}
	}
	return "", false
}
