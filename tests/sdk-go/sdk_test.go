package sdkgo

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

// ollama is a target of the real server, when there is one.
func ollama(t *testing.T, model string) string {
	t.Helper()
	if os.Getenv("SIGNALBOX_TEST_OLLAMA_URL") == "" {
		if os.Getenv("SIGNALBOX_REQUIRE_REAL") == "1" {
			t.Fatal("no real Ollama: SIGNALBOX_TEST_OLLAMA_URL is not set")
		}
		t.Skip("skipped: no real Ollama (tests/with-ollama.sh starts one)")
	}
	return "ollama/" + model
}

func ask(words string) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{
		Model: "claude-sonnet-4-5", MaxTokens: 300,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(words))},
	}
}

// each runs a test at every kind of target that speaks.
func each(t *testing.T, scriptedModel, ollamaModel string, test func(t *testing.T, target string)) {
	t.Run("echo", func(t *testing.T) { test(t, "signalbox/echo") })
	t.Run("scripted", func(t *testing.T) { test(t, "scripted/"+scriptedModel) })
	t.Run("ollama", func(t *testing.T) { test(t, ollama(t, ollamaModel)) })
}

func wantText(target string) string {
	if strings.HasPrefix(target, "scripted/") {
		return "one two"
	}
	return "say this again"
}

func TestWhole(t *testing.T) {
	each(t, "plain", "echo", func(t *testing.T, target string) {
		client := at(target)
		m, err := client.Messages.New(deadline(t), ask("say this again"))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(text(m)); got != wantText(target) {
			t.Errorf("says %q", got)
		}
		if m.StopReason != anthropic.StopReasonEndTurn || m.Role != "assistant" || !strings.HasPrefix(m.ID, "msg_") {
			t.Errorf("stop_reason %q, role %q, id %q", m.StopReason, m.Role, m.ID)
		}
		if m.Usage.InputTokens == 0 || m.Usage.OutputTokens == 0 {
			t.Errorf("usage %+v", m.Usage)
		}
	})
}

// The model of the body names the target too, and a header wins over it.
func TestTargets(t *testing.T) {
	client := at("")
	q := ask("say this again")
	q.Model = "signalbox/echo"
	if m, err := client.Messages.New(deadline(t), q); err != nil || text(m) != "say this again" {
		t.Errorf("by the body: %v %v", m, err)
	}
	q.Model = "scripted/missing"
	m, err := client.Messages.New(deadline(t), q, option.WithHeader("x-signalbox-target", "scripted/plain"))
	if err != nil || text(m) != "one two" {
		t.Errorf("by the header: %v %v", m, err)
	}
}

func TestStream(t *testing.T) {
	each(t, "plain", "echo", func(t *testing.T, target string) {
		client := at(target)
		m, pieces := stream(t, deadline(t), client, ask("say this again"))
		if got := strings.TrimSpace(text(m)); got != wantText(target) {
			t.Errorf("says %q", got)
		}
		if pieces < 2 {
			t.Errorf("came in %d piece", pieces)
		}
		if m.StopReason != anthropic.StopReasonEndTurn || m.Usage.OutputTokens == 0 {
			t.Errorf("stop_reason %q, usage %+v", m.StopReason, m.Usage)
		}
	})
}

