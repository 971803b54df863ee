package claudecode

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"
)

// The other dialects: a request is read into the words of chat completions, so that one script serves all, and the state
// that an answer's thinking leaves must come back as the Reasoning of its message. They answer in a stream even where none was
// asked for, which is what some servers do.

// deepseek wants the reasoning of turns with calls back as text.
var deepseek = dialect{kind: "openai, profile: deepseek", base: "/v1", read: chatCompletions.read, write: writeChat}

var ollamaChat = dialect{kind: "ollama",
	read: func(_ *http.Request, body []byte) (*chat, error) {
		var v struct {
			Model    string
			Stream   bool
			Messages []struct {
				Role, Content, Thinking string
				Images                  []string
				ToolCalls               []struct {
					ID       string
					Function struct {
						Name      string
						Arguments json.RawMessage
					}
				} `json:"tool_calls"`
				ToolCallID string `json:"tool_call_id"`
			}
		}
		if err := json.Unmarshal(body, &v); err != nil {
			return nil, err
		}
		q := &chat{Model: v.Model, Stream: v.Stream}
		for _, m := range v.Messages {
			x := message{Role: m.Role, Content: content{text: m.Content}, Reasoning: m.Thinking, ToolCallID: m.ToolCallID}
			for _, i := range m.Images {
				x.Content.images = append(x.Content.images, "data:;base64,"+i)
			}
			for _, c := range m.ToolCalls {
				x.ToolCalls = append(x.ToolCalls, called(c.ID, c.Function.Name, string(c.Function.Arguments)))
			}
			q.Messages = append(q.Messages, x)
		}
		return q, nil
	},
	write: func(w http.ResponseWriter, q *chat, a answer) {
		line := func(done bool, m map[string]any) {
			m["role"] = "assistant"
			v := map[string]any{"model": q.Model, "created_at": "2026-01-01T00:00:00Z", "message": m, "done": done}
			if done {
				v["done_reason"], v["prompt_eval_count"], v["eval_count"] = "stop", 1000, 10
			}
			_ = json.NewEncoder(w).Encode(v)
			w.(http.Flusher).Flush()
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		for _, s := range halves(a.thinks) {
			line(false, map[string]any{"content": "", "thinking": s})
		}
		for _, s := range halves(a.says) {
			line(false, map[string]any{"content": s})
		}
		for i, c := range a.calls {
			line(false, map[string]any{"content": "", "tool_calls": []any{map[string]any{"id": c.id, "function": map[string]any{"index": i, "name": c.name, "arguments": c.input}}}})
		}
		if a.cut {
			panic(http.ErrAbortHandler)
		}
		line(true, map[string]any{"content": ""})
	}}

var gemini = dialect{kind: "gemini",
	read: func(r *http.Request, body []byte) (*chat, error) {
		type geminiTurn struct {
			Role  string
			Parts []struct {
				Text         string
				Thought      bool
				Signature    string `json:"thoughtSignature"`
				InlineData   *struct{ MimeType, Data string }
				FunctionCall *struct {
					ID, Name string
					Args     json.RawMessage
				}
				FunctionResponse *struct {
					ID, Name string
					Response struct{ Result, Error string }
				}
			}
		}
		var v struct {
			SystemInstruction geminiTurn
			Contents          []geminiTurn
		}
		if err := json.Unmarshal(body, &v); err != nil {
			return nil, err
		}
		name, method, _ := strings.Cut(path.Base(r.URL.Path), ":")
		q := &chat{Model: name, Stream: method == "streamGenerateContent"}
		for _, c := range append([]geminiTurn{v.SystemInstruction}, v.Contents...) {
			m := message{Role: map[string]string{"": "system", "user": "user", "model": "assistant"}[c.Role]}
			for _, p := range c.Parts {
				switch {
				case p.FunctionResponse != nil:
					text := p.FunctionResponse.Response.Result
					if e := p.FunctionResponse.Response.Error; e != "" {
						text = "Error: " + e
					}
					q.Messages = append(q.Messages, message{Role: "tool", ToolCallID: p.FunctionResponse.ID, Content: content{text: text}})
				case p.FunctionCall != nil:
					m.ToolCalls = append(m.ToolCalls, called(p.FunctionCall.ID, p.FunctionCall.Name, string(p.FunctionCall.Args)))
				case p.InlineData != nil:
					m.Content.images = append(m.Content.images, "data:"+p.InlineData.MimeType+";base64,"+p.InlineData.Data)
				case !p.Thought:
					m.Content.text += p.Text
				}
				m.Reasoning += p.Signature
			}
			if m.Role != "user" || m.Content.text != "" || m.Content.images != nil {
				q.Messages = append(q.Messages, m)
			}
		}
		return q, nil
	},
	write: func(w http.ResponseWriter, q *chat, a answer) {
		chunk := func(part map[string]any, finish string) {
			c := map[string]any{"index": 0}
			if part != nil {
				c["content"] = map[string]any{"role": "model", "parts": []any{part}}
			}
			if finish != "" {
				c["finishReason"] = finish
			}
			sse(w, map[string]any{"candidates": []any{c}, "modelVersion": q.Model, "responseId": fmt.Sprint("r", q.N),
				"usageMetadata": map[string]any{"promptTokenCount": 1000, "candidatesTokenCount": 10, "totalTokenCount": 1010}})
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, s := range halves(a.thinks) {
			chunk(map[string]any{"text": s, "thought": true}, "")
		}
		for _, s := range halves(a.says) {
			chunk(map[string]any{"text": s}, "")
		}
		for i, c := range a.calls {
			p := map[string]any{"functionCall": map[string]any{"id": c.id, "name": c.name, "args": c.input}}
			if i == 0 && a.thinks != "" {
				p["thoughtSignature"] = sealed(a.thinks)
			}
			chunk(p, "")
		}
		if a.cut {
			panic(http.ErrAbortHandler)
		}
		chunk(nil, "STOP")
	}}

var responses = dialect{kind: "openai-responses", base: "/v1",
	read: func(_ *http.Request, body []byte) (*chat, error) {
		var v struct {
			Model, Instructions string
			Stream              bool
			Input               []struct {
				Type, Role, Name, Arguments string
				Content, Output             parts
				CallID                      string `json:"call_id"`
				Sealed                      string `json:"encrypted_content"`
			}
		}
		if err := json.Unmarshal(body, &v); err != nil {
			return nil, err
		}
		q := &chat{Model: v.Model, Stream: v.Stream, Messages: []message{{Role: "system", Content: content{text: v.Instructions}}}}
		turn := func() *message { // the assistant's turn that the item belongs to
			if m := &q.Messages[len(q.Messages)-1]; m.Role == "assistant" {
				return m
			}
			q.Messages = append(q.Messages, message{Role: "assistant"})
			return &q.Messages[len(q.Messages)-1]
		}
		for _, x := range v.Input {
			switch {
			case x.Type == "reasoning":
				turn().Reasoning += x.Sealed
			case x.Type == "function_call":
				m := turn()
				m.ToolCalls = append(m.ToolCalls, called(x.CallID, x.Name, x.Arguments))
			case x.Type == "function_call_output":
				q.Messages = append(q.Messages, message{Role: "tool", ToolCallID: x.CallID, Content: content(x.Output)})
			case x.Role == "assistant":
				turn().Content.text += x.Content.text
			default:
				q.Messages = append(q.Messages, message{Role: x.Role, Content: content(x.Content)})
			}
		}
		return q, nil
	},
	write: func(w http.ResponseWriter, q *chat, a answer) {
		n, output := 0, []any{}
		event := func(kind string, v map[string]any) {
			v["type"], v["sequence_number"] = kind, n
			n++
			sse(w, v)
		}
		item := func(start, done map[string]any, delta string, pieces []string) {
			k := len(output)
			event("response.output_item.added", map[string]any{"output_index": k, "item": start})
			for _, s := range pieces {
				event(delta, map[string]any{"output_index": k, "item_id": done["id"], "content_index": 0, "summary_index": 0, "delta": s})
			}
			event("response.output_item.done", map[string]any{"output_index": k, "item": done})
			output = append(output, done)
		}
		w.Header().Set("Content-Type", "text/event-stream")
		event("response.created", map[string]any{"response": map[string]any{"id": "resp", "status": "in_progress", "output": output}})
		id := fmt.Sprint(q.N)
		if a.thinks != "" {
			item(map[string]any{"type": "reasoning", "id": "rs_" + id, "summary": []any{}},
				map[string]any{"type": "reasoning", "id": "rs_" + id, "encrypted_content": sealed(a.thinks), "summary": []any{map[string]any{"type": "summary_text", "text": a.thinks}}},
				"response.reasoning_summary_text.delta", halves(a.thinks))
		}
		if a.says != "" {
			item(map[string]any{"type": "message", "id": "msg_" + id, "role": "assistant", "content": []any{}},
				map[string]any{"type": "message", "id": "msg_" + id, "role": "assistant", "status": "completed", "content": []any{map[string]any{"type": "output_text", "text": a.says, "annotations": []any{}}}},
				"response.output_text.delta", halves(a.says))
		}
		for _, c := range a.calls {
			item(map[string]any{"type": "function_call", "id": "fc_" + c.id, "call_id": c.id, "name": c.name, "arguments": ""},
				map[string]any{"type": "function_call", "id": "fc_" + c.id, "call_id": c.id, "name": c.name, "arguments": c.arguments(), "status": "completed"},
				"response.function_call_arguments.delta", halves(c.arguments()))
		}
		if a.cut {
			panic(http.ErrAbortHandler)
		}
		event("response.completed", map[string]any{"response": map[string]any{"id": "resp", "status": "completed", "model": q.Model, "output": output,
			"usage": map[string]any{"input_tokens": 1000, "output_tokens": 10, "total_tokens": 1010}}})
	}}

// parts are the content of an item of Responses: a text, or texts and images.
type parts content

func (p *parts) UnmarshalJSON(b []byte) error {
	if b[0] == '"' {
		return json.Unmarshal(b, &p.text)
	}
	var list []struct {
		Type, Text string
		ImageURL   string `json:"image_url"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	for _, x := range list {
		p.text += x.Text
		if x.Type == "input_image" {
			p.images = append(p.images, x.ImageURL)
		}
	}
	return nil
}

func called(id, name, arguments string) (c toolCall) {
	c.ID = id
	c.Function.Name, c.Function.Arguments = name, arguments
	return c
}

// sealed is the opaque state that an upstream hands out for a thought and wants back.
func sealed(thought string) string { return base64.StdEncoding.EncodeToString([]byte(thought)) }
