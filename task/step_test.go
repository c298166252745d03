package task

import (
	"errors"
	"fmt"
	"strings"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/types/known/timestamppb"

	"contenttrust/internal/testkit/enginetest"
)

// failStep prints a step's output and fails the build in it, as BuildKit does for a command with this exit code.
func failStep(s *enginetest.Solve, step, output string, exit int) error {
	text := fmt.Sprintf("process %q did not complete successfully: exit code: %d", "/bin/sh -c", exit)
	printLog(s, step, output)
	now := timestamppb.Now()
	s.Send(&controlapi.StatusResponse{Vertexes: []*controlapi.Vertex{{Digest: stepDigest, Name: step, Started: now, Completed: now, Error: text}}})
	return errdefs.WrapVertex(errors.New(text), digest.Digest(stepDigest))
}

var stepDigest = "sha256:" + strings.Repeat("a", 64)

// printLog prints a build's output as one step.
func printLog(s *enginetest.Solve, step string, output ...string) {
	now := timestamppb.Now()
	s.Send(&controlapi.StatusResponse{Vertexes: []*controlapi.Vertex{{Digest: stepDigest, Name: step, Started: now}}})
	for _, piece := range output {
		s.Send(&controlapi.StatusResponse{Logs: []*controlapi.VertexLog{{Vertex: stepDigest, Stream: 1, Msg: []byte(piece), Timestamp: now}}})
	}
}
