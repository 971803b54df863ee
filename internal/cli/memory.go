package cli

import (
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// heapGrowth lets the heap grow to three times what is live before it is collected: a gateway's live heap is a few megabytes,
// and collecting it at each doubling costs a fifth of its time.
const heapGrowth = 200

// boundMemory tells the runtime how much memory the container has, so that it collects harder instead of being killed, and
// how far the heap may grow below that. GOMEMLIMIT and GOGC of the environment win.
func boundMemory(getenv func(string) string, file string) {
	if getenv("GOGC") == "" {
		debug.SetGCPercent(heapGrowth)
	}
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
