package config

import (
	"cmp"
	"net"
	"net/url"
	"strings"
)

// accounts are the providers that a key in the environment is enough for, in the order they are shown.
var accounts = []struct{ name, kind, variable string }{
	{"anthropic", "anthropic", "ANTHROPIC_API_KEY"},
	{"openrouter", "openrouter", "OPENROUTER_API_KEY"},
	{"openai", "openai", "OPENAI_API_KEY"},
	{"gemini", "gemini", "GEMINI_API_KEY"},
	{"mistral", "openai", "MISTRAL_API_KEY"},
	{"groq", "openai", "GROQ_API_KEY"},
	{"deepseek", "openai", "DEEPSEEK_API_KEY"},
	{"xai", "openai", "XAI_API_KEY"},
	{"together", "openai", "TOGETHER_API_KEY"},
	{"fireworks", "openai", "FIREWORKS_API_KEY"},
}

// discover finds providers when the configuration names none: Ollama, and whoever has a key in the environment. Nothing is
// dialled; whether Ollama answers is a matter for /health.
func (l *loader) discover() error {
	if l.c.Providers != nil || l.o.Getenv("SIGNALBOX_PROVIDERS") != "" {
		return nil
	}
	l.c.Discovered = true
	p, _ := wellKnown("ollama", l.o.Getenv)
	by := "its usual address"
	for _, v := range []string{"OLLAMA_BASE_URL", "OLLAMA_HOST"} {
		if l.o.Getenv(v) != "" {
			by = v
			l.a.where["providers.ollama.base_url"] = place{file: v}
			break
		}
	}
	l.add(p, by)
	for _, a := range accounts {
		key := l.o.Getenv(a.variable)
		if key == "" {
			continue
		}
		p, _ := wellKnown(a.name, l.o.Getenv)
		p.APIKey.value, p.APIKey.unread = strings.TrimSpace(key), true
		l.a.where["providers."+a.name+".api_key"] = place{file: a.variable}
		if p.BaseURL != "" {
			l.a.where["providers."+a.name+".base_url"] = place{file: baseVariable(a.name)}
		}
		l.add(p, a.variable)
	}
	return nil
}

// wellKnown is a provider by its name alone, with what the environment says about its address and key.
func wellKnown(name string, getenv func(string) string) (Provider, bool) {
	if name == "ollama" {
		base := getenv("OLLAMA_BASE_URL")
		if base == "" {
			base = ollamaURL(getenv("OLLAMA_HOST"))
		}
		return Provider{Name: name, Kind: name, BaseURL: base}, true
	}
	for _, a := range accounts {
		if a.name == name {
			return Provider{Name: name, Kind: a.kind, BaseURL: strings.TrimSpace(getenv(baseVariable(name)))}, true
		}
	}
	return Provider{}, false
}

func baseVariable(name string) string { return strings.ToUpper(name) + "_BASE_URL" }

// ollamaURL reads OLLAMA_HOST as Ollama does: host, host:port, :port or a URL. An address to listen on (0.0.0.0, [::]) is
// called at 127.0.0.1, and a missing port is 11434, except that https keeps its own.
func ollamaURL(host string) string {
	const usual = "11434"
	s := strings.Trim(strings.TrimSpace(host), `"'`)
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "http", s
	}
	authority, path, _ := strings.Cut(rest, "/")
	name, port, err := net.SplitHostPort(authority)
	if err != nil {
		name, port = strings.TrimSuffix(strings.TrimPrefix(authority, "["), "]"), ""
	}
	if ip := net.ParseIP(name); name == "" || ip != nil && ip.IsUnspecified() {
		name = "127.0.0.1"
	}
	if port == "" && scheme != "https" {
		port = usual
	}
	u := url.URL{Scheme: scheme, Host: name}
	if port != "" {
		u.Host = net.JoinHostPort(name, port)
	} else if strings.Contains(name, ":") {
		u.Host = "[" + name + "]"
	}
	return u.String() + cmp.Or(strings.TrimSuffix("/"+path, "/"), "")
}
