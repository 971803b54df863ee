package ledger

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"signalbox/internal/exchange"
	"signalbox/internal/money"
)

const childEnv = "SIGNALBOX_LEDGER_CHILD"

// child is another gateway process: it writes intents and settles as fast as it can, and says on stdout what was accepted,
// after it was.
func child() {
	dir, port := os.Getenv(childEnv), os.Getenv(childEnv+"_PORT")
	n, _ := strconv.Atoi(port)
	limit, _ := strconv.Atoi(os.Getenv(childEnv + "_LIMIT"))
	l, err := Start(dir, Options{Port: n})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx := context.Background()
	var mu sync.Mutex
	say := func(kind string, id exchange.AttemptID) {
		mu.Lock()
		os.Stdout.WriteString(kind + " " + string(id) + "\n") // one write: a line is there whole or not at all
		mu.Unlock()
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 0; limit == 0 || i < limit; i++ {
				in := attempt(uuid.NewString(), "p", "m", "a", time.Now())
				if l.Open(ctx, in) != nil {
					os.Exit(1)
				}
				say("opened", in.ID)
				if limit == 0 && i%7 == 0 {
					continue // runs still when the process dies
				}
				if l.Settle(ctx, settled(in.ID, time.Now(), 7)) != nil {
					os.Exit(1)
				}
				say("settled", in.ID)
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// spoken is what a child says; begun closes at its first word. It is read after the child has ended.
type spoken struct {
	text  []byte
	begun chan struct{}
	once  sync.Once
}

func (s *spoken) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.begun) })
	s.text = append(s.text, b...)
	return len(b), nil
}

func startChild(t *testing.T, dir string, port, limit int) (*exec.Cmd, *spoken) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	c := exec.Command(self)
	out := &spoken{begun: make(chan struct{})}
	c.Stdout, c.Stderr = out, os.Stderr
	c.Env = append(os.Environ(), childEnv+"="+dir, fmt.Sprintf("%s_PORT=%d", childEnv, port), fmt.Sprintf("%s_LIMIT=%d", childEnv, limit))
	must(t, c.Start())
	return c, out
}

// TestKill (L2, L3, L4, I1, I4): a process that is killed at any moment loses nothing that it was told is written, doubles
// nothing, and leaves no attempt without a final state. Recovery by a report and by the next gateway take turns.
func TestKill(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 5
	}
	ctx := context.Background()
	var dir string
	var opened, done map[string]bool
	var before money.Amount
	attempts := 0
	for round := range rounds {
		if round%6 == 0 { // all rows are read in every round
			dir, before, opened, done = t.TempDir(), 0, map[string]bool{}, map[string]bool{}
		}
		c, out := startChild(t, dir, 4000, 0)
		if round%5 != 4 { // every fifth is killed while it starts
			select {
			case <-out.begun:
			case <-time.After(30 * time.Second):
				t.Error("the child said nothing")
			}
		}
		<-time.After(time.Duration(1+rand.IntN(150)) * time.Millisecond)
		must(t, c.Process.Kill())
		_ = c.Wait() // killed
		sc := bufio.NewScanner(bytes.NewReader(out.text))
		for sc.Scan() {
			kind, id, ok := strings.Cut(sc.Text(), " ")
			if !ok || len(id) != 36 {
				continue // the line that the kill cut
			}
			opened[id] = true
			if kind == "settled" {
				done[id] = true
			}
		}
		if round%2 == 0 {
			l := start(t, dir, Options{Port: 4000})
			must(t, l.Flush(ctx))
			if s := l.Status(); s != "ok" { // a torn end is what a kill leaves, and no damage
				t.Errorf("status %s", s)
			}
			must(t, l.Close())
		}
		bk, err := OpenBook(dir)
		must(t, err)
		rows := map[string]Row{}
		var sum money.Amount
		for _, r := range allRows(t, bk) {
			if _, twice := rows[string(r.ID)]; twice {
				t.Fatalf("round %d: attempt %s is there twice", round, r.ID)
			}
			rows[string(r.ID)] = r
			if r.State == exchange.Open {
				t.Fatalf("round %d: attempt %s has no final state", round, r.ID)
			}
			if r.Cost != nil {
				sum += *r.Cost
			} else if r.State != exchange.Estimated || r.Outcome != "crash" {
				t.Fatalf("round %d: a row without cost: %+v", round, r)
			}
		}
		for id := range opened {
			if _, ok := rows[id]; !ok {
				t.Fatalf("round %d: attempt %s is lost", round, id)
			}
		}
		for id := range done {
			if rows[id].State != exchange.Settled || *rows[id].Cost != 7 {
				t.Fatalf("round %d: the settlement of %s is lost: %+v", round, id, rows[id])
			}
		}
		if sum < before {
			t.Fatalf("round %d: the total went down from %d to %d", round, before, sum)
		}
		before = sum
		r, err := bk.Report(ctx, time.Time{}, time.Time{}, []string{"model"})
		must(t, err)
		if r.Total.Cost != sum || r.Total.Attempts != int64(len(rows)) || r.Total.Requests != int64(len(rows)) {
			t.Fatalf("round %d: the roll-up says %+v, the rows %d and %d", round, r.Total, sum, len(rows))
		}
		must(t, bk.Close())
		attempts += bytes.Count(out.text, []byte("opened"))
		for _, name := range files(t, dir) {
			if journalName.MatchString(name) || sealedName.MatchString(name) {
				t.Errorf("%s was left", name)
			}
		}
	}
	t.Logf("%d attempts over %d kills", attempts, rounds)
	if attempts < rounds {
		t.Error("the children wrote hardly anything")
	}
}

