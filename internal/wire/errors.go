package wire

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
)

// MaxErrorText is the longest upstream text that is shown to a caller, in characters.
const MaxErrorText = 500

// maxRetryAfter is the longest wait that is believed.
const maxRetryAfter = 24 * time.Hour

// ReadError makes one error of whatever an upstream answered: its status gives the kind, its body (any shape, or none) the
// message, its headers the wait. A 200 that holds an error document is judged by the document's own code and type. The
// message is never empty, at most MaxErrorText characters long, and free of markup, control characters and of whatever
// looks like a key; a caller that knows the keys themselves cuts them out of the body with Scrub first.
//
// Void is set where the status says that the request was refused and not worked on.
func ReadError(provider string, status int, h http.Header, body []byte) *fault.Error {
	d := readErrorDoc(body)
	code := status
	if status >= 200 && status < 300 {
		code = d.meaning()
	}
	e := &fault.Error{Provider: provider}
	e.Kind, e.Outcome, e.Void = classify(code)
	if code == http.StatusTooManyRequests && d.quota() {
		e.Kind, e.Outcome = fault.Billing, "upstream_billing"
	}
	if status >= 200 && status < 300 {
		// An error document in the place of an answer: nothing was generated (F30).
		e.Outcome, e.Void = "error_in_200", true
	}
	switch e.Kind {
	case fault.RateLimit, fault.Overloaded, fault.Billing, fault.Timeout, fault.Upstream:
		if e.RetryAfter = retryAfter(h, dated(h), e.Kind == fault.RateLimit); e.RetryAfter == 0 {
			e.RetryAfter = d.retry
		}
		if status == http.StatusServiceUnavailable && e.RetryAfter > 0 {
			e.Void = true // shed at the door, with the time to come back
		}
	}
	text := cleanText(d.text)
	if mayOverflow(code) && d.overflow(text) {
		e.Kind, e.Outcome, e.RetryAfter = fault.ContextOverflow, "too_large", 0
		e.Void = e.Void || status >= 400
		e.Message = overflowMessage(text, d)
		return e
	}
	switch {
	case e.Kind == fault.UpstreamKey:
		// The upstream's own text would tell the caller to check a key that is not theirs, and often quotes it.
		e.Message = fmt.Sprintf("provider %s refused the gateway's API key (%d); check providers.%s.api_key", or(provider, "upstream"), code, or(provider, "NAME"))
	case text != "":
		e.Message = text
	case status >= 300 && status < 400:
		e.Message = fmt.Sprintf("the upstream answered with a redirect (%d), which is not followed; check its base_url", status)
	case status >= 200 && status < 300:
		e.Message = "the upstream answered with an error and no message"
	default:
		e.Message = strings.TrimRight(fmt.Sprintf("the upstream answered %d %s", status, http.StatusText(status)), " ") + " without a message"
	}
	return e
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// classify is the status table of the error map.
func classify(status int) (kind fault.Kind, outcome string, void bool) {
	switch {
	case status == 400 || status == 405 || status == 422:
		return fault.Invalid, "bad_request", true
	case status == 401:
		return fault.UpstreamKey, "upstream_auth", true
	case status == 402:
		return fault.Billing, "upstream_billing", true
	case status == 403:
		return fault.Permission, "upstream_auth", true
	case status == 404:
		return fault.NotFound, "not_found", true
	case status == 408 || status == 504:
		return fault.Timeout, "upstream_timeout", false
	case status == 409:
		return fault.Conflict, "bad_request", true
	case status == 413:
		return fault.TooLarge, "too_large", true
	case status == 429:
		return fault.RateLimit, "rate_limited", true
	case status == 503:
		return fault.Overloaded, "upstream_5xx", false
	case status == 529:
		return fault.Overloaded, "overloaded", true
	case status > 400 && status < 500:
		return fault.Invalid, "bad_request", true
	case status >= 500 && status < 600:
		return fault.Upstream, "upstream_5xx", false
	case status >= 300 && status < 400:
		return fault.Upstream, "redirect", true
	}
	return fault.Upstream, "protocol", true
}

// ErrorText is the message inside an error body of any shape, made fit for a caller; empty when there is none.
func ErrorText(body []byte) string { return cleanText(readErrorDoc(body).text) }

// errorDoc is what could be read of an error body.
type errorDoc struct {
	text       string
	code, typ  string // as the upstream names them, lower case
	n, max     int64  // token figures of an overflow
	retry      time.Duration
	provider   string // OpenRouter: who failed behind it
	reasons    []string
	underneath string // OpenRouter: what that one said
}

var (
	titleTag = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)
	// A body that was cut at the limit is no JSON any more, but its message mostly is still whole.
	messageMember = regexp.MustCompile(`"(?:message|error|detail)"\s*:\s*("(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4})+")`)
)

