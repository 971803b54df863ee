package ollamachat

import (
	"strings"

	"github.com/tidwall/gjson"

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

// An answer that has to be JSON while tools are offered is the same from the other side: sampled by that schema alone a model could
// never call. So the format is the schema with the calls as alternatives.

// force decides whether the tool choice can be made a format.
func (j *Job) force(c *messages.Conversation) {
	t := j.prep.Choice.Type
	if len(j.prep.Tools) > 0 && c.Schema != nil && (t == "" || t == "auto") {
		if j.beside = !j.opts.NoForce && leavesRoom(c.Schema); !j.beside {
			j.notes.Approximate("tools") // they are shown, and cannot be called
		}
		return
	}
	if j.opts.NoForce || t != "any" && t != "tool" {
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

// leavesRoom reports whether calls can stand beside the objects that a schema describes: it has no alternatives of its own, and
// says enough of them that none of them is a call.
func leavesRoom(schema []byte) bool {
	v := messages.View(schema)
	if v.Get("type").Str != "object" {
		return false
	}
	for _, word := range [...]string{"anyOf", "oneOf", "$ref"} {
		if v.Get(gjson.Escape(word)).Exists() {
			return false
		}
	}
	p := v.Get("properties")
	return p.Get("@keys.0").Exists() && !(p.Get("name").Exists() && p.Get("arguments").Exists())
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
		w.calls(w.forced)
		w.EndArr()
		w.End()
	case w.beside:
		// The server reads the alternatives and passes over what stands beside them, but finds there what they refer to.
		w.Key("format")
		w.Obj()
		messages.View(c.Schema).ForEach(func(k, v gjson.Result) bool {
			w.Key(k.Str)
			w.Raw([]byte(v.Raw))
			return true
		})
		w.Key("anyOf")
		w.Arr()
		w.Raw(c.Schema)
		w.calls(w.prep.Tools)
		w.EndArr()
		w.End()
	case c.Schema != nil:
		w.Key("format")
		w.Raw(c.Schema)
	}
}

// calls writes what calls of tools look like.
func (w writer) calls(tools []wire.Tool) {
	for i := range tools {
		w.Obj()
		w.Key("type")
		w.Str("object")
		w.Key("properties")
		w.Obj()
		w.Key("name")
		w.Obj()
		w.Key("const")
		w.Str(tools[i].Name)
		w.End()
		w.Key("arguments")
		w.schema(&tools[i])
		w.End()
		w.Key("required")
		w.Raw([]byte(`["name","arguments"]`))
		w.End()
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
	if len(j.forced) == 0 && !j.beside {
		j.answer.TextTools(j.opts.TextTools, j.prep, c, &j.notes)
		return
	}
	from := j.forced
	if j.beside {
		from = j.prep.Tools
	}
	o := textcall.Options{Forced: true}
	tools := make([]textcall.Tool, len(from))
	for i, t := range from {
		tools[i] = textcall.Tool{Name: t.Name, Schema: t.Schema}
	}
	if j.beside {
		j.answer.TextCalls = textcall.New(tools, o)
		return
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
