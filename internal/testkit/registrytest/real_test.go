//go:build e2e

package registrytest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The two servers this Front stands in front of in the end-to-end rig accept
// its tokens, and refuse what they must refuse, on their own.
func TestRealServersAcceptOurTokens(t *testing.T) {
	f := start(t, Options{})
	dir := t.TempDir()
	bundle := filepath.Join(dir, "bundle.pem")
	write(t, bundle, string(f.SigningCertPEM))
	registryAt, notaryAt := freeAddress(t), freeAddress(t)

	config := filepath.Join(dir, "registry.yml")
	write(t, config, fmt.Sprintf(`version: 0.1
log: {level: error}
storage: {inmemory: {}, delete: {enabled: true}}
http: {addr: %q, secret: rig}
auth:
  token: {realm: %q, service: %q, issuer: %q, rootcertbundle: %q}
`, registryAt, f.Realm, f.Service, f.Issuer, bundle))
	run(t, registryAt, "docker-registry", "serve", config)

	config = filepath.Join(dir, "notary.json")
	write(t, config, fmt.Sprintf(`{
 "server": {"http_addr": %q},
 "trust_service": {"type": "local", "key_algorithm": "ecdsa"},
 "storage": {"backend": "memory"},
 "logging": {"level": "error"},
 "auth": {"type": "token", "options": {"realm": %q, "service": %q, "issuer": %q, "rootcertbundle": %q}}
}`, notaryAt, f.Realm, f.Service, f.Issuer, bundle))
	run(t, notaryAt, "notary-server", "-config", config)

	f.SetRegistry(proxy(registryAt))
	f.SetTrust(proxy(notaryAt))

	gun := f.Host + "/team/app"
	upload, key := "/v2/team/app/blobs/uploads/", "/v2/"+gun+"/_trust/tuf/timestamp.key"
	check(t, "registry, no token", f.get(t, "/v2/team/app/tags/list"), http.StatusUnauthorized)
	check(t, "registry, pull token", f.as(t, "follower", http.MethodPost, upload), http.StatusUnauthorized)
	check(t, "registry, push token", f.as(t, "pusher", http.MethodPost, upload), http.StatusAccepted)
	check(t, "notary, no token", f.get(t, key), http.StatusUnauthorized)
	check(t, "notary, a pusher's token", f.as(t, "pusher", http.MethodGet, key), http.StatusUnauthorized)
	check(t, "notary, a signer's token", f.as(t, "signer", http.MethodGet, key), http.StatusOK)
	check(t, "notary, a signer's delete", f.as(t, "signer", http.MethodDelete, "/v2/"+gun+"/_trust/tuf/"), http.StatusOK)
	for _, r := range f.Requests() {
		t.Log(r)
	}
}

func proxy(address string) http.Handler {
	target := &url.URL{Scheme: "http", Host: address}
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
		r.SetXForwarded()
	}}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func run(t *testing.T, address, program string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, program, args...)
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = command.Wait() })
	for range 100 {
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			_ = conn.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s does not listen on %s", program, address)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
