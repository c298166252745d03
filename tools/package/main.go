// Command package makes what is published: the task's folder dist/task, and the extension dist/*.vsix.
//
// It checks task.json and vss-extension.json first, because the Marketplace and the agents accept nearly anything and
// fail late; builds the executables so that the same sources give the same bytes; stages the task as an agent will see
// it, with the SHA-256 of every executable for the launcher to check; lets the real tfx write the extension; and then
// does not believe it, but opens the VSIX and compares every file in it with what was staged.
//
//	go run ./tools/package              everything
//	go run ./tools/package -host-only   dist/task with the executable of this machine only, for trying out and for tests
//
// It needs Go, and for the VSIX Node and npm. Once npm has installed tfx under .cache/npm (from the lock file in
// tools/npm), it needs no network.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var o options
	flag.StringVar(&o.root, "root", ".", "the project's root folder")
	flag.StringVar(&o.dist, "dist", "", "where the results go (default: dist in the root folder)")
	flag.StringVar(&o.main, "main", "./cmd/contenttrust", "the Go package to build")
	flag.BoolVar(&o.hostOnly, "host-only", false, "stage dist/task with this machine's executable only, and make no VSIX")
	flag.Parse()
	o.log = os.Stdout
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		stop()
		os.Exit(1)
	}
}

// options say what to make. The zero value of hostOnly is the whole package.
type options struct {
	root     string // the folder with task.json
	dist     string // "" for dist in root
	main     string // the package to build, relative to root
	hostOnly bool
	log      io.Writer
}

func run(ctx context.Context, o options) error {
	root, err := filepath.Abs(o.root)
	if err != nil {
		return err
	}
	o.root = root
	if o.dist == "" {
		o.dist = filepath.Join(root, "dist")
	}
	task, err := readTask(filepath.Join(root, "task.json"))
	if err != nil {
		return err
	}
	extension, err := readExtension(filepath.Join(root, "vss-extension.json"), task)
	if err != nil {
		return err
	}
	targets := allTargets
	if o.hostOnly {
		targets = []target{{runtime.GOOS, runtime.GOARCH}}
	}
	staged, err := stage(ctx, o, task, targets)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.log, "staged %s: version %s, %d files, %s\n", staged.folder, task.version(), len(staged.files), mib(staged.size()))
	if o.hostOnly {
		return nil
	}
	vsix, err := pack(ctx, o, extension, staged)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.log, "packed %s: %d bytes (%s, %.1f%% of the %s that every gallery takes)\n",
		vsix.path, vsix.size, mib(vsix.size), 100*float64(vsix.size)/mostVSIX, mib(mostVSIX))
	return nil
}

func mib(bytes int64) string {
	return fmt.Sprintf("%.2f MiB", float64(bytes)/(1<<20))
}
