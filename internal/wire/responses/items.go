package responses

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// Every text of an answer comes up to five times: in deltas, in the event that ends its part (twice), in the one that ends its item,
// and in the one that ends the answer. Servers leave out any of these, so each says whatever was not said yet, and nothing twice:
// an item remembers how much of it was said, and that this much of a longer text is the same text.

// maxItems is the most items of one answer that are told apart.
const maxItems = 1024

// kind is what an item is.
type kind uint8

const (
	other kind = iota
	message
	call
	thought
)

func kindOf(item gjson.Result) kind {
	switch t := item.Get("type").Str; {
	case t == "message", t == "" && item.Get("role").Str == "assistant":
		return message
	case t == "function_call":
		return call
	case t == "reasoning":
		return thought
	}
	return other
}

// channel is what a piece of an item is.
type channel uint8

const (
	none channel = iota
	text
	refusal
	summary   // of the reasoning
	reasoning // itself
	arguments
)

func (c channel) kind() kind {
	switch c {
	case text, refusal:
		return message
	case arguments:
		return call
	case summary, reasoning:
		return thought
	}
	return other
}

// partKind is the channel of a content part.
func partKind(part gjson.Result) channel {
	switch part.Get("type").Str {
	case "output_text", "text":
		return text
	case "refusal":
		return refusal
	case "summary_text":
		return summary
	case "reasoning_text":
		return reasoning
	}
	return none
}

// partText is the text of a content part, under whichever name it stands.
func partText(part gjson.Result) messages.Literal {
	if part.Type == gjson.String {
		return messages.LiteralOf(part)
	}
	if partKind(part) == refusal {
		return messages.LiteralOf(part.Get("refusal"))
	}
	return messages.LiteralOf(part.Get("text"))
}

// item is one item of the answer as far as it was read.
type item struct {
	kind             kind
	seq              int // the number by which the engine knows it
	index            int // output_index; -1: none was given
	id, callID, name string
	added, done      bool
	matched          bool // the end of the answer has it too

	channel   channel // of a thought: which of the two was read first; the other one says the same
	all, part run     // what was said of the item, and of its newest part
	partIndex int
	closed    bool   // the newest part has ended
	further   bool   // what comes is a further part of a thought
	packed    bool   // its state was handed over
	opened    bool   // a call: the engine knows its name
	spoke     bool   // the engine has heard of it
	first     string // the item as it was announced, where that held something already
}

// run is a text that was said: not the text, but enough to know it again.
type run struct {
	n    int
	hash uint64
}

// add goes on by FNV-1a.
func (r *run) add(s string) {
	if r.n == 0 {
		r.hash = 14695981039346656037
	}
	for i := 0; i < len(s); i++ {
		r.hash = (r.hash ^ uint64(s[i])) * 1099511628211
	}
	r.n += len(s)
}

// rest is what a text says beyond what was said; "" when it says no more, or something else.
func (r run) rest(full string) string {
	switch {
	case r.n == 0:
		return full
	case len(full) <= r.n:
		return ""
	}
	var begin run
	if begin.add(full[:r.n]); begin != r {
		return ""
	}
	return full[r.n:]
}

// same reports whether a text is what was said.
func (r run) same(full string) bool {
	var x run
	x.add(full)
	return x == r
}

// number is a whole number of an event; -1 when it is missing or senseless.
func number(v gjson.Result) int {
	if v.Type == gjson.Number && v.Num >= 0 && v.Num < 1<<20 {
		return int(v.Num)
	}
	return -1
}

// find is the item that a piece belongs to. The index decides; ids differ from event to event at some servers, but where there is
// no index they are all there is. Without either it is the newest of its kind.
func (d *decoder) find(k kind, index int, id string) *item {
	var named, newest *item
	for i := len(d.items) - 1; i >= 0; i-- {
		it := d.items[i]
		switch {
		case it.kind != k:
		case index >= 0 && it.index == index:
			return it
		case id != "" && it.id == id:
			if named == nil {
				named = it
			}
		case (index < 0 || it.index < 0) && (id == "" || it.id == "") && newest == nil:
			newest = it
		}
	}
	if named != nil {
		return named
	}
	return newest
}

