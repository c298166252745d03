package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"runtime"
	"strings"
	"syscall"
)

// UnreachableKind sorts the ways not to reach a server.
type UnreachableKind string

// The ways not to reach a server.
const (
	UnknownHost     UnreachableKind = "host name not found"
	NotListening    UnreachableKind = "connection refused"
	UnknownCA       UnreachableKind = "certificate of an unknown authority"
	WrongHostName   UnreachableKind = "certificate for another host"
	BadCertificate  UnreachableKind = "certificate not valid"
	NotTLS          UnreachableKind = "no TLS there"
	ProxyFailed     UnreachableKind = "proxy failed"
	TimedOut        UnreachableKind = "timed out"
	ConnectionLost  UnreachableKind = "connection lost"
	UnreachableElse UnreachableKind = "request failed"
)

// UnreachableError is a request that got no answer.
type UnreachableError struct {
	Op   Op
	Host string
	Kind UnreachableKind
	// Err is the cause, without the address of the request in its text.
	Err error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%s: %s: %s: %v", e.Op, e.Host, e.Kind, e.Err)
}

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// translate turns what net/http or go-containerregistry says into an error of
// this package. The end of ctx and our own errors stay what they are.
func translate(ctx context.Context, op Op, host string, err error) error {
	own := ownError(err)
	switch {
	case own != nil && ctx.Err() != nil:
		return fmt.Errorf("%w; %w", own, context.Cause(ctx))
	case own != nil:
		return own
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %s: %w", op, host, context.Cause(ctx))
	}
	// An address may hold what a hostile server put into it, and tells nothing
	// that Op and Host don't.
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		err = wrapped.Err
	}
	return &UnreachableError{Op: op, Host: host, Kind: reachKind(err), Err: err}
}

// ownError finds an error of this package in err, nil if there is none. It is
// what decides that a failure is final: only answers and lost connections are
// tried again, and those are looked at elsewhere.
func ownError(err error) error {
	if e, ok := errors.AsType[*AccessError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*UnreachableError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*RealmError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*RedirectError](err); ok {
		return e
	}
	if e, ok := errors.AsType[*ChallengeError](err); ok {
		return e
	}
	return nil
}

func reachKind(err error) UnreachableKind {
	if kind, ok := tlsKind(err); ok {
		return kind
	}
	if opError, ok := errors.AsType[*net.OpError](err); ok && opError.Op == "proxyconnect" {
		return ProxyFailed
	}
	_, isDNS := errors.AsType[*net.DNSError](err)
	var timeout interface{ Timeout() bool }
	switch {
	case strings.Contains(err.Error(), "Proxy Authentication Required"):
		return ProxyFailed // net/http gives the proxy's status line as plain text
	case isDNS:
		return UnknownHost
	case isErrno(err, syscall.ECONNREFUSED, 10061):
		return NotListening
	case errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		isErrno(err, syscall.EPIPE, 10058),
		isErrno(err, syscall.ECONNRESET, 10054),
		isErrno(err, syscall.ECONNABORTED, 10053),
		strings.Contains(err.Error(), "http2:"), // net/http keeps these types to itself
		strings.Contains(err.Error(), "server closed idle connection"):
		return ConnectionLost
	}
	return UnreachableElse
}

func tlsKind(err error) (UnreachableKind, bool) {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return UnknownCA, true
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return WrongHostName, true
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return BadCertificate, true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return NotTLS, true
	}
	if strings.Contains(err.Error(), "server gave HTTP response to HTTPS client") {
		return NotTLS, true // net/http has replaced the RecordHeaderError
	}
	return "", false
}

// isErrno tells a system error by its Unix name or, on Windows, by its Winsock
// number, which package syscall has no names for.
func isErrno(err error, unix syscall.Errno, winsock uintptr) bool {
	if errors.Is(err, unix) {
		return true
	}
	number, ok := errors.AsType[syscall.Errno](err)
	return ok && runtime.GOOS == "windows" && uintptr(number) == winsock
}
