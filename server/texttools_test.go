package server

import (
	"encoding/json"
	"net/http"
	"testing"

	"signalbox/config"
	"signalbox/internal/testkit"
)

// TestWrittenCalls: a call that a model writes as text is a real one for the caller, where such models are at home, where the
// configuration says so, and until a model has shown that it calls properly.
func TestWrittenCalls(t *testing.T) {
	written := sse(`{"choices":[{"index":0,"delta":{"content":"<tool_call>\n{\"name\":\"read\","}}]}`,
		`{"choices":[{"index":0,"delta":{"content":"\"arguments\":{\"n\":1}}\n</tool_call>"}}]}`,
		`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":5}}`, `[DONE]`)
	proper := sse(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"read","arguments":"{\"n\":2}"}}]}}]}`,
		`{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":9,"completion_tokens":5}}`, `[DONE]`)
	says := ""
	up := testkit.NewRawUpstream(t, func(c *testkit.RawConn) {
		if !side(c) {
			c.Answer(http.StatusOK, "text/event-stream", says)
		}
	})
	s := newStand(t, func(c *config.Config) {
		c.Providers = map[string]config.Provider{
			"lab":  {Name: "lab", Kind: "openai", BaseURL: up.URL()},
			"paid": {Name: "paid", Kind: "openai", Profile: "groq", BaseURL: up.URL(), Models: map[string]config.ModelSettings{"weak*": {TextTools: "on"}}},
			"off":  {Name: "off", Kind: "openai", BaseURL: up.URL(), TextTools: "off"},
		}
	})
	called := func(target, answer string) bool {
		t.Helper()
		says = answer
		got := s.post(t, "/v1/"+target+"/messages", `{"model":"m","max_tokens":90,"stream":true,"tools":[{"name":"read","input_schema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}}],"messages":[{"role":"user","content":"q"}]}`)
		if got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, clipped(got.text))
		}
		if err := grammar(got.events); err != nil {
			t.Fatal(err)
		}
		content := assemble(t, got.events)
		first, _ := json.Marshal(content[0])
		if content[0]["type"] == "tool_use" && (content[0]["name"] != "read" || content[0]["id"] == "") {
			t.Errorf("%s: %s", target, first)
		}
		return content[0]["type"] == "tool_use"
	}
	for _, row := range []struct {
		name, target string
		want         bool
	}{
		{"it finds one at a server nobody knows", "lab/m", true},
		{"it leaves the text of a paid service alone", "paid/m", false},
		{"it finds one where the model is set to it", "paid/weak-7b", true},
		{"it leaves the text alone where that is set", "off/m", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := called(row.target, written); got != row.want {
				t.Errorf("a call was found: %v", got)
			}
		})
	}
	t.Run("it stops looking once a model calls properly", func(t *testing.T) {
		for range 3 {
			if !called("lab/good", proper) {
				t.Fatal("a proper call is gone")
			}
		}
		if called("lab/good", written) {
			t.Error("the text of a model that calls properly was searched")
		}
		for range 3 {
			if !called("lab/m", proper) {
				t.Fatal("a proper call is gone")
			}
		}
		if !called("lab/m", written) {
			t.Error("a model that has written a call was not searched any more")
		}
	})
}
