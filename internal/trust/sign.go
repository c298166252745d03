package trust

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/theupdateframework/notary/client"
	"github.com/theupdateframework/notary/client/changelist"
	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/trustmanager"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
)

const (
	defaultAttempts = 10
	firstWait       = 200 * time.Millisecond
)

// SignRequest says what to sign.
type SignRequest struct {
	Key     *Key
	Signer  string // when not empty, the key must be this signer's
	Targets []Target

	// MaxAttempts bounds how often a publish is tried; 0 is 10, which lasts half
	// a minute, or two where the server is slow.
	MaxAttempts int
	// OnRetry, if not nil, hears of every attempt that failed and is repeated.
	OnRetry func(Retry)
	// AdoptUnverifiedReleases signs the tags that are in targets/releases even if no
	// present key of it has signed them, instead of refusing. It is what heals a
	// repository after the removal of the key that signed last, and it vouches for
	// whatever that key had signed.
	AdoptUnverifiedReleases bool
}

// Retry is an attempt to publish that will be repeated.
type Retry struct {
	Attempt int           // the one that failed, from 1
	Wait    time.Duration // until the next
	Err     error
}

// Receipt says what Sign did.
type Receipt struct {
	// Roles are the roles that the tags are in now.
	Roles []string
	// Attempts is how often the trust data was read and, if need be, published.
	Attempts int
	// Published are the new versions of the files that were uploaded; it is empty
	// when every tag was signed already, or when an upload succeeded whose answer was
	// lost.
	Published map[string]int
	// AlreadySigned tells that nothing had to be done.
	AlreadySigned bool
	// Renewed are delegations that had expired and were signed again as they were,
	// Restarted those of a signer whose old tags nobody vouched for any more, and
	// which begin anew.
	Renewed, Restarted []string
}

// Sign adds targets to every role of the key, in one publish, on top of what is on
// the server: other tags stay as they are. When others publish at the same time, or
// the answer is lost, it reads again and decides again; a target that is there already
// is left alone, so that repeating is safe.
//
// It takes 2 requests right after a Read, and up to as many as a Read when the trust
// data changed meanwhile. It never creates trust data: a root cannot be uploaded.
//
// The Receipt is valid as far as things went also when an error is returned. Errors: those
// of [Repository.Read], [State.Roles] and [State.CheckPublish]; *[NotThisSignerError],
// *[RejectedError], *[SnapshotKeyError], *[ConflictError] after the last attempt,
// *[PublishError], *[OptionError] for a bad target.
func (r *Repository) Sign(ctx context.Context, q SignRequest) (Receipt, error) {
	if r.invalid != nil {
		return Receipt{}, r.invalid
	}
	if err := q.check(); err != nil {
		return Receipt{}, err
	}
	attempts := q.MaxAttempts
	if attempts < 1 {
		attempts = defaultAttempts
	}
	var receipt Receipt
	posted, refused := false, false
	for root := r.remote.lastRoot(); ; root = nil {
		receipt.Attempts++
		start := r.options.Now()
		p, err := r.attempt(ctx, q, root)
		if p != nil {
			posted = posted || p.posted
			p.fill(&receipt)
			receipt.AlreadySigned = err == nil && !posted
		}
		if err == nil {
			return receipt, nil
		}
		wait, again := publishAgain(err, &refused)
		switch {
		case !again:
			return receipt, err
		case receipt.Attempts >= attempts:
			return receipt, &ConflictError{Attempts: receipt.Attempts, Err: err}
		}
		// Whoever publishes while we read and sign makes us fail, so the waits must
		// spread over several times of what that takes here.
		wait = max(wait, backoff(receipt.Attempts, min(max(firstWait, r.options.Now().Sub(start)), time.Second)))
		if q.OnRetry != nil {
			q.OnRetry(Retry{Attempt: receipt.Attempts, Wait: wait, Err: err})
		}
		if err := r.options.Sleep(ctx, wait); err != nil {
			return receipt, err
		}
	}
}

var (
	validDigest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	validTag    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)
)

func (q SignRequest) check() error {
	if q.Key == nil {
		return &OptionError{Name: "key", Problem: "missing"}
	}
	if len(q.Targets) == 0 {
		return &OptionError{Name: "targets", Problem: "none"}
	}
	seen := make(map[string]Target)
	for _, t := range q.Targets {
		other, again := seen[t.Tag]
		switch {
		case !validTag.MatchString(t.Tag):
			return &OptionError{Name: "tag", Value: t.Tag, Problem: "not a tag"}
		case !validDigest.MatchString(t.Digest):
			return &OptionError{Name: "digest", Value: t.Digest, Problem: "not sha256: and 64 lower-case hexadecimal digits"}
		case t.Size <= 0:
			return &OptionError{Name: "size", Value: t.Tag, Problem: "not a number of bytes"}
		case again && other != t:
			return &OptionError{Name: "tag", Value: t.Tag, Problem: "given twice with different digests"}
		}
		seen[t.Tag] = t
	}
	return nil
}

