package rig

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// program is one that is built from a module under tools/.
type program struct {
	name   string
	module string // folder under tools/
	pkg    string
	cgo    bool
	tags   string
	// version is the variable that is to hold the version of the module
	// provider; "" sets none.
	version, provider string
}

// dockerd is today's Engine. netgo and osusergo keep the C resolver out; the
// others leave out what a test Engine has no use for and Debian no headers.
func dockerd() program {
	return program{
		name: "dockerd", module: "engine", pkg: "github.com/moby/moby/v2/cmd/dockerd", cgo: true,
		tags:    "netgo osusergo no_libnftables exclude_graphdriver_btrfs no_systemd",
		version: "github.com/moby/moby/v2/dockerversion.Version", provider: "github.com/moby/moby/v2",
	}
}

// runc is newer than Debian's, which today's Engine cannot use: it does not
// know the time namespace.
func runc() program {
	return program{name: "runc", module: "engine", pkg: "github.com/opencontainers/runc", cgo: true, tags: "seccomp"}
}

// dockerCLI is the last docker CLI with content trust.
func dockerCLI() program {
	return program{
		name: "docker", module: "cli", pkg: "github.com/docker/cli/cmd/docker",
		version: "github.com/docker/cli/cli/version.Version", provider: "github.com/docker/cli",
	}
}

// build makes a program, or finds the one made before from the same go.mod,
// go.sum, toolchain and settings, and gives its path.
func (p program) build(ctx context.Context) (string, error) {
	root, err := projectRoot()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(root, "tools", p.module)
	key := sha256.New()
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			return "", err
		}
		key.Write(content)
	}
	fmt.Fprintf(key, "%s %+v", runtime.Version(), p)
	home := filepath.Join(root, ".cache", "bin", p.name+"-"+hex.EncodeToString(key.Sum(nil))[:12])
	path := filepath.Join(home, p.name)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if err := os.MkdirAll(home, 0o755); err != nil {
		return "", err
	}
	// Under another name first, so that a build that was cut off is not found.
	unfinished := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := p.run(ctx, folder, unfinished); err != nil {
		return "", errors.Join(err, os.RemoveAll(unfinished))
	}
	return path, os.Rename(unfinished, path)
}

func (p program) run(ctx context.Context, folder, output string) error {
	ldflags := "-s -w"
	if p.version != "" {
		version, err := requiredVersion(folder, p.provider)
		if err != nil {
			return err
		}
		ldflags += " -X " + p.version + "=" + version
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", p.tags, "-ldflags", ldflags, "-o", output, p.pkg)
	cmd.Dir = folder
	cgo := "CGO_ENABLED=0"
	if p.cgo {
		cgo = "CGO_ENABLED=1"
	}
	cmd.Env = append(os.Environ(), cgo, "GOFLAGS=-buildvcs=false", "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", p.name, err, lastLines(said))
	}
	return nil
}

// requiredVersion reads a module's version from a go.mod: "28.5.2" for
// "v28.5.2+incompatible".
func requiredVersion(folder, module string) (string, error) {
	content, err := os.ReadFile(filepath.Join(folder, "go.mod"))
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(content))
	for i := range len(fields) - 1 {
		if version, ok := strings.CutPrefix(fields[i+1], "v"); ok && fields[i] == module {
			return strings.TrimSuffix(version, "+incompatible"), nil
		}
	}
	return "", fmt.Errorf("%s/go.mod does not require %s", folder, module)
}

// projectRoot is the folder of this project's go.mod, looked for from the
// working folder upwards: tests run in the folder of their package.
func projectRoot() (string, error) {
	start, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := start; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(content), "module contenttrust\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("no go.mod of module contenttrust in %s or above", start)
		}
	}
}

// Prepare installs the packages and builds the programs that the rig needs, so
// that the first test does not wait for them. say gets a line for each step.
func Prepare(ctx context.Context, say func(string)) error {
	say("Debian packages")
	if err := Packages(ctx); err != nil {
		return err
	}
	say("docker CLI 28")
	if _, err := DockerCLI(ctx); err != nil {
		return err
	}
	for _, p := range []program{dockerd(), runc()} {
		say("today's " + p.name)
		if _, err := p.build(ctx); err != nil {
			return err
		}
	}
	return nil
}
