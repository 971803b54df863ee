// Package cli is the command line: one file a command. Each command speaks to a running gateway through its pid file, its
// port and its admin API; serve alone builds one. What a gateway does is package server's; what may be set is config's.
//
// Read root.go for the tree of commands, env.go for what a command may touch, serve.go for the one that matters.
package cli

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/term"
)

// Env is the world as a command sees it, so that tests can give it another one.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Getenv reads the environment.
	Getenv func(string) string
	// Environ is the whole environment as the operating system lists it, for a child.
	Environ func() []string
	// Home is the user's folder; empty when there is none, as in a bare container.
	Home string
	// Dir is the folder the command was started in.
	Dir string
	// StateDir is the folder of pid files, logs and the ledger: SIGNALBOX_STATE_DIR, else .oss under Home. It is made with
	// mode 0700 when it does not exist.
	StateDir func() (string, error)
	// Now is the clock.
	Now func() time.Time
	// IsTTY reports whether a writer is a terminal.
	IsTTY func(io.Writer) bool
	// Executable is the path of this program, for serve --background.
	Executable func() (string, error)
	// Version is what version prints.
	Version string
}

// System is the real world. The version is that of the build.
func System(version string) *Env {
	home, _ := os.UserHomeDir() // no home is fine: StateDir says what to set
	dir, _ := os.Getwd()
	e := &Env{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		Getenv: os.Getenv, Environ: os.Environ,
		Home: home, Dir: dir,
		Now: time.Now, IsTTY: isTerminal, Executable: os.Executable,
		Version: version,
	}
	e.StateDir = e.makeStateDir
	return e
}

// Color reports whether w should be written to in colour: a terminal, and NO_COLOR is not set.
func (e *Env) Color(w io.Writer) bool {
	return e.IsTTY(w) && e.Getenv("NO_COLOR") == "" && e.Getenv("TERM") != "dumb"
}

// makeStateDir leaves the mode of a folder that exists as it is: the operator may share it on purpose, and what is secret in
// it has a mode of its own.
func (e *Env) makeStateDir() (string, error) {
	dir, err := e.statePath()
	if err != nil {
		return "", err
	}
	return dir, os.MkdirAll(dir, 0o700)
}

// statePath is where the state directory is, or would be.
func (e *Env) statePath() (string, error) {
	dir := e.Getenv("SIGNALBOX_STATE_DIR")
	if dir == "" {
		if e.Home == "" {
			return "", errors.New("no home directory: set SIGNALBOX_STATE_DIR to a folder for pid files and the ledger")
		}
		dir = filepath.Join(e.Home, ".oss")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(e.Dir, dir)
	}
	return dir, nil
}

// isTerminal asks the operating system, for files only.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
