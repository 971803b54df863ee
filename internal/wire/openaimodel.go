package wire

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"signalbox/internal/messages"
)

// OpenAIModel is what is known of a model of OpenAI's own by its name; both of its dialects have to know it. The zero value is
// a name that nobody here has seen.
type OpenAIModel struct {
	Known    bool   // a name of OpenAI's
	Reasons  bool   // it thinks, takes an effort, and refuses temperature and top_p
	Least    string // the smallest effort it takes
	Most     string // the largest
	NoEffort bool   // chat completions refuse function tools beside any effort but none
	Phases   bool   // it marks its messages as commentary or final answer, and wants the marks back
}

// ReadOpenAIModel reads the model names o1, o3-mini, gpt-5, gpt-5.2-codex, gpt-4o and so on.
func ReadOpenAIModel(model string) OpenAIModel {
	m := strings.TrimPrefix(strings.ToLower(model), "ft:")
	m, _, _ = strings.Cut(strings.TrimPrefix(m, "openai/"), ":") // behind it stands whose fine-tuning it is
	if len(m) >= 2 && m[0] == 'o' && m[1] >= '1' && m[1] <= '9' && (len(m) == 2 || m[2] == '-') || strings.HasPrefix(m, "codex-mini") {
		return OpenAIModel{Known: true, Reasons: true, Least: "low", Most: "high"}
	}
	for _, p := range [...]string{"gpt-4", "gpt-3.5", "chatgpt-", "gpt-5-chat"} {
		if strings.HasPrefix(m, p) {
			return OpenAIModel{Known: true}
		}
	}
	rest, ok := strings.CutPrefix(m, "gpt-5")
	if !ok || rest != "" && rest[0] != '-' && rest[0] != '.' {
		return OpenAIModel{}
	}
	minor := 0
	if len(rest) > 1 && rest[0] == '.' {
		for i := 1; i < len(rest) && rest[i] >= '0' && rest[i] <= '9' && minor < 100; i++ {
			minor = minor*10 + int(rest[i]-'0')
		}
	}
	x := OpenAIModel{Known: true, Reasons: true, Least: "none", Most: "high", NoEffort: minor >= 4, Phases: minor >= 3}
	switch pro := strings.Contains(rest, "-pro"); {
	case pro && minor == 0:
		x.Least = "high"
	case pro:
		x.Least = "medium"
	case strings.Contains(rest, "codex"):
		x.Least = "low"
	case minor == 0:
		x.Least = "minimal"
	}
	if minor >= 2 || strings.Contains(rest, "codex-max") {
		x.Most = "xhigh"
	}
	return x
}

// efforts are OpenAI's from little to much, and behind them what others have beyond.
var efforts = [...]string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}

// Effort is the effort that comes nearest to what was asked for, and whether it is that itself. An effort of the future is
// the largest that nobody refuses.
func (m OpenAIModel) Effort(asked string) (effort string, exact bool) {
	at := slices.Index(efforts[:], asked)
	if at < 0 {
		return "high", false
	}
	if m.Least != "" && at < slices.Index(efforts[:], m.Least) {
		return m.Least, false
	}
	most := m.Most
	if most == "" {
		most = "xhigh"
	}
	if at > slices.Index(efforts[:], most) {
		return most, false
	}
	return asked, true
}

// EffortOf turns a budget in tokens into a level. Adaptive thinking, which has none, is left to the model by the middle one.
func EffortOf(budget int64) string {
	switch {
	case budget == 0:
		return "medium"
	case budget < 4096:
		return "low"
	case budget < 16384:
		return "medium"
	}
	return "high"
}

// OpenAIName is OpenAI's pattern for function names, ^[a-zA-Z0-9_-]{1,64}$.
func OpenAIName(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// OpenAISchemas are the rules of both of OpenAI's dialects for a tool's schema.
var OpenAISchemas = SchemaRules{StripTop: true, EmptyItems: true, ObjectProperties: true}

// StrictSchema reports whether a schema may be sent with OpenAI's strict: every object is closed and requires all its
// properties, and no keyword is used that strict mode does not know. raw must be JSON of proven grammar.
func StrictSchema(raw jsontext.Value) bool {
	v := messages.View(raw)
	return v.IsObject() && v.Get("type").Str == "object" && strictAt(v)
}

func strictAt(v gjson.Result) bool {
	if !v.IsObject() {
		return false
	}
	ok, object, closed := true, false, false
	var properties, required gjson.Result
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "type":
			object = f.Str == "object" || bytes.Contains([]byte(f.Raw), []byte(`"object"`))
		case "properties":
			properties = f
			f.ForEach(func(_, x gjson.Result) bool { ok = ok && strictAt(x); return ok })
		case "$defs", "definitions":
			f.ForEach(func(_, x gjson.Result) bool { ok = ok && strictAt(x); return ok })
		case "items":
			ok = ok && strictAt(f)
		case "anyOf":
			f.ForEach(func(_, x gjson.Result) bool { ok = ok && strictAt(x); return ok })
		case "required":
			required = f
		case "additionalProperties":
			closed = f.Type == gjson.False
		case "description", "title", "enum", "const", "$ref", "format", "pattern", "minimum", "maximum", "exclusiveMinimum",
			"exclusiveMaximum", "multipleOf", "minItems", "maxItems":
		default:
			ok = false
		}
		return ok
	})
	if !ok || !object {
		return ok
	}
	names := map[string]bool{}
	required.ForEach(func(_, x gjson.Result) bool { names[x.String()] = true; return true })
	properties.ForEach(func(k, _ gjson.Result) bool { ok = names[k.String()]; return ok })
	return ok && closed
}
