package ollama

import (
	"errors"
	"math"
	"sync"

	"github.com/sirupsen/logrus"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
	"signalbox/internal/wire/ollamachat"
	"signalbox/providers"
)

// startWindow is where an automatic window begins, in tokens.
const startWindow = 32768

// Estimates. The density starts at one token for 3.6 bytes, that of code, and learns from the server's own counts.
const (
	startDensity = 1 / 3.6 // tokens a byte
	maxDensity   = 1.0
	imageTokens  = 1000
	enoughToTell = 2000 // bytes; below them a template's own words weigh too much
	smallWindow  = 1024 // tokens; no server cuts to less
	windowStep   = 256  // tokens; engines round a window up to a multiple of it
)

// window is the num_ctx of one model: one value for every request, since a changed value makes the server load the model
// anew. It grows when a prompt needs it and never shrinks while we run.
type window struct {
	model string
	log   logrus.FieldLogger
	fixed bool // the configuration names the number
	most  int  // the largest it can become; 0 when nobody knows

	mu      sync.Mutex
	size    int
	density float64
	whole   bool // an answer has shown that the template gives the model every message
}

// window gives the window of a model. One of whose limit nothing is known gets a new window each time: its name may be a
// stranger's invention, and nothing that must last is learned of it.
func (c *Client) window(model string, about card) *window {
	name := canonical(model)
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.windows[name]; w != nil {
		if about.known {
			w.limit(c.most(about))
		}
		return w
	}
	// A model that is loaded with a larger window keeps it: a smaller one would only load it again, and again when a prompt grows.
	w := &window{model: model, log: c.deps.Log, fixed: c.cfg.NumCtx > 0, size: max(startWindow, about.loaded), density: startDensity}
	if w.fixed {
		w.size = int(c.cfg.NumCtx)
	}
	w.limit(c.most(about))
	if about.known {
		c.windows[name] = w
	}
	return w
}

// apart is a copy that may grow without anything coming of it.
func (w *window) apart() *window {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &window{model: w.model, fixed: w.fixed, most: w.most, size: w.size, density: w.density, whole: w.whole}
}

func (c *Client) hasWindow(model string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.windows[canonical(model)] != nil
}

// most is the largest window that a model may get; 0 when nobody knows.
func (c *Client) most(about card) int {
	most, set := about.limit, c.cfg.MaxNumCtx
	if c.cfg.NumCtx > 0 {
		set = int(c.cfg.NumCtx)
	}
	if set > 0 && (most == 0 || set < most) {
		most = set
	}
	return most
}

// limit sets the largest size. A number that the configuration names is sent as it stands even when the model's own limit is
// lower: the server knows what to make of it.
func (w *window) limit(most int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.most = most
	if most > 0 && !w.fixed {
		w.size = min(w.size, most)
	}
}

