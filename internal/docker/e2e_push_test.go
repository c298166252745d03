//go:build e2e

package docker_test

import (
	"bytes"
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
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"contenttrust/internal/docker"
	"contenttrust/internal/secret"
)

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
