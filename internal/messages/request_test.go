package messages

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"

	"signalbox/internal/fault"
)

func parse(t testing.TB, body string) *Request {
	t.Helper()
	r, err := ParseRequest([]byte(body))
	if err != nil {
		t.Fatalf("ParseRequest(%s): %v", body, err)
	}
	return r
}

func TestParseRequestRefuses(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	for name, row := range map[string]struct{ body, want string }{
		"an empty body":                 {``, "empty body"},
		"an array":                      {`[]`, "not a JSON object"},
		"two documents":                 {`{} {}`, "data after"},
		"a byte order mark":             {"\xef\xbb\xbf{}", "byte order mark"},
		"invalid UTF-8":                 {"{\"model\":\"\xff\"}", "invalid UTF-8"},
		"NaN":                           {`{"max_tokens":NaN}`, "not a JSON value"},
		"a leading zero":                {`{"max_tokens":01}`, "missing ','"},
		"a trailing comma":              {`{"model":"a",}`, "must be a string"},
		"a control character":           {"{\"model\":\"a\nb\"}", "control character"},
		"a bad escape":                  {`{"model":"\x"}`, "bad escape"},
		"a cut body":                    {`{"model":"a"`, "unexpected end"},
		"deep nesting":                  {`{"messages":` + deep + `}`, "nested deeper"},
		"a doubled name":                {`{"model":"a","model":"b"}`, "model: the field is given twice"},
		"a doubled name by escape":      {`{"model":"a","mod\u0065l":"b"}`, "given twice"},
		"a doubled name by case":        {`{"model":"a","MODEL":"b"}`, "given twice"},
		"a known name in another case":  {`{"Model":"a"}`, `did you mean "model"`},
		"a known name in another fold":  {`{"ſystem":"a"}`, `did you mean "system"`},
		"a model that is no string":     {`{"model":7}`, "model: must be a string"},
		"messages that are no array":    {`{"messages":{}}`, "messages: must be an array"},
		"a fractional max_tokens":       {`{"max_tokens":1.5}`, "max_tokens: must be an integer"},
		"a max_tokens out of range":     {`{"max_tokens":1e400}`, "max_tokens: must be an integer"},
		"a stream that is no boolean":   {`{"stream":"yes"}`, "stream: must be true or false"},
		"tools that are no array":       {`{"tools":"x"}`, "tools: must be an array"},
		"a lone quote at the very end":  {`{"a":"`, "unexpected end"},
		"a backslash at the very end":   {`{"a":"\`, "unexpected end"},
		"a cut unicode escape":          {`{"a":"\u12`, `bad \u escape`},
		"a minus without digits":        {`{"a":-}`, "not a JSON value"},
		"a fraction without digits":     {`{"a":1.}`, "bad number"},
		"an exponent without digits":    {`{"a":1e}`, "bad number"},
		"a word that only begins right": {`{"a":tru}`, "not a JSON value"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseRequest([]byte(row.body))
			f := fault.From(err)
			if f == nil || f.Kind != fault.Invalid || !strings.Contains(f.Message, row.want) {
				t.Fatalf("got %v, want an invalid request with %q", err, row.want)
			}
		})
	}
}

func TestConversationNamesTheField(t *testing.T) {
	for name, row := range map[string]struct{ body, want string }{
		"a wrong role":           {`{"messages":[{"role":"tool","content":""}]}`, "messages.0.role"},
		"a missing role":         {`{"messages":[{"content":""}]}`, "messages.0.role"},
		"missing content":        {`{"messages":[{"role":"user"}]}`, "messages.0.content"},
		"a block without type":   {`{"messages":[{"role":"user","content":[{"text":"x"}]}]}`, "messages.0.content.0.type"},
		"a block that is text":   {`{"messages":[{"role":"user","content":["x"]}]}`, "messages.0.content.0"},
		"text without text":      {`{"messages":[{"role":"user","content":[{"type":"text"}]}]}`, "messages.0.content.0.text"},
		"a call without id":      {`{"messages":[{"role":"assistant","content":[{"type":"tool_use","name":"a","input":{}}]}]}`, "messages.0.content.0.id"},
		"a call's input":         {`{"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"a","input":"x"}]}]}`, "messages.0.content.0.input"},
		"a result without id":    {`{"messages":[{"role":"user","content":[{"type":"tool_result"}]}]}`, "messages.0.content.0.tool_use_id"},
		"an image's source":      {`{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64"}}]}]}`, "messages.0.content.0.source"},
		"a nameless tool":        {`{"tools":[{"input_schema":{}}],"messages":[]}`, "tools.0.name"},
		"two tools of one name":  {`{"tools":[{"name":"a"},{"name":"a"}],"messages":[]}`, "tools.1.name"},
		"an unknown tool choice": {`{"tool_choice":{"type":"some"},"messages":[]}`, "tool_choice.type"},
		"a choice not offered":   {`{"tool_choice":{"type":"tool","name":"b"},"tools":[{"name":"a"}],"messages":[]}`, "tool_choice.name"},
		"a system image":         {`{"system":[{"type":"image","source":{"type":"base64","media_type":"a/b","data":""}}],"messages":[]}`, "system.0.type"},
		"a huge temperature":     {`{"temperature":1e999,"messages":[]}`, "temperature"},
		"a blank stop sequence":  {`{"stop_sequences":["a"," \n"],"messages":[]}`, "stop_sequences.1"},
		"a stop sequence":        {`{"stop_sequences":[1],"messages":[]}`, "stop_sequences.0"},
		"a thinking budget":      {`{"thinking":{"type":"enabled","budget_tokens":-1},"messages":[]}`, "thinking.budget_tokens"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, row.body).Conversation()
			f := fault.From(err)
			if f == nil || f.Kind != fault.Invalid || !strings.HasPrefix(f.Message, row.want+":") {
				t.Fatalf("got %v, want the field %s", err, row.want)
			}
		})
	}
}

