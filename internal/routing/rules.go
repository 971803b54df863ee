package routing

import (
	"hash/fnv"
	"strconv"
	"strings"

	"signalbox/config"
)

// Weighs reports whether a rule asks for a request's traits or tokens. Whoever makes the query may leave them out otherwise.
func (t *Table) Weighs() bool { return len(t.s.Rules) > 0 }

// rule is the target of the first rule that holds, and its number from 1. found and err are what the other steps gave.
func (t *Table) rule(q Query, found Plan, err error, tr *trace) (to string, n int, ok bool) {
	target := ""
	if err == nil {
		target = found.Targets[0].String()
	}
	for i, r := range t.s.Rules {
		name := "rules." + strconv.Itoa(i+1)
		if why := fails(r.When, q, target); why != "" {
			tr.passed(name, why)
			continue
		}
		to, share := choose(r.To, q.Seed)
		tr.took(name, to+share)
		return to, i + 1, true
	}
	return "", 0, false
}

// fails is the first condition that does not hold, in words; empty when all do.
func fails(c config.Condition, q Query, target string) string {
	text := func(what, pattern, have string) string {
		if pattern == "" || config.Match(pattern, have) {
			return ""
		}
		if have == "" {
			return "there is no " + what + " for " + pattern
		}
		return "the " + what + " " + clip(have) + " is not " + pattern
	}
	is := func(what string, want *bool, have bool) string {
		if want == nil || *want == have {
			return ""
		}
		if have {
			return "the request has " + what
		}
		return "the request has no " + what
	}
	tokens := ""
	switch n := strconv.FormatInt(q.Tokens, 10); {
	case c.TokensOver > 0 && q.Tokens <= c.TokensOver:
		tokens = n + " tokens are not over " + strconv.FormatInt(c.TokensOver, 10)
	case c.TokensUnder > 0 && q.Tokens >= c.TokensUnder:
		tokens = n + " tokens are not under " + strconv.FormatInt(c.TokensUnder, 10)
	}
	for _, why := range []string{
		text("agent", c.Agent, q.Agent), text("model", c.Model, q.Model), text("target", c.Target, target), tokens,
		is("images", c.Images, q.Traits.Images), is("tools", c.Tools, q.Traits.Tools), is("wish to think", c.Thinking, q.Traits.Thinking),
		is("subagent", c.Subagent, q.Subagent),
	} {
		if why != "" {
			return why
		}
	}
	return ""
}

// choose takes one of several targets by their weights. The same seed takes the same one, as long as the rule stays as it is.
func choose(to []config.Choice, seed string) (target, share string) {
	weight := func(c config.Choice) uint64 { return uint64(max(1, c.Weight)) }
	var sum uint64
	for _, c := range to {
		sum += weight(c)
	}
	if len(to) == 1 {
		return to[0].Target, ""
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(seed))
	x := h.Sum64()
	x ^= x >> 33 // FNV's low bits alone are a poor die
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	at := x % sum
	for _, c := range to {
		if w := weight(c); at >= w {
			at -= w
			continue
		}
		var all []string
		for _, o := range to {
			all = append(all, o.Target+" "+strconv.FormatUint(weight(o), 10)+"/"+strconv.FormatUint(sum, 10))
		}
		return c.Target, " (by weight of " + strings.Join(all, ", ") + ")"
	}
	return to[0].Target, "" // not reached: at is below the sum
}
