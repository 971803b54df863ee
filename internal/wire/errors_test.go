package wire

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"signalbox/internal/fault"
)

func TestReadError(t *testing.T) {
	const in200 = 200
	for _, row := range []struct {
		it     string
		status int
		body   string
		kind   fault.Kind
		label  string
		void   bool
		want   string // the whole message
	}{
		{"reads OpenAI's form", 400, `{"error":{"message":"bad field","type":"invalid_request_error"}}`, fault.Invalid, "bad_request", true, "bad field"},
		{"reads an error that is a text", 400, `{"error":"model not loaded"}`, fault.Invalid, "bad_request", true, "model not loaded"},
		{"reads a bare message", 422, `{"object":"error","message":"too many","type":"BadRequest","code":400}`, fault.Invalid, "bad_request", true, "too many"},
		{"reads a detail", 422, `{"detail":"no"}`, fault.Invalid, "bad_request", true, "no"},
		{"reads a list of details", 422, `{"detail":[{"loc":["body"],"msg":"field required"},{"msg":"other"}]}`, fault.Invalid, "bad_request", true, "field required"},
		{"reads a list", 400, `[{"error":{"code":400,"message":"Invalid JSON payload","status":"INVALID_ARGUMENT"}}]`, fault.Invalid, "bad_request", true, "Invalid JSON payload"},
		{"reads JSON inside a text", 500, `{"error":"{\"error\":{\"code\":500,\"message\":\"engine died\"}}"}`, fault.Upstream, "upstream_5xx", false, "engine died"},
		{"reads what stands underneath", 502, `{"error":{"code":502,"message":"Provider returned error","metadata":{"raw":"{\"error\":{\"message\":\"gone\"}}","provider_name":"Acme"}}}`, fault.Upstream, "upstream_5xx", false, "Provider returned error: gone (provider: Acme)"},
		{"reads moderation reasons", 403, `{"error":{"code":403,"message":"flagged","metadata":{"reasons":["violence","hate"]}}}`, fault.Permission, "upstream_auth", true, "flagged (reasons: violence, hate)"},
		{"reads an event", 429, "event: error\r\ndata: {\"error\":{\"message\":\"slow\"}}\r\n\r\n", fault.RateLimit, "rate_limited", true, "slow"},
		{"takes the title of a page", 502, "<html><head><title>502 Bad\n Gateway</title></head><body><h1>oops</h1></body></html>", fault.Upstream, "upstream_5xx", false, "502 Bad Gateway"},
		{"shows no page without a title", 500, "<!doctype html><p>hello</p>", fault.Upstream, "upstream_5xx", false, "the upstream answered 500 Internal Server Error without a message"},
		{"takes plain text", 500, "upstream\x1b[31m request\x00 failed\r\n", fault.Upstream, "upstream_5xx", false, "upstream request failed"},
		{"finds words for an empty body", 503, "", fault.Overloaded, "upstream_5xx", false, "the upstream answered 503 Service Unavailable without a message"},
		{"reads a body that was cut", 400, `{"error":{"message":"cut \"here\"","param":"xxxx`, fault.Invalid, "bad_request", true, `cut "here"`},
		{"takes markup out", 400, `{"error":{"message":"see <a href=\"x\">this</a> <script>alert(1)</script> <<b>i>"}}`, fault.Invalid, "bad_request", true, "see this alert(1) < i>"},
		{"keeps our key's trouble from the caller", 401, `{"error":{"message":"Incorrect API key provided: sk-proj-abcdefgh12345678. Find it at https://x"}}`, fault.UpstreamKey, "upstream_auth", true, "provider up refused the gateway's API key (401); check providers.up.api_key"},
		{"knows a missing model", 404, `{"error":{"message":"The model x does not exist","code":"model_not_found"}}`, fault.NotFound, "not_found", true, "The model x does not exist"},
		{"knows money", 402, `{"error":{"message":"Insufficient credits"}}`, fault.Billing, "upstream_billing", true, "Insufficient credits"},
		{"knows a used up quota from a rate limit", 429, `{"error":{"message":"You exceeded your current quota","code":"insufficient_quota"}}`, fault.Billing, "upstream_billing", true, "You exceeded your current quota"},
		{"does not take Google's rate limit for a quota", 429, `{"error":{"code":429,"message":"You exceeded your current quota","status":"RESOURCE_EXHAUSTED"}}`, fault.RateLimit, "rate_limited", true, "You exceeded your current quota"},
		{"keeps a conflict", 409, `{}`, fault.Conflict, "bad_request", true, "the upstream answered 409 Conflict without a message"},
		{"knows too large", 413, `{}`, fault.TooLarge, "too_large", true, "the upstream answered 413 Request Entity Too Large without a message"},
		{"knows a timeout", 504, `{}`, fault.Timeout, "upstream_timeout", false, "the upstream answered 504 Gateway Timeout without a message"},
		{"knows overload", 529, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, fault.Overloaded, "overloaded", true, "Overloaded"},
		{"knows a proxy's own statuses", 524, ``, fault.Upstream, "upstream_5xx", false, "the upstream answered 524 without a message"},
		{"does not follow a redirect", 302, ``, fault.Upstream, "redirect", true, "the upstream answered with a redirect (302), which is not followed; check its base_url"},
		{"knows a senseless status", 999, ``, fault.Upstream, "protocol", true, "the upstream answered 999 without a message"},
		{"judges an error in a 200 by its code", in200, `{"error":{"code":429,"message":"Slow down"}}`, fault.RateLimit, "error_in_200", true, "Slow down"},
		{"judges an error in a 200 by its type", in200, `{"error":{"type":"overloaded_error","message":"Overloaded"}}`, fault.Overloaded, "error_in_200", true, "Overloaded"},
		{"takes an unknown error in a 200 for the upstream's", in200, `{"error":"boom"}`, fault.Upstream, "error_in_200", true, "boom"},
		{"does not fall for a server_error", in200, `{"error":{"type":"server_error","message":"it broke"}}`, fault.Upstream, "error_in_200", true, "it broke"},

		{"recognises OpenAI's overflow", 400, `{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 130211 tokens.","code":"context_length_exceeded"}}`, fault.ContextOverflow, "too_large", true, "prompt is too long: 130211 tokens > 128000 maximum"},
		{"names the output's part where it is the cause", 400, `{"error":{"message":"This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (5000 in the messages, 4000 in the completion)."}}`, fault.ContextOverflow, "too_large", true, "prompt is too long: 9000 tokens > 8192 maximum (input length and `max_tokens` exceed context limit: 5000 + 4000 > 8192)"},
		{"recognises llama.cpp's overflow", 400, `{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":8192}}`, fault.ContextOverflow, "too_large", true, "prompt is too long: 9000 tokens > 8192 maximum"},
		{"recognises the engine's overflow inside Ollama's text", 500, `{"error":"{\"error\":{\"code\":400,\"message\":\"the request exceeds the available context size\",\"type\":\"exceed_context_size_error\",\"n_prompt_tokens\":9000,\"n_ctx\":8192}}"}`, fault.ContextOverflow, "too_large", true, "prompt is too long: 9000 tokens > 8192 maximum"},
		{"recognises Gemini's overflow", 400, `{"error":{"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."}}`, fault.ContextOverflow, "too_large", true, "prompt is too long: 1200000 tokens > 1048576 maximum"},
		{"recognises Bedrock's overflow, without figures", 400, `{"message":"Input is too long for requested model."}`, fault.ContextOverflow, "too_large", true, "prompt is too long: Input is too long for requested model."},
		{"recognises an overflow by its code alone", 400, `{"error":{"code":"context_length_exceeded"}}`, fault.ContextOverflow, "too_large", true, "prompt is too long: it does not fit the model's context window"},
		{"recognises OpenRouter's overflow", 400, `{"error":{"message":"This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens (100000 of text input, 10000 of tool input, 30000 in the output)."}}`, fault.ContextOverflow, "too_large", true, "prompt is too long: 140000 tokens > 131072 maximum (input length and `max_tokens` exceed context limit: 110000 + 30000 > 131072)"},
		{"does not take a rate limit for an overflow", 429, `{"error":{"message":"maximum context length for your tier"}}`, fault.RateLimit, "rate_limited", true, "maximum context length for your tier"},
	} {
		t.Run(row.it, func(t *testing.T) {
			e := ReadError("up", row.status, http.Header{}, []byte(row.body))
			if e.Kind != row.kind || e.Label() != row.label || e.Void != row.void || e.Message != row.want || e.Provider != "up" {
				t.Errorf("got %s %s void=%v %q", e.Kind, e.Label(), e.Void, e.Message)
			}
		})
	}
}

