package responses

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

// TestRecordedRequests translates what the real client sent and reads it back: every text, image, document, call and result is
// there, in its order, each result behind its call.
func TestRecordedRequests(t *testing.T) {
	files, err := filepath.Glob("../../../tests/fixtures/claude-code/*.json")
	if err != nil || len(files) != 13 {
		t.Fatalf("%d recorded requests, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var record struct{ Body json.RawMessage }
		if err := json.Unmarshal(raw, &record); err != nil {
			t.Fatal(file, err)
		}
		if len(record.Body) == 0 || string(record.Body) == "null" {
			continue // a GET
		}
		for name, q := range map[string]Quirks{"plain": {Provider: "up"}, "openai": OpenAI()} {
			t.Run(filepath.Base(file)+" "+name, func(t *testing.T) {
				var tight bytes.Buffer
				if err := json.Compact(&tight, record.Body); err != nil {
					t.Fatal(err)
				}
				r, err := messages.ParseRequest(tight.Bytes())
				if err != nil {
					t.Fatal(err)
				}
				c, err := r.Conversation()
				if err != nil {
					t.Fatal(err)
				}
				c.MaxTokens = max(c.MaxTokens, minOutput) // counts have none
				job, err := Encode(c, "gpt-5.4", q)
				if err != nil {
					t.Fatal(err)
				}
				for _, n := range job.Notes() {
					if n.Field != "context_management" && !n.Foreign {
						t.Errorf("an unexpected note: %+v", n)
					}
				}
				want, system := spoken(c)
				got := arrived(t, job.Body())
				for _, s := range system {
					i := 0
					for i < len(got) && got[i] != s {
						i++
					}
					if i == len(got) {
						t.Fatalf("a system message is lost: %.80q", s)
					}
					got = append(got[:i:i], got[i+1:]...)
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("(-want +got)\n%s", diff)
				}
			})
		}
	}
}

// spoken is what a conversation says, piece by piece, results first in their message; and what stands in its system messages.
func spoken(c *messages.Conversation) (said, system []string) {
	for _, m := range c.Messages {
		var results, rest []string
		for _, b := range m.Content {
			switch b.Type {
			case "tool_result":
				texts := []string{}
				for _, x := range b.Content {
					texts = append(texts, pieces(x)...)
				}
				s := "result " + b.ToolUseID + " "
				if b.IsError {
					s += "Error: "
				}
				results = append(results, s+strings.Join(texts, "\n"))
			case "tool_use":
				rest = append(rest, "call "+b.ID+" "+b.Name+" "+string(b.Input))
			default:
				rest = append(rest, pieces(b)...)
			}
		}
		if m.Role == messages.RoleSystem {
			system = append(system, rest...)
			continue
		}
		said = append(append(said, results...), rest...)
	}
	return said, system
}

func pieces(b messages.Block) []string {
	switch {
	case b.Type == "tool_reference":
		return []string{"Loaded: " + b.Name}
	case b.Type == "image" || b.Type == "document":
		return []string{"data:" + b.Source.MediaType + ";base64," + b.Source.Data.Value()}
	case b.Type == "thinking" || b.Text.Empty():
		return nil
	}
	return []string{b.Text.Value()}
}

// arrived is the same, read out of a translated request.
func arrived(t *testing.T, body []byte) (said []string) {
	t.Helper()
	type part struct {
		Type, Text string
		Image      string `json:"image_url"`
		File       string `json:"file_data"`
	}
	var request struct {
		Store *bool
		Input []struct {
			Type, Role, Name, Arguments string
			CallID                      string `json:"call_id"`
			Content                     []part
			Output                      json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &request); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	if request.Store == nil || *request.Store {
		t.Error("the provider may store it")
	}
	open := map[string]bool{}
	for _, it := range request.Input {
		switch it.Type {
		case "message":
			if len(open) > 0 {
				t.Errorf("a message stands between calls and their results: %v", open)
			}
			for _, p := range it.Content {
				said = append(said, p.Text+p.Image+p.File)
			}
		case "function_call":
			open[it.CallID] = true
			said = append(said, "call "+it.CallID+" "+it.Name+" "+it.Arguments)
		case "function_call_output":
			if !open[it.CallID] {
				t.Errorf("a result of no call: %s", it.CallID)
			}
			delete(open, it.CallID)
			var text string
			var list []part
			if json.Unmarshal(it.Output, &list) == nil {
				var texts []string
				for _, p := range list {
					texts = append(texts, p.Text+p.Image+p.File)
				}
				text = strings.Join(texts, "\n")
			} else if err := json.Unmarshal(it.Output, &text); err != nil {
				t.Fatal(err)
			}
			said = append(said, "result "+it.CallID+" "+text)
		default:
			t.Errorf("an item of type %s", it.Type)
		}
	}
	if len(open) > 0 {
		t.Errorf("calls without results: %v", open)
	}
	return said
}

// TestCarryHasALimit: a state too large to be carried is dropped whole.
func TestCarryHasALimit(t *testing.T) {
	item := func(n int) []byte {
		return carried(messages.View([]byte(`{"type":"reasoning","id":"r","summary":null,"status":"completed","encrypted_content":"` + strings.Repeat("x", n) + `"}`)))
	}
	if got := string(item(3)); got != `{"type":"reasoning","id":"r","summary":[],"encrypted_content":"xxx"}` {
		t.Errorf("got %s", got)
	}
	if item(maxCarry) != nil {
		t.Error("a state of four megabytes is carried")
	}
	q := Quirks{Provider: "a.b"}
	if got := q.unpack(q.pack(item(3))); !bytes.Equal(got, item(3)) {
		t.Errorf("got %s", got)
	}
	other := Quirks{Provider: "a"}
	if other.unpack(q.pack(item(3))) != nil || q.unpack(other.pack(item(3))) != nil {
		t.Error("another provider reads it")
	}
	if !wire.OwnSignature(q.pack(item(3))) {
		t.Error("it is not known as ours")
	}
}
