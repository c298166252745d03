package task

import (
	"fmt"
	"strings"

	"contenttrust/internal/trust"
)

// keyRules explain what is wrong with the delegation key, before anybody asks a server.
func keyRules() []rule {
	return []rule{on(explainKey), on(func(e *trust.StoreError) Explanation {
		if e.Problem == trust.StoreFailed && e.Err != nil {
			return explainDisk("could not write", e.Path, e.Err)
		}
		if e.Problem == trust.InvalidName {
			return Explanation{codeStore, fmt.Sprintf("%q cannot be a signer's name.", e.Path), "Correct the input signer, or the role that stands in the key's file: lower-case letters, digits, _ and -.", nil}
		}
		return Explanation{codeStore, fmt.Sprintf("The trust store %s cannot be used: %s.", e.Path, e.Problem), "Remove what is there: the task makes its own.", nil}
	})}
}

func explainKey(e *trust.KeyError) Explanation {
	about := "The delegation key "
	upload := "Upload the signer's private key as a secure file of its own: the PEM file that `docker trust key generate` or `openssl genpkey` wrote."
	switch e.Kind {
	case trust.NeedsPassphrase:
		return Explanation{codeKeyPassphrase, about + "is encrypted, and there is no passphrase.", "Set delegationKeyPassphrase: $(name), where name is a secret variable with the passphrase.", nil}
	case trust.WrongPassphrase:
		return Explanation{codeKeyPassphrase, "The passphrase does not open the delegation key.", "Correct the secret variable of delegationKeyPassphrase; `openssl pkey -in FILE` tries it out.", nil}
	case trust.PublicKey:
		return Explanation{codeKeyMistaken, "The file of delegationKey holds a public key.", upload, nil}
	case trust.CertificateOnly:
		return Explanation{codeKeyMistaken, "The file of delegationKey holds only a certificate" + inBrackets(e.Detail) + ".", upload, nil}
	case trust.RootKey:
		return Explanation{codeKeyMistaken, "The file of delegationKey holds a " + e.Detail + " key, which belongs into a safe and not into a pipeline.",
			"Make a key for the signer (`docker trust key generate ci`), have it added (`docker trust signer add`), and upload that.", nil}
	case trust.SeveralKeys:
		return Explanation{codeKeyMistaken, fmt.Sprintf("The file of delegationKey holds %d private keys.", e.Keys), "Upload the signer's own key alone.", nil}
	case trust.WeakRSA:
		return Explanation{codeKeyWeak, fmt.Sprintf("The delegation key is an RSA key of %d bits; Notary takes none under 2048.", e.Bits), newKey, nil}
	case trust.UnsupportedCurve, trust.UnsupportedType:
		return Explanation{codeKeyWeak, fmt.Sprintf("The delegation key is of a kind that Notary does not know: %s.", e.Detail), newKey, nil}
	case trust.UnsupportedCipher, trust.TooManyIterations:
		return Explanation{codeKeyCipher, fmt.Sprintf("The delegation key is encrypted in a way that is not read: %s.", strings.TrimPrefix(e.Error(), "key: ")),
			"Encrypt it again with `openssl pkcs8 -topk8 -v2 aes-256-cbc -in FILE -out NEW`, and upload that.", nil}
	case trust.NotAKey, trust.Empty, trust.TooLarge, trust.Truncated:
	}
	return Explanation{codeKeyFormat, fmt.Sprintf("The file of delegationKey holds no private key that can be read: %s.", strings.TrimPrefix(e.Error(), "key: ")), upload, nil}
}

const newKey = "Make an ECDSA P-256 key (`docker trust key generate ci`), have it added as signer, and upload that."

func inBrackets(detail string) string {
	if detail == "" {
		return ""
	}
	return " (" + detail + ")"
}
