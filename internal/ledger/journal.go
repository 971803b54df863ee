package ledger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/google/uuid"
)

const (
	segmentSize  = 8 << 20                // a file that has grown past this is set aside, and removed once the book has it
	pendingBytes = 8 << 20                // records that wait in memory for a disk to come back; past it intents are refused
	retryEvery   = 100 * time.Millisecond // between two tries at a disk that refused
	lockPatience = 5 * time.Second        // a report may hold a dead gateway's journal while it reads it
)

// errBusy says that a living process holds a journal.
var errBusy = errors.New("the journal belongs to a running process")

// segment is one file of a journal. The newest has the journal's own name, older ones a number behind it.
type segment struct {
	path   string
	f      *os.File
	id     string // from its header; empty when that is damaged
	filled int64  // how far it is in the book
	end    int64  // how far it is written
	left   bool   // by a process that is gone
}

// journal is the file of one process. Writing and the change of files are under mu; what is in the book is the filler's.
type journal struct {
	dir, name string
	sync      string

	mu        sync.Mutex
	active    *segment
	sealed    []*segment // oldest first; complete, and waiting for the book
	next      int        // number of the next sealed file
	pending   []byte     // records that the disk refused
	waiting   int64      // how many those are
	lastTry   time.Time
	written   uint64 // records on disk, for the group commit
	onFailure func(what string, err error)

	commit struct {
		sync.Mutex
		done    *sync.Cond
		synced  uint64
		syncing bool
	}
}

// openJournal takes the lock of a port's journal and sets aside what an earlier process left in it, for the filler.
func openJournal(dir string, port int, mode string, onFailure func(string, error)) (*journal, error) {
	j := &journal{dir: dir, name: "journal-" + strconv.Itoa(port), sync: mode, next: 1, onFailure: onFailure}
	j.commit.done = sync.NewCond(&j.commit)
	path := filepath.Join(dir, j.name)
	var f *os.File
	for deadline := time.Now().Add(lockPatience); ; {
		var err error
		if f, err = openLocked(path, os.O_CREATE); err == nil {
			break
		}
		if !errors.Is(err, errBusy) || time.Now().After(deadline) {
			return nil, fmt.Errorf("ledger: %s: %w", path, err)
		}
		time.Sleep(10 * time.Millisecond) // flock has no wait with an end
	}
	old, numbers, err := sealedFiles(dir, j.name)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("ledger: %w", err)
	}
	for i, p := range old {
		j.next = max(j.next, numbers[i]+1)
		s, err := openSegment(p)
		if err != nil {
			onFailure("open "+filepath.Base(p), err) // stays where it is for the next start
			continue
		}
		s.left = true
		j.sealed = append(j.sealed, s)
	}
	size, err := f.Seek(0, 2)
	if err == nil {
		j.active = &segment{path: path, f: f, end: size, left: size > 0}
		if size == 0 {
			err = j.header(j.active)
		} else {
			err = j.rotate()
		}
	}
	if err != nil {
		f.Close()
		for _, s := range j.sealed {
			s.f.Close()
		}
		return nil, fmt.Errorf("ledger: %s: %w", path, err)
	}
	return j, nil
}

// openLocked opens a file and takes its lock without waiting. The lock is the file's, not the name's: a file that was
// replaced or removed between opening and locking is let go and looked up again.
func openLocked(path string, flag int) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|flag, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, syscall.EWOULDBLOCK) {
				return nil, errBusy
			}
			return nil, err
		}
		have, err1 := f.Stat()
		named, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(have, named) {
			return f, nil
		}
		f.Close()
		if err1 != nil {
			return nil, err1
		}
		if err2 != nil && (flag&os.O_CREATE == 0 || !errors.Is(err2, os.ErrNotExist)) {
			return nil, err2
		}
	}
}

