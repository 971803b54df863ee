package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"

	"signalbox/config"
	"signalbox/internal/messages"
	"signalbox/server"
)

// checkConfiguration says from where the configuration comes, why it cannot be read, and what in it was not taken.
func checkConfiguration(_ context.Context, x *examination) []finding {
	if x.cfgErr != nil {
		f := finding{Severity: wrong, What: x.cfgErr.Error(), Why: "no gateway starts with this configuration, and a running one keeps the configuration before",
			Fix: "correct it, then: signalbox doctor"}
		var e *config.Error
		if errors.As(x.cfgErr, &e) {
			f.File, f.Line, f.Fix = e.File, e.Line, mend(e)
		}
		return []finding{f}
	}
	what := "no file; providers were found by themselves"
	switch sources := x.cfg.Sources; {
	case len(sources) > 0:
		names := make([]string, len(sources))
		for i, s := range sources {
			names[i] = short(x.env, s)
		}
		what = "read from " + strings.Join(names, ", ")
	case !x.cfg.Discovered:
		what = "read from the environment"
	}
	out := []finding{{What: what}}
	for _, w := range x.cfg.Warnings {
		switch {
		case strings.Contains(w, "no provider is named"): // checkEntries says this with its fix
		case strings.Contains(w, "ANTHROPIC_BASE_URL points at this gateway"): // checkLoops does
		default:
			f := finding{Severity: doubtful, What: w, Why: "it was read and has no effect, or an effect that is easily forgotten", Fix: "take it out, or move it where it counts: docs/configuration.md"}
			if at := placeOf.FindStringSubmatch(w); at != nil {
				f.File, f.Line = at[1], atoi(at[2])
				f.Fix = fmt.Sprintf("take line %s out of %s, or move it to a file where it counts: docs/configuration.md", at[2], short(x.env, at[1]))
			}
			if key, ok := strings.CutSuffix(strings.SplitN(w, ": ", 2)[0], ".insecure_skip_verify"); ok {
				f.Why, f.Fix = "whoever stands between can read prompts and keys", "take insecure_skip_verify out of "+key
			}
			out = append(out, f)
		}
	}
	return out
}

// placeOf finds the file and line that a warning begins with.
var placeOf = regexp.MustCompile(`^(.+?):(\d+): `)

func atoi(s string) (n int) {
	_, _ = fmt.Sscan(s, &n)
	return n
}

var (
	ownCommand  = regexp.MustCompile(`run: (.+?)(?:, or |$)`)
	unsetName   = regexp.MustCompile(`[Ee]nvironment variable (\w+)(?: is not set|:)`)
	meant       = regexp.MustCompile(`did you mean (\S+)\?`)
	keyVariable = regexp.MustCompile(`write env:(\w+)`)
)

// mend is the fix of an error of the configuration, as exact as its words allow.
func mend(e *config.Error) string {
	at := e.File
	if e.Line > 0 {
		at = fmt.Sprintf("line %d of %s", e.Line, e.File)
	}
	last := e.Key[strings.LastIndexByte(e.Key, '.')+1:]
	variable := e.File != "" && !strings.ContainsAny(e.File, "./-") && e.File == strings.ToUpper(e.File)
	if m := ownCommand.FindStringSubmatch(e.Message); m != nil {
		return m[1]
	}
	if m := meant.FindStringSubmatch(e.Message); m != nil && at != "" {
		return fmt.Sprintf("in %s write %s instead of %s", at, m[1], last)
	}
	if m := unsetName.FindStringSubmatch(e.Message); m != nil {
		return "export " + m[1] + "=…  (in the shell that starts the gateway)"
	}
	switch m := keyVariable.FindStringSubmatch(e.Message); {
	case strings.HasPrefix(e.Key, "SIGNALBOX_"):
		return "unset " + e.Key
	case variable:
		return "unset " + e.File
	case m != nil && last == "api_key":
		return fmt.Sprintf("write %s: \"env:%s\" below %s, and: export %s=…", last, m[1], strings.TrimSuffix(e.Key, ".api_key"), m[1])
	case strings.Contains(e.Message, "no such file") && e.File != "":
		return "make the file " + e.File + ", or take away what names it (--config, SIGNALBOX_CONFIG)"
	case strings.Contains(e.Message, notYetSupported) && at != "":
		return "take " + e.Key + " out of " + at
	case at != "" && last != "":
		return fmt.Sprintf("correct %s in %s, then: signalbox doctor", cmp.Or(last, "it"), at)
	case at != "":
		return fmt.Sprintf("correct %s, then: signalbox doctor", at)
	}
	return "correct it, then: signalbox doctor"
}

