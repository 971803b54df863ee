// Package examples proves that the examples run: it starts a gateway and does what their READMEs say.
package examples

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"signalbox/internal/cli"
)

// asGateway makes this test program a gateway: the real one, without a second build.
const asGateway = "EXAMPLES_TEST_IS_A_GATEWAY"

func TestMain(m *testing.M) {
	if os.Getenv(asGateway) != "" {
		os.Exit(cli.Main(cli.System("examples"), os.Args[1:]))
	}
	os.Exit(m.Run())
}

// gateway starts a gateway of its own and gives its address; it is stopped when the test has ended.
func gateway(t *testing.T, args ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cmd := exec.Command(self, append([]string{"serve", "--port", "0", "--json"}, args...)...)
	cmd.Env = []string{asGateway + "=1", "HOME=" + dir, "PATH=" + os.Getenv("PATH"), "SIGNALBOX_STATE_DIR=" + filepath.Join(dir, "state")}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		late := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		defer late.Stop()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the gateway ended with %v\n%s", err, log.String())
		}
	})
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	var ready struct{ URL string }
	if err := json.Unmarshal(line, &ready); err != nil || ready.URL == "" {
		t.Fatalf("serve said %q (%v)", line, err)
	}
	return ready.URL
}

func TestCurl(t *testing.T) {
	for _, program := range []string{"bash", "curl", "sed"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip("skipped: no " + program)
		}
	}
	script := exec.Command("bash", "curl/stream.sh")
	script.Env = append(os.Environ(), "BASE="+gateway(t))
	out, err := script.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	at := 0
	for _, want := range []string{"all ", `"type":"message_stop"`, `"stop_reason":"tool_use"`, "light ", `"type":"message_stop"`} {
		i := strings.Index(string(out)[at:], want)
		if i < 0 {
			t.Fatalf("%q is missing, or too early, in\n%s", want, out)
		}
		at += i + len(want)
	}
}

func TestTwoProviderFallback(t *testing.T) {
	base := gateway(t, "--config", "two-provider-fallback/config.yaml")
	resp, err := http.Post(base+"/v1/messages", "application/json",
		strings.NewReader(`{"model":"work","max_tokens":100,"messages":[{"role":"user","content":"Who answers?"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "Who answers?") {
		t.Errorf("%d %s %v", resp.StatusCode, body, err)
	}
	for header, want := range map[string]string{
		"X-Signalbox-Attempts": "2",
		"X-Signalbox-Fallback": "lab/qwen3:8b -> signalbox/echo; connect",
		"X-Signalbox-Target":   "signalbox/echo",
	} {
		if got := resp.Header.Get(header); got != want {
			t.Errorf("%s: %q, the README says %q", header, got, want)
		}
	}
}
