package registry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"contenttrust/internal/secret"
)

// Credential is what a registry asks for a token. The zero value asks as nobody.
type Credential struct {
	// Username may be IdentityTokenUser; then Password is an identity token, as
	// docker's configuration files and credential helpers hold it, and is sent
	// to the token server in a form instead of a header.
	Username string
	Password secret.Value
}

// IdentityTokenUser is the user name that marks a password as an identity token
// (docker/docker-credential-helpers).
const IdentityTokenUser = "<token>"

func (c Credential) anonymous() bool { return c.Username == "" && c.Password.Empty() }

// Options says whom to talk to, and as whom.
type Options struct {
	Repository Repository
	Credential Credential

	// Transport makes the connections. Its time-outs for connecting and for the
	// headers of an answer apply to every single request; ctx limits the whole.
	// nil: a transport of the client's own with system proxies and authorities,
	// and 10 s for the headers.
	Transport http.RoundTripper

	// TrustServer is the address of a Notary server elsewhere, https://host and
	// nothing after it. "": the one that belongs to the registry.
	TrustServer string

	// TrustedRealmHosts are hosts, with a port if it is not 443, that may be
	// given the credential when a challenge names them, beside the registry's
	// own. Those of Docker Hub and gitlab.com are known.
	TrustedRealmHosts []string

	// InsecureHTTP talks plain http, to a registry on this machine only.
	InsecureHTTP bool

	// Attempts is how often a request is made before its failure counts. 0: 5.
	Attempts int
	// OnRetry is told of failures that will be tried again. nil: nobody. It may
	// be called by several goroutines at once.
	OnRetry func(Retry)
	// OnToken is given every token before it is used, so that a log can hide it: a
	// server may repeat one in the text of an error. nil: nobody.
	OnToken func(secret.Value)
	// Sleep waits between attempts. nil: for real.
	Sleep func(context.Context, time.Duration) error
	// Now decides whether tokens have expired. nil: time.Now.
	Now func() time.Time
}

// OptionError is a setting that cannot be.
type OptionError struct {
	// Option is the field of Options; Value is what it was, "" if that is secret.
	Option, Value string
	// Reason says why not, in a few words.
	Reason string
}

func (e *OptionError) Error() string {
	if e.Value == "" {
		return fmt.Sprintf("%s: %s", e.Option, e.Reason)
	}
	return fmt.Sprintf("%s %q: %s", e.Option, e.Value, e.Reason)
}

// Client works on one repository. It may be used by several goroutines at once.
// It keeps what it has learned (challenges, tokens) for as long as it lives, so
// make one and pass it around; For makes more of them that share it.
type Client struct {
	repository Repository
	api, trust *endpoint
	session    *session
}

// session is what Clients of one registry share.
type session struct {
	credential Credential
	transport  http.RoundTripper
	realms     map[origin]bool
	patience   patience
	now        func() time.Time
	onToken    func(secret.Value)

	mu        sync.Mutex
	endpoints map[origin]*endpoint

	background sync.WaitGroup // what goes on when its caller has gone on
}

// New makes a Client. Nothing is sent yet. The error is an *OptionError.
func New(o Options) (*Client, error) {
	r := o.Repository
	if r.Host == "" || r.Path == "" {
		return nil, &OptionError{Option: "Repository", Reason: "is empty"}
	}
	if o.Credential.Password.Empty() != (o.Credential.Username == "") {
		return nil, &OptionError{Option: "Credential", Reason: "user name and password only go together"}
	}
	home := hostOrigin("https", r.apiHost())
	if o.InsecureHTTP {
		home = hostOrigin("http", r.apiHost())
		if !home.loopback() {
			return nil, &OptionError{Option: "InsecureHTTP", Value: r.Host, Reason: "only for a registry on this machine"}
		}
	}
	trust, err := trustOrigin(o, home)
	if err != nil {
		return nil, err
	}
	s := newSession(o)
	return &Client{repository: r, session: s, api: s.endpoint(home), trust: s.endpoint(trust)}, nil
}

// For makes a Client for another repository on the same registry. They share
// challenges, connections and, where one covers both, tokens. A repository on
// another host is an *OptionError.
func (c *Client) For(r Repository) (*Client, error) {
	if r.Host != c.repository.Host || r.Path == "" {
		return nil, &OptionError{Option: "Repository", Value: r.String(), Reason: "is not on " + c.repository.Host}
	}
	return &Client{repository: r, api: c.api, trust: c.trust, session: c.session}, nil
}

// Repository is the one the Client works on.
func (c *Client) Repository() Repository { return c.repository }

// TrustServer is the address of the Notary server, https://host[:port].
func (c *Client) TrustServer() string { return c.trust.home.url("") }

func newSession(o Options) *session {
	s := &session{
		credential: o.Credential,
		transport:  o.Transport,
		realms:     map[origin]bool{},
		patience:   patience{attempts: o.Attempts, sleep: o.Sleep, tell: o.OnRetry},
		now:        o.Now,
		onToken:    o.OnToken,
		endpoints:  map[origin]*endpoint{},
	}
	for _, host := range append(knownRealms(o.Repository.Host), o.TrustedRealmHosts...) {
		s.realms[hostOrigin("https", host)] = true
		if plain := hostOrigin("http", host); plain.loopback() {
			s.realms[plain] = true
		}
	}
	if s.transport == nil {
		s.transport = defaultTransport()
	}
	if s.patience.attempts <= 0 {
		s.patience.attempts = defaultAttempts
	}
	if s.patience.sleep == nil {
		s.patience.sleep = sleep
	}
	if s.patience.tell == nil {
		s.patience.tell = func(Retry) {}
	}
	if s.now == nil {
		s.now = time.Now //nolint:forbidigo // the documented default
	}
	return s
}

// endpoint gives the one endpoint there is for an origin.
func (s *session) endpoint(home origin) *endpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.endpoints[home]
	if !ok {
		e = &endpoint{session: s, home: home, wire: &guard{inner: s.transport, home: home}}
		s.endpoints[home] = e
	}
	return e
}

// knownRealms are the token servers of registries that are known to keep them
// on another host.
func knownRealms(host string) []string {
	switch host {
	case hubName:
		return []string{hubTokens}
	case "registry.gitlab.com":
		return []string{"gitlab.com"}
	}
	return nil
}

func defaultTransport() http.RoundTripper {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   parallelTags,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 10 * time.Second,
		IdleConnTimeout:       90 * time.Second,
	}
}

// trustOrigin finds the Notary server. Without one of its own settings it is
// where the registry is, also for a registry on plain http.
func trustOrigin(o Options, home origin) (origin, error) {
	if o.TrustServer == "" {
		if o.Repository.Host != hubName {
			return home, nil
		}
		o.TrustServer = o.Repository.trustServer()
	}
	fail := func(reason string) (origin, error) {
		return origin{}, &OptionError{Option: "TrustServer", Value: cut(redactUser(o.TrustServer), 300), Reason: reason}
	}
	u, err := url.Parse(o.TrustServer)
	switch {
	case err != nil, u.Opaque != "", !validHost(strings.ToLower(u.Host)):
		return fail("is not an address")
	case u.User != nil:
		return fail("has a user name in it")
	case u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "":
		return fail("has something after the host")
	case u.Scheme != "https" && (u.Scheme != "http" || !o.InsecureHTTP || !originOf(u).loopback()):
		return fail("is not https")
	}
	return originOf(u), nil
}

// redactUser cuts out of an address what may be a password.
func redactUser(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…" + s[i:]
	}
	return s
}
