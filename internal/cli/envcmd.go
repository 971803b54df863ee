package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

func newEnvCommand(env *Env) *cobra.Command {
	var f agentFlags
	var shell string
	cmd := &cobra.Command{
		Use:   "env [claude|codex|openai]",
		Short: "Print the environment that leads an agent to the gateway",
		Long: `Print the lines that lead an agent of this shell to the gateway, for eval. It is the environment that run sets; nothing is
started.

  eval "$(signalbox env)"
  signalbox env --shell fish | source
  signalbox env --shell powershell | Invoke-Expression`,
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: []string{"claude", "codex", "openai"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && (args[0] == "codex" || args[0] == "openai") {
				return errNotServed(args[0])
			}
			if len(args) == 1 && args[0] != "claude" {
				return failText(exitUsage, fmt.Sprintf("%q: env knows claude; codex and openai are not served yet", args[0]))
			}
			write, ok := shells[shell]
			if !ok {
				return failText(exitUsage, fmt.Sprintf("--shell: %q is none of %s", shell, strings.Join(slices.Sorted(maps.Keys(shells)), ", ")))
			}
			a, err := newApproach(env, cmd, &f, claudeCode)
			if err != nil {
				return err
			}
			if err := a.addressed(cmd); err != nil {
				return err
			}
			if a.look(); a.up {
				a.compare()
			} else {
				a.notes = append(a.notes, fmt.Sprintf("no gateway answers at %s yet; start one with: signalbox start", a.g.url))
			}
			set, notes := a.warned(env)
			say(env, notes...) // on stderr, which eval does not read
			if asJSON(cmd) {
				out := map[string]any{}
				for _, s := range set {
					out[s.Name] = s.Value
					if s.Unset {
						out[s.Name] = nil
					}
				}
				writeJSON(env.Stdout, out)
				return nil
			}
			printSettings(env.Stdout, write, set)
			return nil
		},
	}
	addAgentFlags(cmd, &f)
	cmd.Flags().StringVar(&shell, "shell", "sh", "the `shell` that reads it: sh, bash, zsh, fish or powershell")
	return cmd
}

// shells write a setting as a line that the shell carries out.
var shells = map[string]func(setting) string{
	"sh": posixLine, "bash": posixLine, "zsh": posixLine,
	"fish": func(s setting) string {
		if s.Unset {
			return "set -e " + s.Name
		}
		return "set -gx " + s.Name + " '" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s.Value) + "'"
	},
	"powershell": func(s setting) string {
		if s.Unset {
			return "Remove-Item Env:" + s.Name
		}
		// PowerShell ends a string at the typographic quotes too.
		return "$Env:" + s.Name + " = '" + strings.NewReplacer("'", "''", "‘", "‘‘", "’", "’’", "‚", "‚‚", "‛", "‛‛").Replace(s.Value) + "'"
	},
}

func posixLine(s setting) string {
	if s.Unset {
		return "unset " + s.Name
	}
	return "export " + s.Name + "=" + quotePOSIX(s.Value)
}

func printSettings(w io.Writer, write func(setting) string, set []setting) {
	for _, s := range set {
		fmt.Fprintln(w, write(s))
	}
}

// quotePOSIX makes one word of any text. In single quotes nothing has a meaning but the quote itself.
func quotePOSIX(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
