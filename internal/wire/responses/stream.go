package responses

import (
	"io"
	"iter"
	"strings"

	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// DecodeStream reads a streamed reply as it comes. A server that answers with one JSON document instead is understood.
func (j *Job) DecodeStream(up io.Reader) iter.Seq2[messages.Event, error] {
	return j.newDecoder().Stream(up)
}

// decoder reads one answer. Nothing of an event outlives it but what the engine has copied.
type decoder struct {
	wire.EventReader
	j *Job
	e *wire.Engine

	items    []*item // in the order in which they were first seen
	speaking *item   // the one that spoke last
	voice    *item   // the message or thought that did
	stop     stopper
	refused  bool // refusal text was shown
	usage    messages.Usage
	counted  bool // usage holds figures
}

func (j *Job) newDecoder() *decoder {
	d := &decoder{j: j, e: j.engine, stop: stopper{stops: j.stops}}
	d.EventReader = wire.EventReader{Engine: j.engine, Provider: j.quirks.Provider, Document: d.whole, Event: d.frame}
	return d
}

// frame reads one event. Its type stands in the data, and mostly as its name, too.
func (d *decoder) frame(name string, v gjson.Result, _ []byte) error {
	if !v.IsObject() {
		return nil
	}
	kind := v.Get("type").String()
	if kind == "" || name == "error" {
		kind = name
	}
	return d.event(kind, v)
}

// event feeds one event.
func (d *decoder) event(kind string, v gjson.Result) error {
	switch kind {
	case "response.output_item.added":
		d.onItemAdded(v)
	case "response.output_item.done":
		d.onItemDone(v)
	case "response.content_part.added":
		d.onPart(v, partKind(v.Get("part")), false)
	case "response.content_part.done":
		d.onPart(v, partKind(v.Get("part")), true)
	case "response.reasoning_summary_part.added":
		d.onPart(v, summary, false)
	case "response.reasoning_summary_part.done":
		d.onPart(v, summary, true)
	case "response.output_text.delta":
		d.onDelta(v, text)
	case "response.output_text.done":
		d.onDone(v, text, messages.LiteralOf(v.Get("text")))
	case "response.refusal.delta":
		d.onDelta(v, refusal)
	case "response.refusal.done":
		d.onDone(v, refusal, messages.LiteralOf(v.Get("refusal")))
	case "response.reasoning_summary_text.delta", "response.reasoning_summary.delta":
		d.onDelta(v, summary)
	case "response.reasoning_summary_text.done", "response.reasoning_summary.done":
		d.onDone(v, summary, messages.LiteralOf(v.Get("text")))
	case "response.reasoning_text.delta", "response.reasoning.delta":
		d.onDelta(v, reasoning)
	case "response.reasoning_text.done", "response.reasoning.done":
		d.onDone(v, reasoning, messages.LiteralOf(v.Get("text")))
	case "response.function_call_arguments.delta":
		d.onDelta(v, arguments)
	case "response.function_call_arguments.done":
		d.onArgumentsDone(v)
	case "response.output_text.annotation.added":
		d.j.notes.Drop("reply.annotations")
	case "response.completed", "response.incomplete", "response.failed", "response.cancelled", "response.canceled", "response.done":
		return d.onEnd(strings.TrimPrefix(kind, "response."), v)
	case "error", "response.error":
		if d.e.Finished() {
			return nil
		}
		return d.Inside([]byte(v.Raw), d.Failure())
	default:
		// An error document among the events, from a server whose gateway speaks for it. Events of tools that the provider runs
		// itself, and those of the future, are passed over: what they came to stands in their item.
		if !strings.HasPrefix(kind, "response.") && wire.IsError(v.Get("error")) && !d.e.Finished() {
			return d.Inside([]byte(v.Raw), d.Failure())
		}
	}
	return nil
}

// onEnd reads the last event of an answer: what was not said yet, the figures, and how it ended.
func (d *decoder) onEnd(kind string, v gjson.Result) error {
	r := readReply(v.Get("response"))
	if !wire.IsError(r.failure) && wire.IsError(v.Get("error")) {
		r.failure = v.Get("error")
	}
	if !r.usage.IsObject() {
		r.usage = v.Get("usage")
	}
	d.count(r.usage)
	d.End()
	return d.end(r, kind)
}

// end settles what the answer holds and feeds its finish. kind is the event's word for the end, "" for a whole reply.
func (d *decoder) end(r reply, kind string) error {
	if d.e.Finished() { // a stop sequence was found before
		d.settleUsage()
		return nil
	}
	status := kind
	if r.status == "failed" || r.status == "incomplete" || r.status == "cancelled" || kind == "" || kind == "done" {
		status = r.status
	}
	if failure := d.failure(r, status); failure != nil {
		d.settleUsage()
		return failure
	}
	d.settleAll(r)
	d.flush()
	reason := "end_turn"
	if status == "incomplete" {
		switch strings.ToLower(r.reason.String()) {
		case "max_output_tokens", "max_tokens", "length":
			reason = "max_tokens"
		case "content_filter":
			reason = "refusal"
		default:
			d.j.notes.Approximate("stop_reason")
		}
	} else if status != "completed" && status != "" && status != "done" {
		d.j.notes.Approximate("stop_reason")
	}
	if d.refused && reason == "end_turn" {
		reason = "refusal"
	}
	d.e.Finish(reason, "")
	d.settleUsage()
	return nil
}

// failure is the error that an answer ended with, if it did. An incomplete one may hold an error that says why.
func (d *decoder) failure(r reply, status string) error {
	switch {
	case wire.IsError(r.failure) && status != "incomplete":
		return d.Inside([]byte(`{"error":`+r.failure.Raw+`}`), d.Failure())
	case status == "failed":
		return d.Broken(d.Failure(), "the upstream failed while it was answering, and did not say why")
	case status == "cancelled", status == "canceled":
		return d.Broken(d.Failure(), "the upstream cancelled its answer")
	}
	return nil
}

// count remembers the newest figures.
func (d *decoder) count(usage gjson.Result) {
	if !usage.IsObject() {
		return
	}
	if u, ok := readUsage(usage); ok || !d.counted {
		d.usage, d.counted = u, ok
	}
}

// settleUsage hands the figures over; they come with the end and not before.
func (d *decoder) settleUsage() {
	u := d.usage
	u.Known = d.counted
	d.e.Usage(u)
}
