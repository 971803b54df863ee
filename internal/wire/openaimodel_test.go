package wire

import (
	"fmt"
	"testing"
)

func TestReadOpenAIModel(t *testing.T) {
	for model, want := range map[string]string{
		"o1":                "reasons low-high",
		"o4-mini":           "reasons low-high",
		"openai/o3":         "reasons low-high",
		"ft:gpt-5:me":       "reasons minimal-high",
		"gpt-5":             "reasons minimal-high",
		"gpt-5-mini":        "reasons minimal-high",
		"GPT-5.1":           "reasons none-high",
		"gpt-5.2":           "reasons none-xhigh",
		"gpt-5.3":           "reasons none-xhigh phases",
		"gpt-5.4-mini":      "reasons none-xhigh phases no-effort",
		"gpt-5.10":          "reasons none-xhigh phases no-effort",
		"gpt-5-codex":       "reasons low-high",
		"gpt-5.1-codex-max": "reasons low-xhigh",
		"gpt-5-pro":         "reasons high-high",
		"gpt-5.2-pro":       "reasons medium-xhigh",
		"codex-mini-latest": "reasons low-high",
		"gpt-5-chat-latest": "known",
		"gpt-4o":            "known",
		"gpt-3.5-turbo":     "known",
		"chatgpt-4o-latest": "known",
		"gpt-50":            "unknown",
		"orca":              "unknown",
		"o":                 "unknown",
		"":                  "unknown",
	} {
		m := ReadOpenAIModel(model)
		got := "unknown"
		if m.Known {
			got = "known"
		}
		if m.Reasons {
			got = fmt.Sprintf("reasons %s-%s", m.Least, m.Most)
		}
		if m.Phases {
			got += " phases"
		}
		if m.NoEffort {
			got += " no-effort"
		}
		if got != want {
			t.Errorf("%q is %s, want %s", model, got, want)
		}
	}
}

func TestEffort(t *testing.T) {
	for _, row := range []struct {
		model, asked, want string
		exact              bool
	}{
		{"gpt-5.2", "max", "xhigh", false},
		{"gpt-5.2", "xhigh", "xhigh", true},
		{"gpt-5", "xhigh", "high", false},
		{"gpt-5", "low", "low", true},
		{"gpt-5-pro", "low", "high", false},
		{"unseen", "xhigh", "xhigh", true},
		{"unseen", "max", "xhigh", false},
		{"gpt-5.2", "gigantic", "high", false},
	} {
		if got, exact := ReadOpenAIModel(row.model).Effort(row.asked); got != row.want || exact != row.exact {
			t.Errorf("%s asked for %s takes %s, %v", row.model, row.asked, got, exact)
		}
	}
	for budget, want := range map[int64]string{0: "medium", 1024: "low", 4095: "low", 4096: "medium", 16383: "medium", 16384: "high"} {
		if got := EffortOf(budget); got != want {
			t.Errorf("%d tokens are %s, want %s", budget, got, want)
		}
	}
}
