package ollamachat

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"signalbox/internal/fault"
	"signalbox/internal/messages"
)

var update = flag.Bool("update", false, "rewrite the expected parts of the golden cases")

// A case tells one story in sections:
//
//	options.json           what the provider knows (optional)
//	request.json           what the agent sent
//	upstream_request.json  what the server must receive
//	upstream.ndjson        what it answers, streamed; or upstream.json, whole; or upstream_error, a status and a body
//	want_events            what the agent must see; or want_message; or want_error
//	notes                  what could not be carried
//
// The expected parts are rewritten by go test -update; the diff is read like code.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { golden(t, file) })
	}
}

func golden(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	in := map[string][]byte{}
	for _, f := range archive.Files {
		in[f.Name] = f.Data
	}
	got := play(t, in)
	if *update {
		var out []txtar.File
		for _, f := range archive.Files {
			if _, input := inputs[f.Name]; input {
				out = append(out, f)
			}
		}
		for _, name := range []string{"upstream_request.json", "want_events", "want_message", "want_error", "notes"} {
			if data, ok := got[name]; ok {
				out = append(out, txtar.File{Name: name, Data: data})
			}
		}
		archive.Files = out
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name, data := range in {
		if _, input := inputs[name]; !input {
			if diff := cmp.Diff(string(data), string(got[name])); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
	for name := range got {
		if _, ok := in[name]; !ok {
			t.Errorf("the case has no section %s; run go test -update", name)
		}
	}
}

var inputs = map[string]bool{"options.json": true, "request.json": true, "upstream.ndjson": true, "upstream.json": true, "upstream_error": true}

// play tells the story of a case and gives the sections that come out of it.
func play(t *testing.T, in map[string][]byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	var o Options
	if b := in["options.json"]; b != nil {
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		if err := d.Decode(&o); err != nil {
			t.Fatal(err)
		}
	}
	job, err := Encode(conversation(t, in["request.json"]), "qwen3:8b", o)
	if err != nil {
		out["want_error"] = told(err)
		return out
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, job.Body(), "", "  "); err != nil {
		t.Fatalf("the translated request is no JSON: %v\n%s", err, job.Body())
	}
	pretty.WriteByte('\n')
	out["upstream_request.json"] = pretty.Bytes()

	if b := in["upstream.ndjson"]; b != nil {
		var events bytes.Buffer
		for ev, err := range job.DecodeStream(bytes.NewReader(b)) {
			if err != nil {
				events.Write(told(err))
				break
			}
			if ev.Type != messages.Lull {
				events.Write(append(ev.AppendJSON(nil), '\n'))
			}
		}
		out["want_events"] = anonymous(events.Bytes())
	}
	if b := in["upstream.json"]; b != nil {
		if r, err := job.Decode(b); err != nil {
			out["want_error"] = told(err)
		} else {
			var message bytes.Buffer
			if err := json.Indent(&message, r.AppendJSON(nil), "", "  "); err != nil {
				t.Fatal(err)
			}
			message.WriteByte('\n')
			out["want_message"] = anonymous(message.Bytes())
		}
	}
	if b := in["upstream_error"]; b != nil {
		first, body, _ := bytes.Cut(b, []byte("\n"))
		status, err := strconv.Atoi(string(first))
		if err != nil {
			t.Fatal(err)
		}
		out["want_error"] = told(job.DecodeError(status, nil, bytes.TrimSpace(body)))
	}
	if notes := job.Notes(); len(notes) > 0 {
		var sb strings.Builder
		for _, n := range notes {
			fmt.Fprintf(&sb, "%s %s\n", n.Kind, n.Field)
		}
		out["notes"] = []byte(sb.String())
	}
	return out
}

func conversation(t testing.TB, body []byte) *messages.Conversation {
	t.Helper()
	r, err := messages.ParseRequest(body)
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Conversation()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func told(err error) []byte {
	f := fault.From(err)
	return fmt.Appendf(nil, "error %s (%s): %s\n", f.Kind, f.Label(), f.Message)
}

var made = regexp.MustCompile(`msg_[0-9A-Za-z]{22}|toolu_sb1[0-9A-Za-z]{16}`)

// anonymous takes the chance out of ids that we make.
func anonymous(b []byte) []byte {
	return made.ReplaceAllFunc(b, func(id []byte) []byte {
		if bytes.HasPrefix(id, []byte("msg_")) {
			return []byte("msg_MADE")
		}
		return []byte("toolu_sb1MADE")
	})
}
