package pipeline

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"os"
)

// maxPEM bounds a file of certificates, in bytes: the system's own bundles have
// about a quarter of it.
const maxPEM = 1 << 20

var (
	errNoCertificate = errors.New("no PEM certificate in it")
	errTooLarge      = errors.New("larger than 1 MiB")
	errNoKeyFile     = errors.New("a certificate without AGENT_CLIENTCERTKEY")
	errEncryptedKey  = errors.New("encrypted private key of a kind that is not read; only plain PEM and PEM with DEK-Info are")
)

// tlsConfigs gives the settings for every host and, only if they differ, those
// for the agent's own server.
func (a Agent) tlsConfigs(extraCA []byte) (everywhere, server *tls.Config, err error) {
	roots, err := a.Certificates.roots(extraCA)
	if err != nil {
		return nil, nil, err
	}
	everywhere = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	client, err := a.Certificates.client()
	if err != nil {
		return nil, nil, err
	}
	if client == nil && !a.Certificates.SkipValidation {
		return everywhere, nil, nil
	}
	server = everywhere.Clone()
	// The administrator of the agent has asked for it, for this server; it is
	// told by WarningSkipValidation.
	server.InsecureSkipVerify = a.Certificates.SkipValidation
	if client != nil {
		server.Certificates = []tls.Certificate{*client}
	}
	return everywhere, server, nil
}

// roots gives the authorities to trust; nil is the system's alone.
func (c Certificates) roots(extraCA []byte) (*x509.CertPool, error) {
	if c.CAFile == "" && len(extraCA) == 0 {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, &SettingError{Setting: "system certificates", Err: err}
	}
	if c.CAFile != "" {
		data, err := readPEM(c.CAFile)
		if err == nil && !pool.AppendCertsFromPEM(data) {
			err = errNoCertificate
		}
		if err != nil {
			return nil, &SettingError{Setting: "AGENT_CAINFO", File: c.CAFile, Err: err}
		}
	}
	if len(extraCA) > 0 && !pool.AppendCertsFromPEM(extraCA) {
		return nil, &SettingError{Setting: "extra authorities", Err: errNoCertificate}
	}
	return pool, nil
}

// client reads the client certificate; nil when the agent has none.
func (c Certificates) client() (*tls.Certificate, error) {
	if c.ClientFile == "" {
		return nil, nil
	}
	if c.ClientKeyFile == "" {
		return nil, &SettingError{Setting: "AGENT_CLIENTCERT", File: c.ClientFile, Err: errNoKeyFile}
	}
	certificate, err := readPEM(c.ClientFile)
	if err != nil {
		return nil, &SettingError{Setting: "AGENT_CLIENTCERT", File: c.ClientFile, Err: err}
	}
	key, err := readPEM(c.ClientKeyFile)
	if err == nil {
		key, err = c.decrypt(key)
	}
	if err != nil {
		return nil, &SettingError{Setting: "AGENT_CLIENTCERTKEY", File: c.ClientKeyFile, Err: err}
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, &SettingError{Setting: "AGENT_CLIENTCERT", File: c.ClientFile, Err: err}
	}
	return &pair, nil
}

// decrypt opens a key that is encrypted in the old way of PEM, the only one the
// standard library reads; other keys are given back as they are.
func (c Certificates) decrypt(key []byte) ([]byte, error) {
	block, _ := pem.Decode(key)
	if block == nil {
		return key, nil // X509KeyPair says it better
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, errEncryptedKey
	}
	//nolint:staticcheck // deprecated because unauthenticated, which does not matter for a local file
	if !x509.IsEncryptedPEMBlock(block) {
		return key, nil
	}
	//nolint:staticcheck // as above
	der, err := x509.DecryptPEMBlock(block, []byte(c.ClientPassword.Reveal()))
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), nil
}

func readPEM(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		var cause *os.PathError
		if errors.As(err, &cause) {
			return nil, cause.Err // the path is told by SettingError
		}
		return nil, err
	}
	defer file.Close()
	var data bytes.Buffer
	if _, err := data.ReadFrom(io.LimitReader(file, maxPEM+1)); err != nil {
		return nil, err
	}
	if data.Len() > maxPEM {
		return nil, errTooLarge
	}
	return data.Bytes(), nil
}
