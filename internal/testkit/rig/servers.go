package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"contenttrust/internal/testkit/registrytest"
)

// serverStart is more than the two servers need on a machine that is busy.
const serverStart = 30 * time.Second

// Tokens says whose tokens a server believes. Both servers read them with
// docker/distribution's registry/auth/token: the JWT's x5c header must lead to
// a certificate in the bundle, and issuer and audience must be these.
type Tokens struct {
	Realm, Service, Issuer string
	// SigningCertPEM becomes the server's rootcertbundle, which both require.
	SigningCertPEM []byte
}

// tokensOf are the tokens that a front gives.
func tokensOf(f *registrytest.Front) Tokens {
	return Tokens{Realm: f.Realm, Service: f.Service, Issuer: f.Issuer, SigningCertPEM: f.SigningCertPEM}
}

// Server is a running docker-registry or notary-server. It speaks plain HTTP on
// a loopback port; TLS is the front's affair.
type Server struct {
	// Address is host:port.
	Address string
	// Handler hands requests on to it, as the front does.
	Handler http.Handler

	keeper *keeper
}

// Close stops the server and forgets all it holds.
func (s *Server) Close() error { return s.keeper.Close() }

// StartRegistry starts docker-registry with its storage in a folder of its own.
func StartRegistry(ctx context.Context, tokens Tokens) (*Server, error) {
	return startServer(ctx, "docker-registry", tokens, func(address, dir, bundle string) (string, any) {
		// JSON is YAML, and needs no quoting rules of ours.
		return "serve", map[string]any{
			"version": "0.1",
			"log":     map[string]any{"level": "warn", "accesslog": map[string]any{"disabled": true}},
			"http":    map[string]any{"addr": address, "secret": "rig"},
			"storage": map[string]any{
				"filesystem": map[string]any{"rootdirectory": filepath.Join(dir, "storage")},
				"delete":     map[string]any{"enabled": true},
			},
			"auth": map[string]any{"token": map[string]any{
				"realm": tokens.Realm, "service": tokens.Service, "issuer": tokens.Issuer, "rootcertbundle": bundle,
			}},
		}
	})
}

// StartNotary starts notary-server with its storage in memory and keys of its
// own making.
func StartNotary(ctx context.Context, tokens Tokens) (*Server, error) {
	return startServer(ctx, "notary-server", tokens, func(address, _, bundle string) (string, any) {
		return "-config", map[string]any{
			"server":        map[string]any{"http_addr": address},
			"trust_service": map[string]any{"type": "local", "key_algorithm": "ecdsa"},
			"storage":       map[string]any{"backend": "memory"},
			"logging":       map[string]any{"level": "warn"},
			"auth": map[string]any{"type": "token", "options": map[string]any{
				"realm": tokens.Realm, "service": tokens.Service, "issuer": tokens.Issuer, "rootcertbundle": bundle,
			}},
		}
	})
}

// startServer tries other ports when the one it was given is taken between the
// choice and the start.
func startServer(
	ctx context.Context, program string, tokens Tokens,
	configure func(address, dir, bundle string) (argument string, config any),
) (*Server, error) {
	if err := Packages(ctx); err != nil {
		return nil, err
	}
	var failures []error
	for range 3 {
		server, err := tryServer(ctx, program, tokens, configure)
		if err == nil {
			return server, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

func tryServer(
	ctx context.Context, program string, tokens Tokens,
	configure func(address, dir, bundle string) (string, any),
) (_ *Server, err error) {
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, err
	}
	k, err := newKeeper()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Close())
		}
	}()
	dir, err := os.MkdirTemp("", "rig-"+program+"-")
	if err != nil {
		return nil, err
	}
	if err := k.note("path", dir); err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	bundle, config := filepath.Join(dir, "tokens.pem"), filepath.Join(dir, "config.json")
	argument, settings := configure(address, dir, bundle)
	text, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.WriteFile(bundle, tokens.SigningCertPEM, 0o600), os.WriteFile(config, text, 0o600)); err != nil {
		return nil, err
	}
	d, err := startDaemon(k, daemonSpec{Path: path, Args: []string{argument, config}, Dir: dir})
	if err != nil {
		return nil, err
	}
	if err := d.waitFor(ctx, serverStart, answers(address)); err != nil {
		return nil, err
	}
	return &Server{Address: address, Handler: proxyTo(address), keeper: k}, nil
}

// proxyTo hands requests on under the host the client asked for, so that the
// addresses the server puts into its answers lead through the front again.
func proxyTo(address string) http.Handler {
	target := &url.URL{Scheme: "http", Host: address}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		ErrorLog:  log.New(nothing{}, "", 0),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(r.Context().Err(), context.Canceled) {
				return // the client has gone
			}
			http.Error(w, fmt.Sprintf("rig: %s: %v", address, err), http.StatusBadGateway)
		},
	}
}

// nothing is a log that is not kept: requests cut off on purpose fill it.
type nothing struct{}

func (nothing) Write(p []byte) (int, error) { return len(p), nil }
