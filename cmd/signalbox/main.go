// Signalbox is a gateway for model requests. This is its only os.Exit; everything else is in internal/cli.
package main

import (
	"os"
	"runtime/debug"

	"signalbox/internal/cli"
)

// version is set by the release build: -ldflags "-X main.version=1.2.3".
var version = ""

func main() {
	os.Exit(cli.Main(cli.System(buildVersion()), os.Args[1:]))
}

// buildVersion is the release's version, else the module's, else the commit that was built.
func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "dev"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "dev-" + s.Value[:12]
		}
	}
	return "dev"
}