func TestOverflow(t *testing.T) {
	for _, row := range []struct {
		text   string
		n, max int64
		ok     bool
	}{
		{"prompt is too long: 210000 tokens > 200000 maximum", 210000, 200000, true},
		{"input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease", 210000, 200000, true},
		{"This model's maximum context length is 4096 tokens. However, your request has 5000 input tokens.", 5000, 4096, true},
		{"'max_tokens' is too large: 8192. This model's maximum context length is 8192 tokens and your request has 1000 input tokens (8192 > 8192 - 1000).", 9192, 8192, true},
		{"This model's maximum prompt length is 131072 but the request contains 140000 tokens.", 140000, 131072, true},
		{"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length", 40000, 32768, true},
		{"Your request exceeded model token limit: 262144 (requested: 300000)", 300000, 262144, true},
		{"The prompt is too long: 140000, model maximum context length: 131072", 140000, 131072, true},
		{"The decoder prompt (length 5000) is longer than the maximum model length of 4096.", 5000, 4096, true},
		{"Your input exceeds the context window of this model.", 0, 0, true},
		{"Requested tokens (5000) exceed context window of 4096", 5000, 4096, true},
		{"input length exceeds the context length", 0, 0, true},
		{"This model's maximum context length is 4097 tokens, however you requested 4196 tokens (96 in your prompt; 4100 for the completion).", 4196, 4097, true},
		{"This model's maximum context length is 128,000 tokens. However, your messages resulted in 1,130,211 tokens.", 1130211, 128000, true},
		{"This model's maximum context length is 4096 tokens. However, you requested 100 output tokens and your prompt contains at least 3997 input tokens, for a total of at least 4097 tokens.", 4097, 4096, true},
		{"Requested token count exceeds the model's maximum context length of 32768 tokens. You requested a total of 40000 tokens: 30000 tokens from the input messages and 10000 tokens for the completion.", 40000, 32768, true},
		{"The input (50000 tokens) is longer than the model's context length (32768 tokens).", 50000, 32768, true},
		{"Input length (5000) exceeds model's maximum context length (4096).", 5000, 4096, true},
		{"The input token count 1200000 exceeds the maximum 1048576", 1200000, 1048576, true},
		{"prompt token count of 130431 exceeds the limit of 128000", 130431, 128000, true},
		{"Please reduce the length of the messages or completion. Current length is 42328 while limit is 40000", 42328, 40000, true},
		{"Prompt has 32769 tokens, but the configured context size is 32768 tokens", 32769, 32768, true},
		{"Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.", 300000, 272000, true},
		{"<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 129024]", 0, 0, true},
		{"The number of tokens to keep from the initial prompt is greater than the context length", 0, 0, true},
		{"Please reduce the length of the messages or completion.", 0, 0, true},
		{"the prompt token count of this account is unknown", 0, 0, false},
		{"The input token count of 1200000 exceeds the maximum of 1048576.", 1200000, 1048576, true},
		{"The input token count exceeds the maximum.", 0, 0, true},
		{"Unable to submit request because the input token count is 1234567 but model only supports up to 1048576. Reduce the input token count and try again.", 1234567, 1048576, true},
		{"The input token count is shown in the console.", 0, 0, false},
		{"max_tokens is too large: 200000. This model supports at most 4096 completion tokens", 0, 0, false},
		{"the weather is too long", 0, 0, false},
		{"", 0, 0, false},
	} {
		n, limit, ok := Overflow(row.text)
		if n != row.n || limit != row.max || ok != row.ok {
			t.Errorf("%q: got %d %d %v", row.text, n, limit, ok)
		}
	}
}

