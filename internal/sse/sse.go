// Package sse reads and writes server-sent events as whole frames.
//
// It knows the framing of the WHATWG specification (CR, LF, CRLF, comments, several data lines, a BOM, events cut
// anywhere by the network) and nothing of what the frames say. Reader is the place to begin.
package sse

import (
	"bytes"
	"errors"
	"io"
)

// MaxLine is the default ceiling for one event, in bytes. A tool input may carry a whole file on one line, so it is
// generous; past it the stream is broken, never cut in silence.
const MaxLine = 8 << 20

const (
	firstBuffer = 4 << 10
	keepBuffer  = 64 << 10 // buffers that grew past this are given back as soon as they are empty
)

// ErrTooLong is returned when one event (or one line) passes the ceiling.
var ErrTooLong = errors.New("sse: event longer than the limit")

// Frame is one event. The zero Frame is a lull: nothing further is complete in memory, the next pull will wait for the
// network, so whoever writes should flush now. Its bytes are valid until the next frame is pulled.
type Frame struct {
	Event string // the event field; empty when the frame had none
	Data  []byte // the data lines joined by LF
}

// Lull reports whether the frame only says that the next one is not in memory yet.
func (f Frame) Lull() bool { return f.Data == nil && f.Event == "" }

// Lines cuts a byte stream into lines that end in LF, CRLF or CR, however the network cut it. It tells its caller before it
// has to wait. It does not close the reader.
type Lines struct {
	r        io.Reader
	buf      []byte
	pos, end int
	max      int
	skipLF   bool // the last line ended in CR: a LF right behind it belongs to it
	crEnds   bool
	err      error
}

// NewLines reads from r, with max as the longest line in bytes (0: MaxLine). Where cr is true a lone CR ends a line too, as
// event streams have it; NDJSON knows only LF and CRLF.
func NewLines(r io.Reader, max int, cr bool) *Lines {
	if max <= 0 {
		max = MaxLine
	}
	return &Lines{r: r, max: max, crEnds: cr, buf: make([]byte, firstBuffer)}
}

// Ready reports whether Next will answer without waiting for the network.
func (l *Lines) Ready() bool {
	if l.err != nil {
		return true
	}
	b := l.buf[l.pos:l.end]
	if l.skipLF && len(b) > 0 && b[0] == '\n' {
		b = b[1:]
	}
	return l.eol(b) >= 0
}

func (l *Lines) eol(b []byte) int {
	i := bytes.IndexByte(b, '\n')
	if l.crEnds {
		head := b
		if i >= 0 {
			head = b[:i]
		}
		if j := bytes.IndexByte(head, '\r'); j >= 0 {
			return j
		}
	}
	return i
}

// Next returns the next line without its end. At the end of data an unfinished line is returned with io.EOF, then nothing
// with io.EOF. The bytes are valid until the next call.
func (l *Lines) Next() ([]byte, error) {
	scanned := 0
	for {
		b := l.buf[l.pos:l.end]
		if l.skipLF && len(b) > 0 {
			l.skipLF = false
			if b[0] == '\n' {
				l.pos++
				b = b[1:]
			}
		}
		if i := l.eol(b[scanned:]); i >= 0 {
			i += scanned
			line := b[:i]
			l.pos += i + 1
			if b[i] == '\r' {
				l.skipLF = true
			} else if !l.crEnds && i > 0 && line[i-1] == '\r' {
				line = line[:i-1]
			}
			if len(line) > l.max {
				return nil, l.tooLong()
			}
			return line, nil
		}
		scanned = len(b)
		if scanned > l.max {
			return nil, l.tooLong()
		}
		if l.err != nil {
			l.pos = l.end
			return b, l.err
		}
		l.fill()
	}
}

// tooLong ends the lines for good: what follows a line that is too long would be the middle of something.
func (l *Lines) tooLong() error {
	l.err, l.pos, l.end = ErrTooLong, 0, 0
	return ErrTooLong
}