// begin is a new item; nil when there are too many.
func (d *decoder) begin(k kind, index int, id string) *item {
	if len(d.items) == maxItems {
		d.j.notes.Drop("reply.output_item")
		return nil
	}
	it := &item{kind: k, seq: len(d.items), index: index, id: strings.Clone(id), partIndex: -1}
	d.items = append(d.items, it)
	return it
}

// piece is the item of an event about a piece, made if it was not announced; nil when it has ended already.
func (d *decoder) piece(v gjson.Result, k kind) *item {
	index, id := number(v.Get("output_index")), v.Get("item_id").String()
	it := d.find(k, index, id)
	switch {
	case it == nil, it.done && id != "" && it.id != "" && it.id != id:
		return d.begin(k, index, id)
	case it.done:
		return nil
	}
	return it
}

func (d *decoder) onItemAdded(v gjson.Result) {
	x := v.Get("item")
	k := kindOf(x)
	if k == other {
		d.foreign(x)
		return
	}
	index, id, callID := number(v.Get("output_index")), x.Get("id").String(), x.Get("call_id").String()
	it := d.find(k, index, id)
	switch {
	case it == nil, it.done:
		it = d.begin(k, index, id)
	case it.added && (id != "" && it.id != "" && id != it.id || callID != "" && it.callID != "" && callID != it.callID || index < 0 && it.all.n > 0):
		it = d.begin(k, index, id) // a server that gives every item the same index, or none
	}
	if it == nil {
		return
	}
	it.added = true
	it.learn(x)
	if k == call {
		if a := x.Get("arguments"); a.IsObject() || !messages.LiteralOf(a).Empty() {
			it.first = strings.Clone(x.Raw) // deltas may yet say the same
		}
		d.open(it)
	} else if k == message && x.Get("content.0").Exists() {
		it.first = strings.Clone(x.Raw)
	}
}

// learn takes the names of an item, the first that are given.
func (it *item) learn(x gjson.Result) {
	first(&it.id, x.Get("id"))
	it.callNames(x)
}

// callNames takes those that may also stand in an event about a call.
func (it *item) callNames(x gjson.Result) {
	first(&it.callID, x.Get("call_id"))
	first(&it.name, x.Get("name"))
}

func first(at *string, f gjson.Result) {
	if *at == "" && f.Type == gjson.String {
		*at = strings.Clone(f.Str)
	}
}

func (d *decoder) onItemDone(v gjson.Result) {
	x := v.Get("item")
	k := kindOf(x)
	if k == other {
		d.foreign(x)
		return
	}
	index, id := number(v.Get("output_index")), x.Get("id").String()
	it := d.find(k, index, id)
	switch {
	case it == nil:
		it = d.begin(k, index, id)
	case it.done && it.is(x):
		return
	case it.done:
		it = d.begin(k, index, id)
	}
	if it != nil {
		d.settle(it, x)
	}
}

// is reports whether an item is this one by one of its ids.
func (it *item) is(x gjson.Result) bool {
	id, callID := x.Get("id").String(), x.Get("call_id").String()
	return id != "" && id == it.id || callID != "" && callID == it.callID
}

// foreign notes an item that no agent could make anything of: a tool that the provider ran itself, or a kind of the future.
func (d *decoder) foreign(x gjson.Result) {
	if x.IsObject() {
		d.j.notes.Drop("reply.output_item")
	}
}

// onPart is the beginning or the end of a part.
func (d *decoder) onPart(v gjson.Result, c channel, end bool) {
	if c == none {
		if v.Get("part").IsObject() {
			d.j.notes.Drop("reply.content_part")
		}
		return
	}
	if end {
		d.onDone(v, c, partText(v.Get("part")))
		return
	}
	if it := d.piece(v, c.kind()); it != nil {
		if it.part.n > 0 || it.closed {
			it.nextPart()
		}
		it.partIndex = partIndex(v, c)
	}
}

