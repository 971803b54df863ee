package routes

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"signalbox/internal/fault"
)

// The table of docs/errors.md says what the error map does.
func TestErrorPageIsTrue(t *testing.T) {
	const page, begin, end = "../docs/errors.md", "<!-- table: checked by go test ./routes; it prints the right one when this one is wrong -->\n", "<!-- end of table -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), begin)
	got, _, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no table between %q and %q", page, begin, end)
	}
	if want := errorTable(); got != want {
		t.Errorf("%s does not say what the code does; this does:\n%s", page, want)
	}
}

func errorTable() string {
	var sb strings.Builder
	sb.WriteString("| kind in log and metrics | status | `error.type` | `x-should-retry` | next target |\n| --- | --- | --- | --- | --- |\n")
	for k := fault.Internal; k <= fault.Canceled; k++ {
		r := table[k]
		again, status, kind := "–", fmt.Sprint(r.status), r.kind
		if !r.retry {
			again = "false"
		}
		if k == fault.Canceled {
			again, status, kind = "–", "499, in log and metrics", "–"
		}
		fmt.Fprintf(&sb, "| `%s` | %s | %s | %s | %s |\n", k, status, kind, again, nextTarget(k))
	}
	return sb.String()
}

func nextTarget(k fault.Kind) string {
	ours, upstream := fault.Error{Kind: k}, fault.Error{Kind: k, Provider: "p"}
	switch {
	case ours.AnotherTarget():
		return "yes"
	case upstream.AnotherTarget():
		return "an upstream's: yes"
	}
	return "no"
}
