package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// packed is the finished extension.
type packed struct {
	path string
	size int64 // bytes
}

// pack lays the extension's folder, lets tfx write the VSIX, makes it reproducible and checks it.
func pack(ctx context.Context, o options, e *extensionFile, task stagedTask) (packed, error) {
	tfx, err := installTFX(ctx, o)
	if err != nil {
		return packed{}, err
	}
	folder, err := os.MkdirTemp(o.dist, ".extension-")
	if err != nil {
		return packed{}, err
	}
	defer os.RemoveAll(folder)
	if err := layExtension(o, e, task, folder); err != nil {
		return packed{}, err
	}
	want, err := readFolder(folder)
	if err != nil {
		return packed{}, err
	}
	delete(want, manifestName)
	out := filepath.Join(o.dist, fmt.Sprintf("%s.%s-%s.vsix", e.Publisher, e.ID, e.Version))
	raw := filepath.Join(folder, "out.vsix")
	if err := runTFX(ctx, tfx, folder, raw); err != nil {
		return packed{}, err
	}
	if err := settle(raw, out); err != nil {
		return packed{}, fmt.Errorf("rewrite the VSIX: %w", err)
	}
	size, err := checkVSIX(out, want)
	if err != nil {
		os.Remove(out)
		return packed{}, err
	}
	return packed{path: out, size: size}, nil
}

const manifestName = "vss-extension.json"

// layExtension fills folder with everything that belongs into the VSIX, and with a manifest that gives the type of each
// file. Without the types tfx asks the machine's own "file" command, whose answers differ from machine to machine.
func layExtension(o options, e *extensionFile, task stagedTask, folder string) error {
	for _, name := range []string{e.Icons.Default, e.Content.Details.Path, e.Content.License.Path} {
		if err := copyFile(filepath.Join(o.root, filepath.FromSlash(name)), filepath.Join(folder, filepath.FromSlash(name))); err != nil {
			return err
		}
	}
	// The icon, the page and the licence are named elsewhere in the manifest; named here as well, tfx would take them for
	// mere files and the Marketplace would show none of them.
	var types []map[string]string
	for _, name := range slices.Sorted(maps.Keys(task.files)) {
		inside := path.Join(e.folder(), name)
		to := filepath.Join(folder, filepath.FromSlash(inside))
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		// Links, because the executables are large and nobody changes them here.
		if err := os.Link(filepath.Join(task.folder, filepath.FromSlash(name)), to); err != nil {
			return err
		}
		types = append(types, map[string]string{"path": inside, "contentType": contentType(name)})
	}
	var manifest map[string]any
	if err := json.Unmarshal(e.raw, &manifest); err != nil {
		return err
	}
	manifest["files"] = types
	data, err := json.MarshalIndent(manifest, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, manifestName), data, 0o644)
}

func contentType(name string) string {
	switch {
	case path.Base(name) == "LICENSE":
		return "text/plain"
	case path.Ext(name) == ".json":
		return "application/json"
	case path.Ext(name) == ".js":
		return "application/javascript"
	case path.Ext(name) == ".png":
		return "image/png"
	case path.Ext(name) == ".md":
		return "text/markdown"
	}
	return "application/octet-stream"
}

// installTFX installs what tools/npm/package-lock.json pins into .cache/npm, unless it is there already, and gives the
// script to start.
func installTFX(ctx context.Context, o options) (string, error) {
	source, cache := filepath.Join(o.root, "tools", "npm"), filepath.Join(o.root, ".cache", "npm")
	lock, err := os.ReadFile(filepath.Join(source, "package-lock.json"))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(lock)
	script := filepath.Join(cache, "node_modules", "tfx-cli", "_build", "tfx-cli.js")
	stamp := filepath.Join(cache, "installed-lock.sha256")
	// The stamp is written last: a broken installation has none.
	if have, err := os.ReadFile(stamp); err == nil && string(have) == hex.EncodeToString(sum[:]) {
		return script, nil
	}
	if err := os.Remove(stamp); err != nil && !os.IsNotExist(err) {
		return "", err
	}
	for _, name := range []string{"package.json", "package-lock.json"} {
		if err := copyFile(filepath.Join(source, name), filepath.Join(cache, name)); err != nil {
			return "", err
		}
	}
	fmt.Fprintln(o.log, "npm ci: installing the pinned tfx into .cache/npm")
	// Scripts of the packages do not run: tfx is plain JavaScript, and whoever signs an extension runs no strangers' code
	// that it can do without.
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	cmd.Dir = cache
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci (needed once, with the network): %w\n%s", err, output)
	}
	if _, err := os.Stat(script); err != nil {
		return "", err
	}
	return script, os.WriteFile(stamp, []byte(hex.EncodeToString(sum[:])), 0o644)
}

// runTFX writes the VSIX. A warning of tfx fails: it says itself that its warnings about tasks will be errors.
func runTFX(ctx context.Context, script, folder, out string) error {
	cmd := exec.CommandContext(ctx, "node", script, "extension", "create", "--root", folder,
		"--manifest-globs", manifestName, "--output-path", out, "--no-prompt", "--no-color")
	cmd.Dir = folder
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("tfx extension create: %w\n%s", err, output.Bytes())
	}
	if strings.Contains(strings.ToLower(output.String()), "warning") {
		return fmt.Errorf("tfx extension create warns:\n%s", output.Bytes())
	}
	return nil
}
