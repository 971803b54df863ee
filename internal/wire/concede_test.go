package wire

import (
	"testing"

	"signalbox/internal/fault"
)

func TestConcessions(t *testing.T) {
	for name, c := range map[string]struct {
		kind    fault.Kind
		message string
		had     Concessions
		want    Concessions
		again   bool
	}{
		"it hears OpenAI":                           {fault.Invalid, "up: max_tokens is too large: 32000. This model supports at most 16384 completion tokens, whereas you provided 32000.", Concessions{}, Concessions{MaxOutput: 16384}, true},
		"it hears DeepSeek":                         {fault.Invalid, "up: Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", Concessions{}, Concessions{MaxOutput: 8192}, true},
		"it hears Groq":                             {fault.Invalid, "up: `max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model", Concessions{}, Concessions{MaxOutput: 8192}, true},
		"it hears Volcengine":                       {fault.Invalid, "The parameter `max_completion_tokens` specified in the request are not valid: integer above maximum value, expected a value <= 12288, but got 32000 instead.", Concessions{}, Concessions{MaxOutput: 12288}, true},
		"it hears Gemini":                           {fault.Invalid, "Unable to submit request because it has a maxOutputTokens value of 100000 but the supported range is from 1 (inclusive) to 65537 (exclusive). Update the value and try again.", Concessions{}, Concessions{MaxOutput: 65536}, true},
		"it hears Anthropic's words":                {fault.Invalid, "max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens for claude-x", Concessions{}, Concessions{MaxOutput: 64000}, true},
		"it does not ask twice for the same":        {fault.Invalid, "the valid range of max_tokens is [1, 8192]", Concessions{MaxOutput: 8192}, Concessions{MaxOutput: 8192}, false},
		"it goes lower when it must":                {fault.Invalid, "the valid range of max_tokens is [1, 4096]", Concessions{MaxOutput: 8192}, Concessions{MaxOutput: 4096}, true},
		"it gives up state":                         {fault.Invalid, "The encrypted content could not be verified.", Concessions{MaxOutput: 5}, Concessions{NoState: true, MaxOutput: 5}, true},
		"it gives up state once":                    {fault.Invalid, "Corrupted thought signature.", Concessions{NoState: true}, Concessions{NoState: true}, false},
		"it gives Moonshot the reasoning back":      {fault.Invalid, "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2", Concessions{}, Concessions{Reasoning: true}, true},
		"it gives DeepSeek the reasoning back":      {fault.Invalid, "The `reasoning_content` in the thinking mode must be passed back to the API.", Concessions{}, Concessions{Reasoning: true}, true},
		"it gives it back once":                     {fault.Invalid, "The `reasoning_content` in the thinking mode must be passed back to the API.", Concessions{Reasoning: true}, Concessions{Reasoning: true}, false},
		"it knows who wants none":                   {fault.Invalid, "property 'reasoning_content' is unsupported", Concessions{}, Concessions{}, false},
		"it shortens ids for OpenAI":                {fault.Invalid, "Invalid 'messages[2].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got a string with length 46 instead.", Concessions{}, Concessions{MaxCallID: 40}, true},
		"it shortens ids once":                      {fault.Invalid, "Invalid 'input[9].call_id': string too long. Expected a string with maximum length 64, but got a string with length 116 instead.", Concessions{MaxCallID: 40}, Concessions{MaxCallID: 40}, false},
		"it cannot shorten below its own ids":       {fault.Invalid, "Invalid 'messages[2].tool_call_id': string too long. Expected a string with maximum length 36, but got a string with length 46 instead.", Concessions{}, Concessions{}, false},
		"it shortens nothing but ids":               {fault.Invalid, "Invalid 'messages[2].content': string too long. Expected a string with maximum length 1048576, but got a string with length 2000000 instead.", Concessions{}, Concessions{}, false},
		"it names the limit as a reasoner wants it": {fault.Invalid, "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", Concessions{}, Concessions{MaxCompletion: true}, true},
		"it leaves the temperature to OpenAI":       {fault.Invalid, "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.", Concessions{MaxCompletion: true}, Concessions{MaxCompletion: true, NoSampling: true}, true},
		"it leaves top_p to OpenAI":                 {fault.Invalid, "Unsupported parameter: 'top_p' is not supported with this model.", Concessions{}, Concessions{NoSampling: true}, true},
		"it leaves the temperature to Moonshot":     {fault.Invalid, "invalid temperature: only 1 is allowed for this model", Concessions{}, Concessions{NoSampling: true}, true},
		"it minds a senseless temperature":          {fault.Invalid, "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 7 instead.", Concessions{}, Concessions{}, false},
		"it lets the assistant speak between":       {fault.Invalid, "Provider returned error: Unexpected role 'user' after role 'tool' (provider: Mistral)", Concessions{}, Concessions{Bridge: true}, true},
		"it lets the assistant speak once":          {fault.Invalid, "Unexpected role 'user' after role 'tool'", Concessions{Bridge: true}, Concessions{Bridge: true}, false},
		"it keeps state that is missed":             {fault.Invalid, "Function call is missing a thought_signature in functionCall parts.", Concessions{}, Concessions{}, false},
		"it learns nothing of other refusals":       {fault.Invalid, "max_tokens: must be a number", Concessions{}, Concessions{}, false},
		"it learns nothing of other failures":       {fault.Upstream, "the valid range of max_tokens is [1, 4096]", Concessions{}, Concessions{}, false},
		"it takes no limit of zero":                 {fault.Invalid, "the valid range of max_tokens is [0, 0]", Concessions{}, Concessions{}, false},
		"it takes no limit beyond all":              {fault.Invalid, "the valid range of max_tokens is [1, 99999999999999999999]", Concessions{}, Concessions{}, false},
		"it gives up an item left alone":            {fault.Invalid, "Item 'rs_1' of type 'reasoning' was provided without its required following item.", Concessions{}, Concessions{NoState: true}, true},
		"it gives up an item nobody finds":          {fault.NotFound, "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false.", Concessions{}, Concessions{NoState: true}, true},
		"it learns nothing of what is not there":    {fault.NotFound, "model not found", Concessions{}, Concessions{}, false},
		"it gives up reasoning":                     {fault.Invalid, "Encrypted content is not supported with this model.", Concessions{}, Concessions{NoThinking: true}, true},
		"it gives up an effort":                     {fault.Invalid, "Unsupported parameter: 'reasoning.effort' is not supported with this model.", Concessions{}, Concessions{NoThinking: true}, true},
		"it gives up reasoning once":                {fault.Invalid, "Encrypted content is not supported with this model.", Concessions{NoThinking: true}, Concessions{NoThinking: true}, false},
		"it gives up summaries":                     {fault.Invalid, "Your organization must be verified to generate reasoning summaries.", Concessions{}, Concessions{NoSummary: true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.had
			if again := got.After(&fault.Error{Kind: c.kind, Message: c.message}, ^Yield(0)); again != c.again || got != c.want {
				t.Errorf("%+v, again %v; want %+v, %v", got, again, c.want, c.again)
			}
		})
	}
}

func TestConcessionsByCause(t *testing.T) {
	for name, c := range map[string]struct {
		kind      fault.Kind
		cause     error
		had, want Concessions
		again     bool
	}{
		"it gives up state that is stale":       {fault.Upstream, ErrStateStale, Concessions{}, Concessions{NoState: true}, true},
		"it gives it up once":                   {fault.Upstream, ErrStateStale, Concessions{NoState: true}, Concessions{NoState: true}, false},
		"it puts something in for state":        {fault.Invalid, ErrStateMissed, Concessions{NoState: true}, Concessions{NoState: true, StandIn: true}, true},
		"it puts that in once":                  {fault.Invalid, ErrStateMissed, Concessions{StandIn: true}, Concessions{StandIn: true}, false},
		"it learns nothing of what has no name": {fault.Upstream, nil, Concessions{}, Concessions{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.had
			if again := got.After(&fault.Error{Kind: c.kind, Cause: c.cause}, ^Yield(0)); again != c.again || got != c.want {
				t.Errorf("%+v, again %v; want %+v, %v", got, again, c.want, c.again)
			}
		})
	}
}
