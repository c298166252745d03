package trust

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"contenttrust/internal/secret"

	"github.com/theupdateframework/notary"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

const (
	// MaxKeySize is the most bytes a key file may have. Real ones have 0.3 to 8 KiB.
	MaxKeySize = 64 << 10
	// maxRSABits bounds the work that a modulus can cause.
	maxRSABits = 16384
)

// Key is a private key that can sign. Make one with [ReadKey]; it prints as its ID
// under every verb.
type Key struct {
	private          data.PrivateKey
	id               string
	kind             string
	bits             int
	role, gun        string
	passphraseUnused bool
}

// ReadKey reads a private key from whatever a person has: PEM with PKCS#1, SEC1 or
// PKCS#8 inside, encrypted or not, as OpenSSL, docker and notary write it, also with
// a certificate beside it; with a byte-order mark, in UTF-16, with the line ends of
// any system or with none left (as secret variables have it), in base64 around the
// PEM; and bare DER.
//
// The ciphers known are AES-128/192/256-CBC and 3DES-CBC under PBES2 (PBKDF2 with
// every HMAC-SHA, or scrypt) and those of the old DEK-Info header. A passphrase that
// is not needed is no error; see [Key.PassphraseUnused].
//
// All errors are *[KeyError]. No input makes ReadKey panic, read more than
// [MaxKeySize] bytes, or run a key derivation of more than 5 million iterations or
// 64 MiB.
func ReadKey(content []byte, passphrase secret.Value) (key *Key, err error) {
	defer func() {
		// The parsers below are not ours. What they cannot digest is a damaged key.
		if r := recover(); r != nil {
			key, err = nil, &KeyError{Kind: Truncated, Detail: "the parser gave up"}
		}
	}()
	if len(content) > MaxKeySize {
		return nil, &KeyError{Kind: TooLarge, Size: len(content)}
	}
	found, err := findBlocks(content)
	if err != nil {
		return nil, err
	}
	if len(found.private) == 0 {
		return nil, found.noKey()
	}
	if len(found.private) > 1 {
		return nil, &KeyError{Kind: SeveralKeys, Keys: len(found.private)}
	}
	block := found.private[0]
	if block.Headers["role"] == data.CanonicalRootRole.String() {
		return nil, &KeyError{Kind: RootKey, Detail: block.Headers["role"]}
	}
	key, err = decodeBlock(block, passphrase)
	if err != nil {
		return nil, err
	}
	key.role, key.gun = block.Headers["role"], block.Headers["gun"]
	return key, nil
}

// ID returns the canonical key ID: 64 lower-case hex digits, the name of the key's
// file in a store, and what delegations list.
func (k *Key) ID() string { return k.id }

// Type returns "RSA", "ECDSA" or "Ed25519".
func (k *Key) Type() string { return k.kind }

// Bits returns the size of the modulus or of the curve.
func (k *Key) Bits() int { return k.bits }

// Role returns the role that the file names, which for a delegation key written by
// docker is the signer's name; "" if it names none.
func (k *Key) Role() string { return k.role }

// GUN returns the repository that the file names; only repository keys have one.
func (k *Key) GUN() string { return k.gun }

// PassphraseUnused tells that a passphrase was given for a key that is not encrypted.
func (k *Key) PassphraseUnused() bool { return k.passphraseUnused }

