package providers

import (
	"bytes"
	"net/http"
	"strings"

	"signalbox/config"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// Bearer sets a provider's key as Authorization: Bearer, and the extra headers of its configuration.
func Bearer(cfg config.Provider) func(http.Header) {
	return func(h http.Header) {
		if !cfg.APIKey.Empty() {
			h.Set("Authorization", "Bearer "+cfg.APIKey.Reveal())
		}
		Extra(h, cfg)
	}
}

// Extra sets the configured extra headers. They never replace the framing of a request.
func Extra(h http.Header, cfg config.Provider) {
	for k, v := range cfg.Headers {
		switch strings.ToLower(k) {
		case "host", "content-length", "transfer-encoding", "connection", "idempotency-key", "x-idempotency-key":
		default:
			h.Set(k, v)
		}
	}
}

// Anthropic sets the headers of an upstream that speaks Messages: the caller's anthropic-* (an open list, betas included), what
// tells clients apart, and one credential: the provider's own key, or the caller's where the provider has none.
func Anthropic(call Call, cfg config.Provider) func(http.Header) {
	return func(h http.Header) {
		for k, v := range call.Header {
			low := strings.ToLower(k)
			switch {
			case hopByHop(call.Header, k):
			case credential(low):
			case strings.HasPrefix(low, "anthropic-"), strings.HasPrefix(low, "x-claude-code-"), low == "x-app", low == "user-agent":
				h[k] = v
			}
		}
		if h.Get("Anthropic-Version") == "" {
			h.Set("Anthropic-Version", "2023-06-01")
		}
		switch {
		case !cfg.APIKey.Empty():
			h.Set("X-Api-Key", cfg.APIKey.Reveal())
		case call.Credential.Empty():
		case call.Bearer:
			h.Set("Authorization", "Bearer "+call.Credential.Reveal())
		default:
			h.Set("X-Api-Key", call.Credential.Reveal())
		}
		Extra(h, cfg)
	}
}

// credential reports whether a header of an open list sounds like a key: a caller's never passes by its name alone.
func credential(low string) bool {
	for _, end := range [...]string{"-key", "-token", "-secret", "-authorization"} {
		if strings.HasSuffix(low, end) {
			return true
		}
	}
	return false
}

// hopByHop reports whether the caller's Connection header names a header: then it was meant for us alone.
func hopByHop(h http.Header, name string) bool {
	for _, line := range h["Connection"] {
		for _, token := range strings.Split(line, ",") {
			if strings.EqualFold(strings.TrimSpace(token), name) {
				return true
			}
		}
	}
	return false
}

// scrub cuts the provider's own key out of a text that an upstream wrote.
func scrub(text string, key config.Secret) string {
	if key.Empty() {
		return text
	}
	return wire.Scrub(text, key.Reveal())
}

// reason is a network's failure for the log, without the credentials that went up with the request.
type reason struct {
	err  error
	sent http.Header
}

func (r *reason) Unwrap() error { return r.err }

func (r *reason) Error() string {
	text := r.err.Error()
	for k, values := range r.sent {
		switch k {
		case "Content-Type", "Accept", "User-Agent":
			continue
		}
		for _, v := range values {
			v = strings.TrimPrefix(v, "Bearer ")
			if len(v) >= 4 {
				text = strings.ReplaceAll(text, v, "[redacted]")
			}
		}
	}
	const most = 500
	text = strings.ToValidUTF8(text, "\ufffd")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// holdsSecret reports whether a text repeats the key, as it is or spelled with JSON's escapes.
func holdsSecret(body []byte, key config.Secret) bool {
	if key.Empty() {
		return false
	}
	k := []byte(key.Reveal())
	if bytes.Contains(body, k) {
		return true
	}
	if bytes.IndexByte(body, '\\') < 0 || messages.Valid(body) != nil {
		return false
	}
	// Only the escapes matter here, so the document is decoded as if it were one string; its braces stand for the quotes.
	return bytes.Contains(messages.Literal(bytes.TrimSpace(body)).AppendValue(nil), k)
}
