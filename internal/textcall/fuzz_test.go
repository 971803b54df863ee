package textcall

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// FuzzReader: whatever a model writes, in whatever pieces, the same comes out; without a call not a byte changes; with one, the
// texts are pieces of what was written, in their order, and each call fits the schema of a tool that was offered.
func FuzzReader(f *testing.F) {
	tools := offered(f)
	for _, folder := range []string{"calls", "prose"} {
		for _, text := range texts(f, folder) {
			f.Add(text, 3, false)
		}
	}
	f.Add([]byte("<tool_call>\n{\"name\":\"Bash\",\"arguments\":{\"command\":\"x\"}}\n</tool_call>\n<tool_call>{"), 1, true)
	f.Fuzz(func(t *testing.T, text []byte, width int, cut bool) {
		if len(text) > eager { // beyond it a piece may wait a little longer, so that pieces may come out otherwise
			text = text[:eager]
		}
		whole := read(tools, Options{}, text, 1<<20, cut)
		for _, w := range []int{1, 2, 1 + int(uint(width)%64)} {
			if s := read(tools, Options{}, text, w, cut); strings.Join(s.lines, "\n") != strings.Join(whole.lines, "\n") {
				t.Fatalf("whole:\n%s\nin pieces of %d:\n%s", strings.Join(whole.lines, "\n"), w, strings.Join(s.lines, "\n"))
			}
		}
		r := New(tools, Options{})
		rest, calls := bytes.Clone(text), 0
		var all []byte
		check := func(parts []Part) {
			for _, p := range parts {
				if p.Call != nil {
					calls++
					if tool := r.tools[p.Call.Name]; tool == nil || !p.Call.Input.IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) || !tool.fits(p.Call.Input) {
						t.Fatalf("no call: %s %s", p.Call.Name, p.Call.Input)
					}
					continue
				}
				i := bytes.Index(rest, p.Text)
				if i < 0 {
					t.Fatalf("%q was not written", p.Text)
				}
				rest = rest[i+len(p.Text):]
				all = append(all, p.Text...)
			}
		}
		check(r.Feed(bytes.Clone(text)))
		check(r.End(cut))
		if calls == 0 && !bytes.Equal(all, text) {
			t.Fatalf("%q became %q", text, all)
		}
	})
}

// FuzzTool: no schema and no arguments break the proof, and nothing is fetched for it.
func FuzzTool(f *testing.F) {
	for _, tool := range offered(f) {
		f.Add([]byte(tool.Schema), []byte(`{"file_path":"/a"}`))
	}
	for _, schema := range []string{`true`, `{"$ref":"#"}`, `{"$ref":"file:///etc/passwd"}`, `{"properties":{"a":{"pattern":"(?!x)"}}}`, `{"$schema":"https://example.com/x"}`,
		`{"$id":"http://example.com/x","$ref":"y"}`, `{"allOf":[{"$ref":"#/allOf/0"}]}`} {
		f.Add([]byte(schema), []byte(`{"a":1}`))
	}
	f.Fuzz(func(t *testing.T, schema, input []byte) {
		if !jsontext.Value(schema).IsValid() || !jsontext.Value(input).IsValid() || len(schema) > 1<<16 {
			return
		}
		tool := tool{name: "t", schema: schema}
		if tool.fits(input) && jsontext.Value(input).Kind() != '{' {
			t.Fatal("arguments that are no object fit")
		}
		out := tool.typed(nil, "a", input)
		if !jsontext.Value(out).IsValid() {
			t.Fatalf("%s", out)
		}
	})
}

func BenchmarkProse(b *testing.B) {
	tools := offered(b)
	text := []byte(strings.Repeat("The quick brown fox jumps over the lazy dog, and `x < y` holds for a[i].\n- one\n- two\n\n", 100))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		r := New(tools, Options{})
		for rest := text; len(rest) > 0; {
			n := min(6, len(rest))
			r.Feed(rest[:n])
			rest = rest[n:]
		}
		r.End(false)
	}
}

func BenchmarkBigCall(b *testing.B) {
	tools := offered(b)
	text := []byte(`<tool_call>{"name":"Write","arguments":{"file_path":"/a","content":"` + strings.Repeat("if (x) { y(); } // and so on\\n", 2000) + `"}}</tool_call>`)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if s := read(tools, Options{}, text, 6, false); s.calls != 1 {
			b.Fatal(s.lines)
		}
	}
}
