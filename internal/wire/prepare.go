package wire

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
)

// Rules are what a dialect can carry. The zero value is the poorest dialect.
type Rules struct {
	ResultImages  bool                // images may stay inside tool results; else they lead the user turn and the result says so
	ResultFiles   bool                // PDFs may stay inside tool results; else they lead the user turn and the result says so
	Files         bool                // a PDF may travel as a file part; else it is refused
	FileNames     bool                // a file part has a name, which is the document's title; else the title stands before it as text
	FileURLs      bool                // a PDF may be an address; else it is refused
	ImageURLs     bool                // an image may be an address; else it is refused
	SystemInPlace bool                // a system message may stand anywhere; else its text joins the user's turn
	Reasoning     bool                // earlier thinking is kept on its turn; else it is left out
	Ordered       bool                // Turn.Order is filled
	ErrorMember   bool                // a result has a place to say that it failed; else its text begins with "Error: "
	LegalName     func(string) bool   // tool names outside are mapped both ways; nil: all are legal
	CallID        func(string) string // form of call ids sent up; nil: as they are
	Strict        bool                // refuse a block that would be dropped, by its place; what else is dropped the dialect refuses, all at once
}

// Prepared is a conversation made ready for a foreign dialect.
type Prepared struct {
	System []Part // texts, the attribution line removed
	Turns  []Turn
	Tools  []Tool // nil when none are offered
	Choice messages.ToolChoice
	Notes  Notes
	IDs    *IDs // of the answer to come

	names map[string]string // legal name -> the caller's
}

// Turn is one message. In a user turn the results come first, then the parts.
type Turn struct {
	Role     string // user, assistant, system
	Results  []Result
	Parts    []Part
	Calls    []Call
	Thinking []messages.Block // thinking and redacted_thinking, only with Rules.Reasoning
	Order    []Item           // an assistant's parts, calls and thinking as the caller wrote them, only with Rules.Ordered
}

// ItemKind says which of an assistant turn's lists an item is in.
type ItemKind uint8

// The kinds of items.
const (
	PartItem ItemKind = iota
	CallItem
	ThinkingItem
)

// Item is one place in the order of an assistant turn: the N-th of its parts, calls or thinking blocks.
type Item struct {
	Kind ItemKind
	N    int
}

// PartKind is the kind of a part.
type PartKind uint8

// The kinds of parts.
const (
	TextPart PartKind = iota
	ImagePart
	FilePart // a PDF
)

// Part is a piece of a turn.
type Part struct {
	Kind   PartKind
	Text   messages.Literal // TextPart
	Source messages.Source  // ImagePart, FilePart
	Title  messages.Literal // FilePart
	Cache  jsontext.Value   // cache_control, nil without
}

// Call is a tool call of an earlier turn. Input is an object, never nil.
type Call struct {
	ID, Name string
	Input    jsontext.Value
}

// Result answers a call. Text is never nil; the mark of an error is already in it, except with Rules.ErrorMember.
type Result struct {
	ID, Name string
	Text     messages.Literal
	Images   []messages.Source
	Parts    []Part // the texts with the images and files between them, in their order; nil where all is text
	IsError  bool
}

// Tool is an offered tool. Schema is as the caller wrote it, nil when there was none.
type Tool struct {
	Name        string
	Description messages.Literal
	Schema      jsontext.Value
	Cache       jsontext.Value
}

// CallerName maps a tool's name in the answer back to the caller's.
func (p *Prepared) CallerName(upstream string) string {
	if n, ok := p.names[upstream]; ok {
		return n
	}
	return upstream
}

// ToolNames lists the offered tools as the upstream knows them.
func (p *Prepared) ToolNames() []string {
	names := make([]string, len(p.Tools))
	for i := range p.Tools {
		names[i] = p.Tools[i].Name
	}
	return names
}

// billing begins the attribution line of Claude Code. It changes with every request and would defeat prefix caches (M3).
const billing = messages.BillingWord

