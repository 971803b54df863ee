// Package providers is the upstreams: where to send, how to sign in, what they offer. Each kind is a folder below; what two
// of them share is here or in internal/wire, and they do not know each other.
//
// Read provider.go for the promise a provider makes, registry.go for how one comes to be, upstream.go for the HTTP that
// all of them stand on.
package providers

import (
	"context"
	"errors"
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

// TokenCounter is an upstream with a counter of its own. The error is ErrNoCounter when it turns out to have none.
type TokenCounter interface {
	CountTokens(ctx context.Context, call Call) (Count, error)
}

// Count is what an upstream's counter said.
type Count struct {
	Tokens int64
	// Body and Header are the answer of an upstream that speaks Messages, which goes back as it is; nil otherwise.
	Body   []byte
	Header http.Header
	Notes  wire.Notes
}

// ErrNoCounter says that an upstream does not serve token counts.
var ErrNoCounter = errors.New("the upstream does not count tokens")

// Speaker is an upstream that takes the requests for some models, or all, in the verbatim lane: what is inside them is its own to
// judge.
type Speaker interface {
	SpeaksMessages(model string) bool
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

	// Thinking and Effort are what the agent's entry wants otherwise; empty leaves the request as it is. They hold where a request
	// is translated: an upstream that speaks Messages gets the caller's own bytes.
	Thinking config.Thinking
	Effort   config.Effort
	// DryRun stops before anything is sent: the reply has its lane, its notes, and no body. A provider may ask its server about
	// the model.
	DryRun bool
}

// Conversation is the request as a translator reads it, with what the agent's entry wants otherwise.
func (c *Call) Conversation() (*messages.Conversation, error) {
	conv, err := c.Request.Conversation()
	if err != nil || c.Thinking == "" && c.Effort == "" {
		return conv, err
	}
	own := *conv // the request's is shared by all attempts
	if c.Effort != "" {
		own.Effort = string(c.Effort)
	}
	switch c.Thinking {
	case "":
	case "off":
		own.Thinking = messages.Thinking{Type: "disabled"}
		if c.Effort == "" {
			own.Effort = "" // it is no loss of the caller's that off wins over it
		}
	case "on":
		if !own.Thinking.On() {
			own.Thinking = messages.Thinking{Type: "adaptive"}
		}
	default:
		own.Thinking = messages.Thinking{Type: "enabled", Budget: c.Thinking.Budget(), Display: own.Thinking.Display}
	}
	return &own, nil
}

// Reply is an answer that has begun. Exactly one of Body and Frames is set.
type Reply struct {
	Header http.Header                 // the few upstream headers worth showing: request id, rate limits
	Body   []byte                      // a complete message
	Frames iter.Seq2[sse.Frame, error] // a streamed message; may be ranged over once; a frame's bytes are valid until the next
	Notes  wire.Notes                  // known when the answer began
	Lane   exchange.Lane
	Window int64 // the model's context window in tokens, 0 where the provider does not know it

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
