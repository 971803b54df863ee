package ollamachat

import (
	"bytes"

	"github.com/tidwall/gjson"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// Decode reads a whole reply. A server that streams though it was not asked to is understood as well.
func (j *Job) Decode(body []byte) (*messages.Response, error) {
	body, err := messages.Mended(wire.Trim(body))
	if err != nil {
		if bytes.IndexByte(body, '\n') < 0 {
			return nil, broken("bad_body", "the upstream's answer is no JSON")
		}
		return wire.Collect(j.DecodeStream(bytes.NewReader(body)))
	}
	j.begin()
	if err := j.object(body); err != nil {
		return nil, err
	}
	return j.engine.Response()
}

// begin starts an answer.
func (j *Job) begin() {
	j.engine = wire.NewEngine(j.answer)
}

// object reads one object of the answer: the whole of it, or one line. The bytes are of proven grammar. Whatever is missing,
// null or of another type says nothing; what says nothing at all is passed over.
func (j *Job) object(b []byte) error {
	v := messages.View(b)
	if !v.IsObject() {
		return broken("protocol", "the upstream's answer holds something that is no JSON object")
	}
	var message, prompt, output gjson.Result
	var reason messages.Literal
	done, failed := false, false
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "message":
			message = f
		case "done":
			done = f.Type == gjson.True
		case "done_reason":
			reason = messages.LiteralOf(f)
		case "prompt_eval_count":
			prompt = f
		case "eval_count":
			output = f
		case "error":
			failed = f.Type != gjson.Null && f.Type != gjson.False && f.Raw != `""`
		}
		return true
	})
	if failed {
		return j.failure(b)
	}
	if message.IsObject() {
		j.message(message)
	}
	if done {
		j.usage(prompt, output)
		j.engine.Finish(stopReason(reason.Value()), "")
		if len(j.forced) > 0 && !j.called {
			j.notes.Drop("tool_choice") // the server let the model say something else
		}
	}
	return nil
}

// message feeds what was said in the order in which it was thought: thinking, text, calls.
func (j *Job) message(v gjson.Result) {
	var text, thinking messages.Literal
	var calls gjson.Result
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "content":
			text = messages.LiteralOf(f)
		case "thinking":
			thinking = messages.LiteralOf(f)
		case "tool_calls":
			calls = f
		}
		return true
	})
	j.engine.Thinking(thinking)
	j.free(text)
	j.engine.Text(text)
	if calls.IsArray() {
		calls.ForEach(func(_, call gjson.Result) bool {
			j.call(call)
			return true
		})
	}
}

// call feeds one call. Calls always come whole; their index may be 0 for all of them, and old servers give no id, so two
// calls are two calls whatever they look like.
func (j *Job) call(v gjson.Result) {
	p := wire.Piece{Index: -1, ID: v.Get("id").String(), Name: v.Get("function.name").String(), Whole: true}
	switch args := v.Get("function.arguments"); {
	case args.Type == gjson.String: // some servers behind this interface keep to OpenAI's form
		p.Args = messages.LiteralOf(args)
	default:
		p.Input = messages.RawOf(args)
	}
	if p.ID == "" && p.Name == "" && p.Args.Empty() && p.Input == nil {
		return
	}
	j.engine.Call(p)
}

// usage feeds the final figures. The server leaves out a zero, so a missing output count is one; without the prompt's the
// figures are not known.
func (j *Job) usage(prompt, output gjson.Result) {
	var u messages.Usage
	u.Input, u.Known = messages.Count(prompt)
	if n, ok := messages.Count(output); ok {
		u.Output = n
	} else if output.Exists() && output.Type != gjson.Null {
		u.Known = false
	}
	j.engine.Usage(u)
}

// stopReason is Anthropic's word for a done_reason. There is none for tool calls (the engine sees those itself) and none that
// tells a stop sequence, which is therefore never guessed.
func stopReason(done string) string {
	if done == "length" {
		return "max_tokens"
	}
	return "end_turn"
}

func broken(outcome, message string) *fault.Error {
	return &fault.Error{Kind: fault.Upstream, Message: message, Outcome: outcome}
}
