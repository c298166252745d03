package docker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/client"
)

// The two ways an Engine stores images; see [Info].
const (
	StoreGraphdriver = "graphdriver"
	StoreContainerd  = "containerd"
)

// Info is what the Engine said about itself when we connected.
type Info struct {
	Version      string // of the Engine, "28.5.2"; packagers write what they like
	APIVersion   string // in use, after negotiation: "1.51"
	EngineAPI    string // the Engine's highest: "1.56"
	OSType       string // of its containers: "linux" or "windows"
	Architecture string // "x86_64"
	Store        string // StoreGraphdriver or StoreContainerd
	Rootless     bool
	// Proxied: the Engine itself uses a proxy for registries.
	Proxied bool
}

// Engine is a connection to one Docker Engine. Its methods may be used at the
// same time.
type Engine struct {
	api  *client.Client
	host string
	info Info
}

// Connect opens the Engine and asks what it is: one dial, one ping, one info
// request. Errors: [*BadHost], [*BadTLS], [*NotRunning], [*NotPermitted],
// [*NotAnEngine], [*WrongAPIVersion], or that of ctx.
//
// Requests go straight to the Engine: HTTP proxies do not apply to it.
func Connect(ctx context.Context, o Options) (*Engine, error) {
	host, err := o.address()
	if err != nil {
		return nil, err
	}
	if o.APIVersion != "" && !versionPattern.MatchString(o.APIVersion) {
		return nil, &WrongAPIVersion{Asked: o.APIVersion, Fixed: true}
	}
	api, err := newClient(host, o)
	if err != nil {
		return nil, err
	}
	timeout := o.Timeout
	if timeout <= 0 {
		timeout = connectTimeout
	}
	short, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	e := &Engine{api: api, host: host}
	if err := e.greet(short, o); err != nil {
		api.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return e, nil
}

// versionPattern is an Engine API version, with the "v" docker tolerates.
var versionPattern = regexp.MustCompile(`^v?[0-9]{1,3}\.[0-9]{1,3}$`)

func newClient(host string, o Options) (*client.Client, error) {
	config, err := o.tlsConfig(host)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		TLSClientConfig: config,
		MaxIdleConns:    6,
		IdleConnTimeout: 30 * time.Second,
	}
	api, err := client.NewClientWithOpts(
		client.WithHTTPClient(&http.Client{Transport: transport, CheckRedirect: client.CheckRedirect}),
		client.WithHost(host),
		client.WithVersion(o.APIVersion),
		client.WithAPIVersionNegotiation(),
		client.WithUserAgent("contenttrust"),
	)
	if err != nil {
		return nil, &BadHost{Host: o.Host, Reason: oneLine(err.Error(), 200)}
	}
	// WithHost has set the proxy of the process environment.
	transport.Proxy = nil
	return api, nil
}

// greet dials once by itself, because the client forgets the cause when a
// connection fails, and then asks for ping and info.
func (e *Engine) greet(ctx context.Context, o Options) error {
	conn, err := e.api.Dialer()(ctx)
	if err != nil {
		return dialError(ctx, e.host, err)
	}
	conn.Close()
	ping, err := e.api.Ping(ctx)
	switch {
	case err != nil:
		return answerError(ctx, e.host, err)
	case ping.APIVersion == "":
		return &NotAnEngine{Host: e.host, Err: errors.New("the ping names no api version")}
	}
	e.api.NegotiateAPIVersionPing(ping)
	info, err := e.api.Info(ctx)
	if err != nil {
		if wrong := versionError(err, o); wrong != nil {
			return wrong
		}
		return answerError(ctx, e.host, err)
	}
	e.info = describe(info)
	e.info.APIVersion = e.api.ClientVersion()
	e.info.EngineAPI = ping.APIVersion
	if e.info.OSType == "" {
		e.info.OSType = ping.OSType
	}
	return nil
}

func describe(i system.Info) Info {
	info := Info{
		Version:      i.ServerVersion,
		OSType:       strings.ToLower(i.OSType),
		Architecture: i.Architecture,
		Store:        StoreGraphdriver,
		Rootless:     slices.Contains(i.SecurityOptions, "name=rootless"),
		Proxied:      i.HTTPProxy != "" || i.HTTPSProxy != "",
	}
	for _, pair := range i.DriverStatus {
		if pair[0] == "driver-type" && strings.HasPrefix(pair[1], "io.containerd.snapshotter") {
			info.Store = StoreContainerd
		}
	}
	return info
}

// Info gives what the Engine said about itself.
func (e *Engine) Info() Info { return e.info }

// Host gives the address in use, with its scheme.
func (e *Engine) Host() string { return e.host }

// Close lets the connections go. A build or push that still runs is not stopped by it.
func (e *Engine) Close() error { return e.api.Close() }

// dialError types the failure of a bare connection.
func dialError(ctx context.Context, host string, err error) error {
	var unknown x509.UnknownAuthorityError
	var wrong x509.HostnameError
	var verify *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &unknown), errors.As(err, &wrong), errors.As(err, &verify), errors.As(err, &record):
		return &BadTLS{Host: host, Err: err}
	case errors.Is(err, fs.ErrPermission):
		return &NotPermitted{Host: host, Err: err}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &NotRunning{Host: host, Err: errors.New("no answer in time")}
	default:
		return &NotRunning{Host: host, Err: err}
	}
}

// answerError types the failure of a request on a connection that could be made.
func answerError(ctx context.Context, host string, err error) error {
	var alert tls.AlertError
	text := err.Error()
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &NotRunning{Host: host, Err: errors.New("no answer in time")}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNREFUSED):
		return &NotRunning{Host: host, Err: err}
	case errors.As(err, &alert), strings.Contains(text, "remote error: tls:"),
		strings.Contains(text, "TLS-enabled daemon"), strings.Contains(text, "HTTP request to an HTTPS server"),
		strings.Contains(text, "HTTP response to HTTPS client"):
		return &BadTLS{Host: host, Err: clipped(err)}
	default:
		return &NotAnEngine{Host: host, Err: clipped(err)}
	}
}

// refusedVersion is the Engine's answer to a version it does not speak.
// Source: moby daemon/server/middleware/version.go.
var refusedVersion = regexp.MustCompile(`client version v?([0-9.]+[0-9]) is too (new|old)\..*supported API version is v?([0-9.]+[0-9])`)

func versionError(err error, o Options) error {
	found := refusedVersion.FindStringSubmatch(err.Error())
	if found == nil {
		return nil
	}
	return &WrongAPIVersion{
		Asked:  found[1],
		Limit:  found[3],
		TooNew: found[2] == "new",
		Fixed:  o.APIVersion != "",
	}
}

// clippedError bounds a foreign text and keeps the chain below it.
type clippedError struct{ err error }

func clipped(err error) error         { return &clippedError{err} }
func (e *clippedError) Error() string { return oneLine(e.err.Error(), maxErrorText) }
func (e *clippedError) Unwrap() error { return e.err }
