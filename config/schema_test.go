package config

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestSchema holds schema.json to the types and their comments.
func TestSchema(t *testing.T) {
	s := schemaMaker{t: t, comments: commentsOf(t), defs: map[string]any{
		"reference": map[string]any{"type": "string", "pattern": `\$\{.+\}`, "description": "${VAR}, ${VAR:-default} or ${VAR:?message}, replaced when the file is read."},
	}}
	root := s.structure(reflect.TypeFor[Config](), reflect.ValueOf(*Default()))
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "signalbox configuration"
	root["$defs"] = s.defs
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.json", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(string(Schema), b.String()); d != "" {
		t.Errorf("schema.json differs from the types; run: go test ./config -update\n%s", d)
	}
}

// schemaMaker turns types into schemas. Each struct becomes a definition of its own name.
type schemaMaker struct {
	t        *testing.T
	comments map[string]string
	defs     map[string]any
}

var references = map[string]any{"$ref": "#/$defs/reference"}

// maybe accepts nothing too: "key:" with nothing behind it leaves the layer below.
func maybe(of ...any) map[string]any {
	return map[string]any{"anyOf": append(of, map[string]any{"type": "null"})}
}

func (s *schemaMaker) structure(typ reflect.Type, defaults reflect.Value) map[string]any {
	properties := map[string]any{}
	var required []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		name := yamlName(f)
		if name == "" {
			continue
		}
		var preset reflect.Value
		if defaults.IsValid() {
			preset = defaults.Field(i)
		}
		p := s.field(f, preset)
		if c := s.comments[typ.Name()+"."+f.Name]; c != "" {
			p["description"] = inYAML(c, f.Name, name)
		}
		properties[name] = p
		if typ.Name() == "Entry" && name == "target" || typ.Name() == "Price" && !strings.HasPrefix(name, "cache_") || f.Tag.Get("validate") == "required,min=1,dive" || typ.Name() == "Choice" && name == "target" {
			required = append(required, name)
		}
	}
	out := map[string]any{"type": []string{"object", "null"}, "properties": properties, "additionalProperties": false}
	if required != nil {
		out["required"], out["type"] = required, "object"
	}
	return out
}

// field is a field's schema with what its tag demands and what holds without it.
func (s *schemaMaker) field(f reflect.StructField, preset reflect.Value) map[string]any {
	if f.Type.Kind() == reflect.Struct && f.Type != reflect.TypeFor[Secret]() {
		return s.structure(f.Type, preset)
	}
	p := s.value(f.Type)
	first, _ := p["anyOf"].([]any)
	for rule := range strings.SplitSeq(f.Tag.Get("validate"), ",") {
		name, value, _ := strings.Cut(rule, "=")
		n, _ := strconv.ParseInt(value, 10, 64)
		switch {
		case name == "min" && f.Type.Kind() != reflect.Slice:
			first[0].(map[string]any)["minimum"] = n
		case name == "max":
			first[0].(map[string]any)["maximum"] = n
		case name == "oneof":
			first[0] = map[string]any{"enum": strings.Fields(value)}
		}
	}
	switch yamlName(f) {
	case "kind":
		first[0] = map[string]any{"enum": Kinds}
	case "providers":
		first[0].(map[string]any)["propertyNames"] = map[string]any{"pattern": providerName.String(), "maxLength": 64, "not": map[string]any{"enum": reserved}}
	}
	if preset.IsValid() && !preset.IsZero() {
		switch v := preset.Interface().(type) {
		case Duration:
			p["default"] = v.String()
		case string, int, int64, uint32:
			p["default"] = v
		}
	}
	return p
}

