package wire

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"signalbox/internal/fault"
)

// Concessions are what a request goes without because the upstream has refused it as it was, before it did anything. Each is
// noted.
type Concessions struct {
	// NoState leaves opaque reasoning state of earlier turns at home: another account made it, another model, or too long ago.
	NoState bool
	// StandIn puts what the upstream documents for it where it misses the state of a call that it did not make itself.
	StandIn bool
	// NoThinking asks for no reasoning: the model has none.
	NoThinking bool
	// NoSummary asks for no summary of the reasoning: this account is not shown any.
	NoSummary bool
	// Bridge puts a message of the assistant between results and what the user says behind them, without which older models of
	// Mistral's take no user there.
	Bridge bool
	// Reasoning gives every turn with calls its reasoning back as reasoning_content, or says that there is none: servers that
	// think by themselves refuse such turns without.
	Reasoning bool
	// MaxCompletion gives the output limit its newer name, max_completion_tokens, and NoSampling leaves temperature and top_p out:
	// models that reason want both, behind addresses that do not tell.
	MaxCompletion, NoSampling bool
	// MaxCallID is the longest id of a call that goes up, in characters; 0 when nobody has said. The ids of some servers are longer
	// than those that others take.
	MaxCallID int
	// MaxOutput is the most output tokens that the model gives; 0 when nobody has said.
	MaxOutput int64
}

// Yield says which concessions a dialect can make, beside MaxOutput, which all can: what would change nothing is not sent again.
type Yield uint16

// One for each member of Concessions.
const (
	YieldState Yield = 1 << iota
	YieldStandIn
	YieldThinking
	YieldSummary
	YieldBridge
	YieldReasoning
	YieldCompletion
	YieldSampling
	YieldCallID
)

// Causes of failures that a dialect knows to be over the state of earlier turns, and that this request can yet do something about.
var (
	ErrStateStale  = errors.New("the state of earlier turns is of no use any more")
	ErrStateMissed = errors.New("a call has lost its state")
)

// After learns from an error what to concede. It reports false when there is nothing, nothing new, or nothing that the dialect could
// do.
func (c *Concessions) After(err error, can Yield) bool {
	var f *fault.Error
	if !errors.As(err, &f) {
		return false
	}
	refused := f.Kind == fault.Invalid || f.Kind == fault.NotFound // the latter of an item that it looked up
	if n := outputLimit(f.Message); refused && n > 0 && (c.MaxOutput == 0 || n < c.MaxOutput) {
		c.MaxOutput = n
		return true
	}
	if n := idLimit(f.Message); refused && n > 0 && c.MaxCallID == 0 && can&YieldCallID != 0 {
		c.MaxCallID = n
		return true
	}
	text := strings.ToLower(f.Message)
	for _, x := range [...]struct {
		conceded *bool
		yield    Yield
		asked    bool
	}{
		{&c.NoState, YieldState, errors.Is(err, ErrStateStale)},
		{&c.StandIn, YieldStandIn, errors.Is(err, ErrStateMissed)},
		{&c.MaxCompletion, YieldCompletion, refused && strings.Contains(text, "'max_tokens' is not supported") && strings.Contains(text, "max_completion_tokens")},
		{&c.NoSampling, YieldSampling, refused && fixedSampling.MatchString(text)},
		{&c.Bridge, YieldBridge, refused && strings.Contains(text, "unexpected role 'user' after role 'tool'")},
		{&c.Reasoning, YieldReasoning, refused && reasoningMissed(text)},
		{&c.NoThinking, YieldThinking, refused && noThinking.MatchString(text)},
		{&c.NoSummary, YieldSummary, refused && noSummary.MatchString(text)},
		{&c.NoState, YieldState, refused && stateRefused(text)},
	} {
		if x.asked && can&x.yield != 0 {
			again := !*x.conceded
			*x.conceded = true
			return again
		}
	}
	return false
}

// Lasting are the concessions that hold for a model's next requests too. State is given back again, since the next conversation
// has its own.
func (c Concessions) Lasting() Concessions {
	c.NoState = false
	return c
}

// Limit is max_tokens as it may be sent.
func (c *Concessions) Limit(maxTokens int64, notes *Notes) int64 {
	if c.MaxOutput == 0 || maxTokens <= c.MaxOutput {
		return maxTokens
	}
	notes.Approximate("max_tokens")
	return c.MaxOutput
}

// fixedSampling are OpenAI's and Moonshot's words for a model that samples as it likes.
var fixedSampling = regexp.MustCompile(`'(?:temperature|top_p)' (?:does not support|is not supported)|invalid (?:temperature|top_p): only .{1,10} is allowed`)

// The words of the Responses API for reasoning that is not to be had, and for summaries that are not.
var (
	noThinking = regexp.MustCompile(`encrypted content is not supported|'reasoning(?:\.effort)?' is not supported`)
	noSummary  = regexp.MustCompile(`verified to generate reasoning summar|'reasoning\.summary'`)
)

// reasoningMissed reads the words of Moonshot and DeepSeek.
func reasoningMissed(text string) bool {
	return strings.Contains(text, "reasoning_content") && (strings.Contains(text, "is missing in assistant") || strings.Contains(text, "must be passed back"))
}

func stateRefused(text string) bool {
	if strings.Contains(text, "missing") { // it wants more state, not less
		return false
	}
	for _, name := range [...]string{"encrypted content", "encrypted_content", "thought signature", "thought_signature", "thoughtsignature", "reasoning_details",
		"without its required following item", "items are not persisted"} {
		if strings.Contains(text, name) {
			return true
		}
	}
	return false
}

// tooMuchOutput are the words for a max_tokens beyond what the model gives, as OpenAI, DeepSeek, Groq, Volcengine, Gemini and
// Anthropic's own say it. Agents ask for as much as their own models give.
var tooMuchOutput = []*regexp.Regexp{
	regexp.MustCompile(`supports at most (\d+) (?:completion|output) tokens`),
	regexp.MustCompile(`valid range of max_(?:completion_)?tokens is \[\d+, ?(\d+)\]`),
	regexp.MustCompile("max_(?:completion_)?tokens`? must be less than or equal to `?(\\d+)"),
	regexp.MustCompile(`max_(?:completion_|output_)?tokens\b.{0,120}?expected a value <= (\d+)`),
	regexp.MustCompile(`maxOutputTokens.{0,60}?supported range is from \d+ \(inclusive\) to (\d+) (\(exclusive\))?`),
	regexp.MustCompile(`max_tokens: \d+ > (\d+), which is the maximum allowed number of output tokens`),
}

// tooLongID are OpenAI's words for the id of a call, which Azure and Copilot say too.
var tooLongID = regexp.MustCompile(`(?:tool_calls\[\d+\]\.id|tool_call_id|call_id)': string too long\. Expected a string with maximum length (\d{2,4})\b`)

// idLimit is how long an id may be, where that is what was wrong and our short ones are short enough.
func idLimit(message string) int {
	if m := tooLongID.FindStringSubmatch(message); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n >= shortID {
			return n
		}
	}
	return 0
}

func outputLimit(message string) int64 {
	for _, form := range tooMuchOutput {
		m := form.FindStringSubmatch(message)
		if m == nil {
			continue
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if len(m) > 2 && m[2] != "" {
			n--
		}
		if err == nil && n > 0 {
			return n
		}
	}
	return 0
}
