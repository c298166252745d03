package docker_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"contenttrust/internal/docker"
	"contenttrust/internal/testkit/enginetest"
	"github.com/google/go-cmp/cmp"
)

// fake starts an Engine and connects to it.
func fake(t *testing.T, o enginetest.Options) (*enginetest.Engine, *docker.Engine) {
	t.Helper()
	f, err := enginetest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	e, err := docker.Connect(t.Context(), docker.Options{Host: f.Host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return f, e
}

func TestConnectSaysWhatTheEngineIs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		give enginetest.Options
		want docker.Info
	}{
		{"an engine with the graphdriver store", enginetest.Options{}, docker.Info{
			Version: "28.5.2", APIVersion: "1.51", EngineAPI: "1.51", OSType: "linux", Architecture: "x86_64", Store: docker.StoreGraphdriver}},
		{"an old engine", enginetest.Options{Version: "20.10.24", APIVersion: "1.41"}, docker.Info{
			Version: "20.10.24", APIVersion: "1.41", EngineAPI: "1.41", OSType: "linux", Architecture: "x86_64", Store: docker.StoreGraphdriver}},
		{"a new rootless engine with the containerd store", enginetest.Options{Version: "29.7.2", APIVersion: "1.56", MinAPIVersion: "1.44", Containerd: true, Rootless: true}, docker.Info{
			Version: "29.7.2", APIVersion: "1.51", EngineAPI: "1.56", OSType: "linux", Architecture: "x86_64", Store: docker.StoreContainerd, Rootless: true}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, e := fake(t, tt.give)
			if diff := cmp.Diff(tt.want, e.Info()); diff != "" {
				t.Error(diff)
			}
			if e.Host() != f.Host {
				t.Errorf("host %s, want %s", e.Host(), f.Host)
			}
			if n := len(f.Requests()); n != 2 {
				t.Errorf("%d requests, want ping and info: %v", n, f.Requests())
			}
		})
	}
}

func TestConnectFaultsAreTyped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := filepath.Join(dir, "file")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	circle := t.TempDir()
	if err := os.Symlink("cert.pem", filepath.Join(circle, "cert.pem")); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }))
	defer web.Close()
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	engine, err := enginetest.New(enginetest.Options{APIVersion: "1.41", MinAPIVersion: "1.24"})
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	strict, err := enginetest.New(enginetest.Options{APIVersion: "1.60", MinAPIVersion: "1.55"})
	if err != nil {
		t.Fatal(err)
	}
	defer strict.Close()
	tcp := func(s *httptest.Server) string { return "tcp://" + s.Listener.Addr().String() }
	tests := []struct {
		name string
		give docker.Options
		want any // an error of the type, with its fields where they are compared
	}{
		{"no socket", docker.Options{Host: "unix://" + filepath.Join(dir, "none")}, &docker.NotRunning{}},
		{"a file that is no socket", docker.Options{Host: "unix://" + plain}, &docker.NotRunning{}},
		{"a refused connection", docker.Options{Host: "tcp://127.0.0.1:1"}, &docker.NotRunning{}},
		{"a name nobody knows", docker.Options{Host: "tcp://engine.invalid:2375"}, &docker.NotRunning{}},
		{"an engine that says nothing", docker.Options{Host: "tcp://" + silent.Addr().String(), Timeout: 200 * time.Millisecond}, &docker.NotRunning{}},
		{"a web server", docker.Options{Host: tcp(web)}, &docker.NotAnEngine{}},
		{"tls where none is expected", docker.Options{Host: tcp(secure)}, &docker.BadTLS{}},
		{"no tls where it is expected", docker.Options{Host: tcp(web), TLS: true, CertPath: dir}, &docker.BadTLS{}},
		{"a certificate nobody trusts", docker.Options{Host: tcp(secure), TLS: true, CertPath: dir}, &docker.BadTLS{}},
		{"an unknown scheme", docker.Options{Host: "ssh://me@host"}, &docker.BadHost{}},
		{"a relative socket", docker.Options{Host: "unix://docker.sock"}, &docker.BadHost{}},
		{"a socket path that is too long", docker.Options{Host: "unix:///" + strings.Repeat("x", 200)}, &docker.BadHost{}},
		{"a client certificate that is there and cannot be read", docker.Options{Host: "tcp://127.0.0.1:1", TLS: true, CertPath: circle}, &docker.BadTLS{}},
		{"a port that is none", docker.Options{Host: "tcp://host:70000"}, &docker.BadHost{}},
		{"no host", docker.Options{Host: "tcp://:2375"}, &docker.BadHost{}},
		{"a pipe away from windows", docker.Options{Host: "npipe:////./pipe/docker_engine"}, &docker.BadHost{}},
		{"a version that is too new", docker.Options{Host: engine.Host, APIVersion: "1.50"}, &docker.WrongAPIVersion{Asked: "1.50", Limit: "1.41", TooNew: true, Fixed: true}},
		{"a version that is too old", docker.Options{Host: engine.Host, APIVersion: "1.12"}, &docker.WrongAPIVersion{Asked: "1.12", Limit: "1.24", Fixed: true}},
		{"a version that is none", docker.Options{Host: engine.Host, APIVersion: "latest"}, &docker.WrongAPIVersion{Asked: "latest", Fixed: true}},
		{"an engine that has left us behind", docker.Options{Host: strict.Host}, &docker.WrongAPIVersion{Asked: "1.51", Limit: "1.55"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := docker.Connect(t.Context(), tt.give)
			if err == nil {
				t.Fatal("it connected")
			}
			switch want := tt.want.(type) {
			case *docker.NotRunning:
				as(t, err, &want)
			case *docker.NotAnEngine:
				as(t, err, &want)
			case *docker.BadTLS:
				as(t, err, &want)
			case *docker.BadHost:
				as(t, err, &want)
			case *docker.WrongAPIVersion:
				got := as(t, err, new(*docker.WrongAPIVersion))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
			if err.Error() == "" || len(err.Error()) > 8192 {
				t.Errorf("text of %d bytes", len(err.Error()))
			}
		})
	}
}

