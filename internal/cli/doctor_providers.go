package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"signalbox/config"
	"signalbox/internal/fault"
	"signalbox/providers"
)

// Windows in tokens. An agent's first prompt alone, with its tools, has 15 000 tokens and more; a session that reads files needs
// several times that.
const (
	enoughWindow = 64 << 10
	leastWindow  = 16 << 10
)

// A seenOllama is one Ollama server, asked once however many checks want to know.
type seenOllama struct {
	ask func(context.Context)

	base   string
	err    error
	pulled []string // the names of /api/tags
	client providers.Provider
}

func isOllama(p config.Provider) bool { return p.Kind == "ollama" }

// ollama asks the server of a provider what it has.
func (x *examination) ollama(ctx context.Context, name string) *seenOllama {
	x.mu.Lock()
	o := x.ollamas[name]
	if o == nil {
		o = &seenOllama{base: x.cfg.Providers[name].BaseURL}
		if o.base == "" {
			o.base = "http://127.0.0.1:11434"
		}
		var once sync.Once
		o.ask = func(ctx context.Context) { once.Do(func() { o.look(ctx, x.providers, name) }) }
		x.ollamas[name] = o
	}
	x.mu.Unlock()
	o.ask(ctx)
	return o
}

func (o *seenOllama) look(ctx context.Context, registry *providers.Registry, name string) {
	if o.client, o.err = registry.Get(name); o.err != nil {
		return
	}
	if o.err = o.client.Ping(ctx); o.err != nil {
		return
	}
	models, err := o.client.Models(ctx)
	o.err = err
	for _, m := range models {
		o.pulled = append(o.pulled, withTag(m.ID))
	}
}

// has reports whether a model is pulled.
func (o *seenOllama) has(model string) bool { return slices.Contains(o.pulled, withTag(model)) }

// withTag writes a model's name as the server lists it.
func withTag(model string) string {
	if strings.Contains(model[strings.LastIndexByte(model, '/')+1:], ":") {
		return model
	}
	return model + ":latest"
}

// elsewhere is what stands before an ollama command that is about a server on another machine.
func (o *seenOllama) elsewhere() string {
	u, err := url.Parse(o.base)
	if err != nil || onThisMachine(u.Hostname()) && (u.Port() == "11434" || u.Port() == "") {
		return ""
	}
	return "OLLAMA_HOST=" + o.base + " "
}

// ollamaNames are the configured Ollama servers, none when no provider can be asked.
func (x *examination) ollamaNames() (out []string) {
	if x.cfg == nil || x.providers == nil {
		return nil
	}
	for _, name := range x.cfg.ProviderNames() {
		if isOllama(x.cfg.Providers[name]) {
			out = append(out, name)
		}
	}
	return out
}

// checkOllama asks each Ollama whether it is there.
func checkOllama(ctx context.Context, x *examination) []finding {
	return each(x.ollamaNames(), func(name string) []finding {
		o := x.ollama(ctx, name)
		by := "providers." + name
		if found := x.foundBy(name); found != "" {
			by = "from " + found
		}
		if o.err == nil {
			return []finding{{What: fmt.Sprintf("%s answers at %s (%s), %s pulled", name, o.base, by, several(len(o.pulled), "model"))}}
		}
		what := fmt.Sprintf("%s does not answer at %s (%s)", name, o.base, by)
		if !errors.Is(o.err, syscall.ECONNREFUSED) {
			what += ": " + fault.From(o.err).Message
		}
		f := finding{Severity: wrong, What: what,
			Why: "every request that goes there is answered with 502", Fix: x.startOllama(o)}
		if x.foundBy(name) != "" && !slices.ContainsFunc(x.uses(), func(u use) bool { return u.provider == name }) {
			f.Severity, f.Why = doubtful, "nothing in the configuration names it; it was looked for because it is usually there"
		}
		return []finding{f}
	})
}

// startOllama is how that server comes up.
func (x *examination) startOllama(o *seenOllama) string {
	u, err := url.Parse(o.base)
	switch {
	case err != nil:
		return "correct its address"
	case !onThisMachine(u.Hostname()):
		return fmt.Sprintf("on %s: OLLAMA_HOST=0.0.0.0 ollama serve   (and let this machine reach port %s)", u.Hostname(), orPort(u))
	case !x.inPath("ollama"):
		return "install it (https://ollama.com/download), then: ollama serve"
	case orPort(u) != "11434":
		return "OLLAMA_HOST=" + u.Host + " ollama serve   (or, if it listens at 11434: unset OLLAMA_HOST)"
	}
	return "ollama serve"
}

