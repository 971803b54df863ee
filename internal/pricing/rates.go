package pricing

import (
	"fmt"
	"time"

	"signalbox/internal/messages"
	"signalbox/internal/money"
)

// unknown marks a rate that no source states.
const unknown money.Price = -1

// rates are the prices of one model: pico-USD a token, and pico-USD a search and a request.
type rates struct {
	in, out, read, write, write1h, think, search, request money.Price
}

var unknownRates = rates{unknown, unknown, unknown, unknown, unknown, unknown, unknown, unknown}

// cost sums in pico-USD and rounds once. What has no rate of its own costs what it is a part of: cached tokens the input's
// rate, one-hour writes the five-minute one, thinking the output's. Anything left without a rate makes the cost unknown.
func (r *rates) cost(u messages.Usage) (money.Amount, bool) {
	read, write := or(r.read, r.in), or(r.write, r.in)
	var sum money.Pico
	ok := true
	add := func(p money.Price, n int64) {
		switch {
		case n <= 0:
		case p < 0:
			ok = false
		default:
			sum = sum.Add(p.Times(n))
		}
	}
	add(r.in, u.Input)
	add(read, u.CacheRead)
	add(write, u.CacheWrite5m)
	add(or(r.write1h, write), u.CacheWrite1h)
	thinking := min(max(u.Thinking, 0), max(u.Output, 0)) // a part of the output, whatever an upstream says
	add(r.out, u.Output-thinking)
	add(or(r.think, r.out), thinking)
	add(r.search, u.WebSearches)
	if r.request > 0 {
		add(r.request, 1)
	}
	if r.in < 0 && r.out < 0 {
		ok = false // nothing is known of this model, also when nothing was used
	}
	return sum.Amount(), ok
}

func or(p, q money.Price) money.Price {
	if p >= 0 {
		return p
	}
	return q
}

// rates reads a configured price. Searches and the like cost nothing there: the operator has said what the target costs.
func (p Price) rates() (rates, error) {
	var r rates
	fallback := money.Price(0)
	for _, m := range []struct {
		name, text string
		to         *money.Price
	}{{"input", p.Input, &r.in}, {"output", p.Output, &r.out}, {"cache_read", p.CacheRead, &r.read}, {"cache_write", p.CacheWrite, &r.write}} {
		if m.text == "" {
			*m.to = fallback
			if m.name == "output" {
				*m.to = 0
			}
			continue
		}
		n, err := money.ParsePerMillion(m.text)
		if err != nil || n < 0 {
			return r, fmt.Errorf("%s: %q is no price in USD per million tokens", m.name, m.text)
		}
		*m.to = n
		if m.name == "input" {
			fallback = n
		}
	}
	r.write1h, r.think = unknown, unknown
	return r, nil
}

// rates reads a row of a provider's list. -1 is what OpenRouter writes for "depends".
func (row Row) rates() rates {
	parse := func(s string) money.Price {
		n, err := money.ParsePerToken(s)
		if err != nil || n < 0 {
			return unknown
		}
		return n
	}
	r := unknownRates
	r.in, r.out, r.read, r.write = parse(row.Input), parse(row.Output), parse(row.CacheRead), parse(row.CacheWrite)
	return r
}

// price is what holds from a day on (from, UTC), or between two times of the day (hours, minutes of UTC).
type price struct {
	from  time.Time
	hours [2]int
	timed bool
	steps []step // ascending; the first is for every prompt
}

// step is the price of prompts of more than above tokens.
type step struct {
	above int64
	rates rates
}

func (p *price) holds(now time.Time) bool {
	if p.timed {
		m := now.Hour()*60 + now.Minute()
		if p.hours[0] <= p.hours[1] {
			return m >= p.hours[0] && m < p.hours[1]
		}
		return m >= p.hours[0] || m < p.hours[1] // over midnight
	}
	return p.from.IsZero() || !now.Before(p.from)
}

// at is the price that holds: the last of those that do, or else the first.
func (e *entry) at(now time.Time) *price {
	now = now.UTC()
	for i := len(e.prices) - 1; i > 0; i-- {
		if e.prices[i].holds(now) {
			return &e.prices[i]
		}
	}
	return &e.prices[0]
}

// cost takes the step by the size of the whole prompt, cached tokens included, and prices all of it at that step.
func (p *price) cost(u messages.Usage) (money.Amount, bool) {
	i := len(p.steps) - 1
	for i > 0 && u.Prompt() <= p.steps[i].above {
		i--
	}
	return p.steps[i].rates.cost(u)
}
