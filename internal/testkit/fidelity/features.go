package fidelity

import (
	"encoding/base64"
	"strings"

	"signalbox/internal/wire"
)

// The sections of the page.
const (
	Top     = "top of the request"
	Think   = "thinking and structured output"
	User    = "blocks of a user"
	Past    = "blocks of an assistant"
	Results = "tool results"
	System  = "system texts"
	Tools   = "tools"
)

// Sections are all of them, in the order of the page.
var Sections = []string{Top, Think, User, Past, Results, System, Tools}

// request is a small request with further members.
func request(members string) string {
	if members != "" {
		members = "," + members
	}
	return `{"model":"asked","max_tokens":100,"messages":[{"role":"user","content":"hi"}]` + members + `}`
}

func talk(messages string) string {
	return `{"model":"asked","max_tokens":100,"messages":[` + messages + `]}`
}

func user(blocks string) string { return talk(`{"role":"user","content":[` + blocks + `]}`) }

// past is a turn of the assistant between two of the user, the second of which answers the call.
func past(blocks string) string {
	next := `{"type":"text","text":"go on"}`
	if strings.Contains(blocks, `"id":"toolu_1"`) {
		next = `{"type":"tool_result","tool_use_id":"toolu_1","content":"done"}`
	}
	return talk(`{"role":"user","content":"hi"},{"role":"assistant","content":[` + blocks + `]},{"role":"user","content":[` + next + `]}`)
}

// answer is a call with its result, which has these members.
func answer(members string) string {
	return talk(`{"role":"user","content":"hi"},{"role":"assistant","content":[` + call + `]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1"` + members + `}]}`)
}

// inside is a result with this content.
func inside(blocks string) string { return answer(`,"content":[` + blocks + `]`) }

// between is a system message behind the user's.
func between(members string) string {
	return talk(`{"role":"user","content":"hi"},{"role":"system",` + members + `}`)
}

// tool is a request with a tool that has these members.
func tool(members string) string { return tools(`{"name":"look"` + members + `}`) }

func tools(list string) string { return request(`"tools":[` + list + `]`) }

// choose is a request with two tools and a choice.
func choose(choice string) string {
	return request(`"tools":[` + look + `,{"name":"write"}]` + choice)
}

// Pieces of probes.
const (
	call  = `{"type":"tool_use","id":"toolu_1","name":"look","input":{}}`
	said  = `{"type":"text","text":"said"}`
	look  = `{"name":"look","description":"looks","input_schema":{"type":"object","properties":{}}}`
	image = `{"type":"image","source":{"type":"base64","media_type":"image/png","data":"TUFSSw=="}}`
	pdf   = `{"type":"base64","media_type":"application/pdf","data":"TUFSSw=="}`
	text  = `{"type":"text","media_type":"text/plain","data":"body"}`
)

// encoded is MARK in base64.
var encoded = []string{"TUFSSw=="}

// Reasons why something may go without a word that no table of the code knows.
const (
	othersState = "it belongs to the model that made it: to any other it means nothing, and strict servers refuse it"
	ownState    = "Anthropic signed it for itself"
	attribution = "it changes with every request and would defeat prefix caches"
	marker      = "it names the agent to the gateway, and says nothing to a model"
	deferred    = "it is offered once a `tool_reference` names it"
	closed      = "Gemini refuses both words, and neither says what a value is"
	isOff       = "where there is no word for off, the server does as it does"
)

