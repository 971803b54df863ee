package openaichat

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// Job is one translated request, and the way to read its answer.
type Job struct {
	body   []byte
	notes  wire.Notes
	quirks Quirks
	engine *wire.Engine
	stops  []string // stop sequences as the caller asked for them
	opts   wire.EngineOptions
}

var _ wire.Job = (*Job)(nil)

// Encode translates one request for the model. The errors are *fault.Error of kind Invalid and name the field that this
// target cannot honour.
func Encode(c *messages.Conversation, model string, q Quirks) (*Job, error) {
	if q.Reasoning && q.ReasoningBack == "" {
		q.ReasoningBack = "reasoning_content"
	}
	p, err := wire.Prepare(c, wire.Rules{
		Files:         !q.NoFiles,
		FileNames:     true,
		ImageURLs:     true,
		SystemInPlace: q.SystemInPlace,
		Reasoning:     q.ReasoningBack != "",
		LegalName:     wire.OpenAIName,
		CallID:        q.callID(),
		Strict:        q.Strict,
	})
	if err != nil {
		return nil, err
	}
	e := &encoder{c: c, p: p, model: model, q: &q, notes: p.Notes, caches: q.caches(model)}
	if q.Think == "openai" {
		e.reasoner = wire.ReadOpenAIModel(model)
	}
	e.j = wire.NewJSON(e.size())
	if err := e.request(); err != nil {
		return nil, err
	}
	if q.Strict {
		if err := e.notes.Refuse(); err != nil {
			return nil, err
		}
	}
	echoed := c.Model
	if echoed == "" {
		echoed = strings.TrimPrefix(q.Provider+"/"+model, "/")
	}
	j := &Job{body: e.j.Bytes(), notes: e.notes, quirks: q, stops: c.StopSequences,
		opts: wire.EngineOptions{Model: echoed, IDs: p.IDs, CallerName: p.CallerName, Tools: p.ToolNames()}}
	j.opts.TextTools(q.TextTools, p, c, &j.notes)
	j.engine = wire.NewEngine(j.opts)
	return j, nil
}

// Body is the translated request.
func (j *Job) Body() []byte { return j.body }

// Notes says what could not be carried.
func (j *Job) Notes() wire.Notes { return j.notes }

// Usage is what the upstream reported; final once the answer has ended.
func (j *Job) Usage() messages.Usage { return j.engine.Total() }

type encoder struct {
	c        *messages.Conversation
	p        *wire.Prepared
	j        *wire.JSON
	q        *Quirks
	model    string
	notes    wire.Notes
	reasoner wire.OpenAIModel
	caches   bool
	scratch  []byte

	behindResults bool // the newest message is a result
}

// size is about how long the body will be, so that it is allocated once.
func (e *encoder) size() int {
	n := 1024 + len(e.c.Schema)
	for i := range e.p.System {
		n += len(e.p.System[i].Text) + 64
	}
	for i := range e.p.Turns {
		t := &e.p.Turns[i]
		n += 64
		for k := range t.Results {
			n += len(t.Results[k].Text) + 96
		}
		for k := range t.Parts {
			n += len(t.Parts[k].Text) + len(t.Parts[k].Source.Data) + 96
		}
		for k := range t.Calls {
			n += len(t.Calls[k].Input)*9/8 + 160
		}
		for k := range t.Thinking {
			n += len(t.Thinking[k].Signature) + len(t.Thinking[k].Thinking)
		}
	}
	for i := range e.p.Tools {
		n += len(e.p.Tools[i].Schema) + len(e.p.Tools[i].Description) + 160
	}
	return n
}

func (e *encoder) request() error {
	j := e.j
	j.Obj()
	j.Key("model")
	j.Str(e.model)
	e.messages()
	e.tools()
	j.Key(e.limitField())
	j.Int(e.q.Limit(e.c.MaxTokens, &e.notes))
	if err := e.sampling(); err != nil {
		return err
	}
	e.thinking()
	e.format()
	if e.c.UserID != "" && e.q.SafetyIdentifier {
		sum := sha256.Sum256([]byte(e.c.UserID)) // it may hold an account; the provider only has to tell users apart
		j.Key("safety_identifier")
		j.Str(hex.EncodeToString(sum[:]))
	}
	if e.c.Stream {
		j.Key("stream")
		j.Bool(true)
		if !e.q.NoStreamUsage {
			j.Key("stream_options")
			j.Raw([]byte(`{"include_usage":true}`))
		}
	}
	j.End()
	return nil
}

func (e *encoder) limitField() string {
	if e.reasoner.Reasons || e.q.MaxCompletion {
		return "max_completion_tokens"
	}
	return e.q.maxTokensField()
}

