package cli

import (
	"path/filepath"
	"time"

	"signalbox/config"
	"signalbox/internal/agents"
)

// projectFingerprints tells the agents of a folder's .claude/agents by the text of their definition files, for a gateway that was
// started elsewhere.
func projectFingerprints(dir string) []config.Fingerprint {
	return agents.New([]agents.Source{{Dir: filepath.Join(dir, ".claude", "agents"), Kind: agents.SourceProject}}, time.Now).Fingerprints()
}
