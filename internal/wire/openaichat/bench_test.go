package openaichat

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"signalbox/internal/messages"
)

// agentBody is a request as a coding agent sends it in the middle of its work: a long system prompt, two dozen tools, and a
// history of calls with their results; about 60 KB.
func agentBody() []byte {
	var b bytes.Buffer
	line := func(n int) string {
		return strings.Repeat(`func (s *Server) handle(w http.ResponseWriter, r *http.Request) { log.Printf(\"%s\", r.URL) }\n\t// why `, n)
	}
	b.WriteString(`{"model":"claude-sonnet-4-5","max_tokens":32000,"stream":true,"metadata":{"user_id":"user_1"},"system":[`)
	fmt.Fprintf(&b, `{"type":"text","text":"x-anthropic-billing-header: cc_version=2.1;"},{"type":"text","text":"You are a coding agent. %s","cache_control":{"type":"ephemeral"}}],"tools":[`, line(90))
	for i := range 24 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"Tool%d","description":"%s","input_schema":{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{"file_path":{"type":"string","description":"The absolute path to the file to modify"},"edits":{"type":"array","items":{"type":"object","properties":{"old_string":{"type":"string"},"new_string":{"type":"string"},"replace_all":{"type":"boolean","default":false}},"required":["old_string","new_string"]}}},"required":["file_path"],"additionalProperties":false}}`, i, line(4))
	}
	b.WriteString(`],"messages":[{"role":"user","content":[{"type":"text","text":"<system-reminder>As you work</system-reminder>"},{"type":"text","text":"Fix the bug."}]}`)
	for i := range 30 {
		fmt.Fprintf(&b, `,{"role":"assistant","content":[{"type":"thinking","thinking":"%s","signature":"EqQBCgIYAhIkN"},{"type":"text","text":"I will read the file."},{"type":"tool_use","id":"toolu_%02d","name":"Tool%d","input":{"file_path":"/src/server.go","edits":[{"old_string":"a","new_string":"b"}]}}]}`, line(1), i, i%24)
		fmt.Fprintf(&b, `,{"role":"user","content":[{"tool_use_id":"toolu_%02d","type":"tool_result","content":[{"type":"text","text":"%s"}]}]}`, i, line(6))
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func BenchmarkEncode(b *testing.B) {
	body := agentBody()
	b.SetBytes(int64(len(body)))
	b.Run("decode+encode", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			r, err := messages.ParseRequest(body)
			if err != nil {
				b.Fatal(err)
			}
			c, err := r.Conversation()
			if err != nil {
				b.Fatal(err)
			}
			if _, err := Encode(c, "qwen/qwen3-coder", OpenRouter()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		r, _ := messages.ParseRequest(body)
		c, err := r.Conversation()
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Encode(c, "qwen/qwen3-coder", OpenRouter()); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkStreamEvent reports the cost of one chunk of a long text stream, from upstream bytes to the event's JSON.
func BenchmarkStreamEvent(b *testing.B) {
	const chunks = 1000
	var up bytes.Buffer
	for range chunks {
		up.WriteString(`data: {"id":"chatcmpl-77","object":"chat.completion.chunk","created":1760000000,"model":"up-model","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}` + "\n\n")
	}
	up.WriteString(`data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n")
	b.ReportAllocs()
	var buf []byte
	for i := 0; i < b.N; i += chunks {
		job := newTestJob(b, true)
		for ev, err := range job.DecodeStream(bytes.NewReader(up.Bytes())) {
			if err != nil {
				b.Fatal(err)
			}
			if ev.Type != messages.Lull {
				buf = ev.AppendJSON(buf[:0])
			}
		}
	}
}
