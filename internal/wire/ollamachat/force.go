package ollamachat

import (
	"strings"

	"signalbox/internal/messages"
	"signalbox/internal/textcall"
	"signalbox/internal/wire"
)

// A tool that must be called cannot be said to Ollama, but what it may answer can: with format it samples by a grammar made of a
// JSON schema. So the schema of the tool is the format, and the answer is its arguments. Where several tools may be called the
// format is a list of calls to choose from, name and arguments.
//
// Of some schemas (lookaheads in a pattern) the server can make no grammar, and says so before it does anything. It lets the
// grammar rest while a model thinks, and some of its models for the whole answer; an answer that is none of it is text, and the
// choice is noted as dropped. See the server's ChatHandler (structured outputs) and its tools.Parser, which passes JSON without a
// tag as content, or makes a proper call of it.

// force decides whether the tool choice can be made a format.
func (j *Job) force(c *messages.Conversation) {
	if t := j.prep.Choice.Type; j.opts.NoForce || t != "any" && t != "tool" {
		return
	}
	var offered []wire.Tool
	for _, t := range j.prep.Tools {
		if j.prep.Choice.Type == "any" || t.Name == j.prep.Choice.Name {
			offered = append(offered, t)
		}
	}
	j.forced = offered
	if c.Schema != nil {
		j.notes.Drop("output_config.format") // the call is the answer
	}
}

// format writes what the answer has to be.
func (w writer) format(c *messages.Conversation) {
	switch {
	case len(w.forced) == 1:
		w.Key("format")
		w.schema(&w.forced[0])
	case len(w.forced) > 1:
		w.Key("format")
		w.Obj()
		w.Key("anyOf")
		w.Arr()
		for i := range w.forced {
			w.Obj()
			w.Key("type")
			w.Str("object")
			w.Key("properties")
			w.Obj()
			w.Key("name")
			w.Obj()
			w.Key("const")
			w.Str(w.forced[i].Name)
			w.End()
			w.Key("arguments")
			w.schema(&w.forced[i])
			w.End()
			w.Key("required")
			w.Raw([]byte(`["name","arguments"]`))
			w.End()
		}
		w.EndArr()
		w.End()
	case c.Schema != nil:
		w.Key("format")
		w.Raw(c.Schema)
	}
}

// schema writes what the arguments of a tool have to be. The server makes no grammar of alternatives beside properties; the
// model is told of them in tools, and the answer is held against the whole schema.
func (w writer) schema(t *wire.Tool) {
	schema, _ := wire.Schema(t.Schema, wire.SchemaRules{EmptyItems: true, ObjectProperties: true, StripTop: true})
	w.Raw(schema)
}

// read sets up the reader of the answer.
func (j *Job) read(c *messages.Conversation) {
	j.answer = wire.EngineOptions{Model: j.asked, IDs: j.prep.IDs, CallerName: j.prep.CallerName}
	if len(j.forced) == 0 {
		j.answer.TextTools(j.opts.TextTools, j.prep, c, &j.notes)
		return
	}
	o := textcall.Options{Forced: true}
	tools := make([]textcall.Tool, len(j.forced))
	for i, t := range j.forced {
		tools[i] = textcall.Tool{Name: t.Name, Schema: t.Schema}
	}
	if len(tools) == 1 {
		o.Only = tools[0].Name
	}
	j.answer.TextCalls = textcall.New(tools, o)
	j.answer.Seen = func(bool) { j.called = true }
}

// free looks at the first text of an answer that should be a call. What can be none shows that no grammar holds; said now, it
// still reaches the head of a streamed answer.
func (j *Job) free(text messages.Literal) {
	if len(j.forced) == 0 || j.called || j.said {
		return
	}
	if first := strings.TrimSpace(text.Value()); first != "" {
		j.said = true
		if !strings.ContainsRune("{<[`", rune(first[0])) {
			j.notes.Drop("tool_choice")
		}
	}
}
