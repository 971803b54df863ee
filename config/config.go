// Package config is the configuration of a gateway: its types, its defaults, and how it is found, read, checked and
// watched. A running gateway never edits it. Read config.go for what can be set, load.go for where it comes from.
package config

import (
	"iter"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is the whole configuration. docs/configuration.md is made from its comments.
type Config struct {
	// Listen is the address to serve on. Default 127.0.0.1:3456; port 0 takes any free one.
	Listen string `yaml:"listen" validate:"required"`
	// Default is the target (provider/model, or an alias) of requests that name none.
	Default string `yaml:"default,omitempty"`
	// Providers are the upstream accounts by name. Without this block they are discovered.
	Providers map[string]Provider `yaml:"providers,omitempty" validate:"dive"`
	// Aliases are names that stand for a target. A name may hold * for any run of characters: claude-haiku-*.
	Aliases map[string]string `yaml:"aliases,omitempty"`
	// Agents give the agent of that name its own target, or a mapping with target, thinking, effort and fallbacks. A name may hold *.
	Agents map[string]Entry `yaml:"agents,omitempty"`
	// Commands do the same for slash commands.
	Commands map[string]Entry `yaml:"commands,omitempty"`
	// Skills do the same for skills.
	Skills map[string]Entry `yaml:"skills,omitempty"`
	// Hooks do the same for hooks.
	Hooks map[string]Entry `yaml:"hooks,omitempty"`
	// Rules send requests of a kind elsewhere: long ones, those with images, some of them by weight.
	Rules []Rule `yaml:"rules,omitempty" validate:"dive"`
	// Fallbacks are the targets to try next, by target, pattern (ollama/*) or alias. Without an entry nobody else is called.
	Fallbacks map[string][]string `yaml:"fallbacks,omitempty"`
	// FallbackEnabled arms the chains of Fallbacks. Default true.
	FallbackEnabled *bool `yaml:"fallback_enabled,omitempty"`
	// Retry bounds attempts at one target.
	Retry Retry `yaml:"retry"`
	// Breaker closes the way to a target that keeps failing.
	Breaker Breaker `yaml:"breaker"`
	// MaxInflight is how many requests run at once. Default 4096.
	MaxInflight int `yaml:"max_inflight" validate:"min=1"`
	// Queue is how many more may wait for a place. Default 256; past it requests are refused with 529.
	Queue int `yaml:"queue" validate:"min=0"`
	// Strict refuses what a target cannot honour instead of dropping and reporting it, and temperature, top_p and top_k under
	// anthropic-version 2026-10-21. Default false.
	Strict bool `yaml:"strict,omitempty"`
	// ClaudeModel is the model of the target claude when the body names no Anthropic model.
	ClaudeModel string `yaml:"claude_model,omitempty"`
	// AllowedHosts are Host names that are accepted beside localhost while no keys exist.
	AllowedHosts []string `yaml:"allowed_hosts,omitempty"`
	// AllowOpen serves a non-loopback address without keys: something else guards the port.
	AllowOpen bool `yaml:"allow_open,omitempty"`
	// AdminKey opens the admin API from elsewhere than loopback. env:NAME and file:/path are read.
	AdminKey Secret `yaml:"admin_key,omitempty"`
	// MetricsKey, once set, is asked for on /metrics and /health.
	MetricsKey Secret `yaml:"metrics_key,omitempty"`
	// Prices are USD per million tokens by target pattern (lab/*); they win over the catalogue.
	Prices map[string]Price `yaml:"prices,omitempty" validate:"dive"`
	// Ledger is the spend book.
	Ledger Ledger `yaml:"ledger"`
	// EarlyCommit opens a stream after this silence, before the upstream has answered. 0 (default) is off.
	EarlyCommit Duration `yaml:"early_commit,omitempty"`
	// BodyLimit is the largest request body in bytes. Default 33554432 (32 MiB), what the real API takes.
	BodyLimit int64 `yaml:"body_limit" validate:"min=1024"`
	// Grace is how long running answers may take to end after SIGTERM. Default 30s.
	Grace Duration `yaml:"grace"`

	// Sources are the files that the configuration was read from, lowest first, for status.
	Sources []string `yaml:"-"`
	// Firm are the keys (default, aliases.NAME, agents.NAME, …) that a named file, the environment or the command line wrote: a
	// project's files do not change them.
	Firm map[string]bool `yaml:"-"`
	// Watched are the files whose change should reload: the sources, the places where one may appear, and files of secrets.
	Watched []string `yaml:"-"`
	// SecretFiles are the files that keys were read from (file:/path, --api-key-file), for whoever looks at their modes.
	SecretFiles []string `yaml:"-"`
	// Discovered says that the providers were found and not configured.
	Discovered bool `yaml:"-"`
	// Found says where each provider that nobody wrote down comes from, for the first screen of serve.
	Found []Finding `yaml:"-"`
	// Warnings are things that were read and not taken. None of them holds a secret.
	Warnings []string `yaml:"-"`
	// origins say where each key was written; see Origin.
	origins map[string]Origin
}

// Finding is one discovered provider and what it was found by (OPENROUTER_API_KEY, OLLAMA_HOST, …).
type Finding struct{ Provider, By string }

// Provider is one upstream account.
type Provider struct {
	// Kind is ollama, openrouter, anthropic, openai, openai-responses, gemini or signalbox. Default: the provider's name.
	Kind string `yaml:"kind,omitempty"`
	// BaseURL is the upstream's address. Default: the kind's or preset's own.
	BaseURL string `yaml:"base_url,omitempty"`
	// APIKey is the account's key: literal, env:NAME or file:/path.
	APIKey Secret `yaml:"api_key,omitempty"`
	// Profile names the preset row of an OpenAI-compatible server. Default: the row with the provider's own name, else plain.
	Profile string `yaml:"profile,omitempty"`
	// NumCtx is Ollama's window in tokens: a number, or auto (default).
	NumCtx NumCtx `yaml:"num_ctx,omitempty"`
	// MaxNumCtx is the most that auto grows the window to. Default: the model's own limit.
	MaxNumCtx int `yaml:"max_num_ctx,omitempty" validate:"min=0"`
	// KeepAlive is how long Ollama keeps a model loaded, as Ollama writes it ("10m", "-1"). Default: the server's own.
	KeepAlive string `yaml:"keep_alive,omitempty"`
	// TextTools says whether tool calls that a model writes as text become real ones: auto (default), on or off.
	TextTools TextTools `yaml:"text_tools,omitempty"`
	// Models are settings of single models, by the upstream's own id; a name that ends in * stands for all that begin so.
	Models map[string]ModelSettings `yaml:"models,omitempty"`
	// Headers are sent with every call, for servers that want more than a key. HTTP-Referer and X-OpenRouter-Title go here.
	Headers map[string]string `yaml:"headers,omitempty"`
	// Timeouts are this upstream's clocks.
	Timeouts Timeouts `yaml:"timeouts,omitempty"`
	// Strict is the gateway's strict for this provider alone.
	Strict bool `yaml:"strict,omitempty"`
	// AllowHTTP permits plain http to a public name.
	AllowHTTP bool `yaml:"allow_http,omitempty"`
	// InsecureSkipVerify switches TLS verification off for this provider, with a warning at each start.
	InsecureSkipVerify bool `yaml:"insecure_skip_verify,omitempty"`

	// Name is the provider's key in the map.
	Name string `yaml:"-"`
	// Builtin marks providers that nobody configured: signalbox, and the keyless anthropic.
	Builtin bool `yaml:"-"`
}

// ModelSettings are what one model of a provider wants otherwise.
type ModelSettings struct {
	// TextTools is the provider's text_tools for this model alone.
	TextTools TextTools `yaml:"text_tools,omitempty"`
}

// Timeouts are the clocks of one upstream. Zero takes the default, which for Ollama's head is 300s and else as given.
type Timeouts struct {
	Connect     Duration `yaml:"connect,omitempty"`      // 5s; until the connection stands
	TLS         Duration `yaml:"tls,omitempty"`          // 5s; until its encryption does
	Head        Duration `yaml:"head,omitempty"`         // 60s; streamed calls until the response head
	FirstEvent  Duration `yaml:"first_event,omitempty"`  // 120s; streamed calls until the first content
	Idle        Duration `yaml:"idle,omitempty"`         // 60s; between events with content
	Total       Duration `yaml:"total,omitempty"`        // 0s: no limit while content flows
	ClientWrite Duration `yaml:"client_write,omitempty"` // 30s without progress
}

// BeginLimit ends a request that has not begun to answer.
const BeginLimit = 15 * time.Minute

// Retry bounds attempts at one target.
type Retry struct {
	// Attempts at one target, the first included. Default 1.
	Attempts int `yaml:"attempts" validate:"min=1,max=8"`
	// PossiblyCharged retries also where the first attempt may have cost money. Default false.
	PossiblyCharged bool `yaml:"possibly_charged"`
}

// Breaker opens after Consecutive failures (default 5) or when half of twenty fail.
type Breaker struct {
	// Consecutive failures that open it. Default 5.
	Consecutive uint32 `yaml:"consecutive" validate:"min=1"`
}

// Ledger is the spend book.
type Ledger struct {
	// Sync says what survives a power cut: os (default; survives kill -9), interval (100 ms), always.
	Sync string `yaml:"sync" validate:"oneof=os interval always"`
	// Keep is how long rows are kept. Default 400d.
	Keep Duration `yaml:"keep"`
}

// Price is USD per million tokens, written as decimals. A member that is missing costs nothing unless Input is given, from
// which cache prices then follow the catalogue's custom: nothing is guessed.
type Price struct {
	Input      Decimal `yaml:"input"`
	Output     Decimal `yaml:"output"`
	CacheRead  Decimal `yaml:"cache_read,omitempty"`
	CacheWrite Decimal `yaml:"cache_write,omitempty"`
}

// Decimal is a number as it was written, so that no float touches money.
type Decimal string

// Duration is a time.Duration written as "30s", "5m" or "400d".
type Duration time.Duration

// D is the duration.
func (d Duration) D() time.Duration { return time.Duration(d) }

// TextTools is auto, on or off; empty is auto.
type TextTools string

// The values of TextTools. Auto looks for written calls at local and unknown servers, until a model has shown that it calls
// properly.
const (
	TextToolsAuto TextTools = "auto"
	TextToolsOn   TextTools = "on"
	TextToolsOff  TextTools = "off"
)

// TextToolsFor is what holds for a model: its own setting, else that of the longest pattern that fits, else the provider's.
func (p *Provider) TextToolsFor(model string) TextTools {
	best, found := p.TextTools, -1
	for name, m := range p.Models {
		prefix, pattern := strings.CutSuffix(name, "*")
		switch {
		case m.TextTools == "":
		case !pattern && name == model:
			return m.TextTools
		case pattern && strings.HasPrefix(model, prefix) && len(prefix) > found:
			best, found = m.TextTools, len(prefix)
		}
	}
	if best == "" {
		return TextToolsAuto
	}
	return best
}

// NumCtx is a window in tokens; 0 is auto.
type NumCtx int

// Default is a gateway that works beside a local Ollama with no file at all.
func Default() *Config {
	return &Config{
		Listen:      "127.0.0.1:3456",
		Sources:     []string{},
		Retry:       Retry{Attempts: 1},
		Breaker:     Breaker{Consecutive: 5},
		MaxInflight: 4096,
		Queue:       256,
		BodyLimit:   32 << 20,
		Grace:       Duration(30 * time.Second),
		Ledger:      Ledger{Sync: "os", Keep: Duration(400 * 24 * time.Hour)},
	}
}

// FallbackOn reports whether written chains are armed.
func (c *Config) FallbackOn() bool { return c.FallbackEnabled == nil || *c.FallbackEnabled }

// Host is the host part of Listen; empty means all interfaces.
func (c *Config) Host() string {
	host, _, _ := net.SplitHostPort(c.Listen) // Validate has seen it
	return host
}

// Port is the port part of Listen; 0 means any free one.
func (c *Config) Port() int {
	_, port, _ := net.SplitHostPort(c.Listen)
	n, _ := strconv.Atoi(port)
	return n
}

// Entries are the four kinds of entries under their keys, in their order: agents, commands, skills, hooks.
func (c *Config) Entries() iter.Seq2[string, map[string]Entry] {
	return func(yield func(string, map[string]Entry) bool) {
		_ = yield("agents", c.Agents) && yield("commands", c.Commands) && yield("skills", c.Skills) && yield("hooks", c.Hooks)
	}
}

// ProviderNames are the names of all providers in order, the built-in ones included.
func (c *Config) ProviderNames() []string { return slices.Sorted(maps.Keys(c.Providers)) }
