package trust

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/theupdateframework/notary/trustpinning"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/signed"
)

// Options says which repository, and how to reach it.
type Options struct {
	GUN    string // registry host and path, for instance "registry.example/team/app"
	Server string // of the trust data; "" is https://<host of GUN>
	// Transport makes the requests and adds the authorisation. nil is
	// http.DefaultTransport. An error of it that has a method Permanent() bool
	// which returns true is not tried again.
	Transport http.RoundTripper

	// Pins are the root keys to trust. With any pin there is no trust on first use.
	Pins       []Pin
	RequirePin bool // refuse to read without a pin

	// RequestTimeout bounds each request with its answer; 0 is one minute.
	RequestTimeout time.Duration
	Now            func() time.Time                           // nil is time.Now
	Sleep          func(context.Context, time.Duration) error // between attempts; nil really sleeps
	// LibraryLog gets what Notary's library writes to its log, for the whole process: the
	// last repository opened decides. nil discards it.
	LibraryLog io.Writer
}

// Repository is the trust data of one repository on its server. It is safe for use by
// several goroutines at once.
type Repository struct {
	options Options
	remote  *remote
	invalid error // what is wrong with the options
}

// Open returns the repository without making any request. What is wrong with the
// options is returned, as an *[OptionError], by the first operation.
func Open(o Options) *Repository {
	if o.LibraryLog == nil {
		o.LibraryLog = io.Discard
	}
	logrus.SetOutput(o.LibraryLog)
	host, _, _ := strings.Cut(o.GUN, "/")
	if o.Server == "" {
		o.Server = "https://" + host
	}
	if o.Transport == nil {
		o.Transport = http.DefaultTransport //nolint:forbidigo // the documented default
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the documented default
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.RequestTimeout == 0 {
		o.RequestTimeout = time.Minute
	}
	server, err := url.Parse(o.Server)
	r := &Repository{options: o, invalid: checkOptions(o, server, err)}
	if r.invalid != nil {
		return r
	}
	r.remote = &remote{
		gun: o.GUN, server: server.Host,
		base:       strings.TrimSuffix(o.Server, "/") + "/v2/" + (&url.URL{Path: o.GUN}).EscapedPath() + "/_trust/tuf/",
		transport:  o.Transport,
		timeout:    o.RequestTimeout,
		sleep:      o.Sleep,
		clock:      o.Now,
		remembered: make(map[string][]byte),
	}
	return r
}

func checkOptions(o Options, server *url.URL, err error) error {
	if err != nil || server.Host == "" || server.Scheme != "https" && server.Scheme != "http" || server.RawQuery != "" || server.Fragment != "" || server.User != nil {
		return &OptionError{Name: "trust server", Value: o.Server, Problem: "not an http or https address"}
	}
	if !strings.Contains(o.GUN, "/") || path.Clean(o.GUN) != o.GUN || strings.HasPrefix(o.GUN, "/") || strings.HasPrefix(o.GUN, ".") ||
		strings.ContainsAny(o.GUN, " \\*?#%\x00\r\n") || len(o.GUN) > 512 {
		return &OptionError{Name: "repository", Value: o.GUN, Problem: "not a host and a path"}
	}
	for _, p := range o.Pins {
		if !keyID.MatchString(p.ID) {
			return &OptionError{Name: "root key", Value: p.ID, Problem: "not 64 lower-case hexadecimal digits"}
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// Read fetches and verifies all trust data: the root's own signature and pin, every
// file's signatures, checksum and expiry. It takes 4 requests and one for every
// delegation that has published, of which files that were read before by this
// Repository, and cannot change, are not fetched again.
//
// Errors: *[NotInitialisedError], *[DeniedError], *[UnreachableError], *[ServerError],
// *[ExpiredError] (root, targets, snapshot or timestamp; an expired delegation is a
// [Problem] in the State), *[BadMetadataError], *[PinMismatchError],
// *[PinRequiredError], or the context's.
func (r *Repository) Read(ctx context.Context) (*State, error) {
	if r.invalid != nil {
		return nil, r.invalid
	}
	v, err := r.load(ctx, nil)
	if err != nil {
		return nil, err
	}
	return v.state, nil
}

// ReadToSign is [Repository.Read] and [Repository.CheckSnapshotKey] side by side, and
// with the errors of both: the server is asked for its key as soon as it has shown that
// the repository exists.
func (r *Repository) ReadToSign(ctx context.Context) (*State, error) {
	if r.invalid != nil {
		return nil, r.invalid
	}
	s := r.remote.open(ctx, nil)
	defer s.close()
	var content []byte
	var keyErr error
	asked := make(chan struct{})
	s.onRoot = func() {
		s.wg.Go(func() {
			defer close(asked)
			content, keyErr = r.remote.key(s.ctx, "snapshot")
		})
	}
	v, err := r.look(ctx, s)
	if err != nil {
		return nil, err
	}
	<-asked // there is no State without a root
	if keyErr != nil {
		return nil, keyErr
	}
	return v.state, r.holdsSnapshotKey(content, v.state)
}

// view is a State with the files it was made from.
type view struct {
	state *State
	files map[string][]byte
}

// load reads everything; root may be a root that was read a moment ago.
func (r *Repository) load(ctx context.Context, root []byte) (*view, error) {
	s := r.remote.open(ctx, root)
	defer s.close()
	return r.look(ctx, s)
}

func (r *Repository) look(ctx context.Context, s *session) (*view, error) {
	valid, invalid, err := s.load(r.options.GUN)
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if err != nil {
		return nil, translateRead(s, err)
	}
	state, err := newState(r.options, s, valid, invalid)
	if err != nil {
		return nil, err
	}
	if err := state.checkPins(r.options, valid); err != nil {
		return nil, err
	}
	return &view{state: state, files: s.files}, nil
}

// translateRead gives the library's errors, which are values that do not unwrap, a
// type that says what happened.
func translateRead(s *session, err error) error {
	var (
		notInitialised *NotInitialisedError
		denied         *DeniedError
		unreachable    *UnreachableError
		server         *ServerError
		bad            *BadMetadataError
		option         *OptionError
		expired        signed.ErrExpired
		pinning        *trustpinning.ErrValidationFail
		rotation       *trustpinning.ErrRootRotationFail
		threshold      signed.ErrRoleThreshold
		low            signed.ErrLowVersion
		form           data.ErrInvalidMetadata
		checksum       data.ErrMismatchedChecksum
	)
	reason := "malformed"
	switch {
	case errors.As(err, &notInitialised), errors.As(err, &denied), errors.As(err, &unreachable),
		errors.As(err, &server), errors.As(err, &bad), errors.As(err, &option):
		return err
	case errors.As(err, &expired):
		return &ExpiredError{Role: expired.Role.String(), At: s.expiry(expired.Role.String())}
	case errors.As(err, &pinning):
		return &BadMetadataError{Role: "root", Reason: "no certificate of this repository signs it", Err: err}
	case errors.As(err, &rotation):
		return &BadMetadataError{Role: "root", Reason: "not signed by the keys of the root before it", Err: err}
	case errors.As(err, &threshold), errors.Is(err, signed.ErrNoSignatures), errors.As(err, new(signed.ErrInvalidKeyID)):
		reason = "not signed by enough of its keys"
	case errors.As(err, &low):
		reason = "older than one seen before"
	case errors.As(err, &checksum):
		reason = "the checksum is wrong"
	case errors.As(err, &form):
		reason = "malformed"
	}
	return &BadMetadataError{Role: s.last, Reason: reason, Err: err}
}

// CheckSign asks whether we may sign here, without changing anything: the timestamp
// key is shown only to those who may push trust data (server.go of notary-server).
// It is one request. The repository must exist, which Read finds out: for another
// one the server would make a key.
//
// Errors: *[DeniedError], *[UnreachableError], *[ServerError], or the context's.
func (r *Repository) CheckSign(ctx context.Context) error {
	if r.invalid != nil {
		return r.invalid
	}
	_, err := r.remote.key(ctx, "timestamp")
	return err
}

// CheckSnapshotKey asks whether the server holds the snapshot key that the root names.
// If it does not, only the one who holds it can publish, and the error is a
// *[SnapshotKeyError]. It is one request; a server without the key makes one for
// nobody's use when it is asked (server/snapshot/snapshot.go).
func (r *Repository) CheckSnapshotKey(ctx context.Context, s *State) error {
	if r.invalid != nil {
		return r.invalid
	}
	content, err := r.remote.key(ctx, "snapshot")
	if err != nil {
		return err
	}
	return r.holdsSnapshotKey(content, s)
}

// holdsSnapshotKey compares the key that the server showed with those of the root.
func (r *Repository) holdsSnapshotKey(content []byte, s *State) error {
	key, err := data.UnmarshalPublicKey(content)
	if err != nil {
		return &BadMetadataError{Role: "snapshot", Reason: "the server's key is malformed", Err: err}
	}
	for _, id := range s.snapshotKeys {
		if id == key.ID() {
			return nil
		}
	}
	return &SnapshotKeyError{GUN: r.options.GUN}
}
