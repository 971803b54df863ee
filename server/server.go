// Package server is a running gateway: it builds a generation from a configuration, listens, reloads and drains. runtime.go
// is what a generation is made of; server.go is its life.
package server

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"signalbox/config"
	"signalbox/internal/agents"
	"signalbox/internal/dispatch"
	"signalbox/internal/estimate"
	"signalbox/internal/fault"
	"signalbox/internal/ledger"
	"signalbox/internal/metrics"
	"signalbox/routes"
)

// Limits of a connection (reliability-security §5, T17).
const (
	headLimit    = 10 * time.Second
	maxHead      = 64 << 10
	idleLimit    = 120 * time.Second
	farewell     = 2 * time.Second // for the last error event once the grace has passed
	defaultGrace = 30 * time.Second
)

// Options are what a gateway is made of.
type Options struct {
	Config *config.Config
	// Reload reads the configuration again; nil switches reloading off.
	Reload   func() (*config.Config, error)
	Log      *logrus.Logger
	Version  string
	StateDir string
	// Listener is used instead of listening on Config.Listen; Run closes it.
	Listener net.Listener
	// Ready is called once the gateway can answer.
	Ready func(addr net.Addr)
	// Grace is how long running answers may take to end once ctx is done.
	Grace time.Duration
	// Kill, once closed, ends the grace at once. Each value on HUP is a wish to reload.
	Kill <-chan struct{}
	HUP  <-chan struct{}
	// Agents knows agent definition files; nil knows none.
	Agents *agents.Directory
	// Now is the clock for records; nil is the system's.
	Now func() time.Time
}

// Server is one gateway.
type Server struct {
	o         Options
	now       func() time.Time
	addr      net.Addr
	started   time.Time
	current   atomic.Pointer[generation]
	metrics   *metrics.Metrics
	ledger    *ledger.Ledger
	estimator *estimate.Estimator
	breakers  *dispatch.Breakers
	draining  atomic.Bool

	reloading   sync.Mutex
	configError atomic.Pointer[string]
}

// Run serves until ctx is done, then drains within the grace and returns nil. A port that is taken shows as
// syscall.EADDRINUSE in the error; an unusable configuration as a *fault.Error of kind Invalid.
func Run(ctx context.Context, o Options) error {
	s := &Server{o: o, now: o.Now, started: time.Now()}
	if s.now == nil {
		s.now = time.Now
	}
	if s.o.Grace <= 0 {
		s.o.Grace = defaultGrace
	}
	ln := o.Listener
	if ln == nil {
		var err error
		if ln, err = net.Listen("tcp", o.Config.Listen); err != nil {
			return err
		}
	}
	s.addr = ln.Addr()
	handler, err := s.assemble()
	if err != nil {
		_ = ln.Close()
		return err
	}
	err = s.serve(ctx, ln, handler)
	return errors.Join(err, s.close())
}

// assemble opens the ledger, builds the first generation and the handler over it.
func (s *Server) assemble() (http.Handler, error) {
	port := 0
	if a, ok := s.addr.(*net.TCPAddr); ok {
		port = a.Port
	}
	cfg := s.o.Config
	book, err := ledger.Start(s.o.StateDir, ledger.Options{Port: port, Sync: cfg.Ledger.Sync, Keep: cfg.Ledger.Keep.D(), Log: s.o.Log, Now: s.now})
	if err != nil {
		return nil, err
	}
	s.ledger = book
	reg := metrics.NewRegistry()
	s.metrics = metrics.New(reg)
	s.metrics.Names.KnownFunc = func(provider, model string) bool {
		g := s.current.Load()
		return g != nil && g.pricing.Known(provider, model)
	}
	s.metrics.Ledger(book.Queue, book.Failures)
	s.metrics.BuildInfo(s.o.Version, runtime.Version())
	s.metrics.Reload(true)
	s.estimator = estimate.New()
	s.breakers = dispatch.NewBreakers(cfg.Breaker.Consecutive, s.metrics.Circuit)
	g, err := s.build(cfg)
	if err != nil {
		return nil, errors.Join(err, book.Close())
	}
	s.current.Store(g)
	return routes.New(routes.Deps{
		Current: func() (*routes.Generation, func()) {
			g := s.acquire()
			return &g.Generation, g.release
		},
		Config: func() *config.Config { return s.current.Load().Config },
		Meter:  s.metrics, Rejected: s.metrics.Rejected, Panicked: func() { s.metrics.Rejected("panic") }, Metrics: metrics.Handler(reg),
		Ledger: book.Status, ConfigError: s.configError.Load, Draining: s.draining.Load, Status: s.status, Reload: s.Reload,
		Flush: book.Flush, Agents: s.o.Agents, Estimate: s.estimator.Tokens,
		Log: s.o.Log, Now: s.now, Version: s.o.Version, PID: os.Getpid(), MaxInflight: cfg.MaxInflight, Queue: cfg.Queue,
	}), nil
}