// Prepare applies the rules that hold for every foreign dialect (translation rules M1–M4, T1–T5, C5, S5, S6 and deferred
// tools). The errors are *fault.Error of kind Invalid and name the field.
func Prepare(c *messages.Conversation, r Rules) (*Prepared, error) {
	p := &preparer{rules: r, conv: c, out: &Prepared{IDs: NewIDs(c), names: map[string]string{}}, calls: map[string]string{},
		loaded: map[string]bool{}, asIs: map[string]bool{}}
	if err := p.top(); err != nil {
		return nil, err
	}
	p.system()
	for i := range c.Messages {
		if err := p.message(i, &c.Messages[i]); err != nil {
			return nil, err
		}
	}
	p.unanswered(len(p.held) > 0)
	p.flushSystem()
	if len(p.out.Turns) == 0 {
		return nil, fault.New(fault.Invalid, "messages: nothing is left to send; all messages are empty")
	}
	if err := p.tools(); err != nil {
		return nil, err
	}
	return p.out, nil
}

type preparer struct {
	rules  Rules
	conv   *messages.Conversation
	out    *Prepared
	calls  map[string]string // call id as the caller wrote it -> tool name
	open   map[string]bool   // calls of the last assistant turn that no result answered yet
	order  []string          // the ids of that turn's calls, in their order
	first  map[string]int    // where in that order an upstream's own id came first, once there are several calls
	loaded map[string]bool   // tools that a tool_reference named
	asIs   map[string]bool   // minted call ids that go up as they are
	held   []Part            // a system message that must wait until the results have been given
	parts  []Part            // of one block
	texts  []Part            // of one result
}

// top decides about the members that no foreign dialect has.
func (p *preparer) top() error {
	if p.conv.MaxTokens == 0 {
		return fault.New(fault.Invalid, "max_tokens: 0 only warms an Anthropic prompt cache; this target needs at least 1")
	}
	for _, name := range p.conv.Others {
		switch name {
		case "container", "mcp_servers":
			return fault.New(fault.Invalid, "%s: only Anthropic's own API runs these; remove it or choose an anthropic target", name)
		case "context_management", "service_tier", "speed", "inference_geo":
			p.out.Notes.Drop(name)
		default:
			if _, quiet := LeftOut[name]; !quiet {
				p.out.Notes.DropUnknown(name)
			}
		}
	}
	for _, path := range p.conv.Unread {
		p.out.Notes.DropUnread(path)
	}
	switch p.conv.Thinking.Type {
	case "", "enabled", "adaptive", "disabled":
	default:
		p.out.Notes.Approximate("thinking") // some other way to think; here it is on
	}
	return nil
}

func (p *preparer) system() {
	for i := range p.conv.System {
		b := &p.conv.System[i]
		// The marker is for us and says nothing to a model.
		text := messages.WithoutMarker(withoutBilling(b.Text), i)
		if !text.Empty() {
			p.out.System = append(p.out.System, Part{Text: text, Cache: b.Cache})
		}
	}
}

func withoutBilling(l messages.Literal) messages.Literal {
	if len(l) < len(billing)+2 || string(l[1:len(billing)+1]) != billing {
		return l
	}
	_, rest, found := strings.Cut(l.Value(), "\n")
	rest = strings.TrimLeft(rest, "\r\n")
	if !found || rest == "" {
		return nil
	}
	return messages.Quote(rest)
}

// spot is where a list of blocks stands; it is spelled out only when something is wrong.
type spot struct {
	message int
	result  int    // the block whose content it is; -1: the message's own
	inside  string // what of that block
}

// at is the path of a block.
func (l spot) at(k int) string {
	s := "messages." + strconv.Itoa(l.message) + ".content."
	if l.result >= 0 {
		s += strconv.Itoa(l.result) + "." + l.inside + "."
	}
	return s + strconv.Itoa(k)
}

