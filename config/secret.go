package config

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
)

// Redacted is what a secret prints as.
const Redacted = "[redacted]"

// Secret is a key. Whatever prints it prints [redacted]; Reveal is called only where a header is set, so one search shows
// every use.
type Secret struct {
	value string
	// unread marks a value that came from a file or the environment and may still be env:NAME or file:/path.
	unread bool
	// literal marks a key that stands in the file itself, so that others must not be able to read the file.
	literal bool
}

// NewSecret wraps a key.
func NewSecret(s string) Secret { return Secret{value: s} }

// Reveal gives the key itself.
func (s Secret) Reveal() string { return s.value }

// Empty reports whether there is no key.
func (s Secret) Empty() bool { return s.value == "" }

// Equal compares in constant time.
func (s Secret) Equal(o string) bool {
	a, b := sha256.Sum256([]byte(s.value)), sha256.Sum256([]byte(o))
	return s.value != "" && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// String prints [redacted], or nothing for no key.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return Redacted
}

// GoString is String.
func (s Secret) GoString() string { return s.String() }

// Format prints [redacted] whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText is String, for JSON, YAML and logrus alike.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON is String.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }

// MarshalYAML is String.
func (s Secret) MarshalYAML() (any, error) { return s.String(), nil }

// NoCredential is what a client of ours sends that wants a credential and whose user has none. It is no secret: a gateway without
// keys takes any word, and this one is never taken for a caller's own.
const NoCredential = "signalbox"
