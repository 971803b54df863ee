package cli

import (
	"os"
	"syscall"
	"testing"
)

// The first SIGTERM or SIGINT drains, the second ends at once, further ones change nothing, and SIGHUP reloads.
func TestSignals(t *testing.T) {
	for _, first := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		signals, ended, kill := make(chan os.Signal), make(chan struct{}), make(chan struct{})
		stopped, reloads := 0, 0
		done := make(chan struct{})
		go func() {
			defer close(done)
			heed(signals, ended, func() { stopped++ }, kill, func() { reloads++ })
		}()
		signals <- syscall.SIGHUP
		signals <- first
		select {
		case <-kill:
			t.Fatalf("the first %v ends it at once", first)
		default:
		}
		signals <- syscall.SIGINT
		<-kill
		signals <- syscall.SIGTERM
		close(ended)
		<-done
		if stopped != 1 || reloads != 1 {
			t.Errorf("%v: %d times stopped, %d times reloaded", first, stopped, reloads)
		}
	}
}
