package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"signalbox/internal/ledger"
)

// portFlag is " --port N" where the port is not the usual one.
func (x *examination) portFlag() string {
	if x.port == DefaultPort {
		return ""
	}
	return " --port " + strconv.Itoa(x.port)
}

// checkPort says who has the gateway's port.
func checkPort(_ context.Context, x *examination) []finding {
	g := x.gateway()
	switch {
	case !g.taken:
		return []finding{{What: fmt.Sprintf("port %d is free; start the gateway with: signalbox start%s", x.port, x.portFlag())}}
	case g.ours && (g.recorded || g.pid == 0):
		return []finding{{What: fmt.Sprintf("a gateway runs at %s (pid %d)", x.url, g.pid)}}
	case g.ours:
		return []finding{{Severity: doubtful, What: fmt.Sprintf("the gateway at %s (pid %d) has another state directory than %s", x.url, g.pid, short(x.env, x.state)),
			Why: "stop, status and costs of this shell are not about it", Fix: "set SIGNALBOX_STATE_DIR here as it is set there, or: kill " + strconv.Itoa(g.pid)}}
	}
	who, stop := "another program", "stop that program"
	if g.ownerPID != 0 {
		who, stop = fmt.Sprintf("%s (pid %d)", g.owner, g.ownerPID), "kill "+strconv.Itoa(g.ownerPID)
	}
	if x.port == DefaultPort {
		who += "; claude-code-router uses this port too"
	}
	return []finding{{Severity: wrong, What: fmt.Sprintf("port %d is in use by %s", x.port, who), Why: "the gateway cannot start, and agents that are pointed here speak to that program",
		Fix: fmt.Sprintf("%s, or take another: signalbox start --port %d", stop, x.port+1)}}
}

// checkGateway compares the running gateway with this program and with what it would read now.
func checkGateway(_ context.Context, x *examination) []finding {
	g := x.gateway()
	if !g.ours {
		return nil
	}
	again := "signalbox stop" + x.portFlag() + " && signalbox start" + x.portFlag()
	var out []finding
	if g.version != x.env.Version {
		out = append(out, finding{Severity: doubtful, What: fmt.Sprintf("the running gateway is version %s, and this program is %s", orUnknown(g.version), x.env.Version),
			Why: "what you read and set here may not hold there", Fix: again})
	}
	if g.configError != "" {
		out = append(out, finding{Severity: wrong, What: "the running gateway could not read its configuration anew: " + g.configError,
			Why: "it goes on with the one before, so your last change is not in force", Fix: "correct it; it is read again by itself"})
	}
	if g.draining {
		out = append(out, finding{Severity: doubtful, What: "the running gateway is shutting down", Why: "it takes no new requests", Fix: "signalbox start" + x.portFlag() + "   (once it has ended)"})
	}
	if g.ledger == "failing" {
		out = append(out, finding{Severity: wrong, What: "the running gateway cannot write its ledger", Why: "it refuses requests, since nobody could account for them", Fix: "make room on the disk of " + short(x.env, x.state)})
	}
	if g.known && x.cfg != nil {
		switch {
		case !slices.Equal(g.sources, x.cfg.Sources):
			out = append(out, finding{Severity: doubtful, What: fmt.Sprintf("the running gateway was configured from %s; from here it would be %s", x.files(g.sources), x.files(x.cfg.Sources)),
				Why: "what this folder's files and --config say is in force for agents of signalbox run alone",
				Fix: again + "   (in the folder, and with the --config, that you mean), or start agents with: signalbox run claude"})
		case g.model != x.cfg.Default && x.cfg.Default != "" && g.configError == "":
			out = append(out, finding{Severity: doubtful, What: fmt.Sprintf("the default of the running gateway is %s; from here it would be %s", orNone(g.model), orNone(x.cfg.Default)),
				Why: "a flag or the environment of the shell that started it says otherwise", Fix: again})
		}
	}
	if len(out) == 0 {
		out = append(out, finding{What: "the running gateway is of this version and this configuration"})
	}
	return out
}

