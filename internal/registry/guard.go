package registry

import (
	"errors"
	"net/http"
	"strings"
)

// maxHops is how many redirects are followed for one request.
const maxHops = 5

// errPlainHTTP refuses an attempt to fall back to http, which
// go-containerregistry's Ping makes for hosts it takes for local ones.
var errPlainHTTP = errors.New("plain http not allowed")

// guard is the last to see a request before it leaves, and holds what the rest
// of this package promises: a credential goes to one origin only, and redirects
// lead nowhere they could do harm. It believes nothing that was decided above it.
type guard struct {
	inner http.RoundTripper
	// home is the only origin that may see a credential.
	home origin
	// stay refuses every way out, also without a credential: nothing a token
	// server on another host says could be used.
	stay bool
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := g.check(r); err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	response, err := g.inner.RoundTrip(r)
	if err != nil || !g.stay {
		return response, err
	}
	// Judged here and not at the next hop, since the library that follows it
	// has refusals of its own, which are only text.
	if to, err := response.Location(); err == nil && isRedirect(response.StatusCode) && originOf(to) != g.home {
		drain(response)
		return nil, g.refusal(originOf(to), "leaves the host")
	}
	return response, nil
}

func (g *guard) check(r *http.Request) error {
	to := originOf(r.URL)
	redirected := r.Response != nil
	switch {
	case redirected && hops(r) > maxHops:
		return g.refusal(to, "too many")
	case to == g.home:
		return nil
	case !redirected && to.scheme == "http":
		return errPlainHTTP
	case g.stay:
		return g.refusal(to, "leaves the host")
	case carriesCredential(r):
		return g.refusal(to, "would carry a credential")
	case to.loopback() && !g.home.loopback():
		return g.refusal(to, "to this machine")
	case to.literal() && !g.home.loopback():
		return g.refusal(to, "to an address")
	case to.scheme != "https" && !to.loopback():
		return g.refusal(to, "not https")
	case to.scheme != "https" && g.home.scheme == "https":
		return g.refusal(to, "not https")
	}
	return nil
}

func (g *guard) refusal(to origin, reason string) error {
	return &RedirectError{From: g.home.authority(), To: cut(to.url(""), 200), Reason: reason}
}

// carriesCredential tells whether a request holds one: in its headers, in its
// address, or in the form that asks a token server for a token.
func carriesCredential(r *http.Request) bool {
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	form := strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded")
	return r.URL.User != nil || form && r.Body != nil && r.Body != http.NoBody
}

// hops counts the redirects that led to a request. net/http keeps the answer
// that caused each of them.
func hops(r *http.Request) int {
	n := 0
	for r.Response != nil && r.Response.Request != nil {
		n++
		r = r.Response.Request
	}
	return n
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}
