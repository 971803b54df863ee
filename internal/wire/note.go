// Package wire is what all dialects share: the notes a translation leaves, the conversation prepared for foreign dialects,
// tool-use ids, and the one stream engine that can only emit legal Anthropic streams. The dialects themselves are the
// folders below it; each is a set of pure functions that never dial and know no clock.
//
// Read prepare.go for the way down, engine.go for the way up.
package wire

import (
	"sort"
	"strings"

	"signalbox/internal/fault"
)

// NoteKind says what became of a field.
type NoteKind string

// The kinds of notes. What must be refused is an error, not a note.
const (
	Dropped      NoteKind = "dropped"      // the answer is still right without it
	Approximated NoteKind = "approximated" // carried in another form
)

// Note is one field that a translation could not carry as it was. Field is one of our own names (top_k, cache_control,
// tools.web_search), never a caller's text: it becomes a header value and a metric label.
type Note struct {
	Kind  NoteKind
	Field string
	// Foreign marks a Field that is a caller's own word (checked to be a plain one): fit for a header, not for a metric label.
	Foreign bool
}

// Notes collects notes, each field once for each kind.
type Notes []Note

// Drop notes that a field was left out.
func (n *Notes) Drop(field string) { n.add(Note{Kind: Dropped, Field: field}) }

// Approximate notes that a field was carried in another form.
func (n *Notes) Approximate(field string) { n.add(Note{Kind: Approximated, Field: field}) }

// DropUnknown notes that a top-level field nobody here knows was left out.
func (n *Notes) DropUnknown(name string) {
	if !plainWord(name) {
		n.Drop("unknown_field")
		return
	}
	n.add(Note{Kind: Dropped, Field: name, Foreign: true})
}

// Label is the field as a metric label.
func (n Note) Label() string {
	if n.Foreign {
		return "unknown_field"
	}
	return n.Field
}

// Refuse is the error of strict mode: it names what the target could not honour. It is nil when nothing was dropped.
func (n Notes) Refuse() *fault.Error {
	if f := n.Fields(); len(f) > 0 {
		return fault.New(fault.Invalid, "%s: this target cannot honour it, and strict mode refuses to leave it out", strings.Join(f, ", "))
	}
	return nil
}

func (n *Notes) add(x Note) {
	for _, o := range *n {
		if o == x {
			return
		}
	}
	*n = append(*n, x)
}

// Fields lists the fields that were dropped, sorted, for the header x-signalbox-dropped.
func (n Notes) Fields() []string {
	var out []string
	for _, x := range n {
		if x.Kind == Dropped {
			out = append(out, x.Field)
		}
	}
	sort.Strings(out)
	return out
}
