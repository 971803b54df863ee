package server

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"signalbox/config"
	"signalbox/internal/testkit"
)

// TestStateRefused: a session goes on when an upstream cannot read the state that it gave: once more without, and the answer
// says so. No other refusal is tried twice.
func TestStateRefused(t *testing.T) {
	refusals := map[string]string{
		"openrouter":       `{"error":{"code":400,"message":"Invalid reasoning_details: signature cannot be verified"}}`,
		"gemini":           `{"error":{"code":400,"message":"Corrupted thought signature.","status":"INVALID_ARGUMENT"}}`,
		"openai-responses": `{"error":{"message":"The encrypted content could not be verified. Reason: organization did not match.","type":"invalid_request_error","code":"invalid_encrypted_content"}}`,
	}
	for _, x := range carriers {
		refusal, ok := refusals[x.name]
		if !ok {
			continue
		}
		t.Run(x.name, func(t *testing.T) {
			asked, other := 0, false
			up := testkit.NewRawUpstream(t, func(c *testkit.RawConn) {
				switch {
				case side(c):
				case other:
					asked++
					c.Answer(http.StatusBadRequest, "application/json", `{"error":{"message":"no such thing","code":400}}`)
				case strings.Contains(string(c.Body), state(0)):
					asked++
					c.Answer(http.StatusBadRequest, "application/json", refusal)
				default:
					asked++
					c.Answer(http.StatusOK, "text/event-stream", x.answer(asked-1))
				}
			})
			s := newStand(t, func(c *config.Config) {
				p := x.provider
				p.Name, p.BaseURL, p.APIKey = x.name, up.URL(), config.NewSecret("sk-test-1234567890")
				c.Providers[x.name] = p
			})
			a := newAgent(s)
			a.turn(t, x.name+"/m")
			a.turn(t, x.name+"/m")
			if asked != 3 {
				t.Fatalf("asked %d times, want a first turn, a refusal and the same without", asked)
			}
			requests := up.Requests()
			body := gjson.ParseBytes(requests[len(requests)-1].Body)
			if strings.Contains(body.Raw, state(0)) || !strings.Contains(body.Raw, "read") {
				t.Errorf("the last request: %s", clipped(body.Raw))
			}
			other = true
			got := s.post(t, "/v1/"+x.name+"/m/messages", question(true))
			if got.status != http.StatusBadRequest || asked != 4 {
				t.Errorf("another refusal: %d, asked %d times", got.status, asked)
			}
			if rows := s.rows(t); len(rows) != 3 {
				t.Errorf("%d rows in the ledger for three attempts", len(rows))
			}
		})
	}
}
