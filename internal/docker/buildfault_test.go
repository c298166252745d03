package docker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"contenttrust/internal/docker"
	"contenttrust/internal/testkit/enginetest"
	"github.com/google/go-cmp/cmp"
	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func TestBuildFaultsAreTyped(t *testing.T) {
	t.Parallel()
	vertex := "sha256:" + strings.Repeat("1", 64)
	failing := func(name, text string, err error) func(*enginetest.Solve) (map[string]string, error) {
		return func(s *enginetest.Solve) (map[string]string, error) {
			now := timestamppb.Now()
			s.Send(&controlapi.StatusResponse{Vertexes: []*controlapi.Vertex{{Digest: vertex, Name: name, Started: now}}})
			for i := range 100 {
				s.Send(&controlapi.StatusResponse{Logs: []*controlapi.VertexLog{{Vertex: vertex, Stream: 1, Msg: fmt.Appendf(nil, "line %d\n", i), Timestamp: now}}})
			}
			s.Send(&controlapi.StatusResponse{Vertexes: []*controlapi.Vertex{{Digest: vertex, Name: name, Started: now, Completed: now, Error: text}}})
			return nil, err
		}
	}
	source := &errdefs.Source{Info: &pb.SourceInfo{Filename: "Dockerfile"}, Ranges: []*pb.Range{{Start: &pb.Position{Line: 7}}}}
	exit := `process "/bin/sh -c make" did not complete successfully: exit code: 2`
	t.Run("a step that fails", func(t *testing.T) {
		t.Parallel()
		_, e := fake(t, enginetest.Options{Solve: failing("[build 2/5] RUN make", exit,
			errdefs.WithSource(errdefs.WrapVertex(errors.New(exit), digest.Digest(vertex)), source))})
		b := given(t, "FROM scratch\n")
		_, err := e.Build(t.Context(), b)
		got := as(t, err, new(*docker.BuildError))
		if len(got.Tail) != 40 || got.Tail[0] != "line 60" || got.Tail[39] != "line 99" {
			t.Errorf("tail %q", got.Tail)
		}
		want := docker.BuildError{Step: "RUN make", Position: "build 2/5", ExitCode: 2, File: b.Dockerfile, Line: 7, Tail: got.Tail, Cause: got.Cause}
		if diff := cmp.Diff(want, *got, cmp.Comparer(func(a, b error) bool { return a.Error() == b.Error() })); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("a base image that may not be had", func(t *testing.T) {
		t.Parallel()
		text := "failed to resolve source metadata for reg/x: pull access denied, repository does not exist or may require authorization"
		_, e := fake(t, enginetest.Options{Solve: failing("[internal] load metadata for reg/x", text, errors.New(text))})
		_, err := e.Build(t.Context(), given(t, "FROM reg/x\n"))
		if got := as(t, err, new(*docker.BuildError)); got.Registry != docker.ReasonDenied {
			t.Errorf("reason %v", got.Registry)
		}
	})
	plain := func(text string) func(*enginetest.Solve) (map[string]string, error) {
		return func(*enginetest.Solve) (map[string]string, error) { return nil, errors.New(text) }
	}
	parse := "failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error line 3: unknown instruction: HELLO"
	for _, tt := range []struct {
		name, version, text, dockerfile string
		here                            bool
		line                            int
	}{
		{"a parse error", "28.5.2", "dockerfile parse error on line 2: unknown instruction: X", "FROM scratch\nX\n", false, 2},
		{"a here-document on an old engine", "20.10.24+dfsg1", parse, "FROM scratch\nRUN <<EOF\nHELLO\nEOF\n", true, 3},
		{"a here-document with a syntax line", "20.10.24", parse, "# syntax=docker/dockerfile:1\nRUN <<EOF\nHELLO\n", false, 3},
		{"an unknown instruction on an old engine", "20.10.24", parse, "FROM scratch\n\nHELLO\n", false, 3},
		{"a target that is none", "28.5.2", `target stage "x" could not be found`, "FROM scratch\n", false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, e := fake(t, enginetest.Options{Version: tt.version, Solve: plain(tt.text)})
			b := given(t, tt.dockerfile)
			_, err := e.Build(t.Context(), b)
			got := as(t, err, new(*docker.DockerfileError))
			if got.Line != tt.line || got.HereDocument != tt.here || got.File != b.Dockerfile || strings.Contains(got.Text, "failed to solve") {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("anything else", func(t *testing.T) {
		t.Parallel()
		_, e := fake(t, enginetest.Options{Solve: plain("no space left on device " + strings.Repeat("x", 10000))})
		_, err := e.Build(t.Context(), given(t, "FROM scratch\n"))
		got := as(t, err, new(*docker.BuildError))
		if got.Step != "" || len(got.Error()) > 5000 {
			t.Errorf("step %q, text of %d bytes", got.Step, len(got.Error()))
		}
	})
}

func TestBuildFailsWhenTheEngineGoes(t *testing.T) {
	t.Parallel()
	var f *enginetest.Engine
	f, e := fake(t, enginetest.Options{Solve: func(s *enginetest.Solve) (map[string]string, error) {
		go f.Close()
		<-s.Context.Done()
		return nil, s.Context.Err()
	}})
	_, err := e.Build(t.Context(), given(t, "FROM scratch\n"))
	as(t, err, new(*docker.NotRunning))
	_, err = e.Build(t.Context(), given(t, "FROM scratch\n"))
	as(t, err, new(*docker.NotRunning))
}

func TestBuildStopsWithItsContext(t *testing.T) {
	t.Parallel()
	stopped := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, e := fake(t, enginetest.Options{Solve: func(s *enginetest.Solve) (map[string]string, error) {
		cancel()
		<-s.Context.Done()
		close(stopped)
		return nil, s.Context.Err()
	}})
	started := time.Now()
	_, err := e.Build(ctx, given(t, "FROM scratch\n"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case <-stopped:
	case <-time.After(5 * time.Second):
		t.Error("the engine was not told")
	}
	if d := time.Since(started); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}
