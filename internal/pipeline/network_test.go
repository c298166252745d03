package pipeline

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/secret"
)

func file(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func client(t *testing.T, a Agent, extraCA []byte) *http.Client {
	t.Helper()
	c, err := a.HTTPClient(extraCA)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func get(t *testing.T, c *http.Client, address string) (*http.Response, string, error) {
	t.Helper()
	response, err := c.Get(address)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, string(body), err
}

// named gives the server's address under another name.
func named(server *httptest.Server, name string) string {
	u, _ := url.Parse(server.URL)
	return "https://" + net.JoinHostPort(name, u.Port())
}

func hello(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello "+r.Proto) }

func TestRequestsGoThroughTheAgentsProxyButForItsBypassList(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	server := ca.serve(t, hello, nil)
	proxy := newTunnel(t)
	agent := Agent{Proxy: Proxy{
		Address: secret.New(proxy.URL), Username: "me", Password: secret.New("p@ss:word"),
		BypassList: `["^https://BYPASSED\\.example", "*.bad", "(?=x)y", ""]`,
	}}
	c := client(t, agent, ca.pem)
	if _, body, err := get(t, c, named(server, "registry.example")); err != nil || body != "hello HTTP/2.0" {
		t.Errorf("through the proxy: %q, %v", body, err)
	}
	if _, _, err := get(t, c, named(server, "bypassed.example")); err == nil {
		t.Error("a name that does not exist was reached without the proxy")
	}
	if _, _, err := get(t, c, server.URL); err != nil { // 127.0.0.1
		t.Error(err)
	}
	want := []string{"CONNECT " + strings.TrimPrefix(named(server, "registry.example"), "https://") + " Basic bWU6cEBzczp3b3Jk"}
	if diff := cmp.Diff(want, proxy.log()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	warnings := []Warning{{WarningBypassPattern, "*.bad"}, {WarningBypassPattern, "(?=x)y"}}
	if diff := cmp.Diff(warnings, agent.Warnings()); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestTheBypassListIsMatchedAsTheAgentAndItsTasksDo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		list, address string
		want          bool
	}{
		{`["contoso\\.com"]`, "https://registry.CONTOSO.com/v2/", true},
		{`[".*\\.contoso\\.com$"]`, "https://registry.contoso.com/v2/", true},
		{`["https:\\/\\/x\\.com\\/v2"]`, "https://x.com/v2/app", true},
		{`["10\\.0\\.\\d+\\.\\d+"]`, "http://10.0.1.2:5000/", true},
		{`["contoso\\.com"]`, "https://fabrikam.com/?u=contoso.com", false},
		{`["contoso\\.com"]`, "https://contoso.com@fabrikam.com/", false},
		{`[""]`, "https://x.com/", false},
		{``, "https://x.com/", false},
		{`[]`, "https://x.com/", false},
		{`not json`, "https://not json.com/", false},
	} {
		u, _ := url.Parse(strings.ReplaceAll(tt.address, " ", ""))
		patterns, _ := Proxy{BypassList: tt.list}.bypass()
		if got := bypassed(patterns, u); got != tt.want {
			t.Errorf("%s on %s: %v", tt.list, tt.address, got)
		}
	}
	if got := (Agent{Proxy: Proxy{BypassList: "not json"}}).Warnings(); len(got) != 1 || got[0].Kind != WarningBypassList {
		t.Errorf("warnings %v", got)
	}
}

func TestTheCustomaryVariablesServeWhenTheAgentHasNoProxy(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	server := ca.serve(t, hello, nil)
	customary, agents := newTunnel(t), newTunnel(t)
	env := []string{"HTTPS_PROXY=" + strings.TrimPrefix(customary.URL, "http://"), "NO_PROXY=direct.example"}
	for _, tt := range []struct {
		env        []string
		usesAgents bool
	}{{env, false}, {append(env, "AGENT_PROXYURL="+agents.URL), true}} {
		agent, err := ReadAgent(t.Context(), NewEnvironment(tt.env))
		if err != nil {
			t.Fatal(err)
		}
		c := client(t, agent, ca.pem)
		if _, _, err := get(t, c, named(server, "registry.example")); err != nil {
			t.Error(err)
		}
		if _, _, err := get(t, c, named(server, "direct.example")); err == nil && !tt.usesAgents {
			t.Error("NO_PROXY went through the proxy")
		}
		if got := len(agents.log()) > 0; got != tt.usesAgents {
			t.Errorf("the agent's proxy was used: %v", got)
		}
	}
	if got := len(customary.log()); got != 1 {
		t.Errorf("the customary proxy was asked %d times", got)
	}
}

func TestAnUnusableProxyIsNamedWithoutItsPassword(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		proxy Proxy
		want  string
	}{
		{Proxy{Address: secret.New("ftp://u:hunter22@x")}, "AGENT_PROXYURL"},
		{Proxy{Address: secret.New("http://u:hunter22@x:port")}, "AGENT_PROXYURL"},
		{Proxy{Address: secret.New("http://")}, "AGENT_PROXYURL"},
		{Proxy{HTTPS: secret.New("http://u:hunter22@x y")}, "HTTPS_PROXY"},
	} {
		_, err := Agent{Proxy: tt.proxy}.HTTPClient(nil)
		var setting *SettingError
		if !errors.As(err, &setting) || setting.Setting != tt.want || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%s: %v", tt.proxy.Address.Reveal(), err)
		}
	}
}

func TestAuthoritiesOfTheAgentAndOfTheCallerAreTrusted(t *testing.T) {
	t.Parallel()
	one, two, three := newAuthority(t), newAuthority(t), newAuthority(t)
	agent := Agent{Certificates: Certificates{CAFile: file(t, "ca.pem", one.pem)}}
	c := client(t, agent, two.pem)
	for i, ca := range []*authority{one, two} {
		if _, _, err := get(t, c, ca.serve(t, hello, nil).URL); err != nil {
			t.Errorf("authority %d: %v", i, err)
		}
	}
	var unknown x509.UnknownAuthorityError
	if _, _, err := get(t, c, three.serve(t, hello, nil).URL); !errors.As(err, &unknown) {
		t.Errorf("a stranger: %v", err)
	}
}

func TestSkippingValidationAndTheClientCertificateAreForTheAgentsServerAlone(t *testing.T) {
	t.Parallel()
	stranger, clients := newAuthority(t), newAuthority(t)
	pool := x509.NewCertPool()
	pool.AddCert(clients.cert)
	who := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, map[bool]string{true: "certificate", false: "nobody"}[len(r.TLS.PeerCertificates) > 0])
	}
	ask := func(config *tls.Config) { config.ClientAuth, config.ClientCAs = tls.VerifyClientCertIfGiven, pool }
	home, other := stranger.serve(t, who, ask), stranger.serve(t, who, ask)

	der, key := clients.sign(t, &x509.Certificate{SerialNumber: big.NewInt(3), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	keyDER, _ := x509.MarshalECPrivateKey(key)
	//nolint:staticcheck // the old way of encrypting is what is tested
	encrypted, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", keyDER, []byte("cert-password"), x509.PEMCipherAES256)
	if err != nil {
		t.Fatal(err)
	}
	agent := Agent{CollectionURI: strings.ToUpper(home.URL[:8]) + home.URL[8:] + "/Fabrikam/", Certificates: Certificates{
		SkipValidation: true,
		ClientFile:     file(t, "client.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		ClientKeyFile:  file(t, "client.key", pem.EncodeToMemory(encrypted)),
		ClientPassword: secret.New("cert-password"),
	}}
	c := client(t, agent, nil)
	if _, body, err := get(t, c, home.URL); err != nil || body != "certificate" {
		t.Errorf("the agent's server: %q, %v", body, err)
	}
	var unknown x509.UnknownAuthorityError
	if _, _, err := get(t, c, other.URL); !errors.As(err, &unknown) {
		t.Errorf("another host: %v", err)
	}
	if _, body, err := get(t, client(t, agent, stranger.pem), other.URL); err != nil || body != "nobody" {
		t.Errorf("another host, trusted: %q, %v", body, err)
	}
	if got := agent.Warnings(); len(got) != 1 || got[0].Kind != WarningSkipValidation || got[0].Detail != strings.TrimPrefix(home.URL, "https://") {
		t.Errorf("warnings %v", got)
	}
}

func TestUnusableCertificatesAreNamed(t *testing.T) {
	t.Parallel()
	noPEM, none := file(t, "x", []byte("not PEM")), filepath.Join(t.TempDir(), "none")
	locked := file(t, "k", pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}))
	large := file(t, "l", make([]byte, maxPEM+1))
	for _, tt := range []struct {
		certificates  Certificates
		setting, file string
		cause         error
	}{
		{Certificates{CAFile: none}, "AGENT_CAINFO", none, os.ErrNotExist},
		{Certificates{CAFile: noPEM}, "AGENT_CAINFO", noPEM, errNoCertificate},
		{Certificates{CAFile: large}, "AGENT_CAINFO", large, errTooLarge},
		{Certificates{ClientFile: noPEM}, "AGENT_CLIENTCERT", noPEM, errNoKeyFile},
		{Certificates{ClientFile: none, ClientKeyFile: noPEM}, "AGENT_CLIENTCERT", none, os.ErrNotExist},
		{Certificates{ClientFile: noPEM, ClientKeyFile: none}, "AGENT_CLIENTCERTKEY", none, os.ErrNotExist},
		{Certificates{ClientFile: noPEM, ClientKeyFile: locked}, "AGENT_CLIENTCERTKEY", locked, errEncryptedKey},
		{Certificates{ClientFile: noPEM, ClientKeyFile: noPEM}, "AGENT_CLIENTCERT", noPEM, nil},
	} {
		_, err := Agent{Certificates: tt.certificates}.HTTPClient(nil)
		var setting *SettingError
		if !errors.As(err, &setting) || setting.Setting != tt.setting || setting.File != tt.file || tt.cause != nil && !errors.Is(err, tt.cause) {
			t.Errorf("want %s of %s: %v", tt.cause, tt.setting, err)
		}
		if strings.Count(err.Error(), tt.file) != 1 {
			t.Errorf("the file is not told once: %v", err)
		}
	}
	if _, err := (Agent{}).HTTPClient([]byte("not PEM")); !errors.Is(err, errNoCertificate) {
		t.Errorf("extra authorities: %v", err)
	}
	if got := (Agent{Certificates: Certificates{ClientArchiveFile: "a.pfx"}}).Warnings(); len(got) != 1 || got[0] != (Warning{WarningClientArchiveOnly, "a.pfx"}) {
		t.Errorf("warnings %v", got)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	other := ca.serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "auth="+r.Header.Get("Authorization")+" referer="+r.Header.Get("Referer"))
	}, nil)
	plain := httptest.NewServer(http.HandlerFunc(hello))
	t.Cleanup(plain.Close)
	var hops int
	server := ca.serve(t, func(w http.ResponseWriter, r *http.Request) {
		to := map[string]string{
			"/other": other.URL, "/plain": plain.URL, "/metadata": "https://169.254.169.254/latest", "/loop": "/loop", "/local": "/echo",
		}[r.URL.Path]
		if r.URL.Path == "/loop" {
			hops++
		}
		if to == "" {
			_, _ = io.WriteString(w, "auth="+r.Header.Get("Authorization")+" referer="+r.Header.Get("Referer"))
			return
		}
		http.Redirect(w, r, to, http.StatusFound)
	}, nil)
	c := client(t, Agent{}, ca.pem)
	for _, tt := range []struct{ path, body, reason string }{
		{"/local?ticket=t1cket", "auth=Bearer x referer=", ""},
		{"/other?ticket=t1cket", "auth= referer=", ""},
		{"/plain?ticket=t1cket", "", "leaves https"},
		{"/metadata?ticket=t1cket", "", "link-local address"},
		{"/loop?ticket=t1cket", "", "too many"},
	} {
		request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+tt.path, nil)
		request.Header.Set("Authorization", "Bearer x")
		response, err := c.Do(request)
		var redirect *RedirectError
		switch {
		case tt.reason == "" && err != nil:
			t.Errorf("%s: %v", tt.path, err)
		case tt.reason == "":
			body, _ := io.ReadAll(response.Body)
			response.Body.Close()
			if string(body) != tt.body {
				t.Errorf("%s: %s", tt.path, body)
			}
		case !errors.As(err, &redirect) || redirect.Reason != tt.reason || strings.Contains(redirect.Error(), "t1cket"):
			t.Errorf("%s: %v", tt.path, err)
		}
	}
	if hops != maxRedirects+1 {
		t.Errorf("%d requests in the loop", hops)
	}
}

func TestConnectionsAreKept(t *testing.T) {
	t.Parallel()
	ports := make(map[string]bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { ports[r.RemoteAddr] = true }))
	t.Cleanup(server.Close)
	c := client(t, Agent{}, nil)
	for range 5 {
		if _, _, err := get(t, c, server.URL); err != nil {
			t.Fatal(err)
		}
	}
	if len(ports) != 1 {
		t.Errorf("%d connections", len(ports))
	}
}
