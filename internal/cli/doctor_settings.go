package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"signalbox/internal/routing"
)

// agentSettings is one place that Claude Code reads its environment from.
type agentSettings struct {
	name   string // as people call it: ~/.claude/settings.json, this shell
	path   string // empty for the shell
	env    map[string]string
	helper bool   // apiKeyHelper is set
	broken string // why the file cannot be read
}

// agentVariables are what matters here of an agent's environment.
var agentVariables = []string{"ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY",
	"ANTHROPIC_MODEL", "ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL", "ANTHROPIC_DEFAULT_HAIKU_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL"}

// readSettings reads the places in the order in which Claude Code lets one win over the next: the project's own file, the
// project's shared one, the user's, the shell.
func (x *examination) readSettings() []agentSettings {
	home := x.env.Getenv("CLAUDE_CONFIG_DIR")
	if home == "" && x.env.Home != "" {
		home = filepath.Join(x.env.Home, ".claude")
	}
	var out []agentSettings
	seen := map[string]bool{}
	for _, path := range []string{filepath.Join(x.env.Dir, ".claude", "settings.local.json"), filepath.Join(x.env.Dir, ".claude", "settings.json"), filepath.Join(home, "settings.json")} {
		if filepath.Dir(path) == "." || seen[path] {
			continue
		}
		seen[path] = true
		data, err := os.ReadFile(path)
		if err != nil {
			continue // missing, or not ours to read
		}
		s := agentSettings{name: short(x.env, path), path: path, env: map[string]string{}}
		var file struct {
			Env          map[string]any  `json:"env"`
			APIKeyHelper json.RawMessage `json:"apiKeyHelper"`
		}
		if err := json.Unmarshal(data, &file); err != nil {
			s.broken = err.Error()
		}
		for k, v := range file.Env {
			s.env[k] = fmt.Sprint(v)
		}
		s.helper = len(file.APIKeyHelper) > 0 && string(file.APIKeyHelper) != "null" && string(file.APIKeyHelper) != `""`
		out = append(out, s)
	}
	shell := agentSettings{name: "this shell", env: map[string]string{}}
	for _, name := range agentVariables {
		if v := x.env.Getenv(name); v != "" {
			shell.env[name] = v
		}
	}
	return append(out, shell)
}

// setting is the value of a variable as an agent gets it, and where it comes from.
func (x *examination) setting(name string) (value, at string, ok bool) {
	for _, s := range x.settings() {
		if v, ok := s.env[name]; ok {
			return v, s.name, true
		}
	}
	return "", "", false
}

// drop is how a variable goes away there.
func (s agentSettings) drop(name string) string {
	if s.path == "" {
		return "unset " + name
	}
	return fmt.Sprintf("take \"%s\" out of env in %s", name, s.name)
}

// write is how a variable gets a value there.
func (s agentSettings) write(name, value string) string {
	if s.path == "" {
		return "export " + name + "=" + value
	}
	return fmt.Sprintf("write \"%s\": \"%s\" in env of %s", name, value, s.name)
}

