package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Import reads the configuration of another program and writes ours: claude-code-router's config.json (Providers, Router), the
// config.yaml of the LiteLLM proxy (model_list), or an .oss/config.json (models, apiKeys). from names the program. What could not be
// carried stands in comments at the top. No secret that is written in the file is copied: env:NAME stands in its place, and a
// comment says so. Errors are *Error.
func Import(data []byte) (from string, out []byte, err error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if t := bytes.TrimSpace(data); len(t) > 0 && t[0] == '{' && !json.Valid(data) {
		data = plainJSON(data) // claude-code-router reads JSON5: comments, and commas too many
	}
	n, err := parse(data, nil)
	if err != nil {
		return "", nil, err
	}
	d := &draft{}
	switch {
	case n.get("Providers") != nil || n.get("Router") != nil:
		from = "claude-code-router's config.json"
		d.router(n)
	case n.get("model_list") != nil:
		from = "a LiteLLM proxy's config.yaml"
		d.litellm(n)
	case n.get("models") != nil || n.get("apiKeys") != nil:
		from = "an .oss/config.json"
		d.seed(n)
	default:
		return "", nil, &Error{Line: 1, Message: "none of the files that can be imported: claude-code-router's config.json (Providers, Router), LiteLLM's config.yaml (model_list), .oss/config.json (models, apiKeys)"}
	}
	return from, d.write(from), nil
}

// ImportFile is Import for a file; a file that is missing is an *Error too.
func ImportFile(name string) (from string, out []byte, err error) {
	data, _, err := readFile(name)
	if err != nil {
		return "", nil, &Error{File: name, Message: cause(err)}
	}
	if from, out, err = Import(data); err != nil {
		var e *Error
		if errors.As(err, &e) {
			e.File = name
		}
	}
	return from, out, err
}

// draft is a configuration that is being put together, in the order in which it is written.
type draft struct {
	listen, fallback string
	providers        []*draftProvider
	aliases          []pair // values are YAML
	entries          map[string][]pair
	rules            []string // one flow mapping each
	chains           []pair
	notes            []string
}

type pair struct{ name, value string }

type draftProvider struct {
	name    string // ours
	theirs  string
	kind    string
	base    string
	profile string
	key     string // env:NAME or file:/path
	remark  string
}

func (d *draft) note(format string, args ...any) {
	d.notes = append(d.notes, oneLine(fmt.Sprintf(format, args...)))
}

// left names the members of a mapping that nobody here reads.
func (d *draft) left(where string, n *node, read ...string) {
	if n == nil {
		return
	}
	var names []string
	for _, m := range n.members {
		if !slices.Contains(read, m.name) {
			names = append(names, m.name)
		}
	}
	if len(names) > 0 {
		d.note("not carried from %s: %s", where, strings.Join(names, ", "))
	}
}

// router reads claude-code-router's file.
func (d *draft) router(n *node) {
	d.left("the file", n, "Providers", "Router", "HOST", "PORT")
	if port := textOf(n.get("PORT")); port != "" && port != "3456" {
		d.listen = "127.0.0.1:" + port
	}
	if host := textOf(n.get("HOST")); host != "" && !loopback(host) {
		d.note("HOST %s is not carried: signalbox listens on this machine alone unless listen and allow_open say otherwise", host)
	}
	for _, p := range itemsOf(n.get("Providers")) {
		name := textOf(p.get("name"))
		base := textOf(p.get("api_base_url"))
		if name == "" {
			d.note("a provider without a name (line %d)", p.line)
			continue
		}
		up := d.provider(name, kindByAddress(name, base), base)
		up.key, up.remark = d.secret(p.get("api_key"), up)
		d.left("the provider "+name, p, "name", "api_base_url", "api_key", "models", "transformer")
		if tr := p.get("transformer"); tr != nil && len(tr.members) > 0 {
			d.note("the transformers of %s are not carried: signalbox translates for each kind of provider by itself", name)
		}
	}
	r := n.get("Router")
	over := textOf(r.get("longContextThreshold"))
	if _, err := strconv.ParseInt(over, 10, 64); err != nil {
		over = "60000"
	}
	// Its order is that of ours: the first rule that holds decides. It routes Claude's own names alone; who names another target gets it.
	for _, route := range []struct{ name, when string }{
		{"longContext", `model: "claude-*", tokens_over: ` + over}, {"background", `model: "claude-*haiku*"`}, {"think", `model: "claude-*", thinking: true`}, {"image", `model: "claude-*", images: true`},
	} {
		if target, ok := d.routed(r, route.name); ok {
			d.rules = append(d.rules, fmt.Sprintf("{when: {%s}, to: %s}", route.when, joinPlain([]string{target})))
		}
	}
	if target, ok := d.routed(r, "default"); ok {
		d.fallback = target
	}
	if w := textOf(r.get("webSearch")); w != "" {
		d.note("Router.webSearch (%s) is not carried: a rule cannot ask whether a request searches the web", w)
	}
	d.left("Router", r, "default", "background", "think", "longContext", "longContextThreshold", "image", "webSearch")
}