// Features are what is probed. A feature that is missing here is a feature whose loss nobody would see.
func Features() []*Feature {
	list := []*Feature{
		{Section: Top, Name: "`model`", Body: request(""), Marks: []string{"MODEL"}, Elsewhere: map[string]string{Gemini: "in the address"}},
		{Section: Top, Name: "`max_tokens`", Body: `{"model":"asked","max_tokens":12345,"messages":[{"role":"user","content":"hi"}]}`, Marks: []string{"12345"}},
		{Section: Top, Name: "`max_tokens` below 16", Body: `{"model":"asked","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}`, Without: request("")},
		{Section: Top, Name: "`max_tokens: 0`", Body: `{"model":"asked","max_tokens":0,"messages":[{"role":"user","content":"hi"}]}`, Without: request("")},
		{Section: Top, Name: "`stream`", Body: request(`"stream":true`), Without: request(""), Elsewhere: map[string]string{Gemini: "in the address"}},
		{Section: Top, Name: "a prefilled answer", Body: talk(`{"role":"user","content":"hi"},{"role":"assistant","content":"MARK"}`)},
		{Section: Top, Name: "`temperature`", Body: request(`"temperature":0.625`), Marks: []string{"0.625"}},
		{Section: Top, Name: "`top_p`", Body: request(`"top_p":0.875`), Marks: []string{"0.875"}},
		{Section: Top, Name: "`top_k`", Body: request(`"top_k":737`), Marks: []string{"737"}},
		stop("`stop_sequences`, up to 4", 4), stop("`stop_sequences`, 5", 5), stop("`stop_sequences`, 6", 6), stop("`stop_sequences`, 17", 17),
		{Section: Top, Name: "`metadata.user_id`", Body: request(`"metadata":{"user_id":"MARK"}`), Without: request(""), Quiet: wire.LeftOut["metadata.user_id"]},
		{Section: Top, Name: "a member of `metadata` nobody here knows", Body: request(`"metadata":{"user_id":"u","later":"MARK"}`)},
		{Section: Top, Name: "`cache_control`", Body: request(`"cache_control":{"type":"ephemeral","ttl":"MARK"}`), Quiet: wire.LeftOut["cache_control"]},
		{Section: Top, Name: "`diagnostics`", Body: request(`"diagnostics":{"previous_message_id":"MARK"}`), Quiet: wire.LeftOut["diagnostics"]},
		{Section: Top, Name: "a field nobody here knows", Body: request(`"guided_json":"MARK"`)},
		{Section: Top, Name: "a member of a message nobody here knows", Body: talk(`{"role":"user","content":"hi","later":"MARK"}`)},
		{Section: Top, Name: "`clear_at` of a message", Body: between(`"clear_at":"MARK","content":"s"`)},
		{Section: Top, Name: "`output_config` of a message", Body: between(`"output_config":{"effort":"MARK"},"content":"s"`)},
	}
	for _, name := range []string{"service_tier", "speed", "inference_geo"} {
		list = append(list, &Feature{Section: Top, Name: "`" + name + "`", Body: request(`"` + name + `":"MARK"`)})
	}
	for _, name := range []string{"context_management", "container", "mcp_servers", "compaction", "thread", "fallbacks", "billing_policy", "safeguards"} {
		list = append(list, &Feature{Section: Top, Name: "`" + name + "`", Body: request(`"` + name + `":[{"id":"MARK"}]`)})
	}
	for _, more := range [][]*Feature{thinking(), users(), pasts(), results(), systems(), offered()} {
		list = append(list, more...)
	}
	return list
}

func stop(name string, n int) *Feature {
	body, marks := "", []string(nil)
	for i := range n {
		mark := "STOP" + string(rune('a'+i))
		marks = append(marks, mark)
		body += `,"` + mark + `"`
	}
	return &Feature{Section: Top, Name: name, Body: request(`"stop_sequences":[` + body[1:] + `]`), Marks: marks,
		Elsewhere: map[string]string{Responses: "looked for in the answer"}}
}

