package registry

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxName is the longest repository name accepted, host included, in bytes. It
// is docker's limit (distribution/reference, RepositoryNameTotalLengthMax) put
// on the whole name, because the whole of it names trust data.
const maxName = 255

// Docker Hub is the one registry whose image names do not begin with the host
// that serves them.
const (
	hubName   = "docker.io"
	hubAlias  = "index.docker.io"
	hubAPI    = "registry-1.docker.io"
	hubTrust  = "https://notary.docker.io"
	hubTokens = "auth.docker.io"
)

// Repository is the name of a repository, checked. The zero value names none.
type Repository struct {
	// Host is the registry's host with its port if the name has one; docker.io
	// for Docker Hub.
	Host string
	// Path is the rest, without tag or digest; on Docker Hub it always has a
	// namespace.
	Path string
}

// ParseRepository reads a full repository name such as
// contoso.azurecr.io/team/app, by the grammar of distribution/reference, but
// without its defaults: the host must be there, and must look like one (it has a
// dot or a port, or is localhost). docker.io/app becomes docker.io/library/app
// and index.docker.io becomes docker.io, since those are the names docker signs.
//
// The error is a *ReferenceError.
func ParseRepository(s string) (Repository, error) {
	if err := checkShape(s); err != nil {
		return Repository{}, err
	}
	host, path, found := strings.Cut(s, "/")
	if !found || !looksLikeHost(host) {
		return Repository{}, nameError(s, NameNoHost, 0)
	}
	if !validHost(host) {
		return Repository{}, nameError(s, NameBadHost, 0)
	}
	if err := checkPath(s, path, len(host)+1); err != nil {
		return Repository{}, err
	}
	if host == hubAlias {
		host = hubName
	}
	if host == hubName && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	return Repository{Host: host, Path: path}, nil
}

// String is the full name, host first.
func (r Repository) String() string { return r.Host + "/" + r.Path }

// GUN is the name of the repository's trust data (Notary calls it the globally
// unique name), which is the full name.
func (r Repository) GUN() string { return r.String() }

// Tag is the full name of a tag in this repository.
func (r Repository) Tag(tag string) string { return r.String() + ":" + tag }

// apiHost is the host that serves the repository.
func (r Repository) apiHost() string {
	if r.Host == hubName {
		return hubAPI
	}
	return r.Host
}

// trustServer is where the repository's trust data is when nobody says otherwise.
func (r Repository) trustServer() string {
	if r.Host == hubName {
		return hubTrust
	}
	return "https://" + r.Host
}

// checkShape finds what is wrong with a name as a whole, the likely mistakes
// before the unlikely ones.
func checkShape(s string) error {
	if s == "" {
		return nameError(s, NameEmpty, 0)
	}
	if i := strings.Index(s, "://"); i >= 0 {
		return nameError(s, NameHasScheme, i)
	}
	if i := strings.IndexByte(s, '@'); i >= 0 {
		return nameError(s, NameHasDigest, i)
	}
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, '/') && strings.Contains(s, "/") {
		return nameError(s, NameHasTag, i)
	}
	if i := strings.IndexFunc(s, isUpper); i >= 0 {
		err := nameError(s, NameUpperCase, i)
		if lower := strings.ToLower(s); isRepository(lower) {
			err.Suggestion = lower
		}
		return err
	}
	if len(s) > maxName {
		return nameError(s, NameTooLong, maxName)
	}
	return nil
}

func isUpper(r rune) bool { return 'A' <= r && r <= 'Z' }

func isRepository(s string) bool {
	_, err := ParseRepository(s)
	return err == nil
}

func looksLikeHost(s string) bool {
	return s == "localhost" || strings.ContainsAny(s, ".:")
}

// validHost accepts a DNS name, an IPv4 address or an IPv6 address in brackets,
// each with or without a port.
func validHost(s string) bool {
	host := s
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		port, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil || port == 0 {
			return false
		}
		host = s[:i]
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		address, err := netip.ParseAddr(inner)
		return ok && err == nil && address.Is6() && address.Zone() == ""
	}
	for label := range strings.SplitSeq(host, ".") {
		if !validLabel(label) {
			return false
		}
	}
	return !endsInNumber(host) || net.ParseIP(host) != nil
}

func validLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return strings.IndexFunc(s, func(r rune) bool { return r != '-' && !isAlphanumeric(r) }) < 0
}

func isAlphanumeric(r rune) bool { return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' }

// checkPath goes through the components of a path, which begins at offset in s.
func checkPath(s, path string, offset int) error {
	for component := range strings.SplitSeq(path, "/") {
		switch component {
		case "":
			return nameError(s, NameEmptyComponent, offset)
		case ".", "..":
			return nameError(s, NameTraversal, offset)
		}
		if i := badInComponent(component); i >= 0 {
			return nameError(s, NameBadCharacter, offset+i)
		}
		offset += len(component) + 1
	}
	return nil
}

// badInComponent gives the index of the first byte that cannot be where it is,
// -1 if the component is [a-z0-9]+ joined by ".", "_", "__" or any number of "-".
func badInComponent(s string) int {
	for i := 0; i < len(s); {
		if isAlphanumeric(rune(s[i])) {
			i++
			continue
		}
		end := i
		for end < len(s) && s[end] == s[i] {
			end++
		}
		longest := map[byte]int{'.': 1, '_': 2, '-': len(s)}[s[i]]
		switch {
		case longest == 0, i == 0:
			return i
		case end-i > longest:
			return i + longest
		case end == len(s):
			return end - 1
		case !isAlphanumeric(rune(s[end])):
			return end
		}
		i = end
	}
	return -1
}
