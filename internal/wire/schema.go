package wire

import (
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
)

// SchemaRules say what a dialect cannot bear in a tool's schema.
type SchemaRules struct {
	StripTop         bool // anyOf, oneOf, allOf, enum and not at the top are removed
	EmptyItems       bool // an array without items gets items: {}
	ObjectProperties bool // a property or an alternative that is true becomes {}, one that is false {"not":{}}; what no schema may hold is left out
}

// emptySchema is what a tool without parameters has.
const emptySchema = `{"type":"object","properties":{}}`

// Schema makes a tool's schema fit for the rules: it always is an object schema with properties, and the rules are
// applied at every depth, but only in schema positions, so that a property that happens to be named items or enum is left
// alone. Members keep their order. When nothing has to change the raw bytes themselves are returned. raw must be JSON of proven
// grammar, or nil.
func Schema(raw jsontext.Value, r SchemaRules) (jsontext.Value, Notes) {
	var notes Notes
	if len(raw) == 0 {
		return jsontext.Value(emptySchema), notes
	}
	v := messages.View(raw)
	if !v.IsObject() {
		return jsontext.Value(emptySchema), notes // true, and whatever else says nothing
	}
	if r.fine(v, true) {
		return raw, notes
	}
	var j JSON
	r.write(&j, v, true, &notes)
	return jsontext.Value(j.Bytes()), notes
}

// place says what the value of a schema keyword holds.
type place uint8

const (
	data    place = iota // not a schema: enum, const, default, and all unknown words
	schema               // one schema
	schemas              // a list of schemas
	named                // an object of schemas by name
	either               // one schema or a list of them
)

func placeOf(keyword string) place {
	switch keyword {
	case "properties", "patternProperties", "$defs", "definitions", "dependentSchemas":
		return named
	case "anyOf", "oneOf", "allOf", "prefixItems":
		return schemas
	case "items":
		return either
	case "additionalProperties", "additionalItems", "unevaluatedProperties", "unevaluatedItems", "contains", "propertyNames",
		"not", "if", "then", "else":
		return schema
	}
	return data
}

func stripped(keyword string) bool {
	switch keyword {
	case "anyOf", "oneOf", "allOf", "enum", "not":
		return true
	}
	return false
}

// isArray reports whether a type keyword allows arrays.
func isArray(t gjson.Result) bool {
	if t.IsArray() {
		for _, x := range t.Array() {
			if x.Str == "array" {
				return true
			}
		}
		return false
	}
	return t.Str == "array"
}

// fine reports whether a schema may travel as it stands.
func (r SchemaRules) fine(v gjson.Result, top bool) bool {
	ok, array, items, object, properties := true, false, false, false, false
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "type":
			array = isArray(f)
			object = f.Str == "object"
		case "items", "prefixItems":
			items = true
		case "properties":
			properties = f.IsObject()
		}
		if top && r.StripTop && stripped(k.Str) || r.ObjectProperties && malformed(k.Str, f) {
			ok = false
		}
		switch placeOf(k.Str) {
		case named:
			f.ForEach(func(_, x gjson.Result) bool {
				ok = ok && (r.fineMember(x, k.Str) && r.fine(x, false))
				return ok
			})
		case schemas:
			f.ForEach(func(_, x gjson.Result) bool {
				ok = ok && (r.fineMember(x, k.Str) && r.fine(x, false))
				return ok
			})
		case either:
			if f.IsArray() {
				ok = ok && r.fineList(f)
			} else {
				ok = ok && r.fine(f, false)
			}
		case schema:
			ok = ok && r.fine(f, false)
		}
		return ok
	})
	if top && !(object && properties) {
		return false
	}
	return ok && !(r.EmptyItems && array && !items)
}

// fineMember reports whether a schema below a keyword may be what it is; some servers read only objects there.
func (r SchemaRules) fineMember(v gjson.Result, in string) bool {
	return !(r.ObjectProperties && (in == "properties" || in == "anyOf" || in == "oneOf" || in == "allOf") && !v.IsObject())
}

