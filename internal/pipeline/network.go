package pipeline

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

// Time limits of the client; none for a whole request, whose body may be long.
const (
	dialTimeout           = 15 * time.Second
	tlsTimeout            = 15 * time.Second
	responseHeaderTimeout = 60 * time.Second
	idleTimeout           = 90 * time.Second
	maxRedirects          = 5
	maxIdlePerHost        = 16 // several tags are worked on at once
)

// SettingError is a network setting that cannot be used. Its value is not part
// of the text: it may hold a password.
type SettingError struct {
	Setting string // AGENT_PROXYURL, AGENT_CAINFO, …
	File    string // the file it names, if it names one
	Err     error
}

func (e *SettingError) Error() string {
	if e.File != "" {
		return fmt.Sprintf("%s: %s: %v", e.Setting, e.File, e.Err)
	}
	return fmt.Sprintf("%s: %v", e.Setting, e.Err)
}

// Unwrap gives the cause.
func (e *SettingError) Unwrap() error { return e.Err }

// RedirectError is a redirect that is not followed.
type RedirectError struct {
	From, To string // scheme and host only: a query may hold a ticket
	Reason   string
}

func (e *RedirectError) Error() string {
	return fmt.Sprintf("redirect from %s to %s not followed: %s", e.From, e.To, e.Reason)
}

// WarningKind tells what is odd about the network settings.
type WarningKind string

// The kinds of Warning.
const (
	// WarningBypassList: AGENT_PROXYBYPASSLIST is no JSON array of texts and is ignored.
	WarningBypassList WarningKind = "bypass list unreadable"
	// WarningBypassPattern: the pattern in Detail is not understood and is ignored.
	// RE2 has neither look-around nor back references.
	WarningBypassPattern WarningKind = "bypass pattern unreadable"
	// WarningSkipValidation: certificates of the agent's server are not checked.
	WarningSkipValidation WarningKind = "certificates not checked"
	// WarningClientArchiveOnly: a client certificate is there only as a PKCS#12
	// archive and is not used.
	WarningClientArchiveOnly WarningKind = "client certificate only as archive"
)

// Warning is something odd in the settings that [Agent.HTTPClient] works around.
type Warning struct {
	Kind   WarningKind
	Detail string
}

// Warnings tells what [Agent.HTTPClient] ignores or does with a risk, so that
// the caller can say it once.
func (a Agent) Warnings() []Warning {
	_, warnings := a.Proxy.bypass()
	if a.Certificates.SkipValidation {
		warnings = append(warnings, Warning{WarningSkipValidation, strings.Join(a.serverHosts(), " ")})
	}
	if a.Certificates.ClientArchiveFile != "" && a.Certificates.ClientFile == "" {
		warnings = append(warnings, Warning{WarningClientArchiveOnly, a.Certificates.ClientArchiveFile})
	}
	return warnings
}

// HTTPClient gives a client that goes the agent's way: through its proxy except
// for what its bypass list names, else through the proxy of the customary
// variables; trusting the system's authorities, AGENT_CAINFO and extraCA (PEM,
// nil for none). Connections are kept and HTTP/2 is spoken; dialling, the TLS
// handshake and the wait for a response are limited, the time for a body is not.
//
// AGENT_SKIPCERTVALIDATION and the client certificate are settings for the
// agent's own server and apply to that host alone (CollectionURI, ServerURI):
// a registry's password must not travel over a connection nobody has checked.
//
// Redirects: five at most, never from https to http, never to a link-local
// address; on the way to another host credentials are dropped, and no Referer
// is sent at all, since the address of a download holds its ticket.
//
// Errors are a *[SettingError].
func (a Agent) HTTPClient(extraCA []byte) (*http.Client, error) {
	proxy, err := a.Proxy.function()
	if err != nil {
		return nil, err
	}
	everywhere, server, err := a.tlsConfigs(extraCA)
	if err != nil {
		return nil, err
	}
	client := &http.Client{CheckRedirect: checkRedirect, Transport: newTransport(proxy, everywhere)}
	if server != nil {
		client.Transport = &hostSwitch{
			server: newTransport(proxy, server),
			others: newTransport(proxy, everywhere),
			hosts:  a.serverHosts(),
		}
	}
	return client, nil
}

