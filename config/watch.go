package config

import (
	"context"
	"crypto/sha256"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/sirupsen/logrus"
)

// settle is how long the files must be left alone before they are looked at: an editor writes in several steps.
const settle = 100 * time.Millisecond

// Watch calls changed after the content of one of the files has changed, appeared or gone, until ctx is done. It watches their
// folders, since editors rename and Kubernetes swaps a link; a folder that does not exist is passed over. The error is that
// of the operating system's watcher; nothing is watched then.
func Watch(ctx context.Context, paths []string, changed func(), log logrus.FieldLogger) error {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer w.Close()
	seen := fingerprints(paths)
	folders := map[string]bool{}
	for _, p := range paths {
		folder := filepath.Dir(p)
		if folders[folder] {
			continue
		}
		folders[folder] = true
		if err := w.Add(folder); err != nil && !os.IsNotExist(err) {
			log.WithError(err).WithField("folder", folder).Warn("folder is not watched for changes of the configuration")
		}
	}
	timer := time.NewTimer(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.Events:
			// The ledger lives in the same folder and writes with every request. Resting here lets its events pile up and be
			// passed over in one go, instead of waking us for each.
			timer.Reset(settle)
			if !rest(ctx, w, timer) {
				return nil
			}
		case err := <-w.Errors:
			log.WithError(err).Warn("watching the configuration") // an overflow lost events: look at the files all the same
		case <-timer.C: // a first look, for what changed while the watcher was set up
		}
		if now := fingerprints(paths); !maps.Equal(now, seen) {
			seen = now
			changed()
		}
	}
}

// rest waits for the timer, then takes what has piled up. It reports false when ctx is done.
func rest(ctx context.Context, w *fsnotify.Watcher, timer *time.Timer) bool {
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	}
	for {
		select {
		case <-w.Events:
		default:
			return true
		}
	}
}

// fingerprints are the contents of the files; one that cannot be read has none.
func fingerprints(paths []string) map[string][sha256.Size]byte {
	out := make(map[string][sha256.Size]byte, len(paths))
	for _, p := range paths {
		if st, err := os.Stat(p); err != nil || !st.Mode().IsRegular() {
			continue // a pipe given with --config can be read once only, and has been
		}
		if data, _, err := readFile(p); err == nil {
			out[p] = sha256.Sum256(data)
		}
	}
	return out
}