// inPath reports whether a program can be started by its name.
func (x *examination) inPath(name string) bool {
	for _, dir := range filepath.SplitList(x.env.Getenv("PATH")) {
		if st, err := os.Stat(filepath.Join(dir, name)); dir != "" && err == nil && !st.IsDir() && st.Mode().Perm()&0o111 != 0 {
			return true
		}
	}
	return false
}

// checkPulled looks for each model that the configuration names at an Ollama.
func checkPulled(ctx context.Context, x *examination) []finding {
	if x.providers == nil {
		return nil
	}
	models := x.namedModels(isOllama)
	there := 0
	out := each(models, func(n *named) []finding {
		o := x.ollama(ctx, n.provider)
		if o.err != nil || o.has(n.model) {
			return nil
		}
		f := finding{Severity: wrong, What: fmt.Sprintf("%s is not pulled (%s)", n.target(), n.where()), Why: "its requests are answered with 404", Fix: o.elsewhere() + "ollama pull " + n.model}
		for _, have := range o.pulled {
			if base, _, _ := strings.Cut(have, ":"); base == strings.Split(n.model, ":")[0] {
				f.Fix += fmt.Sprintf("   (there is %s: name that instead if it is meant)", have)
				break
			}
		}
		return []finding{f}
	})
	for _, n := range models {
		if o := x.ollama(ctx, n.provider); o.err == nil && o.has(n.model) {
			there++
		}
	}
	if there > 0 && len(out) == 0 {
		out = append(out, finding{What: "all configured models are pulled (" + fmt.Sprint(there) + ")"})
	}
	return out
}

// checkWindows looks at how much of a conversation each model at an Ollama can take.
func checkWindows(ctx context.Context, x *examination) []finding {
	return x.eachDescribed(ctx, func(n *named, d providers.Description) []finding {
		p := x.cfg.Providers[n.provider]
		most, bound := d.Limit, "the model's own limit"
		if p.NumCtx > 0 && (most == 0 || int64(p.NumCtx) < most) {
			most, bound = int64(p.NumCtx), fmt.Sprintf("num_ctx of providers.%s", n.provider)
		} else if p.NumCtx == 0 && p.MaxNumCtx > 0 && (most == 0 || int64(p.MaxNumCtx) < most) {
			most, bound = int64(p.MaxNumCtx), fmt.Sprintf("max_num_ctx of providers.%s", n.provider)
		}
		if most == 0 {
			return nil // nobody says
		}
		figures := fmt.Sprintf("the model's limit is %s", tokens(d.Limit))
		switch {
		case p.NumCtx > 0:
			figures += fmt.Sprintf(", num_ctx is %d", p.NumCtx)
		case p.MaxNumCtx > 0:
			figures += fmt.Sprintf(", num_ctx is auto up to %d", p.MaxNumCtx)
		default:
			figures += ", num_ctx is auto"
		}
		if d.Loaded > 0 {
			figures += fmt.Sprintf(", loaded with %d now", d.Loaded)
		}
		f := finding{What: fmt.Sprintf("%s can take %d tokens (%s)", n.target(), most, figures)}
		own := bound == "the model's own limit"
		if most < enoughWindow {
			f.Severity, f.Why = doubtful, fmt.Sprintf("agents work well from %d tokens on; with fewer they forget and sum up often. The bound is %s", enoughWindow, bound)
		}
		if most < leastWindow {
			f.Severity, f.Why = wrong, fmt.Sprintf("below %d tokens an agent's first prompt with its tools does not fit. The bound is %s", leastWindow, bound)
			if !n.agent && !slices.Contains(n.keys, "default") {
				f.Severity = doubtful // an alias for something small may be meant
			}
		}
		switch {
		case f.Severity == fine:
		case own:
			f.Fix = "take a model with a larger window: " + x.instead(ctx, n)
		case strings.HasPrefix(bound, "num_ctx"):
			f.Fix = fmt.Sprintf("write num_ctx: auto in place of num_ctx: %d below providers.%s", p.NumCtx, n.provider)
		default:
			f.Fix = fmt.Sprintf("write max_num_ctx: %d in place of %d below providers.%s, if the memory allows", enoughWindow, p.MaxNumCtx, n.provider)
		}
		if f.Severity == fine && d.Loaded > 0 && d.Loaded < leastWindow {
			f.Severity, f.Why = doubtful, "somebody else has loaded it with a small window: each change between the two loads it again, which takes seconds to minutes"
			f.Fix = fmt.Sprintf("%sollama stop %s, and start the server with: OLLAMA_CONTEXT_LENGTH=%d ollama serve", x.ollama(ctx, n.provider).elsewhere(), n.model, min(32768, most))
		}
		return []finding{f}
	})
}

