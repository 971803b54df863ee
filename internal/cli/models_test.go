package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"signalbox/internal/testkit"
)

// served PORT AGENT TARGET sends requests as AGENT until TARGET answers them.
func scriptServed(ts *testscript.TestScript, _ bool, args []string) {
	last := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(10 * time.Millisecond) {
		req, err := http.NewRequest(http.MethodPost, "http://127.0.0.1:"+args[0]+"/v1/messages", strings.NewReader(`{"max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}`))
		ts.Check(err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("X-Signalbox-Agent", args[1])
		res, err := http.DefaultClient.Do(req)
		ts.Check(err)
		_ = res.Body.Close()
		if last = res.Header.Get("X-Signalbox-Target"); last == args[2] {
			return
		}
	}
	ts.Fatalf("%s is still served by %q", args[1], last)
}

// TestModelsSetLosesNothing: many commands at once, each with its own agent, and every one of them is in the file afterwards.
func TestModelsSetLosesNothing(t *testing.T) {
	env, _ := person(t, map[string]string{"OLLAMA_HOST": "127.0.0.1:9"})
	const n = 24
	var all sync.WaitGroup
	codes := make([]int, n)
	for i := range n {
		one, out := *env, new(bytes.Buffer)
		one.Stdout, one.Stderr = out, out
		all.Go(func() { codes[i] = Main(&one, []string{"models", "set", fmt.Sprint("agent-", i), "signalbox/echo"}) })
	}
	all.Wait()
	data, err := os.ReadFile(filepath.Join(env.Home, ".oss", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Models struct{ Agents map[string]string }
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for i, code := range codes {
		if code != exitOK || file.Models.Agents[fmt.Sprint("agent-", i)] != "signalbox/echo" {
			t.Errorf("agent-%d: exit code %d, in the file: %q", i, code, file.Models.Agents[fmt.Sprint("agent-", i)])
		}
	}
	if left, _ := filepath.Glob(filepath.Join(env.Home, ".oss", ".config.json.*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestRewriteRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.json")
	for name, c := range map[string]struct {
		prepare func() error
		want    string
	}{
		"a folder":               {func() error { return os.Mkdir(path, 0o700) }, "is no file"},
		"a write-protected file": {func() error { return os.WriteFile(path, []byte("{}"), 0o400) }, "chmod u+w"},
	} {
		if err := c.prepare(); err != nil {
			t.Fatal(err)
		}
		err := sharedFile{path: path, mode: 0o600, folderMode: 0o700}.rewrite(func(data []byte) ([]byte, error) { return []byte(`{"a":1}`), nil })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestModelsAtATerminal: colour on a terminal, none with NO_COLOR, and what an Ollama has beside what is set.
func TestModelsAtATerminal(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/tags" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, `{"models":[{"name":"qwen3:8b","model":"qwen3:8b","details":{"context_length":40960}},{"name":"llama3:latest","model":"llama3:latest"}]}`)
	}))
	defer up.Close()
	vars := map[string]string{"OLLAMA_HOST": up.URL, "NO_COLOR": "1"}
	env, out := person(t, vars)
	do := func(want int, args ...string) string {
		t.Helper()
		out.Reset()
		if code := Main(env, args); code != want {
			t.Fatalf("%q: exit code %d, want %d: %s", args, code, want, out)
		}
		return out.String()
	}
	if got := do(exitOK, "models", "set", "a", "ollama/llama3"); strings.Contains(got, "!") || !strings.Contains(got, "✓ agent a runs on ollama/llama3 (~/.oss/config.json)") {
		t.Errorf("set said %q", got)
	}
	if got := do(exitOK, "models", "set", "b", "ollama/codellama"); !strings.Contains(got, "! ollama has no model codellama yet; run: ollama pull codellama") {
		t.Errorf("set said %q", got)
	}
	if got := do(exitOK, "models", "set", "c", "claude", "--effort", "low"); !strings.Contains(got, "do nothing at claude") {
		t.Errorf("set said %q", got)
	}
	got := do(exitOK, "models", "--port", "9") // nobody listens there
	for _, want := range []string{"agent  b     ollama/codellama", "ollama/qwen3:8b", "40,960", "not pulled; run: ollama pull codellama"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Error("colour in spite of NO_COLOR")
	}
	vars["NO_COLOR"] = ""
	if got := do(exitOK, "models", "list", "--port", "9"); !strings.Contains(got, "\x1b[") {
		t.Error("no colour on a terminal")
	}
	if got := do(exitOK, "models", "unset", "a"); !strings.Contains(got, "no target of its own any more") {
		t.Errorf("unset said %q", got)
	}
}

// TestModelsWithARealOllama: set, listed, answered.
func TestModelsWithARealOllama(t *testing.T) {
	real := testkit.RealOllama(t)
	env, out := person(t, map[string]string{"OLLAMA_HOST": real.URL, "NO_COLOR": "1"})
	do := func(want int, args ...string) string {
		t.Helper()
		out.Reset()
		if code := Main(env, append(args, "--port", "9")); code != want {
			t.Fatalf("%q: exit code %d, want %d: %s", args, code, want, out)
		}
		return out.String()
	}
	if got := do(exitOK, "models", "list", "--provider", "ollama"); !strings.Contains(got, "ollama/"+testkit.EchoModel) {
		t.Errorf("list said %s", got)
	}
	if got := do(exitOK, "models", "test", "ollama/"+testkit.EchoModel); !strings.Contains(got, "answers") || !strings.Contains(got, "$0.00") {
		t.Errorf("test said %s", got)
	}
	if got := do(exitNoTarget, "models", "test", "ollama/codellama"); !strings.Contains(got, "ollama pull codellama") {
		t.Errorf("test said %s", got)
	}
}