func (p *preparer) message(i int, m *messages.Message) error {
	path := spot{message: i, result: -1}
	switch m.Role {
	case messages.RoleSystem:
		return p.systemMessage(path, m)
	case messages.RoleAssistant:
		if len(p.held) > 0 {
			p.unanswered(true)
		}
		p.flushSystem()
		return p.assistant(path, m)
	}
	return p.user(path, m)
}

// systemMessage keeps a system message at its place (M2), never between calls and their results.
func (p *preparer) systemMessage(path spot, m *messages.Message) error {
	var parts []Part
	for k := range m.Content {
		b := &m.Content[k]
		if b.Type == "text" {
			if text := withoutBilling(b.Text); !text.Empty() {
				parts = append(parts, Part{Text: text, Cache: b.Cache})
			}
			continue
		}
		if err := p.other(&parts, b, path, k); err != nil {
			return err
		}
	}
	p.held = append(p.held, parts...)
	if len(p.open) == 0 {
		p.flushSystem()
	}
	return nil
}

func (p *preparer) flushSystem() {
	if len(p.held) == 0 {
		return
	}
	parts := p.held
	p.held = nil
	if p.rules.SystemInPlace {
		p.out.Turns = append(p.out.Turns, Turn{Role: messages.RoleSystem, Parts: parts})
		return
	}
	if n := len(p.out.Turns); n > 0 && p.out.Turns[n-1].Role == messages.RoleUser {
		t := &p.out.Turns[n-1]
		t.Parts = append(t.Parts, parts...)
		return
	}
	p.out.Turns = append(p.out.Turns, Turn{Role: messages.RoleUser, Parts: parts})
}

func (p *preparer) assistant(path spot, m *messages.Message) error {
	t := Turn{Role: messages.RoleAssistant}
	// Two messages in a row are one turn where the first still waits for results: those belong behind the calls of both.
	n := len(p.out.Turns)
	goesOn := len(p.open) > 0 && p.out.Turns[n-1].Role == messages.RoleAssistant
	if !goesOn {
		p.unanswered(false)
		p.open, p.order = nil, p.order[:0]
	}
	var had [3]int
	for k := range m.Content {
		b := &m.Content[k]
		if p.rules.Ordered {
			t.order(&had)
		}
		switch b.Type {
		case "text":
			if !b.Text.Empty() {
				t.Parts = append(t.Parts, Part{Text: b.Text, Cache: b.Cache})
			}
		case "thinking", "redacted_thinking":
			if p.rules.Reasoning {
				t.Thinking = append(t.Thinking, *b)
			}
		case "tool_use":
			if p.open == nil {
				p.open = map[string]bool{}
			}
			if p.open[b.ID] {
				return fault.New(fault.Invalid, "%s.id: two tool_use blocks of one message have the id %q", path.at(k), b.ID)
			}
			p.calls[b.ID], p.open[b.ID] = b.Name, true
			p.order = append(p.order, b.ID)
			input := b.Input
			if input == nil {
				input = jsontext.Value("{}")
			}
			t.Calls = append(t.Calls, Call{ID: b.ID, Name: p.name(b.Name), Input: input})
		case "server_tool_use", "mcp_tool_use":
			p.out.Notes.Approximate("server_tool_use")
			t.Parts = append(t.Parts, Part{Text: messages.Quote(fmt.Sprintf("[%s %s]", b.Name, b.Input))})
		default:
			if strings.HasSuffix(b.Type, "_tool_result") {
				p.serverResult(&t, b)
				continue
			}
			if err := p.other(&t.Parts, b, path, k); err != nil {
				return err
			}
		}
	}
	if p.rules.Ordered {
		t.order(&had)
	}
	if goesOn {
		last := &p.out.Turns[n-1]
		for _, x := range t.Order {
			x.N += [...]int{len(last.Parts), len(last.Calls), len(last.Thinking)}[x.Kind]
			last.Order = append(last.Order, x)
		}
		last.Thinking = append(last.Thinking, t.Thinking...)
		last.Parts = append(last.Parts, t.Parts...)
		last.Calls = append(last.Calls, t.Calls...)
		p.callIDs(last.Calls, len(last.Calls)-len(t.Calls))
		return nil
	}
	p.callIDs(t.Calls, 0)
	if len(t.Parts)+len(t.Calls)+len(t.Thinking) > 0 {
		p.out.Turns = append(p.out.Turns, t)
	}
	return nil
}

