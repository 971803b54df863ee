package config

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sirupsen/logrus/hooks/test"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	file := write(t, 0o644, "a: 1", dir, "config.yaml")
	later := filepath.Join(dir, "later.yaml")
	log, _ := test.NewNullLogger()
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 16), make(chan error, 1)
	go func() {
		ended <- Watch(ctx, []string{file, later, "/does/not/exist/x"}, func() { changed <- struct{}{} }, log)
	}()
	await := func(what string, act func()) {
		t.Helper()
		// The watcher may not stand yet, so the act is repeated until it is seen.
		for range 100 {
			act()
			select {
			case <-changed:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
		t.Fatalf("%s was not seen", what)
	}
	n := 0
	await("a write", func() { n++; write(t, 0o644, "a: "+itoa(n), dir, "config.yaml") })
	await("a file that appears", func() { n++; write(t, 0o644, "b: "+itoa(n), dir, "later.yaml") })
	await("a rename over it", func() {
		n++
		if err := os.Rename(write(t, 0o644, "c: "+itoa(n), dir, "tmp"), file); err != nil {
			t.Fatal(err)
		}
	})
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}