func (l *Lines) fill() {
	if l.pos == l.end && len(l.buf) > keepBuffer {
		l.buf = make([]byte, firstBuffer) // one long line must not hold its memory for as long as the stream lives
		l.pos, l.end = 0, 0
	}
	if l.pos > 0 {
		l.end = copy(l.buf, l.buf[l.pos:l.end])
		l.pos = 0
	}
	if l.end == len(l.buf) {
		grown := make([]byte, 2*len(l.buf))
		copy(grown, l.buf[:l.end])
		l.buf = grown
	}
	for tries := 0; ; tries++ {
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		if err != nil {
			l.err = err
			return
		}
		if n > 0 {
			return
		}
		if tries == 100 {
			l.err = io.ErrNoProgress
			return
		}
	}
}

// Reader yields the frames of an event stream. Comments, ids and retry fields are passed over.
type Reader struct {
	lines     *Lines
	data      []byte
	event     []byte
	name      string // event as a string, kept while it repeats so that a delta costs no allocation
	hasData   bool
	delivered bool // data belongs to a frame already given
	owe       bool // a frame was given since the last lull
	first     bool
	max       int
}

// NewReader reads events from r, each at most max bytes (0: MaxLine).
func NewReader(r io.Reader, max int) *Reader {
	if max <= 0 {
		max = MaxLine
	}
	return &Reader{lines: NewLines(r, max, true), first: true, max: max}
}

// Next returns the next frame with data, or a lull before it has to wait for the network. At the end of data it returns
// io.EOF. An event whose closing blank line is missing is still given when its data line was complete or the data ended
// there: many servers forget it, and what it says is judged by whoever reads it.
func (r *Reader) Next() (Frame, error) {
	if r.delivered {
		if r.data = r.data[:0]; cap(r.data) > keepBuffer {
			r.data = nil
		}
		r.hasData, r.delivered = false, false
	}
	for {
		if r.owe && !r.lines.Ready() {
			r.owe = false
			return Frame{}, nil
		}
		line, err := r.lines.Next()
		if err != nil && err != io.EOF {
			return Frame{}, err
		}
		if r.first {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
			r.first = false
		}
		if len(line) > 0 {
			if ferr := r.field(line); ferr != nil {
				return Frame{}, ferr
			}
			if err == nil {
				continue
			}
		}
		if r.hasData {
			return r.give(), nil
		}
		r.event = r.event[:0]
		if err != nil {
			return Frame{}, err
		}
	}
}

func (r *Reader) give() Frame {
	if r.name != string(r.event) {
		r.name = string(r.event)
	}
	r.event = r.event[:0]
	r.delivered, r.owe = true, true
	return Frame{Event: r.name, Data: r.data}
}

func (r *Reader) field(line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	switch string(name) {
	case "data":
		if r.hasData {
			r.data = append(r.data, '\n')
		}
		if len(r.data)+len(value) > r.max {
			return ErrTooLong
		}
		if r.data == nil {
			r.data = make([]byte, 0, 512)
		}
		r.data = append(r.data, value...)
		r.hasData = true
	case "event":
		r.event = append(r.event[:0], value...)
	}
	return nil
}

// Append writes a frame as event stream bytes. Data that holds line ends is written as several data lines, so nothing in
// it can become framing; an event name must be one of our own constants or a checked word.
func Append(dst []byte, f Frame) []byte {
	if f.Event != "" {
		dst = append(dst, "event: "...)
		dst = append(dst, f.Event...)
		dst = append(dst, '\n')
	}
	rest := f.Data
	for {
		i := lineEnd(rest)
		dst = append(dst, "data: "...)
		if i < 0 {
			dst = append(dst, rest...)
			return append(dst, '\n', '\n')
		}
		dst = append(dst, rest[:i]...)
		dst = append(dst, '\n')
		if rest[i] == '\r' && i+1 < len(rest) && rest[i+1] == '\n' {
			i++
		}
		rest = rest[i+1:]
	}
}

// lineEnd is where the first line ends; -1 when there is but one. Two searches for one byte are much faster than one for two.
func lineEnd(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		b = b[:i+1]
	}
	if i := bytes.IndexByte(b, '\r'); i >= 0 {
		return i
	}
	if n := len(b); n > 0 && b[n-1] == '\n' {
		return n - 1
	}
	return -1
}
