package cli

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// A process is known by its number and the moment it began: the number alone is given again to a stranger.

// startTicks is when a process began, in clock ticks since the machine did, as the kernel counts them. It does not move when
// somebody sets the clock. False when there is no such process, when it has ended and nobody has collected it, or when the
// system does not say.
func startTicks(pid int) (int64, bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false
	}
	// The name stands in brackets and may hold anything, brackets too; the fields begin behind the last one.
	i := bytes.LastIndexByte(data, ')')
	if i < 0 {
		return 0, false
	}
	fields := strings.Fields(string(data[i+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return 0, false
	}
	n, err := strconv.ParseInt(fields[19], 10, 64) // field 22 of the whole line
	return n, err == nil
}

// procfs reports whether the system tells about processes in /proc.
func procfs() bool {
	_, ok := startTicks(os.Getpid())
	return ok
}

// alive reports whether a process can be signalled. One that belongs to somebody else is alive too.
func alive(pid int) bool {
	if pid <= 0 {
		return false
	}
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// executableOf is the path of a process's program. A program replaced by an upgrade is still called by its old name.
func executableOf(pid int) string {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(exe, " (deleted)")
}

// portOwner finds who listens on a port, as far as this user may look: the pid (0 when unknown) and the program's name.
func portOwner(port int) (pid int, name string) {
	sockets := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(data)) {
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != "0A" { // 0A is LISTEN
				continue
			}
			_, hexPort, ok := strings.Cut(f[1], ":")
			if b, err := hex.DecodeString(hexPort); ok && err == nil && len(b) == 2 && int(b[0])<<8|int(b[1]) == port {
				sockets["socket:["+f[9]+"]"] = true
			}
		}
	}
	if len(sockets) == 0 {
		return 0, ""
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || !sockets[to] {
			continue
		}
		pid, err := strconv.Atoi(strings.Split(link, "/")[2])
		if err != nil {
			continue
		}
		comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return pid, printable(strings.TrimSpace(string(comm)))
	}
	return 0, ""
}

// printable keeps a stranger's name from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}
