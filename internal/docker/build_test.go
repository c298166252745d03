package docker_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"contenttrust/internal/docker"
	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/enginetest"
	"github.com/google/go-cmp/cmp"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/solver/pb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

var (
	imageID  = "sha256:" + strings.Repeat("a", 64)
	configID = "sha256:" + strings.Repeat("c", 64)
)

// given is a build of a Dockerfile with this text.
func given(t *testing.T, text string) docker.Build {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "Dockerfile")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return docker.Build{Dockerfile: file, Context: dir}
}

func built(*enginetest.Solve) (map[string]string, error) {
	return map[string]string{"containerimage.digest": imageID}, nil
}

func TestBuildSaysEverythingToTheFrontend(t *testing.T) {
	t.Parallel()
	var got *controlapi.SolveRequest
	_, e := fake(t, enginetest.Options{Containerd: true, Solve: func(s *enginetest.Solve) (map[string]string, error) {
		got = s.Request
		return built(s)
	}})
	b := given(t, "FROM scratch\n")
	b.Names = []string{"reg.example/app:1", "reg.example/app:2"}
	b.Labels = []docker.Label{{Name: "l", Value: "old"}, {Name: "l", Value: "new"}}
	b.Args = []docker.Pair{{Name: "A", Value: "x=y,z"}}
	b.Target, b.Platforms, b.Network = "final", []string{"linux/amd64", "linux/arm64"}, "host"
	b.NoCacheStages, b.Pull, b.ShmSize = []string{"s1", "s2"}, true, 64
	b.ExtraHosts = []docker.Pair{{Name: "db", Value: "10.0.0.1"}, {Name: "web", Value: "10.0.0.2"}}
	b.Ulimits, b.CgroupParent = []string{"nofile=1:2"}, "slice"
	b.CacheFrom = []docker.Cache{{Type: "registry", Attrs: map[string]string{"ref": "reg.example/cache"}}}
	b.CacheTo = []docker.Cache{{Type: "inline"}}
	b.Contexts = []docker.Pair{{Name: "lib", Value: b.Context}, {Name: "base", Value: "docker-image://x"}}
	b.Annotations = []docker.Pair{{Name: "n", Value: "v"}}
	b.Attestations = []docker.Pair{{Name: "provenance", Value: "mode=max"}}
	if _, err := e.Build(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"filename": "Dockerfile", "label:l": "new", "build-arg:A": "x=y,z", "target": "final",
		"platform": "linux/amd64,linux/arm64", "force-network-mode": "host", "no-cache": "s1,s2",
		"image-resolve-mode": "pull", "shm-size": "64", "add-hosts": "db=10.0.0.1,web=10.0.0.2",
		"ulimit": "nofile=1:2", "cgroup-parent": "slice", "context:lib": "local:context-0",
		"context:base": "docker-image://x", "attest:provenance": "mode=max",
		"cache-imports": `[{"Type":"registry","Attrs":{"ref":"reg.example/cache"}}]`,
	}
	if diff := cmp.Diff(want, got.FrontendAttrs); diff != "" {
		t.Error(diff)
	}
	if got.Frontend != "dockerfile.v0" || len(got.Exporters) != 1 || got.Exporters[0].Type != "moby" {
		t.Errorf("frontend %s, exporters %v", got.Frontend, got.Exporters)
	}
	if diff := cmp.Diff(map[string]string{"name": "reg.example/app:1,reg.example/app:2", "annotation.n": "v"}, got.Exporters[0].Attrs); diff != "" {
		t.Error(diff)
	}
	if len(got.Entitlements) != 1 || got.Entitlements[0] != "network.host" {
		t.Errorf("entitlements %v", got.Entitlements)
	}
}

