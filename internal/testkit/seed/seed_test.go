package seed

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// root is the module's folder.
const root = "../../.."

// planned are the tests that docs/seed.md names and that are being written. One that is there must not stand here.
var planned = []string{}

// A row of one of the tables: its number in the first column, the tests in the last.
type row struct {
	number string
	tests  []string
}

var quoted = regexp.MustCompile("`([^`]+)`")

// tables reads the page: the rows below each heading of the second level.
func tables(page string) map[string][]row {
	out := map[string][]row{}
	heading := ""
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "## "); ok {
			heading = name
		}
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| --- ") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		r := row{number: cells[0]}
		for _, m := range quoted.FindAllStringSubmatch(cells[len(cells)-1], -1) {
			r.tests = append(r.tests, m[1])
		}
		if len(r.tests) > 0 || regexp.MustCompile(`^A?\d+$`).MatchString(r.number) {
			out[heading] = append(out[heading], r)
		}
	}
	return out
}

// TestPage: every behaviour and every fault has its row, and every test that a row names is there.
func TestPage(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "seed.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := tables(string(page))
	numbers := func(prefix string, n int) (out []string) {
		for i := range n {
			out = append(out, prefix+strconv.Itoa(i+1))
		}
		return out
	}
	missing := map[string]bool{}
	for heading, want := range map[string][]string{"What the plan asked for in the end": numbers("A", 4), "The behaviours": numbers("", 77), "The faults": numbers("", 20)} {
		var got []string
		for _, r := range found[heading] {
			got = append(got, r.number)
			if len(r.tests) == 0 {
				t.Errorf("%s, %s: no test", heading, r.number)
			}
			for _, test := range r.tests {
				if err := exists(test); err != nil {
					missing[test] = true
					if !slices.Contains(planned, test) {
						t.Errorf("%s, %s: `%s`: %v", heading, r.number, test, err)
					}
				} else if slices.Contains(planned, test) {
					t.Errorf("%s, %s: `%s` is there; take it out of planned", heading, r.number, test)
				}
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the rows are %v, want %v", heading, got, want)
		}
	}
	for _, test := range planned {
		if !missing[test] {
			t.Errorf("planned holds %q, which no row needs", test)
		}
	}
}

// TestExists holds the look itself to a few tests: what is there is found, and what is not there is not.
func TestExists(t *testing.T) {
	for _, test := range []string{"internal/testkit/seed TestPage", "internal/cli TestScripts/serve", "internal/wire/openaichat TestCases/text", "config TestBad/twice.yaml", "server TestFaults/F24a",
		"server TestTargets/it_stands_in_the_body", "tests/sdks.sh"} {
		if err := exists(test); err != nil {
			t.Errorf("%s: %v", test, err)
		}
	}
	for _, test := range []string{"internal/testkit/seed TestNothing", "internal/cli TestScripts/nothing", "internal/wire/openaichat TestCases/nothing", "server TestFaults/F99", "server TestTargets/it_stands_nowhere",
		"tests/nothing.sh", "nowhere TestX", "internal/testkit/seed", "internal/testkit/seed exists"} {
		if exists(test) == nil {
			t.Errorf("%s is found", test)
		}
	}
}

// exists says why a test is not there: "package Test", "package Test/subtest", or the path of a script.
func exists(test string) error {
	pkg, name, ok := strings.Cut(test, " ")
	if !ok {
		if !strings.HasSuffix(test, ".sh") {
			return fmt.Errorf("neither a package with a test nor a script")
		}
		_, err := os.Stat(filepath.Join(root, filepath.FromSlash(test)))
		return err
	}
	name, sub, _ := strings.Cut(name, "/")
	dir := filepath.Join(root, filepath.FromSlash(pkg))
	tests, words, err := read(dir)
	switch {
	case err != nil:
		return err
	case !tests[name]:
		return fmt.Errorf("%s has no %s", pkg, name)
	case sub == "":
		return nil
	}
	// A subtest is a file of testdata, or a name that stands in the package's tests.
	for _, pattern := range []string{"script/" + sub + ".txtar", sub + ".txtar", sub, "*/" + sub} {
		if files, _ := filepath.Glob(filepath.Join(dir, "testdata", filepath.FromSlash(pattern))); len(files) > 0 {
			return nil
		}
	}
	plain := strings.ReplaceAll(sub, "_", " ")
	for _, w := range words {
		if w == plain || w == sub || len(w) > 8 && strings.HasSuffix(plain, " "+w) { // "it stands " + the row's own name
			return nil
		}
	}
	return fmt.Errorf("%s has no subtest %q", name, plain)
}

// read gives the test functions of a folder and the texts in its test files.
func read(dir string) (tests map[string]bool, words []string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		return nil, nil, fmt.Errorf("no tests in %s", dir)
	}
	tests = map[string]bool{}
	for _, file := range files {
		syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, nil, err
		}
		ast.Inspect(syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				if n.Recv == nil && strings.HasPrefix(n.Name.Name, "Test") {
					tests[n.Name.Name] = true
				}
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); n.Kind == token.STRING && err == nil {
					words = append(words, text)
				}
			}
			return true
		})
	}
	return tests, words, nil
}