// unanswered answers the calls that the conversation went on without: every call must be answered, or the upstream refuses all of
// it. Calls that nothing follows are left as they are; followed says that something does which is no turn yet.
func (p *preparer) unanswered(followed bool) {
	n := len(p.out.Turns)
	if len(p.open) == 0 || n == 0 || !followed && p.out.Turns[n-1].Role == messages.RoleAssistant {
		return
	}
	t := Turn{Role: messages.RoleUser}
	for _, id := range p.order {
		if p.open[id] {
			r := Result{ID: p.upID(id), Name: p.name(p.calls[id]), IsError: true, Text: messages.Quote("this call was not answered")}
			if !p.rules.ErrorMember {
				r.Text = messages.Quote("Error: this call was not answered")
			}
			t.Results = append(t.Results, r)
		}
	}
	p.open = nil
	p.out.Notes.Approximate("tool_result")
	p.userTurn(t)
}

// serverResult puts what a person could read of a server-run tool's result into the text, and remembers the tools that a search
// found.
func (p *preparer) serverResult(t *Turn, b *messages.Block) {
	p.out.Notes.Approximate("server_tool_use")
	content := messages.View(b.Raw).Get("content")
	if text := readable(content); text != "" {
		t.Parts = append(t.Parts, Part{Text: messages.Quote(text)})
	}
	content.Get("tool_references.#.tool_name").ForEach(func(_, name gjson.Result) bool {
		p.loaded[name.String()] = true
		return true
	})
}

// order notes what has come to the turn's lists since it was last asked; had is how long they were then.
func (t *Turn) order(had *[3]int) {
	for kind, n := range [...]int{len(t.Parts), len(t.Calls), len(t.Thinking)} {
		for ; had[kind] < n; had[kind]++ {
			t.Order = append(t.Order, Item{ItemKind(kind), had[kind]})
		}
	}
}

// callIDs turns minted ids back into the upstream's own, except where that would repeat an id within one turn. The calls are those of
// p.order, which has their ids as the caller wrote them; the ones before from have been here already.
func (p *preparer) callIDs(calls []Call, from int) {
	if len(calls) <= 1 {
		if len(calls) > from {
			calls[0].ID = p.upID(p.order[0])
		}
		return
	}
	if from <= 1 { // until now there was one call at most, which nobody had to remember
		from, p.first = 0, make(map[string]int, len(calls))
	}
	for i := from; i < len(calls); i++ {
		id := p.order[i]
		original := OriginalID(id)
		if k, ok := p.first[original]; ok {
			p.asIs[p.order[k]], p.asIs[id] = true, true
			calls[k].ID = p.upID(p.order[k])
		} else {
			p.first[original] = i
		}
		calls[i].ID = p.upID(id)
	}
}

func (p *preparer) upID(id string) string {
	if !p.asIs[id] {
		id = OriginalID(id)
	}
	if p.rules.CallID != nil {
		id = p.rules.CallID(id)
	}
	return id
}

func (p *preparer) user(path spot, m *messages.Message) error {
	t := Turn{Role: messages.RoleUser}
	var moved []Part // images and files taken out of results
	for k := range m.Content {
		b := &m.Content[k]
		if b.Type == "tool_result" {
			if err := p.result(&t, &moved, b, path, k); err != nil {
				return err
			}
			continue
		}
		if err := p.part(&t.Parts, b, path, k); err != nil {
			return err
		}
	}
	// A system message that stood between the calls and these results comes behind the results, before what the user says.
	between := len(p.held) > 0 && len(p.open) == 0 && len(t.Results) > 0
	said := t.Parts
	if t.Parts = moved; !between {
		t.Parts = append(moved, said...)
	}
	p.userTurn(t)
	if len(p.open) == 0 {
		p.flushSystem()
	}
	if between && len(said) > 0 {
		if last := &p.out.Turns[len(p.out.Turns)-1]; last.Role == messages.RoleUser {
			last.Parts = append(last.Parts, said...)
		} else {
			p.userTurn(Turn{Role: messages.RoleUser, Parts: said})
		}
	}
	return nil
}

