package docker

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// Options says which Engine to speak to. The zero value is the Engine of this
// machine with a negotiated API version, which is what docker itself does when
// no variable is set. Nothing is read from the process environment; see
// [OptionsFrom].
type Options struct {
	// Host is the address as in DOCKER_HOST: unix:///path, npipe:////./pipe/name
	// or tcp://host:port. Without a scheme it is a tcp address. Empty is the
	// platform's default socket or pipe.
	Host string
	// TLS encrypts a tcp connection and verifies the Engine. There is no way
	// to encrypt without verifying.
	TLS bool
	// CertPath is the folder of ca.pem, cert.pem and key.pem, read when TLS is
	// set. Without ca.pem the system's roots verify, without cert.pem and
	// key.pem no client certificate is shown.
	CertPath string
	// APIVersion fixes the version of the Engine API, as in "1.43", and turns
	// negotiation off. Empty negotiates.
	APIVersion string
	// Timeout bounds Connect alone. Zero is 20 seconds.
	Timeout time.Duration
}

const connectTimeout = 20 * time.Second

// OptionsFrom reads the variables docker reads: DOCKER_HOST, DOCKER_TLS_VERIFY
// and DOCKER_TLS (any value but the empty one; both verify here),
// DOCKER_CERT_PATH (default: DOCKER_CONFIG, else .docker in HOME or
// USERPROFILE) and DOCKER_API_VERSION. Docker contexts and ssh addresses are
// not looked at.
// Source: docker/cli cli/flags/options.go, docker/docker client/options.go.
func OptionsFrom(lookup func(name string) (string, bool)) Options {
	get := func(name string) string {
		value, _ := lookup(name)
		return strings.TrimSpace(value)
	}
	o := Options{
		Host:       get("DOCKER_HOST"),
		TLS:        get("DOCKER_TLS_VERIFY") != "" || get("DOCKER_TLS") != "",
		CertPath:   get("DOCKER_CERT_PATH"),
		APIVersion: get("DOCKER_API_VERSION"),
	}
	if o.TLS && o.CertPath == "" {
		o.CertPath = get("DOCKER_CONFIG")
		for _, home := range []string{get("HOME"), get("USERPROFILE")} {
			if o.CertPath == "" && home != "" {
				o.CertPath = filepath.Join(home, ".docker")
			}
		}
	}
	return o
}

// DefaultHost is where the Engine of this machine listens.
func DefaultHost() string {
	if runtime.GOOS == "windows" {
		return "npipe:////./pipe/docker_engine"
	}
	return "unix:///var/run/docker.sock"
}

// maxSocketPath is the shortest limit of the platforms we run on (macOS: 104
// bytes with the closing NUL).
const maxSocketPath = 103

// address completes o.Host and refuses what cannot be dialled.
func (o Options) address() (string, error) {
	host := o.Host
	if host == "" {
		return DefaultHost(), nil
	}
	if !strings.Contains(host, "://") {
		host = "tcp://" + host
	}
	scheme, rest, _ := strings.Cut(host, "://")
	switch scheme {
	case "unix":
		if !strings.HasPrefix(rest, "/") {
			return "", &BadHost{Host: o.Host, Reason: "a unix address needs an absolute path"}
		}
		if len(rest) > maxSocketPath {
			return "", &BadHost{Host: o.Host, Reason: fmt.Sprintf("the socket path is longer than %d bytes", maxSocketPath)}
		}
		return host, nil
	case "npipe":
		if runtime.GOOS != "windows" {
			return "", &BadHost{Host: o.Host, Reason: "named pipes exist on windows only"}
		}
		return host, nil
	case "tcp":
		return o.tcpAddress(rest)
	default:
		return "", &BadHost{Host: o.Host, Reason: "the scheme is none of unix, npipe, tcp"}
	}
}

// tcpAddress adds the port docker assumes: 2375, or 2376 with TLS.
func (o Options) tcpAddress(rest string) (string, error) {
	hostport, path, _ := strings.Cut(rest, "/")
	name, port, err := net.SplitHostPort(hostport)
	if err != nil {
		name, port = strings.Trim(hostport, "[]"), ""
		if strings.Contains(name, ":") && !strings.HasPrefix(hostport, "[") {
			return "", &BadHost{Host: o.Host, Reason: "not a host and a port"}
		}
	}
	if name == "" || strings.ContainsAny(name, " @?#%") {
		return "", &BadHost{Host: o.Host, Reason: "the host name is missing or wrong"}
	}
	switch {
	case port == "" && o.TLS:
		port = "2376"
	case port == "":
		port = "2375"
	case !isPort(port):
		return "", &BadHost{Host: o.Host, Reason: "the port is not a number from 1 to 65535"}
	}
	address := "tcp://" + net.JoinHostPort(name, port)
	if path != "" {
		address += "/" + path
	}
	return address, nil
}

func isPort(s string) bool {
	n := 0
	for _, r := range s {
		if r < '0' || r > '9' || n > 65535 {
			return false
		}
		n = n*10 + int(r-'0')
	}
	return n >= 1 && n <= 65535
}

// tlsConfig is nil without TLS.
func (o Options) tlsConfig(host string) (*tls.Config, error) {
	if !o.TLS || !strings.HasPrefix(host, "tcp://") {
		return nil, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	ca, err := os.ReadFile(filepath.Join(o.CertPath, "ca.pem"))
	switch {
	case err == nil:
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(ca) {
			return nil, &BadTLS{Host: host, Err: fmt.Errorf("no certificate in %s", filepath.Join(o.CertPath, "ca.pem"))}
		}
	case !os.IsNotExist(err):
		return nil, &BadTLS{Host: host, Err: err}
	}
	certFile, keyFile := filepath.Join(o.CertPath, "cert.pem"), filepath.Join(o.CertPath, "key.pem")
	switch _, err := os.Stat(certFile); {
	case os.IsNotExist(err):
		return config, nil // the Engine need not ask for one
	case err != nil:
		return nil, &BadTLS{Host: host, Err: err}
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, &BadTLS{Host: host, Err: err}
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}
