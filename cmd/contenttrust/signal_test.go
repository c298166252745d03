//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/protobuf/types/known/timestamppb"

	"contenttrust/internal/testkit/enginetest"
	"contenttrust/internal/testkit/playground"
)

// mostToEnd is what an agent, which kills after 7.5 seconds, leaves us.
const mostToEnd = 7 * time.Second

// The process itself is the matter here, so it is the real one, and a build that hangs keeps it busy.
func TestHoweverARunIsEndedItLeavesNoKey(t *testing.T) {
	t.Parallel()
	program := build(t)
	for name, c := range map[string]struct {
		end  func(*process) error
		code int
	}{
		"SIGTERM":              {func(p *process) error { return p.cmd.Process.Signal(syscall.SIGTERM) }, exitCancelled},
		"SIGINT":               {func(p *process) error { return p.cmd.Process.Signal(syscall.SIGINT) }, exitCancelled},
		"SIGHUP":               {func(p *process) error { return p.cmd.Process.Signal(syscall.SIGHUP) }, exitCancelled},
		"nobody reads its log": {func(p *process) error { return p.stdout.Close() }, 0}, // the build goes on to print
		"its launcher is gone": {func(p *process) error { return p.stdin.Close() }, 0},
		"a SIGPIPE from outside": {func(p *process) error {
			if err := p.cmd.Process.Signal(syscall.SIGPIPE); err != nil {
				return err
			}
			return p.cmd.Process.Signal(syscall.SIGTERM)
		}, exitCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startRun(t, program)
			if len(p.workspaces(t)) != 1 || len(p.keys(t)) == 0 {
				t.Errorf("while it builds there are the folders %v, with the key in %v", p.workspaces(t), p.keys(t))
			}
			at := time.Now()
			if err := c.end(p); err != nil {
				t.Fatal(err)
			}
			state := p.wait(t)
			if took := time.Since(at); took > mostToEnd {
				t.Errorf("it ended %v later", took)
			}
			if !state.Exited() || state.ExitCode() != c.code {
				t.Errorf("it ended with %v, not with the code %d: %s", state, c.code, p.stderr.String())
			}
			if found := p.workspaces(t); len(found) != 0 {
				t.Errorf("left: %v", found)
			}
			if found := p.keys(t); len(found) != 0 {
				t.Errorf("the key is left in %v", found)
			}
		})
	}
}

// build builds the executable as it is shipped.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "contenttrust")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags", "grpcnotrace", "-o", program, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// process is a main phase under way, in its build.
type process struct {
	cmd    *exec.Cmd
	stdin  *os.File // the launcher's end
	stdout *os.File // the agent's end
	stderr *bytes.Buffer
	done   chan error
	temp   string
	key    []byte
}

