package trust

import (
	"strings"

	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
)

// Pin is a root key that is trusted, for some repositories.
type Pin struct {
	// Repository is a GUN, "prefix/*", or "" for all.
	Repository string
	// ID is the root key's: as "docker trust inspect" shows it, which holds for one
	// repository, or the canonical one, the name of the key's file.
	ID string
}

// ParsePin reads "<id>", "<repository>=<id>" or "<prefix>/*=<id>". The error is an
// *[OptionError].
func ParsePin(line string) (Pin, error) {
	repository, id, ok := strings.Cut(line, "=")
	if !ok {
		repository, id = "", line
	}
	p := Pin{Repository: strings.TrimSpace(repository), ID: strings.ToLower(strings.TrimSpace(id))}
	switch {
	case !keyID.MatchString(p.ID):
		return Pin{}, &OptionError{Name: "root key", Value: line, Problem: "not 64 hexadecimal digits"}
	case ok && p.Repository == "":
		return Pin{}, &OptionError{Name: "root key", Value: line, Problem: "no repository before ="}
	case strings.Contains(strings.TrimSuffix(p.Repository, "/*"), "*"):
		return Pin{}, &OptionError{Name: "root key", Value: line, Problem: "* stands for the end of a repository's name only"}
	}
	return p, nil
}

// pinsFor returns the IDs that hold for a repository: those of the most specific
// pattern alone, so that one repository can be excepted. pattern says which.
func pinsFor(pins []Pin, gun string) (ids []string, pattern string) {
	best := -1
	for _, p := range pins {
		weight := 0
		switch prefix, wild := strings.CutSuffix(p.Repository, "*"); {
		case p.Repository == gun:
			weight = len(gun) + 1
		case wild && strings.HasPrefix(gun, prefix):
			weight = len(prefix)
		case p.Repository != "":
			continue
		}
		if weight > best {
			best, ids, pattern = weight, nil, p.Repository
		}
		if weight == best {
			ids = append(ids, p.ID)
		}
	}
	return ids, pattern
}

// checkPins compares the root's keys with the pins. It is not enough that a pinned
// key is listed: the pinned keys alone must satisfy the root's threshold.
func (s *State) checkPins(o Options, repo *tuf.Repo) error {
	if len(o.Pins) == 0 {
		if o.RequirePin {
			return &PinRequiredError{GUN: s.GUN, Got: s.RootKeys}
		}
		return nil
	}
	want, pattern := pinsFor(o.Pins, s.GUN)
	mismatch := &PinMismatchError{GUN: s.GUN, Want: want, Got: s.RootKeys}
	role, err := repo.Root.BuildBaseRole(data.CanonicalRootRole)
	if err != nil {
		return mismatch
	}
	pinned := data.BaseRole{Name: role.Name, Threshold: role.Threshold, Keys: make(map[string]data.PublicKey)}
	for _, key := range s.RootKeys {
		for _, id := range want {
			if id == key.ID || id == key.Canonical {
				pinned.Keys[key.ID] = role.Keys[key.ID]
			}
		}
	}
	if len(pinned.Keys) == 0 {
		return mismatch
	}
	root, err := repo.Root.ToSigned()
	if err != nil || signed.VerifySignatures(root, pinned) != nil {
		return mismatch
	}
	s.Pinned, s.PinSource = true, pattern
	if pattern == "" {
		s.PinSource = "*"
	}
	return nil
}
