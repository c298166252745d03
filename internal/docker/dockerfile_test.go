package docker_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"contenttrust/internal/docker"
	"github.com/google/go-cmp/cmp"
)

// tree makes files (or folders, for names that end in a slash) and gives the root.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if name[len(name)-1] == '/' {
			err = os.MkdirAll(path, 0o755)
		} else {
			err = os.WriteFile(path, []byte("FROM scratch\n"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestFindDockerfileFollowsDocker2(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		files   []string
		pattern string // $ is the root
		want    []string
	}{
		{"the default finds the file at the top", []string{"Dockerfile"}, "**/Dockerfile", []string{"Dockerfile"}},
		{"folders come in the order of their names, depth first", []string{"b/Dockerfile", "a/z/Dockerfile", "Dockerfile", "A/Dockerfile"}, "**/Dockerfile",
			[]string{"A/Dockerfile", "Dockerfile", "a/z/Dockerfile", "b/Dockerfile"}},
		{"the agent makes the pattern absolute", []string{"x/Dockerfile"}, "$/**/Dockerfile", []string{"x/Dockerfile"}},
		{"folders with a dot are not entered by **", []string{".devcontainer/Dockerfile", "src/Dockerfile"}, "**/Dockerfile", []string{"src/Dockerfile"}},
		{"a dot that is written matches", []string{".devcontainer/Dockerfile"}, "**/.devcontainer/Dockerfile*", []string{".devcontainer/Dockerfile"}},
		{"without a slash the last part is compared", []string{"x/y/Dockerfile.web", "Dockerfile.api", "x/.Dockerfile"}, "*Dockerfile*",
			[]string{"Dockerfile.api", "x/y/Dockerfile.web"}},
		{"a star does not cross a slash", []string{"a/b/Dockerfile", "a/Dockerfile"}, "*/Dockerfile", []string{"a/Dockerfile"}},
		{"** stands for several folders", []string{"a/b/c/Dockerfile", "a/Dockerfile", "b/Dockerfile"}, "a/**/Dockerfile", []string{"a/Dockerfile", "a/b/c/Dockerfile"}},
		{"** inside a name is a star", []string{"xDockerfile", "a/xDockerfile"}, "a/**Dockerfile", []string{"a/xDockerfile"}},
		{"a question mark is one character", []string{"Dockerfile1", "Dockerfile12"}, "Dockerfile?", []string{"Dockerfile1"}},
		{"alternatives in braces", []string{"api/Dockerfile", "web/Dockerfile", "db/Dockerfile"}, "{api,w{e,x}b}/Dockerfile*", []string{"api/Dockerfile", "web/Dockerfile"}},
		{"classes", []string{"Dockerfile.1", "Dockerfile.2", "Dockerfile.x"}, "**/Dockerfile.[!x]*", []string{"Dockerfile.1", "Dockerfile.2"}},
		{"a class that does not close is text", []string{"Dockerfile.[1"}, "Dockerfile.[?", []string{"Dockerfile.[1"}},
		{"case matters", []string{"dockerfile", "x/Dockerfile"}, "**/Dockerfile", []string{"x/Dockerfile"}},
		{"folders of that name are passed by", []string{"Dockerfile/", "x/Dockerfile"}, "**/Dockerfile", []string{"x/Dockerfile"}},
		{"no wildcard: a path below the root", []string{"x/Dockerfile"}, "x/Dockerfile", []string{"x/Dockerfile"}},
		{"no wildcard: an absolute path", []string{"x/Dockerfile"}, "$/x/Dockerfile", []string{"x/Dockerfile"}},
		{"a root with wildcards in its name", []string{"[1]/Dockerfile"}, "$/**/Dockerfile", []string{"[1]/Dockerfile"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			root := tree(t, tt.files...)
			pattern := tt.pattern
			if pattern[0] == '$' {
				pattern = root + pattern[1:]
			}
			got, err := docker.FindDockerfile(t.Context(), root, pattern)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got {
				rel, err := filepath.Rel(root, got[i])
				if err != nil {
					t.Fatal(err)
				}
				got[i] = filepath.ToSlash(rel)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFindDockerfileFaultsAreTyped(t *testing.T) {
	t.Parallel()
	root := tree(t, "Dockerfile/", "sub/Dockerfile")
	find := func(pattern string) error {
		_, err := docker.FindDockerfile(t.Context(), root, pattern)
		return err
	}
	none := as(t, find("**/Dockerfile.web"), new(*docker.NoDockerfile))
	if none.Pattern != "**/Dockerfile.web" || none.Root != root {
		t.Errorf("%+v", none)
	}
	as(t, find("nothing/here"), new(*docker.NoDockerfile))
	as(t, find(""), new(*docker.NoDockerfile))
	as(t, find("Dockerfile"), new(*docker.NotAFile))
	as(t, find("./Dockerfil?"), new(*docker.NotAFile))
	as(t, find("!**/Dockerfile"), new(*docker.BadPattern))
	as(t, find("**/+(a|b)/Dockerfile"), new(*docker.BadPattern))
	as(t, find("*{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}"), new(*docker.BadPattern))
	_, err := docker.FindDockerfile(t.Context(), filepath.Join(root, "gone"), "**/Dockerfile")
	as(t, err, new(*docker.Unreadable))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := docker.FindDockerfile(ctx, root, "**/Dockerfile"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestFindDockerfileAndLinks(t *testing.T) {
	t.Parallel()
	root := tree(t, "a/real/Dockerfile", "b/")
	for link, target := range map[string]string{
		"b/round":  "..",        // a cycle
		"b/side":   "../a/real", // another way to a folder
		"c":        "nowhere",   // broken
		"a/linked": "real/Dockerfile",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := docker.FindDockerfile(t.Context(), root, "**/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(root, "a/real/Dockerfile"), filepath.Join(root, "b/side/Dockerfile")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got, err := docker.FindDockerfile(t.Context(), root, "link*"); err != nil || len(got) != 1 {
		t.Errorf("a link to a file: %v, %v", got, err)
	}
	if err := os.Symlink("nowhere", filepath.Join(root, "Dockerfile")); err != nil {
		t.Fatal(err)
	}
	_, err = docker.FindDockerfile(t.Context(), root, "**/Dockerfile")
	as(t, err, new(*docker.Unreadable))
}

func TestContextDirectoryFollowsDocker2(t *testing.T) {
	t.Parallel()
	root := tree(t, "app/Dockerfile", "other/x")
	file := filepath.Join(root, "app", "Dockerfile")
	for give, want := range map[string]string{
		"**":                         "app",
		"":                           "app",
		filepath.Join(root, "**"):    "app",
		root + "/./**":               "app",
		".":                          "",
		"other":                      "other",
		filepath.Join(root, "other"): "other",
	} {
		got, err := docker.ContextDirectory(root, give, file)
		if err != nil || got != filepath.Join(root, want) {
			t.Errorf("%q gives %q, %v; want %q", give, got, err, want)
		}
	}
	_, err := docker.ContextDirectory(root, "missing", file)
	as(t, err, new(*docker.NoContext))
	_, err = docker.ContextDirectory(root, "app/Dockerfile", file)
	if !as(t, err, new(*docker.NoContext)).NotDirectory {
		t.Error("NotDirectory is not set")
	}
}

func FuzzFindDockerfile(f *testing.F) {
	for _, seed := range []string{"**/Dockerfile", "a/*/b", "{a,{b,c}}", "[a-", "**/**/?", "*{", "}{,}*", "/**/x", `\*`} {
		f.Add(seed)
	}
	root := f.TempDir()
	for _, name := range []string{"Dockerfile", "a/b/Dockerfile", ".x/Dockerfile", "a/[x/f"} {
		path := filepath.Join(root, name)
		if os.MkdirAll(filepath.Dir(path), 0o755) != nil || os.WriteFile(path, nil, 0o644) != nil {
			f.Fatal("no test tree")
		}
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		found, err := docker.FindDockerfile(t.Context(), root, pattern)
		if err == nil && len(found) == 0 {
			t.Error("neither a file nor an error")
		}
		if err != nil && len(found) > 0 && !errors.As(err, new(*docker.Unreadable)) {
			t.Errorf("files and %v", err)
		}
		for _, path := range found {
			if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
				t.Errorf("%s is no file", path)
			}
		}
	})
}
