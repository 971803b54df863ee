package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary stand in for the program, so that scripts run real processes.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"signalbox": func() { os.Exit(Main(System("test"), os.Args[1:])) },
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			e.Setenv("HOME", home)
			// The real one may run on this machine; here nothing answers.
			e.Setenv("OLLAMA_HOST", "127.0.0.1:9")
			// Whatever a script leaves behind ends with it.
			e.Defer(func() { endAll(filepath.Join(home, ".oss")) })
			return os.MkdirAll(home, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"freeport": scriptFreePort, "await": scriptAwait, "jsonline": scriptJSONLine, "record": scriptRecord, "mode": scriptMode,
			"occupy": scriptOccupy, "argv": scriptArgv, "race": scriptRace, "shell": scriptShell, "until": scriptUntil,
			"served": scriptServed,
		},
	})
}

func endAll(state string) {
	files, _ := filepath.Glob(filepath.Join(state, "*.pid"))
	for _, file := range files {
		if r, ok, err := readPID(file); err == nil && ok && r.PID != os.Getpid() {
			if begun, ok := startTicks(r.PID); ok && begun == r.StartTime {
				_ = syscall.Kill(r.PID, syscall.SIGKILL)
			}
		}
	}
}

// freeport VAR sets VAR to a port that nobody has.
func scriptFreePort(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	defer l.Close()
	ts.Setenv(args[0], strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
}

// await PORT waits until a gateway answers there; ! await PORT until none does.
func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		res, err := http.Get("http://127.0.0.1:" + args[0] + "/livez")
		if err == nil {
			_ = res.Body.Close()
		}
		if (err == nil) != neg {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	ts.Fatalf("port %s did not change", args[0])
}

// jsonline FILE key=value… checks that FILE (stdout, stderr) is one line of JSON with these members; key alone asks for a
// member that is there.
func scriptJSONLine(ts *testscript.TestScript, _ bool, args []string) {
	text := strings.TrimSuffix(ts.ReadFile(args[0]), "\n")
	if strings.Contains(text, "\n") {
		ts.Fatalf("%d lines, want one:\n%s", strings.Count(text, "\n")+1, text)
	}
	var m map[string]any
	ts.Check(json.Unmarshal([]byte(text), &m))
	for _, arg := range args[1:] {
		key, want, has := strings.Cut(arg, "=")
		got, ok := m[key]
		if !ok || has && fmt.Sprint(got) != want {
			ts.Fatalf("%s is %v (there: %v), want %q in %s", key, got, ok, want, text)
		}
	}
}

// record PORT VAR sets VAR to the pid that the pid file of PORT holds.
func scriptRecord(ts *testscript.TestScript, _ bool, args []string) {
	port, err := strconv.Atoi(args[0])
	ts.Check(err)
	r, ok, err := readPID(pidPath(filepath.Join(ts.Getenv("HOME"), ".oss"), port))
	ts.Check(err)
	if !ok {
		ts.Fatalf("no record for port %d", port)
	}
	ts.Setenv(args[1], strconv.Itoa(r.PID))
}

// mode OCTAL FILE checks the permissions of a file.
func scriptMode(ts *testscript.TestScript, _ bool, args []string) {
	st, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", st.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// occupy PORT listens there until the script ends.
func scriptOccupy(ts *testscript.TestScript, _ bool, args []string) {
	l, err := net.Listen("tcp", "127.0.0.1:"+args[0])
	ts.Check(err)
	ts.Defer(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
}

// argv PID TEXT checks that a process's command line holds TEXT; ! argv that neither it nor its environment does.
func scriptArgv(ts *testscript.TestScript, neg bool, args []string) {
	line, err := os.ReadFile("/proc/" + args[0] + "/cmdline")
	ts.Check(err)
	environ, err := os.ReadFile("/proc/" + args[0] + "/environ")
	ts.Check(err)
	if neg {
		line = append(line, environ...)
	}
	if bytes.Contains(line, []byte(args[1])) == neg {
		ts.Fatalf("command line %q and %q", line, args[1])
	}
}

// race N CODE… runs "signalbox start --port $PORT" N times at once and checks the sorted exit codes.
func scriptRace(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	codes := make(chan int, n)
	for range n {
		go func() {
			var out bytes.Buffer
			env := System("test")
			exe, err := filepath.Abs(firstInPath("signalbox"))
			if err != nil {
				codes <- -1
				return
			}
			home := ts.Getenv("HOME")
			env.Stdin, env.Stdout, env.Stderr = strings.NewReader(""), &out, &out
			env.Getenv = func(name string) string {
				return map[string]string{"HOME": home, "OLLAMA_HOST": "127.0.0.1:9"}[name]
			}
			env.Environ = func() []string { return []string{"HOME=" + home, "OLLAMA_HOST=127.0.0.1:9", "PATH=/usr/bin:/bin"} }
			env.Home, env.Dir = home, home
			env.Executable = func() (string, error) { return exe, nil }
			codes <- Main(env, []string{"start", "--port", ts.Getenv("PORT")})
		}()
	}
	counts := map[int]int{}
	for range n {
		counts[<-codes]++
	}
	if counts[exitOK] != 1 || counts[exitPort] != n-1 {
		ts.Fatalf("exit codes and how often: %v; want one 0 and %d times 3", counts, n-1)
	}
}

func firstInPath(name string) string {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if p := filepath.Join(dir, name); dir != "" {
			if _, err := os.Stat(p); err == nil {
				return p
			}
		}
	}
	return name
}

// shell CODE ARGS… runs signalbox and checks its exit code; stdout and stderr can be looked at afterwards.
func scriptShell(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec("signalbox", args[1:]...)
	code := 0
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// until PATTERN repeats "signalbox status --port $PORT" until its output matches.
func scriptUntil(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile(args[0])
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if ts.Exec("signalbox", "status", "--port", ts.Getenv("PORT")) == nil && want.MatchString(ts.ReadFile("stdout")) {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	ts.Fatalf("status never said %s", args[0])
}
