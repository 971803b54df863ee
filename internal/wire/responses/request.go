package responses

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// Job is one translated request, and the way to read its answer.
type Job struct {
	body   []byte
	notes  wire.Notes
	quirks Quirks
	engine *wire.Engine
	stops  []string // stop sequences, which are looked for here
}

var _ wire.Job = (*Job)(nil)

// minOutput is the smallest output limit that the API takes.
const minOutput = 16

// maxCallID is the longest call id that OpenAI takes.
const maxCallID = 64

// Encode translates one request for the model. The errors are *fault.Error of kind Invalid and name the field that this
// target cannot honour.
func Encode(c *messages.Conversation, model string, q Quirks) (*Job, error) {
	rules := wire.Rules{
		ResultImages:  true,
		ResultFiles:   true,
		Files:         true,
		FileNames:     true,
		FileURLs:      true,
		ImageURLs:     true,
		SystemInPlace: q.SystemInPlace,
		Reasoning:     true,
		Ordered:       true,
		LegalName:     wire.OpenAIName,
		Strict:        q.Strict,
	}
	switch {
	case q.MaxCallID > 0:
		rules.CallID = wire.ShortID(q.MaxCallID)
	case q.ShortCallIDs:
		rules.CallID = wire.ShortID(maxCallID)
	}
	p, err := wire.Prepare(c, rules)
	if err != nil {
		return nil, err
	}
	e := &encoder{c: c, p: p, q: &q, j: wire.NewJSON(size(c)), model: model, known: wire.ReadOpenAIModel(model), notes: p.Notes}
	e.request()
	if q.Strict {
		if err := e.notes.Refuse(); err != nil {
			return nil, err
		}
	}
	echoed := c.Model
	if echoed == "" {
		echoed = strings.TrimPrefix(q.Provider+"/"+model, "/")
	}
	j := &Job{body: e.j.Bytes(), notes: e.notes, quirks: q}
	for _, s := range c.StopSequences {
		if s != "" {
			j.stops = append(j.stops, s)
		}
	}
	j.engine = wire.NewEngine(wire.EngineOptions{Model: echoed, IDs: p.IDs, CallerName: p.CallerName})
	return j, nil
}

// Body is the translated request.
func (j *Job) Body() []byte { return j.body }

// Notes says what could not be carried.
func (j *Job) Notes() wire.Notes { return j.notes }

// Usage is what the upstream reported; final once the answer has ended.
func (j *Job) Usage() messages.Usage { return j.engine.Total() }

// size is about how long the body will be, so that it is mostly allocated once.
func size(c *messages.Conversation) int {
	n := 1024 + len(c.Schema)
	for i := range c.System {
		n += len(c.System[i].Text) + 64
	}
	for i := range c.Messages {
		n += 96
		for k := range c.Messages[i].Content {
			b := &c.Messages[i].Content[k]
			n += max(len(b.Raw), len(b.Text)) + 96
		}
	}
	for i := range c.Tools {
		n += len(c.Tools[i].Raw) + 96
	}
	return n
}

type encoder struct {
	c       *messages.Conversation
	p       *wire.Prepared
	q       *Quirks
	j       *wire.JSON
	model   string
	known   wire.OpenAIModel
	notes   wire.Notes
	scratch []byte
}

func (e *encoder) request() {
	j, c := e.j, e.c
	j.Obj()
	j.Key("model")
	j.Str(e.model)
	j.Key("store") // nothing of a conversation stays at the provider
	j.Bool(false)
	if text := wire.JoinText(e.p.System, "\n\n"); !text.Empty() {
		j.Key("instructions")
		j.Lit(text)
	}
	e.input()
	e.tools()
	j.Key("max_output_tokens")
	if c.MaxTokens < minOutput {
		e.notes.Approximate("max_tokens")
		j.Int(minOutput)
	} else {
		j.Int(e.q.Limit(c.MaxTokens, &e.notes))
	}
	reasons := e.thinking()
	e.sampling(reasons)
	e.format()
	if c.UserID != "" {
		sum := sha256.Sum256([]byte(c.UserID)) // it may hold an account; the provider only has to tell users apart
		j.Key("safety_identifier")
		j.Str(hex.EncodeToString(sum[:]))
	}
	if c.Stream {
		j.Key("stream")
		j.Bool(true)
	}
	j.End()
}

