package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

func TestJSONLines(t *testing.T) {
	var out bytes.Buffer
	log := logrus.New()
	log.SetOutput(&out)
	log.SetFormatter(jsonLines{})
	log.WithFields(logrus.Fields{"s": "a\n\"b\"\u2028", "n": 3, "i": int64(1 << 60), "nil": nil, "b": true, "e": errors.New("x\ny"), "l": []string{"q"}}).Info("hello\nthere")
	if strings.Count(out.String(), "\n") != 1 {
		t.Fatalf("more than one line: %q", out.String())
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if got["msg"] != "hello\nthere" || got["s"] != "a\n\"b\"\u2028" || got["n"] != 3.0 || got["nil"] != nil || got["b"] != true || got["e"] != "x\ny" || got["level"] != "info" {
		t.Errorf("%v", got)
	}
	if _, err := time.Parse(time.RFC3339Nano, got["time"].(string)); err != nil {
		t.Error(err)
	}
}

// TestLogQueueNeverWaits blocks the reader of the log and proves that writing goes on, that what was dropped is said once he
// reads again, and that close gives what was queued (F105).
func TestLogQueueNeverWaits(t *testing.T) {
	r, w := io.Pipe()
	q := newLogQueue(w)
	for range 3 * logLines {
		if n, err := q.Write([]byte("line\n")); n != 5 || err != nil {
			t.Fatal(n, err)
		}
	}
	read := make(chan string)
	go func() {
		all, _ := io.ReadAll(r)
		read <- string(all)
	}()
	q.close()
	_ = w.Close()
	text := <-read
	if !strings.Contains(text, `"msg":"log lines were dropped because nobody read them","lines":`) {
		t.Error("the loss was not said")
	}
	if n := strings.Count(text, "line\n"); n < logLines {
		t.Errorf("%d lines came through, want at least the %d that fit", n, logLines)
	}
}
