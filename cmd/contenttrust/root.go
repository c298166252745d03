package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

// execute runs one command line and gives its exit code.
func execute(ctx context.Context, w world, args []string) int {
	root := newRoot(w) //nolint:contextcheck // ExecuteContext below hands it to the commands
	root.SetArgs(args)
	root.SetOut(w.stdout)
	root.SetErr(w.stderr)
	err := root.ExecuteContext(ctx)
	coded, told := errors.AsType[*exitError](err)
	switch {
	case err == nil:
		return 0
	case told:
		return coded.code
	}
	fmt.Fprintf(w.stderr, "contenttrust: %v\nRun contenttrust --help for what it can do.\n", err)
	return 2 // cobra refused the command line; everything else comes as an exitError
}

// exitError ends the process with a code; what there was to say has been said.
type exitError struct {
	code int
}

// Error is for errors.As alone; nobody prints it.
func (e *exitError) Error() string { return fmt.Sprintf("exit code %d", e.code) }

func newRoot(w world) *cobra.Command {
	root := &cobra.Command{
		Use:   "contenttrust",
		Short: "Sign container images with Docker Content Trust",
		Long: "contenttrust builds, pushes and signs container images with Docker Content Trust (Notary v1), and proves it.\n" +
			"In Azure Pipelines it is the task ContentTrust@1. The verbs for administrators come with a later version.",
		Version:           version,
		Args:              cobra.NoArgs,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.AddCommand(newTask(w))
	return root
}
