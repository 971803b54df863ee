package config

import "testing"

func TestTextToolsFor(t *testing.T) {
	p := Provider{TextTools: TextToolsOff, Models: map[string]ModelSettings{"qwen*": {TextTools: TextToolsOn}, "qwen3*": {TextTools: TextToolsAuto}, "qwen3:8b": {TextTools: TextToolsOff}, "plain": {}}}
	for model, want := range map[string]TextTools{"llama": TextToolsOff, "qwen2": TextToolsOn, "qwen3:4b": TextToolsAuto, "qwen3:8b": TextToolsOff, "plain": TextToolsOff} {
		if got := p.TextToolsFor(model); got != want {
			t.Errorf("%s: %s, want %s", model, got, want)
		}
	}
	if got := (&Provider{}).TextToolsFor("m"); got != TextToolsAuto {
		t.Errorf("nothing is set, and it is %s", got)
	}
}
