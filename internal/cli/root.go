package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"signalbox/config"
)

// Main runs one command and gives its exit code. It is the only thing that cmd/signalbox calls.
func Main(env *Env, args []string) int {
	root := newRoot(env)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return exitOK
	}
	return report(env, cmd, err)
}

func newRoot(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "signalbox",
		Short: "A gateway that sends each agent's model requests to the target you chose",
		Long: `signalbox speaks the Anthropic Messages API on one side and Ollama, OpenRouter, Anthropic and every
OpenAI-compatible server on the other. Start it, point an agent at it, and choose which model serves whom.

  signalbox serve                        run the gateway here
  signalbox start                        run it in the background
  signalbox run claude                   start Claude Code on it, and a gateway if none runs
  signalbox costs                        what today has cost
  signalbox doctor                       what is wrong, and the fix`,
		Version:       env.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetVersionTemplate("signalbox {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fail(exitUsage, err) })
	root.AddCommand(
		newServeCommand(env), newStartCommand(env), newStartProxyCommand(env),
		newStopCommand(env), newStatusCommand(env), newHealthCommand(env),
		newModelsCommand(env), newAgentModelCheckCommand(env), newAgentsCommand(env), newExplainCommand(env), newConfigCommand(env),
		newCostsCommand(env), newDoctorCommand(env), newManCommand(env), newVersionCommand(env),
		newRunCommand(env), newEnvCommand(env), newSetupCommand(env),
	)
	addCompletions(env, root)
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() } // else a shell that nobody knows is no error
	}
	return root
}

// report writes the error once, as a line of JSON for programs and a sentence for people, and gives the exit code.
func report(env *Env, cmd *cobra.Command, err error) int {
	var exit *ExitError
	if !errors.As(err, &exit) {
		exit = &ExitError{Code: codeOf(err), Err: err}
	}
	if exit.Printed {
		return exit.Code
	}
	if asJSON(cmd) || !env.IsTTY(env.Stderr) {
		writeJSON(env.Stderr, errorLine{Error: exit.Err.Error(), Port: exit.Port, PID: exit.PID})
		return exit.Code
	}
	fmt.Fprintln(env.Stderr, paint(env.Color(env.Stderr), styleBad, "signalbox:")+" "+exit.Err.Error())
	if exit.Code == exitUsage && cmd != nil {
		var ce *config.Error
		if !errors.As(err, &ce) {
			fmt.Fprintf(env.Stderr, "Try: %s --help\n", cmd.CommandPath())
		}
	}
	return exit.Code
}

// codeOf gives errors that did not say so their exit code: what cobra says about arguments is usage.
func codeOf(err error) int {
	var ce *config.Error
	if errors.As(err, &ce) {
		return ce.ExitCode()
	}
	for _, words := range []string{"unknown command", "required flag", "accepts ", "requires ", "arg(s)", "none of the others can be"} {
		if strings.Contains(err.Error(), words) {
			return exitUsage
		}
	}
	return exitFailure
}

// errorLine is an error for programs (contract §1).
type errorLine struct {
	Error string `json:"error"`
	Port  int    `json:"port,omitempty"`
	PID   int    `json:"pid,omitempty"`
}

// addJSON gives a command the --json flag.
func addJSON(cmd *cobra.Command) {
	cmd.Flags().Bool("json", false, "print JSON, one object a line")
}

func asJSON(cmd *cobra.Command) bool {
	if cmd == nil {
		return false
	}
	on, err := cmd.Flags().GetBool("json")
	return err == nil && on
}

// machine reports whether the output of a command is for a program: --json, or no terminal.
func machine(env *Env, cmd *cobra.Command) bool { return asJSON(cmd) || !env.IsTTY(env.Stdout) }

// writeJSON writes one line. URLs stay as they are: nobody pastes this into HTML.
func writeJSON(w io.Writer, v any) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // a closed stdout is the reader's choice
}
