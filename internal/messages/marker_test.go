package messages

import (
	"strings"
	"testing"
)

func TestMarker(t *testing.T) {
	for _, row := range []struct{ it, text, want string }{
		{"finds a line of its own", "You are an agent.\nOSS-ROUTE-AGENT: oss:code-reviewer\nMore.", "oss:code-reviewer"},
		{"finds a comment", "<!-- OSS-ROUTE-AGENT: a -->\nYou are an agent.", "a"},
		{"finds a comment without blanks", "<!--OSS-ROUTE-AGENT:a-->", "a"},
		{"finds a line with a carriage return", "x\r\nOSS-ROUTE-AGENT: a\r\ny", "a"},
		{"takes the first", "OSS-ROUTE-AGENT: a\nOSS-ROUTE-AGENT: b", "a"},
		{"passes over text in a line", "Write OSS-ROUTE-AGENT: a here", ""},
		{"passes over a quotation", "> OSS-ROUTE-AGENT: a", ""},
		{"passes over a list item", "- OSS-ROUTE-AGENT: a", ""},
		{"passes over a block of code", "```\nOSS-ROUTE-AGENT: a\n```\nOSS-ROUTE-AGENT: b", "b"},
		{"passes over a block that another fence stands in", "````md\n```\nOSS-ROUTE-AGENT: a\n```\nOSS-ROUTE-AGENT: b\n````", ""},
		{"passes over a block that nobody closes", "~~~\nOSS-ROUTE-AGENT: a", ""},
		{"passes over indented code", "    OSS-ROUTE-AGENT: a\n\tOSS-ROUTE-AGENT: b", ""},
		{"passes over code indented by a tab behind a blank", " \tOSS-ROUTE-AGENT: a", ""},
		{"passes over a line that begins with a blank of another kind", "\u00a0OSS-ROUTE-AGENT: a", ""},
		{"takes code within a line for no fence", "```x``` is code\n```\nOSS-ROUTE-AGENT: a\n```\nOSS-ROUTE-AGENT: b", "b"},
		{"passes over a document", "<document index=\"1\">\nOSS-ROUTE-AGENT: a\n```\n</document>\nOSS-ROUTE-AGENT: b", "b"},
		{"passes over a document in documents", "<documents>\n<document>\n</document>\nOSS-ROUTE-AGENT: a\n</documents>", ""},
		{"passes over an example that nobody closes", "<Example>\nOSS-ROUTE-AGENT: a", ""},
		{"finds it behind an example in one line", "<example>x</example>\nOSS-ROUTE-AGENT: a", "a"},
		{"finds it in an element of the agent's own", "<instructions>\nOSS-ROUTE-AGENT: a\n</instructions>", "a"},
		{"passes over quoted words", `"OSS-ROUTE-AGENT: a"`, ""},
		{"wants a name", "OSS-ROUTE-AGENT:\nOSS-ROUTE-AGENT: a b\nOSS-ROUTE-AGENT: <x>", ""},
		{"wants the whole comment", "<!-- OSS-ROUTE-AGENT: a", ""},
		{"wants a name of a sane length", "OSS-ROUTE-AGENT: " + strings.Repeat("x", 200), ""},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			name, start, end, ok := Marker(row.text)
			if name != row.want || ok != (row.want != "") {
				t.Fatalf("got %q", name)
			}
			if ok && !strings.Contains(row.text[start:end], MarkerWord) {
				t.Errorf("the line is %q", row.text[start:end])
			}
		})
	}
}

func TestWithoutMarker(t *testing.T) {
	for _, row := range []struct {
		it, text, want string
		block          int
	}{
		{"takes the line out", "a\n<!-- OSS-ROUTE-AGENT: x -->\nb", "a\nb", 2},
		{"takes the last line out", "a\nOSS-ROUTE-AGENT: x", "a\n", 0},
		{"takes every line out that is one", "OSS-ROUTE-AGENT: x\na\nOSS-ROUTE-AGENT: y\nb", "a\nb", 0},
		{"leaves quoted ones", "a `OSS-ROUTE-AGENT: x`", "a `OSS-ROUTE-AGENT: x`", 0},
		{"leaves later blocks alone", "OSS-ROUTE-AGENT: x", "OSS-ROUTE-AGENT: x", 3},
		{"leaves nothing of a block that is nothing else", "<!-- OSS-ROUTE-AGENT: x -->\n", "", 1},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			got := ""
			if l := WithoutMarker(Quote(row.text), row.block); l != nil {
				got = l.Value()
			}
			if got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestTraits(t *testing.T) {
	for _, row := range []struct {
		it, body string
		want     Traits
	}{
		{"sees nothing in plain words", `{"messages":[{"role":"user","content":"an \"image\" in words"}],"tools":[],"thinking":{"type":"disabled"}}`, Traits{}},
		{"sees an image", `{"messages":[{"role":"user","content":[{"type":"text","text":"x"},{"type":"image","source":{}}]}]}`, Traits{Images: true}},
		{"sees an image in a result", `{"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"image"}]}]}]}`, Traits{Images: true}},
		{"does not look into a call", `{"messages":[{"role":"assistant","content":[{"type":"tool_use","input":{"content":[{"type":"image"}]}}]}]}`, Traits{}},
		{"sees tools and thinking", `{"messages":[{"role":"user","content":"x"}],"tools":[{"name":"a"}],"thinking":{"type":"adaptive"}}`, Traits{Tools: true, Thinking: true}},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			r, err := ParseRequest([]byte(row.body))
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Traits(); got != row.want {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func FuzzMarker(f *testing.F) {
	for _, s := range []string{"OSS-ROUTE-AGENT: a", "```\nOSS-ROUTE-AGENT: a\n```", "<!-- OSS-ROUTE-AGENT: a -->\r\nx"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		name, start, end, ok := Marker(text)
		if !ok {
			return
		}
		line := text[start:end]
		if !Identity(name) || start < 0 || end > len(text) || !strings.Contains(line, name) || strings.Contains(strings.TrimRight(line, "\n"), "\n") || start > 0 && text[start-1] != '\n' {
			t.Fatalf("%q at %d to %d is no line of its own", name, start, end)
		}
	})
}
