package wire

import "strings"

// LeftOut are the members that no foreign dialect gets and that no note tells of, each with the reason why nobody has to know.
// Everything else that does not arrive is a note or a refusal. docs/fidelity.md prints this table.
var LeftOut = map[string]string{
	"cache_control":               "it makes Anthropic's answer cheaper, never different; dialects that have the same get it",
	"diagnostics":                 "it asks Anthropic about an earlier answer",
	"metadata.user_id":            "it says who asks; OpenAI gets a hash of `user_id`",
	"thinking.display":            "it says how much of the thinking is shown; the answer is the same",
	"text.citations":              "what an earlier answer quoted; its text is there",
	"tool_use.caller":             "who made an earlier call; the call and its result are there",
	"tools.eager_input_streaming": "arguments are passed on as they come, always",
}

// unreadWords are the names of unread members that become notes under their own name. Others are a caller's words.
var unreadWords = map[string]bool{}

func init() {
	for _, w := range strings.Fields(`document.citations search_result.citations image.transformations messages.output_config
		messages.clear_at output_config.format output_config.task_budget output_format thinking.block_binding
		tool_choice.disable_parallel_tool_use tool_result.toolset_name tool_use.toolset_name tools.allowed_callers
		tools.input_examples tools.strict unknown_field`) {
		unreadWords[w] = true
	}
}

// DropUnread notes that a member deeper down, such as document.citations, was left out, unless LeftOut says that nobody has to
// know.
func (n *Notes) DropUnread(path string) {
	if _, quiet := LeftOut[path]; quiet {
		return
	}
	if unreadWords[path] {
		n.Drop(path)
		return
	}
	in, name, _ := cutLast(path)
	if !plainWord(name) {
		name = "unknown_field"
	}
	n.add(Note{Kind: Dropped, Field: in + "." + name, Foreign: true})
}

// cutLast splits a path before its last name. What stands in front is a word of ours, which holds no stranger's dots: only the
// name may hold some, and then it is no plain word.
func cutLast(path string) (in, name string, ok bool) {
	for _, p := range [...]string{"output_config.format.", "output_format."} {
		if rest, found := strings.CutPrefix(path, p); found {
			return strings.TrimSuffix(p, "."), rest, true
		}
	}
	return strings.Cut(path, ".")
}

func plainWord(name string) bool {
	if name == "" || len(name) > 40 {
		return false
	}
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_') {
			return false
		}
	}
	return true
}
