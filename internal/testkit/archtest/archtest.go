// Package archtest keeps the map of ARCHITECTURE.md true: it reads the imports of every room and reports each arrow that points
// uphill, and each thing that stands in a room where it does not belong.
//
// It reads source with go/parser alone and runs nothing. Read floors first: it is the map. A new room gets a line there.
package archtest

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// module is the path of the module whose map this is.
const module = "signalbox"

// floors are the rooms from the ground up: knowledge is below, traffic is above. A room imports only rooms of floors below its
// own. A name ending in /* stands for the folders below, which are rooms of one floor and therefore do not know each other.
var floors = [][]string{
	{"internal/money", "internal/fault"},
	{"internal/sse"},
	{"internal/messages", "internal/textcall"},
	{"config", "internal/wire", "internal/exchange"},
	{"internal/wire/*", "internal/agents", "internal/pricing", "internal/estimate", "internal/ledger", "internal/auth", "internal/metrics"},
	{"providers"},
	{"providers/*", "internal/routing"},
	{"internal/dispatch"},
	{"middleware"},
	{"routes"},
	{"server"},
	{"internal/cli"},
	{"cmd/*"},
}

// outside are folders of tests and generators; nothing on the map may import them.
var outside = []string{"internal/testkit", "internal/depskeep", "tools", "tests", "examples", "bench"}

// reveals are the files (or, ending in /, the folders) that may read a secret, with the reason.
var reveals = []string{
	"providers/",             // the header of a call to an upstream, and the search for our key in what it answers
	"config/load.go",         // resolves env: and file: forms
	"internal/cli/client.go", // the header of a call to our own gateway
}

// pure are the names of net/http that know nothing of connections: all that rooms without a network may use.
var pure = []string{"Header", "ParseTime", "CanonicalHeaderKey", "StatusText"}

// source is one file of the module.
type source struct {
	path   string // from the root, with slashes
	room   string // its folder
	syntax *ast.File
	fset   *token.FileSet
}

// Check reads the module below root and gives one line for each thing that is wrong, sorted; none means the map is true.
func Check(root string) ([]string, error) {
	var files []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			_, noModule := os.Stat(filepath.Join(name, "go.mod"))
			if rel != "." && (noModule == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parse(rel, text)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return check(files), nil
}

func parse(rel string, text []byte) (source, error) {
	fset := token.NewFileSet()
	syntax, err := parser.ParseFile(fset, rel, text, parser.SkipObjectResolution)
	return source{path: rel, room: path.Dir(rel), syntax: syntax, fset: fset}, err
}

func check(files []source) []string {
	var wrong []string
	imports := map[string][]string{} // room -> rooms, for printing a path
	for _, f := range files {
		for _, to := range f.rooms() {
			if !slices.Contains(imports[f.room], to) {
				imports[f.room] = append(imports[f.room], to)
			}
		}
	}
	for _, f := range files {
		if isOutside(f.room) {
			continue
		}
		wrong = append(wrong, f.arrows(imports)...)
		wrong = append(wrong, f.belongings()...)
	}
	slices.SortFunc(wrong, cmp.Compare[string])
	return slices.Compact(wrong)
}

// floor is the height of a room, -1 when it is not on the map.
func floor(room string) int {
	for i, rooms := range floors {
		for _, r := range rooms {
			if r == room || strings.HasSuffix(r, "/*") && path.Dir(room) == strings.TrimSuffix(r, "/*") {
				return i
			}
		}
	}
	return -1
}

func isOutside(room string) bool {
	return slices.ContainsFunc(outside, func(o string) bool { return room == o || strings.HasPrefix(room, o+"/") })
}

// arrows are the imports that point uphill or sideways.
func (f source) arrows(imports map[string][]string) []string {
	here := floor(f.room)
	if here < 0 {
		return []string{fmt.Sprintf("%s: the room %s is not on the map; give it a floor in internal/testkit/archtest", f.path, f.room)}
	}
	var wrong []string
	for _, to := range f.rooms() {
		switch there := floor(to); {
		case isOutside(to):
			wrong = append(wrong, fmt.Sprintf("%s: imports %s, which is for tests and generators", f.path, to))
		case there >= here:
			wrong = append(wrong, fmt.Sprintf("%s: the arrow %s points uphill", f.path, strings.Join(walk(f.room, to, imports), " -> ")))
		}
	}
	return wrong
}

// walk is the arrow from a room to another and, when one exists, the shortest way on that leads back to the first.
func walk(from, to string, imports map[string][]string) []string {
	type step struct {
		room string
		way  []string
	}
	queue, seen := []step{{to, []string{from, to}}}, map[string]bool{to: true}
	for len(queue) > 0 {
		s := queue[0]
		queue = queue[1:]
		for _, next := range imports[s.room] {
			if next == from {
				return append(s.way, from)
			}
			if !seen[next] {
				seen[next] = true
				queue = append(queue, step{next, append(slices.Clone(s.way), next)})
			}
		}
	}
	return []string{from, to}
}

// rooms are the rooms of this module that f imports.
func (f source) rooms() []string {
	var rooms []string
	for _, p := range f.imported() {
		if to, ok := strings.CutPrefix(p, module+"/"); ok {
			rooms = append(rooms, to)
		}
	}
	return rooms
}

func (f source) imported() []string {
	var paths []string
	for _, i := range f.syntax.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		paths = append(paths, p)
	}
	return paths
}

