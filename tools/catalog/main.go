// Command catalog writes internal/pricing/catalog.json: what models cost, from two sources that are not ours.
//
// Prices, dates, tiers and the rules by which model ids match come from the npm package @pydantic/genai-prices; context
// windows from the Go module charm.land/catwalk. Catwalk's own prices are left alone: its two cached-price fields do not
// mean the same from provider to provider. Its default_max_tokens is a default and no limit, so it is left alone too.
//
// It is a module of its own because catwalk asks for a newer Go than the gateway does. It needs node and npm; the gateway
// needs neither. Run it from this folder: go run . -o ../../internal/pricing/catalog.json
//
// Read main.go for the course of it, match.go for how a source's rule becomes a pattern, price.go for prices.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"charm.land/catwalk/pkg/embedded"
)

// The price source, pinned: raise both together.
const (
	pricesPackage = "@pydantic/genai-prices"
	pricesVersion = "0.1.8"
)

// providers are those that the catalogue holds: our id, and where the sources differ, theirs.
var providers = []struct{ id, catwalk string }{
	{"anthropic", "anthropic"}, {"arcee", ""}, {"avian", "avian"}, {"aws", "bedrock-united-states"}, {"azure", "azure"},
	{"baseten", "baseten"}, {"cerebras", "cerebras"}, {"cloudflare", ""}, {"cohere", ""}, {"deepseek", "deepseek"},
	{"fireworks", "fireworks"}, {"google", "gemini"}, {"groq", "groq"}, {"minimax", "minimax"}, {"mistral", ""},
	{"moonshotai", "moonshot"}, {"novita", ""}, {"openai", "openai"}, {"openrouter", "openrouter"}, {"ovhcloud", ""},
	{"perplexity", ""}, {"together", ""}, {"x-ai", "xai"}, {"zai", "zai"}, {"zhipuai", "zhipu"},
}

// source is one provider of the price source.
type source struct {
	ID       string        `json:"id"`
	Fallback []string      `json:"fallback_model_providers"`
	Models   []sourceModel `json:"models"`
}

type sourceModel struct {
	ID     string          `json:"id"`
	Match  rule            `json:"match"`
	Prices json.RawMessage `json:"prices"`
	Window json.Number     `json:"context_window"`
}

// entry is one model of the catalogue, one line of the file. Order of members is order on the line.
type entry struct {
	ID     string   `json:"id"`
	Match  []string `json:"match,omitempty"` // left out when the id itself is all that matches
	Window int64    `json:"window,omitempty"`
	Prices []price  `json:"prices,omitempty"`
	Source string   `json:"source"`
	Date   string   `json:"date"`
}

type section struct {
	Fallback []string
	Entries  []entry
}

func main() {
	out := flag.String("o", "../../internal/pricing/catalog.json", "file to write")
	answers := flag.String("answers", "../../internal/pricing/testdata/source.json", "file for the source's own arithmetic, which the tests compare with")
	flag.Parse()
	if err := run(*out, *answers); err != nil {
		fmt.Fprintln(os.Stderr, "catalog:", err)
		os.Exit(1)
	}
}

func run(out, answers string) error {
	dir, err := os.MkdirTemp("", "catalog")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	sources, date, err := fetchPrices(dir)
	if err != nil {
		return err
	}
	windows, windowSource, windowDate, err := readWindows()
	if err != nil {
		return err
	}
	sections := map[string]section{}
	for _, p := range providers {
		i := slices.IndexFunc(sources, func(s source) bool { return s.ID == p.id })
		if i < 0 {
			return fmt.Errorf("the price source no longer has %q", p.id)
		}
		s, err := convert(sources[i], windows[p.catwalk], windowSource, windowDate, date)
		if err != nil {
			return fmt.Errorf("%s: %w", p.id, err)
		}
		sections[p.id] = s
	}
	for id, s := range sections { // a fallback provider that we do not hold cannot help
		s.Fallback = slices.DeleteFunc(s.Fallback, func(f string) bool { _, ok := sections[f]; return !ok })
		sections[id] = s
	}
	var b bytes.Buffer
	write(&b, date, windowSource, windowDate, sections)
	if !json.Valid(b.Bytes()) {
		return errors.New("the catalogue came out as no JSON")
	}
	if err := os.WriteFile(out, b.Bytes(), 0o644); err != nil {
		return err
	}
	data, err := askSource(dir, sections)
	if err != nil {
		return err
	}
	return os.WriteFile(answers, data, 0o644)
}

