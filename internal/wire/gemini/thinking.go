package gemini

import (
	"regexp"
	"strconv"
	"strings"
)

// thinker is how a model is told how much to think: not at all, by a budget in tokens (2.5), or by a level (3 and later).
type thinker struct {
	never  bool
	levels []string // from little to much; nil: by budget
	min    int64    // smallest budget that is no off switch
	max    int64    // largest budget, 0 when unknown
	off    bool     // a budget of 0 is allowed
}

var (
	modelForm = regexp.MustCompile(`(?:^|[^a-z0-9])gemini-(\d{1,3})(?:\.(\d{1,3}))?(?:-(.*))?$`)
	proForm   = regexp.MustCompile(`\bpro\b`)
)

// version is the generation that a model's name states; major is 0 when it states none.
func version(model string) (major, minor int, rest string) {
	m := modelForm.FindStringSubmatch(strings.ToLower(model))
	if m == nil {
		return 0, 0, ""
	}
	major, _ = strconv.Atoi(m[1])
	minor, _ = strconv.Atoi(m[2])
	return major, minor, m[3]
}

// thinkerOf reads a model's name. A name that says nothing, such as an alias for the latest, gets a budget: the models of both
// generations take it.
func thinkerOf(model string) thinker {
	major, minor, rest := version(model)
	has := func(word string) bool { return strings.Contains(rest, word) }
	switch {
	case major == 0:
		low := strings.ToLower(model)
		if strings.HasPrefix(low, "gemma") || strings.HasPrefix(low, "learnlm") {
			return thinker{never: true}
		}
		if proForm.MatchString(low) {
			return thinker{min: 128}
		}
		return thinker{off: true}
	case major < 2, major == 2 && minor < 5, major == 2 && (has("image") || has("tts")):
		return thinker{never: true}
	case major == 2 && has("pro"):
		return thinker{min: 128, max: 32768}
	case major == 2 && has("lite"):
		return thinker{min: 512, max: 24576, off: true}
	case major == 2:
		return thinker{min: 1, max: 24576, off: true}
	case major == 3 && minor == 0 && has("pro"):
		return thinker{levels: []string{"low", "high"}}
	case major == 3 && has("flash") && minor < 7:
		return thinker{levels: []string{"minimal", "low", "medium", "high"}}
	}
	return thinker{levels: []string{"low", "medium", "high"}}
}

// thinking writes thinkingConfig, or notes that the model has none.
func (e *encoder) thinking() {
	t, effort := e.c.Thinking, e.c.Effort
	if t.Type == "disabled" && effort != "" {
		e.notes.Drop("output_config.effort") // off wins
		effort = ""
	}
	if t.Type == "" && effort == "" {
		return
	}
	m := thinkerOf(e.model)
	if m.never {
		if t.On() {
			e.notes.Drop("thinking")
		}
		if effort != "" {
			e.notes.Drop("output_config.effort")
		}
		return
	}
	j := e.j
	j.Key("thinkingConfig")
	j.Obj()
	if t.On() {
		j.Key("includeThoughts")
		j.Bool(true)
	}
	if m.levels != nil {
		if level := e.level(m, effort); level != "" {
			j.Key("thinkingLevel")
			j.Str(level)
		}
	} else {
		j.Key("thinkingBudget")
		j.Int(e.budget(m, effort))
	}
	j.End()
}

// level is a word for how much to think; "" leaves it to the model.
func (e *encoder) level(m thinker, effort string) string {
	t := e.c.Thinking
	if t.Type == "disabled" {
		e.notes.Approximate("thinking") // these models cannot stop thinking
		return m.levels[0]
	}
	if t.Budget > 0 {
		e.notes.Approximate("thinking.budget_tokens")
	}
	want := effort
	if want == "" {
		switch {
		case t.Budget == 0:
			return ""
		case t.Budget < 4096:
			want = "low"
		case t.Budget < 16384:
			want = "medium"
		default:
			want = "high"
		}
	}
	for _, l := range m.levels {
		if l == want {
			return l
		}
	}
	if effort != "" { // xhigh, max, a word of the future; or medium for a model that knows only low and high
		e.notes.Approximate("output_config.effort")
	}
	return "high"
}

// budget is the tokens to think with; -1 leaves it to the model.
func (e *encoder) budget(m thinker, effort string) int64 {
	t := e.c.Thinking
	switch {
	case t.Type == "disabled" && m.off:
		return 0
	case t.Type == "disabled":
		e.notes.Approximate("thinking")
		return m.min
	case t.Budget > 0:
		if effort != "" {
			e.notes.Approximate("output_config.effort") // the two exclude each other, and the budget is the exact one
		}
		n := max(t.Budget, m.min)
		if m.max > 0 {
			n = min(n, m.max)
		}
		if n != t.Budget {
			e.notes.Approximate("thinking.budget_tokens")
		}
		return n
	}
	// What Google's own OpenAI endpoint makes of these words.
	switch effort {
	case "":
		return -1
	case "low":
		return 1024
	case "medium":
		return 8192
	case "high":
		return 24576
	}
	if m.max > 0 {
		return m.max
	}
	return 24576
}
