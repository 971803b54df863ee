package config

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// LoadOptions is the world that a configuration is read from. The zero value reads no file and no environment.
type LoadOptions struct {
	// File is --config; it must exist. Empty looks at SIGNALBOX_CONFIG and then at the usual places.
	File string
	// Dir is the folder that serve was started in, for the project's files. Empty reads none.
	Dir string
	// Getenv reads the environment; nil is an empty one.
	Getenv func(string) string
	// Home is the user's folder; empty when there is none.
	Home string
	// System is the machine's own file. Default /etc/signalbox/config.yaml.
	System string
	// Flags are the command line's.
	Flags Flags
}

// Flags are the settings of the command line; they win over everything. Zero values were not given.
type Flags struct {
	Host      string
	Port      *int
	Model     string // provider/model: the default target
	APIKey    Secret // for the provider of Model
	KeyFile   string // a file of mode 0600 with the key for the provider of Model
	BaseURL   string // for the provider of Model
	Grace     *time.Duration
	AllowOpen bool
}

// Load finds, reads, merges and checks the configuration. What comes back is complete: secrets are read, every provider
// has its name and kind, the built-in ones are there. Errors are *Error.
func Load(o LoadOptions) (*Config, error) {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	l := &loader{o: o, c: Default(), a: applier{where: map[string]place{}}}
	for _, step := range []func() error{l.files, l.discover, l.environment, l.flags, l.secrets, l.complete} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	if err := validate(l.c, l.a.where); err != nil {
		return nil, err
	}
	l.c.Firm = map[string]bool{}
	l.c.origins = map[string]Origin{}
	for key, at := range l.a.where {
		l.c.origins[key] = Origin{File: at.file, Line: at.line}
		if first, _, _ := strings.Cut(key, "."); at.firm && slices.Contains(guestKeys, first) {
			l.c.Firm[key] = true
		}
	}
	l.c.Watched = slices.Compact(slices.Sorted(slices.Values(l.c.Watched)))
	return l.c, nil
}

type loader struct {
	o LoadOptions
	c *Config
	a applier

	keys  []seedKey // apiKeys of the seed's file
	armed []string  // targets of the seed's file while its models.fallbackEnabled is true
}

// files reads the layers from the lowest up: the user's or the machine's file, the user's .oss/config.json, the project's
// files, and a file that was named outright.
func (l *loader) files() error {
	main, named, err := l.find()
	if err != nil {
		return err
	}
	if main != "" && !named {
		if err := l.own(main, false); err != nil {
			return err
		}
	}
	user := ""
	if l.o.Home != "" {
		user = filepath.Join(l.o.Home, ".oss", "config.json")
		if err := l.guest(user, seedUser); err != nil {
			return err
		}
	}
	if l.o.Dir != "" {
		// The file that models set --project writes is read last: what a command has just set must hold.
		for file, rule := range orderedPairs(
			filepath.Join(l.o.Dir, "signalbox.yaml"), projectFile,
			filepath.Join(l.o.Dir, ".oss", "config.json"), seedProject) {
			if sameFile(file, user) || sameFile(file, main) {
				continue // in the home folder, or named with --config: it has its say in its own place
			}
			if err := l.guest(file, rule); err != nil {
				return err
			}
		}
	}
	if named {
		return l.own(main, true)
	}
	return nil
}

func orderedPairs(pairs ...any) func(func(string, guestRule) bool) {
	return func(yield func(string, guestRule) bool) {
		for i := 0; i < len(pairs); i += 2 {
			if !yield(pairs[i].(string), pairs[i+1].(guestRule)) {
				return
			}
		}
	}
}

// find is the one main file: named by flag or environment (then it must exist), else the first of the usual places.
func (l *loader) find() (file string, named bool, err error) {
	if f := cmp.Or(l.o.File, l.o.Getenv("SIGNALBOX_CONFIG")); f != "" {
		if !filepath.IsAbs(f) && l.o.Dir != "" {
			f = filepath.Join(l.o.Dir, f) // a reload must find it too, wherever the process stands by then
		}
		return f, true, nil
	}
	var places []string
	if user := UserFile(l.o.Getenv, l.o.Home); user != "" {
		places = append(places, user)
	}
	places = append(places, cmp.Or(l.o.System, "/etc/signalbox/config.yaml"))
	for _, p := range places {
		l.c.Watched = append(l.c.Watched, p)
		if _, err := os.Stat(p); err == nil {
			return p, false, nil
		} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrPermission) {
			return "", false, &Error{File: p, Message: cause(err)}
		}
	}
	return "", false, nil
}