// notYetSupported are the words for keys of a later version.
const notYetSupported = "not supported by this version yet"

// checkEntries finds entries whose provider is not there. In files of one's own that is an error of the configuration; a project's
// file may say so, and whoever it names gets a 404.
func checkEntries(_ context.Context, x *examination) []finding {
	if x.cfg == nil {
		return nil
	}
	var out []finding
	seen := map[string]bool{}
	for _, u := range x.uses() {
		if _, ok := x.cfg.Providers[u.provider]; ok || seen[u.key] {
			continue
		}
		seen[u.key] = true
		f := finding{Severity: wrong, What: fmt.Sprintf("%s names %s/%s, and no provider is named %s", u.key, u.provider, u.model, u.provider),
			Why: "its requests are answered with 404", Fix: x.addProvider(u.provider)}
		for _, w := range x.cfg.Warnings {
			if at := placeOf.FindStringSubmatch(w); at != nil && strings.Contains(w, ": "+u.key+": ") {
				f.File, f.Line = at[1], atoi(at[2])
			}
		}
		out = append(out, f)
	}
	return out
}

// addProvider is how a provider comes to be.
func (x *examination) addProvider(name string) string {
	key := strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "_API_KEY"
	if x.cfg.Discovered {
		if name == "ollama" || name == "signalbox" {
			return "it is always there without a providers: block; correct the name"
		}
		return "export " + key + "=…  (in the shell that starts the gateway), or write it below providers: of your configuration"
	}
	return fmt.Sprintf("write below providers: of your configuration   %s: {api_key: \"env:%s\"}", name, key)
}

// checkPrices finds models that are paid for and whose price nobody knows.
func checkPrices(_ context.Context, x *examination) []finding {
	if x.cfg == nil {
		return nil
	}
	catalog, err := server.Prices(x.cfg, x.env.Now)
	if err != nil {
		return []finding{{Severity: wrong, What: err.Error(), Why: "no gateway starts with this configuration", Fix: "write prices: as decimals of USD per million tokens, as in {input: 0.15, output: 0.6}"}}
	}
	known := 0
	var out []finding
	// OpenRouter says with every answer what it cost.
	for _, n := range x.namedModels(func(p config.Provider) bool { return p.Kind != "openrouter" && p.Kind != "signalbox" }) {
		if _, _, ok := catalog.Cost(n.provider, n.model, messages.Usage{Input: 1, Output: 1, Known: true}); ok {
			known++
			continue
		}
		out = append(out, finding{Severity: doubtful, What: fmt.Sprintf("no price is known for %s (%s)", n.target(), n.where()),
			Why: "costs and metrics show it as unpriced, so nobody sees what it costs",
			Fix: fmt.Sprintf("write in your configuration   prices: {\"%s\": {input: 0.15, output: 0.6}}   with its USD per million tokens; 0 when it costs nothing", n.target())})
	}
	if known > 0 && len(out) == 0 {
		out = append(out, finding{What: fmt.Sprintf("the prices of all configured models are known (%d)", known)})
	}
	return out
}

