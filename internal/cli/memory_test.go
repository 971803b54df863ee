package cli

import (
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
)

func TestBoundMemory(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	defer debug.SetGCPercent(debug.SetGCPercent(100))
	none := func(string) string { return "" }
	for _, row := range []struct {
		it, text, env string
		want          int64
	}{
		{"takes nine tenths of the container's limit", "1073741824\n", "", 1073741824 / 10 * 9},
		{"knows that max is no limit", "max\n", "", before},
		{"leaves it to GOMEMLIMIT", "1073741824\n", "1GiB", before},
		{"does not believe a tiny one", "4096\n", "", before},
	} {
		t.Run(row.it, func(t *testing.T) {
			debug.SetMemoryLimit(before)
			file := filepath.Join(t.TempDir(), "memory.max")
			if err := os.WriteFile(file, []byte(row.text), 0o600); err != nil {
				t.Fatal(err)
			}
			env := none
			if row.env != "" {
				env = func(string) string { return row.env }
			}
			boundMemory(env, file)
			if got := debug.SetMemoryLimit(-1); got != row.want {
				t.Errorf("limit %d, want %d", got, row.want)
			}
		})
	}
}
