package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// rates are the numbers of one price, as the source spells them; an empty one is unknown.
type rates struct {
	In      json.Number `json:"in,omitempty"`
	Out     json.Number `json:"out,omitempty"`
	Read    json.Number `json:"read,omitempty"`
	Write   json.Number `json:"write,omitempty"`
	Write1h json.Number `json:"write1h,omitempty"`
	Think   json.Number `json:"think,omitempty"`
	Search  json.Number `json:"search,omitempty"`
	Request json.Number `json:"request,omitempty"`
}

// tier is the whole price of a request whose prompt is larger than Above tokens.
type tier struct {
	Above int64 `json:"above"`
	rates
}

// price holds from a day on, or between two times of the day (UTC). Of several the last that holds counts, else the first.
type price struct {
	From  string   `json:"from,omitempty"`
	Hours []string `json:"hours,omitempty"`
	rates
	Tiers []tier `json:"tiers,omitempty"`
}

// members are the source's names for what we can charge. The others (audio, images, hours, pages) have no figure in a usage
// that we read; an entry that has only those is left out.
var members = map[string]func(*rates) *json.Number{
	"input_mtok": func(r *rates) *json.Number { return &r.In }, "output_mtok": func(r *rates) *json.Number { return &r.Out },
	"cache_read_mtok":       func(r *rates) *json.Number { return &r.Read },
	"cache_write_mtok":      func(r *rates) *json.Number { return &r.Write },
	"cache_write_1h_mtok":   func(r *rates) *json.Number { return &r.Write1h },
	"output_reasoning_mtok": func(r *rates) *json.Number { return &r.Think },
	"web_searches_kcount":   func(r *rates) *json.Number { return &r.Search },
	"requests_kcount":       func(r *rates) *json.Number { return &r.Request },
}

func convertPrices(raw json.RawMessage) ([]price, error) {
	type conditional struct {
		Constraint *struct {
			Type  string `json:"type"`
			Date  string `json:"start_date"`
			Start string `json:"start_time"`
			End   string `json:"end_time"`
		} `json:"constraint"`
		Prices map[string]json.RawMessage `json:"prices"`
	}
	var list []conditional
	if bytes.HasPrefix(raw, []byte("[")) {
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
	} else {
		list = make([]conditional, 1)
		if err := json.Unmarshal(raw, &list[0].Prices); err != nil {
			return nil, err
		}
	}
	var out []price
	for _, c := range list {
		var p price
		switch {
		case c.Constraint == nil:
		case c.Constraint.Type == "start_date":
			p.From = c.Constraint.Date
		case c.Constraint.Type == "time_of_date":
			start, ok1 := strings.CutSuffix(c.Constraint.Start, ":00Z")
			end, ok2 := strings.CutSuffix(c.Constraint.End, ":00Z")
			if !ok1 || !ok2 || len(start) != 5 || len(end) != 5 {
				return nil, fmt.Errorf("times %s to %s are not whole minutes of UTC", c.Constraint.Start, c.Constraint.End)
			}
			p.Hours = []string{start, end}
		default:
			return nil, fmt.Errorf("a price under the unknown condition %q", c.Constraint.Type)
		}
		if err := p.fill(c.Prices); err != nil {
			return nil, err
		}
		if p.In == "" && p.Out == "" {
			return nil, nil
		}
		out = append(out, p)
	}
	return out, nil
}

// fill reads the numbers, and makes of prices with tiers of their own tiers of whole prices.
func (p *price) fill(values map[string]json.RawMessage) error {
	type tiered struct {
		Base  json.Number `json:"base"`
		Tiers []struct {
			Start int64       `json:"start"`
			Price json.Number `json:"price"`
		} `json:"tiers"`
	}
	steps := map[string]tiered{}
	var starts []int64
	for name, raw := range values {
		at := members[name]
		if at == nil {
			continue
		}
		var n json.Number
		if json.Unmarshal(raw, &n) != nil {
			var t tiered
			if err := json.Unmarshal(raw, &t); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			slices.SortFunc(t.Tiers, func(a, b struct {
				Start int64       `json:"start"`
				Price json.Number `json:"price"`
			}) int {
				return int(a.Start - b.Start)
			})
			n = t.Base
			steps[name] = t
			for _, s := range t.Tiers {
				starts = append(starts, s.Start)
			}
		}
		*at(&p.rates) = n
	}
	slices.Sort(starts)
	for _, start := range slices.Compact(starts) {
		t := tier{Above: start, rates: p.rates}
		for name, s := range steps {
			for _, step := range s.Tiers {
				if step.Start <= start {
					*members[name](&t.rates) = step.Price
				}
			}
		}
		p.Tiers = append(p.Tiers, t)
	}
	return nil
}
