package messages

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"signalbox/internal/money"
)

func TestEventAppendJSON(t *testing.T) {
	for want, ev := range map[string]Event{
		`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"a\"b","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}}}`: {Type: MessageStart, ID: "msg_1", Name: `a"b`, Usage: Usage{Input: 3}},
		`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`:                           {Type: BlockStart, Block: TextBlock},
		`{"type":"content_block_start","index":1,"content_block":{"type":"thinking","thinking":"","signature":""}}`:    {Type: BlockStart, Index: 1, Block: ThinkingBlock},
		`{"type":"content_block_start","index":12,"content_block":{"type":"tool_use","id":"a","name":"f","input":{}}}`: {Type: BlockStart, Index: 12, Block: ToolUseBlock, ID: "a", Name: "f"},
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\u2028\nb"}}`:                   {Type: BlockDelta, Block: TextBlock, Text: Literal("\"a\u2028\\nb\"")},
		`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"x"}}`:                    {Type: BlockDelta, Block: ThinkingBlock, Text: Quote("x")},
		`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}`:                  {Type: BlockDelta, Block: ThinkingBlock, Signature: "s"},
		`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\""}}`:         {Type: BlockDelta, Block: ToolUseBlock, Text: Quote(`{"a"`)},
		`{"type":"content_block_stop","index":2}`:                                                                      {Type: BlockStop, Index: 2},
		`{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"X"},"usage":{"input_tokens":10,"cache_creation_input_tokens":5,"cache_read_input_tokens":2,"output_tokens":7,"output_tokens_details":{"thinking_tokens":4}}}`: {Type: MessageDelta, StopReason: "stop_sequence", StopSequence: "X", Usage: Usage{Input: 10, CacheRead: 2, CacheWrite5m: 4, CacheWrite1h: 1, Output: 7, Thinking: 4}},
		`{"type":"message_stop"}`: {Type: MessageStop},
		`{"type":"ping"}`:         {Type: Ping},
	} {
		if diff := cmp.Diff(want, string(ev.AppendJSON(nil))); diff != "" {
			t.Error(diff)
		}
		if got := gjson.Get(want, "type").Str; got != ev.Type.Name() {
			t.Errorf("the event %s is named %s", got, ev.Type.Name())
		}
	}
	if Lull.Name() != "" || (&Event{}).AppendJSON(nil) != nil {
		t.Error("a lull writes something")
	}
}

func TestCount(t *testing.T) {
	for in, want := range map[string]int64{`0`: 0, `17`: 17, `1000000000`: 1_000_000_000, `1000000001`: -1, `-1`: -1, `1.5`: -1, `7.0`: 7, `7.00`: 7, `7.01`: -1, `7.0e1`: -1, `-0.0`: 0, `1e3`: -1, `"7"`: -1, `null`: -1, `true`: -1, `99999999999999999999`: -1} {
		n, ok := Count(gjson.Parse(in))
		if ok != (want >= 0) || ok && n != want {
			t.Errorf("Count(%s) = %d, %v", in, n, ok)
		}
	}
}

func TestMergeUsage(t *testing.T) {
	var u Usage
	u.MergeUsage(gjson.Parse(`{"input_tokens":10,"cache_creation_input_tokens":9,"cache_read_input_tokens":4,"cache_creation":{"ephemeral_5m_input_tokens":6,"ephemeral_1h_input_tokens":3},"output_tokens":1,"service_tier":"standard"}`), false)
	if want := (Usage{Input: 10, CacheRead: 4, CacheWrite5m: 6, CacheWrite1h: 3, Output: 1, Tier: "standard"}); u != want {
		t.Fatalf("%+v", u)
	}
	if u.Prompt() != 23 {
		t.Errorf("prompt %d", u.Prompt())
	}
	u.MergeUsage(gjson.Parse(`{"output_tokens":50,"input_tokens":"many","cache_read_input_tokens":-1,"output_tokens_details":{"thinking_tokens":20},"server_tool_use":{"web_search_requests":2},"cost":0.0125}`), true)
	if cost := money.Amount(12_500_000); u.Cost == nil || *u.Cost != cost {
		t.Fatalf("cost %v", u.Cost)
	}
	u.Cost = nil
	if want := (Usage{Input: 10, CacheRead: 4, CacheWrite5m: 6, CacheWrite1h: 3, Output: 50, Thinking: 20, WebSearches: 2, Tier: "standard", Known: true}); u != want {
		t.Fatalf("%+v", u)
	}
	before := u
	u.MergeUsage(gjson.Parse(`null`), true)
	u.MergeUsage(gjson.Parse(`[1]`), true)
	if u != before {
		t.Fatalf("%+v", u)
	}
}

