package notarytest

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	canonical "github.com/docker/go/canonical/json"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

// Edit changes the newest version of a role behind the back of all validation: edit
// gets its "signed" part, and the result is stored under the next version, signed
// with those of keys that the role names (the server's own for snapshot and
// timestamp). Snapshot and timestamp follow, so that all checksums hold. Without a
// fitting key the file ends up without signatures.
func (s *Server) Edit(gun, role string, edit func(signed map[string]any), keys ...data.PrivateKey) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[gun]
	if c == nil {
		return fmt.Errorf("no collection %s", gun)
	}
	if err := s.rewrite(c, data.RoleName(role), edit, keys); err != nil {
		return fmt.Errorf("editing %s: %w", role, err)
	}
	chain := []data.RoleName{data.CanonicalSnapshotRole, data.CanonicalTimestampRole}
	switch role {
	case "timestamp":
		c.frozen = true
		return nil
	case "snapshot":
		chain = chain[1:]
	}
	below := data.RoleName(role)
	for _, next := range chain {
		content := c.current(below)
		err := s.rewrite(c, next, func(signed map[string]any) {
			meta, _ := data.NewFileMeta(bytes.NewReader(content), data.NotaryDefaultHashes...)
			signed["meta"].(map[string]any)[below.String()] = meta
		}, nil)
		if err != nil {
			return fmt.Errorf("editing %s: %w", next, err)
		}
		below = next
	}
	return nil
}

// Expire sets when the newest version of a role expires; see [Server.Edit].
func (s *Server) Expire(gun, role string, at time.Time, keys ...data.PrivateKey) error {
	return s.Edit(gun, role, func(signed map[string]any) {
		signed["expires"] = at.UTC().Format(time.RFC3339Nano)
	}, keys...)
}

// rewrite stores an edited next version of a role. The caller holds mu.
func (s *Server) rewrite(c *collection, role data.RoleName, edit func(map[string]any), keys []data.PrivateKey) error {
	var file struct {
		Signed     map[string]any   `json:"signed"`
		Signatures []data.Signature `json:"signatures"`
	}
	decoder := json.NewDecoder(bytes.NewReader(c.current(role)))
	decoder.UseNumber() // a version must not become 1e+09
	if err := decoder.Decode(&file); err != nil {
		return err
	}
	number, err := file.Signed["version"].(json.Number).Int64()
	if err != nil {
		return err
	}
	file.Signed["version"] = number + 1
	edit(file.Signed)
	plain, err := json.Marshal(file.Signed)
	if err != nil {
		return err
	}
	var decoded map[string]any
	if err := canonical.Unmarshal(plain, &decoded); err != nil {
		return err
	}
	message, err := canonical.MarshalCanonical(decoded)
	if err != nil {
		return err
	}
	signatures, err := s.sign(c, role, message, keys)
	if err != nil {
		return err
	}
	raw := json.RawMessage(message)
	content, err := json.Marshal(map[string]any{"signed": raw, "signatures": signatures})
	if err != nil {
		return err
	}
	v := data.SignedMeta{}
	if err := json.Unmarshal(content, &v); err != nil {
		return err
	}
	c.add(role, v.Signed.Version, content)
	return nil
}

// sign makes a signature with every key that the role names and we have.
func (s *Server) sign(c *collection, role data.RoleName, message []byte, keys []data.PrivateKey) ([]data.Signature, error) {
	named, err := c.keysOf(role)
	if err != nil {
		return nil, err
	}
	signatures := []data.Signature{}
	for id, public := range named {
		canonicalID, err := utils.CanonicalKeyID(public)
		if err != nil {
			return nil, err
		}
		private, _, _ := s.keys.GetPrivateKey(canonicalID)
		for _, k := range keys {
			if k.ID() == canonicalID {
				private = k
			}
		}
		if private == nil {
			continue
		}
		signature, err := private.Sign(rand.Reader, message, nil)
		if err != nil {
			return nil, err
		}
		signatures = append(signatures, data.Signature{KeyID: id, Method: private.SignatureAlgorithm(), Signature: signature})
	}
	return signatures, nil
}

// keysOf returns the keys that may sign a role, by the ID used in the metadata.
func (c *collection) keysOf(role data.RoleName) (map[string]data.PublicKey, error) {
	if !data.IsDelegation(role) {
		root := data.SignedRoot{}
		if err := canonical.Unmarshal(c.current(data.CanonicalRootRole), &root); err != nil {
			return nil, err
		}
		base, err := root.BuildBaseRole(role)
		return base.Keys, err
	}
	parent := data.SignedTargets{}
	if err := canonical.Unmarshal(c.current(role.Parent()), &parent); err != nil {
		return nil, err
	}
	delegation, err := parent.BuildDelegationRole(role)
	return delegation.Keys, err
}