func thinking() []*Feature {
	schema := `{"type":"json_schema","schema":{"type":"object","properties":{"MARK":{"type":"string"}}`
	adaptive := request(`"thinking":{"type":"adaptive"}`)
	return []*Feature{
		{Section: Think, Name: "`thinking: adaptive`", Body: adaptive, Without: request("")},
		{Section: Think, Name: "`thinking: enabled`, `budget_tokens`", Body: request(`"thinking":{"type":"enabled","budget_tokens":7777}`), Marks: []string{"7777"}},
		{Section: Think, Name: "`thinking: disabled`", Body: request(`"thinking":{"type":"disabled"}`), Without: request(""), Quiet: isOff, Elsewhere: map[string]string{Ollama: "as when it is absent"}},
		{Section: Think, Name: "`thinking` of a type nobody here knows", Body: request(`"thinking":{"type":"MARK"}`)},
		{Section: Think, Name: "`thinking.display`", Body: request(`"thinking":{"type":"adaptive","display":"omitted"}`), Without: adaptive, Quiet: wire.LeftOut["thinking.display"]},
		{Section: Think, Name: "`thinking.block_binding`", Body: request(`"thinking":{"type":"disabled","block_binding":"MARK"}`)},
		{Section: Think, Name: "a member of `thinking` nobody here knows", Body: request(`"thinking":{"type":"disabled","later":"MARK"}`)},
		{Section: Think, Name: "`output_config.effort`", Body: request(`"output_config":{"effort":"low"}`), Without: request("")},
		{Section: Think, Name: "`effort` beside adaptive thinking", Body: request(`"thinking":{"type":"adaptive"},"output_config":{"effort":"low"}`), Without: adaptive},
		{Section: Think, Name: "`effort: max` beside adaptive thinking", Body: request(`"thinking":{"type":"adaptive"},"output_config":{"effort":"max"}`), Without: adaptive},
		{Section: Think, Name: "`effort` beside a budget", Body: request(`"thinking":{"type":"enabled","budget_tokens":7777},"output_config":{"effort":"low"}`), Marks: []string{"7777", "low"}},
		{Section: Think, Name: "`effort` beside thinking that is off", Body: request(`"thinking":{"type":"disabled"},"output_config":{"effort":"low"}`), Marks: []string{"low"}},
		{Section: Think, Name: "`output_config.format`", Body: request(`"output_config":{"format":` + schema + `}}}`)},
		{Section: Think, Name: "`output_format`, its older name", Body: request(`"output_format":` + schema + `}}`)},
		{Section: Think, Name: "a format of another type", Body: request(`"output_config":{"format":{"type":"grammar","grammar":"MARK"}}`)},
		{Section: Think, Name: "a member of a format nobody here knows", Body: request(`"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{}},"later":"MARK"}}`)},
		{Section: Think, Name: "`output_config.task_budget`", Body: request(`"output_config":{"task_budget":{"type":"tokens","total":"MARK"}}`)},
		{Section: Think, Name: "a member of `output_config` nobody here knows", Body: request(`"output_config":{"later":"MARK"}`)},
	}
}

