package notarytest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/theupdateframework/notary/cryptoservice"
	"github.com/theupdateframework/notary/trustmanager"
	"github.com/theupdateframework/notary/tuf/data"
)

// Server is an in-memory Notary server. Make one with [New]; it is safe for use by
// several goroutines at once.
type Server struct {
	mu          sync.Mutex
	keys        *cryptoservice.CryptoService // of timestamps and snapshots
	collections map[string]*collection
	log         []Request
	mutate      func(gun, name string, content []byte) []byte
	faults      []*Fault
	delay       time.Duration
}

// collection is everything stored under one GUN.
type collection struct {
	versions map[data.RoleName][]version // ascending
	byHash   map[string][]byte           // hex SHA-256 -> content
	frozen   bool                        // an edited timestamp is served as it is, even expired
}

type version struct {
	number  int
	content []byte
}

// Request is one line of the server's log.
type Request struct {
	Method string
	GUN    string
	Name   string // what follows /_trust/tuf/, for instance "root.json"; "" for an upload
	Status int    // 0 when the connection was cut
	Roles  []string
}

// Fault breaks requests. The zero value of a field means "any" or "not".
type Fault struct {
	Method     string // only this method
	Name       string // only names with this prefix, for instance "timestamp"
	Times      int    // how often; 0 means for ever
	After      bool   // let the request take effect first
	Status     int    // answer with this status ...
	Body       string // ... and this body ...
	RetryAfter string // ... and this header
	Reset      bool   // or cut the connection
}

// New returns a server without any collection.
func New() *Server {
	logrus.SetOutput(io.Discard) // the library logs every rejected upload
	return &Server{
		keys:        cryptoservice.NewCryptoService(trustmanager.NewKeyMemoryStore(noPassphrase)),
		collections: make(map[string]*collection),
	}
}

func noPassphrase(string, string, bool, int) (string, bool, error) { return "", false, nil }

// Mutate has every metadata file pass through f on its way out. name is the name
// that was asked for, for instance "targets.json" or "targets/alice.<sha256>.json".
// nil ends it.
func (s *Server) Mutate(f func(gun, name string, content []byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mutate = f
}

// Fail arranges for requests to fail. Faults are asked in the order they were
// added, and the first that fits is used up by one.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = -1
	}
	s.faults = append(s.faults, &f)
}

// Heal removes all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// SetDelay makes every request take d longer.
func (s *Server) SetDelay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = d
}

// Requests returns the log, oldest first.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Request(nil), s.log...)
}

// ResetLog empties the log.
func (s *Server) ResetLog() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = nil
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	gun, name, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/_trust/tuf/")
	fault, delay := s.meet(r.Method, name)
	time.Sleep(delay)
	line := Request{Method: r.Method, GUN: gun, Name: name}
	recorder := &recorder{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		line.Status = recorder.status
		s.mu.Lock()
		s.log = append(s.log, line)
		s.mu.Unlock()
	}()
	if fault != nil {
		if fault.After {
			line.Roles = s.answer(&discarder{header: make(http.Header)}, r, gun, name)
		}
		recorder.fail(fault)
		return
	}
	if !ok {
		notFound(recorder)
		return
	}
	line.Roles = s.answer(recorder, r, gun, name)
}

// meet finds the fault that a request runs into.
func (s *Server) meet(method, name string) (*Fault, time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.faults {
		if f.Times == 0 || f.Method != "" && f.Method != method || !strings.HasPrefix(name, f.Name) {
			continue
		}
		if f.Times > 0 {
			f.Times--
		}
		return f, s.delay
	}
	return nil, s.delay
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request, gun, name string) []string {
	role, isKey := strings.CutSuffix(name, ".key")
	switch {
	case isKey && (r.Method == http.MethodGet || r.Method == http.MethodPost):
		s.answerKey(w, r.Method, data.GUN(gun), data.RoleName(role))
	case name == "" && r.Method == http.MethodPost:
		return s.answerUpload(w, r, data.GUN(gun))
	case name == "" && r.Method == http.MethodDelete:
		s.mu.Lock()
		delete(s.collections, gun)
		s.mu.Unlock()
	case r.Method == http.MethodGet:
		s.answerFile(w, gun, name)
	default:
		notFound(w)
	}
	return nil
}

// The three ways to name a file, as in the routes of server/server.go.
var (
	byHash    = regexp.MustCompile(`^(root|targets(?:/[^/\s]+)*|snapshot|timestamp)\.([a-fA-F0-9]{64})\.json$`)
	byVersion = regexp.MustCompile(`^([1-9]*[0-9]+)\.(root|targets(?:/[^/\s]+)*|snapshot|timestamp)\.json$`)
	byName    = regexp.MustCompile(`^(root|targets(?:/[^/\s]+)*|snapshot|timestamp)\.json$`)
)

func (s *Server) answerFile(w http.ResponseWriter, gun, name string) {
	s.mu.Lock()
	content := s.find(gun, name)
	if content != nil && s.mutate != nil {
		content = s.mutate(gun, name, append([]byte(nil), content...))
	}
	s.mu.Unlock()
	if content == nil {
		notFound(w)
		return
	}
	w.Write(content)
}

// find returns the file of that name, nil if there is none. The caller holds mu.
func (s *Server) find(gun, name string) []byte {
	c := s.collections[gun]
	if c == nil {
		return nil
	}
	if m := byHash.FindStringSubmatch(name); m != nil {
		return c.byHash[strings.ToLower(m[2])]
	}
	if m := byVersion.FindStringSubmatch(name); m != nil {
		number, _ := strconv.Atoi(m[1])
		for _, v := range c.versions[data.RoleName(m[2])] {
			if v.number == number {
				return v.content
			}
		}
		return nil
	}
	m := byName.FindStringSubmatch(name)
	if m == nil {
		return nil
	}
	if m[1] == "timestamp" && !c.frozen {
		s.refresh(data.GUN(gun), c)
	}
	return c.current(data.RoleName(m[1]))
}

// current returns the newest content of a role, nil if there is none.
func (c *collection) current(role data.RoleName) []byte {
	v := c.versions[role]
	if len(v) == 0 {
		return nil
	}
	return v[len(v)-1].content
}

// add stores a new version.
func (c *collection) add(role data.RoleName, number int, content []byte) {
	c.versions[role] = append(c.versions[role], version{number, content})
	sum := sha256.Sum256(content)
	c.byHash[hex.EncodeToString(sum[:])] = content
}

// recorder remembers the status for the log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) fail(f *Fault) {
	if f.Reset {
		r.status = 0
		panic(http.ErrAbortHandler) // net/http cuts the connection
	}
	if f.RetryAfter != "" {
		r.Header().Set("Retry-After", f.RetryAfter)
	}
	r.WriteHeader(f.Status)
	_, _ = io.WriteString(r, f.Body) // the client that no longer listens is no concern of a server
}

// discarder swallows the answer to a request whose effect alone is wanted.
type discarder struct{ header http.Header }

func (d *discarder) Header() http.Header         { return d.header }
func (d *discarder) Write(p []byte) (int, error) { return len(p), nil }
func (d *discarder) WriteHeader(int)             {}

// The errors of notary's server/errors, in the envelope of docker/distribution.
func refuse(w http.ResponseWriter, status int, code, message string, detail any) {
	type item struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Detail  any    `json:"detail,omitempty"`
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string][]item{"errors": {{code, message, detail}}})
}

func notFound(w http.ResponseWriter) {
	refuse(w, http.StatusNotFound, "METADATA_NOT_FOUND", "You have requested metadata that does not exist.", struct{}{})
}
