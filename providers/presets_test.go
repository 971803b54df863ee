package providers

import (
	"strings"
	"testing"
)

func TestPresets(t *testing.T) {
	if _, err := decodePresets(presetRows); err != nil {
		t.Fatal(err)
	}
	for _, name := range strings.Fields("openai mistral groq deepseek xai together fireworks vllm llamacpp lmstudio") {
		p, ok := PresetFor(name)
		if !ok || p.BaseURL == "" || p.KeyEnv == "" {
			t.Errorf("%s: %+v %v", name, p, ok)
		}
	}
	if _, ok := PresetFor("nobody"); ok {
		t.Error("a row for nobody")
	}
	for _, row := range []struct{ it, json, want string }{
		{"refuses a quirk that nobody knows", `{"x":{"base_url":"u","quirks":{"no_such_quirk":true}}}`, "no_such_quirk"},
		{"refuses a value that nobody knows", `{"x":{"base_url":"u","quirks":{"call_id":"mistral8"}}}`, "mistral8"},
		{"refuses a row without an address", `{"x":{}}`, "base_url"},
	} {
		t.Run(row.it, func(t *testing.T) {
			if _, err := decodePresets([]byte(row.json)); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}
