package openaichat

import (
	"io"
	"iter"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/money"
	"signalbox/internal/wire"
)

// DecodeStream reads a streamed reply as it comes. A server that answers with one JSON document instead is understood.
func (j *Job) DecodeStream(up io.Reader) iter.Seq2[messages.Event, error] {
	return j.newDecoder().Stream(up)
}

// decoder reads one answer. Nothing of a chunk outlives it but what the engine has copied.
type decoder struct {
	wire.EventReader
	j *Job
	e *wire.Engine

	state   details // opaque reasoning state not yet handed over
	refused bool    // refusal text was shown
	said    bool    // text or a call came: more than reasoning
	usage   messages.Usage
	counted bool // usage holds figures
	fresh   bool // usage was read since it was last handed over
}

func (j *Job) newDecoder() *decoder {
	d := &decoder{j: j, e: j.engine}
	d.EventReader = wire.EventReader{Engine: j.engine, Provider: j.quirks.Provider, Document: d.whole, Event: d.frame}
	return d
}

// frame reads one event.
func (d *decoder) frame(name string, v gjson.Result, data []byte) error {
	switch {
	case name == "error":
		return d.Inside(data, wire.Midstream)
	case !v.IsObject():
		return nil
	}
	return d.chunk(v)
}

// top is what matters of a chunk's or a reply's outermost object.
type top struct{ choice gjson.Result }

// members reads the outermost object: usage first of all, for an error may come with it and may have cost something.
func (d *decoder) members(v gjson.Result, outcome string) (c top, err error) {
	var failure, object, usage gjson.Result
	doc := v
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "choices":
			f.ForEach(func(_, x gjson.Result) bool {
				if i := x.Get("index"); x.IsObject() && (i.Type != gjson.Number || i.Num == 0) {
					c.choice = x
					return false
				}
				return true
			})
		case "usage":
			usage = f
		case "x_groq":
			if u := f.Get("usage"); u.IsObject() && !usage.IsObject() {
				usage = u
			}
			if e := f.Get("error"); wire.IsError(e) {
				failure, doc = e, e
			}
		case "error":
			if wire.IsError(f) {
				failure = f
			}
		case "object", "type":
			if f.Str == "error" {
				object = f
			}
		}
		return true
	})
	d.count(usage)
	if failure.Exists() || object.Exists() {
		return c, d.Inside([]byte(doc.Raw), outcome)
	}
	return c, nil
}

// count remembers the newest figures.
func (d *decoder) count(usage gjson.Result) {
	if !usage.IsObject() {
		return
	}
	u, ok := d.readUsage(usage)
	if !ok && d.counted {
		return
	}
	if u.Cost == nil {
		u.Cost = d.usage.Cost
	}
	d.usage, d.counted, d.fresh = u, ok, true
}

// settle hands the figures over. Some servers report with every chunk, so only those that stand once the finish has come are
// final.
func (d *decoder) settle() {
	if !d.fresh {
		return
	}
	u := d.usage
	u.Known = d.counted && d.e.Finished()
	d.e.Usage(u)
	d.fresh = !d.e.Finished()
}

// chunk feeds one chunk: what it says, then its finish. Chunks without a choice, without a delta and with an empty one are
// normal.
func (d *decoder) chunk(v gjson.Result) error {
	outcome := d.Failure()
	c, err := d.members(v, outcome)
	if err != nil {
		d.settle()
		return err
	}
	if c.choice.Exists() {
		ch := d.readChoice(c.choice)
		switch {
		case ch.delta.IsObject():
			d.speech(ch.delta, false)
		case ch.message.IsObject() && !d.e.Started():
			d.speech(ch.message, true) // the whole message as one event
		}
		if err := d.failed(&ch, outcome); err != nil {
			d.settle()
			return err
		}
		if ch.finish != "" {
			d.finish(&ch)
		}
	}
	d.settle()
	return nil
}

// choice is one choice of a chunk or of a reply.
type choice struct {
	delta, message, failure gjson.Result
	finish, native          string
	stopped                 messages.Literal // vLLM, SGLang: the text that matched
}

