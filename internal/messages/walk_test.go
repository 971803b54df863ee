package messages

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// writer makes requests out of the words that the decoder knows, in any order and with any value: most are wrong somewhere.
type writer struct {
	*rand.Rand
	doubled bool // the same name may come twice in one object
	wild    bool // values of any type
	sb      strings.Builder
}

func (w *writer) pick(list ...string) string { return list[w.IntN(len(list))] }

func (w *writer) space() {
	if w.IntN(8) == 0 {
		w.sb.WriteString(w.pick(" ", "\n\t", "\r\n"))
	}
}

func (w *writer) object(depth int, always []string, names ...string) {
	w.sb.WriteByte('{')
	seen := map[string]bool{}
	chosen := append([]string(nil), always...)
	for range w.IntN(4) {
		chosen = append(chosen, names[w.IntN(len(names))])
	}
	w.Shuffle(len(chosen), func(i, k int) { chosen[i], chosen[k] = chosen[k], chosen[i] })
	first := true
	for _, n := range chosen {
		if seen[n] && !w.doubled {
			continue
		}
		seen[n] = true
		if !first {
			w.sb.WriteByte(',')
		}
		first = false
		w.space()
		if w.IntN(30) == 0 {
			fmt.Fprintf(&w.sb, `"\u%04x%s"`, n[0], n[1:])
		} else {
			w.sb.WriteString(`"` + n + `"`)
		}
		w.space()
		w.sb.WriteByte(':')
		w.space()
		w.member(n, depth)
	}
	w.space()
	w.sb.WriteByte('}')
}

func (w *writer) array(depth int, f func(depth int)) {
	w.sb.WriteByte('[')
	for i := range w.IntN(4) {
		if i > 0 {
			w.sb.WriteByte(',')
		}
		w.space()
		f(depth)
	}
	w.space()
	w.sb.WriteByte(']')
}

func (w *writer) member(name string, depth int) {
	if w.wild && w.IntN(12) == 0 {
		w.sb.WriteString(w.pick(`null`, `5`, `-1.50`, `1e3`, `true`, `false`, `{}`, `[]`, `{"a":[1,"]}\"",{}]}`, `"x"`, `""`))
		return
	}
	switch name {
	case "role":
		w.sb.WriteString(w.pick(`"user"`, `"assistant"`, `"system"`))
	case "type":
		w.sb.WriteString(w.pick(`"text"`, `"text"`, `"tool_result"`, `"tool_result"`, `"tool_use"`, `"image"`, `"document"`, `"search_result"`, `"thinking"`, `"later"`, `"base64"`, `"content"`, `"url"`))
	case "content":
		if w.IntN(5) == 0 || depth > 5 {
			w.sb.WriteString(`"short"`)
		} else {
			w.array(depth+1, w.block)
		}
	case "source":
		w.object(depth+1, []string{"type", "media_type"}, "data", "url", "content", "file_id")
	case "input", "cache_control", "input_schema":
		w.sb.WriteString(w.pick(`{}`, `{"a":{"b":[1.50,{"c":"}"}]},"z":12345678901234567890}`, `{"type":"base64","data":"x"}`))
	case "is_error", "defer_loading":
		w.sb.WriteString(w.pick(`true`, `false`))
	default:
		w.sb.WriteString(w.pick(`"a"`, `"b\\"`, `"c\\\"d"`, `"\u00e9\ud83d\ude00"`, `"\ud800"`, `"\n\t"`, `"long enough for eight bytes at once, twice"`, `"é中"`, `"x"`))
	}
}

func (w *writer) block(depth int) {
	w.object(depth, []string{"type", w.pick("text", "id", "tool_use_id", "source", "content")}, "text", "thinking", "signature", "data", "title", "context", "id", "name",
		"tool_name", "input", "tool_use_id", "is_error", "cache_control", "source", "content", "later")
}

func (w *writer) body() []byte {
	w.sb.Reset()
	w.sb.WriteString(`{"messages":`)
	w.array(0, func(depth int) { w.object(depth, []string{"role", "content"}, "role", "content", "output_config") })
	if w.IntN(2) == 0 {
		w.sb.WriteString(`,"system":`)
		w.member("content", 5)
	}
	w.sb.WriteString(`,"tools":`)
	w.array(0, func(depth int) {
		w.object(depth, []string{"name"}, "description", "input_schema", "defer_loading", "cache_control", "later")
	})
	w.sb.WriteString(`}`)
	return []byte(w.sb.String())
}