func partIndex(v gjson.Result, c channel) int {
	if c == summary {
		return number(v.Get("summary_index"))
	}
	return number(v.Get("content_index"))
}

func (it *item) nextPart() {
	it.part, it.closed, it.further = run{}, false, true
}

// onDelta feeds a piece.
func (d *decoder) onDelta(v gjson.Result, c channel) {
	delta := v.Get("delta")
	if delta.IsObject() {
		delta = delta.Get("text")
	}
	l := messages.LiteralOf(delta)
	if l.Empty() {
		return
	}
	it := d.piece(v, c.kind())
	if it == nil && number(v.Get("output_index")) < 0 {
		it = d.begin(c.kind(), -1, "") // nothing says whose it is, and the last of its kind has ended
	}
	if it == nil {
		return
	}
	// Only summaries are told apart by their number: of the others some servers number the pieces.
	index := partIndex(v, c)
	if it.closed || c == summary && it.part.n > 0 && index != it.partIndex {
		it.nextPart()
	}
	it.partIndex = index
	d.say(it, c, l)
}

// onDone is the end of a part, with its whole text.
func (d *decoder) onDone(v gjson.Result, c channel, l messages.Literal) {
	it := d.piece(v, c.kind())
	if it == nil {
		return
	}
	index := partIndex(v, c)
	if !l.Empty() {
		full := l.Value()
		if index != it.partIndex && (it.closed || c == summary && it.part.n > 0) && !it.part.same(full) {
			it.nextPart()
		}
		if rest := it.part.rest(full); rest != "" {
			d.say(it, c, messages.Quote(rest))
		}
	}
	it.partIndex, it.closed = index, true
}

func (d *decoder) onArgumentsDone(v gjson.Result) {
	it := d.piece(v, call)
	if it == nil {
		return
	}
	it.callNames(v)
	d.arguments(it, v.Get("arguments"))
	d.open(it)
}

// say feeds a piece of an item to the engine.
func (d *decoder) say(it *item, c channel, l messages.Literal) {
	if l.Empty() || d.e.Finished() {
		return
	}
	if it.kind == thought {
		if it.channel == none {
			it.channel = c
		}
		if it.channel != c {
			return
		}
	}
	value := l.Value()
	it.part.add(value)
	further := it.further && it.all.n > 0 && d.speaking == it
	it.all.add(value)
	it.further = false
	switch c {
	case summary, reasoning:
		d.speak(it)
		if further {
			d.e.Thinking(messages.Quote("\n\n"))
		}
		d.e.Thinking(l)
	case arguments:
		d.call(it, l, nil)
	default:
		d.refused = d.refused || c == refusal
		d.speak(it)
		d.text(l)
	}
}

// text feeds a piece of text, and ends the answer where a stop sequence of the caller begins.
func (d *decoder) text(l messages.Literal) {
	if len(d.stop.stops) == 0 {
		d.e.Text(l)
		return
	}
	said, match := d.stop.feed(l)
	d.e.Text(said)
	if match != "" {
		d.e.Finish("stop_sequence", match)
	}
}

// speak says that what comes is this item's. What another began is its own: two messages are two blocks. A call that goes on
// in the middle of a message parts nothing: its pieces are sorted by the engine.
func (d *decoder) speak(it *item) {
	switch {
	case it.kind != call && d.voice != it:
		d.flush()
		d.e.Apart()
		d.voice = it
	case it.kind == call && !it.spoke:
		d.flush()
	}
	d.speaking, it.spoke = it, true
}

// flush says what was held back for the sake of a stop sequence.
func (d *decoder) flush() {
	if !d.e.Finished() {
		d.e.Text(d.stop.flush())
	}
}

