package docker_test

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"contenttrust/internal/docker"
	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/enginetest"
	"github.com/google/go-cmp/cmp"
)

func stream(text string) any { return map[string]string{"stream": text} }

// windows is an Engine for Windows containers that knows the built image.
func windows(t *testing.T, answer func(w http.ResponseWriter, q url.Values, files map[string]string, r *http.Request)) *docker.Engine {
	t.Helper()
	_, e := fake(t, enginetest.Options{
		OSType: "windows", Images: map[string]string{imageID: imageID},
		Classic: func(w http.ResponseWriter, r *http.Request) {
			files := map[string]string{}
			for archive := tar.NewReader(r.Body); ; {
				h, err := archive.Next()
				if err != nil {
					break
				}
				text, _ := io.ReadAll(archive)
				files[h.Name] = string(text)
			}
			answer(w, r.URL.Query(), files, r)
		},
	})
	return e
}

func TestClassicBuildSendsTheContextAndReadsTheStream(t *testing.T) {
	t.Parallel()
	var query url.Values
	var names []string
	auth := map[string]struct{ Username, Password, IdentityToken string }{}
	e := windows(t, func(w http.ResponseWriter, q url.Values, files map[string]string, r *http.Request) {
		query = q
		for name := range files {
			names = append(names, name)
		}
		raw, _ := base64.URLEncoding.DecodeString(r.Header.Get("X-Registry-Config"))
		json.Unmarshal(raw, &auth)
		enginetest.Send(w, stream("Step 1/2 : FROM reg.example/base\n"), stream(" ---> 123\n"), stream("Step 2/2 : RUN cmd\n"),
			stream("hel"), stream("lo\n"), map[string]any{"aux": map[string]string{"ID": imageID}}, stream("Successfully built 123\n"))
	})
	b := given(t, "FROM reg.example/base\nRUN cmd\n")
	for name, text := range map[string]string{".dockerignore": "*.secret\nDockerfile\n", "a.secret": "x", "b.txt": "y"} {
		if err := os.WriteFile(filepath.Join(b.Context, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	b.Names, b.Args, b.Progress.Out = []string{"other.example/app:1"}, []docker.Pair{{Name: "A", Value: "b"}}, &out
	b.Credentials = func(host string) (string, secret.Value, bool) { return "u-" + host, secret.New("p"), true }
	got, err := e.Build(t.Context(), b)
	if err != nil || got.ID != imageID {
		t.Fatalf("%+v, %v", got, err)
	}
	sort.Strings(names)
	if diff := cmp.Diff([]string{".dockerignore", "Dockerfile", "b.txt"}, names); diff != "" {
		t.Error(diff)
	}
	if query.Get("dockerfile") != "Dockerfile" || query.Get("t") != "other.example/app:1" || query.Get("buildargs") != `{"A":"b"}` {
		t.Errorf("query %v", query)
	}
	if auth["reg.example"].Username != "u-reg.example" || auth["other.example"].Password != "p" {
		t.Errorf("credentials %v", auth)
	}
	for _, line := range []string{"#1 [1/2] FROM reg.example/base\n", " hello\n", "#2 done in "} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is missing in:\n%s", line, out.String())
		}
	}
}

func TestClassicBuildSendsADockerfileFromElsewhere(t *testing.T) {
	t.Parallel()
	var sent string
	e := windows(t, func(w http.ResponseWriter, q url.Values, files map[string]string, _ *http.Request) {
		sent = files[q.Get("dockerfile")]
		enginetest.Send(w, map[string]any{"aux": map[string]string{"ID": imageID}})
	})
	b := given(t, "FROM elsewhere\n")
	b.Context = t.TempDir()
	if _, err := e.Build(t.Context(), b); err != nil || sent != "FROM elsewhere\n" {
		t.Errorf("%v, %q", err, sent)
	}
}

func TestClassicBuildFaultsAreTyped(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer func(w http.ResponseWriter)
		check  func(t *testing.T, err error)
	}{
		{"a step that fails", func(w http.ResponseWriter) {
			enginetest.Send(w, stream("Step 1/1 : RUN cmd\n"), stream("oops\n"), map[string]any{
				"errorDetail": map[string]any{"code": 3, "message": "The command 'cmd' returned a non-zero code: 3"}, "error": "x"})
		}, func(t *testing.T, err error) {
			got := as(t, err, new(*docker.BuildError))
			if got.ExitCode != 3 || got.Step != "RUN cmd" || got.Position != "1/1" || strings.Join(got.Tail, "|") != "oops" {
				t.Errorf("%+v", got)
			}
		}},
		{"a parse error", func(w http.ResponseWriter) {
			enginetest.Fail(w, 400, "dockerfile parse error on line 2: unknown instruction: X")
		}, func(t *testing.T, err error) {
			if got := as(t, err, new(*docker.DockerfileError)); got.Line != 2 {
				t.Errorf("%+v", got)
			}
		}},
		{"a stream that breaks off", func(w http.ResponseWriter) {
			enginetest.Send(w, stream("Step 1/1 : RUN cmd\n"))
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
		}, func(t *testing.T, err error) {
			as(t, err, new(*docker.BuildError))
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("got %v", err)
			}
		}},
		{"an end without an image", func(w http.ResponseWriter) { enginetest.Send(w, stream("Step 1/1 : RUN cmd\n")) },
			func(t *testing.T, err error) { as(t, err, new(*docker.BuildError)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e := windows(t, func(w http.ResponseWriter, _ url.Values, _ map[string]string, _ *http.Request) { tt.answer(w) })
			_, err := e.Build(t.Context(), given(t, "FROM scratch\n"))
			tt.check(t, err)
		})
	}
}

func TestAnEngineWithoutBuildKitBuildsTheClassicWay(t *testing.T) {
	t.Parallel()
	asked := false
	_, e := fake(t, enginetest.Options{
		NoHijack: true, NoNative: true, Images: map[string]string{imageID: imageID},
		Classic: func(w http.ResponseWriter, r *http.Request) {
			asked = true
			io.Copy(io.Discard, r.Body)
			enginetest.Send(w, map[string]any{"aux": map[string]string{"ID": imageID}})
		},
	})
	if _, err := e.Build(t.Context(), given(t, "FROM scratch\n")); err != nil || !asked {
		t.Errorf("%v, asked %v", err, asked)
	}
}
