package fidelity

import (
	"signalbox/internal/messages"
	"signalbox/internal/wire"
	"signalbox/internal/wire/gemini"
	"signalbox/internal/wire/ollamachat"
	"signalbox/internal/wire/openaichat"
	"signalbox/internal/wire/responses"
	"signalbox/providers"
)

// The columns of the tables.
const (
	Verbatim  = "verbatim"
	Chat      = "chat completions"
	Responses = "Responses"
	Gemini    = "Gemini"
	Ollama    = "Ollama"
)

// Columns are the languages in the order of the page.
var Columns = []string{Verbatim, Chat, Responses, Gemini, Ollama}

// Wire is one speaker of a language: a preset, a kind of model.
type Wire struct {
	Column string
	Name   string // as the page names it beside others of its column
	Model  string
	Encode func(r *messages.Request, strict bool) ([]byte, wire.Notes, error)
}

// Wires are all of them; the first of a column is the ordinary one.
func Wires() []*Wire {
	list := []*Wire{{Column: Verbatim, Name: "verbatim", Model: "claude-target", Encode: verbatim("claude-target")},
		chat("plain", "target", openaichat.Quirks{})}
	for _, name := range providers.PresetNames() {
		p, _ := providers.PresetFor(name)
		model := "target"
		if name == "openai" {
			model = "gpt-4.1"
		}
		list = append(list, chat("`"+name+"`", model, p.Quirks))
	}
	openai, _ := providers.PresetFor("openai")
	groq, _ := providers.PresetFor("groq")
	return append(list,
		chat("`openai` o and gpt-5", "gpt-5.2", openai.Quirks),
		chat("gpt-oss at `groq`, `together`, `fireworks`", "openai/gpt-oss-120b", groq.Quirks),
		chat("OpenRouter", "vendor/target", openaichat.OpenRouter()),
		chat("OpenRouter google/gemini…", "google/gemini-target", openaichat.OpenRouter()),
		respond("o and gpt-5", "gpt-5.2", responses.OpenAI()),
		respond("gpt-4 and older", "gpt-4.1", responses.OpenAI()),
		respond("other servers", "target", responses.Quirks{}),
		google("2.5", "gemini-2.5-flash"),
		google("3", "gemini-3-pro-preview"),
		google("2.0 and Gemma", "gemini-2.0-flash"),
		local("able", ollamachat.Options{Thinking: ollamachat.Yes, Vision: ollamachat.Yes}),
		local("unknown abilities", ollamachat.Options{}),
		local("gpt-oss", ollamachat.Options{Thinking: ollamachat.Yes, Levels: true, Vision: ollamachat.Yes}),
		local("no grammar", ollamachat.Options{Thinking: ollamachat.Yes, Vision: ollamachat.Yes, NoForce: true}),
		local("cannot think", ollamachat.Options{Thinking: ollamachat.No, Vision: ollamachat.Yes}),
		local("cannot see", ollamachat.Options{Thinking: ollamachat.Yes, Vision: ollamachat.No}),
	)
}

// verbatim is what providers do with a body for an upstream that speaks Messages.
func verbatim(model string) func(*messages.Request, bool) ([]byte, wire.Notes, error) {
	return func(r *messages.Request, strict bool) ([]byte, wire.Notes, error) {
		body, notes := providers.VerbatimBody(r, model)
		if strict {
			if err := notes.Refuse(); err != nil {
				return nil, nil, err
			}
		}
		return body, notes, nil
	}
}

// translated reads the conversation, encodes it, and takes the job apart.
func translated[J wire.Job](encode func(c *messages.Conversation, strict bool) (J, error)) func(*messages.Request, bool) ([]byte, wire.Notes, error) {
	return func(r *messages.Request, strict bool) ([]byte, wire.Notes, error) {
		c, err := r.Conversation()
		if err != nil {
			return nil, nil, err
		}
		j, err := encode(c, strict)
		if err != nil {
			return nil, nil, err
		}
		return j.Body(), j.Notes(), nil
	}
}

func chat(name, model string, q openaichat.Quirks) *Wire {
	return &Wire{Chat, name, model, translated(func(c *messages.Conversation, strict bool) (*openaichat.Job, error) {
		q.Strict = strict
		return openaichat.Encode(c, model, q)
	})}
}

func respond(name, model string, q responses.Quirks) *Wire {
	return &Wire{Responses, name, model, translated(func(c *messages.Conversation, strict bool) (*responses.Job, error) {
		q.Strict = strict
		return responses.Encode(c, model, q)
	})}
}

func google(name, model string) *Wire {
	return &Wire{Gemini, name, model, translated(func(c *messages.Conversation, strict bool) (*gemini.Job, error) {
		return gemini.Encode(c, model, gemini.Options{Strict: strict})
	})}
}

func local(name string, o ollamachat.Options) *Wire {
	return &Wire{Ollama, name, "target", translated(func(c *messages.Conversation, strict bool) (*ollamachat.Job, error) {
		o.Strict = strict
		return ollamachat.Encode(c, "target", o)
	})}
}
