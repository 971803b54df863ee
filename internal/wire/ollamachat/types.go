package ollamachat

import "signalbox/internal/wire"

// Capability is what is known of a model's ability.
type Capability uint8

// Unknown is the zero value: the server did not say, so the request is sent as the caller asked.
const (
	Unknown Capability = iota
	Yes
	No
)

// Options is what the provider knows and the caller does not.
type Options struct {
	Provider string // named in errors; "ollama" when empty
	// NumCtx is the window in tokens; 0 leaves it to the server. A value that changes between two requests reloads the model.
	NumCtx int
	// KeepAlive is how long the model stays loaded, as Ollama writes it ("10m", "-1"); empty leaves it to the server.
	KeepAlive string
	Thinking  Capability // can the model think?
	Levels    bool       // its thinking has levels (low, medium, high); others refuse the words
	Vision    Capability // can it see images?
	Strict    bool       // refuse what would be dropped
	TextTools wire.TextTools
	NoForce   bool // no call is made a format: one that must be made is only offered, none stands beside the answer's own
}

func (o *Options) provider() string {
	if o.Provider == "" {
		return "ollama"
	}
	return o.Provider
}

var _ wire.Job = (*Job)(nil)
