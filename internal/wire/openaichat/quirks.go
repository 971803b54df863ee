package openaichat

import (
	"crypto/sha256"
	"strings"

	"signalbox/internal/wire"
)

// Yields are the concessions that this dialect can make.
const Yields = wire.YieldState | wire.YieldBridge | wire.YieldReasoning | wire.YieldCompletion | wire.YieldSampling | wire.YieldCallID

// Quirks are the differences between speakers of this dialect, as named values. The zero value is the plain dialect. The
// tags are the names in presets.json.
type Quirks struct {
	// MaxTokensField is the name of the output limit: max_tokens (default) or max_completion_tokens.
	MaxTokensField string `json:"max_tokens_field"`
	// NoStreamUsage leaves out stream_options: the server refuses it, and reports usage anyway.
	NoStreamUsage bool `json:"no_stream_usage"`
	// SystemInPlace lets a system message stand anywhere in the conversation.
	SystemInPlace bool `json:"system_in_place"`
	// MaxStop is how many stop sequences are taken: 0 is four, -1 is any number.
	MaxStop int `json:"max_stop"`
	// TopK sends top_k.
	TopK bool `json:"top_k"`
	// ToolChoiceAny is the word for "some tool": required (default) or any.
	ToolChoiceAny string `json:"tool_choice_any"`
	// NoParallelToolCalls leaves out parallel_tool_calls, which the server does not know.
	NoParallelToolCalls bool `json:"no_parallel_tool_calls"`
	// NoJSONSchema leaves out response_format, whose json_schema form the server refuses.
	NoJSONSchema bool `json:"no_json_schema"`
	// NoFiles refuses PDF documents.
	NoFiles bool `json:"no_files"`
	// CallID is the form of call ids: empty (as they are) or mistral9 (nine letters or digits).
	CallID string `json:"call_id"`
	// Prefix marks a last message of the assistant as the beginning of the answer; the server refuses it without.
	Prefix bool `json:"prefix"`
	// SafetyIdentifier sends a hash of metadata.user_id.
	SafetyIdentifier bool `json:"safety_identifier"`

	// Think is the way to ask for reasoning: empty (none), openai (reasoning_effort, for the models of OpenAI that reason), effort
	// (reasoning_effort, for models of EffortModels), type (thinking: {type}), template (chat_template_kwargs), openrouter
	// (the reasoning object).
	Think string `json:"think"`
	// EffortModels are pieces of the names of models that take reasoning_effort; none means all.
	EffortModels []string `json:"effort_models"`
	// ReasoningBack is the member of an assistant message that carries earlier reasoning back, in turns with calls:
	// reasoning_content, reasoning_details, or empty when the server has no place for it.
	ReasoningBack string `json:"reasoning_back"`
	// CacheControl keeps cache_control on text parts for models that start with one of these.
	CacheControl []string `json:"cache_control"`
	// Cost reads usage.cost as what the provider charged, in dollars.
	Cost bool `json:"cost"`

	// Provider is the configured provider's name, for errors and for the model that is echoed when the caller named none.
	Provider         string `json:"-"`
	wire.Concessions `json:"-"`
	// TextTools looks for tool calls in the text.
	TextTools wire.TextTools `json:"-"`
	// Strict refuses what would be dropped.
	Strict bool `json:"-"`
}

// OpenRouter is what OpenRouter adds to the dialect.
func OpenRouter() Quirks {
	return Quirks{Think: "openrouter", TopK: true, Cost: true, ReasoningBack: "reasoning_details", CacheControl: []string{"anthropic/", "google/gemini", "~anthropic/"}}
}

const defaultMaxStop = 4

func (q *Quirks) maxTokensField() string {
	if q.MaxTokensField == "" {
		return "max_tokens"
	}
	return q.MaxTokensField
}

func (q *Quirks) maxStop() int {
	if q.MaxStop == 0 {
		return defaultMaxStop
	}
	return q.MaxStop
}

func (q *Quirks) caches(model string) bool {
	for _, p := range q.CacheControl {
		if strings.HasPrefix(model, p) {
			return true
		}
	}
	return false
}

func (q *Quirks) callID() func(string) string {
	switch {
	case q.CallID == "mistral9":
		return mistral9
	case q.MaxCallID > 0:
		return wire.ShortID(q.MaxCallID)
	}
	return nil
}

// mistral9 makes an id of nine letters or digits, the same for a call and its result. One that has the form already is
// Mistral's own.
func mistral9(id string) string {
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	if len(id) == 9 && strings.Trim(id, letters) == "" {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	b := make([]byte, 9)
	for i := range b {
		b[i] = letters[int(sum[i])%len(letters)]
	}
	return string(b)
}
