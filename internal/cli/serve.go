package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"signalbox/config"
	"signalbox/internal/agents"
	"signalbox/internal/fault"
	"signalbox/server"
)

// run is server.Run, so that a test can see what it is given.
var run = server.Run

// serveFlags are the flags of serve, start and start-proxy.
type serveFlags struct {
	file, host, model, key, keyFile, baseURL string
	port                                     int
	grace                                    time.Duration
	allowOpen, background                    bool

	// Between serve --background and its child: the key comes on stdin, since argv can be read by everybody and the
	// environment of a process by its user's other programs; the child tells on readyFD how it went.
	keyStdin bool
	readyFD  int
	// withRuns says that a run started it: it ends with the last run (see lease.go).
	withRuns bool
}

func newServeCommand(env *Env) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Run the gateway in the foreground until SIGTERM or SIGINT; then running answers may finish within --grace.
A second signal ends it at once. SIGHUP, and a changed configuration file, reload.

Without a configuration it serves the Ollama at OLLAMA_HOST and every provider whose key is in the environment.
Exit codes: 0 ended, 1 failure, 2 usage or configuration, 3 the port is in use.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), env, cmd, &f) },
	}
	addServeFlags(cmd, &f)
	cmd.Flags().BoolVar(&f.background, "background", false, "run it detached and return once it answers")
	return cmd
}

func newStartCommand(env *Env) *cobra.Command {
	f := serveFlags{background: true}
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Run the gateway in the background",
		Long:  "Run the gateway in the background: serve --background. It returns once the gateway answers /livez, else with its error and exit code.",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return serve(cmd.Context(), env, cmd, &f) },
	}
	addServeFlags(cmd, &f)
	return cmd
}

func newStartProxyCommand(env *Env) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "start-proxy --model provider/model",
		Short: "Run the gateway for one model",
		Long:  "Run the gateway with one model as the default target: serve, with --model required.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.model == "" {
				return failText(exitUsage, "--model is required: give provider/model, as in --model ollama/codellama")
			}
			return serve(cmd.Context(), env, cmd, &f)
		},
	}
	addServeFlags(cmd, &f)
	cmd.Flags().BoolVar(&f.background, "background", false, "run it detached and return once it answers")
	return cmd
}

func addServeFlags(cmd *cobra.Command, f *serveFlags) {
	fs := cmd.Flags()
	fs.StringVar(&f.file, "config", "", "the configuration `FILE` (default: SIGNALBOX_CONFIG, then the usual places)")
	fs.StringVar(&f.host, "host", "127.0.0.1", "the address to listen on")
	fs.IntVar(&f.port, "port", DefaultPort, "the port to listen on; 0 takes any free one")
	fs.StringVar(&f.model, "model", "", "the default target, `provider/model`")
	fs.StringVar(&f.key, "api-key", "", "the key for the provider of --model; visible to everybody in the process list")
	fs.StringVar(&f.keyFile, "api-key-file", "", "a `FILE` of mode 0600 that holds that key")
	fs.StringVar(&f.baseURL, "base-url", "", "the `URL` of the provider of --model")
	fs.DurationVar(&f.grace, "grace", 30*time.Second, "how long running answers may take to finish after SIGTERM")
	fs.BoolVar(&f.allowOpen, "allow-open", false, "listen beyond this machine without keys: something else guards the port")
	fs.BoolVar(&f.keyStdin, "api-key-stdin", false, "")
	fs.IntVar(&f.readyFD, "ready-fd", 0, "")
	fs.BoolVar(&f.withRuns, "with-runs", false, "")
	_ = fs.MarkHidden("api-key-stdin")
	_ = fs.MarkHidden("with-runs")
	_ = fs.MarkHidden("ready-fd")
	addJSON(cmd)
}

// options are how this command line reads the configuration, now and at every reload.
func (f *serveFlags) options(env *Env, cmd *cobra.Command) config.LoadOptions {
	o := config.LoadOptions{File: f.file, Dir: env.Dir, Getenv: env.Getenv, Home: env.Home, Flags: config.Flags{
		Model: f.model, APIKey: config.NewSecret(f.key), KeyFile: f.keyFile, BaseURL: f.baseURL, AllowOpen: f.allowOpen,
	}}
	changed := cmd.Flags().Changed
	if changed("host") {
		o.Flags.Host = f.host
	}
	if changed("port") {
		o.Flags.Port = &f.port
	}
	if changed("grace") {
		o.Flags.Grace = &f.grace
	}
	return o
}

// serveLine is what serve prints for programs once it can answer (contract §1).
type serveLine struct {
	Port       int    `json:"port"`
	PID        int    `json:"pid"`
	URL        string `json:"url"`
	Model      string `json:"model"`
	Background bool   `json:"background"`
	Version    string `json:"version"`
}

