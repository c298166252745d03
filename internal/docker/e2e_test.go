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
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"contenttrust/internal/docker"
	"contenttrust/internal/secret"
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

// registryAt starts Debian's registry on a free loopback port.
func registryAt(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	dir := t.TempDir()
	config := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", dir, address)
	path := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("docker-registry", "serve", path)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Process.Kill(); c.Wait() })
	for range 100 {
		if r, err := http.Get("http://" + address + "/v2/"); err == nil {
			r.Body.Close()
			return address
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the registry does not start")
	return ""
}

// proxy stands before a registry and lets fault answer first.
func proxy(t *testing.T, registry string, fault func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	target := &url.URL{Scheme: "http", Host: registry}
	p := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fault == nil || !fault(w, r) {
			p.ServeHTTP(w, r)
		}
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

func imageNamed(t *testing.T, e *docker.Engine, name string) docker.Image {
	t.Helper()
	dir := folder(t, map[string]string{"Dockerfile": base, "x": strconv.FormatInt(time.Now().UnixNano(), 10)})
	image, err := e.Build(t.Context(), request(dir, nil, name))
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestRealEnginePushes(t *testing.T) {
	e := connect(t)
	address := proxy(t, registryAt(t), nil)
	image := imageNamed(t, e, address+"/team/app:v1")
	var out bytes.Buffer
	pushed, err := e.Push(t.Context(), docker.Push{Name: address + "/team/app", Tag: "v1", Out: &out})
	t.Logf("%s%+v", out.String(), pushed)
	if err != nil {
		t.Fatal(err)
	}
	q, _ := http.NewRequest("HEAD", "http://"+address+"/v2/team/app/manifests/v1", nil)
	q.Header["Accept"] = []string{"application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if r.Header.Get("Docker-Content-Digest") != pushed.Digest || r.ContentLength != pushed.Size {
		t.Errorf("registry says %s, %d; the engine %+v", r.Header.Get("Docker-Content-Digest"), r.ContentLength, pushed)
	}
	if e.Info().Store == docker.StoreContainerd && image.ManifestDigest != pushed.Digest {
		t.Errorf("built %s, pushed %s", image.ManifestDigest, pushed.Digest)
	}
}

func TestRealEnginePushOutlivesAFaultAtTheManifest(t *testing.T) {
	e := connect(t)
	faults := map[string]func(w http.ResponseWriter){
		"500": func(w http.ResponseWriter) { w.WriteHeader(500) },
		"429": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(429)
			io.WriteString(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}`)
		},
		"reset": func(w http.ResponseWriter) {
			c, _, _ := w.(http.Hijacker).Hijack()
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			address := proxy(t, registryAt(t), func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == "PUT" && strings.Contains(r.URL.Path, "/manifests/") && broken.CompareAndSwap(false, true) {
					fault(w)
					return true
				}
				return false
			})
			imageNamed(t, e, address+"/team/app:v1")
			var attempts []docker.Attempt
			pushed, err := e.Push(t.Context(), docker.Push{Name: address + "/team/app", Tag: "v1", Retry: docker.Retry{
				Base: 10 * time.Millisecond, OnRetry: func(a docker.Attempt) { attempts = append(attempts, a) },
			}})
			t.Logf("%+v %v %+v", pushed, err, attempts)
			if err != nil || pushed.Digest == "" || !broken.Load() {
				t.Errorf("pushed %+v, %v", pushed, err)
			}
		})
	}
}

func TestRealEnginePushFaultsAreTold(t *testing.T) {
	e := connect(t)
	answer := func(code int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			if code == 401 || r.Method == "POST" || r.Method == "PUT" {
				w.Header().Set("Content-Type", "application/json")
				if code == 401 {
					w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				}
				w.WriteHeader(code)
				io.WriteString(w, body)
				return true
			}
			return false
		}
	}
	tests := []struct {
		name  string
		fault func(http.ResponseWriter, *http.Request) bool
		want  docker.Reason
	}{
		{"unauthorized", answer(401, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`), docker.ReasonUnauthorized},
	}
	if e.Info().Store == docker.StoreContainerd { // the other store takes 50 s to say it
		tests = append(tests, tests[0])
		tests[1].name, tests[1].fault, tests[1].want = "denied", answer(403, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`), docker.ReasonDenied
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			address := proxy(t, registryAt(t), tt.fault)
			imageNamed(t, e, address+"/team/app:v1")
			_, err := e.Push(t.Context(), docker.Push{Name: address + "/team/app", Tag: "v1", Retry: docker.Retry{Attempts: 1}})
			var fault *docker.PushError
			if !errors.As(err, &fault) || fault.Reason != tt.want {
				t.Fatalf("got %v", err)
			}
			t.Logf("%+v", fault)
		})
	}
	t.Run("no such image", func(t *testing.T) {
		_, err := e.Push(t.Context(), docker.Push{Name: "localhost:1/team/none", Tag: "v1"})
		var none *docker.NoImage
		if !errors.As(err, &none) {
			t.Errorf("got %T %v", err, err)
		}
	})
	t.Run("refused connection", func(t *testing.T) {
		imageNamed(t, e, "127.0.0.1:1/team/app:v1")
		_, err := e.Push(t.Context(), docker.Push{Name: "127.0.0.1:1/team/app", Tag: "v1", Retry: docker.Retry{Attempts: 1}})
		var fault *docker.PushError
		if !errors.As(err, &fault) || fault.Reason != docker.ReasonTemporary {
			t.Errorf("got %T %v", err, err)
		}
	})
	t.Run("a registry with an unknown certificate", func(t *testing.T) {
		address := tlsRegistry(t)
		imageNamed(t, e, address+"/team/app:v1")
		_, err := e.Push(t.Context(), docker.Push{Name: address + "/team/app", Tag: "v1", Retry: docker.Retry{Attempts: 1}})
		var fault *docker.PushError
		if !errors.As(err, &fault) || fault.Reason != docker.ReasonTLS {
			t.Errorf("got %T %v", err, err)
		}
	})
}

// tlsRegistry is a server whose certificate nobody trusts. It listens beside
// the loopback, which Engines do not verify.
func tlsRegistry(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		ip, ok := a.(*net.IPNet)
		if !ok || ip.IP.IsLoopback() || ip.IP.To4() == nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(ip.IP.String(), "0"))
		if err != nil {
			continue
		}
		s := httptest.NewUnstartedServer(http.NotFoundHandler())
		s.Listener.Close()
		s.Listener = l
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		return strings.TrimPrefix(s.URL, "https://")
	}
	t.Fatal("this machine has no address beside the loopback")
	return ""
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

func TestRealEngineShowsCredentialsForABaseImage(t *testing.T) {
	e := connect(t)
	address := proxy(t, registryAt(t), func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "me" && password == "pw" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(401)
		return true
	})
	imageNamed(t, e, address+"/team/base:v1")
	if _, err := e.Push(t.Context(), docker.Push{Name: address + "/team/base", Tag: "v1", Username: "me", Password: secret.New("pw")}); err != nil {
		t.Fatal(err)
	}
	dir := folder(t, map[string]string{"Dockerfile": "FROM " + address + "/team/base:v1\nCOPY mark /\n", "mark": time.Now().String()})
	b := request(dir, nil, address+"/team/app:v1")
	b.Pull = true
	_, err := e.Build(t.Context(), b)
	var fault *docker.BuildError
	if !errors.As(err, &fault) || fault.Registry != docker.ReasonUnauthorized && fault.Registry != docker.ReasonDenied {
		t.Errorf("without credentials: %T %v", err, err)
	}
	t.Log(err)
	b.Credentials = func(host string) (string, secret.Value, bool) { return "me", secret.New("pw"), host == address }
	if _, err := e.Build(t.Context(), b); err != nil {
		t.Error(err)
	}
}

// Engine 29.2 and later announce the end of /grpc and /session; what is left
// then is gRPC on the socket itself, which they speak already.
func TestRealEngineBuildsOverNativeGRPC(t *testing.T) {
	socket, ok := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://")
	if !ok {
		t.Fatal("this test needs a unix socket")
	}
	native := connect(t).Info().Store == docker.StoreContainerd
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var preface atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				first := make([]byte, 4096)
				n, err := c.Read(first)
				if err != nil {
					return
				}
				if strings.HasPrefix(string(first[:n]), "POST /grpc") || strings.HasPrefix(string(first[:n]), "POST /session") {
					io.WriteString(c, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
					return
				}
				if strings.HasPrefix(string(first[:n]), "PRI * HTTP/2.0") {
					preface.Add(1)
				}
				up, err := net.Dial("unix", socket)
				if err != nil {
					return
				}
				defer up.Close()
				up.Write(first[:n])
				go io.Copy(up, c)
				io.Copy(c, up)
			}()
		}
	}()
	e, err := docker.Connect(t.Context(), docker.Options{Host: "unix://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var out bytes.Buffer
	dir := folder(t, map[string]string{"Dockerfile": base + "COPY mark /\nRUN echo native\n", "mark": time.Now().String()})
	image, err := e.Build(t.Context(), request(dir, &out, "localhost:1/e2e/native:1"))
	t.Logf("%+v %v\n%s", image, err, out.String())
	if err != nil {
		t.Fatal(err)
	}
	if native != (preface.Load() > 0 && image.ManifestDigest != "") {
		t.Errorf("%d native connections", preface.Load())
	}
}

var requestLine = regexp.MustCompile(`^((?:HEAD|GET|POST|PUT) /\S*) HTTP/1\.1\r\n`)

// A proxy before the Engine's socket counts what we ask. the Engine's socket and counts.
func TestRealEngineCachedBuildCost(t *testing.T) {
	socket, ok := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://")
	if !ok {
		t.Fatal("this test needs a unix socket")
	}
	var mu sync.Mutex
	var first []string
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("unix", socket)
			if err != nil {
				c.Close()
				continue
			}
			go func() {
				buf := make([]byte, 64<<10)
				for {
					n, err := c.Read(buf)
					if found := requestLine.FindSubmatch(buf[:n]); found != nil {
						mu.Lock()
						first = append(first, string(found[1]))
						mu.Unlock()
					}
					if n > 0 {
						up.Write(buf[:n])
					}
					if err != nil {
						up.(*net.UnixConn).CloseWrite()
						return
					}
				}
			}()
			go func() { io.Copy(c, up); c.Close(); up.Close() }()
		}
	}()
	started := time.Now()
	e, err := docker.Connect(t.Context(), docker.Options{Host: "unix://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	t.Logf("connect: %v", time.Since(started))
	dir := folder(t, map[string]string{"Dockerfile": base + "COPY note /note\n", "note": "x"})
	for i := range 4 {
		started = time.Now()
		if _, err := e.Build(t.Context(), request(dir, nil, "localhost:1/e2e/cost:1")); err != nil {
			t.Fatal(err)
		}
		t.Logf("build %d: %v", i, time.Since(started))
	}
	mu.Lock()
	defer mu.Unlock()
	t.Logf("%d requests: %q", len(first), first)
	if len(first) > 2+4*2 {
		t.Errorf("%d requests for a connection and four builds, want at most 10", len(first))
	}
}

// peak gives this process's highest resident size in bytes since the last reset.
func peak(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n << 10
}

func resetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0o200); err != nil {
		t.Fatal(err)
	}
}

// The Engine clips the log of a step at 2 MiB unless it was started with
// BUILDKIT_STEP_LOG_MAX_SIZE and BUILDKIT_STEP_LOG_MAX_SPEED of 1000000000.
// (Engine 20.10 takes -1 for a bound, not for none.)
func TestRealEngineMemoryStaysConstant(t *testing.T) {
	e := connect(t)
	contextSize, logSize := int64(500_000_000), 200_000_000
	if strings.HasPrefix(e.Info().Version, "20.") {
		logSize = 5_000_000 // this Engine passes a log on in quadratic time
	}
	dir := folder(t, map[string]string{"Dockerfile": base + "COPY big /big\nRUN rm /big; yes " + time.Now().Format("150405.000000000") +
		strings.Repeat("x", 80) + " | head -c " + strconv.Itoa(logSize) + "\n"})
	if err := os.WriteFile(filepath.Join(dir, "big"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "big"), contextSize); err != nil {
		t.Fatal(err)
	}
	written := 0
	out := writerFunc(func(p []byte) (int, error) { written += len(p); return len(p), nil })
	resetPeak(t)
	before := peak(t)
	started := time.Now()
	if _, err := e.Build(t.Context(), request(dir, out)); err != nil {
		t.Fatal(err)
	}
	grown := peak(t) - before
	t.Logf("%d MB of log in %v; resident size %d MB before, grew by %d MB", written/1e6, time.Since(started), before/1e6, grown/1e6)
	if grown > 64<<20 {
		t.Errorf("the process grew by %d MB", grown>>20)
	}
}