// fit gives the num_ctx for a prompt, grown if the prompt needs it. A prompt that certainly is longer than the window can
// become is refused.
func (w *window) fit(c *messages.Conversation, size ollamachat.Size) (int, error) {
	w.mu.Lock()
	most := w.most
	estimate := w.estimate(size)
	w.mu.Unlock()
	// No token is shorter than a byte, so most prompts need no closer look.
	if most > 0 && size.Bytes > int64(most) {
		if n := ollamachat.Floor(c, false); n > int64(most) {
			e := fault.New(fault.ContextOverflow, "prompt is too long: %d tokens > %d maximum", max(n, estimate), most)
			e.Void, e.Outcome, e.Window = true, "too_large", int64(most)
			return 0, e
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.fixed {
		w.grow(func(size int) bool { return estimate+min(c.MaxTokens, int64(size)/4) <= int64(size) }, "a prompt needs it")
	}
	return w.size, nil
}

// estimate is how many tokens a prompt probably has. The caller holds the lock.
func (w *window) estimate(s ollamachat.Size) int64 {
	return int64(math.Ceil(float64(s.Bytes)*w.density)) + int64(s.Images)*imageTokens
}

// grow doubles the window until it is enough, or as large as it can become. The caller holds the lock.
func (w *window) grow(enough func(size int) bool, why string) {
	for w.size < w.most && !enough(w.size) {
		from := w.size
		w.size = min(2*w.size, w.most)
		if w.log != nil {
			w.log.WithFields(logrus.Fields{"model": w.model, "from": from, "num_ctx": w.size, "reason": why}).
				Info("ollama: window grown; the model is loaded again")
		}
	}
}

// overflowed hears that a prompt did not fit though it was thought to: the estimate was too low. It reports whether the window can
// be larger, and o then asks for that. A server that keeps to another limit than the one it was told gets no more from us.
func (w *window) overflowed(err error, o *ollamachat.Options) bool {
	var f *fault.Error
	if !errors.As(err, &f) || f.Kind != fault.ContextOverflow || w.fixed {
		return false
	}
	need, limit, _ := wire.Overflow(f.Message)
	w.mu.Lock()
	defer w.mu.Unlock()
	if limit > 0 && (limit < int64(o.NumCtx) || limit >= int64(o.NumCtx)+windowStep || need > int64(w.most)) {
		return false
	}
	w.grow(func(size int) bool { return size > o.NumCtx && int64(size) >= need }, "the server says that a prompt did not fit")
	if w.size <= o.NumCtx {
		return false
	}
	o.NumCtx = w.size
	return true
}

// watch learns from the answer's own count of the prompt once the answer has ended.
func (w *window) watch(reply *providers.Reply, c *messages.Conversation, size ollamachat.Size) {
	if size.Bytes < enoughToTell || size.Images > 0 {
		return
	}
	w.confess(reply, c)
	inner := reply.CloseFunc
	var once sync.Once
	reply.CloseFunc = func() (err error) {
		if inner != nil {
			err = inner() // first: until then the answer may still be read
		}
		once.Do(func() {
			if u := reply.Usage(); u.Known {
				w.learn(c, size, u.Prompt())
			}
		})
		return err
	}
}

// confess says so when the server has cut the prompt in spite of truncate: false, as servers do that are older than the word. The
// answer has been given by then; that it stands on a part of the conversation is noted.
func (w *window) confess(reply *providers.Reply, c *messages.Conversation) {
	said := reply.NotesFunc
	var once sync.Once
	reply.NotesFunc = func() wire.Notes {
		notes := reply.Notes
		if said != nil {
			notes = said()
		}
		if u := reply.Usage(); u.Known && w.cut(c, u.Prompt()) {
			notes.Drop("messages")
			once.Do(func() {
				if w.log != nil {
					w.log.WithFields(logrus.Fields{"model": w.model, "prompt_tokens": u.Prompt()}).
						Warn("ollama: the server cut the prompt though it was told not to; a newer one answers with an error instead")
				}
			})
		}
		return notes
	}
	if reply.Body != nil {
		reply.Notes = reply.NotesFunc()
	}
}

// cut reports whether a model certainly read less than the prompt: the template gives it every message, it has counted fewer
// tokens than their words have, and enough to have filled a small window (a server that leaves out what it had in its cache counts
// few).
func (w *window) cut(c *messages.Conversation, prompt int64) bool {
	w.mu.Lock()
	whole := w.whole
	w.mu.Unlock()
	return whole && prompt >= smallWindow && prompt < ollamachat.Floor(c, false)
}

func (w *window) learn(c *messages.Conversation, size ollamachat.Size, prompt int64) {
	whole := false
	if size.Turns > 1 {
		all := ollamachat.Floor(c, false)
		whole = prompt >= all && all > 2*ollamachat.Floor(c, true)
	}
	seen := min(float64(prompt)/float64(size.Bytes), maxDensity)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.density = max(startDensity, seen, w.density*0.9+seen*0.1)
	w.whole = w.whole || whole
}
