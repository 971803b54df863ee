package ollamachat

import (
	"strconv"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// Job is one translated request and the reader of its answer.
type Job struct {
	body  []byte
	notes wire.Notes
	prep  *wire.Prepared
	opts  Options
	model string // the upstream's
	asked string // the caller's word for it, echoed in the answer

	forced []wire.Tool // one of them must be called, and format says so
	beside bool        // any of them may be called in the place of an answer that has a format
	called bool
	said   bool // text has begun
	engine *wire.Engine
	answer wire.EngineOptions
}

// blind stands where an image was that the model cannot see. Ollama itself would put the text [img-0] into the prompt and say
// nothing; a refusal would end the session of an agent whose tool once read a picture.
const blind = "[an image was here; this model cannot see images]"

// Encode translates one request for a model. The errors are *fault.Error of kind Invalid and name the field.
func Encode(c *messages.Conversation, model string, o Options) (*Job, error) {
	p, err := wire.Prepare(c, wire.Rules{ResultImages: true, Reasoning: true, Strict: o.Strict})
	if err != nil {
		return nil, err
	}
	j := &Job{notes: p.Notes, prep: p, opts: o, model: model, asked: c.Model}
	if j.asked == "" {
		j.asked = o.provider() + "/" + model
	}
	j.force(c)
	w := writer{JSON: wire.NewJSON(capacity(c)), Job: j}
	w.request(c)
	j.body = w.Bytes()
	j.read(c)
	if o.Strict {
		if err := j.notes.Refuse(); err != nil {
			return nil, err
		}
	}
	return j, nil
}

// Body is the translated request.
func (j *Job) Body() []byte { return j.body }

// Notes says what could not be carried.
func (j *Job) Notes() wire.Notes { return j.notes }

// Usage is what the server reported; final once the answer has ended.
func (j *Job) Usage() messages.Usage {
	if j.engine == nil {
		return messages.Usage{}
	}
	return j.engine.Total()
}

// capacity is about as many bytes as the request will have, so that its body is mostly allocated once.
func capacity(c *messages.Conversation) int {
	n := 512
	for i := range c.System {
		n += len(c.System[i].Raw) + len(c.System[i].Text)
	}
	for i := range c.Messages {
		n += 64
		for k := range c.Messages[i].Content {
			b := &c.Messages[i].Content[k]
			n += max(len(b.Raw), len(b.Text)) + 64
		}
	}
	for i := range c.Tools {
		n += len(c.Tools[i].Raw) + 64
	}
	return n
}

type writer struct {
	*wire.JSON
	*Job
}

func (w writer) request(c *messages.Conversation) {
	w.Obj()
	w.Key("model")
	w.Str(w.model)
	w.Key("stream") // always said: the server's default is true
	w.Bool(c.Stream)
	w.think(c)
	// Without these the server drops old messages in front of the answer, or old tokens in the middle of it, in silence.
	w.Key("truncate")
	w.Bool(false)
	w.Key("shift")
	w.Bool(false)
	w.keepAlive()
	w.format(c)
	w.options(c)
	w.tools()
	w.Key("messages")
	w.Arr()
	w.system()
	for i := range w.prep.Turns {
		if t := &w.prep.Turns[i]; t.Role == messages.RoleAssistant {
			w.assistant(t)
		} else {
			w.user(t)
		}
	}
	w.EndArr()
	w.End()
}

// think is always said: a server that finds it missing lets the model think.
func (w writer) think(c *messages.Conversation) {
	w.Key("think")
	switch {
	case !c.Thinking.On():
		if c.Effort != "" {
			w.notes.Drop("output_config.effort")
		}
		w.Bool(false)
	case w.opts.Thinking == No:
		w.notes.Drop("thinking")
		w.Bool(false)
	case w.opts.Levels:
		w.Str(w.level(c))
	default:
		if c.Thinking.Budget > 0 {
			w.notes.Approximate("thinking.budget_tokens")
		}
		if c.Effort != "" {
			w.notes.Approximate("output_config.effort")
		}
		w.Bool(true)
	}
}

// level is how much to think. The words above high are newer than many servers, and none of its models knows them.
func (w writer) level(c *messages.Conversation) string {
	if c.Thinking.Budget > 0 {
		w.notes.Approximate("thinking.budget_tokens")
	}
	switch {
	case c.Effort == "low" || c.Effort == "medium" || c.Effort == "high":
		return c.Effort
	case c.Effort != "":
		w.notes.Approximate("output_config.effort")
		return "high"
	case c.Thinking.Budget == 0:
		return "medium" // what the models themselves take for their default
	}
	switch {
	case c.Thinking.Budget < 4096:
		return "low"
	case c.Thinking.Budget < 16384:
		return "medium"
	}
	return "high"
}

// keepAlive writes a plain number as a number: as a string the server would take it for a duration without a unit.
func (w writer) keepAlive() {
	v := w.opts.KeepAlive
	if v == "" {
		return
	}
	w.Key("keep_alive")
	if n, err := strconv.ParseInt(v, 10, 64); err == nil {
		w.Int(n)
		return
	}
	w.Str(v)
}

func (w writer) options(c *messages.Conversation) {
	w.Key("options")
	w.Obj()
	if w.opts.NumCtx > 0 {
		w.Key("num_ctx")
		w.Int(int64(w.opts.NumCtx))
	}
	w.Key("num_predict")
	w.Int(c.MaxTokens)
	number := func(key, value string) {
		if value != "" {
			w.Key(key)
			w.Raw([]byte(value))
		}
	}
	number("temperature", c.Temperature)
	number("top_p", c.TopP)
	number("top_k", c.TopK)
	if len(c.StopSequences) > 0 {
		w.Key("stop")
		w.Arr()
		for _, s := range c.StopSequences {
			w.Str(s)
		}
		w.EndArr()
	}
	w.End()
}

// tools writes what is offered. There is no tool_choice: none offers no tools, tool offers that one alone, and that it must
// be called is said by format, or lost.
func (w writer) tools() {
	choice := w.prep.Choice
	if len(w.prep.Tools) == 0 || choice.Type == "none" {
		return
	}
	if len(w.forced) == 0 && (choice.Type == "any" || choice.Type == "tool") {
		w.notes.Drop("tool_choice")
	}
	if choice.NoParallel && len(w.forced) == 0 {
		w.notes.Drop("tool_choice.disable_parallel_tool_use")
	}
	w.Key("tools")
	w.Arr()
	for i := range w.prep.Tools {
		t := &w.prep.Tools[i]
		if choice.Type == "tool" && t.Name != choice.Name {
			continue
		}
		schema, notes := wire.Schema(t.Schema, wire.SchemaRules{EmptyItems: true, ObjectProperties: true})
		w.add(notes)
		w.Obj()
		w.Key("type")
		w.Str("function")
		w.Key("function")
		w.Obj()
		w.Key("name")
		w.Str(t.Name)
		if !t.Description.Empty() {
			w.Key("description")
			w.Lit(t.Description)
		}
		w.Key("parameters")
		w.Raw(schema)
		w.End()
		w.End()
	}
	w.EndArr()
}

func (w writer) add(notes wire.Notes) {
	for _, n := range notes {
		if n.Kind == wire.Dropped {
			w.notes.Drop(n.Field)
		} else {
			w.notes.Approximate(n.Field)
		}
	}
}

func (w writer) system() {
	if text := wire.JoinText(w.prep.System, "\n\n"); !text.Empty() {
		w.open("system", text)
		w.End()
	}
}

// open begins a message. Its content is a string, always: a list of parts is a 400 here.
func (w writer) open(role string, content messages.Literal) {
	w.Obj()
	w.Key("role")
	w.Str(role)
	w.Key("content")
	w.Lit(content)
}

// user writes the results first, each as a message of its own, then everything else as one.
func (w writer) user(t *wire.Turn) {
	for i := range t.Results {
		r := &t.Results[i]
		text := r.Text
		if len(r.Images) > 0 && w.opts.Vision == No {
			text = w.blinded(text)
		}
		w.open("tool", text)
		w.images(r.Images)
		w.Key("tool_name")
		w.Str(r.Name)
		w.Key("tool_call_id")
		w.Str(r.ID)
		w.End()
	}
	if len(t.Parts) == 0 {
		return
	}
	var images []messages.Source
	for i := range t.Parts {
		if t.Parts[i].Kind == wire.ImagePart {
			images = append(images, t.Parts[i].Source)
		}
	}
	text := wire.JoinText(t.Parts, "\n\n")
	if len(images) > 0 && w.opts.Vision == No {
		text = w.blinded(text)
	}
	w.open("user", text)
	w.images(images)
	w.End()
}

func (w writer) blinded(text messages.Literal) messages.Literal {
	w.notes.Drop("image")
	return wire.JoinText([]wire.Part{{Text: text}, {Text: messages.Quote(blind)}}, "\n\n")
}

// images writes bare base64: no data URL, no media type.
func (w writer) images(sources []messages.Source) {
	if len(sources) == 0 || w.opts.Vision == No {
		return
	}
	w.Key("images")
	w.Arr()
	for i := range sources {
		w.Lit(sources[i].Data)
	}
	w.EndArr()
}

func (w writer) assistant(t *wire.Turn) {
	var thinking []wire.Part
	if w.opts.Thinking != No {
		for i := range t.Thinking {
			if text := t.Thinking[i].Thinking; !text.Empty() {
				thinking = append(thinking, wire.Part{Text: text})
			}
		}
	}
	if len(t.Parts)+len(t.Calls)+len(thinking) == 0 {
		return // an assistant who said nothing would end the turn for some templates
	}
	w.open("assistant", wire.JoinText(t.Parts, "\n\n"))
	if len(thinking) > 0 {
		w.Key("thinking")
		w.Lit(wire.JoinText(thinking, "\n\n"))
	}
	if len(t.Calls) > 0 {
		w.Key("tool_calls")
		w.Arr()
		for i := range t.Calls {
			c := &t.Calls[i]
			w.Obj()
			w.Key("id")
			w.Str(c.ID)
			w.Key("function")
			w.Obj()
			w.Key("name")
			w.Str(c.Name)
			w.Key("arguments") // an object; a string of JSON is a 400 here
			w.Raw(c.Input)
			w.End()
			w.End()
		}
		w.EndArr()
	}
	w.End()
}
