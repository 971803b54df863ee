package fidelity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// place is an object in a request, where a further member may be put.
type place struct {
	path       string // from the top, with dots; empty for the request itself
	front, end int    // behind its opening bracket, before its closing one
	names      []string
}

// places finds the objects of a request.
func places(body string) []place {
	var out []place
	var open []int
	d := jsontext.NewDecoder(bytes.NewReader([]byte(body)), jsontext.AllowDuplicateNames(true))
	for {
		tok, err := d.ReadToken()
		if errors.Is(err, io.EOF) || err != nil {
			return out
		}
		switch tok.Kind() {
		case '{':
			path := strings.ReplaceAll(strings.TrimPrefix(string(d.StackPointer()), "/"), "/", ".")
			open = append(open, len(out))
			out = append(out, place{path: path, front: int(d.InputOffset())})
		case '}':
			out[open[len(open)-1]].end = int(d.InputOffset()) - 1
			open = open[:len(open)-1]
		default:
			// A name is a string at an odd place of an object.
			if kind, n := d.StackIndex(d.StackDepth()); kind == '{' && n%2 == 1 {
				p := &out[open[len(open)-1]]
				p.names = append(p.names, tok.String())
			}
		}
	}
}

// with is the request with a member more; "" where the object has one of that name already.
func (p *place) with(body, name, value string, last bool) string {
	if slices.ContainsFunc(p.names, func(n string) bool { return strings.EqualFold(n, name) }) {
		return ""
	}
	key, err := json.Marshal(name)
	if err != nil {
		return ""
	}
	member := string(key) + ":" + value
	switch {
	case len(p.names) == 0:
		return body[:p.front] + member + body[p.end:]
	case last:
		return body[:p.end] + "," + member + body[p.end:]
	}
	return body[:p.front] + member + "," + body[p.front:]
}

// Clean are the wires that carry a request whole, without a note. A request that is not proves nothing about one member more.
func Clean(body string, wires []*Wire) (clean []*Wire) {
	for _, w := range wires {
		if _, notes, err := encode(body, w, false); err == nil && len(notes) == 0 {
			clean = append(clean, w)
		}
	}
	return clean
}

// Keys holds the law for one further member of a request that is clean on these wires: its mark arrives, a note or a refusal
// tells of it, or it stands in a place whose loss nobody has to know.
func Keys(body string, p *place, name, value, mark string, last bool, clean []*Wire) error {
	more := p.with(body, name, value, last)
	if more == "" {
		return nil
	}
	r, err := messages.ParseRequest([]byte(more))
	if err != nil {
		return invalid(err)
	}
	for _, w := range clean {
		up, notes, err := w.Encode(r, false)
		switch {
		case err != nil:
			if err := invalid(err); err != nil {
				return fmt.Errorf("%s, %s: %s: %q: %w", w.Column, w.Name, p.path, name, err)
			}
		case len(notes) > 0, bytes.Contains(up, []byte(mark)), quietly(body, p, name), elsewhere(body, w, p, name):
		default:
			return fmt.Errorf("%s, %s: %s: %q: %s is lost without a word in %s", w.Column, w.Name, p.path, name, value, up)
		}
	}
	return nil
}

func invalid(err error) error {
	var e *fault.Error
	if errors.As(err, &e) && e.Kind == fault.Invalid {
		return nil
	}
	return fmt.Errorf("not an invalid request: %w", err)
}

// elsewhere reports whether a member is carried where the body does not show it: stop sequences are looked for in the answer, a
// tool that must not be called, or beside the one that must be, is not offered to Ollama. What a schema says of itself (closed) may
// go at Gemini.
func elsewhere(body string, w *Wire, p *place, name string) bool {
	switch w.Column {
	case Responses:
		return p.path == "" && name == "stop_sequences"
	case Ollama:
		if rest, ok := strings.CutPrefix(p.path, "tools."); ok {
			number, _, _ := strings.Cut(rest, ".")
			choice := gjson.Get(body, "tool_choice")
			return choice.Get("type").Str == "none" || choice.Get("type").Str == "tool" && gjson.Get(body, "tools."+number+".name").Str != choice.Get("name").Str
		}
	case Gemini:
		return strings.Contains(p.path, ".input_schema") && slices.Contains([]string{"$schema", "$id", "$anchor", "$comment", "$defs", "definitions"}, name)
	}
	return false
}

// quietly reports whether a member may be lost in this place without a word: LeftOut has it, or something around it, under its
// own name, as a member of a block of its type, or of what stands at the top.
func quietly(body string, p *place, name string) bool {
	var steps []string
	if p.path != "" {
		steps = strings.Split(p.path, ".")
	}
	if len(steps) > 1 && gjson.Get(body, steps[0]+"."+steps[1]+".defer_loading").Bool() && !strings.Contains(body, "tool_reference") {
		return true // the tool is not offered yet
	}
	steps = append(steps, name)
	kind, at := "", "" // of the block around
	if steps[0] == "system" {
		kind = "text"
	}
	for i, step := range steps {
		if kind == "thinking" || kind == "redacted_thinking" {
			return true // the block itself may go quietly
		}
		member := step
		switch {
		case kind != "":
			member = kind + "." + step
		case i > 0:
			member = steps[0] + "." + step
		}
		for _, m := range [...]string{member, step} {
			if _, quiet := wire.LeftOut[m]; quiet && (m == member || m == "cache_control") {
				return true
			}
		}
		if at += "." + step; steps[0] == "messages" && i > 1 && steps[i-1] == "content" || i > 2 && steps[i-2] == "content" {
			if v := gjson.Get(body, at[1:]+".type"); v.Type == gjson.String {
				kind = v.Str
			}
		}
	}
	return false
}
