package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"signalbox/config"
)

func newSetupCommand(env *Env) *cobra.Command {
	var f agentFlags
	var undo, project bool
	cmd := &cobra.Command{
		Use:   "setup claude",
		Short: "Write the way to the gateway into Claude Code's settings",
		Long: `Write the environment that leads Claude Code to the gateway into the env block of its settings file, so that every claude
uses it: ~/.claude/settings.json (CLAUDE_CONFIG_DIR is honoured), or with --project .claude/settings.local.json of this folder.
All else in the file stays as it is. What is written is remembered in the state directory, and --undo takes just that back.

The gateway is not started by it: that is what signalbox start is for.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "claude":
			case "codex", "openai":
				return errNotServed(args[0])
			default:
				return failText(exitUsage, fmt.Sprintf("%q: setup knows claude", args[0]))
			}
			s, err := openSetup(env, project)
			if err != nil {
				return err
			}
			if undo {
				return s.undo(env, cmd)
			}
			return s.write(env, cmd, &f, project)
		},
	}
	addAgentFlags(cmd, &f)
	cmd.Flags().BoolVar(&undo, "undo", false, "take back what setup wrote")
	cmd.Flags().BoolVar(&project, "project", false, "the settings of this folder alone")
	return cmd
}

// A written is what setup did to one file.
type written struct {
	// NewFile and NewEnv say that the file, and its env block, were not there before.
	NewFile bool `json:"new_file,omitempty"`
	NewEnv  bool `json:"new_env,omitempty"`
	// Wrote are our values; Before are those that they replaced, as JSON.
	Wrote  map[string]string          `json:"wrote"`
	Before map[string]json.RawMessage `json:"before"`
}

// A setup is a settings file, and what is remembered of it.
type setup struct {
	shown  string // the file as the user knows it
	file   string // where its bytes are: links are followed, so that a managed file stays a link
	text   []byte // nil when there is no file
	mode   fs.FileMode
	memory string             // the state file
	all    map[string]written // by file
}

func openSetup(env *Env, project bool) (*setup, error) {
	dir := claudeDir(env)
	name := "settings.json"
	if project {
		dir, name = filepath.Join(env.Dir, ".claude"), "settings.local.json"
	}
	if dir == "" {
		return nil, failText(exitFailure, "no home directory: set CLAUDE_CONFIG_DIR to the folder of Claude Code's settings")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(env.Dir, dir)
	}
	s := &setup{shown: filepath.Join(dir, name), mode: 0o600, all: map[string]written{}}
	s.file = s.shown
	if real, err := filepath.EvalSymlinks(s.shown); err == nil {
		s.file = real
	}
	st, err := os.Stat(s.file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fail(exitFailure, err)
	case !st.Mode().IsRegular():
		return nil, failText(exitFailure, s.shown+" is no file")
	default:
		s.mode = st.Mode().Perm()
		if s.text, err = os.ReadFile(s.file); err != nil {
			return nil, fail(exitFailure, err)
		}
	}
	state, err := env.StateDir()
	if err != nil {
		return nil, fail(exitFailure, fmt.Errorf("state directory: %w", err))
	}
	s.memory = filepath.Join(state, "setup.json")
	data, err := os.ReadFile(s.memory)
	if err == nil {
		err = json.Unmarshal(data, &s.all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fail(exitFailure, fmt.Errorf("%s: %w; it remembers what setup wrote", s.memory, err))
	}
	return s, nil
}

// settings reads the file, which may be missing or empty, and its env block.
func (s *setup) settings() (text []byte, block claudeSettings, hasEnv bool, err error) {
	text = s.text
	if len(strings.TrimSpace(string(text))) == 0 {
		return []byte("{}\n"), block, false, nil
	}
	at, err := valueAt(text, []string{"env"})
	if err != nil {
		return nil, block, false, fail(exitFailure, s.broken(err))
	}
	if at == nil {
		return text, block, false, nil
	}
	if err := json.Unmarshal(at, &block.Env); err != nil || block.Env == nil {
		return nil, block, false, failText(exitFailure, s.shown+": env is no JSON object; mend it first")
	}
	return text, block, true, nil
}

// broken is a fault of the file's JSON with the file's name.
func (s *setup) broken(err error) error {
	var e *config.Error
	if errors.As(err, &e) {
		e.File = s.shown
	}
	return fmt.Errorf("%w; mend it first", err)
}

// write merges the environment into the file.
func (s *setup) write(env *Env, cmd *cobra.Command, f *agentFlags, project bool) error {
	text, block, hasEnv, err := s.settings()
	if err != nil {
		return err
	}
	past, again := s.all[s.file]
	// The file stands where the environment stands for run: what the user wrote into it stays, and what we wrote does not count.
	eyes := *env
	eyes.Getenv = func(name string) string {
		if !slices.Contains(managed, name) {
			return env.Getenv(name)
		}
		now := block.text(name)
		if wrote, ours := past.Wrote[name]; ours && wrote == now {
			now = claudeSettings{Env: past.Before}.text(name)
		}
		if now == "" && strings.EqualFold(name, "NO_PROXY") {
			return env.Getenv(name) // the file would hide it
		}
		return now
	}
	a, err := newApproach(&eyes, cmd, f, claudeCode)
	if err != nil {
		return err
	}
	if err := a.addressed(cmd); err != nil {
		return err
	}
	if !project {
		a.header = "" // it is this folder's, and the file is for all
	}
	set, notes := a.environment(&eyes)
	next := written{NewFile: s.text == nil, NewEnv: !hasEnv, Wrote: map[string]string{}, Before: map[string]json.RawMessage{}}
	if again {
		next.NewFile, next.NewEnv = past.NewFile, past.NewEnv
		if text, err = withdrawn(text, past, nil); err != nil {
			return fail(exitFailure, err)
		}
	}
	for _, v := range set {
		if v.Unset {
			notes = append(notes, v.Name+" is set, and a settings file cannot take it away: unset it")
			continue
		}
		if text, err = next.put(text, v); err != nil {
			return fail(exitFailure, err)
		}
	}
	say(env, notes...)
	changed := string(text) != string(s.text)
	if changed {
		if err := s.save(text, !again); err != nil {
			return fail(exitFailure, err)
		}
	}
	s.all[s.file] = next
	if err := s.remember(); err != nil {
		return fail(exitFailure, err)
	}
	return s.tell(env, cmd, changed, "leads Claude Code to "+a.g.url, nil)
}

// put sets one variable of the env block.
func (w *written) put(text []byte, v setting) ([]byte, error) {
	at := []string{"env", v.Name}
	before, err := valueAt(text, at)
	if err != nil {
		return nil, err
	}
	if before != nil {
		w.Before[v.Name] = json.RawMessage(slices.Clone(before))
	}
	w.Wrote[v.Name] = v.Value
	return setMember(text, at, plainJSON(v.Value))
}

// plainJSON is a text in JSON without escapes for HTML.
func plainJSON(s string) string {
	var b strings.Builder
	writeJSON(&b, s)
	return strings.TrimSuffix(b.String(), "\n")
}

// withdrawn takes back what was written, where it still stands. left hears of what the user has changed since.
func withdrawn(text []byte, w written, left func(name string)) ([]byte, error) {
	for _, name := range slices.Sorted(maps.Keys(w.Wrote)) {
		at := []string{"env", name}
		have, err := valueAt(text, at)
		if err != nil {
			return nil, err
		}
		if have == nil {
			continue
		}
		var now string
		if json.Unmarshal(have, &now) != nil || now != w.Wrote[name] {
			if left != nil {
				left(name)
			}
			continue
		}
		if before, had := w.Before[name]; had {
			text, err = setMember(text, at, string(before))
		} else {
			text, _, err = removeMember(text, at)
		}
		if err != nil {
			return nil, err
		}
	}
	env, err := valueAt(text, []string{"env"})
	if err == nil && w.NewEnv && noMembers(env) {
		text, _, err = removeMember(text, []string{"env"})
	}
	return text, err
}

// noMembers reports whether a text is an object without members.
func noMembers(text []byte) bool {
	var o map[string]json.RawMessage
	return json.Unmarshal(text, &o) == nil && o != nil && len(o) == 0
}

// undo takes back what setup wrote into the file.
func (s *setup) undo(env *Env, cmd *cobra.Command) error {
	w, ok := s.all[s.file]
	if !ok {
		return s.tell(env, cmd, false, "holds nothing that setup wrote", nil)
	}
	text, _, _, err := s.settings()
	if err != nil {
		return err
	}
	var left []string
	if text, err = withdrawn(text, w, func(name string) { left = append(left, name) }); err != nil {
		return fail(exitFailure, err)
	}
	switch {
	case s.text == nil: // somebody removed it; nothing is left to take back
	case w.NewFile && noMembers(text):
		err = os.Remove(s.file)
	case string(text) != string(s.text):
		err = s.save(text, false)
	}
	if err != nil {
		return fail(exitFailure, err)
	}
	if old, rerr := os.ReadFile(s.backup()); rerr == nil && string(old) == string(text) {
		_ = os.Remove(s.backup()) // it holds nothing that the file does not
	}
	delete(s.all, s.file)
	if err := s.remember(); err != nil {
		return fail(exitFailure, err)
	}
	return s.tell(env, cmd, true, "is as it was before setup", left)
}

// backup is beside the file: what it held before setup first wrote to it.
func (s *setup) backup() string { return s.file + ".signalbox-backup" }

// save replaces the file in one step. The first time what it held is put aside.
func (s *setup) save(text []byte, first bool) error {
	if err := os.MkdirAll(filepath.Dir(s.file), 0o700); err != nil {
		return err
	}
	if first && s.text != nil {
		if err := replaceFile(s.backup(), s.text, s.mode); err != nil {
			return err
		}
	}
	return replaceFile(s.file, text, s.mode)
}

// remember writes down what was written, for --undo.
func (s *setup) remember() error {
	data, err := json.MarshalIndent(s.all, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(s.memory, append(data, '\n'), 0o600)
}

// replaceFile writes a file whole beside its place and moves it there.
func replaceFile(path string, data []byte, mode fs.FileMode) error {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return replace(path, data, mode, nil, dir)
}

// tell says what became of the file.
func (s *setup) tell(env *Env, cmd *cobra.Command, changed bool, what string, left []string) error {
	if asJSON(cmd) {
		writeJSON(env.Stdout, struct {
			File    string   `json:"file"`
			Changed bool     `json:"changed"`
			Left    []string `json:"left"`
		}{s.shown, changed, append([]string{}, left...)})
		return nil
	}
	if _, err := fmt.Fprintf(env.Stdout, "%s %s.\n", short(env, s.shown), what); err != nil {
		return err
	}
	if len(left) > 0 {
		_, err := fmt.Fprintf(env.Stdout, "You have changed since, and they were left: %s.\n", strings.Join(left, ", "))
		return err
	}
	return nil
}
