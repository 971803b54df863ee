package agents

import (
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"signalbox/config"
	"signalbox/internal/messages"
)

// Source is a place where definition files are.
type Source struct {
	Dir  string // the folder of *.md files; for plugins the folder that holds them somewhere below
	Kind string // SourceUser, SourceProject or SourcePlugin
}

// The kinds of sources, in the order in which the client prefers agents of one name.
const (
	SourceProject = "project"
	SourceUser    = "user"
	SourcePlugin  = "plugin"
)

// Sources are the places of the client: the project's agents, the user's, and those of installed plugins. An empty folder is left
// out. configDir is CLAUDE_CONFIG_DIR, empty for .claude in the home folder.
func Sources(home, project, configDir string) []Source {
	if configDir == "" && home != "" {
		configDir = filepath.Join(home, ".claude")
	}
	var out []Source
	if project != "" {
		out = append(out, Source{filepath.Join(project, ".claude", "agents"), SourceProject})
	}
	if configDir != "" {
		if user := filepath.Join(configDir, "agents"); len(out) == 0 || out[0].Dir != user { // started in the home folder
			out = append(out, Source{user, SourceUser})
		}
		out = append(out, Source{filepath.Join(configDir, "plugins"), SourcePlugin})
	}
	return out
}

// Bounds of a look at the sources: they are folders of the user's, and may hold anything.
const (
	maxFile    = 256 << 10
	maxFiles   = 1000
	maxEntries = 20_000
	maxDepth   = 8
)

// How old what we know may be. Plugins are many folders and change when they are installed.
const (
	freshFiles   = time.Second
	freshPlugins = 30 * time.Second
)

// Directory is the agents that are known now. It looks at the files again when it is asked and has not looked for a while. It is
// safe for concurrent use; a nil Directory knows nobody.
type Directory struct {
	sources []Source
	now     func() time.Time

	mu      sync.Mutex // one look at a time
	parsed  map[string]parsedFile
	plugins []plugin
	pluginT time.Time

	current atomic.Pointer[known]
}

type known struct {
	at   time.Time
	defs []Definition
	*index
}

type parsedFile struct {
	mod  time.Time
	size int64
	def  Definition
	ok   bool
}

// New makes a directory; nothing is read yet. now is the clock.
func New(sources []Source, now func() time.Time) *Directory {
	return &Directory{sources: sources, now: now, parsed: map[string]parsedFile{}}
}

// Definitions are the agents that are known now, by source and name.
func (d *Directory) Definitions() []Definition { return d.look().defs }

// Fingerprints are how a gateway elsewhere recognises them.
func (d *Directory) Fingerprints() []config.Fingerprint {
	var out []config.Fingerprint
	for _, def := range d.Definitions() {
		if def.len >= shortest {
			out = append(out, def.Fingerprint())
		}
	}
	return out
}

func (d *Directory) look() *known {
	if d == nil || len(d.sources) == 0 {
		return &known{index: &index{}}
	}
	if k := d.current.Load(); k != nil {
		if age := d.now().Sub(k.at); age >= 0 && age < freshFiles || !d.mu.TryLock() {
			return k // fresh, or somebody looks already
		}
	} else {
		d.mu.Lock()
	}
	defer d.mu.Unlock()
	if k := d.current.Load(); k != nil && d.now().Sub(k.at) >= 0 && d.now().Sub(k.at) < freshFiles {
		return k
	}
	k := d.read()
	d.current.Store(k)
	return k
}

// read walks the sources; a file that has not changed is not read again.
func (d *Directory) read() *known {
	k := &known{at: d.now()}
	seen := map[string]bool{}
	add := func(file, kind, prefix, root string, info fs.FileInfo) {
		if len(k.defs) >= maxFiles || seen[file] {
			return
		}
		seen[file] = true
		p, ok := d.parsed[file]
		if !ok || !p.mod.Equal(info.ModTime()) || p.size != info.Size() {
			p = parsedFile{mod: info.ModTime(), size: info.Size()}
			if data, err := readFile(file); err == nil {
				p.def, p.ok = parse(file, root, string(data))
			}
			d.parsed[file] = p
		}
		if p.ok {
			def := p.def
			def.Name, def.Source = prefix+def.Name, kind
			if messages.Identity(def.Name) {
				k.defs = append(k.defs, def)
			}
		}
	}
	for _, s := range d.sources {
		if s.Kind != SourcePlugin {
			definitionFiles(s.Dir, func(file string, info fs.FileInfo) { add(file, s.Kind, "", "", info) })
			continue
		}
		if age := k.at.Sub(d.pluginT); d.pluginT.IsZero() || age < 0 || age >= freshPlugins {
			d.plugins, d.pluginT = pluginFolders(s.Dir), k.at
		}
		for _, p := range d.plugins {
			for _, place := range p.places {
				definitionFiles(place, func(file string, info fs.FileInfo) { add(file, s.Kind, p.name+":"+below(place, file), p.root, info) })
			}
		}
	}
	for file := range d.parsed {
		if !seen[file] {
			delete(d.parsed, file)
		}
	}
	prints := make([]config.Fingerprint, 0, len(k.defs))
	for i := range k.defs {
		prints = append(prints, k.defs[i].Fingerprint())
	}
	k.index = newIndex(prints).withHeads(k.defs)
	return k
}

