package wire

import (
	"bytes"
	"errors"
	"io"
	"iter"

	"github.com/go-json-experiment/json/jsontext"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
)

// Engine turns what an upstream says, in whatever dialect and order, into a legal Anthropic stream: one open block at a time,
// indexes 0, 1, 2, deltas only inside their block, and no end that was not one. It is the only maker of events in the
// translated lane; a dialect feeds it and never sees an event.
//
// What the upstream says is kept as a line of segments (a run of text, a run of thinking, one call). Only the first segment
// of the line streams; what comes for later ones waits. A run is complete as soon as another segment has begun, a call also
// needs its arguments to be complete JSON. So calls whose pieces interleave come out one after the other.
type Engine struct {
	o        EngineOptions
	line     []*segment // from the one that streams to the newest
	queue    []messages.Event
	head     int // first event of queue that was not given yet
	next     int // index of the next block
	started  bool
	calls    int
	finished bool
	reason   string
	sequence string
	usage    messages.Usage
	err      *fault.Error
	spare    []byte
	saidText int64 // bytes of text, thinking and arguments, for estimates
}

// EngineOptions is what the request knows and the answer needs.
type EngineOptions struct {
	Model      string              // echoed to the caller
	IDs        *IDs                // nil: a new set
	CallerName func(string) string // maps a tool's name back to the caller's; nil: as it is
}

type segment struct {
	kind messages.BlockType

	index     int    // block index once open
	open      bool   // its content_block_start was given
	signature string // thinking: state to carry

	// A call's own.
	key    int // the upstream's index; -1: none
	id     string
	name   string
	whole  bool // complete by itself
	json   completeness
	args   []byte // arguments decoded so far
	sent   int    // bytes of buffered pieces already given
	buffer []byte // pieces that wait: the inside of a JSON literal
}

// Piece is what an upstream says about a call.
type Piece struct {
	Index int              // the upstream's own number of the call; -1 when it has none
	ID    string           // empty when it does not repeat it
	Name  string           // the same
	Args  messages.Literal // a piece of the arguments' text
	Input jsontext.Value   // the whole arguments, given as an object
	Whole bool             // a complete call of its own
}

// NewEngine starts an answer.
func NewEngine(o EngineOptions) *Engine {
	if o.IDs == nil {
		o.IDs = NewIDs(nil)
	}
	if o.CallerName == nil {
		o.CallerName = func(s string) string { return s }
	}
	return &Engine{o: o}
}

// Text feeds a piece of the answer's text. The empty piece opens, closes and switches nothing.
func (e *Engine) Text(l messages.Literal) { e.run(messages.TextBlock, l) }

// Thinking feeds a piece of readable reasoning.
func (e *Engine) Thinking(l messages.Literal) { e.run(messages.ThinkingBlock, l) }

func (e *Engine) run(kind messages.BlockType, l messages.Literal) {
	if l.Empty() || e.finishedWhole() {
		return
	}
	e.saidText += int64(len(l)) - 2
	s := e.last()
	if s == nil || s.kind != kind {
		s = e.begin(&segment{kind: kind, key: -1})
	}
	if s == e.line[0] {
		e.open(s)
		e.give(messages.Event{Type: messages.BlockDelta, Index: s.index, Block: kind, Text: l})
		return
	}
	s.buffer = l.AppendInner(s.buffer)
}

// finishedWhole says that nothing further may be added: the answer's finish was read. Servers that talk on after it are not
// listened to.
func (e *Engine) finishedWhole() bool { return e.finished }

// Carry packs opaque state into the signature of the thinking block in progress; without one it makes a block of empty text
// just to carry it.
func (e *Engine) Carry(signature string) {
	if signature == "" {
		return
	}
	for i := len(e.line) - 1; i >= 0; i-- {
		if e.line[i].kind == messages.ThinkingBlock {
			e.line[i].signature = signature
			return
		}
	}
	s := e.begin(&segment{kind: messages.ThinkingBlock, key: -1, signature: signature})
	if s == e.line[0] {
		e.open(s)
	}
}

