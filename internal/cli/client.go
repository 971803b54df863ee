package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"signalbox/config"
)

// An answer of a gateway.
type answer struct {
	status int
	body   []byte
	ours   bool // it carries our request id, so it is a signalbox that answered
}

// gateways are called directly: a proxy of the environment knows nothing about this machine's loopback.
var gateways = &http.Client{
	Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true, DisableCompression: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// ask does one GET with a limit. A key that is not empty goes along.
func ask(url, path string, key config.Secret, limit time.Duration) (*answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+path, nil)
	if err != nil {
		return nil, err
	}
	if !key.Empty() {
		req.Header.Set("X-Api-Key", key.Reveal())
	}
	res, err := gateways.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return &answer{status: res.StatusCode, body: body, ours: res.Header.Get("X-Signalbox-Request-Id") != ""}, err
}

// admin calls a gateway's admin API and reads the answer to its end; the key goes along where the caller has set none. What the
// gateway refuses is an error with its own words.
func admin(ctx context.Context, method, url string, key config.Secret, h http.Header, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range h {
		req.Header[name] = values
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	if !key.Empty() && req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+key.Reveal())
	}
	res, err := gateways.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 16<<20))
	if err != nil || res.StatusCode == http.StatusOK {
		return data, err
	}
	var e struct {
		Error struct{ Message string } `json:"error"`
	}
	if json.Unmarshal(data, &e) != nil || e.Error.Message == "" {
		e.Error.Message = "the gateway answered " + res.Status
	}
	return nil, errors.New(printable(e.Error.Message))
}

// A gateway is the one that a command is about.
type gateway struct {
	port       int
	url        string
	adminKey   config.Secret
	metricsKey config.Secret
	record     pidRecord
	running    bool // by its pid file
	pidFile    string
}

// addPort gives a command the --port flag.
func addPort(cmd *cobra.Command) *int {
	return cmd.Flags().Int("port", DefaultPort, "the port of the gateway")
}

// find looks for the gateway of a port: the flag's, else the configuration's, else 3456. A configuration that cannot be read
// is no hindrance: the gateway that runs was started with a good one.
func find(env *Env, cmd *cobra.Command, port int) (*gateway, error) {
	cfg, _ := config.Load(config.LoadOptions{Dir: env.Dir, Getenv: env.Getenv, Home: env.Home})
	return findWith(env, cmd, port, cfg)
}

// findWith is find with a configuration that was read already; nil when it could not be.
func findWith(env *Env, cmd *cobra.Command, port int, cfg *config.Config) (*gateway, error) {
	host := "127.0.0.1"
	g := &gateway{port: port}
	if cfg != nil {
		g.adminKey, g.metricsKey = cfg.AdminKey, cfg.MetricsKey
		if !cmd.Flags().Changed("port") && cfg.Port() != 0 {
			g.port = cfg.Port()
		}
		if g.port == cfg.Port() {
			host = cfg.Host()
		}
	}
	if g.port < 1 || g.port > 65535 {
		return nil, failText(exitUsage, "--port: a number from 1 to 65535")
	}
	g.url = baseURL(host, g.port)
	state, err := env.StateDir()
	if err != nil {
		return g, nil // without a home its port can still be asked
	}
	g.pidFile = pidPath(state, g.port)
	r, ok, err := readPID(g.pidFile)
	if err != nil {
		return nil, &ExitError{Code: exitFailure, Err: err, Port: g.port}
	}
	if ok && r.Port == g.port && r.running(env) {
		g.record, g.running = r, true
	}
	return g, nil
}
