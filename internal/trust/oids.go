package trust

import (
	"cmp"
	"encoding/asn1"
)

// oidName names the algorithms that appear in key files, for messages. The ones
// we can use are chosen by name in pkcs8.go, the others are refused by it.
func oidName(oid asn1.ObjectIdentifier) string {
	s := oid.String()
	return cmp.Or(oidNames()[s], s)
}

// oidNames is the table of [oidName].
func oidNames() map[string]string {
	return map[string]string{
		"1.2.840.113549.1.1.1":   "RSA",
		"1.2.840.113549.1.1.10":  "RSA-PSS",
		"1.2.840.10040.4.1":      "DSA",
		"1.2.840.10045.2.1":      "EC",
		"1.2.840.113549.1.3.1":   "Diffie-Hellman",
		"1.3.101.110":            "X25519",
		"1.3.101.111":            "X448",
		"1.3.101.112":            "Ed25519",
		"1.3.101.113":            "Ed448",
		"1.3.6.1.4.1.11591.15.1": "Ed25519 of notary",

		"1.2.840.113549.1.5.12":   "PBKDF2",
		"1.2.840.113549.1.5.13":   "PBES2",
		"1.3.6.1.4.1.11591.4.11":  "scrypt",
		"1.2.840.113549.1.5.1":    "pbeWithMD2AndDES-CBC",
		"1.2.840.113549.1.5.3":    "pbeWithMD5AndDES-CBC",
		"1.2.840.113549.1.5.10":   "pbeWithSHA1AndDES-CBC",
		"1.2.840.113549.1.5.11":   "pbeWithSHA1AndRC2-CBC",
		"1.2.840.113549.1.12.1.1": "pbeWithSHA1And128BitRC4",
		"1.2.840.113549.1.12.1.3": "pbeWithSHA1And3-KeyTripleDES-CBC",
		"1.2.840.113549.1.12.1.4": "pbeWithSHA1And2-KeyTripleDES-CBC",
		"1.2.840.113549.1.12.1.6": "pbeWithSHA1And40BitRC2-CBC",

		"1.2.840.113549.2.7":  "hmacWithSHA1",
		"1.2.840.113549.2.8":  "hmacWithSHA224",
		"1.2.840.113549.2.9":  "hmacWithSHA256",
		"1.2.840.113549.2.10": "hmacWithSHA384",
		"1.2.840.113549.2.11": "hmacWithSHA512",

		"2.16.840.1.101.3.4.1.2":  "AES-128-CBC",
		"2.16.840.1.101.3.4.1.22": "AES-192-CBC",
		"2.16.840.1.101.3.4.1.42": "AES-256-CBC",
		"2.16.840.1.101.3.4.1.6":  "AES-128-GCM",
		"2.16.840.1.101.3.4.1.46": "AES-256-GCM",
		"1.2.840.113549.3.7":      "DES-EDE3-CBC",
		"1.3.14.3.2.7":            "DES-CBC",
		"1.2.840.113549.3.2":      "RC2-CBC",
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
