package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newManCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "man [DIR]",
		Short: "Write the manual pages",
		Long: `Write the manual page of every command into DIR, which is made when it does not exist; without DIR print one page, that of
signalbox itself or of --page.`,
		Example: `  signalbox man ~/.local/share/man/man1
  signalbox man --page "models set" | man -l -`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return nil, cobra.ShellCompDirectiveFilterDirs
		},
	}
	of := cmd.Flags().String("page", "", "the `COMMAND` whose page is printed, as in \"models set\"")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		root := cmd.Root()
		if len(args) == 0 {
			page, rest, err := root.Find(strings.Fields(*of))
			if err != nil || len(rest) > 0 {
				return fail(exitUsage, fmt.Errorf("--page: there is no command %q", *of))
			}
			_, err = env.Stdout.Write(manPage(page, env.Version))
			return err
		}
		if *of != "" {
			return failText(exitUsage, "give DIR or --page, not both")
		}
		dir := args[0]
		if !filepath.IsAbs(dir) {
			dir = filepath.Join(env.Dir, dir)
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return manPages(root, dir, env.Version)
	}
	return cmd
}

// manPages writes the pages of a command and of all below it.
func manPages(cmd *cobra.Command, dir, version string) error {
	if cmd.Hidden || !cmd.IsAvailableCommand() && cmd.HasParent() {
		return nil
	}
	if err := os.WriteFile(filepath.Join(dir, manName(cmd)+".1"), manPage(cmd, version), 0o644); err != nil {
		return err
	}
	for _, sub := range cmd.Commands() {
		if err := manPages(sub, dir, version); err != nil {
			return err
		}
	}
	return nil
}

func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage is a command's help in the macros of man(7). cobra's own writer reads our texts as Markdown, in which oss:* and <model>
// are no text.
func manPage(cmd *cobra.Command, version string) []byte {
	cmd.InitDefaultHelpFlag()
	var b bytes.Buffer
	name := manName(cmd)
	fmt.Fprintf(&b, ".TH \"%s\" \"1\" \"\" \"signalbox %s\" \"signalbox\"\n", roff(strings.ToUpper(name)), roff(version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(name), roff(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roff(cmd.CommandPath()))
	if rest := strings.TrimSpace(strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath())); rest != "" {
		b.WriteString(roff(rest) + "\n")
	}
	text := cmd.Long
	if text == "" {
		text = cmd.Short + "."
	}
	b.WriteString(".SH DESCRIPTION\n")
	manText(&b, text)
	if cmd.HasAvailableSubCommands() {
		b.WriteString(".SH COMMANDS\n")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(sub.Name()), roff(sub.Short))
			}
		}
	}
	b.WriteString(".SH OPTIONS\n")
	manFlags(&b, cmd.NonInheritedFlags())
	manFlags(&b, cmd.InheritedFlags())
	if cmd.Example != "" {
		b.WriteString(".SH EXAMPLES\n")
		manText(&b, cmd.Example)
	}
	b.WriteString(".SH EXIT STATUS\n")
	for _, c := range []struct {
		code int
		what string
	}{{exitOK, "done"}, {exitFailure, "failure"}, {exitUsage, "usage or configuration"}, {exitPort, "the port is in use"}, {exitNoTarget, "no target can serve"}} {
		fmt.Fprintf(&b, ".TP\n.B %d\n%s\n", c.code, c.what)
	}
	var also []string
	if cmd.HasParent() {
		also = append(also, manName(cmd.Parent()))
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			also = append(also, manName(sub))
		}
	}
	if len(also) > 0 {
		for i, page := range also {
			also[i] = "\\fB" + roff(page) + "\\fP(1)"
		}
		b.WriteString(".SH SEE ALSO\n" + strings.Join(also, ",\n") + "\n")
	}
	return b.Bytes()
}

// manText writes paragraphs. Lines that begin with two spaces are kept as they are.
func manText(b *bytes.Buffer, text string) {
	kept := false
	for line := range strings.SplitSeq(strings.Trim(text, "\n"), "\n") {
		indented := strings.HasPrefix(line, "  ")
		switch {
		case indented && !kept:
			b.WriteString(".PP\n.nf\n")
		case !indented && kept:
			b.WriteString(".fi\n.PP\n")
		case line == "":
			b.WriteString(".PP\n")
		}
		if kept = indented; line != "" {
			b.WriteString(roff(line) + "\n")
		}
	}
	if kept {
		b.WriteString(".fi\n")
	}
}

func manFlags(b *bytes.Buffer, flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		b.WriteString(".TP\n")
		if f.Shorthand != "" {
			b.WriteString("\\fB\\-" + roff(f.Shorthand) + "\\fP, ")
		}
		b.WriteString("\\fB\\-\\-" + roff(f.Name) + "\\fP")
		if value != "" {
			b.WriteString(" \\fI" + roff(value) + "\\fP")
		}
		b.WriteString("\n" + roff(usage))
		switch f.DefValue {
		case "", "false", "[]", "0", "0s":
		default:
			b.WriteString(roff(" (default " + f.DefValue + ")"))
		}
		b.WriteString("\n")
	})
}

// roff is a text that means itself: backslashes, hyphens that are typed, and lines that would be a macro.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, `"`, `\(dq`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
