package wire

import (
	"strings"
	"testing"

	"signalbox/internal/messages"
)

func TestChoose(t *testing.T) {
	c := &messages.Conversation{Messages: []messages.Message{{Role: "assistant", Content: []messages.Block{
		{Type: "tool_use", ID: "call_0"}, {Type: "server_tool_use", ID: "srv"}, {Type: "tool_use", ID: NewIDs(nil).Choose("call 1")}, {Type: "text", ID: "free"}}}}}
	x := NewIDs(c)
	for name, row := range map[string]struct {
		id   string
		kept bool
	}{
		"it keeps a free id":                   {"toolu_01abc", true},
		"it keeps what only a text is called":  {"free", true},
		"it does not repeat one":               {"call_0", false},
		"it does not repeat a server tool's":   {"srv", false},
		"it does not repeat what ours carries": {"call 1", false},
		"it does not take a form of ours":      {minted + "x", false},
		"it takes no illegal one":              {"functions.Bash:0", false},
		"it makes one of nothing":              {"", false},
		"it makes one of a huge one":           {strings.Repeat("x", 100_000), false},
	} {
		t.Run(name, func(t *testing.T) {
			got := x.Choose(row.id)
			if (got == row.id) != row.kept || !legalID(got) && row.id == "" || len(got) > 1024 {
				t.Fatalf("%q became %q", row.id, got)
			}
			if again := x.Choose(row.id); again == got {
				t.Fatalf("%q is given twice", got)
			}
		})
	}
}

// FuzzIDs: whatever the upstream calls a call, the caller sees a legal id, never the same twice, and the way back is exact.
func FuzzIDs(f *testing.F) {
	for _, s := range []string{"a", "functions.Bash:0", minted, minted + "aaaaaaaaaaaaaaaa_YQ", "é\xff", "toolu_01"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		x := NewIDs(nil)
		first, second := x.Choose(id), x.Choose(id)
		if first == second {
			t.Fatalf("%q twice", first)
		}
		if id == "" || len(id) > 512 {
			return
		}
		for _, got := range []string{first, second} {
			if OriginalID(got) != id {
				t.Fatalf("%q became %q, which goes back as %q", id, got, OriginalID(got))
			}
			if strings.Trim(got, base62+"_-") != "" {
				t.Fatalf("%q is not legal", got)
			}
		}
	})
}

func TestNewMessageID(t *testing.T) {
	a, b := NewMessageID(), NewMessageID()
	if a == b || len(a) != len("msg_")+22 || !strings.HasPrefix(a, "msg_") || !legalID(a) {
		t.Fatal(a, b)
	}
}

func TestShortID(t *testing.T) {
	short := ShortID(40)
	long := short(strings.Repeat("x", 41))
	if len(long) != shortID || long != short(strings.Repeat("x", 41)) || long == short(strings.Repeat("y", 41)) || !legalID(long) {
		t.Errorf("%q", long)
	}
	if id := strings.Repeat("x", 40); short(id) != id {
		t.Errorf("%q", short(id))
	}
}