func readErrorDoc(body []byte) *errorDoc {
	d := &errorDoc{}
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	if len(body) == 0 {
		return d
	}
	if messages.Valid(body) == nil {
		d.read(messages.View(body), 0)
		d.compose()
		return d
	}
	if IsStream(body) {
		if data := framed(body); data != nil {
			return readErrorDoc(data)
		}
	}
	if body[0] == '{' || body[0] == '[' {
		if m := messageMember.FindSubmatch(body); m != nil {
			d.text = messages.Literal(m[1]).Value()
		}
		return d
	}
	text := strings.ToValidUTF8(string(body), "")
	if m := titleTag.FindStringSubmatch(text); m != nil {
		text = m[1]
	} else if looksHTML(text) {
		text = ""
	}
	d.text = text
	return d
}

// framed is the JSON of an error that came as a server-sent event; nil when there is none.
func framed(body []byte) []byte {
	for line := range bytes.Lines(body) {
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok && messages.Valid(bytes.TrimSpace(data)) == nil {
			return data
		}
	}
	return nil
}

func looksHTML(s string) bool {
	s = strings.ToLower(s[:min(len(s), 256)])
	return strings.HasPrefix(s, "<!") || strings.HasPrefix(s, "<?xml") || strings.Contains(s, "<html") || strings.Contains(s, "<body")
}

const maxErrorNesting = 6

// read walks the shapes that are out there: {error:{message}}, {error:"…"}, {message}, {detail:…}, lists of these, and JSON
// inside a JSON text.
func (d *errorDoc) read(v gjson.Result, depth int) {
	if depth > maxErrorNesting {
		return
	}
	switch {
	case v.Type == gjson.String:
		text := strings.TrimSpace(v.String())
		if len(text) > 1 && (text[0] == '{' || text[0] == '[') && messages.Valid([]byte(text)) == nil {
			before := d.text
			d.read(gjson.Parse(text), depth+1)
			if d.text != before {
				return
			}
		}
		if d.text == "" {
			d.text = text
		}
	case v.IsArray():
		v.ForEach(func(_, x gjson.Result) bool {
			d.read(x, depth+1)
			return d.text == ""
		})
	case v.IsObject():
		d.object(v, depth)
	}
}

func (d *errorDoc) object(v gjson.Result, depth int) {
	var texts [6]gjson.Result // in the order in which they are believed
	v.ForEach(func(k, f gjson.Result) bool {
		switch k.Str {
		case "error":
			texts[0] = f
		case "message", "Message":
			texts[1] = f
		case "detail":
			texts[2] = f
		case "msg":
			texts[3] = f
		case "errors":
			texts[4] = f
		case "error_description":
			texts[5] = f
		case "code", "status":
			if s := strings.ToLower(f.String()); f.Type != gjson.Null && s != "" && (d.code == "" || k.Str == "code") {
				d.code = s
			}
		case "type":
			if f.Type == gjson.String && f.Str != "error" {
				d.typ = strings.ToLower(f.Str)
			}
		case "n_prompt_tokens":
			d.n, _ = messages.Count(f)
		case "n_ctx":
			d.max, _ = messages.Count(f)
		case "metadata":
			d.metadata(f, depth)
		case "details":
			f.ForEach(func(_, x gjson.Result) bool { // Google's RetryInfo
				if r := x.Get("retryDelay"); r.Type == gjson.String {
					d.retry = believable(parseSpan(r.Str))
				}
				return true
			})
		}
		return true
	})
	for _, t := range texts {
		if t.Exists() && d.text == "" {
			d.read(t, depth+1)
		} else if t.IsObject() {
			d.read(t, depth+1) // for its code and figures
		}
	}
}

