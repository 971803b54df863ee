package gemini

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// Gemini's parameters are a subset of OpenAPI's schemas, and one unknown word refuses the whole request. So a tool's schema is
// written anew out of the words that every version of the API takes, in schema positions alone. The field parametersJsonSchema
// would take more words, but not every one, not on every version, and not by every server that speaks this dialect.

// Limits on what references may unfold to. A schema that reaches them is cut short there.
const (
	maxUnfolded = 512 << 10 // bytes of one tool's parameters
	maxRefs     = 64        // references inside one another
	maxSearches = 64        // references that lead elsewhere than to a definition
	maxNested   = 100       // schemas inside one another
)

// emptySchema is what a tool without parameters has.
const emptySchema = `{"type":"object","properties":{}}`

// parameters makes a tool's schema fit. lost says that a constraint could not be kept, and the schema allows more than it did.
// raw must be JSON of proven grammar, or nil.
func parameters(raw jsontext.Value) (out jsontext.Value, lost bool) {
	v := messages.View(raw)
	if len(raw) == 0 || !v.IsObject() {
		return jsontext.Value(emptySchema), false
	}
	s := schemer{root: v, refs: []string{"#"}}
	n := s.read(v, 0)
	s.flatten(&n) // the outermost must be an object
	s.must(len(n.types) == 0 || len(n.types) == 1 && n.types[0] == "object")
	n.types = []string{"object"}
	n.nullable = false
	if n.properties == nil {
		n.properties = []property{}
	}
	s.write(&n)
	return jsontext.Value(s.j.Bytes()), s.lost
}

// schemer turns one schema into Gemini's words.
type schemer struct {
	root     gjson.Result
	defs     map[string]gjson.Result
	searches int
	refs     []string // the references that are being followed
	unfolded int      // bytes of schemas read through references
	lost     bool
	j        wire.JSON
}

// node is a schema in Gemini's words.
type node struct {
	types      []string // without null
	nullable   bool
	title      gjson.Result
	describe   gjson.Result
	format     string
	enum       []messages.Literal
	bounds     []bound // minimum, maxLength and the like
	pattern    gjson.Result
	properties []property // nil when it has none
	places     map[string]int
	required   []string
	ordering   gjson.Result
	items      *node
	anyOf      []node
	extra      string // what only words can say
}

type property struct {
	name string
	node node
}

type bound struct {
	name string
	raw  string
}

// numeric are the words that take a number and are kept as they are.
func numeric(word string) bool {
	switch word {
	case "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties":
		return true
	}
	return false
}

