package cli

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func newVersionCommand(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON(cmd) {
				writeJSON(env.Stdout, struct {
					Version string `json:"version"`
					Go      string `json:"go"`
					OS      string `json:"os"`
					Arch    string `json:"arch"`
				}{env.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH})
				return nil
			}
			_, err := fmt.Fprintln(env.Stdout, "signalbox "+env.Version)
			return err
		},
	}
	addJSON(cmd)
	return cmd
}
