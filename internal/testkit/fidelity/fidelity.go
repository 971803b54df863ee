// Package fidelity measures what becomes of each feature of the Messages API on each wire, with the real encoders, and prints it
// as the tables of docs/fidelity.md. It holds the law that nothing disappears in silence: a feature arrives, is noted, is
// refused, or stands in a table of what may go without a word, with the reason.
//
// Read this file for the law, wires.go for whom it binds, features.go for what is probed. No probe leaves the process.
package fidelity

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// Outcome is what becomes of a feature on a wire.
type Outcome struct {
	Kind   string   // one of the words below
	Fields []string // what the notes name
	Words  string   // how it is carried, where the body does not show it
}

// The kinds of outcomes; docs/fidelity.md explains them.
const (
	Carried      = "carried"
	Approximated = "approximated"
	Dropped      = "dropped"
	LeftOut      = "left out"
	Refused      = "refused"
)

// Feature is one thing that a request can ask for, and a request that asks for it.
type Feature struct {
	Section string
	Name    string // as the page writes it
	Body    string // the probe
	// Marks are texts of the probe that stand in the upstream's body when the feature has arrived; none means MARK.
	Marks []string
	// Without is the probe without the feature, for one that leaves no text of its own: it has arrived when the upstream's bodies
	// differ.
	Without string
	// Quiet is the reason why it may be left out without a word; empty: it may not.
	Quiet string
	// Elsewhere says, by column, how it is carried where the body does not show it; other tests hold that.
	Elsewhere map[string]string
}

// Field begins every refusal: where in the request the trouble is.
var fieldFirst = regexp.MustCompile(`^[a-z][a-zA-Z0-9_.]*(, [a-z][a-zA-Z0-9_.]*)*: `)

// Judge encodes the probe and says what became of the feature. An error means that the law is broken.
func Judge(f *Feature, w *Wire) (Outcome, error) {
	body, notes, err := encode(f.Body, w, false)
	if err != nil {
		return refusal(err)
	}
	o := Outcome{Kind: Carried, Fields: notes.Fields()}
	if len(o.Fields) > 0 {
		o.Kind = Dropped
		return o, nil
	}
	if len(notes) > 0 {
		o.Kind = Approximated
		for _, n := range notes {
			o.Fields = append(o.Fields, n.Field)
		}
		return o, nil
	}
	there, err := arrived(f, w, body)
	switch {
	case err != nil:
		return o, err
	case there:
	case f.Elsewhere[w.Column] != "":
		o.Words = f.Elsewhere[w.Column]
	case f.Quiet != "":
		o.Kind = LeftOut
	default:
		return o, fmt.Errorf("%s: lost without a word in %s", f.Name, body)
	}
	return o, nil
}

// refusal holds an error to its form: a 400 that names the field.
func refusal(err error) (Outcome, error) {
	var e *fault.Error
	if !errors.As(err, &e) || e.Kind != fault.Invalid {
		return Outcome{}, fmt.Errorf("refused, but not as an invalid request: %w", err)
	}
	if !fieldFirst.MatchString(e.Message) {
		return Outcome{}, fmt.Errorf("a refusal that names no field: %s", e.Message)
	}
	return Outcome{Kind: Refused}, nil
}

func encode(body string, w *Wire, strict bool) ([]byte, wire.Notes, error) {
	r, err := messages.ParseRequest([]byte(body))
	if err != nil {
		return nil, nil, err
	}
	return w.Encode(r, strict)
}

func arrived(f *Feature, w *Wire, body []byte) (bool, error) {
	if f.Without != "" {
		without, notes, err := encode(f.Without, w, false)
		if err != nil || len(notes) > 0 {
			return false, fmt.Errorf("%s: the probe without the feature is not clean: %v %v", f.Name, notes, err)
		}
		return string(without) != string(body), nil
	}
	marks := f.Marks
	if marks == nil {
		marks = []string{"MARK"}
	}
	for _, m := range marks {
		if m == "MODEL" {
			m = w.Model
		}
		if !strings.Contains(string(body), m) {
			return false, nil
		}
	}
	return true, nil
}

// Strict holds strict mode to its promise: all that would be dropped is refused by name, at once, and nothing else changes.
func Strict(f *Feature, w *Wire) error {
	body, notes, err := encode(f.Body, w, false)
	strictBody, strictNotes, strictErr := encode(f.Body, w, true)
	switch dropped := notes.Fields(); {
	case err != nil:
		if strictErr == nil {
			return fmt.Errorf("strict mode takes what is refused otherwise: %w", err)
		}
	case len(dropped) > 0:
		if _, err := refusal(strictErr); err != nil {
			return err
		}
		if unknown := slices.Contains(dropped, "content_block") && strings.Contains(strictErr.Error(), ".type: "); unknown {
			break // a block is refused by its place, before the rest is looked at
		}
		for _, field := range dropped {
			if !strings.Contains(strictErr.Error(), field) {
				return fmt.Errorf("strict mode refuses %v without naming %s: %w", dropped, field, strictErr)
			}
		}
	case strictErr != nil:
		return fmt.Errorf("nothing is dropped, but strict mode refuses: %w", strictErr)
	case string(body) != string(strictBody) || !slices.Equal(notes, strictNotes):
		return fmt.Errorf("strict mode changes what is sent:\n%s %v\n%s %v", body, notes, strictBody, strictNotes)
	}
	return nil
}