// Call feeds a piece of a tool call. Which call it belongs to is decided by the rules of E4: the same index is the same call
// unless another id comes with it; without an index a new id or a new name begins a new call.
func (e *Engine) Call(p Piece) {
	if e.finishedWhole() {
		return
	}
	s := e.find(p)
	if s == nil {
		if p.ID == "" && p.Name == "" && p.Args.Empty() && p.Input == nil {
			return
		}
		s = e.begin(&segment{kind: messages.ToolUseBlock, key: p.Index, whole: p.Whole})
		e.calls++
	}
	if s.id == "" {
		s.id = p.ID
	}
	if s.name == "" {
		s.name = p.Name
	}
	switch {
	case p.Input != nil:
		e.pieces(s, messages.Quote(string(p.Input)))
	case !p.Args.Empty():
		e.pieces(s, p.Args)
	}
	e.advance()
}

func (e *Engine) pieces(s *segment, l messages.Literal) {
	e.saidText += int64(len(l)) - 2
	text := l.Value()
	s.args = append(s.args, text...)
	s.json.feed(text)
	if s == e.line[0] && s.open && len(s.buffer) == 0 {
		e.give(messages.Event{Type: messages.BlockDelta, Index: s.index, Block: s.kind, Text: l})
		return
	}
	s.buffer = l.AppendInner(s.buffer)
}

func (e *Engine) find(p Piece) *segment {
	if p.Whole {
		return nil
	}
	for i := len(e.line) - 1; i >= 0; i-- {
		s := e.line[i]
		if s.kind != messages.ToolUseBlock || s.whole {
			continue
		}
		if p.Index >= 0 {
			if s.key != p.Index {
				continue
			}
			if p.ID != "" && s.id != "" && p.ID != s.id {
				return nil
			}
			return s
		}
		if p.ID != "" && s.id != "" {
			if p.ID == s.id {
				return s
			}
			continue
		}
		if p.ID == "" && p.Name != "" && s.name != "" && p.Name != s.name {
			return nil
		}
		if p.ID != "" && p.ID != s.id && s.json.complete() {
			return nil
		}
		return s
	}
	return nil
}

func (e *Engine) last() *segment {
	if len(e.line) == 0 {
		return nil
	}
	return e.line[len(e.line)-1]
}

// begin puts a new segment at the end of the line, which may complete the ones before it.
func (e *Engine) begin(s *segment) *segment {
	if !e.started {
		e.start()
	}
	e.line = append(e.line, s)
	e.advance()
	return s
}

func (e *Engine) start() {
	e.started = true
	e.give(messages.Event{Type: messages.MessageStart, ID: NewMessageID(), Name: e.o.Model, Usage: e.usage})
}

// advance closes what is complete and opens what then stands first.
func (e *Engine) advance() {
	for e.err == nil && len(e.line) > 0 {
		s := e.line[0]
		if !e.openReady(s) {
			return
		}
		if len(e.line) == 1 || s.kind == messages.ToolUseBlock && !s.whole && !s.json.complete() {
			return
		}
		if s.kind == messages.ToolUseBlock && !objectOrEmpty(s.args) {
			return // the end decides what becomes of broken arguments
		}
		e.close(s)
	}
}

// openReady opens the first segment and gives what waited for it; a call whose name is unknown cannot open yet.
func (e *Engine) openReady(s *segment) bool {
	if s.kind == messages.ToolUseBlock && s.name == "" {
		return false
	}
	e.open(s)
	if len(s.buffer) > 0 {
		lit := make([]byte, 0, len(s.buffer)+2)
		lit = append(append(append(lit, '"'), s.buffer...), '"')
		s.buffer = nil
		e.give(messages.Event{Type: messages.BlockDelta, Index: s.index, Block: s.kind, Text: lit})
	}
	return true
}

func (e *Engine) open(s *segment) {
	if s.open {
		return
	}
	s.open, s.index = true, e.next
	e.next++
	ev := messages.Event{Type: messages.BlockStart, Index: s.index, Block: s.kind}
	if s.kind == messages.ToolUseBlock {
		ev.ID, ev.Name = e.o.IDs.Choose(s.id), e.o.CallerName(s.name)
	}
	e.give(ev)
}