func TestBuildNamesTheImage(t *testing.T) {
	t.Parallel()
	descriptor := base64.StdEncoding.EncodeToString([]byte(`{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + imageID + `","size":480}`))
	full := map[string]string{"containerimage.digest": imageID, "containerimage.config.digest": configID, "containerimage.descriptor": descriptor}
	tests := []struct {
		name       string
		containerd bool
		answer     map[string]string
		want       docker.Image
	}{
		{"graphdriver", false, map[string]string{"containerimage.digest": imageID}, docker.Image{ID: imageID, ConfigDigest: imageID}},
		{"containerd", true, full, docker.Image{ID: imageID, ManifestDigest: imageID, ConfigDigest: configID, MediaType: "application/vnd.oci.image.manifest.v1+json", Size: 480}},
		{"containerd without a descriptor", true, map[string]string{"containerimage.digest": imageID}, docker.Image{ID: imageID, ManifestDigest: imageID}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, e := fake(t, enginetest.Options{Containerd: tt.containerd, Solve: func(*enginetest.Solve) (map[string]string, error) { return tt.answer, nil }})
			got, err := e.Build(t.Context(), given(t, "FROM scratch\n"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("an answer without a digest is a failure", func(t *testing.T) {
		t.Parallel()
		_, e := fake(t, enginetest.Options{Solve: func(*enginetest.Solve) (map[string]string, error) { return nil, nil }})
		_, err := e.Build(t.Context(), given(t, "FROM scratch\n"))
		as(t, err, new(*docker.BuildError))
	})
}

func TestBuildRefusesWhatTheEngineWouldDrop(t *testing.T) {
	t.Parallel()
	_, e := fake(t, enginetest.Options{Solve: built})
	windows, w := fake(t, enginetest.Options{OSType: "windows"})
	for name, change := range map[string]func(*docker.Build){
		"several platforms": func(b *docker.Build) { b.Platforms = []string{"linux/amd64", "linux/arm64"} },
		"attestations":      func(b *docker.Build) { b.Attestations = []docker.Pair{{Name: "sbom"}} },
		"annotations":       func(b *docker.Build) { b.Annotations = []docker.Pair{{Name: "a", Value: "b"}} },
		"cache export":      func(b *docker.Build) { b.CacheTo = []docker.Cache{{Type: "registry"}} },
		"a network":         func(b *docker.Build) { b.Network = "bridge0" },
		"host-gateway":      func(b *docker.Build) { b.ExtraHosts = []docker.Pair{{Name: "h", Value: "host-gateway"}} },
	} {
		b := given(t, "FROM scratch\n")
		change(&b)
		_, err := e.Build(t.Context(), b)
		t.Log(name)
		as(t, err, new(*docker.Unsupported))
	}
	b := given(t, "FROM scratch\n")
	b.Secrets = []docker.Secret{{ID: "s", Value: secret.New("x")}}
	_, err := w.Build(t.Context(), b)
	as(t, err, new(*docker.Unsupported))
	if n := len(windows.Requests()); n != 2 {
		t.Errorf("%d requests, want none for the build", n)
	}
}

func TestBuildChecksItsFilesBeforeTheEngine(t *testing.T) {
	t.Parallel()
	f, e := fake(t, enginetest.Options{Solve: built})
	good := given(t, "FROM scratch\n")
	for name, tt := range map[string]struct {
		change func(*docker.Build)
		want   error
	}{
		"no dockerfile":    {func(b *docker.Build) { b.Dockerfile += "x" }, &docker.NoDockerfile{}},
		"a folder for it":  {func(b *docker.Build) { b.Dockerfile = b.Context }, &docker.NotAFile{}},
		"no context":       {func(b *docker.Build) { b.Context += "x" }, &docker.NoContext{}},
		"a wrong name":     {func(b *docker.Build) { b.Names = []string{"Reg/App:1"} }, &docker.BadName{}},
		"a digest name":    {func(b *docker.Build) { b.Names = []string{"reg/app@" + imageID} }, &docker.BadName{}},
		"no secret file":   {func(b *docker.Build) { b.Secrets = []docker.Secret{{ID: "x", File: "/nowhere"}} }, &docker.Unreadable{}},
		"no named context": {func(b *docker.Build) { b.Contexts = []docker.Pair{{Name: "x", Value: "/nowhere"}} }, &docker.NoContext{}},
	} {
		b := good
		tt.change(&b)
		_, err := e.Build(t.Context(), b)
		if got, want := fmt.Sprintf("%T", err), fmt.Sprintf("%T", tt.want); got != want {
			t.Errorf("%s: got %s (%v), want %s", name, got, err, want)
		}
	}
	for _, r := range f.Requests() {
		if r.Path == "/session" {
			t.Error("a build was started")
		}
	}
}

func TestBuildCredentialsStayInMemory(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", filepath.Join(home, "config"))
	var lines []string
	_, e := fake(t, enginetest.Options{Solve: func(s *enginetest.Solve) (map[string]string, error) {
		if code := status.Code(s.TokenAuthority("reg.example")); code != codes.Unimplemented {
			t.Errorf("token authority: %v", code)
		}
		for _, host := range []string{"reg.example", "registry-1.docker.io", "other.example"} {
			user, password, err := s.Credentials(host)
			if err != nil {
				return nil, err
			}
			lines = append(lines, host+"="+user+":"+password)
		}
		value, err := s.Secret("npm")
		if err != nil {
			return nil, err
		}
		lines = append(lines, string(value))
		return built(s)
	}})
	b := given(t, "FROM scratch\n")
	b.Secrets = []docker.Secret{{ID: "npm", Value: secret.New("hidden")}}
	b.Credentials = func(host string) (string, secret.Value, bool) {
		switch host {
		case "reg.example":
			return "me", secret.New("pw"), true
		case "docker.io":
			return "", secret.New("identity"), true
		}
		return "", secret.Value{}, false
	}
	if _, err := e.Build(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	want := []string{"reg.example=me:pw", "registry-1.docker.io=:identity", "other.example=:", "hidden"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	if left, err := os.ReadDir(home); err != nil || len(left) > 0 {
		t.Errorf("files were left in the home folder: %v, %v", left, err)
	}
}

func TestBuildWorksWhereTheHijackEndpointsAreGone(t *testing.T) {
	t.Parallel()
	f, e := fake(t, enginetest.Options{NoHijack: true, Solve: func(s *enginetest.Solve) (map[string]string, error) {
		if _, _, err := s.Credentials("x"); err != nil {
			return nil, err
		}
		return built(s)
	}})
	got, err := e.Build(t.Context(), given(t, "FROM scratch\n"))
	if err != nil || got.ID != imageID {
		t.Errorf("%+v, %v; requests %v", got, err, f.Requests())
	}
}

func TestBuildEndsWhenTheStatusDoesNot(t *testing.T) {
	t.Parallel()
	_, e := fake(t, enginetest.Options{EmptyStatus: true, Solve: func(s *enginetest.Solve) (map[string]string, error) {
		now := timestamppb.Now()
		s.Send(&controlapi.StatusResponse{
			Vertexes: []*controlapi.Vertex{{Digest: imageID, Name: "RUN x", Started: now}},
			Logs:     []*controlapi.VertexLog{{Vertex: imageID, Msg: []byte("text\n"), Timestamp: now}},
		})
		return built(s)
	}})
	started := time.Now()
	var out bytes.Buffer
	b := given(t, "FROM scratch\n")
	b.Progress.Out = &out
	got, err := e.Build(t.Context(), b)
	if !strings.Contains(out.String(), " text\n") || !strings.Contains(out.String(), "stopped reporting") {
		t.Errorf("%q", out.String())
	}
	if err != nil || got.ID != imageID {
		t.Errorf("%+v, %v", got, err)
	}
	if d := time.Since(started); d > 10*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestBuildWritesItsProgress(t *testing.T) {
	t.Parallel()
	at := func(ms int) *timestamppb.Timestamp {
		return timestamppb.New(time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond))
	}
	a, b, c := "sha256:"+strings.Repeat("1", 64), "sha256:"+strings.Repeat("2", 64), "sha256:"+strings.Repeat("3", 64)
	log := func(v, text string, ms int) *controlapi.StatusResponse {
		return &controlapi.StatusResponse{Logs: []*controlapi.VertexLog{{Vertex: v, Stream: 1, Msg: []byte(text), Timestamp: at(ms)}}}
	}
	_, e := fake(t, enginetest.Options{Solve: func(s *enginetest.Solve) (map[string]string, error) {
		s.Send(&controlapi.StatusResponse{Vertexes: []*controlapi.Vertex{
			{Digest: a, Name: "[a 1/2] RUN one", Started: at(0)}, {Digest: b, Name: "[b 1/2] RUN\ttwo", Started: at(10)},
			{Digest: c, Name: "[2/2] COPY . ."}}})
		s.Send(log(a, "first\nsec", 500))
		s.Send(log(b, "other\n", 600))
		s.Send(log(a, "ond\r\n10%\r20%\n", 1500))
		s.Send(&controlapi.StatusResponse{Vertexes: []*controlapi.Vertex{{Digest: a, Name: "[a 1/2] RUN one", Started: at(0), Completed: at(2000)}}})
		s.Send(log(b, "##vso[x]\nunfinished", 2500))
		s.Send(&controlapi.StatusResponse{
			Vertexes: []*controlapi.Vertex{
				{Digest: b, Name: "[b 1/2] RUN\ttwo", Started: at(10), Completed: at(3010)},
				{Digest: c, Name: "[2/2] COPY . .", Started: at(3010), Completed: at(3010), Cached: true}},
			Warnings: []*controlapi.VertexWarning{
				{Vertex: c, Short: []byte("Rule: text"), Url: "https://x", Info: &pb.SourceInfo{Filename: "Dockerfile"}, Ranges: []*pb.Range{{Start: &pb.Position{Line: 3}}}},
				{Vertex: c, Short: []byte("Rule: text"), Url: "https://x", Info: &pb.SourceInfo{Filename: "Dockerfile"}, Ranges: []*pb.Range{{Start: &pb.Position{Line: 3}}}}},
		})
		return built(s)
	}})
	var out bytes.Buffer
	var warnings []docker.Warning
	var done []string
	build := given(t, "FROM scratch\n")
	build.Progress = docker.Progress{Out: &out,
		Warning: func(w docker.Warning) { warnings = append(warnings, w) },
		StepDone: func(s docker.Step) {
			done = append(done, fmt.Sprintf("%d %s %v %v", s.Number, s.Name, s.Cached, s.Duration))
		},
	}
	if _, err := e.Build(t.Context(), build); err != nil {
		t.Fatal(err)
	}
	want := `#1 [a 1/2] RUN one
#1 0.500 first
#1 1.500 second
#1 1.500 20%
#1 done in 2.0s
#2 [b 1/2] RUN two
#2 0.590 other
#2 2.490 ##vso[x]
#2 2.490 unfinished
#2 done in 3.0s
#3 [2/2] COPY . .: cached
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]docker.Warning{{Text: "Rule: text", URL: "https://x", File: "Dockerfile", Line: 3}}, warnings); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"1 RUN one false 2s", "2 RUN two false 3s", "3 COPY . . true 0s"}, done); diff != "" {
		t.Error(diff)
	}
}
