package cli

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"signalbox/config"
)

// welcome is the first screen of serve: what was found and why, where to send requests, and what to do when there is nothing
// to send them to.
func welcome(env *Env, cfg *config.Config, line serveLine) {
	w, color := env.Stdout, env.Color(env.Stdout)
	fmt.Fprintf(w, "\n  %s %s\n\n", paint(color, styleTitle, "signalbox"), paint(color, styleFaint, env.Version))
	usable := shownProviders(w, color, cfg)
	fmt.Fprintln(w)
	row := func(name, value string) {
		fmt.Fprintf(w, "  %s %s\n", paint(color, styleFaint, fmt.Sprintf("%-9s", name)), value)
	}
	row("listening", paint(color, styleLink, line.URL))
	if cfg.Default != "" {
		row("default", cfg.Default)
	} else {
		row("default", "none: name the model in the request, or start with --model provider/model")
	}
	for _, s := range cfg.Sources {
		row("read from", short(env, s))
	}
	if !usable {
		fmt.Fprintf(w, "\n  %s Nothing to send requests to yet. Do one of these and start again:\n", paint(color, styleBad, "!"))
		fmt.Fprintln(w, "    install Ollama (https://ollama.com/download), then: ollama serve, ollama pull qwen3:8b")
		fmt.Fprintln(w, "    set a key: export OPENROUTER_API_KEY=…  (or ANTHROPIC_API_KEY, OPENAI_API_KEY, MISTRAL_API_KEY, …)")
		fmt.Fprintln(w, "  Until then signalbox/echo answers, and Claude models with your own Claude credential.")
	}
	fmt.Fprintf(w, "\n  For Claude Code:\n    export ANTHROPIC_BASE_URL=%s\n    export ANTHROPIC_AUTH_TOKEN=signalbox   # not when you are logged in to Claude: your own login is passed on\n\n", line.URL)
}

// shownProviders lists the providers with where each came from, and reports whether one of them can be used.
func shownProviders(w io.Writer, color bool, cfg *config.Config) bool {
	found := map[string]string{}
	for _, f := range cfg.Found {
		found[f.Provider] = f.By
	}
	usable := false
	for _, name := range cfg.ProviderNames() {
		p := cfg.Providers[name]
		if p.Builtin {
			continue
		}
		by, where := found[name], p.BaseURL
		mark, note := paint(color, styleGood, "✓"), "configured"
		if by != "" {
			note = "found by " + by
		}
		if p.Kind == "ollama" {
			if version, ok := ollamaVersion(p.BaseURL); ok {
				note = "running, version " + version
			} else {
				mark, note = paint(color, styleBad, "✗"), "does not answer; start it with: ollama serve"
			}
		}
		usable = usable || !strings.HasPrefix(note, "does not")
		if where != "" {
			where = paint(color, styleFaint, where)
		}
		fmt.Fprintf(w, "  %s %-11s %s  %s\n", mark, name, note, where)
	}
	return usable
}

// ollamaVersion asks an Ollama for its version, within what a person does not notice.
func ollamaVersion(base string) (string, bool) {
	if base == "" {
		base = "http://127.0.0.1:11434"
	}
	a, err := ask(strings.TrimSuffix(base, "/"), "/api/version", config.Secret{}, 300*time.Millisecond)
	if err != nil || a.status != http.StatusOK {
		return "", false
	}
	_, rest, ok := strings.Cut(string(a.body), `"version":"`)
	version, _, closed := strings.Cut(rest, `"`)
	return printable(version), ok && closed && len(version) < 64
}

// started is what start tells a person.
func started(env *Env, line serveLine, logFile string) {
	color := env.Color(env.Stdout)
	stop := "signalbox stop"
	if line.Port != DefaultPort {
		stop += fmt.Sprintf(" --port %d", line.Port)
	}
	fmt.Fprintf(env.Stdout, "%s signalbox runs at %s %s\n", paint(color, styleGood, "✓"), paint(color, styleLink, line.URL),
		paint(color, styleFaint, fmt.Sprintf("(pid %d)", line.PID)))
	fmt.Fprintf(env.Stdout, "  log: %s\n  stop it with: %s\n", short(env, logFile), stop)
}
