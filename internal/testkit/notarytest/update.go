package notarytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
	"github.com/theupdateframework/notary/tuf/validation"
)

// update is one uploaded file.
type update struct {
	role    data.RoleName
	number  int
	content []byte
}

// uploadError is a malformed upload: the code and text of server/errors.
type uploadError struct{ code, message string }

func (e uploadError) Error() string { return e.message }

// errOldVersion is what the storage says when a newer version is there.
var errOldVersion = errors.New("a newer version is stored")

// answerUpload is server/handlers/default.go atomicUpdateHandler. It returns the
// names of the uploaded roles.
func (s *Server) answerUpload(w http.ResponseWriter, r *http.Request, gun data.GUN) []string {
	updates, err := readUpload(r)
	var roles []string
	for _, u := range updates {
		roles = append(roles, u.role.String())
	}
	slices.Sort(roles)
	if err == nil {
		err = s.apply(gun, updates)
	}
	if err == nil {
		return roles
	}
	var malformed uploadError
	switch {
	case errors.As(err, &malformed):
		refuse(w, http.StatusBadRequest, malformed.code, malformed.message, nil)
	case errors.Is(err, errOldVersion):
		refuse(w, http.StatusBadRequest, "VERSION", "A newer version of metadata is already available.", struct{}{})
	default:
		var detail any
		if d, derr := validation.NewSerializableError(err); derr == nil {
			detail = d
		}
		refuse(w, http.StatusBadRequest, "INVALID_UPDATE", "Update sent by the client is invalid.", detail)
	}
	return roles
}

func readUpload(r *http.Request) ([]update, error) {
	reader, err := r.MultipartReader()
	if err != nil {
		return nil, uploadError{"MALFORMED_UPLOAD", "The body of your request is malformed."}
	}
	var updates []update
	for {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return updates, nil
		}
		if err != nil {
			return nil, uploadError{"MALFORMED_UPLOAD", "The body of your request is malformed."}
		}
		// Part.FileName keeps the last path element only, which would make
		// targets/releases into releases.
		_, params, _ := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		role := data.RoleName(strings.TrimSuffix(params["filename"], ".json"))
		if role == "" {
			return nil, uploadError{"NO_FILENAME", "No file/role name provided."}
		}
		if !data.ValidRole(role) {
			return nil, uploadError{"INVALID_ROLE", "The role you are attempting to operate on is invalid."}
		}
		content, err := io.ReadAll(part)
		meta := data.SignedMeta{}
		if err != nil || json.Unmarshal(content, &meta) != nil {
			return nil, uploadError{"MALFORMED_JSON", "JSON sent by the client could not be parsed by the server"}
		}
		updates = append(updates, update{role, meta.Signed.Version, content})
	}
}

// apply validates and stores an upload, all of it or nothing.
func (s *Server) apply(gun data.GUN, updates []update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.collections[gun.String()]
	if c == nil {
		c = &collection{versions: make(map[data.RoleName][]version), byHash: make(map[string][]byte)}
	}
	updates, err := s.validate(gun, c, updates)
	if err != nil {
		return err
	}
	for _, u := range updates {
		for _, v := range c.versions[u.role] {
			if v.number >= u.number {
				return errOldVersion
			}
		}
	}
	for _, u := range updates {
		c.add(u.role, u.number, u.content)
	}
	c.frozen = false
	s.collections[gun.String()] = c
	return nil
}

// validate is server/handlers/validation.go validateUpdate. It returns the
// uploads with the snapshot and timestamp that the server makes from them.
func (s *Server) validate(gun data.GUN, c *collection, updates []update) ([]update, error) {
	uploaded := make(map[data.RoleName]update)
	for _, u := range updates {
		uploaded[u.role] = u
	}
	builder, apply, err := s.validateRoot(gun, c, uploaded)
	if err != nil {
		return nil, err
	}
	targets, err := validateTargets(builder, c, uploaded)
	if err != nil {
		return nil, err
	}
	apply = append(apply, targets...)
	if u, ok := uploaded[data.CanonicalSnapshotRole]; ok {
		if err := builder.Load(u.role, u.content, 1, false); err != nil {
			return nil, validation.ErrBadSnapshot{Msg: err.Error()}
		}
		apply = append(apply, u)
	} else {
		u, err := makeSnapshot(builder, c)
		if err != nil {
			return nil, err
		}
		apply = append(apply, u)
	}
	u, err := makeTimestamp(builder, c)
	if err != nil {
		return nil, err
	}
	return append(apply, u), nil
}

func (s *Server) validateRoot(gun data.GUN, c *collection, uploaded map[data.RoleName]update) (tuf.RepoBuilder, []update, error) {
	builder := tuf.NewRepoBuilder(gun, s.keys, trustpinning.TrustPinConfig{})
	if content := c.current(data.CanonicalRootRole); content != nil {
		if err := builder.Load(data.CanonicalRootRole, content, 1, true); err != nil {
			return nil, nil, err
		}
	}
	root, ok := uploaded[data.CanonicalRootRole]
	if !ok {
		if !builder.IsLoaded(data.CanonicalRootRole) {
			return nil, nil, validation.ErrValidation{Msg: "no pre-existing root and no root provided in update."}
		}
		return builder, nil, nil
	}
	current := builder.GetLoadedVersion(data.CanonicalRootRole)
	if root.number != current && root.number != current+1 {
		return nil, nil, validation.ErrBadRoot{Msg: fmt.Sprintf("Root modifications must increment the version. Current %d, new %d", current, root.number)}
	}
	builder = builder.BootstrapNewBuilder()
	if err := builder.Load(data.CanonicalRootRole, root.content, current, false); err != nil {
		return nil, nil, validation.ErrBadRoot{Msg: err.Error()}
	}
	return builder, []update{root}, nil
}

