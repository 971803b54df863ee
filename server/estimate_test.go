package server

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"signalbox/config"
)

// tokenized is how many tokens the scripted upstreams see in a text: fewer bytes a token than any first guess.
func tokenized(text string) int { return 11 + len(text)*10/26 }

// promptOf is all text of a request, in Messages or in chat completions.
func promptOf(body string) string {
	var sb strings.Builder
	for _, path := range []string{"system", "messages.#.content"} {
		gjson.Get(body, path).ForEach(func(_, v gjson.Result) bool { sb.WriteString(v.String()); return true })
	}
	return sb.String()
}

// told is a request with so much text.
func told(words int, stream bool) string {
	var sb strings.Builder
	for i := range words {
		fmt.Fprintf(&sb, "word%d says %d things. ", i%7, i*words)
	}
	return fmt.Sprintf(`{"model":"m","max_tokens":9,"stream":%v,"system":"You are terse.","messages":[{"role":"user","content":%q}]}`, stream, sb.String())
}

// count_tokens learns how many bytes a token has from the usage of real answers: in both lanes, streamed and whole, and from
// nothing that broke off.
func TestCountLearns(t *testing.T) {
	lie := false // an answer that breaks off, with a figure that nobody may learn from
	answer := func(w http.ResponseWriter, r *http.Request, body string, _ int64) {
		n := tokenized(promptOf(body))
		if lie {
			n *= 3
		}
		own, streamed := strings.HasSuffix(r.URL.Path, "/messages"), gjson.Get(body, "stream").Bool()
		if streamed {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		switch {
		case own && streamed:
			_, _ = fmt.Fprintf(w, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":%d,\"output_tokens\":1}}}\n\n", n)
			_, _ = io.WriteString(w, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"hi\"}}\n\n")
			if lie {
				return
			}
			_, _ = io.WriteString(w, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":1}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
		case own:
			_, _ = io.WriteString(w, strings.Replace(ownReply, `"input_tokens":7`, `"input_tokens":`+strconv.Itoa(n), 1))
		case streamed:
			_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":1}}\n\n", n)
			if lie {
				return
			}
			_, _ = fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":%d,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n", n)
		default:
			_, _ = io.WriteString(w, strings.Replace(chatReply, `"prompt_tokens":7`, `"prompt_tokens":`+strconv.Itoa(n), 1))
		}
	}
	up := upstream(t, answer)
	s := newStand(t, func(c *config.Config) {
		c.Providers["lab"] = config.Provider{Name: "lab", Kind: "openai", Profile: "plain", BaseURL: up.URL + "/v1"}
		c.Providers["router"] = config.Provider{Name: "router", Kind: "openrouter", BaseURL: up.URL + "/v1", APIKey: config.NewSecret("key-of-router-1234")}
	})
	// off is how far a count of a prompt that nobody has sent yet is from the truth.
	off := func(target string) (float64, string) {
		body := told(777, false)
		a := s.post(t, "/v1/"+target+"/messages/count_tokens", body)
		if a.header.Get("X-Signalbox-Estimated") != "true" {
			t.Fatalf("%s: %d %s is no estimate", target, a.status, a.text)
		}
		truth := float64(tokenized(promptOf(body)))
		return gjson.Get(a.text, "input_tokens").Float()/truth - 1, a.text
	}
	targets := map[string]bool{} // by target, whether it streams; each learns for itself
	for _, lane := range []string{"lab/", "router/anthropic/"} {
		targets[lane+"streamed"], targets[lane+"whole"] = true, false
	}
	const answers = 8
	for target, stream := range targets {
		before, _ := off(target)
		if math.Abs(before) < 0.2 {
			t.Fatalf("%s: the first guess is off by %.2f only: this proves nothing", target, before)
		}
		for i := range answers {
			if a := s.post(t, "/v1/"+target+"/messages", told(100+150*i, stream)); a.status != 200 || a.errorType() != "" {
				t.Fatalf("%s: %d %s", target, a.status, a.text)
			}
		}
		after, learned := off(target)
		if math.Abs(after) > 0.03 {
			t.Errorf("%s: off by %.3f after %d answers, by %.3f before", target, after, answers, before)
		}
		lie = true
		if a := s.post(t, "/v1/"+target+"/messages", told(500, true)); a.errorType() == "" {
			t.Errorf("%s: an answer that broke off is taken for whole: %s", target, a.text)
		}
		lie = false
		if _, now := off(target); now != learned {
			t.Errorf("%s: learned from an answer that broke off: %s, before %s", target, now, learned)
		}
	}
	page := s.scrape(t)
	for _, provider := range []string{"lab", "router"} {
		all := series(t, page, `signalbox_estimate_error_ratio_count{provider="`+provider+`",`)
		good := series(t, page, `signalbox_estimate_error_ratio_bucket{provider="`+provider+`",`, `le="0.05"`)
		if all != 2*answers || good < 2*(answers-2) {
			t.Errorf("%s: %v answers were compared, %v of them within a twentieth", provider, all, good)
		}
	}
}

// series sums the samples whose lines begin so and hold the other texts.
func series(t *testing.T, page, begin string, holds ...string) (sum float64) {
	t.Helper()
	lines := bufio.NewScanner(strings.NewReader(page))
line:
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), begin)
		for _, h := range holds {
			ok = ok && strings.Contains(rest, h)
		}
		if !ok {
			continue line
		}
		v, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	return sum
}

// Where the upstream tells no usage, the book's estimate is of what was said: about the same for an answer that came whole and
// for one that came in pieces, and nothing of the JSON around it.
func TestEstimateOfAnswer(t *testing.T) {
	const text = "twenty bytes of talk"
	up := upstream(t, func(w http.ResponseWriter, _ *http.Request, body string, _ int64) {
		if gjson.Get(body, "stream").Bool() {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, `data: {"choices":[{"index":0,"delta":{"content":"`+text+`"},"finish_reason":"stop"}]}`+"\n\ndata: [DONE]\n\n")
			return
		}
		_, _ = io.WriteString(w, `{"choices":[{"index":0,"message":{"role":"assistant","content":"`+text+`"},"finish_reason":"stop"}]}`)
	})
	s := newStand(t, func(c *config.Config) {
		c.Providers["lab"] = config.Provider{Name: "lab", Kind: "openai", Profile: "plain", BaseURL: up.URL + "/v1"}
	})
	for _, stream := range []bool{false, true} {
		if a := s.post(t, "/v1/lab/m/messages", told(1, stream)); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.text)
		}
	}
	rows := s.rows(t)
	if len(rows) != 2 {
		t.Fatalf("the book has %+v", rows)
	}
	for _, r := range rows {
		if want := int64(len(text)) / 4; r.State != "estimated" || r.Output < want-1 || r.Output > want+1 {
			t.Errorf("%s, %d tokens; want an estimate of about %d", r.State, r.Output, want)
		}
	}
}
