package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"signalbox/config"
	"signalbox/providers"
	"signalbox/server"
)

// doctorLimit is how long all checks together may take; they run side by side.
const doctorLimit = 5 * time.Second

func newDoctorCommand(env *Env) *cobra.Command {
	var o doctorOptions
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong, why it matters, and the fix",
		Long: `Look at the configuration, the providers, the port, the state directory and the agents' settings, and say for each fault what
it is, why it matters and the command or line that mends it. Nothing is changed, and no prompt is sent to anybody.

Only Ollama servers and addresses on this machine or network are asked. With --live every provider is asked whether it accepts its
key: one small request each, which costs nothing.

Exit codes: 0 no errors (there may be warnings), 1 errors, 2 the configuration cannot be read.`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&o.file, "config", "", "the configuration `FILE` (default: SIGNALBOX_CONFIG, then the usual places)")
	cmd.Flags().BoolVar(&o.live, "live", false, "ask every provider whether it accepts its key")
	port := addPort(cmd)
	addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("port") {
			if *port < 1 || *port > 65535 {
				return failText(exitUsage, "--port: a number from 1 to 65535")
			}
			o.port = port
		}
		ctx := cmd.Context()
		if ctx == nil {
			ctx = context.Background()
		}
		x := newExamination(env, o)
		found := x.run(ctx, doctorChecks, doctorLimit)
		if asJSON(cmd) {
			for _, f := range found {
				writeJSON(env.Stdout, f)
			}
		} else {
			showFindings(env.Stdout, env.Color(env.Stdout), env.Version, found)
		}
		return doctorExit(x, found)
	}
	return cmd
}

type doctorOptions struct {
	file string
	live bool
	port *int // nil: the configuration's
}

// severity is how bad a finding is.
type severity int

const (
	fine severity = iota
	doubtful
	wrong
)

// String is the severity as programs read it.
func (s severity) String() string { return [...]string{"ok", "warning", "error"}[s] }