func TestSplice(t *testing.T) {
	for name, row := range map[string]struct {
		body string
		edit []Edit
		want string
	}{
		"replaces and keeps every other byte": {`{ "b":1.0e1 , "model" : "x", "z":"\u00e9"}`, []Edit{{"model", []byte(`"y"`)}}, `{ "b":1.0e1 , "model" : "y", "z":"\u00e9"}`},
		"adds in front":                       {`{"a":1}`, []Edit{{"model", []byte(`"y"`)}}, `{"model":"y","a":1}`},
		"adds to nothing":                     {`{ }`, []Edit{{"model", []byte(`"y"`)}}, `{"model":"y" }`},
		"removes the first":                   {`{"a":1,"b":2}`, []Edit{{"a", nil}}, `{"b":2}`},
		"removes the last":                    {`{"a":1,"b":2}`, []Edit{{"b", nil}}, `{"a":1}`},
		"removes the only one":                {`{"a":1}`, []Edit{{"a", nil}}, `{}`},
		"removes neighbours":                  {`{"a":1,"b":2,"c":3}`, []Edit{{"b", nil}, {"c", nil}}, `{"a":1}`},
		"leaves what is missing":              {`{"a":1}`, []Edit{{"q", nil}}, `{"a":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(parse(t, row.body).Splice(row.edit...)); got != row.want {
				t.Fatalf("got %s, want %s", got, row.want)
			}
		})
	}
}

func TestVerbatimRemovesForeignThinking(t *testing.T) {
	ours := func(s string) bool { return strings.HasPrefix(s, "sbx1.") }
	real, own := `{"type":"thinking","thinking":"a","signature":"EqQ"}`, `{"type":"thinking","thinking":"b","signature":"sbx1.x"}`
	empty, text := `{"type":"thinking","thinking":"c","signature":""}`, `{"type":"text","text":"t"}`
	none := `{"type":"thinking","thinking":"c"}`
	for name, row := range map[string]struct {
		blocks, want string
		removed      int
	}{
		"keeps real ones":       {real + "," + text, real + "," + text, 0},
		"removes ours first":    {own + "," + text, text, 1},
		"removes an empty last": {text + "," + empty, text, 1},
		"removes one without":   {none + "," + text, text, 1},
		"removes in the middle": {text + "," + own + "," + text, text + "," + text, 1},
		"removes a tail":        {text + "," + own + "," + empty, text, 2},
		"removes around":        {own + "," + text + "," + empty, text, 2},
	} {
		t.Run(name, func(t *testing.T) {
			wrap := func(model, b string) string {
				return `{"model":"` + model + `","messages":[{"role":"user","content":"q"},{"role":"assistant","content":[` + b + `]},{"role":"user","content":"r"}]}`
			}
			got, n := parse(t, wrap("x", row.blocks)).Verbatim("y", ours)
			if string(got) != wrap("y", row.want) || n != row.removed {
				t.Fatalf("got %d %s, want %d %s", n, got, row.removed, wrap("y", row.want))
			}
		})
	}
	t.Run("removes a message that would be empty", func(t *testing.T) {
		got, _ := parse(t, `{"model":"x","messages":[{"role":"user","content":"q"},{"role":"assistant","content":[`+own+`]}]}`).Verbatim("x", ours)
		if want := `{"model":"x","messages":[{"role":"user","content":"q"}]}`; string(got) != want {
			t.Fatalf("got %s", got)
		}
	})
	t.Run("adds a missing model", func(t *testing.T) {
		got, _ := parse(t, `{"messages":[]}`).Verbatim("m", ours)
		if want := `{"model":"m","messages":[]}`; string(got) != want {
			t.Fatalf("got %s", got)
		}
	})
}

func TestLiteral(t *testing.T) {
	for lit, want := range map[string]string{
		`"plain"`: "plain", `"a\nb\t\"\\\/"`: "a\nb\t\"\\/", `"\u00e9\ud83d\ude00"`: "é😀", `"\ud800x"`: "\ufffdx", `"\udc00\ud800"`: "\ufffd\ufffd", `""`: "",
	} {
		if got := Literal(lit).Value(); got != want {
			t.Errorf("Value(%s) = %q, want %q", lit, got, want)
		}
		var back string
		if err := json.Unmarshal(Literal(lit).AppendTo(nil), &back); err != nil || back != want {
			t.Errorf("AppendTo(%s) reads back as %q (%v)", lit, back, err)
		}
	}
	if got := string(Literal("\"a\u2028b\"").AppendTo(nil)); got != `"a\u2028b"` {
		t.Errorf("a line separator stays raw: %s", got)
	}
}

func TestConversationReadsBlocks(t *testing.T) {
	c, err := parse(t, `{"model":"m","max_tokens":5,"system":"be brief","messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"r"}],"is_error":true},{"type":"later","text":"x","n":1.50}]}],
		"tools":[{"name":"t","input_schema":{"b":1,"a":12345678901234567890}}],"safeguards":[1],"top_k":3,"thinking":{"type":"adaptive"}}`).Conversation()
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.Tools[0].Schema); got != `{"b":1,"a":12345678901234567890}` {
		t.Errorf("the schema was rewritten: %s", got)
	}
	if b := c.Messages[0].Content[1]; b.Type != "later" || b.Text.Value() != "x" || string(b.Raw) != `{"type":"later","text":"x","n":1.50}` {
		t.Errorf("an unknown block was not kept: %+v", b)
	}
	if r := c.Messages[0].Content[0]; !r.IsError || r.Content[0].Text.Value() != "r" {
		t.Errorf("tool_result: %+v", r)
	}
	if diff := cmp.Diff([]string{"safeguards"}, c.Others); diff != "" {
		t.Error(diff)
	}
	if !c.Thinking.On() || c.TopK != "3" || c.System[0].Text.Value() != "be brief" {
		t.Errorf("%+v", c)
	}
}

// FuzzParseRequest holds our scanner against another parser, and proves that a splice of valid JSON is valid JSON.
func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{`{"model":"a","messages":[{"role":"user","content":"x"}],"max_tokens":1}`, `{"a":[1,2,{"b":null}],"c":"\ud800"}`, `{"":1}`, "{\"a\":\"\xff\"}",
		`{"a":1e5,"b":-0.0}`, `{"model":"x","messages":[{"content":[{"type":"thinking","signature":""}]}]}`, `{"a":tru`, `[`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := ParseRequest(body)
		v := jsontext.Value(body)
		valid := v.IsValid(jsontext.AllowDuplicateNames(true)) && v.Kind() == '{'
		lone := jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
		if err == nil && !valid && !lone {
			t.Fatalf("accepted what is not JSON: %q", body)
		}
		if err != nil {
			if fault.From(err).Kind != fault.Invalid {
				t.Fatalf("kind %v", fault.From(err).Kind)
			}
			if valid && strings.Contains(err.Error(), "not valid JSON") && !strings.Contains(err.Error(), "deeper") && !strings.Contains(err.Error(), "too many members") {
				t.Fatalf("refused valid JSON: %v: %q", err, body)
			}
			return
		}
		for _, e := range [][]Edit{{{"model", []byte(`"y/z"`)}}, {{"model", nil}}, {{"messages", nil}, {"model", []byte(`1`)}}} {
			if out := r.Splice(e...); !jsontext.Value(out).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
				t.Fatalf("Splice made no JSON: %q from %q", out, body)
			}
		}
		out, _ := r.Verbatim("m", func(string) bool { return true })
		if !jsontext.Value(out).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) {
			t.Fatalf("Verbatim made no JSON: %q from %q", out, body)
		}
		_, _ = r.Conversation()
	})
}
