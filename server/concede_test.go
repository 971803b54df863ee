package server

import (
	"net/http"
	"testing"

	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/testkit"
)

// TestMoreOutputThanTheModelGives: an agent asks for as much as its own model gives, another refuses. The same request goes once
// more with what that one says, and the next begins there.
func TestMoreOutputThanTheModelGives(t *testing.T) {
	for _, x := range []struct {
		name, member, refusal, whole string
		provider                     config.Provider
	}{
		{"openai", "max_completion_tokens", `{"error":{"message":"max_tokens is too large: 32000. This model supports at most 16384 completion tokens, whereas you provided 32000.","type":"invalid_request_error","param":"max_tokens"}}`,
			`{"choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}`, config.Provider{Kind: "openai", Profile: "openai"}},
		{"openai-responses", "max_output_tokens", `{"error":{"message":"Invalid: the valid range of max_tokens is [1, 16384]","type":"invalid_request_error"}}`,
			`{"status":"completed","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"ok"}]}],"usage":{"input_tokens":3,"output_tokens":1}}`, config.Provider{Kind: "openai-responses"}},
		{"gemini", "generationConfig.maxOutputTokens", `{"error":{"code":400,"message":"Unable to submit request because it has a maxOutputTokens value of 32000 but the supported range is from 1 (inclusive) to 16385 (exclusive).","status":"INVALID_ARGUMENT"}}`,
			`{"candidates":[{"content":{"role":"model","parts":[{"text":"ok"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1}}`, config.Provider{Kind: "gemini"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			var asked []int64
			up := testkit.NewRawUpstream(t, func(c *testkit.RawConn) {
				if side(c) {
					return
				}
				n := gjson.GetBytes(c.Body, x.member).Int()
				if asked = append(asked, n); n > 16384 {
					c.Answer(http.StatusBadRequest, "application/json", x.refusal)
					return
				}
				c.Answer(http.StatusOK, "application/json", x.whole)
			})
			s := newStand(t, func(c *config.Config) {
				p := x.provider
				p.Name, p.BaseURL, p.APIKey = x.name, up.URL(), config.NewSecret("sk-test-1234567890")
				c.Providers[x.name] = p
			})
			for range 2 {
				got := s.post(t, "/v1/"+x.name+"/m/messages", `{"model":"m","max_tokens":32000,"messages":[{"role":"user","content":"q"}]}`)
				if got.status != http.StatusOK || gjson.Get(got.text, "content.0.text").Str != "ok" {
					t.Fatalf("%d %s", got.status, clipped(got.text))
				}
			}
			if len(asked) != 3 || asked[0] != 32000 || asked[1] != 16384 || asked[2] != 16384 {
				t.Errorf("asked for %v", asked)
			}
		})
	}
}