func (e *encoder) messages() {
	j := e.j
	j.Key("messages")
	j.Arr()
	if len(e.p.System) > 0 {
		j.Obj()
		e.role("system")
		e.content(e.p.System)
		j.End()
	}
	for i := range e.p.Turns {
		switch t := &e.p.Turns[i]; t.Role {
		case messages.RoleAssistant:
			e.assistant(t, i == len(e.p.Turns)-1)
		default:
			e.user(t)
		}
	}
	j.EndArr()
}

func (e *encoder) role(r string) {
	e.j.Key("role")
	e.j.Str(r)
}

// user writes the results first, each as a message of its own, then whatever else the turn says.
func (e *encoder) user(t *wire.Turn) {
	j := e.j
	for i := range t.Results {
		j.Obj()
		e.role("tool")
		j.Key("tool_call_id")
		j.Str(t.Results[i].ID)
		j.Key("content")
		j.Lit(t.Results[i].Text)
		j.End()
	}
	e.behindResults = e.behindResults || len(t.Results) > 0
	if len(t.Parts) > 0 {
		if e.behindResults && e.q.Bridge {
			e.bridge()
		}
		e.behindResults = false
		j.Obj()
		e.role(t.Role)
		e.content(t.Parts)
		j.End()
	}
}

// bridge writes what the assistant might have said between results and the user's next words.
func (e *encoder) bridge() {
	e.notes.Approximate("tool_result")
	e.j.Obj()
	e.role("assistant")
	e.j.Key("content")
	e.j.Str("I have the results.")
	e.j.End()
}

func (e *encoder) assistant(t *wire.Turn, last bool) {
	if len(t.Parts)+len(t.Calls) == 0 {
		return // thinking alone is no message
	}
	e.behindResults = false
	j := e.j
	j.Obj()
	e.role("assistant")
	if len(t.Parts) > 0 {
		e.content(t.Parts)
	} else {
		j.Key("content")
		j.Null()
	}
	e.reasoningBack(t)
	if len(t.Calls) > 0 {
		j.Key("tool_calls")
		j.Arr()
		for i := range t.Calls {
			call := &t.Calls[i]
			j.Obj()
			j.Key("id")
			j.Str(call.ID)
			j.Key("type")
			j.Str("function")
			j.Key("function")
			j.Obj()
			j.Key("name")
			j.Str(call.Name)
			j.Key("arguments")
			j.Str(messages.View(call.Input).Raw) // a JSON text inside a JSON string, spelled as the caller spelled it
			j.End()
			j.End()
		}
		j.EndArr()
	} else if last && e.q.Prefix {
		j.Key("prefix")
		j.Bool(true)
	}
	j.End()
}

// reasoningBack gives a provider the reasoning of an earlier turn back, where it has a place for it.
func (e *encoder) reasoningBack(t *wire.Turn) {
	switch e.q.ReasoningBack {
	case "reasoning_content":
		if len(t.Calls) == 0 {
			return
		}
		parts := make([]wire.Part, 0, len(t.Thinking))
		for i := range t.Thinking {
			if b := &t.Thinking[i]; !b.Thinking.Empty() {
				parts = append(parts, wire.Part{Text: b.Thinking})
			}
		}
		// In thinking mode a turn with calls must have the member, even when its reasoning was some other model's and is gone.
		if len(parts) > 0 || e.c.Thinking.On() || e.q.Reasoning {
			e.j.Key("reasoning_content")
			e.j.Lit(wire.JoinText(parts, "\n\n"))
		}
	case "reasoning_details":
		var list []byte
		for i := range t.Thinking {
			if inside := unpack(t.Thinking[i].Signature); inside != nil && e.q.NoState {
				e.notes.Drop("thinking")
			} else if inside != nil {
				if list != nil {
					list = append(list, ',')
				}
				list = append(list, inside...)
			}
		}
		if list != nil {
			e.j.Key("reasoning_details")
			e.j.Arr()
			e.j.Raw(list)
			e.j.EndArr()
		}
	}
}

// content writes the content of a message: one string where there is only text, which every server takes, else parts in their
// order.
func (e *encoder) content(parts []wire.Part) {
	j := e.j
	j.Key("content")
	plain := true
	for i := range parts {
		plain = plain && parts[i].Kind == wire.TextPart && !(e.caches && parts[i].Cache != nil)
	}
	if plain {
		j.Lit(wire.JoinText(parts, "\n\n"))
		return
	}
	j.Arr()
	for i := range parts {
		e.part(&parts[i])
	}
	j.EndArr()
}

