package testkit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// OllamaVersion is the version that scripts/get-ollama.sh builds and that the contract tests were written against.
const OllamaVersion = "v0.17.4"

// The models that every real server of RealOllama has; tests/models says how they behave.
const (
	EchoModel  = "echo"  // says the last message again
	AgentModel = "agent" // thinks when asked to, calls the first tool, reports its result
	CoderModel = "coder" // cannot think; calls Bash once
)

// Ollama is a real server on a loopback port of its own.
type Ollama struct {
	URL string // http://127.0.0.1:port
}

var realOllama struct {
	once   sync.Once
	server *Ollama
	err    error
	// life is held open for as long as the test binary runs: the server's guard reads its other end.
	life io.WriteCloser
}

// RealOllama gives the real Ollama of this test binary, started on first use with the models of tests/models. It stops when
// the test binary ends, however that ends. Without a server program the test is skipped; where SIGNALBOX_REQUIRE_REAL=1 says
// that there must be one, it fails.
func RealOllama(t testing.TB) *Ollama {
	t.Helper()
	program := ollamaProgram()
	if program == "" {
		if os.Getenv("SIGNALBOX_REQUIRE_REAL") == "1" {
			t.Fatal("no real Ollama, but SIGNALBOX_REQUIRE_REAL=1 asks for one (scripts/get-ollama.sh builds one)")
		}
		t.Skip("skipped: no real Ollama (scripts/get-ollama.sh builds one)")
	}
	realOllama.once.Do(func() { realOllama.server, realOllama.err = startOllama(program) })
	if realOllama.err != nil {
		t.Fatalf("the real Ollama did not start: %v", realOllama.err)
	}
	return realOllama.server
}

// ollamaProgram is the server to use: the one that SIGNALBOX_TEST_OLLAMA names, else the built one; empty when there is none.
func ollamaProgram() string {
	if p := os.Getenv("SIGNALBOX_TEST_OLLAMA"); p != "" {
		return p
	}
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		cache = filepath.Join(home, ".cache")
	}
	p := filepath.Join(cache, "signalbox-test", "ollama-"+OllamaVersion, "ollama")
	if info, err := os.Stat(p); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	return p
}

// guard runs the server and ends it, by its pid, when the pipe on its standard input closes. The system closes that pipe
// even when the test binary is killed or panics, so no server is ever left behind.
const guard = `trap '' INT
"$1" serve >"$2/serve.log" 2>&1 </dev/null &
pid=$!
read -r _
kill "$pid"
wait "$pid"
rm -rf "$2"`

func startOllama(program string) (*Ollama, error) {
	models, err := modelsFolder()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "signalbox-ollama-")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	env := append(os.Environ(), "HOME="+dir, "OLLAMA_MODELS="+filepath.Join(dir, "models"), "OLLAMA_HOST="+address, "OLLAMA_NO_CLOUD=1")
	cmd := exec.Command("/bin/sh", "-c", guard, "ollama-guard", program, dir)
	cmd.Env = env
	if realOllama.life, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	server := &Ollama{URL: "http://" + address}
	fail := func(err error) (*Ollama, error) {
		said, _ := os.ReadFile(filepath.Join(dir, "serve.log"))
		_ = realOllama.life.Close()
		_ = cmd.Wait()
		return nil, fmt.Errorf("%w; the server said: %s", err, said[max(0, len(said)-2000):])
	}
	if err := server.await(); err != nil {
		return fail(err)
	}
	for _, name := range []string{EchoModel, AgentModel, CoderModel} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		create := exec.CommandContext(ctx, program, "create", name, "-f", filepath.Join(models, "Modelfile."+name))
		create.Env = env
		out, err := create.CombinedOutput()
		cancel()
		if err != nil {
			return fail(fmt.Errorf("create %s: %w: %s", name, err, bytes.TrimSpace(out)))
		}
	}
	return server, nil
}

// await returns once the server answers. It asks again and again, since a process has no other way to say that it is ready.
func (o *Ollama) await() error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	give := time.NewTimer(time.Minute)
	defer give.Stop()
	for {
		res, err := client.Get(o.URL + "/api/version")
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("/api/version answers %s", res.Status)
		}
		select {
		case <-tick.C:
		case <-give.C:
			return fmt.Errorf("no answer within a minute: %w", err)
		}
	}
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// modelsFolder finds tests/models from wherever in the repository a test runs.
func modelsFolder() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		models := filepath.Join(dir, "tests", "models")
		if _, err := os.Stat(filepath.Join(models, "Modelfile."+EchoModel)); err == nil {
			return models, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no folder tests/models above the test")
		}
		dir = parent
	}
}
