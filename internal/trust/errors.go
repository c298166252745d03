package trust

import (
	"fmt"
	"strings"
	"time"
)

// The errors of this file hold facts. What they mean for a person is written by the
// caller. All are returned as pointers, possibly wrapped.

// OptionError says that an option or an argument cannot be right.
type OptionError struct {
	Name, Value, Problem string
}

func (e *OptionError) Error() string {
	return fmt.Sprintf("%s %q: %s", e.Name, printable(e.Value), e.Problem)
}

// NotInitialisedError says that the server has no trust data for the repository.
// Code is the server's error code, METADATA_NOT_FOUND from a Notary server; "" hints
// that something else answered.
type NotInitialisedError struct {
	GUN, Server, Code string
}

func (e *NotInitialisedError) Error() string {
	return fmt.Sprintf("%s has no trust data on %s", e.GUN, e.Server)
}

// Operation says what a request was for.
type Operation string

// The operations.
const (
	OpRead    Operation = "read trust data"
	OpCheck   Operation = "check the right to sign"
	OpPublish Operation = "publish"
)

// DeniedError says that the server answered 401 or 403.
type DeniedError struct {
	Op      Operation
	Status  int
	Code    string // of the server's error, if it sent one
	Message string
}

func (e *DeniedError) Error() string {
	return fmt.Sprintf("%s: denied with status %d%s", e.Op, e.Status, said(e.Code, e.Message))
}

// UnreachableError says that no answer, or only a part of one, came from the server.
type UnreachableError struct {
	Op     Operation
	Server string
	Err    error
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%s: no answer from %s: %v", e.Op, e.Server, e.Err)
}

// Unwrap returns what the transport said.
func (e *UnreachableError) Unwrap() error { return e.Err }

// ServerError says that the server answered with a status that is not about us:
// 429, 5xx, a redirect, or one that a Notary server does not send.
type ServerError struct {
	Op         Operation
	Name       string // of the file that was asked for; "" for an upload
	Status     int
	Code       string
	Message    string
	RetryAfter time.Duration // as the server wished; 0 if it did not
}

func (e *ServerError) Error() string {
	s := string(e.Op)
	if e.Name != "" {
		s += ": " + e.Name
	}
	return fmt.Sprintf("%s: status %d%s", s, e.Status, said(e.Code, e.Message))
}

// RejectedError says that the server refused an upload (400, 413).
type RejectedError struct {
	Status  int
	Code    string // VERSION, INVALID_UPDATE, ...
	Reason  string // of INVALID_UPDATE: ErrBadTargets, ErrBadRoot, ErrBadHierarchy, ...
	Message string
}

func (e *RejectedError) Error() string {
	return fmt.Sprintf("publish: rejected with status %d%s", e.Status, said(strings.TrimSpace(e.Code+" "+e.Reason), e.Message))
}

func said(code, message string) string {
	s := ""
	if code != "" {
		s += " " + printable(code)
	}
	if message != "" {
		s += ": " + message
	}
	return s
}

// ConflictError says that others published first on every attempt. Err is what the
// last one met.
type ConflictError struct {
	Attempts int
	Err      error
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("publish: gave up after %d attempts: %v", e.Attempts, e.Err)
}

// Unwrap returns the last attempt's error.
func (e *ConflictError) Unwrap() error { return e.Err }

// SnapshotKeyError says that the server does not hold the repository's snapshot key,
// so that only the one who does can publish.
type SnapshotKeyError struct{ GUN string }

func (e *SnapshotKeyError) Error() string {
	return fmt.Sprintf("the snapshot key of %s is not held by the server", e.GUN)
}

// ExpiredError says that a file which everything depends on has expired.
type ExpiredError struct {
	Role string
	At   time.Time
}

func (e *ExpiredError) Error() string {
	return fmt.Sprintf("%s expired at %s", e.Role, e.At.UTC().Format(time.RFC3339))
}

// BadMetadataError says that trust data cannot be believed: a signature, a checksum,
// a version or the form is wrong, or a file that another one lists is missing.
type BadMetadataError struct {
	Role   string // the file; "" if it is not known
	Reason string
	Err    error // of the library, if it said something
}

func (e *BadMetadataError) Error() string {
	s := "trust data: " + e.Role + ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *BadMetadataError) Unwrap() error { return e.Err }

