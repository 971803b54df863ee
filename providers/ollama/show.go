package ollama

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/singleflight"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire/ollamachat"
	"signalbox/providers"
)

// card is what a server says of one model. The zero card is that of a model of which nothing is known.
type card struct {
	known            bool
	limit            int // the most tokens that the model's window can have; 0 when unknown
	loaded           int // the window that the model is loaded with; 0 when it is not, or nobody asked
	thinking, vision ollamachat.Capability
	levels           bool
}

// How long an answer is believed. A model may be pulled anew at any time, so not for long.
const (
	cardAge   = time.Minute
	failAge   = 5 * time.Second
	cardLimit = 1024 // models whose cards are kept; callers may ask for any name
)

// cards asks once for each model, however many want to know, and remembers the answer for a while.
type cards struct {
	fetch func(ctx context.Context, model string) (card, error)
	now   func() time.Time
	group singleflight.Group

	mu    sync.Mutex
	known map[string]*entry
}

type entry struct {
	card  card
	err   error
	until time.Time
}

// get gives the card of a model. With an error the card is the last one that was known, or the zero card: both can be worked
// with. The caller's context ends the wait, not the question, since others may wait for the same answer.
func (c *cards) get(ctx context.Context, model string) (card, error) {
	model = canonical(model)
	if e := c.fresh(model); e != nil {
		return e.card, e.err
	}
	answer := c.group.DoChan(model, func() (any, error) {
		if e := c.fresh(model); e != nil {
			return e, nil
		}
		about, err := c.fetch(context.WithoutCancel(ctx), model)
		return c.keep(model, about, err), nil
	})
	select {
	case r := <-answer:
		e := r.Val.(*entry)
		return e.card, e.err
	case <-ctx.Done():
		return card{}, fault.From(context.Cause(ctx))
	}
}

func (c *cards) fresh(model string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.known[model]; e != nil && c.now().Before(e.until) {
		return e
	}
	return nil
}

// keep remembers an answer. A failure does not wipe out what was known; one to reach the server at all is not remembered, so
// that a server which comes up is seen at once.
func (c *cards) keep(model string, about card, err error) *entry {
	e := &entry{card: about, err: err, until: c.now().Add(cardAge)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		if old := c.known[model]; old != nil {
			e.card = old.card
		}
		e.until = c.now().Add(failAge)
		var f *fault.Error
		if errors.As(err, &f) && f.Kind == fault.Unreachable {
			e.until = c.now()
		}
	}
	if len(c.known) >= cardLimit && c.known[model] == nil {
		c.known = map[string]*entry{}
	}
	c.known[model] = e
	return e
}

// canonical gives two names of one model the same spelling.
func canonical(model string) string {
	if name := model[strings.LastIndexByte(model, '/')+1:]; !strings.Contains(name, ":") {
		return model + ":latest"
	}
	return model
}

// show asks the server about a model.
func (c *Client) show(ctx context.Context, model string) (card, error) {
	body, err := c.askShow(ctx, model)
	if err != nil {
		return card{}, err
	}
	about, err := readCard(body)
	if err == nil && !c.hasWindow(model) {
		about.loaded = c.loaded(ctx, model)
	}
	return about, err
}

func (c *Client) askShow(ctx context.Context, model string) ([]byte, error) {
	return c.up.PostJSON(ctx, "/api/show", c.sign, append(messages.AppendQuote([]byte(`{"model":`), model), '}'), showLimit)
}

// Describe says what the server says of a model now: nothing is remembered, since whoever asks has just changed something.
func (c *Client) Describe(ctx context.Context, model string) (providers.Description, error) {
	body, err := c.askShow(ctx, model)
	if err != nil {
		return providers.Description{}, c.notRunning(err)
	}
	about, err := readCard(body)
	if err != nil {
		return providers.Description{}, err
	}
	d := providers.Description{Limit: int64(about.limit), Loaded: int64(c.loaded(ctx, model))}
	if caps := messages.View(body).Get("capabilities"); caps.IsArray() {
		d.Capabilities = []string{}
		for _, name := range caps.Array() {
			d.Capabilities = append(d.Capabilities, name.String())
		}
	}
	return d, nil
}

// loaded is the window that a model is loaded with now, in tokens; 0 when it is not loaded or the server does not say.
func (c *Client) loaded(ctx context.Context, model string) int {
	body, err := c.up.Get(ctx, "/api/ps", c.sign, psLimit)
	if err != nil || messages.Valid(body) != nil {
		return 0 // the window then begins as for a model that is not loaded
	}
	size := 0
	messages.View(body).Get("models").ForEach(func(_, m gjson.Result) bool {
		if canonical(m.Get("model").String()) == canonical(model) || canonical(m.Get("name").String()) == canonical(model) {
			if n, ok := messages.Count(m.Get("context_length")); ok && n < 1<<30 {
				size = int(n)
			}
		}
		return size == 0
	})
	return size
}

// readCard reads an answer of /api/show. What is missing stays unknown.
func readCard(body []byte) (card, error) {
	if err := messages.Valid(body); err != nil {
		return card{}, fault.New(fault.Upstream, "/api/show did not answer with JSON")
	}
	v := messages.View(body)
	if !v.IsObject() {
		return card{}, fault.New(fault.Upstream, "/api/show did not answer with an object")
	}
	about := card{known: true}
	family := v.Get("details.family").String()
	var arch string
	lengths := map[string]int{}
	v.Get("model_info").ForEach(func(k, f gjson.Result) bool {
		if k.Str == "general.architecture" {
			arch = f.String()
		}
		if name, ok := strings.CutSuffix(k.Str, ".context_length"); ok {
			if n, ok := messages.Count(f); ok && n > 0 {
				lengths[name] = int(n)
			}
		}
		return true
	})
	about.limit = lengths[arch]
	if about.limit == 0 && len(lengths) == 1 {
		for _, n := range lengths {
			about.limit = n
		}
	}
	if about.limit == 0 {
		about.limit = parameter(v.Get("parameters").String(), "num_ctx") // what its maker trusts it with
	}
	about.levels = gptOSS(family) || gptOSS(arch)
	if caps := v.Get("capabilities"); caps.IsArray() {
		about.thinking, about.vision = ollamachat.No, ollamachat.No
		caps.ForEach(func(_, name gjson.Result) bool {
			switch name.String() {
			case "thinking":
				about.thinking = ollamachat.Yes
			case "vision":
				about.vision = ollamachat.Yes
			}
			return true
		})
	}
	return about, nil
}

// gptOSS names the one family whose thinking has levels; the server answers others with "think value … is not supported".
func gptOSS(name string) bool { return name == "gptoss" || name == "gpt-oss" }

// parameter is a whole number out of the Modelfile's parameters, a text of lines; 0 when it is not there.
func parameter(text, name string) int {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, err := strconv.Atoi(f[1])
			if err != nil || n < 0 {
				return 0
			}
			return n
		}
	}
	return 0
}