// read takes a schema in.
func (s *schemer) read(v gjson.Result, depth int) (n node) {
	if !v.IsObject() || depth > maxNested {
		s.lost = s.lost || depth > maxNested || v.Exists() && v.Type != gjson.True && v.Type != gjson.Null
		return n
	}
	var ref gjson.Result
	v.ForEach(func(k, f gjson.Result) bool {
		switch word := k.String(); word {
		case "$ref":
			ref = f
			s.must(f.Type == gjson.String)
		case "type":
			s.must(n.setTypes(f))
		case "nullable":
			n.nullable = n.nullable || f.Type == gjson.True
		case "title":
			n.title = f
			s.must(f.Type == gjson.String)
		case "description":
			n.describe = f
			s.must(f.Type == gjson.String)
		case "format":
			n.format = f.Str
			s.must(f.Type == gjson.String)
		case "enum":
			s.enum(&n, f.Array())
			s.must(f.IsArray())
		case "const":
			s.enum(&n, []gjson.Result{f})
		case "pattern":
			n.pattern = f
			s.must(f.Type == gjson.String)
		case "propertyOrdering":
			n.ordering = f
			s.must(f.IsArray())
		case "required":
			s.must(f.IsArray())
			f.ForEach(func(_, x gjson.Result) bool {
				if s.must(x.Type == gjson.String); x.Type == gjson.String {
					n.required = append(n.required, x.String())
				}
				return true
			})
		case "properties":
			if s.must(f.IsObject()); !f.IsObject() {
				return true
			}
			if n.properties == nil {
				n.properties = []property{}
			}
			f.ForEach(func(name, x gjson.Result) bool {
				n.setProperty(name.String(), s.read(x, depth+1))
				return true
			})
		case "items", "prefixItems":
			s.items(&n, f, depth)
		case "anyOf", "oneOf":
			s.must(f.IsArray())
			s.union(&n, f, depth)
		case "allOf":
			s.must(f.IsArray())
			f.ForEach(func(_, x gjson.Result) bool {
				n.merge(s.read(x, depth+1))
				return true
			})
		case "exclusiveMinimum", "exclusiveMaximum":
			if f.Type == gjson.Number { // true is the form of an old draft: the bound beside it stays
				n.bound("m"+word[len("exclusiveM"):], f.Raw, false)
			}
			s.lost = true
		case "not", "if", "then", "else", "patternProperties", "propertyNames", "uniqueItems", "multipleOf", "contains", "minContains",
			"maxContains", "dependentRequired", "dependentSchemas", "dependencies", "unevaluatedItems", "unevaluatedProperties":
			s.lost = true
		case "additionalProperties":
			s.must(f.IsBool() || f.Raw == "{}")
		case "$schema", "$id", "$anchor", "$comment", "$defs", "definitions": // they say nothing of a value
		default:
			if numeric(word) && f.Type == gjson.Number {
				n.bound(word, f.Raw, true)
			} else if f.Type != gjson.Null {
				s.lost = true // default, examples, words of the future
			}
		}
		return true
	})
	if ref.Type == gjson.String {
		n.merge(s.follow(ref.String(), depth))
	}
	return n
}

// must marks the schema as one that loses something unless a word of it is of the type that it has by its definition.
func (s *schemer) must(fits bool) { s.lost = s.lost || !fits }

// setTypes reads a type, or a list of them. It reports whether all of them are known.
func (n *node) setTypes(f gjson.Result) (known bool) {
	known = f.Type == gjson.String || f.IsArray()
	for _, t := range f.Array() {
		switch name := strings.ToLower(t.Str); name {
		case "null":
			n.nullable = true
		case "string", "number", "integer", "boolean", "array", "object":
			n.addType(name)
		default:
			known = false
		}
	}
	return known
}

func (n *node) addType(name string) {
	for _, have := range n.types {
		if have == name {
			return
		}
	}
	n.types = append(n.types, name)
}

func (n *node) setProperty(name string, x node) {
	if i, ok := n.places[name]; ok {
		n.properties[i].node.merge(x)
		return
	}
	if n.places == nil {
		n.places = map[string]int{}
	}
	n.places[name] = len(n.properties)
	n.properties = append(n.properties, property{name, x})
}

// bound sets a limit; a stated one wins over one that was made of another word.
func (n *node) bound(name, raw string, stated bool) {
	for i := range n.bounds {
		if n.bounds[i].name == name {
			if stated {
				n.bounds[i].raw = raw
			}
			return
		}
	}
	n.bounds = append(n.bounds, bound{name, raw})
}

// enum keeps the values that are texts: the API knows no others. Other values are said in the description.
func (s *schemer) enum(n *node, values []gjson.Result) {
	var others []string
	for _, v := range values {
		switch {
		case v.Type == gjson.Null:
			n.nullable = true
		case v.Type == gjson.String && v.Str != "": // the empty text is refused
			n.enum = append(n.enum, messages.LiteralOf(v))
		case v.Type != gjson.String:
			others = append(others, v.Raw)
		}
	}
	if len(others) == 0 {
		return
	}
	if len(n.types) == 0 && len(n.enum) == 0 {
		n.types = typesOf(values)
	}
	all := others
	for _, l := range n.enum {
		all = append(all, string(l))
	}
	n.enum = nil
	if text := strings.Join(all, ", "); len(text) <= 2000 {
		n.extra = "One of: " + text
		if len(all) == 1 {
			n.extra = "Always " + text
		}
	}
	s.lost = true
}

