package task

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/adotest"
	"contenttrust/internal/testkit/notarytest"
	"contenttrust/internal/testkit/playground"
	"contenttrust/internal/trust"
)

// inBothPhases makes the fault happen in the pre phase, and again where only the main phase runs.
func (f fault) inBothPhases(t *testing.T) {
	t.Helper()
	for name, p := range map[string]phase{"pre": Pre, "main": Main} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.happens(t, p)
		})
	}
}

func TestSecureFilesThatDoNotCome(t *testing.T) {
	t.Parallel()
	answers := func(faults ...adotest.Fault) func(*world) { return func(w *world) { w.Azure.Fail(faults...) } }
	status := func(code int) func(*world) { return answers(adotest.Fault{Kind: adotest.FaultStatus, Status: code}) }
	for name, f := range map[string]fault{
		"no ticket": {change: func(w *world) { delete(w.env, "SECUREFILE_TICKET_"+playground.FileID) }, codes: []string{codeSecureNoRight},
			says: []string{"may not read the secure file of delegationKey", "no download ticket", "Pipeline permissions"}},
		"401":     {breaks: status(http.StatusUnauthorized), codes: []string{codeSecureNoRight}, says: []string{"unauthorized, status 401", "Pipeline permissions"}},
		"403":     {breaks: status(http.StatusForbidden), codes: []string{codeSecureNoRight}, says: []string{"forbidden, status 403", "Pipeline permissions"}},
		"404":     {breaks: status(http.StatusNotFound), codes: []string{codeSecureGone}, says: []string{"no such secure file, status 404", "Upload it again"}},
		"TF15004": {change: func(w *world) { w.File.Expired = true; w.Azure.Put(w.File) }, codes: []string{codeSecureExpired}, says: []string{"TF15004", "Run the whole job again"}},
		"a page":  {breaks: answers(adotest.Fault{Kind: adotest.FaultHTML}), codes: []string{codeSecureNoKey}, says: []string{"Something else than the file", "text/html", "sign-in page"}},
		"a hidden page": {breaks: answers(adotest.Fault{Kind: adotest.FaultHiddenHTML}), codes: []string{codeSecureNoKey},
			says: []string{"text/html", "sign-in page"}},
		"nothing":     {breaks: answers(adotest.Fault{Kind: adotest.FaultEmpty}), codes: []string{codeSecureNoKey}, says: []string{"The secure file is empty", "again"}},
		"a gibibyte":  {breaks: answers(adotest.Fault{Kind: adotest.FaultHuge}), codes: []string{codeSecureNoKey}, says: []string{"larger than 64 KiB", "key alone"}},
		"without end": {breaks: answers(adotest.Fault{Kind: adotest.FaultEndless}), codes: []string{codeSecureNoKey}, says: []string{"larger than 64 KiB"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.inBothPhases(t)
		})
	}
}

func TestASecureFileIsAskedForAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.Azure.Fail(adotest.Fault{Kind: adotest.FaultStatus, Status: http.StatusServiceUnavailable})
	said := w.run(Pre)
	said.succeeded(t)
	said.says(t, "Azure DevOps: try 1 failed", "status 503", "trying again in")
}

// file makes a change of what is in the secure file.
func file(content func(w *world) []byte) func(*world) {
	return func(w *world) {
		w.File.Content = content(w)
		w.Azure.Put(w.File)
	}
}

func TestKeysThatAreNoneAreToldInThePrePhase(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fault{
		"a public key":  {change: file(func(w *world) []byte { return w.PublicPEM }), codes: []string{codeKeyMistaken}, says: []string{"holds a public key", "Upload the signer's private key"}},
		"a certificate": {change: file(func(w *world) []byte { return certificate(w.t) }), codes: []string{codeKeyMistaken}, says: []string{"holds only a certificate", "ci signer"}},
		"garbage":       {change: file(func(*world) []byte { return []byte("correct horse\x00\xff") }), codes: []string{codeKeyFormat}, says: []string{"no private key that can be read", "PEM file"}},
		"half a key":    {change: file(func(w *world) []byte { return w.PrivatePEM[:len(w.PrivatePEM)/2] }), codes: []string{codeKeyFormat}, says: []string{"truncated or damaged", "Upload"}},
		"two keys":      {change: file(func(w *world) []byte { return slices.Concat(w.PrivatePEM, otherKey(w.t)) }), codes: []string{codeKeyMistaken}, says: []string{"2 private keys", "alone"}},
		"a short key":   {change: file(func(w *world) []byte { return shortKey(w.t) }), codes: []string{codeKeyWeak}, says: []string{"1024 bits", "P-256"}},
		"a wrong passphrase": {change: func(w *world) {
			encrypted(w)
			w.input("delegationKeyPassphrase", "not the passphrase")
		}, codes: []string{codeKeyPassphrase}, says: []string{"The passphrase does not open the delegation key", "delegationKeyPassphrase"}},
		"a passphrase of docker's variable": {change: func(w *world) {
			encrypted(w)
			w.env["DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE"] = "not the passphrase"
		}, codes: []string{codeKeyPassphrase}, says: []string{"The passphrase does not open the delegation key"}},
		"no passphrase": {change: encrypted, codes: []string{codeKeyPassphrase}, says: []string{"is encrypted, and there is no passphrase", "secret variable"}},
		"broken text": {change: func(w *world) {
			w.input("delegationKey", "")
			w.input("delegationKeyText", "LS0tLS1CRUdJTi")
		}, codes: []string{codeKeyFormat}, says: []string{"no private key that can be read"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.inBothPhases(t)
		})
	}
}

