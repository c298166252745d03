package trust

import (
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/tuf/data"
)

// plan is what one publish will do.
type plan struct {
	roles   []string            // all that the tags go into
	add     map[string][]Target // what is not there yet, by role
	renew   []string
	restart map[string][]string // old tags to drop, by role

	posted    bool // an upload was sent
	published map[string]int
}

func (p *plan) empty() bool { return len(p.add)+len(p.renew)+len(p.restart) == 0 }

func (p *plan) fill(receipt *Receipt) {
	receipt.Roles, receipt.Renewed, receipt.Published = p.roles, p.renew, p.published
	receipt.Restarted = slices.Sorted(maps.Keys(p.restart))
}

// plan decides which files change, for the state as it is now.
func (s *State) plan(q SignRequest) (*plan, error) {
	if q.Signer != "" {
		if err := s.CheckSigner(q.Signer, q.Key.id); err != nil {
			return nil, err
		}
	}
	p := &plan{add: make(map[string][]Target), restart: make(map[string][]string)}
	for _, t := range q.Targets {
		roles, err := s.Roles(q.Key.id, t.Tag)
		if err != nil {
			return nil, err
		}
		for _, role := range roles {
			if !slices.Contains(p.roles, role) {
				p.roles = append(p.roles, role)
			}
			adopted := s.kept(role, q)
			if adopted[t.Tag] != t && !slices.Contains(p.add[role], t) {
				p.add[role] = append(p.add[role], t)
			}
		}
	}
	slices.Sort(p.roles)
	for _, role := range p.roles {
		d, _ := s.delegation(role)
		switch {
		case d.Problem == ProblemExpired, d.Problem == ProblemSignatures && q.adopts(role):
			p.renew = append(p.renew, role)
		case d.Problem == ProblemSignatures && s.restartable(role):
			p.restart[role] = slices.Sorted(maps.Keys(s.broken[role].tags))
		}
	}
	if p.empty() {
		return p, nil
	}
	return p, q.withoutAdopted(s.CheckPublish(p.changed()))
}

// changed are the roles whose files the publish replaces.
func (p *plan) changed() []string {
	changed := slices.Concat(slices.Collect(maps.Keys(p.add)), p.renew, slices.Collect(maps.Keys(p.restart)))
	slices.Sort(changed)
	return slices.Compact(changed)
}

func (q SignRequest) adopts(role string) bool {
	return q.AdoptUnverifiedReleases && role == releasesRole
}

// withoutAdopted drops the objection that the caller has overruled.
func (q SignRequest) withoutAdopted(err error) error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return err
	}
	return errors.Join(slices.DeleteFunc(slices.Clone(joined.Unwrap()), func(e error) bool {
		var broken *BrokenDelegationError
		return errors.As(e, &broken) && q.adopts(broken.Role)
	})...)
}

// kept are the tags that a role's next version starts from.
func (s *State) kept(role string, q SignRequest) map[string]Target {
	d, _ := s.delegation(role)
	if d.Problem == ProblemExpired || d.Problem == ProblemSignatures && q.adopts(role) {
		return s.broken[role].tags
	}
	return s.Files[role].Tags
}

// stage writes the plan into the library's list of changes.
func (p *plan) stage(repository client.Repository) error {
	// First, because adding to a file that is not valid would begin a new one.
	for _, role := range slices.Concat(p.renew, slices.Sorted(maps.Keys(p.restart))) {
		if _, err := repository.Witness(data.RoleName(role)); err != nil {
			return err
		}
	}
	for role, tags := range p.restart {
		for _, tag := range tags {
			if err := repository.RemoveTarget(tag, data.RoleName(role)); err != nil {
				return err
			}
		}
	}
	for role, targets := range p.add {
		for _, t := range targets {
			sum, err := hex.DecodeString(strings.TrimPrefix(t.Digest, "sha256:"))
			if err != nil {
				return err
			}
			target := &client.Target{Name: t.Tag, Hashes: data.Hashes{"sha256": sum}, Length: t.Size}
			if err := repository.AddTarget(target, data.RoleName(role)); err != nil {
				return err
			}
		}
	}
	return nil
}
