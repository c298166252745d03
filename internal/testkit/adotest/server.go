package adotest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options set a server up. The zero Options are a working one.
type Options struct {
	Collection string // path, default "/Fabrikam Fiber/": capitals and a space on purpose
	Project    string // default "Content Trust"
	ProjectID  string // default "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c"
	Token      string // the job's access token, default "job-access-token"
	TLS        bool   // serve https with a certificate of its own authority, Server.CAPEM
	// SignInPage answers a wrong token with 203 and a page, as the hosted service
	// does where it may; false is 401.
	SignInPage bool
	// OldServer knows no api-version above 5.0-preview.
	OldServer bool
	// ExpiredStatus is the status for an expired ticket, default 500.
	ExpiredStatus int
}

// File is a secure file.
type File struct {
	ID      string // a GUID, lower case
	Name    string
	Content []byte
	Ticket  string
	Expired bool // the ticket is
}

// Request is one the server has seen.
type Request struct {
	Method, Path, RawQuery string // Path as it was sent, escaped
	Header                 http.Header
	Body                   []byte // of POSTs
	Fault                  FaultKind
}

// Server is a running server. Its methods are safe for concurrent use.
type Server struct {
	URL   string // http(s)://127.0.0.1:port
	CAPEM []byte // of TLS servers

	options Options
	http    *http.Server
	stop    context.CancelFunc // ends handlers that hang on purpose
	done    chan struct{}

	mu       sync.Mutex
	files    map[string]File
	faults   []Fault
	requests []Request
	failures []string
	images   []json.RawMessage
}

// New starts a server on a free port of the loopback interface. Close it.
func New(options Options) (*Server, error) {
	s := newServer(options)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("adotest: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop, s.done = stop, make(chan struct{})
	s.URL = "http://" + listener.Addr().String()
	// HTTP/1 alone: faults need the connection itself.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler: s, Protocols: &protocols, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	if options.TLS {
		certificate, authority, err := newCertificate()
		if err != nil {
			stop()
			return nil, fmt.Errorf("adotest: %w", err)
		}
		s.URL, s.CAPEM = "https://"+listener.Addr().String(), authority
		listener = tls.NewListener(listener, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}})
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(listener) // ends with ErrServerClosed
	}()
	return s, nil
}

// Handler gives a server without a listener, to be mounted elsewhere. Its URL is
// empty.
func Handler(options Options) *Server { return newServer(options) }

func newServer(options Options) *Server {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&options.Collection, "/Fabrikam Fiber/")
	set(&options.Project, "Content Trust")
	set(&options.ProjectID, "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c")
	set(&options.Token, "job-access-token")
	options.Collection = "/" + strings.Trim(options.Collection, "/") + "/"
	if options.ExpiredStatus == 0 {
		options.ExpiredStatus = http.StatusInternalServerError
	}
	return &Server{options: options, files: make(map[string]File)}
}

// Close ends the server and every request under way.
func (s *Server) Close() {
	if s.http == nil {
		return
	}
	s.stop()
	_ = s.http.Close()
	<-s.done
}

// CollectionURI is what the agent says as System.CollectionUri.
func (s *Server) CollectionURI() string {
	return s.URL + strings.ReplaceAll(s.options.Collection, " ", "%20")
}

// Client gives a client that trusts the server.
func (s *Server) Client() *http.Client {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CAPEM)
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool}}}
}

// Environment gives the variables (NAME=value) in which an agent tells a task
// about this server, its project, the token and the secure files.
func (s *Server) Environment() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	auth, _ := json.Marshal(map[string]any{"parameters": map[string]string{"AccessToken": s.options.Token}, "scheme": "OAuth"})
	env := []string{
		"SYSTEM_TEAMFOUNDATIONCOLLECTIONURI=" + s.CollectionURI(),
		"SYSTEM_COLLECTIONURI=" + s.CollectionURI(),
		"SYSTEM_TEAMFOUNDATIONSERVERURI=" + s.URL + "/",
		"SYSTEM_TEAMPROJECT=" + s.options.Project,
		"SYSTEM_TEAMPROJECTID=" + s.options.ProjectID,
		"ENDPOINT_URL_SYSTEMVSSCONNECTION=" + s.CollectionURI(),
		"ENDPOINT_AUTH_SYSTEMVSSCONNECTION=" + string(auth),
		"ENDPOINT_AUTH_SCHEME_SYSTEMVSSCONNECTION=OAuth",
		"ENDPOINT_AUTH_PARAMETER_SYSTEMVSSCONNECTION_ACCESSTOKEN=" + s.options.Token,
	}
	for id, file := range s.files {
		env = append(env, "SECUREFILE_NAME_"+id+"="+file.Name, "SECUREFILE_TICKET_"+id+"="+file.Ticket)
	}
	slices.Sort(env)
	return env
}

// Put adds a secure file, or replaces the one of the same ID.
func (s *Server) Put(file File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[file.ID] = file
}

// Fail makes the next requests for secure files fail, after those that are to
// fail already.
func (s *Server) Fail(faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fault := range faults {
		for range max(fault.Times, 1) {
			s.faults = append(s.faults, fault)
		}
	}
}

// Requests gives what was asked so far, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Failures tells what the server did not know or what was wrong with a request;
// empty is good.
func (s *Server) Failures() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.failures)
}

// ImageDetails gives the bodies posted to deployment/imagedetails.
func (s *Server) ImageDetails() []json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.images)
}

func (s *Server) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

// newCertificate makes an authority and a certificate for the loopback address.
func newCertificate() (tls.Certificate, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "adotest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, authority, nil
}
