package registrytest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	embedded "github.com/google/go-containerregistry/pkg/registry"
)

// User is one account of the registry and what it may do.
type User struct {
	// Password is accepted by Basic authentication and by grant_type=password.
	Password string
	// IdentityToken, when not empty, is accepted by grant_type=refresh_token
	// and as the password of IdentityUser.
	IdentityToken string

	Pull   bool // AcrPull
	Push   bool // AcrPush
	Delete bool // AcrDelete
	// Sign grants push and "*" on trust data (AcrImageSigner). Without it a
	// scope that names trust data is cut down to pull.
	Sign bool
}

// IdentityUser is the user name Azure Container Registry expects beside a
// refresh token that stands in the place of a password.
const IdentityUser = "00000000-0000-0000-0000-000000000000"

// Options says what a Front serves. The zero value is a registry in memory on a
// free loopback port that nobody can log in to.
type Options struct {
	// Registry answers what is not trust data. nil: a registry in memory,
	// and the Front checks the tokens.
	Registry http.Handler
	// Trust answers /v2/<gun>/_trust/. nil: 404 for everything, as on a
	// registry without content trust.
	Trust http.Handler
	// VerifyTrust makes the Front check tokens for Trust too; a real
	// notary-server does that itself.
	VerifyTrust bool

	// Users by name.
	Users map[string]User
	// AnonymousPull gives pull tokens to clients without a credential.
	AnonymousPull bool

	// Listen is the address to listen on. "": 127.0.0.1:0.
	Listen string
	// Host is the name clients use. "": the listener's address. "localhost",
	// "*.localhost" and IP addresses get the listener's port appended; any
	// other name is used as it stands and reached through Client only.
	Host string

	// Delay is added before every answer; see SetDelay.
	Delay time.Duration
	// TokenLife is how long tokens are valid. 0: 75 minutes, as ACR's.
	TokenLife time.Duration
	// BasicOnly makes /v2/ ask for Basic instead of Bearer and accepts Basic
	// everywhere. It works with the embedded registry only.
	BasicOnly bool
	// HTTP2 offers HTTP/2. Without it, each request under way needs its own
	// connection, which is what makes connections countable.
	HTTP2 bool
}

// Front is a running front door. Close it.
type Front struct {
	// URL is https://Host; Host is what stands before the first slash of an
	// image name, port included.
	URL, Host string
	// Address is where the listener really is.
	Address string
	// CAPEM is the authority behind the TLS certificate.
	CAPEM []byte
	// SigningCertPEM, Issuer, Service and Realm are the rootcertbundle, issuer,
	// service and realm of a registry's or Notary server's token settings.
	SigningCertPEM         []byte
	Issuer, Service, Realm string

	options Options
	signer  signer
	server  *http.Server
	done    chan struct{}
	conns   atomic.Int64
	faults  faults
	log     requestLog

	mu              sync.Mutex // guards the two handlers
	registry, trust http.Handler
}

// New starts a Front. Its errors are those of the listener.
func New(o Options) (*Front, error) {
	listener, err := net.Listen("tcp", orDefault(o.Listen, "127.0.0.1:0"))
	if err != nil {
		return nil, err
	}
	f := &Front{options: o, Address: listener.Addr().String(), done: make(chan struct{})}
	f.Host = publicHost(o.Host, listener.Addr().(*net.TCPAddr))
	f.URL = "https://" + f.Host
	f.Issuer, f.Service, f.Realm = "Front of "+f.Host, f.Host, f.URL+"/oauth2/token"
	f.faults.reset(o)

	certificate, err := f.makeCertificates()
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	f.SetRegistry(o.Registry)
	f.SetTrust(o.Trust)
	f.server = &http.Server{
		Handler:           http.HandlerFunc(f.serve),
		ErrorLog:          log.New(io.Discard, "", 0),
		ReadHeaderTimeout: time.Minute,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, f.conns.Add(1))
		},
	}
	protocols := []string{"http/1.1"}
	if o.HTTP2 {
		protocols = []string{"h2", "http/1.1"}
	}
	f.server.TLSConfig = &tls.Config{
		Certificates: []tls.Certificate{certificate},
		NextProtos:   protocols,
		MinVersion:   tls.VersionTLS12,
	}
	if !o.HTTP2 {
		f.server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	go func() {
		defer close(f.done)
		_ = f.server.ServeTLS(listener, "", "")
	}()
	return f, nil
}

// Close ends the server and all its connections, also those under way.
func (f *Front) Close() {
	_ = f.server.Close()
	<-f.done
}

// SetRegistry replaces the registry behind the door, nil by the embedded one.
// A real registry needs the Front's certificate before it can start, so the rig
// starts the Front first.
func (f *Front) SetRegistry(h http.Handler) {
	if h == nil {
		h = f.guarded(f.embedded(embedded.New(embedded.Logger(log.New(io.Discard, "", 0)))))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.registry = h
}

// SetTrust replaces the Notary server behind the door, nil by one that answers
// 404 to everyone.
func (f *Front) SetTrust(h http.Handler) {
	switch {
	case h == nil:
		h = http.NotFoundHandler()
	case f.options.VerifyTrust:
		h = f.guarded(h)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trust = h
}

// Client trusts this Front and finds it under its Host. It keeps connections.
// Every call makes a client with connections of its own.
func (f *Front) Client() *http.Client { return ClientFor(f) }

// ClientFor makes one client for several Fronts.
func ClientFor(fronts ...*Front) *http.Client {
	pool := x509.NewCertPool()
	addresses := map[string]string{}
	for _, f := range fronts {
		pool.AppendCertsFromPEM(f.CAPEM)
		addresses[withPort(f.Host)] = f.Address
	}
	var dialer net.Dialer
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if real, ok := addresses[address]; ok {
				address = real
			}
			return dialer.DialContext(ctx, network, address)
		},
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   32,
		ResponseHeaderTimeout: 30 * time.Second,
	}}
}

// serve is the door: note the request, let the faults have it, send it on.
func (f *Front) serve(w http.ResponseWriter, r *http.Request) {
	entry := f.log.begin(r)
	rec := &recorder{ResponseWriter: w, front: f, entry: entry}
	f.handle(rec, r, http.HandlerFunc(f.route))
	rec.finish()
}

func (f *Front) route(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	registry, trust := f.registry, f.trust
	f.mu.Unlock()
	switch {
	case r.URL.Path == "/oauth2/token":
		f.serveToken(w, r)
	case strings.Contains(r.URL.Path, "/_trust/"):
		trust.ServeHTTP(w, r)
	case r.URL.Path == "/v2/" || r.URL.Path == "/v2":
		f.guarded(http.HandlerFunc(servePing)).ServeHTTP(w, r)
	case strings.HasPrefix(r.URL.Path, "/v2/"), strings.HasPrefix(r.URL.Path, "/acr/v1/"):
		registry.ServeHTTP(w, r)
	default:
		WriteError(w, http.StatusNotFound, "NOT_FOUND", "no such page")
	}
}

func servePing(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}")
}

// publicHost is the name clients write for a listener, by the rule of Options.Host.
func publicHost(host string, address *net.TCPAddr) string {
	port := strconv.Itoa(address.Port)
	switch {
	case host == "":
		return address.String()
	case host == "localhost", strings.HasSuffix(host, ".localhost"), net.ParseIP(host) != nil:
		return net.JoinHostPort(host, port)
	}
	return host
}

func withPort(host string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(host, "443")
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
