package registry

import (
	"net/url"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// maxRealm is the longest token address looked at, in bytes. Real ones have
// less than a hundred.
const maxRealm = 2048

// realm takes the token server's address out of a challenge and decides whether
// the credential may go there: over https, and to the host that asked or one
// that is known. Whoever controls a registry's answers could otherwise collect
// the credential anywhere (CVE-2026-48978 in another client).
func (e *endpoint) realm(challenge *transport.Challenge) (*url.URL, origin, error) {
	text := challenge.Parameters["realm"]
	if text == "" {
		return nil, origin{}, &ChallengeError{Op: OpPing, Host: e.home.authority(), Reason: "challenge names no token server"}
	}
	u, err := url.Parse(text)
	if err != nil || len(text) > maxRealm || u.Hostname() == "" || u.Opaque != "" {
		return nil, origin{}, e.realmError(text, "", "not an address")
	}
	at := originOf(u)
	switch {
	case u.User != nil:
		return nil, at, e.realmError(text, at.authority(), "has a user name")
	case at.scheme != "https" && (at.scheme != "http" || !at.loopback() || !e.home.loopback()):
		return nil, at, e.realmError(text, at.authority(), "not https")
	case at.host != e.home.host && !e.session.realms[at]:
		return nil, at, e.realmError(text, at.authority(), "another host")
	}
	return u, at, nil
}

func (e *endpoint) realmError(realm, host, reason string) error {
	return &RealmError{Host: e.home.authority(), Realm: cut(redactUser(realm), 200), RealmHost: cut(host, 200), Reason: reason}
}
