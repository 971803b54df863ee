package routing

// Step is one rule that was tried.
type Step struct {
	Rule  string `json:"rule"`            // path, header, agent, alias, body, default, rules.N
	Taken bool   `json:"taken"`           // it decided, unless a later one did
	Gives string `json:"gives,omitempty"` // what it named
	Why   string `json:"why,omitempty"`   // why it was passed over
}

// Exclusion is a target of the chain that was passed over.
type Exclusion struct {
	Target string `json:"target"`
	Why    string `json:"why"`
}

// Explanation is a decision told step by step.
type Explanation struct {
	Steps    []Step      `json:"steps"`
	Excluded []Exclusion `json:"excluded"`
}

// Explain is Plan, and how it came to it. The explanation is told by the code that decides, so the two cannot differ; it is whole
// when there is an error, too.
func (t *Table) Explain(q Query) (Plan, Explanation, error) {
	tr := &trace{Explanation{Steps: []Step{}, Excluded: []Exclusion{}}}
	p, err := t.plan(q, tr)
	return p, tr.e, err
}

// trace hears what the decision does. A nil one hears nothing and costs nothing.
type trace struct{ e Explanation }

func (tr *trace) took(rule, gives string) {
	if tr != nil {
		tr.e.Excluded = tr.e.Excluded[:0] // of the chain that a rule before this one had
		tr.e.Steps = append(tr.e.Steps, Step{Rule: rule, Taken: true, Gives: gives})
	}
}

func (tr *trace) passed(rule, why string) {
	if tr != nil {
		tr.e.Steps = append(tr.e.Steps, Step{Rule: rule, Why: why})
	}
}

func (tr *trace) excluded(targets []string, why string) {
	if tr != nil {
		for _, t := range targets {
			tr.e.Excluded = append(tr.e.Excluded, Exclusion{t, why})
		}
	}
}
