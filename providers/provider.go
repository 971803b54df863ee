// Package providers is the upstreams: where to send, how to sign in, what they offer. Each kind is a folder below; what two
// of them share is here or in internal/wire, and they do not know each other.
//
// Read provider.go for the promise a provider makes, registry.go for how one comes to be, upstream.go for the HTTP that
// all of them stand on.
package providers

import (
	"context"
	"iter"
	"net/http"

	"signalbox/config"
	"signalbox/internal/exchange"
	"signalbox/internal/messages"
	"signalbox/internal/sse"
	"signalbox/internal/wire"
)

// Provider is one configured upstream. Implementations are safe for concurrent use.
type Provider interface {
	// Send carries out one attempt. It returns once the upstream has begun to answer with content (the commit), or fails with
	// a *fault.Error. A provider never retries.
	Send(ctx context.Context, call Call) (*Reply, error)
	// Models lists what it offers now.
	Models(ctx context.Context) ([]Model, error)
	// Ping reports whether it can be reached with these credentials. It feeds /health.
	Ping(ctx context.Context) error
}

// TokenCounter is an upstream with a counter of its own.
type TokenCounter interface {
	CountTokens(ctx context.Context, call Call) (int64, error)
}

// Describer is an upstream that says what one model can do. It is asked by people who look for a fault, and not for requests.
type Describer interface {
	Describe(ctx context.Context, model string) (Description, error)
}

// Description is what an upstream says of a model.
type Description struct {
	Limit        int64    // the most tokens that its window can have; 0 when unknown
	Loaded       int64    // the window that it is loaded with now; 0 when it is not loaded or nobody says
	Capabilities []string // in the upstream's words: tools, vision, thinking; nil when it does not say
}

// Passer is an upstream that speaks the caller's own API, so that paths we do not serve can be handed on. Path begins with /v1/. The
// caller closes the response's body.
type Passer interface {
	Pass(ctx context.Context, method, path string, call Call, body []byte) (*http.Response, error)
}

// Model is one model of a provider's list.
type Model struct {
	ID          string // the upstream's own id
	DisplayName string
	Created     int64 // Unix seconds, 0 when unknown
	Window      int64 // context window in tokens, 0 when unknown
	MaxOutput   int64
	Price       *ListPrice
}

// ListPrice is what a provider's own list asks, in decimal dollars a token; an empty member is unknown.
type ListPrice struct{ Input, Output, CacheRead, CacheWrite string }

// Call is one attempt's question.
type Call struct {
	Request    *messages.Request
	Model      string        // the upstream's own id
	Query      string        // the caller's raw query string, for the verbatim lane
	Header     http.Header   // the caller's headers; a provider forwards only what it names itself
	Credential config.Secret // the caller's own, empty unless it may be passed on
	Bearer     bool          // Credential came as Authorization: Bearer
	Strict     bool          // refuse what would be dropped
	Attempt    exchange.AttemptID
}

// Reply is an answer that has begun. Exactly one of Body and Frames is set.
type Reply struct {
	Header http.Header                 // the few upstream headers worth showing: request id, rate limits
	Body   []byte                      // a complete message
	Frames iter.Seq2[sse.Frame, error] // a streamed message; may be ranged over once; a frame's bytes are valid until the next
	Notes  wire.Notes                  // known when the answer began
	Lane   exchange.Lane

	// NotesFunc gives all notes once a streamed answer has ended: reading one may leave more. Nil: Notes are all.
	NotesFunc func() wire.Notes
	// UsageFunc and CloseFunc back the methods; nil is fine.
	UsageFunc func() messages.Usage
	CloseFunc func() error
}

// Usage is known once the answer has ended: from the stream engine when translated, from the tap when verbatim.
func (r *Reply) Usage() messages.Usage {
	if r.UsageFunc == nil {
		return messages.Usage{}
	}
	return r.UsageFunc()
}

// Close is always deferred by whoever got the reply; it is safe after Frames has ended, and stops a stream that was never
// ranged over.
func (r *Reply) Close() error {
	if r.CloseFunc == nil {
		return nil
	}
	return r.CloseFunc()
}
