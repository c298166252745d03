package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// target is a platform that gets an executable, in Go's words. The launcher's table must have the same.
type target struct{ os, arch string }

var allTargets = []target{{"darwin", "arm64"}, {"linux", "amd64"}, {"linux", "arm64"}, {"windows", "amd64"}}

// path is the executable's place under bin/, with slashes.
func (t target) path() string {
	name := t.os + "-" + t.arch + "/contenttrust"
	if t.os == "windows" {
		name += ".exe"
	}
	return name
}

// file is one staged file: its SHA-256 and its size in bytes.
type file struct {
	sum  [sha256.Size]byte
	size int64
}

// stagedTask is the task's folder, ready for an agent.
type stagedTask struct {
	folder string
	files  map[string]file // by path inside the folder, with slashes
}

func (s stagedTask) size() int64 {
	var sum int64
	for _, f := range s.files {
		sum += f.size
	}
	return sum
}

// stage makes dist/task. It is made beside its place and moved there at the end, so that nobody starts half of it.
func stage(ctx context.Context, o options, task *taskFile, targets []target) (stagedTask, error) {
	if err := os.MkdirAll(o.dist, 0o755); err != nil {
		return stagedTask{}, err
	}
	making, err := os.MkdirTemp(o.dist, ".task-")
	if err != nil {
		return stagedTask{}, err
	}
	defer os.RemoveAll(making)
	if err := os.Chmod(making, 0o755); err != nil {
		return stagedTask{}, err
	}
	sums := map[string]string{}
	for _, t := range targets {
		sum, err := build(ctx, o, t, task.version(), filepath.Join(making, "bin", filepath.FromSlash(t.path())))
		if err != nil {
			return stagedTask{}, err
		}
		sums[t.path()] = sum
	}
	list, err := json.MarshalIndent(sums, "", "  ")
	if err != nil {
		return stagedTask{}, err
	}
	if err := os.WriteFile(filepath.Join(making, "bin", "sha256.json"), append(list, '\n'), 0o644); err != nil {
		return stagedTask{}, err
	}
	for from, to := range sources(task) {
		if err := copyFile(filepath.Join(o.root, filepath.FromSlash(from)), filepath.Join(making, to)); err != nil {
			return stagedTask{}, fmt.Errorf("stage %s: %w", to, err)
		}
	}
	done := filepath.Join(o.dist, "task")
	if err := os.RemoveAll(done); err != nil {
		return stagedTask{}, err
	}
	if err := os.Rename(making, done); err != nil {
		return stagedTask{}, err
	}
	files, err := readFolder(done)
	return stagedTask{folder: done, files: files}, err
}

// sources are the files of the task beside its executables: where each is in the project, and its name in the task. The
// scripts are those that the handlers name, so a handler without its file fails here.
func sources(task *taskFile) map[string]string {
	from := map[string]string{
		"task.json": "task.json", "icon.png": "icon.png", "LICENSE": "LICENSE", "task/launcher/launcher.js": "launcher.js",
	}
	for _, script := range task.scripts() {
		from["task/launcher/"+script] = script
	}
	return from
}

// build builds the executable for one platform and gives its SHA-256. Nothing of this machine goes into it: no paths,
// no build ID, no state of the working copy, no flags from the environment.
func build(ctx context.Context, o options, t target, version, out string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags", "grpcnotrace",
		"-ldflags", "-s -w -buildid= -X main.version="+version, "-o", out, o.main)
	cmd.Dir = o.root
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains([]string{"GOFLAGS", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GOFIPS140"}, name)
	}), "CGO_ENABLED=0", "GOOS="+t.os, "GOARCH="+t.arch, "GOWORK=off")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s for %s-%s: %w\n%s", o.main, t.os, t.arch, err, output)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(data)
	fmt.Fprintf(o.log, "built %-28s %s\n", t.path(), mib(int64(len(data))))
	return hex.EncodeToString(sum[:]), nil
}

// readFolder gives the sums and sizes of all files under folder.
func readFolder(folder string) (map[string]file, error) {
	files := map[string]file{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(name)] = file{sha256.Sum256(data), int64(len(data))}
		return nil
	})
	return files, err
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}