// own reads a file that may set everything. A firm one was named outright and stands above a project's files.
func (l *loader) own(file string, firm bool) error {
	l.c.Watched = append(l.c.Watched, file)
	data, mode, err := readFile(file)
	if err != nil {
		return &Error{File: file, Message: cause(err)}
	}
	l.c.Sources = append(l.c.Sources, file)
	n, err := parse(data, expander(l.o.Getenv))
	if err != nil {
		return inFile(err, file)
	}
	if n.form == nothing {
		return nil
	}
	if n.form != mapping {
		return &Error{File: file, Line: n.line, Message: "expected a mapping of keys, and this is " + n.form.String()}
	}
	for _, m := range n.members {
		if later[m.name] {
			return &Error{File: file, Line: m.line, Key: m.name, Message: notYet}
		}
	}
	l.a.from = place{file: file, firm: firm}
	if err := l.a.members(reflect.ValueOf(l.c).Elem(), n, ""); err != nil {
		return err
	}
	return l.readSecrets(file, mode)
}

// later are the keys whose meaning a later version brings. Silence would let somebody believe that a budget holds.
var later = map[string]bool{"keys": true, "budgets": true, "limits": true}

const notYet = "not supported by this version yet; remove it"

// environment lays SIGNALBOX_* over the files and the discovered providers.
func (l *loader) environment() error {
	for name := range later {
		if l.o.Getenv(VariableName(name)) != "" {
			return &Error{Key: VariableName(name), Message: notYet}
		}
	}
	if err := l.a.environment(reflect.ValueOf(l.c).Elem(), "", l.o.Getenv); err != nil {
		return err
	}
	// The two halves of listen have names of their own, as the flags do.
	port := l.o.Getenv("SIGNALBOX_PORT")
	if port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return &Error{Key: "SIGNALBOX_PORT", Message: fmt.Sprintf("%q is no port: write a number from 0 to 65535", port)}
		}
	}
	return l.listen(l.o.Getenv("SIGNALBOX_HOST"), port)
}

// flags lay the command line over everything.
func (l *loader) flags() error {
	f := l.o.Flags
	port := ""
	if f.Port != nil {
		if *f.Port < 0 || *f.Port > 65535 {
			return &Error{Key: "--port", Message: fmt.Sprintf("%d is no port: give a number from 0 to 65535", *f.Port)}
		}
		port = strconv.Itoa(*f.Port)
	}
	if err := l.listen(f.Host, port); err != nil {
		return err
	}
	if f.Grace != nil {
		if *f.Grace < 0 {
			return &Error{Key: "--grace", Message: "a grace below zero"}
		}
		l.c.Grace = Duration(*f.Grace)
	}
	l.c.AllowOpen = l.c.AllowOpen || f.AllowOpen
	return l.model()
}

// model carries out --model and the two flags that belong to it.
func (l *loader) model() error {
	f := l.o.Flags
	if f.Model == "" {
		if !f.APIKey.Empty() || f.KeyFile != "" || f.BaseURL != "" {
			return &Error{Key: "--model", Message: "required with --api-key, --api-key-file and --base-url: they belong to the provider of --model"}
		}
		return nil
	}
	l.c.Default = f.Model
	l.a.where["default"] = place{file: "--model", firm: true}
	name, _, ok := strings.Cut(f.Model, "/")
	if !ok {
		if !f.APIKey.Empty() || f.KeyFile != "" || f.BaseURL != "" {
			return &Error{Key: "--model", Message: fmt.Sprintf("%q names no provider: write provider/model", f.Model)}
		}
		return nil // an alias; validate looks for it
	}
	p, have := l.c.Providers[name]
	if !have {
		if p, have = wellKnown(name, l.o.Getenv); !have {
			return nil // validate says which providers there are
		}
		l.add(p, "--model")
	}
	key := f.APIKey
	if f.KeyFile != "" {
		if !key.Empty() {
			return &Error{Key: "--api-key-file", Message: "given together with --api-key: give one"}
		}
		var err error
		if key, err = l.keyFile(f.KeyFile); err != nil {
			return err
		}
	}
	if !key.Empty() {
		p.APIKey = NewSecret(key.Reveal())
	}
	if f.BaseURL != "" {
		p.BaseURL = f.BaseURL
		l.a.where["providers."+name+".base_url"] = place{file: "--base-url"}
	}
	l.c.Providers[name] = p
	return nil
}