func serve(ctx context.Context, env *Env, cmd *cobra.Command, f *serveFlags) error {
	if f.key != "" && !f.keyStdin {
		// Said before anything else can fail: by now it has been seen.
		newLogger(env, env.Stderr).Warn("--api-key can be read by every user in the process list; use --api-key-file or the environment")
	}
	if f.background {
		return background(ctx, env, cmd, f)
	}
	tell, err := f.inherit(env)
	if err != nil {
		return err
	}
	err = foreground(ctx, env, cmd, f, tell)
	if err != nil && tell != nil {
		exit := &ExitError{Code: codeOf(err), Err: err}
		_ = errors.As(err, &exit)
		writeJSON(tell, errorLine{Error: exit.Err.Error(), Port: exit.Port, PID: exit.PID})
		_ = tell.Close()
	}
	return err
}

// inherit takes over what a parent handed to this process: the key, and where to tell how it went. Nil without a parent.
func (f *serveFlags) inherit(env *Env) (*os.File, error) {
	if f.keyStdin {
		key, err := io.ReadAll(io.LimitReader(env.Stdin, 64<<10))
		if err != nil {
			return nil, err
		}
		f.key = strings.TrimSpace(string(key))
	}
	if f.readyFD < 3 {
		return nil, nil
	}
	syscall.CloseOnExec(f.readyFD)
	tell := os.NewFile(uintptr(f.readyFD), "ready")
	if tell == nil {
		return nil, failText(exitUsage, "--ready-fd names no open file")
	}
	return tell, nil
}

// foreground is a gateway's whole life.
func foreground(ctx context.Context, env *Env, cmd *cobra.Command, f *serveFlags, tell *os.File) error {
	signals := make(chan os.Signal, 4)
	signal.Ignore(syscall.SIGPIPE) // a reader of our output who leaves must not take the gateway along
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	options := f.options(env, cmd)
	cfg, err := config.Load(options)
	if err != nil {
		return withPort(err, options)
	}
	log := newLogger(env, env.Stderr)
	boundMemory(env.Getenv, cgroupLimit)
	queue := newLogQueue(env.Stderr)
	defer queue.close()
	log.SetOutput(queue)
	for _, w := range cfg.Warnings {
		log.WithField("warning", w).Warn("configuration")
	}
	state, err := env.StateDir()
	if err != nil {
		return &ExitError{Code: exitFailure, Err: fmt.Errorf("state directory: %w", err), Port: cfg.Port()}
	}
	ln, err := listen(env, state, cfg)
	if err != nil {
		return err
	}
	port := ln.Addr().(*net.TCPAddr).Port
	pidFile := pidPath(state, port)
	if err := writePID(env, pidFile, port); err != nil {
		_ = ln.Close()
		return &ExitError{Code: exitFailure, Err: fmt.Errorf("pid file: %w", err), Port: port}
	}
	defer removePID(pidFile)

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if f.withRuns {
		unmark, err := markRun(env, state, port, stop)
		if err != nil {
			_ = ln.Close()
			return &ExitError{Code: exitFailure, Err: err, Port: port}
		}
		defer unmark()
	}
	kill, hup := make(chan struct{}), make(chan struct{}, 1)
	reload := func() {
		select {
		case hup <- struct{}{}:
		default: // one wish is already waiting, and it will see this change too
		}
	}
	var helpers sync.WaitGroup
	defer helpers.Wait()
	defer stop()
	ended := make(chan struct{})
	helpers.Go(func() { heed(signals, ended, stop, kill, reload) })
	defer close(ended)
	helpers.Go(func() {
		if err := config.Watch(ctx, cfg.Watched, reload, log); err != nil {
			log.WithError(err).Warn("changes of the configuration are not noticed; send SIGHUP to reload")
		}
	})

	line := serveLine{Port: port, PID: os.Getpid(), URL: baseURL(cfg.Host(), port), Model: cfg.Default, Background: tell != nil, Version: env.Version}
	err = run(ctx, server.Options{
		Config: cfg, Log: log, Version: env.Version, StateDir: state, Listener: ln, Grace: cfg.Grace.D(), Kill: kill, HUP: hup, Now: env.Now,
		Agents: definitions(env),
		Reload: func() (*config.Config, error) { return reread(options, cfg.Listen, log) },
		Ready: func(net.Addr) {
			if tell != nil || machine(env, cmd) { // a person gets the first screen instead
				log.WithFields(logrus.Fields{"url": line.URL, "default": cfg.Default, "providers": cfg.ProviderNames(), "sources": cfg.Sources, "version": env.Version}).Info("ready")
			}
			switch {
			case tell != nil:
				writeJSON(tell, line)
				_ = tell.Close()
			case machine(env, cmd):
				writeJSON(env.Stdout, line)
			default:
				welcome(env, cfg, line)
			}
		},
	})
	return serveError(err, port)
}

