package wire

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/textcall"
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
	err      *fault.Error // the answer cannot go on
	done     []finished   // the newest calls that were closed
	scratch  []byte
	apart    bool  // what comes next begins a block of its own
	waiting  int   // bytes that wait behind the first segment
	saidText int64 // bytes of text, thinking and arguments, for estimates
	decoded  []byte
	heard    bool    // something was fed since the last look
	seen     [2]bool // Seen was told of a proper call, of a written one
}

// Limits on what waits behind a call that does not end, so that no upstream can fill our memory.
const (
	maxWaiting  = 16 << 20 // bytes
	maxSegments = 4096
	maxDone     = 64 // closed calls that are remembered
)

// EngineOptions is what the request knows and the answer needs.
type EngineOptions struct {
	Model      string              // echoed to the caller
	IDs        *IDs                // nil: a new set
	CallerName func(string) string // maps a tool's name back to the caller's; nil: as it is
	Tools      []string            // the offered tools as the upstream knows them, for names that come in pieces
	TextCalls  *textcall.Reader    // finds calls in the text; nil: text is text
	Seen       func(written bool)  // told once of the first call, and of the first that was written as text; nil: nobody
}

type segment struct {
	kind messages.BlockType

	index     int    // block index once open
	open      bool   // its content_block_start was given
	signature string // thinking: state to carry

	// A call's own.
	key   int // the upstream's index; -1: none
	id    string
	name  string
	whole bool // complete by itself
	args  proof

	buffer []byte // pieces that wait: the inside of a JSON literal
}

