package responses

import (
	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// Decode reads a whole reply. The errors are *fault.Error: an error document in spite of the 200, a reply that failed or is not
// complete, a body that is no reply. A server that streams though it was not asked to is understood.
func (j *Job) Decode(body []byte) (*messages.Response, error) {
	return j.newDecoder().Whole(body)
}

// whole feeds the engine from one JSON document, item by item, and finishes it.
func (d *decoder) whole(v gjson.Result, body []byte) error {
	if v.IsArray() { // an error document in a list
		if doc := v.Get("0"); wire.IsError(doc.Get("error")) {
			return d.Inside([]byte(doc.Raw), wire.ErrorIn200)
		}
	}
	if !v.IsObject() {
		return d.Broken(wire.BadBody, "the upstream answered 200 with JSON that is no reply")
	}
	if v.Get("type").Str == "error" {
		return d.Inside(body, wire.ErrorIn200)
	}
	r := readReply(v)
	if inner := v.Get("response"); !r.output.IsArray() && inner.IsObject() {
		r = readReply(inner) // the form of the last event
	}
	d.count(r.usage)
	switch {
	case wire.IsError(r.failure), r.status == "failed", r.status == "cancelled":
	case r.status == "in_progress", r.status == "queued":
		return d.Broken(wire.BadBody, "the upstream answered with a reply that is not complete")
	case !r.output.IsArray() && r.text.Empty():
		return d.Broken(wire.BadBody, noOutput(body))
	}
	return d.end(r, "")
}

// noOutput says what a reply without an output says itself, if anything.
func noOutput(body []byte) string {
	if text := wire.ErrorText(body); text != "" {
		return "the upstream answered 200 without an output: " + text
	}
	return "the upstream answered 200 without an output"
}

// reply is what matters of a response object.
type reply struct {
	status                         string
	output, usage, failure, reason gjson.Result
	text                           messages.Literal // all text at once, which some servers give beside or instead of the output
}

func readReply(v gjson.Result) (r reply) {
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "status":
			if f.Type == gjson.String {
				r.status = f.Str
			}
		case "output":
			r.output = f
		case "output_text":
			r.text = messages.LiteralOf(f)
		case "usage":
			r.usage = f
		case "error":
			r.failure = f
		case "incomplete_details":
			r.reason = f.Get("reason")
		}
		return true
	})
	return r
}

// readUsage reads the figures of a usage object; ok is false when one of the two that matter is missing or senseless.
func readUsage(v gjson.Result) (u messages.Usage, ok bool) {
	var prompt, cached, written int64
	var hasInput, hasOutput bool
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "input_tokens":
			prompt, hasInput = messages.Count(f)
		case "output_tokens":
			u.Output, hasOutput = messages.Count(f)
		case "input_tokens_details":
			cached, _ = messages.Count(f.Get("cached_tokens"))
			written, _ = messages.Count(f.Get("cache_write_tokens"))
		case "output_tokens_details":
			u.Thinking, _ = messages.Count(f.Get("reasoning_tokens"))
		}
		return true
	})
	u.CacheRead = min(cached, prompt)
	u.CacheWrite5m = min(written, prompt-u.CacheRead)
	u.Input = prompt - u.CacheRead - u.CacheWrite5m
	u.Thinking = min(u.Thinking, u.Output)
	return u, hasInput && hasOutput
}
