package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// TestImport: what comes out is the file beside it, holds no secret, and loads once its variables are set.
func TestImport(t *testing.T) {
	files, err := filepath.Glob("testdata/import/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, out, err := Import(a.Files[0].Data)
			if err != nil {
				t.Fatal(err)
			}
			if *update {
				a.Files[1].Data = out
				if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(string(a.Files[1].Data), string(out)); d != "" {
				t.Error(d)
			}
			if strings.Contains(string(out), "sk-secret") {
				t.Error("a secret was copied")
			}
			written := filepath.Join(t.TempDir(), "config.yaml")
			if err := os.WriteFile(written, out, 0o600); err != nil {
				t.Fatal(err)
			}
			c, err := Load(LoadOptions{File: written, Getenv: func(name string) string {
				if strings.HasSuffix(name, "_KEY") && !strings.HasPrefix(name, "SIGNALBOX_") {
					return "k"
				}
				return ""
			}})
			if err != nil {
				t.Fatal(err)
			}
			if len(c.Warnings) > 0 {
				t.Error(c.Warnings)
			}
			if err := compiled(t).Validate(instance(t, out)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestImportRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "none of the files",
		"a: b":                            "none of the files",
		"[1]":                             "none of the files",
		"{\"Providers\": [\n{\"name\": ]": "f:",
		"model_list: [{":                  "1: ",
	} {
		_, _, err := Import([]byte(text))
		if err == nil || !strings.Contains((&Error{File: "f", Line: lineIn(err), Message: messageOf(err)}).Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, _, err := ImportFile(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}

func lineIn(err error) int {
	if e, ok := err.(*Error); ok {
		return e.Line
	}
	return 0
}

func TestPlainJSON(t *testing.T) {
	in := "{ // one\n\"a\": \"//x, }\", /* two\n three */ \"b\": [1, 2,\n], }"
	want := "{ \n\"a\": \"//x, }\", \n \"b\": [1, 2 \n]  }"
	if got := string(plainJSON([]byte(in))); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzImport: whatever a stranger's file holds, what is written can be read, as far as its form goes.
func FuzzImport(f *testing.F) {
	files, _ := filepath.Glob("testdata/import/*.txtar")
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(a.Files[0].Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, out, err := Import(data)
		if err != nil {
			return
		}
		if _, err := parse(out, expander(func(string) string { return "x" })); err != nil {
			t.Fatalf("%q became\n%s\n%v", data, out, err)
		}
	})
}