// call feeds a piece of a call's arguments. Its name is given with its id and not before: the engine opens the block then, and
// an id that comes later would be another call's.
func (d *decoder) call(it *item, args messages.Literal, input jsontext.Value) {
	if d.e.Finished() {
		return
	}
	d.speak(it)
	p := wire.Piece{Index: it.seq, Args: args, Input: input}
	if id := it.knownAs(); id != "" && it.name != "" {
		p.ID, p.Name, it.opened = id, it.name, true
	}
	d.e.Call(p)
}

// knownAs is the id by which a call is answered. Until the whole item is there it may yet come.
func (it *item) knownAs() string {
	if it.callID == "" && it.done {
		return it.id
	}
	return it.callID
}

// open says that there is a call as soon as its name and its id are known.
func (d *decoder) open(it *item) {
	if !it.opened && it.name != "" && it.knownAs() != "" {
		d.call(it, nil, nil)
	}
}

// arguments feeds what a call's whole arguments say beyond what came in pieces. Some servers give an object and no text.
func (d *decoder) arguments(it *item, v gjson.Result) {
	switch {
	case v.IsObject():
		if it.all.n == 0 {
			it.all.add(v.Raw)
			d.call(it, nil, messages.RawOf(v))
		}
	default:
		l := messages.LiteralOf(v)
		if it.all.n == 0 {
			if !l.Empty() {
				d.say(it, arguments, l)
			}
		} else if rest := it.all.rest(l.Value()); rest != "" {
			d.say(it, arguments, messages.Quote(rest))
		}
	}
}

// settle says what a whole item says beyond what came in pieces, and hands its state over.
func (d *decoder) settle(it *item, x gjson.Result) {
	it.learn(x)
	it.done = true
	switch it.kind {
	case call:
		a := x.Get("arguments")
		if it.first != "" && it.all.n == 0 && !a.IsObject() && messages.LiteralOf(a).Empty() {
			a = gjson.Parse(it.first).Get("arguments")
		}
		d.arguments(it, a)
		if d.open(it); !it.opened && !d.e.Finished() { // without any id it gets one of ours, without a name it is none
			it.opened = true
			p := wire.Piece{Index: it.seq, ID: it.knownAs(), Name: it.name}
			if it.name == "" && it.all.n == 0 {
				p.Args = messages.Quote("{}")
			}
			d.speak(it)
			d.e.Call(p)
		}
	case message:
		d.settleText(it, x.Get("content"))
	case thought:
		d.settleThought(it, x)
	}
}

func (d *decoder) settleText(it *item, content gjson.Result) {
	if content.Type == gjson.String {
		d.settleParts(it, []channel{text}, []messages.Literal{messages.LiteralOf(content)})
		return
	}
	var channels []channel
	var texts []messages.Literal
	content.ForEach(func(_, p gjson.Result) bool {
		c := partKind(p)
		if p.Type == gjson.String {
			c = text
		}
		if c != text && c != refusal {
			d.j.notes.Drop("reply.content_part")
			return true
		}
		if p.Get("annotations.0").Exists() {
			d.j.notes.Drop("reply.annotations")
		}
		channels, texts = append(channels, c), append(texts, partText(p))
		return true
	})
	d.settleParts(it, channels, texts)
}

// settleThought reads the summary, or where there is none the reasoning itself.
func (d *decoder) settleThought(it *item, x gjson.Result) {
	for _, c := range [...]channel{summary, reasoning} {
		list := x.Get("summary")
		if c == reasoning {
			list = x.Get("content")
		}
		var channels []channel
		var texts []messages.Literal
		if list.Type == gjson.String {
			channels, texts = append(channels, c), append(texts, messages.LiteralOf(list))
		} else {
			list.ForEach(func(_, p gjson.Result) bool {
				channels, texts = append(channels, c), append(texts, partText(p))
				return true
			})
		}
		if it.channel == none || it.channel == c {
			d.settleParts(it, channels, texts)
		}
	}
	d.carry(it, x)
}

