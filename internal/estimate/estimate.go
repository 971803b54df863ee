// Package estimate guesses how many tokens a request has, for upstreams without a counter of their own. It begins with bytes
// a token by kind of text and learns from the usage of real answers, for each provider and model.
package estimate

import (
	"strings"
	"sync"

	"signalbox/internal/messages"
)

// Bytes a token before anything was learned: prose 4.2, code 3.6, JSON schema 5.2. A conversation of an agent is a mix of
// prose and code.
const (
	prose  = 4.2
	mixed  = 3.9
	schema = 5.2
)

const (
	imageTokens  = 1500 // about what a screen-sized image costs
	turnTokens   = 4    // the frame a chat template puts around a message
	learnRate    = 0.2  // weight of a new figure in the moving average
	imageShare   = 0.25 // images may weigh this much of the text in what is learned from
	maxModels    = 10_000
	smallestUsed = 64 // tokens; shorter prompts say more about the template than about the text
)

// Size is a request's size as the estimator weighs it: tokens before learning. How many tokens an image has is a guess that no
// usage corrects, since usage gives one figure for all.
type Size struct{ Text, Images float64 }

// Of weighs a request. Image bytes are not text and count as a fixed number each.
func Of(r *messages.Request) Size {
	tools, msgs, system := r.Member("tools"), r.Member("messages"), r.Member("system")
	text := float64(len(msgs))
	images, size := r.Base64()
	text -= float64(size)
	n := r.Envelope().Messages
	frame := float64(n) * 30 // "{"role":…,"content":…}" is structure, not text
	return Size{
		Text:   max(0, text-frame)/mixed + float64(len(system))/prose + float64(len(tools))/schema + float64(n*turnTokens),
		Images: float64(images * imageTokens),
	}
}

// Estimator remembers what was learned. It is safe for concurrent use.
type Estimator struct {
	mu    sync.RWMutex
	scale map[[2]string]float64
}

// New knows nothing yet.
func New() *Estimator { return &Estimator{scale: map[[2]string]float64{}} }

// Tokens estimates a request's prompt tokens at a model; at least 1.
func (e *Estimator) Tokens(provider, model string, s Size) int64 {
	e.mu.RLock()
	k, ok := e.scale[[2]string{provider, model}]
	e.mu.RUnlock()
	return s.tokens(k, ok)
}

func (s Size) tokens(k float64, known bool) int64 {
	if !known {
		k = 1
	}
	return max(1, int64(s.Text*k+s.Images+0.5))
}

// Learn takes the true count of a request's prompt, and says what Tokens would have said of it until now: how far that is from
// the truth is the estimator's error. It is 0 when the request is too small to learn from, or to judge by. A request that is mostly
// images is judged, but teaches nothing about text.
func (e *Estimator) Learn(provider, model string, s Size, tokens int64) (said int64) {
	if s.Text+s.Images < smallestUsed || tokens < smallestUsed/2 {
		return 0
	}
	// One answer is never trusted to be off by more than this: some servers report only the part they did not have cached.
	k := min(3, max(0.33, (float64(tokens)-s.Images)/s.Text))
	e.mu.Lock()
	defer e.mu.Unlock()
	key := [2]string{provider, model}
	old, ok := e.scale[key]
	switch {
	case s.Images > s.Text*imageShare:
	case ok:
		e.scale[key] = old + learnRate*(k-old)
	case len(e.scale) < maxModels:
		e.scale[[2]string{strings.Clone(provider), strings.Clone(model)}] = k // they may be pieces of a whole request body
	}
	return s.tokens(old, ok)
}
