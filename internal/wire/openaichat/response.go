package openaichat

import (
	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// Decode reads a whole reply. The errors are *fault.Error: an error document in spite of the 200, a body that is no reply. A
// server that streams though it was not asked to is understood.
func (j *Job) Decode(body []byte) (*messages.Response, error) {
	return j.newDecoder().Whole(body)
}

// whole feeds the engine from one JSON document, thinking first, then text, then calls, and finishes it.
func (d *decoder) whole(v gjson.Result, body []byte) error {
	if v.IsArray() { // an error document in a list
		if doc := v.Get("0"); wire.IsError(doc.Get("error")) {
			return d.Inside([]byte(doc.Raw), wire.ErrorIn200)
		}
	}
	if !v.IsObject() {
		return d.Broken(wire.BadBody, "the upstream answered 200 with JSON that is no reply")
	}
	c, err := d.members(v, wire.ErrorIn200)
	if err != nil {
		return err
	}
	if !c.choice.Exists() {
		return d.Broken(wire.BadBody, noChoices(body))
	}
	ch := d.readChoice(c.choice)
	said := ch.message
	if !said.IsObject() {
		said = ch.delta // the form of a chunk in a whole reply
	}
	if !said.IsObject() {
		return d.Broken(wire.BadBody, "the upstream's reply has a choice without a message")
	}
	d.speech(said, true)
	if err := d.failed(&ch, wire.ErrorIn200); err != nil {
		return err
	}
	if !d.e.Finished() {
		if ch.finish == "" {
			ch.finish = "stop" // the document is whole, so the answer is
		}
		d.finish(&ch)
	}
	d.settle()
	return nil
}

// noChoices says what a reply without choices says itself, if anything.
func noChoices(body []byte) string {
	if text := wire.ErrorText(body); text != "" {
		return "the upstream answered 200 without a choice: " + text
	}
	return "the upstream answered 200 without a choice"
}

// usage reads the figures of a usage object; ok is false when one of the two that matter is missing or senseless.
func (d *decoder) readUsage(v gjson.Result) (u messages.Usage, ok bool) {
	var prompt, cached, written, hit, miss int64
	var hasPrompt, hasOutput, hasMiss, hasHit bool
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "prompt_tokens":
			prompt, hasPrompt = messages.Count(f)
		case "completion_tokens":
			u.Output, hasOutput = messages.Count(f)
		case "prompt_tokens_details":
			f.ForEach(func(k, f gjson.Result) bool {
				switch k.Str {
				case "cached_tokens":
					cached, _ = messages.Count(f)
				case "cache_write_tokens":
					written, _ = messages.Count(f)
				}
				return true
			})
		case "completion_tokens_details":
			u.Thinking, _ = messages.Count(f.Get("reasoning_tokens"))
		case "cached_tokens": // Moonshot
			if n, ok := messages.Count(f); ok && cached == 0 {
				cached = n
			}
		case "prompt_cache_hit_tokens": // DeepSeek
			hit, hasHit = messages.Count(f)
		case "prompt_cache_miss_tokens":
			miss, hasMiss = messages.Count(f)
		}
		return true
	})
	if hasHit && hasMiss {
		u.Input, u.CacheRead = miss, hit
		hasPrompt = true
	} else {
		u.CacheRead = min(cached, prompt)
		u.CacheWrite5m = min(written, prompt-u.CacheRead)
		u.Input = prompt - u.CacheRead - u.CacheWrite5m
	}
	u.Thinking = min(u.Thinking, u.Output)
	if d.j.quirks.Cost {
		u.Cost = cost(v)
	}
	return u, hasPrompt && hasOutput
}