// typesOf are the types of the values of an enum.
func typesOf(values []gjson.Result) []string {
	var n node
	for _, v := range values {
		switch {
		case v.Type == gjson.String:
			n.addType("string")
		case v.Type == gjson.Number && !strings.ContainsAny(v.Raw, ".eE"):
			n.addType("integer")
		case v.Type == gjson.Number:
			n.addType("number")
		case v.IsBool():
			n.addType("boolean")
		case v.IsArray():
			n.addType("array")
		case v.IsObject():
			n.addType("object")
		}
	}
	return n.types
}

// items reads one schema, or a list of schemas for the first elements, which becomes a choice among them.
func (s *schemer) items(n *node, f gjson.Result, depth int) {
	if !f.IsArray() {
		x := s.read(f, depth+1)
		if n.items == nil && f.IsObject() {
			n.items = &x
		}
		return
	}
	var x node
	s.union(&x, f, depth)
	s.lost = true
	n.items = &x
}

// union reads alternatives. One that only says null makes the schema nullable, and a single other one is the schema itself.
func (s *schemer) union(n *node, f gjson.Result, depth int) {
	var some []node
	f.ForEach(func(_, x gjson.Result) bool {
		b := s.read(x, depth+1)
		switch {
		case b.nothing() && b.nullable:
			n.nullable = true
		case b.nothing():
			s.lost = s.lost || len(b.required) > 0 // a rule about members, no alternative
		default:
			some = append(some, b)
		}
		return true
	})
	switch {
	case len(some) == 0:
	case len(some) == 1:
		n.merge(some[0])
	case len(n.anyOf) > 0:
		s.lost = true // both unions hold; the first is kept
	default:
		n.anyOf = some
	}
}

// nothing says that a schema does not say what a value is.
func (n *node) nothing() bool {
	return len(n.types) == 0 && len(n.enum) == 0 && n.properties == nil && n.items == nil && len(n.anyOf) == 0 && len(n.bounds) == 0 &&
		n.pattern.Type == gjson.Null && n.extra == ""
}

// merge adds what another schema says that holds as well. What is said twice counts as it was said first.
func (n *node) merge(x node) {
	if len(n.types) == 0 {
		n.types = x.types
	}
	n.nullable = n.nullable || x.nullable
	if !n.title.Exists() {
		n.title = x.title
	}
	if !n.describe.Exists() {
		n.describe = x.describe
	}
	if n.format == "" {
		n.format = x.format
	}
	if n.enum == nil {
		n.enum = x.enum
	}
	for _, b := range x.bounds {
		n.bound(b.name, b.raw, false)
	}
	if !n.pattern.Exists() {
		n.pattern = x.pattern
	}
	if x.properties != nil && n.properties == nil {
		n.properties = []property{}
	}
	for _, p := range x.properties {
		n.setProperty(p.name, p.node)
	}
	n.required = append(n.required, x.required...)
	if !n.ordering.Exists() {
		n.ordering = x.ordering
	}
	if n.items == nil {
		n.items = x.items
	}
	if n.anyOf == nil {
		n.anyOf = x.anyOf
	}
	if n.extra == "" {
		n.extra = x.extra
	}
}

// follow reads what a reference names, in its place: the API knows no references. One that leads into itself ends there.
func (s *schemer) follow(ref string, depth int) (n node) {
	for _, r := range s.refs {
		if r == ref {
			s.lost = true
			return s.shape(ref)
		}
	}
	v, ok := s.find(ref)
	if s.unfolded += len(v.Raw); !ok || len(s.refs) >= maxRefs || s.unfolded > maxUnfolded {
		s.lost = true
		return s.shape(ref)
	}
	s.refs = append(s.refs, ref)
	n = s.read(v, depth+1)
	s.refs = s.refs[:len(s.refs)-1]
	return n
}

// shape is what is kept of a reference that is not followed: its type.
func (s *schemer) shape(ref string) (n node) {
	if v, ok := s.find(ref); ok && v.IsObject() {
		n.setTypes(v.Get("type"))
		if v.Get("properties").Exists() {
			n.addType("object")
		}
		n.describe = v.Get("description")
	}
	if len(n.types) == 0 {
		n.types = []string{"object"}
	}
	return n
}

