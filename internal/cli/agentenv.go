package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"signalbox/config"
)

// The environment of an agent that speaks to a gateway. The names are Claude Code's; they were looked up in its program,
// version 2.1.330, and docs/cli.md says what each does. run sets them, env prints them, setup writes them into a file.

// A setting is one variable of an agent's environment.
type setting struct {
	Name  string
	Value string
	Unset bool // it must not be there
}

// An agentKind is what kind of caller an agent is.
type agentKind int

const (
	claudeCode agentKind = iota
	openCode
	genericAgent // a program with one of Anthropic's SDKs
)

// choice are the models that somebody chose for an agent; empty ones were not chosen.
type choice struct {
	main, small, subagent string
	flagged               bool // main was named on the command line, and is no default
}

// A calling is all that an agent's environment is made of.
type calling struct {
	kind    agentKind
	url     string
	models  choice
	limits  limits // of the models, as far as they are known
	local   bool   // the main model runs on this machine
	header  string // of the project; empty when it has none
	ownAuth bool   // the caller has a credential of his own, which must pass
}

// limits are a model's, in tokens; 0 is unknown.
type limits struct{ window, output int64 }

// managed are the variables that settings writes, beside the token.
var managed = []string{
	"ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS", "NO_PROXY", "no_proxy",
	"ANTHROPIC_MODEL", "ANTHROPIC_DEFAULT_OPUS_MODEL", "ANTHROPIC_DEFAULT_SONNET_MODEL", "ANTHROPIC_DEFAULT_FABLE_MODEL",
	"ANTHROPIC_DEFAULT_HAIKU_MODEL", "ANTHROPIC_SMALL_FAST_MODEL", "CLAUDE_CODE_SUBAGENT_MODEL",
	"CLAUDE_CODE_MAX_CONTEXT_TOKENS", "CLAUDE_CODE_AUTO_COMPACT_WINDOW", "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
	"CLAUDE_CODE_GATEWAY_HINT_HEADERS", "CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY", "CLAUDE_CODE_ATTRIBUTION_HEADER",
}

// strangerToken stands where a client wants a credential and its user has none.
const strangerToken = config.NoCredential

// What Claude Code 2.1.330 assumes or enforces, in tokens.
const (
	clientOutput     = 32_000  // max_tokens for models that it does not know
	clientLeastCut   = 100_000 // below this CLAUDE_CODE_AUTO_COMPACT_WINDOW counts as this
	clientSummary    = 13_000  // kept of the window for summing up, beside the answer's room
	clientMostAnswer = 20_000  // the most that counts as the answer's room
	clientComfort    = 64_000  // below, its prompt of some 8000 and what it keeps leave little
)

// settings are the variables to set, in a fixed order. What the user has set explicitly stays, except where the agent would
// then not reach the gateway, and except models that were named on the command line.
func (c calling) settings(getenv func(string) string) (out []setting, notes []string) {
	put := func(name, value string) { out = append(out, setting{Name: name, Value: value}) }
	usual := func(name, value string) {
		if getenv(name) == "" {
			put(name, value)
		}
	}
	put("ANTHROPIC_BASE_URL", c.url)
	if theirs := getenv("ANTHROPIC_BASE_URL"); theirs != "" && strings.TrimSuffix(theirs, "/") != c.url {
		notes = append(notes, "ANTHROPIC_BASE_URL was set to another address; the agent gets the gateway's")
	}
	if !c.ownAuth {
		put("ANTHROPIC_AUTH_TOKEN", strangerToken)
	}
	// Each of these sends Claude Code around ANTHROPIC_BASE_URL.
	for _, name := range []string{"CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY"} {
		if getenv(name) != "" {
			out = append(out, setting{Name: name, Unset: true})
			notes = append(notes, name+" is taken away: with it the agent would pass the gateway by")
		}
	}
	model := usual
	if c.models.flagged {
		model = put
	}
	if m := c.models.main; m != "" {
		model("ANTHROPIC_MODEL", m)
		for _, tier := range []string{"OPUS", "SONNET", "FABLE"} {
			model("ANTHROPIC_DEFAULT_"+tier+"_MODEL", m)
		}
		if c.models.small == "" {
			model("ANTHROPIC_DEFAULT_HAIKU_MODEL", m)
		}
	}
	if m := c.models.small; m != "" {
		put("ANTHROPIC_DEFAULT_HAIKU_MODEL", m)
		if getenv("ANTHROPIC_SMALL_FAST_MODEL") != "" {
			out = append(out, setting{Name: "ANTHROPIC_SMALL_FAST_MODEL", Unset: true}) // the old name of the same, which wins
		}
	}
	if m := c.models.subagent; m != "" {
		put("CLAUDE_CODE_SUBAGENT_MODEL", m)
	}
	if w := c.limits.window; w > 0 {
		usual("CLAUDE_CODE_MAX_CONTEXT_TOKENS", strconv.FormatInt(w, 10))
		if w >= clientLeastCut {
			usual("CLAUDE_CODE_AUTO_COMPACT_WINDOW", strconv.FormatInt(w, 10))
		}
		if kept := clientSummary + min(c.limits.answer(), clientMostAnswer); w < clientComfort && c.kind == claudeCode {
			notes = append(notes, fmt.Sprintf("the model's window of %d tokens is small for an agent that keeps %d of it for answers and summaries; it will sum up the conversation often", w, kept))
		}
	}
	if n := c.limits.answer(); n > 0 {
		usual("CLAUDE_CODE_MAX_OUTPUT_TOKENS", strconv.FormatInt(n, 10))
	}
	usual("CLAUDE_CODE_GATEWAY_HINT_HEADERS", "1")
	usual("CLAUDE_CODE_ENABLE_GATEWAY_MODEL_DISCOVERY", "1")
	if c.local {
		usual("CLAUDE_CODE_ATTRIBUTION_HEADER", "0")
	}
	if headers := withProject(getenv("ANTHROPIC_CUSTOM_HEADERS"), c.header); headers != "" {
		put("ANTHROPIC_CUSTOM_HEADERS", headers)
	}
	direct := withLoopback(getenv("NO_PROXY"), getenv("no_proxy"))
	put("NO_PROXY", direct)
	put("no_proxy", direct)
	if c.kind == openCode {
		text, err := c.openCode(getenv("OPENCODE_CONFIG_CONTENT"))
		if err != nil {
			notes = append(notes, "OPENCODE_CONFIG_CONTENT is no JSON object and is replaced")
		}
		put("OPENCODE_CONFIG_CONTENT", text)
	}
	return out, notes
}