func (e *encoder) part(p *wire.Part) {
	j := e.j
	j.Obj()
	j.Key("type")
	switch p.Kind {
	case wire.ImagePart:
		j.Str("image_url")
		j.Key("image_url")
		j.Obj()
		j.Key("url")
		if p.Source.Type == "url" {
			j.Lit(p.Source.URL)
		} else {
			e.dataURL(&p.Source)
		}
		j.End()
	case wire.FilePart:
		j.Str("file")
		j.Key("file")
		j.Obj()
		j.Key("filename")
		if p.Title.Empty() {
			j.Str("document.pdf")
		} else {
			j.Lit(p.Title)
		}
		j.Key("file_data")
		e.dataURL(&p.Source)
		j.End()
	default:
		j.Str("text")
		j.Key("text")
		j.Lit(p.Text)
	}
	if e.caches && p.Cache != nil {
		j.Key("cache_control")
		j.Raw(p.Cache)
	}
	j.End()
}

func (e *encoder) dataURL(s *messages.Source) {
	e.scratch = messages.AppendQuote(e.scratch[:0], "data:"+s.MediaType+";base64,")
	e.scratch = s.Data.AppendInner(e.scratch[:len(e.scratch)-1])
	e.j.Raw(append(e.scratch, '"'))
}

func (e *encoder) tools() {
	j, choice := e.j, e.p.Choice
	if len(e.p.Tools) == 0 {
		return // an empty list is refused by the API
	}
	j.Key("tools")
	j.Arr()
	for i := range e.p.Tools {
		t := &e.p.Tools[i]
		j.Obj()
		j.Key("type")
		j.Str("function")
		j.Key("function")
		j.Obj()
		j.Key("name")
		j.Str(t.Name)
		if !t.Description.Empty() {
			j.Key("description")
			j.Lit(t.Description)
		}
		parameters, notes := wire.Schema(t.Schema, wire.OpenAISchemas)
		for _, n := range notes {
			e.note(n)
		}
		j.Key("parameters")
		j.Raw(parameters)
		j.End()
		j.End()
	}
	j.EndArr()
	switch choice.Type {
	case "auto", "none":
		j.Key("tool_choice")
		j.Str(choice.Type)
	case "any":
		j.Key("tool_choice")
		if e.q.ToolChoiceAny != "" {
			j.Str(e.q.ToolChoiceAny)
		} else {
			j.Str("required")
		}
	case "tool":
		j.Key("tool_choice")
		j.Obj()
		j.Key("type")
		j.Str("function")
		j.Key("function")
		j.Obj()
		j.Key("name")
		j.Str(choice.Name)
		j.End()
		j.End()
	}
	if choice.NoParallel {
		if e.q.NoParallelToolCalls {
			e.notes.Drop("tool_choice.disable_parallel_tool_use")
		} else {
			j.Key("parallel_tool_calls")
			j.Bool(false)
		}
	}
}

func (e *encoder) note(n wire.Note) {
	if n.Kind == wire.Dropped {
		e.notes.Drop(n.Field)
	} else {
		e.notes.Approximate(n.Field)
	}
}

// sampling writes temperature, top_p, top_k and stop. Reasoning models of OpenAI refuse all of them.
func (e *encoder) sampling() error {
	j, c := e.j, e.c
	number := func(name, value string) {
		switch {
		case value == "":
		case e.reasoner.Reasons, e.q.NoSampling && name != "top_k":
			e.notes.Drop(name)
		default:
			j.Key(name)
			j.Raw([]byte(value))
		}
	}
	number("temperature", c.Temperature)
	number("top_p", c.TopP)
	if c.TopK != "" {
		if e.q.TopK {
			number("top_k", c.TopK)
		} else {
			e.notes.Drop("top_k")
		}
	}
	if len(c.StopSequences) == 0 {
		return nil
	}
	if e.reasoner.Reasons {
		e.notes.Drop("stop_sequences")
		return nil
	}
	if limit := e.q.maxStop(); limit > 0 && len(c.StopSequences) > limit {
		return fault.New(fault.Invalid, "stop_sequences: this target takes at most %d, the request has %d", limit, len(c.StopSequences))
	}
	j.Key("stop")
	j.Arr()
	for _, s := range c.StopSequences {
		j.Str(s)
	}
	j.EndArr()
	return nil
}

