package config

import (
	"errors"
	"io/fs"
	"reflect"
	"slices"
	"strings"
)

// A guestRule says what is taken from a file that does not own the gateway.
type guestRule struct {
	seed   bool // the seed's .oss/config.json: keys beyond ours belong to other programs and are passed over
	expand bool // ${VAR} is replaced; never in a project's file, or a repository could read the environment into a model's name
	owner  bool // the user's own: apiKeys and models.fallbackEnabled count
}

var (
	seedUser    = guestRule{seed: true, expand: true, owner: true}
	seedProject = guestRule{seed: true}
	projectFile = guestRule{}
)

// guestKeys are what a project may set: names for targets, never keys, addresses or prices, so that a cloned repository
// cannot redirect traffic.
var guestKeys = []string{"default", "aliases", "agents", "commands", "skills", "hooks"}

type seedKey struct {
	provider string
	value    *node
	at       place
	mode     fs.FileMode
}

// guest reads a file that may be missing and of which only some keys are taken.
func (l *loader) guest(file string, rule guestRule) error {
	l.c.Watched = append(l.c.Watched, file)
	data, mode, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) || isNotDir(err) {
		return nil
	}
	if err != nil {
		return &Error{File: file, Message: cause(err)}
	}
	l.c.Sources = append(l.c.Sources, file)
	var expand func(string) (string, error)
	if rule.expand {
		expand = expander(l.o.Getenv)
	}
	n, err := parse(data, expand)
	if err != nil {
		return inFile(err, file)
	}
	if n.form == nothing {
		return nil
	}
	if n.form != mapping {
		return &Error{File: file, Line: n.line, Message: "expected a mapping of keys, and this is " + n.form.String()}
	}
	l.a.from = place{file: file, guest: true}
	root := reflect.ValueOf(l.c).Elem()
	var targets []string
	for _, m := range n.members {
		_, known := fieldNamed(root.Type(), m.name)
		switch {
		case slices.Contains(guestKeys, m.name):
			if !rule.owner {
				l.unchained(file, m.value)
			}
			err = l.a.member(root, m, "")
			targets = append(targets, texts(m.value)...)
		case rule.seed && m.name == "models":
			var more []string
			more, err = l.seedModels(root, m.value, file, rule)
			targets = append(targets, more...)
		case rule.seed && m.name == "apiKeys" && rule.owner:
			err = l.seedAPIKeys(m.value, file, mode)
		case rule.seed && m.name == "apiKeys":
			l.c.warn("%s:%d: apiKeys is not taken from a project's file", file, m.line)
		case rule.seed && (m.name == "fallback_enabled" || m.name == "fallbackEnabled" || !known && !later[m.name]):
			// the first two are read below, the rest is another program's
		case known, later[m.name]:
			l.c.warn("%s:%d: %s is not taken from this file; it takes %s", file, m.line, m.name, strings.Join(guestKeys, ", "))
		default:
			err = l.a.member(root, m, "") // our own file: an unknown key is an error with its line
		}
		if err != nil {
			return inFile(err, file)
		}
	}
	if rule.owner && rule.seed && seedFallback(n) {
		l.armed = append(l.armed, targets...)
	}
	return nil
}

// seedModels reads models.default, .agents, .commands, .skills and .hooks.
func (l *loader) seedModels(root reflect.Value, n *node, file string, rule guestRule) ([]string, error) {
	if n.form == nothing {
		return nil, nil
	}
	if n.form != mapping {
		return nil, &Error{Line: n.line, Key: "models", Message: "expected a mapping, and this is " + n.form.String()}
	}
	var targets []string
	for _, m := range n.members {
		if !slices.Contains(guestKeys, m.name) {
			continue
		}
		if !rule.owner {
			l.unchained(file, m.value)
		}
		if err := l.a.member(root, m, ""); err != nil {
			return nil, err
		}
		targets = append(targets, texts(m.value)...)
	}
	return targets, nil
}

