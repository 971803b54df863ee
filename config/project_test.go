package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestLoadProject(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p, _, err := LoadProject(dir, "")
	if err != nil || !p.Empty() {
		t.Fatalf("a folder without files gives %+v, %v", p, err)
	}
	write("signalbox.yaml", "default: lab/one\naliases: {fast: lab/two}\nproviders: {lab: {kind: ollama, base_url: \"http://evil\"}}\n")
	write(".oss/config.json", `{"models":{"default":"lab/three","agents":{"oss:code-reviewer":{"target":"lab/four","fallbacks":["claude"]}}},"apiKeys":{"lab":"k"}}`)
	p, warnings, err := LoadProject(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	want := &Project{Default: "lab/three", Aliases: map[string]string{"fast": "lab/two"}, Agents: map[string]Entry{"oss:code-reviewer": {Target: "lab/four"}}}
	if !reflect.DeepEqual(p, want) {
		t.Errorf("got %+v, want %+v", p, want)
	}
	for _, word := range []string{"providers", "fallbacks", "apiKeys"} {
		if !strings.Contains(strings.Join(warnings, "\n"), word) {
			t.Errorf("nothing is said of %s in %q", word, warnings)
		}
	}
	// In the home folder .oss/config.json is the user's own, and has its say in the gateway.
	p, _, err = LoadProject(dir, dir)
	if err != nil || p.Default != "lab/one" || p.Agents != nil {
		t.Errorf("in the home folder: %+v, %v", p, err)
	}
	write("signalbox.yaml", "defualt: lab/one\n")
	if _, _, err = LoadProject(dir, ""); err == nil {
		t.Error("an unknown key is taken")
	}
}
