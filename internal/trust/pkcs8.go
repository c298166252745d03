package trust

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // keys that people have are encrypted with it; only read
	"crypto/ed25519"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // the default of PBKDF2 (RFC 8018) in keys that people have; only read
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"hash"

	"contenttrust/internal/secret"

	"golang.org/x/crypto/scrypt"
)

const (
	// maxIterations is what a key file may cost: about two seconds. OpenSSL writes
	// 2048, careful people 600 000; a hostile file could ask for half an hour.
	maxIterations = 5_000_000
	// maxScryptMemory bounds 128*N*r. OpenSSL's default needs 16 MiB.
	maxScryptMemory = 64 << 20
	maxScryptP      = 16
)

// parsePKCS8 reads a PrivateKeyInfo (RFC 5208).
func parsePKCS8(der []byte) (*Key, error) {
	var info struct {
		Version int
		// Notary leaves out the parameters, so this is no pkix.AlgorithmIdentifier.
		Algorithm asn1.RawValue
		Key       []byte
	}
	var algorithm pkix.AlgorithmIdentifier
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, notPKCS8(der)
	}
	if _, err := asn1.Unmarshal(info.Algorithm.FullBytes, &algorithm); err != nil {
		return nil, &KeyError{Kind: Truncated, Detail: "inside the PKCS#8 key"}
	}
	switch name := oidName(algorithm.Algorithm); name {
	case "RSA":
		return parsePKCS1(info.Key)
	case "EC":
		var curve asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(algorithm.Parameters.FullBytes, &curve); err != nil {
			return nil, &KeyError{Kind: UnsupportedCurve, Detail: "explicit parameters"}
		}
		if name, ok := knownCurve(curve); !ok {
			return nil, &KeyError{Kind: UnsupportedCurve, Detail: name}
		}
	case "Ed25519":
	case "Ed25519 of notary":
		if len(info.Key) != ed25519.PublicKeySize+ed25519.PrivateKeySize {
			return nil, &KeyError{Kind: Truncated, Detail: "inside the Ed25519 key"}
		}
		return newKey(ed25519.PrivateKey(info.Key[ed25519.PublicKeySize:]))
	default:
		return nil, &KeyError{Kind: UnsupportedType, Detail: name}
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, &KeyError{Kind: Truncated, Detail: "inside the PKCS#8 key"}
	}
	return newKey(private)
}

// notPKCS8 says what a block labelled PRIVATE KEY may hold instead.
func notPKCS8(der []byte) error {
	if _, ok := parseEncryptedInfo(der); ok {
		return &KeyError{Kind: Truncated, Detail: "an encrypted key labelled as a plain one"}
	}
	return &KeyError{Kind: Truncated, Detail: "inside the PKCS#8 key"}
}

// encryptedInfo is EncryptedPrivateKeyInfo (RFC 5208, section 6).
type encryptedInfo struct {
	Algorithm pkix.AlgorithmIdentifier
	Data      []byte
}

func parseEncryptedInfo(der []byte) (encryptedInfo, bool) {
	var info encryptedInfo
	rest, err := asn1.Unmarshal(der, &info)
	return info, err == nil && len(rest) == 0
}

// decodeEncrypted opens an EncryptedPrivateKeyInfo. Everything that can be checked
// is checked before the key derivation, which is the expensive part.
func decodeEncrypted(der []byte, passphrase secret.Value) (*Key, error) {
	info, ok := parseEncryptedInfo(der)
	if !ok {
		return nil, &KeyError{Kind: Truncated, Detail: "inside the encrypted PKCS#8 key"}
	}
	if name := oidName(info.Algorithm.Algorithm); name != "PBES2" {
		return nil, &KeyError{Kind: UnsupportedCipher, Detail: name}
	}
	var scheme struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	if _, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		return nil, &KeyError{Kind: Truncated, Detail: "in the PBES2 parameters"}
	}
	c, err := findCipher(scheme.Cipher)
	if err != nil {
		return nil, err
	}
	if n := c.blockSize; len(c.iv) != n || len(info.Data) == 0 || len(info.Data)%n != 0 {
		return nil, &KeyError{Kind: Truncated, Detail: "the encrypted data is not whole blocks"}
	}
	derive, err := findKDF(scheme.KDF, c.keySize)
	if err != nil {
		return nil, err
	}
	if passphrase.Empty() {
		return nil, &KeyError{Kind: NeedsPassphrase}
	}
	symmetric, err := derive(passphrase.Reveal())
	if err != nil {
		return nil, &KeyError{Kind: UnsupportedCipher, Detail: oidName(scheme.KDF.Algorithm)}
	}
	block, err := c.new(symmetric)
	if err != nil {
		return nil, &KeyError{Kind: UnsupportedCipher, Detail: oidName(scheme.Cipher.Algorithm)}
	}
	plain := make([]byte, len(info.Data))
	cipher.NewCBCDecrypter(block, c.iv).CryptBlocks(plain, info.Data)
	plain, ok = unpad(plain, c.blockSize)
	if !ok {
		return nil, &KeyError{Kind: WrongPassphrase}
	}
	return parseDecrypted("PRIVATE KEY", plain)
}

