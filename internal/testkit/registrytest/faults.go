package registrytest

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Fault sees a request before the Front does and may answer it, change it, or
// hand it on to next.
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// faults is what can be switched while the Front runs.
type faults struct {
	epoch atomic.Int64 // tokens of an earlier epoch are refused

	mu         sync.Mutex
	delay      time.Duration
	tokenLife  time.Duration
	intercept  Fault
	realm      string
	blobsAt    string
	locked     map[string]int
	noDeletion bool
}

func (x *faults) reset(o Options) {
	x.delay, x.tokenLife = o.Delay, o.TokenLife
	if x.tokenLife == 0 {
		x.tokenLife = 75 * time.Minute
	}
	x.locked = map[string]int{}
}

func (x *faults) life() time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.tokenLife
}

// SetDelay adds d before every answer from now on.
func (f *Front) SetDelay(d time.Duration) { f.faults.set(func(x *faults) { x.delay = d }) }

// SetTokenLife sets how long the tokens given from now on are valid, in whole
// seconds. Real servers behind the Front allow 60 s more.
func (f *Front) SetTokenLife(d time.Duration) { f.faults.set(func(x *faults) { x.tokenLife = d }) }

// Intercept sends every request through fault first; nil ends that.
func (f *Front) Intercept(fault Fault) { f.faults.set(func(x *faults) { x.intercept = fault }) }

// SetRealm makes challenges name another token address, as a phishing registry
// would; "" ends that.
func (f *Front) SetRealm(realm string) { f.faults.set(func(x *faults) { x.realm = realm }) }

// RedirectBlobs answers GETs of blobs with 307 to base + path; "" ends that.
func (f *Front) RedirectBlobs(base string) { f.faults.set(func(x *faults) { x.blobsAt = base }) }

// LockTag refuses to write or delete a tag, with status 405 as ACR does or 409
// as others; status 0 unlocks.
func (f *Front) LockTag(tag string, status int) {
	f.faults.set(func(x *faults) {
		x.locked[tag] = status
		if status == 0 {
			delete(x.locked, tag)
		}
	})
}

// SetDeletion switches the deletion of manifests and tags, which is on at first.
func (f *Front) SetDeletion(on bool) { f.faults.set(func(x *faults) { x.noDeletion = !on }) }

// RevokeTokens makes every token given so far invalid, whatever stands behind
// the Front.
func (f *Front) RevokeTokens() { f.faults.epoch.Add(1) }

func (x *faults) set(change func(*faults)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	change(x)
}

// handle applies what is switched on and passes the rest on to next.
func (f *Front) handle(w *recorder, r *http.Request, next http.Handler) {
	x := &f.faults
	x.mu.Lock()
	delay, intercept, blobsAt, noDeletion := x.delay, x.intercept, x.blobsAt, x.noDeletion
	lock := 0
	if tag := tagOf(r.URL.Path); tag != "" && (r.Method == http.MethodPut || r.Method == http.MethodDelete) {
		lock = x.locked[tag]
	}
	x.mu.Unlock()

	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	builtIn := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case x.revoked(r):
			f.challenge(w, neededAccess(r), "invalid_token")
		case lock != 0:
			WriteError(w, lock, "UNSUPPORTED", "The operation is disallowed on this registry, repository or image.")
		case noDeletion && r.Method == http.MethodDelete && !strings.Contains(r.URL.Path, "/_trust/"):
			WriteError(w, http.StatusMethodNotAllowed, "UNSUPPORTED", "The operation is unsupported.")
		case blobsAt != "" && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:"):
			http.Redirect(w, r, blobsAt+r.URL.Path, http.StatusTemporaryRedirect)
		default:
			next.ServeHTTP(w, r)
		}
	})
	if intercept != nil {
		intercept(w, r, builtIn)
		return
	}
	builtIn.ServeHTTP(w, r)
}

func (x *faults) revoked(r *http.Request) bool {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return false
	}
	c, err := readClaims(token)
	if err != nil {
		return false // whoever verifies tokens will say so
	}
	epoch, _, _ := strings.Cut(c.ID, ".")
	return epoch != strconv.FormatInt(x.epoch.Load(), 10)
}

// tagOf is the last element of a path that names a tag, "" for other paths.
func tagOf(path string) string {
	for _, mark := range []string{"/manifests/", "/_tags/"} {
		if i := strings.LastIndex(path, mark); i > 0 && !strings.Contains(path[i:], ":") {
			return path[i+len(mark):]
		}
	}
	return ""
}

var realmParameter = regexp.MustCompile(`realm="[^"]*"`)

// phish replaces the realm in a challenge that is about to leave.
func (x *faults) phish(h http.Header) {
	x.mu.Lock()
	realm := x.realm
	x.mu.Unlock()
	if realm == "" {
		return
	}
	for i, value := range h["Www-Authenticate"] {
		h["Www-Authenticate"][i] = realmParameter.ReplaceAllLiteralString(value, `realm="`+realm+`"`)
	}
}
