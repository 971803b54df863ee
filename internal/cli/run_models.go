package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"signalbox/config"
	"signalbox/internal/routing"
)

// targetOf follows aliases, the project's first, to provider/model or claude. What nobody knows comes back as it is: the
// gateway says what is wrong with it.
func targetOf(name string, p *config.Project, cfg *config.Config) string {
	for range 8 {
		var next string
		if p != nil {
			next = p.Aliases[name]
		}
		if next == "" && cfg != nil {
			next = cfg.Aliases[name]
		}
		if next == "" {
			break
		}
		name = next
	}
	if name == "default" {
		return routing.Claude
	}
	return name
}

// speaksClaude reports whether a target is Anthropic's: the client knows those models better than we do.
func speaksClaude(target string, cfg *config.Config) bool {
	provider, _, _ := strings.Cut(target, "/")
	return target == routing.Claude || provider == "anthropic" || cfg != nil && cfg.Providers[provider].Kind == "anthropic"
}

// isLocal reports whether a target's upstream runs on this machine.
func isLocal(target string, cfg *config.Config) bool {
	provider, _, ok := strings.Cut(target, "/")
	if !ok || cfg == nil {
		return false
	}
	p := cfg.Providers[provider]
	u, err := url.Parse(p.BaseURL)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return p.Kind == "signalbox" || p.Kind == "ollama" && p.BaseURL == "" || u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// fallsBack reports whether the written chain of a target ends at the caller's own Claude. An unknown target (empty) asks
// whether any chain does.
func fallsBack(name, target string, cfg *config.Config) bool {
	if cfg == nil || !cfg.FallbackOn() {
		return false
	}
	for key, chain := range cfg.Fallbacks {
		if target != "" && !config.Match(key, name) && !config.Match(key, target) {
			continue
		}
		for _, next := range chain {
			if speaksClaude(targetOf(next, nil, cfg), cfg) {
				return true
			}
		}
	}
	return false
}

// chained reports whether somebody else is tried when a target cannot serve.
func chained(name, target string, cfg *config.Config) bool {
	if cfg == nil || !cfg.FallbackOn() {
		return false
	}
	for key, chain := range cfg.Fallbacks {
		if len(chain) > 0 && (config.Match(key, name) || config.Match(key, target)) {
			return true
		}
	}
	return false
}

// modelLimits asks the gateway for a model's window, and Ollama itself where the gateway's list does not say. What cannot be
// learned is unknown.
func modelLimits(g string, target string, cfg *config.Config) limits {
	var l limits
	if a, err := ask(g, "/v1/models/"+escapeModel(target), config.Secret{}, 4*time.Second); err == nil && a.ours && a.status == 200 {
		var m struct {
			Window int64 `json:"max_input_tokens"`
			Output int64 `json:"max_tokens"`
		}
		if json.Unmarshal(a.body, &m) == nil {
			l = limits{m.Window, m.Output}
		}
	}
	provider, model, _ := strings.Cut(target, "/")
	if cfg == nil || cfg.Providers[provider].Kind != "ollama" {
		return l
	}
	p := cfg.Providers[provider]
	if l.window == 0 {
		l.window = ollamaWindow(p.BaseURL, model)
	}
	// The gateway never gives a model more than this, whatever the model could.
	for _, most := range []int64{int64(p.NumCtx), int64(p.MaxNumCtx)} {
		if most > 0 && (l.window == 0 || most < l.window) {
			l.window = most
		}
	}
	return l
}

// escapeModel escapes a model for a path, its slashes kept.
func escapeModel(target string) string {
	parts := strings.Split(target, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// ollamaWindow is the window that a model was made with, as Ollama's /api/show tells it; 0 when it does not.
func ollamaWindow(base, model string) int64 {
	if base == "" {
		base = "http://127.0.0.1:11434"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	body, err := json.Marshal(map[string]string{"model": model})
	if err != nil {
		return 0
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(base, "/")+"/api/show", bytes.NewReader(body))
	if err != nil {
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := gateways.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	var card struct {
		Info map[string]json.RawMessage `json:"model_info"`
	}
	if res.StatusCode != 200 || json.NewDecoder(io.LimitReader(res.Body, 16<<20)).Decode(&card) != nil {
		return 0
	}
	for name, value := range card.Info {
		var n int64
		if strings.HasSuffix(name, ".context_length") && json.Unmarshal(value, &n) == nil {
			return n
		}
	}
	return 0
}

// provided is an error when the gateway has no provider of the target's name. It would take the target for a bare name, and give
// the agent its default without a word. Nil where the gateway does not say what it has.
func provided(g *gateway, target string) error {
	provider, _, ok := strings.Cut(target, "/")
	if !ok {
		return nil
	}
	var s statusLine
	a, err := ask(g.url, "/admin/v1/status", g.adminKey, 2*time.Second)
	if err != nil || a.status != http.StatusOK || json.Unmarshal(a.body, &s) != nil || len(s.Providers) == 0 || slices.Contains(s.Providers, provider) {
		return nil
	}
	return fmt.Errorf("%q: the gateway has no provider %q; there are %s", printable(target), printable(provider), strings.Join(s.Providers, ", "))
}

// servable reports, as an error, that the upstream of a target cannot be reached, as the gateway sees it. No news is good news.
func servable(g *gateway, target string) error {
	provider, _, ok := strings.Cut(target, "/")
	if !ok {
		return nil
	}
	a, err := ask(g.url, "/health", g.metricsKey, healthLimit)
	if err != nil || !a.ours {
		return nil
	}
	var h health
	if json.Unmarshal(a.body, &h) != nil {
		return nil
	}
	p, known := h.Providers[provider]
	if !known || p.Healthy {
		return nil
	}
	why := "it cannot be reached"
	if p.Error != nil {
		why = printable(*p.Error)
	}
	return fmt.Errorf("%s cannot serve %s: %s", provider, target, why)
}
