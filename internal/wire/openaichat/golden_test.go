package openaichat

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
	"signalbox/internal/wire"
)

var update = flag.Bool("update", false, "rewrite the expected sections of testdata/*.txtar")

// A case is a file. Written by hand: request.json (what the agent sent), model, strict, text_tools and quirks.json (optional), and the answer as
// upstream.sse or upstream.json. Everything else is expected, and written by -update: upstream_request.json,
// want_events or want_message, notes, or want_error.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			given := map[string][]byte{}
			for _, f := range ar.Files {
				given[f.Name] = f.Data
			}
			got := play(t, given)
			var out []txtar.File
			for _, f := range ar.Files {
				switch f.Name {
				case "model", "strict", "text_tools", "quirks.json", "request.json", "upstream.sse", "upstream.json":
					out = append(out, f)
					continue
				}
				if *update {
					continue
				}
				if diff := cmp.Diff(string(f.Data), got[f.Name]); diff != "" {
					t.Errorf("%s (-want +got):\n%s", f.Name, diff)
				}
				delete(got, f.Name)
			}
			if !*update {
				for name, text := range got {
					t.Errorf("%s is not in the file; got:\n%s", name, text)
				}
				return
			}
			for _, name := range []string{"upstream_request.json", "want_events", "want_message", "want_error", "usage", "notes"} {
				if text, ok := got[name]; ok {
					out = append(out, txtar.File{Name: name, Data: []byte(text)})
				}
			}
			ar.Files = out
			if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// play runs a case and gives the sections that are expected.
func play(t *testing.T, given map[string][]byte) map[string]string {
	t.Helper()
	got := map[string]string{}
	q := Quirks{Provider: "up"}
	if raw, ok := given["quirks.json"]; ok {
		if err := json.Unmarshal(raw, &q); err != nil {
			t.Fatal(err)
		}
		q.Provider = "up"
	}
	_, q.Strict = given["strict"]
	_, q.TextTools.On = given["text_tools"]
	model := "the-model"
	if m, ok := given["model"]; ok {
		model = strings.TrimSpace(string(m))
	}
	r, err := messages.ParseRequest(bytes.TrimSpace(given["request.json"]))
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Conversation()
	if err != nil {
		t.Fatal(err)
	}
	job, err := Encode(c, model, q)
	if err != nil {
		got["want_error"] = faultText(t, err)
		return got
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, job.Body(), "", " "); err != nil {
		t.Fatalf("the request is no JSON: %v\n%s", err, job.Body())
	}
	got["upstream_request.json"] = pretty.String() + "\n"
	switch {
	case given["upstream.sse"] != nil && c.Stream, given["upstream.json"] != nil && c.Stream:
		raw := given["upstream.sse"]
		if raw == nil {
			raw = given["upstream.json"]
		}
		var sb strings.Builder
		for ev, err := range job.DecodeStream(iotest.HalfReader(bytes.NewReader(raw))) {
			if err != nil {
				got["want_error"] = faultText(t, err)
				break
			}
			if ev.Type != messages.Lull {
				sb.Write(ev.AppendJSON(nil))
				sb.WriteByte('\n')
			}
		}
		if sb.Len() > 0 {
			got["want_events"] = stable(sb.String())
		}
		got["usage"] = usageText(job.Usage())
	case given["upstream.sse"] != nil, given["upstream.json"] != nil:
		raw := given["upstream.json"]
		if raw == nil {
			raw = given["upstream.sse"]
		}
		resp, err := job.Decode(raw)
		if err != nil {
			got["want_error"] = faultText(t, err)
			break
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, resp.AppendJSON(nil), "", " "); err != nil {
			t.Fatal(err)
		}
		got["want_message"] = stable(pretty.String() + "\n")
		got["usage"] = usageText(job.Usage())
	}
	var notes strings.Builder
	for _, n := range job.Notes() {
		fmt.Fprintln(&notes, n.Kind, n.Field)
	}
	if notes.Len() > 0 {
		got["notes"] = notes.String()
	}
	return got
}

func faultText(t *testing.T, err error) string {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("%T is no *fault.Error: %v", err, err)
	}
	return fmt.Sprintf("%s %s: %s\n", f.Kind, f.Label(), f.Message)
}

func usageText(u messages.Usage) string {
	s := fmt.Sprintf("input %d read %d write %d output %d thinking %d known %v", u.Input, u.CacheRead, u.CacheWrite5m, u.Output, u.Thinking, u.Known)
	if u.Cost != nil {
		s += " cost " + u.Cost.String()
	}
	return s + "\n"
}

var random = regexp.MustCompile(`(msg_)[0-9A-Za-z]{22}|(toolu_sb1)[0-9A-Za-z]{16}`)

// stable takes the random part out of our own ids.
func stable(s string) string { return random.ReplaceAllString(s, "$1$2*") }

var _ wire.Job = (*Job)(nil)
