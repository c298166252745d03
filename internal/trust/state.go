package trust

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
	"github.com/theupdateframework/notary/tuf/utils"
)

const (
	targetsRole  = "targets"
	releasesRole = "targets/releases"
)

// State is what the trust data of a repository said at one moment, verified. It is
// plain data; nothing in it is fetched later.
type State struct {
	GUN    string
	ReadAt time.Time
	// ServerTime is the server's clock at that moment; zero if it did not tell.
	ServerTime time.Time

	RootKeys []RootID
	// Pinned tells that the root's keys were compared with a pin, PinSource which: a
	// GUN, "prefix/*", or "*" for a pin without a repository.
	Pinned    bool
	PinSource string

	// TargetsKeys are the canonical IDs of the repository keys.
	TargetsKeys []string
	// Delegations are all below targets, by role.
	Delegations []Delegation
	// Files are the valid files by role: root, targets, snapshot, timestamp, and
	// the delegations without a Problem.
	Files map[string]File

	snapshotKeys []string
	broken       map[string]brokenFile // delegations with a Problem, by role
}

// RootID names a key of the root both ways.
type RootID struct {
	ID        string // in root.json, of the certificate; what "docker trust inspect" shows
	Canonical string // of the key itself
}

// Delegation is a role below targets.
type Delegation struct {
	Role      string // "targets/alice"
	Name      string // "alice", which docker calls the signer; "releases" is nobody
	KeyIDs    []string
	Paths     []string // prefixes of the tags it may sign; one that is empty admits all
	Threshold int
	Published bool // whether it has a file
	Version   int
	Expires   time.Time
	Problem   Problem // with its file
}

// Problem says why a delegation's file does not count.
type Problem string

// The problems. The zero value is none.
const (
	ProblemExpired    Problem = "expired"
	ProblemSignatures Problem = "not signed by its keys"
)

// File is one valid signed file.
type File struct {
	Version  int
	Expires  time.Time
	SignedBy []string          // canonical IDs of the keys whose signatures are valid
	Tags     map[string]Target // of targets and delegations
}

// Target is what a tag stands for.
type Target struct {
	Tag    string
	Digest string // "sha256:" and 64 lower-case hex digits; "" if only another hash is signed
	Size   int64  // bytes of the manifest
}

type brokenFile struct {
	tags        map[string]Target
	delegations bool // it names others in turn
}

// Signature is one signer's word on a tag.
type Signature struct {
	Signer string // "alice"; "" for the repository key
	Role   string
	KeyIDs []string // that signed, canonical
	Target Target
}

func newState(o Options, s *session, valid, invalid *tuf.Repo) (*State, error) {
	state := &State{
		GUN: o.GUN, ReadAt: o.Now(),
		Files:  make(map[string]File),
		broken: make(map[string]brokenFile),
	}
	s.remote.mu.Lock()
	state.ServerTime = s.remote.served
	s.remote.mu.Unlock()
	if valid.Root == nil || valid.Snapshot == nil || valid.Timestamp == nil || valid.Targets[data.CanonicalTargetsRole] == nil {
		return nil, &BadMetadataError{Role: s.last, Reason: "incomplete"}
	}
	for id, key := range baseRole(valid, data.CanonicalRootRole).Keys {
		state.RootKeys = append(state.RootKeys, RootID{ID: id, Canonical: canonicalID(key)})
	}
	slices.SortFunc(state.RootKeys, func(a, b RootID) int { return strings.Compare(a.ID, b.ID) })
	targets := baseRole(valid, data.CanonicalTargetsRole)
	state.TargetsKeys = canonicalIDs(targets.Keys)
	state.snapshotKeys = baseRole(valid, data.CanonicalSnapshotRole).ListKeyIDs()

	state.Files["root"] = newFile(valid.Root.Signed.SignedCommon, valid.Root.Signatures, baseRole(valid, data.CanonicalRootRole))
	state.Files["snapshot"] = newFile(valid.Snapshot.Signed.SignedCommon, valid.Snapshot.Signatures, baseRole(valid, data.CanonicalSnapshotRole))
	state.Files["timestamp"] = newFile(valid.Timestamp.Signed.SignedCommon, valid.Timestamp.Signatures, baseRole(valid, data.CanonicalTimestampRole))
	top := valid.Targets[data.CanonicalTargetsRole]
	file := newFile(top.Signed.SignedCommon, top.Signatures, targets)
	file.Tags = tagsOf(top.Signed.Targets)
	state.Files[targetsRole] = file

	everything := data.DelegationRole{BaseRole: targets, Paths: []string{""}}
	state.addDelegations(s, everything, valid, invalid)
	slices.SortFunc(state.Delegations, func(a, b Delegation) int { return strings.Compare(a.Role, b.Role) })
	return state, nil
}