// userTurn adds a user's turn. Consecutive ones with results are one: results of the second still belong before the text of
// the first.
func (p *preparer) userTurn(t Turn) {
	if len(t.Results)+len(t.Parts) == 0 {
		return
	}
	if n := len(p.out.Turns); n > 0 && len(t.Results) > 0 && p.out.Turns[n-1].Role == messages.RoleUser {
		last := &p.out.Turns[n-1]
		last.Results = append(last.Results, t.Results...)
		last.Parts = append(last.Parts, t.Parts...)
		return
	}
	p.out.Turns = append(p.out.Turns, t)
}

func (p *preparer) result(t *Turn, moved *[]Part, b *messages.Block, path spot, k int) error {
	name, ok := p.calls[b.ToolUseID]
	if !ok {
		return fault.New(fault.Invalid, "%s.tool_use_id: no earlier tool_use has the id %q", path.at(k), b.ToolUseID)
	}
	delete(p.open, b.ToolUseID)
	r := Result{ID: p.upID(b.ToolUseID), Name: p.name(name), IsError: b.IsError}
	texts := p.texts[:0]
	defer func() { p.texts = texts[:0] }()
	if b.IsError && !p.rules.ErrorMember {
		texts = append(texts, Part{Text: messages.Quote("Error: ")})
	}
	before := len(texts)
	var stay []staying
	for i := range b.Content {
		c := &b.Content[i]
		switch c.Type {
		case "tool_reference":
			p.loaded[c.Name] = true
			texts = append(texts, Part{Text: messages.Quote("Loaded: " + c.Name)})
		case "document":
			if c.Source.Type == "base64" && !p.rules.Files {
				// A refusal would end the whole session, for a file that some earlier turn read.
				p.out.Notes.Drop("document")
				texts = append(texts, Part{Text: messages.Quote("[a PDF document was here; this model cannot be given PDF documents]")})
				continue
			}
			fallthrough
		default:
			p.parts = p.parts[:0]
			if err := p.part(&p.parts, c, spot{path.message, k, "content"}, i); err != nil {
				return err
			}
			for _, x := range p.parts {
				switch {
				case x.Kind == TextPart:
					texts = append(texts, x)
				case x.Kind == ImagePart && p.rules.ResultImages:
					r.Images = append(r.Images, x.Source)
					stay = append(stay, staying{len(texts), x})
				case x.Kind == FilePart && p.rules.ResultFiles:
					stay = append(stay, staying{len(texts), x})
				default:
					*moved = append(*moved, x)
					texts = append(texts, Part{Text: messages.Quote(follows[x.Kind])})
				}
			}
		}
	}
	if before == 1 && len(texts) > 1 {
		r.Text = concat(texts[0].Text, JoinText(texts[1:], "\n"))
	} else {
		r.Text = JoinText(texts, "\n")
	}
	if r.Text == nil {
		r.Text = messages.Literal(`""`)
	}
	if len(stay) > 0 {
		r.Parts = inOrder(texts, before, stay)
	}
	t.Results = append(t.Results, r)
	return nil
}

// staying is an image or file that stays in its result, behind so many of its texts.
type staying struct {
	behind int
	part   Part
}

// inOrder puts what stays in a result back between its texts. The first mark of them are the mark of an error, which goes into
// the text behind it.
func inOrder(texts []Part, mark int, stay []staying) []Part {
	var out []Part
	begin := 0
	text := func(end int) {
		switch list := texts[begin:end]; {
		case len(list) == 0:
		case begin < mark && len(list) > mark:
			out = append(out, Part{Text: concat(list[0].Text, JoinText(list[1:], "\n"))})
		default:
			out = append(out, Part{Text: JoinText(list, "\n")})
		}
		begin = end
	}
	for _, s := range stay {
		text(s.behind)
		out = append(out, s.part)
	}
	text(len(texts))
	return out
}

