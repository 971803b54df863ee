package ledger

import (
	"encoding/binary"
	"hash/crc32"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"signalbox/internal/exchange"
	"signalbox/internal/money"
)

// A record is: length of the payload (4 bytes, little endian), CRC-32C over length, version and payload (4), version (1), payload.
// The payload begins with its kind; numbers are varints, texts have their length before them.
const (
	recordHead    = 9
	recordVersion = 2 // 1 had no fallback, and is still read
	maxPayload    = 32 << 10
	maxText       = 1 << 10 // a name longer than this is cut: names come from strangers
)

const (
	kindHeader byte = 'H' // first in a file: the file's own id
	kindIntent byte = 'I'
	kindSettle byte = 'S'
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// record is one line of the journal, read. Intent is there for both kinds: a settle repeats whom it was for, so that a lost
// intent loses nothing.
type record struct {
	kind   byte
	file   string // of a header
	intent Intent
	settle Settlement
}

func appendHeader(dst []byte, file string) []byte {
	return seal(appendText(append(begin(dst), kindHeader), file), len(dst))
}

func appendIntent(dst []byte, in *Intent) []byte {
	return seal(appendWho(append(begin(dst), kindIntent), in), len(dst))
}

func appendSettle(dst []byte, s *Settlement, in *Intent) []byte {
	start := len(dst)
	dst = append(begin(dst), kindSettle)
	dst = appendWho(dst, in)
	dst = binary.AppendVarint(dst, s.Time.UnixNano())
	dst = appendText(dst, string(s.State))
	dst = appendText(dst, s.Outcome)
	u := &s.Usage
	for _, n := range [...]int64{u.Input, u.Output, u.Thinking, u.CacheRead, u.CacheWrite5m, u.CacheWrite1h, u.WebSearches} {
		dst = binary.AppendVarint(dst, n)
	}
	dst = appendText(dst, u.Tier)
	dst = binary.AppendVarint(dst, int64(s.Cost))
	dst = appendBool(dst, s.Priced)
	dst = appendText(dst, s.Price)
	return seal(dst, start)
}

func appendWho(dst []byte, in *Intent) []byte {
	dst = appendText(dst, string(in.ID))
	dst = binary.AppendVarint(dst, in.Time.UnixNano())
	for _, s := range [...]string{in.RequestID, in.Provider, in.Model, in.Agent, in.Key, in.Session} {
		dst = appendText(dst, s)
	}
	return appendText(appendBool(dst, in.Free), in.Fallback)
}

func begin(dst []byte) []byte {
	return append(dst, 0, 0, 0, 0, 0, 0, 0, 0, recordVersion)
}

func seal(dst []byte, start int) []byte {
	r := dst[start:]
	binary.LittleEndian.PutUint32(r, uint32(len(r)-recordHead))
	binary.LittleEndian.PutUint32(r[4:], checksum(r))
	return dst
}

func checksum(r []byte) uint32 {
	return crc32.Update(crc32.Checksum(r[:4], castagnoli), castagnoli, r[8:])
}

func appendText(dst []byte, s string) []byte {
	if len(s) > maxText {
		s = s[:maxText]
		for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
			s = s[:len(s)-1]
		}
	}
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendBool(dst []byte, b bool) []byte {
	if b {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// frame looks at the start of b: the whole length of the record there, or 0 when there is no good one. more says that b may
// only be too short to tell.
func frame(b []byte) (n int, more bool) {
	if len(b) < recordHead {
		return 0, true
	}
	size := binary.LittleEndian.Uint32(b)
	if size == 0 || size > maxPayload || b[8] == 0 || b[8] > recordVersion {
		return 0, false
	}
	n = recordHead + int(size)
	if len(b) < n {
		return 0, true
	}
	if checksum(b[:n]) != binary.LittleEndian.Uint32(b[4:]) {
		return 0, false
	}
	return n, false
}

// parse reads the record that frame found. It reports false for a payload that makes no sense, which a right checksum does
// not rule out.
func parse(b []byte) (r record, ok bool) {
	d := decoder{b: b[recordHead:], version: b[8]}
	r.kind = d.byte()
	switch r.kind {
	case kindHeader:
		r.file = d.text()
	case kindIntent:
		d.who(&r.intent)
	case kindSettle:
		d.who(&r.intent)
		r.settle = Settlement{ID: r.intent.ID, Time: d.time(), State: exchange.State(d.text()), Outcome: d.text()}
		u := &r.settle.Usage
		for _, n := range [...]*int64{&u.Input, &u.Output, &u.Thinking, &u.CacheRead, &u.CacheWrite5m, &u.CacheWrite1h, &u.WebSearches} {
			*n = d.count()
		}
		u.Tier = d.text()
		r.settle.Cost = money.Amount(d.count())
		r.settle.Priced = d.bool()
		r.settle.Price = d.text()
		switch r.settle.State {
		case exchange.Void, exchange.Settled, exchange.Estimated:
		default:
			return r, false
		}
	default:
		return r, false
	}
	if r.kind != kindHeader && r.intent.ID == "" {
		return r, false
	}
	return r, !d.bad && len(d.b) == 0
}

// decoder reads a payload; bad sticks.
type decoder struct {
	b       []byte
	version byte
	bad     bool
}

func (d *decoder) who(in *Intent) {
	in.ID = exchange.AttemptID(d.text())
	in.Time = d.time()
	for _, s := range [...]*string{&in.RequestID, &in.Provider, &in.Model, &in.Agent, &in.Key, &in.Session} {
		*s = d.text()
	}
	in.Free = d.bool()
	if d.version > 1 {
		in.Fallback = d.text()
	}
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.bad = true
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) bool() bool {
	c := d.byte()
	d.bad = d.bad || c > 1
	return c == 1
}

func (d *decoder) int() int64 {
	n, w := binary.Varint(d.b)
	if w <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[w:]
	return n
}

// count is a number that cannot be negative: neither tokens nor what was paid for them are.
func (d *decoder) count() int64 {
	n := d.int()
	d.bad = d.bad || n < 0
	return n
}

func (d *decoder) time() time.Time { return time.Unix(0, d.int()) }

func (d *decoder) text() string {
	n, w := binary.Uvarint(d.b)
	if w <= 0 || n > maxText || n > uint64(len(d.b)-w) {
		d.bad = true
		return ""
	}
	s := string(d.b[w : w+int(n)])
	d.b = d.b[w+int(n):]
	return strings.ToValidUTF8(s, "\uFFFD")
}

// clean makes a settlement that can be written: an upstream's nonsense was to be sorted out before, and here it must not cost
// the row.
func clean(s *Settlement) {
	u := &s.Usage
	for _, n := range [...]*int64{&u.Input, &u.Output, &u.Thinking, &u.CacheRead, &u.CacheWrite5m, &u.CacheWrite1h, &u.WebSearches} {
		*n = min(max(*n, 0), math.MaxInt32*1000)
	}
	s.Cost = max(s.Cost, 0)
	switch s.State {
	case exchange.Void, exchange.Settled, exchange.Estimated:
	default:
		s.State = exchange.Estimated
	}
}
