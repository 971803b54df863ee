package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/go-playground/validator/v10"
)

// Kinds are the kinds of provider that this version serves.
var Kinds = []string{"ollama", "openrouter", "anthropic", "openai", "openai-responses", "gemini", "signalbox"}

// reserved are the first words of fixed paths under /v1/: a provider of that name could never be reached by its path.
var reserved = []string{"messages", "models", "chat", "responses", "completions", "complete", "files", "embeddings", "batches",
	"organizations", "skills", "agents", "sessions", "environments"}

var (
	providerName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)
	modelName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:@+-]*(/[A-Za-z0-9][A-Za-z0-9._:@+-]*){0,5}$`)
	pattern      = regexp.MustCompile(`^[A-Za-z0-9._:@+*/-]+$`)
	headerName   = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
)

// rules is shared, since it caches what it learns about a type, and made on first use: most commands never need it.
var rules = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(yamlName)
	return v
})

// validate checks the whole configuration and gives the first fault with its place. The order is that of the types, so one
// mistake always gives one message.
func validate(c *Config, where map[string]place) error {
	v := &checker{c: c, where: where}
	for _, check := range []func() error{v.tags, v.listen, v.providers, v.targets, v.prices} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

type checker struct {
	c     *Config
	where map[string]place
}

// fail names the place of the key, or of the nearest mapping around it that was written.
func (v *checker) fail(key, format string, args ...any) error {
	at := place{}
	for k := key; k != ""; {
		if p, ok := v.where[k]; ok {
			at = p
			break
		}
		i := strings.LastIndexByte(k, '.')
		if i < 0 {
			break
		}
		k = k[:i]
	}
	return &Error{File: at.file, Line: at.line, Key: key, Message: fmt.Sprintf(format, args...)}
}

// tags runs the validate tags and puts them into words.
func (v *checker) tags() error {
	err := rules().Struct(v.c)
	var all validator.ValidationErrors
	if !errors.As(err, &all) {
		return err
	}
	e := all[0]
	key := strings.TrimPrefix(e.Namespace(), "Config.")
	key = strings.NewReplacer("[", ".", "]", "").Replace(key)
	switch e.Tag() {
	case "required":
		return v.fail(key, "required")
	case "min":
		return v.fail(key, "%v is too small: at least %s", e.Value(), e.Param())
	case "max":
		return v.fail(key, "%v is too large: at most %s", e.Value(), e.Param())
	case "oneof":
		return v.fail(key, "%q is none of %s", e.Value(), strings.ReplaceAll(e.Param(), " ", ", "))
	}
	return v.fail(key, "not valid (%s)", e.Tag())
}

func (v *checker) listen() error {
	host, port, err := net.SplitHostPort(v.c.Listen)
	if err != nil {
		return v.fail("listen", "%q is no address: write host:port, as in 127.0.0.1:3456", v.c.Listen)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
		return v.fail("listen", "%q is no port: a number from 0 to 65535", port)
	}
	if strings.ContainsAny(host, " /\\@") {
		return v.fail("listen", "%q is no host", host)
	}
	if !loopback(host) && !v.c.AllowOpen {
		return v.fail("listen", "%s can be reached from other machines and no keys are configured; listen on 127.0.0.1, or say allow_open: true (--allow-open) when something else guards the port", v.c.Listen)
	}
	if v.c.EarlyCommit < 0 || v.c.Grace < 0 || v.c.Ledger.Keep <= 0 {
		return v.fail("ledger.keep", "a time above zero")
	}
	for _, h := range v.c.AllowedHosts {
		if h == "" || strings.ContainsAny(h, " /:*") && net.ParseIP(h) == nil {
			return v.fail("allowed_hosts", "%q is no host name: write it without scheme, port or *", h)
		}
	}
	return nil
}

func (v *checker) providers() error {
	for _, name := range v.c.ProviderNames() {
		if err := v.provider(name, v.c.Providers[name]); err != nil {
			return err
		}
	}
	return nil
}

func (v *checker) provider(name string, p Provider) error {
	key := "providers." + name
	switch {
	case len(name) > 64 || !providerName.MatchString(name):
		return v.fail(key, "not a provider's name: letters, digits, dots, dashes and underscores, at most 64")
	case slices.Contains(reserved, strings.ToLower(name)):
		return v.fail(key, "the paths /v1/%s are fixed, so no provider can have this name", name)
	case !slices.Contains(Kinds, p.Kind):
		hint := ""
		if slices.ContainsFunc(accounts, func(a struct{ name, kind, variable string }) bool { return a.name == p.Kind && a.kind == "openai" }) {
			hint = "; write kind: openai, and the profile is taken from the name"
		} else if near := nearest(p.Kind, Kinds); near != "" {
			hint = "; did you mean " + near + "?"
		}
		return v.fail(key+".kind", "%q is no kind: one of %s%s", p.Kind, strings.Join(Kinds, ", "), hint)
	case p.Kind == "signalbox" && name != "signalbox":
		return v.fail(key+".kind", "the built-in provider signalbox answers under its own name alone")
	case name == "signalbox" && p.Kind != "signalbox":
		return v.fail(key+".kind", "signalbox is the built-in provider; give another one another name")
	case p.Kind == "openai" && p.BaseURL == "" && p.Profile == "" && !preset(name):
		return v.fail(key+".base_url", "required: kind openai has no address of its own, unless profile names a preset")
	}
	if p.BaseURL != "" {
		if err := v.baseURL(key+".base_url", p); err != nil {
			return err
		}
	}
	if err := v.headers(key+".headers", p.Headers); err != nil {
		return err
	}
	if p.MaxNumCtx > 0 && int(p.NumCtx) > p.MaxNumCtx {
		return v.fail(key+".num_ctx", "%d is above max_num_ctx, which is %d", p.NumCtx, p.MaxNumCtx)
	}
	if p.APIKey.Empty() && !authorized(p.Headers) {
		switch {
		case p.Kind == "openrouter" && (p.BaseURL == "" || remote(p.BaseURL)):
			return v.fail(key+".api_key", "required; write env:OPENROUTER_API_KEY or file:/path")
		case p.Kind == "gemini" && (p.BaseURL == "" || remote(p.BaseURL)):
			return v.fail(key+".api_key", "required; write env:GEMINI_API_KEY or file:/path")
		case p.Kind == "openai-responses" && (p.BaseURL == "" || remote(p.BaseURL)):
			return v.fail(key+".api_key", "required; write env:OPENAI_API_KEY or file:/path")
		case p.Kind == "openai" && (remote(p.BaseURL) || p.BaseURL == "" && account(name)):
			return v.fail(key+".api_key", "required when base_url is remote; write env:NAME or file:/path")
		}
	}
	if p.InsecureSkipVerify {
		v.c.warn("%s.insecure_skip_verify: TLS certificates of this provider are not checked", key)
	}
	return nil
}

// preset says whether a name is likely a row of the presets. The rows themselves are the providers' knowledge; a profile
// that does not exist is refused there.
func preset(name string) bool {
	return account(name) || slices.Contains([]string{"vllm", "llamacpp", "lmstudio"}, name)
}

func account(name string) bool {
	return slices.ContainsFunc(accounts, func(a struct{ name, kind, variable string }) bool { return a.name == name })
}

func authorized(headers map[string]string) bool {
	for name := range headers {
		if name = strings.ToLower(name); name == "authorization" || strings.Contains(name, "key") || strings.Contains(name, "token") {
			return true
		}
	}
	return false
}

func (v *checker) baseURL(key string, p Provider) error {
	u, err := url.Parse(p.BaseURL)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || strings.ContainsFunc(p.BaseURL, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return v.fail(key, "not an address: write a whole URL, as in https://api.example.com/v1")
	case u.Scheme != "http" && u.Scheme != "https":
		return v.fail(key, "%q is neither http nor https", u.Scheme)
	case u.User != nil:
		return v.fail(key, "holds a user or password; keys go in api_key or headers, never in an address")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return v.fail(key, "an address has no query and no fragment")
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); u.Port() != "" && (err != nil || n == 0) {
		return v.fail(key, "%q is no port", u.Port())
	}
	if u.Scheme == "http" && !p.AllowHTTP && !private(u.Hostname()) {
		return v.fail(key, "plain http to %s would send prompts and keys in the open; use https, or say allow_http: true at the provider", u.Hostname())
	}
	if v.c.ourselves(p.BaseURL) {
		return v.fail(key, "%s points at this gateway itself; name the real upstream, or unset the variable it came from", p.BaseURL)
	}
	return nil
}

// unsettable are headers that belong to the connection or to the gateway.
var unsettable = []string{"Host", "Content-Length", "Content-Type", "Connection", "Transfer-Encoding", "Te", "Trailer", "Upgrade",
	"Keep-Alive", "Accept-Encoding", "Cookie", "Idempotency-Key", "X-Idempotency-Key"}

func (v *checker) headers(key string, headers map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		if !headerName.MatchString(name) {
			return v.fail(key, "%q is no header's name", name)
		}
		if h := http.CanonicalHeaderKey(name); slices.Contains(unsettable, h) || strings.HasPrefix(h, "Proxy-") {
			return v.fail(join(key, name), "this header cannot be set")
		}
		if strings.ContainsFunc(headers[name], func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return v.fail(join(key, name), "the value holds a control character")
		}
	}
	return nil
}

// targets checks every name that stands for a target. What a project's file names and we do not have is a warning: routing
// answers such a request with a 404 that says so, and nothing is sent to another model in silence.
func (v *checker) targets() error {
	c := v.c
	for _, name := range slices.Sorted(maps.Keys(c.Aliases)) {
		key := "aliases." + name
		switch {
		case name == "claude" || name == "default":
			return v.fail(key, "%s has a meaning of its own and cannot be an alias", name)
		case !modelName.MatchString(strings.ReplaceAll(name, "*", "x")) || strings.Contains(name, "/"):
			return v.fail(key, "not a name that can be an alias: letters, digits and . _ : @ + - (and * for any run of them), without a slash, so that no target looks like it")
		}
		if err := v.target(key, c.Aliases[name], false); err != nil {
			return err
		}
	}
	if c.Default != "" {
		if err := v.target("default", c.Default, true); err != nil {
			return err
		}
	}
	for kind, entries := range c.Entries() {
		for _, name := range slices.Sorted(maps.Keys(entries)) {
			key, e := join(kind, name), entries[name]
			if e.Target == "" {
				return v.fail(key, "target: required: provider/model, an alias, or claude")
			}
			for _, target := range append([]string{e.Target}, e.Fallbacks...) {
				if err := v.target(key, target, true); err != nil {
					return err
				}
			}
		}
	}
	for i, r := range c.Rules {
		for _, to := range r.To {
			if text := v.wrongTarget(to.Target, true); text != "" {
				return v.fail("rules", "rule %d: %s", i+1, text)
			}
		}
		if w := r.When; w.TokensUnder > 0 && w.TokensOver >= w.TokensUnder {
			return v.fail("rules", "rule %d: no prompt has more than %d and fewer than %d tokens", i+1, w.TokensOver, w.TokensUnder)
		}
	}
	for _, from := range slices.Sorted(maps.Keys(c.Fallbacks)) {
		key := "fallbacks." + from
		if !pattern.MatchString(from) {
			return v.fail(key, "not a target, a pattern such as ollama/*, or an alias")
		}
		for _, to := range c.Fallbacks[from] {
			if err := v.target(key, to, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// target checks provider/model, the word claude (also default), and, where one may stand, an alias.
func (v *checker) target(key, target string, alias bool) error {
	text := v.wrongTarget(target, alias)
	if text == "" {
		return nil
	}
	if at := v.where[key]; at.guest {
		v.c.warn("%s:%d: %s: %s", at.file, at.line, key, text)
		return nil
	}
	return v.fail(key, "%s", text)
}

func (v *checker) wrongTarget(target string, alias bool) string {
	if target == "claude" || target == "default" {
		return ""
	}
	if _, ok := v.c.Aliases[target]; ok {
		if alias {
			return ""
		}
		return fmt.Sprintf("%q is an alias itself; write its target", target)
	}
	provider, model, ok := strings.Cut(target, "/")
	if !ok {
		if alias {
			return fmt.Sprintf("%q is neither provider/model nor an alias", target)
		}
		return fmt.Sprintf("%q is no target: write provider/model", target)
	}
	if _, ok := v.c.Providers[provider]; !ok {
		text := fmt.Sprintf("%q: no provider is named %q; there are %s", target, provider, strings.Join(v.c.ProviderNames(), ", "))
		for _, a := range accounts {
			if a.name == provider && v.c.Discovered {
				text += "; set " + a.variable
			}
		}
		return text
	}
	if len(model) > 256 || !modelName.MatchString(model) {
		return fmt.Sprintf("%q: the part behind %s/ is no model's name", target, provider)
	}
	return ""
}

func (v *checker) prices() error {
	for _, name := range slices.Sorted(maps.Keys(v.c.Prices)) {
		key := "prices." + name
		if !pattern.MatchString(name) || !strings.Contains(name, "/") {
			return v.fail(key, "not a target or a pattern such as lab/*")
		}
		if p := v.c.Prices[name]; p.Input == "" || p.Output == "" {
			return v.fail(key, "input and output are both required, in USD per million tokens; 0 is a price")
		}
	}
	return nil
}

// ourselves reports whether an address is the one that this gateway listens on.
func (c *Config) ourselves(base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if port == "0" || port != strconv.Itoa(c.Port()) {
		return false
	}
	theirs, ours := u.Hostname(), c.Host()
	if strings.EqualFold(theirs, ours) {
		return true
	}
	return (loopback(theirs) || unspecified(theirs)) && (loopback(ours) || unspecified(ours))
}

// loopback reports whether a host is this machine and nobody else's.
func loopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

func unspecified(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.Unmap().IsUnspecified()
}

// carrier is shared address space (RFC 6598), which private overlay networks use.
var carrier = netip.MustParsePrefix("100.64.0.0/10")

// private reports whether plain http to a host stays out of the public network: loopback, private and link-local
// addresses, and names without a dot.
func private(host string) bool {
	if loopback(host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return !strings.Contains(strings.TrimSuffix(host, "."), ".")
	}
	ip = ip.Unmap()
	return ip.IsPrivate() || ip.IsLinkLocalUnicast() || carrier.Contains(ip)
}

// remote reports whether an address leads out of here.
func remote(base string) bool {
	u, err := url.Parse(base)
	return base != "" && err == nil && !private(u.Hostname())
}
