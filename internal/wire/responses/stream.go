package responses

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"strings"

	"github.com/tidwall/gjson"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/sse"
	"signalbox/internal/wire"
)

// DecodeStream reads a streamed reply as it comes. A server that answers with one JSON document instead is understood.
func (j *Job) DecodeStream(up io.Reader) iter.Seq2[messages.Event, error] {
	d := j.newDecoder()
	d.up = up
	events := j.engine.Stream(up, d.next)
	return func(yield func(messages.Event, error) bool) {
		for ev, err := range events {
			if err != nil {
				err = j.named(err)
			}
			if !yield(ev, err) {
				return
			}
		}
	}
}

// named puts the provider's name on an error of the engine or the reader.
func (j *Job) named(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Provider == "" {
		f.Provider = j.quirks.Provider
	}
	return err
}

// decoder reads one answer. Nothing of an event outlives it but what the engine has copied.
type decoder struct {
	j      *Job
	e      *wire.Engine
	up     io.Reader
	frames *sse.Reader

	items    []*item // in the order in which they were first seen
	speaking *item   // the one that spoke last
	stop     stopper
	refused  bool // refusal text was shown
	usage    messages.Usage
	counted  bool // usage holds figures
	ended    bool
}

func (j *Job) newDecoder() *decoder {
	return &decoder{j: j, e: j.engine, stop: stopper{stops: j.stops}}
}

// next reads one frame and feeds the engine.
func (d *decoder) next() error {
	if d.ended {
		return io.EOF
	}
	if d.frames == nil {
		frames, document, err := wire.Open(d.up)
		switch {
		case err != nil:
			return err
		case document != nil:
			d.ended = true
			return d.whole(document)
		}
		d.frames = frames
	}
	f, err := d.frames.Next()
	if err != nil {
		if errors.Is(err, sse.ErrTooLong) {
			return d.j.broken(protocol, "the upstream sent an event longer than the limit")
		}
		return err
	}
	if f.Lull() {
		return wire.ErrLull
	}
	data := bytes.TrimSpace(f.Data)
	switch {
	case len(data) == 0:
		return nil
	case string(data) == "[DONE]": // a habit from the other dialect; it says nothing here
		d.ended = true
		return nil
	case !valid(data):
		switch {
		case d.e.Finished(): // talk after the end is not listened to
			return nil
		case f.Event == "error":
			return d.j.inside(data, d.outcome())
		}
		return d.j.broken(protocol, "the upstream sent an event that is not JSON")
	}
	v := messages.View(data)
	if !v.IsObject() {
		return nil
	}
	kind := v.Get("type").String()
	if kind == "" || f.Event == "error" {
		kind = f.Event
	}
	return d.event(kind, v)
}

// outcome is the label of a failure that the upstream tells of now.
func (d *decoder) outcome() string {
	if d.e.Started() {
		return midstream
	}
	return errorIn200
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
		return d.j.inside([]byte(v.Raw), d.outcome())
	default:
		// An error document among the events, from a server whose gateway speaks for it. Events of tools that the provider runs
		// itself, and those of the future, are passed over: what they came to stands in their item.
		if !strings.HasPrefix(kind, "response.") && isError(v.Get("error")) && !d.e.Finished() {
			return d.j.inside([]byte(v.Raw), d.outcome())
		}
	}
	return nil
}

// onEnd reads the last event of an answer: what was not said yet, the figures, and how it ended.
func (d *decoder) onEnd(kind string, v gjson.Result) error {
	r := readReply(v.Get("response"))
	if !isError(r.failure) && isError(v.Get("error")) {
		r.failure = v.Get("error")
	}
	if !r.usage.IsObject() {
		r.usage = v.Get("usage")
	}
	d.count(r.usage)
	d.ended = true
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
	case isError(r.failure) && status != "incomplete":
		return d.j.inside([]byte(`{"error":`+r.failure.Raw+`}`), d.outcome())
	case status == "failed":
		return d.j.broken(d.outcome(), "the upstream failed while it was answering, and did not say why")
	case status == "cancelled", status == "canceled":
		return d.j.broken(d.outcome(), "the upstream cancelled its answer")
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
