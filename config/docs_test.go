package config

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/configuration.md and schema.json anew")

// TestDocs holds the table of keys in docs/configuration.md to the types and their comments.
func TestDocs(t *testing.T) {
	const page, from, to = "../docs/configuration.md", "<!-- keys: written by go test ./config -update -->\n", "<!-- end of keys -->\n"
	data, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), from)
	_, tail, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatal("the page has lost its markers")
	}
	want := head + from + table(t) + to + tail
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if want != string(data) {
		t.Error("docs/configuration.md differs from config.go; run: go test ./config -update")
	}
}

// commentsOf are the comments of the fields by Type.Field, in one line each.
func commentsOf(t *testing.T) map[string]string {
	comments := map[string]string{} // by Type.Field
	note := func(n ast.Node) bool {
		ts, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if st, ok := ts.Type.(*ast.StructType); ok {
			for _, f := range st.Fields.List {
				text := f.Doc.Text()
				if text == "" && f.Comment != nil {
					text = "Default " + f.Comment.Text()
				}
				for _, name := range f.Names {
					comments[ts.Name.Name+"."+name.Name] = strings.Join(strings.Fields(text), " ")
				}
			}
		}
		return false
	}
	for _, name := range []string{"config.go", "entry.go"} {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			ast.Inspect(d, func(n ast.Node) bool { _, decl := n.(*ast.GenDecl); return decl || note(n) })
		}
	}
	return comments
}

func table(t *testing.T) string {
	comments := commentsOf(t)
	var b strings.Builder
	b.WriteString("| key | environment | what |\n| --- | --- | --- |\n")
	var walk func(typ reflect.Type, path string)
	var inner []string // the lists that we are inside of
	walk = func(typ reflect.Type, path string) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			name := yamlName(f)
			if name == "" {
				continue
			}
			key, comment := join(path, name), inYAML(comments[typ.Name()+"."+f.Name], f.Name, name)
			_, leaf := reflect.New(f.Type).Interface().(scalar)
			switch {
			case !leaf && f.Type.Kind() == reflect.Struct:
				walk(f.Type, key)
				continue
			case !leaf && f.Type.Kind() == reflect.Map && f.Type.Elem().Kind() == reflect.Struct:
				fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", key, VariableName(key), comment)
				if f.Type.Elem().Name() != "Price" && (f.Type.Elem() != reflect.TypeFor[Entry]() || name == "agents") {
					walk(f.Type.Elem(), key+".NAME")
				}
				continue
			case f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Struct:
				variable := "`" + VariableName(key) + "`"
				if len(inner) > 0 {
					variable = ""
				}
				fmt.Fprintf(&b, "| `%s` | %s | %s |\n", key, variable, comment)
				inner = append(inner, key)
				walk(f.Type.Elem(), key+"[]")
				inner = inner[:len(inner)-1]
				continue
			}
			if comment == "" {
				t.Errorf("%s has no comment", key)
			}
			variable := "`" + VariableName(key) + "`"
			if len(inner) > 0 {
				variable = "" // a list is written whole
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", key, variable, strings.ReplaceAll(comment, "|", "\\|"))
		}
	}
	walk(reflect.TypeFor[Config](), "")
	return b.String()
}

// inYAML is a comment with the name of the key: Go's begin with Go's name.
func inYAML(comment, field, key string) string {
	if rest, ok := strings.CutPrefix(comment, field+" "); ok {
		return key + " " + rest
	}
	return comment
}