func (d *decoder) readChoice(v gjson.Result) (ch choice) {
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "delta":
			ch.delta = f
		case "message":
			ch.message = f
		case "finish_reason":
			if f.Type == gjson.String {
				ch.finish = f.Str
			}
		case "native_finish_reason":
			if f.Type == gjson.String {
				ch.native = f.Str
			}
		case "stop_reason", "matched_stop":
			if l := messages.LiteralOf(f); !l.Empty() {
				ch.stopped = l
			}
		case "error":
			if wire.IsError(f) {
				ch.failure = f
			}
		case "usage": // Moonshot
			d.count(f)
		}
		return true
	})
	return ch
}

// speech feeds what a delta or a message says: reasoning, text, refusal, calls, in this order. whole says that its calls are
// complete.
func (d *decoder) speech(v gjson.Result, whole bool) {
	var content, reasoning, reasoningContent, state, calls, call, refusal gjson.Result
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "content":
			content = f
		case "reasoning_content":
			reasoningContent = f
		case "reasoning":
			reasoning = f
		case "reasoning_details":
			state = f
		case "refusal":
			refusal = f
		case "tool_calls":
			calls = f
		case "function_call":
			call = f
		case "annotations":
			d.lost(f, "reply.annotations")
		case "images", "audio":
			d.lost(f, "reply.content_part")
		}
		return true
	})
	d.reasoning(state, reasoningContent, reasoning)
	d.content(content)
	if l := messages.LiteralOf(refusal); !l.Empty() {
		d.refused = true
		d.text(l)
	}
	if calls.IsArray() {
		calls.ForEach(func(_, c gjson.Result) bool {
			d.call(c, whole)
			return true
		})
	}
	if call.IsObject() { // the dialect's first form: one call, without an id
		d.piece(-1, "", call, whole)
	}
}

// lost notes a part of the answer that no block of ours holds, unless it is null or empty, as many servers always send it.
func (d *decoder) lost(v gjson.Result, field string) {
	something := false
	if v.IsArray() || v.IsObject() {
		v.ForEach(func(_, _ gjson.Result) bool { something = true; return false })
	}
	if something {
		d.j.notes.Drop(field)
	}
}

// reasoning feeds readable reasoning. One text may come under several names at once; it is used once.
func (d *decoder) reasoning(state, reasoningContent, reasoning gjson.Result) {
	said := false
	if state.IsArray() {
		if d.j.quirks.ReasoningBack == "reasoning_details" {
			d.state.add(state)
		}
		state.ForEach(func(_, x gjson.Result) bool {
			for _, l := range [...]messages.Literal{messages.LiteralOf(x.Get("text")), messages.LiteralOf(x.Get("summary"))} {
				if !l.Empty() {
					said = true
					d.e.Thinking(l)
				}
			}
			return true
		})
	}
	for _, l := range [...]messages.Literal{messages.LiteralOf(reasoningContent), messages.LiteralOf(reasoning)} {
		if !said && !l.Empty() {
			said = true
			d.e.Thinking(l)
		}
	}
}

// content feeds a text, or a list of parts (Mistral).
func (d *decoder) content(v gjson.Result) {
	if v.Type == gjson.String {
		d.text(messages.LiteralOf(v))
		return
	}
	if !v.IsArray() {
		return
	}
	v.ForEach(func(_, p gjson.Result) bool {
		switch p.Get("type").Str {
		case "text", "output_text":
			d.text(messages.LiteralOf(p.Get("text")))
		case "refusal":
			if l := messages.LiteralOf(p.Get("refusal")); !l.Empty() {
				d.refused = true
				d.text(l)
			}
		case "thinking":
			t := p.Get("thinking")
			d.e.Thinking(messages.LiteralOf(t))
			if t.IsArray() {
				t.ForEach(func(_, x gjson.Result) bool {
					d.e.Thinking(messages.LiteralOf(x.Get("text")))
					return true
				})
			}
		default:
			if p.Type == gjson.String {
				d.text(messages.LiteralOf(p))
			} else {
				d.j.notes.Drop("reply.content_part")
			}
		}
		return true
	})
}