// seedFallback reads models.fallbackEnabled, also written fallback_enabled or at the top.
func seedFallback(n *node) bool {
	for _, at := range []*node{n.get("models"), n} {
		for _, name := range []string{"fallbackEnabled", "fallback_enabled"} {
			if v := at.get(name); v != nil {
				return v.text == "true"
			}
		}
	}
	return false
}

// seedAPIKeys notes the keys of apiKeys; they are used last, since a key in the environment wins over them.
func (l *loader) seedAPIKeys(n *node, file string, mode fs.FileMode) error {
	if n.form == nothing {
		return nil
	}
	if n.form != mapping {
		return &Error{Line: n.line, Key: "apiKeys", Message: "expected a mapping of providers to keys, and this is " + n.form.String()}
	}
	for _, m := range n.members {
		if m.value.form == nothing || m.value.text == "" {
			continue
		}
		if m.value.form != text {
			return &Error{Line: m.line, Key: "apiKeys." + m.name, Message: "expected text, and this is " + m.value.form.String()}
		}
		l.keys = append(l.keys, seedKey{provider: m.name, value: m.value, at: place{file: file, line: m.line}, mode: mode})
	}
	return nil
}

// seedKeys gives the noted keys to providers that have none. The Ollama entry may be a URL.
func (l *loader) seedKeys() error {
	for _, k := range l.keys {
		path := "apiKeys." + k.provider
		p, have := l.c.Providers[k.provider]
		found := false
		if !have {
			if p, found = wellKnown(k.provider, l.o.Getenv); !found {
				l.c.warn("%s:%d: %s: this version knows no such provider", k.at.file, k.at.line, path)
				continue
			}
		}
		if p.Kind == "ollama" || p.Kind == "" && k.provider == "ollama" {
			if strings.Contains(k.value.text, "://") {
				if p.BaseURL == "" || l.c.Discovered && l.o.Getenv("OLLAMA_HOST") == "" && l.o.Getenv("OLLAMA_BASE_URL") == "" {
					p.BaseURL = ollamaURL(k.value.text)
					l.a.where["providers."+k.provider+".base_url"] = k.at
				}
				l.put(p, k.provider, found, path)
				continue
			}
		}
		if !p.APIKey.Empty() {
			continue
		}
		var s Secret
		if err := s.setText(k.value.text); err != nil {
			return &Error{File: k.at.file, Line: k.at.line, Key: path, Message: err.Error()}
		}
		s.literal = k.value.literal
		p.APIKey = s
		key := "providers." + k.provider + ".api_key"
		l.a.where[key] = k.at
		l.put(p, k.provider, found, path)
		if err := l.readSecrets(k.at.file, k.mode); err != nil {
			var e *Error
			if errors.As(err, &e) && e.Key == key {
				e.Key = path
			}
			return err
		}
	}
	return nil
}

func (l *loader) put(p Provider, name string, found bool, by string) {
	if found {
		l.add(p, by)
		return
	}
	l.c.Providers[name] = p
}

// texts are the targets that a key names: a scalar's own, or those of the entries of a mapping.
func texts(n *node) []string {
	if n.form == text {
		return []string{n.text}
	}
	var out []string
	for _, m := range n.members {
		target := m.value
		if target.form == mapping {
			target = target.get("target")
		}
		if target != nil && target.form == text {
			out = append(out, target.text)
		}
	}
	return out
}

// unchained takes the fallbacks out of a project's entries: a repository may say which configured target serves whom, and not
// who is paid when that one fails.
func (l *loader) unchained(file string, n *node) {
	if n.form != mapping {
		return
	}
	for _, m := range n.members {
		if f := m.value.get("fallbacks"); f != nil {
			l.c.warn("%s:%d: fallbacks of an entry are not taken from a project's file", file, m.line)
			m.value.members = slices.DeleteFunc(m.value.members, func(m member) bool { return m.name == "fallbacks" })
		}
	}
}
