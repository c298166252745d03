package notarytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"

	"github.com/sirupsen/logrus"
	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/client/changelist"
	"github.com/theupdateframework/notary/cryptoservice"
	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/trustmanager"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

// Owner administers collections with Notary's own library: it holds the root and
// repository keys. It speaks to any server, the fake or a real one.
type Owner struct {
	server    string
	transport http.RoundTripper
	keys      *cryptoservice.CryptoService
}

// Target is a tag as Notary signs it.
type Target struct {
	Tag    string
	Digest string // "sha256:" and 64 hex digits
	Size   int64
}

// NewOwner returns an owner without keys for the server at that address
// ("https://host"). A nil transport is [http.DefaultTransport].
func NewOwner(server string, transport http.RoundTripper) *Owner {
	logrus.SetOutput(io.Discard)
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &Owner{
		server:    server,
		transport: transport,
		keys:      cryptoservice.NewCryptoService(trustmanager.NewKeyMemoryStore(noPassphrase)),
	}
}

// Init creates and publishes a collection the way docker does: snapshot and
// timestamp are the server's.
func (o *Owner) Init(gun string) error {
	return o.publish(gun, func(r client.Repository) error {
		return r.Initialize(nil, data.CanonicalSnapshotRole)
	})
}

// InitOwnSnapshot creates and publishes a collection the way a bare "notary init"
// does: the snapshot key stays with the owner, and nobody else can publish.
func (o *Owner) InitOwnSnapshot(gun string) error {
	return o.publish(gun, func(r client.Repository) error { return r.Initialize(nil) })
}

// AddSigner lets a public key (PEM, a key or a certificate) sign in
// targets/<name> and targets/releases, as "docker trust signer add" does. Without
// paths every tag is admitted.
func (o *Owner) AddSigner(gun, name string, publicPEM []byte, paths ...string) error {
	return o.publish(gun, func(r client.Repository) error {
		for _, role := range []string{"targets/" + name, "targets/releases"} {
			if err := addDelegation(r, role, publicPEM, paths); err != nil {
				return err
			}
		}
		return nil
	})
}

// AddDelegation lets a public key sign in one role.
func (o *Owner) AddDelegation(gun, role string, publicPEM []byte, paths ...string) error {
	return o.publish(gun, func(r client.Repository) error { return addDelegation(r, role, publicPEM, paths) })
}

func addDelegation(r client.Repository, role string, publicPEM []byte, paths []string) error {
	if len(paths) == 0 {
		paths = []string{""}
	}
	key, err := utils.ParsePEMPublicKey(publicPEM)
	if err != nil {
		return err
	}
	return r.AddDelegation(data.RoleName(role), []data.PublicKey{key}, paths)
}

// RemoveKey takes a key (canonical ID) out of a delegation.
func (o *Owner) RemoveKey(gun, role, keyID string) error {
	return o.publish(gun, func(r client.Repository) error {
		return r.RemoveDelegationKeys(data.RoleName(role), []string{keyID})
	})
}

// RemoveDelegation takes a delegation away.
func (o *Owner) RemoveDelegation(gun, role string) error {
	return o.publish(gun, func(r client.Repository) error { return r.RemoveDelegationRole(data.RoleName(role)) })
}

// Sign signs targets with the repository key, in the role targets.
func (o *Owner) Sign(gun string, targets ...Target) error {
	return o.publish(gun, func(r client.Repository) error { return addTargets(r, "targets", targets) })
}

// SignAs signs targets in the given roles with a private key (PKCS#8 PEM), as
// another signer's docker would.
func (o *Owner) SignAs(gun string, privatePEM []byte, roles []string, targets ...Target) error {
	key, err := ParseKey(privatePEM)
	if err != nil {
		return err
	}
	other := NewOwner(o.server, o.transport)
	if err := other.keys.AddKey("delegation", "", key); err != nil {
		return err
	}
	return other.publish(gun, func(r client.Repository) error {
		for _, role := range roles {
			if err := addTargets(r, role, targets); err != nil {
				return err
			}
		}
		return nil
	})
}

func addTargets(r client.Repository, role string, targets []Target) error {
	for _, t := range targets {
		sum, err := hex.DecodeString(t.Digest[len("sha256:"):])
		if err != nil {
			return err
		}
		target := &client.Target{Name: t.Tag, Hashes: data.Hashes{"sha256": sum}, Length: t.Size}
		if err := r.AddTarget(target, data.RoleName(role)); err != nil {
			return err
		}
	}
	return nil
}

// RotateRoot replaces the root key by a new one, which the old one signs.
func (o *Owner) RotateRoot(gun string) error {
	key, err := o.keys.Create(data.CanonicalRootRole, "", data.ECDSAKey)
	if err != nil {
		return err
	}
	r, err := o.open(gun)
	if err != nil {
		return err
	}
	return r.RotateKey(data.CanonicalRootRole, false, []string{key.ID()})
}

// RootKeys returns the keys that the served root names: the ID in root.json and
// the canonical ID.
func (o *Owner) RootKeys(gun string) (ids, canonicalIDs []string, err error) {
	r, err := o.open(gun)
	if err != nil {
		return nil, nil, err
	}
	roles, err := r.ListRoles()
	if err != nil {
		return nil, nil, err
	}
	for _, role := range roles {
		if role.Name == data.CanonicalRootRole {
			ids = role.KeyIDs
		}
	}
	for id, role := range o.keys.ListAllKeys() {
		if role == data.CanonicalRootRole {
			canonicalIDs = append(canonicalIDs, id)
		}
	}
	return ids, canonicalIDs, nil
}

// Keys returns the owner's private keys, for [Server.Edit].
func (o *Owner) Keys() []data.PrivateKey {
	var keys []data.PrivateKey
	for id := range o.keys.ListAllKeys() {
		if key, _, err := o.keys.GetPrivateKey(id); err == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// KeyPEM returns the owner's first key of a role ("root", "targets") as PEM, without
// encryption.
func (o *Owner) KeyPEM(role string) ([]byte, error) {
	ids := o.keys.ListKeys(data.RoleName(role))
	if len(ids) == 0 {
		return nil, fmt.Errorf("no key of role %s", role)
	}
	key, _, err := o.keys.GetPrivateKey(ids[0])
	if err != nil {
		return nil, err
	}
	return utils.ConvertPrivateKeyToPKCS8(key, data.RoleName(role), "", "")
}

func (o *Owner) open(gun string) (client.Repository, error) {
	remote, err := storage.NewNotaryServerStore(o.server, data.GUN(gun), o.transport)
	if err != nil {
		return nil, err
	}
	return client.NewRepository(data.GUN(gun), o.server, remote, storage.NewMemoryStore(nil),
		trustpinning.TrustPinConfig{}, o.keys, changelist.NewMemChangelist())
}

func (o *Owner) publish(gun string, stage func(client.Repository) error) error {
	r, err := o.open(gun)
	if err != nil {
		return err
	}
	if err := stage(r); err != nil {
		return err
	}
	return r.Publish()
}

// GenerateKey makes an ECDSA P-256 key pair as PEM (PKCS#8 and PKIX).
func GenerateKey() (privatePEM, publicPEM []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), nil
}

// ParseKey reads a PKCS#8 PEM key without encryption, for [Server.Edit].
func ParseKey(privatePEM []byte) (data.PrivateKey, error) {
	return utils.ParsePEMPrivateKey(privatePEM, "")
}
