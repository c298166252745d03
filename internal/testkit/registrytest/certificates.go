package registrytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// makeCertificates gives the Front a throw-away authority, a TLS certificate
// under it, and a certificate of its own for signing tokens.
func (f *Front) makeCertificates() (tls.Certificate, error) {
	ca, caKey, err := newCertificate(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "registrytest authority"},
		IsCA:     true,
		KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, leafKey, err := newCertificate(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "registrytest front"},
		DNSNames:    f.dnsNames(),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, ca, caKey)
	if err != nil {
		return tls.Certificate{}, err
	}
	signing, signingKey, err := newCertificate(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "registrytest tokens"},
		IsCA:     true, // it is its own root in the servers' bundle
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}, nil, nil)
	if err != nil {
		return tls.Certificate{}, err
	}
	f.CAPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw})
	f.SigningCertPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signing.Raw})
	f.signer = signer{key: signingKey, certificate: signing.Raw}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.Raw}, PrivateKey: leafKey}, nil
}

func (f *Front) dnsNames() []string {
	names := []string{"localhost", "*.localhost"}
	host, _, err := net.SplitHostPort(withPort(f.Host))
	if err == nil && net.ParseIP(host) == nil {
		names = append(names, host)
	}
	return names
}

// newCertificate fills in what all certificates share and signs, with itself
// when there is no parent.
func newCertificate(template, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(365 * 24 * time.Hour)
	template.BasicConstraintsValid = true
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, nil, err
	}
	certificate, err := x509.ParseCertificate(der)
	return certificate, key, err
}