func (e *encoder) input() {
	j := e.j
	j.Key("input")
	j.Arr()
	for i := range e.p.Turns {
		switch t := &e.p.Turns[i]; t.Role {
		case messages.RoleAssistant:
			e.assistant(t)
		case messages.RoleSystem:
			e.message("developer", t.Parts, "")
		default:
			for k := range t.Results {
				e.result(&t.Results[k])
			}
			e.message("user", t.Parts, "")
		}
	}
	j.EndArr()
}

// message writes a message item; none when it says nothing.
func (e *encoder) message(role string, parts []wire.Part, phase string) {
	if len(parts) == 0 {
		return
	}
	j := e.j
	e.item("message")
	j.Key("role")
	j.Str(role)
	if phase != "" {
		j.Key("phase")
		j.Str(phase)
	}
	text := "input_text"
	if role == "assistant" {
		text = "output_text"
	}
	j.Key("content")
	e.parts(parts, text)
	j.End()
}

// item begins an item of a type.
func (e *encoder) item(kind string) {
	e.j.Obj()
	e.j.Key("type")
	e.j.Str(kind)
}

// assistant writes what the assistant said as items in their order. A reasoning item stands directly before the item it led to;
// one that led to nothing that is still there would be refused, and stays here.
func (e *encoder) assistant(t *wire.Turn) {
	var led [][]byte // reasoning items that wait for the item they led to
	phase := e.phase(t)
	for i := 0; i < len(t.Order); i++ {
		at := t.Order[i]
		if at.Kind == wire.ThinkingItem {
			switch item := e.q.unpack(t.Thinking[at.N].Signature); {
			case item == nil:
			case e.q.NoState, e.q.NoThinking:
				e.notes.Drop("thinking")
			default:
				led = append(led, item)
			}
			continue
		}
		for _, item := range led {
			e.j.Raw(item)
		}
		led = led[:0]
		if at.Kind == wire.CallItem {
			e.call(&t.Calls[at.N])
			continue
		}
		first := at.N // texts in a row are one message
		for i+1 < len(t.Order) && t.Order[i+1].Kind == wire.PartItem {
			i++
		}
		e.message("assistant", t.Parts[first:t.Order[i].N+1], phase)
	}
}

// phase is the mark of a turn's texts. The API defines it by the place: what ends the turn is the answer, what stands beside
// calls is commentary.
func (e *encoder) phase(t *wire.Turn) string {
	switch {
	case !e.q.Phases || !e.known.Phases:
		return ""
	case len(t.Calls) > 0:
		return "commentary"
	}
	return "final_answer"
}

func (e *encoder) call(c *wire.Call) {
	j := e.j
	e.item("function_call")
	j.Key("call_id")
	j.Str(c.ID)
	j.Key("name")
	j.Str(c.Name)
	j.Key("arguments")
	j.Str(messages.View(c.Input).Raw) // a JSON text inside a JSON string, spelled as the caller spelled it
	j.End()
}

func (e *encoder) result(r *wire.Result) {
	j := e.j
	e.item("function_call_output")
	j.Key("call_id")
	j.Str(r.ID)
	j.Key("output")
	if r.Parts == nil {
		j.Lit(r.Text)
	} else {
		e.parts(r.Parts, "input_text")
	}
	j.End()
}

// parts writes a list of content parts; text is the type of those that are text.
func (e *encoder) parts(parts []wire.Part, text string) {
	j := e.j
	j.Arr()
	for i := range parts {
		p := &parts[i]
		switch p.Kind {
		case wire.ImagePart:
			e.item("input_image")
			j.Key("detail")
			j.Str("auto")
			j.Key("image_url")
			e.address(&p.Source)
		case wire.FilePart:
			e.item("input_file")
			if p.Source.Type == "url" {
				j.Key("file_url")
				e.address(&p.Source)
				break
			}
			j.Key("filename")
			if p.Title.Empty() {
				j.Str("document.pdf")
			} else {
				j.Lit(p.Title)
			}
			j.Key("file_data")
			e.address(&p.Source)
		default:
			e.item(text)
			j.Key("text")
			j.Lit(p.Text)
		}
		j.End()
	}
	j.EndArr()
}

// address writes where the bytes of a source are, or the bytes as a data URL.
func (e *encoder) address(s *messages.Source) {
	if s.Type == "url" {
		e.j.Lit(s.URL)
		return
	}
	e.scratch = messages.AppendQuote(e.scratch[:0], "data:"+s.MediaType+";base64,")
	e.scratch = s.Data.AppendInner(e.scratch[:len(e.scratch)-1])
	e.j.Raw(append(e.scratch, '"'))
}