// definitions are the agent definition files of the user, and of the folder that the command stands in.
func definitions(env *Env) *agents.Directory {
	return agents.New(agents.Sources(env.Home, env.Dir, env.Getenv("CLAUDE_CONFIG_DIR")), env.Now)
}

// heed turns signals into what the server knows: the first SIGINT or SIGTERM drains, the second ends at once.
func heed(signals <-chan os.Signal, ended <-chan struct{}, stop func(), kill chan struct{}, reload func()) {
	asked := 0
	for {
		select {
		case <-ended:
			return
		case s := <-signals:
			if s == syscall.SIGHUP {
				reload()
				continue
			}
			switch asked++; asked {
			case 1:
				stop()
			case 2:
				close(kill)
			}
		}
	}
}

// reread is a reload. The address cannot change while we run, so a new one is said and not taken.
func reread(o config.LoadOptions, listening string, log logrus.FieldLogger) (*config.Config, error) {
	cfg, err := config.Load(o)
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings {
		log.WithField("warning", w).Warn("configuration")
	}
	if cfg.Listen != listening {
		log.WithField("listen", cfg.Listen).Warn("a new address takes a restart")
	}
	return cfg, nil
}

// listen opens the port. One that is taken is an error that names its owner.
func listen(env *Env, state string, cfg *config.Config) (net.Listener, error) {
	if port := cfg.Port(); port != 0 {
		r, ok, err := readPID(pidPath(state, port))
		if err != nil {
			return nil, &ExitError{Code: exitFailure, Err: err, Port: port}
		}
		if ok && r.running(env) {
			return nil, taken(env, state, cfg)
		}
	}
	ln, err := net.Listen("tcp", cfg.Listen)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, taken(env, state, cfg)
	}
	return nil, &ExitError{Code: exitUsage, Err: fmt.Errorf("cannot listen on %s: %w", cfg.Listen, err), Port: cfg.Port()}
}

// taken says who has the port. Never is another port chosen: the agent was told this one.
func taken(env *Env, state string, cfg *config.Config) error {
	port := cfg.Port()
	out := &ExitError{Code: exitPort, Port: port}
	stop := "signalbox stop"
	if port != DefaultPort {
		stop += " --port " + strconv.Itoa(port)
	}
	if r, ok, err := readPID(pidPath(state, port)); err == nil && ok && r.running(env) {
		out.PID = r.PID
		out.Err = fmt.Errorf("port %d is in use by signalbox (pid %d); stop it with: %s", port, r.PID, stop)
		return out
	}
	if g, err := ask(baseURL(cfg.Host(), port), "/livez", config.Secret{}, 500*time.Millisecond); err == nil && g.ours {
		var live struct {
			PID int `json:"pid"`
		}
		_ = json.Unmarshal(g.body, &live) // an older one does not say
		out.PID = live.PID
		out.Err = fmt.Errorf("port %d is in use by a signalbox with another state directory (pid %d)", port, live.PID)
		return out
	}
	who := "another program"
	if pid, name := portOwner(port); pid != 0 {
		who = fmt.Sprintf("%s (pid %d)", name, pid)
	}
	hint := "choose another with --port"
	if port == DefaultPort {
		hint = "claude-code-router uses this port too; " + hint
	}
	out.Err = fmt.Errorf("port %d is in use by %s; %s", port, who, hint)
	return out
}

// serveError gives what the server came back with its exit code.
func serveError(err error, port int) error {
	if err == nil {
		return nil
	}
	code := exitFailure
	var f *fault.Error
	var c *config.Error
	switch {
	case errors.As(err, &c), errors.As(err, &f) && f.Kind == fault.Invalid:
		code = exitUsage
	case errors.Is(err, syscall.EADDRINUSE):
		code = exitPort
	}
	return &ExitError{Code: code, Err: err, Port: port}
}

// withPort puts the port that was asked for to an error of the configuration.
func withPort(err error, o config.LoadOptions) error {
	port := DefaultPort
	if o.Flags.Port != nil {
		port = *o.Flags.Port
	}
	return &ExitError{Code: codeOf(err), Err: err, Port: port}
}

// baseURL is how this machine reaches a gateway that listens on host.
func baseURL(host string, port int) string {
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(port))
}

// short writes a path under the home folder with ~.
func short(env *Env, path string) string {
	if rel, err := filepath.Rel(env.Home, path); err == nil && env.Home != "" && !strings.HasPrefix(rel, "..") {
		return filepath.Join("~", rel)
	}
	return path
}