// askSource lets the package price the same usages that the tests price, one line a model: provider, model, dollars. Half
// of the models are enough, and the hour is one at which prices by the hour differ.
func askSource(dir string, sections map[string]section) ([]byte, error) {
	var asked [][2]string
	for _, p := range providers {
		for i, e := range sections[p.id].Entries {
			if len(e.Prices) > 0 && (i%2 == 0 || len(e.Prices) > 1 || e.Prices[0].Tiers != nil) {
				asked = append(asked, [2]string{p.id, e.ID}, [2]string{p.id, e.ID + "-20260102"})
			}
		}
	}
	const script = `import {calcPrice} from "` + pricesPackage + `";
const asked = ` + "%s" + `;
const rows = [];
console.warn = () => {};
for (const [provider, model] of asked) {
	for (const [i, usage] of [
		{input_tokens: 1200, output_tokens: 340},
		{input_tokens: 300000, cache_read_tokens: 200000, cache_write_tokens: 50000, cache_write_5m_tokens: 50000, output_tokens: 1000},
	].entries()) {
		const r = calcPrice(usage, model, {providerId: provider, timestamp: new Date("2026-10-01T02:30:00Z")});
		if (r === null) rows.push([provider, model, i, null]);
		else rows.push([provider, model, i, r.total_price.toFixed(12)]);
	}
}
process.stdout.write("[\n" + rows.map(r => JSON.stringify(r)).join(",\n") + "\n]\n");
`
	file := filepath.Join(dir, "ask.mjs")
	if err := os.WriteFile(file, fmt.Appendf(nil, script, quote(asked)), 0o600); err != nil {
		return nil, err
	}
	c := exec.Command("node", file)
	c.Stderr = os.Stderr
	return c.Output()
}

// fetchPrices brings the package with npm, asks it for its data through its public API, and the registry for its date.
func fetchPrices(dir string) ([]source, string, error) {
	spec := pricesPackage + "@" + pricesVersion
	install := exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", dir, spec)
	if b, err := install.CombinedOutput(); err != nil {
		return nil, "", fmt.Errorf("npm install %s: %w\n%s", spec, err, b)
	}
	script := filepath.Join(dir, "dump.mjs")
	const dump = `import {waitForUpdate} from "` + pricesPackage + `"; process.stdout.write(JSON.stringify(await waitForUpdate()))`
	if err := os.WriteFile(script, []byte(dump), 0o600); err != nil {
		return nil, "", err
	}
	data, err := exec.Command("node", script).Output()
	if err != nil {
		return nil, "", fmt.Errorf("node: %w", err)
	}
	var sources []source
	if err := json.Unmarshal(data, &sources); err != nil {
		return nil, "", fmt.Errorf("the package's data: %w", err)
	}
	times, err := exec.Command("npm", "view", spec, "time", "--json").Output()
	if err != nil {
		return nil, "", fmt.Errorf("npm view: %w", err)
	}
	var published map[string]string
	if err := json.Unmarshal(times, &published); err != nil || len(published[pricesVersion]) < 10 {
		return nil, "", fmt.Errorf("no date for version %s", pricesVersion)
	}
	return sources, published[pricesVersion][:10], nil
}

// readWindows gives context windows by catwalk's provider and model id, and the name and date of that source.
func readWindows() (windows map[string]map[string]int64, name, date string, err error) {
	windows = map[string]map[string]int64{}
	for _, p := range embedded.GetAll() {
		m := map[string]int64{}
		for _, model := range p.Models {
			m[model.ID] = model.ContextWindow
		}
		windows[string(p.ID)] = m
		// Bedrock and its like go by the file's name in our table; their ids are the regional ones.
		if strings.HasPrefix(string(p.ID), "bedrock") && windows["bedrock-united-states"] == nil {
			windows["bedrock-united-states"] = m
		}
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil, "", "", errors.New("no build information")
	}
	for _, d := range info.Deps {
		if d.Path != "charm.land/catwalk" {
			continue
		}
		b, err := exec.Command("go", "list", "-m", "-f", "{{.Time.Format \"2006-01-02\"}}", d.Path).Output()
		if err != nil {
			return nil, "", "", fmt.Errorf("go list: %w", err)
		}
		return windows, "catwalk " + d.Version, strings.TrimSpace(string(b)), nil
	}
	return nil, "", "", errors.New("catwalk is not among the dependencies")
}