// addDelegations adds what is delegated by a role, and what those delegate in turn.
// A name is always one element longer than its parent's, so this ends.
func (s *State) addDelegations(files *session, parent data.DelegationRole, valid, invalid *tuf.Repo) {
	for _, role := range valid.Targets[parent.Name].GetValidDelegations(parent) {
		name := role.Name.String()
		d := Delegation{
			Role: name, Name: strings.TrimPrefix(name, targetsRole+"/"),
			KeyIDs: canonicalIDs(role.Keys), Paths: role.Paths, Threshold: role.Threshold,
		}
		if t := valid.Targets[role.Name]; t != nil {
			file := newFile(t.Signed.SignedCommon, t.Signatures, role.BaseRole)
			file.Tags = tagsOf(t.Signed.Targets)
			// A tag outside of the role's paths is not the role's to sign.
			for tag := range file.Tags {
				if !role.CheckPaths(tag) {
					delete(file.Tags, tag)
				}
			}
			d.Published, d.Version, d.Expires = true, file.Version, file.Expires
			s.Files[name] = file
		} else if t := invalid.Targets[role.Name]; t != nil {
			d.Published, d.Version, d.Expires = true, t.Signed.Version, t.Signed.Expires
			d.Problem = ProblemSignatures
			if files.signedBy(role.BaseRole) {
				d.Problem = ProblemExpired
			}
			s.broken[name] = brokenFile{tags: tagsOf(t.Signed.Targets), delegations: len(t.Signed.Delegations.Roles) > 0}
		}
		s.Delegations = append(s.Delegations, d)
		if valid.Targets[role.Name] != nil {
			s.addDelegations(files, role, valid, invalid)
		}
	}
}

// newFile describes a file that the library has verified, and in doing so marked the
// signatures that are right. One key under two certificates counts once.
func newFile(c data.SignedCommon, signatures []data.Signature, role data.BaseRole) File {
	valid := make(map[string]data.PublicKey)
	for _, s := range signatures {
		if key, ok := role.Keys[s.KeyID]; ok && s.IsValid {
			valid[s.KeyID] = key
		}
	}
	return File{Version: c.Version, Expires: c.Expires, SignedBy: canonicalIDs(valid)}
}

func tagsOf(files data.Files) map[string]Target {
	tags := make(map[string]Target, len(files))
	for tag, meta := range files {
		tags[tag] = Target{Tag: tag, Digest: digestOf(meta), Size: meta.Length}
	}
	return tags
}

func baseRole(repo *tuf.Repo, name data.RoleName) data.BaseRole {
	role, err := repo.Root.BuildBaseRole(name)
	if err != nil {
		return data.BaseRole{Name: name}
	}
	return role
}

func canonicalID(key data.PublicKey) string {
	id, err := utils.CanonicalKeyID(key)
	if err != nil {
		return ""
	}
	return id
}

func canonicalIDs(keys map[string]data.PublicKey) []string {
	var ids []string
	for _, key := range keys {
		if id := canonicalID(key); id != "" {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// signedBy tells whether a role's keys signed its newest file, expired or not.
func (s *session) signedBy(role data.BaseRole) bool {
	var file data.Signed
	return json.Unmarshal(s.roles[role.Name.String()], &file) == nil && file.Signed != nil &&
		signed.VerifySignatures(&file, role) == nil
}

// expiry reads when a role's newest file expires, believed or not.
func (s *session) expiry(role string) time.Time {
	var file data.SignedMeta
	if json.Unmarshal(s.roles[role], &file) != nil {
		return time.Time{}
	}
	return file.Signed.Expires
}

// Released returns what docker takes a tag for: the target in targets/releases, or
// else in targets. Nothing below those counts.
func (s *State) Released(tag string) (t Target, role string, ok bool) {
	for _, role := range []string{releasesRole, targetsRole} {
		if t, ok := s.Files[role].Tags[tag]; ok {
			return t, role, true
		}
	}
	return Target{}, "", false
}

// Signers returns who signed a tag, by role: the signers docker shows, without
// targets/releases, which is no signer.
func (s *State) Signers(tag string) []Signature {
	var list []Signature
	for role, file := range s.Files {
		if t, ok := file.Tags[tag]; ok && role != releasesRole {
			name := strings.TrimPrefix(strings.TrimPrefix(role, targetsRole), "/")
			list = append(list, Signature{Signer: name, Role: role, KeyIDs: file.SignedBy, Target: t})
		}
	}
	slices.SortFunc(list, func(a, b Signature) int { return strings.Compare(a.Role, b.Role) })
	return list
}

// delegation returns the delegation of that role.
func (s *State) delegation(role string) (Delegation, bool) {
	for _, d := range s.Delegations {
		if d.Role == role {
			return d, true
		}
	}
	return Delegation{}, false
}
