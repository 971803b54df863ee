package sse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// frames reads everything in short form: event|data, without the lulls.
func frames(r io.Reader, max int) (out []string, err error) {
	rd := NewReader(r, max)
	for {
		f, err := rd.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if !f.Lull() {
			out = append(out, f.Event+"|"+string(f.Data))
		}
	}
}

// cut gives a text in two reads.
func cut(s string, at int) io.Reader {
	return io.MultiReader(strings.NewReader(s[:at]), strings.NewReader(s[at:]))
}

func TestReader(t *testing.T) {
	for name, row := range map[string]struct {
		in   string
		want []string
	}{
		"it ends lines at LF":                      {"data: a\n\ndata: b\n\n", []string{"|a", "|b"}},
		"it ends lines at CRLF":                    {"data: a\r\n\r\ndata: b\r\n\r\n", []string{"|a", "|b"}},
		"it ends lines at CR":                      {"data: a\r\rdata: b\r\r", []string{"|a", "|b"}},
		"it takes all three in one stream":         {"data: a\r\n\rdata: b\n\r\ndata: c\r\r\n", []string{"|a", "|b", "|c"}},
		"it takes LF CR for two ends":              {"data: a\n\rdata: b\n\r", []string{"|a", "|b"}},
		"it reads the event's name":                {"event: ping\ndata: {}\n\n", []string{"ping|{}"}},
		"it counts the last name":                  {"event: a\nevent: b\ndata: x\n\n", []string{"b|x"}},
		"it forgets the name behind its event":     {"event: a\ndata: x\n\ndata: y\n\n", []string{"a|x", "|y"}},
		"it forgets a name without data":           {"event: a\n\ndata: y\n\n", []string{"|y"}},
		"it joins data lines":                      {"data: a\ndata: b\ndata\ndata: c\n\n", []string{"|a\nb\n\nc"}},
		"it takes one space away":                  {"data:a\n\ndata:  b\n\ndata:\tc\n\n", []string{"|a", "| b", "|\tc"}},
		"it keeps colons in a value":               {"data: a: b:c\n\n", []string{"|a: b:c"}},
		"it gives empty data":                      {"data\n\ndata:\n\n", []string{"|", "|"}},
		"it passes comments over":                  {": OPENROUTER PROCESSING\n\n:\ndata: a\n: in between\n\n", []string{"|a"}},
		"it passes id and retry over":              {"id: 7\nretry: 10\ndata: a\nid\n\n", []string{"|a"}},
		"it passes unknown fields over":            {"Data: no\ndatax: no\n data: no\nfoo\ndata: a\n\n", []string{"|a"}},
		"it takes a byte order mark away":          {"\xef\xbb\xbfdata: a\n\n", []string{"|a"}},
		"it takes only the first mark away":        {"data: a\n\n\xef\xbb\xbfdata: b\n\n", []string{"|a"}},
		"it gives an event without its blank line": {"data: a\n\nevent: e\ndata: b\n", []string{"|a", "e|b"}},
		"it gives an event without its line's end": {"data: a\n\ndata: b", []string{"|a", "|b"}},
		"it gives a field cut short as data it is": {"data: a\nda", []string{"|a"}},
		"it reads nothing from nothing":            {"", nil},
		"it reads nothing from blank lines":        {"\n\r\n\r\n\n", nil},
		"it keeps UTF-8 whole":                     {"data: é中😀\n\n", []string{"|é中😀"}},
		"it keeps bytes that are no UTF-8":         {"data: \xff\x00\n\n", []string{"|\xff\x00"}},
		"it takes many blank lines for one":        {"data: a\n\n\n\n\ndata: b\n\n", []string{"|a", "|b"}},
	} {
		t.Run(name, func(t *testing.T) {
			for at := 0; at <= len(row.in); at++ {
				got, err := frames(cut(row.in, at), 0)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Fatalf("cut at %d: %s", at, diff)
				}
			}
			for how, r := range map[string]io.Reader{"byte by byte": iotest.OneByteReader(strings.NewReader(row.in)),
				"with the error beside the data": iotest.DataErrReader(strings.NewReader(row.in)), "by halves": iotest.HalfReader(strings.NewReader(row.in))} {
				got, err := frames(r, 0)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Fatalf("%s: %s", how, diff)
				}
			}
		})
	}
}

