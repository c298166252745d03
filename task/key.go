package task

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"

	"contenttrust/internal/pipeline"
	"contenttrust/internal/secret"
	"contenttrust/internal/trust"
)

// fetchKey gives the delegation key's text: from the input, or from secure files.
func (r *run) fetchKey(ctx context.Context) ([]byte, error) {
	if r.plan.KeyFile == "" {
		return []byte(r.plan.KeyText.Reveal()), nil
	}
	file, err := pipeline.ReadSecureFile(r.Environment, r.plan.KeyFile)
	if err != nil {
		return nil, err
	}
	client, err := r.http()
	if err != nil {
		return nil, err
	}
	project := r.agent.TeamProjectID
	if project == "" {
		project = r.agent.TeamProject
	}
	pem, err := pipeline.FetchSecureFile(ctx, pipeline.SecureFileRequest{
		File: file, Collection: r.agent.CollectionURI, Project: project, Token: r.agent.AccessToken, HTTP: client,
		OnRetry: func(retry pipeline.SecureFileRetry) {
			r.retrying("Azure DevOps", retry.Attempt, retry.Wait, retry.Err)
		},
	})
	if err != nil {
		return nil, err
	}
	r.hide(secret.New(string(pem)))
	r.log.Linef("Fetched the secure file %s, %d bytes.", file.Name, len(pem))
	return pem, nil
}

// checkKeyEarly opens the key as far as the pre phase can: without a passphrase that a later step may still set, only
// what the file is can be judged.
func (r *run) checkKeyEarly(pem []byte) error {
	if len(pem) == 0 && r.plan.KeyFile == "" {
		return nil // the text of the key is in a variable that a later step sets
	}
	key, err := trust.ReadKey(pem, r.plan.KeyPassphrase)
	if r.plan.PassphraseLater && errors.Is(err, &trust.KeyError{Kind: trust.NeedsPassphrase}) {
		r.log.Line("The key is encrypted; its passphrase is not set yet, so the key is opened when the step runs.")
		return nil
	}
	if err != nil {
		return err
	}
	r.log.Linef("The key opens: %s, ID %s.", key.Type(), key.ID())
	return nil
}

// storeName is what docker takes for a signer's name (docker/cli, cli/command/trust/signer_add.go); Notary takes more.
var storeName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// openKey opens the key and puts it into a trust store in the workspace, under the name and with the rights that docker
// gives it, so that whatever reads docker's layout can use it while the step lasts.
func (r *run) openKey(ctx context.Context) (*trust.Key, error) {
	pem, saved, err := r.work.savedKey()
	if err == nil && !saved {
		pem, err = r.fetchKey(ctx)
	}
	if err != nil {
		return nil, err
	}
	r.hide(secret.New(string(pem)))
	key, err := trust.ReadKey(pem, r.plan.KeyPassphrase)
	if err != nil {
		return nil, err
	}
	if key.PassphraseUnused() {
		r.warn(codePassphraseUnused, "The key is not encrypted, so its passphrase opens nothing. Encrypt the key, or take the passphrase away.")
	}
	role := cmp.Or(r.plan.Signer, key.Role())
	if !storeName.MatchString(role) {
		role = "signer" // docker's own word for a signer without a name
	}
	store, err := trust.OpenStore(filepath.Join(r.work.Dir, "trust"))
	if err != nil {
		return nil, err
	}
	if err := store.Add(key, role, r.plan.KeyPassphrase); err != nil {
		return nil, fmt.Errorf("load the key: %w", err)
	}
	return key, nil
}