// spare is a model whose window is large enough (131072 tokens) and that can call tools.
const spare = "gpt-oss:20b"

// instead is how another model takes the place of one.
func (x *examination) instead(ctx context.Context, n *named) string {
	return fmt.Sprintf("%sollama pull %s, and write %s/%s for %s", x.ollama(ctx, n.provider).elsewhere(), spare, n.provider, spare, n.where())
}

func tokens(n int64) string {
	if n == 0 {
		return "unknown"
	}
	return fmt.Sprint(n)
}

// checkTools looks whether the models of agents can call tools: the server refuses requests with tools for those that cannot.
func checkTools(ctx context.Context, x *examination) []finding {
	return x.eachDescribed(ctx, func(n *named, d providers.Description) []finding {
		switch {
		case d.Capabilities == nil:
			return nil // an older server does not say
		case slices.Contains(d.Capabilities, "tools"):
			return []finding{{What: n.target() + " can call tools"}}
		}
		f := finding{Severity: doubtful, What: fmt.Sprintf("%s cannot call tools (%s); the server says it can: %s", n.target(), n.where(), strings.Join(d.Capabilities, ", ")),
			Why: "the server refuses requests that offer tools, and agents offer tools in every request",
			Fix: "take a model that can: " + x.instead(ctx, n)}
		if n.agent {
			f.Severity = wrong
		}
		return []finding{f}
	})
}

// eachDescribed asks each Ollama about the models that are named there and pulled.
func (x *examination) eachDescribed(ctx context.Context, about func(*named, providers.Description) []finding) []finding {
	if x.providers == nil {
		return nil
	}
	return each(x.namedModels(isOllama), func(n *named) []finding {
		o := x.ollama(ctx, n.provider)
		if o.err != nil || !o.has(n.model) {
			return nil
		}
		d, err := o.client.(providers.Describer).Describe(ctx, n.model)
		if err != nil {
			return []finding{{Severity: doubtful, What: fmt.Sprintf("%s says nothing about %s: %s", n.provider, n.model, fault.From(err).Message),
				Why: "its window and what it can do are unknown", Fix: o.elsewhere() + "ollama show " + n.model}}
		}
		return about(n, d)
	})
}

// each looks at several things side by side and keeps their order.
func each[T any](things []T, look func(T) []finding) (out []finding) {
	answers := make([][]finding, len(things))
	var all sync.WaitGroup
	for i, thing := range things {
		all.Go(func() { answers[i] = look(thing) })
	}
	all.Wait()
	for _, a := range answers {
		out = append(out, a...)
	}
	return out
}

// checkKeys says which providers have a key, and with --live whether they accept it. It never says what the key is.
func checkKeys(ctx context.Context, x *examination) []finding {
	if x.cfg == nil || x.providers == nil {
		return nil
	}
	var names []string
	for _, name := range x.cfg.ProviderNames() {
		if p := x.cfg.Providers[name]; p.Kind != "signalbox" && !isOllama(p) && !p.Builtin || !p.APIKey.Empty() {
			names = append(names, name)
		}
	}
	return each(names, func(name string) []finding {
		p := x.cfg.Providers[name]
		from := "providers." + name + ".api_key"
		if by := x.foundBy(name); by != "" {
			from = by
		}
		switch {
		case p.APIKey.Empty() && p.Kind == "anthropic":
			return []finding{{What: name + " has no key of its own and passes the caller's on"}}
		case p.APIKey.Empty() && !x.live:
			return []finding{{What: name + " needs no key"}}
		case !x.live:
			return []finding{{What: fmt.Sprintf("%s has a key (%s); whether it is accepted: signalbox doctor --live", name, from)}}
		}
		client, err := x.providers.Get(name)
		if err == nil {
			err = client.Ping(ctx)
		}
		if err == nil {
			what := fmt.Sprintf("%s accepts its key (%s)", name, from)
			if p.APIKey.Empty() {
				what = name + " answers"
			}
			return []finding{{What: what}}
		}
		var f *fault.Error
		if errors.As(err, &f) && (f.Kind == fault.UpstreamKey || f.Kind == fault.Authentication || f.Kind == fault.Permission) {
			return []finding{{Severity: wrong, What: fmt.Sprintf("%s refuses its key (%s)", name, from), Why: "every request that goes there is answered with 502",
				Fix: x.newKey(name, from)}}
		}
		return []finding{{Severity: wrong, What: fmt.Sprintf("%s does not answer as it should: %s", name, fault.From(err).Message), Why: "requests that go there fail",
			Fix: fmt.Sprintf("look at its status page and at base_url of providers.%s, then: signalbox doctor --live", name)}}
	})
}

