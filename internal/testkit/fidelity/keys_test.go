package fidelity

import (
	"regexp"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// whole are requests that hold every kind of object, each carried without a note by some wire at least.
var whole = []string{
	`{"model":"asked","max_tokens":100,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],
		"messages":[{"role":"user","content":[{"type":"text","text":"t"},{"type":"document","title":"d","source":{"type":"text","media_type":"text/plain","data":"x"}},
		{"type":"document","source":{"type":"content","content":[{"type":"text","text":"y"}]}},{"type":"search_result","source":"s","title":"t","content":[{"type":"text","text":"z"}]}]},
		{"role":"system","content":[{"type":"text","text":"m"}]},
		{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"thinking","thinking":"h","signature":"EqQB"},{"type":"redacted_thinking","data":"r"},{"type":"tool_use","id":"toolu_1","name":"look","input":{"q":{}}}]},
		{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"r"},{"type":"tool_reference","tool_name":"late"},{"type":"document","source":{"type":"text","media_type":"text/plain","data":"x"}}]}]}],
		"tools":[{"name":"look","description":"d","input_schema":{"type":"object","properties":{"q":{"type":"object","properties":{}}}}},{"name":"late","defer_loading":true},{"type":"bash_20250124","name":"bash"}],
		"tool_choice":{"type":"auto"},"metadata":{"user_id":"u"},"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"p":{"type":"string"}}}}}}`,
	`{"model":"asked","max_tokens":100,"thinking":{"type":"adaptive"},"output_config":{"effort":"low"},"messages":[{"role":"user","content":"hi"}]}`,
	`{"model":"asked","max_tokens":100,"thinking":{"type":"disabled"},"tool_choice":{"type":"none"},"tools":[{"name":"look"}],"messages":[{"role":"user","content":"hi"}]}`,
	`{"model":"asked","max_tokens":100,"output_format":{"type":"json_schema","schema":{"type":"object","properties":{}}},"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QQ=="}}]}]}`,
	`{"model":"asked","max_tokens":100,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}},{"type":"document","source":{"type":"url","url":"https://example.com/a.pdf"}}]}]}`,
	`{"model":"asked","max_tokens":100,"messages":[{"role":"user","content":[{"type":"document","title":"t","source":{"type":"base64","media_type":"application/pdf","data":"QQ=="}}]}]}`,
	`{"model":"asked","max_tokens":100,"tool_choice":{"type":"tool","name":"look"},"tools":[{"name":"look"}],"messages":[{"role":"user","content":"hi"}]}`,
}

// words are the members that the API knows somewhere, and some that nobody does.
var words = strings.Fields(`model messages max_tokens stream system temperature top_p top_k tools tool_choice thinking output_config output_format
	stop_sequences metadata cache_control service_tier speed inference_geo container diagnostics context_management mcp_servers compaction thread fallbacks
	role content type text citations source title context data media_type url file_id signature id name input tool_use_id is_error tool_name caller
	toolset_name transformations clear_at description input_schema strict defer_loading eager_input_streaming input_examples allowed_callers
	disable_parallel_tool_use budget_tokens display block_binding effort format task_budget schema user_id enabled ttl safeguards
	properties required items enum anyOf default additionalProperties pattern minimum $schema $ref later Later l.ater über "" constructor`)

const mark = "MARK7777777"

// values of each JSON type that can hold a mark.
var values = []struct{ value, mark string }{{`"` + mark + `"`, mark}, {`7777777`, "7777777"}, {`["` + mark + `"]`, mark}, {`{"` + mark + `":1}`, mark},
	{`[{"type":"text","text":"` + mark + `"}]`, mark}, {`{"type":"` + mark + `"}`, mark}}

var numbers = regexp.MustCompile(`\d+`)

// Every member that the API knows anywhere is put everywhere.
func TestKeys(t *testing.T) {
	var wires []*Wire
	for _, w := range Wires() {
		switch w.Name { // of each kind of quirk one; FuzzKeys takes all
		case "verbatim", "plain", "`deepseek`", "`openai` o and gpt-5", "OpenRouter google/gemini…", "o and gpt-5", "other servers", "2.5", "3", "gpt-oss":
			wires = append(wires, w)
		}
	}
	tried := 0
	for _, body := range whole {
		objects, clean, done := places(body), Clean(body, wires), map[string]bool{}
		if len(clean) < 2 {
			t.Errorf("only %d wires carry %s", len(clean), body)
		}
		for i := range objects {
			p := &objects[i]
			kind := numbers.ReplaceAllString(p.path, "") + " " + gjson.Get(body, p.path+".type").String()
			if done[kind] {
				continue // such an object was there
			}
			done[kind] = true
			data := strings.Contains(p.path, ".input.") || strings.Contains(p.path, "schema.properties")
			for k, name := range words {
				if data && k%8 != 0 {
					continue // one name is as good as another there
				}
				for _, v := range values {
					tried++
					if err := Keys(body, p, name, v.value, v.mark, tried%2 == 0, clean); err != nil {
						t.Error(err)
					}
				}
			}
		}
	}
	if tried < 10_000 {
		t.Errorf("only %d members were tried", tried)
	}
}

// FuzzKeys does the same with what strangers may call a member, anywhere in the probes of all features.
func FuzzKeys(f *testing.F) {
	features, wires := Features(), Wires()
	for i, name := range words {
		f.Add(uint16(i*7), uint8(i), name, uint8(i), i%2 == 0)
	}
	f.Fuzz(func(t *testing.T, body uint16, object uint8, name string, value uint8, last bool) {
		probe := ""
		if n := int(body) % (len(whole) + len(features)); n < len(whole) {
			probe = whole[n]
		} else {
			probe = features[n-len(whole)].Body
		}
		objects, v := places(probe), values[int(value)%len(values)]
		if err := Keys(probe, &objects[int(object)%len(objects)], name, v.value, v.mark, last, Clean(probe, wires)); err != nil {
			t.Error(err)
		}
	})
}
