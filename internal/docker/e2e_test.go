//go:build e2e

package docker_test

// These tests need a real Engine at DOCKER_HOST that can run containers, and
// Debian's docker-registry and busybox-static. Run them against every store.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"contenttrust/internal/docker"
)

func connect(t *testing.T) *docker.Engine {
	t.Helper()
	if os.Getenv("DOCKER_HOST") == "" {
		t.Fatal("DOCKER_HOST must name the engine to test with")
	}
	e, err := docker.Connect(t.Context(), docker.OptionsFrom(os.LookupEnv))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// folder makes a context with busybox and the given files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "busybox"), busybox, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const base = `FROM scratch
COPY busybox /bin/sh
`

func request(dir string, out io.Writer, names ...string) docker.Build {
	return docker.Build{
		Dockerfile: filepath.Join(dir, "Dockerfile"), Context: dir, Names: names, Network: "none",
		Progress: docker.Progress{Out: out},
	}
}

func TestRealEngineBuildsAndNamesAnImage(t *testing.T) {
	e := connect(t)
	t.Logf("%+v", e.Info())
	dir := folder(t, map[string]string{
		"Dockerfile": base + "RUN echo one two && echo $MARK > /out\n", "note.txt": "x",
	})
	var out bytes.Buffer
	names := []string{"localhost:1/e2e/app:one", "localhost:1/e2e/app:two"}
	b := request(dir, &out, names...)
	b.Labels = []docker.Label{{Name: "a.b", Value: "1"}, {Name: "a.b", Value: "2"}}
	b.Args = []docker.Pair{{Name: "MARK", Value: strconv.FormatInt(time.Now().UnixNano(), 10)}}
	b.Dockerfile = filepath.Join(dir, "Dockerfile")
	if err := os.WriteFile(b.Dockerfile, []byte(base+"ARG MARK\nRUN echo one two && echo $MARK > /out\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	image, err := e.Build(t.Context(), b)
	t.Logf("%s", out.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", image)
	for _, name := range names {
		found, err := e.ImageID(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if found.ID != image.ID {
			t.Errorf("%s is %s, built was %s", name, found.ID, image.ID)
		}
	}
	if !strings.Contains(out.String(), "one two") {
		t.Error("the output of RUN is missing")
	}
	if e.Info().Store == docker.StoreContainerd && (image.ManifestDigest == "" || image.ConfigDigest == "" || image.Size == 0) {
		t.Errorf("the containerd store did not name manifest, config and size: %+v", image)
	}
	started := time.Now()
	again, err := e.Build(t.Context(), b)
	t.Logf("cached build: %v", time.Since(started))
	if err != nil || again.ConfigDigest != image.ConfigDigest {
		t.Errorf("cached build: %+v, %v, want config %s", again, err, image.ConfigDigest)
	}
	if err := e.Tag(t.Context(), names[0], "localhost:1/e2e/app:three"); err != nil {
		t.Error(err)
	}
}

func TestRealEngineReportsAFailingStep(t *testing.T) {
	e := connect(t)
	dir := folder(t, map[string]string{
		"Dockerfile": base + "RUN for i in 1 2 3; do echo line $i; done; echo " + t.Name() + "; exit 3\n",
	})
	var out bytes.Buffer
	_, err := e.Build(t.Context(), request(dir, &out))
	t.Logf("%s", out.String())
	var fault *docker.BuildError
	if !errors.As(err, &fault) {
		t.Fatalf("got %v, want a BuildError", err)
	}
	t.Logf("%+v", fault)
	if fault.ExitCode != 3 || !strings.HasPrefix(fault.Step, "RUN for i") || fault.Position == "" {
		t.Errorf("got step %q at %q with exit code %d", fault.Step, fault.Position, fault.ExitCode)
	}
	if got := strings.Join(fault.Tail, "|"); got != "line 1|line 2|line 3|"+t.Name() {
		t.Errorf("tail is %q", got)
	}
}

func TestRealEngineReportsWhatIsWrongWithADockerfile(t *testing.T) {
	e := connect(t)
	old := strings.HasPrefix(e.Info().Version, "20.")
	tests := []struct {
		name, text string
		line       int
		here       bool
		only20     bool
	}{
		{"an unknown instruction", "FROM scratch\nNONSENSE x\n", 2, false, false},
		{"a here-document", base + "RUN <<EOF\nHELLO\nEOF\n", 4, true, true},
		{"no instructions", "# nothing\n", 1, false, false},
		{"a flag that is none", "FROM scratch\nCOPY --nonsense=1 a b\n", 2, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.only20 && !old {
				return // a newer frontend reads it
			}
			var out bytes.Buffer
			dir := folder(t, map[string]string{"Dockerfile": tt.text})
			_, err := e.Build(t.Context(), request(dir, &out))
			var fault *docker.DockerfileError
			if !errors.As(err, &fault) {
				t.Fatalf("got %T %v, want a DockerfileError\n%s", err, err, out.String())
			}
			t.Logf("%+v", fault)
			if fault.Line != tt.line && !(old && fault.Line == 0) {
				t.Errorf("line %d, want %d", fault.Line, tt.line)
			}
			if fault.HereDocument != tt.here {
				t.Errorf("HereDocument is %v", fault.HereDocument)
			}
		})
	}
}

func TestRealEngineReportsATargetThatIsNone(t *testing.T) {
	e := connect(t)
	dir := folder(t, map[string]string{"Dockerfile": base})
	b := request(dir, nil)
	b.Target = "nowhere"
	_, err := e.Build(t.Context(), b)
	var fault *docker.DockerfileError
	if !errors.As(err, &fault) {
		t.Fatalf("got %T %v", err, err)
	}
	t.Log(fault)
}

func TestRealEngineReportsABaseImageThatCannotBeHad(t *testing.T) {
	e := connect(t)
	dir := folder(t, map[string]string{"Dockerfile": "FROM 127.0.0.1:1/nothing:here\nRUN x\n"})
	_, err := e.Build(t.Context(), request(dir, nil))
	var fault *docker.BuildError
	if !errors.As(err, &fault) {
		t.Fatalf("got %T %v", err, err)
	}
	t.Logf("%+v", fault)
	if fault.Registry != docker.ReasonTemporary {
		t.Errorf("reason %v, want temporary (connection refused)", fault.Registry)
	}
}

func TestRealEngineHonoursDockerignore(t *testing.T) {
	e := connect(t)
	for _, ignore := range []string{".dockerignore", "Dockerfile.dockerignore"} {
		var out bytes.Buffer
		dir := folder(t, map[string]string{
			"Dockerfile": base + "COPY . /all/\nRUN cd /all && for f in *; do echo \"<$f>\"; done\n",
			ignore:       "secret*\n", "secret.txt": "no", "kept.txt": "yes", "mark": ignore + time.Now().String(),
		})
		if _, err := e.Build(t.Context(), request(dir, &out)); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), "<secret.txt>") || !strings.Contains(out.String(), "<kept.txt>") {
			t.Errorf("%s was not honoured:\n%s", ignore, out.String())
		}
	}
}

func TestRealEngineStopsABuildThatIsCancelled(t *testing.T) {
	e := connect(t)
	mark := fmt.Sprintf("%d", 100000+os.Getpid()%10000)
	dir := folder(t, map[string]string{"Dockerfile": base + "RUN echo begun; sleep " + mark + "\n"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	saw := writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), " begun") && !strings.Contains(string(p), "RUN") {
			cancel()
		}
		return len(p), nil
	})
	done := make(chan error, 1)
	go func() { _, err := e.Build(ctx, request(dir, saw)); done <- err }()
	<-ctx.Done()
	stopped := time.Now()
	err := <-done
	t.Logf("returned after %v: %v", time.Since(stopped), err)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if d := time.Since(stopped); d > 4*time.Second {
		t.Errorf("took %v", d)
	}
	for range 50 {
		if !running("sleep\x00" + mark) {
			t.Logf("process gone after %v", time.Since(stopped))
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("the step still runs on the engine")
}

func running(command string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && strings.HasPrefix(string(text), command) {
			return true
		}
	}
	return false
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestRealEngineOutputArrivesInWholeLines(t *testing.T) {
	e := connect(t)
	dir := folder(t, map[string]string{
		"Dockerfile": base + "RUN printf '##vs'; sleep 1; printf 'o[task.setvariable variable=x]y\\n'; printf 'a\\rb\\n'; echo " + time.Now().Format(time.StampNano) + "\n",
	})
	var lines []string
	_, err := e.Build(t.Context(), request(dir, writerFunc(func(p []byte) (int, error) {
		lines = append(lines, string(p))
		return len(p), nil
	})))
	if err != nil {
		t.Fatal(err)
	}
	whole := false
	for _, line := range lines {
		if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
			t.Errorf("not one line: %q", line)
		}
		whole = whole || strings.HasSuffix(line, " ##vso[task.setvariable variable=x]y\n") && strings.HasPrefix(line, "#")
	}
	if !whole {
		t.Errorf("the split token did not arrive on one line: %q", lines)
	}
}

func TestRealEngineWarnsOfADockerfile(t *testing.T) {
	e := connect(t)
	dir := folder(t, map[string]string{"Dockerfile": "FROM scratch as x\nMAINTAINER me\nCOPY busybox /sh\n"})
	b := request(dir, nil)
	var warnings []docker.Warning
	b.Progress.Warning = func(w docker.Warning) { warnings = append(warnings, w) }
	if _, err := e.Build(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", warnings)
	if strings.HasPrefix(e.Info().Version, "20.") {
		return // has no checks
	}
	if len(warnings) != 2 || warnings[0].Line == 0 || warnings[0].File != "Dockerfile" || warnings[0].URL == "" {
		t.Error("two warnings with their places are expected")
	}
}