func (e *encoder) tools() {
	j, choice := e.j, e.p.Choice
	if len(e.p.Tools) == 0 {
		return
	}
	j.Key("tools")
	j.Arr()
	for i := range e.p.Tools {
		t := &e.p.Tools[i]
		e.item("function")
		j.Key("name")
		j.Str(t.Name)
		if !t.Description.Empty() {
			j.Key("description")
			j.Lit(t.Description)
		}
		parameters, notes := wire.Schema(t.Schema, wire.OpenAISchemas)
		for _, n := range notes {
			if n.Kind == wire.Dropped {
				e.notes.Drop(n.Field)
			} else {
				e.notes.Approximate(n.Field)
			}
		}
		j.Key("parameters")
		j.Raw(parameters)
		j.Key("strict") // its default here is true, for which no agent's schema was written
		j.Bool(false)
		j.End()
	}
	j.EndArr()
	switch choice.Type {
	case "auto", "none":
		j.Key("tool_choice")
		j.Str(choice.Type)
	case "any":
		j.Key("tool_choice")
		j.Str("required")
	case "tool":
		j.Key("tool_choice")
		e.item("function")
		j.Key("name")
		j.Str(choice.Name)
		j.End()
	}
	if choice.NoParallel {
		j.Key("parallel_tool_calls")
		j.Bool(false)
	}
}

// thinking asks for reasoning, and for its state, without which a tool loop would forget it at every step. It reports whether
// the model will be one that reasons. A model of OpenAI's that is known not to reason would refuse to be asked; one that nobody
// here knows is asked when the caller asks.
func (e *encoder) thinking() (reasons bool) {
	t, effort := e.c.Thinking, e.c.Effort
	off := t.Type == "disabled" // it wins over an effort
	if off {
		if effort != "" {
			e.notes.Drop("output_config.effort")
		}
		effort = ""
	} else if effort == "" && t.On() {
		effort = wire.EffortOf(t.Budget)
	}
	if e.known.Known && !e.known.Reasons || e.q.NoThinking {
		if t.On() {
			e.notes.Drop("thinking")
		}
		if e.c.Effort != "" && !off {
			e.notes.Drop("output_config.effort")
		}
		return false
	}
	if !e.known.Reasons && effort == "" {
		return false
	}
	j := e.j
	switch {
	case off:
		if e.known.Least != "none" {
			e.notes.Approximate("thinking")
		}
		j.Key("reasoning")
		j.Obj()
		j.Key("effort")
		j.Str(e.known.Least)
		j.End()
	case effort != "":
		if t.Budget > 0 {
			e.notes.Approximate("thinking.budget_tokens") // a level was made of it
		}
		sent, exact := e.known.Effort(effort)
		if !exact {
			e.notes.Approximate("output_config.effort")
		}
		j.Key("reasoning")
		j.Obj()
		j.Key("effort")
		j.Str(sent)
		switch {
		case t.Display == "omitted":
		case e.q.NoSummary:
			e.notes.Approximate("thinking") // it thinks, and shows nothing of it
		default:
			j.Key("summary")
			j.Str("auto")
		}
		j.End()
	}
	j.Key("include")
	j.Arr()
	j.Str("reasoning.encrypted_content")
	j.EndArr()
	return true
}

// sampling writes temperature and top_p, which models that reason refuse. There is no top_k; stop sequences are looked for in
// the answer.
func (e *encoder) sampling(reasons bool) {
	number := func(name, value string) {
		switch {
		case value == "":
		case reasons:
			e.notes.Drop(name)
		default:
			e.j.Key(name)
			e.j.Raw([]byte(value))
		}
	}
	number("temperature", e.c.Temperature)
	number("top_p", e.c.TopP)
	if e.c.TopK != "" {
		e.notes.Drop("top_k")
	}
}

// format asks for JSON of a schema. strict only where the schema was written for it: else every request would be refused.
func (e *encoder) format() {
	if e.c.Schema == nil {
		return
	}
	j := e.j
	j.Key("text")
	j.Obj()
	j.Key("format")
	e.item("json_schema")
	j.Key("name")
	j.Str("output")
	j.Key("schema")
	j.Raw(e.c.Schema)
	j.Key("strict")
	j.Bool(wire.StrictSchema(e.c.Schema))
	j.End()
	j.End()
}
