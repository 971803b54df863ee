package gemini

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

// document feeds the engine from one JSON document: a reply, or the list of replies that a stream is without alt=sse.
func (d *decoder) document(v gjson.Result, body []byte) error {
	d.whole = true
	var err error
	switch {
	case v.IsArray():
		err = d.chunks(v)
	case v.IsObject():
		err = d.chunk(v)
	default:
		err = d.Broken(wire.BadBody, "the upstream answered 200 with JSON that is no reply")
	}
	if err != nil {
		return err
	}
	if d.pending {
		return d.stop()
	}
	d.endText(false)
	switch {
	case d.e.Finished():
		return nil
	case d.e.Started() && v.IsObject():
		return d.stop() // the document is whole, so the answer is
	case d.e.Started():
		return nil // a list that ends too soon: the engine says so
	}
	if text := wire.ErrorText(body); text != "" {
		return d.Broken(wire.BadBody, "the upstream answered 200 without a candidate: "+text)
	}
	return d.Broken(wire.BadBody, "the upstream answered 200 without a candidate")
}

// readUsage reads the figures of a usageMetadata object; ok is false when it does not say what the prompt was. Counters of zero
// are left out by the API.
func readUsage(v gjson.Result) (u messages.Usage, ok bool) {
	var prompt, cached, tools, said, total int64
	var hasSaid, hasTotal bool
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "promptTokenCount":
			prompt, ok = messages.Count(f)
		case "cachedContentTokenCount":
			cached, _ = messages.Count(f)
		case "toolUsePromptTokenCount":
			tools, _ = messages.Count(f)
		case "candidatesTokenCount":
			said, hasSaid = messages.Count(f)
		case "thoughtsTokenCount":
			u.Thinking, _ = messages.Count(f)
		case "totalTokenCount":
			total, hasTotal = messages.Count(f)
		}
		return true
	})
	u.CacheRead = min(cached, prompt)
	u.Input = prompt - u.CacheRead + tools
	u.Output = said + u.Thinking
	if rest := total - prompt - tools; !hasSaid && hasTotal && rest > u.Output {
		u.Output = rest
	}
	return u, ok
}