// settleParts says what the parts of an item say beyond what was said of it.
func (d *decoder) settleParts(it *item, channels []channel, texts []messages.Literal) {
	said, size := it.all.n, 0
	for i := range texts {
		size += len(texts[i])
		d.refused = d.refused || channels[i] == refusal && !texts[i].Empty() && !d.e.Finished()
	}
	if said > 0 {
		if size <= said { // no text is longer than its literal
			return
		}
		var full strings.Builder
		for _, l := range texts {
			full.WriteString(l.Value())
		}
		if it.all.rest(full.String()) == "" {
			return
		}
	}
	for i, l := range texts {
		if said == 0 {
			it.nextPart()
			d.say(it, channels[i], l)
			continue
		}
		value := l.Value()
		if len(value) > said {
			d.say(it, channels[i], messages.Quote(value[said:]))
		}
		said -= min(said, len(value))
	}
}

// carry hands the state of a thought over to the block that shows it, or makes a block that shows nothing. State that comes
// when others have spoken already has lost its place, and out of its place it would be refused.
func (d *decoder) carry(it *item, x gjson.Result) {
	if it.packed || d.e.Finished() {
		return
	}
	state := carried(x)
	if state == nil {
		return
	}
	it.packed = true
	if d.speaking != nil && d.speaking != it && (it.all.n > 0 || d.speaking.seq > it.seq) {
		d.j.notes.Drop("reply.reasoning_state")
		return
	}
	d.speak(it)
	d.e.Carry(d.j.quirks.pack(state))
}

// settleAll goes through the whole output at the end of an answer: for some servers it is all there is.
func (d *decoder) settleAll(r reply) {
	late := d.e.Started()
	index := -1
	r.output.ForEach(func(_, x gjson.Result) bool {
		index++
		k := kindOf(x)
		if k == other {
			d.foreign(x)
			return true
		}
		it := d.match(k, x, index)
		switch {
		case it == nil && k == thought && late:
			d.j.notes.Drop("reply.reasoning") // what it led to was said already
			return true
		case it == nil:
			if it = d.begin(k, index, x.Get("id").String()); it == nil {
				return true
			}
		}
		it.matched = true
		if !it.done {
			d.settle(it, x)
		}
		return true
	})
	for _, it := range d.items {
		switch {
		case it.done:
		case it.first != "":
			d.settle(it, gjson.Parse(it.first))
		case it.kind == call && !it.opened && it.name != "":
			d.settle(it, gjson.Result{}) // nobody said that it is whole, but the answer is
		}
	}
	if index < 0 && !d.e.Started() && !r.text.Empty() {
		if it := d.begin(message, 0, ""); it != nil {
			d.say(it, text, r.text)
		}
	}
}

// match is the item of the stream that an item of the whole output is: by its ids, else by its place, else by what it says.
func (d *decoder) match(k kind, x gjson.Result, index int) *item {
	var place, alike *item
	said, known := "", false
	same := func(it *item) bool {
		if !known {
			said, known = wholeText(x), true
		}
		return it.all.n == len(said) && it.all.same(said)
	}
	for _, it := range d.items {
		switch {
		case it.kind != k || it.matched:
		case it.is(x):
			return it
		case k == call && it.callID != "" && x.Get("call_id").Exists():
			// another call
		case it.index == index && place == nil:
			place = it
		case it.all.n > 0 && alike == nil && same(it):
			alike = it
		}
	}
	if place == nil || alike != nil && !same(place) {
		return alike
	}
	return place
}

// wholeText is all that an item says.
func wholeText(x gjson.Result) string {
	switch kindOf(x) {
	case call:
		return x.Get("arguments").String()
	case thought:
		if x.Get("summary.0").Exists() {
			return joined(x.Get("summary"))
		}
	}
	return joined(x.Get("content"))
}

func joined(list gjson.Result) string {
	if list.Type == gjson.String {
		return list.String()
	}
	var sb strings.Builder
	list.ForEach(func(_, p gjson.Result) bool {
		l := partText(p)
		sb.WriteString(l.Value())
		return true
	})
	return sb.String()
}
