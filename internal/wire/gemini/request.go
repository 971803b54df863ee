package gemini

import (
	"strconv"
	"strings"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// maxStop is how many stop sequences a request may have.
const maxStop = 5

// noState stands where Gemini 3 asks for the thoughtSignature of a call that another provider made, or that lost its own:
// Google documents it for histories that Gemini did not write. Without it the request is refused.
const noState = "skip_thought_signature_validator"

// Yields are the concessions that this dialect can make.
const Yields = wire.YieldState | wire.YieldStandIn

// Options is what the dialect must be told.
type Options struct {
	Provider string // name in errors
	wire.Concessions
	Strict bool // refuse what would be dropped
}

// Job is one translated request, and the way to read its answer.
type Job struct {
	body   []byte
	notes  wire.Notes
	o      Options
	engine *wire.Engine

	stated   bool // signatures of earlier turns went up
	unsigned bool // a step's first call went up without one
}

var _ wire.Job = (*Job)(nil)

// Encode translates one request for the model. The errors are *fault.Error of kind Invalid and name the field that this
// target cannot honour.
func Encode(c *messages.Conversation, model string, o Options) (*Job, error) {
	p, err := wire.Prepare(c, wire.Rules{Files: true, ImageURLs: true, Reasoning: true, Ordered: true, ErrorMember: true, LegalName: legalName, Strict: o.Strict})
	if err != nil {
		return nil, err
	}
	e := &encoder{c: c, p: p, model: model, notes: p.Notes, concessions: o.Concessions, numbered: map[string]bool{}}
	e.major, _, _ = version(model)
	e.j = wire.NewJSON(e.size())
	if err := e.request(); err != nil {
		return nil, err
	}
	if o.Strict {
		if err := e.notes.Refuse(); err != nil {
			return nil, err
		}
	}
	echoed := c.Model
	if echoed == "" {
		echoed = strings.TrimPrefix(o.Provider+"/"+model, "/")
	}
	return &Job{body: e.j.Bytes(), notes: e.notes, o: o, stated: e.stated, unsigned: e.unsigned,
		engine: wire.NewEngine(wire.EngineOptions{Model: echoed, IDs: p.IDs, CallerName: p.CallerName})}, nil
}

// Body is the translated request.
func (j *Job) Body() []byte { return j.body }

// Notes says what could not be carried.
func (j *Job) Notes() wire.Notes { return j.notes }

// Usage is what the upstream reported; final once the answer has ended.
func (j *Job) Usage() messages.Usage { return j.engine.Total() }

// legalName is the part of Gemini's rule for names that other servers of this dialect share.
func legalName(s string) bool {
	if s == "" || len(s) > 64 || !(s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z' || s[0] == '_') {
		return false
	}
	for i := 1; i < len(s); i++ {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

type encoder struct {
	c           *messages.Conversation
	p           *wire.Prepared
	j           *wire.JSON
	model       string
	major       int // generation of the model, 0 when its name does not say
	notes       wire.Notes
	concessions wire.Concessions
	numbered    map[string]bool // calls whose id is Gemini's own and goes back
	role        string          // of the content that is open

	stated, unsigned bool // as in Job
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
			n += len(t.Results[k].Text) + 128
		}
		for k := range t.Parts {
			n += len(t.Parts[k].Text) + len(t.Parts[k].Source.Data) + 96
		}
		for k := range t.Calls {
			n += len(t.Calls[k].Input) + 128
		}
		for k := range t.Thinking {
			n += len(t.Thinking[k].Signature)
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
	j.Key("contents")
	j.Arr()
	for i := range e.p.Turns {
		switch t := &e.p.Turns[i]; t.Role {
		case messages.RoleAssistant:
			e.assistant(t)
		default:
			if err := e.user(t); err != nil {
				return err
			}
		}
	}
	if e.role == "" {
		return fault.New(fault.Invalid, "messages: nothing is left to send; all messages are empty")
	}
	e.content("")
	j.EndArr()
	if len(e.p.System) > 0 {
		j.Key("systemInstruction")
		j.Obj()
		j.Key("parts")
		j.Arr()
		for i := range e.p.System {
			e.text(e.p.System[i].Text, "", false)
		}
		j.EndArr()
		j.End()
	}
	e.tools()
	if err := e.generation(); err != nil {
		return err
	}
	j.End()
	return nil
}

// content opens the content of a role, or goes on with it: two of one role in a row are one. The empty role only closes.
func (e *encoder) content(role string) {
	if e.role == role {
		return
	}
	if e.role != "" {
		e.j.EndArr()
		e.j.End()
	}
	e.role = role
	if role == "" {
		return
	}
	e.j.Obj()
	e.j.Key("role")
	e.j.Str(role)
	e.j.Key("parts")
	e.j.Arr()
}

// text writes a part of text with the signature that belongs to it.
func (e *encoder) text(l messages.Literal, signature string, thought bool) {
	e.j.Obj()
	e.j.Key("text")
	e.j.Lit(l)
	if thought {
		e.j.Key("thought")
		e.j.Bool(true)
	}
	e.signature(signature)
	e.j.End()
}

func (e *encoder) signature(s string) {
	if s != "" {
		e.stated = e.stated || s != noState
		e.j.Key("thoughtSignature")
		e.j.Str(s)
	}
}

// user writes the results first, then whatever else the turn says, in one content.
func (e *encoder) user(t *wire.Turn) error {
	j := e.j
	for i := range t.Results {
		r := &t.Results[i]
		e.content("user")
		j.Obj()
		j.Key("functionResponse")
		j.Obj()
		if e.numbered[r.ID] {
			j.Key("id")
			j.Str(r.ID)
		}
		j.Key("name")
		j.Str(r.Name)
		j.Key("response")
		j.Obj()
		if r.IsError {
			j.Key("error")
		} else {
			j.Key("result")
		}
		j.Lit(r.Text) // a text, even where it holds JSON: what a tool printed is not taken apart
		j.End()
		j.End()
		j.End()
	}
	for i := range t.Parts {
		e.content("user")
		if err := e.part(&t.Parts[i]); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) part(p *wire.Part) error {
	j := e.j
	switch {
	case p.Kind == wire.TextPart:
		e.text(p.Text, "", false)
	case p.Source.Type == "url":
		address := p.Source.URL.Value()
		if !reachable(address) {
			return fault.New(fault.Invalid, "%s.source.url: Gemini fetches no address but gs:// and its own files; send the image as base64", e.at(&p.Source))
		}
		j.Obj()
		j.Key("fileData")
		j.Obj()
		if kind := kindOf(address); kind != "" {
			j.Key("mimeType")
			j.Str(kind)
		}
		j.Key("fileUri")
		j.Lit(p.Source.URL)
		j.End()
		j.End()
	default:
		j.Obj()
		j.Key("inlineData")
		j.Obj()
		j.Key("mimeType")
		j.Str(p.Source.MediaType)
		j.Key("data")
		j.Lit(p.Source.Data)
		j.End()
		j.End()
	}
	return nil
}

// reachable says which addresses the API reads itself: files that were given to it, and Cloud Storage.
func reachable(address string) bool {
	return strings.HasPrefix(address, "gs://") || strings.HasPrefix(address, "https://generativelanguage.googleapis.com/") && strings.Contains(address, "/files/")
}

// kindOf guesses a media type from an address, which the caller's block does not name.
func kindOf(address string) string {
	switch _, end, _ := strings.Cut(address[strings.LastIndexByte(address, '/')+1:], "."); strings.ToLower(end) {
	case "png":
		return "image/png"
	case "jpg", "jpeg":
		return "image/jpeg"
	case "webp":
		return "image/webp"
	case "gif":
		return "image/gif"
	case "pdf":
		return "application/pdf"
	}
	return ""
}

// at is the path of the block with a source, for an error.
func (e *encoder) at(s *messages.Source) string {
	for i := range e.c.Messages {
		var path string
		if find(e.c.Messages[i].Content, s, &path) {
			return "messages." + strconv.Itoa(i) + path
		}
	}
	return "messages"
}

func find(blocks []messages.Block, s *messages.Source, path *string) bool {
	for k := range blocks {
		b := &blocks[k]
		if b.Source.Type == s.Type && len(b.Source.URL) > 0 && &b.Source.URL[0] == &s.URL[0] || find(b.Content, s, path) {
			*path = ".content." + strconv.Itoa(k) + *path
			return true
		}
	}
	return false
}

// piece is one part of a model's turn before it is written.
type piece struct {
	text      messages.Literal
	signed    []state // the pieces of the text that have signatures of their own
	thought   bool
	call      *wire.Call
	signature string
}

// assistant writes what the model said, each part with the signature it came with.
func (e *encoder) assistant(t *wire.Turn) {
	pieces, ids := e.pieces(t)
	if len(t.Calls)+len(t.Parts) == 0 && len(pieces) == 0 {
		return
	}
	first := true // Gemini 3 asks for a signature on the first call of each step
	for i := range pieces {
		p := &pieces[i]
		e.content("model")
		switch {
		case p.call != nil:
			if first && p.signature == "" {
				if e.major >= 3 || e.concessions.StandIn {
					p.signature = noState
				} else {
					e.unsigned = true // a name without a generation may be a later model's
				}
			}
			first = false
			e.call(p, ids)
		case p.signed != nil:
			for _, x := range cut(p.text, p.signed) {
				e.text(x.text, x.signature, false)
			}
		default:
			e.text(p.text, p.signature, p.thought)
		}
	}
}

// pieces puts the signatures that the turn's thinking blocks carry back in their places. ids says that Gemini gave its calls
// ids.
func (e *encoder) pieces(t *wire.Turn) (pieces []piece, ids bool) {
	var next []state // for the text to come
	signature := ""  // for the call to come
	for _, x := range t.Order {
		switch x.Kind {
		case wire.PartItem:
			pieces = append(pieces, piece{text: t.Parts[x.N].Text, signed: next})
			next = nil
		case wire.CallItem:
			pieces = append(pieces, piece{call: &t.Calls[x.N], signature: signature})
			next, signature = nil, ""
		case wire.ThinkingItem:
			b := &t.Thinking[x.N]
			s, ok := unpack(b.Signature)
			if !ok {
				continue // another provider's, or none: it stays at home
			}
			if e.concessions.NoState {
				e.notes.Drop("thinking")
				ids = ids || s.ids
				continue
			}
			ids = ids || s.ids
			switch s.on {
			case onThought:
				pieces = append(pieces, piece{text: b.Thinking, thought: true, signature: s.signature})
			case onCall:
				signature = s.signature
			case onNext:
				next = append(next, s)
			case onLast:
				if n := len(pieces); n > 0 && pieces[n-1].text != nil && !pieces[n-1].thought {
					pieces[n-1].signed = append(pieces[n-1].signed, s)
					continue
				}
				pieces = append(pieces, piece{signature: s.signature}) // its text is gone; Gemini signs empty parts itself
			case onEmpty:
				pieces = append(pieces, piece{signature: s.signature})
			}
		}
	}
	return pieces, ids
}

func (e *encoder) call(p *piece, ids bool) {
	j := e.j
	j.Obj()
	j.Key("functionCall")
	j.Obj()
	if e.numbered[p.call.ID] = numbers(p.call.ID, ids); e.numbered[p.call.ID] {
		j.Key("id")
		j.Str(p.call.ID)
	}
	j.Key("name")
	j.Str(p.call.Name)
	j.Key("args")
	j.Raw(p.call.Input)
	j.End()
	e.signature(p.signature)
	j.End()
}

// numbers says whether a call's id is one that Gemini gave, and expects back. Its own have no form; so those are left out that
// have another's: Anthropic's and ours, and, unless the turn's state says that Gemini gave ids, OpenAI's and Kimi's.
func numbers(id string, ids bool) bool {
	switch {
	case strings.HasPrefix(id, "toolu_"), strings.HasPrefix(id, "srvtoolu_"):
		return false
	case ids:
		return true
	}
	return !strings.HasPrefix(id, "call_") && !strings.HasPrefix(id, "chatcmpl-") && !strings.HasPrefix(id, "functions.")
}

func (e *encoder) tools() {
	j, choice := e.j, e.p.Choice
	if len(e.p.Tools) == 0 {
		return
	}
	j.Key("tools")
	j.Arr()
	j.Obj()
	j.Key("functionDeclarations")
	j.Arr()
	for i := range e.p.Tools {
		t := &e.p.Tools[i]
		j.Obj()
		j.Key("name")
		j.Str(t.Name)
		if !t.Description.Empty() {
			j.Key("description")
			j.Lit(t.Description)
		}
		schema, lost := parameters(t.Schema)
		if lost {
			e.notes.Approximate("input_schema")
		}
		j.Key("parameters")
		j.Raw(schema)
		j.End()
	}
	j.EndArr()
	j.End()
	j.EndArr()
	mode := map[string]string{"auto": "AUTO", "any": "ANY", "tool": "ANY", "none": "NONE"}[choice.Type]
	if mode != "" {
		j.Key("toolConfig")
		j.Obj()
		j.Key("functionCallingConfig")
		j.Obj()
		j.Key("mode")
		j.Str(mode)
		if choice.Type == "tool" {
			j.Key("allowedFunctionNames")
			j.Arr()
			j.Str(choice.Name)
			j.EndArr()
		}
		j.End()
		j.End()
	}
	if choice.NoParallel {
		e.notes.Drop("tool_choice.disable_parallel_tool_use")
	}
}

// generation writes generationConfig.
func (e *encoder) generation() error {
	j, c := e.j, e.c
	j.Key("generationConfig")
	j.Obj()
	j.Key("maxOutputTokens")
	j.Int(e.concessions.Limit(c.MaxTokens, &e.notes))
	for _, x := range [...]struct{ name, value string }{{"temperature", c.Temperature}, {"topP", c.TopP}, {"topK", c.TopK}} {
		if x.value != "" {
			j.Key(x.name)
			j.Raw([]byte(x.value))
		}
	}
	if n := len(c.StopSequences); n > maxStop {
		return fault.New(fault.Invalid, "stop_sequences: this target takes at most %d, the request has %d", maxStop, n)
	} else if n > 0 {
		j.Key("stopSequences")
		j.Arr()
		for _, s := range c.StopSequences {
			j.Str(s)
		}
		j.EndArr()
	}
	switch {
	case c.Schema == nil:
	case len(e.p.Tools) > 0 && (e.major == 1 || e.major == 2):
		e.notes.Drop("output_config.format") // these models refuse JSON beside tools
	default:
		j.Key("responseMimeType")
		j.Str("application/json")
		j.Key("responseJsonSchema")
		j.Raw(c.Schema)
	}
	e.thinking()
	j.End()
	return nil
}
