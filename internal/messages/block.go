package messages

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"signalbox/internal/fault"
)

// Roles of a message.
const (
	RoleUser      = "user"
	RoleAssistant = "assistant"
	RoleSystem    = "system" // inside messages since the beta mid-conversation-system-2026-04-07
)

// Conversation is a request as translators read it. Absent optional members are zero values; a raw number is empty when it
// is absent.
type Conversation struct {
	Model         string // as the body names it; may be empty
	MaxTokens     int64
	Stream        bool
	System        []Block // a plain string is one text block
	Messages      []Message
	Tools         []Tool
	ToolChoice    ToolChoice
	Thinking      Thinking
	Effort        string         // output_config.effort: low, medium, high, xhigh, max; empty when absent
	Schema        jsontext.Value // output_config.format's (or output_format's) JSON schema, nil when absent
	StopSequences []string
	Temperature   string // the number as written
	TopP          string
	TopK          string
	UserID        string   // metadata.user_id
	Others        []string // names of further top-level members that are present and not null, in their order
	Unread        []string // members deeper down that nobody here reads, such as document.citations; each once, at most 64
}

// Message is one turn.
type Message struct {
	Role    string
	Content []Block // a plain string is one text block

	config jsontext.Value // output_config: of a system message since the beta per-turn-control-2026-07-01
}

// Block is one content block. Known fields are typed; Raw is the block as it was written, so unknown ones still travel.
type Block struct {
	Type string

	Text      Literal        // text; the readable text of an unknown block that has one
	Thinking  Literal        // thinking
	Signature string         // thinking
	Data      string         // redacted_thinking
	Source    Source         // image, document
	Title     Literal        // document, search_result
	Context   Literal        // document
	ID        string         // tool_use, server_tool_use, mcp_tool_use
	Name      string         // the same; tool_reference: the tool's name
	Input     jsontext.Value // the same: the arguments as they were written
	ToolUseID string         // tool_result and its kin
	IsError   bool           // tool_result
	Content   []Block        // tool_result, search_result, document of source type content; a plain string is one text block
	Cache     jsontext.Value // cache_control

	Raw jsontext.Value
}

// Source is where the bytes of an image or document are.
type Source struct {
	Type      string // base64, url, file, text, content
	MediaType string
	Data      Literal // base64, or the text itself
	URL       Literal
	FileID    string
}

// Tool is one offered tool.
type Tool struct {
	Type        string // empty or custom: the caller's own; else Anthropic's, such as bash_20250124
	Name        string
	Description Literal
	Schema      jsontext.Value // input_schema, nil when absent
	Deferred    bool           // defer_loading
	Cache       jsontext.Value
	Unread      []string // names of further members that are present and say something
	Raw         jsontext.Value
}

// ToolChoice says how the model must treat its tools. Type is empty when the caller left it out.
type ToolChoice struct {
	Type       string // auto, any, tool, none
	Name       string // for tool
	NoParallel bool
}

// Thinking is the request's thinking member. Type is empty when it is absent.
type Thinking struct {
	Type    string // enabled, adaptive, disabled, between_tools
	Budget  int64  // tokens, 0 when not given
	Display string // summarized, omitted, updates
}

// On reports whether the caller wants the model to think.
func (t Thinking) On() bool { return t.Type != "" && t.Type != "disabled" }

func invalid(path, format string, args ...any) error {
	return fault.New(fault.Invalid, "%s: %s", path, fmt.Sprintf(format, args...))
}

func decodeConversation(r *Request) (*Conversation, error) {
	c := &Conversation{Model: r.envelope.Model, Stream: r.envelope.Stream}
	if r.envelope.MaxTokens != nil {
		c.MaxTokens = *r.envelope.MaxTokens
	}
	for _, m := range r.members {
		if raw := r.body[m.value.start:m.value.end]; raw[0] != 'n' {
			if err := c.read(m, raw); err != nil {
				return nil, err
			}
		}
	}
	c.format(r)
	for i := range c.Messages {
		// Claude Code repeats the effort of the whole request at its messages. Where it is another, only Anthropic knows how far that
		// one reaches.
		if raw := c.Messages[i].config; raw != nil && !c.repeats(raw) {
			c.unread("messages", "output_config", view(raw))
		}
	}
	if c.ToolChoice.Type == "tool" {
		found := false
		for i := range c.Tools {
			found = found || c.Tools[i].Name == c.ToolChoice.Name
		}
		if !found {
			return nil, invalid("tool_choice.name", "no tool named %q is offered in tools", c.ToolChoice.Name)
		}
	}
	return c, nil
}

