package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"signalbox/config"
)

// person is an Env of somebody at a terminal, in a world of its own.
func person(t *testing.T, vars map[string]string) (*Env, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	e := &Env{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Getenv: func(n string) string { return vars[n] },
		Environ: func() []string { return nil }, Home: t.TempDir(), Dir: t.TempDir(), Now: time.Now,
		IsTTY: func(io.Writer) bool { return true }, Executable: os.Executable, Version: "1.2.3"}
	e.StateDir = e.makeStateDir
	return e, &out
}

func TestWelcome(t *testing.T) {
	env, out := person(t, map[string]string{"NO_COLOR": "1", "OLLAMA_HOST": "127.0.0.1:9"})
	cfg, err := config.Load(config.LoadOptions{Getenv: env.Getenv, System: filepath.Join(t.TempDir(), "none")})
	if err != nil {
		t.Fatal(err)
	}
	line := serveLine{Port: 3456, URL: "http://127.0.0.1:3456"}
	welcome(env, cfg, line)
	for _, want := range []string{"signalbox 1.2.3", "✗ ollama", "Nothing to send requests to yet", "ollama serve", "export OPENROUTER_API_KEY",
		"export ANTHROPIC_BASE_URL=http://127.0.0.1:3456", "export ANTHROPIC_AUTH_TOKEN="} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the first screen does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out.String(), "\x1b") {
		t.Error("NO_COLOR was not honoured")
	}

	env, out = person(t, map[string]string{"OPENROUTER_API_KEY": "sk-or-secret", "OLLAMA_HOST": "127.0.0.1:9"})
	if cfg, err = config.Load(config.LoadOptions{Getenv: env.Getenv, System: filepath.Join(t.TempDir(), "none")}); err != nil {
		t.Fatal(err)
	}
	welcome(env, cfg, line)
	text := out.String()
	if !strings.Contains(text, "found by OPENROUTER_API_KEY") || strings.Contains(text, "Nothing to send") || strings.Contains(text, "sk-or-secret") || !strings.Contains(text, "\x1b[") {
		t.Errorf("got\n%s", text)
	}
}

func TestErrorsForPeople(t *testing.T) {
	env, out := person(t, map[string]string{"NO_COLOR": "1"})
	if code := Main(env, []string{"serve", "--nonsense"}); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	if got, want := out.String(), "signalbox: unknown flag: --nonsense\nTry: signalbox serve --help\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	out.Reset()
	if code := Main(env, []string{"serve", "--config", "none.yaml", "--json"}); code != exitUsage {
		t.Errorf("exit code %d", code)
	}
	if !strings.HasPrefix(out.String(), `{"error":"`) || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("it gives JSON to whoever asks for it: %q", out)
	}
}

func TestProcesses(t *testing.T) {
	begun, ok := startTicks(os.Getpid())
	if !ok {
		t.Skip("this system has no /proc")
	}
	env, _ := person(t, nil)
	me := pidRecord{PID: os.Getpid(), Port: 1, StartTime: begun}
	if !me.running(env) {
		t.Error("it knows itself")
	}
	me.StartTime++
	if me.running(env) {
		t.Error("it sees that a pid began at another moment")
	}
	parent, _ := startTicks(os.Getppid())
	if (pidRecord{PID: os.Getppid(), Port: 1, StartTime: parent}).running(env) {
		t.Error("it sees another program")
	}
	if got := printable("a\x1b[31m\nb"); got != "a[31mb" {
		t.Errorf("got %q", got)
	}
}
