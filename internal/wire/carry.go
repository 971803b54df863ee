package wire

import (
	"errors"
	"strings"

	"signalbox/internal/fault"
)

// CarryPrefix begins every signature of ours: state of a provider that we carry in a thinking block's signature (rule H3), or
// the mark that a block was not made by Anthropic. Behind it come the provider's name, a dot, and the state in base64url.
const CarryPrefix = "sbx1."

// OwnSignature reports whether a thinking block's signature is one of ours.
func OwnSignature(s string) bool { return strings.HasPrefix(s, CarryPrefix) }

// StateRefused reports whether an upstream's error says that it cannot read state which was given back to it: another account
// made it, another model, or too long ago. Nothing has been done then, so the same request may go once more without.
func StateRefused(err error) bool {
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.Invalid {
		return false
	}
	text := strings.ToLower(f.Message)
	if strings.Contains(text, "missing") { // it wants more state, not less
		return false
	}
	for _, name := range [...]string{"encrypted content", "encrypted_content", "thought signature", "thought_signature", "thoughtsignature", "reasoning_details"} {
		if strings.Contains(text, name) {
			return true
		}
	}
	return false
}