func (d *decoder) text(l messages.Literal) {
	if !l.Empty() {
		d.said = true
		d.handOver()
		d.e.Text(l)
	}
}

// handOver gives the engine the state that belongs to the thinking so far, before anything else is said.
func (d *decoder) handOver() {
	if len(d.state.entries) > 0 {
		d.e.Carry(d.state.take())
	}
}

func (d *decoder) call(c gjson.Result, whole bool) {
	if !c.IsObject() {
		return
	}
	index := -1
	if i := c.Get("index"); i.Type == gjson.Number && i.Num >= 0 && i.Num < 1<<20 && !whole {
		index = int(i.Num)
	}
	f := c.Get("function")
	if !f.IsObject() {
		f = c // some servers leave the wrapping out
	}
	d.piece(index, c.Get("id").Str, f, whole)
}

func (d *decoder) piece(index int, id string, function gjson.Result, whole bool) {
	p := wire.Piece{Index: index, ID: strings.Clone(id), Whole: whole}
	function.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "name":
			if f.Type == gjson.String {
				p.Name = strings.Clone(f.Str)
			}
		case "arguments":
			switch {
			case f.IsObject():
				p.Input = jsontext.Value(messages.RawOf(f))
			case f.Type == gjson.String, f.Type == gjson.Null:
				p.Args = messages.LiteralOf(f)
			default: // a list or a number is no arguments, and never none
				p.Args = messages.Quote(f.Raw)
			}
		}
		return true
	})
	d.said = true
	d.handOver()
	d.e.Call(p)
}

// failed finds the failures that show in a choice: an error of its own, the finish reason error, or a native reason that
// tells of one when there is no more than reasoning.
func (d *decoder) failed(ch *choice, outcome string) error {
	switch {
	case ch.failure.Exists():
		return d.Inside([]byte(ch.failure.Raw), outcome)
	case ch.finish == "error":
		return d.Broken(outcome, errorFinish)
	case errorNative(ch.native) && !d.said:
		return d.Broken(outcome, "the upstream's model stopped with "+strings.Clone(ch.native)+" and gave no answer")
	}
	return nil
}

// finish maps the finish reason to Anthropic's words.
func (d *decoder) finish(ch *choice) {
	if d.e.Finished() {
		return
	}
	if len(d.state.entries) > 0 && d.e.EndsInText() {
		// A block that only carries it would hide the words before it, and nothing that is still to come needs it.
		d.state = details{}
		d.j.notes.Drop("reply.reasoning_state")
	}
	d.handOver()
	reason, sequence := "", ""
	switch strings.ToLower(ch.finish) {
	case "stop", "eos", "end_turn", "completed", "stop_sequence":
		reason = "end_turn"
		for _, s := range d.j.stops {
			if !ch.stopped.Empty() && ch.stopped.Value() == s {
				reason, sequence = "stop_sequence", s
			}
		}
	case "tool_calls", "function_call", "tool_use":
		reason = "tool_use"
	case "length", "max_tokens", "model_length":
		reason = "max_tokens"
	case "content_filter", "safety", "recitation", "blocklist", "prohibited_content", "spii", "refusal":
		reason = "refusal"
	default:
		reason = "end_turn"
		d.j.notes.Approximate("stop_reason")
	}
	if d.refused && reason == "end_turn" {
		reason = "refusal"
	}
	d.e.Finish(reason, sequence)
	d.fresh = d.counted || d.fresh
}

// cost is what the provider says it charged. With the caller's own key at the provider behind it, OpenRouter's figure is its
// own share alone.
func cost(usage gjson.Result) *money.Amount {
	sum, known := money.Amount(0), false
	add := func(v gjson.Result) {
		if v.Type == gjson.Number {
			if a, err := money.ParseAmount(v.Raw); err == nil && a >= 0 {
				sum, known = sum+a, true
			}
		}
	}
	add(usage.Get("cost"))
	if known && usage.Get("is_byok").Bool() {
		add(usage.Get("cost_details.upstream_inference_cost"))
	}
	if !known {
		return nil
	}
	return &sum
}