func TestAnEncryptedKeyOpens(t *testing.T) {
	t.Parallel()
	for name, give := range map[string]func(*world){
		"by the input":         input("delegationKeyPassphrase", passphrase),
		"by docker's variable": func(w *world) { w.env["DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE"] = passphrase },
		"the input counts first": func(w *world) {
			input("delegationKeyPassphrase", passphrase)(w)
			w.env["DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE"] = "old"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, playground.Options{})
			encrypted(w)
			give(w)
			w.run(Pre).succeeded(t)
			w.run(Main).succeeded(t)
		})
	}
}

// Notary's names of signers are more than docker's.
func TestASignerWhoseNameDockerWouldNotTake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{Unadmitted: true})
	admit(w, "targets/_ci")
	admit(w, "targets/releases")
	w.input("signer", "_ci")
	w.run(Main).succeeded(t)
	if len(w.signed("targets/_ci")) != 3 {
		t.Error("the tags are not signed")
	}
}

func TestThePrePhaseWaitsForAPassphraseThatALaterStepSets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	encrypted(w)
	w.input("delegationKeyPassphrase", "$(signerPassphrase)")
	said := w.run(Pre)
	said.succeeded(t)
	said.says(t, "its passphrase is not set yet")
	w.input("delegationKeyPassphrase", passphrase)
	w.run(Main).succeeded(t)
}

func TestThePrePhaseWaitsForAKeyThatALaterStepSets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.input("delegationKey", "")
	w.input("delegationKeyText", "$(signerKey)")
	w.run(Pre).succeeded(t)
	if left := w.left(); len(left) != 0 {
		t.Errorf("left in temp: %v", left)
	}
	w.input("delegationKeyText", string(w.PrivatePEM))
	w.run(Main).succeeded(t)
}

func TestAKeyThatIsNotAdmitted(t *testing.T) {
	t.Parallel()
	t.Run("beside signers", func(t *testing.T) {
		t.Parallel()
		var admitted string
		f := fault{
			change: func(w *world) {
				key, err := trust.ReadKey(w.PrivatePEM, secret.Value{})
				if err != nil {
					w.t.Fatal(err)
				}
				admitted = key.ID()
				file(func(w *world) []byte { return otherKey(w.t) })(w)
			},
			codes: []string{codeNotAdmitted}, says: []string{"No delegation of the repository admits the key", "docker trust signer add"},
		}
		_, said := f.happens(t, Main)
		said.says(t, "    targets/ci admits "+admitted, "    targets/releases admits "+admitted)
	})
	t.Run("without any", func(t *testing.T) {
		t.Parallel()
		fault{world: playground.Options{Unadmitted: true}, codes: []string{codeNotAdmitted}, says: []string{"has no signers yet", "docker trust signer add --key"}}.happens(t, Main)
	})
	t.Run("by releases", func(t *testing.T) {
		t.Parallel()
		fault{world: playground.Options{Unadmitted: true}, change: func(w *world) { admit(w, "targets/ci") },
			codes: []string{codeNotReleased}, says: []string{"may sign as ci, but not for targets/releases"}}.happens(t, Main)
	})
	t.Run("for this tag", func(t *testing.T) {
		t.Parallel()
		fault{world: playground.Options{Unadmitted: true}, change: func(w *world) { admit(w, "targets/ci", "rc-"); admit(w, "targets/releases", "rc-") },
			codes: []string{codePathRestricted}, says: []string{"does not admit the tag 1.4.2", "rc-"}}.happens(t, Main)
	})
	t.Run("as this signer", func(t *testing.T) {
		t.Parallel()
		fault{change: input("signer", "bob"), codes: []string{codeOtherSigner}, says: []string{"no signer bob; it has ci"}}.happens(t, Main)
	})
}

// Without its key a run still says what is wrong with the repository, and the other way round.
func TestAllThatTheChecksFindIsToldAtOnce(t *testing.T) {
	t.Parallel()
	fault{
		world: playground.Options{Uninitialised: true},
		change: func(w *world) {
			file(func(*world) []byte { return []byte("garbage") })(w)
			w.input("Dockerfile", w.sources+"/nowhere/Dockerfile")
			w.env["DOCKER_HOST"] = "tcp://127.0.0.1:1"
		},
		codes: []string{codeNoDockerfile, codeEngineAbsent, codeKeyFormat, codeNotInitialised},
		says:  []string{"docker trust signer add --key ci.pub ci "},
	}.happens(t, Main)
}

const passphrase = "correct horse battery staple"

// encrypted puts the signer's key into the secure file as docker writes it, under a passphrase.
func encrypted(w *world) {
	w.t.Helper()
	key, err := trust.ReadKey(w.PrivatePEM, secret.Value{})
	if err != nil {
		w.t.Fatal(err)
	}
	store, err := trust.OpenStore(filepath.Join(w.t.TempDir(), "trust"))
	if err == nil {
		err = store.Add(key, "ci", secret.New(passphrase))
	}
	if err != nil {
		w.t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(store.Dir(), key.ID()+".key"))
	if err != nil || !strings.Contains(string(content), "ENCRYPTED") {
		w.t.Fatal(err, string(content))
	}
	file(func(*world) []byte { return content })(w)
}

func admit(w *world, role string, paths ...string) {
	w.t.Helper()
	if err := w.Owner.AddDelegation(w.GUN, role, w.PublicPEM, paths...); err != nil {
		w.t.Fatal(err)
	}
}

func otherKey(t *testing.T) []byte {
	t.Helper()
	private, _, err := notarytest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	return private
}

func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ci signer"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func shortKey(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}
