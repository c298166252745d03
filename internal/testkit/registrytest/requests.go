package registrytest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Request is what the Front remembers of one request.
type Request struct {
	Method string
	Path   string
	// Query holds the parameters of the address, among them the scopes of a
	// token request made with GET.
	Query url.Values
	// Auth is the scheme of the Authorization header: "", "Basic", "Bearer".
	Auth string
	// Conn numbers the connections in the order they were made, from 1.
	Conn int64
	// Status is 0 while the request is under way or when its connection was
	// cut without an answer.
	Status  int
	Started time.Time
}

// String is the request on one line: "GET /v2/ 401".
func (r Request) String() string {
	return r.Method + " " + r.Path + " " + strconv.Itoa(r.Status)
}

type connKey struct{}

type requestLog struct {
	mu      sync.Mutex
	entries []*Request
}

func (l *requestLog) begin(r *http.Request) *Request {
	scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	conn, _ := r.Context().Value(connKey{}).(int64)
	entry := &Request{
		Method: r.Method, Path: r.URL.Path, Query: r.URL.Query(),
		Auth: scheme, Conn: conn, Started: time.Now(),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry)
	return entry
}

// Requests gives the requests since the start or the last ResetLog, in the
// order of their arrival.
func (f *Front) Requests() []Request {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	all := make([]Request, len(f.log.entries))
	for i, entry := range f.log.entries {
		all[i] = *entry
	}
	return all
}

// ResetLog forgets the requests so far.
func (f *Front) ResetLog() {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	f.log.entries = nil
}

// Connections counts the connections used by the requests in the log.
func (f *Front) Connections() int {
	seen := map[int64]bool{}
	for _, r := range f.Requests() {
		seen[r.Conn] = true
	}
	return len(seen)
}

// recorder notes the status before the client can see the answer, and is the
// last to touch its headers.
type recorder struct {
	http.ResponseWriter
	front *Front
	entry *Request
	wrote bool
}

func (w *recorder) WriteHeader(status int) {
	if !w.wrote && status >= 200 {
		w.wrote = true
		w.front.faults.phish(w.Header())
		w.front.log.mu.Lock()
		w.entry.Status = status
		w.front.log.mu.Unlock()
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	w.finish()
	return w.ResponseWriter.Write(p)
}

// ReadFrom keeps the short cut from a connection to a connection open.
func (w *recorder) ReadFrom(src io.Reader) (int64, error) {
	w.finish()
	return io.Copy(w.ResponseWriter, src)
}

// Unwrap lets http.ResponseController find Flush and Hijack.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack leaves the status at 0: what goes over the connection now is a
// fault's own affair.
func (w *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.wrote = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

func (w *recorder) finish() {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
}
