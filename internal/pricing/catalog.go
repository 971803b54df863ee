package pricing

import (
	"cmp"
	_ "embed"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/internal/money"
)

//go:embed catalog.json
var catalogJSON string

// aliases are other names of the catalogue's sections: kinds and presets as the configuration writes them.
var aliases = map[string]string{
	"xai": "x-ai", "gemini": "google", "vertex": "google", "bedrock": "aws", "moonshot": "moonshotai", "kimi": "moonshotai",
	"zhipu": "zhipuai", "fireworks-ai": "fireworks", "together-ai": "together", "togetherai": "together", "openai-responses": "openai",
}

// section is one provider of the catalogue. It is parsed when it is first asked for: the whole file costs milliseconds, one
// provider microseconds, and a gateway that only speaks to Ollama none.
type section struct {
	once     sync.Once
	raw      gjson.Result
	fallback []string
	entries  []entry
	exact    map[string]int // lower-case name -> the first entry that has it
	ids      map[string]struct{}
	patterns []pattern
}

type pattern struct {
	entry int
	terms []string
}

// entry is one model.
type entry struct {
	ID     string
	Window int64
	prices []price
}

// index splits the file by provider; nothing is parsed further.
var index = sync.OnceValue(func() map[string]*section {
	m := map[string]*section{}
	gjson.Get(catalogJSON, "providers").ForEach(func(name, raw gjson.Result) bool {
		m[name.String()] = &section{raw: raw}
		return true
	})
	return m
})

var catalogVersion = sync.OnceValue(func() string { return gjson.Get(catalogJSON, "version").String() })

func find(name string) *section {
	if a, ok := aliases[name]; ok {
		name = a
	}
	s := index()[name]
	if s != nil {
		s.once.Do(s.parse)
	}
	return s
}

// lookup finds a model by the source's rules: the first entry that fits, then the same with a date spelled 2025-01-31 for
// 20250131, then the providers that this one resells. nil when none has it.
func lookup(name, model string) *entry {
	s := find(name)
	if s == nil {
		return nil
	}
	id := strings.ToLower(strings.TrimSpace(model))
	if e := s.match(id); e != nil {
		return e
	}
	if e := s.resold(id); e != nil {
		return e
	}
	if dashed := compactDate.ReplaceAllString(id, "-$1-$2-$3$4"); dashed != id {
		return cmp.Or(s.match(dashed), s.resold(dashed))
	}
	return nil
}

var compactDate = regexp.MustCompile(`-(20\d{2})(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(-|:|$)`)

func (s *section) match(id string) *entry {
	best := len(s.entries)
	if i, ok := s.exact[id]; ok {
		best = i
	}
	for i := range s.patterns {
		p := &s.patterns[i]
		if p.entry >= best {
			break // patterns are in the order of their entries
		}
		if p.fits(id) {
			best = p.entry
			break
		}
	}
	if best < len(s.entries) {
		return &s.entries[best]
	}
	return nil
}

// resold is match among the providers that this one resells.
func (s *section) resold(id string) *entry {
	for _, name := range s.fallback {
		if f := find(name); f != nil {
			if e := f.match(id); e != nil {
				return e
			}
		}
	}
	return nil
}

// named reports whether an entry spells the model out.
func named(name, model string) bool {
	s := find(name)
	if s == nil {
		return false
	}
	id := strings.ToLower(model)
	if s.names(id) {
		return true
	}
	for _, name := range s.fallback {
		if f := find(name); f != nil && f.names(id) {
			return true
		}
	}
	return false
}

func (s *section) names(id string) bool {
	_, ok := s.ids[id]
	if !ok {
		_, ok = s.exact[id]
	}
	return ok
}

func (s *section) parse() {
	for _, f := range s.raw.Get("fallback").Array() {
		s.fallback = append(s.fallback, f.String())
	}
	s.exact, s.ids = map[string]int{}, map[string]struct{}{}
	s.raw.Get("models").ForEach(func(_, m gjson.Result) bool {
		var e entry
		i := len(s.entries)
		matched := false
		m.ForEach(func(key, v gjson.Result) bool {
			switch key.String() {
			case "id":
				e.ID = v.String()
			case "match":
				matched = true
				v.ForEach(func(_, p gjson.Result) bool {
					s.rule(i, p.String())
					return true
				})
			case "window":
				e.Window = v.Int()
			case "prices":
				v.ForEach(func(_, p gjson.Result) bool {
					e.prices = append(e.prices, readPrice(p))
					return true
				})
			}
			return true
		})
		if !matched {
			s.rule(i, strings.ToLower(e.ID))
		}
		s.ids[strings.ToLower(e.ID)] = struct{}{}
		s.entries = append(s.entries, e)
		return true
	})
	s.raw = gjson.Result{}
}

func (s *section) rule(entry int, p string) {
	if strings.ContainsAny(p, "*#! ") {
		s.patterns = append(s.patterns, pattern{entry, strings.Fields(p)})
		return
	}
	if _, ok := s.exact[p]; !ok {
		s.exact[p] = entry
	}
}

func readPrice(v gjson.Result) price {
	var p price
	if from := v.Get("from").String(); from != "" {
		p.from, _ = time.Parse(time.DateOnly, from) // a test reads all of them
	}
	if h := v.Get("hours").Array(); len(h) == 2 {
		p.timed = true
		for i := range p.hours {
			t, _ := time.Parse("15:04", h[i].String())
			p.hours[i] = t.Hour()*60 + t.Minute()
		}
	}
	p.steps = append(p.steps, readStep(v))
	for _, t := range v.Get("tiers").Array() {
		p.steps = append(p.steps, readStep(t))
	}
	return p
}

func readStep(v gjson.Result) step {
	s := step{rates: unknownRates}
	v.ForEach(func(key, n gjson.Result) bool {
		perMillion := func(to *money.Price) {
			if p, err := money.ParsePerMillion(n.Raw); err == nil && p >= 0 {
				*to = p
			}
		}
		perThousand := func(to *money.Price) { // nano-USD of a thousand are pico-USD of one
			if a, err := money.ParseAmount(n.Raw); err == nil && a >= 0 {
				*to = money.Price(a)
			}
		}
		switch key.String() {
		case "above":
			s.above = n.Int()
		case "in":
			perMillion(&s.rates.in)
		case "out":
			perMillion(&s.rates.out)
		case "read":
			perMillion(&s.rates.read)
		case "write":
			perMillion(&s.rates.write)
		case "write1h":
			perMillion(&s.rates.write1h)
		case "think":
			perMillion(&s.rates.think)
		case "search":
			perThousand(&s.rates.search)
		case "request":
			perThousand(&s.rates.request)
		}
		return true
	})
	return s
}

// fits reports whether all terms hold; a term after ! must not.
func (p *pattern) fits(id string) bool {
	for _, t := range p.terms {
		text, not := strings.CutPrefix(t, "!")
		if glob(text, id, true) == not {
			return false
		}
	}
	return true
}

// glob matches * with any run of characters and, where digits is set, # with one digit. It never goes back further than to
// the last *, so a hostile name costs at most the product of the two lengths.
func glob(p, s string, digits bool) bool {
	i, j, star, mark := 0, 0, -1, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == s[j] && (!digits || p[i] != '#') || digits && p[i] == '#' && s[j] >= '0' && s[j] <= '9'):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	for i < len(p) && p[i] == '*' {
		i++
	}
	return i == len(p)
}