// find looks a reference up; only those into the schema itself are known.
func (s *schemer) find(ref string) (gjson.Result, bool) {
	path, ok := strings.CutPrefix(ref, "#")
	if !ok {
		return gjson.Result{}, false
	}
	if path == "" {
		return s.root, true
	}
	if s.defs == nil { // looked up by the thousand, so they are gathered once
		s.defs = map[string]gjson.Result{}
		for _, where := range [...]string{"$defs", "definitions"} {
			s.root.Get(where).ForEach(func(name, x gjson.Result) bool {
				s.defs["/"+where+"/"+name.String()] = x
				return true
			})
		}
	}
	if u, err := url.PathUnescape(path); err == nil {
		path = u
	}
	plain := strings.ReplaceAll(strings.ReplaceAll(path, "~1", "/"), "~0", "~")
	if v, ok := s.defs[plain]; ok {
		return v, v.IsObject()
	}
	if s.searches++; s.searches > maxSearches || path[0] != '/' {
		return gjson.Result{}, false
	}
	v := s.root
	for _, step := range strings.Split(path[1:], "/") {
		step = strings.ReplaceAll(strings.ReplaceAll(step, "~1", "/"), "~0", "~")
		if v, ok = member(v, step); !ok {
			return v, false
		}
	}
	return v, v.IsObject()
}

func member(v gjson.Result, name string) (out gjson.Result, ok bool) {
	i := 0
	array := v.IsArray()
	v.ForEach(func(k, f gjson.Result) bool {
		if array && strconv.Itoa(i) == name || !array && k.String() == name {
			out, ok = f, true
		}
		i++
		return !ok
	})
	return out, ok
}

// flatten puts the properties of alternatives into the schema itself, none of them required.
func (s *schemer) flatten(n *node) {
	if len(n.anyOf) == 0 {
		return
	}
	s.lost = true
	for _, b := range n.anyOf {
		s.flatten(&b)
		if n.properties == nil && b.properties != nil {
			n.properties = []property{}
		}
		for _, p := range b.properties {
			if _, ok := n.places[p.name]; !ok {
				n.setProperty(p.name, p.node)
			}
		}
	}
	n.anyOf = nil
}

// settle gives a schema the type that it must have: the one its words speak of.
func (s *schemer) settle(n *node) {
	if len(n.anyOf) > 0 {
		if n.properties != nil || n.items != nil {
			s.flatten(n) // alternatives beside members of their own
		} else {
			return
		}
	}
	if len(n.types) > 0 {
		return
	}
	switch {
	case n.properties != nil:
		n.types = []string{"object"}
	case n.items != nil:
		n.types = []string{"array"}
	case len(n.enum) > 0 || n.pattern.Type == gjson.String:
		n.types = []string{"string"}
	default:
		for _, b := range n.bounds {
			switch b.name {
			case "minimum", "maximum":
				n.types = []string{"number"}
			case "minLength", "maxLength":
				n.types = []string{"string"}
			case "minItems", "maxItems":
				n.types = []string{"array"}
			case "minProperties", "maxProperties":
				n.types = []string{"object"}
			}
		}
	}
	if len(n.types) == 0 { // anything
		n.types = []string{"string", "number", "boolean", "object", "array"}
	}
}

// weigh marks what a schema says that does not belong to its types, and is not written therefore.
func (s *schemer) weigh(n *node) {
	types := n.types
	if len(n.anyOf) > 0 {
		types = nil // its alternatives alone are written
	}
	has := func(kind string) bool { return slices.Contains(types, kind) }
	s.must(n.pattern.Type != gjson.String || has("string"))
	s.must(len(n.enum) == 0 || has("string"))
	s.must(n.items == nil || has("array"))
	s.must(n.properties == nil || has("object"))
	s.must(n.format == "" || slices.ContainsFunc(types, func(t string) bool { return formatOf(t, n.format) }))
	for _, b := range n.bounds {
		s.must(slices.ContainsFunc(types, func(t string) bool { return boundOf(t, b.name) }))
	}
	for _, name := range n.required {
		_, have := n.places[name]
		s.must(have)
	}
}

