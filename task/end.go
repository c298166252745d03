package task

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"contenttrust/internal/pipeline"
)

// end tells the agent how the phase ended, and gives err back for the exit code.
func (r *run) end(ctx context.Context, err error) error {
	r.log.Debug(fmt.Sprintf("contenttrust %s, %s %s, %d MB of memory at most", r.Version, runtime.GOOS, runtime.GOARCH, peakMemory()>>20))
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		// What failed after the cancel failed because of it, and is no news; what became of the tag is.
		if unsigned, ok := errors.AsType[*UnsignedError](err); ok && (unsigned.State != TagAsBefore || unsigned.Late || unsigned.Unasked) {
			r.log.Warn(pipeline.Issue{Code: codeCancelled, Text: r.tokens.hide(unsigned.state())})
		}
		final := "Cancelled. Nothing of the key or of a credential is left."
		if left, ok := errors.AsType[*WorkspaceError](err); ok && left.Op == opRemove {
			r.warn(codeLeftBehind, "The private folder of this step could not be removed: "+left.Error()+".")
			final = "Cancelled."
		}
		r.log.Complete(pipeline.Canceled, final)
		return err
	}
	explanations := Explain(err)
	for _, e := range explanations {
		r.log.Error(pipeline.Issue{Code: e.Code, Text: r.tokens.hide(e.String())})
		for _, line := range e.Commands {
			r.log.Line("    " + r.tokens.hide(line))
		}
	}
	r.log.Complete(pipeline.Failed, r.tokens.hide(explanations[0].What))
	return err
}
