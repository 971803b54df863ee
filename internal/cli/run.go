package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"signalbox/config"
	"signalbox/internal/routing"
)

// agentFlags say which gateway an agent shall speak to, and which models it shall ask for.
type agentFlags struct {
	port                           int
	file                           string
	model, smallModel, subagentMod string
}

func addAgentFlags(cmd *cobra.Command, f *agentFlags) {
	fs := cmd.Flags()
	fs.IntVar(&f.port, "port", DefaultPort, "the port of the gateway")
	fs.StringVar(&f.file, "config", "", "the configuration `FILE` of a gateway that is started")
	fs.StringVar(&f.model, "model", "", "the main model, `provider/model` or an alias")
	fs.StringVar(&f.smallModel, "small-model", "", "the `model` for titles and other small work")
	fs.StringVar(&f.subagentMod, "subagent-model", "", "the `model` of all subagents, whatever their files say")
	addJSON(cmd)
}

func newRunCommand(env *Env) *cobra.Command {
	var f agentFlags
	var keep, dry bool
	cmd := &cobra.Command{
		Use:   "run AGENT [flags] -- args…",
		Short: "Start an agent on the gateway, and a gateway if none runs",
		Long: `Start an agent with the environment that leads it to the gateway of a port. When no gateway runs there, one is started in
the background, and stopped again when the last agent that it serves has ended; one that you started yourself is left alone.
What .oss/config.json and signalbox.yaml of this folder say goes along with every request.

AGENT is claude, opencode, or any program that uses Anthropic's SDKs. What stands behind -- is for the agent.

  signalbox run claude
  signalbox run claude --model ollama/qwen3:8b -- -p "what does this do?"
  signalbox run python -- agent.py

Exit codes: the agent's own (128 and the signal's number when a signal ended it); before it has started 1 failure, 2 usage or
configuration, 3 the port belongs to another program, 5 the chosen model's provider cannot be reached and nobody else is named.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runAgent(cmd.Context(), env, cmd, &f, keep, dry, args)
		},
	}
	addAgentFlags(cmd, &f)
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the gateway running afterwards")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "show what would be started, and with which environment")
	cmd.Flags().BoolVar(&dry, "print", false, "the same as --dry-run")
	return cmd
}

// errNotServed is for agents whose language the gateway does not speak.
func errNotServed(agent string) error {
	return failText(exitUsage, agent+" speaks OpenAI's API, and this version serves the Anthropic Messages API alone; use an agent that speaks that, such as claude or opencode")
}

// agentKindOf tells an agent by its program's name.
func agentKindOf(agent string) (agentKind, error) {
	switch filepath.Base(agent) {
	case "claude":
		return claudeCode, nil
	case "opencode":
		return openCode, nil
	case "codex":
		return 0, errNotServed("codex")
	}
	return genericAgent, nil
}

// An approach is the way from an agent to its gateway, before and after that is there.
type approach struct {
	kind   agentKind
	flags  *agentFlags
	file   string // the configuration that was named, whole
	cfg    *config.Config
	cfgErr error
	g      *gateway
	up     bool // the gateway answers

	project *config.Project
	header  string
	name    string // the main model as somebody wrote it; empty when nobody did
	theirs  bool   // it stands in the environment already, and the agent reads it there
	target  string // what it stands for
	notes   []string
}

// newApproach reads what there is to read. Nothing is started.
func newApproach(env *Env, cmd *cobra.Command, f *agentFlags, kind agentKind) (*approach, error) {
	a := &approach{kind: kind, flags: f, file: f.file}
	if a.file == "" {
		a.file = env.Getenv("SIGNALBOX_CONFIG")
	}
	if a.file != "" && !filepath.IsAbs(a.file) {
		a.file = filepath.Join(env.Dir, a.file)
	}
	// Without the folder's own files: they come with the requests, so that agents of several folders may share a gateway.
	a.cfg, a.cfgErr = config.Load(config.LoadOptions{File: a.file, Getenv: env.Getenv, Home: env.Home})
	var err error
	if a.g, err = findWith(env, cmd, f.port, a.cfg); err != nil {
		return nil, err
	}
	if a.project, a.header, a.notes, err = projectHeader(env); err != nil {
		return nil, err
	}
	a.name = f.model
	switch {
	case a.name != "":
	case env.Getenv("ANTHROPIC_MODEL") != "" && kind != openCode:
		a.name, a.theirs = env.Getenv("ANTHROPIC_MODEL"), true // it stays, so its window is the one that counts
	case a.project.Default != "":
		a.name = a.project.Default
	case a.cfg != nil && !a.claudeAliases():
		a.name = a.cfg.Default
	}
	if a.name != "" {
		a.target = targetOf(a.name, a.project, a.cfg)
	}
	if a.target == routing.Claude && f.model != "" {
		if a.cfg == nil || a.cfg.ClaudeModel == "" {
			return nil, failText(exitUsage, "--model claude: name the model too, as in --model anthropic/claude-sonnet-5, or set claude_model in the configuration")
		}
		a.name = "anthropic/" + a.cfg.ClaudeModel
		a.target = a.name
	}
	return a, nil
}

// claudeAliases reports whether an alias catches the names that Claude Code asks for by itself. Then a model put in their place
// would hide it.
func (a *approach) claudeAliases() bool {
	for name := range a.cfg.Aliases {
		if strings.HasPrefix(name, "claude-") || strings.HasPrefix(name, "*") {
			return true
		}
	}
	return false
}

// addressed is an error when the gateway's address stands in a configuration that cannot be read. With --port that is a note.
func (a *approach) addressed(cmd *cobra.Command) error {
	if a.cfgErr != nil && cmd.Flags().Changed("port") {
		a.notes = append(a.notes, a.cfgErr.Error())
		return nil
	}
	return a.cfgErr
}

// look sees whether a gateway of ours answers.
func (a *approach) look() {
	live, err := ask(a.g.url, "/livez", config.Secret{}, 2*time.Second)
	a.up = err == nil && live.ours
}

// reach makes sure that a gateway answers, and starts one when none runs. The caller has joined the runs of the port.
func (a *approach) reach(ctx context.Context, env *Env, keep bool) error {
	a.look()
	if a.up && a.g.running && draining(a.g) && awaitEnd(env, a.g.record, a.g.record.drainLimit()) {
		a.up = false // somebody stopped it; it would take no request of ours
	}
	if a.up {
		a.compare()
		return nil
	}
	if r, ok, err := readPID(a.g.pidFile); err == nil && ok && r.running(env) {
		return &ExitError{Code: exitFailure, Port: a.g.port, PID: r.PID,
			Err: fmt.Errorf("the gateway on port %d (pid %d) runs and does not answer at %s; stop it, or choose another with --port", a.g.port, r.PID, a.g.url)}
	}
	if a.cfgErr != nil {
		return &ExitError{Code: codeOf(a.cfgErr), Err: a.cfgErr, Port: a.g.port}
	}
	state, err := env.StateDir()
	if err != nil {
		return err
	}
	args := []string{"serve", "--json", "--ready-fd", "3", "--port=" + strconv.Itoa(a.g.port)}
	if a.file != "" {
		args = append(args, "--config="+a.file)
	}
	if !keep {
		args = append(args, "--with-runs")
	}
	// It stands in the state directory: the folder's files are this agent's and not those of the next one.
	environ := slices.DeleteFunc(env.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "SIGNALBOX_STATE_DIR=") || strings.HasPrefix(v, "SIGNALBOX_CONFIG=")
	})
	environ = append(environ, "SIGNALBOX_STATE_DIR="+state)
	line, _, err := launch(ctx, env, child{args: args, dir: state, environ: environ, port: a.g.port})
	if err != nil {
		return err
	}
	a.up, a.g.url = true, line.URL
	return nil
}

// draining reports whether a gateway takes no more requests.
func draining(g *gateway) bool {
	ready, err := ask(g.url, "/readyz", config.Secret{}, 2*time.Second)
	return err == nil && ready.ours && ready.status != 200 && bytes.Contains(ready.body, []byte("draining"))
}

// drainLimit is how long a gateway that was stopped may take to end: the usual grace, and a little more.
func (pidRecord) drainLimit() time.Duration { return 35 * time.Second }

// compare says when the gateway that runs was started from another configuration than the one that was named.
func (a *approach) compare() {
	if a.flags.file == "" {
		return
	}
	s, err := ask(a.g.url, "/admin/v1/status", a.g.adminKey, 2*time.Second)
	if err != nil || s.status != 200 {
		return
	}
	var status statusLine
	if json.Unmarshal(s.body, &status) == nil && !slices.Contains(status.Sources, a.file) {
		a.notes = append(a.notes, fmt.Sprintf("the gateway on port %d runs already and was not started from %s; stop it, or choose another with --port", a.g.port, a.flags.file))
	}
}

// environment is what the agent gets, with what there is to say about it.
func (a *approach) environment(env *Env) ([]setting, []string) {
	c := calling{kind: a.kind, url: a.g.url, header: a.header, ownAuth: ownCredential(env, a.kind)}
	c.models = choice{small: a.flags.smallModel, subagent: a.flags.subagentMod, flagged: a.flags.model != ""}
	if a.target != routing.Claude && !a.theirs {
		c.models.main = a.name
	}
	if a.target != "" && !speaksClaude(a.target, a.cfg) {
		c.limits = modelLimits(a.g.url, a.target, a.cfg)
		c.local = isLocal(a.target, a.cfg)
		if sub := targetOf(a.flags.subagentMod, a.project, a.cfg); sub != "" && !speaksClaude(sub, a.cfg) {
			c.limits = c.limits.smaller(modelLimits(a.g.url, sub, a.cfg))
		}
	}
	set, notes := c.settings(env.Getenv)
	return set, append(a.notes, notes...)
}

// warned is environment for an agent that starts now: its settings files may say otherwise.
func (a *approach) warned(env *Env) ([]setting, []string) {
	set, notes := a.environment(env)
	if a.kind == claudeCode {
		notes = append(notes, overruled(env, set)...)
	}
	return set, notes
}

// apply lays settings over an environment.
func apply(environ []string, set []setting) []string {
	out := slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.ContainsFunc(set, func(s setting) bool { return s.Name == name })
	})
	for _, s := range set {
		if !s.Unset {
			out = append(out, s.Name+"="+s.Value)
		}
	}
	return out
}

// direct is an environment without what leads to a gateway of ours.
func direct(environ []string, url string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, value, _ := strings.Cut(v, "=")
		return name == "ANTHROPIC_BASE_URL" && strings.TrimSuffix(value, "/") == url || name == "ANTHROPIC_AUTH_TOKEN" && value == strangerToken
	})
}

func runAgent(ctx context.Context, env *Env, cmd *cobra.Command, f *agentFlags, keep, dry bool, args []string) error {
	kind, err := agentKindOf(args[0])
	if err != nil {
		return err
	}
	a, err := newApproach(env, cmd, f, kind)
	if err != nil {
		return err
	}
	program, err := exec.LookPath(args[0])
	if dry {
		return showRun(env, cmd, a, args)
	}
	if err != nil {
		return fail(exitFailure, fmt.Errorf("%s is not a program in PATH: %w", printable(args[0]), errors.Unwrap(err)))
	}
	state, err := env.StateDir()
	if err != nil {
		return withoutGateway(env, a, program, args, &ExitError{Code: exitFailure, Err: fmt.Errorf("state directory: %w", err), Port: a.g.port})
	}
	lease, err := joinRuns(state, a.g.port, func() error { return a.reach(ctx, env, keep) })
	if err != nil {
		return withoutGateway(env, a, program, args, err)
	}
	code, err := a.converse(env, cmd, program, args)
	if lerr := leaveRuns(env, state, a.g.port, lease, keep); lerr != nil {
		say(env, lerr.Error())
	}
	return ended(code, err)
}

// converse runs the agent, unless nobody could answer it.
func (a *approach) converse(env *Env, cmd *cobra.Command, program string, args []string) (int, error) {
	if a.target != "" && !speaksClaude(a.target, a.cfg) {
		if !a.theirs { // a name of the user's own environment may be another service's, and the gateway's default takes it
			if err := provided(a.g, a.target); err != nil {
				return 0, &ExitError{Code: exitNoTarget, Err: err, Port: a.g.port}
			}
		}
		if err := servable(a.g, a.target); err != nil {
			if !chained(a.name, a.target, a.cfg) {
				return 0, &ExitError{Code: exitNoTarget, Err: err, Port: a.g.port}
			}
			a.notes = append(a.notes, err.Error()+"; its fallbacks will be asked")
		}
	}
	set, notes := a.warned(env)
	say(env, notes...)
	if env.IsTTY(env.Stderr) {
		model := a.name
		if model == "" {
			model = "the models that it asks for"
		}
		fmt.Fprintln(env.Stderr, paint(env.Color(env.Stderr), styleFaint, "signalbox: "+a.g.url+", "+model))
	}
	return execute(env, program, args, apply(env.Environ(), set))
}

// withoutGateway starts the agent on Claude itself when there is no gateway and the configuration falls back there; the first
// error stands otherwise. A port that belongs to somebody else is never passed over in silence: there the user must choose.
func withoutGateway(env *Env, a *approach, program string, args []string, err error) error {
	var exit *ExitError
	taken := errors.As(err, &exit) && exit.Code == exitPort
	if taken || a.kind == openCode || !fallsBack(a.name, a.target, a.cfg) {
		return err
	}
	say(env, err.Error(), "the gateway could not be started; "+filepath.Base(program)+" falls back to Claude itself")
	code, err := execute(env, program, args, direct(env.Environ(), a.g.url))
	return ended(code, err)
}

// ended makes the agent's exit code ours. It has said itself what there was to say.
func ended(code int, err error) error {
	if err != nil || code == 0 {
		return err
	}
	return &ExitError{Code: code, Err: errors.New("the agent ended with an error"), Printed: true}
}

// say writes notes for the person who started the agent, before the agent has the screen.
func say(env *Env, notes ...string) {
	for _, n := range notes {
		fmt.Fprintln(env.Stderr, paint(env.Color(env.Stderr), styleTitle, "signalbox:")+" "+printable(n))
	}
}

// execute runs the agent in our place: our input and output, our process group, so that a terminal treats both as one. Signals
// that were meant for the agent are handed on.
func execute(env *Env, program string, args, environ []string) (int, error) {
	agent := exec.Command(program, args[1:]...)
	agent.Args[0] = args[0]
	agent.Env, agent.Dir = environ, env.Dir
	agent.Stdin, agent.Stdout, agent.Stderr = env.Stdin, env.Stdout, env.Stderr
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	if err := agent.Start(); err != nil {
		return 0, fail(exitFailure, fmt.Errorf("%s cannot be started: %w", printable(args[0]), err))
	}
	gone := make(chan struct{})
	defer close(gone)
	go func() {
		for {
			select {
			case s := <-signals:
				// Ctrl-C goes to the whole group. Handed on it would be two, and two mean more than one.
				if (s == syscall.SIGINT || s == syscall.SIGQUIT) && inForeground(env.Stdin) {
					continue
				}
				_ = agent.Process.Signal(s) // it may have ended just now
			case <-gone:
				return
			}
		}
	}()
	err := agent.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, fail(exitFailure, err)
	}
	if ws, ok := agent.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return 128 + int(ws.Signal()), nil
	}
	return agent.ProcessState.ExitCode(), nil
}

// inForeground reports whether a terminal's keys reach this process group.
func inForeground(stdin io.Reader) bool {
	data, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f, ok := stdin.(*os.File)
		return ok && isTerminal(f)
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	// Behind the name: state, parent, group, session, terminal, the terminal's group in the foreground (proc(5)).
	return len(fields) > 5 && fields[4] != "0" && fields[5] == fields[2]
}

// runPlan is what --dry-run prints for programs.
type runPlan struct {
	Gateway string            `json:"gateway"`
	Running bool              `json:"running"`
	Model   string            `json:"model,omitempty"`
	Env     map[string]string `json:"env"`
	Unset   []string          `json:"unset"`
	Command []string          `json:"command"`
	Notes   []string          `json:"notes"`
}

// showRun prints what run would do.
func showRun(env *Env, cmd *cobra.Command, a *approach, args []string) error {
	a.look()
	if a.up {
		a.compare()
	}
	set, notes := a.warned(env)
	if a.cfgErr != nil {
		notes = append(notes, a.cfgErr.Error())
	}
	if asJSON(cmd) {
		p := runPlan{Gateway: a.g.url, Running: a.up, Model: a.name, Env: map[string]string{}, Unset: []string{}, Command: args, Notes: append([]string{}, notes...)}
		for _, s := range set {
			if s.Unset {
				p.Unset = append(p.Unset, s.Name)
			} else {
				p.Env[s.Name] = s.Value
			}
		}
		writeJSON(env.Stdout, p)
		return nil
	}
	how := "would be started, and stopped with the last agent"
	if a.up {
		how = "runs"
	}
	fmt.Fprintf(env.Stdout, "# the gateway at %s %s\n", a.g.url, how)
	for _, n := range notes {
		fmt.Fprintf(env.Stdout, "# %s\n", printable(n))
	}
	printSettings(env.Stdout, posixLine, set)
	words := make([]string, len(args))
	for i, arg := range args {
		words[i] = quotePOSIX(arg)
	}
	_, err := fmt.Fprintln(env.Stdout, strings.Join(words, " "))
	return err
}