// keyFile reads a key that was named on the command line. Others must not be able to read it: the flag exists to keep the
// key away from them.
func (l *loader) keyFile(file string) (Secret, error) {
	if !filepath.IsAbs(file) && l.o.Dir != "" {
		file = filepath.Join(l.o.Dir, file)
	}
	data, mode, err := readFile(file)
	if err != nil {
		return Secret{}, &Error{Key: "--api-key-file", Message: file + ": " + cause(err)}
	}
	if mode.Perm()&0o077 != 0 {
		return Secret{}, &Error{Key: "--api-key-file", Message: fmt.Sprintf("%s can be read by others (mode %04o); run: chmod 600 %s", file, mode.Perm(), file)}
	}
	var s Secret
	if err := s.setText(strings.TrimSpace(string(data))); err != nil || s.Empty() {
		return Secret{}, &Error{Key: "--api-key-file", Message: file + " holds no key: write it on one line"}
	}
	l.c.Watched, l.c.SecretFiles = append(l.c.Watched, file), append(l.c.SecretFiles, file)
	return NewSecret(s.value), nil
}

// listen replaces the host, the port, or both.
func (l *loader) listen(host, port string) error {
	if host == "" && port == "" {
		return nil
	}
	oldHost, oldPort, err := net.SplitHostPort(l.c.Listen)
	if err != nil {
		if host == "" || port == "" {
			return nil // validate has the words for it
		}
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	l.c.Listen = net.JoinHostPort(cmp.Or(host, oldHost), cmp.Or(port, oldPort))
	return nil
}

// secrets reads what the environment gave: there is no file that others could read.
func (l *loader) secrets() error { return l.readSecrets("", 0o600) }

// readSecrets resolves every secret of the layer that was just applied.
func (l *loader) readSecrets(file string, mode fs.FileMode) error {
	return eachSecret(reflect.ValueOf(l.c).Elem(), "", func(path string, s *Secret) error {
		if !s.unread {
			return nil
		}
		fail := func(text string) error {
			at := l.a.where[path]
			return &Error{File: at.file, Line: at.line, Key: path, Message: text}
		}
		value, literal := s.value, s.literal
		if name, ok := strings.CutPrefix(value, "env:"); ok {
			if value = l.o.Getenv(name); value == "" {
				return fail(fmt.Sprintf("environment variable %s is not set", name))
			}
			literal = false
		} else if name, ok := strings.CutPrefix(value, "file:"); ok {
			var err error
			if value, err = l.secretFile(name, file); err != nil {
				return fail(err.Error())
			}
			literal = false
		}
		if literal && value != "" && file != "" && mode.Perm()&0o077 != 0 {
			return fail(fmt.Sprintf("a key stands in a file that others can read (mode %04o); run: chmod 600 %s, or write env:NAME or file:/path", mode.Perm(), file))
		}
		// What stands in a header may hold no control character: it would be refused at the first request, far from here.
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fail("the key holds a control character")
		}
		*s = NewSecret(value)
		return nil
	})
}