// TestTwoProcesses share one book, while reports are read.
func TestTwoProcesses(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	a, outA := startChild(t, dir, 4001, 500)
	b, outB := startChild(t, dir, 4002, 500)
	for range 5 {
		bk, err := OpenBook(dir)
		must(t, err)
		if _, err := bk.Report(ctx, time.Time{}, time.Time{}, []string{"agent", "model"}); err != nil {
			t.Error(err)
		}
		must(t, bk.Close())
	}
	must(t, a.Wait())
	must(t, b.Wait())
	if len(outA.text) == 0 || len(outB.text) == 0 {
		t.Fatal("a child said nothing")
	}
	r, err := book(t, dir).Report(ctx, time.Time{}, time.Time{}, nil)
	must(t, err)
	if r.Total.Attempts != 4000 || r.Total.Cost != 4000*7 || r.Total.Estimated != 0 {
		t.Errorf("total %+v", r.Total)
	}
}

// journalOf writes a small journal as a process would leave it that was killed, and gives its bytes and the records' ends.
func journalOf(t testing.TB, n int) (data []byte, ends []int, ids []exchange.AttemptID) {
	t.Helper()
	data = appendHeader(nil, uuid.NewString())
	ends = append(ends, len(data))
	for range n {
		in := attempt("r", "provider", "model", "agent", time.Now())
		data = appendIntent(data, &in)
		ends = append(ends, len(data))
		s := settled(in.ID, time.Now(), 7)
		data = appendSettle(data, &s, &in)
		ends = append(ends, len(data))
		ids = append(ids, in.ID)
	}
	return data, ends, ids
}

