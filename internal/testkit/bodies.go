package testkit

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Sizes are the sizes of AgentBody.
var Sizes = []string{"small", "medium", "large"}

// AgentBody makes a request of one of the Sizes: small is one short question (about 160 B), medium is a coding agent in the
// middle of its work (about 60 KB: a system prompt, 20 tools, 12 turns), large is the same with long tool results (about 1 MB).
// The same size gives the same bytes.
func AgentBody(size string) []byte {
	if size == "small" {
		return []byte(`{"model":"fast","max_tokens":256,"stream":true,"messages":[{"role":"user","content":"Please write one short sentence about the sea, and then stop there."}]}`)
	}
	result := 2600
	if size == "large" {
		result = 160_000
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"model":"claude-sonnet-4-5","max_tokens":4096,"temperature":1,"stream":true,"system":[{"type":"text","text":"You are a coding agent."},{"type":"text","text":"%s","cache_control":{"type":"ephemeral"}}],"tools":[`, prose(13_000))
	for i := range 20 {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"name":"tool_%02d","description":"%s\n- \"quoted\" line\n","input_schema":{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{`, i, prose(450))
		for k := range 6 {
			if k > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `"field_%d":{"type":"%s","description":"%s"}`, k, []string{"string", "integer", "boolean"}[k%3], prose(90))
		}
		b.WriteString(`},"required":["field_0","field_1"],"additionalProperties":false}}`)
	}
	fmt.Fprintf(&b, `],"messages":[{"role":"user","content":[{"type":"text","text":"Fix the failing test.\n%s"}]}`, prose(400))
	for i := range 6 {
		fmt.Fprintf(&b, `,{"role":"assistant","content":[{"type":"text","text":"I will look at the file. %s"},{"type":"tool_use","id":"toolu_%02d","name":"tool_%02d","input":{"field_0":"/src/main.go","field_1":%d}}]}`, prose(120), i, i, i)
		fmt.Fprintf(&b, `,{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_%02d","content":[{"type":"text","text":"%s"}]}]}`, i, code(result))
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// prose is n bytes of words.
func prose(n int) string { return written(n, " ", " ", " ", ", ", ". ", ` — `) }

// code is about n bytes of a JSON text with the quotes, tabs and line ends of source code.
func code(n int) string {
	return written(n, " ", " ", "(", ", ", ".", " := ", `) {\n\t\t`, `\n\t`, `\n\t\t\t`, `(\"`, `\", `, ` // `, `\n}\n\n`)
}

// written is n bytes of words with such separators between them, in an order that looks random and is always the same: a
// text that repeats itself is read faster than any real one.
func written(n int, separators ...string) string {
	words := strings.Fields("the gateway passes each turn to a model and returns its answer as one stream of small events if err return nil func s String n handle context")
	r := rand.New(rand.NewPCG(1, uint64(n)))
	var sb strings.Builder
	for sb.Len() < n {
		sb.WriteString(words[r.IntN(len(words))])
		sb.WriteString(separators[r.IntN(len(separators))])
	}
	return sb.String()
}
