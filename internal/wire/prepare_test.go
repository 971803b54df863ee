package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
)

func conversation(t testing.TB, body string) *messages.Conversation {
	t.Helper()
	r, err := messages.ParseRequest([]byte(body))
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	c, err := r.Conversation()
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return c
}

// short is a prepared conversation, a line for each turn:
//
//	user: result(id name "text" 1 image error) "text" image(base64)
//	assistant: thinking "text" call(id name {"input":1})
func short(p *Prepared) string {
	var sb strings.Builder
	part := func(x Part) {
		switch x.Kind {
		case TextPart:
			sb.WriteString(" " + strconv.Quote(x.Text.Value()))
		case ImagePart:
			sb.WriteString(" image(" + x.Source.Type + ")")
		case FilePart:
			sb.WriteString(" file(" + x.Source.MediaType + " " + x.Title.Value() + ")")
		}
	}
	if len(p.System) > 0 {
		sb.WriteString("first:")
		for _, x := range p.System {
			part(x)
		}
		sb.WriteByte('\n')
	}
	for _, t := range p.Turns {
		sb.WriteString(t.Role + ":")
		for range t.Thinking {
			sb.WriteString(" thinking")
		}
		for _, r := range t.Results {
			fmt.Fprintf(&sb, " result(%s %s %q", r.ID, r.Name, r.Text.Value())
			if len(r.Images) > 0 {
				fmt.Fprintf(&sb, " %d images", len(r.Images))
			}
			if r.IsError {
				sb.WriteString(" error")
			}
			sb.WriteByte(')')
		}
		for _, x := range t.Parts {
			part(x)
		}
		for _, c := range t.Calls {
			fmt.Fprintf(&sb, " call(%s %s %s)", c.ID, c.Name, c.Input)
		}
		sb.WriteByte('\n')
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&sb, "%s %s\n", n.Kind, n.Field)
	}
	return sb.String()
}

// Pieces of conversations.
const (
	image = `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aW1n"}}`
	pdf   = `{"type":"document","title":"report","source":{"type":"base64","media_type":"application/pdf","data":"cGRm"}}`
	calls = `{"role":"user","content":"go"},{"role":"assistant","content":[{"type":"text","text":"so"},{"type":"tool_use","id":"a","name":"f","input":{"z":1.50,"b":2}},{"type":"tool_use","id":"b","name":"g"}]}`
	res   = `{"type":"tool_result","tool_use_id":"a","content":"ra"},{"type":"tool_result","tool_use_id":"b","content":"rb"}`
	went  = "user: \"go\"\nassistant: \"so\" call(a f {\"z\":1.50,\"b\":2}) call(b g {})\n"
)

func one(result string) string {
	return `{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"` + result + `}]}`
}

const called = "assistant: call(a f {})\n"

