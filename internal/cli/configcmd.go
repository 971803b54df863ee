package cli

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"signalbox/config"
	"signalbox/server"
)

func newConfigCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, describe and import configurations",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheckCommand(env), newConfigSchemaCommand(env), newConfigImportCommand(env))
	return cmd
}

// checkLine is what config check prints for programs.
type checkLine struct {
	Sources    []string        `json:"sources"` // lowest first
	Listen     string          `json:"listen"`
	Default    string          `json:"default"`
	Discovered bool            `json:"discovered"` // the providers were found and not configured
	Providers  []checkProvider `json:"providers"`
	Entries    []entryLine     `json:"entries"`
	Warnings   []string        `json:"warnings"`
}

// checkProvider is a provider without its secrets.
type checkProvider struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	BaseURL string `json:"base_url,omitempty"` // empty: the kind's own
	Key     bool   `json:"key"`
	From    string `json:"from"` // file:line, a variable, or built in
}

func newConfigCheckCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Read the configuration and say what came from where",
		Long: `Read the configuration as serve would do in this folder (FILE is --config) and show the files, the providers, the entries and all
warnings, such as entries whose provider does not exist. Nothing is sent. Exit code 2, with file and line, when it cannot be used.`,
		Args: cobra.MaximumNArgs(1),
	}
	addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o := config.LoadOptions{Dir: env.Dir, Getenv: env.Getenv, Home: env.Home}
		if len(args) == 1 {
			o.File = args[0]
		}
		cfg, err := config.Load(o)
		if err != nil {
			return err
		}
		if err := server.Check(cfg, silent(), env.Version); err != nil {
			return fail(exitUsage, err)
		}
		l := newCheckLine(env, cfg)
		if asJSON(cmd) {
			writeJSON(env.Stdout, l)
			return nil
		}
		return l.print(env, cfg)
	}
	return cmd
}

func newCheckLine(env *Env, cfg *config.Config) *checkLine {
	l := &checkLine{Sources: cfg.Sources, Listen: cfg.Listen, Default: cfg.Default, Discovered: cfg.Discovered, Providers: []checkProvider{},
		Entries: entriesOf(cfg, ""), Warnings: append([]string{}, cfg.Warnings...)}
	found := map[string]string{}
	for _, f := range cfg.Found {
		found[f.Provider] = f.By
	}
	for _, name := range cfg.ProviderNames() {
		p := cfg.Providers[name]
		from := place(env, cfg.Origin("providers."+name))
		switch {
		case p.Builtin:
			from = "built in"
		case found[name] != "":
			from = found[name]
		}
		l.Providers = append(l.Providers, checkProvider{Name: name, Kind: p.Kind, BaseURL: p.BaseURL, Key: !p.APIKey.Empty(), From: from})
	}
	return l
}

// place is an origin as people read it.
func place(env *Env, o config.Origin) string {
	if o.Line == 0 {
		return short(env, o.File)
	}
	return short(env, o.File) + ":" + strconv.Itoa(o.Line)
}

func (l *checkLine) print(env *Env, cfg *config.Config) error {
	w, color := env.Stdout, env.Color(env.Stdout)
	fmt.Fprintf(w, "%s The configuration can be used.\n", paint(color, styleGood, "✓"))
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(w, "  %s %s\n", paint(color, styleFaint, fmt.Sprintf("%-9s", name)), value)
		}
	}
	for _, s := range l.Sources {
		row("read from", short(env, s))
	}
	if len(l.Sources) == 0 {
		row("read from", "no file")
	}
	row("listen", l.Listen)
	if l.Default != "" {
		row("default", fmt.Sprintf("%s %s", l.Default, paint(color, styleFaint, "("+place(env, cfg.Origin("default"))+")")))
	}
	fmt.Fprintln(w)
	t := table{head: []column{{"PROVIDER", false}, {"KIND", false}, {"ADDRESS", false}, {"KEY", false}, {"FROM", false}}, color: color}
	for _, p := range l.Providers {
		key := "-"
		if p.Key {
			key = "yes"
		}
		t.rows = append(t.rows, []string{p.Name, p.Kind, shown(p.BaseURL), key, shown(p.From)})
	}
	if err := t.print(w); err != nil {
		return err
	}
	if len(l.Entries) > 0 {
		fmt.Fprintln(w)
		if err := printEntries(env, l.Entries); err != nil {
			return err
		}
	}
	for i, warning := range l.Warnings {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s %s\n", paint(color, styleBad, "!"), printable(warning))
	}
	return nil
}

func newConfigSchemaCommand(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of config.yaml, for editors",
		Long: `Print the JSON Schema (draft 2020-12) of config.yaml, so that an editor completes and checks it:

  signalbox config schema > ~/.config/signalbox/schema.json
  # yaml-language-server: $schema=schema.json          (the first line of config.yaml)`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, err := env.Stdout.Write(config.Schema)
			return err
		},
	}
}

func newConfigImportCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Turn another gateway's configuration into ours",
		Long: `Read claude-code-router's config.json, a LiteLLM proxy's config.yaml or an .oss/config.json, and print a config.yaml. What could not be
carried stands in comments at its top. No key that is written in FILE is copied: env:NAME stands in its place, and a comment says so.`,
		Example: `  signalbox config import ~/.claude-code-router/config.json
  signalbox config import litellm.yaml --write`,
		Args: cobra.ExactArgs(1),
	}
	write := cmd.Flags().Bool("write", false, "write it to the user's config.yaml; one that exists is kept beside it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file := args[0]
		if !filepath.IsAbs(file) {
			file = filepath.Join(env.Dir, file)
		}
		from, text, err := config.ImportFile(file)
		if err != nil {
			return err
		}
		if !*write {
			_, err := env.Stdout.Write(text)
			return err
		}
		return writeImported(env, cmd, from, text)
	}
	return cmd
}

// writeImported puts an imported configuration in its usual place.
func writeImported(env *Env, cmd *cobra.Command, from string, text []byte) error {
	path := config.UserFile(env.Getenv, env.Home)
	if path == "" {
		return failText(exitUsage, "no home directory to write to: leave --write out and redirect the output")
	}
	backup := ""
	file := sharedFile{path: path, mode: 0o600, folderMode: 0o700}
	err := file.rewrite(func(old []byte) ([]byte, error) {
		if len(old) > 0 && string(old) != string(text) {
			backup = path + "." + env.Now().Format("20060102-150405") + ".bak"
			keep := sharedFile{path: backup, mode: 0o600, folderMode: 0o700}
			if err := keep.create(old); err != nil {
				return nil, err
			}
		}
		return text, nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(env.Stdout, "Wrote %s, imported from %s.\n", short(env, path), from)
	if backup != "" {
		fmt.Fprintf(env.Stdout, "The file that was there is now %s.\n", short(env, backup))
	}
	if n := strings.Count(string(text), "\n# - "); n > 0 {
		fmt.Fprintf(env.Stdout, "Look at the comments at its top: there are %d.\n", n)
	}
	if _, err := config.Load(config.LoadOptions{File: path, Getenv: env.Getenv}); err != nil {
		warn(env, cmd, "before it can be used: %s", err)
	}
	return nil
}
