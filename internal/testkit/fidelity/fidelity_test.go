package fidelity

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/wire"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/fidelity.md")

// Nothing disappears in silence: on each wire each feature arrives, is noted, is refused, or may go without a word for a reason
// that is written down.
func TestNothingIsLostInSilence(t *testing.T) {
	for _, w := range Wires() {
		for _, f := range Features() {
			if _, err := Judge(f, w); err != nil {
				t.Errorf("%s, %s, %s: %v", w.Column, w.Name, f.Section, err)
			}
		}
	}
}

// Strict mode refuses what would be dropped, and changes nothing else.
func TestStrict(t *testing.T) {
	refused := 0
	for _, w := range Wires() {
		for _, f := range Features() {
			if err := Strict(f, w); err != nil {
				t.Errorf("%s, %s, %s: %s: %v", w.Column, w.Name, f.Section, f.Name, err)
			}
			if o, err := Judge(f, w); err == nil && o.Kind == Dropped {
				refused++
			}
		}
	}
	if refused < 100 {
		t.Errorf("only %d probes are dropped anywhere: this proves little", refused)
	}
}

// A refusal of strict mode names everything at once, whichever half of an encoder leaves it out: what all wires have in common,
// and what is a dialect's own.
func TestStrictNamesAll(t *testing.T) {
	f := &Feature{Name: "much at once", Body: request(`"top_k":3,"speed":"fast","later":1,"context_management":{"edits":[]},"tools":[{"name":"look","strict":true}],` +
		`"tool_choice":{"type":"auto","disable_parallel_tool_use":true},"output_config":{"effort":"high"}`)}
	for _, w := range Wires() {
		if err := Strict(f, w); err != nil {
			t.Errorf("%s, %s: %v", w.Column, w.Name, err)
		}
	}
}

// A probe proves something only if the language of its own takes it: there everything is carried but what cannot be valid.
func TestVerbatimCarriesAll(t *testing.T) {
	w := Wires()[0]
	exceptions := []string{"`thinking`, not signed", "`thinking` with the state of OpenRouter", "`thinking` with the state of Responses", "`thinking` with the state of Gemini"}
	for _, f := range Features() {
		o, err := Judge(f, w)
		if err != nil {
			t.Error(err)
		}
		if odd := o.Kind != Carried; odd != slices.Contains(exceptions, f.Name) {
			t.Errorf("%s: %s", f.Name, o.Kind)
		}
	}
}

// The tables of docs/fidelity.md are printed from what the encoders do; run with -update after a change, and read the diff.
func TestPage(t *testing.T) {
	const page = "../../../docs/fidelity.md"
	tables, err := Tables()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	out := string(text)
	for name, want := range tables {
		begin := fmt.Sprintf(Begin, name)
		before, rest, found := strings.Cut(out, begin)
		got, after, closed := strings.Cut(rest, End)
		if !found || !closed {
			t.Errorf("%s has no table between %q and %q", page, begin, End)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" && !*update {
			t.Errorf("%s does not say what the encoders do; run go test ./internal/testkit/fidelity -update (-want +got)\n%s", page, diff)
		}
		out = before + begin + want + End + after
	}
	if *update && !t.Failed() {
		if err := os.WriteFile(page, []byte(out), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever has a reason to lose something quietly must lose it somewhere: a reason that nothing needs any more is a hole.
func TestReasonsAreNeeded(t *testing.T) {
	needed := map[string]bool{}
	for _, w := range Wires() {
		for _, f := range Features() {
			if o, err := Judge(f, w); err == nil {
				needed[f.Section+f.Name] = needed[f.Section+f.Name] || o.Kind == LeftOut
			}
		}
	}
	reasons := map[string]bool{}
	for _, f := range Features() {
		if reasons[f.Quiet] = true; f.Quiet != "" && !needed[f.Section+f.Name] {
			t.Errorf("%s, %s: it is left out nowhere, so it needs no reason", f.Section, f.Name)
		}
	}
	for field, why := range wire.LeftOut {
		if !reasons[why] {
			t.Errorf("wire.LeftOut has %s, which no feature probes", field)
		}
	}
}
