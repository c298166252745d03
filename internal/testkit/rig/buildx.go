package rig

import (
	"context"
	"os"
	"path/filepath"
)

// buildx is what "docker build" of a docker CLI 28 runs where docker's own packages installed it, as on hosted agents.
func buildx() program {
	return program{name: "docker-buildx", module: "buildx", pkg: "github.com/docker/buildx/cmd/buildx"}
}

// UseBuildx gives the person's docker CLI its build plugin, which is built from tools/buildx when it is not in
// .cache/bin. Without it "docker build" uses the classic builder.
func (p *Person) UseBuildx(ctx context.Context) error {
	path, err := buildx().build(ctx)
	if err != nil {
		return err
	}
	plugins := filepath.Join(p.DockerConfig, "cli-plugins")
	if err := os.MkdirAll(plugins, 0o700); err != nil {
		return err
	}
	return os.Symlink(path, filepath.Join(plugins, "docker-buildx"))
}
