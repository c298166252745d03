package rig

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// CLI is a docker CLI that has content trust.
type CLI struct{ Path, Version string }

// DockerCLI gives a docker CLI 28: the one on PATH when it is that, otherwise
// one built from tools/cli. Neither older ones, which Debian has, nor later
// ones, which have no content trust, are what people compare us with.
func DockerCLI(ctx context.Context) (CLI, error) {
	if path, err := exec.LookPath("docker"); err == nil {
		if cli, err := cliAt(ctx, path); err == nil && strings.HasPrefix(cli.Version, "28.") {
			return cli, nil
		}
	}
	path, err := dockerCLI().build(ctx)
	if err != nil {
		return CLI{}, err
	}
	return cliAt(ctx, path)
}

// cliAt asks a CLI for its version; --version wants no Engine and no plugins.
func cliAt(ctx context.Context, path string) (CLI, error) {
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.Env = []string{"DOCKER_CONFIG=" + os.DevNull}
	output, err := cmd.Output()
	if err != nil {
		return CLI{}, fmt.Errorf("%s --version: %w", path, err)
	}
	// Docker version 28.5.2, build e6534b4
	rest, ok := strings.CutPrefix(string(output), "Docker version ")
	version, _, comma := strings.Cut(rest, ",")
	if !ok || !comma {
		return CLI{}, fmt.Errorf("%s --version says %q", path, lastLines(output))
	}
	return CLI{Path: path, Version: version}, nil
}