func (s *schemaMaker) value(typ reflect.Type) map[string]any {
	switch typ {
	case reflect.TypeFor[Duration]():
		return maybe(map[string]any{"type": "string", "pattern": `^([0-9]+d)?([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h))*$`, "minLength": 1, "examples": []string{"300ms", "30s", "5m", "400d"}}, map[string]any{"const": 0}, references)
	case reflect.TypeFor[NumCtx]():
		return maybe(map[string]any{"type": "integer", "minimum": 1}, map[string]any{"const": "auto"}, references)
	case reflect.TypeFor[TextTools]():
		return maybe(map[string]any{"enum": []any{"auto", "on", "off", true, false, "yes", "no"}}, references)
	case reflect.TypeFor[Thinking]():
		return maybe(map[string]any{"enum": []any{"off", "on", true, false, "yes", "no"}}, map[string]any{"type": "integer", "minimum": 1024}, references)
	case reflect.TypeFor[Effort]():
		return maybe(map[string]any{"enum": []string{"low", "medium", "high", "xhigh", "max"}}, references)
	case reflect.TypeFor[Decimal]():
		return maybe(map[string]any{"type": "number", "minimum": 0}, map[string]any{"type": "string", "pattern": `^[0-9]*\.?[0-9]+$`}, references)
	case reflect.TypeFor[Secret]():
		return maybe(map[string]any{"type": []string{"string", "number"}})
	}
	switch typ.Kind() {
	case reflect.String:
		return maybe(map[string]any{"type": []string{"string", "number"}})
	case reflect.Bool:
		return maybe(map[string]any{"type": "boolean"}, map[string]any{"enum": []string{"true", "false"}}, references)
	case reflect.Int, reflect.Int64, reflect.Uint32:
		return maybe(map[string]any{"type": "integer"}, map[string]any{"type": "string", "pattern": "^[0-9]+$"}, references)
	case reflect.Pointer:
		return s.value(typ.Elem())
	case reflect.Map:
		return maybe(map[string]any{"type": "object", "additionalProperties": s.value(typ.Elem())})
	case reflect.Slice:
		item := s.value(typ.Elem())
		list := map[string]any{"type": "array", "items": item}
		if typ.Elem() == reflect.TypeFor[Choice]() {
			return maybe(list, item) // one alone needs no brackets
		}
		return maybe(list)
	case reflect.Struct:
		if _, ok := s.defs[typ.Name()]; !ok {
			s.defs[typ.Name()] = true // in case it holds itself
			s.defs[typ.Name()] = s.structure(typ, reflect.Value{})
		}
		ref := map[string]any{"$ref": "#/$defs/" + typ.Name()}
		if _, ok := reflect.New(typ).Interface().(shorthand); ok {
			return maybe(map[string]any{"type": "string"}, ref)
		}
		return maybe(ref)
	}
	s.t.Fatalf("no schema for %s", typ)
	return nil
}

func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// instance is a YAML text as a validator sees it.
func instance(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// TestSchemaAccepts: every file that loads, and every example of the pages, is valid for an editor too.
func TestSchemaAccepts(t *testing.T) {
	s := compiled(t)
	texts := map[string][]byte{}
	for _, pattern := range []string{"testdata/good/*", "../examples/*/config.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			texts[file] = data
		}
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```")
	for _, page := range []string{"../docs/configuration.md", "../docs/routing.md", "../docs/costs.md"} {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		found := blocks.FindAllSubmatch(data, -1)
		if len(found) == 0 {
			t.Errorf("%s has no example", page)
		}
		for i, m := range found {
			texts[page+" example "+strconv.Itoa(i+1)] = m[1]
		}
	}
	for name, text := range texts {
		if v := instance(t, text); v != nil {
			if err := s.Validate(v); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestSchemaRefuses: what is wrong by its form is wrong for an editor too.
func TestSchemaRefuses(t *testing.T) {
	s := compiled(t)
	for _, name := range []string{"attempts", "attempts_zero", "budgets", "duration", "keys", "kind_unknown", "limits", "not_a_mapping", "num_ctx", "price",
		"price_half", "reserved", "sync", "text_tools", "unknown_key", "unknown_top", "wrong_bool", "wrong_form"} {
		text, err := os.ReadFile("testdata/bad/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(instance(t, text)); err == nil {
			t.Errorf("%s.yaml is valid", name)
		}
	}
	for _, text := range []string{"agents: {a: {thinking: maybe, target: x/y}}", "agents: {a: {effort: low}}", "rules: [{when: {images: 3}, to: x/y}]", "rules: [{when: {images: true}}]",
		"providers: {'a b': {}}", "aliases: {a: [x]}"} {
		if err := s.Validate(instance(t, []byte(text))); err == nil {
			t.Errorf("%s is valid", text)
		}
	}
}