// routed is a value of Router, "provider,model", as a target.
func (d *draft) routed(r *node, name string) (string, bool) {
	value := textOf(r.get(name))
	if value == "" {
		return "", false
	}
	provider, model, ok := strings.Cut(value, ",")
	up := d.named(strings.TrimSpace(provider))
	if !ok || up == nil {
		d.note("Router.%s is not carried: %q is no provider,model of this file", name, value)
		return "", false
	}
	target := up.name + "/" + strings.TrimSpace(model)
	if !d.sayable(target, "Router."+name) {
		return "", false
	}
	return target, true
}

// litellmKinds are LiteLLM's provider prefixes that we have something for: our kind and profile.
var litellmKinds = map[string][2]string{
	"ollama": {"ollama"}, "ollama_chat": {"ollama"}, "openrouter": {"openrouter"}, "anthropic": {"anthropic"}, "gemini": {"gemini"},
	"openai": {"openai", "openai"}, "mistral": {"openai", "mistral"}, "groq": {"openai", "groq"}, "deepseek": {"openai", "deepseek"}, "xai": {"openai", "xai"},
	"together_ai": {"openai", "together"}, "fireworks_ai": {"openai", "fireworks"}, "hosted_vllm": {"openai", "vllm"}, "vllm": {"openai", "vllm"}, "lm_studio": {"openai", "lmstudio"},
	"custom_openai": {"openai"},
}

// litellm reads the LiteLLM proxy's file. Each model_name becomes an alias; deployments of one name share its requests.
func (d *draft) litellm(n *node) {
	d.left("the file", n, "model_list", "litellm_settings", "router_settings")
	groups := map[string][]string{} // targets by model_name
	var order []string
	for _, m := range itemsOf(n.get("model_list")) {
		name, params := textOf(m.get("model_name")), m.get("litellm_params")
		model := textOf(params.get("model"))
		prefix, rest, ok := strings.Cut(model, "/")
		if !ok {
			prefix, rest = "openai", model
			if strings.HasPrefix(model, "claude") {
				prefix = "anthropic"
			}
		}
		if own := textOf(params.get("custom_llm_provider")); own != "" {
			prefix = own
			if !ok || !strings.HasPrefix(model, own+"/") {
				rest = model
			}
		}
		kind := litellmKinds[prefix]
		if kind[0] == "" || name == "" || strings.Contains(rest, "*") {
			d.note("the model %q (%s) is not carried: signalbox has nothing for it", name, model)
			continue
		}
		up := d.deployment(prefix, kind, params)
		d.left("the model "+name, params, "model", "api_base", "base_url", "api_key", "custom_llm_provider")
		if info := m.get("model_info"); info.get("input_cost_per_token") != nil {
			d.note("the price of %s is not carried: write it under prices, in USD per million tokens", name)
		}
		target := up.name + "/" + rest
		if !d.sayable(target, "the model "+name) {
			continue
		}
		if groups[name] == nil {
			order = append(order, name)
		}
		groups[name] = append(groups[name], target)
	}
	for _, name := range order {
		targets := groups[name]
		switch {
		case name == targets[0]: // it is written as a target already
		case !modelName.MatchString(strings.ReplaceAll(name, "*", "x")) || strings.Contains(name, "/") || name == "claude" || name == "default":
			d.note("the model_name %q cannot be an alias here (a slash, or a word of its own); ask for %s", name, targets[0])
			continue
		default:
			d.aliases = append(d.aliases, pair{name, plain(targets[0])})
		}
		if all := slices.Compact(slices.Sorted(slices.Values(targets))); len(all) > 1 {
			d.rules = append(d.rules, fmt.Sprintf("{when: {model: %s}, to: [%s]}", quote(name), joinPlain(all)))
		}
	}
	for _, where := range []string{"litellm_settings", "router_settings"} {
		s := n.get(where)
		d.left(where, s, "fallbacks", "drop_params")
		for _, item := range itemsOf(s.get("fallbacks")) {
			for _, m := range item.members {
				d.litellmChain(m, groups)
			}
		}
	}
}

