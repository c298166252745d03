package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// blocks is what a key file holds.
type blocks struct {
	private     []*pem.Block
	certificate bool   // a certificate or a request for one
	subject     string // the common name of the first certificate
	public      string // the label of a public key
	foreign     string // a kind of private key we cannot read
	unknown     string // another label
}

// findBlocks takes a file apart.
func findBlocks(content []byte) (*blocks, error) {
	text, err := plainText(content)
	if err != nil {
		return nil, err
	}
	if strings.TrimSpace(text) == "" {
		return nil, &KeyError{Kind: Empty}
	}
	if !strings.Contains(text, "-----BEGIN ") {
		if decoded := unwrapBase64(text); decoded != nil {
			if text, err = plainText(decoded); err != nil {
				return nil, err
			}
			content = decoded
		}
	}
	if !strings.Contains(text, "-----BEGIN ") {
		return findDER(content, text)
	}
	return splitPEM(text)
}

// plainText makes UTF-8 with Unix line ends of a text file.
func plainText(content []byte) (string, error) {
	switch {
	case bytes.HasPrefix(content, []byte{0xEF, 0xBB, 0xBF}):
		content = content[3:]
	case bytes.HasPrefix(content, []byte{0xFF, 0xFE}):
		return fromUTF16(content[2:], binary.LittleEndian)
	case bytes.HasPrefix(content, []byte{0xFE, 0xFF}):
		return fromUTF16(content[2:], binary.BigEndian)
	case bytes.HasPrefix(content, []byte("-\x00-\x00")):
		return fromUTF16(content, binary.LittleEndian)
	case bytes.HasPrefix(content, []byte("\x00-\x00-")):
		return fromUTF16(content, binary.BigEndian)
	}
	text := strings.ReplaceAll(string(content), "\x00", "")
	// A key that went through JSON or a shell has the line ends written out.
	text = strings.NewReplacer("\r\n", "\n", "\r", "\n", `\r\n`, "\n", `\n`, "\n").Replace(text)
	return text, nil
}

func fromUTF16(content []byte, order binary.ByteOrder) (string, error) {
	if len(content)%2 != 0 {
		return "", &KeyError{Kind: Truncated, Detail: "an odd number of bytes in UTF-16"}
	}
	units := make([]uint16, len(content)/2)
	for i := range units {
		units[i] = order.Uint16(content[2*i:])
	}
	return plainText([]byte(string(utf16.Decode(units))))
}

// unwrapBase64 decodes a text that is base64 as a whole, nil if it is not.
func unwrapBase64(text string) []byte {
	packed := strings.TrimRight(strings.Join(strings.Fields(text), ""), "=")
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if decoded, err := encoding.DecodeString(packed); err == nil && len(decoded) > 16 {
			return decoded
		}
	}
	return nil
}

// splitPEM finds the blocks by their BEGIN and END, and does not mind how the text
// between them is broken into lines, or whether it is.
func splitPEM(text string) (*blocks, error) {
	found := &blocks{}
	for {
		_, rest, ok := strings.Cut(text, "-----BEGIN ")
		if !ok {
			return found, nil
		}
		label, rest, ok := strings.Cut(rest, "-----")
		if !ok || strings.ContainsAny(label, "\n\r") {
			return nil, &KeyError{Kind: Truncated, Detail: "in a BEGIN line"}
		}
		inner, after, ok := strings.Cut(rest, "-----END "+label+"-----")
		if !ok {
			return nil, &KeyError{Kind: Truncated, Detail: "no END " + printable(label)}
		}
		if err := found.add(label, inner); err != nil {
			return nil, err
		}
		text = after
	}
}

// add sorts one block into its place.
func (b *blocks) add(label, inner string) error {
	switch label {
	case "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ED25519 PRIVATE KEY":
		block, err := decodePEM(label, inner)
		if err != nil {
			return err
		}
		b.private = append(b.private, block)
	case "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE":
		b.certificate = true
		if block, err := decodePEM(label, inner); err == nil && b.subject == "" {
			b.subject = commonName(block.Bytes)
		}
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		b.certificate = true
	case "PUBLIC KEY", "RSA PUBLIC KEY", "EC PUBLIC KEY", "SSH2 PUBLIC KEY":
		b.public = label
	case "EC PARAMETERS", "DSA PARAMETERS", "DH PARAMETERS":
		// OpenSSL writes them before a key that repeats them.
	case "OPENSSH PRIVATE KEY":
		b.foreign = "OpenSSH"
	case "DSA PRIVATE KEY":
		b.foreign = "DSA"
	case "SSH2 ENCRYPTED PRIVATE KEY":
		b.foreign = "SSH2"
	case "PGP PRIVATE KEY BLOCK":
		b.foreign = "PGP"
	default:
		b.unknown = printable(label)
	}
	return nil
}

