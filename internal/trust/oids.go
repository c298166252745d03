package trust

import "encoding/asn1"

// oidNames names the algorithms that appear in key files, for messages. The ones
// we can use are chosen by name in pkcs8.go, the others are refused by it.
func oidName(oid asn1.ObjectIdentifier) string {
	switch s := oid.String(); s {
	case "1.2.840.113549.1.1.1":
		return "RSA"
	case "1.2.840.113549.1.1.10":
		return "RSA-PSS"
	case "1.2.840.10040.4.1":
		return "DSA"
	case "1.2.840.10045.2.1":
		return "EC"
	case "1.2.840.113549.1.3.1":
		return "Diffie-Hellman"
	case "1.3.101.110":
		return "X25519"
	case "1.3.101.111":
		return "X448"
	case "1.3.101.112":
		return "Ed25519"
	case "1.3.101.113":
		return "Ed448"
	case "1.3.6.1.4.1.11591.15.1":
		return "Ed25519 of notary"

	case "1.2.840.113549.1.5.12":
		return "PBKDF2"
	case "1.2.840.113549.1.5.13":
		return "PBES2"
	case "1.3.6.1.4.1.11591.4.11":
		return "scrypt"
	case "1.2.840.113549.1.5.1":
		return "pbeWithMD2AndDES-CBC"
	case "1.2.840.113549.1.5.3":
		return "pbeWithMD5AndDES-CBC"
	case "1.2.840.113549.1.5.10":
		return "pbeWithSHA1AndDES-CBC"
	case "1.2.840.113549.1.5.11":
		return "pbeWithSHA1AndRC2-CBC"
	case "1.2.840.113549.1.12.1.1":
		return "pbeWithSHA1And128BitRC4"
	case "1.2.840.113549.1.12.1.3":
		return "pbeWithSHA1And3-KeyTripleDES-CBC"
	case "1.2.840.113549.1.12.1.4":
		return "pbeWithSHA1And2-KeyTripleDES-CBC"
	case "1.2.840.113549.1.12.1.6":
		return "pbeWithSHA1And40BitRC2-CBC"

	case "1.2.840.113549.2.7":
		return "hmacWithSHA1"
	case "1.2.840.113549.2.8":
		return "hmacWithSHA224"
	case "1.2.840.113549.2.9":
		return "hmacWithSHA256"
	case "1.2.840.113549.2.10":
		return "hmacWithSHA384"
	case "1.2.840.113549.2.11":
		return "hmacWithSHA512"

	case "2.16.840.1.101.3.4.1.2":
		return "AES-128-CBC"
	case "2.16.840.1.101.3.4.1.22":
		return "AES-192-CBC"
	case "2.16.840.1.101.3.4.1.42":
		return "AES-256-CBC"
	case "2.16.840.1.101.3.4.1.6":
		return "AES-128-GCM"
	case "2.16.840.1.101.3.4.1.46":
		return "AES-256-GCM"
	case "1.2.840.113549.3.7":
		return "DES-EDE3-CBC"
	case "1.3.14.3.2.7":
		return "DES-CBC"
	case "1.2.840.113549.3.2":
		return "RC2-CBC"
	default:
		return s
	}
}

// knownCurve names a curve and says whether Go, and so Notary, can use it.
func knownCurve(oid asn1.ObjectIdentifier) (name string, ok bool) {
	switch s := oid.String(); s {
	case "":
		return "not named", false
	case "1.3.132.0.33":
		return "P-224", true
	case "1.2.840.10045.3.1.7":
		return "P-256", true
	case "1.3.132.0.34":
		return "P-384", true
	case "1.3.132.0.35":
		return "P-521", true
	case "1.3.132.0.10":
		return "secp256k1", false
	case "1.3.36.3.3.2.8.1.1.7":
		return "brainpoolP256r1", false
	case "1.3.36.3.3.2.8.1.1.11":
		return "brainpoolP384r1", false
	case "1.2.840.10045.3.1.1":
		return "P-192", false
	default:
		return s, false
	}
}
