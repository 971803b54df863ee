package config

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestOrigin(t *testing.T) {
	home, dir := t.TempDir(), t.TempDir()
	user, project := filepath.Join(home, ".oss", "config.json"), filepath.Join(dir, "signalbox.yaml")
	for file, text := range map[string]string{
		user:    "{\"models\": {\"agents\": {\n\"a\": \"ollama/x\",\n\"b.c\": {\"target\": \"ollama/y\"}}}}",
		project: "agents:\n  a: signalbox/echo\n",
	} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := map[string]string{"SIGNALBOX_HOOKS": "{h: signalbox/echo}"}
	c, err := Load(LoadOptions{Home: home, Dir: dir, Getenv: func(n string) string { return env[n] }, System: filepath.Join(dir, "none"), Flags: Flags{Model: "ollama/z"}})
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]Origin{
		"agents.a":            {project, 2},
		"agents.b.c":          {user, 3},
		"agents.b.c.thinking": {user, 3},
		"default":             {"--model", 0},
		"hooks.h":             {"SIGNALBOX_HOOKS", 0},
		"skills.nobody":       {},
	} {
		if got := c.Origin(key); got != want {
			t.Errorf("%s comes from %+v, want %+v", key, got, want)
		}
	}
	if got, want := c.Targets(), []string{"ollama/y", "ollama/z", "signalbox/echo"}; !slices.Equal(got, want) {
		t.Errorf("targets %q, want %q", got, want)
	}
}

func TestNewEntry(t *testing.T) {
	if e, err := NewEntry("a/b", "true", "high"); err != nil || e.Thinking != "on" || e.Effort != "high" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, wrong := range [][2]string{{"maybe", ""}, {"12", ""}, {"", "huge"}} {
		if _, err := NewEntry("a/b", wrong[0], wrong[1]); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
}

func TestPriceOf(t *testing.T) {
	c := &Config{Prices: map[string]Price{"lab/*": {Input: "1"}, "lab/b": {Input: "2"}}}
	if p, ok := c.PriceOf("lab/b"); !ok || p.Input != "2" {
		t.Errorf("%+v, %v", p, ok)
	}
	if p, ok := c.PriceOf("lab/c"); !ok || p.Input != "1" {
		t.Errorf("%+v, %v", p, ok)
	}
	if _, ok := c.PriceOf("other/b"); ok {
		t.Error("a price that nobody gave")
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("a*b", "axxb")
	f.Add("*", "")
	f.Add("x*y*z", "xz")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(name) {
			return // the oracle works on runes
		}
		parts := strings.Split(pattern, "*")
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		want := regexp.MustCompile(`(?s)^` + strings.Join(parts, `.*`) + `$`).MatchString(name)
		if got := Match(pattern, name); got != want {
			t.Fatalf("%q of %q: %v", name, pattern, got)
		}
	})
}