// startRun starts a main phase and waits until it builds. It ends with the test, whatever becomes of it.
func startRun(t *testing.T, program string) *process {
	t.Helper()
	play, err := playground.New(playground.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = play.Close() })
	building := make(chan struct{})
	engine, err := enginetest.New(enginetest.Options{Solve: func(s *enginetest.Solve) (map[string]string, error) {
		close(building)
		return nil, printUntilStopped(s)
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	p := &process{stderr: &bytes.Buffer{}, done: make(chan error, 1), temp: t.TempDir(), key: play.PrivatePEM}
	theirStdin, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, theirStdout, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdin, p.stdout = stdin, stdout
	p.cmd = exec.CommandContext(t.Context(), program, "task", "main")
	p.cmd.Env, p.cmd.Dir = afterPre(t, program, stepEnvironment(t, play, engine.Host, p.temp)), t.TempDir()
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = theirStdin, theirStdout, p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirStdin.Close(), theirStdout.Close()
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() { _, _, _ = p.cmd.Process.Kill(), stdin.Close(), stdout.Close() })
	select {
	case <-building:
	case err := <-p.done:
		log := make([]byte, 1<<16)
		n, _ := stdout.Read(log)
		t.Fatalf("it ended before it built: %v\n%s%s", err, log[:n], p.stderr)
	case <-time.After(30 * time.Second):
		t.Fatal("it does not build")
	}
	return p
}

// afterPre runs the pre phase, which leaves the key in the workspace, and gives the environment of the main phase.
func afterPre(t *testing.T, program string, environ []string) []string {
	t.Helper()
	pre := exec.CommandContext(t.Context(), program, "task", "pre")
	pre.Env = environ
	launcher, err := pre.StdinPipe() // open as long as it runs
	if err != nil {
		t.Fatal(err)
	}
	defer launcher.Close()
	out, err := pre.Output()
	_, rest, ok := strings.Cut(string(out), "##vso[task.settaskvariable variable=CONTENTTRUST_WORKSPACE")
	_, rest, found := strings.Cut(rest, "]")
	workspace, _, _ := strings.Cut(rest, "\n")
	if err != nil || !ok || !found {
		t.Fatalf("the pre phase ended with %v:\n%s", err, out)
	}
	return append(environ, "VSTS_TASKVARIABLE_CONTENTTRUST_WORKSPACE="+workspace)
}

// printUntilStopped is a build that prints a line now and then, and never ends by itself.
func printUntilStopped(s *enginetest.Solve) error {
	step := "sha256:" + strings.Repeat("a", 64)
	s.Send(&controlapi.StatusResponse{Vertexes: []*controlapi.Vertex{{Digest: step, Name: "RUN wait", Started: timestamppb.Now()}}})
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.Context.Done():
			return s.Context.Err()
		case <-tick.C:
			s.Send(&controlapi.StatusResponse{Logs: []*controlapi.VertexLog{{Vertex: step, Stream: 1, Msg: []byte("still waiting\n"), Timestamp: timestamppb.Now()}}})
		}
	}
}

// stepEnvironment is what an agent gives a step that builds, pushes and signs.
func stepEnvironment(t *testing.T, play *playground.World, engine, temp string) []string {
	t.Helper()
	sources := t.TempDir()
	if err := os.WriteFile(filepath.Join(sources, "Dockerfile"), []byte("FROM scratch\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := play.Connection()
	auth, err := json.Marshal(map[string]any{"parameters": c.Parameters, "scheme": c.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": t.TempDir(), "DOCKER_HOST": engine,
		"AGENT_TEMPDIRECTORY": temp, "SYSTEM_DEFAULTWORKINGDIRECTORY": sources, "BUILD_SOURCESDIRECTORY": sources,
		"SYSTEM_HOSTTYPE": "build", "SYSTEM_JOBID": "job", "SYSTEM_TASKINSTANCEID": "step",
		"ENDPOINT_URL_" + c.ID: c.URL, "ENDPOINT_AUTH_" + c.ID: string(auth), "ENDPOINT_AUTH_SCHEME_" + c.ID: c.Scheme,
		"INPUT_COMMAND": "buildAndPush", "INPUT_CONTAINERREGISTRY": c.ID, "INPUT_REPOSITORY": play.Repository, "INPUT_TAGS": "1.4.2",
		"INPUT_DOCKERFILE": "**/Dockerfile", "INPUT_BUILDCONTEXT": "**", "INPUT_SIGN": "true",
		"INPUT_DELEGATIONKEY": playground.FileID, "INPUT_CAFILE": play.CAFile,
	}
	for name, value := range c.Parameters {
		vars["ENDPOINT_AUTH_PARAMETER_"+c.ID+"_"+strings.ToUpper(name)] = value
	}
	environ := play.Azure.Environment()
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		environ = append(environ, name+"="+vars[name])
	}
	return environ
}

// wait waits for the end of the process, for longer than it may take.
func (p *process) wait(t *testing.T) *os.ProcessState {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(2 * mostToEnd):
		t.Fatal("it does not end")
	}
	return p.cmd.ProcessState
}

func (p *process) workspaces(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(p.temp, "contenttrust-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// keys are the files that hold a private key, or a line of ours.
func (p *process) keys(t *testing.T) []string {
	t.Helper()
	body := bytes.Split(p.key, []byte("\n"))[1]
	var found []string
	err := filepath.WalkDir(p.temp, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte("PRIVATE KEY")) || bytes.Contains(content, body) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
