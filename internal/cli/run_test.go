package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"signalbox/config"
)

// station is a home folder and a port, for real runs.
type station struct {
	home, state string
	port        int
}

func newStation(t *testing.T) *station {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &station{home: t.TempDir(), port: l.Addr().(*net.TCPAddr).Port}
	s.state = filepath.Join(s.home, ".oss")
	t.Cleanup(func() { endAll(s.state) })
	return s
}

func (s *station) command(args ...string) *exec.Cmd {
	cmd := exec.Command(firstInPath("signalbox"), args...)
	cmd.Dir = s.home
	cmd.Env = []string{"HOME=" + s.home, "PATH=" + os.Getenv("PATH"), "OLLAMA_HOST=127.0.0.1:9"}
	return cmd
}

// A visit is a run whose agent has said that it is there and waits for a line.
type visit struct {
	cmd *exec.Cmd
	in  interface{ Close() error }
}

func (s *station) visit(t *testing.T, script string) *visit {
	t.Helper()
	cmd := s.command("run", "--port", strconv.Itoa(s.port), "sh", "--", "-c", script)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := os.CreateTemp(t.TempDir(), "stderr") // a file: the agent of a killed run keeps it, and nobody waits for that
	if err != nil {
		t.Fatal(err)
	}
	defer errs.Close()
	cmd.Stderr = errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "up\n" {
		_ = in.Close()
		_ = cmd.Wait()
		said, _ := os.ReadFile(errs.Name())
		t.Fatalf("the agent said %q, %v\n%s", line, err, said)
	}
	return &visit{cmd, in}
}

func (s *station) gateway(t *testing.T) pidRecord {
	t.Helper()
	r, ok, err := readPID(pidPath(s.state, s.port))
	if err != nil || !ok {
		t.Fatalf("no gateway: %v", err)
	}
	return r
}

// gone waits until a process runs no more, whatever its program.
func gone(t *testing.T, r pidRecord) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if begun, ok := startTicks(r.PID); !ok || begun != r.StartTime {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Fatalf("pid %d still runs", r.PID)
}

func isThere(t *testing.T, r pidRecord) {
	t.Helper()
	if begun, ok := startTicks(r.PID); !ok || begun != r.StartTime {
		t.Fatal("the gateway has ended while a run is there")
	}
}

const waits = "echo up; read line; exit 0"

func TestRunsShareOneGateway(t *testing.T) {
	s := newStation(t)
	first := s.visit(t, waits)
	g := s.gateway(t)
	second := s.visit(t, waits)
	if again := s.gateway(t); again != g {
		t.Fatalf("a second gateway: %v and %v", g, again)
	}
	// The one that started it leaves first.
	_ = first.in.Close()
	if err := first.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	isThere(t, g)
	_ = second.in.Close()
	if err := second.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	gone(t, g)
}

func TestAKilledRunHoldsNothing(t *testing.T) {
	s := newStation(t)
	first := s.visit(t, waits)
	g := s.gateway(t)
	second := s.visit(t, waits)
	_ = first.cmd.Process.Kill()
	_ = first.cmd.Wait()
	isThere(t, g)
	_ = second.cmd.Process.Kill() // the last one, too: nobody is left to stop the gateway but itself
	_ = second.cmd.Wait()
	gone(t, g)
	third := s.visit(t, waits) // and the next begins anew
	g = s.gateway(t)
	_ = third.in.Close()
	if err := third.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	gone(t, g)
}

// Runs that begin while others end never meet a gateway that is about to go.
func TestRunsComeAndGo(t *testing.T) {
	s := newStation(t)
	const agents, times = 4, 4
	var all sync.WaitGroup
	for i := range agents {
		all.Go(func() {
			for range times {
				cmd := s.command("run", "--port", strconv.Itoa(s.port), "signalbox", "--", "health", "--port", strconv.Itoa(s.port))
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("agent %d: %v: %s", i, err, out)
					return
				}
			}
		})
	}
	all.Wait()
	if r, ok, _ := readPID(pidPath(s.state, s.port)); ok {
		gone(t, r)
	}
}

func TestRunHandsSignalsOn(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		s := newStation(t)
		v := s.visit(t, "trap 'exit 9' TERM INT; echo up; while :; do read line; done")
		g := s.gateway(t)
		if err := v.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = v.in.Close()
		var exit *exec.ExitError
		if err := v.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 9 {
			t.Errorf("after %v: %v, want the agent's exit code 9", sig, err)
		}
		gone(t, g)
	}
	s := newStation(t)
	v := s.visit(t, "echo up; kill -KILL $$")
	var exit *exec.ExitError
	if err := v.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 128+9 {
		t.Errorf("an agent that was killed: %v, want exit code 137", err)
	}
}