func (e *Engine) close(s *segment) {
	if s.signature != "" {
		e.give(messages.Event{Type: messages.BlockDelta, Index: s.index, Block: s.kind, Signature: s.signature})
	}
	e.give(messages.Event{Type: messages.BlockStop, Index: s.index})
	e.line = e.line[1:]
}

// Usage feeds figures; the last ones count. A report that is not Known never replaces one that is.
func (e *Engine) Usage(u messages.Usage) {
	if e.usage.Known && !u.Known {
		return
	}
	if u.Cost == nil {
		u.Cost = e.usage.Cost
	}
	e.usage = u
}

// Total is the usage so far.
func (e *Engine) Total() messages.Usage { return e.usage }

// Said is how many bytes of text, thinking and arguments the answer held so far.
func (e *Engine) Said() int64 { return e.saidText }

// Finish says that the upstream gave its finish reason, in Anthropic's words. The first one counts.
func (e *Engine) Finish(stopReason, stopSequence string) {
	if e.finished {
		return
	}
	e.finished, e.reason, e.sequence = true, stopReason, stopSequence
	if !e.started {
		e.start()
	}
}

// Finished reports whether the finish reason was read.
func (e *Engine) Finished() bool { return e.finished }

// Started reports whether anything was said that commits the answer.
func (e *Engine) Started() bool { return e.started }

// end closes the answer: every call proven, every block stopped, the stop reason and the usage given.
func (e *Engine) end() error {
	switch {
	case !e.finished && !e.started:
		return &fault.Error{Kind: fault.Upstream, Message: "the upstream ended its answer before it said anything", Outcome: "empty_stream"}
	case !e.finished:
		return &fault.Error{Kind: fault.Upstream, Message: "the upstream's answer broke off before its end", Outcome: "truncated"}
	}
	for len(e.line) > 0 {
		s := e.line[0]
		if s.kind == messages.ToolUseBlock {
			if s.name == "" {
				return &fault.Error{Kind: fault.Upstream, Message: "the upstream sent a tool call without a name", Outcome: "bad_tool"}
			}
			e.openReady(s)
			if !objectOrEmpty(s.args) {
				if e.reason != "max_tokens" {
					return badTool(e.o.CallerName(s.name))
				}
				// Cut by the output limit: the call stays cut, and whatever stood behind it was never said.
				e.close(s)
				e.line = nil
				break
			}
		}
		e.openReady(s)
		e.close(s)
	}
	e.give(messages.Event{Type: messages.MessageDelta, StopReason: e.stopReason(), StopSequence: e.sequence, Usage: e.usage})
	e.give(messages.Event{Type: messages.MessageStop})
	return nil
}

// stopReason corrects the one pair that upstreams get wrong: a reply with calls stops for tool use, one without does not.
func (e *Engine) stopReason() string {
	switch {
	case e.calls > 0 && (e.reason == "end_turn" || e.reason == ""):
		return "tool_use"
	case e.calls == 0 && (e.reason == "tool_use" || e.reason == ""):
		return "end_turn"
	}
	return e.reason
}

func (e *Engine) give(ev messages.Event) { e.queue = append(e.queue, ev) }

// Stream drives the engine. next reads one upstream item and feeds it; it returns io.EOF at the clean end of data, ErrLull
// before it would wait, and any other error when the upstream broke or said that it failed. Where up is a Lingerer it is told
// when the finish has been read.
func (e *Engine) Stream(up io.Reader, next func() error) iter.Seq2[messages.Event, error] {
	return func(yield func(messages.Event, error) bool) {
		lingering, gave := false, false
		for {
			err := next()
			for ; e.head < len(e.queue); e.head++ {
				gave = true
				if !yield(e.queue[e.head], nil) {
					return
				}
			}
			e.queue, e.head = e.queue[:0], 0
			if e.finished && !lingering {
				lingering = true
				if l, ok := up.(Lingerer); ok {
					l.Linger()
				}
			}
			switch {
			case err == nil:
				continue
			case errors.Is(err, ErrLull):
				if gave && !yield(messages.Event{Type: messages.Lull}, nil) {
					return
				}
				gave = false
				continue
			}
			var f *fault.Error
			if !errors.Is(err, io.EOF) && (!e.finished || errors.As(err, &f)) {
				yield(messages.Event{}, err)
				return
			}
			if err := e.end(); err != nil {
				// What was said before the fault is still given, the block that broke stays open.
				for ; e.head < len(e.queue); e.head++ {
					if !yield(e.queue[e.head], nil) {
						return
					}
				}
				yield(messages.Event{}, err)
				return
			}
			for ; e.head < len(e.queue); e.head++ {
				if !yield(e.queue[e.head], nil) {
					return
				}
			}
			return
		}
	}
}

