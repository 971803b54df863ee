package wire

import (
	"slices"
	"testing"

	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
)

func TestSchema(t *testing.T) {
	all := SchemaRules{StripTop: true, EmptyItems: true, ObjectProperties: true}
	for _, row := range []struct {
		it, raw, want string
		rules         SchemaRules
		dropped       []string
	}{
		{"makes an object schema of nothing", ``, emptySchema, SchemaRules{}, nil},
		{"makes an object schema of true", `true`, emptySchema, SchemaRules{}, nil},
		{"makes an object schema of {}", `{}`, emptySchema, SchemaRules{}, nil},
		{"gives a bare object properties", `{"type":"object"}`, `{"type":"object","properties":{}}`, SchemaRules{}, nil},
		{"gives properties a type", `{"properties":{"a":{}}}`, `{"type":"object","properties":{"a":{}}}`, SchemaRules{}, nil},
		{"leaves a good schema as it is written", `{ "type":"object" , "properties":{"n":{"type":"integer","maximum":12345678901234567890.50}}}`,
			`{ "type":"object" , "properties":{"n":{"type":"integer","maximum":12345678901234567890.50}}}`, all, nil},
		{"keeps the order of members", `{"required":["b"],"type":"object","additionalProperties":false,"properties":{"b":true,"a":{"type":"string"}}}`,
			`{"required":["b"],"type":"object","additionalProperties":false,"properties":{"b":{},"a":{"type":"string"}}}`, all, nil},
		{"gives arrays items at every depth", `{"type":"object","properties":{"a":{"type":"array"},"b":{"type":"object","properties":{"c":{"anyOf":[{"type":["null","array"]}]}}},"d":{"type":"array","items":{"type":"array"}},"e":{"type":"array","prefixItems":[{"type":"array"}]}},"$defs":{"x":{"type":"array"}}}`,
			`{"type":"object","properties":{"a":{"type":"array","items":{}},"b":{"type":"object","properties":{"c":{"anyOf":[{"type":["null","array"],"items":{}}]}}},"d":{"type":"array","items":{"type":"array","items":{}}},"e":{"type":"array","prefixItems":[{"type":"array","items":{}}]}},"$defs":{"x":{"type":"array","items":{}}}}`, all, nil},
		{"touches no data that only looks like a schema", `{"type":"object","properties":{"type":{"type":"string"},"items":{"type":"string","default":{"type":"array"}},"anyOf":{"enum":[{"type":"array"}]},"properties":{"type":"object","const":{"type":"array"}}}}`,
			`{"type":"object","properties":{"type":{"type":"string"},"items":{"type":"string","default":{"type":"array"}},"anyOf":{"enum":[{"type":"array"}]},"properties":{"type":"object","const":{"type":"array"}}}}`, all, nil},
		{"removes unions at the top alone", `{"type":"object","properties":{"a":{"anyOf":[{"type":"string"}]}},"anyOf":[{"required":["a"]}],"not":{},"enum":[1]}`,
			`{"type":"object","properties":{"a":{"anyOf":[{"type":"string"}]}}}`, all, []string{"input_schema.anyOf", "input_schema.enum", "input_schema.not"}},
		{"keeps unions at the top without the rule", `{"type":"object","properties":{},"anyOf":[{"required":["a"]}]}`, `{"type":"object","properties":{},"anyOf":[{"required":["a"]}]}`, SchemaRules{EmptyItems: true}, nil},
		{"saves the properties that only a union names", `{"oneOf":[{"properties":{"a":{"type":"string"},"b":true}},{"properties":{"a":{"type":"integer"},"c":{"type":"array"}}}]}`,
			`{"type":"object","properties":{"a":{"type":"string"},"b":{},"c":{"type":"array","items":{}}}}`, all, []string{"input_schema.oneOf"}},
		{"keeps true where it is no property", `{"type":"object","properties":{"a":{"not":true,"additionalProperties":true}}}`, `{"type":"object","properties":{"a":{"not":true,"additionalProperties":true}}}`, all, nil},
		{"makes objects of properties and alternatives that are none", `{"type":"object","properties":{"a":true,"b":false,"c":{"anyOf":[{"type":"string"},true,false]}}}`,
			`{"type":"object","properties":{"a":{},"b":{"not":{}},"c":{"anyOf":[{"type":"string"},{},{"not":{}}]}}}`, all, nil},
		{"leaves out what no schema may hold", `{"type":"object","required":true,"description":null,"properties":{"a":{"type":"string","required":true},"b":{"type":"object","properties":[],"enum":"x"},"c":"string","d":null,"required":{"description":["x"],"type":["string","null"]}}}`,
			`{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"object"},"c":{},"d":{},"required":{"type":["string","null"]}}}`, all, nil},
		{"leaves it where the rule is not asked for", `{"type":"object","properties":{"a":{"required":true}}}`, `{"type":"object","properties":{"a":{"required":true}}}`, SchemaRules{EmptyItems: true}, nil},
		{"reads escaped keywords", `{"type":"object","properties":{"a":{"\u0074ype":"array"}}}`, `{"type":"object","properties":{"a":{"type":"array","items":{}}}}`, all, nil},
	} {
		t.Run(row.it, func(t *testing.T) {
			got, notes := Schema([]byte(row.raw), row.rules)
			if string(got) != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
			if f := notes.Fields(); len(f) != len(row.dropped) {
				t.Errorf("dropped %v, want %v", f, row.dropped)
			} else {
				for i := range f {
					if f[i] != row.dropped[i] {
						t.Errorf("dropped %v, want %v", f, row.dropped)
					}
				}
			}
		})
	}
}

