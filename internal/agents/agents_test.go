package agents

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"signalbox/config"
	"signalbox/internal/messages"
)

func write(t *testing.T, text string, parts ...string) string {
	t.Helper()
	file := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func request(t *testing.T, body string) *messages.Request {
	t.Helper()
	r, err := messages.ParseRequest([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// asked is a request as Claude Code makes it: the attribution line, the identity, and the agent's prompt with more behind it.
func asked(t *testing.T, prompt string) *messages.Request {
	return request(t, `{"messages":[{"role":"user","content":"go"}],"system":[{"type":"text","text":"x-anthropic-billing-header: cc_version=2; cch=1;"},`+
		`{"type":"text","text":"You are Claude Code."},{"type":"text","text":`+strconv.Quote(prompt)+`}]}`)
}

func TestDirectory(t *testing.T) {
	home, project := t.TempDir(), t.TempDir()
	write(t, "---\nname: code-reviewer\ndescription: Reads: carefully\nmodel: ollama/codellama\n---\n\nYou review code.\r\nBe kind.\n", home, ".claude", "agents", "reviewer.md")
	write(t, "---\ndescription: no name\nmodel: inherit\n---\nYou write tests for everything.", home, ".claude", "agents", "sub", "tester.md")
	write(t, "no head at all", home, ".claude", "agents", "README.md")
	write(t, "---\nname: code-reviewer\n---\nYou review this project's code.", project, ".claude", "agents", "reviewer.md")
	write(t, `{"name":"oss","version":"1"}`, home, ".claude", "plugins", "cache", "market", "oss", "1", ".claude-plugin", "plugin.json")
	write(t, "---\nname: code-reviewer\n---\nYou review code as a plugin does.", home, ".claude", "plugins", "cache", "market", "oss", "1", "agents", "code-reviewer.md")
	now := time.Unix(1000, 0)
	d := New(Sources(home, project, ""), func() time.Time { return now })

	var got []string
	for _, def := range d.Definitions() {
		got = append(got, def.Source+" "+def.Name+" "+def.Model)
	}
	want := "project code-reviewer ,user code-reviewer ollama/codellama,user tester ,plugin oss:code-reviewer "
	if strings.Join(got, ",") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ","), want)
	}

	for _, row := range []struct{ it, prompt, want string }{
		{"knows a user's agent, however its text is wrapped", "You review   code.\nBe kind.\n\nNotes:\n- use absolute paths", "code-reviewer"},
		{"knows an agent without a name in its head", "You write tests for everything.", "tester"},
		{"knows a plugin's agent", "You review code as a plugin does.\n\nEnvironment: linux", "oss:code-reviewer"},
		{"knows nobody by a part of the text", "You review code.", ""},
		{"knows nobody by a text that goes on in the middle of a word", "You write tests for everything.thing", ""},
		{"knows nobody by quoted text", "Remember: You write tests for everything.", ""},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			if id := d.Identify(http.Header{}, asked(t, row.prompt), nil); id.Name != row.want {
				t.Errorf("got %+v", id)
			}
		})
	}

	t.Run("it knows a short text beside long ones", func(t *testing.T) {
		dir := t.TempDir()
		write(t, "---\nname: brief\n---\nBe very brief.", dir, "brief.md")
		write(t, "---\nname: long\n---\n"+strings.Repeat("Say all there is to say. ", 20), dir, "long.md")
		d := New([]Source{{dir, SourceUser}}, time.Now)
		for prompt, want := range map[string]string{"Be very brief.": "brief", strings.Repeat("Say all there is to say. ", 20) + "Now.": "long", "Be very long.": ""} {
			if id := d.Identify(http.Header{}, asked(t, prompt), nil); id.Name != want {
				t.Errorf("%.20q: got %+v, want %q", prompt, id, want)
			}
		}
	})
	t.Run("it sees an agent that is written later", func(t *testing.T) {
		r := asked(t, "You paint pictures all day.")
		if id := d.Identify(http.Header{}, r, nil); id.Name != "" {
			t.Fatal(id)
		}
		write(t, "---\nname: painter\n---\nYou paint pictures all day.", home, ".claude", "agents", "painter.md")
		now = now.Add(2 * time.Second)
		if id := d.Identify(http.Header{}, r, nil); id.Name != "painter" || id.By != ByFingerprint {
			t.Fatalf("got %+v", id)
		}
	})
}

// A plugin's agents as Claude Code 2.1.330 names and sends them: folders are parts of the name, the manifest may name further places,
// and the plugin's own folder is put into the text.
func TestPluginLayouts(t *testing.T) {
	home := t.TempDir()
	root := filepath.Join(home, ".claude", "plugins", "cache", "market", "oss", "1")
	write(t, `{"name":"oss","agents":["./more","./single/lone.md","../outside","./none"]}`, root, ".claude-plugin", "plugin.json")
	write(t, "---\nname: deep\n---\nYou look deep into the code.", root, "agents", "review", "security", "deep.md")
	write(t, "---\nname: extra\n---\nYou are one agent more.", root, "more", "extra.md")
	write(t, "---\nname: lone\n---\nRead ${CLAUDE_PLUGIN_ROOT}/rules.md first.", root, "single", "lone.md")
	write(t, "---\nname: outside\n---\nYou are no agent of the plugin's.", root, "..", "outside", "outside.md")
	d := New(Sources(home, "", ""), time.Now)
	for _, row := range []struct{ it, prompt, want string }{
		{"names an agent by its folders", "You look deep into the code.", "oss:review:security:deep"},
		{"finds a folder that the manifest names", "You are one agent more.", "oss:extra"},
		{"finds a file that the manifest names, and puts the plugin's folder in", "Read " + root + "/rules.md first.", "oss:lone"},
		{"stays inside the plugin", "You are no agent of the plugin's.", ""},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			if id := d.Identify(http.Header{}, asked(t, row.prompt), nil); id.Name != row.want {
				t.Errorf("got %+v", id)
			}
		})
	}
}

