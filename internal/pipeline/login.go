package pipeline

import (
	"cmp"
	"net"
	"net/url"
	"strconv"
	"strings"

	"contenttrust/internal/secret"
)

// Login is what a registry wants to know.
type Login struct {
	Registry string // host[:port], lower case; Docker Hub is index.docker.io
	Username string
	Password secret.Value
}

// DockerHub is the host under which credentials for Docker Hub are kept.
const DockerHub = "index.docker.io"

// azureRegistries are the domains of Azure's registries in all clouds. A
// connection of type ACR must lead into one: whoever can edit a connection's
// loginServer could otherwise have its key sent anywhere (docker-common 2.280.4,
// AcrRegistryHostValidation).
func azureRegistries() []string {
	return []string{
		".azurecr.io", ".azurecr.us", ".azurecr.cn", ".azurecr.de", ".azurecr.eaglex.ic.gov", ".azurecr.microsoft.scloud",
	}
}

// Login gives the credentials of a connection of type dockerregistry: user name
// and password, or a service principal's ID and key, which an Azure registry
// takes as they are. Its only error is *[ConnectionError].
func (c Connection) Login() (Login, error) {
	user, password, err := c.credentials()
	if err != nil {
		return Login{}, err
	}
	registry, err := c.registry()
	if err != nil {
		return Login{}, err
	}
	return Login{Registry: registry, Username: user, Password: password}, nil
}

func (c Connection) credentials() (user string, password secret.Value, err error) {
	userParameter, passwordParameter := "username", "password"
	switch strings.ToLower(c.Scheme) {
	case "usernamepassword":
	case "serviceprincipal":
		if kind := c.Parameter("authenticationType").Reveal(); kind != "" && !strings.EqualFold(kind, "spnKey") {
			return "", secret.Value{}, &ConnectionError{ID: c.ID, Kind: ConnectionSchemeNotYet, Scheme: kind}
		}
		userParameter, passwordParameter = "serviceprincipalid", "serviceprincipalkey"
	case "":
		return "", secret.Value{}, &ConnectionError{ID: c.ID, Kind: ConnectionIncomplete, Parameter: "scheme"}
	default:
		return "", secret.Value{}, &ConnectionError{ID: c.ID, Kind: ConnectionSchemeNotYet, Scheme: c.Scheme}
	}
	for _, name := range []string{userParameter, passwordParameter} {
		if c.Parameter(name).Empty() {
			return "", secret.Value{}, &ConnectionError{ID: c.ID, Kind: ConnectionIncomplete, Parameter: name}
		}
	}
	return c.Parameter(userParameter).Reveal(), c.Parameter(passwordParameter), nil
}

// registry gives the host the credentials are for, and for nothing else.
func (c Connection) registry() (string, error) {
	address := c.Parameter("registry").Reveal()
	isACR := strings.EqualFold(c.RegistryType, "ACR")
	switch {
	case isACR:
		address = cmp.Or(c.Parameter("loginServer").Reveal(), c.URL)
	case address == "" && strings.EqualFold(c.RegistryType, "DockerHub"):
		address = DockerHub
	}
	if address == "" {
		name := "registry"
		if isACR {
			name = "loginServer"
		}
		return "", &ConnectionError{ID: c.ID, Kind: ConnectionIncomplete, Parameter: name}
	}
	host, ok := registryHost(address)
	if !ok {
		return "", &ConnectionError{ID: c.ID, Kind: ConnectionRegistryInvalid, Registry: Neutralise(address[strings.LastIndex(address, "@")+1:])}
	}
	if isACR && !isAzureRegistry(host) {
		return "", &ConnectionError{ID: c.ID, Kind: ConnectionRegistryNotAzure, Registry: host}
	}
	return host, nil
}

// registryHost takes the host[:port] out of https://host[:port]/v1/ or host[:port].
func registryHost(address string) (string, bool) {
	address = strings.TrimSpace(address)
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	host := strings.ToLower(u.Host)
	if !isHost(host) {
		return "", false
	}
	switch host {
	case "docker.io", "registry-1.docker.io", "hub.docker.com", "registry.hub.docker.com":
		return DockerHub, true
	}
	return host, true
}

// isHost says whether s is a host name or address, with or without a port.
func isHost(s string) bool {
	host := s
	if name, port, err := net.SplitHostPort(s); err == nil {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return false
		}
		host = name
		if strings.Contains(host, ":") { // an IPv6 address; SplitHostPort took its brackets
			return net.ParseIP(host) != nil
		}
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

func isAzureRegistry(host string) bool {
	for _, suffix := range azureRegistries() {
		if strings.HasSuffix(host, suffix) && len(host) > len(suffix) {
			return true
		}
	}
	return false
}
