package providers

import (
	_ "embed"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"

	"signalbox/internal/wire/openaichat"
)

//go:embed presets.json
var presetRows []byte

// Preset is one row of presets.json: an OpenAI-compatible server as data.
type Preset struct {
	BaseURL string `json:"base_url"`
	// KeyEnv is the environment variable that holds a key by custom.
	KeyEnv string `json:"key_env"`
	// Keyless servers run on one's own machine and ask for no key.
	Keyless bool `json:"keyless"`
	// TextTools says that the server runs models of any kind, which may write their tool calls as text.
	TextTools bool `json:"text_tools"`
	// Responses says that the server has the Responses API beside chat completions, at its own address: what the one refuses
	// goes there.
	Responses bool              `json:"responses"`
	Quirks    openaichat.Quirks `json:"quirks"`
}

var presets = sync.OnceValues(func() (map[string]Preset, error) { return decodePresets(presetRows) })

// decodePresets reads rows strictly: a quirk that nobody knows would be a quirk that nobody honours.
func decodePresets(rows []byte) (map[string]Preset, error) {
	var m map[string]Preset
	if err := json.Unmarshal(rows, &m, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("presets.json: %w", err)
	}
	for name, p := range m {
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("presets.json: %s: %w", name, err)
		}
	}
	return m, nil
}

// check holds the named values of a row against the names there are.
func (p Preset) check() error {
	for _, v := range [...]struct{ member, value, known string }{
		{"max_tokens_field", p.Quirks.MaxTokensField, " max_tokens max_completion_tokens "},
		{"tool_choice_any", p.Quirks.ToolChoiceAny, " required any "},
		{"call_id", p.Quirks.CallID, " mistral9 "},
		{"think", p.Quirks.Think, " openai effort type template openrouter "},
		{"reasoning_back", p.Quirks.ReasoningBack, " reasoning_content reasoning_details "},
	} {
		if v.value != "" && !strings.Contains(v.known, " "+v.value+" ") {
			return fmt.Errorf("quirks.%s: %q is unknown; known:%s", v.member, v.value, v.known)
		}
	}
	if p.BaseURL == "" {
		return fmt.Errorf("base_url is missing")
	}
	return nil
}

// PresetFor is the row of a name, and whether there is one.
func PresetFor(name string) (Preset, bool) {
	m, err := presets()
	if err != nil {
		return Preset{}, false // a test holds the embedded file
	}
	p, ok := m[name]
	return p, ok
}

// PresetNames lists the rows, sorted.
func PresetNames() []string {
	m, _ := presets()
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}