// read takes one member that is not null. The small ones are read with gjson; those that hold the conversation are walked.
func (c *Conversation) read(m member, raw []byte) (err error) {
	name := m.name
	v := gjson.Result{}
	switch name {
	case "system", "messages", "tools":
	default:
		v = gjson.Parse(view(raw))
	}
	switch name {
	case "model", "max_tokens", "stream", "cache_control":
	case "output_format":
	case "system":
		d := decoder{walker: walker{b: raw}, conv: c}
		c.System, err = d.content("system", true)
	case "messages":
		d := decoder{walker: walker{b: raw}, conv: c}
		c.Messages, err = d.messages(m.elems)
	case "tools":
		d := decoder{walker: walker{b: raw}}
		c.Tools, err = d.tools(m.elems)
	case "tool_choice":
		c.ToolChoice, err = c.toolChoice(v)
	case "thinking":
		c.Thinking, err = c.thinking(v)
	case "output_config":
		if !v.IsObject() {
			return invalid(name, "must be an object")
		}
		v.ForEach(func(k, f gjson.Result) bool {
			switch {
			case k.Str == "effort" && f.Type != gjson.Null:
				if c.Effort = f.Str; f.Type != gjson.String {
					err = invalid("output_config.effort", "must be a string such as medium")
				}
			case k.Str != "format":
				c.unread(name, k.Str, f.Raw)
			}
			return true
		})
	case "stop_sequences":
		if !v.IsArray() {
			return invalid(name, "must be an array of strings")
		}
		for i, s := range v.Array() {
			if s.Type != gjson.String {
				return invalid(name+"."+strconv.Itoa(i), "must be a string")
			}
			text := Literal(bytesOf(s.Raw)).Value()
			if strings.TrimSpace(text) == "" {
				return invalid(name+"."+strconv.Itoa(i), "must hold more than white space")
			}
			c.StopSequences = append(c.StopSequences, text)
		}
	case "temperature":
		c.Temperature, err = number(v, name)
	case "top_p":
		c.TopP, err = number(v, name)
	case "top_k":
		if _, err = integer(v, name); err == nil {
			c.TopK = v.Raw
		}
	case "metadata":
		if !v.IsObject() {
			return invalid(name, "must be an object")
		}
		v.ForEach(func(k, f gjson.Result) bool {
			switch {
			case k.Str != "user_id":
				c.unread(name, k.Str, f.Raw)
			case f.Type != gjson.Null:
				c.UserID = f.String()
			}
			return true
		})
	default:
		if v.IsArray() && !v.Get("0").Exists() {
			return nil // an empty list asks for nothing
		}
		c.Others = append(c.Others, name)
	}
	return err
}

func number(v gjson.Result, path string) (string, error) {
	if v.Type != gjson.Number {
		return "", invalid(path, "must be a number")
	}
	if _, err := strconv.ParseFloat(v.Raw, 64); err != nil {
		return "", invalid(path, "is out of range")
	}
	return v.Raw, nil
}

func integer(v gjson.Result, path string) (int64, error) {
	n, err := strconv.ParseInt(v.Raw, 10, 64)
	if err != nil || n < 0 {
		return 0, invalid(path, "must be an integer of 0 or more")
	}
	return n, nil
}

func rawOf(v gjson.Result) jsontext.Value {
	if !v.Exists() || v.Type == gjson.Null {
		return nil
	}
	return jsontext.Value(bytesOf(v.Raw))
}

func literalOf(v gjson.Result) Literal {
	if v.Type != gjson.String {
		return nil
	}
	return Literal(bytesOf(v.Raw))
}

// maxNesting is how many contents may lie in one another. The API knows three: a message's, a result's, a search result's.
// Past it the same bytes would be passed too often.
const maxNesting = 8

// decoder reads the members that hold the conversation, in one forward pass. It allocates nothing but what it returns.
type decoder struct {
	walker
	conv  *Conversation
	path  []step  // where it is, spelled out only when something is wrong
	stack []Block // blocks of contents that are still open
	odd   []odd   // members that nobody reads, of blocks that are still open
	depth int     // of contents in one another
	count int     // of blocks so far
}

// step is a part of a path: a name, with the number of an element behind it unless that is negative.
type step struct {
	name string
	n    int
}