// TestTruncationAtEveryByte (L4, F99): whatever is left of a journal, every whole record counts and the rest is kept aside.
func TestTruncationAtEveryByte(t *testing.T) {
	data, ends, _ := journalOf(t, 2)
	empty := t.TempDir()
	must(t, book(t, empty).Close())
	tables, err := os.ReadFile(filepath.Join(empty, bookName))
	must(t, err)
	for cut := range len(data) + 1 {
		dir := t.TempDir()
		must(t, os.WriteFile(filepath.Join(dir, bookName), tables, 0o600))
		path := filepath.Join(dir, "journal-9")
		must(t, os.WriteFile(path, data[:cut], 0o600))
		bk, err := OpenBook(dir)
		must(t, err)
		whole, last := 0, 0
		for _, e := range ends {
			if e <= cut {
				whole, last = whole+1, e
			}
		}
		rows := allRows(t, bk)
		wantRows, wantSettled := whole/2, max(0, whole-1)/2 // header, then intent and settle in turn
		got := 0
		for _, r := range rows {
			if r.State == exchange.Settled {
				got++
			} else if r.State != exchange.Estimated || r.Outcome != "crash" {
				t.Errorf("cut at %d: row %+v", cut, r)
			}
		}
		if len(rows) != wantRows || got != wantSettled {
			t.Errorf("cut at %d: %d rows, %d settled; want %d, %d", cut, len(rows), got, wantRows, wantSettled)
		}
		var aside []byte
		for _, name := range files(t, dir) {
			if strings.Contains(name, ".damaged-") {
				b, err := os.ReadFile(filepath.Join(dir, name))
				must(t, err)
				aside = append(aside, b...)
			} else if name != bookName && name != "ledger.lock" {
				t.Errorf("cut at %d: %s was left", cut, name)
			}
		}
		if !bytes.Equal(aside, data[last:cut]) {
			t.Errorf("cut at %d: %d bytes kept aside, want %d", cut, len(aside), cut-last)
		}
		must(t, bk.Close())
	}
}

// TestBitFlips (L4, F99): a flipped bit costs at most the record it is in, and a settle alone is enough for its row.
func TestBitFlips(t *testing.T) {
	data, ends, ids := journalOf(t, 3)
	r := rand.New(rand.NewPCG(5, 6))
	step := 1
	if testing.Short() {
		step = 13
	}
	for at := 0; at < len(data); at += step {
		flipped := slices.Clone(data)
		flipped[at] ^= 1 << r.IntN(8)
		hit, _ := slices.BinarySearch(ends, at+1)
		var records []record
		lost := scan(flipped, 0, func(r record, _ int64) bool { records = append(records, r); return true })
		if len(records) != len(ends)-1 || len(lost) != 1 || lost[0].tail != (hit == len(ends)-1) {
			t.Fatalf("byte %d: %d records of %d, damage %d", at, len(records), len(ends), len(lost))
		}
	}
	// Through the whole way once: the intent of the first and the settle of the second are hit.
	flipped := slices.Clone(data)
	flipped[ends[0]+20] ^= 4
	flipped[ends[3]+20] ^= 4
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "journal-9"), flipped, 0o600))
	l := start(t, dir, Options{Port: 9})
	must(t, l.Flush(context.Background()))
	if l.Status() != "degraded" {
		t.Errorf("status %s after damage", l.Status())
	}
	rows := allRows(t, book(t, dir))
	if len(rows) != 3 || rows[0].ID != ids[0] || rows[0].State != exchange.Settled || rows[0].Provider != "provider" ||
		rows[1].State != exchange.Estimated || rows[1].Outcome != "crash" || rows[2].State != exchange.Settled {
		t.Errorf("rows %+v", rows)
	}
}

// TestFreeCrash: an attempt at a local provider that a crash ended cost nothing, and is not unpriced.
func TestFreeCrash(t *testing.T) {
	dir := t.TempDir()
	in := attempt("r", "ollama", "m", "", time.Now())
	in.Free = true
	must(t, os.WriteFile(filepath.Join(dir, "journal-9"), appendIntent(nil, &in), 0o600))
	rows := allRows(t, book(t, dir))
	if len(rows) != 1 || rows[0].Cost == nil || *rows[0].Cost != 0 || rows[0].Price != "local" || rows[0].State != exchange.Estimated {
		t.Errorf("rows %+v", rows)
	}
}

