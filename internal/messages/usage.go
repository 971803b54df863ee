package messages

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"signalbox/internal/money"
)

// MaxCount is the largest token count that is believed; above it (or below zero, or not whole) a figure is unknown.
const MaxCount = 1_000_000_000

// Usage is what an answer consumed, in tokens. Input excludes cached tokens, Output includes Thinking.
type Usage struct {
	Input, Output, Thinking               int64
	CacheRead, CacheWrite5m, CacheWrite1h int64
	WebSearches                           int64
	Tier                                  string        // service tier the upstream names
	Cost                                  *money.Amount // what the upstream itself says it charged; nil if it does not say
	// Known says that the upstream reported its final usage. A zero it states is zero, not missing.
	Known bool
}

// Prompt is all prompt tokens, cached ones included.
func (u Usage) Prompt() int64 { return u.Input + u.CacheRead + u.CacheWrite5m + u.CacheWrite1h }

// AppendJSON writes the usage object of a message or of the final message_delta.
func (u Usage) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"input_tokens":`...)
	dst = strconv.AppendInt(dst, u.Input, 10)
	dst = append(dst, `,"cache_creation_input_tokens":`...)
	dst = strconv.AppendInt(dst, u.CacheWrite5m+u.CacheWrite1h, 10)
	dst = append(dst, `,"cache_read_input_tokens":`...)
	dst = strconv.AppendInt(dst, u.CacheRead, 10)
	dst = append(dst, `,"output_tokens":`...)
	dst = strconv.AppendInt(dst, u.Output, 10)
	if u.Thinking > 0 {
		dst = append(dst, `,"output_tokens_details":{"thinking_tokens":`...)
		dst = strconv.AppendInt(dst, u.Thinking, 10)
		dst = append(dst, '}')
	}
	return append(dst, '}')
}

// Count reads a token count that must be a whole number from 0 to MaxCount, also where a server that knows only floats writes
// it as 7.0; anything else is unknown.
func Count(v gjson.Result) (n int64, ok bool) {
	if v.Type != gjson.Number {
		return 0, false
	}
	whole, fraction, _ := strings.Cut(v.Raw, ".")
	if strings.Trim(fraction, "0") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n < 0 || n > MaxCount {
		return 0, false
	}
	return n, true
}

// MergeUsage reads an Anthropic usage object over u: members that are there overwrite, since figures in message_delta are
// cumulative. final says that the object came with the end of the answer. It is the tap's reader in the verbatim lane.
func (u *Usage) MergeUsage(v gjson.Result, final bool) {
	if !v.IsObject() {
		return
	}
	set := func(dst *int64, path string) bool {
		n, ok := Count(v.Get(path))
		if ok {
			*dst = n
		}
		return ok
	}
	set(&u.Input, "input_tokens")
	set(&u.CacheRead, "cache_read_input_tokens")
	if set(&u.CacheWrite5m, "cache_creation_input_tokens") {
		u.CacheWrite1h = 0
	}
	if c := v.Get("cache_creation"); c.IsObject() {
		set(&u.CacheWrite5m, "cache_creation.ephemeral_5m_input_tokens")
		set(&u.CacheWrite1h, "cache_creation.ephemeral_1h_input_tokens")
	}
	set(&u.Thinking, "output_tokens_details.thinking_tokens")
	set(&u.WebSearches, "server_tool_use.web_search_requests")
	if t := v.Get("service_tier"); t.Type == gjson.String {
		u.Tier = t.Str
	}
	if set(&u.Output, "output_tokens") && final {
		u.Known = true
	}
	if c := v.Get("cost"); c.Type == gjson.Number { // OpenRouter's Messages endpoint
		if a, err := money.ParseAmount(c.Raw); err == nil && a >= 0 {
			u.Cost = &a
		}
	}
}