// decodePEM reads headers and base64 between BEGIN and END. Base64 has no colon, so
// a word with one is a header, also where all line ends became spaces.
func decodePEM(label, inner string) (*pem.Block, error) {
	block := &pem.Block{Type: label, Headers: map[string]string{}}
	var body strings.Builder
	words := strings.Fields(inner)
	for i := 0; i < len(words); i++ {
		name, value, isHeader := strings.Cut(words[i], ":")
		if !isHeader {
			body.WriteString(words[i])
			continue
		}
		if value == "" && i+1 < len(words) {
			i++
			value = words[i]
		}
		block.Headers[name] = value
	}
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(body.String(), "="))
	if err != nil {
		return nil, &KeyError{Kind: Truncated, Detail: "the base64 of " + label}
	}
	if len(decoded) == 0 {
		return nil, &KeyError{Kind: Truncated, Detail: "nothing in " + label}
	}
	block.Bytes = decoded
	return block, nil
}

// findDER recognises a key without PEM around it, and names what else it may be.
func findDER(content []byte, text string) (*blocks, error) {
	if bytes.HasPrefix(content, []byte{0x30}) {
		if label := labelDER(content); label != "" {
			return &blocks{private: []*pem.Block{{Type: label, Bytes: content, Headers: map[string]string{}}}}, nil
		}
		if _, err := x509.ParseCertificate(content); err == nil {
			return &blocks{certificate: true, subject: commonName(content)}, nil
		}
	}
	head := strings.ToLower(strings.TrimSpace(text))
	switch {
	case isPKCS12(content):
		return nil, &KeyError{Kind: UnsupportedType, Detail: "PKCS#12"}
	case strings.HasPrefix(head, "putty-user-key-file"):
		return nil, &KeyError{Kind: UnsupportedType, Detail: "PuTTY"}
	case strings.HasPrefix(head, "ssh-"), strings.HasPrefix(head, "ecdsa-sha2-"):
		return nil, &KeyError{Kind: PublicKey, Detail: "OpenSSH"}
	case strings.HasPrefix(head, "<"):
		return nil, &KeyError{Kind: NotAKey, Detail: "a web page or XML"}
	case strings.HasPrefix(head, "{"):
		return nil, &KeyError{Kind: NotAKey, Detail: "JSON"}
	case strings.HasPrefix(head, "$("):
		return nil, &KeyError{Kind: NotAKey, Detail: "a variable that was not replaced"}
	case strings.Contains(head, "-----end "):
		return nil, &KeyError{Kind: Truncated, Detail: "no BEGIN line"}
	case !utf8.ValidString(text):
		return nil, &KeyError{Kind: NotAKey, Detail: "binary data"}
	}
	return nil, &KeyError{Kind: NotAKey, Detail: "text without a BEGIN line"}
}

// labelDER returns the PEM label that DER bytes would have, "" if they are no key.
func labelDER(der []byte) string {
	if info, ok := parseEncryptedInfo(der); ok && strings.HasPrefix(info.Algorithm.Algorithm.String(), "1.2.840.113549.1.") {
		return "ENCRYPTED PRIVATE KEY"
	}
	var head struct {
		Version int
		Second  asn1.RawValue
		Third   asn1.RawValue `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(der, &head); err != nil {
		return ""
	}
	switch {
	case head.Second.Tag == asn1.TagInteger && head.Third.Tag == asn1.TagInteger:
		return "RSA PRIVATE KEY"
	case head.Second.Tag == asn1.TagOctetString && head.Version == 1:
		return "EC PRIVATE KEY"
	case head.Second.Tag == asn1.TagSequence && head.Third.Tag == asn1.TagOctetString && head.Version < 3:
		return "PRIVATE KEY"
	}
	return ""
}

func isPKCS12(der []byte) bool {
	var head struct {
		Version int
		Content struct{ Type asn1.ObjectIdentifier }
	}
	_, err := asn1.Unmarshal(der, &head)
	return err == nil && head.Version == 3 && strings.HasPrefix(head.Content.Type.String(), "1.2.840.113549.1.7.")
}

// noKey says what a file without a usable private key is.
func (b *blocks) noKey() error {
	switch {
	case b.foreign != "":
		return &KeyError{Kind: UnsupportedType, Detail: b.foreign}
	case b.public != "":
		return &KeyError{Kind: PublicKey, Detail: b.public}
	case b.certificate:
		return &KeyError{Kind: CertificateOnly, Detail: b.subject}
	case b.unknown != "":
		return &KeyError{Kind: NotAKey, Detail: "PEM of type " + b.unknown}
	}
	return &KeyError{Kind: NotAKey, Detail: "no private key among the PEM blocks"}
}

// commonName returns the name in a certificate, "" if it cannot be read.
func commonName(der []byte) string {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return ""
	}
	return printable(c.Subject.CommonName)
}

// printable makes a short text from a file fit for a message.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
	if len(s) > 64 {
		s = strings.ToValidUTF8(s[:64], "") + "..."
	}
	return s
}
