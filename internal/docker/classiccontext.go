package docker

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/docker/api/types/build"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/tonistiigi/fsutil"
	"github.com/tonistiigi/fsutil/types"
)

// classicContext is the context without what .dockerignore names, with the
// Dockerfile in it: under its own name when it is part of the context, else
// under a random one.
func classicContext(b Build, o *build.ImageBuildOptions) (fsutil.FS, error) {
	root, err := fsutil.NewFS(b.Context)
	if err != nil {
		return nil, &Unreadable{Path: b.Context, Err: cause(err)}
	}
	excludes, err := readIgnore(b)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(b.Context, b.Dockerfile)
	if inside := err == nil && filepath.IsLocal(rel); inside {
		o.Dockerfile = filepath.ToSlash(rel)
		if len(excludes) > 0 {
			// The builder needs both even when they are ignored; it leaves them
			// out of COPY by itself.
			excludes = append(excludes, "!"+o.Dockerfile, "!.dockerignore")
		}
		return filtered(b, root, excludes)
	}
	text, err := os.ReadFile(b.Dockerfile)
	if err != nil {
		return nil, &Unreadable{Path: b.Dockerfile, Err: cause(err)}
	}
	o.Dockerfile = ".dockerfile-" + strings.ToLower(rand.Text()[:12])
	files, err := filtered(b, root, excludes)
	if err != nil {
		return nil, err
	}
	return withFile{FS: files, name: o.Dockerfile, text: text}, nil
}

func filtered(b Build, root fsutil.FS, excludes []string) (fsutil.FS, error) {
	files, err := fsutil.NewFilterFS(root, &fsutil.FilterOpt{
		ExcludePatterns: excludes,
		Map: func(_ string, s *types.Stat) fsutil.MapResult {
			s.Uid, s.Gid = 0, 0
			return fsutil.MapResultKeep
		},
	})
	if err != nil {
		return nil, &BadPattern{Pattern: filepath.Join(b.Context, ".dockerignore"), Reason: err.Error()}
	}
	return files, nil
}

// readIgnore prefers <Dockerfile>.dockerignore, as BuildKit does.
func readIgnore(b Build) ([]string, error) {
	for _, path := range []string{b.Dockerfile + ".dockerignore", filepath.Join(b.Context, ".dockerignore")} {
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, &Unreadable{Path: path, Err: cause(err)}
		}
		patterns, err := ignorefile.ReadAll(f)
		f.Close()
		if err != nil {
			return nil, &Unreadable{Path: path, Err: cause(err)}
		}
		return patterns, nil
	}
	return nil, nil
}

// withFile adds one file to a tree, at its top.
type withFile struct {
	fsutil.FS
	name string
	text []byte
}

func (w withFile) Walk(ctx context.Context, target string, fn fs.WalkDirFunc) error {
	stat := &types.Stat{Path: w.name, Mode: 0o644, Size: int64(len(w.text))}
	if err := fn(w.name, &fsutil.DirEntryInfo{Stat: stat}, nil); err != nil {
		return err
	}
	return w.FS.Walk(ctx, target, fn)
}

func (w withFile) Open(path string) (io.ReadCloser, error) {
	if path == w.name {
		return io.NopCloser(bytes.NewReader(w.text)), nil
	}
	return w.FS.Open(path)
}
