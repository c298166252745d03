package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ran is what a command line has done.
type ran struct {
	code           int
	stdout, stderr string
	cause          error // of the end of its context
}

// runLine runs a command line in this process. Its standard input stays open unless stdin is given.
func runLine(t *testing.T, ctx context.Context, environ []string, stdin io.Reader, args ...string) ran { //nolint:revive // t goes first in a test
	t.Helper()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if stdin == nil {
		reader, writer := io.Pipe()
		defer writer.Close()
		stdin = reader
	}
	var stdout, stderr bytes.Buffer
	code := execute(ctx, world{environ: environ, stdin: stdin, stdout: &stdout, stderr: &stderr, cancel: cancel}, args)
	return ran{code, stdout.String(), stderr.String(), context.Cause(ctx)}
}

func TestCommandLinesThatAreWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"bogus"}, `unknown command "bogus"`},
		{[]string{"--bogus"}, "unknown flag: --bogus"},
		{[]string{"task"}, "accepts 1 arg(s), received 0"},
		{[]string{"task", "bogus"}, `invalid argument "bogus"`},
		{[]string{"task", "pre", "main"}, "accepts 1 arg(s), received 2"},
	} {
		got := runLine(t, t.Context(), nil, nil, c.args...)
		if got.code != 2 || got.stdout != "" || !strings.HasPrefix(got.stderr, "contenttrust: ") || !strings.Contains(got.stderr, c.says) ||
			!strings.Contains(got.stderr, "contenttrust --help") {
			t.Errorf("%v gives %d and says %q%q", c.args, got.code, got.stdout, got.stderr)
		}
	}
}

func TestHelpAndVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "Docker Content Trust"},
		{[]string{"--help"}, "Docker Content Trust"},
		{[]string{"--version"}, "contenttrust version " + version},
	} {
		got := runLine(t, t.Context(), nil, nil, c.args...)
		if got.code != 0 || got.stderr != "" || !strings.Contains(got.stdout, c.says) {
			t.Errorf("%v gives %d and says %q%q", c.args, got.code, got.stdout, got.stderr)
		}
	}
}

// inputs are an agent's environment of a step that has none of its inputs.
func inputs(t *testing.T) []string {
	t.Helper()
	return []string{"AGENT_TEMPDIRECTORY=" + t.TempDir(), "SYSTEM_JOBID=job", "SYSTEM_TASKINSTANCEID=step"}
}

// A code other than 0 would make the agent add an error of its own, which says nothing.
func TestAStepThatFailsIsToldAndEndsWithoutACode(t *testing.T) {
	t.Parallel()
	for _, phase := range []string{"pre", "main"} {
		got := runLine(t, t.Context(), inputs(t), nil, "task", phase)
		if got.code != 0 || got.stderr != "" || !strings.Contains(got.stdout, "##vso[task.complete result=Failed;]") || !strings.Contains(got.stdout, "code=CT1001") {
			t.Errorf("%s gives %d and says %q%q", phase, got.code, got.stdout, got.stderr)
		}
	}
	if got := runLine(t, t.Context(), inputs(t), nil, "task", "post"); got.code != 0 || strings.Contains(got.stdout, "task.complete") {
		t.Errorf("post gives %d and says %q", got.code, got.stdout)
	}
}

func TestACancelledStepEndsAsAShellShowsSIGINT(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errCancelled)
	got := runLine(t, ctx, inputs(t), nil, "task", "main")
	if got.code != exitCancelled || !strings.Contains(got.stdout, "##vso[task.complete result=Canceled;]") {
		t.Errorf("gives %d and says %q%q", got.code, got.stdout, got.stderr)
	}
}

// The launcher holds our standard input open; when it dies, nobody else can tell us.
func TestTheEndOfTheInputCancels(t *testing.T) {
	t.Parallel()
	for name, give := range map[string]func(*io.PipeWriter){
		"its end":  func(w *io.PipeWriter) { _ = w.Close() },
		"an error": func(w *io.PipeWriter) { _ = w.CloseWithError(errors.New("broken")) },
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		reader, writer := io.Pipe()
		go watchParent(world{stdin: reader, cancel: cancel})
		if _, err := writer.Write([]byte("what the launcher never writes is read and dropped")); err != nil {
			t.Fatal(err)
		}
		if ctx.Err() != nil {
			t.Errorf("%s: cancelled while the input is open", name)
		}
		give(writer)
		select {
		case <-ctx.Done():
			if !errors.Is(context.Cause(ctx), errParentDied) {
				t.Errorf("%s: the cause is %v", name, context.Cause(ctx))
			}
		case <-time.After(10 * time.Second):
			t.Errorf("%s does not cancel", name)
		}
	}
}

func TestSecretsLeaveTheProcessEnvironment(t *testing.T) { // not parallel: it is about the process
	gone := []string{
		"INPUT_DELEGATIONKEYPASSPHRASE", "ENDPOINT_AUTH_1", "ENDPOINT_AUTH_PARAMETER_1_PASSWORD", "SECUREFILE_TICKET_1", "SECRET_X",
		"SYSTEM_ACCESSTOKEN", "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE",
	}
	stay := []string{"CONTENTTRUST_TEST_PUBLIC", "ENDPOINT_URL_1", "AGENT_TEMPDIRECTORY"}
	for _, name := range slices.Concat(gone, stay) {
		t.Setenv(name, "value of "+name)
	}
	environ := os.Environ()
	scrub(environ)
	var left []string
	for _, name := range slices.Concat(gone, stay) {
		if _, ok := os.LookupEnv(name); ok {
			left = append(left, name)
		}
	}
	if diff := cmp.Diff(stay, left); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
	if !slices.Contains(environ, "SECRET_X=value of SECRET_X") {
		t.Error("the copy in our hands lost them too")
	}
}
