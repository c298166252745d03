package main

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/spf13/cobra"

	"contenttrust/internal/pipeline"
	"contenttrust/task"
)

var errParentDied = errors.New("the agent's launcher is gone")

// newTask is the task's entrance: the launcher calls it, and nobody types it.
func newTask(w world) *cobra.Command {
	phases := map[string]func(context.Context, task.Deps) error{"pre": task.Pre, "main": task.Main, "post": task.Post}
	return &cobra.Command{
		Use:       "task pre|main|post",
		Short:     "Run one phase of the pipeline task (called by the agent's launcher)",
		Hidden:    true,
		ValidArgs: []string{"pre", "main", "post"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			go watchParent(w)
			err := phases[args[0]](cmd.Context(), task.Deps{
				Environment: pipeline.NewEnvironment(w.environ), Stdout: listener{w}, Now: time.Now, Version: version,
			})
			if err != nil && errors.Is(context.Cause(cmd.Context()), errCancelled) {
				return &exitError{code: exitCancelled}
			}
			// A failed step has been told by task.complete. A code other than 0 would make the agent add an error of its
			// own, which says nothing and stands below ours.
			return nil
		},
	}
}

// watchParent cancels the run when the launcher dies. The launcher holds our standard input open and never writes to it;
// a launcher that is killed cannot pass a signal on, but the pipe closes all the same.
func watchParent(w world) {
	_, _ = io.Copy(io.Discard, w.stdin)
	w.cancel(errParentDied)
}

// listener writes to whoever reads our log. When nobody does any more, the agent is gone, and the run is cancelled: its
// clean-up is worth more than its end.
type listener struct{ world world }

// Write passes p on.
func (l listener) Write(p []byte) (int, error) {
	n, err := l.world.stdout.Write(p)
	if err != nil {
		l.world.cancel(errParentDied)
	}
	return n, err
}
