package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// Several runs share the gateway that one of them started, and the last one out stops it. Three files of the state directory
// tell who is there:
//
//	run-<port>.lock   held, alone, by whoever decides: joins, starts, leaves or stops
//	run-<port>.lease  held, together, by every run while its agent lives
//	run-<port>.pid    written by a gateway that a run started, while it is to end with the last run
//
// Lock and lease are flocks: the kernel gives them back when a process dies, however it dies. The gateway waits for the lease
// itself, so that it ends even when the last run was killed and could not stop it.

func runFile(state string, port int, kind string) string {
	return filepath.Join(state, "run-"+strconv.Itoa(port)+"."+kind)
}

// A flock is an open file with an advisory lock. It is a bare descriptor, since an os.File that is forgotten closes itself.
type flock int

func openFlock(path string) (flock, error) {
	fd, err := syscall.Open(path, syscall.O_RDWR|syscall.O_CREAT|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return -1, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return flock(fd), nil
}

// take takes the lock in one of the ways of flock(2). A lock of another kind that is held already is exchanged.
func (l flock) take(how int) error {
	for {
		err := syscall.Flock(int(l), how)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

func (l flock) close() { _ = syscall.Close(int(l)) }

// decide runs f while nobody else joins or leaves the gateway of a port.
func decide(state string, port int, f func() error) error {
	lock, err := openFlock(runFile(state, port, "lock"))
	if err != nil {
		return err
	}
	defer lock.close()
	if err := lock.take(syscall.LOCK_EX); err != nil {
		return fmt.Errorf("%s: %w", runFile(state, port, "lock"), err)
	}
	return f()
}

// joinRuns counts this process among the runs of a port, until the lease that it returns is closed. begin is called while
// nobody else can join or leave: it finds the gateway or starts one.
func joinRuns(state string, port int, begin func() error) (lease flock, err error) {
	lease = -1
	err = decide(state, port, func() error {
		// Before the gateway is there: it ends when nobody holds the lease.
		if lease, err = openFlock(runFile(state, port, "lease")); err != nil {
			return err
		}
		if err := lease.take(syscall.LOCK_SH); err != nil {
			return err
		}
		return begin()
	})
	if err != nil && lease >= 0 {
		lease.close()
	}
	return lease, err
}

// leaveLimit is how long a run waits for the gateway that it stops: its agent has gone, so nothing should be left to finish.
const leaveLimit = 10 * time.Second

// leaveRuns gives the lease back. Nobody else's gateway is stopped: only one that a run started, once no run is left.
func leaveRuns(env *Env, state string, port int, lease flock, keep bool) error {
	return decide(state, port, func() error {
		defer lease.close()
		mark := runFile(state, port, "pid")
		if keep {
			err := os.Remove(mark)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		if lease.take(syscall.LOCK_EX|syscall.LOCK_NB) != nil {
			return nil // others are still there
		}
		r, ok, err := readPID(mark)
		if err != nil || !ok || !r.running(env) {
			return err
		}
		if err := syscall.Kill(r.PID, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("cannot stop the gateway (pid %d): %w", r.PID, err)
		}
		if !awaitEnd(env, r, leaveLimit) {
			return fmt.Errorf("the gateway on port %d (pid %d) still finishes answers; it ends when they have", port, r.PID)
		}
		return nil
	})
}

// awaitEnd waits until the process of a record runs no more.
func awaitEnd(env *Env, r pidRecord, limit time.Duration) bool {
	end := time.NewTimer(limit)
	defer end.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for r.running(env) {
		select {
		case <-look.C:
		case <-end.C:
			return false
		}
	}
	return true
}

// markRun says, in a gateway that a run started, that it ends with the last run. leave is called once none is left; by then
// nobody can join any more until this process has ended.
func markRun(env *Env, state string, port int, leave func()) (unmark func(), err error) {
	mark := runFile(state, port, "pid")
	if err := writePID(env, mark, port); err != nil {
		return nil, err
	}
	go func() { // it may wait for as long as we live, and nobody waits for it
		if awaitLastRun(state, port) {
			leave()
		}
	}()
	return func() { removePID(mark) }, nil
}

// awaitLastRun returns true when no run is left. False: a run said that the gateway stays.
func awaitLastRun(state string, port int) bool {
	for {
		lease, err := openFlock(runFile(state, port, "lease"))
		if err != nil || lease.take(syscall.LOCK_EX) != nil {
			return false // then the last run stops us, if it can
		}
		// Not kept while we wait for the other one: a run that joins holds that, and wants this.
		if err := lease.take(syscall.LOCK_UN); err != nil {
			return false
		}
		lock, err := openFlock(runFile(state, port, "lock"))
		if err != nil || lock.take(syscall.LOCK_EX) != nil {
			return false
		}
		if r, ok, err := readPID(runFile(state, port, "pid")); err != nil || !ok || r.PID != os.Getpid() {
			lock.close()
			lease.close()
			return false
		}
		if lease.take(syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			return true // both are kept until this process has ended
		}
		lock.close()
		lease.close()
	}
}
