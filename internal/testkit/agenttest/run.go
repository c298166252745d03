package agenttest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The agent's patience when it cancels, from ProcessInvoker.cs, and when a process has ended and its output has not.
const (
	interruptPatience = 7500 * time.Millisecond
	terminatePatience = 2500 * time.Millisecond
	outputPatience    = 5 * time.Second
)

// Result is what a phase left behind.
type Result struct {
	Result   Outcome // the worst of the exit code, task.complete and commands that failed
	ExitCode int     // of Node, or in Direct mode of the executable; -1 when a signal ended it
	Duration time.Duration

	Log    string // as a person sees it: masked, commands carried out
	RawLog string // as the task wrote it

	Commands        []Command         // all that were understood, in their order
	Variables       map[string]string // set as variables of the job
	OutputVariables map[string]string // set as output variables of the step, without its name
	Refused         []Variable        // not on restrictions.settableVariables, and not set
	Issues          []Issue           // at most ten of a kind, masked
	Completed       []string          // the texts of task.complete
	Progress        int               // percent
	Summary         string            // Markdown, masked
	Unknown         []Command         // commands that the agent does not have
	Malformed       []string          // lines with ##vso that are no command

	Cancelled bool
	CancelIn  time.Duration // from the first signal to the end of the process that the agent started
	Signals   []string      // that the cancel needed, in their order: SIGINT, SIGTERM, SIGKILL
	// Survivors are processes of the job that were still there when the one the agent started had ended and its output
	// was closed or given up. Linux only.
	Survivors []int
}

// Failed says whether the step's result would stop the job.
func (r Result) Failed() bool {
	return r.Result != Succeeded && r.Result != SucceededWithIssues
}

// Run is a phase that is under way.
type Run struct {
	step    *Step
	cmd     *exec.Cmd
	stdin   io.Closer     // in Direct mode our end of the input
	exited  chan struct{} // the process has ended
	done    chan struct{} // and its output, too
	started time.Time

	// Guarded by step.agent.mu, until done is closed.
	result    Result
	log, raw  strings.Builder
	watchers  []watcher
	cancelled time.Time // zero until the first signal
}

type watcher struct {
	words string
	seen  chan struct{}
}

// Start starts one phase.
func (s *Step) Start(p Phase) (*Run, error) {
	a := s.agent
	r := &Run{
		step: s, exited: make(chan struct{}), done: make(chan struct{}),
		result: Result{Result: Succeeded, Variables: map[string]string{}, OutputVariables: map[string]string{}},
	}
	args, path, err := a.commandLine(p)
	if err != nil {
		return nil, err
	}
	r.cmd = exec.Command(args[0], args[1:]...)
	r.cmd.Dir = a.Sources
	a.mu.Lock()
	r.cmd.Env = s.environ(path)
	a.mu.Unlock()
	if a.options.Direct {
		if r.stdin, err = r.cmd.StdinPipe(); err != nil {
			return nil, err
		}
	}
	readers, err := r.begin()
	if err != nil {
		return nil, err
	}
	go r.follow(readers)
	return r, nil
}

// begin starts the process. Its output goes through pipes of our own, because exec's would be waited for without end
// when a grandchild holds them.
func (r *Run) begin() ([]*os.File, error) {
	var readers, writers []*os.File
	for range 2 {
		reader, writer, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		readers, writers = append(readers, reader), append(writers, writer)
	}
	r.cmd.Stdout, r.cmd.Stderr = writers[0], writers[1]
	r.started = time.Now()
	err := r.cmd.Start()
	for _, w := range writers {
		w.Close()
	}
	if err != nil {
		for _, reader := range readers {
			reader.Close()
		}
		return nil, fmt.Errorf("start %s: %w", r.cmd.Path, err)
	}
	return readers, nil
}

// commandLine is what to start for a phase, and the PATH it gets.
func (a *Agent) commandLine(p Phase) (args []string, path string, err error) {
	path = os.Getenv("PATH")
	if given, ok := a.options.Env["PATH"]; ok {
		path = given
	}
	script := a.def.target(p)
	if script == "" {
		return nil, "", fmt.Errorf("the task has no phase %q", p)
	}
	if a.options.Direct {
		name := "contenttrust"
		if runtime.GOOS == "windows" {
			name += ".exe"
		}
		args = []string{filepath.Join(a.Task, "bin", runtime.GOOS+"-"+runtime.GOARCH, name), "task", string(p)}
	} else {
		node := a.options.Node
		if node == "" {
			if node, err = exec.LookPath("node"); err != nil {
				return nil, "", err
			}
		}
		args = []string{node, filepath.Join(a.Task, script)}
	}
	if a.options.ReadOnlyTasks {
		args = append(readOnly(filepath.Join(a.root, "_tasks")), args...)
	}
	return args, path, nil
}

// readOnly starts a command in a mount name space of its own, in which the folder cannot be written. The process keeps
// its ID through both commands, so signals reach it as without them.
func readOnly(folder string) []string {
	unshare := []string{"unshare", "--mount"}
	if os.Geteuid() != 0 {
		unshare = append(unshare, "--map-root-user")
	}
	const mount = `mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"`
	return append(unshare, "sh", "-c", mount, folder)
}

