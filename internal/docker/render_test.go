package docker

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// scene drives a renderer by hand, with a clock of its own.
type scene struct {
	*renderer
	clock time.Time
	out   bytes.Buffer
}

func newScene(p Progress) *scene {
	s := &scene{clock: time.Unix(1000, 0)}
	p.Out = &s.out
	s.renderer = newRenderer(p, func() time.Time { return s.clock })
	return s
}

func (s *scene) vertex(name string, done bool, fault string) {
	v := &client.Vertex{Digest: digest.FromString(name), Name: name, Started: new(time.Time)}
	*v.Started = time.Unix(1000, 0)
	if done {
		at := s.clock
		v.Completed, v.Error = &at, fault
	}
	s.take(&client.SolveStatus{Vertexes: []*client.Vertex{v}})
}

func (s *scene) says(name, text string) {
	s.take(&client.SolveStatus{Logs: []*client.VertexLog{{Vertex: digest.FromString(name), Stream: 1, Data: []byte(text), Timestamp: s.clock}}})
}

// wait lets the ticker tick once a second.
func (s *scene) wait(seconds int) {
	for range seconds {
		s.clock = s.clock.Add(time.Second)
		s.tick()
	}
}

func TestALongStepIsNamedBeforeItEnds(t *testing.T) {
	t.Parallel()
	s := newScene(Progress{})
	s.vertex("[1/2] RUN slow", false, "")
	if s.out.Len() > 0 {
		t.Errorf("too early: %q", s.out.String())
	}
	s.wait(2)
	s.vertex("[1/2] RUN slow", true, "")
	if got := s.out.String(); got != "#1 [1/2] RUN slow\n#1 done in 2.0s\n" {
		t.Errorf("%q", got)
	}
}

func TestSilenceIsBrokenByAHeartbeat(t *testing.T) {
	t.Parallel()
	s := newScene(Progress{})
	s.vertex("[1/2] RUN slow", false, "")
	s.vertex("[2/2] RUN other", false, "")
	s.wait(70)
	want := "#1 [1/2] RUN slow\n#1 [1/2] RUN slow: running for 31s (and 1 more)\n#1 [1/2] RUN slow: running for 1m1s (and 1 more)\n"
	if diff := cmp.Diff(want, s.out.String()); diff != "" {
		t.Error(diff)
	}
	quiet := newScene(Progress{Heartbeat: -1})
	quiet.vertex("[1/2] RUN slow", false, "")
	quiet.wait(500)
	if got := quiet.out.String(); got != "#1 [1/2] RUN slow\n" {
		t.Errorf("%q", got)
	}
}

func TestAStepThatIsNotLiveSpeaksWhenTheLiveOneIsSilent(t *testing.T) {
	t.Parallel()
	s := newScene(Progress{})
	s.vertex("a", false, "")
	s.says("a", "from a\n")
	s.vertex("b", false, "")
	s.says("b", "from b\n")
	if strings.Contains(s.out.String(), "from b") {
		t.Error("b was not held back")
	}
	s.wait(3)
	if !strings.Contains(s.out.String(), "#2 b\n#2 0.000 from b\n") {
		t.Errorf("%q", s.out.String())
	}
}

func TestWhatIsHeldBackIsBoundedAndNothingIsLost(t *testing.T) {
	t.Parallel()
	s := newScene(Progress{})
	s.vertex("a", false, "")
	s.says("a", "x\n")
	s.vertex("b", false, "")
	for i := range 20000 {
		s.says("b", fmt.Sprintf("line %d\n", i))
		if n := s.steps[digest.FromString("b")].held.Len(); n > maxHeld {
			t.Fatalf("%d bytes held", n)
		}
	}
	s.vertex("b", true, "")
	next := 0
	for line := range strings.Lines(s.out.String()) {
		if strings.HasSuffix(line, fmt.Sprintf(" line %d\n", next)) {
			next++
		}
	}
	if next != 20000 {
		t.Errorf("line %d is lost or out of order", next)
	}
}

func TestAFailedStepKeepsItsTailAndOthersDoNot(t *testing.T) {
	t.Parallel()
	s := newScene(Progress{})
	s.vertex("good", false, "")
	s.says("good", "fine\n")
	s.vertex("good", true, "")
	s.vertex("bad", false, "")
	s.says("bad", strings.Repeat("y", 5000)+"\nlast")
	s.vertex("bad", true, "exit code: 1")
	if n := len(s.steps[digest.FromString("good")].tail.lines); n > 0 {
		t.Errorf("%d lines kept of a step that went well", n)
	}
	got := s.failures[0].tail.text()
	if len(got) != 2 || len(got[0]) != tailWidth || got[1] != "last" {
		t.Errorf("%d lines, %d bytes", len(got), len(got[0]))
	}
}

func TestAStepMayBeTakenUpAgain(t *testing.T) {
	t.Parallel()
	s := newScene(Progress{})
	s.vertex("a", true, "")
	again := time.Unix(1005, 0)
	v := &client.Vertex{Digest: digest.FromString("a"), Name: "a", Started: &again}
	s.take(&client.SolveStatus{Vertexes: []*client.Vertex{v}})
	s.says("a", "more\n")
	end := time.Unix(1007, 0)
	v.Completed = &end
	s.take(&client.SolveStatus{Vertexes: []*client.Vertex{v}})
	s.take(&client.SolveStatus{Vertexes: []*client.Vertex{v}}) // told twice
	if got := s.out.String(); got != "#1 a: done in 0.0s\n#1 a\n#1 0.000 more\n#1 done in 2.0s\n" {
		t.Errorf("%q", got)
	}
}

