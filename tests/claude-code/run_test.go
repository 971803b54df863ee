package claudecode

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// launched runs Claude Code through signalbox run, in a home folder without anything, and gives what it printed.
func launched(t *testing.T, dir, home string, port int, flags, args []string) string {
	t.Helper()
	bin := filepath.Join(home, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(client, filepath.Join(bin, "claude")); err != nil && !os.IsExist(err) {
		t.Fatal(err)
	}
	whole := append([]string{"run", "claude", "--port", strconv.Itoa(port)}, flags...)
	cmd := exec.Command(binary, append(append(whole, "--"), args...)...)
	cmd.Dir = dir
	cmd.Env = []string{
		"HOME=" + home, "PATH=" + bin + ":/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TERM=dumb", "TMPDIR=" + home,
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1", "IS_SANDBOX=1",
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	err := cmd.Wait()
	late.Stop()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, shortened(out.String()), errs.String())
	}
	return out.String()
}

// One command on a machine where nothing runs and nobody is logged in: the gateway is there, the model answers, Claude Code
// knows its window, and afterwards the gateway is gone.
func TestRunIsOneCommand(t *testing.T) {
	up := newUpstream(t, ollamaChat, func(*chat) answer { return answer{says: "Good morning from the lab."} })
	dir, home := t.TempDir(), t.TempDir()
	file := filepath.Join(home, "config.yaml")
	if err := os.WriteFile(file, []byte("providers:\n"+up.config("lab")), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	flags := []string{"--config", file, "--model", "lab/clever"}

	if said := launched(t, dir, home, port, flags, []string{"-p", "good morning", "--output-format", "json"}); !strings.Contains(said, "Good morning from the lab.") {
		t.Errorf("said %s", shortened(said))
	}
	all := up.requests()
	if len(all) == 0 || all[0].Model != "clever" {
		t.Fatalf("%d requests upstream", len(all))
	}
	if said := launched(t, dir, home, port, flags, []string{"-p", "/context"}); !strings.Contains(said, "/ 131.1k") || !strings.Contains(said, "lab/clever") {
		t.Errorf("the window of the model is not known:\n%s", shortened(said))
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			return
		}
		_ = c.Close()
		if time.Now().After(deadline) {
			t.Fatal("the gateway was not stopped")
		}
		<-time.After(10 * time.Millisecond)
	}
}
