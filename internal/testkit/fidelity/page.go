package fidelity

import (
	"fmt"
	"slices"
	"strings"
)

// Begin and End stand around each table of the page.
const (
	Begin = "<!-- %s: printed by go test ./internal/testkit/fidelity -update -->\n"
	End   = "<!-- end of table -->"
)

// Tables are the tables of the page by the name in their first mark. An error means that the law is broken somewhere.
func Tables() (map[string]string, error) {
	wires, quiet := Wires(), &reasons{}
	out := map[string]string{}
	for _, section := range Sections {
		var sb strings.Builder
		sb.WriteString("| feature | " + strings.Join(Columns, " | ") + " |\n|" + strings.Repeat(" --- |", len(Columns)+1) + "\n")
		for _, f := range Features() {
			if f.Section != section {
				continue
			}
			sb.WriteString("| " + f.Name + " |")
			for _, c := range Columns {
				words, err := cell(f, c, wires, quiet)
				if err != nil {
					return nil, err
				}
				sb.WriteString(" " + words + " |")
			}
			sb.WriteByte('\n')
		}
		out[section] = sb.String()
	}
	out["left out"] = quiet.table()
	return out, nil
}

// cell says what becomes of a feature in a column: what most of its wires do, and who does otherwise.
func cell(f *Feature, column string, wires []*Wire, quiet *reasons) (string, error) {
	var said []string // in the order of the wires
	who := map[string][]string{}
	for _, w := range wires {
		if w.Column != column {
			continue
		}
		o, err := Judge(f, w)
		if err != nil {
			return "", fmt.Errorf("%s, %s: %w", w.Column, w.Name, err)
		}
		if o.Kind == LeftOut {
			quiet.add(f, column)
		}
		words := o.words(f)
		if who[words] == nil {
			said = append(said, words)
		}
		who[words] = append(who[words], w.Name)
	}
	most := slices.MaxFunc(said, func(a, b string) int { return len(who[a]) - len(who[b]) }) // the first of several
	out := most
	for _, words := range said {
		if words != most {
			out += "; " + words + ": " + strings.Join(shorter(who[words]), ", ")
		}
	}
	return out, nil
}

// shorter leaves out who is of a kind that is named already: "`openai` o and gpt-5" where "`openai`" stands.
func shorter(names []string) (out []string) {
	for _, n := range names {
		if !slices.ContainsFunc(names, func(kind string) bool { return strings.HasPrefix(n, kind+" ") }) {
			out = append(out, n)
		}
	}
	return out
}

// words are an outcome as a cell says it. The name in a note is told where it is not the feature's own.
func (o Outcome) words(f *Feature) string {
	var fields []string
	for _, field := range o.Fields {
		if !strings.Contains(f.Name, "`"+field) {
			fields = append(fields, "`"+field+"`")
		}
	}
	switch {
	case o.Words != "":
		return o.Kind + ", " + o.Words
	case len(fields) > 0:
		return o.Kind + " as " + strings.Join(fields, ", ")
	}
	return o.Kind
}

// reasons gathers why something may go without a word, and where it does.
type reasons struct{ rows []*reason }

type reason struct {
	feature, why string
	columns      []string
}

func (r *reasons) add(f *Feature, column string) {
	for _, x := range r.rows {
		if x.feature == f.Name && x.why == f.Quiet {
			if !slices.Contains(x.columns, column) {
				x.columns = append(x.columns, column)
			}
			return
		}
	}
	r.rows = append(r.rows, &reason{f.Name, f.Quiet, []string{column}})
}

func (x *reason) where() string {
	if len(x.columns) == len(Columns)-1 {
		return "all translated wires"
	}
	return strings.Join(x.columns, ", ")
}

// table has a line for each reason and place, with all that goes for it.
func (r *reasons) table() string {
	var sb strings.Builder
	sb.WriteString("| feature | where | why nobody has to know |\n| --- | --- | --- |\n")
	done := map[[2]string]bool{}
	for _, x := range r.rows {
		key := [2]string{x.why, x.where()}
		if done[key] {
			continue
		}
		done[key] = true
		var features []string
		for _, y := range r.rows {
			if y.why == x.why && y.where() == key[1] {
				features = append(features, y.feature)
			}
		}
		fmt.Fprintf(&sb, "| %s | %s | %s |\n", strings.Join(features, "; "), key[1], x.why)
	}
	return sb.String()
}
