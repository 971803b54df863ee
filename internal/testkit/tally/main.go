// Command tally reads what "go test -json" prints and says it for people: one line a package, the whole output of each test that
// failed, one line with the real parts that were missing, and last "N passed, N failed". It ends with 1 when something failed.
//
// A skipped test is not a passed one: it is counted as neither, and its reason is printed.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// event is one line of go test -json (go doc test2json, and cmd/go's build-output events).
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Output     string
}

// tally is what was counted so far.
type tally struct {
	passed, failed, skipped int
	missing                 map[string]bool     // reasons of skips
	output                  map[string][]string // by test, until it has ended
	broken                  map[string]bool     // packages with a failed test
	out                     io.Writer
}

func main() {
	t := tally{missing: map[string]bool{}, output: map[string][]string{}, broken: map[string]bool{}, out: os.Stdout}
	if err := t.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "tally:", err)
		t.failed++
	}
	if !t.close() {
		os.Exit(1)
	}
}

// read takes all events; a line that is none is passed on as it is.
func (t *tally) read(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadString('\n')
		var e event
		switch {
		case line == "":
		case json.Unmarshal([]byte(line), &e) != nil || e.Action == "":
			fmt.Fprint(t.out, line)
		default:
			t.take(e)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (t *tally) take(e event) {
	key := e.Package + "\x00" + e.Test
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "output":
		if e.Test == "" && (strings.HasPrefix(e.Output, "ok ") || strings.HasPrefix(e.Output, "FAIL\t") || strings.HasPrefix(e.Output, "---")) {
			fmt.Fprint(t.out, e.Output)
			return
		}
		t.output[key] = append(t.output[key], e.Output)
	case "pass":
		if e.Test != "" {
			t.passed++
		}
		delete(t.output, key)
	case "skip":
		if e.Test != "" {
			t.skipped++
			t.reason(t.output[key])
		}
		delete(t.output, key)
	case "fail":
		t.fail(e, key)
	}
}

func (t *tally) fail(e event, key string) {
	if e.Test != "" || !t.broken[e.Package] { // a package that fails without a test did not build, or ended early
		t.failed++
	}
	t.broken[e.Package] = true
	fmt.Fprint(t.out, strings.Join(t.output[key], ""))
	delete(t.output, key)
	if e.Test == "" {
		// Tests that never ended: the package died under them (a panic, a time limit), and theirs is the output that says why.
		for _, k := range slices.Sorted(maps.Keys(t.output)) {
			if strings.HasPrefix(k, e.Package+"\x00") {
				fmt.Fprint(t.out, strings.Join(t.output[k], ""))
				delete(t.output, k)
			}
		}
	}
}

// reason finds why a test was skipped: the text behind "file_test.go:12: ".
func (t *tally) reason(lines []string) {
	for _, l := range lines {
		if _, why, ok := strings.Cut(strings.TrimSpace(l), ".go:"); ok {
			if _, why, ok = strings.Cut(why, ": "); ok {
				t.missing[strings.TrimPrefix(why, "skipped: ")] = true
				return
			}
		}
	}
}

// close prints the last lines and says whether all was well.
func (t *tally) close() bool {
	if t.skipped > 0 {
		fmt.Fprintf(t.out, "%d skipped, not passed: %s\n", t.skipped, strings.Join(slices.Sorted(maps.Keys(t.missing)), "; "))
	}
	if t.passed+t.failed == 0 {
		fmt.Fprintln(t.out, "no test ran")
		t.failed++
	}
	fmt.Fprintf(t.out, "%d passed, %d failed\n", t.passed, t.failed)
	return t.failed == 0
}