func users() []*Feature {
	list := []*Feature{
		{Section: User, Name: "`text`", Body: user(`{"type":"text","text":"MARK"}`)},
		{Section: User, Name: "several `text`", Body: user(`{"type":"text","text":"MARK1"},{"type":"text","text":"MARK2"}`), Marks: []string{"MARK1", "MARK2"}},
		{Section: User, Name: "`citations` of a text", Body: user(`{"type":"text","text":"hi","citations":[{"cited_text":"MARK"}]}`), Quiet: wire.LeftOut["text.citations"]},
		{Section: User, Name: "`image`, base64", Body: user(image), Marks: encoded},
		{Section: User, Name: "`image`, url", Body: user(`{"type":"image","source":{"type":"url","url":"https://example.com/MARK.png"}}`)},
		{Section: User, Name: "`image`, file", Body: user(`{"type":"image","source":{"type":"file","file_id":"MARK"}}`)},
		{Section: User, Name: "`image.transformations`", Body: user(`{"type":"image","transformations":{"oversized_image":"MARK"},"source":{"type":"base64","media_type":"image/png","data":"QQ=="}}`)},
		{Section: User, Name: "`document`, text", Body: user(`{"type":"document","source":{"type":"text","media_type":"text/plain","data":"MARK"}}`)},
		{Section: User, Name: "`document`, content", Body: user(`{"type":"document","source":{"type":"content","content":[{"type":"text","text":"MARK1"},{"type":"text","text":"MARK2"}]}}`), Marks: []string{"MARK1", "MARK2"}},
		{Section: User, Name: "`document`, content as a string", Body: user(`{"type":"document","source":{"type":"content","content":"MARK"}}`)},
		{Section: User, Name: "`document`, image in its content", Body: user(`{"type":"document","source":{"type":"content","content":[` + image + `]}}`), Marks: encoded},
		{Section: User, Name: "`document`, a block nobody here knows in its content", Body: user(`{"type":"document","source":{"type":"content","content":[` + said + `,{"type":"later","what":"MARK"}]}}`)},
		{Section: User, Name: "`document`, PDF", Body: user(`{"type":"document","source":` + pdf + `}`), Marks: encoded},
		{Section: User, Name: "`document`, url", Body: user(`{"type":"document","source":{"type":"url","url":"https://example.com/MARK.pdf"}}`)},
		{Section: User, Name: "`document`, file", Body: user(`{"type":"document","source":{"type":"file","file_id":"MARK"}}`)},
		{Section: User, Name: "`title` and `context` of a text", Body: user(`{"type":"document","title":"MARK1","context":"MARK2","source":` + text + `}`), Marks: []string{"MARK1", "MARK2"}},
		{Section: User, Name: "`title` and `context` of a PDF", Body: user(`{"type":"document","title":"MARK1","context":"MARK2","source":` + pdf + `}`), Marks: []string{"MARK1", "MARK2"}},
		{Section: User, Name: "`document.citations`", Body: user(`{"type":"document","citations":{"enabled":true,"later":"MARK"},"source":` + text + `}`)},
		{Section: User, Name: "a member of a source nobody here knows", Body: user(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"QQ==","later":"MARK"}}`)},
		{Section: User, Name: "`search_result`", Body: user(`{"type":"search_result","source":"MARK1","title":"MARK2","content":[{"type":"text","text":"MARK3"}]}`), Marks: []string{"MARK1", "MARK2", "MARK3"}},
		{Section: User, Name: "`search_result.citations`", Body: user(`{"type":"search_result","source":"s","title":"t","citations":{"enabled":true,"later":"MARK"},"content":[` + said + `]}`)},
		{Section: User, Name: "`container_upload`", Body: user(said + `,{"type":"container_upload","file_id":"MARK"}`)},
		{Section: User, Name: "`cache_control` of a block", Body: user(`{"type":"text","text":"hi","cache_control":{"type":"MARK"}}`), Quiet: wire.LeftOut["cache_control"]},
		{Section: User, Name: "a member of a block nobody here knows", Body: user(`{"type":"text","text":"hi","later":"MARK"}`)},
	}
	return append(list, unknowns(User, user)...)
}

// unknowns are the blocks of tomorrow, in some place.
func unknowns(section string, in func(string) string) []*Feature {
	return []*Feature{
		{Section: section, Name: "a block nobody here knows, with a `text`", Body: in(said + `,{"type":"later","text":"MARK1","what":"MARK2"}`), Marks: []string{"MARK1", "MARK2"}},
		{Section: section, Name: "a block nobody here knows, without", Body: in(said + `,{"type":"later","what":"MARK"}`)},
	}
}

func pasts() []*Feature {
	list := []*Feature{
		{Section: Past, Name: "`text`", Body: past(`{"type":"text","text":"MARK"}`)},
		{Section: Past, Name: "`citations` of a text", Body: past(`{"type":"text","text":"hi","citations":[{"cited_text":"MARK"}]}`), Quiet: wire.LeftOut["text.citations"]},
		{Section: Past, Name: "`tool_use`", Body: talk(`{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"MARK","name":"MARK1","input":{"MARK2":1.50}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"MARK","content":"done"}]}`), Marks: []string{"MARK1", "MARK2", "1.50"}},
		{Section: Past, Name: "`caller` of a `tool_use`", Body: past(`{"type":"tool_use","id":"toolu_1","name":"look","input":{},"caller":{"type":"MARK"}}`), Quiet: wire.LeftOut["tool_use.caller"]},
		{Section: Past, Name: "`toolset_name` of a `tool_use`", Body: past(`{"type":"tool_use","id":"toolu_1","name":"look","input":{},"toolset_name":"MARK"}`)},
		{Section: Past, Name: "`thinking`, Anthropic's", Body: past(`{"type":"thinking","thinking":"MARK","signature":"EqQB"},` + call), Quiet: othersState},
		{Section: Past, Name: "`thinking`, not signed", Body: past(`{"type":"thinking","thinking":"MARK","signature":""},` + call), Quiet: othersState},
		own("OpenRouter", "openrouter.", `[{"type":"reasoning.text","text":"MARK"}]`),
		own("Responses", "responses..", `{"type":"reasoning","summary":[],"encrypted_content":"MARK"}`),
		own("Gemini", "gemini.", `{"on":"call","thoughtSignature":"MARK"}`),
		{Section: Past, Name: "`redacted_thinking`", Body: past(`{"type":"redacted_thinking","data":"MARK"},` + said), Quiet: ownState},
		{Section: Past, Name: "`server_tool_use`", Body: past(`{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"MARK"}}`)},
		{Section: Past, Name: "`mcp_tool_use`", Body: past(`{"type":"mcp_tool_use","id":"mcptoolu_1","name":"look","server_name":"s","input":{"query":"MARK"}}`)},
		{Section: Past, Name: "`compaction`", Body: past(`{"type":"compaction","content":"MARK"}`)},
		{Section: Past, Name: "`image`", Body: past(said + `,` + image), Marks: encoded},
		{Section: Past, Name: "`document`", Body: past(said + `,{"type":"document","source":{"type":"text","media_type":"text/plain","data":"MARK"}}`)},
		{Section: Past, Name: "a member of a block nobody here knows", Body: past(`{"type":"tool_use","id":"toolu_1","name":"look","input":{},"later":"MARK"}`)},
	}
	for _, r := range [][2]string{
		{"web_search", `[{"type":"web_search_result","title":"MARK","url":"u","encrypted_content":"x"}]`},
		{"web_fetch", `{"type":"web_fetch_result","url":"u","content":{"type":"document","source":{"type":"text","media_type":"text/plain","data":"MARK"}}}`},
		{"code_execution", `{"type":"code_execution_result","stdout":"MARK","stderr":"","return_code":0,"content":[]}`},
		{"bash_code_execution", `{"type":"bash_code_execution_result","stdout":"MARK","stderr":"","return_code":0,"content":[]}`},
		{"text_editor_code_execution", `{"type":"text_editor_code_execution_view_result","content":"MARK","file_type":"text"}`},
		{"tool_search", `{"type":"tool_search_tool_search_result","tool_references":[{"type":"tool_reference","tool_name":"MARK"}]}`},
		{"mcp", `[{"type":"text","text":"MARK"}]`},
		{"advisor", `{"type":"advisor_result","text":"MARK"}`},
	} {
		list = append(list, &Feature{Section: Past, Name: "`" + r[0] + "_tool_result`",
			Body: past(`{"type":"` + r[0] + `_tool_result","tool_use_id":"srvtoolu_1","content":` + r[1] + `}`)})
	}
	return append(list, unknowns(Past, past)...)
}

// own is the state of a provider, as the gateway has packed it into a signature.
func own(who, prefix, state string) *Feature {
	return &Feature{Section: Past, Name: "`thinking` with the state of " + who, Quiet: othersState,
		Body: past(`{"type":"thinking","thinking":"","signature":"` + wire.CarryPrefix + prefix + base64.RawURLEncoding.EncodeToString([]byte(state)) + `"},` + call)}
}

func results() []*Feature {
	list := []*Feature{
		{Section: Results, Name: "`content` as a string", Body: answer(`,"content":"MARK"`)},
		{Section: Results, Name: "`text`", Body: inside(`{"type":"text","text":"MARK1"},{"type":"text","text":"MARK2"}`), Marks: []string{"MARK1", "MARK2"}},
		{Section: Results, Name: "no content", Body: answer(``), Without: talk(`{"role":"user","content":"hi"},{"role":"assistant","content":[` + call + `]}`)},
		{Section: Results, Name: "`is_error`", Body: answer(`,"content":"no","is_error":true`), Without: answer(`,"content":"no"`)},
		{Section: Results, Name: "`image`, base64", Body: inside(image), Marks: encoded},
		{Section: Results, Name: "`image`, url", Body: inside(`{"type":"image","source":{"type":"url","url":"https://example.com/MARK.png"}}`)},
		{Section: Results, Name: "`document`, text", Body: inside(`{"type":"document","title":"MARK1","source":{"type":"text","media_type":"text/plain","data":"MARK2"}}`), Marks: []string{"MARK1", "MARK2"}},
		{Section: Results, Name: "`document`, PDF", Body: inside(`{"type":"document","source":` + pdf + `}`), Marks: encoded},
		{Section: Results, Name: "`document`, url", Body: inside(`{"type":"document","source":{"type":"url","url":"https://example.com/MARK.pdf"}}`)},
		{Section: Results, Name: "`document`, file", Body: inside(`{"type":"document","source":{"type":"file","file_id":"MARK"}}`)},
		{Section: Results, Name: "`search_result`", Body: inside(`{"type":"search_result","source":"MARK1","title":"MARK2","content":[{"type":"text","text":"MARK3"}]}`), Marks: []string{"MARK1", "MARK2", "MARK3"}},
		{Section: Results, Name: "`tool_reference`", Body: inside(`{"type":"tool_reference","tool_name":"MARK"}`)},
		{Section: Results, Name: "`browser_state`", Body: inside(said + `,{"type":"browser_state","tabs":"MARK"}`)},
		{Section: Results, Name: "`toolset_name` of a result", Body: answer(`,"content":"x","toolset_name":"MARK"`)},
		{Section: Results, Name: "`cache_control` of a result", Body: answer(`,"content":"x","cache_control":{"type":"MARK"}`), Quiet: wire.LeftOut["cache_control"]},
		{Section: Results, Name: "a member of a result nobody here knows", Body: answer(`,"content":"x","later":"MARK"`)},
		{Section: Results, Name: "a call that nothing answers", Body: talk(`{"role":"user","content":"hi"},{"role":"assistant","content":[` + call + `]},{"role":"user","content":"go on"}`), Marks: []string{"look"}},
		{Section: Results, Name: "a result whose call is not there", Body: user(`{"type":"tool_result","tool_use_id":"MARK","content":"x"}`)},
		{Section: Results, Name: "two calls with one id in a message", Body: past(`{"type":"tool_use","id":"MARK","name":"a"},{"type":"tool_use","id":"MARK","name":"b"}`)},
	}
	return append(list, unknowns(Results, inside)...)
}

func systems() []*Feature {
	list := []*Feature{
		{Section: System, Name: "`system` as a string", Body: request(`"system":"MARK"`)},
		{Section: System, Name: "`system` as blocks", Body: request(`"system":[{"type":"text","text":"MARK1"},{"type":"text","text":"MARK2"}]`), Marks: []string{"MARK1", "MARK2"}},
		{Section: System, Name: "its first line `x-anthropic-billing-header: …`", Body: request(`"system":"x-anthropic-billing-header: cch=MARK;\nrest"`), Quiet: attribution},
		{Section: System, Name: "its line `OSS-ROUTE-AGENT: …`", Body: request(`"system":"rest\n<!-- OSS-ROUTE-AGENT: MARK -->\nmore"`), Quiet: marker},
		{Section: System, Name: "`cache_control` of a block", Body: request(`"system":[{"type":"text","text":"s","cache_control":{"type":"MARK"}}]`), Quiet: wire.LeftOut["cache_control"]},
		{Section: System, Name: "a member of a block nobody here knows", Body: request(`"system":[{"type":"text","text":"s","later":"MARK"}]`)},
		{Section: System, Name: "a message with role `system`", Body: between(`"content":"MARK"`)},
		{Section: System, Name: "the same between calls and results", Body: talk(`{"role":"assistant","content":[` + call + `]},{"role":"system","content":[{"type":"text","text":"MARK"}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"x"}]}`)},
		{Section: System, Name: "`image` in it", Body: between(`"content":[` + said + `,` + image + `]`), Marks: encoded},
		{Section: System, Name: "`tool_addition` in it", Body: between(`"content":[` + said + `,{"type":"tool_addition","tool":"MARK"}]`)},
		{Section: System, Name: "`tool_removal` in it", Body: between(`"content":[` + said + `,{"type":"tool_removal","tool_name":"MARK"}]`)},
	}
	return append(list, unknowns(System, func(blocks string) string { return between(`"content":[` + blocks + `]`) })...)
}

func offered() []*Feature {
	list := []*Feature{
		{Section: Tools, Name: "`name`", Body: tools(`{"name":"MARK","input_schema":{"type":"object","properties":{}}}`)},
		{Section: Tools, Name: "a `name` of other letters", Body: tools(`{"name":"MARK.ä b","input_schema":{"type":"object","properties":{}}}`)},
		{Section: Tools, Name: "`type: custom`", Body: tools(`{"type":"custom","name":"MARK"}`)},
		{Section: Tools, Name: "`description`", Body: tool(`,"description":"MARK"`)},
		{Section: Tools, Name: "`input_schema`", Body: tool(`,"input_schema":{"type":"object","properties":{"MARK":{"type":"string","description":"MARK1"}},"required":["MARK"]}`), Marks: []string{`"required":["MARK"]`, "MARK1"}},
		{Section: Tools, Name: "`additionalProperties: false`, `$schema`", Body: tool(`,"input_schema":{"$schema":"http://json-schema.org/MARK","type":"object","properties":{},"additionalProperties":false}`), Marks: []string{"additionalProperties", "MARK"}, Quiet: closed},
		{Section: Tools, Name: "`anyOf` inside a schema", Body: tool(`,"input_schema":{"type":"object","properties":{"a":{"anyOf":[{"type":"string","description":"MARK1"},{"type":"integer","description":"MARK2"}]}}}`), Marks: []string{"MARK1", "MARK2"}},
		{Section: Tools, Name: "`anyOf` at the top of a schema", Body: tool(`,"input_schema":{"type":"object","anyOf":[{"properties":{"MARK1":{"type":"string"}},"required":["MARK1"]},{"properties":{"MARK2":{"type":"string"}}}]}`), Marks: []string{"MARK1", "MARK2"}},
		{Section: Tools, Name: "`pattern`, `default`, `const` in a schema", Body: tool(`,"input_schema":{"type":"object","properties":{"a":{"type":"string","pattern":"MARK1","default":"MARK2"},"b":{"const":"MARK3"}}}`), Marks: []string{"MARK1", "MARK2", "MARK3"}},
		{Section: Tools, Name: "`cache_control` of a tool", Body: tool(`,"cache_control":{"type":"MARK"}`), Quiet: wire.LeftOut["cache_control"]},
		{Section: Tools, Name: "`eager_input_streaming`", Body: tool(`,"eager_input_streaming":true`), Without: tool(``), Quiet: wire.LeftOut["tools.eager_input_streaming"]},
		{Section: Tools, Name: "`strict`", Body: tool(`,"strict":true`), Without: tool(``)},
		{Section: Tools, Name: "`input_examples`", Body: tool(`,"input_examples":[{"a":"MARK"}]`)},
		{Section: Tools, Name: "`allowed_callers` beside `direct`", Body: tool(`,"allowed_callers":["MARK"]`)},
		{Section: Tools, Name: "`defer_loading`, not loaded", Body: tools(look + `,{"name":"MARK","defer_loading":true}`), Quiet: deferred},
		{Section: Tools, Name: "`defer_loading`, loaded", Body: `{"model":"asked","max_tokens":100,"tools":[{"name":"look"},{"name":"found","description":"MARK","defer_loading":true}],"messages":[{"role":"assistant","content":[` + call + `]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"tool_reference","tool_name":"found"}]}]}]}`},
		{Section: Tools, Name: "a member of a tool nobody here knows", Body: tool(`,"later":"MARK"`)},
		{Section: Tools, Name: "bash", Body: tools(`{"type":"bash_20250124","name":"bash"}`), Marks: []string{"bash"}},
		{Section: Tools, Name: "text editor", Body: tools(`{"type":"text_editor_20250728","name":"str_replace_based_edit_tool"}`), Marks: []string{"str_replace_based_edit_tool"}},
		{Section: Tools, Name: "text editor, `max_characters`", Body: tools(`{"type":"text_editor_20250728","name":"str_replace_based_edit_tool","max_characters":737}`), Marks: []string{"737"}},
		{Section: Tools, Name: "memory", Body: tools(`{"type":"memory_20250818","name":"memory"}`), Marks: []string{"memory"}},
	}
	for _, kind := range []string{"computer_20251124", "computer_toolset_20260801", "browser_toolset_20260801", "code_execution_20260521", "web_search_20260318", "web_fetch_20260318", "tool_search_tool_regex_20251119", "mcp_toolset", "advisor_20260301", "later_20300101"} {
		name := "`" + kind + "`"
		if kind == "later_20300101" {
			name = "a type of tool nobody here knows"
		}
		list = append(list, &Feature{Section: Tools, Name: name + ", beside others", Body: tools(look + `,{"type":"` + kind + `","name":"MARK"}`)})
	}
	return append(list,
		&Feature{Section: Tools, Name: "a tool that Anthropic runs, alone", Body: tools(`{"type":"web_search_20260318","name":"MARK"}`)},
		&Feature{Section: Tools, Name: "`tool_choice: auto`", Body: choose(`,"tool_choice":{"type":"auto"}`), Without: choose(``), Elsewhere: map[string]string{Ollama: "it is what Ollama does"}},
		&Feature{Section: Tools, Name: "`tool_choice: none`", Body: choose(`,"tool_choice":{"type":"none"}`), Without: choose(``)},
		&Feature{Section: Tools, Name: "`tool_choice: any`", Body: choose(`,"tool_choice":{"type":"any"}`), Without: choose(``)},
		&Feature{Section: Tools, Name: "`tool_choice: tool`", Body: choose(`,"tool_choice":{"type":"tool","name":"look"}`), Without: choose(``)},
		&Feature{Section: Tools, Name: "`disable_parallel_tool_use`", Body: choose(`,"tool_choice":{"type":"auto","disable_parallel_tool_use":true}`), Without: choose(`,"tool_choice":{"type":"auto"}`)},
		&Feature{Section: Tools, Name: "a member of `tool_choice` nobody here knows", Body: choose(`,"tool_choice":{"type":"auto","later":"MARK"}`)},
	)
}