// invalid is an error at the place where the decoder is, or at a field below it.
func (d *decoder) invalid(field, format string, args ...any) error {
	var path []byte
	for i, s := range d.path {
		if i > 0 {
			path = append(path, '.')
		}
		path = append(path, s.name...)
		if s.n >= 0 {
			path = strconv.AppendInt(append(path, '.'), int64(s.n), 10)
		}
	}
	return invalid(string(path)+field, format, args...)
}

// at is the innermost step.
func (d *decoder) at() *step { return &d.path[len(d.path)-1] }

func (d *decoder) messages(n int) ([]Message, error) {
	if n == 0 {
		return nil, nil
	}
	out := make([]Message, n)
	d.path = append(d.path, step{"messages", 0})
	d.enter()
	for i := 0; d.next(']'); i++ {
		d.path = d.path[:1]
		d.at().n = i
		if err := d.message(&out[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (d *decoder) message(m *Message) error {
	if d.peek() != '{' {
		return d.invalid("", "must be an object with role and content")
	}
	found, wrong := false, error(nil)
	for d.enter(); d.next('}'); {
		key := d.key()
		switch string(key) {
		case "role":
			m.Role = wordOf(d.skip())
		case "content":
			found = true
			m.Content, wrong = d.content("content", false)
		case "output_config":
			m.config = d.skip()
		default:
			d.conv.unread("messages", string(key), view(d.skip()))
		}
	}
	switch m.Role {
	case RoleUser, RoleAssistant, RoleSystem:
	case "":
		return d.invalid(".role", "is required: user, assistant or system")
	default:
		return d.invalid(".role", "%q is not a role; use user, assistant or system", clip(m.Role))
	}
	if !found {
		return d.invalid(".content", "is required: a string or an array of content blocks")
	}
	return wrong
}

// content reads a string or an array of blocks. It passes the value even when something is wrong with it: which of several
// faults is told does not depend on the order of the members.
func (d *decoder) content(name string, onlyText bool) ([]Block, error) {
	if d.peek() == '"' {
		return []Block{{Type: "text", Text: d.skip()}}, nil
	}
	start, deep, base := d.i, len(d.path), len(d.stack)
	d.path = append(d.path, step{name, -1})
	d.depth++
	err := d.blocks(onlyText)
	if err != nil {
		d.i = start
		d.skip()
	}
	d.depth--
	d.path = d.path[:deep]
	var out []Block
	if err == nil && len(d.stack) > base {
		out = slices.Clone(d.stack[base:])
	}
	d.stack = d.stack[:base]
	return out, err
}

// blocks puts what it reads on the stack.
func (d *decoder) blocks(onlyText bool) error {
	if d.peek() != '[' {
		return d.invalid("", "must be a string or an array of content blocks")
	}
	if d.depth > maxNesting {
		return d.invalid("", "content blocks are nested deeper than %d", maxNesting)
	}
	d.enter()
	for i := 0; d.next(']'); i++ {
		d.at().n = i
		if d.count++; d.count > MaxBlocks {
			return d.invalid("", "is one content block too many: a request may have %d of them in all", MaxBlocks)
		}
		b, err := d.block()
		if err != nil {
			return err
		}
		if onlyText && b.Type != "text" {
			return d.invalid(".type", "must be text")
		}
		d.stack = append(d.stack, b)
	}
	return nil
}

// block reads one block. Its content is read in passing where the type is known by then, and else afterwards.
func (d *decoder) block() (b Block, err error) {
	if d.peek() != '{' {
		return b, d.invalid("", "must be a content block, an object with a type")
	}
	start, source := d.i, -1
	content, read := -1, false
	odds := len(d.odd)
	for d.enter(); d.next('}'); {
		key := d.key()
		if d.peek() == 'n' {
			d.skip()
			continue
		}
		at := d.i
		switch string(key) {
		case "type":
			if raw := d.skip(); raw[0] == '"' {
				b.Type = stringOf(raw)
			}
			continue
		case "text":
			b.Text = literal(d.skip())
		case "thinking":
			b.Thinking = literal(d.skip())
		case "signature":
			b.Signature = wordOf(d.skip())
		case "data":
			b.Data = wordOf(d.skip())
		case "title":
			b.Title = literal(d.skip())
		case "context":
			b.Context = literal(d.skip())
		case "id":
			b.ID = wordOf(d.skip())
		case "name", "tool_name":
			b.Name = wordOf(d.skip())
		case "input":
			b.Input = d.skip()
		case "tool_use_id":
			b.ToolUseID = wordOf(d.skip())
		case "is_error":
			b.IsError = d.skip()[0] == 't'
		case "cache_control":
			b.Cache = d.skip()
		case "content":
			content = d.i
			b.Content, err = nil, nil
			if read = holdsBlocks(b.Type); read {
				b.Content, err = d.content("content", false)
			} else {
				d.skip()
			}
		case "source":
			source = d.i
			d.skip()
		default:
			d.skip()
		}
		raw := d.b[at:d.i]
		if wrong := !fits(key, raw[0]); wrong || !carries(b.Type, key) { // or the type comes later: asked again at the end
			d.odd = append(d.odd, odd{key, raw, wrong})
		}
	}
	end := d.i
	b.Raw = d.b[start:end:end]
	if content >= 0 && holdsBlocks(b.Type) != read {
		b.Content, err = nil, nil
		if !read {
			d.i = content
			b.Content, err = d.content("content", false)
		}
	}
	if fault := d.judge(&b, source); fault != nil {
		err = fault
	}
	for _, o := range d.odd[odds:] {
		if !carries(b.Type, o.key) || o.wrong && listed(b.Type) {
			d.conv.unread(b.Type, string(o.key), view(o.raw))
		}
	}
	d.odd = d.odd[:odds]
	d.i = end
	return b, err
}

// holdsBlocks says of a block's type that its content is made of blocks.
func holdsBlocks(kind string) bool { return kind == "tool_result" || kind == "search_result" }

// judge asks what a block of its type must have, and reads its source, which begins at that place.
func (d *decoder) judge(b *Block, source int) error {
	switch b.Type {
	case "":
		return d.invalid(".type", "is required and must be a string")
	case "text":
		if b.Text == nil {
			return d.invalid(".text", "is required and must be a string")
		}
	case "tool_use":
		if b.ID == "" {
			return d.invalid(".id", "is required")
		}
		if b.Name == "" {
			return d.invalid(".name", "is required")
		}
		if b.Input != nil && b.Input[0] != '{' {
			return d.invalid(".input", "must be an object")
		}
	case "tool_result":
		if b.ToolUseID == "" {
			return d.invalid(".tool_use_id", "is required")
		}
	case "image", "document":
		if source < 0 || d.b[source] != '{' {
			return d.invalid(".source", "is required and must be an object")
		}
		d.i = source
		return d.source(b)
	}
	return nil
}

func (d *decoder) source(b *Block) error {
	content, odds := -1, len(d.odd)
	for d.enter(); d.next('}'); {
		key := d.key()
		at := d.i
		switch string(key) {
		case "type":
			b.Source.Type = wordOf(d.skip())
			continue
		case "media_type":
			b.Source.MediaType = wordOf(d.skip())
		case "data":
			b.Source.Data = literal(d.skip())
		case "url":
			b.Source.URL = literal(d.skip())
		case "file_id":
			b.Source.FileID = wordOf(d.skip())
		case "content":
			content = d.i
			d.skip()
		default:
			d.skip()
		}
		d.odd = append(d.odd, odd{key: key, raw: d.b[at:d.i]})
	}
	for _, o := range d.odd[odds:] {
		if !sourceCarries(b.Source.Type, o.key) {
			d.conv.unread("source", string(o.key), view(o.raw))
		}
	}
	d.odd = d.odd[:odds]
	switch b.Source.Type {
	case "":
		return d.invalid(".source.type", "is required: base64, url, file, text or content")
	case "base64":
		if b.Source.Data == nil || b.Source.MediaType == "" {
			return d.invalid(".source", "base64 needs media_type and data")
		}
	case "content":
		if content < 0 {
			return d.invalid(".source.content", "must be a string or an array of content blocks")
		}
		var err error
		d.i = content
		b.Content, err = d.content("source.content", false)
		return err
	}
	return nil
}

func (d *decoder) tools(n int) ([]Tool, error) {
	if n == 0 {
		return nil, nil
	}
	out, names := make([]Tool, n), make(map[string]bool, n)
	d.path = append(d.path, step{"tools", 0})
	d.enter()
	for i := 0; d.next(']'); i++ {
		d.at().n = i
		t := &out[i]
		if err := d.tool(t); err != nil {
			return nil, err
		}
		if t.Name != "" && names[t.Name] {
			return nil, d.invalid(".name", "two tools are named %q", clip(t.Name))
		}
		names[t.Name] = true
	}
	return out, nil
}

func (d *decoder) tool(t *Tool) error {
	if d.peek() != '{' {
		return d.invalid("", "must be an object")
	}
	start := d.i
	for d.enter(); d.next('}'); {
		key := d.key()
		raw := d.skip()
		if raw[0] == 'n' {
			continue
		}
		if !t.read(key, raw) && says("tools."+string(key), view(raw)) {
			t.Unread = append(t.Unread, string(key))
		}
	}
	t.Raw = d.b[start:d.i:d.i]
	if t.Type == "custom" {
		t.Type = ""
	}
	if t.Name == "" && t.Type != "mcp_toolset" {
		return d.invalid(".name", "is required and must be a string")
	}
	return nil
}

// read takes a member, if it is one that is read and has the type that it must have.
func (t *Tool) read(key, raw []byte) bool {
	if !toolFits(key, raw) {
		return false
	}
	switch string(key) {
	case "type":
		t.Type = stringOf(raw)
	case "name":
		t.Name = stringOf(raw)
	case "description":
		t.Description = literal(raw)
	case "input_schema":
		t.Schema = raw
	case "defer_loading":
		t.Deferred = raw[0] == 't'
	case "cache_control":
		t.Cache = raw
	default:
		return false
	}
	return true
}

func (c *Conversation) toolChoice(v gjson.Result) (ToolChoice, error) {
	t := ToolChoice{Type: v.Get("type").Str, Name: v.Get("name").Str, NoParallel: v.Get("disable_parallel_tool_use").Bool()}
	switch t.Type {
	case "auto", "any", "none":
	case "tool":
		if t.Name == "" {
			return t, invalid("tool_choice.name", "is required when type is tool")
		}
	default:
		return t, invalid("tool_choice.type", "must be auto, any, tool or none")
	}
	v.ForEach(func(k, f gjson.Result) bool {
		switch {
		case k.Str == "type", k.Str == "name" && t.Type == "tool", k.Str == "disable_parallel_tool_use" && t.Type != "none" && f.IsBool():
		default:
			c.unread("tool_choice", k.Str, f.Raw)
		}
		return true
	})
	return t, nil
}

func (c *Conversation) thinking(v gjson.Result) (Thinking, error) {
	if !v.IsObject() {
		return Thinking{}, invalid("thinking", "must be an object such as {\"type\":\"enabled\",\"budget_tokens\":2048}")
	}
	t := Thinking{Type: v.Get("type").Str, Display: v.Get("display").Str}
	if t.Type == "" {
		return t, invalid("thinking.type", "must be enabled, adaptive or disabled")
	}
	var err error
	v.ForEach(func(k, f gjson.Result) bool {
		switch {
		case k.Str == "budget_tokens" && t.Type != "disabled" && f.Type != gjson.Null:
			t.Budget, err = integer(f, "thinking.budget_tokens")
		case k.Str != "type" && k.Str != "display":
			c.unread("thinking", k.Str, f.Raw)
		}
		return err == nil
	})
	return t, err
}

// repeats reports whether a message's output_config says no more than the request's own.
func (c *Conversation) repeats(config jsontext.Value) bool {
	v, same := gjson.Parse(view(config)), true
	v.ForEach(func(k, f gjson.Result) bool {
		same = f.Type == gjson.Null || k.Str == "effort" && f.Str == c.Effort
		return same
	})
	return same && v.IsObject()
}

// format takes the schema that the answer must have, by its name of today or by its older one. Both of them are there only by
// mistake; then the first wins.
func (c *Conversation) format(r *Request) {
	for _, name := range [...]string{"output_config.format", "output_format"} {
		v := gjson.Result{}
		if member, inner, nested := strings.Cut(name, "."); nested {
			v = gjson.Get(view(r.Member(member)), inner)
		} else if raw := r.Member(name); raw != nil {
			v = gjson.Parse(view(raw))
		}
		if !v.Exists() || v.Type == gjson.Null {
			continue
		}
		kind, schema := v.Get("type"), rawOf(v.Get("schema"))
		if schema == nil || c.Schema != nil && string(c.Schema) != string(schema) || kind.Exists() && kind.Str != "json_schema" {
			c.note(name)
			continue
		}
		c.Schema = schema
		v.ForEach(func(k, f gjson.Result) bool {
			if k.Str != "type" && k.Str != "schema" {
				c.unread(name, k.Str, f.Raw)
			}
			return true
		})
	}
}

// clip keeps a stranger's word short in a message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