func TestReaderHasALimit(t *testing.T) {
	line := "data: " + strings.Repeat("x", 200) + "\n"
	for name, row := range map[string]struct {
		in   string
		max  int
		want []string
		long bool
	}{
		"it takes an event of just the limit":       {line + "\n", 206, []string{"|" + line[6:206]}, false},
		"it refuses a longer line":                  {"data: a\n\n" + line + "\ndata: b\n\n", 205, []string{"|a"}, true},
		"it refuses a line that never ends":         {"data: a\n\n" + strings.Repeat("x", 10_000), 100, []string{"|a"}, true},
		"it refuses many lines that are too much":   {strings.Repeat(line, 3) + "\n", 500, nil, true},
		"it refuses many empty lines as well":       {strings.Repeat("data\n", 600) + "\n", 500, nil, true},
		"it takes a line longer than one buffer":    {"data: " + strings.Repeat("y", 300_000) + "\n\ndata: b\n\n", 0, []string{"|" + strings.Repeat("y", 300_000), "|b"}, false},
		"it does not add events up":                 {strings.Repeat(line+"\n", 50), 250, nil, false},
		"it takes comments of any number for small": {strings.Repeat(": keep alive\n\n", 1000) + "data: a\n\n", 100, []string{"|a"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			rd := strings.NewReader(row.in)
			got, err := frames(rd, row.max)
			if errors.Is(err, ErrTooLong) != row.long || err != nil && !row.long {
				t.Fatalf("%v", err)
			}
			if row.want != nil || row.long {
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Fatal(diff)
				}
			}
		})
	}
	t.Run("it stays broken", func(t *testing.T) {
		r := NewReader(strings.NewReader(line+"\ndata: b\n\n"), 50)
		for range 3 {
			if f, err := r.Next(); !errors.Is(err, ErrTooLong) {
				t.Fatalf("%+v %v", f, err)
			}
		}
	})
}

func TestReaderTellsOfABrokenConnection(t *testing.T) {
	reset := errors.New("reset")
	got, err := frames(io.MultiReader(strings.NewReader("data: a\n\ndata: b\n"), iotest.ErrReader(reset)), 0)
	if !errors.Is(err, reset) || len(got) != 1 {
		t.Fatalf("%v %v: half an event is none", got, err)
	}
	if _, err := frames(iotest.ErrReader(nil), 0); err != nil && !errors.Is(err, io.ErrNoProgress) {
		t.Fatal(err)
	}
}

// log notes when it is read, between the frames that are given.
type log struct {
	chunks []string
	lines  []string
}

func (l *log) Read(b []byte) (int, error) {
	if len(l.chunks) == 0 {
		l.lines = append(l.lines, "read: end")
		return 0, io.EOF
	}
	n := copy(b, l.chunks[0])
	l.lines = append(l.lines, "read: "+l.chunks[0][:n])
	if l.chunks[0] = l.chunks[0][n:]; l.chunks[0] == "" {
		l.chunks = l.chunks[1:]
	}
	return n, nil
}