// Response gathers the answer as a whole message after everything was fed and Finish was called. The blocks keep the order
// in which they were fed.
func (e *Engine) Response() (*messages.Response, error) {
	if err := e.end(); err != nil {
		return nil, err
	}
	return collect(e.queue)
}

// Collect gathers a stream of events into a whole message: for an upstream that streams though it was not asked to.
func Collect(events iter.Seq2[messages.Event, error]) (*messages.Response, error) {
	var kept []messages.Event
	for ev, err := range events {
		if err != nil {
			return nil, err
		}
		if ev.Type == messages.Lull {
			continue
		}
		ev.Text = bytes.Clone(ev.Text)
		kept = append(kept, ev)
	}
	return collect(kept)
}

func collect(events []messages.Event) (*messages.Response, error) {
	r := &messages.Response{}
	var args []byte
	for i := range events {
		ev := &events[i]
		var p *messages.Part
		if n := len(r.Content); n > 0 {
			p = &r.Content[n-1]
		}
		switch ev.Type {
		case messages.MessageStart:
			r.ID, r.Model = ev.ID, ev.Name
		case messages.BlockStart:
			r.Content = append(r.Content, messages.Part{Block: ev.Block, ID: ev.ID, Name: ev.Name})
			args = nil
		case messages.BlockDelta:
			switch {
			case ev.Signature != "":
				p.Signature = ev.Signature
			case p.Block == messages.ToolUseBlock:
				args = append(args, ev.Text.Value()...)
			default:
				p.Text += ev.Text.Value()
			}
		case messages.BlockStop:
			if p.Block == messages.ToolUseBlock {
				args = bytes.TrimSpace(args)
				if !objectOrEmpty(args) {
					// Only the output limit lets a cut call end, and a whole message has no way to show it.
					return nil, badTool(p.Name)
				}
				p.Input = jsontext.Value(args)
			}
		case messages.MessageDelta:
			r.StopReason, r.StopSequence, r.Usage = ev.StopReason, ev.StopSequence, ev.Usage
		}
	}
	return r, nil
}

// objectOrEmpty reports whether arguments are a JSON object, or nothing at all, which means {}.
func objectOrEmpty(args []byte) bool {
	args = bytes.TrimSpace(args)
	return len(args) == 0 || args[0] == '{' && messages.Valid(args) == nil
}

func badTool(name string) *fault.Error {
	return &fault.Error{Kind: fault.Upstream, Message: "the upstream sent tool arguments that are no JSON object (tool " + quoteShort(name) + ")", Outcome: "bad_tool"}
}

func quoteShort(s string) string {
	if len(s) > 64 {
		s = s[:64]
	}
	return string(messages.AppendQuote(nil, s))
}

// completeness follows JSON text piece by piece and knows when one object (or array) has ended.
type completeness struct {
	depth         int
	begun         bool
	inString, esc bool
}

func (c *completeness) feed(s string) {
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case c.esc:
			c.esc = false
		case c.inString:
			c.esc = b == '\\'
			c.inString = b != '"'
		case b == '"':
			c.inString = true
		case b == '{' || b == '[':
			c.depth++
			c.begun = true
		case b == '}' || b == ']':
			c.depth--
		}
	}
}

func (c *completeness) complete() bool { return c.begun && c.depth <= 0 && !c.inString }