func (d *draft) litellmChain(m member, groups map[string][]string) {
	var chain []string
	for _, next := range itemsOf(m.value) {
		if d.isAlias(next.text) {
			chain = append(chain, next.text)
		} else if t := groups[next.text]; t != nil {
			chain = append(chain, t[0])
		} else {
			d.note("the fallback of %s to %s is not carried: no model_name of this file", m.name, next.text)
		}
	}
	from := m.name
	if !d.isAlias(from) {
		if t := groups[from]; t != nil {
			from = t[0]
		} else {
			d.note("the fallbacks of %s are not carried: no model_name of this file", from)
			return
		}
	}
	if len(chain) > 0 {
		d.chains = append(d.chains, pair{from, "[" + joinPlain(chain) + "]"})
	}
}

func (d *draft) isAlias(name string) bool {
	return slices.ContainsFunc(d.aliases, func(p pair) bool { return p.name == name })
}

// deployment is the provider of a model of LiteLLM: one for each account, that is for each prefix, address and key.
func (d *draft) deployment(prefix string, kind [2]string, params *node) *draftProvider {
	base := textOf(params.get("api_base"))
	if base == "" {
		base = textOf(params.get("base_url"))
	}
	theirs := prefix + " " + base + " " + textOf(params.get("api_key"))
	if up := d.named(theirs); up != nil {
		return up
	}
	a := address{kind[0], kind[1]}
	name := a.name()
	if u, err := url.Parse(base); err == nil && base != "" {
		if known, ok := hosts[u.Hostname()]; ok {
			a = known
			name = a.name()
		} else if account(a.profile) {
			a.profile, name = "", u.Hostname() // a server of somebody's own that speaks as OpenAI does
		}
	}
	up := d.provider(name, a, base)
	up.theirs = theirs
	if up.key, up.remark = d.secret(params.get("api_key"), up); up.key == "" && base == "" {
		up.key = usualKey(a)
	}
	return up
}

// usualKey is the variable of an account that other programs read without being told.
func usualKey(a address) string {
	for _, known := range accounts {
		if known.name == a.name() {
			return "env:" + known.variable
		}
	}
	return ""
}