// metadata is OpenRouter's word on who failed behind it and why.
func (d *errorDoc) metadata(v gjson.Result, depth int) {
	if raw := v.Get("raw"); raw.Exists() {
		in := &errorDoc{}
		in.read(raw, depth+1)
		d.underneath = in.text
		if d.n, d.max = max(d.n, in.n), max(d.max, in.max); in.retry > 0 {
			d.retry = in.retry
		}
	}
	d.provider = v.Get("provider_name").String()
	v.Get("reasons").ForEach(func(_, r gjson.Result) bool {
		if r.Type == gjson.String && len(d.reasons) < 8 {
			d.reasons = append(d.reasons, r.Str)
		}
		return true
	})
	if hs := v.Get("headers"); hs.IsObject() && d.retry == 0 {
		h := http.Header{}
		hs.ForEach(func(k, f gjson.Result) bool {
			if len(h) < 32 && len(k.Str) < 64 {
				h.Set(k.Str, f.String())
			}
			return true
		})
		d.retry = RetryAfter(h, time.Time{})
	}
}

func (d *errorDoc) compose() {
	if d.underneath != "" && !strings.Contains(d.text, d.underneath) {
		if d.text == "" {
			d.text = d.underneath
		} else {
			d.text += ": " + d.underneath
		}
	}
	if d.provider != "" && d.text != "" {
		d.text += " (provider: " + d.provider + ")"
	}
	if len(d.reasons) > 0 {
		d.text = strings.TrimSpace(d.text + " (reasons: " + strings.Join(d.reasons, ", ") + ")")
	}
}

// meaning is the status that an error document inside a 200 would have had.
func (d *errorDoc) meaning() int {
	if n, err := strconv.Atoi(d.code); err == nil && n >= 400 && n < 600 {
		return n
	}
	for _, w := range [...]string{d.code, d.typ} {
		has := func(parts ...string) bool {
			for _, p := range parts {
				if strings.Contains(w, p) {
					return true
				}
			}
			return false
		}
		switch {
		case w == "":
		case has("quota", "billing", "payment", "insufficient_balance"):
			return 402
		case has("rate_limit", "rate limit", "too_many_requests", "throttl", "resource_exhausted"):
			return 429
		case has("overload", "unavailable", "capacity"):
			return 529
		case has("timeout", "deadline"):
			return 504
		case has("api_key", "authentication", "unauthenticated", "unauthorized"):
			return 401
		case has("permission", "forbidden", "moderation"):
			return 403
		case has("not_found"):
			return 404
		case has("too_large"):
			return 413
		case has("invalid", "bad_request", "unprocessable", "content_filter", "content_policy", "tool_use_failed", "context", "exceed"):
			return 400
		case has("server", "api_error", "internal"):
			return 500
		}
	}
	return 502
}

// quota says that a 429 is about money and not about speed. Google uses the same words for plain rate limits, so only the
// codes count.
func (d *errorDoc) quota() bool {
	for _, w := range [...]string{d.code, d.typ} {
		switch w {
		case "insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "exceeded_current_quota_error", "billing_error", "insufficient_balance":
			return true
		}
	}
	return false
}

// mayOverflow says which statuses are looked at for a context overflow: engines report it as a bad request, some as their
// own failure.
func mayOverflow(status int) bool {
	return status == 400 || status == 413 || status == 422 || status == 500 || status == 502 || status == 503
}

