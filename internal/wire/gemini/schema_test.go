package gemini

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
)

// words are what parameters may say.
var words = map[string]bool{"type": true, "format": true, "title": true, "description": true, "nullable": true, "enum": true, "maxItems": true, "minItems": true,
	"properties": true, "required": true, "minProperties": true, "maxProperties": true, "minLength": true, "maxLength": true, "pattern": true, "anyOf": true,
	"propertyOrdering": true, "items": true, "minimum": true, "maximum": true}

// checkSchema holds a schema against what Gemini's API demands of one.
func checkSchema(t *testing.T, v gjson.Result, path string) {
	t.Helper()
	if !v.IsObject() {
		t.Fatalf("%s is no schema: %s", path, v.Raw)
	}
	have := map[string]gjson.Result{}
	v.ForEach(func(k, f gjson.Result) bool {
		if !words[k.String()] {
			t.Fatalf("%s says %s", path, k)
		}
		if _, twice := have[k.String()]; twice {
			t.Fatalf("%s says %s twice", path, k)
		}
		have[k.String()] = f
		return true
	})
	kind := have["type"].String()
	if (kind == "") == (have["anyOf"].Raw == "") {
		t.Fatalf("%s needs a type or alternatives: %s", path, v.Raw)
	}
	if kind == "array" {
		checkSchema(t, have["items"], path+".items")
	}
	have["enum"].ForEach(func(_, x gjson.Result) bool {
		if x.Type != gjson.String || x.Str == "" || kind != "string" {
			t.Fatalf("%s.enum: %s", path, x.Raw)
		}
		return true
	})
	names := map[string]bool{}
	have["properties"].ForEach(func(k, f gjson.Result) bool {
		if names[k.String()] {
			t.Fatalf("%s.%s comes twice", path, k)
		}
		names[k.String()] = true
		checkSchema(t, f, path+"."+k.String())
		return true
	})
	for _, list := range []string{"required", "propertyOrdering"} {
		have[list].ForEach(func(_, x gjson.Result) bool {
			if !names[x.String()] {
				t.Fatalf("%s.%s names %s", path, list, x)
			}
			return true
		})
	}
	have["anyOf"].ForEach(func(_, f gjson.Result) bool {
		checkSchema(t, f, path+".anyOf")
		return true
	})
}

// FuzzParameters holds for any schema: what is sent is one that the API takes.
func FuzzParameters(f *testing.F) {
	for _, s := range []string{`{}`, `true`, `{"type":"array"}`, `{"properties":{"a":{"$ref":"#/$defs/x"}},"$defs":{"x":{"items":{"$ref":"#/$defs/x"}}}}`,
		`{"allOf":[{"properties":{"a":{"const":1}}},{"properties":{"a":{"enum":["x",null,{}]}}}],"anyOf":[{"type":"string"},{"properties":{"b":false}}]}`,
		`{"properties":{"a":{"type":["null"]},"b":{"type":"null"},"c":{"anyOf":[{"type":"null"}]},"d":{"oneOf":[{"minLength":1},{"items":[{},true]}],"properties":{}}}}`,
		`{"type":"object","properties":{"a\"\u0000":{"type":"x"},"a":1,"a":2},"required":["a",3,"a"]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if messages.Valid(raw) != nil {
			return
		}
		out, _ := parameters(raw)
		if !json.Valid(out) {
			t.Fatalf("no JSON: %s", out)
		}
		v := gjson.ParseBytes(out)
		if v.Get("type").String() != "object" || !v.Get("properties").IsObject() {
			t.Fatalf("no object: %s", out)
		}
		checkSchema(t, v, "$")
	})
}

// What a schema says and its parameters do not is an approximation; what says nothing of a value is none.
func TestSchemaLoss(t *testing.T) {
	for raw, want := range map[string]bool{
		`{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false,"$schema":"x"}`: false,
		`{"type":"object","properties":{"a":true}}`:                                            false,
		`{"type":"object","properties":{"a":{"type":["string","null"],"format":"date-time"}}}`: false,
		`{"type":"object","properties":{"a":{"type":["integer","string"],"format":"int32"}}}`:  false,
		`{"type":"string"}`:                                                                   true,
		`{"type":"future","properties":{}}`:                                                   true,
		`{"properties":{"a":{"type":"future"}}}`:                                              true,
		`{"properties":{"a":"text"}}`:                                                         true,
		`{"properties":{"a":{"type":"string","format":"uri"}}}`:                               true,
		`{"properties":{"a":{"default":1}}}`:                                                  true,
		`{"properties":{"a":{"description":{}}}}`:                                             true,
		`{"properties":{},"required":["a"]}`:                                                  true,
		`{"properties":{},"required":"a"}`:                                                    true,
		`{"properties":{"a":{"type":"object","pattern":"x"}}}`:                                true,
		`{"properties":{"a":{"type":"string","minimum":1}}}`:                                  true,
		`{"properties":{"a":{"type":"number","enum":["x"]}}}`:                                 true,
		`{"properties":{"a":{"type":"string","items":{}}}}`:                                   true,
		`{"properties":{"a":{"anyOf":[{"type":"string"},{"type":"integer"}],"pattern":"x"}}}`: true,
	} {
		if _, lost := parameters([]byte(raw)); lost != want {
			t.Errorf("%s: lost is %v", raw, lost)
		}
	}
}

// A schema that a stranger wrote to be expensive is cut short.
func TestSchemaOfAStranger(t *testing.T) {
	var doubling, wide, chain strings.Builder
	for i := range 60 {
		fmt.Fprintf(&doubling, `%s"d%d":{"properties":{"a":{"$ref":"#/$defs/d%d"},"b":{"$ref":"#/$defs/d%d"}}}`, comma(i), i, i+1, i+1)
	}
	for i := range 20000 {
		fmt.Fprintf(&wide, `%s"p%d":{"$ref":"#/properties/p%d"}`, comma(i), i, i+1)
	}
	for i := range 20000 {
		fmt.Fprintf(&chain, `%s"d%d":{"$ref":"#/$defs/d%d"}`, comma(i), i, i+1)
	}
	for name, s := range map[string]string{
		"doubling": `{"$ref":"#/$defs/d0","$defs":{` + doubling.String() + `}}`,
		"wide":     `{"properties":{` + wide.String() + `}}`,
		"chain":    `{"$ref":"#/$defs/d0","$defs":{` + chain.String() + `}}`,
		"deep":     strings.Repeat(`{"type":"array","items":`, 120) + `{}` + strings.Repeat(`}`, 120),
	} {
		t.Run(name, func(t *testing.T) {
			begun := time.Now()
			out, _ := parameters([]byte(s))
			if d := time.Since(begun); d > 5*time.Second || len(out) > 8<<20 {
				t.Errorf("%d bytes became %d in %v", len(s), len(out), d)
			}
			checkSchema(t, gjson.ParseBytes(out), "$")
		})
	}
}

func comma(i int) string {
	if i == 0 {
		return ""
	}
	return ","
}
