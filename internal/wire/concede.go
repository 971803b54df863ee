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
	// MaxOutput is the most output tokens that the model gives; 0 when nobody has said.
	MaxOutput int64
}

// Causes of failures that a dialect knows to be over the state of earlier turns, and that this request can yet do something about.
var (
	ErrStateStale  = errors.New("the state of earlier turns is of no use any more")
	ErrStateMissed = errors.New("a call has lost its state")
)

// After learns from an error what to concede. It reports false when there is nothing, or nothing new.
func (c *Concessions) After(err error) bool {
	var f *fault.Error
	if !errors.As(err, &f) {
		return false
	}
	switch {
	case !c.NoState && errors.Is(err, ErrStateStale):
		c.NoState = true
		return true
	case !c.StandIn && errors.Is(err, ErrStateMissed):
		c.StandIn = true
		return true
	case f.Kind != fault.Invalid && f.Kind != fault.NotFound: // of an item that it looked up
		return false
	}
	if n := outputLimit(f.Message); n > 0 && (c.MaxOutput == 0 || n < c.MaxOutput) {
		c.MaxOutput = n
		return true
	}
	for _, x := range [...]struct {
		conceded *bool
		refused  bool
	}{
		{&c.NoThinking, noThinking.MatchString(f.Message)},
		{&c.NoSummary, noSummary.MatchString(f.Message)},
		{&c.NoState, stateRefused(f.Message)},
	} {
		if x.refused {
			again := !*x.conceded
			*x.conceded = true
			return again
		}
	}
	return false
}

// Lasting is what holds for every request to the model. State is given back again: the next conversation has its own.
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

// The words of the Responses API for reasoning that is not to be had, and for summaries that are not.
var (
	noThinking = regexp.MustCompile(`(?i)encrypted content is not supported|'reasoning(?:\.effort)?' is not supported`)
	noSummary  = regexp.MustCompile(`(?i)verified to generate reasoning summar|'reasoning\.summary'`)
)

func stateRefused(message string) bool {
	text := strings.ToLower(message)
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