// PinMismatchError says that the root's keys are not those that were pinned. An empty
// Want means that there are pins, but none for this repository.
type PinMismatchError struct {
	GUN  string
	Want []string
	Got  []RootID
}

func (e *PinMismatchError) Error() string {
	return fmt.Sprintf("the root of %s is signed by %v, pinned is %v", e.GUN, e.Got, e.Want)
}

// PinRequiredError says that there is no pin where one is demanded. Got is what the
// server shows, which is for an administrator to confirm.
type PinRequiredError struct {
	GUN string
	Got []RootID
}

func (e *PinRequiredError) Error() string { return fmt.Sprintf("no root key is pinned for %s", e.GUN) }

// NotAdmittedError says that no role admits the key.
type NotAdmittedError struct {
	KeyID       string
	Delegations []Delegation // who is admitted
	TargetsKeys []string     // the repository keys, which sign where there are no delegations
}

func (e *NotAdmittedError) Error() string {
	return fmt.Sprintf("key %s is in none of %d delegations", e.KeyID, len(e.Delegations))
}

// NotReleasedError says that the key may sign, but not in targets/releases, which is
// all that docker reads.
type NotReleasedError struct {
	KeyID string
	Roles []string // that admit the key
}

func (e *NotReleasedError) Error() string {
	return fmt.Sprintf("key %s is in %s, but not in %s", e.KeyID, strings.Join(e.Roles, ", "), releasesRole)
}

// PathRestrictedError says that a role admits the key, but not for this tag. Paths
// are the prefixes that it admits.
type PathRestrictedError struct {
	Tag, Role string
	Paths     []string
}

func (e *PathRestrictedError) Error() string {
	return fmt.Sprintf("%s admits %q, not tag %s", e.Role, e.Paths, e.Tag)
}

// NotThisSignerError says that the key is not that of the signer it is said to be.
type NotThisSignerError struct {
	Signer, KeyID string
	Want          []string // the signer's key IDs; empty if there is no such signer
	Signers       []string // all names
}

func (e *NotThisSignerError) Error() string {
	return fmt.Sprintf("key %s is not one of signer %s", e.KeyID, e.Signer)
}

// RootExpiringError says that the root expires within six months: Notary then
// renews it with every publish, which takes the root key.
type RootExpiringError struct{ At time.Time }

func (e *RootExpiringError) Error() string {
	return "root expires at " + e.At.UTC().Format(time.RFC3339) + ", and a publish would have to renew it"
}

// BrokenDelegationError says that a delegation's file is not signed by a key that
// may sign it now, as after the removal of the key that signed last.
type BrokenDelegationError struct {
	Role string
	Tags int // in the file
}

func (e *BrokenDelegationError) Error() string {
	return fmt.Sprintf("%s, with %d tags, is not signed by a present key of it", e.Role, e.Tags)
}

// ThresholdError says that a role takes more than one signer at once.
type ThresholdError struct {
	Role      string
	Threshold int
}

func (e *ThresholdError) Error() string {
	return fmt.Sprintf("%s takes %d signatures", e.Role, e.Threshold)
}

// VersionError says that a file's version number is at the end of what Notary counts
// to, which no honest repository reaches.
type VersionError struct {
	Role    string
	Version int
}

func (e *VersionError) Error() string { return fmt.Sprintf("%s has version %d", e.Role, e.Version) }

// PublishError is what the library says for reasons that are none of the others.
type PublishError struct{ Err error }

func (e *PublishError) Error() string { return "publish: " + e.Err.Error() }

// Unwrap returns the library's error.
func (e *PublishError) Unwrap() error { return e.Err }

// ProofError says that a tag is not signed as it should be. Got is empty when the
// role does not have the tag at all; both are equal when the key is what is wrong.
type ProofError struct {
	Tag, Role string
	Want, Got Target
	KeyID     string // that should be in Role; "" when the target is what is wrong
}

func (e *ProofError) Error() string {
	switch {
	case e.KeyID != "":
		return fmt.Sprintf("%s: key %s has no part in %s", e.Tag, e.KeyID, e.Role)
	case e.Got == Target{}:
		return fmt.Sprintf("%s: not in %s", e.Tag, e.Role)
	}
	return fmt.Sprintf("%s: in %s it is %s of %d bytes, not %s of %d", e.Tag, e.Role, e.Got.Digest, e.Got.Size, e.Want.Digest, e.Want.Size)
}
