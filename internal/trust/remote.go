package trust

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/theupdateframework/notary/storage"
	"github.com/theupdateframework/notary/tuf/utils"
)

const (
	maxRoot       = 512 << 10
	maxTimestamp  = 1 << 20
	maxSnapshot   = 4 << 20
	maxTargets    = 32 << 20 // about 150 000 tags
	maxKeyAnswer  = 256 << 10
	maxErrorBody  = 64 << 10
	maxRemembered = 64 << 20

	getTries      = 4
	maxRetryAfter = 30 * time.Second
)

// remote makes the requests for one repository.
type remote struct {
	gun, server string
	base        string // URL of the repository's trust data, with a slash at its end
	transport   http.RoundTripper
	timeout     time.Duration
	sleep       func(context.Context, time.Duration) error
	clock       func() time.Time

	mu         sync.Mutex
	remembered map[string][]byte // files by a name with their checksum in it
	size       int
	root       []byte    // as read last
	uploaded   []string  // names, with their checksums, of the files that we published last
	served     time.Time // the server's clock at the last answer, zero if it sent none
}

// answer is a response whose body has been read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get fetches a metadata file. name is as the server knows it, without ".json". Files
// named by their checksum are remembered, because they cannot change.
func (r *remote) get(ctx context.Context, name string, limit int64) ([]byte, error) {
	if content := r.recall(name); content != nil {
		return content, nil
	}
	a, err := r.retry(ctx, OpRead, name+".json", limit)
	if err != nil {
		return nil, err
	}
	if a.status == http.StatusNotFound {
		code, _, _ := serverSaid(a.body)
		if name == "root" {
			return nil, &NotInitialisedError{GUN: r.gun, Server: r.server, Code: code}
		}
		return nil, &BadMetadataError{Role: roleOf(name), Reason: "missing on the server"}
	}
	if err := r.refused(OpRead, name+".json", a); err != nil {
		return nil, err
	}
	r.remember(name, a.body)
	return a.body, nil
}

// retry makes a GET, which is harmless to repeat.
func (r *remote) retry(ctx context.Context, op Operation, name string, limit int64) (*answer, error) {
	for try := 1; ; try++ {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url(name), nil)
		if err != nil {
			return nil, &OptionError{Name: "trust server", Value: r.server, Problem: "no URL can be made with it"}
		}
		a, err := r.do(ctx, op, request, limit)
		wait, again := worthRepeating(err)
		if err == nil {
			wait, again = worthRepeating(r.refused(op, name, a))
		}
		if !again || try == getTries {
			return a, err
		}
		if err := r.sleep(ctx, max(wait, backoff(try, 250*time.Millisecond))); err != nil {
			return nil, err
		}
	}
}

// backoff doubles with every try and varies by half, so that those who collided do
// not meet again.
func backoff(try int, first time.Duration) time.Duration {
	d := first << min(try-1, 5)
	return d/2 + rand.N(d) //nolint:gosec // spreads retries; nobody gains by guessing
}

// worthRepeating tells the failures that may pass from those that stay.
func worthRepeating(err error) (wait time.Duration, again bool) {
	var server *ServerError
	var unreachable *UnreachableError
	switch {
	case errors.As(err, &server):
		again = server.Status == http.StatusTooManyRequests || server.Status >= 500 && server.Status != http.StatusNotImplemented
		return min(server.RetryAfter, maxRetryAfter), again
	case errors.As(err, &unreachable):
		var certificate *tls.CertificateVerificationError
		var permanent interface{ Permanent() bool } // what a transport may say of its own errors
		return 0, !errors.As(err, &certificate) && !(errors.As(err, &permanent) && permanent.Permanent())
	}
	return 0, false
}

// do makes one request and reads the whole answer, of which a body for status 200
// may have limit bytes.
func (r *remote) do(ctx context.Context, op Operation, request *http.Request, limit int64) (*answer, error) {
	limited, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	response, err := r.transport.RoundTrip(request.WithContext(limited))
	if err == nil {
		defer response.Body.Close()
		a := &answer{status: response.StatusCode, header: response.Header}
		if a.status != http.StatusOK {
			limit = maxErrorBody
		}
		a.body, err = io.ReadAll(io.LimitReader(response.Body, limit+1))
		if err == nil && int64(len(a.body)) > limit && a.status == http.StatusOK {
			name := strings.TrimPrefix(request.URL.Path[strings.LastIndex(request.URL.Path, "/_trust/tuf/"):], "/_trust/tuf/")
			return nil, &BadMetadataError{Role: roleOf(strings.TrimSuffix(name, ".json")), Reason: "larger than " + strconv.FormatInt(limit, 10) + " bytes"}
		}
		if err == nil {
			r.note(response.Header)
			return a, nil
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	return nil, &UnreachableError{Op: op, Server: r.server, Err: err}
}

// refused translates a status other than 200.
func (r *remote) refused(op Operation, name string, a *answer) error {
	code, _, message := serverSaid(a.body)
	switch a.status {
	case http.StatusOK:
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return &DeniedError{Op: op, Status: a.status, Code: code, Message: message}
	}
	return &ServerError{Op: op, Name: name, Status: a.status, Code: code, Message: message, RetryAfter: r.retryAfter(a.header)}
}

func (r *remote) retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		return time.Duration(min(seconds, 3600)) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(r.clock()))
	}
	return 0
}