func openSegment(path string) (*segment, error) {
	f, err := openLocked(path, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &segment{path: path, f: f, end: st.Size()}, nil
}

var journalName = regexp.MustCompile(`^journal-\d+$`)
var sealedName = regexp.MustCompile(`^(journal-\d+)\.(\d+)$`)

// sealedFiles lists a journal's older files, oldest first.
func sealedFiles(dir, name string) (paths []string, numbers []int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		if m := sealedName.FindStringSubmatch(e.Name()); m != nil && m[1] == name {
			if n, err := strconv.Atoi(m[2]); err == nil {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		paths = append(paths, filepath.Join(dir, name+"."+strconv.Itoa(n)))
	}
	return paths, numbers, nil
}

func (j *journal) header(s *segment) error {
	s.id = uuid.NewString()
	rec := appendHeader(nil, s.id)
	if _, err := s.f.WriteAt(rec, 0); err != nil {
		// An empty file works too: without an id its records are only looked at again after a crash. The disk may be full now.
		s.id = ""
		j.onFailure("write", err)
		return s.f.Truncate(0)
	}
	s.end = int64(len(rec))
	s.filled = s.end
	return nil
}

// rotate sets the active file aside and begins a new one. The journal's name always leads to a locked file, so that nobody
// takes a living journal for a dead one in between.
func (j *journal) rotate() error {
	path := filepath.Join(j.dir, j.name)
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	f, err := openLocked(fresh, os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	s := &segment{path: path, f: f}
	if err := j.header(s); err != nil {
		f.Close()
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	aside := path + "." + strconv.Itoa(j.next)
	if j.sync != "os" {
		if err := j.active.f.Sync(); err != nil {
			j.onFailure("sync", err)
		}
	}
	if err := os.Link(path, aside); err != nil {
		f.Close()
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		f.Close()
		os.Remove(aside) // the name it still has is the right one
		return err
	}
	j.next++
	j.active.path = aside
	j.sealed = append(j.sealed, j.active)
	j.active = s
	return nil
}

// write appends one record. With a disk that refuses, it is kept in memory and counted; an intent (refuse set) beyond the
// bound is an error, a settle never is, because it belongs to an attempt that runs already.
func (j *journal) write(rec []byte, refuse bool) error {
	j.mu.Lock()
	if len(j.pending) > 0 {
		j.flushPending()
	}
	if len(j.pending) == 0 {
		_, err := j.active.f.WriteAt(rec, j.active.end) // over the torn rest of a write that failed
		if err == nil {
			j.active.end += int64(len(rec))
			j.written++
			seq := j.written
			j.mu.Unlock()
			if j.sync == "always" {
				j.wait(seq)
			}
			return nil
		}
		j.onFailure("write", err)
		j.lastTry = time.Now()
	}
	defer j.mu.Unlock()
	if refuse && len(j.pending) >= pendingBytes {
		return errors.New("the journal cannot be written, and memory for it is used up")
	}
	j.pending = append(j.pending, rec...)
	j.waiting++
	return nil
}

// flushPending writes what waits, at most every retryEvery. mu is held.
func (j *journal) flushPending() {
	now := time.Now()
	if len(j.pending) == 0 || now.Sub(j.lastTry) < retryEvery {
		return
	}
	j.lastTry = now
	if _, err := j.active.f.WriteAt(j.pending, j.active.end); err != nil {
		j.onFailure("write", err)
		return
	}
	j.active.end += int64(len(j.pending))
	j.written += uint64(j.waiting)
	j.pending, j.waiting = nil, 0
}

// retry is flushPending for the filler.
func (j *journal) retry() {
	j.mu.Lock()
	j.flushPending()
	j.mu.Unlock()
}

// wait returns once record seq is on the disk itself. One goroutine syncs for all who wait.
func (j *journal) wait(seq uint64) {
	c := &j.commit
	c.Lock()
	defer c.Unlock()
	for c.synced < seq {
		if c.syncing {
			c.done.Wait()
			continue
		}
		c.syncing = true
		c.Unlock()
		covered := j.syncNow()
		c.Lock()
		c.syncing = false
		c.synced = max(c.synced, covered)
		c.done.Broadcast()
	}
}

// syncNow brings the active file to the disk and says up to which record. A failing sync is counted and not repeated for
// these records: the kernel may have dropped the pages, and waiting would not bring them back.
func (j *journal) syncNow() uint64 {
	j.mu.Lock()
	covered, f := j.written, j.active.f
	j.mu.Unlock()
	if err := f.Sync(); err != nil && !errors.Is(err, os.ErrClosed) { // a file set aside meanwhile was synced then
		j.onFailure("sync", err)
	}
	return covered
}

// state is how far the active file is written, and what waits in memory.
func (j *journal) state() (active *segment, end int64, waiting int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.active, j.active.end, j.waiting
}

// oldest is the first sealed file, or nil.
func (j *journal) oldest() *segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.sealed) == 0 {
		return nil
	}
	return j.sealed[0]
}

// drop forgets the first sealed file; remove takes it from the disk too, now that the book has it for good.
func (j *journal) drop(s *segment, remove bool) {
	j.mu.Lock()
	j.sealed = slices.DeleteFunc(j.sealed, func(x *segment) bool { return x == s })
	j.mu.Unlock()
	if remove {
		if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
			j.onFailure("remove", err)
		}
	}
	s.f.Close()
}

// close lets go of all files. With remove, the active one is empty of news and goes away, while its lock is still held.
func (j *journal) close(remove bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var err error
	if j.sync != "os" {
		err = j.active.f.Sync()
	}
	if remove {
		err = errors.Join(err, os.Remove(j.active.path))
	}
	for _, s := range j.sealed {
		err = errors.Join(err, s.f.Close())
	}
	return errors.Join(err, j.active.f.Close())
}
