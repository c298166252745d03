package task

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"time"

	"contenttrust/internal/pipeline"
	"contenttrust/internal/secret"
)

// Deps are what a run needs of the outside world. All fields but Version are required.
type Deps struct {
	Environment pipeline.Environment // the agent's variables, inputs and connections
	Stdout      io.Writer            // where the agent listens
	Now         func() time.Time
	Version     string // of this executable, for the log; may be empty
}

// workspaceVariable hands the workspace of the pre phase on to the main phase and the post phase of the same step.
const workspaceVariable = "CONTENTTRUST_WORKSPACE"

// run is one phase of one step, under way.
type run struct {
	Deps
	agent pipeline.Agent
	log   *pipeline.Log
	mask  *secret.Mask
	// tokens are those of the registry, of which a cut text could hold a part.
	tokens tokens
	plan   Plan
	work   *Workspace
	clock  stopwatch
	// outputs are the files that hold what the Engine said, in the order of the steps.
	outputs []string
	// atEnd is what must have ended before the process does.
	atEnd []func()
	early bool // the pre phase: nothing is checked out, and variables of later steps are missing
}

// begin reads what every phase needs: the agent's variables, and a log that hides what is secret.
func begin(ctx context.Context, deps Deps) (*run, error) {
	mask := secret.NewMask()
	r := &run{Deps: deps, log: pipeline.NewLog(deps.Stdout, mask), mask: mask, clock: stopwatch{now: deps.Now}}
	agent, err := pipeline.ReadAgent(ctx, deps.Environment)
	if err != nil {
		return r, err
	}
	r.agent = agent
	r.hide(agent.Secrets()...)
	for _, w := range agent.Warnings() {
		r.warn(codeAgentSetting, "A network setting of the agent: "+string(w.Kind)+inBrackets(w.Detail)+".")
	}
	return r, nil
}

// Pre fetches the delegation key and makes every check that needs no variable of a later step.
//
// It tells the agent how it ended. The returned error is for the caller's exit code alone, and has been told already.
func Pre(ctx context.Context, deps Deps) error {
	r, err := begin(ctx, deps)
	if err == nil {
		err = r.pre(ctx)
	}
	return r.end(ctx, err)
}

func (r *run) pre(ctx context.Context) (err error) {
	r.sweep("")
	if err := r.read(ctx, true); err != nil {
		return err
	}
	if !r.plan.Sign {
		return nil
	}
	if r.work, err = NewWorkspace(r.agent); err != nil {
		return err
	}
	// Whatever goes wrong from here on: the job stops at this step, so nothing may wait for a main phase.
	defer func() {
		if err != nil {
			err = errors.Join(err, r.work.Close())
		}
	}()
	pem, err := r.fetchKey(ctx)
	if err != nil {
		return err
	}
	if err := r.checkKeyEarly(pem); err != nil {
		return err
	}
	if r.plan.KeyFile == "" {
		return r.work.Close() // the text comes again with the main phase; nothing needs to wait on disk
	}
	if err := r.work.saveKey(pem); err != nil {
		return err
	}
	return r.log.SetTaskVariable(workspaceVariable, r.work.Dir)
}

// Main is the run: it builds, pushes and signs, proves it, and tells.
//
// It tells the agent how it ended. The returned error is for the caller's exit code alone, and has been told already.
func Main(ctx context.Context, deps Deps) error {
	r, err := begin(ctx, deps)
	if err == nil {
		err = r.main(ctx)
	}
	return r.end(ctx, err)
}

// main reads as the table of contents of the tool.
func (r *run) main(ctx context.Context) (err error) {
	defer func() {
		for _, settle := range r.atEnd {
			settle()
		}
		err = errors.Join(err, r.work.Close())
	}()
	if err := r.openWorkspace(); err != nil {
		return err
	}
	if err := r.read(ctx, false); err != nil {
		return err
	}
	ready, err := r.check(ctx)
	if err != nil {
		return err
	}
	image, err := r.build(ctx, ready)
	if err != nil {
		return err
	}
	result, err := r.publish(ctx, ready, image)
	if err != nil {
		return err
	}
	return r.tell(result)
}

// Post removes what the other phases could not: it runs after a cancel, and after a job that failed in between.
func Post(ctx context.Context, deps Deps) error {
	r, err := begin(ctx, deps)
	if err == nil {
		r.sweep("")
	}
	return r.end(ctx, err)
}

// openWorkspace takes the workspace of the pre phase over, or makes one where the pre phase did not run: in a step that
// is tried again, and under an agent that skipped it.
func (r *run) openWorkspace() (err error) {
	dir, _ := pipeline.TaskVariable(r.Environment, workspaceVariable)
	if w, ok := reopenWorkspace(r.agent, filepath.Clean(dir)); ok {
		r.work = w
		r.sweep(w.Dir)
		return nil
	}
	r.sweep("")
	r.work, err = NewWorkspace(r.agent)
	return err
}

func (r *run) sweep(keep string) {
	removed, err := sweep(r.agent, keep)
	for _, name := range removed {
		r.log.Debug("removed " + name + ", which an earlier run left")
	}
	if err != nil {
		r.log.Warn(pipeline.Issue{Code: codeLeftBehind, Text: "A folder of an earlier run could not be removed: " + err.Error()})
	}
}

// read turns the inputs into a plan.
func (r *run) read(ctx context.Context, lenient bool) error {
	in, err := ReadInputs(ctx, r.Environment)
	if err != nil {
		return err
	}
	for _, v := range []secret.Value{in.DelegationKeyText, in.DelegationKeyPassphrase, in.RepositoryPassphrase} {
		if text := strings.TrimSpace(v.Reveal()); text != macro.FindString(text) { // the name of a variable is no secret
			r.hide(v)
		}
	}
	// Also where nothing is fetched with it, because the pre phase did: a build prints what it likes.
	if file, err := pipeline.ReadSecureFile(r.Environment, in.DelegationKey); err == nil {
		r.hide(file.Ticket)
	}
	r.early = lenient
	r.plan, err = in.Plan(lenient)
	return err
}