func TestVerbatimTakesMessagesAway(t *testing.T) {
	ours := func(s string) bool { return strings.HasPrefix(s, "sbx1.") }
	own := `{"type":"thinking","thinking":"b","signature":"sbx1.x"}`
	gone, kept, user := `{"role":"assistant","content":[`+own+`,`+own+`]}`, `{"role":"assistant","content":[`+own+`,{"type":"text","text":"t"}]}`, `{"role":"user","content":"q"}`
	mended := `{"role":"assistant","content":[{"type":"text","text":"t"}]}`
	for name, row := range map[string]struct {
		messages, want string
		removed        int
	}{
		"it takes the first":               {gone + " , " + user, user, 2},
		"it takes one in the middle":       {user + "," + gone + "," + user, user + "," + user, 2},
		"it takes the last":                {user + "," + gone, user, 2},
		"it takes the last two":            {user + "," + gone + " ,\n" + gone, user, 4},
		"it takes two and mends a third":   {user + "," + gone + "," + kept + "," + gone, user + "," + mended, 5},
		"it leaves all when none would be": {gone + "," + gone, gone + "," + gone, 0},
		"it ignores a result's blocks":     {`{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[` + own + `]}]}`, `{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[` + own + `]}]}`, 0},
		"it bears strange content":         {`{"role":"assistant","content":[1,"x",[` + own + `],` + own + `]},7,` + user, `{"role":"assistant","content":[1,"x",[` + own + `]]},7,` + user, 1},
	} {
		t.Run(name, func(t *testing.T) {
			wrap := func(m string) string { return `{"model":"m","messages":[` + m + `],"z":1.0}` }
			got, removed := parse(t, wrap(row.messages)).Verbatim("m", ours)
			if diff := cmp.Diff(wrap(row.want), string(got)); diff != "" || removed != row.removed {
				t.Fatalf("removed %d: %s", removed, diff)
			}
			if err := Valid(got); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestBase64(t *testing.T) {
	image := `{"type":"image","source":{"media_type":"image/png","data":"0123456789","type":"base64"}}`
	for name, row := range map[string]struct {
		messages string
		count    int
		size     int64
	}{
		"it counts none":                 {`{"role":"user","content":"base64"}`, 0, 0},
		"it counts images":               {`{"role":"user","content":[` + image + `,` + image + `]}`, 2, 24},
		"it counts those in results":     {`{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[` + image + `]}]}`, 1, 12},
		"it counts those in documents":   {`{"role":"user","content":[{"type":"document","source":{"type":"content","content":[` + image + `]}}]}`, 1, 12},
		"it leaves addresses out":        {`{"role":"user","content":[{"type":"image","source":{"type":"url","url":"base64"}}]}`, 0, 0},
		"it takes a text for what it is": {`{"role":"user","content":[{"type":"text","text":"{\"source\":{\"type\":\"base64\",\"data\":\"x\"}}"}]}`, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			n, size := parse(t, `{"messages":[`+row.messages+`]}`).Base64()
			if n != row.count || size != row.size {
				t.Fatalf("%d images of %d bytes", n, size)
			}
		})
	}
	if n, size := parse(t, `{}`).Base64(); n != 0 || size != 0 {
		t.Fatal(n, size)
	}
}

func TestConversationHasALimitOnNesting(t *testing.T) {
	nest := func(n int) string {
		return `{"messages":[{"role":"user","content":` + strings.Repeat(`[{"type":"tool_result","tool_use_id":"a","content":`, n) + `"x"` + strings.Repeat(`}]`, n) + `}]}`
	}
	if _, err := parse(t, nest(maxNesting-1)).Conversation(); err != nil {
		t.Fatal(err)
	}
	if _, err := parse(t, nest(maxNesting+1)).Conversation(); err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Fatal(err)
	}
}

// TestScanEveryOffset puts what a string must not hold at every place of the eight bytes that are looked at together.
func TestScanEveryOffset(t *testing.T) {
	for n := range 20 {
		pad := strings.Repeat("x", n)
		for bad, want := range map[string]string{"\x1f": "control character", "\x00": "control character", "\xff": "invalid UTF-8", "\xc3": "invalid UTF-8", "\xed\xa0\x80": "invalid UTF-8",
			`\q`: "bad escape", `\u12g4`: `bad \u escape`} {
			body := `{"a":"` + pad + bad + `é` + pad + `"}`
			_, err := ParseRequest([]byte(body))
			at := "at byte " + strconv.Itoa(6+n)
			if err == nil || !strings.Contains(err.Error(), want+" in a string "+at) && !strings.Contains(err.Error(), want+" "+at) {
				t.Fatalf("%q: %v, want %s %s", body, err, want, at)
			}
		}
		for _, good := range []string{`\"`, `\\`, `\u00e9`, "é", "\x7f", "\u2028", "😀", `\ud800`} {
			body := `{"a":"` + pad + good + pad + `"}`
			if _, err := ParseRequest([]byte(body)); err != nil {
				t.Fatalf("%q: %v", body, err)
			}
		}
	}
}