// checkClaude looks at the target claude, where the configuration uses it.
func checkClaude(_ context.Context, x *examination) []finding {
	if x.cfg == nil {
		return nil
	}
	places := x.claudePlaces()
	if len(places) == 0 {
		return nil
	}
	where := (&named{keys: places}).where()
	p := x.cfg.Providers["anthropic"]
	var out []finding
	if p.APIKey.Empty() {
		if at, ok := x.standInToken(); ok {
			out = append(out, finding{Severity: doubtful,
				What: fmt.Sprintf("the target claude (%s) uses the caller's own credential, and %s", where, at),
				Why:  "Anthropic refuses it, so nothing comes of the target claude",
				Fix:  "unset ANTHROPIC_AUTH_TOKEN for those who are logged in to Claude, or give the gateway a key: export ANTHROPIC_API_KEY=…"})
		}
	}
	if x.cfg.ClaudeModel == "" {
		out = append(out, finding{Severity: doubtful, What: fmt.Sprintf("the target claude (%s) has no model where a request names none of Anthropic's", where),
			Why: "such a request passes it over: as a fallback it does not help, as a target it is a 400",
			Fix: "write in your configuration   claude_model: claude-sonnet-4-5"})
	}
	if len(out) == 0 {
		how := "with the caller's own Claude credential"
		if !p.APIKey.Empty() {
			how = "with the gateway's key"
		}
		out = append(out, finding{What: fmt.Sprintf("the target claude (%s) is %s, %s", where, x.cfg.ClaudeModel, how)})
	}
	return out
}

// claudePlaces are the places that name the target claude.
func (x *examination) claudePlaces() (out []string) {
	note := func(key string, targets ...string) {
		for _, t := range targets {
			if t == "claude" || t == "default" {
				out = append(out, key)
				return
			}
		}
	}
	c := x.cfg
	note("default", c.Default)
	for kind, entries := range c.Entries() {
		for _, name := range sortedKeys(entries) {
			note(kind+"."+name, append([]string{entries[name].Target}, entries[name].Fallbacks...)...)
		}
	}
	for _, name := range sortedKeys(c.Aliases) {
		note("aliases."+name, c.Aliases[name])
	}
	for i, r := range c.Rules {
		for _, to := range r.To {
			note(fmt.Sprintf("rules, rule %d", i+1), to.Target)
		}
	}
	if c.FallbackOn() {
		for _, from := range sortedKeys(c.Fallbacks) {
			note("fallbacks."+from, c.Fallbacks[from]...)
		}
	}
	return out
}

// standInToken says where an agent is given a word that is no credential of Anthropic's.
func (x *examination) standInToken() (string, bool) {
	for _, name := range []string{"ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"} {
		if v, at, ok := x.setting(name); ok && v != "" && !strings.HasPrefix(v, "sk-ant-") {
			return name + " of " + at + " is none of Anthropic's", true
		}
	}
	return "", false
}

// checkModes finds files with keys that others can read, and a state directory that others can write to.
func checkModes(_ context.Context, x *examination) []finding {
	var out []finding
	looked := 0
	closed := func(path, holds string) {
		st, err := os.Stat(path)
		if err != nil {
			return
		}
		looked++
		if st.Mode().Perm()&0o077 != 0 {
			out = append(out, finding{Severity: doubtful, What: fmt.Sprintf("%s %s and can be read by others (mode %04o)", short(x.env, path), holds, st.Mode().Perm()),
				Why: "every user of this machine can take what is in it", Fix: "chmod 600 " + path, File: path})
		}
	}
	if x.cfg != nil {
		for _, path := range x.cfg.SecretFiles {
			closed(path, "holds a key")
		}
	}
	for _, s := range x.settings() {
		if s.path != "" && (s.env["ANTHROPIC_API_KEY"] != "" || s.env["ANTHROPIC_AUTH_TOKEN"] != "" && s.env["ANTHROPIC_AUTH_TOKEN"] != "signalbox") {
			closed(s.path, "holds a credential")
		}
	}
	if x.stateErr == nil {
		for _, path := range x.stateFiles() {
			closed(path, "belongs to the gateway")
		}
		if st, err := os.Stat(x.state); err == nil {
			looked++
			if st.Mode().Perm()&0o022 != 0 {
				out = append(out, finding{Severity: wrong, What: fmt.Sprintf("%s can be written to by others (mode %04o)", short(x.env, x.state), st.Mode().Perm()),
					Why: "they can replace the ledger and the pid files in it", Fix: "chmod 700 " + x.state, File: x.state})
			}
		}
	}
	if len(out) == 0 && looked > 0 {
		out = append(out, finding{What: "keys and the state directory are closed to others"})
	}
	return out
}
