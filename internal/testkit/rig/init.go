package rig

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Tool is what an administrator initialises a repository with.
type Tool string

// The two ways that people go. Both leave snapshot and timestamp keys with the
// server, as content trust needs it.
const (
	// ByDocker: docker trust key generate, docker trust signer add. The
	// delegation key comes out encrypted, in docker's own form.
	ByDocker Tool = "docker"
	// ByNotary: notary init, key rotate, delegation add. The delegation key is
	// one that openssl could have made: plain PEM, with a certificate.
	ByNotary Tool = "notary"
)

// DelegationKey is a signer's key pair, made by others than our program.
type DelegationKey struct {
	// Signer is whom it belongs to.
	Signer string
	// PrivatePEM is the key as the tool left it; Passphrase opens it and is
	// empty when it is not encrypted.
	PrivatePEM []byte
	Passphrase string
	// PublicFile holds the public key or the certificate for AddSigner.
	PublicFile string
}

// Trusted is an initialised repository.
type Trusted struct {
	// Repository is the name without the host, GUN the one with it.
	Repository, GUN string
	// RootPassphrase and RepositoryPassphrase open the keys that are in the
	// trust store of the Person who initialised.
	RootPassphrase, RepositoryPassphrase string
	// Key is the one signer's.
	Key DelegationKey
}

// InitRepository initialises trust for a repository, as an administrator does
// before a pipeline may sign, and adds one signer whose private key stays out
// of the administrator's store.
func (p *Person) InitRepository(ctx context.Context, repository, signer string, tool Tool) (Trusted, error) {
	t := Trusted{
		Repository: repository, GUN: p.stack.Front.Host + "/" + repository,
		RootPassphrase: RootPassphrase, RepositoryPassphrase: RepositoryPassphrase,
	}
	var err error
	if t.Key, err = p.GenerateKey(ctx, signer, tool); err != nil {
		return Trusted{}, err
	}
	if tool == ByNotary {
		for _, args := range [][]string{
			{"init", t.GUN},
			{"publish", t.GUN},
			{"key", "rotate", t.GUN, "snapshot", "--server-managed"},
		} {
			if _, err := p.Notary(ctx, args...); err != nil {
				return Trusted{}, err
			}
		}
	}
	return t, p.AddSigner(ctx, repository, t.Key, tool)
}

// AddSigner lets a key sign in a repository: in targets/<signer> and in
// targets/releases. By docker it initialises the repository when nobody has.
func (p *Person) AddSigner(ctx context.Context, repository string, key DelegationKey, tool Tool) error {
	gun := p.stack.Front.Host + "/" + repository
	if tool == ByDocker {
		_, err := p.Docker(ctx, "trust", "signer", "add", "--key", key.PublicFile, key.Signer, gun)
		return err
	}
	for _, args := range [][]string{
		{"delegation", "add", gun, "targets/releases", key.PublicFile, "--all-paths"},
		{"delegation", "add", gun, "targets/" + key.Signer, key.PublicFile, "--all-paths"},
		{"publish", gun},
	} {
		if _, err := p.Notary(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// GenerateKey makes a key pair for a signer, in a folder of its own.
func (p *Person) GenerateKey(ctx context.Context, signer string, tool Tool) (DelegationKey, error) {
	dir, err := os.MkdirTemp(p.Home, "key-")
	if err != nil {
		return DelegationKey{}, err
	}
	if tool == ByNotary {
		return certifiedKey(dir, signer)
	}
	// Somebody with a trust store of their own; the tool writes there.
	owner := *p
	owner.Home, owner.DockerConfig = dir, filepath.Join(dir, ".docker")
	if _, err := owner.Docker(ctx, "trust", "key", "generate", signer); err != nil {
		return DelegationKey{}, err
	}
	files, err := filepath.Glob(filepath.Join(owner.TrustDir(), "private", "*.key"))
	if err != nil || len(files) != 1 {
		return DelegationKey{}, fmt.Errorf("docker trust key generate left %d keys (%w)", len(files), err)
	}
	private, err := os.ReadFile(files[0])
	return DelegationKey{
		Signer: signer, PrivatePEM: private, Passphrase: RepositoryPassphrase,
		PublicFile: filepath.Join(dir, signer+".pub"),
	}, err
}

// UseKey puts a delegation key into the person's trust store, so that docker
// and notary sign with it.
func (p *Person) UseKey(ctx context.Context, key DelegationKey) error {
	// docker trust key load claims to have loaded its own encrypted keys and
	// does not (docker/cli#2031), so those are put where they belong.
	if key.Passphrase != "" {
		files, err := filepath.Glob(filepath.Join(filepath.Dir(key.PublicFile), ".docker", "trust", "private", "*.key"))
		if err != nil || len(files) != 1 {
			return errors.Join(fmt.Errorf("%d stored keys beside %s", len(files), key.PublicFile), err)
		}
		private := filepath.Join(p.TrustDir(), "private")
		return errors.Join(
			os.MkdirAll(private, 0o700),
			os.WriteFile(filepath.Join(private, filepath.Base(files[0])), key.PrivatePEM, 0o600),
		)
	}
	file := strings.TrimSuffix(key.PublicFile, ".crt") + ".pem"
	if err := os.WriteFile(file, key.PrivatePEM, 0o600); err != nil {
		return err
	}
	_, err := p.Docker(ctx, "trust", "key", "load", "--name", key.Signer, file)
	return err
}

// certifiedKey is what "openssl ecparam -genkey" and "openssl req -x509" make.
func certifiedKey(dir, signer string) (DelegationKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return DelegationKey{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: signer},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return DelegationKey{}, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return DelegationKey{}, err
	}
	k := DelegationKey{
		Signer: signer, PublicFile: filepath.Join(dir, signer+".crt"),
		PrivatePEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	return k, os.WriteFile(k.PublicFile, text, 0o600)
}
