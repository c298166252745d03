package registry

import (
	"net"
	"net/netip"
	"net/url"
	"strings"
)

// origin is what a credential belongs to: a scheme, a host and a port, in one
// spelling, so that two of them can be compared.
type origin struct{ scheme, host string }

// originOf takes the origin out of an address.
func originOf(u *url.URL) origin {
	scheme := strings.ToLower(u.Scheme)
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return origin{scheme, net.JoinHostPort(strings.ToLower(u.Hostname()), port)}
}

// hostOrigin is the origin of a bare host, as it stands in an image name.
func hostOrigin(scheme, host string) origin {
	return originOf(&url.URL{Scheme: scheme, Host: host})
}

func (o origin) name() string {
	host, _, err := net.SplitHostPort(o.host)
	if err != nil {
		return o.host
	}
	return host
}

// authority is the host as an address spells it, without a port that the scheme
// implies.
func (o origin) authority() string {
	host, port, err := net.SplitHostPort(o.host)
	if err != nil || (o.scheme == "https" && port != "443") || (o.scheme == "http" && port != "80") {
		return o.host
	}
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

func (o origin) url(path string) string { return o.scheme + "://" + o.authority() + path }

// loopback tells whether the origin is on this machine, by its spelling alone.
func (o origin) loopback() bool {
	name := strings.TrimSuffix(o.name(), ".")
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	address, err := netip.ParseAddr(name)
	return err == nil && address.Unmap().IsLoopback()
}

// literal tells whether the origin is an IP address rather than a name. What a
// resolver might take for an address (0x7f.1, 2130706433) counts as one.
func (o origin) literal() bool {
	_, err := netip.ParseAddr(o.name())
	return err == nil || endsInNumber(o.name())
}

// endsInNumber is the test of the WHATWG URL standard for hosts that mean an
// IPv4 address in one of its old spellings.
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.HasPrefix(last, "0x") {
		return true
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}
