package messages

import "bytes"

// Verbatim is the body for an upstream that speaks Messages: the caller's bytes with the model's value replaced, and without
// the thinking blocks that Anthropic would refuse: those whose signature is empty, or foreign as told by ours. removed counts
// them. Bodies without any thinking are found by a byte search and never walked.
func (r *Request) Verbatim(model string, ours func(signature string) bool) (body []byte, removed int) {
	var cuts []cut
	quoted := Quote(model)
	for _, m := range r.members {
		switch m.name {
		case "model":
			if !bytes.Equal(r.body[m.value.start:m.value.end], quoted) {
				cuts = append(cuts, cut{m.value, quoted})
			}
		case "messages":
			if raw := r.body[m.value.start:m.value.end]; mentionsThinking(raw) {
				found, n := foreignThinking(raw, ours)
				removed = n
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
		return with.Verbatim(model, ours)
	}
	return apply(r.body, cuts), removed
}

// mentionsThinking reports whether the word stands there in quotes, as it does in every block of that type. It looks for the k:
// searched from its quote, which source code is full of, the word takes five times as long to find.
func mentionsThinking(raw []byte) bool {
	const word, k = `"thinking"`, 5
	for at := 0; ; at++ {
		i := bytes.IndexByte(raw[at:], 'k')
		if i < 0 {
			return false
		}
		if at += i; at >= k && bytes.HasPrefix(raw[at-k:], []byte(word)) {
			return true
		}
	}
}

// foreignThinking finds the spans of the blocks to remove, each with one comma; a message whose blocks would all go goes with
// them, since an assistant message must not be empty. removed counts the blocks. Where no message would be left nothing can be
// mended, and all stay.
func foreignThinking(raw []byte, ours func(string) bool) (out []span, removed int) {
	w := walker{b: raw}
	var msgs elements
	left := false
	for w.enter(); w.next(']'); {
		start, blocks := w.i, elements{}
		if w.peek() == '{' {
			for w.enter(); w.next('}'); {
				if string(w.key()) == "content" && w.peek() == '[' {
					blocks = w.foreign(ours)
				} else {
					w.skip()
				}
			}
		} else {
			w.skip()
		}
		gone := blocks.gone()
		removed += gone
		empty := gone > 0 && gone == len(blocks)
		if !empty {
			out = blocks.cut(out)
			left = true
		}
		msgs = append(msgs, element{span{start, w.i}, empty})
	}
	if !left {
		return nil, 0
	}
	return msgs.cut(out), removed
}

// foreign lists the blocks of the content that comes; gone are the ones to remove.
func (w *walker) foreign(ours func(string) bool) (list elements) {
	for w.enter(); w.next(']'); {
		start := w.i
		if w.peek() != '{' {
			w.skip()
			list = append(list, element{span: span{start, w.i}})
			continue
		}
		kind, signature := "", ""
		for w.enter(); w.next('}'); {
			switch string(w.key()) {
			case "type":
				kind = stringOf(w.skip())
			case "signature":
				signature = wordOf(w.skip())
			default:
				w.skip()
			}
		}
		list = append(list, element{span{start, w.i}, kind == "thinking" && (signature == "" || ours(signature))})
	}
	return list
}

// elements are the places of an array's elements in a body.
type elements []element

type element struct {
	span
	gone bool
}

func (e elements) gone() (n int) {
	for _, x := range e {
		if x.gone {
			n++
		}
	}
	return n
}

// cut adds the spans of the elements that go, each with the comma behind it, or, where all behind it go as well, with the one
// before.
func (e elements) cut(out []span) []span {
	last := len(e) - 1
	for last >= 0 && e[last].gone {
		last--
	}
	for i, x := range e {
		switch {
		case !x.gone:
		case i < last:
			out = append(out, span{x.start, e[i+1].start})
		case i == 0:
			out = append(out, x.span)
		default:
			out = append(out, span{e[i-1].end, x.end})
		}
	}
	return out
}
