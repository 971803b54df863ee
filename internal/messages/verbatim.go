package messages

import (
	"bytes"

	"github.com/tidwall/gjson"
)

// Verbatim is the body for an upstream that speaks Messages: the caller's bytes with the model's value replaced, and without
// the thinking blocks that Anthropic would refuse: those whose signature is empty, or foreign as told by ours. removed counts
// them. Bodies without such a block are found by a byte search and never walked.
func (r *Request) Verbatim(model string, ours func(signature string) bool, marker string) (body []byte, removed int) {
	var cuts []cut
	quoted := Quote(model)
	for _, m := range r.members {
		switch m.name {
		case "model":
			if !bytes.Equal(r.body[m.value.start:m.value.end], quoted) {
				cuts = append(cuts, cut{m.value, quoted})
			}
		case "messages":
			if raw := r.body[m.value.start:m.value.end]; suspicious(raw, marker) {
				found := foreignThinking(raw, ours)
				removed = len(found)
				for _, s := range found {
					cuts = append(cuts, cut{span{m.value.start + s.start, m.value.start + s.end}, nil})
				}
			}
		}
	}
	if r.Member("model") == nil {
		// Two walks, but only for a caller who leaves the model to the path.
		with, err := ParseRequest(r.Splice(Edit{"model", quoted}))
		if err != nil {
			return r.body, 0
		}
		return with.Verbatim(model, ours, marker)
	}
	return apply(r.body, cuts), removed
}

func suspicious(raw []byte, marker string) bool {
	if bytes.Contains(raw, []byte(`"signature":""`)) || bytes.Contains(raw, []byte(marker)) {
		return true
	}
	blocks := bytes.Count(raw, []byte(`"thinking"`))
	return blocks > 0 && (blocks > 2*bytes.Count(raw, []byte(`"signature":"`)) || bytes.Contains(raw, []byte(`"signature": ""`)))
}

// foreignThinking finds the spans of the blocks to remove, each with one comma; a message whose blocks would all go goes with
// them, since an assistant message must not be empty.
func foreignThinking(raw []byte, ours func(string) bool) (out []span) {
	list := gjson.Parse(view(raw))
	msgs := spansOf(raw, list)
	n := -1
	list.ForEach(func(_, m gjson.Result) bool {
		n++
		content := m.Get("content")
		if !content.IsArray() {
			return true
		}
		blocks := content.Array()
		var drop []int
		for k, b := range blocks {
			if b.Get("type").Str != "thinking" {
				continue
			}
			if sig := b.Get("signature").String(); sig == "" || ours(sig) {
				drop = append(drop, k)
			}
		}
		if len(drop) == 0 {
			return true
		}
		if len(drop) == len(blocks) {
			out = msgs.without(n, out)
			return true
		}
		spans := spansOf(raw, content)
		for _, k := range drop {
			out = append(out, spans.element(k, drop))
		}
		return true
	})
	return out
}

// elements are the places of an array's elements in a body.
type elements []span

func spansOf(raw []byte, v gjson.Result) (out elements) {
	v.ForEach(func(_, x gjson.Result) bool {
		start := offsetOf(raw, x.Raw)
		out = append(out, span{start, start + len(x.Raw)})
		return true
	})
	return out
}

// element is one element with a comma: the one behind it, or, where everything behind it goes as well, the one before.
func (e elements) element(n int, drop []int) span {
	if tail := len(e) - n; len(drop) >= tail && drop[len(drop)-tail] == n {
		if n > 0 {
			return span{e[n-1].end, e[n].end}
		}
		return e[n]
	}
	return span{e[n].start, e[n+1].start}
}

// without adds the span of a whole message; its neighbours keep their commas.
func (e elements) without(n int, before []span) []span {
	switch {
	case n+1 < len(e):
		return append(before, span{e[n].start, e[n+1].start})
	case n > 0:
		return append(before, span{e[n-1].end, e[n].end})
	}
	return before // the only message: nothing can be mended
}