// thinking asks for reasoning in the server's own way, or notes that it has none.
func (e *encoder) thinking() {
	t, effort := e.c.Thinking, e.c.Effort
	if t.Type == "disabled" {
		if effort != "" {
			e.notes.Drop("output_config.effort") // off wins: both together are refused by some
		}
		effort = ""
	} else if effort == "" && t.On() {
		effort = wire.EffortOf(t.Budget)
	}
	switch e.q.Think {
	case "openai":
		e.thinkOpenAI(effort)
	case "effort":
		if e.takesEffort() {
			if effort != "" {
				e.aboutBudget()
				e.effort(e.atMost(effort, "high"))
			} else if t.Type == "disabled" {
				e.notes.Approximate("thinking")
			}
			return
		}
		e.cannotThink()
	case "type":
		if t.Type != "" || effort != "" {
			kind := "enabled"
			if t.Type == "disabled" {
				kind = "disabled"
			}
			e.j.Key("thinking")
			e.j.Obj()
			e.j.Key("type")
			e.j.Str(kind)
			e.j.End()
		}
		if e.c.Effort != "" && effort != "" {
			e.effort(e.atMost(effort, "high"))
		}
		e.aboutBudget()
	case "template":
		if t.Type != "" || effort != "" {
			e.j.Key("chat_template_kwargs")
			e.j.Obj()
			e.j.Key("enable_thinking")
			e.j.Bool(t.Type != "disabled")
			e.j.End()
		}
		if e.c.Effort != "" && effort != "" {
			e.notes.Approximate("output_config.effort")
		}
		e.aboutBudget()
	case "openrouter":
		e.thinkOpenRouter(effort)
	default:
		e.cannotThink()
	}
}

// aboutBudget notes that a number of tokens became a level, or only the wish to think.
func (e *encoder) aboutBudget() {
	if e.c.Thinking.Budget > 0 {
		e.notes.Approximate("thinking.budget_tokens")
	}
}

// cannotThink notes what the target has no word for. Thinking that is switched off is what it does anyway.
func (e *encoder) cannotThink() {
	if e.c.Thinking.On() {
		e.notes.Drop("thinking")
	}
	if e.c.Effort != "" && e.c.Thinking.Type != "disabled" {
		e.notes.Drop("output_config.effort")
	}
}

func (e *encoder) takesEffort() bool {
	if len(e.q.EffortModels) == 0 {
		return true
	}
	for _, m := range e.q.EffortModels {
		if strings.Contains(e.model, m) {
			return true
		}
	}
	return false
}

// levels are the efforts from little to much.
var levels = [...]string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}

func level(effort string) int {
	for i, l := range levels {
		if l == effort {
			return i
		}
	}
	return -1
}

// atMost is the effort, or the most that the target knows, with a note.
func (e *encoder) atMost(effort, most string) string {
	switch at := level(effort); {
	case at < 0: // a level of the future: the caller wants it, the target would refuse it
		e.notes.Approximate("output_config.effort")
		return "high"
	case at > level(most):
		e.notes.Approximate("output_config.effort")
		return most
	}
	return effort
}

func (e *encoder) effort(effort string) {
	e.j.Key("reasoning_effort")
	e.j.Str(effort)
}

func (e *encoder) thinkOpenAI(effort string) {
	r := e.reasoner
	if !r.Reasons {
		e.cannotThink()
		return
	}
	if r.NoEffort && len(e.p.Tools) > 0 {
		if e.c.Thinking.On() {
			e.notes.Drop("thinking")
		}
		if e.c.Effort != "" {
			e.notes.Drop("output_config.effort")
		}
		e.effort("none") // these models refuse tools beside any other effort, the default one included
		return
	}
	switch {
	case e.c.Thinking.Type == "disabled":
		if r.Least != "none" {
			e.notes.Approximate("thinking")
		}
		e.effort(r.Least)
	case effort != "":
		e.aboutBudget()
		sent, exact := r.Effort(effort)
		if !exact {
			e.notes.Approximate("output_config.effort")
		}
		e.effort(sent)
	}
}

// thinkOpenRouter writes the reasoning object, in which an effort and a budget exclude each other.
func (e *encoder) thinkOpenRouter(effort string) {
	t := e.c.Thinking
	if t.Type == "" && effort == "" {
		return
	}
	j := e.j
	j.Key("reasoning")
	j.Obj()
	switch {
	case t.Type == "disabled":
		j.Key("enabled")
		j.Bool(false)
	case t.Budget > 0:
		j.Key("max_tokens")
		j.Int(t.Budget)
		if e.c.Effort != "" {
			e.notes.Approximate("output_config.effort")
		}
	case e.c.Effort != "":
		j.Key("effort")
		j.Str(e.atMost(effort, "xhigh"))
	default:
		j.Key("enabled")
		j.Bool(true)
	}
	j.End()
}

// format asks for JSON of a schema. strict only where the schema was written for it: else every request would be refused.
func (e *encoder) format() {
	if e.c.Schema == nil {
		return
	}
	if e.q.NoJSONSchema {
		e.notes.Drop("output_config.format")
		return
	}
	j := e.j
	j.Key("response_format")
	j.Obj()
	j.Key("type")
	j.Str("json_schema")
	j.Key("json_schema")
	j.Obj()
	j.Key("name")
	j.Str("output")
	j.Key("schema")
	j.Raw(e.c.Schema)
	j.Key("strict")
	j.Bool(wire.StrictSchema(e.c.Schema))
	j.End()
	j.End()
}