// consoles are where accounts give out keys.
var consoles = map[string]string{"openrouter": "https://openrouter.ai/keys", "anthropic": "https://console.anthropic.com/settings/keys", "openai": "https://platform.openai.com/api-keys",
	"gemini": "https://aistudio.google.com/apikey", "mistral": "https://console.mistral.ai/api-keys", "groq": "https://console.groq.com/keys"}

func (x *examination) newKey(name, from string) string {
	place := "make a new one"
	if at := consoles[name]; at != "" {
		place += " at " + at
	}
	if x.foundBy(name) == from {
		return place + ", then: export " + from + "=…  and start the gateway anew"
	}
	return place + " and write it where " + from + " points"
}

// checkLoops finds providers whose address is this gateway, or another one.
func checkLoops(ctx context.Context, x *examination) []finding {
	if x.cfg == nil {
		return nil
	}
	out := each(x.cfg.ProviderNames(), func(name string) []finding {
		p := x.cfg.Providers[name]
		u, err := url.Parse(p.BaseURL)
		if p.BaseURL == "" || err != nil {
			return nil
		}
		from := "base_url of providers." + name
		if p.Builtin {
			from = "ANTHROPIC_BASE_URL"
		} else if x.foundBy(name) != "" {
			from = strings.ToUpper(name) + "_BASE_URL"
			if isOllama(p) {
				from = x.foundBy(name)
			}
		}
		loop := finding{Severity: wrong, What: fmt.Sprintf("%s is %s, and that is this gateway itself", from, p.BaseURL),
			Why: "its requests would go round until they are refused", Fix: "unset " + from + "   (in the shell that starts the gateway)"}
		if strings.HasPrefix(from, "base_url") {
			loop.Fix = "write the real upstream as " + from
		}
		if x.byAddress(ctx, u) {
			return []finding{loop}
		}
		if !x.live && !near(u.Hostname()) {
			return nil
		}
		a, err := ask(u.Scheme+"://"+u.Host, "/livez", config.Secret{}, time.Second)
		if err != nil || !a.ours {
			return nil
		}
		var live struct {
			PID int `json:"pid"`
		}
		_ = json.Unmarshal(a.body, &live)
		if g := x.gateway(); g.ours && live.PID != 0 && live.PID == g.pid {
			return []finding{loop}
		}
		return []finding{{Severity: doubtful, What: fmt.Sprintf("%s is %s, and another signalbox answers there", from, p.BaseURL),
			Why: "requests pass two gateways, and are in two ledgers; if that one names this one too, they go round", Fix: "write the real upstream as " + from + ", unless this is meant"}}
	})
	for _, w := range x.cfg.Warnings {
		if strings.Contains(w, "ANTHROPIC_BASE_URL points at this gateway") {
			out = append(out, finding{What: "ANTHROPIC_BASE_URL of this shell points at this gateway; a gateway that is started here does not use it for itself"})
		}
	}
	if len(out) == 0 {
		out = append(out, finding{What: "no provider leads back here"})
	}
	return out
}

// byAddress reports whether an address is one of this machine's that the gateway listens on. Loopback and equal names the
// configuration refuses by itself.
func (x *examination) byAddress(ctx context.Context, u *url.URL) bool {
	if orPort(u) != fmt.Sprint(x.port) {
		return false
	}
	listens := net.ParseIP(x.cfg.Host())
	all := x.cfg.Host() == "" || listens != nil && listens.IsUnspecified()
	ips, err := net.DefaultResolver.LookupIPAddr(ctx, u.Hostname())
	if err != nil {
		return false
	}
	var own []net.Addr
	if all {
		own, _ = net.InterfaceAddrs()
	}
	for _, ip := range ips {
		if listens != nil && listens.Equal(ip.IP) || ip.IP.IsLoopback() && (all || listens != nil && listens.IsLoopback()) {
			return true
		}
		for _, a := range own {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(ip.IP) {
				return true
			}
		}
	}
	return false
}

// orPort is the port of an address, that of its scheme when none is written.
func orPort(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443"}[u.Scheme]
}

// onThisMachine reports whether a host is loopback.
func onThisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && (ip.Unmap().IsLoopback() || ip.IsUnspecified())
}

// near reports whether a host is on this machine or network, so that asking it tells nobody anything.
func near(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return onThisMachine(host) || !strings.Contains(strings.TrimSuffix(host, "."), ".")
	}
	return onThisMachine(host) || ip.Unmap().IsPrivate() || ip.IsLinkLocalUnicast()
}

// connects reports whether somebody listens at an address.
func connects(base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	c, err := net.DialTimeout("tcp", u.Host, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}