func TestProjectHeaderHasABound(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".oss"), 0o700); err != nil {
		t.Fatal(err)
	}
	fill := func(n int) {
		t.Helper()
		agents := map[string]string{}
		for i := range n {
			agents[fmt.Sprintf("oss:agent-%05d", i)] = "ollama/qwen3:8b"
		}
		data, err := json.Marshal(map[string]any{"models": map[string]any{"agents": agents}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, ".oss", "config.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := &Env{Dir: dir}
	fill(900)
	_, value, _, err := projectHeader(env)
	if err != nil {
		t.Fatal(err)
	}
	// Our own server takes it beside what a client sends.
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, err := config.DecodeProject(r.Header.Get(config.ProjectHeader)); err != nil || len(p.Agents) != 900 {
			t.Errorf("arrived: %v", err)
		}
	}))
	srv.Config.MaxHeaderBytes = 64 << 10
	srv.Start()
	defer srv.Close()
	req, _ := http.NewRequest(http.MethodGet, srv.URL, nil)
	req.Header.Set(config.ProjectHeader, value)
	req.Header.Set("X-Rest", strings.Repeat("x", 12<<10))
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("a header of %d bytes: %v, %v", len(value), res, err)
	}
	_ = res.Body.Close()
	fill(3000)
	_, _, _, err = projectHeader(env)
	var exit *ExitError
	if !errors.As(err, &exit) || exit.Code != exitUsage || !strings.Contains(err.Error(), "name fewer agents") {
		t.Errorf("too much says %v", err)
	}
}

func TestSettingsOfAnAgent(t *testing.T) {
	value := func(set []setting, name string) string {
		if i := slices.IndexFunc(set, func(s setting) bool { return s.Name == name }); i >= 0 {
			return set[i].Value
		}
		return "unset"
	}
	none := func(string) string { return "" }
	small := calling{url: "http://127.0.0.1:1", models: choice{main: "ollama/a"}, limits: limits{window: 32768}, local: true}
	set, notes := small.settings(none)
	for name, want := range map[string]string{
		"CLAUDE_CODE_MAX_CONTEXT_TOKENS": "32768", "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "unset", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "8192",
		"CLAUDE_CODE_ATTRIBUTION_HEADER": "0", "ANTHROPIC_DEFAULT_HAIKU_MODEL": "ollama/a", "CLAUDE_CODE_SUBAGENT_MODEL": "unset",
	} {
		if got := value(set, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if !strings.Contains(strings.Join(notes, ""), "small for an agent") {
		t.Errorf("nothing is said of a small window: %q", notes)
	}
	large := calling{url: "http://127.0.0.1:1", limits: limits{window: 262144, output: 65536}, ownAuth: true}
	set, _ = large.settings(func(name string) string {
		return map[string]string{"ANTHROPIC_BASE_URL": "http://other", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "5", "no_proxy": "corp", "NO_PROXY": "a, localhost"}[name]
	})
	for name, want := range map[string]string{
		"ANTHROPIC_BASE_URL": "http://127.0.0.1:1", "CLAUDE_CODE_AUTO_COMPACT_WINDOW": "262144", "CLAUDE_CODE_MAX_OUTPUT_TOKENS": "unset",
		"ANTHROPIC_AUTH_TOKEN": "unset", "ANTHROPIC_MODEL": "unset", "NO_PROXY": "a,localhost,corp,127.0.0.1,::1",
	} {
		if got := value(set, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	open := calling{kind: openCode, url: "http://127.0.0.1:1", models: choice{main: "ollama/a"}, limits: limits{window: 32768}, header: "h"}
	set, _ = open.settings(func(name string) string {
		return map[string]string{"OPENCODE_CONFIG_CONTENT": `{"theme":"x","provider":{"anthropic":{"options":{"timeout":5}}}}`}[name]
	})
	want := `{"model":"anthropic/ollama/a","provider":{"anthropic":{"models":{"ollama/a":{"limit":{"context":32768,"output":8192}}},"options":{"apiKey":"signalbox","baseURL":"http://127.0.0.1:1/v1","headers":{"x-signalbox-project":"h"},"timeout":5}}},"theme":"x"}`
	if got := value(set, "OPENCODE_CONFIG_CONTENT"); got != want {
		t.Errorf("opencode gets %s", got)
	}
	if got := withProject("a: 1\nX-Signalbox-Project: old\r\n\n", "new"); got != "a: 1\nx-signalbox-project: new" {
		t.Errorf("headers are %q", got)
	}
}

func TestOwnCredential(t *testing.T) {
	for name, c := range map[string]struct {
		vars map[string]string
		file string
		text string
		kind agentKind
		want bool
	}{
		"it finds none":                             {},
		"it finds a key":                            {vars: map[string]string{"ANTHROPIC_API_KEY": "k"}, want: true},
		"it passes over a token of our own":         {vars: map[string]string{"ANTHROPIC_AUTH_TOKEN": strangerToken}},
		"it finds a login":                          {file: ".claude/.credentials.json", text: "{}", want: true},
		"a program of an SDK knows no login":        {file: ".claude/.credentials.json", text: "{}", kind: genericAgent},
		"it finds a helper":                         {file: ".claude/settings.json", text: `{"apiKeyHelper":"x"}`, want: true},
		"it finds a key in the settings":            {file: ".claude/settings.json", text: `{"env":{"ANTHROPIC_API_KEY":"k","N":1}}`, want: true},
		"it passes over what setup wrote":           {file: ".claude/settings.json", text: `{"env":{"ANTHROPIC_AUTH_TOKEN":"signalbox"}}`},
		"it finds a key that was typed in":          {file: ".claude.json", text: `{"primaryApiKey":"k"}`, want: true},
		"it passes over a file that makes no sense": {file: ".claude/settings.json", text: `{{`},
	} {
		t.Run(name, func(t *testing.T) {
			home := t.TempDir()
			if c.file != "" {
				file := filepath.Join(home, c.file)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			env := &Env{Home: home, Dir: t.TempDir(), Getenv: func(n string) string { return c.vars[n] }}
			if got := ownCredential(env, c.kind); got != c.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