// secretFile reads a key from its file; a relative name is taken from the folder of the configuration.
func (l *loader) secretFile(name, file string) (string, error) {
	if !filepath.IsAbs(name) {
		if file == "" {
			return "", fmt.Errorf("file:%s: write the whole path", name)
		}
		name = filepath.Join(filepath.Dir(file), name)
	}
	l.c.Watched, l.c.SecretFiles = append(l.c.Watched, name), append(l.c.SecretFiles, name)
	data, _, err := readFile(name)
	if err != nil {
		return "", fmt.Errorf("%s: %s", name, cause(err))
	}
	value := strings.TrimSpace(string(data))
	if value == "" {
		return "", fmt.Errorf("%s is empty", name)
	}
	return value, nil
}

// eachSecret visits the secrets of the tree with their paths. Map entries are copied back, since they cannot be addressed.
func eachSecret(v reflect.Value, path string, visit func(string, *Secret) error) error {
	for i := range v.NumField() {
		name := yamlName(v.Type().Field(i))
		if name == "" {
			continue
		}
		f, key := v.Field(i), join(path, name)
		if s, ok := f.Addr().Interface().(*Secret); ok {
			if err := visit(key, s); err != nil {
				return err
			}
			continue
		}
		if f.Kind() != reflect.Map || f.Type().Elem().Kind() != reflect.Struct {
			continue
		}
		for _, k := range slices.SortedFunc(slices.Values(f.MapKeys()), func(a, b reflect.Value) int { return cmp.Compare(a.String(), b.String()) }) {
			entry := reflect.New(f.Type().Elem()).Elem()
			entry.Set(f.MapIndex(k))
			if err := eachSecret(entry, join(key, k.String()), visit); err != nil {
				return err
			}
			f.SetMapIndex(k, entry)
		}
	}
	return nil
}

// complete fills what nobody wrote: names, kinds, the seed's chains, and the two providers that always exist.
func (l *loader) complete() error {
	if err := l.seedKeys(); err != nil {
		return err
	}
	if l.c.Providers == nil {
		l.c.Providers = map[string]Provider{}
	}
	for name, p := range l.c.Providers {
		p.Name, p.Kind = name, cmp.Or(p.Kind, name)
		l.c.Providers[name] = p
	}
	if _, ok := l.c.Providers["signalbox"]; !ok {
		l.c.Providers["signalbox"] = Provider{Name: "signalbox", Kind: "signalbox", Builtin: true}
	}
	if _, ok := l.c.Providers["anthropic"]; !ok {
		p := Provider{Name: "anthropic", Kind: "anthropic", Builtin: true}
		if base := l.o.Getenv("ANTHROPIC_BASE_URL"); base != "" && l.c.Discovered {
			// People who point their agent at us export this and start us from the same shell.
			if l.c.ourselves(base) {
				l.c.warn("ANTHROPIC_BASE_URL points at this gateway itself and is not used")
			} else {
				p.BaseURL = base
				l.a.where["providers.anthropic.base_url"] = place{file: "ANTHROPIC_BASE_URL"}
			}
		}
		l.c.Providers["anthropic"] = p
	}
	for _, target := range l.armed {
		if _, ok := l.c.Fallbacks[target]; ok || target == "claude" || target == "default" {
			continue
		}
		if l.c.Fallbacks == nil {
			l.c.Fallbacks = map[string][]string{}
		}
		l.c.Fallbacks[target] = []string{"claude"}
	}
	return nil
}

func (l *loader) add(p Provider, by string) {
	if l.c.Providers == nil {
		l.c.Providers = map[string]Provider{}
	}
	l.c.Providers[p.Name] = p
	l.c.Found = append(l.c.Found, Finding{Provider: p.Name, By: by})
}

func (c *Config) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// readFile reads a whole file of a sane size and tells its mode.
func readFile(name string) ([]byte, fs.FileMode, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if st.IsDir() {
		return nil, 0, errors.New("is a folder, not a file")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = errors.New("is larger than 16 MiB")
	}
	return data, st.Mode(), err
}

// cause is an error of the file system without the path, which the caller names already.
func cause(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// isNotDir reports that part of a path is a file: then the file behind it is missing like any other.
func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

func sameFile(a, b string) bool {
	if a == "" || b == "" {
		return false
	}
	sa, err := os.Stat(a)
	if err != nil {
		return false
	}
	sb, err := os.Stat(b)
	return err == nil && os.SameFile(sa, sb)
}