// follow reads the output to its end and then closes the books.
func (r *Run) follow(readers []*os.File) {
	var reading sync.WaitGroup
	for _, reader := range readers {
		reading.Go(func() { readLines(reader, r.line) })
	}
	err := r.cmd.Wait()
	close(r.exited)
	ended := time.Now()
	silent := make(chan struct{})
	go func() { reading.Wait(); close(silent) }()
	select {
	case <-silent:
	case <-time.After(outputPatience):
	}
	for _, reader := range readers {
		reader.Close()
	}
	<-silent
	if r.stdin != nil {
		r.stdin.Close()
	}
	r.finish(err, ended)
	close(r.done)
}

func (r *Run) finish(err error, ended time.Time) {
	a := r.step.agent
	survivors := a.processes()
	a.mu.Lock()
	defer a.mu.Unlock()
	r.result.Duration = ended.Sub(r.started)
	r.result.Survivors = survivors
	r.result.ExitCode = r.cmd.ProcessState.ExitCode()
	if err != nil {
		r.show(fmt.Sprintf("##[error]Exit code %d returned from process: file name '%s'", r.result.ExitCode, r.cmd.Path))
		r.worsen(Failed)
	}
	if !r.cancelled.IsZero() {
		r.result.Cancelled, r.result.CancelIn = true, ended.Sub(r.cancelled)
		r.worsen(Canceled)
	}
	r.result.Log, r.result.RawLog = r.log.String(), r.raw.String()
	for _, w := range r.watchers {
		close(w.seen)
	}
	r.watchers = nil
}

// readLines calls line for every line, ended as .NET's ReadLine does it: by CR, LF, or both together.
func readLines(from io.Reader, line func(string)) {
	in := bufio.NewReader(from)
	var text []byte
	afterCR := false
	for {
		b, err := in.ReadByte()
		if err != nil {
			if len(text) > 0 {
				line(string(text))
			}
			return
		}
		switch {
		case b == '\n' && afterCR:
			afterCR = false
		case b == '\n' || b == '\r':
			afterCR = b == '\r'
			line(string(text))
			text = text[:0]
		default:
			afterCR = false
			text = append(text, b)
		}
	}
}

// line takes one line of the task's output (WorkerCommandManager.cs, TryProcessCommand).
func (r *Run) line(text string) {
	a := r.step.agent
	a.mu.Lock()
	defer a.mu.Unlock()
	r.raw.WriteString(text + "\n")
	c, ok := parseCommand(text)
	switch {
	case ok:
		r.result.Commands = append(r.result.Commands, c)
		if err := r.obey(c); err != nil {
			r.show("##[error]Unable to process command '" + text + "' successfully: " + err.Error())
			r.worsen(Failed)
		}
		if a.options.Debug && c.Name != "task.debug" {
			r.show("##[debug]Processed: " + decode(text))
		}
	case strings.Contains(text, "##vso"):
		r.result.Malformed = append(r.result.Malformed, text)
		r.show(text)
	default:
		r.show(text)
	}
	r.watchers = slices.DeleteFunc(r.watchers, func(w watcher) bool {
		if !strings.Contains(text, w.words) {
			return false
		}
		close(w.seen)
		return true
	})
}

// show writes to the log that people read, which is masked line by line.
func (r *Run) show(text string) {
	for line := range strings.SplitSeq(text, "\n") {
		r.log.WriteString(r.step.agent.mask.hide(line) + "\n")
	}
}

// WaitFor waits until the task has written a line with these words. It fails when the phase ends without one, or when
// ctx does.
func (r *Run) WaitFor(ctx context.Context, words string) error {
	a := r.step.agent
	seen := make(chan struct{})
	a.mu.Lock()
	if !strings.Contains(r.raw.String(), words) {
		r.watchers = append(r.watchers, watcher{words, seen})
	} else {
		close(seen)
	}
	a.mu.Unlock()
	select {
	case <-seen:
	case <-r.done:
	case <-ctx.Done():
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if strings.Contains(r.raw.String(), words) {
		return nil
	}
	return errors.Join(ctx.Err(), fmt.Errorf("the task did not write %q", words))
}

// Wait waits for the end of the phase.
func (r *Run) Wait() Result {
	<-r.done
	r.step.agent.mu.Lock()
	defer r.step.agent.mu.Unlock()
	return r.result
}

// Pid is the process that the agent started: Node, or in Direct mode the executable.
func (r *Run) Pid() int { return r.cmd.Process.Pid }

// Cancel ends the phase as the agent does when a person cancels or the job's time is over: SIGINT to the one process it
// started, SIGTERM after 7.5 seconds, SIGKILL after 2.5 more. No child gets a signal from the agent.
func (r *Run) Cancel() Result {
	a := r.step.agent
	a.mu.Lock()
	r.cancelled = time.Now()
	a.mu.Unlock()
	steps := []struct {
		signal syscall.Signal
		name   string
		wait   time.Duration
	}{
		{syscall.SIGINT, "SIGINT", interruptPatience}, {syscall.SIGTERM, "SIGTERM", terminatePatience},
		{syscall.SIGKILL, "SIGKILL", time.Hour},
	}
	for _, step := range steps {
		if r.endsWithin(0) {
			break
		}
		a.mu.Lock()
		r.result.Signals = append(r.result.Signals, step.name)
		a.mu.Unlock()
		_ = r.cmd.Process.Signal(step.signal) // it may have ended by itself in the meantime
		if r.endsWithin(step.wait) {
			break
		}
	}
	return r.Wait()
}

func (r *Run) endsWithin(d time.Duration) bool {
	select {
	case <-r.exited:
		return true
	default:
	}
	select {
	case <-r.exited:
		return true
	case <-time.After(d):
		return false
	}
}
