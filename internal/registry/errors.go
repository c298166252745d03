package registry

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
)

// Op names what was being done when something failed.
type Op string

// The operations of this package, as its errors name them.
const (
	OpPing   Op = "ping"         // GET /v2/
	OpToken  Op = "get token"    // the token server named by the challenge
	OpUpload Op = "start upload" // POST /v2/<name>/blobs/uploads/
	OpRead   Op = "get manifest"
	OpWrite  Op = "put manifest"
	OpDelete Op = "delete manifest"
)

// ErrNotFound is what errors.Is finds in an AccessError of kind NotFound.
var ErrNotFound = errors.New("not found")

// AccessKind sorts the refusals by what can be done about them.
type AccessKind string

// The kinds of refusal.
const (
	// NoCredential: there was none, and one is needed.
	NoCredential AccessKind = "credential needed"
	// WrongCredential: the registry or its token server does not know it; the
	// secret is wrong or has expired.
	WrongCredential AccessKind = "credential refused"
	// Denied: the credential is good and lacks the right, on ACR a role such as
	// AcrPush.
	Denied AccessKind = "permission denied"
	// Firewall: the registry does not admit this machine's address.
	Firewall AccessKind = "address not admitted"
	// NotFound: no such repository, tag, manifest, or no registry there at all.
	NotFound AccessKind = "not found"
	// Busy: asked too often (429), or a request that timed out at the server (408).
	Busy AccessKind = "too many requests"
	// Broken: the server's own failure, 5xx.
	Broken AccessKind = "server error"
	// Refused: any other status.
	Refused AccessKind = "refused"
)

// AccessError is an answer that is not the one hoped for.
type AccessError struct {
	Op   Op
	Kind AccessKind
	// Host is who answered; for OpToken the token server.
	Host string
	// Repository is the full name, and Reference the tag or digest if one was
	// asked for.
	Repository, Reference string
	// Scope is what the token was for, such as "repository:app:pull,push"; ""
	// where no token was involved. Trust data has the host in it.
	Scope  string
	Status int
	// Code and Detail are the server's first error code and its message, made
	// printable and cut to 300 characters; "" when it gave none.
	Code, Detail string
	// ClientIP is our address as the registry sees it, known for Firewall only.
	ClientIP string
	// RetryAfter is how long the server asked to be left alone; 0: not said.
	RetryAfter time.Duration
}

func (e *AccessError) Error() string {
	text := fmt.Sprintf("%s: %s answered %d, %s", e.Op, e.Host, e.Status, e.Kind)
	if e.Reference != "" {
		text += " (" + e.Repository + " " + e.Reference + ")"
	} else if e.Repository != "" {
		text += " (" + e.Repository + ")"
	}
	if e.Code != "" || e.Detail != "" {
		text += ": " + strings.TrimSpace(e.Code+" "+e.Detail)
	}
	return text
}

// Is makes errors.Is(err, ErrNotFound) work.
func (e *AccessError) Is(target error) bool { return target == ErrNotFound && e.Kind == NotFound }

// RealmError is a challenge that would have sent the credential somewhere it
// does not belong. Nothing was sent there.
type RealmError struct {
	// Host is the registry that gave the challenge.
	Host string
	// Realm is the token address it named, cut after 200 bytes.
	Realm string
	// RealmHost is the host in it, "" when it has none.
	RealmHost string
	// Reason: "not https", "another host", "not an address", "has a user name".
	Reason string
}

func (e *RealmError) Error() string {
	return fmt.Sprintf("challenge of %s names token server %q: %s", e.Host, e.Realm, e.Reason)
}

// RedirectError is a redirect that was not followed.
type RedirectError struct {
	// From and To are the hosts, To with its scheme.
	From, To string
	// Reason: "leaves the host", "would carry a credential", "not https",
	// "to an address", "to this machine", "too many", "changes the method".
	Reason string
}