// checkSettings compares what agents are told with where the gateway is: the settings files of Claude Code, and this shell.
func checkSettings(_ context.Context, x *examination) []finding {
	all := x.settings()
	var out []finding
	firstBase := ""
	here := false // agents come here
	for _, s := range all {
		if s.broken != "" {
			out = append(out, finding{Severity: wrong, What: fmt.Sprintf("%s is no JSON: %s", s.name, s.broken), Why: "Claude Code passes the whole file over", Fix: "correct " + s.path, File: s.path})
		}
		base, ok := s.env["ANTHROPIC_BASE_URL"]
		if !ok || base == "" {
			continue
		}
		if firstBase == "" {
			firstBase, here = s.name, x.leadsHere(base)
		} else if v, at, _ := x.setting("ANTHROPIC_BASE_URL"); v != base {
			out = append(out, finding{Severity: doubtful, What: fmt.Sprintf("ANTHROPIC_BASE_URL is %s in %s and %s in %s; the first wins", clipURL(v), at, clipURL(base), s.name),
				Why: "one of the two has no effect here, and the other elsewhere", Fix: s.drop("ANTHROPIC_BASE_URL"), File: s.path})
			continue
		}
		out = append(out, x.aboutBase(s, base)...)
	}
	key, keyAt, hasKey := x.setting("ANTHROPIC_API_KEY")
	token, tokenAt, hasToken := x.setting("ANTHROPIC_AUTH_TOKEN")
	if hasKey && hasToken && key != "" && token != "" {
		out = append(out, finding{Severity: doubtful, What: fmt.Sprintf("ANTHROPIC_API_KEY (%s) and ANTHROPIC_AUTH_TOKEN (%s) are both set", keyAt, tokenAt),
			Why: "agents send both or warn at every start, and which of them reaches Anthropic depends on the agent", Fix: x.place(tokenAt).drop("ANTHROPIC_AUTH_TOKEN") + ", or the other"})
	}
	for _, s := range all {
		if s.helper {
			out = append(out, finding{Severity: doubtful, What: "apiKeyHelper is set in " + s.name,
				Why: "Claude Code sends what that program prints as its credential; the gateway passes it to a keyless anthropic provider alone",
				Fix: "take apiKeyHelper out of " + s.name + " unless Anthropic is to have that key", File: s.path})
		}
		for _, name := range agentVariables {
			v := s.env[name]
			switch {
			case v == "":
			case strings.HasPrefix(name, "CLAUDE_CODE_USE_") && truth(v):
				f := finding{Severity: doubtful, What: fmt.Sprintf("%s is set in %s", name, s.name), Why: "Claude Code then speaks to that cloud and never to this gateway", Fix: s.drop(name), File: s.path}
				if here {
					f.Severity, f.Why = wrong, "ANTHROPIC_BASE_URL leads here, and this makes Claude Code pass it over"
				}
				out = append(out, f)
			case strings.HasSuffix(name, "_MODEL") && x.cfg != nil:
				out = append(out, x.aboutModel(s, name, v, here)...)
			}
		}
	}
	if len(out) == 0 {
		switch {
		case here:
			out = append(out, finding{What: "agents of this folder come here (" + firstBase + ")"})
		default:
			out = append(out, finding{What: "nothing points Claude Code here yet: signalbox run claude, or export ANTHROPIC_BASE_URL=" + x.url})
		}
	}
	return out
}

func (x *examination) place(name string) agentSettings {
	for _, s := range x.settings() {
		if s.name == name {
			return s
		}
	}
	return agentSettings{name: name}
}

func truth(v string) bool {
	v = strings.ToLower(v)
	return v != "" && v != "0" && v != "false" && v != "no" && v != "off"
}

// clipURL leaves out what might be a credential in an address.
func clipURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "no address"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// leadsHere reports whether an address is the gateway's.
func (x *examination) leadsHere(base string) bool {
	u, err := url.Parse(base)
	if err != nil || orPort(u) != strconv.Itoa(x.port) {
		return false
	}
	own, err := url.Parse(x.url)
	return err == nil && (strings.EqualFold(u.Hostname(), own.Hostname()) || onThisMachine(u.Hostname()) && onThisMachine(own.Hostname()))
}

// aboutBase looks at one ANTHROPIC_BASE_URL.
func (x *examination) aboutBase(s agentSettings, base string) []finding {
	fix := s.write("ANTHROPIC_BASE_URL", x.url)
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return []finding{{Severity: wrong, What: fmt.Sprintf("ANTHROPIC_BASE_URL in %s is no address", s.name), Why: "agents cannot reach anything with it", Fix: fix, File: s.path}}
	}
	if !x.leadsHere(base) {
		why := "agents go there and not to this gateway"
		if onThisMachine(u.Hostname()) && !connects(u.Scheme+"://"+net.JoinHostPort(u.Hostname(), orPort(u))) {
			why = "nobody listens there, so agents fail"
		}
		return []finding{{Severity: doubtful, What: fmt.Sprintf("ANTHROPIC_BASE_URL in %s is %s; the gateway is at %s", s.name, clipURL(base), x.url), Why: why, Fix: fix, File: s.path}}
	}
	path := strings.Trim(u.Path, "/")
	if path == "v1" {
		return []finding{{Severity: wrong, What: fmt.Sprintf("ANTHROPIC_BASE_URL in %s ends in /v1", s.name), Why: "agents add /v1/messages themselves, and /v1/v1/messages does not exist", Fix: fix, File: s.path}}
	}
	if rest, ok := strings.CutPrefix(path, "v1/"); ok && x.cfg != nil {
		provider, _, _ := strings.Cut(rest, "/")
		if _, known := x.cfg.Providers[provider]; !known {
			return []finding{{Severity: wrong, What: fmt.Sprintf("ANTHROPIC_BASE_URL in %s names the provider %s, which is not configured", s.name, provider), Why: "every request is answered with 404",
				Fix: "name one of " + strings.Join(x.cfg.ProviderNames(), ", ") + " there", File: s.path}}
		}
	}
	return nil
}

// claudeNames are the words by which Claude Code calls its own models.
var claudeNames = []string{"default", "best", "opus", "sonnet", "haiku", "opusplan", "inherit"}

