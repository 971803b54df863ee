package cli

import (
	"context"
	"net"
	"time"

	"signalbox/config"
	"signalbox/server"
)

// ownGateway starts a gateway of this configuration on a free port of this machine, for a command that finds none running. It writes
// to the same ledger, since what it sends may cost money. end stops it and waits; the caller must call it.
func ownGateway(ctx context.Context, env *Env, cfg *config.Config) (url string, end func(), err error) {
	state, err := env.StateDir()
	if err != nil {
		return "", nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	own := *cfg
	own.Listen = ln.Addr().String()
	ctx, stop := context.WithCancel(ctx)
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- run(ctx, server.Options{Config: &own, Log: silent(), Version: env.Version, StateDir: state, Listener: ln, Grace: time.Second, Now: env.Now,
			Agents: definitions(env), Ready: func(net.Addr) { close(ready) }})
	}()
	select {
	case <-ready:
	case err := <-ended:
		stop()
		return "", nil, serveError(err, 0)
	}
	return "http://" + own.Listen, func() {
		stop()
		<-ended
	}, nil
}
