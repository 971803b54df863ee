package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"signalbox/config"
)

func TestSetMember(t *testing.T) {
	for name, c := range map[string]struct{ in, path, value, want string }{
		"it makes a file of nothing": {"", "models/agents/oss:code-reviewer", `"ollama/x"`,
			"{\n  \"models\": {\n    \"agents\": {\n      \"oss:code-reviewer\": \"ollama/x\"\n    }\n  }\n}\n"},
		"it fills an empty object": {"{}", "a/b", "1", "{\n  \"a\": {\n    \"b\": 1\n  }\n}"},
		"it keeps order, numbers, spacing and unknown keys": {
			"{\n    \"z\" : 1.10e5,\n    \"big\": 123456789012345678901234567890,\n    \"models\": {\"agents\": {\"a\":   \"x/y\"}},\n    \"a\": [ 1,2 ]\n}\n", "models/agents/a", `"p/q"`,
			"{\n    \"z\" : 1.10e5,\n    \"big\": 123456789012345678901234567890,\n    \"models\": {\"agents\": {\"a\":   \"p/q\"}},\n    \"a\": [ 1,2 ]\n}\n"},
		"it adds in the form of the neighbours":  {"{\n\t\"models\": {\n\t\t\"agents\": {\n\t\t\t\"a\": \"x/y\"\n\t\t}\n\t}\n}", "models/agents/b", `"p/q"`, "{\n\t\"models\": {\n\t\t\"agents\": {\n\t\t\t\"a\": \"x/y\",\n\t\t\t\"b\": \"p/q\"\n\t\t}\n\t}\n}"},
		"it adds an object in the file's indent": {"{\n    \"k\": 1\n}", "models/agents/b", `"p/q"`, "{\n    \"k\": 1,\n    \"models\": {\n        \"agents\": {\n            \"b\": \"p/q\"\n        }\n    }\n}"},
		"it keeps one line one line":             {`{"k":1}`, "models/agents/b", `"p/q"`, `{"k":1,"models":{"agents":{"b":"p/q"}}}`},
		"it keeps the spaces of one line":        {`{ "k": 1 }`, "m", `2`, `{ "k": 1, "m": 2 }`},
		"it keeps carriage returns":              {"{\r\n  \"k\": 1\r\n}", "a/b", "2", "{\r\n  \"k\": 1,\r\n  \"a\": {\r\n    \"b\": 2\r\n  }\r\n}"},
		"it takes names that other paths read":   {`{"a.b":{"x|y":1}}`, "a.b/x|y", "2", `{"a.b":{"x|y":2}}`},
		"it takes names that need escapes":       {`{"a":{"q\u0022\n":1}}`, "a/q\"\n", "2", `{"a":{"q\u0022\n":2}}`},
		"it replaces null by an object":          {`{"models":null}`, "models/agents", "1", `{"models":{"agents":1}}`},
		"it keeps a byte order mark":             {"\ufeff{\"k\":1}", "k", "2", "\ufeff{\"k\":2}"},
		"it looks into objects of other depths":  {`{"agents":{"models":{"agents":{}}},"models":{"x":{"agents":1}}}`, "models/agents/a", "2", `{"agents":{"models":{"agents":{}}},"models":{"x":{"agents":1},"agents":{"a":2}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := setMember([]byte(c.in), strings.Split(c.path, "/"), c.value)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, string(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestRemoveMember(t *testing.T) {
	for name, c := range map[string]struct {
		in, path, want string
		removed        bool
	}{
		"it takes the only one":   {"{\n  \"a\": {\n    \"b\": 1\n  }\n}", "a/b", "{\n  \"a\": {}\n}", true},
		"it takes the first":      {"{\n  \"a\": 1,\n  \"b\": 2\n}", "a", "{\n  \"b\": 2\n}", true},
		"it takes one between":    {"{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}", "b", "{\n  \"a\": 1,\n  \"c\": 3\n}", true},
		"it takes the last":       {`{"a":1, "b":[{"c":2}]}`, "b", `{"a":1}`, true},
		"it finds nothing":        {`{"a":1}`, "b", `{"a":1}`, false},
		"it finds nothing deeper": {`{"a":null}`, "a/b", `{"a":null}`, false},
		"it takes an empty file":  {"", "a", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, removed, err := removeMember([]byte(c.in), strings.Split(c.path, "/"))
			if err != nil || removed != c.removed {
				t.Fatalf("removed %v, error %v", removed, err)
			}
			if d := cmp.Diff(c.want, string(got)); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestEditRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"{\n  \"a\": 1,\n  b: 2\n}":        "3: not JSON",
		"{\n \"a\": 1\n":                   "3: not JSON",
		"{\n\"a\": 1,\n\"a\": 2}":          "3: not JSON: a: written twice",
		"{}\n{}":                           "2: not JSON: ",
		"models:\n  agents: {}\n":          "1: not JSON",
		"\n[1]":                            "2: the file is no object",
		"{\"models\":\n{\"agents\": [1]}}": "2: models.agents is no object",
		"{\"models\": \"x\"}":              "1: models is no object",
		"{\"a\": \"\x80\"}":                "1: not JSON",
	} {
		if _, err := setMember([]byte(in), []string{"models", "agents", "a"}, "1"); lineAndText(err) == "" || !strings.HasPrefix(lineAndText(err), want) {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
		if _, _, err := removeMember([]byte(in), []string{"models", "agents", "a"}); lineAndText(err) == "" || !strings.HasPrefix(lineAndText(err), want) {
			t.Errorf("remove from %q: %v, want %s", in, err, want)
		}
	}
}

// lineAndText is what an error says of a file that has no name yet.
func lineAndText(err error) string {
	var e *config.Error
	if !errors.As(err, &e) {
		return ""
	}
	return fmt.Sprintf("%d: %s", e.Line, e.Message)
}

// FuzzSetMember: what was valid is valid afterwards, holds the new value, and is the old text once that is taken out again.
func FuzzSetMember(f *testing.F) {
	f.Add([]byte("{\n  \"models\": {\"agents\": {\"a\": 1}}, \"k\":2}"), "b")
	f.Add([]byte("{ }"), "a.b:c")
	f.Add([]byte(`{"models":{"agents":{"x":{}}}}`), "\x00\"")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		path := []string{"models", "agents", name}
		out, err := setMember(data, path, `"p/q"`)
		if err != nil {
			return
		}
		if !jsontext.Value(bytes.TrimPrefix(out, []byte("\ufeff"))).IsValid() {
			t.Fatalf("%q became %q", data, out)
		}
		q, _ := json.Marshal(name)
		var same string
		_ = json.Unmarshal(q, &same) // no UTF-8: it was written with replacements
		got, err := valueAt(out, []string{"models", "agents", same})
		if err != nil || string(got) != `"p/q"` {
			t.Fatalf("%q holds %q, %v", out, got, err)
		}
		if had, _ := valueAt(data, path); had != nil || same != name {
			return
		}
		if objects, _ := valueAt(data, path[:2]); len(objects) > 2 && objects[0] == '{' && !bytes.HasPrefix(bytes.TrimSpace(objects[1:]), []byte("}")) {
			back, _, err := removeMember(out, path)
			if err != nil || !bytes.Equal(back, data) {
				t.Fatalf("%q came back as %q, %v", data, back, err)
			}
		}
	})
}
