package fault

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestFrom(t *testing.T) {
	own := New(NotFound, "model %q is not there", "x")
	for name, row := range map[string]struct {
		err  error
		kind Kind
		text string
	}{
		"it finds a fault behind wrapping":     {fmt.Errorf("ollama: %w", own), NotFound, `model "x" is not there`},
		"it takes a cancelled context":         {fmt.Errorf("read: %w", context.Canceled), Canceled, "the caller left"},
		"it takes a deadline":                  {context.DeadlineExceeded, Timeout, "the time limit passed"},
		"it hides what it does not know":       {errors.New("secret detail"), Internal, "Internal error"},
		"it takes the outermost of two faults": {Wrap(Upstream, own, "outer"), Upstream, "outer"},
	} {
		t.Run(name, func(t *testing.T) {
			f := From(row.err)
			if f.Kind != row.kind || f.Message != row.text {
				t.Fatalf("%v %q", f.Kind, f.Message)
			}
			if !errors.Is(f, f.Cause) && f.Cause != nil {
				t.Fatal("the cause is lost")
			}
		})
	}
	if From(nil) != nil {
		t.Fatal("nil is no fault")
	}
}

func TestError(t *testing.T) {
	e := Wrap(Upstream, errors.New("reset"), "it broke")
	e.Provider = "lab"
	if e.Error() != "lab: it broke: reset" {
		t.Fatal(e.Error())
	}
	if e.Label() != "upstream" {
		t.Fatal(e.Label())
	}
	if e.Outcome = "reset"; e.Label() != "reset" {
		t.Fatal(e.Label())
	}
}

func TestKindsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for k := Internal; k <= Canceled; k++ {
		if n := k.String(); n == "unknown" || n == "" || seen[n] {
			t.Errorf("kind %d is named %q", k, n)
		}
		seen[k.String()] = true
	}
	if Kind(200).String() != "unknown" || len(kindNames) != int(Canceled)+1 {
		t.Error("names and kinds differ in number")
	}
}

func TestAnotherTarget(t *testing.T) {
	for kind, want := range map[Kind][2]bool{ // ours, an upstream's
		Internal: {false, false}, Invalid: {false, false}, ContextOverflow: {true, true}, TooLarge: {false, false}, Authentication: {false, false},
		Billing: {false, true}, Budget: {false, false}, Permission: {false, true}, NotFound: {false, true}, RateLimit: {false, true},
		Upstream: {true, true}, UpstreamKey: {true, true}, Unreachable: {true, true}, Timeout: {true, true}, Overloaded: {true, true}, Canceled: {false, false},
	} {
		for i, provider := range []string{"", "lab"} {
			if got := (&Error{Kind: kind, Provider: provider}).AnotherTarget(); got != want[i] {
				t.Errorf("%v at %q: %v", kind, provider, got)
			}
		}
	}
}
