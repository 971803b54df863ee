package wire

import "strings"

// CarryPrefix begins every signature of ours: state of a provider that we carry in a thinking block's signature (rule H3), or
// the mark that a block was not made by Anthropic. Behind it come the provider's name, a dot, and the state in base64url.
const CarryPrefix = "sbx1."

// OwnSignature reports whether a thinking block's signature is one of ours.
func OwnSignature(s string) bool { return strings.HasPrefix(s, CarryPrefix) }
