package trust

import (
	"errors"
	"slices"
	"strings"
)

// maxVersion is the last version that a publish may follow on; one more and servers
// with 32-bit versions could never be updated again.
const maxVersion = 1<<31 - 2

// Roles returns the roles into which a key (canonical ID) signs a tag: of the direct
// children of targets all that admit the key and the tag, as docker's
// GetSignableRoles has it (cli/trust/trust.go), and targets itself where there are no
// delegations. Unlike docker it insists on targets/releases, without which the tag
// would be signed and yet invisible.
//
// Errors: *[NotAdmittedError], *[NotReleasedError], *[PathRestrictedError].
func (s *State) Roles(keyID, tag string) ([]string, error) {
	direct := s.direct()
	if len(direct) == 0 {
		if slices.Contains(s.TargetsKeys, keyID) {
			return []string{targetsRole}, nil
		}
		return nil, &NotAdmittedError{KeyID: keyID, TargetsKeys: s.TargetsKeys}
	}
	var admitting, roles []string
	var restricted *PathRestrictedError
	own := false // a signer's role admits the key, whatever the tag
	for _, d := range direct {
		if !slices.Contains(d.KeyIDs, keyID) {
			continue
		}
		admitting = append(admitting, d.Role)
		own = own || d.Role != releasesRole
		if d.admits(tag) {
			roles = append(roles, d.Role)
		} else if restricted == nil || d.Role == releasesRole {
			restricted = &PathRestrictedError{Tag: tag, Role: d.Role, Paths: d.Paths}
		}
	}
	switch {
	case len(admitting) == 0:
		return nil, &NotAdmittedError{KeyID: keyID, Delegations: s.Delegations, TargetsKeys: s.TargetsKeys}
	case !slices.Contains(admitting, releasesRole):
		return nil, &NotReleasedError{KeyID: keyID, Roles: admitting}
	case !slices.Contains(roles, releasesRole), own && len(roles) == 1:
		return nil, restricted
	}
	return roles, nil
}

// direct returns the direct children of targets.
func (s *State) direct() []Delegation {
	var direct []Delegation
	for _, d := range s.Delegations {
		if !strings.Contains(d.Name, "/") {
			direct = append(direct, d)
		}
	}
	return direct
}

func (d Delegation) admits(tag string) bool {
	return slices.ContainsFunc(d.Paths, func(prefix string) bool { return strings.HasPrefix(tag, prefix) })
}

// CheckSigner makes sure that a key (canonical ID) is one of the signer's. The error
// is a *[NotThisSignerError].
func (s *State) CheckSigner(signer, keyID string) error {
	e := &NotThisSignerError{Signer: signer, KeyID: keyID}
	for _, d := range s.direct() {
		if d.Role == releasesRole {
			continue
		}
		e.Signers = append(e.Signers, d.Name)
		if d.Name == signer {
			if slices.Contains(d.KeyIDs, keyID) {
				return nil
			}
			e.Want = d.KeyIDs
		}
	}
	return e
}

// CheckPublish says what would make a publish into these roles fail, by one signer
// alone: all of it, joined. An expired delegation is not among it, since Sign
// renews it.
//
// Errors: *[RootExpiringError], *[VersionError], *[ThresholdError],
// *[BrokenDelegationError].
func (s *State) CheckPublish(roles []string) error {
	var problems []error
	// The library's nearExpiry (client/helpers.go).
	if at := s.Files["root"].Expires; at.Before(s.ReadAt.AddDate(0, 6, 0)) {
		problems = append(problems, &RootExpiringError{At: at})
	}
	for _, role := range append([]string{"snapshot", "timestamp"}, roles...) {
		version := s.Files[role].Version
		if d, ok := s.delegation(role); ok {
			version = d.Version
			if d.Threshold > 1 {
				problems = append(problems, &ThresholdError{Role: role, Threshold: d.Threshold})
			}
			if d.Problem == ProblemSignatures && !s.restartable(role) {
				problems = append(problems, &BrokenDelegationError{Role: role, Tags: len(s.broken[role].tags)})
			}
		}
		if version > maxVersion {
			problems = append(problems, &VersionError{Role: role, Version: version})
		}
	}
	return errors.Join(problems...)
}

// restartable tells whether a delegation whose file nobody vouches for may begin anew.
// A signer's own may: its tags count for nothing already. That of the releases is
// everybody's, and one that delegates further would lose more than tags.
func (s *State) restartable(role string) bool {
	return role != releasesRole && !s.broken[role].delegations
}