// seed reads an .oss/config.json into a whole configuration, so that nothing depends on that file any more.
func (d *draft) seed(n *node) {
	d.left("the file", n, append([]string{"models", "apiKeys", "fallback_enabled", "fallbackEnabled"}, guestKeys...)...)
	models := n.get("models")
	d.left("models", models, append([]string{"fallbackEnabled", "fallback_enabled"}, guestKeys...)...)
	keys := n.get("apiKeys")
	ensure := func(name string) bool {
		if name == "signalbox" || name == "anthropic" && keys.get(name) == nil || d.named(name) != nil {
			return true
		}
		p, ok := wellKnown(name, func(string) string { return "" })
		if !ok {
			return false
		}
		up := d.provider(name, address{kind: p.Kind}, "")
		if key := keys.get(name); name == "ollama" && strings.Contains(textOf(key), "://") {
			up.base = d.cleanURL(ollamaURL(key.text), up)
		} else {
			if up.key, up.remark = d.secret(key, up); up.key == "" {
				up.key = usualKey(address{p.Kind, name})
			}
		}
		return true
	}
	ensure("ollama")
	if keys != nil {
		for _, m := range keys.members {
			if !ensure(m.name) {
				d.note("apiKeys.%s is not carried: this version knows no such provider", m.name)
			}
		}
	}
	usable := func(what, target string) bool {
		provider, _, ok := strings.Cut(target, "/")
		if ok && !ensure(provider) {
			d.note("%s is not carried: no provider %q", what, provider)
			return false
		}
		return target != "" && (!ok || d.sayable(target, what))
	}
	armed := seedFallback(n)
	chain := func(target string) {
		if armed && strings.Contains(target, "/") && !slices.ContainsFunc(d.chains, func(p pair) bool { return p.name == target }) {
			d.chains = append(d.chains, pair{target, "[claude]"})
		}
	}
	d.entries = map[string][]pair{}
	for _, at := range []*node{models, n} {
		if t := textOf(at.get("default")); usable("default", t) {
			d.fallback = t
			chain(t)
		}
		if a := at.get("aliases"); a != nil {
			for _, m := range a.members {
				if t := textOf(m.value); usable("aliases."+m.name, t) {
					d.aliases = append(d.aliases, pair{m.name, plain(t)})
					chain(t)
				}
			}
		}
		for _, kind := range []string{"agents", "commands", "skills", "hooks"} {
			entries := at.get(kind)
			if entries == nil {
				continue
			}
			for _, m := range entries.members {
				target, value, what := textOf(m.value), plain(textOf(m.value)), kind+"."+m.name
				if m.value.form == mapping {
					target = textOf(m.value.get("target"))
					value = flow(m.value)
				}
				if !usable(what, target) {
					continue
				}
				d.entries[kind] = slices.DeleteFunc(d.entries[kind], func(p pair) bool { return p.name == m.name })
				d.entries[kind] = append(d.entries[kind], pair{m.name, value})
				chain(target)
			}
		}
	}
}

