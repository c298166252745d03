package trust

import "slices"

// Prove makes sure that all targets are signed by the key (canonical ID) and that
// docker will find them: in every role of the key, targets/releases among them, with
// exactly that digest and size. The State should have been read after the signing.
//
// That the file of a role is validly signed is established by [Repository.Read]. When
// several keys share a role, the last one to publish signs for all of its tags,
// hence it need not be this key's signature that is on the file.
//
// Errors: *[ProofError] for the first tag that is not as it should be, and those of
// [State.Roles].
func (s *State) Prove(keyID string, targets []Target) error {
	for _, t := range targets {
		roles, err := s.Roles(keyID, t.Tag)
		if err != nil {
			return err
		}
		for _, role := range roles {
			file := s.Files[role]
			got, ok := file.Tags[t.Tag]
			if !ok || got != t {
				return &ProofError{Tag: t.Tag, Role: role, Want: t, Got: got}
			}
			keys := s.TargetsKeys
			if d, ok := s.delegation(role); ok {
				keys = d.KeyIDs
			}
			if alone := len(keys) == 1; len(file.SignedBy) == 0 || alone && !slices.Contains(file.SignedBy, keyID) {
				return &ProofError{Tag: t.Tag, Role: role, Want: t, Got: got, KeyID: keyID}
			}
		}
	}
	return nil
}