// serverHosts gives the host:port of the agent's server.
func (a Agent) serverHosts() []string {
	var hosts []string
	for _, address := range []string{a.CollectionURI, a.ServerURI} {
		if u, err := url.Parse(address); err == nil && u.Host != "" {
			hosts = append(hosts, hostAndPort(u))
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// hostAndPort gives the one spelling of where a URL points.
func hostAndPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

func newTransport(proxy func(*http.Request) (*url.URL, error), config *tls.Config) *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout}
	return &http.Transport{
		Proxy:                 proxy,
		DialContext:           dialer.DialContext,
		TLSClientConfig:       config.Clone(),
		ForceAttemptHTTP2:     true, // a TLSClientConfig of one's own switches it off otherwise
		MaxIdleConnsPerHost:   maxIdlePerHost,
		IdleConnTimeout:       idleTimeout,
		TLSHandshakeTimeout:   tlsTimeout,
		ResponseHeaderTimeout: responseHeaderTimeout,
		ExpectContinueTimeout: time.Second,
	}
}

// hostSwitch sends requests to the agent's own server through a transport of
// their own.
type hostSwitch struct {
	server, others *http.Transport
	hosts          []string // as hostAndPort gives them
}

// RoundTrip implements http.RoundTripper.
func (s *hostSwitch) RoundTrip(r *http.Request) (*http.Response, error) {
	if slices.Contains(s.hosts, hostAndPort(r.URL)) {
		return s.server.RoundTrip(r)
	}
	return s.others.RoundTrip(r)
}

// CloseIdleConnections is what http.Client.CloseIdleConnections looks for.
func (s *hostSwitch) CloseIdleConnections() {
	s.server.CloseIdleConnections()
	s.others.CloseIdleConnections()
}

// parseProxy reads a proxy's address; without a scheme it is http, as everywhere.
// The error does not quote the address.
func parseProxy(address string) (*url.URL, error) {
	address = strings.TrimSpace(address)
	if address == "" {
		return nil, nil
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, errors.New("not an address")
	}
	switch u.Scheme {
	case "http", "https", "socks5", "socks5h":
		return u, nil
	}
	return nil, fmt.Errorf("a proxy cannot be reached by %q", u.Scheme)
}

// function gives what http.Transport asks for the proxy of a request.
func (p Proxy) function() (func(*http.Request) (*url.URL, error), error) {
	proxy, err := parseProxy(p.Address.Reveal())
	if err != nil {
		return nil, &SettingError{Setting: "AGENT_PROXYURL", Err: err}
	}
	if proxy == nil {
		return p.customary()
	}
	if p.Username != "" {
		proxy.User = url.UserPassword(p.Username, p.Password.Reveal())
	}
	patterns, _ := p.bypass()
	return func(r *http.Request) (*url.URL, error) {
		if isLoopback(r.URL.Hostname()) || bypassed(patterns, r.URL) {
			return nil, nil
		}
		return proxy, nil
	}, nil
}

// customary follows HTTPS_PROXY, HTTP_PROXY and NO_PROXY, as curl and the docker
// CLI do, but from the injected environment.
func (p Proxy) customary() (func(*http.Request) (*url.URL, error), error) {
	for name, value := range map[string]string{"HTTPS_PROXY": p.HTTPS.Reveal(), "HTTP_PROXY": p.HTTP.Reveal()} {
		if _, err := parseProxy(value); err != nil {
			return nil, &SettingError{Setting: name, Err: err}
		}
	}
	config := httpproxy.Config{HTTPSProxy: p.HTTPS.Reveal(), HTTPProxy: p.HTTP.Reveal(), NoProxy: p.None}
	choose := config.ProxyFunc()
	return func(r *http.Request) (*url.URL, error) { return choose(r.URL) }, nil
}

// bypass compiles the bypass list. What cannot be used is told and left out.
func (p Proxy) bypass() ([]*regexp.Regexp, []Warning) {
	if strings.TrimSpace(p.BypassList) == "" {
		return nil, nil
	}
	var list []string
	if err := json.Unmarshal([]byte(p.BypassList), &list); err != nil {
		return nil, []Warning{{WarningBypassList, p.BypassList}}
	}
	var patterns []*regexp.Regexp
	var warnings []Warning
	for _, text := range list {
		if strings.TrimSpace(text) == "" {
			continue // it would match everything and switch the proxy off
		}
		pattern, err := regexp.Compile("(?i)" + text)
		if err != nil {
			warnings = append(warnings, Warning{WarningBypassPattern, text})
			continue
		}
		patterns = append(patterns, pattern)
	}
	return patterns, warnings
}

// bypassed matches both texts that are in use: the agent's .NET code compares
// scheme and host, the Node library behind Microsoft's tasks the whole address.
func bypassed(patterns []*regexp.Regexp, u *url.URL) bool {
	origin := u.Scheme + "://" + u.Host
	for _, pattern := range patterns {
		if pattern.MatchString(origin) || pattern.MatchString(origin+u.EscapedPath()) {
			return true
		}
	}
	return false
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// checkRedirect is the client's policy; see [Agent.HTTPClient].
func checkRedirect(r *http.Request, via []*http.Request) error {
	r.Header.Del("Referer")
	from, first := via[len(via)-1].URL, via[0].URL
	refuse := func(reason string) error {
		return &RedirectError{From: from.Scheme + "://" + from.Host, To: r.URL.Scheme + "://" + r.URL.Host, Reason: reason}
	}
	switch {
	case len(via) > maxRedirects:
		return refuse("too many")
	case from.Scheme == "https" && r.URL.Scheme != "https":
		return refuse("leaves https")
	case isLinkLocal(r.URL.Hostname()) && !isLinkLocal(first.Hostname()):
		return refuse("link-local address")
	}
	if r.URL.Scheme != first.Scheme || hostAndPort(r.URL) != hostAndPort(first) {
		for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
			r.Header.Del(name)
		}
	}
	return nil
}

// isLinkLocal covers the address of the cloud's metadata service, 169.254.169.254.
func isLinkLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLinkLocalUnicast()
}
