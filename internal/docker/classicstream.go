package docker

import (
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// classicStream gives the classic builder's output the shape of BuildKit's, so
// that both are written by the same renderer.
type classicStream struct {
	r     *renderer
	now   func() time.Time
	at    *client.Vertex // the running step
	fresh bool           // it has been announced and its line has not ended
	id    string
	fault string
	code  int
}

func newClassicStream(p Progress) *classicStream {
	return &classicStream{r: newRenderer(p, time.Now), now: time.Now}
}

// classicStep is how the classic builder announces an instruction.
// Source: moby daemon/builder/dockerfile/dispatchers.go.
var classicStep = regexp.MustCompile(`^Step (\d+/\d+) : (.*)`)

func (s *classicStream) read(body io.Reader) (string, error) {
	status := make(chan *client.SolveStatus, 4)
	rendered := make(chan struct{})
	go func() {
		defer close(rendered)
		s.r.run(status)
	}()
	err := messages(body, func(m message) { s.take(m, status) })
	if s.at != nil {
		s.end(status, s.fault)
	}
	close(status)
	<-rendered
	if err == nil && s.fault == "" && s.id == "" {
		err = errors.New("the engine named no image")
	}
	return s.id, err
}

func (s *classicStream) take(m message, status chan<- *client.SolveStatus) {
	if id := auxID(m.Aux); id != "" {
		s.id = id
	}
	if text := m.fault(); text != "" && s.fault == "" {
		s.fault = text
		if m.Detail != nil {
			s.code = m.Detail.Code
		}
		return
	}
	text := m.Stream
	if text == "" && m.Status != "" && (m.Progress == nil || m.Progress.Total == 0) {
		text = strings.TrimSpace(m.ID+" "+m.Status) + "\n" // a base image being pulled
	}
	if found := classicStep.FindStringSubmatch(strings.TrimLeft(text, "\n")); found != nil {
		if s.at != nil {
			s.end(status, "")
		}
		now := s.now()
		s.at = &client.Vertex{Digest: digest.FromString(found[1]), Name: "[" + found[1] + "] " + strings.TrimSpace(found[2]), Started: &now}
		s.fresh = !strings.HasSuffix(text, "\n")
		begun := *s.at
		status <- &client.SolveStatus{Vertexes: []*client.Vertex{&begun}}
		return
	}
	fresh := s.fresh
	s.fresh = false
	if text == "" || s.at == nil || fresh && text == "\n" { // the rest of the announcement
		return
	}
	if strings.HasPrefix(text, " ---> Using cache") {
		s.at.Cached = true
	}
	status <- &client.SolveStatus{Logs: []*client.VertexLog{{Vertex: s.at.Digest, Stream: 1, Data: []byte(text), Timestamp: s.now()}}}
}

func (s *classicStream) end(status chan<- *client.SolveStatus, fault string) {
	done, now := *s.at, s.now()
	done.Completed, done.Error = &now, fault
	s.at = nil
	status <- &client.SolveStatus{Vertexes: []*client.Vertex{&done}}
}

// failure types what the stream said. err is what broke it off, or nil.
func (s *classicStream) failure(b Build, err error) error {
	text := s.fault
	if text == "" {
		text = err.Error()
	}
	if found := parseFault.FindStringSubmatch(text); found != nil {
		line, _ := strconv.Atoi(found[1])
		return &DockerfileError{File: b.Dockerfile, Line: line, Text: oneLine(found[2], maxErrorText)}
	}
	fault := &BuildError{ExitCode: s.code, Registry: registryReason("", text), Cause: err}
	if err == nil {
		fault.Cause = errors.New(oneLine(text, maxErrorText))
	}
	if found := exitCode.FindStringSubmatch(text); found != nil && s.code == 0 {
		fault.ExitCode, _ = strconv.Atoi(found[1])
	}
	if len(s.r.failures) > 0 {
		failed := s.r.failures[0]
		fault.Step, fault.Position, fault.Tail = failed.Name, failed.Position, failed.tail.text()
		if fault.Registry == ReasonNone && strings.HasPrefix(strings.ToUpper(failed.Name), "FROM ") {
			fault.Registry = classify(text)
		}
	}
	return fault
}
