package ledger

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
)

// damage is a stretch of a journal that holds no record. At the tail it is a write that a crash cut short.
type damage struct {
	offset int64
	bytes  []byte
	tail   bool
}

// scan reads the records in b, which begins at offset base of its file, and gives each with the offset behind it. Bytes that
// are no record are stepped over one by one until a record begins again: a flipped bit costs the record it is in, no other.
func scan(b []byte, base int64, yield func(record, int64) bool) (lost []damage) {
	bad := -1
	note := func(end int, tail bool) {
		if bad >= 0 {
			lost = append(lost, damage{base + int64(bad), b[bad:end], tail})
			bad = -1
		}
	}
	for at := 0; at < len(b); {
		n, _ := frame(b[at:])
		var r record
		ok := n > 0
		if ok {
			r, ok = parse(b[at : at+n])
		}
		if !ok {
			if bad < 0 {
				bad = at
			}
			at++
			continue
		}
		note(at, false)
		at += n
		if !yield(r, base+int64(at)) {
			return lost
		}
	}
	note(len(b), true)
	return lost
}

// fileID reads the id in a file's first record; empty when it is damaged or not yet written.
func fileID(f *os.File) string {
	b := make([]byte, 64)
	n, _ := f.ReadAt(b, 0)
	if n, _ := frame(b[:n]); n > 0 {
		if r, ok := parse(b[:n]); ok && r.kind == kindHeader {
			return r.file
		}
	}
	return ""
}

const batchRows = 1024 // records in one transaction, at most, when there is a backlog

// fillFrom brings the records of s from s.filled up to end into the book and adds what it found to sum. Damage is kept in a side
// file and skipped. In a file whose writer is gone (dead), damage at the end is a write that was cut short: it is cut off.
func (b *Book) fillFrom(ctx context.Context, owner string, s *segment, end int64, dead bool, sum *Recovered) error {
	data := make([]byte, end-s.filled)
	if n, err := s.f.ReadAt(data, s.filled); err != nil && !(errors.Is(err, io.EOF) && n == len(data)) {
		return fmt.Errorf("read %s: %w", filepath.Base(s.path), err)
	}
	var err error
	var batch []record
	flush := func(offset int64) error {
		if err := b.apply(ctx, owner, s.id, batch, offset); err != nil {
			return err
		}
		sum.Rows += len(batch)
		batch = batch[:0]
		s.filled = offset
		return nil
	}
	lost := scan(data, s.filled, func(r record, offset int64) bool {
		if r.kind != kindHeader {
			batch = append(batch, r)
		}
		if len(batch) < batchRows {
			return true
		}
		err = flush(offset)
		return err == nil
	})
	if err != nil {
		return err
	}
	for _, d := range lost {
		if err := keepDamaged(s.path, d.bytes); err != nil {
			return err
		}
		if !d.tail || !dead {
			continue
		}
		if err := s.f.Truncate(d.offset); err != nil {
			return err
		}
		end, s.end = d.offset, d.offset
	}
	if err := flush(end); err != nil {
		return err
	}
	for _, d := range lost {
		if d.tail && dead {
			sum.Torn++
		} else {
			sum.Damaged++
		}
	}
	return nil
}

// keepDamaged writes bytes that are no record beside the journal, named by what they are, so that a second recovery of the
// same journal does not write them twice.
func keepDamaged(path string, b []byte) error {
	base := sealedName.ReplaceAllString(filepath.Base(path), "$1")
	name := fmt.Sprintf("%s.damaged-%08x-%d", base, crc32.Checksum(b, castagnoli), len(b))
	f, err := os.OpenFile(filepath.Join(filepath.Dir(path), name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// Recovered is what was brought in from journals whose processes are gone.
type Recovered struct {
	Rows    int // records
	Crashed int // attempts that were open and are now estimated
	Torn    int // ends of files that a crash cut short, kept in side files
	Damaged int // stretches of bytes before the end that were no record, kept in side files
}

// recoverDead brings every journal of dir whose lock is free into the book and removes it. Journals of running processes are
// left alone: these processes bring them in themselves within a second.
func (b *Book) recoverDead(ctx context.Context, dir string) (Recovered, error) {
	var sum Recovered
	entries, err := os.ReadDir(dir)
	if err != nil {
		return sum, err
	}
	var errs error
	for _, e := range entries {
		if !journalName.MatchString(e.Name()) {
			continue
		}
		f, err := openLocked(filepath.Join(dir, e.Name()), 0)
		if err != nil {
			if !errors.Is(err, errBusy) && !errors.Is(err, os.ErrNotExist) {
				errs = errors.Join(errs, err)
			}
			continue
		}
		errs = errors.Join(errs, b.recoverOne(ctx, dir, e.Name(), f, &sum))
		f.Close()
	}
	// Rows that are open under a journal which no longer exists have nobody to settle them.
	owners, err := b.owners(ctx)
	for _, owner := range owners {
		if _, err := os.Stat(filepath.Join(dir, owner)); errors.Is(err, os.ErrNotExist) {
			n, err := b.crash(ctx, owner)
			sum.Crashed += n
			errs = errors.Join(errs, err)
		}
	}
	return sum, errors.Join(errs, err)
}

// recoverOne brings in one dead journal, whose lock is held through f.
func (b *Book) recoverOne(ctx context.Context, dir, name string, f *os.File, sum *Recovered) error {
	paths, _, err := sealedFiles(dir, name)
	if err != nil {
		return err
	}
	var all []*segment
	defer func() {
		for _, s := range all {
			if s.f != f {
				s.f.Close()
			}
		}
	}()
	for _, p := range paths {
		s, err := openSegment(p)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	all = append(all, &segment{path: filepath.Join(dir, name), f: f, end: st.Size()})
	for _, s := range all {
		if err := b.bringIn(ctx, name, s, sum); err != nil {
			return err
		}
	}
	n, err := b.crash(ctx, name)
	sum.Crashed += n
	if err != nil || b.checkpoint(ctx) != nil {
		return err // the files stay for next time; what is in the book is known by its ids
	}
	for _, s := range all {
		if err := os.Remove(s.path); err != nil {
			return err
		}
		if err := b.forget(ctx, s.id); err != nil {
			return err
		}
	}
	return nil
}

// bringIn fills the book from a file whose writer is gone, from where the book says that it stopped.
func (b *Book) bringIn(ctx context.Context, owner string, s *segment, sum *Recovered) error {
	s.id = fileID(s.f)
	at, err := b.position(ctx, s.id)
	if err != nil {
		return err
	}
	s.filled = min(at, s.end)
	return b.fillFrom(ctx, owner, s, s.end, true, sum)
}
