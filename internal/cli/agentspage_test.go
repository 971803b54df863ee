package cli

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"signalbox/internal/testkit"
)

// block is a fenced block of a page.
type block struct{ kind, text string }

var fenced = regexp.MustCompile("(?ms)^```(sh|output)\n(.*?)^```$")

// TestAgentsPage runs the commands of docs/agents.md as they are written, one after the other in one shell, over a real Ollama; what
// they print must hold, word by word in its order, each line of the block that follows.
func TestAgentsPage(t *testing.T) {
	ollama := testkit.RealOllama(t)
	page, err := os.ReadFile("../../docs/agents.md")
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(ollama.URL+"/api/copy", "application/json", strings.NewReader(`{"source":"echo","destination":"codellama"}`))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%v %v", res, err)
	}
	_ = res.Body.Close()
	t.Cleanup(func() { // the other tests' server has no such model
		req, err := http.NewRequest(http.MethodDelete, ollama.URL+"/api/delete", strings.NewReader(`{"model":"codellama"}`))
		if err != nil {
			t.Fatal(err)
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
		}
	})
	var blocks []block
	for _, m := range fenced.FindAllStringSubmatch(string(page), -1) {
		blocks = append(blocks, block{m[1], m[2]})
	}
	var script strings.Builder
	script.WriteString("set -euo pipefail\n")
	for i, b := range blocks {
		if b.kind == "sh" {
			fmt.Fprintf(&script, "echo '@@ %d'\n%s", i, b.text)
		}
	}
	home := t.TempDir()
	t.Cleanup(func() { endAll(filepath.Join(home, ".oss")) })
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	_ = ln.Close()
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script.String())
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "SIGNALBOX_PORT=" + port, "OLLAMA_HOST=" + ollama.URL}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	said := map[int]string{}
	for _, part := range strings.Split("\n"+out.String(), "\n@@ ")[1:] {
		n, text, _ := strings.Cut(part, "\n")
		var i int
		if _, err := fmt.Sscan(n, &i); err != nil {
			t.Fatal(err)
		}
		said[i] = text
	}
	for i, b := range blocks {
		if b.kind != "output" {
			continue
		}
		for line := range strings.Lines(b.text) {
			if !holds(said[i-1], strings.Fields(line)) {
				t.Errorf("the commands\n%sdo not print %q but\n%s", blocks[i-1].text, strings.TrimSpace(line), said[i-1])
			}
		}
	}
}

// holds reports whether one line of a text has these words in this order.
func holds(text string, words []string) bool {
	for line := range strings.Lines(text) {
		rest, all := line, true
		for _, w := range words {
			i := strings.Index(rest, w)
			if i < 0 {
				all = false
				break
			}
			rest = rest[i+len(w):]
		}
		if all {
			return true
		}
	}
	return false
}