// PublicPEM returns the public key as an administrator needs it to add the signer:
// PEM, type PUBLIC KEY.
func (k *Key) PublicPEM() ([]byte, error) {
	der := k.private.Public()
	if k.private.Algorithm() == data.ED25519Key {
		var err error
		if der, err = x509.MarshalPKIXPublicKey(ed25519.PublicKey(der)); err != nil {
			return nil, err
		}
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Format prints the type and the ID, whatever the verb.
func (k *Key) Format(f fmt.State, _ rune) {
	if k == nil {
		fmt.Fprint(f, "no key")
		return
	}
	fmt.Fprintf(f, "%s key %s", k.kind, k.id)
}

// MarshalText returns the ID, so that a key in JSON shows no more than that.
func (k *Key) MarshalText() ([]byte, error) { return []byte(k.id), nil }

// newKey wraps a parsed private key, or says why it cannot sign.
func newKey(private any) (*Key, error) {
	var converted data.PrivateKey
	var err error
	k := &Key{}
	switch p := private.(type) {
	case *rsa.PrivateKey:
		k.kind, k.bits = "RSA", p.N.BitLen()
		if err := checkRSA(k.bits); err != nil {
			return nil, err
		}
		converted, err = utils.RSAToPrivateKey(p)
	case *ecdsa.PrivateKey:
		k.kind, k.bits = "ECDSA", p.Curve.Params().BitSize
		converted, err = utils.ECDSAToPrivateKey(p)
	case ed25519.PrivateKey:
		// Notary's own serialisation: the public half, then Go's private key.
		k.kind, k.bits = "Ed25519", 256
		converted, err = utils.ED25519ToPrivateKey(append(append([]byte{}, p.Public().(ed25519.PublicKey)...), p...))
	default:
		return nil, &KeyError{Kind: UnsupportedType, Detail: fmt.Sprintf("%T", private)}
	}
	if err != nil {
		return nil, &KeyError{Kind: Truncated, Detail: "inside the key"}
	}
	k.private, k.id = converted, converted.ID()
	return k, nil
}

func checkRSA(bits int) error {
	if bits < notary.MinRSABitSize {
		return &KeyError{Kind: WeakRSA, Bits: bits}
	}
	if bits > maxRSABits {
		return &KeyError{Kind: UnsupportedType, Detail: "RSA", Bits: bits}
	}
	return nil
}

// decodeBlock opens one private key block.
func decodeBlock(block *pem.Block, passphrase secret.Value) (*Key, error) {
	if block.Headers["DEK-Info"] != "" {
		return decodeLegacy(block, passphrase)
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		return decodeEncrypted(block.Bytes, passphrase)
	}
	key, err := parseDER(block.Type, block.Bytes)
	if err != nil {
		return nil, err
	}
	key.passphraseUnused = !passphrase.Empty()
	return key, nil
}

// decodeLegacy opens a key encrypted the way OpenSSL did before PKCS#8: a
// "Proc-Type" and a "DEK-Info" header over PKCS#1 or SEC1.
func decodeLegacy(block *pem.Block, passphrase secret.Value) (*Key, error) {
	if passphrase.Empty() {
		return nil, &KeyError{Kind: NeedsPassphrase}
	}
	// Deprecated because the scheme is weak. People have such keys nevertheless.
	der, err := x509.DecryptPEMBlock(block, []byte(passphrase.Reveal())) //nolint:staticcheck // only to read them
	if errors.Is(err, x509.IncorrectPasswordError) {
		return nil, &KeyError{Kind: WrongPassphrase}
	}
	if err != nil {
		return nil, &KeyError{Kind: UnsupportedCipher, Detail: "DEK-Info: " + printable(block.Headers["DEK-Info"])}
	}
	return parseDecrypted(block.Type, der)
}

// parseDecrypted tells a wrong passphrase from a damaged file: padding that fits
// by chance (1 in 256) hardly ever uncovers an ASN.1 sequence of just that length.
func parseDecrypted(kind string, der []byte) (*Key, error) {
	var whole asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &whole); err != nil || len(rest) > 0 || whole.Tag != asn1.TagSequence {
		return nil, &KeyError{Kind: WrongPassphrase}
	}
	return parseDER(kind, der)
}

// parseDER reads a key that is not encrypted (any more).
func parseDER(kind string, der []byte) (*Key, error) {
	switch kind {
	case "RSA PRIVATE KEY":
		return parsePKCS1(der)
	case "EC PRIVATE KEY":
		return parseSEC1(der, nil)
	case "ED25519 PRIVATE KEY": // notary's own, public and private half
		if len(der) != ed25519.PublicKeySize+ed25519.PrivateKeySize {
			return nil, &KeyError{Kind: Truncated, Detail: "inside the key"}
		}
		return newKey(ed25519.PrivateKey(der[ed25519.PublicKeySize:]))
	default:
		return parsePKCS8(der)
	}
}

func parsePKCS1(der []byte) (*Key, error) {
	var head struct {
		Version int
		N       *big.Int
	}
	if _, err := asn1.Unmarshal(der, &head); err != nil {
		return nil, &KeyError{Kind: Truncated, Detail: "inside the RSA key"}
	}
	// Before the parser spends time on it.
	if err := checkRSA(head.N.BitLen()); err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS1PrivateKey(der)
	if err != nil {
		return nil, &KeyError{Kind: Truncated, Detail: "inside the RSA key"}
	}
	return newKey(private)
}

// parseSEC1 reads an EC key; curve is that of an enclosing PKCS#8, nil if there is
// none.
func parseSEC1(der []byte, curve asn1.ObjectIdentifier) (*Key, error) {
	var head struct {
		Version int
		Private []byte
		Curve   asn1.RawValue `asn1:"optional,explicit,tag:0"`
	}
	if _, err := asn1.Unmarshal(der, &head); err != nil {
		return nil, &KeyError{Kind: Truncated, Detail: "inside the EC key"}
	}
	if curve == nil && len(head.Curve.FullBytes) > 0 {
		if _, err := asn1.Unmarshal(head.Curve.Bytes, &curve); err != nil {
			return nil, &KeyError{Kind: UnsupportedCurve, Detail: "explicit parameters"}
		}
	}
	if name, ok := knownCurve(curve); !ok {
		return nil, &KeyError{Kind: UnsupportedCurve, Detail: name}
	}
	private, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return nil, &KeyError{Kind: Truncated, Detail: "inside the EC key"}
	}
	return newKey(private)
}
