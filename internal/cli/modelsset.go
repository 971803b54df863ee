package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"signalbox/config"
	"signalbox/internal/messages"
	"signalbox/internal/routing"
)

// entryFlags say which kind of entry a command is about, and in which file.
type entryFlags struct {
	command, skill, hook bool
	project              bool
}

func addEntryFlags(cmd *cobra.Command, f *entryFlags) {
	fs := cmd.Flags()
	fs.BoolVar(&f.command, "command", false, "NAME is a slash command")
	fs.BoolVar(&f.skill, "skill", false, "NAME is a skill")
	fs.BoolVar(&f.hook, "hook", false, "NAME is a hook")
	fs.BoolVar(&f.project, "project", false, "write .oss/config.json of this folder instead of the user's")
	cmd.MarkFlagsMutuallyExclusive("command", "skill", "hook")
}

// key is the kind's key in the configuration.
func (f *entryFlags) key() string {
	switch {
	case f.command:
		return "commands"
	case f.skill:
		return "skills"
	case f.hook:
		return "hooks"
	}
	return "agents"
}

// file is the file that a command writes.
func (f *entryFlags) file(env *Env) (sharedFile, error) {
	if f.project {
		return sharedFile{path: filepath.Join(env.Dir, ".oss", "config.json"), within: env.Dir, mode: 0o644, folderMode: 0o755}, nil
	}
	if env.Home == "" {
		return sharedFile{}, errors.New("no home directory, so there is no .oss/config.json of yours; --project writes the folder's")
	}
	return sharedFile{path: filepath.Join(env.Home, ".oss", "config.json"), mode: 0o600, folderMode: 0o700}, nil
}

// setLine is what models set prints for programs.
type setLine struct {
	File     string `json:"file"`
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Target   string `json:"target"`
	Thinking string `json:"thinking,omitempty"`
	Effort   string `json:"effort,omitempty"`
}

func newModelsSetCommand(env *Env) *cobra.Command {
	var f entryFlags
	var thinking, effort string
	cmd := &cobra.Command{
		Use:   "set NAME TARGET",
		Short: "Give an agent, command, skill or hook its own target",
		Long: `Give an agent (or command, skill, hook) its own target: provider/model, an alias, or claude. NAME may hold * for any run of
characters. The user's ~/.oss/config.json is written, with --project the one of this folder; what else stands in it stays.
Settings that the entry already has stay, too; --thinking '' and --effort '' take them away.`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completer{env}.entryArgs(&f, true),
	}
	addEntryFlags(cmd, &f)
	cmd.Flags().StringVar(&thinking, "thinking", "", "replace what requests say of thinking: off, on, or a budget in tokens")
	cmd.Flags().StringVar(&effort, "effort", "", "replace what requests say of effort: low, medium, high, xhigh or max")
	addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name, target := args[0], args[1]
		if err := checkName(f.key(), name); err != nil {
			return fail(exitUsage, err)
		}
		entry, err := config.NewEntry(target, thinking, effort)
		if err != nil {
			return fail(exitUsage, fmt.Errorf("--%w", err))
		}
		cfg, err := load(env)
		if err != nil {
			return err
		}
		if wrong := cfg.CheckTarget(target); wrong != "" {
			return failText(exitUsage, wrong)
		}
		file, err := f.file(env)
		if err != nil {
			return err
		}
		edits := []edit{{"target", string(quoted(target))}}
		if cmd.Flags().Changed("thinking") {
			edits = append(edits, edit{"thinking", settingJSON(string(entry.Thinking))})
		}
		if cmd.Flags().Changed("effort") {
			edits = append(edits, edit{"effort", settingJSON(string(entry.Effort))})
		}
		if err := file.rewrite(func(data []byte) ([]byte, error) { return setEntry(data, f.key(), name, edits) }); err != nil {
			return err
		}
		return told(cmd, env, cfg, &f, file.path, name, target)
	}
	return cmd
}

