// Package textcall finds the tool calls that weak models write into their text, because their server has no parser for them
// or their template none: <tool_call>, <function=…>, [TOOL_CALLS], fenced and bare JSON. What it finds is a call only when it
// names a tool of this very request and its arguments fit that tool's schema; everything else stays the text that it was.
//
// It holds text back only while that text could still be a call, knows no dialect and no network, and changes nothing in
// what it does not take. Read reader.go for when a call may begin and end, stance.go for what prose says of it,
// grammar.go for the forms, schema.go for the proof.
package textcall

import (
	"github.com/go-json-experiment/json/jsontext"
)

// Tool is a tool that the request offers, under the name that the model knows it by. Schema is the caller's own; nil: any
// object fits.
type Tool struct {
	Name   string
	Schema jsontext.Value
}

// Call is a call that was found. Input is a JSON object that fits the tool's schema; with Options.Only, and where the answer was
// cut, the beginning of one.
type Call struct {
	Name  string
	Input jsontext.Value
}

// Part is a piece of the answer: text, or a call. Text is valid until the next call of a Reader's method.
type Part struct {
	Text []byte
	Call *Call
}

// Options say what a Reader looks for.
type Options struct {
	// TaggedOnly leaves JSON without a tag alone: the caller asked for an answer that is JSON.
	TaggedOnly bool
	// Forced says that the server was asked to write nothing but a call, by a grammar that knows most of the schema.
	Forced bool
	// Only names the tool whose arguments the whole answer should be: the server was asked to write nothing else. An answer that
	// does not fit is read as any other.
	Only string
}

// Limits of one answer, so that no upstream can fill our memory or time.
const (
	maxHeld  = 1 << 20  // bytes of a call in progress; more is text
	eager    = 4 << 10  // up to here each piece is looked at as it comes, beyond it each sixteenth more
	maxWork  = 64       // bytes looked at for each byte that came, on average
	freeWork = 16 << 20 // bytes looked at before that counts
	preface  = 1000     // bytes of prose that may stand before a call without a tag
)
