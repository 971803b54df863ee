package wire

import (
	"bytes"
	"io"

	"signalbox/internal/fault"
	"signalbox/internal/sse"
)

// maxWhole is the largest whole reply that is read when a stream was asked for.
const maxWhole = 16 << 20

// mark is the byte order mark that some servers put in front.
const mark = "\xef\xbb\xbf"

// Open finds out what an upstream answers a streamed request with: an event stream never begins with a brace, a JSON document
// always does. It gives a reader of the frames, or the whole document without the white space around it.
func Open(up io.Reader) (frames *sse.Reader, document []byte, err error) {
	head := make([]byte, 0, 512)
	for tries := 0; ; tries++ {
		n, err := up.Read(head[len(head):cap(head)])
		head = head[:len(head)+n]
		first := bytes.TrimLeft(bytes.TrimPrefix(head, []byte(mark)), " \t\r\n")
		switch {
		case len(first) > 0 && (first[0] == '{' || first[0] == '['):
			document, err = restOf(up, head, err)
			return nil, document, err
		case len(first) > 0 && !couldBeMark(first) || len(head) == cap(head):
			if err == nil || err == io.EOF {
				return sse.NewReader(io.MultiReader(bytes.NewReader(head), up), 0), nil, nil
			}
			return nil, nil, err
		case err == io.EOF:
			return sse.NewReader(bytes.NewReader(head), 0), nil, nil
		case err != nil:
			return nil, nil, err
		case n == 0 && tries > 100:
			return nil, nil, io.ErrNoProgress
		}
	}
}

// couldBeMark says that what came so far may yet turn out to be a byte order mark.
func couldBeMark(b []byte) bool { return len(b) < len(mark) && bytes.HasPrefix([]byte(mark), b) }

// restOf reads the rest of a document whose beginning is head; err is what came with it.
func restOf(up io.Reader, head []byte, err error) ([]byte, error) {
	if err == nil {
		var rest []byte
		rest, err = io.ReadAll(io.LimitReader(up, maxWhole-int64(len(head))+1))
		head = append(head, rest...)
		if err == nil {
			err = io.EOF
		}
	}
	if err != io.EOF {
		return nil, err
	}
	if len(head) > maxWhole {
		return nil, &fault.Error{Kind: fault.Upstream, Message: "the upstream's reply is larger than 16 MiB", Outcome: "too_large_answer"}
	}
	return Trim(head), nil
}

// Trim cuts white space and a byte order mark off a whole reply.
func Trim(b []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(b), []byte(mark)))
}

// IsStream reports whether a whole reply is an event stream by its first line.
func IsStream(b []byte) bool {
	for _, p := range [...]string{"data:", ":", "event:", "id:", "retry:"} {
		if bytes.HasPrefix(b, []byte(p)) {
			return true
		}
	}
	return false
}
