package trust

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"contenttrust/internal/secret"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

// testPassphrase opens every encrypted key in testdata/keys, which keys.sh makes.
const testPassphrase = "correct horse"

func keyFile(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("testdata", "keys", name))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// libraryID is the ID that notary itself computes for a plain key.
func libraryID(t testing.TB, name string) string {
	t.Helper()
	key, err := utils.ParsePEMPrivateKey(keyFile(t, name), "")
	if err != nil {
		t.Fatal(err)
	}
	return key.ID()
}

func TestReadKeyOpensWhatOpenSSLAndNotaryWrite(t *testing.T) {
	t.Parallel()
	ec, rsa := libraryID(t, "ec-sec1.pem"), libraryID(t, "rsa-pkcs1.pem")
	for _, test := range []struct {
		file, kind string
		bits       int
		id         string
	}{
		{"ec-sec1.pem", "ECDSA", 256, ec},
		{"ec-sec1-with-parameters.pem", "ECDSA", 256, ec},
		{"ec-pkcs8.pem", "ECDSA", 256, ec},
		{"ec-sec1.der", "ECDSA", 256, ec},
		{"ec-pkcs8.der", "ECDSA", 256, ec},
		{"ec-dek-aes256.pem", "ECDSA", 256, ec},
		{"ec-pbes2-default.pem", "ECDSA", 256, ec},
		{"ec-pbes2-sha1.pem", "ECDSA", 256, ec},
		{"ec-pbes2-sha224-aes128.pem", "ECDSA", 256, ec},
		{"ec-pbes2-sha256-aes128.pem", "ECDSA", 256, ec},
		{"ec-pbes2-sha384-aes128.pem", "ECDSA", 256, ec},
		{"ec-pbes2-sha512-aes128.pem", "ECDSA", 256, ec},
		{"ec-pbes2-des3.pem", "ECDSA", 256, ec},
		{"ec-scrypt.pem", "ECDSA", 256, ec},
		{"ec-p384-sec1.pem", "ECDSA", 384, libraryID(t, "ec-p384-sec1.pem")},
		{"ec-p521-sec1.pem", "ECDSA", 521, libraryID(t, "ec-p521-sec1.pem")},
		{"rsa-pkcs1.pem", "RSA", 2048, rsa},
		{"rsa-pkcs8.pem", "RSA", 2048, rsa},
		{"rsa-dek-des3.pem", "RSA", 2048, rsa},
		{"rsa-pbes2-aes192.pem", "RSA", 2048, rsa},
		{"ed25519-pkcs8.pem", "Ed25519", 256, ""},
		{"ed25519-pbes2.pem", "Ed25519", 256, ""},
	} {
		t.Run(test.file, func(t *testing.T) {
			t.Parallel()
			key, err := ReadKey(keyFile(t, test.file), secret.New(testPassphrase))
			if err != nil {
				t.Fatal(err)
			}
			if test.id == "" {
				test.id = key.private.ID()
			}
			got := fmt.Sprint(key.Type(), key.Bits(), key.ID())
			if want := fmt.Sprint(test.kind, test.bits, test.id); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestReadKeyRefusesWithTheReason(t *testing.T) {
	t.Parallel()
	ec := keyFile(t, "ec-sec1.pem")
	encrypted := keyFile(t, "ec-pbes2-default.pem")
	for name, test := range map[string]struct {
		content    []byte
		passphrase string
		want       KeyError
	}{
		"nothing":                     {nil, "", KeyError{Kind: Empty}},
		"only white space":            {[]byte(" \r\n\t\x00"), "", KeyError{Kind: Empty}},
		"too much":                    {make([]byte, MaxKeySize+1), "", KeyError{Kind: TooLarge, Size: MaxKeySize + 1}},
		"a sign-in page":              {[]byte("<!DOCTYPE html><html>"), "", KeyError{Kind: NotAKey, Detail: "a web page or XML"}},
		"an unexpanded variable":      {[]byte("$(delegationKey)"), "", KeyError{Kind: NotAKey, Detail: "a variable that was not replaced"}},
		"JSON":                        {[]byte(`{"kty":"EC"}`), "", KeyError{Kind: NotAKey, Detail: "JSON"}},
		"prose":                       {[]byte("hello there"), "", KeyError{Kind: NotAKey, Detail: "text without a BEGIN line"}},
		"binary data":                 {[]byte{0x7f, 'E', 'L', 'F', 0xff, 0xfe, 0x99}, "", KeyError{Kind: NotAKey, Detail: "binary data"}},
		"another PEM":                 {[]byte("-----BEGIN PKCS7-----\nAAAA\n-----END PKCS7-----\n"), "", KeyError{Kind: NotAKey, Detail: "PEM of type PKCS7"}},
		"only EC parameters":          {[]byte("-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n"), "", KeyError{Kind: NotAKey, Detail: "no private key among the PEM blocks"}},
		"a public key":                {keyFile(t, "ec-public.pem"), "", KeyError{Kind: PublicKey, Detail: "PUBLIC KEY"}},
		"an OpenSSH public key":       {keyFile(t, "openssh-public.txt"), "", KeyError{Kind: PublicKey, Detail: "OpenSSH"}},
		"a certificate":               {keyFile(t, "ec-certificate.pem"), "", KeyError{Kind: CertificateOnly, Detail: "alice"}},
		"half a file":                 {ec[:len(ec)/2], "", KeyError{Kind: Truncated, Detail: "no END EC PRIVATE KEY"}},
		"no first line":               {ec[20:], "", KeyError{Kind: Truncated, Detail: "no BEGIN line"}},
		"a missing character":         {bytes.Replace(ec, []byte("\n-----END"), []byte("!\n-----END"), 1), "", KeyError{Kind: Truncated, Detail: "the base64 of EC PRIVATE KEY"}},
		"no passphrase":               {encrypted, "", KeyError{Kind: NeedsPassphrase}},
		"no passphrase, old format":   {keyFile(t, "ec-dek-aes256.pem"), "", KeyError{Kind: NeedsPassphrase}},
		"wrong passphrase":            {encrypted, "wrong", KeyError{Kind: WrongPassphrase}},
		"wrong, PRF of notary":        {keyFile(t, "ec-pbes2-sha1.pem"), "wrong", KeyError{Kind: WrongPassphrase}},
		"wrong, scrypt":               {keyFile(t, "ec-scrypt.pem"), "wrong", KeyError{Kind: WrongPassphrase}},
		"wrong passphrase, old file":  {keyFile(t, "rsa-dek-des3.pem"), "wrong", KeyError{Kind: WrongPassphrase}},
		"RSA of 1024 bits":            {keyFile(t, "rsa-1024.pem"), "", KeyError{Kind: WeakRSA, Bits: 1024}},
		"secp256k1":                   {keyFile(t, "ec-secp256k1.pem"), "", KeyError{Kind: UnsupportedCurve, Detail: "secp256k1"}},
		"brainpool":                   {keyFile(t, "ec-brainpool.pem"), "", KeyError{Kind: UnsupportedCurve, Detail: "brainpoolP256r1"}},
		"explicit parameters":         {keyFile(t, "ec-explicit.pem"), "", KeyError{Kind: UnsupportedCurve, Detail: "explicit parameters"}},
		"DSA":                         {keyFile(t, "dsa.pem"), "", KeyError{Kind: UnsupportedType, Detail: "DSA"}},
		"X25519":                      {keyFile(t, "x25519-pkcs8.pem"), "", KeyError{Kind: UnsupportedType, Detail: "X25519"}},
		"OpenSSH":                     {keyFile(t, "openssh.pem"), "", KeyError{Kind: UnsupportedType, Detail: "OpenSSH"}},
		"PKCS#12":                     {keyFile(t, "ec.p12"), testPassphrase, KeyError{Kind: UnsupportedType, Detail: "PKCS#12"}},
		"PuTTY":                       {[]byte("PuTTY-User-Key-File-3: ecdsa"), "", KeyError{Kind: UnsupportedType, Detail: "PuTTY"}},
		"what OpenSSL 1.0 wrote":      {keyFile(t, "ec-pbes1-md5-des.pem"), testPassphrase, KeyError{Kind: UnsupportedCipher, Detail: "pbeWithMD5AndDES-CBC"}},
		"PBES1 with 3DES":             {keyFile(t, "ec-pbes1-sha1-3des.pem"), testPassphrase, KeyError{Kind: UnsupportedCipher, Detail: "pbeWithSHA1And3-KeyTripleDES-CBC"}},
		"a root key":                  {withHeader(t, "ec-pkcs8.pem", "role", "root"), "", KeyError{Kind: RootKey, Detail: "root"}},
		"an encrypted root key":       {withHeader(t, "ec-pbes2-sha1.pem", "role", "root"), "", KeyError{Kind: RootKey, Detail: "root"}},
		"two keys":                    {append(keyFile(t, "rsa-pkcs1.pem"), ec...), "", KeyError{Kind: SeveralKeys, Keys: 2}},
		"2^31-1 rounds":               {withIterations(t, "ec-pbes2-sha1.pem", 1<<31-1), "x", KeyError{Kind: TooManyIterations, Iterations: 1<<31 - 1}},
		"five million and one rounds": {withIterations(t, "ec-pbes2-sha1.pem", 5_000_001), "x", KeyError{Kind: TooManyIterations, Iterations: 5_000_001}},
		"no rounds":                   {withIterations(t, "ec-pbes2-sha1.pem", 0), "x", KeyError{Kind: Truncated, Detail: "in the PBKDF2 parameters"}},
		"a cut ciphertext":            {withCiphertext(t, "ec-pbes2-default.pem", -1), testPassphrase, KeyError{Kind: Truncated, Detail: "the encrypted data is not whole blocks"}},
		"a lost block":                {withCiphertext(t, "ec-pbes2-default.pem", -16), testPassphrase, KeyError{Kind: WrongPassphrase}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			key, err := ReadKey(test.content, secret.New(test.passphrase))
			var got *KeyError
			if !errors.As(err, &got) {
				t.Fatalf("got %v, %v, want a KeyError", key, err)
			}
			if diff := cmp.Diff(test.want, *got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if test.want.Kind == TooManyIterations && time.Since(start) > 100*time.Millisecond {
				t.Errorf("refusing took %v", time.Since(start))
			}
		})
	}
}

// withHeader adds a PEM header to a key file.
func withHeader(t testing.TB, file, name, value string) []byte {
	t.Helper()
	block, _ := pem.Decode(keyFile(t, file))
	block.Headers = map[string]string{name: value}
	return pem.EncodeToMemory(block)
}

// withIterations changes the iteration count of a file encrypted without a PRF
// field's default being written, by patching the DER.
func withIterations(t testing.TB, file string, n int64) []byte {
	t.Helper()
	block, _ := pem.Decode(keyFile(t, file))
	info, ok := parseEncryptedInfo(block.Bytes)
	if !ok {
		t.Fatal("not an encrypted key")
	}
	type params struct {
		Salt       []byte
		Iterations int64
	}
	type algorithm struct {
		ID     asn1.ObjectIdentifier
		Params params
	}
	var scheme struct {
		KDF    algorithm
		Cipher asn1.RawValue
	}
	if _, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &scheme); err != nil {
		t.Fatal(err)
	}
	scheme.KDF.Params.Iterations = n
	der, err := asn1.Marshal(scheme)
	if err != nil {
		t.Fatal(err)
	}
	info.Algorithm.Parameters = asn1.RawValue{FullBytes: der}
	if block.Bytes, err = asn1.Marshal(info); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

// withCiphertext cuts bytes off the encrypted data.
func withCiphertext(t testing.TB, file string, by int) []byte {
	t.Helper()
	block, _ := pem.Decode(keyFile(t, file))
	info, ok := parseEncryptedInfo(block.Bytes)
	if !ok {
		t.Fatal("not an encrypted key")
	}
	info.Data = info.Data[:len(info.Data)+by]
	var err error
	if block.Bytes, err = asn1.Marshal(info); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block)
}

func TestReadKeyBearsWhatFilesAndVariablesGoThrough(t *testing.T) {
	t.Parallel()
	pemText := string(keyFile(t, "ec-pbes2-default.pem"))
	legacy := string(keyFile(t, "ec-dek-aes256.pem"))
	stored := string(withHeader(t, "ec-pbes2-sha1.pem", "role", "alice"))
	certificate := string(keyFile(t, "ec-certificate.pem"))
	id := libraryID(t, "ec-sec1.pem")
	for name, content := range map[string]string{
		"CRLF":                          strings.ReplaceAll(pemText, "\n", "\r\n"),
		"lone CR":                       strings.ReplaceAll(pemText, "\n", "\r"),
		"spaces for line ends":          strings.ReplaceAll(pemText, "\n", " "),
		"no line ends at all":           strings.ReplaceAll(pemText, "\n", ""),
		"written-out line ends":         strings.ReplaceAll(pemText, "\n", `\n`),
		"old format on one line":        strings.Join(strings.Fields(legacy), " "),
		"stored key on one line":        strings.Join(strings.Fields(stored), " "),
		"stored key":                    stored,
		"indented":                      strings.ReplaceAll(pemText, "\n", "\n    "),
		"UTF-8 with byte-order mark":    "\ufeff" + pemText,
		"UTF-16, little end first":      utf16Text(binary.LittleEndian, "\ufeff"+pemText),
		"UTF-16, big end first":         utf16Text(binary.BigEndian, "\ufeff"+pemText),
		"UTF-16 without byte-order":     utf16Text(binary.LittleEndian, pemText),
		"base64 of the file":            base64.StdEncoding.EncodeToString([]byte(pemText)),
		"base64 of a Windows file":      base64.StdEncoding.EncodeToString([]byte(utf16Text(binary.LittleEndian, "\ufeff"+pemText))),
		"base64, URL alphabet":          base64.RawURLEncoding.EncodeToString([]byte(pemText)),
		"base64 of DER":                 base64.StdEncoding.EncodeToString(keyFile(t, "ec-pkcs8.der")),
		"leading prose":                 "Bag Attributes\n  localKeyID: 01 02\n" + pemText,
		"key, then certificate":         pemText + certificate,
		"certificate, then key":         certificate + pemText,
		"certificate and key, one line": strings.ReplaceAll(certificate+pemText, "\n", " "),
		"public key, then key":          string(keyFile(t, "ec-public.pem")) + pemText,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, err := ReadKey([]byte(content), secret.New(testPassphrase))
			if err != nil {
				t.Fatal(err)
			}
			if key.ID() != id {
				t.Errorf("ID %s, want %s", key.ID(), id)
			}
		})
	}
}

func utf16Text(order binary.AppendByteOrder, s string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(s)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

func TestReadKeyReadsTheHeadersOfDockersStore(t *testing.T) {
	t.Parallel()
	private, err := utils.ParsePEMPrivateKey(keyFile(t, "ec-sec1.pem"), "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := utils.ConvertPrivateKeyToPKCS8(private, "targets", "127.0.0.1:5000/app", testPassphrase)
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{string(stored), strings.Join(strings.Fields(string(stored)), " ")} {
		key, err := ReadKey([]byte(content), secret.New(testPassphrase))
		if err != nil {
			t.Fatal(err)
		}
		if key.Role() != "targets" || key.GUN() != "127.0.0.1:5000/app" || key.ID() != private.ID() {
			t.Errorf("role %q, GUN %q, ID %s", key.Role(), key.GUN(), key.ID())
		}
	}
}

func TestReadKeyReadsNotarysEd25519(t *testing.T) {
	t.Parallel()
	private, err := utils.GenerateKey(data.ED25519Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, passphrase := range []string{"", testPassphrase} {
		stored, err := utils.ConvertPrivateKeyToPKCS8(private, "alice", "", passphrase)
		if err != nil {
			t.Fatal(err)
		}
		key, err := ReadKey(stored, secret.New(passphrase))
		if err != nil {
			t.Fatal(err)
		}
		if key.ID() != private.ID() {
			t.Errorf("ID %s, notary says %s", key.ID(), private.ID())
		}
	}
}

func TestAPassphraseNobodyNeedsIsTold(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]bool{"ec-sec1.pem": true, "ec-pkcs8.pem": true, "ec-scrypt.pem": false, "ec-dek-aes256.pem": false} {
		key, err := ReadKey(keyFile(t, file), secret.New(testPassphrase))
		if err != nil {
			t.Fatal(err)
		}
		if key.PassphraseUnused() != want {
			t.Errorf("%s: PassphraseUnused is %t", file, !want)
		}
	}
	key, err := ReadKey(keyFile(t, "ec-sec1.pem"), secret.Value{})
	if err != nil || key.PassphraseUnused() {
		t.Errorf("without a passphrase: %v, unused %t", err, key.PassphraseUnused())
	}
}

func TestAKeyPrintsAsItsIDUnderEveryVerb(t *testing.T) {
	t.Parallel()
	key, err := ReadKey(keyFile(t, "ec-sec1.pem"), secret.Value{})
	if err != nil {
		t.Fatal(err)
	}
	holder := struct{ Key *Key }{key}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
		if got := fmt.Sprintf(verb, key); got != "ECDSA key "+key.ID() {
			t.Errorf("%s prints %s", verb, got)
		}
	}
	text, err := json.Marshal(holder)
	if err != nil || string(text) != `{"Key":"`+key.ID()+`"}` {
		t.Errorf("JSON is %s, %v", text, err)
	}
}

func TestThePublicHalfIsWhatOpenSSLWrites(t *testing.T) {
	t.Parallel()
	key, err := ReadKey(keyFile(t, "ec-sec1.pem"), secret.Value{})
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicPEM()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(keyFile(t, "ec-public.pem")), string(public)); diff != "" {
		t.Errorf("(-OpenSSL +ours):\n%s", diff)
	}
}

func TestEveryTruncationOfAKeyIsAnError(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"ec-pbes2-sha1.pem", "ec-sec1-with-parameters.pem", "ec-dek-aes256.pem"} {
		content := bytes.TrimRight(keyFile(t, file), "\n")
		for n := range content {
			if key, err := ReadKey(content[:n], secret.New("x")); err == nil {
				t.Fatalf("%s cut to %d bytes gives %v", file, n, key)
			}
		}
	}
}