func TestOutputOfAnUnknownOrEndedStepIsShown(t *testing.T) {
	t.Parallel()
	s := newScene(Progress{})
	s.says("unknown", "stray\n")
	s.vertex("a", true, "")
	s.says("a", "late\npart")
	s.close()
	for _, line := range []string{"stray\n", "late\n", "part\n"} {
		if !strings.Contains(s.out.String(), line) {
			t.Errorf("%q is lost: %q", line, s.out.String())
		}
	}
}

func TestWarningsAreBounded(t *testing.T) {
	t.Parallel()
	n := 0
	s := newScene(Progress{Warning: func(Warning) { n++ }})
	for i := range 1000 {
		s.take(&client.SolveStatus{Warnings: []*client.VertexWarning{{Short: fmt.Appendf(nil, "w%d", i)}}})
	}
	if n != maxWarnings {
		t.Errorf("%d warnings", n)
	}
}

func TestABigLogLeavesNothingBehind(t *testing.T) {
	s := newScene(Progress{})
	s.p.Out = io.Discard
	s.vertex("a", false, "")
	line := strings.Repeat("z", 199) + "\n"
	data := strings.Repeat(line, 50)
	perMessage := testing.AllocsPerRun(2000, func() { s.says("a", data) }) // 20 MB
	if perMessage > 250 {
		t.Errorf("%.0f allocations for 50 lines", perMessage)
	}
	st := s.steps[digest.FromString("a")]
	if kept := cap(st.out[1].part) + st.held.Cap() + len(st.tail.lines)*tailWidth; kept > maxLine+maxHeld+tailLines*tailWidth {
		t.Errorf("%d bytes kept", kept)
	}
}

func FuzzAssembler(f *testing.F) {
	f.Add([]byte("a\r\nb\rc\n\n"), 3)
	f.Add(bytes.Repeat([]byte("x"), maxLine+1), 1000)
	f.Add(bytes.Repeat([]byte("x\r"), 50), 7)
	f.Add([]byte("##vso[\r\r\r\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		var a assembler
		var lines [][]byte
		emit := func(line []byte) { lines = append(lines, bytes.Clone(line)) }
		for rest := data; len(rest) > 0; {
			n := min(max(cut, 1), len(rest))
			a.feed(rest[:n], emit)
			rest = rest[n:]
			if len(a.part) > maxLine {
				t.Fatalf("%d bytes kept", len(a.part))
			}
		}
		if len(a.part) > 0 {
			a.flush(emit)
		}
		size := 0
		for _, line := range lines {
			size += len(line)
			if bytes.ContainsRune(line, '\n') || len(line) > maxLine {
				t.Fatalf("not a line: %q", line)
			}
		}
		if !bytes.ContainsRune(data, '\r') && size+bytes.Count(data, []byte("\n")) != len(data) {
			t.Errorf("%d bytes in, %d out", len(data), size)
		}
	})
}

func FuzzPushStream(f *testing.F) {
	f.Add([]byte(`{"status":"v1: digest: sha256:` + strings.Repeat("a", 64) + ` size: 7"}`))
	f.Add([]byte(`{"id":"a","status":"Pushed","progressDetail":{"current":-1,"total":9}}{"error":"x"}`))
	f.Add([]byte(`[{"status":1}]`))
	f.Add([]byte(`{"errorDetail":null,"error":""}{"status"`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var out bytes.Buffer
		s := newPushStream("v1", &out, time.Now)
		s.read(bytes.NewReader(data))
		if s.claim.Digest != "" && (!isDigest(s.claim.Digest) || s.claim.Size <= 0) {
			t.Errorf("claims %+v", s.claim)
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > maxLine {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
	})
}

func TestClipNeverCutsACharacter(t *testing.T) {
	t.Parallel()
	for n := range 12 {
		if got := strings.TrimSuffix(clip("äöü€x", n), "…"); !strings.HasPrefix("äöü€x", got) || strings.ContainsRune(got, '�') {
			t.Errorf("%d: %q", n, got)
		}
	}
}

func TestBaseImageFaultsAreTold(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Reason{
		"failed to resolve source metadata for r/x: r/x: not found":                                                      ReasonNotFound,
		"failed to do request: Head \"https://r\": tls: failed to verify certificate: x509: certificate has expired":     ReasonTLS,
		"failed to fetch oauth token: unexpected status from GET request to https://r/oauth2/token: 401 Unauthorized":    ReasonUnauthorized,
		"failed to copy: httpReadSeeker: failed open: unexpected status from GET request: 429 Too Many Requests":         ReasonTemporary,
		"process \"/bin/sh -c curl\" did not complete successfully: 404 not found":                                       ReasonNone,
		"pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to": ReasonDenied,
	} {
		if got := registryReason("RUN x", text); got != want {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
}