// publishAgain tells the failures after which reading and publishing again may help. A
// refusal of the content may come from a change of the signers that we did not see
// yet, and is worth one more look.
func publishAgain(err error, refused *bool) (wait time.Duration, again bool) {
	var rejected *RejectedError
	var server *ServerError
	var unreachable *UnreachableError
	switch {
	case errors.As(err, &rejected):
		if rejected.Code == "VERSION" || rejected.Code == "" && rejected.Status == 400 {
			return 0, true
		}
		first := !*refused
		*refused = true
		return 0, first && rejected.Code == "INVALID_UPDATE"
	case errors.As(err, &server) && server.Op == OpPublish, errors.As(err, &unreachable) && unreachable.Op == OpPublish:
		return worthRepeating(err) // requests that read were repeated already
	}
	return 0, false
}

// attempt reads, decides and publishes once. The plan is nil if it did not get so far.
func (r *Repository) attempt(ctx context.Context, q SignRequest, root []byte) (*plan, error) {
	v, err := r.load(ctx, root)
	if root != nil && (errors.As(err, new(*BadMetadataError)) || errors.As(err, new(*ExpiredError)) || errors.As(err, new(*PinMismatchError))) {
		v, err = r.load(ctx, nil) // the root of a moment ago may be what is wrong
	}
	if err != nil {
		return nil, err
	}
	p, err := v.state.plan(q)
	if err != nil || p.empty() {
		return p, err
	}
	err = r.publish(ctx, v, p, q.Key)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return p, cause
	}
	return p, err
}

// publish has the library make the new versions and uploads them.
func (r *Repository) publish(ctx context.Context, v *view, p *plan, key *Key) (err error) {
	store := &replay{ctx: ctx, files: v.files, remote: r.remote}
	defer func() {
		if caught := recover(); caught != nil {
			err = &PublishError{Err: fmt.Errorf("panic: %v", caught)}
		}
		p.posted = store.uploaded != nil
		if err == nil {
			p.published = versionsOf(store.uploaded)
		}
	}()
	repository, err := client.NewRepository(data.GUN(r.options.GUN), r.options.Server, store, storage.NewMemoryStore(nil),
		trustpinning.TrustPinConfig{}, oneKey{key}, changelist.NewMemChangelist())
	if err != nil {
		return &PublishError{Err: err}
	}
	if err := p.stage(repository); err != nil {
		return &PublishError{Err: err}
	}
	return translatePublish(v.state, repository.Publish())
}

func versionsOf(files map[string][]byte) map[string]int {
	versions := make(map[string]int, len(files))
	for role, content := range files {
		var file struct{ Signed struct{ Version int } }
		if json.Unmarshal(content, &file) == nil {
			versions[role] = file.Signed.Version
		}
	}
	return versions
}

// translatePublish keeps our own errors and wraps the library's.
func translatePublish(s *State, err error) error {
	var (
		denied      *DeniedError
		unreachable *UnreachableError
		server      *ServerError
		rejected    *RejectedError
		snapshot    *SnapshotKeyError
		option      *OptionError
		few         signed.ErrInsufficientSignatures
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &denied), errors.As(err, &unreachable), errors.As(err, &server),
		errors.As(err, &rejected), errors.As(err, &snapshot), errors.As(err, &option):
		return err
	case errors.As(err, &few) && s.isRoot(few.MissingKeyIDs):
		// CheckPublish goes by our clock, the library by its own.
		return &RootExpiringError{At: s.Files["root"].Expires}
	}
	return &PublishError{Err: err}
}

// isRoot tells whether all of these canonical IDs are the root's.
func (s *State) isRoot(ids []string) bool {
	for _, id := range ids {
		if !slices.ContainsFunc(s.RootKeys, func(r RootID) bool { return r.Canonical == id }) {
			return false
		}
	}
	return len(ids) > 0
}

// oneKey is the library's key service over a single key. It makes none, which is
// one more reason why nothing can be initialised here.
type oneKey struct{ key *Key }

var errNoKeyMade = errors.New("refused to make a key")

func (o oneKey) Create(data.RoleName, data.GUN, string) (data.PublicKey, error) {
	return nil, errNoKeyMade
}
func (o oneKey) AddKey(data.RoleName, data.GUN, data.PrivateKey) error { return errNoKeyMade }
func (o oneKey) RemoveKey(string) error                                { return nil }

func (o oneKey) GetKey(id string) data.PublicKey {
	if id != o.key.id {
		return nil
	}
	return data.PublicKeyFromPrivate(o.key.private)
}

func (o oneKey) GetPrivateKey(id string) (data.PrivateKey, data.RoleName, error) {
	if id != o.key.id {
		return nil, "", trustmanager.ErrKeyNotFound{KeyID: id}
	}
	return o.key.private, "", nil
}

func (o oneKey) ListKeys(data.RoleName) []string       { return []string{o.key.id} }
func (o oneKey) ListAllKeys() map[string]data.RoleName { return map[string]data.RoleName{o.key.id: ""} }