// validateTargets judges targets and delegations, parents first.
func validateTargets(builder tuf.RepoBuilder, c *collection, uploaded map[data.RoleName]update) ([]update, error) {
	var roles []data.RoleName
	for role := range uploaded {
		if role == data.CanonicalTargetsRole || data.IsDelegation(role) {
			roles = append(roles, role)
		}
	}
	slices.SortFunc(roles, func(a, b data.RoleName) int {
		if d := strings.Count(a.String(), "/") - strings.Count(b.String(), "/"); d != 0 {
			return d
		}
		return strings.Compare(a.String(), b.String())
	})
	var apply []update
	for _, role := range roles {
		var parents []data.RoleName
		for r := role; r != data.CanonicalTargetsRole; {
			r = data.RoleName(path.Dir(r.String()))
			parents = append(parents, r)
		}
		for _, parent := range slices.Backward(parents) {
			content := c.current(parent)
			if builder.IsLoaded(parent) || content == nil {
				continue // without a parent the role itself fails below
			}
			if err := builder.Load(parent, content, 1, true); err != nil {
				return nil, err
			}
		}
		if err := builder.Load(role, uploaded[role].content, 1, false); err != nil {
			return nil, validation.ErrBadTargets{Msg: err.Error()}
		}
		apply = append(apply, uploaded[role])
	}
	return apply, nil
}

func makeSnapshot(builder tuf.RepoBuilder, c *collection) (update, error) {
	var previous *data.SignedSnapshot
	if content := c.current(data.CanonicalSnapshotRole); content != nil {
		previous = new(data.SignedSnapshot)
		if err := json.Unmarshal(content, previous); err != nil {
			return update{}, err
		}
	}
	content, number, err := builder.GenerateSnapshot(previous)
	_, belowThreshold := errors.AsType[signed.ErrRoleThreshold](err)
	switch {
	case err == nil:
		return update{data.CanonicalSnapshotRole, number, content}, nil
	case belowThreshold, lacksKeys(err):
		return update{}, validation.ErrBadHierarchy{
			Missing: data.CanonicalSnapshotRole.String(),
			Msg:     "no snapshot was included in update and server does not hold current snapshot key for repository",
		}
	}
	return update{}, validation.ErrValidation{Msg: err.Error()}
}

func makeTimestamp(builder tuf.RepoBuilder, c *collection) (update, error) {
	var previous *data.SignedTimestamp
	if content := c.current(data.CanonicalTimestampRole); content != nil {
		previous = new(data.SignedTimestamp)
		if err := json.Unmarshal(content, previous); err != nil {
			return update{}, err
		}
	}
	content, number, err := builder.GenerateTimestamp(previous)
	switch {
	case err == nil:
		return update{data.CanonicalTimestampRole, number, content}, nil
	case lacksKeys(err):
		return update{}, validation.ErrBadRoot{Msg: "no timestamp keys exist on the server"}
	}
	return update{}, validation.ErrValidation{Msg: err.Error()}
}

// lacksKeys tells that the server does not hold the keys to sign with.
func lacksKeys(err error) bool {
	_, few := errors.AsType[signed.ErrInsufficientSignatures](err)
	_, none := errors.AsType[signed.ErrNoKeys](err)
	return few || none
}

// refresh makes a new timestamp when the current one has expired
// (server/timestamp/timestamp.go GetOrCreateTimestamp). The caller holds mu.
func (s *Server) refresh(gun data.GUN, c *collection) {
	current := data.SignedTimestamp{}
	if json.Unmarshal(c.current(data.CanonicalTimestampRole), &current) != nil || time.Now().Before(current.Signed.Expires) {
		return
	}
	builder := tuf.NewRepoBuilder(gun, s.keys, trustpinning.TrustPinConfig{})
	if builder.Load(data.CanonicalRootRole, c.current(data.CanonicalRootRole), 1, true) != nil ||
		builder.Load(data.CanonicalSnapshotRole, c.current(data.CanonicalSnapshotRole), 1, true) != nil {
		return
	}
	if u, err := makeTimestamp(builder, c); err == nil {
		c.add(u.role, u.number, u.content)
	}
}

// answerKey returns the server's key for a role, or makes one; a POST always makes
// a new one (server/snapshot, server/timestamp).
func (s *Server) answerKey(w http.ResponseWriter, method string, gun data.GUN, role data.RoleName) {
	if role != data.CanonicalTimestampRole && role != data.CanonicalSnapshotRole {
		notFound(w) // the route admits no other role
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.keyOf(gun, role)
	if key == nil || method == http.MethodPost {
		created, err := s.keys.Create(role, gun, data.ECDSAKey)
		if err != nil {
			refuse(w, http.StatusInternalServerError, "UNKNOWN", "unknown error", err.Error())
			return
		}
		key = created
	}
	body, err := json.Marshal(key)
	if err != nil {
		refuse(w, http.StatusInternalServerError, "UNKNOWN", "unknown error", err.Error())
		return
	}
	w.Write(body)
}

// keyOf returns the key that the collection's root names, if the server holds it.
func (s *Server) keyOf(gun data.GUN, role data.RoleName) data.PublicKey {
	c := s.collections[gun.String()]
	if c == nil {
		return nil
	}
	root := data.SignedRoot{}
	if json.Unmarshal(c.current(data.CanonicalRootRole), &root) != nil {
		return nil
	}
	base, err := root.BuildBaseRole(role)
	if err != nil {
		return nil
	}
	for id := range base.Keys {
		if key := s.keys.GetKey(id); key != nil {
			return key
		}
	}
	return nil
}
