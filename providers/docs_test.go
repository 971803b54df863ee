package providers

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// The table of docs/providers/openai.md is presets.json.
func TestPresetPageIsTrue(t *testing.T) {
	const page, begin, end = "../docs/providers/openai.md", "<!-- table: checked by go test ./providers; it prints the right one when this one is wrong -->\n", "<!-- end of table -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), begin)
	got, _, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no table between %q and %q", page, begin, end)
	}
	if want := presetTable(t); got != want {
		t.Errorf("%s does not say what presets.json says; this does:\n%s", page, want)
	}
	// Every quirk that a row uses is explained on the page.
	for _, name := range PresetNames() {
		p, _ := PresetFor(name)
		for _, q := range quirks(t, p) {
			word, _, _ := strings.Cut(q, ":")
			if !strings.Contains(string(text), "| `"+strings.Trim(word, "`")+"` |") {
				t.Errorf("%s does not explain %s", page, word)
			}
		}
	}
}

func presetTable(t *testing.T) string {
	var sb strings.Builder
	sb.WriteString("| profile | base URL | key from | quirks |\n| --- | --- | --- | --- |\n")
	for _, name := range PresetNames() {
		p, _ := PresetFor(name)
		key := "`" + p.KeyEnv + "`"
		if p.Keyless {
			key = "none needed"
		}
		said := strings.Join(quirks(t, p), ", ")
		if said == "" {
			said = "–"
		}
		fmt.Fprintf(&sb, "| `%s` | %s | %s | %s |\n", name, p.BaseURL, key, said)
	}
	return sb.String()
}

// quirks are the named values of a row that differ from the plain dialect, in the order of their type.
func quirks(t *testing.T, p Preset) []string {
	t.Helper()
	var out []string
	v := reflect.ValueOf(p.Quirks)
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name == "-" || v.Field(i).IsZero() {
			continue
		}
		switch f := v.Field(i).Interface().(type) {
		case bool:
			out = append(out, "`"+name+"`")
		case string:
			out = append(out, fmt.Sprintf("`%s`: %s", name, f))
		default:
			b, err := json.Marshal(f)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, fmt.Sprintf("`%s`: %s", name, b))
		}
	}
	return out
}
