package trust

import (
	"fmt"
	"strings"
)

// KeyErrorKind says what is wrong with a key file.
type KeyErrorKind string

// The kinds of [KeyError], with the fields that are set beside Kind.
const (
	NotAKey           KeyErrorKind = "not a key"            // Detail: what it looks like
	Empty             KeyErrorKind = "empty"                //
	TooLarge          KeyErrorKind = "too large"            // Size
	PublicKey         KeyErrorKind = "public key"           // Detail: the kind of public key
	CertificateOnly   KeyErrorKind = "certificate only"     // Detail: the name in it, if it can be read
	Truncated         KeyErrorKind = "truncated or damaged" // Detail: where
	NeedsPassphrase   KeyErrorKind = "needs a passphrase"   //
	WrongPassphrase   KeyErrorKind = "wrong passphrase"     //
	UnsupportedCipher KeyErrorKind = "unsupported cipher"   // Detail: its name or OID
	TooManyIterations KeyErrorKind = "too many iterations"  // Iterations
	WeakRSA           KeyErrorKind = "weak RSA key"         // Bits
	UnsupportedCurve  KeyErrorKind = "unsupported curve"    // Detail: its name or OID
	UnsupportedType   KeyErrorKind = "unsupported key type" // Detail: for instance "DSA", "OpenSSH"
	RootKey           KeyErrorKind = "root key"             // Detail: the role in the file
	SeveralKeys       KeyErrorKind = "several keys"         // Keys
)

// KeyError says why a key cannot be used. It never holds anything of the key
// itself.
type KeyError struct {
	Kind       KeyErrorKind
	Detail     string
	Bits       int   // of an RSA modulus
	Size       int   // bytes of the file
	Keys       int   // how many private keys the file has
	Iterations int64 // of the key derivation the file asks for
}

// Error implements error.
func (e *KeyError) Error() string {
	var b strings.Builder
	b.WriteString("key: ")
	b.WriteString(string(e.Kind))
	switch {
	case e.Bits > 0:
		fmt.Fprintf(&b, " of %d bits", e.Bits)
	case e.Size > 0:
		fmt.Fprintf(&b, ": %d bytes", e.Size)
	case e.Keys > 0:
		fmt.Fprintf(&b, ": %d", e.Keys)
	case e.Iterations > 0:
		fmt.Fprintf(&b, ": %d", e.Iterations)
	}
	if e.Detail != "" {
		b.WriteString(": " + e.Detail)
	}
	return b.String()
}

// Is reports whether target is a KeyError of the same kind, so that
// errors.Is(err, &KeyError{Kind: WrongPassphrase}) works.
func (e *KeyError) Is(target error) bool {
	t, ok := target.(*KeyError)
	return ok && t.Kind == e.Kind
}