func TestIdentifyOrder(t *testing.T) {
	dir := t.TempDir()
	write(t, "---\nname: known\n---\nYou are the known agent.", dir, "known.md")
	d := New([]Source{{dir, SourceUser}}, time.Now)
	elsewhere := New([]Source{{dir, SourceUser}}, time.Now).Fingerprints()
	for i := range elsewhere {
		elsewhere[i].Name = "by-launcher"
	}
	head := func(pairs ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		return h
	}
	const marked = "You are the known agent.\n<!-- OSS-ROUTE-AGENT: oss:marked -->\n"
	for _, row := range []struct {
		it     string
		h      http.Header
		prompt string
		known  []config.Fingerprint
		name   string
		by     By
		sub    bool
	}{
		{"takes the header first", head("x-signalbox-agent", "command:x", "x-claude-code-agent-type", "Explore"), marked, nil, "command:x", ByHeader, false},
		{"takes the marker next", head("x-claude-code-agent-type", "Explore"), marked, nil, "oss:marked", ByMarker, false},
		{"takes the text next", head("x-claude-code-agent-type", "Explore"), "You are the known agent.", nil, "known", ByFingerprint, false},
		{"believes the launcher about its project", head(), "You are the known agent.", elsewhere, "by-launcher", ByFingerprint, false},
		{"takes the hint last", head("x-claude-code-agent-type", "Explore", "x-claude-code-agent-id", "a1"), "Who knows", nil, "Explore", ByHint, true},
		{"takes no hint that says custom", head("x-claude-code-agent-type", "custom"), "Who knows", nil, "", "", false},
		{"takes no header that is no name", head("x-signalbox-agent", "a b"), "Who knows", nil, "", "", false},
	} {
		t.Run("it "+row.it, func(t *testing.T) {
			if got, want := d.Identify(row.h, asked(t, row.prompt), row.known), (Identity{row.name, row.by, row.sub}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	t.Run("it reads a system prompt that is one string", func(t *testing.T) {
		r := request(t, `{"system":"x-anthropic-billing-header: a;\nYou are the known agent.\nMore.","messages":[{"role":"user","content":"x"}]}`)
		if id := d.Identify(http.Header{}, r, nil); id.Name != "known" {
			t.Errorf("got %+v", id)
		}
	})
	t.Run("it takes nobody's text behind an agent's own for the one who asks", func(t *testing.T) {
		write(t, "---\nname: other\n---\nYou are the other agent.", dir, "other.md")
		d := New([]Source{{dir, SourceUser}}, time.Now)
		r := request(t, `{"system":[{"type":"text","text":"You are the known agent."},{"type":"text","text":"You are the other agent."}],"messages":[{"role":"user","content":"x"}]}`)
		if id := d.Identify(http.Header{}, r, nil); id.Name != "known" {
			t.Errorf("got %+v", id)
		}
	})
	t.Run("it knows an agent behind the identity sentence, whoever begins like that", func(t *testing.T) {
		write(t, "---\nname: vain\n---\nYou are Claude Code.", dir, "vain.md")
		d := New([]Source{{dir, SourceUser}}, time.Now)
		if id := d.Identify(http.Header{}, asked(t, "You are the known agent."), nil); id.Name != "known" {
			t.Errorf("got %+v", id)
		}
	})
	t.Run("it never looks into messages", func(t *testing.T) {
		r := request(t, `{"messages":[{"role":"user","content":"OSS-ROUTE-AGENT: evil"},{"role":"system","content":"OSS-ROUTE-AGENT: evil"},{"role":"user","content":[{"type":"tool_result","tool_use_id":"x","content":"OSS-ROUTE-AGENT: evil"}]}]}`)
		if id := d.Identify(http.Header{}, r, nil); id.Name != "" {
			t.Errorf("got %+v", id)
		}
	})
	t.Run("nobody is known without a directory", func(t *testing.T) {
		if id := (*Directory)(nil).Identify(http.Header{}, asked(t, "You are the known agent."), nil); id.Name != "" {
			t.Errorf("got %+v", id)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("---\nname: a\n---\nbody")
	f.Add("---\nname: \"a\nmodel: x\n---")
	f.Fuzz(func(t *testing.T, text string) {
		if def, ok := parse("a.md", "", text); ok && def.len >= shortest {
			_, body, _ := front(strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "\r\n", "\n"))
			if got := newIndex([]config.Fingerprint{{Name: "x", Len: def.len, Sum: def.sum}}).find(body + "\nmore"); got != "x" {
				t.Fatalf("an agent's own text does not tell it: %q", body)
			}
		}
	})
}

func BenchmarkIdentify(b *testing.B) {
	dir := b.TempDir()
	for i := range 50 {
		_ = os.WriteFile(filepath.Join(dir, strconv.Itoa(i)+".md"), []byte("---\nname: a"+strconv.Itoa(i)+"\n---\n"+strings.Repeat("Do this and that. ", 100+i)), 0o600)
	}
	d := New([]Source{{dir, SourceUser}}, time.Now)
	r, err := messages.ParseRequest([]byte(`{"system":[{"type":"text","text":"x-anthropic-billing-header: a;"},{"type":"text","text":"You are Claude Code."},{"type":"text","text":"` + strings.Repeat("You do something else. ", 1000) + `"}],"messages":[{"role":"user","content":"x"}]}`))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		d.Identify(http.Header{}, r, nil)
	}
}