// finished is a call whose block is closed.
type finished struct {
	key      int
	id, name string
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
func (e *Engine) Text(l messages.Literal) {
	e.heard = e.heard || !l.Empty()
	if e.o.TextCalls == nil || l.Empty() || e.deaf() {
		e.run(messages.TextBlock, l)
		return
	}
	e.decoded = l.AppendValue(e.decoded[:0])
	if bytes.Contains(e.decoded, []byte("\uFFFD")) {
		// It may be half of a pair whose other half comes in the next piece: such text passes as it is written.
		e.written(e.o.TextCalls.Pause())
		e.o.TextCalls.Pass(e.decoded)
		e.run(messages.TextBlock, l)
		return
	}
	parts := e.o.TextCalls.Feed(e.decoded)
	if len(parts) == 1 && len(parts[0].Text) == len(e.decoded) {
		e.run(messages.TextBlock, l)
		return
	}
	if len(parts) == 0 && !e.started {
		e.start() // what waits may be a call or text: either way it has begun
	}
	e.written(parts)
}

// written feeds what a reader of text has decided.
func (e *Engine) written(parts []textcall.Part) {
	for _, p := range parts {
		if p.Call == nil {
			e.run(messages.TextBlock, messages.AppendQuote(nil, string(p.Text)))
			continue
		}
		e.see(true)
		e.call(Piece{Index: -1, Name: p.Call.Name, Input: p.Call.Input, Whole: true})
	}
}

// unwritten gives back what was held as text: something else is said.
func (e *Engine) unwritten() {
	if e.o.TextCalls != nil && !e.deaf() {
		e.written(e.o.TextCalls.Stop())
	}
}

func (e *Engine) see(written bool) {
	i := 0
	if written {
		i = 1
	}
	if !e.seen[i] && e.o.Seen != nil {
		e.o.Seen(written)
	}
	e.seen[i] = true
}

// Thinking feeds a piece of readable reasoning.
func (e *Engine) Thinking(l messages.Literal) {
	e.heard = e.heard || !l.Empty()
	if !l.Empty() && e.started && e.o.TextCalls != nil && !e.deaf() {
		e.written(e.o.TextCalls.Pause())
	}
	e.run(messages.ThinkingBlock, l)
}

func (e *Engine) run(kind messages.BlockType, l messages.Literal) {
	if l.Empty() || e.deaf() {
		return
	}
	e.saidText += int64(len(l)) - 2
	s := e.last()
	if s == nil || s.kind != kind || e.apart {
		s = e.begin(&segment{kind: kind, key: -1})
	}
	e.say(s, l)
}

// say gives a piece of a segment, or lets it wait while the segment is not the one that streams.
func (e *Engine) say(s *segment, l messages.Literal) {
	if s == e.line[0] && s.open {
		e.give(messages.Event{Type: messages.BlockDelta, Index: s.index, Block: s.kind, Text: l})
		return
	}
	before := len(s.buffer)
	s.buffer = l.AppendInner(s.buffer)
	if e.waiting += len(s.buffer) - before; e.waiting > maxWaiting {
		e.tooMuch()
	}
}

func (e *Engine) tooMuch() {
	e.err = &fault.Error{Kind: fault.Upstream, Message: "the upstream began a tool call, did not end it, and said too much besides", Outcome: "too_large_answer"}
}

// deaf says that nothing further may be added: the answer's finish was read (servers that talk on after it are not listened
// to), or it has failed.
func (e *Engine) deaf() bool { return e.finished || e.err != nil }

// Apart says that what comes next is another item of the upstream's answer: its text or thinking begins a block of its own,
// even behind one of the same kind, and the state it carries is never that of the block before.
func (e *Engine) Apart() { e.apart = true }

// Carry packs opaque state into the signature of the thinking block in progress; without one, or when that one carries state
// already, it makes a block of empty text just to carry it.
func (e *Engine) Carry(signature string) {
	if signature == "" {
		return
	}
	for i := len(e.line) - 1; i >= 0 && !e.apart; i-- {
		if s := e.line[i]; s.kind == messages.ThinkingBlock {
			if s.signature == "" || s.signature == signature {
				s.signature = signature
				return
			}
			break
		}
	}
	e.begin(&segment{kind: messages.ThinkingBlock, key: -1, signature: signature})
}

// Call feeds a piece of a tool call. Which call it belongs to is decided by the rules of E4: the same index is the same call
// unless another id comes with it; without an index a new id or a new name begins a new call.
func (e *Engine) Call(p Piece) {
	if e.deaf() {
		return
	}
	if e.o.TextCalls != nil { // a model that calls properly only wrote about calls
		e.unwritten()
		e.o.TextCalls = nil
	}
	e.call(p)
}

func (e *Engine) call(p Piece) {
	args := p.Args
	if p.Input != nil {
		args = messages.Quote(string(p.Input))
	}
	e.scratch = args.AppendValue(e.scratch[:0])
	silent := len(bytes.TrimSpace(e.scratch)) == 0
	s := e.find(p, silent)
	if s == nil {
		if silent && p.Name == "" && (p.ID == "" || e.closed(Piece{Index: p.Index}) != nil) {
			return
		}
		if c := e.closed(p); c != nil && !p.Whole {
			switch {
			case silent:
				return // id and name once more, nothing new
			case p.ID != "" || p.Name == "":
				e.err = badTool(e.o.CallerName(c.name)) // its arguments were whole; with more they are none
				return
			}
		}
		s = e.begin(&segment{kind: messages.ToolUseBlock, key: p.Index, whole: p.Whole})
		if e.calls++; !e.seen[1] {
			e.see(false)
		}
	}
	// Copies: a dialect reads from a buffer that the next item overwrites.
	if s.id == "" {
		s.id = strings.Clone(p.ID)
	}
	switch {
	case s.name == "":
		s.name = strings.Clone(p.Name)
	case p.Name != "" && e.growing(s):
		s.name = e.grown(s.name, p.Name)
	}
	e.heard = e.heard || !args.Empty()
	if !args.Empty() && !(silent && s.args.state == nothing) { // blanks alone are no JSON that a caller could read
		e.saidText += int64(len(args)) - 2
		s.args.feed(e.scratch)
		e.say(s, args)
	}
	if cap(e.scratch) > 64<<10 {
		e.scratch = nil
	}
	e.advance()
}

// growing reports whether a call's name may be the beginning of a longer one: some servers send it in pieces. With its first
// argument, or with whatever comes behind it, the name is all there.
func (e *Engine) growing(s *segment) bool {
	return !s.open && !s.whole && !e.finished && s.args.state == nothing && s == e.last() && e.begins(s.name)
}

// begins reports whether an offered tool's name is longer and begins like this.
func (e *Engine) begins(name string) bool {
	for _, t := range e.o.Tools {
		if len(t) > len(name) && strings.HasPrefix(t, name) {
			return true
		}
	}
	return false
}

// grown is a name with its next piece, which may say all of it once more. A piece that leads to no tool is left alone.
func (e *Engine) grown(name, piece string) string {
	if !strings.HasPrefix(piece, name) {
		piece = name + piece
	}
	if slices.Contains(e.o.Tools, piece) || e.begins(piece) {
		return strings.Clone(piece)
	}
	return name
}

// find is the call that a piece goes on with; nil: it begins one. silent says that the piece brings no arguments.
func (e *Engine) find(p Piece, silent bool) *segment {
	if p.Whole {
		return nil
	}
	var newest *segment
	for i := len(e.line) - 1; i >= 0; i-- {
		s := e.line[i]
		if s.kind != messages.ToolUseBlock || s.whole || p.Index >= 0 && s.key != p.Index {
			continue
		}
		if p.ID != "" && s.id == p.ID {
			return s
		}
		if newest == nil {
			newest = s
		}
	}
	s := newest
	if s == nil {
		return nil
	}
	if p.ID != "" && s.id != "" {
		if p.Index >= 0 && p.Name == "" && (silent || !s.args.complete()) {
			return s // a server that gives each piece an id of its own: what has no name of its own begins nothing here
		}
		return nil
	}
	renamed := p.Name != "" && s.name != "" && p.Name != s.name
	switch {
	case p.Index < 0 && renamed && p.ID == "":
		return nil
	case !s.args.complete():
		return s
	case p.Index < 0 && p.ID != "", renamed:
		return nil
	case p.Name != "" && p.ID == "" && s.id == "" && !silent:
		return nil // a second call by the same name from a server that numbers nothing: more arguments would only break the first
	}
	return s
}

// closed is the call that a piece would go on with if its block were not closed already.
func (e *Engine) closed(p Piece) *finished {
	for i := len(e.done) - 1; i >= 0; i-- {
		c := &e.done[i]
		switch {
		case p.ID != "" && c.id == p.ID && (p.Index < 0 || c.key == p.Index):
			return c
		case p.Index < 0 || c.key != p.Index:
		case p.ID != "" && (c.id != "" || p.Name != ""), p.Name != "" && p.Name != c.name:
			return nil
		default:
			return c
		}
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
	e.line, e.apart = append(e.line, s), false
	if len(e.line) > maxSegments {
		e.tooMuch()
	}
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
		if !e.openReady(s) || len(e.line) == 1 {
			return
		}
		if s.kind == messages.ToolUseBlock {
			// Arguments that are broken, or not there at all, may not be all that comes: the end decides. A whole call is all.
			if !s.args.complete() && !(s.whole && s.args.fine()) {
				return
			}
			if len(e.done) == maxDone {
				e.done = append(e.done[:0], e.done[1:]...)
			}
			e.done = append(e.done, finished{s.key, s.id, s.name})
		}
		e.close(s)
	}
}

// openReady opens the first segment and gives what waited for it; a call whose name is not known yet cannot open.
func (e *Engine) openReady(s *segment) bool {
	if s.kind == messages.ToolUseBlock && (s.name == "" || e.growing(s)) {
		return false
	}
	e.open(s)
	if len(s.buffer) > 0 {
		e.waiting -= len(s.buffer)
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
	u.Tier = strings.Clone(u.Tier)
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
	if e.o.TextCalls != nil && e.err == nil {
		e.written(e.o.TextCalls.End(stopReason == "max_tokens"))
	}
	e.finished, e.reason, e.sequence = true, stopReason, stopSequence
	if !e.started {
		e.start()
	}
}

// Resume takes a finish back: the upstream gave it in the middle of its answer.
func (e *Engine) Resume() { e.finished, e.reason, e.sequence = false, "", "" }

// Finished reports whether the finish reason was read.
func (e *Engine) Finished() bool { return e.finished }

// EndsInText reports whether the answer so far calls nothing, and its last block is text: what agents show as its result.
func (e *Engine) EndsInText() bool {
	s := e.last()
	return e.calls == 0 && s != nil && s.kind == messages.TextBlock
}

// Started reports whether anything was said that commits the answer.
func (e *Engine) Started() bool { return e.started }

// end closes the answer: every call proven, every block stopped, the stop reason and the usage given.
func (e *Engine) end() error {
	switch {
	case e.err != nil:
		return e.err
	case !e.finished && !e.started:
		return &fault.Error{Kind: fault.Upstream, Message: "the upstream ended its answer before it said anything", Outcome: "empty_stream"}
	case !e.finished:
		return &fault.Error{Kind: fault.Upstream, Message: "the upstream's answer broke off before its end", Outcome: "truncated"}
	}
	cut := e.reason == "max_tokens" // the output limit may end a call anywhere
	for len(e.line) > 0 {
		s := e.line[0]
		if !e.openReady(s) {
			if !cut {
				return &fault.Error{Kind: fault.Upstream, Message: "the upstream sent a tool call without a name", Outcome: "bad_tool"}
			}
			e.line = e.line[1:] // cut before its name: nobody could say what was called
			continue
		}
		if s.kind == messages.ToolUseBlock && !s.args.fine() && !cut {
			return badTool(e.o.CallerName(s.name))
		}
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
// when the finish has been read, where it is a Listener what came without an event.
func (e *Engine) Stream(up io.Reader, next func() error) iter.Seq2[messages.Event, error] {
	return func(yield func(messages.Event, error) bool) {
		lingering, gave := false, false
		give := func() bool {
			for ; e.head < len(e.queue); e.head++ {
				gave = true
				if !yield(e.queue[e.head], nil) {
					return false
				}
			}
			e.queue, e.head = e.queue[:0], 0
			return true
		}
		for {
			err := next()
			if e.heard && e.started && len(e.queue) == 0 {
				if l, ok := up.(Listener); ok {
					l.Heard()
				}
			}
			e.heard = false
			if !give() {
				return
			}
			if e.err != nil {
				yield(messages.Event{}, e.err)
				return
			}
			if l, ok := up.(Lingerer); ok && e.finished != lingering {
				if lingering = e.finished; lingering {
					l.Linger()
				} else {
					l.Resume()
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
			if !e.finished {
				e.unwritten()
			}
			// A connection that breaks behind the finish takes nothing away; an error that the upstream tells of does.
			var f *fault.Error
			if errors.Is(err, io.EOF) || e.finished && !errors.As(err, &f) {
				err = e.end()
			}
			// What was said before a fault is still given; the block that broke stays open.
			if give() && err != nil {
				yield(messages.Event{}, err)
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
	var c collector
	for i := range e.queue {
		if err := c.add(&e.queue[i]); err != nil {
			return nil, err
		}
	}
	return &c.r, nil
}

// Collect gathers a stream of events into a whole message: for an upstream that streams though it was not asked to.
func Collect(events iter.Seq2[messages.Event, error]) (*messages.Response, error) {
	var c collector
	for ev, err := range events {
		if err != nil {
			return nil, err
		}
		if err := c.add(&ev); err != nil {
			return nil, err
		}
	}
	return &c.r, nil
}

// collector makes a whole message of the events of a legal stream.
type collector struct {
	r    messages.Response
	text []byte // of the block that is open
}

func (c *collector) add(ev *messages.Event) error {
	r := &c.r
	switch ev.Type {
	case messages.MessageStart:
		r.ID, r.Model = ev.ID, ev.Name
	case messages.BlockStart:
		r.Content = append(r.Content, messages.Part{Block: ev.Block, ID: ev.ID, Name: ev.Name})
		c.text = c.text[:0]
	case messages.BlockDelta:
		if ev.Signature != "" {
			r.Content[len(r.Content)-1].Signature = ev.Signature
		}
		c.text = ev.Text.AppendValue(c.text)
	case messages.BlockStop:
		p := &r.Content[len(r.Content)-1]
		if p.Block != messages.ToolUseBlock {
			p.Text = string(c.text)
			return nil
		}
		var args proof
		if args.feed(c.text); !args.fine() {
			// Only the output limit lets a cut call end, and a whole message has no way to show it.
			return badTool(p.Name)
		}
		p.Input = jsontext.Value(bytes.Clone(bytes.TrimSpace(c.text)))
	case messages.MessageDelta:
		r.StopReason, r.StopSequence, r.Usage = ev.StopReason, ev.StopSequence, ev.Usage
	}
	return nil
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