// What a schema says at its top and cannot stay is noted: the arguments of a call are an object, with properties.
func TestSchemaNotes(t *testing.T) {
	for raw, want := range map[string]Notes{
		`{"type":"string"}`:                    {{Kind: Approximated, Field: "input_schema"}},
		`{"type":["object","null"]}`:           {{Kind: Approximated, Field: "input_schema"}},
		`{"type":"object","properties":["a"]}`: {{Kind: Approximated, Field: "input_schema"}},
		`{"type":"object"}`:                    nil,
		`{}`:                                   nil,
	} {
		if _, notes := Schema([]byte(raw), SchemaRules{}); !slices.Equal(notes, want) {
			t.Errorf("%s: %v", raw, notes)
		}
	}
}

// FuzzSchema holds that a cleaned schema is a valid object schema, that cleaning it again changes nothing, and that no
// property is lost.
func FuzzSchema(f *testing.F) {
	f.Add([]byte(`{"type":"object","properties":{"a":{"type":"array"},"b":true}}`))
	f.Add([]byte(`{"anyOf":[{"properties":{"x":true}}],"type":["object"],"properties":[1]}`))
	f.Add([]byte(`{"properties":{"properties":{"properties":{"type":"array","items":[{"type":"array"}]}}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if messages.Valid(raw) != nil {
			return
		}
		for _, r := range []SchemaRules{{}, {StripTop: true, EmptyItems: true, ObjectProperties: true}} {
			got, _ := Schema(raw, r)
			if err := messages.Valid(got); err != nil {
				t.Fatalf("not valid: %v\n%s", err, got)
			}
			v := gjson.ParseBytes(got)
			if v.Get("type").Str != "object" || !v.Get("properties").IsObject() {
				t.Fatalf("no object schema: %s", got)
			}
			again, _ := Schema(got, r)
			if string(again) != string(got) {
				t.Fatalf("cleaning twice differs:\n%s\n%s", got, again)
			}
			if in := gjson.ParseBytes(raw).Get("properties"); in.IsObject() && len(in.Map()) != len(v.Get("properties").Map()) {
				t.Fatalf("a property was lost:\n%s\n%s", raw, got)
			}
		}
	})
}