// local is the name under which f uses an import, "" when it does not import it.
func (f source) local(importPath string) string {
	for _, i := range f.syntax.Imports {
		if p, _ := strconv.Unquote(i.Path.Value); p == importPath {
			if i.Name != nil {
				return i.Name.Name
			}
			return path.Base(p)
		}
	}
	return ""
}

// belongings are the things of f that belong in other rooms.
func (f source) belongings() []string {
	var wrong []string
	say := func(at ast.Node, format string, args ...any) {
		pos := f.fset.Position(at.Pos())
		wrong = append(wrong, fmt.Sprintf("%s:%d: %s", f.path, pos.Line, fmt.Sprintf(format, args...)))
	}
	door := f.room == "routes" || f.room == "middleware" || f.room == "server"
	quiet := f.room == "internal/wire" || strings.HasPrefix(f.room, "internal/wire/") || slices.Contains(
		[]string{"internal/sse", "internal/messages", "internal/textcall", "internal/money", "internal/fault", "internal/exchange", "internal/pricing", "internal/routing"}, f.room)
	program := strings.HasPrefix(f.room, "cmd/")
	console := program || f.room == "internal/cli"

	for _, i := range f.syntax.Imports {
		switch p, _ := strconv.Unquote(i.Path.Value); {
		case strings.HasPrefix(p, "github.com/gin-gonic/gin") && !door:
			say(i, "gin stops at the door (server, routes, middleware)")
		case quiet && (p == "net" || strings.HasPrefix(p, "net/") && p != "net/http" && p != "net/url" && p != "net/textproto"):
			say(i, "%s knows no network, but imports %s", f.room, p)
		case p == "github.com/prometheus/client_golang/prometheus" && f.room != "internal/metrics" && f.room != "server":
			say(i, "metrics are made in internal/metrics alone")
		}
	}
	http, osName, logrus, std := f.local("net/http"), f.local("os"), f.local("github.com/sirupsen/logrus"), f.local("log")
	ast.Inspect(f.syntax, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, _ := sel.X.(*ast.Ident)
		name := sel.Sel.Name
		switch {
		case name == "Reveal" && !mayReveal(f):
			say(sel, "a secret is revealed where no header is set")
		case pkg == nil:
		case quiet && http != "" && pkg.Name == http && !slices.Contains(pure, name) && !strings.HasPrefix(name, "Status"):
			say(sel, "%s knows no HTTP beyond header values, but uses http.%s", f.room, name)
		case osName != "" && pkg.Name == osName && name == "Exit" && !program:
			say(sel, "os.Exit is for cmd alone: deferred work would be lost")
		case std != "" && pkg.Name == std && !program && name != "New" && name != "Logger": // http.Server takes a *log.Logger
			say(sel, "log.%s is the package-level logger; take a logrus.FieldLogger", name)
		case logrus != "" && pkg.Name == logrus && !console && slices.Contains(globals, strings.TrimSuffix(strings.TrimSuffix(name, "f"), "ln")):
			say(sel, "logrus.%s is the package-level logger; take a logrus.FieldLogger", name)
		}
		return true
	})
	if !console && logrus != "" {
		for _, d := range f.syntax.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR && mentions(g, logrus) {
				say(g, "a package-level logger; hand it down")
			}
		}
	}
	return wrong
}

// globals are logrus's functions that use its package-level logger.
var globals = []string{"StandardLogger", "Trace", "Debug", "Print", "Info", "Warn", "Warning", "Error", "Fatal", "Panic",
	"WithField", "WithFields", "WithError", "WithContext", "WithTime", "SetOutput", "SetLevel", "SetFormatter", "AddHook"}

func mayReveal(f source) bool {
	return slices.ContainsFunc(reveals, func(r string) bool { return f.path == r || strings.HasSuffix(r, "/") && strings.HasPrefix(f.path, r) })
}

// mentions says whether a declaration makes a logger: it names one of logrus's logger types or its New.
func mentions(n ast.Node, logrus string) bool {
	found := false
	ast.Inspect(n, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == logrus {
				found = found || slices.Contains([]string{"New", "NewEntry", "Logger", "Entry", "FieldLogger", "Ext1FieldLogger", "StandardLogger"}, sel.Sel.Name)
			}
		}
		return true
	})
	return found
}