// stream reads a whole streamed answer and counts its text deltas.
func stream(t *testing.T, ctx context.Context, client anthropic.Client, q anthropic.MessageNewParams) (*anthropic.Message, int) {
	t.Helper()
	s := client.Messages.NewStreaming(ctx, q)
	defer s.Close()
	var m anthropic.Message
	pieces := 0
	for s.Next() {
		e := s.Current()
		if err := m.Accumulate(e); err != nil {
			t.Fatal(err)
		}
		if e.Type == "content_block_delta" && e.Delta.Type == "text_delta" {
			pieces++
		}
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return &m, pieces
}

// The first words reach the client while the upstream is still speaking.
func TestStreamIsNotHeldBack(t *testing.T) {
	upstream.gate = make(chan struct{})
	client := at("scripted/slow")
	s := client.Messages.NewStreaming(deadline(t), ask("hello"))
	defer s.Close()
	var m anthropic.Message
	opened := false
	for s.Next() {
		e := s.Current()
		if err := m.Accumulate(e); err != nil {
			t.Fatal(err)
		}
		if e.Type == "content_block_delta" && !opened {
			opened = true
			close(upstream.gate) // only now may the second half come: a gateway that waits for it would wait for ever
		}
	}
	if err := s.Err(); err != nil || text(&m) != "one two" {
		t.Errorf("%q, %v", text(&m), err)
	}
}

func TestToolLoop(t *testing.T) {
	weather := anthropic.ToolUnionParam{OfTool: &anthropic.ToolParam{
		Name: "weather", Description: anthropic.String("The weather of a city."),
		InputSchema: anthropic.ToolInputSchemaParam{Properties: map[string]any{"city": map[string]any{"type": "string"}}, Required: []string{"city"}},
	}}
	for _, streamed := range []bool{false, true} {
		name := map[bool]string{false: "whole", true: "streamed"}[streamed]
		t.Run(name, func(t *testing.T) {
			each(t, "tool", "agent", func(t *testing.T, target string) {
				client, ctx := at(target), deadline(t)
				turn := func(q anthropic.MessageNewParams) *anthropic.Message {
					t.Helper()
					if streamed {
						m, _ := stream(t, ctx, client, q)
						return m
					}
					m, err := client.Messages.New(ctx, q)
					if err != nil {
						t.Fatal(err)
					}
					return m
				}
				q := ask("use weather")
				q.Tools = []anthropic.ToolUnionParam{weather}
				m := turn(q)
				if m.StopReason != anthropic.StopReasonToolUse {
					t.Fatalf("stop_reason %q in %s", m.StopReason, m.RawJSON())
				}
				var results []anthropic.ContentBlockParamUnion
				for _, b := range m.Content {
					if b.Type != "tool_use" {
						continue
					}
					var input struct{ City string }
					if err := json.Unmarshal(b.Input, &input); err != nil || b.Name != "weather" || input.City == "" {
						t.Fatalf("calls %s(%s): %v", b.Name, b.Input, err)
					}
					results = append(results, anthropic.NewToolResultBlock(b.ID, "sunny, 21 degrees", false))
				}
				if len(results) != 1 {
					t.Fatalf("%d calls", len(results))
				}
				q.Messages = append(q.Messages, m.ToParam(), anthropic.NewUserMessage(results...))
				m = turn(q)
				want := "sunny, 21 degrees"
				if strings.HasPrefix(target, "scripted/") {
					want = "one two"
				}
				if m.StopReason != anthropic.StopReasonEndTurn || !strings.Contains(text(m), want) {
					t.Errorf("ends with %q: %q", m.StopReason, text(m))
				}
			})
		})
	}
}

func TestErrors(t *testing.T) {
	empty := ask("x")
	empty.Messages = []anthropic.MessageParam{}
	tests := []struct {
		name, target string
		q            anthropic.MessageNewParams
		status       int
		kind         anthropic.ErrorType
		says         string
	}{
		{"it names the providers that exist", "nobody/model", ask("x"), 404, anthropic.ErrorTypeNotFoundError, "nobody"},
		{"it names a model that is missing upstream", "scripted/missing", ask("x"), 404, anthropic.ErrorTypeNotFoundError, "missing"},
		{"it names the field that is wrong", "signalbox/echo", empty, 400, anthropic.ErrorTypeInvalidRequestError, "messages"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := at(tt.target)
			_, whole := client.Messages.New(deadline(t), tt.q)
			s := client.Messages.NewStreaming(deadline(t), tt.q)
			for s.Next() {
			}
			for how, err := range map[string]error{"whole": whole, "streamed": s.Err()} {
				var e *anthropic.Error
				if !errors.As(err, &e) {
					t.Fatalf("%s: %v is no API error", how, err)
				}
				if e.StatusCode != tt.status || e.Type() != tt.kind || !strings.Contains(e.RawJSON(), tt.says) || e.RequestID == "" {
					t.Errorf("%s: %d %s %s, request id %q", how, e.StatusCode, e.Type(), e.RawJSON(), e.RequestID)
				}
			}
		})
	}
}

// A stream that breaks after it began reaches the SDK as an error, never as a short answer.
func TestBrokenStream(t *testing.T) {
	client := at("scripted/cut")
	s := client.Messages.NewStreaming(deadline(t), ask("x"))
	defer s.Close()
	var last string
	for s.Next() {
		last = s.Current().Type
	}
	if s.Err() == nil || last == "message_stop" {
		t.Errorf("ends with %q and %v", last, s.Err())
	}
}

// The SDK itself tries again after a 429 of the upstream, since the answer keeps its status and retry-after.
func TestRetry(t *testing.T) {
	client := at("scripted/busy-once", option.WithMaxRetries(2))
	m, err := client.Messages.New(deadline(t), ask("x"))
	if err != nil || text(m) != "one two" {
		t.Fatalf("%v %v", m, err)
	}
	if n := upstream.seen("busy-once"); n != 2 {
		t.Errorf("%d calls reached the upstream, want 2: one of the gateway for each of the client", n)
	}
}

func TestCountTokens(t *testing.T) {
	each(t, "plain", "echo", func(t *testing.T, target string) {
		client := at(target)
		count := func(words string) int64 {
			n, err := client.Messages.CountTokens(deadline(t), anthropic.MessageCountTokensParams{
				Model: "claude-sonnet-4-5", Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(words))}})
			if err != nil {
				t.Fatal(err)
			}
			return n.InputTokens
		}
		if short, long := count("hello"), count(strings.Repeat("hello there ", 100)); short < 1 || long < 100 || long > 600 {
			t.Errorf("counts %d and %d", short, long)
		}
	})
}

func TestModels(t *testing.T) {
	client := at("")
	ids := map[string]bool{}
	pages := client.Models.ListAutoPaging(deadline(t), anthropic.ModelListParams{})
	for pages.Next() {
		ids[pages.Current().ID] = true
	}
	if err := pages.Err(); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"signalbox/echo", "scripted/plain", "scripted/dir/tool:7b"} {
		if !ids[id] {
			t.Errorf("%s is not in the list: %v", id, ids)
			continue
		}
		m, err := client.Models.Get(deadline(t), id, anthropic.ModelGetParams{})
		if err != nil || m.ID != id || m.DisplayName == "" {
			t.Errorf("%s: %+v %v", id, m, err)
		}
	}
	_, err := client.Models.Get(deadline(t), "scripted/nothing", anthropic.ModelGetParams{})
	var e *anthropic.Error
	if !errors.As(err, &e) || e.StatusCode != 404 {
		t.Errorf("a model that does not exist: %v", err)
	}
}
