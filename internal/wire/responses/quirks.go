package responses

import "signalbox/internal/wire"

// Yields are the concessions that this dialect can make.
const Yields = wire.YieldState | wire.YieldThinking | wire.YieldSummary | wire.YieldCallID

// Quirks are the differences between speakers of this dialect, as named values. The zero value is the plain dialect, which
// every server that offers it should understand.
type Quirks struct {
	// SystemInPlace lets a message of the developer stand anywhere in the input. Templates of other servers often allow one at
	// the beginning only.
	SystemInPlace bool
	// ShortCallIDs maps call ids longer than 64 characters, which OpenAI refuses.
	ShortCallIDs bool
	// Phases marks the assistant's messages as commentary or final answer, for the models that ask for it.
	Phases bool

	// Provider is the configured provider's name: for errors, for the model that is echoed when the caller named none, and as
	// the owner of the state that is carried.
	Provider string
	wire.Concessions
	// Strict refuses what would be dropped.
	Strict bool
}

// OpenAI is OpenAI's own server.
func OpenAI() Quirks { return Quirks{SystemInPlace: true, ShortCallIDs: true, Phases: true} }