// answer is how much an answer may take: what the model gives, what the client would ask for anyway, and not more than a
// quarter of the window, since the client sets that room aside before it counts what is left for the conversation.
func (l limits) answer() int64 {
	n := l.output
	if l.window > 0 {
		if n == 0 {
			n = clientOutput
		}
		n = min(n, max(l.window/4, 1024))
	}
	return n
}

// smaller is what holds for two models that share a client. Unknown says nothing.
func (l limits) smaller(o limits) limits {
	least := func(a, b int64) int64 {
		if a == 0 || b == 0 {
			return max(a, b)
		}
		return min(a, b)
	}
	return limits{least(l.window, o.window), least(l.output, o.output)}
}

// withProject puts the project's header to headers as Claude Code reads them, one a line. One of ours from an outer run goes.
func withProject(headers, project string) string {
	var lines []string
	for line := range strings.Lines(headers) {
		line = strings.TrimRight(line, "\r\n")
		name, _, _ := strings.Cut(line, ":")
		if strings.TrimSpace(line) != "" && !strings.EqualFold(strings.TrimSpace(name), config.ProjectHeader) {
			lines = append(lines, line)
		}
	}
	if project != "" {
		lines = append(lines, strings.ToLower(config.ProjectHeader)+": "+project)
	}
	return strings.Join(lines, "\n")
}

// withLoopback adds this machine to the hosts that no proxy is asked for. Programs read one spelling of the variable or the
// other, so both get all.
func withLoopback(lists ...string) string {
	var hosts []string
	for _, list := range append(lists, "127.0.0.1,localhost,::1") {
		for host := range strings.SplitSeq(list, ",") {
			if host = strings.TrimSpace(host); host != "" && !slices.Contains(hosts, host) {
				hosts = append(hosts, host)
			}
		}
	}
	return strings.Join(hosts, ",")
}

// openCode is a configuration that opencode merges over its files: its provider anthropic speaks Messages to any base URL. The
// keys that are there already stay.
func (c calling) openCode(have string) (string, error) {
	all := map[string]any{}
	var err error
	if strings.TrimSpace(have) != "" {
		if err = json.Unmarshal([]byte(have), &all); err != nil || all == nil {
			all = map[string]any{}
		}
	}
	inner := func(at map[string]any, name string) map[string]any {
		m, ok := at[name].(map[string]any)
		if !ok {
			m = map[string]any{}
			at[name] = m
		}
		return m
	}
	provider := inner(inner(all, "provider"), "anthropic")
	options := inner(provider, "options")
	options["baseURL"] = c.url + "/v1"
	if !c.ownAuth {
		options["apiKey"] = strangerToken
	}
	if c.header != "" {
		inner(options, "headers")[strings.ToLower(config.ProjectHeader)] = c.header
	}
	offer := func(key, model string, l limits) {
		if model == "" {
			return
		}
		m := inner(inner(provider, "models"), model)
		if l.window > 0 {
			m["limit"] = map[string]int64{"context": l.window, "output": l.answer()}
		}
		all[key] = "anthropic/" + model
	}
	offer("model", c.models.main, c.limits)
	offer("small_model", c.models.small, limits{})
	text, merr := json.Marshal(all)
	if merr != nil {
		return "", merr
	}
	return string(text), err
}