// as fails the test unless err is of the target's type, and gives it.
func as[T error](t *testing.T, err error, target *T) T {
	t.Helper()
	if !errors.As(err, target) {
		t.Fatalf("got %T (%v), want %T", err, err, *target)
	}
	return *target
}

func TestConnectTellsASocketItMayNotOpen(t *testing.T) {
	if os.Geteuid() == 0 {
		// Root may open everything; a folder it cannot be kept out of would
		// prove nothing, so a child without the right asks instead.
		asNobody(t)
		return
	}
	dir := t.TempDir()
	f, err := enginetest.New(enginetest.Options{Socket: filepath.Join(dir, "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Chmod(filepath.Join(dir, "s"), 0); err != nil {
		t.Fatal(err)
	}
	_, err = docker.Connect(t.Context(), docker.Options{Host: f.Host})
	as(t, err, new(*docker.NotPermitted))
}

func TestConnectWorksOnASocket(t *testing.T) {
	t.Parallel()
	f, err := enginetest.New(enginetest.Options{Socket: filepath.Join(t.TempDir(), "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	e, err := docker.Connect(t.Context(), docker.Options{Host: f.Host})
	if err != nil {
		t.Fatal(err)
	}
	e.Close()
}

func TestConnectEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := docker.Connect(ctx, docker.Options{Host: "tcp://127.0.0.1:1"})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestOptionsFromReadsWhatDockerReads(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		env  map[string]string
		want docker.Options
	}{
		{"nothing", nil, docker.Options{}},
		{"host and version", map[string]string{"DOCKER_HOST": "tcp://h:1", "DOCKER_API_VERSION": "1.41"}, docker.Options{Host: "tcp://h:1", APIVersion: "1.41"}},
		{"tls with its folder", map[string]string{"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": "/certs"}, docker.Options{TLS: true, CertPath: "/certs"}},
		{"tls in docker's folder", map[string]string{"DOCKER_TLS": "1", "HOME": "/home/me"}, docker.Options{TLS: true, CertPath: filepath.Join("/home/me", ".docker")}},
		{"certificates alone do not switch tls on", map[string]string{"DOCKER_CERT_PATH": "/certs"}, docker.Options{CertPath: "/certs"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := docker.OptionsFrom(func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok })
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestImageIDAndTag(t *testing.T) {
	t.Parallel()
	id := "sha256:" + strings.Repeat("a", 64)
	_, e := fake(t, enginetest.Options{Images: map[string]string{"reg/app:1": id}})
	got, err := e.ImageID(t.Context(), "reg/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(docker.Image{ID: id, ConfigDigest: id}, got); diff != "" {
		t.Error(diff)
	}
	if err := e.Tag(t.Context(), "reg/app:1", "reg.example/app:2"); err != nil {
		t.Fatal(err)
	}
	if got, err := e.ImageID(t.Context(), "reg.example/app:2"); err != nil || got.ID != id {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = e.ImageID(t.Context(), "reg/none:1")
	as(t, err, new(*docker.NoImage))
	as(t, e.Tag(t.Context(), "reg/app:1", "Reg/App"), new(*docker.BadName))
}

func TestImageIDInAContainerdStoreIsTheManifest(t *testing.T) {
	t.Parallel()
	id := "sha256:" + strings.Repeat("a", 64)
	_, e := fake(t, enginetest.Options{Containerd: true, Images: map[string]string{"reg/app:1": id}})
	got, err := e.ImageID(t.Context(), "reg/app:1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(docker.Image{ID: id, ManifestDigest: id}, got); diff != "" {
		t.Error(diff)
	}
}