func (d *errorDoc) overflow(text string) bool {
	for _, w := range [...]string{d.code, d.typ} {
		switch w {
		case "context_length_exceeded", "exceed_context_size_error", "model_context_window_exceeded", "model_max_prompt_tokens_exceeded":
			return true
		}
	}
	_, _, ok := Overflow(text)
	return ok
}

// overflowWords are the wordings of a prompt that does not fit, lower case. Each has been seen in the wild. Where figures may
// stand between the words there is an ellipsis.
var overflowWords = [...]string{
	"prompt is too long",
	"prompt too long",
	"input is too long",
	"maximum context length",
	"model's context length is only",
	"available context size",
	"longer than the context length",
	"longer than the model's context length",
	"greater than the context length",
	"exceeds the context length",
	"exceeds the context window",
	"exceed context limit",
	"exceed context window of",
	"context window exceeds",
	"context window exceeded",
	"exceeds the maximum number of tokens allowed",
	"input token count…exceeds the maximum",
	"prompt token count of…exceeds the limit of",
	"exceeds the maximum allowed input length",
	"exceed the configured limit of",
	"but the configured context size is",
	"range of input length should be",
	"please reduce the length of the messages",
	"maximum prompt length is",
	"exceeded model token limit",
	"longer than the maximum model length",
	"exceeds max length",
	"exceeds the model's maximum context",
	"with context length of only",
	"context_length_exceeded",
	"context length exceeded",
	"`inputs` tokens + `max_new_tokens` must be",
}

// tooManyInput is Google's wording, which changes between the services and over the years.
var tooManyInput = regexp.MustCompile(`input token count.{0,80}?(?:exceeds the maximum|supports up to)`)

// overflowForms find the figures. The groups are named: n is the whole prompt, m the limit, out what was asked for as output,
// in the input alone when n includes the output.
var overflowForms = [...]*regexp.Regexp{
	regexp.MustCompile(`prompt is too long: (?P<n>\d+) tokens > (?P<m>\d+)`),
	regexp.MustCompile(`exceed context limit: (?P<in>\d+) \+ (?P<out>\d+) > (?P<m>\d+)`),
	regexp.MustCompile(`maximum context length is (?P<m>\d+) tokens.*?requested(?: about)? (?P<n>\d+) tokens \((?P<in>\d+) in (?:the messages,|your prompt;) (?P<out>\d+) (?:in|for) the completion`),
	regexp.MustCompile(`maximum context length is (?P<m>\d+) tokens.*?requested (?P<out>\d+) output tokens and your prompt contains (?:at least )?(?P<in>\d+) input tokens`),
	regexp.MustCompile(`maximum context length of (?P<m>\d+) tokens.*?total of (?P<n>\d+) tokens: (?P<in>\d+) tokens from the input messages and (?P<out>\d+) tokens for the completion`),
	regexp.MustCompile(`maximum context length is (?P<m>\d+) tokens.*?requested(?: about)? (?P<n>\d+) tokens(?:.*?(?P<out>\d+) in the output)?`),
	regexp.MustCompile(`is too large: (?P<out>\d+).*?maximum context length is (?P<m>\d+) tokens and your request has (?P<in>\d+) input`),
	regexp.MustCompile(`maximum context length is (?P<m>\d+)(?: tokens)?.*?(?:resulted in|request has|contains|passed) (?P<n>\d+)(?: input)? tokens`),
	regexp.MustCompile(`passed (?P<in>\d+) input tokens and requested (?P<out>\d+) output tokens.*?context length is only (?P<m>\d+)`),
	regexp.MustCompile(`\((?P<n>\d+) tokens\).*?available context size \((?P<m>\d+) tokens\)`),
	regexp.MustCompile(`token count \(?(?P<n>\d+)\)? exceeds the maximum(?: number of tokens allowed)?(?: of)? \(?(?P<m>\d+)`),
	regexp.MustCompile(`token count of (?P<n>\d+) exceeds the limit of (?P<m>\d+)`),
	regexp.MustCompile(`\((?P<n>\d+)(?: tokens)?\) (?:is longer than|exceeds) (?:the )?model's (?:maximum )?context length \((?P<m>\d+)`),
	regexp.MustCompile(`prompt has (?P<n>\d+) tokens, but the configured context size is (?P<m>\d+)`),
	regexp.MustCompile(`configured limit of (?P<m>\d+) tokens.*?resulted in (?P<n>\d+) tokens`),
	regexp.MustCompile(`current length is (?P<n>\d+) while limit is (?P<m>\d+)`),
	regexp.MustCompile(`input token count(?: of| is)? \(?(?P<n>\d+)\)?.{0,80}?(?:exceeds the maximum|supports up to)\D{0,40}(?P<m>\d+)`),
	regexp.MustCompile(`maximum prompt length is (?P<m>\d+).*?contains (?P<n>\d+) tokens`),
	regexp.MustCompile(`contains (?P<n>\d+) tokens.*?with (?P<m>\d+) maximum context length`),
	regexp.MustCompile(`token limit: (?P<m>\d+) \(requested: (?P<n>\d+)\)`),
	regexp.MustCompile(`prompt is too long: (?P<n>\d+), model maximum context length: (?P<m>\d+)`),
	regexp.MustCompile(`\(length (?P<n>\d+)\) is longer than the maximum model length of (?P<m>\d+)`),
	regexp.MustCompile(`must be <= (?P<m>\d+)\. given: (?P<in>\d+) .inputs. tokens and (?P<out>\d+)`),
	regexp.MustCompile(`requested tokens \((?P<n>\d+)\) exceed context window of (?P<m>\d+)`),
	regexp.MustCompile(`first (?P<n>\d+) tokens.*?context length of only (?P<m>\d+) tokens`),
}

