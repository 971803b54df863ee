package config

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
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

func TestEntryFor(t *testing.T) {
	entries := map[string]Entry{"oss:*": {Target: "a/1"}, "oss:code-*": {Target: "a/2"}, "oss:code-reviewer": {Target: "a/3"}, "*-writer": {Target: "a/4"}, "x*y*z": {Target: "a/5"}, "*": {Target: "a/6"}}
	for name, want := range map[string]string{
		"oss:code-reviewer": "oss:code-reviewer",
		"oss:code-fixer":    "oss:code-*",
		"oss:planner":       "oss:*",
		"oss:text-writer":   "*-writer", // seven letters against four
		"x1y2z":             "x*y*z",
		"xz":                "*",
		"":                  "*",
	} {
		if key, e, ok := EntryFor(entries, name); !ok || key != want || e.Target != entries[want].Target {
			t.Errorf("%q is served by %q, want %q", name, key, want)
		}
	}
	delete(entries, "*")
	if key, _, ok := EntryFor(entries, "other"); ok {
		t.Errorf("other is served by %q, want nobody", key)
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

func TestChainAndPrice(t *testing.T) {
	off := false
	c := &Config{Aliases: map[string]string{"fast": "lab/a"},
		Fallbacks: map[string][]string{"fast": {"x/1"}, "lab/*": {"x/2"}, "lab/b*": {"x/3"}, "lab/bc": {"x/4"}},
		Prices:    map[string]Price{"lab/*": {Input: "1"}, "lab/b": {Input: "2"}}}
	for target, want := range map[string]string{"fast": "x/1", "lab/a": "x/2", "lab/bd": "x/3", "lab/bc": "x/4"} {
		if got := c.Chain(Entry{Target: target}); len(got) != 1 || got[0] != want {
			t.Errorf("after %s comes %q, want %s", target, got, want)
		}
	}
	if got := c.Chain(Entry{Target: "lab/a", Fallbacks: []string{"x/5"}}); got[0] != "x/5" {
		t.Errorf("the entry's own chain is %q", got)
	}
	if got := c.Chain(Entry{Target: "y/a"}); got != nil {
		t.Errorf("a chain of nobody: %q", got)
	}
	if p, ok := c.PriceOf("lab/b"); !ok || p.Input != "2" {
		t.Errorf("%+v, %v", p, ok)
	}
	if _, ok := c.PriceOf("other/b"); ok {
		t.Error("a price that nobody gave")
	}
	if c.FallbackEnabled = &off; c.Chain(Entry{Target: "fast"}) != nil {
		t.Error("a chain that is not armed")
	}
}
