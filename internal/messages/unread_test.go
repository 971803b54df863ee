package messages

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What nobody reads is named, wherever it stands and whether its object's type is known before it or after.
func TestUnread(t *testing.T) {
	for name, row := range map[string]struct {
		body string
		want []string
	}{
		"it names members before the type":             {`"messages":[{"role":"user","content":[{"odd":1,"text":"a","type":"text"}]}]`, []string{"text.odd"}},
		"it names members behind the type":             {`"messages":[{"role":"user","content":[{"type":"text","text":"a","odd":1}]}]`, []string{"text.odd"}},
		"it names members of other types":              {`"messages":[{"role":"user","content":[{"title":"x","type":"text","text":"a","source":{}}]}]`, []string{"text.title", "text.source"}},
		"it passes over null":                          {`"messages":[{"role":"user","content":[{"type":"text","text":"a","citations":null,"odd":null}],"odd":null}]`, nil},
		"it passes over what says nothing":             {`"messages":[{"role":"user","content":[{"type":"document","citations":{"enabled":false},"source":{"type":"text","data":"x"}},{"type":"text","text":"a","citations":[]}]},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","caller":{"type":"direct"}}]}]`, nil},
		"it reads inside results and documents":        {`"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"document","source":{"content":[{"type":"text","text":"a","deep":1}],"type":"content"}}]}]}]`, []string{"text.deep"}},
		"it reads contents that come before the type":  {`"messages":[{"role":"user","content":[{"content":[{"type":"text","text":"a","deep":1}],"tool_use_id":"a","type":"tool_result"}]}]`, []string{"text.deep"}},
		"it names members of a source":                 {`"messages":[{"role":"user","content":[{"type":"image","source":{"url":"u","type":"base64","media_type":"image/png","data":"aQ=="}}]}]`, []string{"source.url"}},
		"it leaves blocks it does not know alone":      {`"messages":[{"role":"user","content":[{"type":"later","odd":1}]}]`, nil},
		"it names members of a system text":            {`"system":[{"type":"text","text":"a","odd":1}],"messages":[]`, []string{"text.odd"}},
		"it names an effort that is no word":           {`"output_config":{"effort":3},"messages":[]`, nil},
		"it names a format it does not know":           {`"output_config":{"format":{"type":"grammar","schema":{}}},"messages":[]`, []string{"output_config.format"}},
		"it names a format without a schema":           {`"output_format":{"type":"json_schema"},"messages":[]`, []string{"output_format"}},
		"it names members of a format":                 {`"output_config":{"format":{"type":"json_schema","schema":{},"name":"n"}},"messages":[]`, []string{"output_config.format.name"}},
		"it takes one format given twice":              {`"output_format":{"type":"json_schema","schema":{"a":1}},"output_config":{"format":{"type":"json_schema","schema":{"a":1}}},"messages":[]`, nil},
		"it names the second of two formats":           {`"output_format":{"type":"json_schema","schema":{"a":1}},"output_config":{"format":{"type":"json_schema","schema":{}}},"messages":[]`, []string{"output_format"}},
		"it names a budget of no thinking":             {`"thinking":{"type":"disabled","budget_tokens":5},"messages":[]`, []string{"thinking.budget_tokens"}},
		"it names what has the wrong type":             {`"tool_choice":{"type":"auto","disable_parallel_tool_use":"x"},"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","is_error":"yes"},{"title":{},"context":1,"type":"document","source":{"type":"text","data":"x"}},{"type":"later","title":3}]}]`, []string{"tool_choice.disable_parallel_tool_use", "tool_result.is_error", "document.title", "document.context"}},
		"it names members of the metadata":             {`"metadata":{"user_id":"u","later":1,"none":null},"messages":[]`, []string{"metadata.later"}},
		"it names members of a choice":                 {`"tool_choice":{"type":"none","name":"x","disable_parallel_tool_use":true},"messages":[]`, []string{"tool_choice.name", "tool_choice.disable_parallel_tool_use"}},
		"it names an effort of one message":            {`"messages":[{"role":"system","output_config":{"effort":"low"},"content":"a"}]`, []string{"messages.output_config"}},
		"it passes over an effort that is said before": {`"messages":[{"role":"system","output_config":{"effort":"low"},"content":"a"}],"output_config":{"effort":"low"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := ParseRequest([]byte("{" + row.body + "}"))
			if err != nil {
				t.Fatal(err)
			}
			c, err := r.Conversation()
			if name == "it names an effort that is no word" {
				if err == nil || !strings.HasPrefix(err.Error(), "output_config.effort: ") {
					t.Fatalf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, c.Unread); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The same for tools, whose members count only where the tool is offered.
func TestUnreadOfTools(t *testing.T) {
	r, err := ParseRequest([]byte(`{"messages":[],"tools":[{"name":"f","type":1,"description":{},"input_schema":"x","defer_loading":"yes","later":2,"strict":true,"cache_control":{}},
		{"name":"g","type":null,"description":null,"input_schema":true,"defer_loading":false,"strict":false,"input_examples":[],"allowed_callers":["direct"],"later":null}]}`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Conversation()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"type", "description", "input_schema", "defer_loading", "later", "strict"}, c.Tools[0].Unread); diff != "" || c.Tools[1].Unread != nil || c.Tools[0].Deferred {
		t.Errorf("%s %v", diff, c.Tools[1].Unread)
	}
}

// A stranger may invent any number of names.
func TestUnreadIsBounded(t *testing.T) {
	var sb strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&sb, `,"x%d":1`, i)
	}
	r, err := ParseRequest([]byte(`{"messages":[{"role":"user","content":"a"` + sb.String() + `}]}`))
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Conversation()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(c.Unread); n != maxUnread || c.Unread[n-1] != UnreadMore {
		t.Errorf("%d names, the last %q", n, c.Unread[n-1])
	}
}