// serverSaid reads the error envelope of Notary and registries. reason is the name
// of Notary's validation error, if there is one.
func serverSaid(body []byte) (code, reason, message string) {
	var envelope struct {
		Errors []struct {
			Code, Message string
			Detail        json.RawMessage
		}
	}
	if json.Unmarshal(body, &envelope) != nil || len(envelope.Errors) == 0 {
		return "", "", ""
	}
	first := envelope.Errors[0]
	var detail struct {
		Name  string
		Error struct{ Msg string }
	}
	if json.Unmarshal(first.Detail, &detail) == nil && detail.Error.Msg != "" {
		return first.Code, detail.Name, clip(detail.Error.Msg)
	}
	return first.Code, detail.Name, clip(first.Message)
}

// clip makes a text from the server fit for one line.
func clip(s string) string {
	var b strings.Builder
	for len(s) > 64 && b.Len() < 448 {
		b.WriteString(strings.TrimSuffix(printable(s[:64]), "..."))
		s = s[64:]
	}
	b.WriteString(printable(s))
	return b.String()
}

// post uploads files by their roles.
func (r *remote) post(ctx context.Context, files map[string][]byte) error {
	request, err := storage.NewMultiPartMetaRequest(r.url(""), files)
	if err != nil {
		return &OptionError{Name: "trust server", Value: r.server, Problem: "no URL can be made with it"}
	}
	a, err := r.do(ctx, OpPublish, request, maxErrorBody)
	if err != nil {
		return err
	}
	switch a.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		code, reason, message := serverSaid(a.body)
		if reason == "ErrBadHierarchy" {
			return &SnapshotKeyError{GUN: r.gun}
		}
		return &RejectedError{Status: a.status, Code: code, Reason: reason, Message: message}
	}
	if err := r.refused(OpPublish, "", a); err != nil {
		return err
	}
	r.expect(files)
	return nil
}

// expect notes what was published: the next look will most likely want to see it, and
// can ask for it before the snapshot tells so.
func (r *remote) expect(files map[string][]byte) {
	names := make([]string, 0, len(files))
	for role, content := range files {
		sum := sha256.Sum256(content)
		names = append(names, utils.ConsistentName(role, sum[:]))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.uploaded = names
}

// expected returns what was noted, once.
func (r *remote) expected() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := r.uploaded
	r.uploaded = nil
	return names
}

// key asks for the server's public key of a role.
func (r *remote) key(ctx context.Context, role string) ([]byte, error) {
	a, err := r.retry(ctx, OpCheck, role+".key", maxKeyAnswer)
	if err != nil {
		return nil, err
	}
	return a.body, r.refused(OpCheck, role+".key", a)
}

func (r *remote) url(name string) string {
	return r.base + (&url.URL{Path: name}).EscapedPath()
}

// note keeps the server's clock.
func (r *remote) note(h http.Header) {
	at, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	r.mu.Lock()
	r.served = at
	r.mu.Unlock()
}

// remember keeps a file whose name has its checksum, if it is right.
func (r *remote) remember(name string, content []byte) {
	role, sum, hashed := strings.Cut(name, ".")
	actual := sha256.Sum256(content)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case name == "root" || hashed && role == "root":
		r.root = content
	case !hashed || hex.EncodeToString(actual[:]) != sum || r.size+len(content) > maxRemembered:
	default:
		r.remembered[name] = content
		r.size += len(content)
	}
}

func (r *remote) recall(name string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.remembered[name]
}

// lastRoot returns the root that was read last, nil if none was.
func (r *remote) lastRoot() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(r.root)
}

// roleOf returns the role in a name with a checksum ("targets/a.<sum>") or a version
// ("2.root").
func roleOf(name string) string {
	for part := range strings.SplitSeq(name, ".") {
		if len(part) > 0 && (part[0] < '0' || part[0] > '9') && !keyID.MatchString(part) {
			return part
		}
	}
	return name
}
