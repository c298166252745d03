package trust

import (
	"bytes"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"testing"

	"contenttrust/internal/secret"

	"github.com/google/go-cmp/cmp"
)

func TestTheRarerFormsAreRecognisedToo(t *testing.T) {
	t.Parallel()
	certificate, _ := pem.Decode(keyFile(t, "ec-certificate.pem"))
	relabelled := bytes.ReplaceAll(keyFile(t, "ec-pbes2-default.pem"), []byte("ENCRYPTED PRIVATE"), []byte("PRIVATE"))
	label := func(label string) []byte {
		return []byte("-----BEGIN " + label + "-----\nAAAA\n-----END " + label + "-----\n")
	}
	for name, test := range map[string]struct {
		content []byte
		want    KeyError
	}{
		"a certificate in DER":             {certificate.Bytes, KeyError{Kind: CertificateOnly, Detail: "alice"}},
		"a certificate request":            {label("CERTIFICATE REQUEST"), KeyError{Kind: CertificateOnly}},
		"an encrypted key labelled plain":  {relabelled, KeyError{Kind: Truncated, Detail: "an encrypted key labelled as a plain one"}},
		"a plain key labelled encrypted":   {bytes.ReplaceAll(keyFile(t, "ec-pkcs8.pem"), []byte("PRIVATE"), []byte("ENCRYPTED PRIVATE")), KeyError{Kind: Truncated, Detail: "inside the encrypted PKCS#8 key"}},
		"an old DSA key":                   {label("DSA PRIVATE KEY"), KeyError{Kind: UnsupportedType, Detail: "DSA"}},
		"a PGP key":                        {label("PGP PRIVATE KEY BLOCK"), KeyError{Kind: UnsupportedType, Detail: "PGP"}},
		"an SSH2 key":                      {label("SSH2 ENCRYPTED PRIVATE KEY"), KeyError{Kind: UnsupportedType, Detail: "SSH2"}},
		"RSA that is none":                 {label("RSA PRIVATE KEY"), KeyError{Kind: Truncated, Detail: "inside the RSA key"}},
		"EC that is none":                  {label("EC PRIVATE KEY"), KeyError{Kind: Truncated, Detail: "inside the EC key"}},
		"Ed25519 that is none":             {label("ED25519 PRIVATE KEY"), KeyError{Kind: Truncated, Detail: "inside the key"}},
		"nothing between BEGIN and END":    {[]byte("-----BEGIN PRIVATE KEY----------END PRIVATE KEY-----"), KeyError{Kind: Truncated, Detail: "nothing in PRIVATE KEY"}},
		"a BEGIN line without its end":     {[]byte("-----BEGIN PRIVATE KEY\nAAAA"), KeyError{Kind: Truncated, Detail: "in a BEGIN line"}},
		"half a character of UTF-16":       {[]byte("\xff\xfe-\x00-"), KeyError{Kind: Truncated, Detail: "an odd number of bytes in UTF-16"}},
		"a label full of escape codes":     {label("\x1b[31mKEY"), KeyError{Kind: NotAKey, Detail: "PEM of type ?[31mKEY"}},
		"scrypt for a gigabyte":            {scryptKey(t, 1<<20, 8, 1), KeyError{Kind: TooManyIterations, Iterations: 1 << 20, Detail: "scrypt"}},
		"scrypt of many strands":           {scryptKey(t, 1<<14, 8, 1000), KeyError{Kind: TooManyIterations, Iterations: 1 << 14, Detail: "scrypt"}},
		"scrypt of an overflowing product": {scryptKey(t, 1<<40, 1<<40, 1), KeyError{Kind: TooManyIterations, Iterations: 1 << 40, Detail: "scrypt"}},
		"scrypt of an odd cost":            {scryptKey(t, 1000, 8, 1), KeyError{Kind: UnsupportedCipher, Detail: "scrypt"}},
	} {
		_, err := ReadKey(test.content, secret.New("x"))
		var got *KeyError
		if !errors.As(err, &got) {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(test.want, *got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// scryptKey makes an encrypted key that asks for that much work.
func scryptKey(t testing.TB, n, r, p int64) []byte {
	t.Helper()
	type params struct {
		Salt    []byte
		N, R, P int64
	}
	type kdf struct {
		ID     asn1.ObjectIdentifier
		Params params
	}
	type encryption struct {
		ID asn1.ObjectIdentifier
		IV []byte
	}
	type scheme struct {
		KDF        kdf
		Encryption encryption
	}
	type algorithm struct {
		ID     asn1.ObjectIdentifier
		Scheme scheme
	}
	der, err := asn1.Marshal(struct {
		Algorithm algorithm
		Data      []byte
	}{
		algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13}, scheme{
			kdf{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11591, 4, 11}, params{[]byte("salt"), n, r, p}},
			encryption{asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}, make([]byte, 16)},
		}},
		make([]byte, 32),
	})
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: der})
}
