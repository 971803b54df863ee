package sdkgo

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
)

// answered is one file of tests/answers.
type answered struct {
	Provider string
	SSE      []json.RawMessage
	NDJSON   []json.RawMessage
	Whole    json.RawMessage
	Expect   struct {
		StopReason string `json:"stop_reason"`
		Content    []map[string]any
	}
}

func readAnswer(name string) (a answered, err error) {
	b, err := os.ReadFile(filepath.Join("..", "answers", name+".json"))
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	return a, err
}

// answers is a server of every dialect that plays the file which the model names.
func answers(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	var q struct {
		Model  string
		Stream *bool
	}
	_ = json.Unmarshal(body, &q)
	name, streamed := q.Model, q.Stream != nil && *q.Stream
	if strings.Contains(r.URL.Path, ":") { // Gemini names model and method in the path
		var method string
		name, method, _ = strings.Cut(path.Base(r.URL.Path), ":")
		streamed = method == "streamGenerateContent"
	}
	if strings.HasSuffix(r.URL.Path, "/api/show") {
		io.WriteString(w, `{"model_info":{"general.architecture":"x","x.context_length":131072},"capabilities":["completion","tools","thinking"]}`)
		return
	}
	a, err := readAnswer(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	if !streamed {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(a.Whole)
		return
	}
	if a.NDJSON != nil {
		w.Header().Set("Content-Type", "application/x-ndjson")
	} else {
		w.Header().Set("Content-Type", "text/event-stream")
	}
	for _, item := range append(a.SSE, a.NDJSON...) {
		var text string
		switch {
		case json.Unmarshal(item, &text) == nil && strings.HasPrefix(text, ":"):
			_, _ = io.WriteString(w, text)
		case text != "":
			_, _ = fmt.Fprintf(w, "data: %s\n\n", text)
		case a.NDJSON != nil:
			_, _ = fmt.Fprintf(w, "%s\n", compact(item))
		default:
			_, _ = fmt.Fprintf(w, "data: %s\n\n", compact(item))
		}
		w.(http.Flusher).Flush()
	}
}

// compact is a JSON text on one line, its numbers as they are written.
func compact(raw json.RawMessage) string {
	b, err := json.Marshal(raw)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// What the accumulator makes of a stream is what the whole answer says, and both are what the upstream said.
func TestStreamedIsWhole(t *testing.T) {
	files, err := filepath.Glob("../answers/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no answers: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			a, err := readAnswer(name)
			if err != nil {
				t.Fatal(err)
			}
			q := ask("hello")
			q.Thinking = anthropic.ThinkingConfigParamOfEnabled(1024)
			q.MaxTokens = 2000
			for _, tool := range []string{"read", "now"} {
				q.Tools = append(q.Tools, anthropic.ToolUnionParam{OfTool: &anthropic.ToolParam{Name: tool, InputSchema: anthropic.ToolInputSchemaParam{}}})
			}
			client := at(a.Provider + "/" + name)
			whole, err := client.Messages.New(deadline(t), q)
			if err != nil {
				t.Fatal(err)
			}
			streamed, _ := stream(t, deadline(t), client, q)
			w, s := seen(t, whole), seen(t, streamed)
			if !reflect.DeepEqual(w, s) {
				t.Errorf("whole    %v\nstreamed %v", w, s)
			}
			want := []map[string]any{}
			want = append(want, a.Expect.Content...)
			if !reflect.DeepEqual(w, want) {
				t.Errorf("got  %v\nwant %v", w, want)
			}
			if string(whole.StopReason) != a.Expect.StopReason || string(streamed.StopReason) != a.Expect.StopReason {
				t.Errorf("stop_reason %q whole, %q streamed, want %q", whole.StopReason, streamed.StopReason, a.Expect.StopReason)
			}
			if w, s := whole.Usage, streamed.Usage; w.InputTokens != s.InputTokens || w.OutputTokens != s.OutputTokens || w.CacheReadInputTokens != s.CacheReadInputTokens || w.OutputTokens != 30 {
				t.Errorf("usage %+v whole, %+v streamed", w, s)
			}
		})
	}
}

// seen is a message's content without what may differ: ids, signatures, and blocks that only carry state.
func seen(t *testing.T, m *anthropic.Message) []map[string]any {
	t.Helper()
	out := []map[string]any{}
	for _, b := range m.Content {
		switch b.Type {
		case "thinking":
			if b.Thinking != "" {
				out = append(out, map[string]any{"type": "thinking", "thinking": b.Thinking})
			}
		case "text":
			out = append(out, map[string]any{"type": "text", "text": b.Text})
		case "tool_use":
			var input any
			if err := json.Unmarshal(b.Input, &input); err != nil || b.ID == "" {
				t.Fatalf("call %q %s: %v", b.ID, b.Input, err)
			}
			out = append(out, map[string]any{"type": "tool_use", "name": b.Name, "input": input})
		default:
			t.Errorf("a block of type %q", b.Type)
		}
	}
	return out
}