// MarshalText is String.
func (s severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A finding is one thing that was looked at, and what is to be done about it. No finding holds a key.
type finding struct {
	Check    string   `json:"check"` // what was looked at, in a word
	Severity severity `json:"severity"`
	What     string   `json:"what"`           // what is so
	Why      string   `json:"why,omitempty"`  // why it matters; empty when all is well
	Fix      string   `json:"fix,omitempty"`  // a command, or a line to write and where
	File     string   `json:"file,omitempty"` // where it is written, when it is written somewhere
	Line     int      `json:"line,omitempty"`
}

// A check looks at one thing. What it cannot look at, because the configuration cannot be read or nothing of the kind is
// configured, is no finding.
type check struct {
	name string
	look func(ctx context.Context, x *examination) []finding
}

// doctorChecks are all checks, in the order in which one fault explains the next.
var doctorChecks = []check{
	{"configuration", checkConfiguration},
	{"entries", checkEntries},
	{"ollama", checkOllama},
	{"models", checkPulled},
	{"window", checkWindows},
	{"tools", checkTools},
	{"keys", checkKeys},
	{"claude", checkClaude},
	{"prices", checkPrices},
	{"port", checkPort},
	{"gateway", checkGateway},
	{"loop", checkLoops},
	{"settings", checkSettings},
	{"proxy", checkProxies},
	{"ledger", checkLedger},
	{"pid files", checkPIDFiles},
	{"modes", checkModes},
}

// An examination is what the checks look at: the world, the configuration as serve would read it now, and what they share, each
// asked for once.
type examination struct {
	env  *Env
	live bool

	cfg    *config.Config // nil when it cannot be read
	cfgErr error
	port   int    // of the gateway that this is about
	url    string // where it is or would be reached

	providers *providers.Registry // nil when it cannot be made
	state     string
	stateErr  error
	free      func(dir string) (uint64, error) // free disk space in bytes

	gateway  func() *seenGateway
	settings func() []agentSettings

	mu      sync.Mutex
	ollamas map[string]*seenOllama
}

func newExamination(env *Env, o doctorOptions) *examination {
	x := &examination{env: env, live: o.live, port: DefaultPort, free: freeSpace, ollamas: map[string]*seenOllama{}}
	x.cfg, x.cfgErr = config.Load(config.LoadOptions{File: o.file, Dir: env.Dir, Getenv: env.Getenv, Home: env.Home, Flags: config.Flags{Port: o.port}})
	host := "127.0.0.1"
	if x.cfgErr == nil {
		if x.cfg.Port() != 0 {
			x.port, host = x.cfg.Port(), x.cfg.Host()
		}
		log := logrus.New()
		log.SetOutput(io.Discard) // what providers have to say is in their errors
		x.providers, x.cfgErr = server.Providers(x.cfg, providers.Deps{Log: log, Now: env.Now, Version: env.Version})
	} else if o.port != nil {
		x.port = *o.port
	}
	x.url = baseURL(host, x.port)
	x.state, x.stateErr = env.StateDir()
	x.gateway = sync.OnceValue(x.seeGateway)
	x.settings = sync.OnceValue(x.readSettings)
	return x
}

// run carries out the checks side by side. The findings come in the order of the checks; one that does not end in time is a
// finding itself.
func (x *examination) run(ctx context.Context, checks []check, limit time.Duration) []finding {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	late := make(chan struct{})
	timer := time.AfterFunc(limit+time.Second, func() { close(late) }) // those that heed their context say more than we could
	defer timer.Stop()
	answers := make([]chan []finding, len(checks))
	for i, c := range checks {
		answers[i] = make(chan []finding, 1)
		go func() { answers[i] <- c.look(ctx, x) }()
	}
	var all []finding
	for i, c := range checks {
		var found []finding
		select {
		case found = <-answers[i]:
		case <-late:
			select {
			case found = <-answers[i]:
			default:
				found = []finding{{Severity: doubtful, What: fmt.Sprintf("this could not be looked at within %s", limit),
					Why: "a disk or a network that hangs holds up the gateway too", Fix: "try again: signalbox doctor"}}
			}
		}
		for _, f := range found {
			f.Check = c.name
			all = append(all, f)
		}
	}
	return all
}

// doctorExit is the exit code of what was found; the findings have been written.
func doctorExit(x *examination, found []finding) error {
	worst := fine
	for _, f := range found {
		worst = max(worst, f.Severity)
	}
	switch {
	case x.cfgErr != nil:
		return &ExitError{Code: exitUsage, Err: x.cfgErr, Port: x.port, Printed: true}
	case worst == wrong:
		return &ExitError{Code: exitFailure, Err: errors.New("something is wrong"), Port: x.port, Printed: true}
	}
	return nil
}

var styleDoubtful = lipgloss.NewStyle().Foreground(lipgloss.Yellow)

// showFindings is the screen for people. What is worst comes last, next to the prompt.
func showFindings(w io.Writer, color bool, version string, found []finding) {
	marks := [...]string{paint(color, styleGood, "✓"), paint(color, styleDoubtful, "!"), paint(color, styleBad, "✗")}
	fmt.Fprintf(w, "\n  %s %s\n\n", paint(color, styleTitle, "signalbox doctor"), paint(color, styleFaint, version))
	var counts [3]int
	sorted := slices.Clone(found)
	slices.SortStableFunc(sorted, func(a, b finding) int { return cmp.Compare(a.Severity, b.Severity) })
	for _, f := range sorted {
		counts[f.Severity]++
		fmt.Fprintf(w, "  %s %s %s\n", marks[f.Severity], paint(color, styleTitle, fmt.Sprintf("%-14s", f.Check)), printable(f.What))
		for _, part := range [...]struct{ name, text string }{{"why", f.Why}, {"fix", f.Fix}} {
			if part.text == "" {
				continue
			}
			text := printable(part.text)
			if part.name == "fix" {
				text = paint(color, styleLink, text)
			}
			fmt.Fprintf(w, "      %s %s\n", paint(color, styleFaint, part.name), text)
		}
	}
	switch {
	case counts[wrong] > 0:
		fmt.Fprintf(w, "\n  %s, %s. Mend what is wrong from the top of the errors down, then look again: signalbox doctor\n\n", several(counts[wrong], "error"), several(counts[doubtful], "warning"))
	case counts[doubtful] > 0:
		fmt.Fprintf(w, "\n  No errors, %s.\n\n", several(counts[doubtful], "warning"))
	default:
		fmt.Fprintf(w, "\n  All is well.\n\n")
	}
}

func several(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}

// A use is one place of the configuration that names a target of a provider.
type use struct {
	key      string // agents.oss:code-reviewer, default, aliases.fast
	provider string
	model    string
	agent    bool // an agent, command, skill or hook: it brings tools
}

// uses are all provider/model that the configuration names, with where.
func (x *examination) uses() (out []use) {
	c := x.cfg
	if c == nil {
		return nil
	}
	add := func(key, target string, agent bool) {
		for range 8 { // an alias may name an alias
			next, ok := c.Aliases[target]
			if !ok {
				break
			}
			target = next
		}
		if provider, model, ok := strings.Cut(target, "/"); ok && model != "" {
			out = append(out, use{key, provider, model, agent})
		}
	}
	if c.Default != "" {
		add("default", c.Default, false)
	}
	for kind, entries := range c.Entries() {
		for _, name := range sortedKeys(entries) {
			add(kind+"."+name, entries[name].Target, true)
			for _, next := range entries[name].Fallbacks {
				add(kind+"."+name+".fallbacks", next, true)
			}
		}
	}
	for _, name := range sortedKeys(c.Aliases) {
		add("aliases."+name, c.Aliases[name], false)
	}
	for i, r := range c.Rules {
		for _, to := range r.To {
			add(fmt.Sprintf("rules, rule %d", i+1), to.Target, false)
		}
	}
	for _, from := range sortedKeys(c.Fallbacks) {
		for _, next := range c.Fallbacks[from] {
			add("fallbacks."+from, next, false)
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// A named is one model of a provider with every place that names it.
type named struct {
	provider, model string
	keys            []string
	agent           bool // one of the places is an agent's
}

// where lists the places, shortened when there are many.
func (n *named) where() string {
	if len(n.keys) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(n.keys[:3], ", "), len(n.keys)-3)
	}
	return strings.Join(n.keys, ", ")
}

// target is provider/model.
func (n *named) target() string { return n.provider + "/" + n.model }

// namedModels are the models that the configuration names at the providers that pass, each once, in the order of the places.
func (x *examination) namedModels(pass func(config.Provider) bool) (out []*named) {
	seen := map[string]*named{}
	for _, u := range x.uses() {
		p, ok := x.cfg.Providers[u.provider]
		if !ok || !pass(p) {
			continue
		}
		n := seen[u.provider+"/"+u.model]
		if n == nil {
			n = &named{provider: u.provider, model: u.model}
			seen[u.provider+"/"+u.model] = n
			out = append(out, n)
		}
		if !slices.Contains(n.keys, u.key) {
			n.keys = append(n.keys, u.key)
		}
		n.agent = n.agent || u.agent
	}
	return out
}

// foundBy says where a provider that nobody wrote down comes from; empty for one that is written.
func (x *examination) foundBy(provider string) string {
	for _, f := range x.cfg.Found {
		if f.Provider == provider {
			return f.By
		}
	}
	return ""
}

// A seenGateway is what answers at the gateway's address.
type seenGateway struct {
	taken    bool   // somebody listens there
	ours     bool   // a signalbox
	owner    string // the other program, as far as the system tells; empty when it does not
	ownerPID int
	pid      int
	version  string
	recorded bool // its pid file is in our state directory

	known       bool // the rest was told
	sources     []string
	model       string
	draining    bool
	configError string
	ledger      string
}

// seeGateway asks the port.
func (x *examination) seeGateway() *seenGateway {
	g := &seenGateway{}
	a, err := ask(x.url, "/livez", config.Secret{}, time.Second)
	if err != nil || !a.ours {
		if g.taken = err == nil || connects(x.url); !g.taken {
			return g
		}
		g.ownerPID, g.owner = portOwner(x.port)
		return g
	}
	g.taken, g.ours = true, true
	var live struct {
		PID     int    `json:"pid"`
		Version string `json:"version"`
	}
	_ = json.Unmarshal(a.body, &live) // an older one says less
	g.pid, g.version = live.PID, live.Version
	if x.stateErr == nil {
		if r, ok, err := readPID(pidPath(x.state, x.port)); err == nil && ok {
			g.recorded = r.PID == g.pid
		}
	}
	var key config.Secret
	if x.cfg != nil {
		key = x.cfg.AdminKey
	}
	if a, err := ask(x.url, "/admin/v1/status", key, 2*time.Second); err == nil && a.status == http.StatusOK {
		var s statusLine
		if json.Unmarshal(a.body, &s) == nil {
			g.known, g.sources, g.model, g.draining, g.configError, g.ledger = true, s.Sources, s.Model, s.Draining, s.ConfigError, s.Ledger
		}
	}
	return g
}