// flow is a mapping of scalars and lists on one line.
func flow(n *node) string {
	var parts []string
	for _, m := range n.members {
		value := joinPlain([]string{m.value.text})
		switch m.value.form {
		case nothing, mapping:
			continue
		case list:
			var items []string
			for _, i := range m.value.items {
				items = append(items, i.text)
			}
			value = "[" + joinPlain(items) + "]"
		case number, boolean:
			value = m.value.text
		}
		parts = append(parts, quoteKey(m.name)+": "+value)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// sayable reports whether a target may be written; a note says when not.
func (d *draft) sayable(target, what string) bool {
	_, model, _ := strings.Cut(target, "/")
	if len(model) <= 256 && modelName.MatchString(model) {
		return true
	}
	d.note("%s is not carried: %q is no model's name here", what, model)
	return false
}

// address is what an address says about a provider.
type address struct{ kind, profile string }

// name is what a provider of that address is called when nobody gave it a name.
func (a address) name() string {
	if a.profile != "" {
		return a.profile
	}
	return a.kind
}

// hosts are the addresses whose owners we know.
var hosts = map[string]address{
	"openrouter.ai": {"openrouter", ""}, "api.anthropic.com": {"anthropic", ""}, "generativelanguage.googleapis.com": {"gemini", ""},
	"api.openai.com": {"openai", "openai"}, "api.mistral.ai": {"openai", "mistral"}, "api.groq.com": {"openai", "groq"}, "api.deepseek.com": {"openai", "deepseek"},
	"api.x.ai": {"openai", "xai"}, "api.together.xyz": {"openai", "together"}, "api.fireworks.ai": {"openai", "fireworks"},
}

func kindByAddress(name, base string) address {
	u, err := url.Parse(base)
	if err != nil {
		return address{kind: "openai"}
	}
	if a, ok := hosts[u.Hostname()]; ok {
		return a
	}
	switch {
	case u.Port() == "11434" || strings.EqualFold(name, "ollama"):
		return address{kind: "ollama"}
	case strings.HasSuffix(u.Path, "/v1/messages"):
		return address{kind: "anthropic"}
	}
	return address{kind: "openai"}
}

// unnameable is what no provider's name may hold.
var unnameable = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// provider adds a provider under a name that may be used and is free.
func (d *draft) provider(theirs string, a address, base string) *draftProvider {
	name := strings.Trim(unnameable.ReplaceAllString(theirs, "-"), "-._")
	if name == "" || len(name) > 60 || slices.Contains(reserved, strings.ToLower(name)) || name == "signalbox" {
		name = "up-" + name[:min(len(name), 50)]
	}
	for i, first := 2, name; slices.ContainsFunc(d.providers, func(p *draftProvider) bool { return p.name == name }); i++ {
		name = first + "-" + strconv.Itoa(i)
	}
	if name != theirs {
		d.note("the provider %q is called %s here", theirs, name)
	}
	up := &draftProvider{name: name, theirs: theirs, kind: a.kind, profile: a.profile}
	d.providers = append(d.providers, up)
	if u, err := url.Parse(base); err == nil && hosts[u.Hostname()] == (address{}) && base != "" {
		up.base = d.cleanURL(base, up)
	}
	if up.profile == up.name {
		up.profile = "" // it is the default
	}
	return up
}

func (d *draft) named(theirs string) *draftProvider {
	i := slices.IndexFunc(d.providers, func(p *draftProvider) bool { return p.theirs == theirs })
	if i < 0 {
		return nil
	}
	return d.providers[i]
}

// cleanURL is an address as base_url wants it: without the path of one operation, and without what may be a secret.
func (d *draft) cleanURL(base string, up *draftProvider) string {
	u, err := url.Parse(strings.TrimSpace(base))
	if err != nil || u.Host == "" {
		d.note("the address of %s is not carried: it is no URL", up.name)
		return ""
	}
	if u.User != nil || u.RawQuery != "" {
		d.note("the address of %s held a user, password or query, which is not copied: keys go in api_key or headers", up.name)
	}
	path := strings.TrimSuffix(u.Path, "/")
	for _, operation := range []string{"/chat/completions", "/v1/messages", "/completions"} {
		path = strings.TrimSuffix(path, operation)
	}
	if up.kind == "ollama" {
		path = strings.TrimSuffix(strings.TrimSuffix(path, "/v1"), "/api")
	}
	if u.Scheme == "http" && !private(u.Hostname()) {
		d.note("%s is plain http to a public name: use https, or add allow_http: true to the provider %s", u.Host, up.name)
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: path}).String()
}

var variables = regexp.MustCompile(`^(os\.environ/|\$|env:)\{?([A-Za-z_][A-Za-z0-9_]*)\}?$`)

// secret is how a key is written here: by its variable when the file names one, else by a variable that is still to be set. What
// stands in the file is never copied.
func (d *draft) secret(n *node, up *draftProvider) (ref, remark string) {
	value := textOf(n)
	switch m := variables.FindStringSubmatch(value); {
	case value == "" || up.kind == "ollama" && len(value) < 16:
		return "", "" // Ollama wants none, and other programs ask for some word
	case m != nil:
		return "env:" + m[2], ""
	case strings.HasPrefix(value, "file:"):
		return value, ""
	}
	name := strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(up.name)) + "_API_KEY"
	if !variableName(name) {
		name = "UP_" + name // an address as a name begins with a digit, and no variable may
	}
	return "env:" + name, "the key stands in the other file and was not copied; set " + name + ", or write file:/path"
}

func textOf(n *node) string {
	if n == nil || n.form == mapping || n.form == list {
		return ""
	}
	return n.text
}

func itemsOf(n *node) []*node {
	if n == nil {
		return nil
	}
	return n.items
}

