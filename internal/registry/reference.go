package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// NameKind says what is wrong with a name.
type NameKind string

// What can be wrong with the name of a repository, a tag or a digest.
const (
	NameEmpty          NameKind = "is empty"
	NameNoHost         NameKind = "has no registry host"
	NameBadHost        NameKind = "has a host that cannot be one"
	NameHasScheme      NameKind = "begins with a scheme"
	NameHasTag         NameKind = "has a tag"
	NameHasDigest      NameKind = "has a digest"
	NameUpperCase      NameKind = "has upper case letters"
	NameTooLong        NameKind = "is too long"
	NameEmptyComponent NameKind = "has an empty component"
	NameTraversal      NameKind = "has a component of dots"
	NameBadCharacter   NameKind = "has a character that is not allowed there"
	NameBadFirst       NameKind = "begins with a character that is not allowed there"
	NameNotSHA256      NameKind = "is not sha256: and 64 lower case hexadecimal digits"
)

// ReferenceError is a name that cannot be used.
type ReferenceError struct {
	// What it should have been: "repository", "tag" or "digest".
	What string
	// Input is the name as given, cut after 300 bytes.
	Input string
	Kind  NameKind
	// Position is the index of the byte at fault, from 0.
	Position int
	// Suggestion is the name that was probably meant, "" when unknown.
	Suggestion string
}

func (e *ReferenceError) Error() string {
	text := fmt.Sprintf("%s %q %s", e.What, e.Input, e.Kind)
	if e.Kind == NameBadCharacter || e.Kind == NameUpperCase {
		text += fmt.Sprintf(" (position %d)", e.Position)
	}
	return text
}

func nameError(input string, kind NameKind, position int) *ReferenceError {
	return &ReferenceError{What: "repository", Input: cut(input, 300), Kind: kind, Position: position}
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// maxTag is the longest tag, in bytes.
const maxTag = 128

// CheckTag checks a tag by the distribution grammar,
// [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}. The error is a *ReferenceError.
func CheckTag(tag string) error {
	fail := func(kind NameKind, position int) error {
		return &ReferenceError{What: "tag", Input: cut(tag, 300), Kind: kind, Position: position}
	}
	if tag == "" {
		return fail(NameEmpty, 0)
	}
	if i := strings.IndexFunc(tag, func(r rune) bool { return !inTag(r) }); i >= 0 {
		return fail(NameBadCharacter, i)
	}
	if tag[0] == '.' || tag[0] == '-' {
		return fail(NameBadFirst, 0)
	}
	if len(tag) > maxTag {
		return fail(NameTooLong, maxTag)
	}
	return nil
}

func inTag(r rune) bool {
	return isAlphanumeric(r) || isUpper(r) || r == '_' || r == '.' || r == '-'
}

const digestPrefix = "sha256:"

// CheckDigest checks that s is "sha256:" and 64 lower case hexadecimal digits,
// the only kind of digest trust data of images has. The error is a
// *ReferenceError.
func CheckDigest(s string) error {
	digits, ok := strings.CutPrefix(s, digestPrefix)
	isHex := func(r rune) bool { return '0' <= r && r <= '9' || 'a' <= r && r <= 'f' }
	if !ok || len(digits) != 2*sha256.Size || strings.IndexFunc(digits, func(r rune) bool { return !isHex(r) }) >= 0 {
		return &ReferenceError{What: "digest", Input: cut(s, 300), Kind: NameNotSHA256}
	}
	return nil
}

// DigestOf computes the digest of some bytes, in the form CheckDigest accepts.
func DigestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return digestPrefix + hex.EncodeToString(sum[:])
}