// unpad removes the padding of RFC 8018, section 6.1.1.
func unpad(plain []byte, blockSize int) ([]byte, bool) {
	n := int(plain[len(plain)-1])
	if n < 1 || n > blockSize {
		return nil, false
	}
	body := plain[:len(plain)-n]
	return body, bytes.Equal(plain[len(body):], bytes.Repeat([]byte{byte(n)}, n))
}

// blockCipher is an encryption scheme of PBES2.
type blockCipher struct {
	new                func(key []byte) (cipher.Block, error)
	keySize, blockSize int
	iv                 []byte
}

func findCipher(id pkix.AlgorithmIdentifier) (blockCipher, error) {
	name := oidName(id.Algorithm)
	c := blockCipher{new: aes.NewCipher, blockSize: aes.BlockSize}
	switch name {
	case "AES-128-CBC":
		c.keySize = 16
	case "AES-192-CBC":
		c.keySize = 24
	case "AES-256-CBC":
		c.keySize = 32
	case "DES-EDE3-CBC":
		c = blockCipher{new: des.NewTripleDESCipher, blockSize: des.BlockSize, keySize: 24}
	default:
		return c, &KeyError{Kind: UnsupportedCipher, Detail: name}
	}
	if _, err := asn1.Unmarshal(id.Parameters.FullBytes, &c.iv); err != nil {
		return c, &KeyError{Kind: Truncated, Detail: "in the cipher's parameters"}
	}
	return c, nil
}

// findKDF returns the key derivation that a file asks for, after having judged its
// price.
func findKDF(id pkix.AlgorithmIdentifier, keySize int) (func(passphrase string) ([]byte, error), error) {
	switch name := oidName(id.Algorithm); name {
	case "PBKDF2":
		return findPBKDF2(id.Parameters.FullBytes, keySize)
	case "scrypt":
		return findScrypt(id.Parameters.FullBytes, keySize)
	default:
		return nil, &KeyError{Kind: UnsupportedCipher, Detail: name}
	}
}

// findPBKDF2 reads PBKDF2-params (RFC 8018, appendix A.2). The pseudo-random
// function defaults to HMAC-SHA1, which is all that notary writes and reads.
func findPBKDF2(der []byte, keySize int) (func(string) ([]byte, error), error) {
	var p struct {
		Salt       []byte
		Iterations int64
		KeyLength  int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(der, &p); err != nil {
		return nil, &KeyError{Kind: Truncated, Detail: "in the PBKDF2 parameters"}
	}
	if p.Iterations > maxIterations {
		return nil, &KeyError{Kind: TooManyIterations, Iterations: p.Iterations}
	}
	if p.Iterations < 1 || p.KeyLength != 0 && p.KeyLength != keySize {
		return nil, &KeyError{Kind: Truncated, Detail: "in the PBKDF2 parameters"}
	}
	var h func() hash.Hash
	switch name := oidName(p.PRF.Algorithm); name {
	case "", "hmacWithSHA1":
		h = sha1.New
	case "hmacWithSHA224":
		h = sha256.New224
	case "hmacWithSHA256":
		h = sha256.New
	case "hmacWithSHA384":
		h = sha512.New384
	case "hmacWithSHA512":
		h = sha512.New
	default:
		return nil, &KeyError{Kind: UnsupportedCipher, Detail: name}
	}
	return func(passphrase string) ([]byte, error) {
		return pbkdf2.Key(h, passphrase, p.Salt, int(p.Iterations), keySize)
	}, nil
}

// findScrypt reads scrypt-params (RFC 7914, section 7.1).
func findScrypt(der []byte, keySize int) (func(string) ([]byte, error), error) {
	var p struct {
		Salt      []byte
		N, R, P   int64
		KeyLength int `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(der, &p); err != nil || p.N < 2 || p.R < 1 || p.P < 1 {
		return nil, &KeyError{Kind: Truncated, Detail: "in the scrypt parameters"}
	}
	if p.N > maxScryptMemory/128 || p.R > maxScryptMemory/128 || 128*p.N*p.R > maxScryptMemory || p.P > maxScryptP {
		return nil, &KeyError{Kind: TooManyIterations, Iterations: p.N, Detail: "scrypt"}
	}
	return func(passphrase string) ([]byte, error) {
		return scrypt.Key([]byte(passphrase), p.Salt, int(p.N), int(p.R), int(p.P), keySize)
	}, nil
}