func (x *examination) files(names []string) string {
	if len(names) == 0 {
		return "no file"
	}
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = short(x.env, n)
	}
	return strings.Join(out, ", ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// Free disk space in bytes. The journal refuses requests when it cannot be written.
const (
	scarceSpace = 1 << 30
	noSpace     = 50 << 20
)

// freeSpace is what this user may still write on the disk of a folder.
func freeSpace(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil //nolint:unconvert // the types differ between systems
}

var journalFile = regexp.MustCompile(`^journal-\d+(\.\d+)?$`)

// stateFiles are the gateway's files in the state directory.
func (x *examination) stateFiles() (out []string) {
	entries, _ := os.ReadDir(x.state)
	for _, e := range entries {
		name := e.Name()
		if journalFile.MatchString(name) || strings.HasPrefix(name, "ledger.") || strings.HasPrefix(name, "proxy") {
			if e.Type().IsRegular() {
				out = append(out, filepath.Join(x.state, name))
			}
		}
	}
	return out
}

// checkLedger looks whether spending can be written down: the folder, its files, the book, the disk.
func checkLedger(_ context.Context, x *examination) []finding {
	why := "without a ledger the gateway does not start, or refuses requests"
	if x.stateErr != nil {
		return []finding{{Severity: wrong, What: "the state directory cannot be used: " + x.stateErr.Error(), Why: why, Fix: "export SIGNALBOX_STATE_DIR=…  (a folder of yours)"}}
	}
	var out []finding
	trial, err := os.CreateTemp(x.state, ".doctor-*")
	if err != nil {
		return []finding{{Severity: wrong, What: fmt.Sprintf("nothing can be written in %s: %s", short(x.env, x.state), plainCause(err)), Why: why, Fix: x.ownState(), File: x.state}}
	}
	_ = trial.Close()
	_ = os.Remove(trial.Name())
	for _, path := range x.stateFiles() {
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
		if err == nil {
			_ = f.Close()
		} else if !errors.Is(err, fs.ErrNotExist) && !strings.HasSuffix(path, ".log") {
			out = append(out, finding{Severity: wrong, What: fmt.Sprintf("%s cannot be written: %s", short(x.env, path), plainCause(err)), Why: why, Fix: x.ownState(), File: path})
		}
	}
	book := filepath.Join(x.state, "ledger.db")
	if _, err := os.Lstat(book); err == nil && len(out) == 0 {
		b, err := ledger.OpenBook(x.state)
		if err == nil {
			err = b.Close()
		}
		if err != nil {
			out = append(out, finding{Severity: wrong, What: "the ledger's book cannot be opened: " + err.Error(), Why: why,
				Fix: fmt.Sprintf("signalbox stop%s; mv %s %s.broken   (a new one is begun; the old one keeps its rows)", x.portFlag(), book, book), File: book})
		}
	}
	free, err := x.free(x.state)
	switch {
	case err != nil:
		out = append(out, finding{Severity: doubtful, What: fmt.Sprintf("the free space of %s is unknown: %s", short(x.env, x.state), plainCause(err)), Why: "a full disk stops the ledger, and so the gateway", Fix: "df " + x.state})
	case free < noSpace:
		out = append(out, finding{Severity: wrong, What: fmt.Sprintf("only %d MiB are free for %s", free>>20, short(x.env, x.state)), Why: "when the ledger cannot be written, requests are refused", Fix: "make room on that disk, or set SIGNALBOX_STATE_DIR to another"})
	case free < scarceSpace:
		out = append(out, finding{Severity: doubtful, What: fmt.Sprintf("only %d MiB are free for %s", free>>20, short(x.env, x.state)), Why: "when the ledger cannot be written, requests are refused", Fix: "make room on that disk, or set SIGNALBOX_STATE_DIR to another"})
	}
	if len(out) == 0 {
		out = append(out, finding{What: fmt.Sprintf("%s can be written, %d GiB are free", short(x.env, x.state), free>>30)})
	}
	return out
}

// ownState makes the state directory this user's again.
func (x *examination) ownState() string {
	return fmt.Sprintf("sudo chown -R \"$(id -u)\" %s && chmod -R u+rwX %s", x.state, x.state)
}

// plainCause is an error of the file system without the path, which stands beside it.
func plainCause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// checkPIDFiles finds pid files whose gateway is gone.
func checkPIDFiles(_ context.Context, x *examination) []finding {
	if x.stateErr != nil {
		return nil
	}
	paths, _ := filepath.Glob(filepath.Join(x.state, "proxy*.pid"))
	var out []finding
	running := 0
	for _, path := range paths {
		r, ok, err := readPID(path)
		switch {
		case err != nil:
			out = append(out, finding{Severity: wrong, What: err.Error(), Why: "no gateway of that port starts", Fix: "rm " + path, File: path})
		case ok && r.running(x.env):
			running++
		default:
			out = append(out, finding{Severity: doubtful, What: fmt.Sprintf("%s is stale: its gateway has ended without removing it", short(x.env, path)),
				Why: "it was killed, or the machine went down; the next start replaces the file", Fix: "rm " + path, File: path})
		}
	}
	if len(out) == 0 && running > 0 {
		out = append(out, finding{What: "the pid files are those of running gateways (" + strconv.Itoa(running) + ")"})
	}
	return out
}
