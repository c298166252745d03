package docker

import (
	"regexp"
	"slices"
	"strings"
)

// Reason is why a registry did not do what the Engine asked of it, as far as
// the Engine's words tell. The Engine passes on no status code.
type Reason int

const (
	// ReasonNone: nothing in the text is a registry's.
	ReasonNone Reason = iota
	// ReasonUnauthorized: the credentials are missing, wrong or expired.
	ReasonUnauthorized
	// ReasonDenied: the credentials may not do it, or the registry's rules
	// forbid it (a locked tag, a firewall, a quota).
	ReasonDenied
	// ReasonNotFound: the registry has no such repository or manifest.
	ReasonNotFound
	// ReasonTLS: the Engine's host does not trust the registry's certificate,
	// or one of the two speaks plain HTTP. The fix is on the Engine's host.
	ReasonTLS
	// ReasonTemporary: 429, 5xx, a broken or refused connection, a timeout, a
	// name that did not resolve just now.
	ReasonTemporary
	// ReasonOther: the registry refused in words none of the above covers.
	ReasonOther
)

func (r Reason) String() string {
	names := []string{"none", "unauthorized", "denied", "not found", "tls", "temporary", "other"}
	if r < 0 || int(r) >= len(names) {
		return "unknown"
	}
	return names[r]
}

type sign struct {
	reason Reason
	texts  []string
}

// signs are what Engines and registries say, lower case, first match wins.
// They are ordered: what is certain not to heal stands before what may.
// Sources: distribution registry/api/errcode, moby distribution/errors.go,
// containerd remotes/docker, Go's net, net/http and crypto/x509; those of the
// graphdriver and containerd stores were seen on Engines 20.10, 28.5 and 29.
func signs() []sign {
	return []sign{
		{ReasonTLS, []string{
			"x509:", "tls: ", "server gave http response to https client", "http request to an https server",
			"certificate signed by unknown authority", "certificate is not trusted", "remote error: tls",
		}},
		{ReasonTemporary, []string{
			"toomanyrequests", "too many requests", "429 ", "http status: 429", "http 429",
			"tls handshake timeout",
		}},
		{ReasonUnauthorized, []string{
			"unauthorized", "no basic auth credentials", "authentication required", "401 ", "incorrect username or password",
			"failed to authorize: failed to fetch", "aadsts",
		}},
		{ReasonDenied, []string{
			"denied", "403 ", "forbidden", "insufficient_scope", "operation is disallowed", "is not allowed access",
			"immutable", "is locked", "quota", "405 ", "409 ", "unsupported: the operation",
		}},
		{ReasonNotFound, []string{
			"name unknown", "name_unknown", "manifest unknown", "manifest_unknown", "repository name not known",
			"repository does not exist", "404 ", "not found",
		}},
		{ReasonTemporary, []string{
			"unexpected eof", "eof", "connection reset", "broken pipe", "connection refused", "i/o timeout", "timeout awaiting",
			"client.timeout exceeded", "deadline exceeded", "timed out", "no such host", "server misbehaving",
			"temporary failure in name resolution", "network is unreachable", "no route to host", "server closed idle connection",
			"http2: client connection lost", "stream error", "goaway", "use of closed network connection",
			"408 ", "500 ", "502 ", "503 ", "504 ", "http status: 5", "internal server error", "bad gateway",
			"service unavailable", "gateway timeout", "blob upload unknown", "blob_upload_unknown", "server error",
		}},
	}
}

// address is what may hold any word at all without meaning it.
var address = regexp.MustCompile(`https?://[^\s"]+`)

// classify reads a push's error text; every failure of a push is of some
// reason. Names the caller knows are taken out first, since a repository may
// be called "denied".
func classify(text string, names ...string) Reason {
	text = strings.ToLower(address.ReplaceAllString(text, ""))
	for _, name := range names {
		text = strings.ReplaceAll(text, strings.ToLower(name), "")
	}
	for _, s := range signs() {
		if slices.ContainsFunc(s.texts, func(word string) bool { return contains(text, word) }) {
			// "tls: " stands in a timeout of the handshake too.
			if s.reason == ReasonTLS && strings.Contains(text, "tls handshake timeout") {
				return ReasonTemporary
			}
			return s.reason
		}
	}
	return ReasonOther
}

// contains finds a sign that stands as a word of its own at its start and,
// for a status code (which ends in a blank), also at the end of the text.
func contains(text, sign string) bool {
	text += " "
	for from := 0; ; {
		at := strings.Index(text[from:], sign)
		if at < 0 {
			return false
		}
		at += from
		if at == 0 || !wordByte(text[at-1]) || !wordByte(sign[0]) {
			return true
		}
		from = at + 1
	}
}

func wordByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z'
}

// registryReason classifies a build's failure, which is a registry's only when
// it happened while a base image was resolved or fetched.
func registryReason(step, text string) Reason {
	lower := strings.ToLower(step + " " + text)
	for _, sign := range []string{
		"load metadata for", "failed to resolve source metadata", "failed to resolve reference", "pull access denied",
		"failed to do request", "failed to authorize", "failed to fetch anonymous token", "failed to fetch oauth token",
		"from host", "resolve image config", "failed to copy: httpreadseeker", "error pulling image",
		"unexpected status from",
	} {
		if strings.Contains(lower, sign) {
			return classify(text)
		}
	}
	return ReasonNone
}
