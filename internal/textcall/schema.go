package textcall

import (
	"bytes"
	"errors"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// tool is an offered tool; its schema is compiled when the first candidate names it.
type tool struct {
	name     string
	schema   jsontext.Value
	forced   bool // the server was asked for nothing but a call
	compiled *jsonschema.Schema
	ready    bool
	document any // the schema, decoded
}

// offline refuses to fetch what a schema refers to: nothing of a request may make us read a file or dial.
type offline struct{}

func (offline) Load(string) (any, error) { return nil, errors.New("schemas are not fetched") }

const address = "tool:///schema.json"

func (t *tool) prepare() {
	if t.ready {
		return
	}
	t.ready = true
	if len(t.schema) == 0 {
		return
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(t.schema))
	if err != nil {
		return
	}
	t.document = document
	c := jsonschema.NewCompiler()
	c.UseLoader(offline{})
	if c.AddResource(address, document) != nil {
		return
	}
	// A schema that cannot be compiled (a pattern of another language, a reference to elsewhere) still has names: see fits.
	t.compiled, _ = c.Compile(address)
}

// fits reports whether arguments fit the tool's schema. Where the schema itself cannot be read, its members must at least
// exist and the required ones be there. That is enough as well where a grammar made the call: a grammar knows nothing of sums,
// unique items or alternatives, and the caller checks the arguments as it checks those of any call.
func (t *tool) fits(input jsontext.Value) bool {
	if input.Kind() != '{' {
		return false
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(input))
	if err != nil {
		return false
	}
	t.prepare()
	if t.compiled != nil {
		if fine := t.compiled.Validate(value) == nil; fine || !t.forced {
			return fine
		}
	}
	members, ok := value.(map[string]any)
	if !ok {
		return false
	}
	schema, _ := t.document.(map[string]any)
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for _, r := range required {
		if name, ok := r.(string); ok {
			if _, there := members[name]; !there {
				return false
			}
		}
	}
	for name := range members {
		if _, known := properties[name]; !known && properties != nil {
			return false
		}
	}
	return true
}

// wraps reports whether an object is no arguments but a call that names the tool and holds them.
func (t *tool) wraps(input jsontext.Value) bool {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(input))
	call, ok := v.(map[string]any)
	if err != nil || !ok || call["name"] != t.name {
		return false
	}
	for _, key := range [...]string{"arguments", "parameters"} {
		if _, ok := call[key].(map[string]any); ok {
			return true
		}
	}
	return false
}

// types are the JSON types that a property may have; nil when its schema does not say.
func (t *tool) types(property string) []string {
	t.prepare()
	schema, _ := t.document.(map[string]any)
	properties, _ := schema["properties"].(map[string]any)
	return typesOf(properties[property], 0)
}

func typesOf(schema any, depth int) []string {
	s, _ := schema.(map[string]any)
	if s == nil || depth > 8 {
		return nil
	}
	var out []string
	switch v := s["type"].(type) {
	case string:
		out = append(out, v)
	case []any:
		for _, x := range v {
			if name, ok := x.(string); ok {
				out = append(out, name)
			}
		}
	}
	if values, ok := s["enum"].([]any); ok && len(out) == 0 {
		for _, x := range values {
			if _, ok := x.(string); ok {
				out = append(out, "string")
				break
			}
		}
	}
	for _, union := range [...]string{"anyOf", "oneOf", "allOf"} {
		list, _ := s[union].([]any)
		for _, x := range list {
			out = append(out, typesOf(x, depth+1)...)
		}
	}
	return out
}

// object builds the arguments of a form whose values are plain texts: the schema says what they are.
type object struct {
	tool    *tool
	out     []byte
	names   []string
	members int
}

// add takes a member; false when it came twice.
func (o *object) add(key string, text []byte) bool {
	if slices.Contains(o.names, key) {
		return false
	}
	o.names = append(o.names, key)
	if o.members++; o.members == 1 {
		o.out = append(o.out, '{')
	} else {
		o.out = append(o.out, ',')
	}
	o.out, _ = jsontext.AppendQuote(o.out, key)
	o.out = append(o.out, ':')
	o.out = o.tool.typed(o.out, key, text)
	return true
}

func (o *object) bytes() jsontext.Value {
	if o.members == 0 {
		return jsontext.Value("{}")
	}
	return append(bytes.Clone(o.out), '}')
}

// typed appends a value that was written as plain text. The form puts each value on lines of its own; the line breaks
// around it are the form's.
func (t *tool) typed(dst []byte, key string, text []byte) []byte {
	text = bytes.TrimPrefix(bytes.TrimPrefix(text, []byte("\r")), []byte("\n"))
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	types := t.types(key)
	value := jsontext.Value(bytes.TrimSpace(text))
	kind := ""
	if len(value) > 0 && value.IsValid() {
		switch value.Kind() {
		case '{':
			kind = "object"
		case '[':
			kind = "array"
		case '0':
			kind = "number"
		case 't', 'f':
			kind = "boolean"
		case 'n':
			kind = "null"
		}
	}
	// Python's spelling.
	switch string(value) {
	case "True", "False":
		if !slices.Contains(types, "string") && slices.Contains(types, "boolean") {
			return append(dst, bytes.ToLower(value)...)
		}
	case "None":
		if !slices.Contains(types, "string") && slices.Contains(types, "null") {
			return append(dst, "null"...)
		}
	}
	fits := slices.Contains(types, kind) || kind == "number" && slices.Contains(types, "integer")
	if kind != "" && fits && !(slices.Contains(types, "string") && kind != "null") || kind != "" && len(types) == 0 && kind != "null" {
		return append(dst, value...)
	}
	dst, _ = jsontext.AppendQuote(dst, text) // bytes that are no UTF-8 become U+FFFD
	return dst
}