// aboutModel looks whether a model that an agent is told to ask for is somebody's here.
func (x *examination) aboutModel(s agentSettings, name, model string, here bool) []finding {
	bare := strings.TrimSuffix(model, "[1m]")
	if !here || slices.Contains(claudeNames, bare) || strings.HasPrefix(bare, "claude-") {
		return nil
	}
	for alias := range x.cfg.Aliases {
		if alias == bare || strings.Contains(alias, "*") && fits(alias, bare) {
			return nil
		}
	}
	if t, err := routing.ParseTarget(bare); err == nil {
		if _, ok := x.cfg.Providers[t.Provider]; ok {
			return nil
		}
	}
	f := finding{Severity: doubtful, What: fmt.Sprintf("%s in %s is %s, which is neither an alias nor provider/model of a configured provider", name, s.name, model), File: s.path,
		Why: "its requests go to the default, " + x.cfg.Default + ", and not to that model", Fix: s.write(name, orAny(x.cfg.Default, "ollama/qwen3:8b"))}
	if x.cfg.Default == "" {
		f.Why = "without a default its requests go to the one provider that offers that model, and are answered with 404 when none does"
	}
	return []finding{f}
}

func orAny(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// fits reports whether a name fits a pattern in which * stands for any run of characters.
func fits(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(name, parts[0]) {
		return false
	}
	name = name[len(parts[0]):]
	for i, part := range parts[1:] {
		if i == len(parts)-2 {
			return strings.HasSuffix(name, part)
		}
		at := strings.Index(name, part)
		if at < 0 {
			return false
		}
		name = name[at+len(part):]
	}
	return name == ""
}

// checkProxies finds a proxy that would take requests for this machine or network away from here.
func checkProxies(_ context.Context, x *examination) []finding {
	either := func(name string) (string, bool) {
		for _, n := range []string{name, strings.ToLower(name)} {
			if v := x.env.Getenv(n); v != "" {
				return n, true
			}
		}
		return "", false
	}
	var set []string
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"} {
		if n, ok := either(name); ok {
			set = append(set, n)
		}
	}
	if len(set) == 0 {
		return nil
	}
	no := x.env.Getenv("NO_PROXY")
	if no == "" {
		no = x.env.Getenv("no_proxy")
	}
	export := func(hosts ...string) string {
		list := strings.Trim(no, ", ")
		if list != "" {
			hosts = append([]string{list}, hosts...)
		}
		return "export NO_PROXY=" + strings.Join(hosts, ",")
	}
	var told, missing []string
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if !spared(no, host) {
			missing = append(missing, host)
		}
	}
	var found []finding
	if len(missing) > 0 {
		found = append(found, finding{Severity: doubtful, What: fmt.Sprintf("%s is set, and NO_PROXY does not spare %s", strings.Join(set, ", "), strings.Join(missing, ", ")),
			Why: "agents that heed it send requests for the gateway to the proxy, which knows nothing of this machine", Fix: export(missing...)})
	}
	if x.cfg != nil {
		for _, name := range x.cfg.ProviderNames() {
			u, err := url.Parse(x.cfg.Providers[name].BaseURL)
			if err != nil || u.Hostname() == "" || onThisMachine(u.Hostname()) || !near(u.Hostname()) || spared(no, u.Hostname()) || slices.Contains(told, u.Hostname()) {
				continue
			}
			told = append(told, u.Hostname())
			found = append(found, finding{Severity: doubtful, What: fmt.Sprintf("%s is set, and NO_PROXY does not spare %s, the host of %s", strings.Join(set, ", "), u.Hostname(), name),
				Why: "the gateway asks the proxy for a machine of your own network", Fix: export(append(missing, u.Hostname())...)})
		}
	}
	if len(found) == 0 {
		found = append(found, finding{What: strings.Join(set, ", ") + " is set, and NO_PROXY spares this machine"})
	}
	return found
}

// spared reports whether NO_PROXY takes a host out of the proxy's hands: by name, by domain, by network, or all of them.
func spared(no, host string) bool {
	ip := net.ParseIP(host)
	for entry := range strings.SplitSeq(no, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if h, _, err := net.SplitHostPort(entry); err == nil {
			entry = h
		}
		if _, network, err := net.ParseCIDR(entry); err == nil && ip != nil && network.Contains(ip) {
			return true
		}
		domain := strings.TrimPrefix(strings.TrimPrefix(entry, "*"), ".")
		if entry == "*" || entry != "" && (strings.EqualFold(host, domain) || strings.HasSuffix(strings.ToLower(host), "."+domain)) {
			return true
		}
	}
	return false
}
