package exchange

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/messages"
	"signalbox/internal/sse"
)

func TestRecordSumsItsAttempts(t *testing.T) {
	r := Record{Attempts: []Attempt{
		{State: Void, Priced: false, Cost: 5},
		{State: Estimated, Priced: true, Cost: 7, Usage: messages.Usage{Input: 1, Output: 2, CacheRead: 3, CacheWrite5m: 4, CacheWrite1h: 5, Thinking: 6, WebSearches: 7}},
		{State: Settled, Priced: true, Cost: 8, Usage: messages.Usage{Input: 10, Output: 20}},
	}}
	if cost, priced := r.Cost(); cost != 15 || !priced {
		t.Errorf("%v %v: what is void costs nothing", cost, priced)
	}
	if diff := cmp.Diff(messages.Usage{Input: 11, Output: 22, CacheRead: 3, CacheWrite5m: 4, CacheWrite1h: 5, Thinking: 6, WebSearches: 7}, r.Usage()); diff != "" {
		t.Error(diff)
	}
	r.Attempts[2].Priced = false
	if _, priced := r.Cost(); priced {
		t.Error("one unknown price makes the sum unknown")
	}
	if r.Target() != "" {
		t.Error(r.Target())
	}
	if r.Provider, r.Model = "lab", "a/b:c"; r.Target() != "lab/a/b:c" {
		t.Error(r.Target())
	}
}

func TestTap(t *testing.T) {
	in := []sse.Frame{
		{Event: "message_start", Data: []byte(`{"type":"message_start","message":{"usage":{"input_tokens":25,"cache_read_input_tokens":3,"output_tokens":1}}}`)},
		{Event: "ping", Data: []byte(`{"type":"ping"}`)},
		{Event: "content_block_delta", Data: []byte(`{"usage":{"output_tokens":9}}`)},
		{},
		{Event: "message_delta", Data: []byte(`{"type":"message_delta","usage":{"output_tokens":15}}`)},
		{Event: "message_stop", Data: []byte(`{"type":"message_stop"}`)},
	}
	broke := errors.New("broke")
	var tap Tap
	var out []sse.Frame
	var last error
	for f, err := range tap.Frames(func(yield func(sse.Frame, error) bool) {
		for _, f := range in {
			if !yield(f, nil) {
				return
			}
		}
		yield(sse.Frame{}, broke)
	}) {
		if last = err; err == nil {
			out = append(out, f)
		}
	}
	if diff := cmp.Diff(in, out); diff != "" || last != broke {
		t.Fatalf("%v %s", last, diff)
	}
	if diff := cmp.Diff(messages.Usage{Input: 25, CacheRead: 3, Output: 15, Known: true}, tap.Usage()); diff != "" {
		t.Error(diff)
	}

	t.Run("it stops with who listens", func(t *testing.T) {
		n := 0
		for range new(Tap).Frames(func(yield func(sse.Frame, error) bool) {
			for yield(in[0], nil) {
				n++
			}
		}) {
			break
		}
		if n != 0 {
			t.Fatalf("%d frames too many", n)
		}
	})
	t.Run("it reads a whole message", func(t *testing.T) {
		var tap Tap
		tap.Whole([]byte(`{"type":"message","usage":{"input_tokens":1,"output_tokens":2}}`))
		if diff := cmp.Diff(messages.Usage{Input: 1, Output: 2, Known: true}, tap.Usage()); diff != "" {
			t.Fatal(diff)
		}
	})
	t.Run("it does not know what was cut off", func(t *testing.T) {
		var tap Tap
		tap.see(in[0])
		if tap.Usage().Known {
			t.Fatal("the start alone is no final figure")
		}
	})
}
