package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestTally(t *testing.T) {
	tests := []struct {
		name, in string
		well     bool
		want     []string // lines that must stand in the output, the last one last
	}{
		{"it counts passed tests and subtests", `{"Action":"output","Package":"p","Test":"A","Output":"noise\n"}
{"Action":"pass","Package":"p","Test":"A/b"}
{"Action":"pass","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}
{"Action":"pass","Package":"p"}`, true, []string{"ok  \tp\t0.1s", "2 passed, 0 failed"}},
		{"it shows why a test failed", `{"Action":"output","Package":"p","Test":"A","Output":"    a_test.go:3: broken\n"}
{"Action":"fail","Package":"p","Test":"A"}
{"Action":"fail","Package":"p"}`, false, []string{"    a_test.go:3: broken", "0 passed, 1 failed"}},
		{"it counts a package that did not build", `{"ImportPath":"p","Action":"build-output","Output":"x.go:1: syntax error\n"}
{"ImportPath":"p","Action":"build-fail"}
{"Action":"fail","Package":"p","FailedBuild":"p"}`, false, []string{"x.go:1: syntax error", "0 passed, 1 failed"}},
		{"it shows what a test that never ended had said", `{"Action":"output","Package":"p","Test":"A","Output":"panic: no\n"}
{"Action":"fail","Package":"p"}`, false, []string{"panic: no", "0 passed, 1 failed"}},
		{"it says which real part was missing, once", `{"Action":"output","Package":"p","Test":"A","Output":"    a_test.go:3: skipped: no real Ollama (how)\n"}
{"Action":"skip","Package":"p","Test":"A"}
{"Action":"output","Package":"p","Test":"B","Output":"    a_test.go:9: skipped: no real Ollama (how)\n"}
{"Action":"skip","Package":"p","Test":"B"}
{"Action":"pass","Package":"p","Test":"C"}`, true, []string{"2 skipped, not passed: no real Ollama (how)", "1 passed, 0 failed"}},
		{"it does not call nothing a success", ``, false, []string{"no test ran", "0 passed, 1 failed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			c := tally{missing: map[string]bool{}, output: map[string][]string{}, broken: map[string]bool{}, out: &out}
			if err := c.read(strings.NewReader(tt.in)); err != nil {
				t.Fatal(err)
			}
			if got := c.close(); got != tt.well {
				t.Errorf("well = %v", got)
			}
			if !strings.HasSuffix(out.String(), tt.want[len(tt.want)-1]+"\n") {
				t.Errorf("ends with\n%s", out.String())
			}
			for _, w := range tt.want {
				if !strings.Contains(out.String(), w+"\n") {
					t.Errorf("no line %q in\n%s", w, out.String())
				}
			}
		})
	}
}