func TestScrub(t *testing.T) {
	for _, row := range []struct{ it, in, want string }{
		{"cuts a given key", "key test-key-openai refused", "key [redacted] refused"},
		{"cuts it as a URL spells it", "q=te%2Fst%2Bkey-1", "q=[redacted]"},
		{"cuts it as JSON spells it", `te\/st+key-1`, "[redacted]"},
		{"cuts what looks like a key", "Incorrect API key provided: sk-proj-12345678abcd.", "Incorrect API key provided: [redacted]"},
		{"cuts a starred key", "Incorrect API key provided: sk-abc*****wxyz", "Incorrect API key provided: [redacted]"},
		{"cuts a bearer token", "header Authorization: Bearer abcdef123456", "header Authorization: Bearer [redacted]"},
		{"cuts a labelled key", `"api_key":"a1b2c3d4e5"`, `"api_key":"[redacted]"`},
		{"leaves a sentence alone", "api key: missing", "api key: missing"},
		{"cuts the query of a URL", "GET https://x.example/a?key=zzz failed", "GET https://x.example/a failed"},
		{"cuts the user of a URL", "https://me:pw@x.example/", "https://x.example/"},
		{"cuts inner addresses", "dial tcp 10.1.2.3:8080 and http://127.0.0.1:39121/completion", "dial tcp [address] and http://[address]/completion"},
		{"leaves versions alone", "v1.10.2.3 of 8.8.8.8", "v1.10.2.3 of 8.8.8.8"},
		{"leaves words alone", "risk-assessment task-force", "risk-assessment task-force"},
	} {
		t.Run(row.it, func(t *testing.T) {
			if got := Scrub(row.in, "test-key-openai", "te/st+key-1", "the"); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		it   string
		h    map[string]string
		want time.Duration
	}{
		{"reads seconds", map[string]string{"Retry-After": "7"}, 7 * time.Second},
		{"reads fractions", map[string]string{"Retry-After": "0.5"}, 500 * time.Millisecond},
		{"prefers milliseconds", map[string]string{"Retry-After": "7", "Retry-After-Ms": "1500"}, 1500 * time.Millisecond},
		{"reads a date", map[string]string{"Retry-After": "Tue, 01 Sep 2026 12:00:30 GMT"}, 30 * time.Second},
		{"ignores a date that is past", map[string]string{"Retry-After": "Tue, 01 Sep 2026 11:00:30 GMT"}, 0},
		{"ignores a negative wait", map[string]string{"Retry-After": "-5"}, 0},
		{"ignores NaN", map[string]string{"Retry-After": "NaN"}, 0},
		{"ignores infinity", map[string]string{"Retry-After": "+Inf"}, 0},
		{"ignores more than a day", map[string]string{"Retry-After": "86401"}, 0},
		{"ignores words", map[string]string{"Retry-After": "soon"}, 0},
		{"reads the reset of the used up window", map[string]string{"X-Ratelimit-Reset-Requests": "1s", "X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Tokens": "6m0s", "X-Ratelimit-Remaining-Tokens": "900"}, time.Second},
		{"reads the longer reset when neither says", map[string]string{"X-Ratelimit-Reset-Requests": "120ms", "X-Ratelimit-Reset-Tokens": "6m0s"}, 6 * time.Minute},
		{"reads the reset of used up tokens", map[string]string{"X-Ratelimit-Reset-Requests": "20s", "X-Ratelimit-Remaining-Requests": "5", "X-Ratelimit-Reset-Tokens": "3s", "X-Ratelimit-Remaining-Tokens": "0"}, 3 * time.Second},
		{"reads a moment in milliseconds", map[string]string{"X-Ratelimit-Reset": "1788264010000"}, 10 * time.Second},
		{"reads a moment in seconds", map[string]string{"X-Ratelimit-Reset": "1788264010"}, 10 * time.Second},
		{"says nothing when nothing was said", nil, 0},
	} {
		t.Run(row.it, func(t *testing.T) {
			h := http.Header{}
			for k, v := range row.h {
				h.Set(k, v)
			}
			if got := RetryAfter(h, now); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
	t.Run("uses the answer's own date", func(t *testing.T) {
		h := http.Header{"Retry-After": {"Tue, 01 Sep 2026 12:00:30 GMT"}, "Date": {"Tue, 01 Sep 2026 12:00:00 GMT"}}
		if e := ReadError("up", 429, h, nil); e.RetryAfter != 30*time.Second {
			t.Errorf("got %v", e.RetryAfter)
		}
	})
	t.Run("reads Google's RetryInfo", func(t *testing.T) {
		e := ReadError("up", 429, nil, []byte(`[{"error":{"code":429,"message":"slow","details":[{"@type":"x"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"13s"}]}}]`))
		if e.RetryAfter != 13*time.Second {
			t.Errorf("got %v", e.RetryAfter)
		}
	})
	t.Run("takes the resets of a 429 alone", func(t *testing.T) {
		h := http.Header{"X-Ratelimit-Reset-Tokens": {"6m0s"}}
		if e := ReadError("up", 503, h, nil); e.RetryAfter != 0 || e.Void {
			t.Errorf("got %v void %v", e.RetryAfter, e.Void)
		}
	})
}

// FuzzReadError holds for any status and body: a message is never empty, never longer than the limit, of one line, without
// markup or control characters, and a key that stood in the body as a token of its own does not survive.
func FuzzReadError(f *testing.F) {
	f.Add(400, `{"error":{"message":"bad KEY here"}}`)
	f.Add(200, `{"error":{"code":429,"metadata":{"raw":"{\"error\":\"KEY\"}","provider_name":"<b>KEY"}}}`)
	f.Add(502, "<html><title>KEY <b></title>")
	f.Add(500, `{"message":"`+strings.Repeat("x", 480)+` KEY"}`)
	f.Add(429, "\x1b[31mKEY\x1b[0m <<a>b KEY \u202e")
	f.Fuzz(func(t *testing.T, status int, body string) {
		const key = "sk-canary-0123456789abcdefghijklmnopqrstuvwxyz"
		given := strings.ReplaceAll(body, "KEY", " "+key+" ")
		h := http.Header{"Retry-After": {body}}
		e := ReadError("up", status, h, []byte(Scrub(given, key)))
		if e.Message == "" || utf8.RuneCountInString(e.Message) > MaxErrorText+40 {
			t.Fatalf("message of %d characters: %q", len(e.Message), e.Message)
		}
		if strings.Contains(e.Message, key) || strings.Contains(e.Message, "canary-0123") {
			t.Fatalf("the key survived: %q", e.Message)
		}
		// Without the keys at hand, by its form alone.
		if bare := ErrorText([]byte(given)); strings.Contains(bare, key) {
			t.Fatalf("the key survived by its form: %q", bare)
		}
		for _, r := range e.Message {
			if unicode.IsControl(r) {
				t.Fatalf("control character %U in %q", r, e.Message)
			}
		}
		if anyTag.MatchString(e.Message) || openTag.MatchString(e.Message) {
			t.Fatalf("markup in %q", e.Message)
		}
		if e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter || math.IsNaN(e.RetryAfter.Seconds()) {
			t.Fatalf("senseless wait %v", e.RetryAfter)
		}
	})
}