func TestPrepareTurns(t *testing.T) {
	dup := minted + "aaaaaaaaaaaaaaaa_YQ"   // carries "a"
	other := minted + "bbbbbbbbbbbbbbbb_YQ" // the same
	for name, row := range map[string]struct {
		system, messages string
		rules            Rules
		want             string
	}{
		"M1 it keeps the order, and a prefill last": {messages: `{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"},{"role":"assistant","content":"{"}`,
			want: "user: \"a\"\nassistant: \"b\"\nuser: \"c\"\nassistant: \"{\"\n"},
		"M1 it keeps two questions in a row apart": {messages: `{"role":"user","content":"a"},{"role":"user","content":"b"}`,
			want: "user: \"a\"\nuser: \"b\"\n"},

		"M2 it adds a system message to the user before it": {messages: `{"role":"user","content":"a"},{"role":"system","content":"s"},{"role":"assistant","content":"b"}`,
			want: "user: \"a\" \"s\"\nassistant: \"b\"\n"},
		"M2 it keeps a system message first": {messages: `{"role":"system","content":"s"},{"role":"user","content":"a"}`,
			want: "user: \"s\"\nuser: \"a\"\n"},
		"M2 it keeps a system message last": {messages: `{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"system","content":"s"}`,
			want: "user: \"a\"\nassistant: \"b\"\nuser: \"s\"\n"},
		"M2 it keeps the role in place where it may": {messages: `{"role":"user","content":"a"},{"role":"system","content":[{"type":"text","text":"s"},{"type":"text","text":"u"}]},{"role":"user","content":"b"}`, rules: Rules{SystemInPlace: true},
			want: "user: \"a\"\nsystem: \"s\" \"u\"\nuser: \"b\"\n"},
		"M2 it puts no system message between calls and results": {messages: calls + `,{"role":"system","content":"s"},{"role":"user","content":[` + res + `,{"type":"text","text":"t"}]}`,
			want: went + "user: result(a f \"ra\") result(b g \"rb\") \"s\" \"t\"\n"},
		"M2 it puts none there in place either": {messages: calls + `,{"role":"system","content":"s"},{"role":"user","content":[` + res + `,{"type":"text","text":"t"}]}`, rules: Rules{SystemInPlace: true},
			want: went + "user: result(a f \"ra\") result(b g \"rb\")\nsystem: \"s\"\nuser: \"t\"\n"},
		"M2 it waits for results in two messages": {messages: calls + `,{"role":"user","content":[{"type":"tool_result","tool_use_id":"b"}]},{"role":"system","content":"s"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]},{"role":"assistant","content":"x"}`, rules: Rules{SystemInPlace: true},
			want: went + "user: result(b g \"\") result(a f \"\")\nsystem: \"s\"\nassistant: \"x\"\n"},
		"M2 it does not lose one behind calls without results": {messages: calls + `,{"role":"system","content":"s"}`,
			want: went + "user: result(a f \"Error: this call was not answered\" error) result(b g \"Error: this call was not answered\" error) \"s\"\napproximated tool_result\n"},
		"M2 it drops an empty one": {messages: `{"role":"user","content":"a"},{"role":"system","content":""}`, want: "user: \"a\"\n"},

		"M3 it removes the billing line":              {system: `[{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1; cch=abc;"},{"type":"text","text":"s"}]`, messages: `{"role":"user","content":"a"}`, want: "first: \"s\"\nuser: \"a\"\n"},
		"M3 it removes only the line":                 {system: `"x-anthropic-billing-header: cch=abc;\r\n\nYou are."`, messages: `{"role":"user","content":"a"}`, want: "first: \"You are.\"\nuser: \"a\"\n"},
		"M3 it removes nothing that only talks of it": {system: `"The x-anthropic-billing-header: is a header"`, messages: `{"role":"user","content":"x-anthropic-billing-header: mine"}`, want: "first: \"The x-anthropic-billing-header: is a header\"\nuser: \"x-anthropic-billing-header: mine\"\n"},
		"M3 it removes it from a system message":      {messages: `{"role":"user","content":"a"},{"role":"system","content":"x-anthropic-billing-header: cch=1"}`, want: "user: \"a\"\n"},
		"M4 it keeps system texts apart":              {system: `[{"type":"text","text":"s"},{"type":"text","text":""},{"type":"text","text":"u"}]`, messages: `{"role":"user","content":"a"}`, want: "first: \"s\" \"u\"\nuser: \"a\"\n"},

		"T1 it gives results first, in their order": {messages: calls + `,{"role":"user","content":[{"type":"text","text":"t"},{"type":"tool_result","tool_use_id":"b","content":"rb"},{"type":"text","text":"u"},{"type":"tool_result","tool_use_id":"a","content":"ra"}]}`,
			want: went + "user: result(b g \"rb\") result(a f \"ra\") \"t\" \"u\"\n"},
		"T1 it joins results of two messages": {messages: calls + `,{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"ra"},{"type":"text","text":"t"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"b","content":"rb"},{"type":"text","text":"u"}]}`,
			want: went + "user: result(a f \"ra\") result(b g \"rb\") \"t\" \"u\"\n"},
		"T1 it joins calls of two messages": {messages: `{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f"}]},{"role":"assistant","content":[{"type":"text","text":"and"},{"type":"tool_use","id":"b","name":"g"}]},{"role":"user","content":[` + res + `]}`,
			want: "assistant: \"and\" call(a f {}) call(b g {})\nuser: result(a f \"ra\") result(b g \"rb\")\n"},
		"T2 it answers with nothing":       {messages: one(``), want: called + "user: result(a f \"\")\n"},
		"T2 it answers with an empty text": {messages: one(`,"content":""`), want: called + "user: result(a f \"\")\n"},
		"T2 it answers with an empty list": {messages: one(`,"content":[]`), want: called + "user: result(a f \"\")\n"},
		"T2 it joins texts by lines":       {messages: one(`,"content":[{"type":"text","text":"a\\"},{"type":"text","text":""},{"type":"text","text":"b"}]`), want: called + "user: result(a f \"a\\\\\\nb\")\n"},
		"T3 it moves an image out":         {messages: one(`,"content":[{"type":"text","text":"see"},` + image + `]},{"type":"text","text":"t"`), want: called + "user: result(a f \"see\\n[the image follows in the next message]\") image(base64) \"t\"\n"},
		"T3 it leaves an image in":         {messages: one(`,"content":[` + image + `]`), rules: Rules{ResultImages: true}, want: called + "user: result(a f \"\" 1 images)\n"},
		"T3 it moves images behind the results, before a system message": {messages: `{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},{"role":"system","content":"s"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[` + image + `]},{"type":"text","text":"t"}]}`, rules: Rules{SystemInPlace: true},
			want: called + "user: result(a f \"[the image follows in the next message]\") image(base64)\nsystem: \"s\"\nuser: \"t\"\n"},
		"T3 it moves a PDF out":            {messages: one(`,"content":[` + pdf + `]`), rules: Rules{Files: true, FileNames: true}, want: called + "user: result(a f \"[the document follows in the next message]\") file(application/pdf report)\n"},
		"T3 it reports a PDF in a result":  {messages: one(`,"content":[` + pdf + `]`), want: called + "user: result(a f \"[a PDF document was here; this model cannot be given PDF documents]\")\ndropped document\n"},
		"T4 it marks an error":             {messages: one(`,"is_error":true,"content":[{"type":"text","text":"no"},{"type":"text","text":"go"}]`), want: called + "user: result(a f \"Error: no\\ngo\" error)\n"},
		"T4 it marks an error of no words": {messages: one(`,"is_error":true`), want: called + "user: result(a f \"Error: \" error)\n"},
		"T5 it gives an id back as it came": {messages: strings.ReplaceAll(one(``), `"a"`, `"functions.Bash:0"`),
			want: "assistant: call(functions.Bash:0 f {})\nuser: result(functions.Bash:0 f \"\")\n"},
		"T5 it turns a minted id back": {messages: strings.ReplaceAll(one(``), `"a"`, `"`+dup+`"`), want: called + "user: result(a f \"\")\n"},
		"T5 it sends ours where an id would repeat in one message": {messages: `{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f"},{"type":"tool_use","id":"` + dup + `","name":"g"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"` + dup + `"},{"type":"tool_result","tool_use_id":"a"}]}`,
			want: "assistant: call(a f {}) call(" + dup + " g {})\nuser: result(" + dup + " g \"\") result(a f \"\")\n"},
		"T5 it does so in a turn of several messages": {messages: `{"role":"assistant","content":[{"type":"tool_use","id":"` + dup + `","name":"f"}]},{"role":"assistant","content":[{"type":"text","text":"t"}]},{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"g"},{"type":"tool_use","id":"b","name":"h"}]},{"role":"assistant","content":[{"type":"tool_use","id":"` + other + `","name":"i"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"},{"type":"tool_result","tool_use_id":"` + dup + `"},{"type":"tool_result","tool_use_id":"b"},{"type":"tool_result","tool_use_id":"` + other + `"}]}`,
			want: "assistant: \"t\" call(" + dup + " f {}) call(a g {}) call(b h {}) call(" + other + " i {})\nuser: result(a g \"\") result(" + dup + " f \"\") result(b h \"\") result(" + other + " i \"\")\n"},
		"T5 it gives ids a dialect's form": {messages: one(``), rules: Rules{CallID: func(id string) string { return "x" + id }},
			want: "assistant: call(xa f {})\nuser: result(xa f \"\")\n"},

		"H1 it leaves thinking at home":               {messages: `{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"s"},{"type":"redacted_thinking","data":"y"},{"type":"text","text":"t"}]}`, want: "assistant: \"t\"\n"},
		"H1 it keeps thinking where there is a place": {messages: `{"role":"assistant","content":[{"type":"thinking","thinking":"x","signature":"s"},{"type":"text","text":"t"}]}`, rules: Rules{Reasoning: true}, want: "assistant: thinking \"t\"\n"},
		"it drops what is empty":                      {messages: `{"role":"user","content":[{"type":"text","text":""}]},{"role":"assistant","content":[]},{"role":"user","content":"a"}`, want: "user: \"a\"\n"},

		"C5 it puts a text document in as text": {messages: `{"role":"user","content":[{"type":"document","title":"T","context":"C","source":{"type":"text","media_type":"text/plain","data":"body"}}]}`,
			want: "user: \"Title: T\\nSource: C\\n\\nbody\"\n"},
		"C5 it puts a document's blocks in": {messages: `{"role":"user","content":[{"type":"document","source":{"type":"content","content":[{"type":"text","text":"one"},` + image + `,{"type":"text","text":"two"}]}}]}`,
			want: "user: \"one\\ntwo\" image(base64)\n"},
		"C5 it puts a search result in": {messages: `{"role":"user","content":[{"type":"search_result","title":"T","source":"https://x","content":[{"type":"text","text":"found"}]}]}`,
			want: "user: \"Title: T\\nSource: https://x\\n\\nfound\"\n"},
		"C5 it makes a server tool's turn readable": {messages: `{"role":"assistant","content":[{"type":"server_tool_use","id":"s","name":"web_search","input":{"query":"q"}},{"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result","title":"T","url":"u","encrypted_content":"SECRET"}]},{"type":"text","text":"so"}]}`,
			want: "assistant: \"[web_search {\\\"query\\\":\\\"q\\\"}]\" \"T\\nu\" \"so\"\napproximated server_tool_use\n"},
		"C5 it reads what a server tool fetched": {messages: `{"role":"assistant","content":[{"type":"web_fetch_tool_result","tool_use_id":"s","content":{"type":"web_fetch_result","url":"u","content":{"type":"document","title":"T","source":{"type":"text","media_type":"text/plain","data":"page"}}}},{"type":"web_fetch_tool_result","tool_use_id":"s","content":{"type":"web_fetch_result","url":"v","content":{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"UERG"}}}}]}`,
			want: "assistant: \"u\\nT\\npage\" \"v\"\napproximated server_tool_use\n"},
		"C5 it keeps what compaction left of a conversation": {messages: `{"role":"assistant","content":[{"type":"compaction","content":"so far"}]}`,
			want: "assistant: \"so far\"\napproximated content_block\n"},
		"C5 it loses no block inside a document": {messages: `{"role":"user","content":[{"type":"document","source":{"type":"content","content":[{"type":"text","text":"one"},{"type":"later","text":"two"},{"type":"odd"}]}}]}`,
			want: "user: \"one\" \"two\"\napproximated content_block\ndropped content_block\n"},
		"C5 it says of a file what its part has no place for": {messages: `{"role":"user","content":[{"type":"document","title":"T","context":"C","source":{"type":"base64","media_type":"application/pdf","data":"cGRm"}}]}`, rules: Rules{Files: true, FileNames: true},
			want: "user: \"Source: C\" file(application/pdf T)\n"},
		"C5 it sends the address of a file": {messages: `{"role":"user","content":[{"type":"document","title":"report","source":{"type":"url","url":"https://x"}}]}`, rules: Rules{FileURLs: true, FileNames: true}, want: "user: \"Title: report\" file( report)\n"},
		"C5 it sends a file part":           {messages: `{"role":"user","content":[` + pdf + `]}`, rules: Rules{Files: true, FileNames: true}, want: "user: file(application/pdf report)\n"},
		"C5 it carries the text of a block of later": {messages: `{"role":"user","content":[{"type":"later","text":"t"},{"type":"odd","x":1}]}`,
			want: "user: \"t\"\napproximated content_block\ndropped content_block\n"},
		"it takes an image by its address": {messages: `{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://x"}}]}`, rules: Rules{ImageURLs: true}, want: "user: image(url)\n"},
		"6.2 it says what was loaded":      {messages: one(`,"content":[{"type":"tool_reference","tool_name":"WebFetch"}]`), want: called + "user: result(a f \"Loaded: WebFetch\")\n"},
	} {
		t.Run(name, func(t *testing.T) {
			body := `{"max_tokens":9,"messages":[` + row.messages + `]`
			if row.system != "" {
				body += `,"system":` + row.system
			}
			p, err := Prepare(conversation(t, body+"}"), row.rules)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, short(p)); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestPrepareRefuses(t *testing.T) {
	for name, row := range map[string]struct {
		body  string
		rules Rules
		want  string
	}{
		"a warmed cache":                   {`"max_tokens":0,"messages":[{"role":"user","content":"a"}]`, Rules{}, "max_tokens: "},
		"a container":                      {`"max_tokens":1,"container":"c","messages":[{"role":"user","content":"a"}]`, Rules{}, "container: "},
		"servers of tools":                 {`"max_tokens":1,"mcp_servers":[{}],"messages":[{"role":"user","content":"a"}]`, Rules{}, "mcp_servers: "},
		"a result without a call":          {`"max_tokens":1,"messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"q"}]}]`, Rules{}, `messages.0.content.0.tool_use_id: no earlier tool_use has the id "q"`},
		"an id twice in one message":       {`"max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f"},{"type":"tool_use","id":"a","name":"f"}]}]`, Rules{}, "messages.0.content.1.id: "},
		"a PDF of the user's":              {`"max_tokens":1,"messages":[{"role":"user","content":["x"]},{"role":"user","content":[` + pdf + `]}]`, Rules{}, "messages.0.content.0: "},
		"a PDF without a place":            {`"max_tokens":1,"messages":[{"role":"user","content":[` + pdf + `]}]`, Rules{}, "messages.0.content.0.source: this target cannot read application/pdf"},
		"an image by address":              {`"max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"u"}}]}]`, Rules{}, "messages.0.content.0.source.type: "},
		"an image by address in results":   {`"max_tokens":1,"messages":[` + one(`,"content":[{"type":"image","source":{"type":"url","url":"u"}}]`) + `]`, Rules{}, "messages.1.content.0.content.0.source.type: "},
		"an image by address in documents": {`"max_tokens":1,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"content","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}}]}]`, Rules{}, "messages.0.content.0.source.content.0.source.type: "},
		"a document by address":            {`"max_tokens":1,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"u"}}]}]`, Rules{Files: true}, "messages.0.content.0.source.type: "},
		"nothing at all":                   {`"max_tokens":1,"messages":[{"role":"user","content":""}]`, Rules{}, "messages: nothing is left"},
		"only server tools":                {`"max_tokens":1,"tools":[{"type":"web_search_20250305","name":"web_search"}],"messages":[{"role":"user","content":"a"}]`, Rules{}, "tools: web_search runs on"},
		"a choice that cannot be":          {`"max_tokens":1,"tools":[{"name":"f"},{"type":"web_search_20250305","name":"web_search"}],"tool_choice":{"type":"tool","name":"web_search"},"messages":[{"role":"user","content":"a"}]`, Rules{}, "tool_choice.name: "},
		"an unknown block when strict":     {`"max_tokens":1,"messages":[{"role":"user","content":[{"type":"odd"}]}]`, Rules{Strict: true}, `messages.0.content.0.type: this target cannot carry a block of type "odd"`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := messages.ParseRequest([]byte("{" + row.body + "}"))
			if err != nil {
				t.Fatal(err)
			}
			c, err := r.Conversation()
			if err == nil {
				_, err = Prepare(c, row.rules)
			}
			if f := fault.From(err); f == nil || f.Kind != fault.Invalid || !strings.HasPrefix(f.Message, row.want) {
				t.Fatalf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestPrepareTools(t *testing.T) {
	openai := regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`).MatchString
	prepare := func(t *testing.T, rest string, r Rules) *Prepared {
		t.Helper()
		p, err := Prepare(conversation(t, `{"max_tokens":1,`+rest+`}`), r)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	const ask = `"messages":[{"role":"user","content":"a"}]`
	t.Run("S5 it maps names both ways and everywhere", func(t *testing.T) {
		long := "mcp__" + strings.Repeat("server", 12) + "__do"
		p := prepare(t, `"tools":[{"name":"ok"},{"name":"é.run"},{"name":"`+long+`"}],"tool_choice":{"type":"tool","name":"é.run","disable_parallel_tool_use":true},
			"messages":[{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"é.run"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a"}]}]`, Rules{LegalName: openai})
		seen := map[string]bool{}
		for i, want := range []string{"ok", "é.run", long} {
			name := p.Tools[i].Name
			if !openai(name) || seen[name] || p.CallerName(name) != want {
				t.Errorf("%s goes as %s and comes back as %s", want, name, p.CallerName(name))
			}
			seen[name] = true
		}
		legal := p.Tools[1].Name
		if p.Choice.Name != legal || !p.Choice.NoParallel || p.Turns[0].Calls[0].Name != legal || p.Turns[1].Results[0].Name != legal {
			t.Errorf("%+v %+v", p.Choice, p.Turns)
		}
		if p.CallerName("unheard") != "unheard" {
			t.Error("a name that was not mapped is")
		}
	})
	t.Run("6.2 it offers only deferred tools that were loaded", func(t *testing.T) {
		p := prepare(t, `"tools":[{"name":"Bash"},{"name":"DeferredToolPlaceholder","defer_loading":true},{"name":"WebFetch","defer_loading":true},{"name":"Other","defer_loading":true}],
			"messages":[`+one(`,"content":[{"type":"tool_reference","tool_name":"WebFetch"},{"type":"tool_reference","tool_name":"DeferredToolPlaceholder"}]`)+`]`, Rules{})
		if len(p.Tools) != 2 || p.Tools[1].Name != "WebFetch" || len(p.Notes) != 0 {
			t.Fatalf("%+v %+v", p.Tools, p.Notes)
		}
	})
	t.Run("6.2 it offers a deferred tool that must be called", func(t *testing.T) {
		p := prepare(t, `"tools":[{"name":"f","defer_loading":true}],"tool_choice":{"type":"tool","name":"f"},`+ask, Rules{})
		if len(p.Tools) != 1 || p.Choice.Name != "f" {
			t.Fatalf("%+v %+v", p.Tools, p.Choice)
		}
	})
	t.Run("S6 it makes functions of the caller's own Anthropic tools and leaves server tools out", func(t *testing.T) {
		p := prepare(t, `"tools":[{"type":"bash_20250124","name":"bash"},{"type":"text_editor_20250728","name":"str_replace_based_edit_tool"},{"type":"memory_20250818","name":"memory"},
			{"type":"web_search_20250305","name":"web_search"},{"type":"later_20300101","name":"later"},{"type":"custom","name":"f","input_schema":{"b":1,"a":true}}],`+ask, Rules{})
		var names []string
		for _, tool := range p.Tools {
			names = append(names, tool.Name)
			if messages.Valid(tool.Schema) != nil {
				t.Errorf("%s: %s", tool.Name, tool.Schema)
			}
		}
		if diff := cmp.Diff([]string{"bash", "str_replace_based_edit_tool", "memory", "f"}, names); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"tools.unknown", "tools.web_search"}, p.Notes.Fields()); diff != "" {
			t.Error(diff)
		}
		if string(p.Tools[3].Schema) != `{"b":1,"a":true}` {
			t.Errorf("the schema was rewritten: %s", p.Tools[3].Schema)
		}
	})
	t.Run("it chooses nothing without tools", func(t *testing.T) {
		if p := prepare(t, `"tools":[],"tool_choice":{"type":"auto"},`+ask, Rules{}); p.Tools != nil || p.Choice.Type != "" {
			t.Fatalf("%+v", p)
		}
	})
	t.Run("it reports members that no dialect has", func(t *testing.T) {
		p := prepare(t, `"context_management":{},"service_tier":"auto","cache_control":{},"safeguards":[1],"Not A Label":1,"speed":null,`+ask, Rules{})
		if diff := cmp.Diff([]string{"context_management", "safeguards", "service_tier", "unknown_field"}, p.Notes.Fields()); diff != "" {
			t.Fatal(diff)
		}
	})
	t.Run("it reports what is lost deeper down", func(t *testing.T) {
		p := prepare(t, `"thinking":{"type":"between_tools","display":"omitted","block_binding":1},"output_config":{"effort":"low","task_budget":{},"new one":1},"tool_choice":{"type":"auto","later":1},
			"tools":[{"name":"f","strict":true,"input_examples":[{}],"eager_input_streaming":true,"cache_control":{}},{"name":"g","strict":false,"allowed_callers":["direct"]},{"type":"bash_20250124","name":"bash","max_x":1},{"type":"web_search_20250305","name":"web_search","max_uses":8}],
			"messages":[{"role":"user","clear_at":"never","output_config":{"effort":"low"},"content":[{"type":"text","text":"a","citations":[{}],"title":"t"},{"title":"T","citations":{"enabled":true},"type":"document","source":{"type":"text","data":"x","media_type":"text/plain","more":1}}]},{"role":"system","output_config":{"effort":"max"},"content":"s"}]`, Rules{})
		if diff := cmp.Diff([]string{"document.citations", "messages.clear_at", "messages.output_config", "output_config.task_budget", "output_config.unknown_field",
			"source.more", "text.title", "thinking.block_binding", "tool_choice.later", "tools.input_examples", "tools.max_x", "tools.strict", "tools.web_search"}, p.Notes.Fields()); diff != "" {
			t.Fatal(diff)
		}
		for _, n := range p.Notes {
			if own := unreadWords[n.Field] || n.Field == "tools.web_search" || n.Field == "thinking"; own == n.Foreign {
				t.Errorf("%+v", n)
			}
		}
	})
	t.Run("it offers what a server's search found", func(t *testing.T) {
		p := prepare(t, `"tools":[{"name":"f","defer_loading":true},{"name":"g","defer_loading":true},{"name":"h"}],"messages":[{"role":"assistant","content":[{"type":"tool_search_tool_result","tool_use_id":"s","content":{"type":"tool_search_tool_search_result","tool_references":[{"type":"tool_reference","tool_name":"g"}]}}]}]`, Rules{})
		if len(p.Tools) != 2 || p.Tools[0].Name != "g" {
			t.Fatalf("%+v", p.Tools)
		}
	})
	t.Run("it reports a choice of nothing", func(t *testing.T) {
		p := prepare(t, `"tools":[],"tool_choice":{"type":"any"},`+ask, Rules{})
		if diff := cmp.Diff([]string{"tool_choice"}, p.Notes.Fields()); diff != "" {
			t.Fatal(diff)
		}
	})
	t.Run("it keeps cache marks", func(t *testing.T) {
		p := prepare(t, `"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],"tools":[{"name":"f","cache_control":{"type":"ephemeral","ttl":"1h"}}],"messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]}]`, Rules{})
		if p.System[0].Cache == nil || p.Tools[0].Cache == nil || p.Turns[0].Parts[0].Cache == nil {
			t.Fatalf("%+v", p)
		}
	})
}

// TestResultParts: where images and files may stay in a result, they keep their place between its texts.
func TestResultParts(t *testing.T) {
	text := func(s string) string { return `{"type":"text","text":"` + s + `"}` }
	for name, row := range map[string]struct {
		result string
		rules  Rules
		want   string // the result's parts
		text   string // its text alone
	}{
		"T3 it keeps their place":              {`[` + text("a") + `,` + image + `,` + text("b") + `,` + text("c") + `]`, Rules{ResultImages: true}, "a|image|b\nc", "a\nb\nc"},
		"T3 it has none where all is text":     {`[` + text("a") + `,` + text("b") + `]`, Rules{ResultImages: true}, "", "a\nb"},
		"T3 it moves what may not stay":        {`[` + image + `,` + pdf + `]`, Rules{ResultImages: true, Files: true, FileNames: true}, "image|[the document follows in the next message]", "[the document follows in the next message]"},
		"T3 it keeps a PDF":                    {`[` + pdf + `,` + text("a") + `]`, Rules{ResultFiles: true, Files: true, FileNames: true}, "file|a", "a"},
		"T4 it marks an error's first text":    {`[` + text("a") + `,` + text("b") + `,` + image + `],"is_error":true`, Rules{ResultImages: true}, "Error: a\nb|image", "Error: a\nb"},
		"T4 it marks an error without a text":  {`[` + image + `,` + text("a") + `],"is_error":true`, Rules{ResultImages: true}, "Error: |image|a", "Error: a"},
		"T4 it leaves the mark to the dialect": {`[` + image + `],"is_error":true`, Rules{ResultImages: true, ErrorMember: true}, "image", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Prepare(conversation(t, `{"max_tokens":9,"messages":[`+one(`,"content":`+row.result)+`]}`), row.rules)
			if err != nil {
				t.Fatal(err)
			}
			r := p.Turns[1].Results[0]
			var parts []string
			for _, x := range r.Parts {
				parts = append(parts, [...]string{TextPart: x.Text.Value(), ImagePart: "image", FilePart: "file"}[x.Kind])
			}
			if got := strings.Join(parts, "|"); got != row.want || r.Text.Value() != row.text {
				t.Errorf("%q and %q, want %q and %q", got, r.Text.Value(), row.want, row.text)
			}
		})
	}
}

// TestRecordedRequests prepares what the real client sent, for three kinds of dialect: every text of a request is in a turn, and
// every result behind its call.
func TestRecordedRequests(t *testing.T) {
	files, err := filepath.Glob("../../tests/fixtures/claude-code/*.json")
	if err != nil || len(files) != 13 {
		t.Fatalf("%d recorded requests, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var record struct {
			Method string
			Body   json.RawMessage
		}
		if err := json.Unmarshal(raw, &record); err != nil {
			t.Fatal(file, err)
		}
		if len(record.Body) == 0 || string(record.Body) == "null" {
			continue // a GET
		}
		var tight bytes.Buffer
		if err := json.Compact(&tight, record.Body); err != nil {
			t.Fatal(err)
		}
		for name, rules := range map[string]Rules{
			"poorest": {},
			"chat":    {ImageURLs: true, Files: true, LegalName: regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}$`).MatchString},
			"ollama":  {ResultImages: true, Reasoning: true, SystemInPlace: true},
		} {
			t.Run(filepath.Base(file)+" "+name, func(t *testing.T) {
				c := conversation(t, tight.String())
				if c.MaxTokens == 0 {
					c.MaxTokens = 1 // counts have none
				}
				p, err := Prepare(c, rules)
				if err != nil {
					t.Fatal(err)
				}
				whole := said(p)
				for _, text := range texts(c) {
					if !strings.Contains(whole, text) {
						t.Fatalf("lost: %.80q\n%s", text, short(p))
					}
				}
				if strings.Contains(whole, billing) {
					t.Error("the billing line is still there")
				}
				answered(t, p)
				if len(p.Notes) > 0 {
					t.Logf("notes: %v", p.Notes)
				}
				for _, n := range p.Notes {
					if n.Field != "context_management" && n.Field != "document" && !n.Foreign {
						t.Errorf("an unexpected note: %+v", n)
					}
				}
			})
		}
	}
}

// said is all text of a prepared conversation.
func said(p *Prepared) string {
	var sb strings.Builder
	parts := func(list []Part) {
		for _, x := range list {
			sb.WriteString(x.Text.Value() + "\n")
		}
	}
	parts(p.System)
	for _, turn := range p.Turns {
		parts(turn.Parts)
		for _, r := range turn.Results {
			sb.WriteString(r.Text.Value() + "\n")
		}
		for _, call := range turn.Calls {
			sb.WriteString(call.Name + string(call.Input) + "\n")
		}
	}
	return sb.String()
}

// texts is what must not be lost of a conversation.
func texts(c *messages.Conversation) (out []string) {
	var walk func(blocks []messages.Block)
	walk = func(blocks []messages.Block) {
		for _, b := range blocks {
			if text := b.Text.Value(); text != "" && !strings.HasPrefix(text, billing) {
				out = append(out, text)
			}
			if b.Type == "tool_use" {
				out = append(out, b.Name+string(b.Input))
			}
			if b.Type == "tool_reference" {
				out = append(out, b.Name)
			}
			walk(b.Content)
		}
	}
	walk(c.System)
	for _, m := range c.Messages {
		walk(m.Content)
	}
	return out
}

// answered proves that the turn behind each turn with calls begins with their results.
func answered(t *testing.T, p *Prepared) {
	t.Helper()
	for i, turn := range p.Turns {
		if len(turn.Calls) == 0 {
			continue
		}
		if i+1 == len(p.Turns) || len(p.Turns[i+1].Results) != len(turn.Calls) {
			t.Fatalf("calls without results:\n%s", short(p))
		}
		for _, r := range p.Turns[i+1].Results {
			found := false
			for _, call := range turn.Calls {
				found = found || call.ID == r.ID && call.Name == r.Name
			}
			if !found {
				t.Fatalf("the result %s has no call:\n%s", r.ID, short(p))
			}
		}
	}
}

func TestJoinText(t *testing.T) {
	lit := func(s string) Part { return Part{Text: messages.Literal(s)} }
	for name, row := range map[string]struct {
		parts []Part
		want  string
	}{
		"it joins nothing":                    {nil, ``},
		"it gives one text as it was written": {[]Part{lit(`"\u0061"`), lit(`""`), {Kind: ImagePart}}, `"\u0061"`},
		"it joins with the separator quoted":  {[]Part{lit(`"a"`), {Kind: ImagePart}, lit(`"b"`)}, `"a\nb"`},
		"it makes no pair of two halves":      {[]Part{lit(`"\ud83d"`), lit(`"\ude00"`)}, "\"\ufffd\\n\ufffd\""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := string(JoinText(row.parts, "\n")); got != row.want {
				t.Fatalf("got %s, want %s", got, row.want)
			}
		})
	}
}