// malformed reports whether a keyword has a value that it cannot have: "properties": [] and "required": true are out there, and
// a server that reads them into a struct refuses the whole request.
func malformed(keyword string, v gjson.Result) bool {
	switch keyword {
	case "type":
		return v.Type != gjson.String && !listOf(v, gjson.String)
	case "description":
		return v.Type != gjson.String
	case "required":
		return !listOf(v, gjson.String)
	case "enum", "anyOf", "oneOf", "allOf":
		return !v.IsArray()
	case "properties":
		return !v.IsObject()
	}
	return false
}

func listOf(v gjson.Result, kind gjson.Type) bool {
	ok := v.IsArray()
	v.ForEach(func(_, x gjson.Result) bool {
		ok = ok && x.Type == kind
		return ok
	})
	return ok
}

// member writes one schema below a keyword.
func (r SchemaRules) member(j *JSON, v gjson.Result, in string, notes *Notes) {
	switch {
	case r.fineMember(v, in):
		r.write(j, v, false, notes)
	case v.Type == gjson.False:
		j.Raw([]byte(`{"not":{}}`))
	default:
		if v.Type != gjson.True {
			notes.Approximate("input_schema")
		}
		j.Raw([]byte(`{}`))
	}
}

func (r SchemaRules) fineList(v gjson.Result) bool {
	ok := true
	v.ForEach(func(_, x gjson.Result) bool {
		ok = r.fine(x, false)
		return ok
	})
	return ok
}

// write writes a schema as the rules want it.
func (r SchemaRules) write(j *JSON, v gjson.Result, top bool, notes *Notes) {
	if !v.IsObject() {
		j.Raw(messages.RawOf(v))
		return
	}
	array, items, properties := false, false, false
	j.Obj()
	if top && !v.Get("type").Exists() {
		j.Key("type")
		j.Str("object")
	}
	v.ForEach(func(k, f gjson.Result) bool {
		if r.ObjectProperties && malformed(k.Str, f) && !(top && (k.Str == "type" || k.Str == "properties")) {
			if f.Type != gjson.Null {
				notes.Approximate("input_schema")
			}
			return true
		}
		switch {
		case top && k.Str == "type":
			if f.Str != "object" {
				notes.Approximate("input_schema") // the arguments of a call are an object
			}
			j.Key("type")
			j.Str("object")
			return true
		case k.Str == "type":
			array = isArray(f)
		case k.Str == "items" || k.Str == "prefixItems":
			items = true
		case k.Str == "properties":
			if top && !f.IsObject() {
				notes.Approximate("input_schema")
				return true
			}
			properties = true
		}
		if top && r.StripTop && stripped(k.Str) {
			notes.Drop("input_schema." + k.Str)
			return true
		}
		j.Key(k.Str)
		switch p := placeOf(k.Str); {
		case p == named && f.IsObject():
			j.Obj()
			f.ForEach(func(name, x gjson.Result) bool {
				j.Key(name.Str)
				r.member(j, x, k.Str, notes)
				return true
			})
			j.End()
		case (p == schemas || p == either) && f.IsArray():
			j.Arr()
			f.ForEach(func(_, x gjson.Result) bool {
				r.member(j, x, k.Str, notes)
				return true
			})
			j.EndArr()
		case p == schema || p == either:
			r.write(j, f, false, notes)
		default:
			j.Raw(rawValue(f))
		}
		return true
	})
	if r.EmptyItems && array && !items {
		j.Key("items")
		j.Obj()
		j.End()
	}
	if top && !properties {
		j.Key("properties")
		j.Obj()
		if r.StripTop {
			r.branches(j, v, notes)
		}
		j.End()
	}
	j.End()
}

// branches writes the properties that only the removed alternatives name, so that the model still learns of them.
func (r SchemaRules) branches(j *JSON, v gjson.Result, notes *Notes) {
	seen := map[string]bool{}
	for _, union := range [...]string{"allOf", "anyOf", "oneOf"} {
		for _, branch := range v.Get(union).Array() {
			branch.Get("properties").ForEach(func(name, x gjson.Result) bool {
				if !seen[name.Str] && branch.IsObject() {
					seen[name.Str] = true
					j.Key(name.Str)
					r.member(j, x, "properties", notes)
				}
				return true
			})
		}
	}
}

// rawValue is a value's bytes, null included.
func rawValue(v gjson.Result) []byte {
	if raw := messages.RawOf(v); raw != nil {
		return raw
	}
	return []byte("null")
}
