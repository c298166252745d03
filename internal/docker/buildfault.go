package docker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/solver/errdefs"
	"github.com/opencontainers/go-digest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	// parseFault is the dockerfile frontend's text for a line it cannot read:
	// "line 8" up to BuildKit 0.9, "on line 8" since.
	parseFault = regexp.MustCompile(`(?s)dockerfile parse error (?:on )?line (\d{1,9}): (.*)`)
	exitCode   = regexp.MustCompile(`(?:exit code: |non-zero code: )(\d{1,10})`)
	// prefixes stand before the frontend's own words.
	prefixes = regexp.MustCompile(`^(?:failed to solve(?: with frontend [^:]+)?: |rpc error: code = \w+ desc = |failed to create LLB definition: )+`)
)

// buildFailure types what a solve returned.
func (e *Engine) buildFailure(ctx context.Context, b Build, r *renderer, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("build stopped: %w", ctx.Err())
	}
	if rootCode(err) == codes.Unavailable && len(r.failures) == 0 {
		return &NotRunning{Host: e.host, Err: clipped(err)}
	}
	failed := r.failed(err)
	if failed == nil {
		if bad := e.dockerfileFault(b, err); bad != nil {
			return bad
		}
		// A stream that is cut has many words for it; an Engine that has gone has none left.
		if !e.answers(ctx) {
			return &NotRunning{Host: e.host, Err: clipped(err)}
		}
		return &BuildError{Cause: clipped(err), Registry: registryReason("", err.Error())}
	}
	fault := &BuildError{
		Step:     failed.Name,
		Position: failed.Position,
		Tail:     failed.tail.text(),
		Cause:    clipped(err),
		Registry: registryReason(failed.Name, failed.Err+" "+err.Error()),
	}
	if found := exitCode.FindStringSubmatch(failed.Err + " " + err.Error()); found != nil {
		fault.ExitCode, _ = strconv.Atoi(found[1])
	}
	fault.File, fault.Line = sourceLine(b, err)
	return fault
}

// pingTime is how long an Engine may take to say that it is still there.
const pingTime = 5 * time.Second

// answers asks whether the Engine is still there.
func (e *Engine) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	_, err := e.api.Ping(ctx)
	return err == nil
}

// rootCode is the gRPC status below BuildKit's wrapping.
func rootCode(err error) codes.Code {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return s.GRPCStatus().Code()
	}
	return codes.Unknown
}

// failed finds the step that broke the build: the one the error names, else
// the first that failed by itself, not because another had.
func (r *renderer) failed(err error) *step {
	var vertex *errdefs.VertexError
	if errors.As(err, &vertex) {
		if s := r.steps[digest.Digest(vertex.Digest)]; s != nil && s.Number > 0 {
			return s
		}
	}
	at := slices.IndexFunc(r.failures, func(s *step) bool { return !strings.Contains(s.Err, "context canceled") })
	if at >= 0 {
		return r.failures[at]
	}
	return nil
}

// dockerfileFault recognises the frontend's complaints: its text for a parse
// error, or a place in the source without a step that ran.
func (e *Engine) dockerfileFault(b Build, err error) error {
	text := err.Error()
	if found := parseFault.FindStringSubmatch(text); found != nil {
		line, _ := strconv.Atoi(found[1])
		return &DockerfileError{
			File: b.Dockerfile, Line: line, Text: oneLine(found[2], maxErrorText),
			HereDocument: e.lacksHereDocuments() && strings.Contains(found[2], "unknown instruction") && usesHereDocument(b.Dockerfile, line),
		}
	}
	for _, sign := range []string{
		"failed to create LLB definition", "failed to parse", "file with no instructions", "no build stage in current context",
		"target stage", "Dockerfile cannot be empty", "circular dependency", "failed to process", "base name",
	} {
		if strings.Contains(text, sign) && registryReason("", text) == ReasonNone {
			_, line := sourceLine(b, err)
			return &DockerfileError{File: b.Dockerfile, Line: line, Text: oneLine(prefixes.ReplaceAllString(text, ""), maxErrorText)}
		}
	}
	if _, line := sourceLine(b, err); line > 0 && registryReason("", text) == ReasonNone {
		return &DockerfileError{File: b.Dockerfile, Line: line, Text: oneLine(prefixes.ReplaceAllString(text, ""), maxErrorText)}
	}
	return nil
}

// sourceLine gives the place BuildKit attached to the error, as a path the
// caller knows when it is the Dockerfile.
func sourceLine(b Build, err error) (file string, line int) {
	for _, s := range errdefs.Sources(err) {
		if s.Info == nil || len(s.Ranges) == 0 || s.Ranges[0].GetStart() == nil {
			continue
		}
		file, line = oneLine(s.Info.Filename, 500), int(s.Ranges[0].Start.Line)
		if file == filepath.Base(b.Dockerfile) {
			file = b.Dockerfile
		}
		return file, line
	}
	return "", 0
}

// lacksHereDocuments: BuildKit's parser knows them since 0.10, in Engine 23.0.
func (e *Engine) lacksHereDocuments() bool {
	major, _, _ := strings.Cut(e.info.Version, ".")
	n, err := strconv.Atoi(major)
	return err == nil && n < 23
}

var (
	hereDocument = regexp.MustCompile(`(?i)^\s*(?:RUN|COPY|ADD)\s.*<<-?\s*["']?[A-Za-z_]`)
	syntaxLine   = regexp.MustCompile(`(?i)^\s*#\s*syntax\s*=`)
)

// usesHereDocument looks at the Dockerfile's lines before the given one.
func usesHereDocument(path string, before int) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	lines := bufio.NewScanner(io.LimitReader(f, 1<<20))
	found := false
	for n := 1; lines.Scan() && n < before; n++ {
		if syntaxLine.MatchString(lines.Text()) {
			return false
		}
		found = found || hereDocument.MatchString(lines.Text())
	}
	return found
}
