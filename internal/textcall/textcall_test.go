package textcall

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

var update = flag.Bool("update", false, "rewrite what the calls in testdata give")

func offered(t testing.TB) []Tool {
	b, err := os.ReadFile("testdata/tools.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Name   string         `json:"name"`
		Schema jsontext.Value `json:"schema"`
	}
	if err := json.Unmarshal(b, &rows); err != nil {
		t.Fatal(err)
	}
	var tools []Tool
	for _, r := range rows {
		tools = append(tools, Tool(r))
	}
	return tools
}

// said is what a reader made of a text that came in pieces: adjoining texts joined, a call a line.
type said struct {
	lines []string
	text  strings.Builder
	calls int
}

func (s *said) add(parts []Part) {
	for _, p := range parts {
		if p.Call != nil {
			s.flush()
			s.lines = append(s.lines, fmt.Sprintf("call %s %s", p.Call.Name, p.Call.Input))
			s.calls++
			continue
		}
		s.text.Write(p.Text)
	}
}

func (s *said) flush() {
	if s.text.Len() > 0 {
		s.lines = append(s.lines, fmt.Sprintf("text %q", s.text.String()))
		s.text.Reset()
	}
}

func read(tools []Tool, o Options, text []byte, width int, cut bool) *said {
	r := New(tools, o)
	var s said
	for len(text) > 0 {
		n := min(width, len(text))
		s.add(r.Feed(bytes.Clone(text[:n])))
		text = text[n:]
	}
	s.add(r.End(cut))
	s.flush()
	return &s
}

func texts(t testing.TB, folder string) map[string][]byte {
	files, err := filepath.Glob("testdata/" + folder + "/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	m := map[string][]byte{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		m[strings.TrimSuffix(f, ".txt")] = b
	}
	return m
}

var widths = []int{1 << 20, 1, 2, 3, 7, 16}

// TestCalls: each file of testdata/calls gives the calls of its .want, however it is cut into pieces.
func TestCalls(t *testing.T) {
	tools := offered(t)
	for name, text := range texts(t, "calls") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			whole := read(tools, Options{}, text, 1<<20, false)
			got := strings.Join(whole.lines, "\n") + "\n"
			if whole.calls == 0 {
				t.Errorf("no call was found: %s", got)
			}
			if *update {
				if err := os.WriteFile(name+".want", []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name + ".want")
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range widths {
				if s := read(tools, Options{}, text, w, false); strings.Join(s.lines, "\n")+"\n" != string(want) {
					t.Errorf("in pieces of %d: %s\nwant %s", w, strings.Join(s.lines, "\n"), want)
				}
			}
		})
	}
}

// TestProse: nothing in a file of testdata/prose is a call, and not a byte of it changes.
func TestProse(t *testing.T) {
	tools := offered(t)
	for name, text := range texts(t, "prose") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			for _, o := range []Options{{}, {TaggedOnly: true}} {
				for _, w := range widths {
					s := read(tools, o, text, w, false)
					if s.calls > 0 || len(s.lines) != 1 || s.lines[0] != fmt.Sprintf("text %q", text) {
						t.Fatalf("in pieces of %d: %s", w, strings.Join(s.lines, "\n"))
					}
				}
			}
		})
	}
}