// checkName keeps out what no request can name, before it stands in a file and does nothing.
func checkName(kind, name string) error {
	if !messages.Identity(name) || !messages.Identity(routing.Identity(kind, name)) {
		return fmt.Errorf("NAME: %q is nobody's name: 1 to %d letters, digits and signs of ASCII, without blanks", printable(name), messages.MaxIdentity-len(routing.Identity(kind, "")))
	}
	return nil
}

// settingJSON is a setting as people write it in the file; empty takes it away.
func settingJSON(s string) string {
	if s == "" {
		return ""
	}
	if _, err := strconv.Atoi(s); err == nil {
		return s
	}
	return string(quoted(s))
}

// edit is one member of an entry; an empty value takes it away.
type edit struct{ name, value string }

// setEntry writes an entry where it stands, at models.agents or at the top, else at models.agents.
func setEntry(data []byte, key, name string, edits []edit) ([]byte, error) {
	places, err := entryPlaces(data, key, name)
	if err != nil {
		return nil, err
	}
	if len(places) == 0 {
		places = [][]string{{"models", key, name}}
	}
	for _, at := range places {
		old, err := valueAt(data, at)
		if err != nil {
			return nil, err
		}
		if len(old) > 0 && old[0] == '{' {
			for _, e := range edits {
				if e.value == "" {
					data, _, err = removeMember(data, append(at[:len(at):len(at)], e.name))
				} else {
					data, err = setMember(data, append(at[:len(at):len(at)], e.name), e.value)
				}
				if err != nil {
					return nil, err
				}
			}
			continue
		}
		if data, err = setMember(data, at, entryJSON(edits)); err != nil {
			return nil, err
		}
	}
	return data, nil
}

// entryJSON is a new entry: the target alone, or with its settings.
func entryJSON(edits []edit) string {
	var members []string
	for _, e := range edits {
		if e.value != "" {
			members = append(members, string(quoted(e.name))+": "+e.value)
		}
	}
	if len(members) == 1 {
		return edits[0].value
	}
	return "{" + strings.Join(members, ", ") + "}"
}

// entryPlaces are where a file has an entry: below models, as most do, and at the top.
func entryPlaces(data []byte, key, name string) ([][]string, error) {
	var places [][]string
	for _, at := range [][]string{{"models", key, name}, {key, name}} {
		v, err := valueAt(data, at)
		if err != nil {
			return nil, err
		}
		if v != nil {
			places = append(places, at)
		}
	}
	return places, nil
}

// told says what was written, and everything that keeps it from having the effect that one expects.
func told(cmd *cobra.Command, env *Env, before *config.Config, f *entryFlags, file, name, target string) error {
	line := setLine{File: file, Kind: kindOf[f.key()], Name: name, Target: target}
	after, err := load(env)
	if err != nil {
		return err
	}
	for key, entries := range after.Entries() {
		e, ok := entries[name]
		if key != f.key() || !ok {
			continue
		}
		line.Thinking, line.Effort = string(e.Thinking), string(e.Effort)
		if e.Target != target {
			o := after.Origin(key + "." + name)
			warn(env, cmd, "here %s is served by %s all the same: %s says so and wins", name, e.Target, short(env, o.File))
		}
		speaksMessages := before.Providers[firstWord(providerForm(before, target))].Kind == "anthropic"
		if speaksMessages && (e.Thinking != "" || e.Effort != "") {
			warn(env, cmd, "thinking and effort of an entry do nothing at %s: what speaks Messages gets the request as it is", target)
		}
	}
	unpulled(cmd, env, before, target)
	if machine(env, cmd) {
		writeJSON(env.Stdout, line)
		return nil
	}
	color := env.Color(env.Stdout)
	_, err = fmt.Fprintf(env.Stdout, "%s %s %s runs on %s %s\n", paint(color, styleGood, "✓"), line.Kind, name, target, paint(color, styleFaint, "("+short(env, file)+")"))
	return err
}

func firstWord(target string) string {
	p, _, _ := strings.Cut(target, "/")
	return p
}

