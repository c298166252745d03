// Command vuln holds the program and all its libraries against the Go vulnerability database, with govulncheck, and
// fails when the code can reach a vulnerability that exceptions.txt does not explain.
//
// The database is the copy in ../shared/vulndb where there is one, for machines that cannot reach the public one, and
// otherwise the public one.
//
//	go run ./tools/vuln [-db URL] [packages]
package main

import (
	"bytes"
	"context"
	_ "embed"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
)

//go:embed exceptions.txt
var exceptionsText string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	database := flag.String("db", "", "the vulnerability database (default: ../shared/vulndb, else the public one)")
	flag.Parse()
	ok, err := run(ctx, os.Stdout, *database, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run scans the packages, all when there are none, and says whether the check
// is passed. The error is of the scan itself.
func run(ctx context.Context, out io.Writer, database string, packages []string) (bool, error) {
	exceptions, err := readExceptions(exceptionsText)
	if err != nil {
		return false, err
	}
	if database == "" {
		database = localDatabase(filepath.Join("..", "shared", "vulndb"))
	}
	if len(packages) == 0 {
		packages = []string{"./..."}
	}
	args := []string{"tool", "-modfile=tools/checks/go.mod", "govulncheck", "-format", "json", "-tags", "grpcnotrace"}
	if database != "" {
		args = append(args, "-db", database)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", append(args, packages...)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	// With -format json it succeeds whatever it finds.
	if err := cmd.Run(); err != nil {
		return false, fmt.Errorf("govulncheck: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	report, err := readReport(&stdout)
	if err != nil {
		return false, err
	}
	return report.judge(out, exceptions), nil
}

// localDatabase is the address of a folder with the database, "" without one.
func localDatabase(folder string) string {
	path, err := filepath.Abs(folder)
	if err != nil {
		return ""
	}
	if _, err := os.Stat(filepath.Join(path, "index", "db.json")); err != nil {
		return ""
	}
	return "file://" + filepath.ToSlash(path)
}
