package enginetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options says what Engine to play. The zero value is an Engine 28 with the
// graphdriver store that knows no image and fails every build and push.
type Options struct {
	Version       string // default "28.5.2"
	APIVersion    string // its highest, default "1.51"
	MinAPIVersion string // default "1.24"
	OSType        string // default "linux"
	Containerd    bool   // the containerd image store
	Rootless      bool
	// Images maps names to IDs, for inspect and tag.
	Images map[string]string
	// Push answers a push, usually with Send.
	Push func(w http.ResponseWriter, p PushRequest)
	// Classic answers POST /build.
	Classic func(w http.ResponseWriter, r *http.Request)
	// Solve answers a BuildKit solve with the exporter's response.
	Solve func(s *Solve) (map[string]string, error)
	// EmptyStatus: after a solve its status goes on without end, and empty, as
	// Engine 20.10 may do.
	EmptyStatus bool
	// NoHijack: /grpc and /session are gone (404).
	NoHijack bool
	// NoNative: the socket speaks HTTP/1.1 alone, no native gRPC.
	NoNative bool
	// Intercept, if set, sees every HTTP/1.1 request first.
	Intercept func(w http.ResponseWriter, r *http.Request, next http.Handler)
	// Socket, if set, is the path of a unix socket to listen on instead of a
	// loopback port.
	Socket string
}

// PushRequest is what a client asked of a push.
type PushRequest struct {
	Name   string // without the tag
	Tag    string
	Auth   string // the header X-Registry-Auth as sent
	Number int    // from 1: which push this is
}

// Request is one HTTP/1.1 request the Engine has seen.
type Request struct{ Method, Path string }

// Engine is a running fake.
type Engine struct {
	// Host is its address as in DOCKER_HOST.
	Host string

	options  Options
	server   *http.Server
	kit      *buildKit
	mu       sync.Mutex
	requests []Request
	pushes   int
}

// New starts an Engine. Close it.
func New(o Options) (*Engine, error) {
	setDefault(&o.Version, "28.5.2")
	setDefault(&o.APIVersion, "1.51")
	setDefault(&o.MinAPIVersion, "1.24")
	setDefault(&o.OSType, "linux")
	network, address := "tcp", "127.0.0.1:0"
	if o.Socket != "" {
		network, address = "unix", o.Socket
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	e := &Engine{Host: network + "://" + listener.Addr().String(), options: o}
	e.kit = newBuildKit(o.Solve)
	e.kit.endless = o.EmptyStatus
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(!o.NoNative)
	e.server = &http.Server{Handler: e, Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = e.server.Serve(listener) }() // ends with ErrServerClosed, by Close
	return e, nil
}

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// Close stops the Engine and cuts every connection.
func (e *Engine) Close() error {
	err := e.server.Close() // the door first: who is cut off finds nobody there
	e.kit.close()
	return err
}

// Requests gives the HTTP/1.1 requests so far, in order.
func (e *Engine) Requests() []Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]Request(nil), e.requests...)
}

// ServeHTTP is the Engine's front door.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 2 && strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		e.kit.grpc.ServeHTTP(w, r)
		return
	}
	e.mu.Lock()
	e.requests = append(e.requests, Request{r.Method, r.URL.Path})
	e.mu.Unlock()
	if e.options.Intercept != nil {
		e.options.Intercept(w, r, http.HandlerFunc(e.route))
		return
	}
	e.route(w, r)
}

var versioned = regexp.MustCompile(`^/v([0-9.]+)(/.*)$`)

