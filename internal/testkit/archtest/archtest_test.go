package archtest

import (
	"strings"
	"testing"
)

// The map of this tree, as it stands.
func TestArchitecture(t *testing.T) {
	wrong, err := Check("../../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}
}

// Each rule catches what it is for: a check that nothing can fail guards nothing.
func TestRules(t *testing.T) {
	tests := []struct {
		name, path, text string
		want             string // a piece of the one complaint; empty: none
	}{
		{"it lets an arrow point downhill", "routes/messages.go", `import ("signalbox/internal/dispatch"; "github.com/gin-gonic/gin"; "net/http"); var _ = http.Get`, ""},
		{"it reports an arrow that points uphill", "internal/wire/job.go", `import "signalbox/providers"`, "internal/wire -> providers points uphill"},
		{"it reports a provider that knows another", "providers/ollama/x.go", `import "signalbox/providers/echo"`, "providers/ollama -> providers/echo points uphill"},
		{"it reports a dialect that knows another", "internal/wire/ollamachat/x.go", `import "signalbox/internal/wire/openaichat"`, "points uphill"},
		{"it reports the server's use of the command line", "server/x.go", `import "signalbox/internal/cli"`, "points uphill"},
		{"it reports a room that is not on the map", "internal/helpers/x.go", ``, "is not on the map"},
		{"it reports the use of test helpers", "routes/x.go", `import "signalbox/internal/testkit"`, "for tests and generators"},
		{"it keeps gin at the door", "internal/dispatch/x.go", `import "github.com/gin-gonic/gin"`, "gin stops at the door"},
		{"it keeps gin's sub-packages at the door", "providers/x.go", `import "github.com/gin-gonic/gin/binding"`, "gin stops at the door"},
		{"it keeps wire off the network", "internal/wire/x.go", `import "net"`, "knows no network"},
		{"it keeps wire from dialing", "internal/wire/x.go", `import "net/http"; var c http.Client`, "http.Client"},
		{"it lets wire read headers", "internal/wire/x.go", `import "net/http"; func f(h http.Header) int { return http.StatusOK }`, ""},
		{"it sees through a renamed import", "internal/wire/x.go", `import web "net/http"; var c web.Client`, "http.Client"},
		{"it keeps secrets where headers are set", "routes/x.go", `func f(k interface{ Reveal() string }) string { return k.Reveal() }`, "revealed"},
		{"it lets a provider sign in", "providers/ollama/x.go", `func f(k interface{ Reveal() string }) string { return k.Reveal() }`, ""},
		{"it keeps os.Exit in cmd", "internal/cli/x.go", `import "os"; func f() { os.Exit(1) }`, "os.Exit"},
		{"it lets cmd exit", "cmd/signalbox/main.go", `import "os"; func f() { os.Exit(1) }`, ""},
		{"it reports a package-level logger", "server/x.go", `import "github.com/sirupsen/logrus"; var log = logrus.New()`, "package-level logger"},
		{"it reports logrus's own logger", "server/x.go", `import "github.com/sirupsen/logrus"; func f() { logrus.Infof("x") }`, "package-level logger"},
		{"it lets a logger be handed down", "server/x.go", `import "github.com/sirupsen/logrus"; func f(l logrus.FieldLogger) { l.Info("x") }`, ""},
		{"it reports the standard logger", "server/x.go", `import "log"; var _ = log.Print`, "log.Print is the package-level logger"},
		{"it lets net/http have the logger it asks for", "server/x.go", `import "log"; var _ = log.New`, ""},
		{"it keeps metrics on one page", "internal/ledger/x.go", `import "github.com/prometheus/client_golang/prometheus"`, "internal/metrics alone"},
		{"it leaves generators alone", "tools/catalog/x.go", `import "os"; func f() { os.Exit(1) }`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := parse(tt.path, []byte("package x; "+tt.text))
			if err != nil {
				t.Fatal(err)
			}
			wrong := check([]source{f})
			switch {
			case tt.want == "" && len(wrong) > 0:
				t.Errorf("complains: %q", wrong)
			case tt.want != "" && (len(wrong) != 1 || !strings.Contains(wrong[0], tt.want)):
				t.Errorf("says %q, want one line with %q", wrong, tt.want)
			}
		})
	}
}

// A circle is printed whole, so that a reader sees which arrow to turn.
func TestCircleIsPrinted(t *testing.T) {
	var files []source
	for p, text := range map[string]string{
		"internal/messages/x.go": `import "signalbox/providers"`,
		"providers/x.go":         `import "signalbox/internal/wire"`,
		"internal/wire/x.go":     `import "signalbox/internal/messages"`,
	} {
		f, err := parse(p, []byte("package x; "+text))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	const want = "internal/messages -> providers -> internal/wire -> internal/messages"
	if wrong := check(files); len(wrong) != 1 || !strings.Contains(wrong[0], want) {
		t.Errorf("says %q, want the way %s", wrong, want)
	}
}
