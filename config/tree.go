package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Limits on one file. Project files come with cloned repositories, so they are strangers' bytes: without these a page of
// text could keep the parser busy for minutes or end the process by the depth of its recursion.
const (
	maxFile   = 16 << 20
	maxDepth  = 64
	maxValues = 1 << 20
)

// A node is one YAML value with its place. The decoder of the library would do the walk for us, but it resolves aliases
// without a bound, forgets lines for our own types, and cannot tell a key that stands in the file from ${KEY}.
type node struct {
	line int
	form form
	text string // of a scalar: as written for numbers, unquoted and expanded for strings
	// literal says that (part of) the text stands in the file itself and is not read from the environment.
	literal bool
	members []member // of a mapping, in order
	items   []*node  // of a list
}

type form uint8

const (
	nothing form = iota
	number
	boolean
	text
	mapping
	list
)

var formNames = [...]string{"nothing", "a number", "true or false", "text", "a mapping", "a list"}

func (f form) String() string { return formNames[f] }

type member struct {
	name  string
	line  int
	value *node
}

// get finds a member; nil when n is no mapping or has none of that name.
func (n *node) get(name string) *node {
	if n == nil {
		return nil
	}
	for _, m := range n.members {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

// parse reads one YAML or JSON document. An empty one gives a node of form nothing. expand replaces ${VAR}; nil leaves
// strings alone.
func parse(data []byte, expand func(string) (string, error)) (n *node, err error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if json.Valid(data) {
		// YAML forbids tabs as indentation and JSON allows them. Inside its strings JSON has none, so this changes nothing else.
		data = bytes.ReplaceAll(data, []byte("\t"), []byte(" "))
	}
	if err := shallow(data); err != nil {
		return nil, err
	}
	defer func() {
		if r := recover(); r != nil { // a parser that gives up on odd bytes must not end the gateway that reloads
			n, err = nil, &Error{Message: "not readable as YAML"}
		}
	}()
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey()) // mapping refuses them in our words
	if err != nil {
		return nil, syntaxError(err)
	}
	t := &tree{expand: expand, anchors: map[string]ast.Node{}}
	out := &node{line: 1}
	seen := false
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.DirectiveType {
			continue
		}
		if seen {
			return nil, &Error{Line: lineOf(doc.Body), Message: "a second document in the file: write one"}
		}
		seen = true
		if out, err = t.value(doc.Body, 0); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// shallow refuses nesting that would exhaust the parser's stack, by brackets in flow style and by markers on one line in
// block style. Brackets inside strings count too; a real configuration stays far below the limit all the same.
func shallow(data []byte) error {
	depth, markers, line := 0, 0, 1
	for _, c := range data {
		switch c {
		case '[', '{':
			depth++
		case ']', '}':
			depth = max(0, depth-1)
		case '-', '?', '!', '&', ':':
			markers++
		case ' ':
		case '\n':
			line, markers = line+1, 0
		default:
			markers = 0
		}
		if depth > 4*maxDepth || markers > 4*maxDepth {
			return &Error{Line: line, Message: "nested too deeply"}
		}
	}
	return nil
}

// syntaxError keeps the parser's message and line, not its excerpt: an excerpt may show a key.
func syntaxError(err error) error {
	var ye yaml.Error
	if !errors.As(err, &ye) {
		return &Error{Message: "not readable as YAML: " + firstLine(err.Error())}
	}
	e := &Error{Message: firstLine(ye.GetMessage())}
	if tk := ye.GetToken(); tk != nil && tk.Position != nil {
		e.Line = tk.Position.Line
	}
	return e
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

func lineOf(n ast.Node) int {
	if n == nil {
		return 0
	}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		return tk.Position.Line
	}
	return 0
}

// tree turns the library's syntax tree into nodes.
type tree struct {
	expand  func(string) (string, error)
	anchors map[string]ast.Node
	count   int
}

func (t *tree) value(in ast.Node, depth int) (*node, error) {
	at := func(format string, args ...any) error {
		return &Error{Line: lineOf(in), Message: fmt.Sprintf(format, args...)}
	}
	if t.count++; t.count > maxValues {
		return nil, at("too many values")
	}
	if depth > maxDepth {
		return nil, at("nested too deeply")
	}
	switch v := in.(type) {
	case nil, *ast.NullNode, *ast.CommentGroupNode:
		return &node{line: lineOf(in)}, nil
	case *ast.BoolNode:
		return &node{line: lineOf(in), form: boolean, text: fmt.Sprint(v.Value)}, nil
	case *ast.IntegerNode, *ast.FloatNode:
		return &node{line: lineOf(in), form: number, text: in.GetToken().Value, literal: true}, nil
	case *ast.InfinityNode, *ast.NanNode:
		return nil, at("not a number that can be used here")
	case *ast.StringNode:
		return t.text(v.Value, lineOf(in))
	case *ast.LiteralNode:
		return t.text(v.Value.Value, lineOf(in))
	case *ast.TagNode:
		return nil, at("tags (!…) are not understood")
	case *ast.AnchorNode:
		t.anchors[v.Name.GetToken().Value] = v.Value
		return t.value(v.Value, depth+1)
	case *ast.AliasNode:
		name := v.Value.GetToken().Value
		target, ok := t.anchors[name]
		if !ok {
			return nil, at("nothing above is named &%s", name)
		}
		return t.value(target, depth+1)
	case *ast.SequenceNode:
		out := &node{line: lineOf(in), form: list}
		for _, item := range v.Values {
			n, err := t.value(item, depth+1)
			if err != nil {
				return nil, err
			}
			out.items = append(out.items, n)
		}
		return out, nil
	case *ast.MappingNode:
		return t.mapping(v.Values, lineOf(in), depth)
	case *ast.MappingValueNode:
		return t.mapping([]*ast.MappingValueNode{v}, lineOf(in), depth)
	}
	return nil, at("%s cannot be used here", strings.ToLower(in.Type().String()))
}

func (t *tree) text(s string, line int) (*node, error) {
	n := &node{line: line, form: text, text: s, literal: true}
	if t.expand == nil || !strings.Contains(s, "${") {
		return n, nil
	}
	out, err := t.expand(s)
	if err != nil {
		return nil, &Error{Line: line, Message: err.Error()}
	}
	n.text, n.literal = out, !pureReference(s)
	return n, nil
}

// mapping keeps the order of the file. A name that stands twice is an error: two readers would take different ones. Members
// merged with << yield to those written here.
func (t *tree) mapping(values []*ast.MappingValueNode, line, depth int) (*node, error) {
	out := &node{line: line, form: mapping}
	taken := map[string]bool{}
	var merged []member
	for _, mv := range values {
		v, err := t.value(mv.Value, depth+1)
		if err != nil {
			return nil, err
		}
		if _, ok := mv.Key.(*ast.MergeKeyNode); ok {
			if v.form != mapping {
				return nil, &Error{Line: v.line, Message: "<< merges mappings, and this is " + v.form.String()}
			}
			merged = append(merged, v.members...)
			continue
		}
		name, err := keyName(mv.Key)
		if err != nil {
			return nil, err
		}
		if taken[name] {
			return nil, &Error{Line: lineOf(mv.Key), Key: name, Message: "written twice"}
		}
		taken[name] = true
		out.members = append(out.members, member{name: name, line: lineOf(mv.Key), value: v})
	}
	for _, m := range merged {
		if !taken[m.name] {
			taken[m.name] = true
			out.members = append(out.members, m)
		}
	}
	return out, nil
}

// keyName is a scalar as it is written: 1.10 stays 1.10.
func keyName(key ast.MapKeyNode) (string, error) {
	switch k := key.(type) {
	case *ast.StringNode:
		return k.Value, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return key.GetToken().Value, nil
	}
	return "", &Error{Line: lineOf(key), Message: "a key is plain text"}
}