func (e *Engine) route(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Api-Version", e.options.APIVersion)
	w.Header().Set("Ostype", e.options.OSType)
	path := r.URL.Path
	if found := versioned.FindStringSubmatch(path); found != nil {
		if text := e.refuse(found[1]); text != "" {
			fail(w, http.StatusBadRequest, text)
			return
		}
		path = found[2]
	}
	image := strings.TrimPrefix(path, "/images/")
	switch {
	case path == "/_ping":
		fmt.Fprint(w, "OK")
	case path == "/info":
		e.info(w)
	case path == "/grpc" && !e.options.NoHijack:
		e.kit.hijackControl(w, r)
	case path == "/session" && !e.options.NoHijack:
		e.kit.hijackSession(w, r)
	case path == "/build" && e.options.Classic != nil:
		e.options.Classic(w, r)
	case r.Method == http.MethodPost && strings.HasSuffix(image, "/push") && e.options.Push != nil:
		e.push(w, r, strings.TrimSuffix(image, "/push"))
	case r.Method == http.MethodPost && strings.HasSuffix(image, "/tag"):
		e.tag(w, r, strings.TrimSuffix(image, "/tag"))
	case strings.HasSuffix(image, "/json"):
		e.inspect(w, strings.TrimSuffix(image, "/json"))
	default:
		fail(w, http.StatusNotFound, "page not found")
	}
}

// refuse is moby's version middleware.
func (e *Engine) refuse(version string) string {
	switch {
	case less(e.options.APIVersion, version):
		return fmt.Sprintf("client version %s is too new. Maximum supported API version is %s", version, e.options.APIVersion)
	case less(version, e.options.MinAPIVersion):
		return fmt.Sprintf("client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", version, e.options.MinAPIVersion)
	}
	return ""
}

func less(a, b string) bool { return number(a) < number(b) }

func number(version string) int {
	major, minor, _ := strings.Cut(version, ".")
	x, _ := strconv.Atoi(major)
	y, _ := strconv.Atoi(minor)
	return x*1000 + y
}

func (e *Engine) info(w http.ResponseWriter) {
	status := [][2]string{{"Backing Filesystem", "extfs"}}
	if e.options.Containerd {
		status = [][2]string{{"driver-type", "io.containerd.snapshotter.v1"}}
	}
	security := []string{"name=seccomp,profile=builtin"}
	if e.options.Rootless {
		security = append(security, "name=rootless")
	}
	answer(w, map[string]any{
		"ServerVersion": e.options.Version, "OSType": e.options.OSType, "Architecture": "x86_64",
		"Driver": "overlay2", "DriverStatus": status, "SecurityOptions": security,
	})
}

func (e *Engine) push(w http.ResponseWriter, r *http.Request, name string) {
	e.mu.Lock()
	e.pushes++
	request := PushRequest{Name: name, Tag: r.URL.Query().Get("tag"), Auth: r.Header.Get("X-Registry-Auth"), Number: e.pushes}
	e.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	e.options.Push(w, request)
}

func (e *Engine) inspect(w http.ResponseWriter, name string) {
	e.mu.Lock()
	id, ok := e.options.Images[name]
	e.mu.Unlock()
	if !ok {
		fail(w, http.StatusNotFound, "No such image: "+name)
		return
	}
	answer(w, map[string]any{"Id": id})
}

func (e *Engine) tag(w http.ResponseWriter, r *http.Request, name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id, ok := e.options.Images[name]
	if !ok {
		fail(w, http.StatusNotFound, "No such image: "+name)
		return
	}
	e.options.Images[r.URL.Query().Get("repo")+":"+r.URL.Query().Get("tag")] = id
	w.WriteHeader(http.StatusCreated)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the client that no longer listens is no concern of a server
}

// fail answers as the Engine does.
func fail(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": text})
}

// Fail answers a request with an Engine's error.
func Fail(w http.ResponseWriter, code int, text string) { fail(w, code, text) }

// Send writes stream messages: a string is a status without an ID, anything
// else is written as JSON.
func Send(w http.ResponseWriter, messages ...any) {
	for _, m := range messages {
		if text, ok := m.(string); ok {
			m = map[string]string{"status": text}
		}
		line, _ := json.Marshal(m)
		w.Write(append(line, '\r', '\n'))
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
}

// Layer is a stream message about one layer.
func Layer(id, status string, current, total int64) any {
	return map[string]any{"id": id, "status": status, "progressDetail": map[string]int64{"current": current, "total": total}}
}

// StreamError is the message with which an Engine ends a stream that failed.
func StreamError(text string) any {
	return map[string]any{"errorDetail": map[string]string{"message": text}, "error": text}
}

var errClosed = errors.New("the fake engine is closed")
