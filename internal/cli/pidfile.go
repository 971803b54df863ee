package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// DefaultPort is the port of serve when nothing says otherwise; its pid file has the plain name.
const DefaultPort = 3456

// A pidRecord is what a pid file holds: enough to find the gateway, nothing that is worth stealing.
type pidRecord struct {
	PID  int `json:"pid"`
	Port int `json:"port"`
	// StartTime is when the process began, in clock ticks since boot (field 22 of /proc/<pid>/stat), so that a pid that was
	// given to another process is recognised whatever the clock has done; 0 where the system does not tell.
	StartTime int64 `json:"start_time"`
}

func pidPath(stateDir string, port int) string { return filepath.Join(stateDir, stem(port)+".pid") }

func logPath(stateDir string, port int) string {
	return filepath.Join(stateDir, "proxy-"+strconv.Itoa(port)+".log")
}

func stem(port int) string {
	if port == DefaultPort {
		return "proxy"
	}
	return "proxy-" + strconv.Itoa(port)
}

// errSymlink refuses a pid file that is a link: following it would let its maker choose which file we write.
var errSymlink = errors.New("is a symbolic link; remove it")

// readPID gives the record of a pid file. A missing file and one that makes no sense are both no record; a symbolic link is an
// error.
func readPID(path string) (pidRecord, bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return pidRecord{}, false, nil
	case errors.Is(err, syscall.ELOOP):
		return pidRecord{}, false, fmt.Errorf("%s %w", path, errSymlink)
	case err != nil:
		return pidRecord{}, false, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return pidRecord{}, false, fmt.Errorf("%s is no file; remove it", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return pidRecord{}, false, err
	}
	var r pidRecord
	if json.Unmarshal(data, &r) != nil || r.PID < 1 || r.Port < 1 || r.Port > 65535 {
		return pidRecord{}, false, nil
	}
	return r, true, nil
}

// running reports whether the process of a record is the one that wrote it: alive, begun at that moment, and running this
// program. Without /proc only its life can be seen; then the port has to speak for it.
func (r pidRecord) running(env *Env) bool {
	if !alive(r.PID) {
		return false
	}
	if !procfs() {
		return true
	}
	begun, ok := startTicks(r.PID)
	if !ok || begun != r.StartTime {
		return false
	}
	theirs := executableOf(r.PID)
	if theirs == "" {
		return false // another user's process: not ours, and not ours to signal
	}
	mine, err := env.Executable()
	return err == nil && (filepath.Base(theirs) == filepath.Base(mine) || filepath.Base(theirs) == "signalbox")
}

// writePID claims the pid file of a port for this process. The caller holds the port, so a file of a process that runs no
// more, or of another one, is stale and replaced; a link is refused.
func writePID(env *Env, path string, port int) error {
	begun, _ := startTicks(os.Getpid())
	data, err := json.Marshal(pidRecord{PID: os.Getpid(), Port: port, StartTime: begun})
	if err != nil {
		return err
	}
	// Written whole beside it and linked: whoever reads the file sees all of it or none.
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	_ = os.Remove(tmp)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	if _, err := f.Write(append(data, '\n')); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	for range 3 {
		if err = os.Link(tmp, path); err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrExist) {
			return linkless(path, append(data, '\n'))
		}
		old, ok, err := readPID(path)
		if err != nil {
			return err
		}
		if ok && old.PID != os.Getpid() && old.running(env) {
			return fmt.Errorf("%s belongs to a running gateway (pid %d)", path, old.PID)
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return fmt.Errorf("%s: %w", path, err)
}

// linkless is the way on file systems without hard links.
func linkless(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// removePID removes the file if it is still this process's own.
func removePID(path string) {
	if r, ok, err := readPID(path); err == nil && ok && r.PID == os.Getpid() {
		_ = os.Remove(path) // left behind, it is recognised as stale
	}
}
