package claudecode

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long one run of Claude Code may take. They take a few seconds each; its own retries would take minutes.
const patience = 100 * time.Second

// user is a person at a machine of their own: a home folder without settings, and a project.
type user struct {
	gateway   *gateway
	home, dir string
	env       []string // beyond the usual
}

func newUser(t *testing.T, g *gateway, env ...string) *user {
	t.Helper()
	return &user{gateway: g, home: t.TempDir(), dir: t.TempDir(), env: env}
}

// file puts a file into the project and returns its path.
func (u *user) file(t *testing.T, name, content string) string {
	t.Helper()
	p := filepath.Join(u.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

func (u *user) read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(u.dir, name))
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

// outcome is what a run said: the lines of stream-json.
type outcome struct {
	Subtype        string
	IsError        bool `json:"is_error"`
	Result         string
	SessionID      string `json:"session_id"`
	TerminalReason string `json:"terminal_reason"`
	Usage          struct {
		InputTokens  int `json:"input_tokens"`
		OutputTokens int `json:"output_tokens"`
	}
	ModelUsage map[string]struct{ InputTokens, OutputTokens int }

	code   int
	events []event
	raw    string
}

// event is one line of stream-json.
type event struct {
	Type    string
	Subtype string
	Message struct{ Content json.RawMessage }
}

// block is a block of an event's message.
type block struct {
	Type, Name string
	ToolUseID  string `json:"tool_use_id"`
}

func (e event) blocks() (bs []block) {
	_ = json.Unmarshal(e.Message.Content, &bs)
	return bs
}

// calls are the names of the tools that the client was asked to run.
func (o *outcome) calls() (names []string) {
	for _, e := range o.events {
		if e.Type == "assistant" {
			for _, b := range e.blocks() {
				if b.Type == "tool_use" {
					names = append(names, b.Name)
				}
			}
		}
	}
	return names
}

// results are the tool results that the client shows.
func (o *outcome) results() (rs []block) {
	for _, e := range o.events {
		if e.Type == "user" {
			for _, b := range e.blocks() {
				if b.Type == "tool_result" {
					rs = append(rs, b)
				}
			}
		}
	}
	return rs
}

// has says whether an event of this subtype came.
func (o *outcome) has(subtype string) bool {
	for _, e := range o.events {
		if e.Subtype == subtype {
			return true
		}
	}
	return false
}

// ask runs Claude Code with one prompt and reads what it says. Nothing of it is left running.
func (u *user) ask(t *testing.T, prompt, model string, args ...string) *outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args = append([]string{"-p", prompt, "--model", model, "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"}, args...)
	cmd := exec.CommandContext(ctx, client, args...)
	cmd.Dir = u.dir
	cmd.Env = append([]string{
		"HOME=" + u.home, "PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "TERM=dumb", "SHELL=/bin/bash", "TMPDIR=" + u.home,
		"ANTHROPIC_BASE_URL=" + u.gateway.url, "ANTHROPIC_API_KEY=sk-of-the-caller",
		"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1",
		"IS_SANDBOX=1", // as root it would not skip permissions otherwise
	}, u.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	began := time.Now()
	err := cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it started and left behind
	if ctx.Err() != nil {
		t.Fatalf("Claude Code did not end in %v\n%s%s", patience, out.String(), errs.String())
	}
	t.Logf("Claude Code took %.1fs", time.Since(began).Seconds())
	o := &outcome{raw: out.String()}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		o.code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	ended := false
	for line := range strings.Lines(out.String()) {
		var e event
		if json.Unmarshal([]byte(line), &e) != nil {
			continue
		}
		o.events = append(o.events, e)
		if e.Type == "result" {
			ended = true
			if err := json.Unmarshal([]byte(line), o); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("Claude Code said:\n%s%s", shortened(out.String()), errs.String())
		}
	})
	if !ended {
		t.Fatalf("Claude Code gave no result: %v", err)
	}
	return o
}

// succeeds checks the end of a run that must go well.
func (o *outcome) succeeds(t *testing.T, says string) {
	t.Helper()
	if o.code != 0 || o.IsError || o.Subtype != "success" {
		t.Errorf("ended with %d, %s, is_error %v", o.code, o.Subtype, o.IsError)
	}
	if !strings.Contains(o.Result, says) {
		t.Errorf("says %q, want %q in it", o.Result, says)
	}
}

// shortened keeps a log readable: the lines hold whole tool lists.
func shortened(s string) string {
	const most, width = 20, 300 // the client's own prompts are long, and say nothing about a failure
	var b strings.Builder
	n := 0
	for line := range strings.Lines(s) {
		if n++; n > most {
			continue
		}
		if len(line) > width {
			line = fmt.Sprintf("%s … (%d bytes)\n", line[:width], len(line))
		}
		b.WriteString(line)
	}
	if n > most {
		fmt.Fprintf(&b, "… (%d lines more)\n", n-most)
	}
	return b.String()
}