// TestDecodeAgreesWithEncodingJSON reads the same random requests with another reader, member by member.
func TestDecodeAgreesWithEncodingJSON(t *testing.T) {
	w := &writer{Rand: rand.New(rand.NewPCG(7, 11))}
	read := 0
	for range 20_000 {
		body := w.body()
		r, err := ParseRequest(body)
		if err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		c, err := r.Conversation()
		if err != nil {
			continue
		}
		read++
		top := members(t, body)
		var msgs []json.RawMessage
		unmarshal(t, top["messages"], &msgs)
		if len(msgs) != len(c.Messages) {
			t.Fatalf("%d messages of %d: %s", len(c.Messages), len(msgs), body)
		}
		for i, m := range c.Messages {
			f := members(t, msgs[i])
			if m.Role != text(f["role"]) {
				t.Fatalf("role %q: %s", m.Role, msgs[i])
			}
			sameBlocks(t, m.Content, f["content"])
		}
		if s := top["system"]; s != nil {
			sameBlocks(t, c.System, s)
		}
		var tools []json.RawMessage
		unmarshal(t, top["tools"], &tools)
		for i, tool := range c.Tools {
			f := members(t, tools[i])
			if tool.Name != text(f["name"]) || tool.Description.Value() != text(f["description"]) || string(tool.Schema) != string(f["input_schema"]) ||
				tool.Deferred != (string(f["defer_loading"]) == "true") || string(tool.Raw) != string(tools[i]) {
				t.Fatalf("tool %+v: %s", tool, tools[i])
			}
		}
	}
	if read < 1000 {
		t.Fatalf("only %d of the requests were legal: the test has lost its point", read)
	}
}

func members(t *testing.T, raw []byte) (m map[string]json.RawMessage) {
	t.Helper()
	unmarshal(t, raw, &m)
	return m
}

func unmarshal(t *testing.T, raw []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
}

func text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

func sameBlocks(t *testing.T, got []Block, raw json.RawMessage) {
	t.Helper()
	if raw[0] == '"' {
		if len(got) != 1 || got[0].Type != "text" || got[0].Text.Value() != text(raw) {
			t.Fatalf("%+v: %s", got, raw)
		}
		return
	}
	var list []json.RawMessage
	unmarshal(t, raw, &list)
	if len(list) != len(got) {
		t.Fatalf("%d blocks of %d: %s", len(got), len(list), raw)
	}
	for i, b := range got {
		f := members(t, list[i])
		want := map[string]string{}
		for _, n := range []string{"type", "text", "thinking", "signature", "data", "title", "context", "id", "tool_use_id"} {
			want[n] = text(f[n])
		}
		have := map[string]string{"type": b.Type, "text": b.Text.Value(), "thinking": b.Thinking.Value(), "signature": b.Signature, "data": b.Data,
			"title": b.Title.Value(), "context": b.Context.Value(), "id": b.ID, "tool_use_id": b.ToolUseID}
		if diff := cmp.Diff(want, have); diff != "" {
			t.Fatalf("%s: %s", diff, list[i])
		}
		if string(b.Raw) != string(list[i]) || string(b.Input) != string(f["input"]) || string(b.Cache) != string(f["cache_control"]) || b.IsError != (string(f["is_error"]) == "true") {
			t.Fatalf("%+v: %s", b, list[i])
		}
		switch b.Type {
		case "tool_result", "search_result":
			if c := f["content"]; c != nil {
				sameBlocks(t, b.Content, c)
			}
		case "image", "document":
			s := members(t, f["source"])
			if b.Source.Type != text(s["type"]) || b.Source.MediaType != text(s["media_type"]) || b.Source.Data.Value() != text(s["data"]) || b.Source.URL.Value() != text(s["url"]) {
				t.Fatalf("%+v: %s", b.Source, list[i])
			}
			if b.Source.Type == "content" {
				sameBlocks(t, b.Content, s["content"])
			}
		}
	}
}
