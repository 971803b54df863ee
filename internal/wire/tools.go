package wire

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
)

// placeholder is the tool by which Claude Code says that more tools exist; it never runs.
const placeholder = "DeferredToolPlaceholder"

// tools lists what is offered: the caller's own, Anthropic's client-run ones as functions, no server-run ones, and of the
// deferred ones those that have been loaded (S6, and section 6.2 of the protocol page).
func (p *preparer) tools() error {
	var left []string
	if c := p.conv.ToolChoice; c.Type == "tool" {
		p.loaded[c.Name] = true // a tool that must be called must be there
	}
	for i := range p.conv.Tools {
		t := &p.conv.Tools[i]
		if t.Deferred && (t.Name == placeholder || !p.loaded[t.Name]) {
			continue
		}
		if t.Type == "" {
			p.out.Tools = append(p.out.Tools, Tool{Name: p.name(t.Name), Description: t.Description, Schema: t.Schema, Cache: t.Cache})
			p.unread(t)
			continue
		}
		if f, ok := clientTool(t); ok {
			f.Name = p.name(f.Name)
			p.out.Tools = append(p.out.Tools, f)
			p.unread(t)
			continue
		}
		left = append(left, family(t.Type))
	}
	if len(left) > 0 && len(p.out.Tools) == 0 {
		return fault.New(fault.Invalid, "tools: %s runs on Anthropic's servers or desktop and cannot run at this target; offer a tool of your own or choose an anthropic target", strings.Join(left, ", "))
	}
	for _, f := range left {
		p.out.Notes.Drop("tools." + f)
	}
	p.out.Choice = p.conv.ToolChoice
	if len(p.out.Tools) == 0 {
		if p.out.Choice.Type == "any" {
			p.out.Notes.Drop("tool_choice") // of nothing
		}
		p.out.Choice = messages.ToolChoice{}
		return nil
	}
	if p.out.Choice.Type != "tool" {
		return nil
	}
	p.out.Choice.Name = p.name(p.out.Choice.Name)
	for _, t := range p.out.Tools {
		if t.Name == p.out.Choice.Name {
			return nil
		}
	}
	return fault.New(fault.Invalid, "tool_choice.name: %s cannot run at this target", quoteShort(p.conv.ToolChoice.Name))
}

// unread notes what is lost of an offered tool. Of one of Anthropic's the parameters are ours, whatever it says.
func (p *preparer) unread(t *messages.Tool) {
	for _, name := range t.Unread {
		p.out.Notes.DropUnread("tools." + name)
	}
	if t.Type == "" {
		return
	}
	if t.Description != nil {
		p.out.Notes.Drop("tools.description")
	}
	if t.Schema != nil {
		p.out.Notes.Drop("tools.input_schema")
	}
}

// families are Anthropic's tools by the beginning of their type; the value is the name in a note.
var families = []string{"bash", "text_editor", "memory", "computer_toolset", "browser_toolset", "computer", "code_execution", "web_search",
	"web_fetch", "tool_search_tool", "mcp_toolset", "advisor"}

func family(kind string) string {
	for _, f := range families {
		if strings.HasPrefix(kind, f) {
			return f
		}
	}
	return "unknown"
}

// clientTool is an Anthropic-defined tool that the caller runs itself, as an ordinary function with the documented
// parameters.
func clientTool(t *messages.Tool) (Tool, bool) {
	f := Tool{Name: t.Name, Cache: t.Cache}
	switch family(t.Type) {
	case "bash":
		f.Description = messages.Quote("Run a command in a persistent bash session and return its output.")
		f.Schema = jsontext.Value(`{"type":"object","properties":{"command":{"type":"string","description":"The bash command to run. Required unless restarting."},"restart":{"type":"boolean","description":"Set to true to restart the session."}}}`)
	case "text_editor":
		undo := ""
		if t.Name == "str_replace_editor" {
			undo = `,"undo_edit"`
		}
		f.Description = messages.Quote("View, create and edit text files.")
		f.Schema = jsontext.Value(`{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert"` + undo + `],"description":"What to do."},"path":{"type":"string","description":"Absolute path of the file or directory."},"file_text":{"type":"string","description":"The content of the file, for create."},"old_str":{"type":"string","description":"The text to replace; it must match exactly once. For str_replace."},"new_str":{"type":"string","description":"The new text, for str_replace and insert."},"insert_line":{"type":"integer","description":"The line after which to insert, 0 for the beginning."},"insert_text":{"type":"string","description":"The text to insert."},"view_range":{"type":"array","items":{"type":"integer"},"description":"First and last line to view; -1 is the end of the file."}},"required":["command","path"]}`)
	case "memory":
		f.Description = messages.Quote("Read and write memory files under /memories that last between conversations.")
		f.Schema = jsontext.Value(`{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","delete","rename"],"description":"What to do."},"path":{"type":"string","description":"Path under /memories."},"view_range":{"type":"array","items":{"type":"integer"}},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},"insert_line":{"type":"integer"},"insert_text":{"type":"string"},"old_path":{"type":"string"},"new_path":{"type":"string"}},"required":["command"]}`)
	default:
		return f, false
	}
	return f, true
}
