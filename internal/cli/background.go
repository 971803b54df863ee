package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"signalbox/config"
)

// startLimit is how long a child may take until it answers.
const startLimit = 30 * time.Second

// maxLog is the size at which a log file is put aside when a gateway starts.
const maxLog = 10 << 20

// background runs this program again, detached, and returns once it answers. An error of the child becomes ours, with its
// exit code.
func background(ctx context.Context, env *Env, cmd *cobra.Command, f *serveFlags) error {
	options := f.options(env, cmd)
	cfg, err := config.Load(options) // a mistake is better told from here than out of a log file
	if err != nil {
		return withPort(err, options)
	}
	line, logFile, err := launch(ctx, env, child{args: f.childArgs(cmd), key: f.key, dir: env.Dir, environ: env.Environ(), port: cfg.Port()})
	if err != nil {
		return err
	}
	if machine(env, cmd) {
		writeJSON(env.Stdout, line)
		return nil
	}
	started(env, line, logFile)
	return nil
}

// A child is a gateway to be started in the background.
type child struct {
	args    []string // of this program; the key is not among them
	key     string   // goes in on its stdin
	dir     string   // the folder it stands in
	environ []string
	port    int // 0 for any
}

// launch starts a child and returns what it said and where its log is, once it answers /livez.
func launch(ctx context.Context, env *Env, c child) (line serveLine, logFile string, err error) {
	state, err := env.StateDir()
	if err != nil {
		return line, "", &ExitError{Code: exitFailure, Err: fmt.Errorf("state directory: %w", err), Port: c.port}
	}
	exe, err := env.Executable()
	if err != nil {
		return line, "", err
	}
	logFile = logPath(state, c.port)
	if c.port == 0 {
		logFile = logPath(state, 0) + "." + strconv.Itoa(os.Getpid()) // renamed once the port is known
	}
	out, err := openLog(logFile)
	if err != nil {
		return line, "", &ExitError{Code: exitFailure, Err: fmt.Errorf("log file: %w", err), Port: c.port}
	}
	defer out.Close()
	began, err := out.Seek(0, io.SeekEnd)
	if err != nil {
		return line, "", err
	}

	ready, tell, err := os.Pipe()
	if err != nil {
		return line, "", err
	}
	defer ready.Close()
	process := exec.Command(exe, c.args...)
	process.Dir, process.Env = c.dir, c.environ
	process.Stdout, process.Stderr = out, out
	process.Stdin = strings.NewReader(c.key)
	process.ExtraFiles = []*os.File{tell} // fd 3
	process.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err = process.Start()
	_ = tell.Close() // ours: the end of the pipe must mean the end of the child's
	if err != nil {
		return line, "", err
	}
	line, err = awaitReady(ctx, ready)
	if err == nil {
		err = awaitLive(ctx, line.URL)
	}
	if err != nil {
		return line, "", childFailed(process, err, logFile, began, c.port)
	}
	if c.port == 0 {
		if os.Rename(logFile, logPath(state, line.Port)) == nil {
			logFile = logPath(state, line.Port)
		}
	}
	_ = process.Process.Release()
	line.Background = true
	return line, logFile, nil
}

// childArgs are our own flags without the key: argv can be read by everybody.
func (f *serveFlags) childArgs(cmd *cobra.Command) []string {
	args := []string{"serve", "--json", "--ready-fd", "3"}
	pass := func(name, value string) {
		if cmd.Flags().Changed(name) {
			args = append(args, "--"+name+"="+value)
		}
	}
	pass("config", f.file)
	pass("host", f.host)
	pass("port", strconv.Itoa(f.port))
	pass("model", f.model)
	pass("api-key-file", f.keyFile)
	pass("base-url", f.baseURL)
	pass("grace", f.grace.String())
	pass("allow-open", strconv.FormatBool(f.allowOpen))
	if f.key != "" {
		args = append(args, "--api-key-stdin")
	}
	return args
}

// openLog opens the child's log for adding to it; a large one is put aside first.
func openLog(path string) (*os.File, error) {
	if st, err := os.Lstat(path); err == nil && st.Mode().IsRegular() && st.Size() > maxLog {
		_ = os.Rename(path, path+".old")
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	return f, f.Chmod(0o600)
}

// childError is what a child said when it failed.
type childError struct{ errorLine }

func (e *childError) Error() string { return e.errorLine.Error }

// awaitReady reads the one line that the child writes: that it can answer, or why not. io.EOF means that it ended without a word.
func awaitReady(ctx context.Context, ready *os.File) (serveLine, error) {
	type result struct {
		text []byte
		err  error
	}
	got := make(chan result, 1)
	go func() {
		text, err := bufio.NewReader(io.LimitReader(ready, 64<<10)).ReadBytes('\n')
		got <- result{text, err}
	}()
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case r := <-got:
		if r.err != nil {
			return serveLine{}, r.err
		}
		var bad errorLine
		if err := json.Unmarshal(r.text, &bad); err == nil && bad.Error != "" {
			return serveLine{}, &childError{bad}
		}
		var line serveLine
		err := json.Unmarshal(r.text, &line)
		return line, err
	case <-limit.C:
		return serveLine{}, fmt.Errorf("the gateway did not answer within %s", startLimit)
	case <-ctx.Done():
		return serveLine{}, errors.New("interrupted")
	}
}

// awaitLive asks /livez until it answers.
func awaitLive(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for {
		a, err := ask(url, "/livez", config.Secret{}, time.Second)
		if err == nil && a.status == 200 && a.ours {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s/livez does not answer", url)
		case <-pause.C:
		}
	}
}

// childFailed ends the child if it still runs, and gives its error with its exit code.
func childFailed(child *exec.Cmd, err error, logFile string, began int64, port int) error {
	var said *childError
	if !errors.As(err, &said) && !errors.Is(err, io.EOF) {
		_ = child.Process.Signal(syscall.SIGTERM) // it hangs, or we were told to give up
		time.AfterFunc(5*time.Second, func() { _ = child.Process.Kill() })
	}
	_ = child.Wait()
	code := child.ProcessState.ExitCode()
	if code <= 0 {
		code = exitFailure
	}
	out := &ExitError{Code: code, Err: err, Port: port}
	switch {
	case said != nil:
		out.PID = said.PID
		if said.Port != 0 {
			out.Port = said.Port
		}
	case errors.Is(err, io.EOF):
		out.Err = fmt.Errorf("the gateway ended before it could answer: %s (log: %s)", lastLine(logFile, began), logFile)
	default:
		out.Err = fmt.Errorf("%w (log: %s)", err, logFile)
	}
	return out
}

// lastLine is the last thing in the log that the child wrote.
func lastLine(path string, from int64) string {
	f, err := os.Open(path)
	if err != nil {
		return "no log"
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil {
		from = max(from, st.Size()-4096)
	}
	text, err := io.ReadAll(io.NewSectionReader(f, from, 4096))
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if last := lines[len(lines)-1]; err == nil && len(last) > 0 {
		return printable(string(last))
	}
	return "it said nothing"
}