func TestALullComesJustBeforeARead(t *testing.T) {
	for name, row := range map[string]struct{ chunks, want []string }{
		"it flushes each event that comes alone": {[]string{"data: a\n\n", "data: b\n\n"},
			[]string{"read: data: a\n\n", "a", "lull", "read: data: b\n\n", "b", "lull", "read: end"}},
		"it flushes two that come together once": {[]string{"data: a\n\ndata: b\n\n"},
			[]string{"read: data: a\n\ndata: b\n\n", "a", "b", "lull", "read: end"}},
		"it flushes before half an event": {[]string{"data: a\n\ndata: b\n", "\ndata: c\n\n"},
			[]string{"read: data: a\n\ndata: b\n", "a", "lull", "read: \ndata: c\n\n", "b", "c", "lull", "read: end"}},
		"it flushes before half a line": {[]string{"data: a\n\nda", "ta: b\n\n"},
			[]string{"read: data: a\n\nda", "a", "lull", "read: ta: b\n\n", "b", "lull", "read: end"}},
		"it does not flush what was flushed": {[]string{"data: a\n\n", ": comment\n\n", "da", "ta: b\n\n"},
			[]string{"read: data: a\n\n", "a", "lull", "read: : comment\n\n", "read: da", "read: ta: b\n\n", "b", "lull", "read: end"}},
		"it does not wait for the LF of a CRLF": {[]string{"data: a\r\n\r", "\ndata: b\r\n\r\n"},
			[]string{"read: data: a\r\n\r", "a", "lull", "read: \ndata: b\r\n\r\n", "b", "lull", "read: end"}},
		"it says nothing before the first event": {[]string{": processing\n\n", "data: a\n\n"},
			[]string{"read: : processing\n\n", "read: data: a\n\n", "a", "lull", "read: end"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := &log{chunks: row.chunks}
			r := NewReader(l, 0)
			for {
				f, err := r.Next()
				if err != nil {
					break
				}
				if f.Lull() {
					l.lines = append(l.lines, "lull")
				} else {
					l.lines = append(l.lines, string(f.Data))
				}
			}
			if diff := cmp.Diff(row.want, l.lines); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

func TestLines(t *testing.T) {
	for name, row := range map[string]struct {
		in   string
		cr   bool
		want []string
		rest string
	}{
		"it ends NDJSON lines at LF and CRLF": {"a\nb\r\nc\rd\n", false, []string{"a", "b", "c\rd"}, ""},
		"it gives blank lines":                {"\n\r\n\n", false, []string{"", "", ""}, ""},
		"it gives the unfinished line last":   {"a\nb", false, []string{"a"}, "b"},
		"it ends event lines at CR too":       {"a\rb\r\n\nc", true, []string{"a", "b", ""}, "c"},
	} {
		t.Run(name, func(t *testing.T) {
			for at := 0; at <= len(row.in); at++ {
				l := NewLines(cut(row.in, at), 0, row.cr)
				var got []string
				for {
					line, err := l.Next()
					if err == io.EOF {
						if string(line) != row.rest {
							t.Fatalf("cut at %d: rest %q", at, line)
						}
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, string(line))
				}
				if diff := cmp.Diff(row.want, got); diff != "" {
					t.Fatalf("cut at %d: %s", at, diff)
				}
				if line, err := l.Next(); len(line) != 0 || err != io.EOF || !l.Ready() {
					t.Fatalf("behind the end: %q %v", line, err)
				}
			}
		})
	}
}

func TestLongLinesDoNotKeepTheirMemory(t *testing.T) {
	in := "data: " + strings.Repeat("x", 4<<20) + "\n\n" + strings.Repeat("data: small\n\n", 1000)
	r := NewReader(iotest.HalfReader(strings.NewReader(in)), 0)
	for {
		if _, err := r.Next(); err != nil {
			break
		}
	}
	if kept := len(r.lines.buf) + cap(r.data); kept > 128<<10 {
		t.Fatalf("%d bytes are kept", kept)
	}
}

func TestAppend(t *testing.T) {
	for name, row := range map[string]struct {
		f    Frame
		want string
	}{
		"it writes name and data":        {Frame{"ping", []byte(`{"type":"ping"}`)}, "event: ping\ndata: {\"type\":\"ping\"}\n\n"},
		"it leaves an empty name out":    {Frame{"", []byte("x")}, "data: x\n\n"},
		"it writes empty data":           {Frame{"e", nil}, "event: e\ndata: \n\n"},
		"it breaks data at every end":    {Frame{"", []byte("a\nb\rc\r\nd")}, "data: a\ndata: b\ndata: c\ndata: d\n\n"},
		"it lets no text become framing": {Frame{"", []byte("a\n\nevent: error\ndata: {}\n\n")}, "data: a\ndata: \ndata: event: error\ndata: data: {}\ndata: \ndata: \n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(row.want, string(Append(nil, row.f))); diff != "" {
				t.Fatal(diff)
			}
		})
	}
}

// FuzzReader: how the network cut a stream never changes what it says, and what was read is read again from what Append writes.
func FuzzReader(f *testing.F) {
	for _, s := range []string{"data: a\n\nevent: b\r\ndata: c\r\n\r\n", "\xef\xbb\xbfdata\r\r:x\n\n", "event: x\ndata: 1\ndata: 2\n\nid: 3\n\ndata: tail", "\r\n\r\r\n\ndata:\n"} {
		f.Add([]byte(s), uint16(0x1234), 64)
	}
	f.Fuzz(func(t *testing.T, in []byte, cuts uint16, max int) {
		max = max%256 + 1
		if max <= 0 {
			max = 1 << 20
		}
		want, wantErr := frames(bytes.NewReader(in), max)
		var parts []io.Reader
		rest := in
		for len(rest) > 0 {
			n := min(len(rest), int(cuts&7)+1)
			cuts = cuts>>3 | cuts<<13
			parts = append(parts, bytes.NewReader(rest[:n]))
			rest = rest[n:]
		}
		got, err := frames(io.MultiReader(parts...), max)
		if diff := cmp.Diff(want, got); diff != "" || fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("%v, in pieces %v: %s", wantErr, err, diff)
		}
		var wrote []byte
		for _, w := range want {
			event, data, _ := strings.Cut(w, "|")
			if strings.Contains(event, "|") {
				return
			}
			wrote = Append(wrote, Frame{event, []byte(data)})
		}
		if bytes.Contains(in, []byte("|")) {
			return // the short form cannot tell
		}
		again, err := frames(bytes.NewReader(wrote), 0)
		if diff := cmp.Diff(want, again); diff != "" || err != nil {
			t.Fatalf("%v: %s\n%q", err, diff, wrote)
		}
	})
}

// FuzzAppend: no data, whatever it holds, becomes more than one frame.
func FuzzAppend(f *testing.F) {
	f.Add([]byte("a\n\nevent: error\r\rdata: x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := frames(bytes.NewReader(Append(nil, Frame{"content_block_delta", data})), 1<<30)
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
		if err != nil || len(got) != 1 || got[0] != "content_block_delta|"+want {
			t.Fatalf("%q %v", got, err)
		}
	})
}
