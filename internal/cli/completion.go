package cli

import (
	"context"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"signalbox/internal/ledger"
)

// completionPatience is how long somebody who presses the tab key waits for a gateway or an Ollama.
const completionPatience = 700 * time.Millisecond

// addCompletions teaches the shell what can stand where: it walks the whole tree, so that a flag of one name completes alike in
// every command. What cannot be found out is not offered; a completion never fails and never writes.
func addCompletions(env *Env, root *cobra.Command) {
	c := completer{env}
	flags := map[string]cobra.CompletionFunc{
		"port": c.ports, "provider": c.providers, "model": c.targets,
		"agent": c.namesOf("agents"), "command": c.namesOf("commands"), "skill": c.namesOf("skills"), "hook": c.namesOf("hooks"),
		"thinking": words("off", "on"), "effort": words("low", "medium", "high", "xhigh", "max"), "by": c.groups,
	}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if complete, ok := flags[f.Name]; ok && f.Value.Type() != "bool" {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // an error says that it has one already
			}
		})
		if cmd.ValidArgsFunction == nil && cmd.Args != nil && cmd.Args(cmd, []string{"x"}) != nil {
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
}

// completer finds what may be written.
type completer struct{ env *Env }

func words(list ...string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return list, cobra.ShellCompDirectiveNoFileComp
	}
}

// beginning keeps what goes on from what is typed.
func beginning(list []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	list = slices.DeleteFunc(slices.Clone(list), func(s string) bool { return !strings.HasPrefix(s, typed) })
	slices.Sort(list)
	return slices.Compact(list), cobra.ShellCompDirectiveNoFileComp
}

// ports are those of the gateways that have a pid file.
func (c completer) ports(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	dir, err := c.env.statePath()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	files, _ := filepath.Glob(filepath.Join(dir, "proxy*.pid"))
	var ports []string
	for _, file := range files {
		if r, ok, err := readPID(file); err == nil && ok && r.running(c.env) {
			ports = append(ports, strconv.Itoa(r.Port))
		}
	}
	return beginning(ports, typed)
}

func (c completer) providers(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	cfg, err := load(c.env)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return beginning(cfg.ProviderNames(), typed)
}

// targets are aliases, claude, and the models that are offered or named.
func (c completer) targets(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	cfg, err := load(c.env)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	list := slices.AppendSeq([]string{"claude"}, maps.Keys(cfg.Aliases))
	port := cfg.Port()
	if f := cmd.Flags().Lookup("port"); f != nil && f.Changed {
		port, _ = strconv.Atoi(f.Value.String())
	}
	provider, _, whole := strings.Cut(typed, "/")
	if _, known := cfg.Providers[provider]; !whole || !known {
		provider = ""
	}
	models, _, _ := offers(context.Background(), c.env, cfg, &gateway{port: port, url: baseURL(cfg.Host(), port)}, provider, completionPatience)
	for _, m := range models {
		list = append(list, m.ID)
	}
	return beginning(list, typed)
}

// namesOf are the names of a kind of entries: those that have one, and those of the client's definition files.
func (c completer) namesOf(key string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var list []string
		if cfg, err := load(c.env); err == nil {
			for k, entries := range cfg.Entries() {
				if k == key {
					list = slices.AppendSeq(list, maps.Keys(entries))
				}
			}
		}
		for _, dir := range []string{c.env.Dir, c.env.Home} {
			if dir == "" {
				continue
			}
			if key == "skills" {
				files, _ := filepath.Glob(filepath.Join(dir, ".claude", key, "*", "SKILL.md"))
				for _, f := range files {
					list = append(list, filepath.Base(filepath.Dir(f)))
				}
				continue
			}
			files, _ := filepath.Glob(filepath.Join(dir, ".claude", key, "*.md"))
			for _, f := range files {
				list = append(list, strings.TrimSuffix(filepath.Base(f), ".md"))
			}
		}
		return beginning(list, typed)
	}
}

// groups complete the last word of a list with commas.
func (c completer) groups(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	before := typed[:strings.LastIndexByte(typed, ',')+1]
	var list []string
	for _, g := range ledger.Groups {
		list = append(list, before+g)
	}
	out, directive := beginning(list, typed)
	return out, directive | cobra.ShellCompDirectiveNoSpace
}

// entryArgs complete NAME, and TARGET behind it.
func (c completer) entryArgs(f *entryFlags, withTarget bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		switch {
		case len(args) == 0:
			return c.namesOf(f.key())(cmd, args, typed)
		case len(args) == 1 && withTarget:
			return c.targets(cmd, args, typed)
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

// oneTarget completes a command's only argument.
func (c completer) oneTarget(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return c.targets(cmd, args, typed)
}