// ownCredential reports whether the caller has a credential for Claude of his own. Then none is set: a token in the environment
// would win over a login, and Claude would refuse it. What is looked at is only whether it is there.
func ownCredential(env *Env, kind agentKind) bool {
	for _, name := range []string{"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"} {
		if v := env.Getenv(name); v != "" && v != strangerToken {
			return true
		}
	}
	if kind != claudeCode {
		return false
	}
	for _, name := range []string{"CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR", "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR"} {
		if env.Getenv(name) != "" {
			return true
		}
	}
	dir := claudeDir(env)
	if dir == "" {
		return false
	}
	store := dir
	if d := env.Getenv("CLAUDE_SECURESTORAGE_CONFIG_DIR"); d != "" {
		store = d
	}
	if _, err := os.Stat(filepath.Join(store, ".credentials.json")); err == nil {
		return true
	}
	// Where the login itself is in a keychain, who logged in is still written here; a key that was typed in too.
	state := filepath.Join(env.Home, ".claude.json")
	if env.Getenv("CLAUDE_CONFIG_DIR") != "" {
		state = filepath.Join(dir, ".claude.json")
	}
	var login struct {
		Account json.RawMessage `json:"oauthAccount"`
		Key     string          `json:"primaryApiKey"`
	}
	if readJSON(state, &login) && (login.Key != "" || runtime.GOOS == "darwin" && len(login.Account) > 0) {
		return true
	}
	for _, file := range []string{filepath.Join(dir, "settings.json"), filepath.Join(env.Dir, ".claude", "settings.json"), filepath.Join(env.Dir, ".claude", "settings.local.json")} {
		var s claudeSettings
		if readJSON(file, &s) && (s.Helper != "" || s.text("ANTHROPIC_API_KEY") != "" || !slices.Contains([]string{"", strangerToken}, s.text("ANTHROPIC_AUTH_TOKEN"))) {
			return true
		}
	}
	return false
}

// claudeSettings are the few members of a settings file of Claude Code that matter here.
type claudeSettings struct {
	Helper string                     `json:"apiKeyHelper"`
	Env    map[string]json.RawMessage `json:"env"`
}

// text is the value of a variable: text, or a number or truth as somebody may have written it.
func (s claudeSettings) text(name string) string {
	raw := s.Env[name]
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return string(raw)
	}
	return text
}

// overruled names the variables that a settings file of Claude Code sets otherwise: it wins over the environment.
func overruled(env *Env, set []setting) []string {
	files := []string{filepath.Join(env.Dir, ".claude", "settings.json"), filepath.Join(env.Dir, ".claude", "settings.local.json")}
	if dir := claudeDir(env); dir != "" {
		files = append([]string{filepath.Join(dir, "settings.json")}, files...)
	}
	var notes []string
	for _, file := range files {
		var s claudeSettings
		if !readJSON(file, &s) {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(s.Env)) {
			i := slices.IndexFunc(set, func(x setting) bool { return x.Name == name })
			if i >= 0 && !set[i].Unset && set[i].Value != s.text(name) {
				notes = append(notes, fmt.Sprintf("%s sets %s, which wins over what is set here", short(env, file), name))
			}
		}
	}
	return notes
}

// claudeDir is where Claude Code keeps its settings; empty without a home.
func claudeDir(env *Env) string {
	if dir := env.Getenv("CLAUDE_CONFIG_DIR"); dir != "" {
		return dir
	}
	if env.Home == "" {
		return ""
	}
	return filepath.Join(env.Home, ".claude")
}

// readJSON reads a file that may be missing or broken: then nothing is known.
func readJSON(file string, into any) bool {
	data, err := os.ReadFile(file)
	return err == nil && json.Unmarshal(data, into) == nil
}

// projectHeader is what the folder's files and its agents' definitions say, as a header's value.
func projectHeader(env *Env) (p *config.Project, value string, notes []string, err error) {
	p, notes, err = config.LoadProject(env.Dir, env.Home)
	if err != nil {
		return nil, "", nil, err
	}
	p.Known = projectFingerprints(env.Dir)
	if p.Empty() {
		return p, "", notes, nil
	}
	value, err = p.Encode()
	if err != nil {
		return p, "", notes, failText(exitUsage, err.Error()+"; name fewer agents in .oss/config.json and signalbox.yaml, or run signalbox serve in this folder and leave the entries to it")
	}
	return p, value, notes, nil
}