// grouped is a figure whose thousands are set apart.
var grouped = regexp.MustCompile(`\b\d{1,3}(?:,\d{3})+\b`)

// Overflow recognises the wordings of a context overflow. n is the size of what was asked and max what the model holds, in
// tokens; both are 0 when the text does not say.
func Overflow(text string) (n, max int64, ok bool) {
	n, _, max, ok = overflow(text)
	return n, max, ok
}

// overflow is Overflow with the output's share: out is 0 when the prompt alone was too long or nothing is known of it.
func overflow(text string) (n, out, max int64, ok bool) {
	low := grouped.ReplaceAllStringFunc(strings.ToLower(text), func(figure string) string { return strings.ReplaceAll(figure, ",", "") })
	for _, w := range overflowWords {
		begin, end, _ := strings.Cut(w, "…")
		var rest string
		if _, rest, ok = strings.Cut(low, begin); ok {
			if ok = strings.Contains(rest, end); ok {
				break
			}
		}
	}
	if !ok && !tooManyInput.MatchString(low) {
		return 0, 0, 0, false
	}
	for _, re := range overflowForms {
		m := re.FindStringSubmatch(low)
		if m == nil {
			continue
		}
		var in int64
		for i, name := range re.SubexpNames() {
			v, err := strconv.ParseInt(m[i], 10, 64)
			if name == "" || err != nil || v < 0 || v > messages.MaxCount {
				continue
			}
			switch name {
			case "n":
				n = v
			case "m":
				max = v
			case "in":
				in = v
			case "out":
				out = v
			}
		}
		if n == 0 && in > 0 {
			n = in + out
		}
		if n == 0 || max == 0 {
			return 0, 0, 0, true
		}
		return n, out, max, true
	}
	return 0, 0, 0, true
}

// overflowMessage begins with the words on which agents start to compact. Where the output limit is the cause, the second
// form follows: agents then ask for less output and keep their history.
func overflowMessage(text string, d *errorDoc) string {
	n, out, limit, _ := overflow(text)
	if d.n > 0 && d.max > 0 {
		n, out, limit = d.n, 0, d.max
	}
	switch {
	case n > 0 && out > 0 && n-out > 0 && n-out <= limit:
		return fmt.Sprintf("prompt is too long: %d tokens > %d maximum (input length and `max_tokens` exceed context limit: %d + %d > %d)", n, limit, n-out, out, limit)
	case n > 0:
		return fmt.Sprintf("prompt is too long: %d tokens > %d maximum", n, limit)
	case text == "":
		return "prompt is too long: it does not fit the model's context window"
	}
	return "prompt is too long: " + strings.TrimPrefix(text, "prompt is too long: ")
}