// convert makes a section of one provider. Models that are not charged by the token (speech by the hour, pages) are left
// out: their price could not be applied, and without one they stay unpriced. The source's order is kept, because its first
// rule that fits wins; it is sorted by id.
func convert(s source, windows map[string]int64, windowSource, windowDate, date string) (section, error) {
	out := section{Fallback: s.Fallback}
	taken := map[string]bool{}
	for _, m := range s.Models {
		prices, err := convertPrices(m.Prices)
		if err != nil {
			return out, fmt.Errorf("%s: %w", m.ID, err)
		}
		patterns, err := flatten(m.Match)
		if err != nil {
			return out, fmt.Errorf("%s: %w", m.ID, err)
		}
		e := entry{ID: m.ID, Match: patterns, Prices: prices, Source: "genai-prices " + pricesVersion, Date: date}
		if len(patterns) == 1 && patterns[0] == strings.ToLower(m.ID) {
			e.Match = nil
		}
		if w, err := m.Window.Int64(); err == nil {
			e.Window = w
		}
		for _, id := range slices.Sorted(maps.Keys(windows)) {
			w := windows[id]
			if fits(patterns, strings.ToLower(id)) && !taken[id] {
				taken[id] = true
				if w > 0 && (e.Window == 0 || strings.EqualFold(id, m.ID)) {
					e.Window = w
				}
			}
		}
		if len(prices) > 0 {
			out.Entries = append(out.Entries, e)
		}
	}
	// What only the second source knows has a name and a window, and no price.
	for id, w := range windows {
		if !taken[id] && w > 0 {
			out.Entries = append(out.Entries, entry{ID: id, Window: w, Source: windowSource, Date: windowDate})
		}
	}
	// A name without a price comes after all rules with one, so that it can never hide a price.
	slices.SortStableFunc(out.Entries, func(a, b entry) int {
		if c := len(b.Prices[:min(1, len(b.Prices))]) - len(a.Prices[:min(1, len(a.Prices))]); c != 0 {
			return c
		}
		if len(a.Prices) > 0 {
			return 0
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// write prints the catalogue with one model a line, so that a change of price is a change of one line.
func write(b *bytes.Buffer, date, windowSource, windowDate string, sections map[string]section) {
	fmt.Fprintf(b, "{\"about\":\"Generated by tools/catalog; do not edit. Prices in USD: in, out, read, write, write1h, think a million tokens; search, request a thousand.\",\n")
	fmt.Fprintf(b, "\"version\":%s,\n", quote("genai-prices@"+pricesVersion))
	fmt.Fprintf(b, "\"sources\":[{\"name\":%s,\"date\":%s,\"license\":\"MIT\"},{\"name\":%s,\"date\":%s,\"license\":\"MIT\"}],\n",
		quote("genai-prices "+pricesVersion), quote(date), quote(windowSource), quote(windowDate))
	b.WriteString("\"providers\":{\n")
	for i, p := range providers {
		if i > 0 {
			b.WriteString(",\n")
		}
		s := sections[p.id]
		fmt.Fprintf(b, "%s:{", quote(p.id))
		if len(s.Fallback) > 0 {
			fmt.Fprintf(b, "\"fallback\":%s,", quote(s.Fallback))
		}
		b.WriteString("\"models\":[\n")
		for j, e := range s.Entries {
			if j > 0 {
				b.WriteString(",\n")
			}
			b.WriteString(quote(e))
		}
		b.WriteString("\n]}")
	}
	b.WriteString("\n}}\n")
}

// quote is v as JSON without HTML escapes.
func quote(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // strings, numbers and structs of them
	}
	return strings.TrimSuffix(b.String(), "\n")
}
