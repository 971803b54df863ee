package cli

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// boundMemory tells the runtime how much memory the container has, so that it collects harder instead of being killed. A
// GOMEMLIMIT of the environment wins; without a limit of the container's nothing changes.
func boundMemory(getenv func(string) string, file string) {
	if getenv("GOMEMLIMIT") != "" {
		return
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || limit < 16<<20 { // "max", or too little to be a limit of ours
		return
	}
	debug.SetMemoryLimit(limit / 10 * 9)
}

// cgroupLimit is where a container's memory limit stands (cgroup v2).
const cgroupLimit = "/sys/fs/cgroup/memory.max"