// serve answers until ctx is done and the last answer has ended.
func (s *Server) serve(ctx context.Context, ln net.Listener, handler http.Handler) error {
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	quiet := s.o.Log.WriterLevel(logrus.DebugLevel)
	defer quiet.Close()
	var busy sync.WaitGroup
	hs := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			busy.Add(1)
			defer busy.Done()
			handler.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headLimit,
		MaxHeaderBytes:    maxHead,
		IdleTimeout:       idleLimit,
		BaseContext:       func(net.Listener) context.Context { return base },
		// OPTIONS * is answered by our gate like everything else.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(quiet, "", 0), // its lines may quote a stranger's bytes: debug only
	}
	failed := make(chan error, 1)
	go func() { failed <- hs.Serve(ln) }()
	if s.o.Ready != nil {
		s.o.Ready(ln.Addr())
	}
	for {
		select {
		case err := <-failed:
			return err
		case <-s.o.HUP:
			_ = s.Reload()
			continue
		case <-ctx.Done():
		}
		break
	}
	s.draining.Store(true)
	s.o.Log.Info("draining: no new requests are taken, running answers are finished")
	ended := make(chan error, 1)
	shut, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go func() { ended <- hs.Shutdown(shut) }()
	grace := time.NewTimer(s.o.Grace)
	defer grace.Stop()
	select {
	case <-ended:
		return nil
	case <-grace.C:
	case <-s.o.Kill:
	}
	// Those who are still being answered hear of it: their upstream calls end with this cause.
	cut(&fault.Error{Kind: fault.Overloaded, Outcome: "shutdown", Message: "the gateway is shutting down; send the request again"})
	last := time.NewTimer(farewell)
	defer last.Stop()
	select {
	case <-ended:
	case <-last.C:
		stop()
		_ = hs.Close()
		// Their connections are gone, but the ledger must not close before each has settled.
		settled := make(chan struct{})
		go func() { busy.Wait(); close(settled) }()
		select {
		case <-settled:
		case <-time.After(farewell):
			s.o.Log.Error("stopped while requests were still running; their attempts are settled at the next start")
		}
	}
	return nil
}

// close flushes the ledger and lets go of the upstreams.
func (s *Server) close() error {
	err := s.ledger.Close()
	s.current.Load().release()
	s.o.Log.Info("stopped")
	return err
}

// Reload reads the configuration and replaces the current generation. A bad one changes nothing but a log line, the metric
// and /health.
func (s *Server) Reload() error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	if s.o.Reload == nil {
		return errors.New("reloading is switched off")
	}
	cfg, err := s.o.Reload()
	var g *generation
	if err == nil {
		g, err = s.build(cfg)
	}
	if err != nil {
		text := err.Error()
		s.configError.Store(&text)
		s.metrics.Reload(false)
		s.o.Log.WithField("error", text).Error("the configuration was not reloaded; the one before stays in force")
		return err
	}
	s.configError.Store(nil)
	s.metrics.Reload(true)
	old := s.current.Swap(g)
	for _, name := range old.Providers.Names() {
		if _, still := g.Providers.Config(name); !still {
			s.metrics.Forget(name)
		}
	}
	old.release()
	s.o.Log.WithField("providers", g.Providers.Names()).Info("configuration reloaded")
	return nil
}

// status is what GET /admin/v1/status answers.
func (s *Server) status() any {
	g := s.acquire()
	defer g.release()
	host, port, _ := net.SplitHostPort(s.addr.String())
	return map[string]any{
		"version": s.o.Version, "pid": os.Getpid(), "address": s.addr.String(), "url": "http://" + net.JoinHostPort(host, port),
		"started": s.started.UTC().Format(time.RFC3339), "uptime_seconds": int64(time.Since(s.started).Seconds()),
		"model": g.Config.Default, "providers": g.Providers.Names(), "discovered": g.Config.Discovered,
		"aliases": g.Config.Aliases, "sources": g.Config.Sources, "draining": s.draining.Load(), "config_error": s.configError.Load(),
		"ledger": s.ledger.Status(), "goroutines": runtime.NumGoroutine(),
	}
}
