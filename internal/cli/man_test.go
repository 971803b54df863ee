package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMan: a page for every command, with nothing in it that the formatter would take for a macro or an escape of its own.
func TestMan(t *testing.T) {
	env, out := person(t, nil)
	dir := filepath.Join(t.TempDir(), "man1")
	if code := Main(env, []string{"man", dir}); code != exitOK {
		t.Fatal(code, out)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "*.1"))
	if err != nil || len(pages) < 20 {
		t.Fatal(pages, err)
	}
	macros := []string{".TH ", ".SH ", ".TP", ".B ", ".PP", ".nf", ".fi"}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		depth := 0
		for line := range strings.SplitSeq(string(text), "\n") {
			known := false
			for _, m := range macros {
				known = known || strings.HasPrefix(line, m)
			}
			if (strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'")) && !known {
				t.Errorf("%s: %q would be a macro", filepath.Base(page), line)
			}
			depth += strings.Count(line, `\fB`) + strings.Count(line, `\fI`) - strings.Count(line, `\fP`)
		}
		if depth != 0 {
			t.Errorf("%s: a font is left on", filepath.Base(page))
		}
		for _, section := range []string{".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n", ".SH OPTIONS\n", ".SH EXIT STATUS\n"} {
			if !strings.Contains(string(text), section) {
				t.Errorf("%s has no %s", filepath.Base(page), section)
			}
		}
	}
	out.Reset()
	if code := Main(env, []string{"man", "--page", "models set"}); code != exitOK || !strings.Contains(out.String(), `signalbox\-models\-set \- Give`) {
		t.Error(code, out)
	}
	if strings.Contains(out.String(), "api-key-stdin") {
		t.Error("a hidden flag is shown")
	}
	for _, args := range [][]string{{"man", "--page", "nonsense"}, {"man", "--page", "models", dir}} {
		if code := Main(env, args); code != exitUsage {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}

func TestRoff(t *testing.T) {
	for in, want := range map[string]string{"--a \"b\" \\n": `\-\-a \(dqb\(dq \en`, ".oss/x": `\&.oss/x`, "'q'": `\&'q'`} {
		if got := roff(in); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}