// TestReplayIsIdempotent (L2): the same journal again, also in pieces and out of order, changes no sum.
func TestReplayIsIdempotent(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	data, _, _ := journalOf(t, 20)
	bk := book(t, dir)
	var records []record
	scan(data, 0, func(r record, _ int64) bool {
		if r.kind != kindHeader {
			records = append(records, r)
		}
		return true
	})
	var want Sum
	r := rand.New(rand.NewPCG(7, 8))
	for round := range 10 {
		if round > 0 {
			r.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		}
		must(t, bk.apply(ctx, "journal-1", "", records[:r.IntN(len(records))], 0))
		must(t, bk.apply(ctx, "journal-1", "", records, 0))
		rep, err := bk.Report(ctx, time.Time{}, time.Time{}, []string{"key"})
		must(t, err)
		if round == 0 {
			want = rep.Total
			if want.Attempts != 20 || want.Cost != 140 || want.Requests != 1 {
				t.Fatalf("total %+v", want)
			}
		}
		if rep.Total != want {
			t.Fatalf("round %d: %+v, want %+v", round, rep.Total, want)
		}
	}
}

// FuzzRecover: recovery of any bytes ends, gives back only records that were written when a true journal is mutated, and
// accounts for every byte: it is in a record or in the damage.
func FuzzRecover(f *testing.F) {
	data, _, _ := journalOf(f, 2)
	f.Add(data, uint16(5), byte(1))
	f.Add(data[:len(data)-3], uint16(90), byte(255))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1, 'I'}, uint16(0), byte(0))
	f.Add([]byte{}, uint16(0), byte(0))
	f.Fuzz(func(t *testing.T, b []byte, at uint16, x byte) {
		b = slices.Clone(b)
		if len(b) > 0 {
			b[int(at)%len(b)] ^= x
		}
		covered := 0
		var last int64
		n := 0
		lost := scan(b, 0, func(r record, end int64) bool {
			if end <= last {
				t.Fatal("offsets do not grow")
			}
			if r.kind != kindHeader && r.intent.ID == "" {
				t.Fatal("a record of nobody")
			}
			if r.kind == kindSettle && (r.settle.Cost < 0 || r.settle.Usage.Input < 0) {
				t.Fatal("negative money")
			}
			last = end
			n++
			return true
		})
		for _, d := range lost {
			covered += len(d.bytes)
		}
		for i := 0; i < len(b); { // the records are the rest
			size, _ := frame(b[i:])
			ok := size > 0
			if ok {
				_, ok = parse(b[i : i+size])
			}
			if !ok {
				i++
				continue
			}
			covered += size
			i += size
		}
		if covered != len(b) {
			t.Fatalf("%d of %d bytes are accounted for", covered, len(b))
		}
	})
}

// FuzzRecord: what is written is read as the same.
func FuzzRecord(f *testing.F) {
	f.Add("id", "request", "qwen3:8b", int64(12), int64(5), true)
	f.Fuzz(func(t *testing.T, id, request, model string, tokens, cost int64, priced bool) {
		in := Intent{ID: exchange.AttemptID(id), RequestID: request, Model: model, Time: time.Unix(0, tokens)}
		s := Settlement{ID: in.ID, Time: time.Unix(0, cost), State: exchange.Settled, Cost: money.Amount(cost), Priced: priced}
		s.Usage.Input = tokens
		clean(&s)
		b := appendSettle(nil, &s, &in)
		n, _ := frame(b)
		if n != len(b) {
			t.Fatalf("a record of %d bytes is read as %d", len(b), n)
		}
		r, ok := parse(b)
		if !ok {
			if id != "" {
				t.Fatal("a record cannot be read back")
			}
			return
		}
		if r.settle.Cost != s.Cost || r.settle.Priced != priced || r.settle.Usage.Input != s.Usage.Input || len(model) <= maxText && r.intent.Model != strings.ToValidUTF8(model, "\uFFFD") {
			t.Fatalf("wrote %+v, read %+v", s, r)
		}
	})
}
