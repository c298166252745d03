//go:build e2e

package docker_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"contenttrust/internal/docker"
)

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
		logSize = 20_000_000 // enough to make this Engine's status endless
	}
	dir := folder(t, map[string]string{"Dockerfile": base + "COPY big /big\nRUN rm /big; yes " + time.Now().Format("150405.000000000") +
		strings.Repeat("x", 80) + " | head -c " + strconv.Itoa(logSize) + "\n"})
	if err := os.WriteFile(filepath.Join(dir, "big"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(dir, "big"), contextSize); err != nil {
		t.Fatal(err)
	}
	written, clipped := 0, false
	out := writerFunc(func(p []byte) (int, error) {
		written += len(p)
		clipped = clipped || bytes.Contains(p, []byte("[output clipped")) || bytes.Contains(p, []byte("stopped reporting"))
		return len(p), nil
	})
	resetPeak(t)
	before := peak(t)
	started := time.Now()
	if _, err := e.Build(t.Context(), request(dir, out)); err != nil {
		t.Fatal(err)
	}
	grown := peak(t) - before
	t.Logf("%d MB of log in %v; resident size %d MB before, grew by %d MB", written/1e6, time.Since(started), before/1e6, grown/1e6)
	if !clipped && written < logSize {
		t.Errorf("%d bytes of log are lost without a word", logSize-written)
	}
	if grown > 64<<20 {
		t.Errorf("the process grew by %d MB", grown>>20)
	}
}
