package cli

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"signalbox/internal/messages"
)

// newLogger is the one logger of the program: JSON lines for programs, text for a terminal, in colour unless NO_COLOR is set.
// Messages are constant and data is in fields, so that a newline in a value can never begin a line of its own.
func newLogger(env *Env, w io.Writer) *logrus.Logger {
	log := logrus.New()
	log.SetOutput(w)
	if env.IsTTY(w) {
		log.SetFormatter(&logrus.TextFormatter{
			ForceColors: env.Color(w), DisableColors: !env.Color(w),
			FullTimestamp: true, TimestampFormat: "15:04:05",
		})
		return log
	}
	log.SetFormatter(jsonLines{})
	return log
}

// jsonLines writes an entry as one JSON object on one line: time, level and msg, then the fields by name. It exists because
// there is one such line for each exchange, and logrus' own formatter costs as much as translating a small request.
type jsonLines struct{}

// Format is logrus.Formatter's.
func (jsonLines) Format(e *logrus.Entry) ([]byte, error) {
	b := make([]byte, 0, 768)
	b = append(b, `{"time":"`...)
	b = e.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, e.Level.String()...)
	b = append(b, `","msg":`...)
	b = messages.AppendQuote(b, e.Message)
	var room [32]string
	names := room[:0]
	for name := range e.Data {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b = append(b, ',')
		b = messages.AppendQuote(b, name)
		b = append(b, ':')
		b = appendValue(b, e.Data[name])
	}
	return append(b, '}', '\n'), nil
}

func appendValue(b []byte, v any) []byte {
	switch x := v.(type) {
	case nil:
		return append(b, "null"...)
	case string:
		return messages.AppendQuote(b, x)
	case error:
		return messages.AppendQuote(b, x.Error())
	case bool:
		return strconv.AppendBool(b, x)
	case int:
		return strconv.AppendInt(b, int64(x), 10)
	case int64:
		return strconv.AppendInt(b, x, 10)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return messages.AppendQuote(b, "unprintable")
	}
	return append(b, data...)
}

// Bounds of the log's queue.
const (
	logLines    = 4096
	logBatch    = 64 << 10
	logFarewell = time.Second
)

// logQueue takes log lines without ever making a request wait for whoever reads them: a pipe that nobody empties would
// otherwise stop the gateway. What does not fit is dropped and counted, and the count is the next line that gets through.
type logQueue struct {
	w       io.Writer
	lines   chan []byte
	dropped atomic.Int64
	ended   chan struct{}
	mu      sync.RWMutex // guards closed against the sending of a line
	closed  bool
}

func newLogQueue(w io.Writer) *logQueue {
	q := &logQueue{w: w, lines: make(chan []byte, logLines), ended: make(chan struct{})}
	go q.run()
	return q
}

// Write queues one line. It never fails and never waits.
func (q *logQueue) Write(p []byte) (int, error) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		return q.w.Write(p)
	}
	select {
	case q.lines <- bytes.Clone(p):
	default:
		q.dropped.Add(1)
	}
	return len(p), nil
}

func (q *logQueue) run() {
	defer close(q.ended)
	var batch []byte
	for line := range q.lines {
		batch = append(batch[:0], line...)
		for more := true; more && len(batch) < logBatch; {
			select {
			case line, ok := <-q.lines:
				batch, more = append(batch, line...), ok
			default:
				more = false
			}
		}
		if n := q.dropped.Swap(0); n > 0 {
			batch = append(batch, `{"level":"warning","msg":"log lines were dropped because nobody read them","lines":`...)
			batch = strconv.AppendInt(batch, n, 10)
			batch = append(batch, '}', '\n')
		}
		_, _ = q.w.Write(batch)
	}
}

// close writes what is queued, for a moment at most; later lines go straight through.
func (q *logQueue) close() {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return
	}
	q.closed = true
	close(q.lines)
	q.mu.Unlock()
	last := time.NewTimer(logFarewell)
	defer last.Stop()
	select {
	case <-q.ended:
	case <-last.C:
	}
}
