package gemini

import (
	"bytes"
	"io"
	"iter"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// DecodeStream reads a streamed reply as it comes. A server that answers with one JSON document, or with a list of them,
// instead of events is understood.
func (j *Job) DecodeStream(up io.Reader) iter.Seq2[messages.Event, error] {
	return j.newDecoder().Stream(up)
}

// spoken is the kind of the part that was said last.
type spoken uint8

const (
	silence spoken = iota
	thought
	text
	call
)

// decoder reads one answer. Nothing of a chunk outlives it but what the engine has copied.
type decoder struct {
	wire.EventReader
	j *Job
	e *wire.Engine

	last    spoken
	signed  bool               // the thinking block in progress carries a signature
	whole   bool               // all of the answer is there already
	called  bool               // the answer holds a call
	run     int                // bytes of the text in progress
	marks   []state            // signatures on pieces of it that were not carried yet
	texts   []messages.Literal // the text in progress, where all is there already
	counted bool               // figures were read
	stopped bool               // a STOP has ended the answer
	early   bool               // one came too early: only the end of the data counts
	pending bool               // a STOP waits for that end
	usage   messages.Usage
}

func (j *Job) newDecoder() *decoder {
	d := &decoder{j: j, e: j.engine}
	d.EventReader = wire.EventReader{Engine: j.engine, Provider: j.o.Provider, Document: d.document, Event: d.frame, Last: d.end}
	return d
}

// frame reads one event: a chunk, or a list of them.
func (d *decoder) frame(name string, v gjson.Result, data []byte) (err error) {
	switch {
	case name == "error":
		return d.Inside(data, wire.Midstream)
	case v.IsArray():
		return d.chunks(v)
	case !v.IsObject():
		return nil
	}
	return d.chunk(v)
}

func (d *decoder) chunks(list gjson.Result) (err error) {
	list.ForEach(func(_, x gjson.Result) bool {
		if x.IsObject() {
			err = d.chunk(x)
		}
		return err == nil
	})
	return err
}

// chunk feeds one chunk, which is a reply in part: what it says, then its finish. Chunks without a candidate, and candidates
// without parts, are normal.
func (d *decoder) chunk(v gjson.Result) error {
	outcome := d.Failure()
	var failure, candidate, blocked gjson.Result
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "candidates":
			f.ForEach(func(_, x gjson.Result) bool {
				if i := x.Get("index"); x.IsObject() && (i.Type != gjson.Number || i.Num == 0) {
					candidate = x
					return false
				}
				return true
			})
		case "usageMetadata":
			if u, ok := readUsage(f); f.IsObject() && (ok || !d.counted) {
				d.usage, d.counted = u, ok
			}
		case "promptFeedback":
			blocked = f.Get("blockReason")
		case "error":
			if wire.IsError(f) {
				failure = f
			}
		}
		return true
	})
	d.settle() // what is known stands at the beginning of the answer
	defer d.settle()
	if failure.Exists() {
		return d.failed([]byte(v.Raw), outcome)
	}
	parts := candidate.Get("content.parts")
	if d.stopped && candidate.Get("finishReason").Str != "" && says(parts) {
		// It stops with every chunk. One that goes on without a reason is talking behind its end, and is not listened to.
		d.e.Resume()
		d.stopped, d.early = false, true
	}
	if candidate.Exists() && !d.e.Finished() {
		parts.ForEach(func(_, p gjson.Result) bool {
			d.part(p)
			return true
		})
		if reason := candidate.Get("finishReason"); reason.Type == gjson.String {
			if err := d.finish(reason.Str, candidate.Get("finishMessage")); err != nil {
				return err
			}
		}
	}
	if blocked.Type == gjson.String && blocked.Str != "" && blocked.Str != "BLOCK_REASON_UNSPECIFIED" {
		d.endText(false)
		d.e.Finish("refusal", "")
	}
	return nil
}

// failed is an error document that came with a 200. A key that Google does not know stays the gateway's trouble there too.
func (d *decoder) failed(doc []byte, outcome string) error {
	e := d.Inside(doc, outcome)
	if bytes.Contains(doc, []byte("API_KEY_INVALID")) {
		e = ReadError(d.j.o.Provider, http.StatusBadRequest, nil, doc)
		e.Outcome = outcome
	}
	return e
}

// settle hands the figures over. They come with every chunk, so only those that stand once the finish has come are final.
func (d *decoder) settle() {
	if !d.counted {
		return
	}
	u := d.usage
	u.Known = d.e.Finished()
	d.e.Usage(u)
}

// part feeds one part, and carries the signature that belongs to it.
func (d *decoder) part(v gjson.Result) {
	var said, function, signature gjson.Result
	isThought, other := false, false
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "text":
			said = f
		case "thought":
			isThought = f.Type == gjson.True
		case "thoughtSignature":
			signature = f
		case "functionCall":
			function = f
		case "thoughtSignatureMetadata", "partMetadata", "videoMetadata", "mediaResolution":
		default:
			other = true
		}
		return true
	})
	l := messages.LiteralOf(said)
	s := state{signature: messages.LiteralOf(signature).Value()}
	switch {
	case function.IsObject():
		d.endText(true)
		s.on, s.ids = onCall, function.Get("id").Str != ""
		d.carry(s)
		d.call(function)
	case isThought && l.Empty() && s.signature == "":
	case isThought:
		d.endText(true)
		if !l.Empty() {
			if d.signed && d.last == thought {
				d.e.Apart() // the thought behind a signed one is not of its part
			}
			d.e.Thinking(l)
			d.last, d.signed = thought, false
		}
		s.on = onThought
		d.carry(s)
	case !l.Empty():
		d.text(l, s)
	case other:
		d.j.notes.Drop("reply.content_part") // code that ran at Google, an image: no block of ours holds it
	case s.signature != "" && d.last == text:
		s.from = d.run
		d.marks = append(d.marks, s)
	default:
		s.on = onEmpty
		d.carry(s)
	}
}

