package trust

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/tuf"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

// maxAhead is how many requests may be under way at once.
const maxAhead = 8

// session is one look at the server. The library believes it to be the remote store,
// and asks it for one file after the other; the session fetches what will be asked
// for next beforehand, and keeps what it served.
type session struct {
	readOnlyStore
	ctx    context.Context //nolint:containedctx // the library has no way to pass one
	cancel context.CancelFunc
	remote *remote
	root   []byte // not nil: serve this instead of asking
	onRoot func() // called once, when the server has shown that the repository exists
	wg     sync.WaitGroup
	ahead  map[string]func() ([]byte, error)

	// What follows is used by the library's goroutine alone.
	files map[string][]byte // everything served, by the name asked for
	roles map[string][]byte // the newest of it, by role
	last  string            // the role asked for last
	fatal error             // an answer that a second try would not change
}

func (r *remote) open(ctx context.Context, root []byte) *session {
	s := &session{
		remote: r, root: root,
		ahead: make(map[string]func() ([]byte, error)),
		files: make(map[string][]byte),
		roles: make(map[string][]byte),
	}
	s.ctx, s.cancel = context.WithCancel(ctx)
	if root == nil {
		s.fetchAhead("timestamp", maxTimestamp) // while the root is on its way
		for _, name := range r.expected() {
			s.fetchAhead(name, maxTargets)
		}
	}
	return s
}

// close waits for whatever is still on its way.
func (s *session) close() {
	s.cancel()
	s.wg.Wait()
}

// load has the library verify everything, into memory that starts out empty.
func (s *session) load(gun string) (valid, invalid *tuf.Repo, err error) {
	defer func() {
		// The library has nil dereferences for some kinds of malformed files.
		if p := recover(); p != nil {
			valid, invalid, err = nil, nil, &BadMetadataError{Role: s.last, Reason: "the library gave up", Err: fmt.Errorf("panic: %v", p)}
		}
	}()
	return client.LoadTUFRepo(client.TUFLoadOptions{
		GUN:         data.GUN(gun),
		Cache:       storage.NewMemoryStore(nil),
		RemoteStore: s,
	})
}

// GetSized implements storage.RemoteStore.
func (s *session) GetSized(name string, size int64) ([]byte, error) {
	if s.fatal != nil {
		return nil, s.fatal
	}
	role := roleOf(name)
	s.last = role
	content, err := s.fetch(name, limitOf(role, size))
	if err != nil {
		var bad *BadMetadataError
		if !errors.As(err, &bad) {
			s.fatal = err
		}
		return nil, err
	}
	if nestedDeeper(content, maxNesting) {
		return nil, &BadMetadataError{Role: role, Reason: "nested too deeply"}
	}
	if role == "root" && s.onRoot != nil {
		s.onRoot()
		s.onRoot = nil
	}
	s.files[name], s.roles[role] = content, content
	s.lookAhead(role, content)
	return content, nil
}

// maxNesting is what metadata may need at most; it has about seven levels. The
// library's JSON decoder recurses without a bound, before it has looked at any
// signature, and an overflow of the stack ends the process: no recover helps.
const maxNesting = 64

func nestedDeeper(content []byte, limit int) bool {
	depth, inString := 0, false
	for i := 0; i < len(content); i++ {
		switch c := content[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			if depth++; depth > limit {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

func (s *session) fetch(name string, limit int64) ([]byte, error) {
	if name == "root" && s.root != nil {
		return s.root, nil
	}
	if wait, ok := s.ahead[name]; ok {
		delete(s.ahead, name) // asked again, it is fetched again
		return wait()
	}
	return s.remote.get(s.ctx, name, limit)
}

// limitOf bounds an answer by what the snapshot says and by what is sane.
func limitOf(role string, size int64) int64 {
	limit := int64(maxTargets)
	switch role {
	case "root":
		limit = maxRoot
	case "timestamp":
		limit = maxTimestamp
	case "snapshot":
		limit = maxSnapshot
	}
	if size >= 0 {
		limit = min(limit, size)
	}
	return limit
}

// lookAhead starts to fetch what the library will ask for, one by one, after it has
// verified the file that is here. The snapshot lists all that there is, so the
// repository's own targets and the delegations travel side by side.
func (s *session) lookAhead(role string, content []byte) {
	if role != "snapshot" {
		return
	}
	var file data.SignedSnapshot
	if json.Unmarshal(content, &file) != nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(file.Signed.Meta)) {
		meta := file.Signed.Meta[name]
		of := data.RoleName(name)
		wanted := of == data.CanonicalTargetsRole || data.IsDelegation(of)
		if wanted && len(meta.Hashes["sha256"]) > 0 && len(s.ahead) < maxAhead {
			s.fetchAhead(utils.ConsistentName(name, meta.Hashes["sha256"]), limitOf(name, max(meta.Length, 0)))
		}
	}
}

// fetchAhead starts a request whose answer GetSized waits for.
func (s *session) fetchAhead(name string, limit int64) {
	if _, ok := s.ahead[name]; ok {
		return
	}
	var content []byte
	var err error
	done := make(chan struct{})
	s.wg.Go(func() {
		defer close(done)
		content, err = s.remote.get(s.ctx, name, limit)
	})
	s.ahead[name] = func() ([]byte, error) {
		<-done
		return content, err
	}
}

// Location implements storage.RemoteStore.
func (s *session) Location() string { return s.remote.server }

// replay is a remote store that serves what a session served, and takes one upload.
// What is published is so based on exactly what was verified.
type replay struct {
	readOnlyStore
	ctx      context.Context //nolint:containedctx // the library has no way to pass one
	files    map[string][]byte
	remote   *remote
	uploaded map[string][]byte
}

// GetSized implements storage.RemoteStore.
func (p *replay) GetSized(name string, size int64) ([]byte, error) {
	content, ok := p.files[name]
	if !ok {
		return nil, &BadMetadataError{Role: roleOf(name), Reason: "not among the files that were read"}
	}
	return content, nil
}

// errRootUpload keeps a promise: signing never creates trust.
var errRootUpload = errors.New("refused to upload a root")

// SetMulti implements storage.RemoteStore.
func (p *replay) SetMulti(files map[string][]byte) error {
	for role := range files {
		if role != "targets" && !strings.HasPrefix(role, "targets/") {
			return fmt.Errorf("%w: %s", errRootUpload, role)
		}
	}
	p.uploaded = files
	return p.remote.post(p.ctx, files)
}

// Location implements storage.RemoteStore.
func (p *replay) Location() string { return p.remote.server }

// errReadOnly is what the library gets for things it has no reason to do here.
var errReadOnly = errors.New("not available while reading or signing")

// readOnlyStore is the rest of storage.RemoteStore.
type readOnlyStore struct{}

func (readOnlyStore) Set(string, []byte) error                { return errReadOnly }
func (readOnlyStore) SetMulti(map[string][]byte) error        { return errReadOnly }
func (readOnlyStore) Remove(string) error                     { return errReadOnly }
func (readOnlyStore) RemoveAll() error                        { return errReadOnly }
func (readOnlyStore) GetKey(data.RoleName) ([]byte, error)    { return nil, errReadOnly }
func (readOnlyStore) RotateKey(data.RoleName) ([]byte, error) { return nil, errReadOnly }

// digestOf returns the SHA-256 of a target in the form "sha256:<hex>", "" if the
// target has none.
func digestOf(meta data.FileMeta) string {
	sum := meta.Hashes["sha256"]
	if len(sum) != 32 || bytes.Equal(sum, make([]byte, 32)) {
		return ""
	}
	return "sha256:" + hex.EncodeToString(sum)
}