func (e *RedirectError) Error() string {
	return fmt.Sprintf("redirect from %s to %s not followed: %s", e.From, e.To, e.Reason)
}

// ChallengeError is a challenge or a token server's answer that cannot be used.
type ChallengeError struct {
	Op   Op
	Host string
	// Reason says what is wrong with it, in a few words.
	Reason string
}

func (e *ChallengeError) Error() string { return fmt.Sprintf("%s: %s: %s", e.Op, e.Host, e.Reason) }

// DigestMismatch is content that is not what its name says.
type DigestMismatch struct {
	Repository, Reference string
	// Want is the digest asked for or claimed by the registry; Got is the digest
	// of the bytes, or on a write the one the registry answered with.
	Want, Got string
}

func (e *DigestMismatch) Error() string {
	return fmt.Sprintf("%s %s: digest is %s, want %s", e.Repository, e.Reference, e.Got, e.Want)
}

// ManifestError is a manifest that was read and cannot be used.
type ManifestError struct {
	Repository, Reference string
	// Reason: "larger than 4 MiB", "empty", "not JSON", "media type not known",
	// "media type differs from its content".
	Reason string
	// MediaType is the type the registry gave.
	MediaType string
}

func (e *ManifestError) Error() string {
	text := fmt.Sprintf("manifest %s %s: %s", e.Repository, e.Reference, e.Reason)
	if e.MediaType != "" {
		text += fmt.Sprintf(" (%q)", e.MediaType)
	}
	return text
}

// LockedError is a tag the registry does not let anyone change. Azure Container
// Registry answers 405 for it, others 409 or 412.
type LockedError struct {
	Repository, Tag string
	Status          int
	Code, Detail    string // as in AccessError
}

func (e *LockedError) Error() string {
	return fmt.Sprintf("tag %s:%s is locked (%d): %s", e.Repository, e.Tag, e.Status, strings.TrimSpace(e.Code+" "+e.Detail))
}

// UnsupportedError is a registry that cannot remove a tag without removing the
// manifest under it, or removes nothing at all.
type UnsupportedError struct {
	Repository, Reference string
	Status                int
	Code, Detail          string // as in AccessError
}

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s %s: registry does not delete it (%d): %s", e.Repository, e.Reference, e.Status, strings.TrimSpace(e.Code+" "+e.Detail))
}

// TagsError says how far Client.Tag came.
type TagsError struct {
	Repository, Digest string
	// Done are the tags that point at Digest now, in the order given.
	Done []string
	// Failed are the others. The write of such a tag may have arrived all the
	// same when the error is one of the network.
	Failed []TagFailure
}

// TagFailure is one tag that could not be written.
type TagFailure struct {
	Tag string
	Err error
}

func (e *TagsError) Error() string {
	first := e.Failed[0]
	return fmt.Sprintf("%d of %d tags not written to %s, first %s: %v",
		len(e.Failed), len(e.Failed)+len(e.Done), e.Repository, first.Tag, first.Err)
}

// Unwrap gives the errors of the single tags.
func (e *TagsError) Unwrap() []error {
	all := make([]error, len(e.Failed))
	for i, failure := range e.Failed {
		all[i] = failure.Err
	}
	return all
}

// printable makes a server's text fit to stand in an error.
func printable(s string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, cut(s, 4096))
	runes := []rune(strings.Join(strings.Fields(clean), " "))
	return string(runes[:min(len(runes), 300)])
}

// Permanent says that asking again would end the same way, for those who retry above
// this package: only what the server itself may get over is worth another try.
func (e *AccessError) Permanent() bool { return e.Kind != Busy && e.Kind != Broken }

// Permanent says that asking again would end the same way.
func (e *RealmError) Permanent() bool { return true }

// Permanent says that asking again would end the same way.
func (e *RedirectError) Permanent() bool { return true }

// Permanent says that asking again would end the same way.
func (e *ChallengeError) Permanent() bool { return true }