var follows = map[PartKind]string{ImagePart: "[the image follows in the next message]", FilePart: "[the document follows in the next message]"}

// part reads one block of a user's turn or of a tool's result.
func (p *preparer) part(parts *[]Part, b *messages.Block, path spot, k int) error {
	switch b.Type {
	case "text":
		if !b.Text.Empty() {
			*parts = append(*parts, Part{Text: b.Text, Cache: b.Cache})
		}
	case "image":
		switch {
		case b.Source.Type == "base64", b.Source.Type == "url" && p.rules.ImageURLs:
			*parts = append(*parts, Part{Kind: ImagePart, Source: b.Source, Cache: b.Cache})
		default:
			return fault.New(fault.Invalid, "%s.source.type: this target cannot take an image by %q; send it as base64", path.at(k), b.Source.Type)
		}
	case "document":
		return p.document(parts, b, path, k)
	case "search_result":
		return p.contents(parts, b, messages.View(b.Raw).Get("source").String(), spot{path.message, k, "content"})
	case "thinking", "redacted_thinking":
	default:
		return p.other(parts, b, path, k)
	}
	return nil
}

// document puts text in as text; a PDF goes where the dialect has a place for files (C5).
func (p *preparer) document(parts *[]Part, b *messages.Block, path spot, k int) error {
	switch b.Source.Type {
	case "text":
		*parts = append(*parts, Part{Text: titled(b.Title.Value(), b.Context.Value(), b.Source.Data.Value()), Cache: b.Cache})
	case "content":
		return p.contents(parts, b, b.Context.Value(), spot{path.message, k, "source.content"})
	case "base64":
		if !p.rules.Files {
			return fault.New(fault.Invalid, "%s.source: this target cannot read %s documents; send the text instead", path.at(k), b.Source.MediaType)
		}
		p.file(parts, b)
	case "url":
		if !p.rules.FileURLs {
			return fault.New(fault.Invalid, "%s.source.type: this target cannot fetch a document by %q; send it as text or base64", path.at(k), b.Source.Type)
		}
		p.file(parts, b)
	default:
		return fault.New(fault.Invalid, "%s.source.type: this target cannot fetch a document by %q; send it as text or base64", path.at(k), b.Source.Type)
	}
	return nil
}

// file puts a PDF in. What is said about it and has no place in the dialect's file part stands in front as text.
func (p *preparer) file(parts *[]Part, b *messages.Block) {
	title := b.Title.Value()
	if p.rules.FileNames && b.Source.Type == "base64" {
		title = "" // it is the file's name
	}
	if about := strings.TrimSpace(titled(title, b.Context.Value(), "").Value()); about != "" {
		*parts = append(*parts, Part{Text: messages.Quote(about)})
	}
	*parts = append(*parts, Part{Kind: FilePart, Source: b.Source, Title: b.Title, Cache: b.Cache})
}

// contents puts a document in that is made of blocks, or a search result: its texts as one, with its title and where it is from
// in front, then the images.
func (p *preparer) contents(parts *[]Part, b *messages.Block, source string, path spot) error {
	*parts = append(*parts, Part{Text: titled(b.Title.Value(), source, textOf(b.Content)), Cache: b.Cache})
	for i := range b.Content {
		if b.Content[i].Type != "text" {
			if err := p.part(parts, &b.Content[i], path, i); err != nil {
				return err
			}
		}
	}
	return nil
}