// write is the whole file.
func (d *draft) write(from string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "# signalbox configuration, imported from %s.\n", from)
	if len(d.notes) > 0 {
		b.WriteString("#\n# To look at:\n")
		for _, n := range d.notes {
			fmt.Fprintf(&b, "# - %s\n", n)
		}
	}
	b.WriteString("\n")
	if d.listen != "" {
		fmt.Fprintf(&b, "listen: %s\n", plain(d.listen))
	}
	if d.fallback != "" {
		fmt.Fprintf(&b, "default: %s\n", plain(d.fallback))
	}
	if len(d.providers) > 0 {
		b.WriteString("providers:\n")
	}
	for _, p := range d.providers {
		fmt.Fprintf(&b, "  %s:\n    kind: %s\n", quoteKey(p.name), p.kind)
		if p.profile != "" {
			fmt.Fprintf(&b, "    profile: %s\n", p.profile)
		}
		if p.base != "" {
			fmt.Fprintf(&b, "    base_url: %s\n", quote(p.base))
		}
		if p.key != "" {
			fmt.Fprintf(&b, "    api_key: %s", quote(p.key))
			if p.remark != "" {
				b.WriteString("  # " + oneLine(p.remark))
			}
			b.WriteString("\n")
		}
	}
	pairs := func(key string, list []pair) {
		if len(list) > 0 {
			fmt.Fprintf(&b, "%s:\n", key)
		}
		for _, p := range list {
			fmt.Fprintf(&b, "  %s: %s\n", quoteKey(p.name), p.value)
		}
	}
	pairs("aliases", d.aliases)
	for _, kind := range []string{"agents", "commands", "skills", "hooks"} {
		pairs(kind, d.entries[kind])
	}
	if len(d.rules) > 0 {
		b.WriteString("rules:\n")
	}
	for _, r := range d.rules {
		fmt.Fprintf(&b, "  - %s\n", r)
	}
	pairs("fallbacks", d.chains)
	return []byte(b.String())
}

// safe is text that YAML reads as text without quotes, whatever it follows.
var safe = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._/@+-]*(:[A-Za-z0-9._/@+-]+)*$`)

// plain is a text as YAML, without quotes where none are needed.
func plain(s string) string {
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return quote(s)
	}
	if safe.MatchString(s) {
		return s
	}
	return quote(s)
}

func joinPlain(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		if out[i] = plain(s); strings.Contains(s, ":") {
			out[i] = quote(s) // inside brackets a colon begins a value
		}
	}
	return strings.Join(out, ", ")
}

func quoteKey(s string) string {
	if p := plain(s); p == s && !strings.Contains(s, ":") {
		return s
	}
	return quote(s)
}

// quote is a text in double quotes. ${ would be replaced when the file is read, and is written so that it stays.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(strings.ReplaceAll(s, "${", "$${")); err != nil { // a text always can be
		return `""`
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\u0085' || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}

// plainJSON takes comments and trailing commas out of JSON5, with as many lines as before, so that an error names the right one.
func plainJSON(data []byte) []byte {
	out := make([]byte, 0, len(data))
	comma := -1 // place in out of a comma that nothing has followed yet
	for i := 0; i < len(data); i++ {
		c := data[i]
		switch {
		case c == '"':
			end := stringEnd(data, i)
			out, comma, i = append(out, data[i:end]...), -1, end-1
			continue
		case c == '/' && i+1 < len(data) && data[i+1] == '/':
			for i < len(data) && data[i] != '\n' {
				i++
			}
			i--
			continue
		case c == '/' && i+1 < len(data) && data[i+1] == '*':
			end := bytes.Index(data[i+2:], []byte("*/"))
			if end < 0 {
				return data
			}
			out = append(out, bytes.Repeat([]byte("\n"), bytes.Count(data[i:i+2+end], []byte("\n")))...)
			i += end + 3
			continue
		case c == ',':
			comma = len(out)
		case c == '}' || c == ']':
			if comma >= 0 {
				out[comma] = ' '
			}
			comma = -1
		case c != ' ' && c != '\t' && c != '\r' && c != '\n':
			comma = -1
		}
		out = append(out, c)
	}
	return out
}

// stringEnd is behind the closing quote of the string that begins at i.
func stringEnd(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}