// write writes a schema.
func (s *schemer) write(n *node) {
	s.settle(n)
	s.weigh(n)
	j := &s.j
	j.Obj()
	switch {
	case len(n.anyOf) > 0:
		s.words(n)
		j.Key("anyOf")
		j.Arr()
		for i := range n.anyOf {
			s.write(&n.anyOf[i])
		}
		j.EndArr()
	case len(n.types) > 1:
		s.words(n)
		j.Key("anyOf")
		j.Arr()
		for _, t := range n.types {
			j.Obj()
			s.typed(n, t, false)
			j.End()
		}
		j.EndArr()
	default:
		s.typed(n, n.types[0], true)
	}
	if n.nullable {
		j.Key("nullable")
		j.Bool(true)
	}
	j.End()
}

// words writes what people read.
func (s *schemer) words(n *node) {
	j := &s.j
	if n.title.Type == gjson.String {
		j.Key("title")
		j.Lit(messages.LiteralOf(n.title))
	}
	switch describe := messages.LiteralOf(n.describe); {
	case n.extra == "" && describe.Empty():
	case n.extra == "":
		j.Key("description")
		j.Lit(describe)
	case describe.Empty():
		j.Key("description")
		j.Str(n.extra + ".")
	default:
		j.Key("description")
		j.Str(describe.Value() + " (" + n.extra + ".)")
	}
}

// typed writes the members that a type has; alone says that it is the only one.
func (s *schemer) typed(n *node, kind string, alone bool) {
	j := &s.j
	j.Key("type")
	j.Str(kind)
	if alone {
		s.words(n)
	}
	if formatOf(kind, n.format) {
		j.Key("format")
		j.Str(n.format)
	}
	for _, b := range n.bounds {
		if boundOf(kind, b.name) {
			j.Key(b.name)
			j.Raw([]byte(b.raw))
		}
	}
	switch kind {
	case "string":
		if len(n.enum) > 0 {
			j.Key("enum")
			j.Arr()
			seen := make(map[string]bool, len(n.enum))
			for _, l := range n.enum {
				if !seen[string(l)] {
					seen[string(l)] = true
					j.Lit(l)
				}
			}
			j.EndArr()
		}
		if n.pattern.Type == gjson.String {
			j.Key("pattern")
			j.Lit(messages.LiteralOf(n.pattern))
		}
	case "array":
		j.Key("items")
		if n.items == nil || n.items.nothing() {
			j.Raw([]byte(`{"type":"string"}`))
		} else {
			s.write(n.items)
		}
	case "object":
		s.members(n)
	}
}

func (s *schemer) members(n *node) {
	j := &s.j
	if n.properties == nil {
		return
	}
	j.Key("properties")
	j.Obj()
	for i := range n.properties {
		j.Key(n.properties[i].name)
		s.write(&n.properties[i].node)
	}
	j.End()
	n.names("required", n.required, j)
	var ordering []string
	n.ordering.ForEach(func(_, x gjson.Result) bool {
		ordering = append(ordering, x.String())
		return true
	})
	n.names("propertyOrdering", ordering, j)
}

// names writes a list of properties: each must be there, once.
func (n *node) names(word string, list []string, j *wire.JSON) {
	have := make(map[string]bool, len(n.properties))
	for i := range n.properties {
		have[n.properties[i].name] = true
	}
	open := false
	for _, name := range list {
		if !have[name] {
			continue
		}
		have[name] = false
		if !open {
			open = true
			j.Key(word)
			j.Arr()
		}
		j.Str(name)
	}
	if open {
		j.EndArr()
	}
}

// formatOf says which formats are known.
func formatOf(kind, format string) bool {
	switch kind + " " + format {
	case "string date-time", "string enum", "integer int32", "integer int64", "number float", "number double":
		return true
	}
	return false
}

// boundOf says which limits belong to a type.
func boundOf(kind, name string) bool {
	switch name {
	case "minimum", "maximum":
		return kind == "integer" || kind == "number"
	case "minLength", "maxLength":
		return kind == "string"
	case "minItems", "maxItems":
		return kind == "array"
	}
	return kind == "object"
}
