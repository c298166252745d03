package docker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxEntries bounds a search: a folder of links that lead to each other in
// ever new ways is endless without being a cycle.
const maxEntries = 10_000_000

// FindDockerfile finds what the input Dockerfile of a task means, by the rules
// of Docker@2. A pattern without * and ? is a path, absolute or below root.
// Any other is searched for below root: folder by folder, the entries of each
// in the order of their names, a folder's content before its next neighbour,
// links followed. A pattern without a slash is compared with the last part of
// the path (minimatch's matchBase), any other with the whole. Wildcards do not
// match a leading dot.
//
// All matching regular files are given, the one Docker@2 would take first, so
// that the caller can warn about the others. Errors: [*NoDockerfile],
// [*BadPattern], [*NotAFile] (only a folder or the like matches),
// [*Unreadable] (a folder on the way, or the first match), or that of ctx.
//
// Source: azure-pipelines-tasks-docker-common fileutils findDockerFile,
// azure-pipelines-task-lib find and match. Two differences: a link that leads
// nowhere fails a search only when its own name matches, and a folder is not
// taken for a Dockerfile while a file matches.
func FindDockerfile(ctx context.Context, root, pattern string) ([]string, error) {
	root = filepath.Clean(root)
	if !strings.ContainsAny(pattern, "*?") {
		return literalDockerfile(root, pattern)
	}
	matcher, err := newMatcher(root, pattern)
	if err != nil {
		return nil, err
	}
	s := search{match: matcher}
	info, err := os.Stat(root)
	if err != nil {
		return nil, &Unreadable{Path: root, Err: cause(err)}
	}
	if err := s.folder(ctx, root, "", []fs.FileInfo{info}); err != nil {
		return nil, err
	}
	switch {
	case len(s.files) > 0:
		return s.files, readable(s.files[0])
	case s.other != "":
		return nil, &NotAFile{Path: s.other}
	default:
		return nil, &NoDockerfile{Pattern: pattern, Root: root}
	}
}

func literalDockerfile(root, path string) ([]string, error) {
	if path == "" {
		return nil, &NoDockerfile{Pattern: path, Root: root}
	}
	full := path
	if !filepath.IsAbs(full) {
		full = filepath.Join(root, path)
	}
	info, err := os.Stat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &NoDockerfile{Pattern: path, Root: root}
	case err != nil:
		return nil, &Unreadable{Path: full, Err: cause(err)}
	case !info.Mode().IsRegular():
		return nil, &NotAFile{Path: full}
	}
	return []string{full}, readable(full)
}

// readable opens the file, because permissions can only be tried.
func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return &Unreadable{Path: path, Err: cause(err)}
	}
	return f.Close()
}

type search struct {
	match *matcher
	files []string // regular files that match
	other string   // the first thing that matches and is no file
	seen  int
}

// folder walks one folder. rel is its path below root with slashes, chain the
// folders from root down to it, to know a cycle of links when it closes.
func (s *search) folder(ctx context.Context, path, rel string, chain []fs.FileInfo) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(path) // in the order of their names
	if err != nil {
		return &Unreadable{Path: path, Err: cause(err)}
	}
	for _, entry := range entries {
		if s.seen++; s.seen > maxEntries {
			return &Unreadable{Path: path, Err: errors.New("too many files below the search folder")}
		}
		below := entry.Name()
		if rel != "" {
			below = rel + "/" + below
		}
		if err := s.entry(ctx, filepath.Join(path, entry.Name()), below, entry, chain); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) entry(ctx context.Context, path, rel string, entry fs.DirEntry, chain []fs.FileInfo) error {
	matches := s.match.matches(rel)
	kind, linked := entry.Type(), entry.Type()&fs.ModeSymlink != 0
	var info fs.FileInfo
	if linked || entry.IsDir() {
		var err error
		if info, err = os.Stat(path); err != nil {
			if linked && !matches {
				return nil
			}
			return &Unreadable{Path: path, Err: cause(err)}
		}
		kind = info.Mode().Type()
	}
	if matches {
		if kind.IsRegular() {
			s.files = append(s.files, path)
		} else if s.other == "" {
			s.other = path
		}
	}
	if !kind.IsDir() {
		return nil
	}
	if linked {
		for _, above := range chain {
			if os.SameFile(above, info) {
				return nil
			}
		}
	}
	return s.folder(ctx, path, rel, append(chain[:len(chain):len(chain)], info))
}

// ContextDirectory gives the folder the build may read: the Dockerfile's own
// for "**" below sources (which is also what an empty input means), otherwise
// buildContext itself, below sources unless it is absolute. It must exist and
// be a folder: [*NoContext], [*Unreadable].
// Source: azure-pipelines-tasks Tasks/DockerV2/dockerbuild.ts.
func ContextDirectory(sources, buildContext, dockerfile string) (string, error) {
	sources = filepath.Clean(sources)
	dir := buildContext
	if dir == "" || dir == "**" || filepath.Clean(dir) == filepath.Join(sources, "**") {
		dir = filepath.Dir(dockerfile)
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(sources, dir)
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", &NoContext{Path: dir}
	case err != nil:
		return "", &Unreadable{Path: dir, Err: cause(err)}
	case !info.IsDir():
		return "", &NoContext{Path: dir, NotDirectory: true}
	}
	return filepath.Clean(dir), nil
}

// cause takes the path out of an error whose path is told elsewhere.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
