package messages

import (
	"fmt"
	"strconv"

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
}

// Message is one turn.
type Message struct {
	Role    string
	Content []Block // a plain string is one text block
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
		v := r.parsed(m)
		if v.Type == gjson.Null {
			continue
		}
		if err := c.read(m.name, v); err != nil {
			return nil, err
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

func (c *Conversation) read(name string, v gjson.Result) (err error) {
	switch name {
	case "model", "max_tokens", "stream", "cache_control":
	case "system":
		c.System, err = decodeContent(v, "system", true)
	case "messages":
		c.Messages, err = decodeMessages(v)
	case "tools":
		c.Tools, err = decodeTools(v)
	case "tool_choice":
		c.ToolChoice, err = decodeToolChoice(v)
	case "thinking":
		if !v.IsObject() {
			return invalid(name, "must be an object such as {\"type\":\"enabled\",\"budget_tokens\":2048}")
		}
		c.Thinking = Thinking{Type: v.Get("type").Str, Display: v.Get("display").Str}
		if c.Thinking.Type == "" {
			return invalid("thinking.type", "must be enabled, adaptive or disabled")
		}
		if b := v.Get("budget_tokens"); b.Exists() && b.Type != gjson.Null {
			if c.Thinking.Budget, err = integer(b, "thinking.budget_tokens"); err != nil {
				return err
			}
		}
	case "output_config":
		if !v.IsObject() {
			return invalid(name, "must be an object")
		}
		c.Effort = v.Get("effort").Str
		if f := v.Get("format"); f.IsObject() {
			c.Schema = rawOf(f.Get("schema"))
		}
	case "output_format":
		if v.IsObject() && c.Schema == nil {
			c.Schema = rawOf(v.Get("schema"))
		}
	case "stop_sequences":
		if !v.IsArray() {
			return invalid(name, "must be an array of strings")
		}
		for i, s := range v.Array() {
			if s.Type != gjson.String {
				return invalid(name+"."+strconv.Itoa(i), "must be a string")
			}
			c.StopSequences = append(c.StopSequences, Literal(bytesOf(s.Raw)).Value())
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
		c.UserID = v.Get("user_id").String()
	default:
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

func decodeMessages(v gjson.Result) (out []Message, err error) {
	i := 0
	v.ForEach(func(_, m gjson.Result) bool {
		path := "messages." + strconv.Itoa(i)
		if !m.IsObject() {
			err = invalid(path, "must be an object with role and content")
			return false
		}
		var msg Message
		var content gjson.Result
		m.ForEach(func(k, f gjson.Result) bool {
			switch k.Str {
			case "role":
				msg.Role = f.String()
			case "content":
				content = f
			}
			return true
		})
		switch msg.Role {
		case RoleUser, RoleAssistant, RoleSystem:
		case "":
			err = invalid(path+".role", "is required: user, assistant or system")
			return false
		default:
			err = invalid(path+".role", "%q is not a role; use user, assistant or system", clip(msg.Role))
			return false
		}
		if !content.Exists() {
			err = invalid(path+".content", "is required: a string or an array of content blocks")
			return false
		}
		if msg.Content, err = decodeContent(content, path+".content", false); err != nil {
			return false
		}
		out = append(out, msg)
		i++
		return true
	})
	return out, err
}

// decodeContent reads a string or an array of blocks.
func decodeContent(v gjson.Result, path string, onlyText bool) (out []Block, err error) {
	if v.Type == gjson.String {
		return []Block{{Type: "text", Text: literalOf(v)}}, nil
	}
	if !v.IsArray() {
		return nil, invalid(path, "must be a string or an array of content blocks")
	}
	i := 0
	v.ForEach(func(_, b gjson.Result) bool {
		var blk Block
		if blk, err = decodeBlock(b, path, i); err != nil {
			return false
		}
		if onlyText && blk.Type != "text" {
			err = invalid(path+"."+strconv.Itoa(i)+".type", "must be text")
			return false
		}
		out = append(out, blk)
		i++
		return true
	})
	return out, err
}

// decodeBlock reads one block. The path is only spelled out when something is wrong.
func decodeBlock(v gjson.Result, path string, i int) (b Block, err error) {
	at := func(field string) string { return path + "." + strconv.Itoa(i) + field }
	if !v.IsObject() {
		return b, invalid(at(""), "must be a content block, an object with a type")
	}
	b.Raw = jsontext.Value(bytesOf(v.Raw))
	var content, source gjson.Result
	v.ForEach(func(k, f gjson.Result) bool {
		if f.Type == gjson.Null {
			return true
		}
		switch k.Str {
		case "type":
			if f.Type == gjson.String {
				b.Type = f.Str
			}
		case "text":
			b.Text = literalOf(f)
		case "thinking":
			b.Thinking = literalOf(f)
		case "signature":
			b.Signature = f.String()
		case "data":
			b.Data = f.String()
		case "title":
			b.Title = literalOf(f)
		case "context":
			b.Context = literalOf(f)
		case "id":
			b.ID = f.String()
		case "name":
			b.Name = f.String()
		case "tool_name":
			b.Name = f.String()
		case "input":
			b.Input = rawOf(f)
		case "tool_use_id":
			b.ToolUseID = f.String()
		case "is_error":
			b.IsError = f.Type == gjson.True
		case "cache_control":
			b.Cache = rawOf(f)
		case "content":
			content = f
		case "source":
			source = f
		}
		return true
	})
	if b.Type == "" {
		return b, invalid(at(".type"), "is required and must be a string")
	}
	switch b.Type {
	case "text":
		if b.Text == nil {
			return b, invalid(at(".text"), "is required and must be a string")
		}
	case "tool_use":
		if b.ID == "" {
			return b, invalid(at(".id"), "is required")
		}
		if b.Name == "" {
			return b, invalid(at(".name"), "is required")
		}
		if b.Input != nil && b.Input[0] != '{' {
			return b, invalid(at(".input"), "must be an object")
		}
	case "tool_result":
		if b.ToolUseID == "" {
			return b, invalid(at(".tool_use_id"), "is required")
		}
		if content.Exists() {
			b.Content, err = decodeContent(content, at(".content"), false)
		}
	case "search_result":
		if content.Exists() {
			b.Content, err = decodeContent(content, at(".content"), false)
		}
	case "image", "document":
		if !source.IsObject() {
			return b, invalid(at(".source"), "is required and must be an object")
		}
		err = b.readSource(source, at(".source"))
	}
	return b, err
}

func (b *Block) readSource(v gjson.Result, path string) (err error) {
	var content gjson.Result
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "type":
			b.Source.Type = f.String()
		case "media_type":
			b.Source.MediaType = f.String()
		case "data":
			b.Source.Data = literalOf(f)
		case "url":
			b.Source.URL = literalOf(f)
		case "file_id":
			b.Source.FileID = f.String()
		case "content":
			content = f
		}
		return true
	})
	switch b.Source.Type {
	case "":
		return invalid(path+".type", "is required: base64, url, file, text or content")
	case "base64":
		if b.Source.Data == nil || b.Source.MediaType == "" {
			return invalid(path, "base64 needs media_type and data")
		}
	case "content":
		b.Content, err = decodeContent(content, path+".content", false)
	}
	return err
}

func decodeTools(v gjson.Result) (out []Tool, err error) {
	names := map[string]bool{}
	i := 0
	v.ForEach(func(_, t gjson.Result) bool {
		path := "tools." + strconv.Itoa(i)
		if !t.IsObject() {
			err = invalid(path, "must be an object")
			return false
		}
		tool := Tool{Raw: jsontext.Value(bytesOf(t.Raw))}
		t.ForEach(func(k, f gjson.Result) bool {
			switch k.Str {
			case "type":
				tool.Type = f.Str
			case "name":
				tool.Name = f.Str
			case "description":
				tool.Description = literalOf(f)
			case "input_schema":
				tool.Schema = rawOf(f)
			case "defer_loading":
				tool.Deferred = f.Type == gjson.True
			case "cache_control":
				tool.Cache = rawOf(f)
			}
			return true
		})
		if tool.Type == "custom" {
			tool.Type = ""
		}
		if tool.Name == "" && (tool.Type == "" || tool.Type != "mcp_toolset") {
			err = invalid(path+".name", "is required and must be a string")
			return false
		}
		if tool.Name != "" && names[tool.Name] {
			err = invalid(path+".name", "two tools are named %q", clip(tool.Name))
			return false
		}
		names[tool.Name] = true
		out = append(out, tool)
		i++
		return true
	})
	return out, err
}

func decodeToolChoice(v gjson.Result) (ToolChoice, error) {
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
	return t, nil
}

// clip keeps a stranger's word short in a message.
func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}