// text feeds a piece of text. A signature on it must be carried in front of all the text, so that an answer does not end in a
// block without a word: agents show the last block as the result. Where the text has been given already, it waits to see what
// comes behind.
func (d *decoder) text(l messages.Literal, s state) {
	if d.last != text {
		d.run = 0
	}
	n := len(l.Value())
	if s.signature != "" {
		s.from, s.size = d.run, n
		if d.run == 0 && !d.whole {
			s.on = onNext
			d.carry(s)
		} else {
			d.marks = append(d.marks, s)
		}
	}
	d.run += n
	d.last = text
	if d.whole {
		d.texts = append(d.texts, l)
	} else {
		d.e.Text(l)
	}
}

// endText ends the text in progress. Its signatures that wait are carried behind it if something follows, be it only a call's
// result; Gemini does not insist on those of an answer's last words.
func (d *decoder) endText(follows bool) {
	marks, texts := d.marks, d.texts
	d.marks, d.texts = nil, nil
	for _, s := range marks {
		switch {
		case d.whole:
			s.on = onNext
			d.carry(s)
		case follows, d.called:
			s.on = onLast
			d.carry(s)
		default:
			d.j.notes.Drop("reply.thought_signature")
		}
	}
	for _, l := range texts {
		d.e.Text(l)
	}
}

// carry packs a signature into a thinking block.
func (d *decoder) carry(s state) {
	if d.e.Finished() {
		return
	}
	packed := s.pack()
	if packed == "" {
		if s.signature != "" {
			d.j.notes.Drop("reply.thought_signature")
		}
		return
	}
	d.e.Carry(packed)
	d.last, d.signed = thought, true
}

func (d *decoder) call(function gjson.Result) {
	p := wire.Piece{Index: -1, Whole: true}
	function.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "id":
			p.ID = messages.LiteralOf(f).Value()
		case "name":
			p.Name = messages.LiteralOf(f).Value()
		case "args":
			switch {
			case f.IsObject():
				p.Input = jsontext.Value(messages.RawOf(f))
			case f.Type == gjson.String:
				p.Args = messages.LiteralOf(f)
			case f.Type != gjson.Null:
				p.Args = messages.Quote(strings.Clone(f.Raw)) // no object: the engine says so
			}
		}
		return true
	})
	d.e.Call(p)
	d.last, d.called = call, true
}

// finish maps the finish reason to Anthropic's words. The kinds that tell of a call nobody could read are errors.
func (d *decoder) finish(said string, message gjson.Result) error {
	reason := ""
	if said == "" || said == "FINISH_REASON_UNSPECIFIED" {
		return nil // what a chunk in the middle may say
	}
	if said == "STOP" {
		// Some models, and servers that translate to this dialect, say it with every chunk, or before they have said a word.
		if d.pending = d.whole || d.early || !d.e.Started(); !d.pending {
			d.stopped = true
			return d.stop()
		}
		return nil
	}
	d.endText(false)
	switch said {
	case "MAX_TOKENS":
		reason = "max_tokens"
	case "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION":
		reason = "refusal"
	case "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE":
		outcome := d.Failure()
		text := "the upstream's model stopped with " + said
		if message.Type == gjson.String {
			if more := wire.ErrorText([]byte(message.Raw)); more != "" {
				text += ": " + more
			}
		}
		f := d.Broken(outcome, text)
		if said == "MISSING_THOUGHT_SIGNATURE" && d.j.unsigned && !d.e.Started() {
			f.Cause = wire.ErrStateMissed
		}
		return f
	default:
		reason = "end_turn"
		d.j.notes.Approximate("stop_reason")
	}
	d.e.Finish(reason, "")
	return nil
}

// stop ends the answer with a STOP.
func (d *decoder) stop() error {
	d.pending = false
	d.endText(false)
	if !d.e.Started() && d.counted && d.usage.Output == 0 {
		f := d.Broken(empty, "the upstream's model stopped and said nothing at all")
		f.Void = true // no token was made
		if d.j.stated {
			f.Cause = wire.ErrStateStale // signatures that are too old do this, and without them there is an answer
		}
		return f
	}
	d.e.Finish("end_turn", "")
	d.settle()
	return nil
}

// end is the end of the data, at which a STOP counts that was waiting for it.
func (d *decoder) end() error {
	if d.pending && !d.e.Finished() {
		return d.stop()
	}
	return nil
}

// says reports whether there is anything to be heard in parts.
func says(parts gjson.Result) (something bool) {
	parts.ForEach(func(_, p gjson.Result) bool {
		something = p.Get("functionCall").IsObject() || p.Get("text").String() != ""
		return !something
	})
	return something
}
