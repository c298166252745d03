// Command contenttrust builds, pushes and signs container images with Docker Content Trust, and proves it.
//
// As the task ContentTrust@1 of Azure Pipelines it is started by the launcher, once a phase, as "contenttrust task
// pre|main|post". This package decides nothing: it hands the environment, the clock, the output and the signals to the
// packages below, and turns what they return into an exit code.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"contenttrust/internal/pipeline"
)

// version is set by the linker to the version of the task.
var version = "development"

// exitCancelled is what a shell shows for a command that SIGINT ended.
const exitCancelled = 130

var errCancelled = errors.New("cancelled")

func main() {
	os.Exit(run())
}

func run() int {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	// A reader that went away must not end us before the clean-up: a write fails then, and that cancels the run.
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		<-signals
		cancel(errCancelled)
	}()
	world := world{environ: os.Environ(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, cancel: cancel}
	scrub(world.environ)
	return execute(ctx, world, os.Args[1:])
}

// scrub takes the secrets out of the process's environment, where a library or a child process could find them. They are
// in environ, and so in our hands.
func scrub(environ []string) {
	for _, pair := range environ {
		if name, _, _ := strings.Cut(pair, "="); pipeline.Sensitive(name) || strings.HasSuffix(name, "_PASSPHRASE") { // docker's names
			_ = os.Unsetenv(name)
		}
	}
}

// world is what a command touches of the system.
type world struct {
	environ        []string
	stdin          io.Reader
	stdout, stderr io.Writer
	cancel         context.CancelCauseFunc
}