// other decides about a block that no foreign dialect knows: its text if it has one, else it is dropped and reported.
func (p *preparer) other(parts *[]Part, b *messages.Block, path spot, k int) error {
	text := b.Text
	if b.Type == "compaction" { // what the conversation so far came to; without it the rest hangs in the air
		text = messages.LiteralOf(messages.View(b.Raw).Get("content"))
	}
	if !text.Empty() {
		*parts = append(*parts, Part{Text: text, Cache: b.Cache})
		p.out.Notes.Approximate("content_block")
		return nil
	}
	if p.rules.Strict {
		return fault.New(fault.Invalid, "%s.type: this target cannot carry a block of type %s", path.at(k), quoteShort(b.Type))
	}
	p.out.Notes.Drop("content_block")
	return nil
}

// titled is a document as text: its title, where it is from, and what it says.
func titled(title, source, text string) messages.Literal {
	var sb strings.Builder
	if title != "" {
		sb.WriteString("Title: " + title + "\n")
	}
	if source != "" {
		sb.WriteString("Source: " + source + "\n")
	}
	if sb.Len() > 0 {
		sb.WriteString("\n")
	}
	sb.WriteString(text)
	return messages.Quote(sb.String())
}

func textOf(blocks []messages.Block) string {
	var texts []string
	for i := range blocks {
		if blocks[i].Type == "text" && !blocks[i].Text.Empty() {
			texts = append(texts, blocks[i].Text.Value())
		}
	}
	return strings.Join(texts, "\n")
}

// readable gathers what a person could read of a server tool's result; encrypted parts are for Anthropic alone.
func readable(v gjson.Result) string {
	var lines []string
	var walk func(v gjson.Result)
	walk = func(v gjson.Result) {
		switch {
		case v.Type == gjson.String:
			lines = append(lines, v.String())
		case v.IsArray():
			v.ForEach(func(_, x gjson.Result) bool { walk(x); return true })
		case v.IsObject():
			encoded := v.Get("type").Str == "base64"
			v.ForEach(func(k, x gjson.Result) bool {
				switch k.Str {
				case "title", "url", "text", "stdout", "stderr", "content", "error_code", "source", "tool_name", "tool_references", "lines":
					walk(x)
				case "data":
					if !encoded {
						walk(x)
					}
				}
				return true
			})
		}
	}
	walk(v)
	return strings.Join(lines, "\n")
}

// JoinText joins the text parts as one literal; nil when there is none.
func JoinText(parts []Part, sep string) messages.Literal {
	n, size := 0, 2
	var only messages.Literal
	for i := range parts {
		if parts[i].Kind == TextPart && !parts[i].Text.Empty() {
			n++
			only = parts[i].Text
			size += len(only) + 2*len(sep)
		}
	}
	if n <= 1 {
		return only
	}
	q := messages.AppendQuote(nil, sep)
	sepInner := q[1 : len(q)-1]
	out := append(make([]byte, 0, size), '"')
	for i := range parts {
		if parts[i].Kind != TextPart || parts[i].Text.Empty() {
			continue
		}
		if len(out) > 1 {
			out = append(out, sepInner...)
		}
		out = parts[i].Text.AppendInner(out)
	}
	return append(out, '"')
}

func concat(a, b messages.Literal) messages.Literal {
	out := append([]byte{}, '"')
	out = a.AppendInner(out)
	out = b.AppendInner(out)
	return append(out, '"')
}

// name maps a tool's name to one that the dialect allows (S5): a readable beginning and a short hash, the same every time.
func (p *preparer) name(caller string) string {
	if p.rules.LegalName == nil || p.rules.LegalName(caller) {
		return caller
	}
	sum := sha256.Sum256([]byte(caller))
	var sb strings.Builder
	for _, c := range []byte(caller) {
		if sb.Len() == 48 {
			break
		}
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' {
			sb.WriteByte(c)
		} else {
			sb.WriteByte('_')
		}
	}
	legal := sb.String()
	if legal == "" || !(legal[0] >= 'a' && legal[0] <= 'z' || legal[0] >= 'A' && legal[0] <= 'Z' || legal[0] == '_') {
		legal = "t_" + legal
	}
	legal += "_" + hex.EncodeToString(sum[:4])
	p.out.names[legal] = caller
	return legal
}