var (
	ansi     = regexp.MustCompile(`\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])`)
	anyTag   = regexp.MustCompile(`<(?:/?[a-zA-Z]|!|\?)[^<>]*>`)
	openTag  = regexp.MustCompile(`<([/!?a-zA-Z])`)
	entities = strings.NewReplacer("&nbsp;", " ", "&quot;", `"`, "&#39;", "'", "&#039;", "'", "&apos;", "'", "&amp;", "&")
)

// cleanText makes an upstream's words fit for a caller: no control characters, no markup, no secrets, one line, bounded.
func cleanText(s string) string {
	if len(s) > 16<<10 {
		s = s[:16<<10]
	}
	s = strings.ToValidUTF8(s, "")
	s = ansi.ReplaceAllString(s, "")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, s)
	s = anyTag.ReplaceAllString(s, " ")
	s = openTag.ReplaceAllString(s, "‹$1") // one that was never closed, or that the removal has put together
	s = entities.Replace(s)
	s = strings.Join(strings.Fields(s), " ")
	s = Scrub(s)
	return cut(s, MaxErrorText)
}

// cut shortens s to n characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for i := range s {
		if n--; n == 0 {
			if utf8.RuneCountInString(s[i:]) > 1 {
				return strings.TrimRight(s[:i], " ") + "…"
			}
			break
		}
	}
	return s
}

const redacted = "[redacted]"

// minSecret is the shortest secret that is looked for by its own value: shorter ones ("none", "ollama") are words, and
// cutting them out would garble every message.
const minSecret = 8

