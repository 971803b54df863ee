package pricing

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/money"
)

func newCatalog(t testing.TB, now time.Time) *Catalog {
	t.Helper()
	c, err := New(Options{
		Overrides: map[string]Price{
			"lab/*":                     {Input: "0", Output: "0"},
			"lab/big*":                  {Input: "1", Output: "2"},
			"ollama/priced":             {Input: "0.5"},
			"work-anthropic/half-cache": {Input: "4", Output: "8", CacheRead: "0.4"},
		},
		Catalogs: map[string]string{"work-anthropic": "anthropic", "openai": "openai", "openrouter": "openrouter", "deepseek": "deepseek",
			"perplexity": "perplexity", "xai": "xai", "azure": "azure", "gemini": "gemini", "lab": "vllm"},
		Free: []string{"ollama", "signalbox"},
		Now:  func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var october = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

func TestCost(t *testing.T) {
	c := newCatalog(t, october)
	c.SetList("openrouter", []Row{
		{Model: "qwen/qwen3-coder", Input: "0.00000022", Output: "0.00000095", CacheRead: "0.00000002"},
		{Model: "openrouter/auto", Input: "-1", Output: "-1"},
		{Model: "z/free:free", Input: "0", Output: "0"},
	})
	said := money.Amount(123)
	negative := money.Amount(-1)
	million := int64(1_000_000)
	for _, tt := range []struct {
		name, provider, model string
		u                     messages.Usage
		want                  money.Amount
		version               string
		ok                    bool
	}{
		{"it takes what the upstream says it charged", "openrouter", "qwen/qwen3-coder", messages.Usage{Input: 5, Cost: &said}, 123, "upstream", true},
		{"it does not believe a negative charge", "ollama", "x", messages.Usage{Input: 5, Cost: &negative}, 0, "local", true},
		{"it takes the upstream's figure even before the configuration", "lab", "x", messages.Usage{Cost: &said}, 123, "upstream", true},
		{"it finds a kind's prices under another name", "work-anthropic", "claude-sonnet-4-5-20250929", messages.Usage{Input: 1000, Output: 100}, 4_500_000, "genai-prices@0.1.8", true},
		{"it prices both kinds of cache writes, reads and searches", "work-anthropic", "claude-haiku-4-5", messages.Usage{Input: 10, CacheRead: 1000, CacheWrite5m: 1000, CacheWrite1h: 1000, Output: 10, WebSearches: 2},
			10*1000 + 100*1000 + 1250*1000 + 2000*1000 + 10*5000 + 2*10_000_000, "genai-prices@0.1.8", true},
		{"it lets the configuration win", "lab", "small", messages.Usage{Input: million, Output: million}, 0, "config:lab/*", true},
		{"it takes the longest pattern", "lab", "big-1", messages.Usage{Input: million, Output: million}, 3_000_000_000, "config:lab/big*", true},
		{"it lets the configuration price a local provider", "ollama", "priced", messages.Usage{Input: million, Output: million, CacheRead: million}, 1_000_000_000, "config:ollama/priced", true},
		{"it follows the input's price for caches that are not named", "work-anthropic", "half-cache", messages.Usage{CacheRead: million, CacheWrite5m: million, CacheWrite1h: million}, 8_400_000_000, "config:work-anthropic/half-cache", true},
		{"it knows local kinds as free", "ollama", "qwen3:8b", messages.Usage{Input: million, Output: million, WebSearches: 3}, 0, "local", true},
		{"it takes the provider's list before the catalogue", "openrouter", "qwen/qwen3-coder", messages.Usage{Input: 1000, CacheRead: 1000, Output: 1000}, 220_000 + 20_000 + 950_000, "list:openrouter@2026-10-01T12:00:00Z", true},
		{"it knows a listed zero as zero", "openrouter", "z/free:free", messages.Usage{Input: 1000, Output: 1000}, 0, "list:openrouter@2026-10-01T12:00:00Z", true},
		{"it does not take minus one for a price", "openrouter", "openrouter/auto", messages.Usage{Input: 1000}, 0, "", false},
		{"it falls back to the catalogue where the list is silent", "openrouter", "anthropic/claude-3-haiku", messages.Usage{Input: 1000}, 250_000, "genai-prices@0.1.8", true},
		{"it does not know an unknown model", "work-anthropic", "gpt-nonsense", messages.Usage{Input: 1}, 0, "", false},
		{"it does not know an unknown model, even unused", "work-anthropic", "gpt-nonsense", messages.Usage{}, 0, "", false},
		{"it does not know an unknown provider", "nobody", "claude-haiku-4-5", messages.Usage{Input: 1}, 0, "", false},
		{"it does not take a server of unknown prices for free", "lab2", "x", messages.Usage{Input: 1}, 0, "", false},
		{"it does not guess what a search costs", "deepseek", "deepseek-chat", messages.Usage{Input: 1, WebSearches: 1}, 0, "", false},
		{"it charges by the request where the provider does", "perplexity", "sonar", messages.Usage{Input: 1000, Output: 1000}, 12_000_000 + 2_000_000, "genai-prices@0.1.8", true},
		{"it prices thinking apart where the provider does", "perplexity", "sonar-deep-research", messages.Usage{Input: 1000, Output: 1000, Thinking: 400}, 2_000_000 + 600*8000 + 400*3000, "genai-prices@0.1.8", true},
		{"it finds a resold model", "azure", "claude-haiku-4-5", messages.Usage{Input: 1000}, 1_000_000, "genai-prices@0.1.8", true},
		{"it reads a date with and without dashes", "openai", "gpt-4o-20240806", messages.Usage{Input: 1000}, 2_500_000, "genai-prices@0.1.8", true},
		{"it does not care for case", "work-anthropic", "Claude-Haiku-4-5", messages.Usage{Input: 1000}, 1_000_000, "genai-prices@0.1.8", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, version, ok := c.Cost(tt.provider, tt.model, tt.u)
			if ok != tt.ok || ok && got != tt.want || version != tt.version && ok {
				t.Errorf("got %d %q %v, want %d %q %v", got, version, ok, tt.want, tt.version, tt.ok)
			}
		})
	}
}

func TestPriceByDateHourAndSize(t *testing.T) {
	u := messages.Usage{Input: 1_000_000}
	for _, tt := range []struct {
		name string
		now  time.Time
		want money.Amount
	}{
		{"it takes the first price before the day", time.Date(2026, 8, 16, 12, 0, 0, 0, time.UTC), 140_000_000},
		{"it takes the new price from the day on", time.Date(2026, 8, 17, 0, 0, 0, 0, time.UTC), 220_000_000},
		{"it takes the hour's price", time.Date(2026, 10, 1, 3, 59, 0, 0, time.UTC), 440_000_000},
		{"it leaves it at the end of the hours", time.Date(2026, 10, 1, 4, 0, 0, 0, time.UTC), 220_000_000},
		{"it reckons hours in UTC", time.Date(2026, 10, 1, 3, 0, 0, 0, time.FixedZone("", 5*3600)), 220_000_000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, ok := newCatalog(t, tt.now).Cost("deepseek", "deepseek-v4-flash", u); !ok || got != tt.want {
				t.Errorf("got %d %v, want %d", got, ok, tt.want)
			}
		})
	}
	small, large := unknownRates, unknownRates
	small.in, large.in = 1000, 2000
	p := price{steps: []step{{0, small}, {200_000, large}}}
	for n, want := range map[int64]money.Amount{200_000: 200_000, 200_001: 400_002} {
		if got, ok := p.cost(messages.Usage{Input: n / 2, CacheRead: n - n/2}); !ok || got != want {
			t.Errorf("%d tokens: got %d, want %d: the whole prompt chooses the step", n, got, want)
		}
	}
}

// TestSource compares with what the price source itself reckons (testdata/source.json, written by tools/catalog). The source
// reckons in floats and with prices that are no whole pico-USD (a twelfth of a dollar), so half a pico a token may differ.
func TestSource(t *testing.T) {
	data, err := os.ReadFile("testdata/source.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows [][4]any
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 10, 1, 2, 30, 0, 0, time.UTC)
	usages := []messages.Usage{{Input: 1200, Output: 340}, {Input: 50_000, CacheRead: 200_000, CacheWrite5m: 50_000, Output: 1000}}
	agreed := 0
	for _, r := range rows {
		provider, model, u := r[0].(string), r[1].(string), usages[int(r[2].(float64))]
		e := lookup(provider, model)
		priced := e != nil && len(e.prices) > 0
		if r[3] == nil {
			if priced {
				t.Errorf("%s/%s: we have a price and the source has none", provider, model)
			}
			continue
		}
		if !priced { // priced by the hour or page alone
			if r[3] != "0.000000000000" {
				t.Errorf("%s/%s: the source says %v and we have no price", provider, model, r[3])
			}
			continue
		}
		got, ok := e.at(at).cost(u)
		if !ok {
			continue // embeddings have no price for output; the source takes that for zero, we do not
		}
		want, err := money.ParseAmount(r[3].(string))
		if err != nil {
			t.Fatal(err)
		}
		slack := money.Amount((u.Prompt()+u.Output)/2000 + 1)
		if d := got - want; d < -slack || d > slack {
			t.Errorf("%s/%s: got %s, the source says %s", provider, model, got, want)
		}
		agreed++
	}
	if agreed < 1000 {
		t.Errorf("only %d rows were compared", agreed)
	}
}

func TestCatalogIsWhole(t *testing.T) {
	models := 0
	for name := range index() {
		s := find(name)
		for i := range s.entries {
			e := &s.entries[i]
			models++
			if e.ID == "" || e.Window < 0 {
				t.Errorf("%s: entry %d has no id or a senseless window", name, i)
			}
			for _, p := range e.prices {
				for _, st := range p.steps {
					if st.rates.in < 0 && st.rates.out < 0 {
						t.Errorf("%s/%s: a price without prices", name, e.ID)
					}
				}
			}
		}
		for _, f := range s.fallback {
			if index()[f] == nil {
				t.Errorf("%s resells %s, which is not there", name, f)
			}
		}
	}
	if models < 1200 {
		t.Errorf("%d models", models)
	}
	for alias, to := range aliases {
		if index()[to] == nil {
			t.Errorf("alias %s points at %s, which is not there", alias, to)
		}
	}
	gjson.Get(catalogJSON, "providers").ForEach(func(p, v gjson.Result) bool {
		v.Get("models").ForEach(func(_, m gjson.Result) bool {
			if m.Get("source").String() == "" || len(m.Get("date").String()) != 10 {
				t.Errorf("%s/%s has no source or date", p, m.Get("id"))
			}
			for _, pr := range m.Get("prices").Array() {
				if d := pr.Get("from").String(); d != "" {
					if _, err := time.Parse(time.DateOnly, d); err != nil {
						t.Errorf("%s/%s: %v", p, m.Get("id"), err)
					}
				}
				for _, h := range pr.Get("hours").Array() {
					if _, err := time.Parse("15:04", h.String()); err != nil {
						t.Errorf("%s/%s: %v", p, m.Get("id"), err)
					}
				}
			}
			return true
		})
		return true
	})
}

func TestKnown(t *testing.T) {
	c := newCatalog(t, october)
	c.SetList("openrouter", []Row{{Model: "new/model"}})
	for _, tt := range []struct {
		provider, model string
		want            bool
	}{
		{"work-anthropic", "claude-haiku-4-5", true},
		{"work-anthropic", "claude-2-anything-at-all", false}, // fits a rule, but is no name
		{"azure", "gpt-4o", true},
		{"openrouter", "new/model", true},
		{"ollama", "qwen3:8b", false},
		{"nobody", "claude-haiku-4-5", false},
	} {
		if got := c.Known(tt.provider, tt.model); got != tt.want {
			t.Errorf("Known(%s, %s) = %v", tt.provider, tt.model, got)
		}
	}
	if w := c.Window("work-anthropic", "claude-haiku-4-5"); w != 200_000 {
		t.Errorf("window %d", w)
	}
}

func TestNewRefusesWhatIsNoPrice(t *testing.T) {
	for _, bad := range []Price{{Input: "cheap"}, {Output: "-1"}, {CacheRead: "1e99"}} {
		if _, err := New(Options{Overrides: map[string]Price{"a/b": bad}}); err == nil || !strings.Contains(err.Error(), `prices."a/b"`) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestCostProperties: more tokens never cost less at one step, sums round once, and no usage makes money out of nothing.
func TestCostProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		rt := rates{in: money.Price(r.Int64N(1e8)), out: money.Price(r.Int64N(1e8)), read: money.Price(r.Int64N(1e8)), write: unknown, write1h: unknown, think: unknown, search: 0}
		u := messages.Usage{Input: r.Int64N(1e6), Output: r.Int64N(1e6), CacheRead: r.Int64N(1e6), CacheWrite5m: r.Int64N(1e6), CacheWrite1h: r.Int64N(1e6)}
		u.Thinking = r.Int64N(2e6) // an upstream may say more thinking than output
		got, ok := rt.cost(u)
		exact := int64(rt.in)*(u.Input+u.CacheWrite5m+u.CacheWrite1h) + int64(rt.out)*u.Output + int64(rt.read)*u.CacheRead
		if want := money.Amount((exact + 500) / 1000); !ok || got != want {
			t.Fatalf("%+v %+v: got %d, want %d", rt, u, got, want)
		}
	}
	if a, ok := (&rates{in: 75_000_000, out: 75_000_000}).cost(messages.Usage{Input: 1_000_000_000, Output: 1_000_000_000}); !ok || a != 150_000*1e9 {
		t.Errorf("a billion tokens each way: %d", a)
	}
}

func FuzzLookup(f *testing.F) {
	f.Add("openai", "gpt-4o-20240806")
	f.Add("google", "gemini-2.5-pro-tts-tts-")
	f.Fuzz(func(t *testing.T, name, model string) {
		if e := lookup(name, model); e != nil && e.ID == "" {
			t.Fatal("an entry without a name")
		}
	})
}

func BenchmarkCost(b *testing.B) {
	c := newCatalog(b, october)
	u := messages.Usage{Input: 1200, Output: 300, CacheRead: 40_000}
	for _, tt := range [][2]string{{"work-anthropic", "claude-sonnet-4-5-20250929"}, {"openrouter", "qwen/qwen3-coder"}, {"openrouter", "nobody/has-this-one"}, {"ollama", "qwen3:8b"}} {
		b.Run(tt[0]+"/"+strings.ReplaceAll(tt[1], "/", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Cost(tt[0], tt[1], u)
			}
		})
	}
}

// BenchmarkFirst is what the first look-up at a provider costs; start-up costs nothing.
func BenchmarkFirst(b *testing.B) {
	b.Run("index", func(b *testing.B) {
		for b.Loop() {
			gjson.Get(catalogJSON, "providers").ForEach(func(_, _ gjson.Result) bool { return true })
		}
	})
	for _, name := range []string{"anthropic", "openrouter"} {
		raw := gjson.Get(catalogJSON, "providers."+name)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				s := &section{raw: raw}
				s.parse()
			}
		})
	}
}
