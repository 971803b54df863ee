// Package claudecode drives the gateway with the real Claude Code, headless: what it shows and does with an answer is what
// its users see. The upstreams are scripted servers, each on a socket of its own, and a real Ollama.
//
// The gateway is SIGNALBOX_BIN, or is built from the tree. SIGNALBOX_TEST_CLAUDE names the client; scripts/get-claude-code.sh
// installs it where it is looked for otherwise.
package claudecode

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// binary is the gateway that all tests start, client the program of Claude Code; empty when there is none.
var binary, client string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	client = findClient()
	if client == "" {
		if os.Getenv("SIGNALBOX_REQUIRE_REAL") == "1" {
			return 0, fmt.Errorf("no Claude Code, but SIGNALBOX_REQUIRE_REAL=1 asks for it (scripts/get-claude-code.sh installs it)")
		}
		fmt.Println("skipped: no Claude Code (scripts/get-claude-code.sh installs it)")
		return 0, nil
	}
	dir, err := os.MkdirTemp("", "signalbox-claude-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if binary = os.Getenv("SIGNALBOX_BIN"); binary == "" {
		binary = filepath.Join(dir, "signalbox")
		if out, err := exec.Command("go", "build", "-C", "../..", "-tags", "nomsgpack", "-o", binary, "./cmd/signalbox").CombinedOutput(); err != nil {
			return 0, fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	return m.Run(), nil
}

// findClient is the program that SIGNALBOX_TEST_CLAUDE names, else the one that scripts/get-claude-code.sh leaves.
func findClient() string {
	if p := os.Getenv("SIGNALBOX_TEST_CLAUDE"); p != "" {
		return p
	}
	script, err := os.ReadFile("../../scripts/get-claude-code.sh")
	if err != nil {
		return ""
	}
	version := regexp.MustCompile(`(?m)^version=(\S+)`).FindSubmatch(script)
	if version == nil {
		return ""
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, _ := os.UserHomeDir()
		cache = filepath.Join(home, ".cache")
	}
	p := filepath.Join(cache, "signalbox-test", "claude-code-"+string(version[1]), "claude")
	if _, err := os.Stat(p); err != nil {
		return ""
	}
	return p
}

// gateway is one running signalbox.
type gateway struct {
	url, home string
	log       *lines
}

// serve starts a gateway with this configuration on a free port, and stops it when the test ends. Its log is shown when the
// test fails.
func serve(t *testing.T, config string) *gateway {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "serve", "--config", file, "--port", "0", "--json")
	cmd.Env = []string{"HOME=" + dir, "SIGNALBOX_STATE_DIR=" + filepath.Join(dir, "state")}
	cmd.Dir = dir
	g := &gateway{home: dir, log: &lines{}}
	cmd.Stderr = g.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the gateway ended badly: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", g.log)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	var said struct{ URL string }
	if err == nil {
		err = json.Unmarshal([]byte(line), &said)
	}
	if err != nil || said.URL == "" {
		t.Fatalf("the gateway did not start: %v: %q\n%s", err, line, g.log)
	}
	g.url = said.URL
	return g
}

// lines is a writer that keeps what a program says while others may read it.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
