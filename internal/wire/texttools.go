package wire

import (
	"signalbox/internal/messages"
	"signalbox/internal/textcall"
)

// TextTools says whether tool calls that a model writes as text are looked for, and who wants to know how it calls.
type TextTools struct {
	On   bool
	Seen func(written bool) // told once an answer of its first proper call, and of its first written one; nil: nobody
}

// TextTools sets up the options of an engine so that written calls become real ones. Notes is where that is noted. They are
// looked for only where the caller offers tools and lets the model choose; of an answer that has to be JSON, JSON is no call.
func (o *EngineOptions) TextTools(t TextTools, p *Prepared, c *messages.Conversation, notes *Notes) {
	o.Seen = t.Seen
	if !t.On || len(p.Tools) == 0 || p.Choice.Type == "none" {
		return
	}
	tools := make([]textcall.Tool, len(p.Tools))
	for i := range p.Tools {
		tools[i] = textcall.Tool{Name: p.Tools[i].Name, Schema: p.Tools[i].Schema}
	}
	o.TextCalls = textcall.New(tools, textcall.Options{TaggedOnly: len(c.Schema) > 0})
	o.Seen = func(written bool) {
		if written {
			notes.Approximate("reply.text_tool_call")
		}
		if t.Seen != nil {
			t.Seen(written)
		}
	}
}
