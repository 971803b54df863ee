package estimate

import (
	"strings"
	"testing"

	"signalbox/internal/messages"
)

func request(t *testing.T, body string) *messages.Request {
	t.Helper()
	r, err := messages.ParseRequest([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOf(t *testing.T) {
	text := strings.Repeat("The quick brown fox jumps. ", 200)
	plain := Of(request(t, `{"messages":[{"role":"user","content":"`+text+`"}]}`))
	if plain.Text < 1000 || plain.Text > 2000 || plain.Images != 0 {
		t.Errorf("%d bytes of prose weigh %.0f tokens", len(text), plain.Text)
	}
	image := Of(request(t, `{"messages":[{"role":"user","content":[{"type":"text","text":"`+text+`"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"`+strings.Repeat("QUFB", 100_000)+`"}}]}]}`))
	if d := image.Images + image.Text - plain.Text; d < 1000 || d > 2500 {
		t.Errorf("a picture of 400 KB adds %.0f tokens, not about %d", d, imageTokens)
	}
	tools := Of(request(t, `{"messages":[{"role":"user","content":"x"}],"tools":[{"name":"t","description":"`+text+`"}]}`))
	if tools.Text >= plain.Text {
		t.Errorf("a schema weighs %.0f, as much as prose (%.0f)", tools.Text, plain.Text)
	}
}

func TestLearning(t *testing.T) {
	e := New()
	if got := e.Tokens("p", "m", Size{Text: 1000}); got != 1000 {
		t.Errorf("before learning: %d", got)
	}
	if said := e.Learn("p", "m", Size{Text: 1000}, 1500); said != 1000 {
		t.Errorf("before learning it said %d", said)
	}
	for range 30 {
		e.Learn("p", "m", Size{Text: 1000}, 1500)
	}
	if said := e.Learn("p", "m", Size{Text: 2000}, 3000); said != 3000 {
		t.Errorf("after learning it said %d of 3000", said)
	}
	if said := e.Learn("p", "m", Size{Text: 10}, 15); said != 0 {
		t.Errorf("a short prompt is judged: %d", said)
	}
	if got := e.Tokens("p", "m", Size{Text: 2000}); got < 2900 || got > 3100 {
		t.Errorf("after learning half as many again: %d of 2000", got)
	}
	if got := e.Tokens("p", "other", Size{Text: 1000}); got != 1000 {
		t.Errorf("another model learned too: %d", got)
	}
	e.Learn("q", "m", Size{Text: 1000}, 1_000_000) // a figure that cannot be true moves the scale to its bound only
	if got := e.Tokens("q", "m", Size{Text: 1000}); got != 3000 {
		t.Errorf("a senseless figure was believed: %d", got)
	}
	e.Learn("r", "m", Size{Text: 10}, 500) // a short prompt says more of the template than of the text
	if got := e.Tokens("r", "m", Size{Text: 1000}); got != 1000 {
		t.Errorf("a short prompt was learned from: %d", got)
	}
	if got := e.Tokens("p", "m", Size{Text: 0}); got != 1 {
		t.Errorf("nothing is %d tokens, want 1", got)
	}
	seen := Size{Text: 200, Images: 4 * imageTokens}
	if said := e.Learn("s", "m", seen, 1500); said != 6200 {
		t.Errorf("a prompt of images is judged by %d", said)
	}
	if got := e.Tokens("s", "m", Size{Text: 1000}); got != 1000 {
		t.Errorf("what images cost was learned of text: %d", got)
	}
	e.Learn("s", "m", Size{Text: 8000, Images: imageTokens}, 12_000+imageTokens)
	if got := e.Tokens("s", "m", Size{Text: 1000, Images: imageTokens}); got != 1500+imageTokens {
		t.Errorf("one image among text: %d", got)
	}
}