var (
	bearerForm = regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=*-]{8,}`)
	keyForms   = regexp.MustCompile(`\b(?:(?:sk|pk|rk|gsk|xai|fw|tgp|hf|ghp|gho|ghs|github_pat|glpat|nvapi|pplx|csk|sess|sbx)[-_][A-Za-z0-9*._-]{6,}|AIza[0-9A-Za-z_-]{20,}|AKIA[0-9A-Z]{12,}|ya29\.[0-9A-Za-z_-]{10,}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_.-]+)`)
	labelled   = regexp.MustCompile(`(?i)\b(api[_ -]?key(?: provided)?|x-api-key|x-goog-api-key|authorization|access[_-]?token|client[_-]?secret|secret|password|token)("?\s*[:=]\s*"?)([^\s"',;}]{6,})`)
	urlTail    = regexp.MustCompile(`(?i)\b(https?://[^\s?#"'<>]+)[?#][^\s"'<>]*`)
	urlUser    = regexp.MustCompile(`(?i)\b(https?://)[^\s/@"'<>]+@`)
	privateIP  = regexp.MustCompile(`\b(?:(?:127|10)\.\d{1,3}\.\d{1,3}|(?:192\.168|172\.(?:1[6-9]|2\d|3[01])|169\.254)\.\d{1,3})\.\d{1,3}(?::\d{1,5})?\b|\[(?:::1|f[cde][0-9a-f:]+)\](?::\d{1,5})?`)
)

// Scrub cuts secrets out of a text: the given ones wherever they stand (as they are, and as JSON or a URL would spell them),
// then everything that looks like a key, a credential in a URL, or an address of a private network.
func Scrub(s string, secrets ...string) string {
	for _, k := range secrets {
		if len(k) < minSecret {
			continue
		}
		s = strings.ReplaceAll(s, k, redacted)
		q := messages.Quote(k)
		for _, form := range [...]string{string(q[1 : len(q)-1]), strings.ReplaceAll(k, "/", `\/`), url.QueryEscape(k), url.PathEscape(k)} {
			if form != k {
				s = strings.ReplaceAll(s, form, redacted)
			}
		}
	}
	s = urlUser.ReplaceAllString(s, "$1")
	s = urlTail.ReplaceAllString(s, "$1")
	s = bearerForm.ReplaceAllString(s, "$1 "+redacted)
	s = keyForms.ReplaceAllString(s, redacted)
	s = labelled.ReplaceAllStringFunc(s, func(m string) string {
		p := labelled.FindStringSubmatch(m)
		if strings.Contains(p[3], redacted) || len(p[3]) < 16 && !strings.ContainsAny(p[3], "0123456789*") {
			return m // "API key: missing" is a sentence, not a key
		}
		return p[1] + p[2] + redacted
	})
	return privateIP.ReplaceAllString(s, "[address]")
}

// Wait is what an answer's retry-after says; zero if it says nothing, or something senseless.
func Wait(h http.Header) time.Duration { return retryAfter(h, dated(h), false) }

// dated is when an answer was given, by the upstream's clock: ours may be another.
func dated(h http.Header) time.Time {
	t, _ := http.ParseTime(h.Get("Date"))
	return t
}

// RetryAfter is how long the upstream asked us to wait; zero if it did not say, or said something senseless (negative, not a
// number, more than a day). It is read from retry-after-ms, retry-after (seconds or HTTP date), then from the
// x-ratelimit-reset headers. now is only needed for dates.
func RetryAfter(h http.Header, now time.Time) time.Duration { return retryAfter(h, now, true) }

func retryAfter(h http.Header, now time.Time, resets bool) time.Duration {
	if v := h.Get("Retry-After-Ms"); v != "" {
		if ms, err := strconv.ParseFloat(v, 64); err == nil {
			if d := seconds(ms / 1000); d > 0 {
				return d
			}
		}
	}
	if v := strings.TrimSpace(h.Get("Retry-After")); v != "" {
		if s, err := strconv.ParseFloat(v, 64); err == nil {
			if d := seconds(s); d > 0 {
				return d
			}
		} else if t, err := http.ParseTime(v); err == nil && !now.IsZero() {
			if d := believable(t.Sub(now)); d > 0 {
				return d
			}
		}
	}
	if !resets {
		return 0 // these stand on every answer of some upstreams, and mean a wait only beside a 429
	}
	// The window that is used up decides; when neither says so, the longer one.
	var used, longest time.Duration
	for _, what := range [...]string{"Requests", "Tokens"} {
		d := believable(parseSpan(h.Get("X-Ratelimit-Reset-" + what)))
		longest = max(longest, d)
		if h.Get("X-Ratelimit-Remaining-"+what) == "0" {
			used = max(used, d)
		}
	}
	switch {
	case used > 0:
		return used
	case longest > 0:
		return longest
	}
	return resetMoment(h.Get("X-Ratelimit-Reset"), now)
}

// resetMoment reads x-ratelimit-reset, which is seconds from now, or a moment in Unix seconds or milliseconds.
func resetMoment(v string, now time.Time) time.Duration {
	n, err := strconv.ParseFloat(v, 64)
	switch {
	case v == "" || err != nil || !(n > 0):
		return 0
	case n <= maxRetryAfter.Seconds():
		return seconds(n)
	case now.IsZero() || n > 1e14:
		return 0
	case n > 1e11:
		return believable(time.UnixMilli(int64(n)).Sub(now))
	}
	return believable(time.Unix(int64(n), 0).Sub(now))
}

// parseSpan reads "1s", "6m0s", "120ms", or plain seconds.
func parseSpan(s string) time.Duration {
	s = strings.TrimSpace(s)
	if d, err := time.ParseDuration(s); err == nil {
		return d
	}
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return seconds(f)
	}
	return 0
}

func seconds(s float64) time.Duration {
	if !(s > 0 && s <= maxRetryAfter.Seconds()) { // NaN fails both
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

func believable(d time.Duration) time.Duration {
	if d <= 0 || d > maxRetryAfter {
		return 0
	}
	return d
}