// definitionFiles visits the *.md files of a folder and of those below it, in the order of their names.
func definitionFiles(dir string, visit func(string, fs.FileInfo)) {
	entries := 0
	_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if entries++; err != nil || entries > maxEntries {
			return fs.SkipAll
		}
		if e.IsDir() {
			if rel, _ := filepath.Rel(dir, name); strings.Count(rel, string(filepath.Separator)) >= maxDepth {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(e.Name(), ".md") {
			return nil
		}
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && info.Size() <= maxFile { // a link counts as its file
			visit(name, info)
		}
		return nil
	})
}

// A plugin has agents in one or several places: folders, or single files.
type plugin struct {
	name, root string
	places     []string
}

// below are the folders between a place and a file, each with a colon behind it: the client names a plugin's agents by them.
func below(place, file string) string {
	rel, err := filepath.Rel(place, filepath.Dir(file))
	if err != nil || rel == "." || strings.HasPrefix(rel, "..") { // the last: the place is the file itself
		return ""
	}
	return strings.ReplaceAll(rel, string(filepath.Separator), ":") + ":"
}

// manifest is what we read of a plugin's plugin.json.
type manifest struct {
	Name   string
	Agents paths
}

// paths are written as one, or as a list.
type paths []string

func (p *paths) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*p = paths{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(p))
}

// places are the folder agents of a plugin, and those that its manifest names beside it. None is outside of the plugin.
func (m *manifest) places(root string) []string {
	var out []string
	for _, name := range append([]string{"agents"}, m.Agents...) {
		if !filepath.IsLocal(name) {
			continue
		}
		place := filepath.Join(root, name)
		if _, err := os.Stat(place); err == nil && !slices.Contains(out, place) {
			out = append(out, place)
		}
	}
	return out
}

// pluginFolders are the installed plugins that have agents: a folder with .claude-plugin/plugin.json, which gives the name. The
// newest of two versions comes first.
func pluginFolders(dir string) []plugin {
	type found struct {
		plugin
		mod time.Time
	}
	var all []found
	entries := 0
	_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if entries++; err != nil || entries > maxEntries {
			return fs.SkipAll
		}
		if !e.IsDir() {
			return nil
		}
		rel, _ := filepath.Rel(dir, name)
		switch {
		case e.Name() == "node_modules", e.Name() == ".git", strings.Count(rel, string(filepath.Separator)) >= maxDepth:
			return fs.SkipDir
		case e.Name() != ".claude-plugin":
			return nil
		}
		root := filepath.Dir(name)
		var m manifest
		data, err := readFile(filepath.Join(name, "plugin.json"))
		if err != nil || json.Unmarshal(data, &m) != nil || m.Name == "" {
			return fs.SkipDir
		}
		if places := m.places(root); len(places) > 0 {
			if info, err := os.Stat(places[0]); err == nil {
				all = append(all, found{plugin{m.Name, root, places}, info.ModTime()})
			}
		}
		return fs.SkipDir
	})
	slices.SortStableFunc(all, func(a, b found) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return b.mod.Compare(a.mod)
	})
	out := make([]plugin, 0, len(all))
	for _, f := range all {
		out = append(out, f.plugin)
	}
	return out
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile))
}

// parse reads a definition: YAML between two lines of dashes, then the agent's system prompt. One without a name in it is named by
// its file, as the client does it. root is the plugin's folder, whose name the client puts into the text. ok is false for what is no
// definition.
func parse(file, root, text string) (def Definition, ok bool) {
	head, body, ok := front(strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "\r\n", "\n"))
	if !ok {
		return def, false
	}
	def.File = file
	def.Name = strings.TrimSuffix(filepath.Base(file), ".md")
	if name := line(head, "name"); name != "" {
		def.Name = name
	}
	if model := line(head, "model"); model != "inherit" {
		def.Model = model
	}
	def.Description = line(head, "description")
	if root != "" {
		body = strings.ReplaceAll(body, "${CLAUDE_PLUGIN_ROOT}", root)
	}
	prompt := normal(body, len(body))
	def.len, def.sum = fingerprint(prompt)
	def.head = prompt[:min(len(prompt), headLen)]
	return def, true
}

// front takes the YAML head off a text.
func front(text string) (head, body string, ok bool) {
	rest, ok := strings.CutPrefix(text, "---\n")
	if !ok {
		return "", "", false
	}
	head, body, ok = strings.Cut("\n"+rest, "\n---\n")
	if !ok {
		head, ok = strings.CutSuffix("\n"+rest, "\n---")
	}
	return head, body, ok
}

// line is the value of a key that stands in a line of its own. The heads that people write are often no YAML (a description with
// colons), the client reads them all the same, and a cloned repository's file should not keep a parser busy.
func line(head, key string) string {
	for l := range strings.Lines(head) {
		if v, ok := strings.CutPrefix(l, key+":"); ok {
			return strings.Trim(strings.TrimSpace(v), `"'`)
		}
	}
	return ""
}