// unpulled warns of an Ollama model that is not there, or of an Ollama that cannot be asked. The entry stands all the same:
// whoever sets it may pull next.
func unpulled(cmd *cobra.Command, env *Env, cfg *config.Config, target string) {
	name, model, _ := strings.Cut(cfg.Resolve(target), "/")
	p, ok := cfg.Providers[name]
	if !ok || p.Kind != "ollama" {
		return
	}
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	models, err := ollamaModels(ctx, env, p, ollamaListLimit)
	if err != nil {
		warn(env, cmd, "whether the model is there is not known: %s", printable(err.Error()))
		return
	}
	for _, m := range models {
		if sameModel(m.Model, model) {
			return
		}
	}
	warn(env, cmd, "%s has no model %s yet; run: ollama pull %s", name, model, model)
}

// warn writes one line to stderr: a sentence on a terminal, JSON for programs.
func warn(env *Env, cmd *cobra.Command, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if asJSON(cmd) || !env.IsTTY(env.Stderr) {
		writeJSON(env.Stderr, struct {
			Warning string `json:"warning"`
		}{text})
		return
	}
	fmt.Fprintln(env.Stderr, paint(env.Color(env.Stderr), styleBad, "!")+" "+text)
}

func newModelsUnsetCommand(env *Env) *cobra.Command {
	var f entryFlags
	cmd := &cobra.Command{
		Use:               "unset NAME",
		Short:             "Take the target of an agent, command, skill or hook away",
		Long:              "Take an entry out of the user's ~/.oss/config.json, with --project out of this folder's. Exit code 1 when there is none.",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completer{env}.entryArgs(&f, false),
	}
	addEntryFlags(cmd, &f)
	addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		file, err := f.file(env)
		if err != nil {
			return err
		}
		removed := false
		if _, err := os.Stat(file.path); err == nil || !errors.Is(err, fs.ErrNotExist) {
			err = file.rewrite(func(data []byte) ([]byte, error) {
				places, err := entryPlaces(data, f.key(), name)
				for _, at := range places {
					if err == nil {
						data, _, err = removeMember(data, at)
					}
				}
				removed = len(places) > 0
				return data, err
			})
			if err != nil {
				return err
			}
		}
		if !removed {
			return fail(exitFailure, noEntry(env, &f, file.path, name))
		}
		if machine(env, cmd) {
			writeJSON(env.Stdout, struct {
				File    string `json:"file"`
				Kind    string `json:"kind"`
				Name    string `json:"name"`
				Removed bool   `json:"removed"`
			}{file.path, kindOf[f.key()], name, true})
			return nil
		}
		_, err = fmt.Fprintf(env.Stdout, "The %s %s has no target of its own any more (%s).\n", kindOf[f.key()], name, short(env, file.path))
		return err
	}
	return cmd
}

// noEntry says that a file has no such entry, and where one stands that may have been meant.
func noEntry(env *Env, f *entryFlags, file, name string) error {
	text := fmt.Sprintf("%s has no %s %q", short(env, file), kindOf[f.key()], name)
	cfg, err := load(env)
	if err != nil {
		return errors.New(text)
	}
	for key, entries := range cfg.Entries() {
		if _, ok := entries[name]; !ok {
			continue
		}
		switch o := cfg.Origin(key + "." + name); {
		case o.File == "":
		case key == "agents" && f.key() != "agents":
			return fmt.Errorf("%s; it is an agent: leave --%s out", text, kindOf[f.key()])
		case key != f.key():
			return fmt.Errorf("%s; it is a %s: add --%s", text, kindOf[key], kindOf[key])
		case o.File != file && strings.HasPrefix(o.File, filepath.Join(env.Dir, ".oss")):
			return fmt.Errorf("%s; the folder's has one: add --project", text)
		case o.File != file:
			return fmt.Errorf("%s; it stands in %s", text, short(env, o.File))
		}
	}
	return errors.New(text)
}
