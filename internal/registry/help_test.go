package registry

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/registrytest"
)

const host = "contoso.azurecr.io"

var (
	app    = Repository{Host: host, Path: "team/app"}
	pusher = Credential{Username: "pusher", Password: secret.New("push-secret")}
	signer = Credential{Username: "signer", Password: secret.New("sign-secret")}
	reader = Credential{Username: "reader", Password: secret.New("read-secret")}
)

// start runs a Front that calls itself contoso.azurecr.io.
func start(t *testing.T, o registrytest.Options) *registrytest.Front {
	t.Helper()
	if o.Host == "" {
		o.Host = host
	}
	o.VerifyTrust = true
	o.Users = map[string]registrytest.User{
		"pusher": {Password: "push-secret", IdentityToken: "push-identity", Pull: true, Push: true, Delete: true},
		"signer": {Password: "sign-secret", Pull: true, Push: true, Sign: true},
		"reader": {Password: "read-secret", Pull: true},
	}
	f, err := registrytest.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// connect makes a Client for team/app that never really sleeps.
func connect(t *testing.T, c Credential, fronts []*registrytest.Front, change ...func(*Options)) *Client {
	t.Helper()
	o := Options{
		Repository: Repository{Host: fronts[0].Host, Path: "team/app"},
		Credential: c,
		Transport:  registrytest.ClientFor(fronts...).Transport,
		Sleep:      func(context.Context, time.Duration) error { return nil },
	}
	for _, f := range change {
		f(&o)
	}
	client, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func one(f ...*registrytest.Front) []*registrytest.Front { return f }

// seed pushes a random image under a tag and gives its digest, by another
// client than ours and before the log begins.
func seed(t *testing.T, f *registrytest.Front, tag string) string {
	t.Helper()
	return seedAs(t, f, tag, "pusher", "push-secret")
}

func seedAs(t *testing.T, f *registrytest.Front, tag, user, password string) string {
	t.Helper()
	image, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(f.Host + "/team/app:" + tag)
	if err != nil {
		t.Fatal(err)
	}
	err = remote.Write(ref, image, remote.WithTransport(f.Client().Transport),
		remote.WithAuth(&authn.Basic{Username: user, Password: password}))
	if err != nil {
		t.Fatal(err)
	}
	f.ResetLog()
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// lines is a Front's log, one request a line.
func lines(f *registrytest.Front) []string {
	var all []string
	for _, r := range f.Requests() {
		all = append(all, r.String())
	}
	return all
}

// count counts the requests of a method and path.
func count(f *registrytest.Front, method, path string) int {
	n := 0
	for _, r := range f.Requests() {
		if r.Method == method && r.Path == path {
			n++
		}
	}
	return n
}

// mustSee fails unless err is, or wraps, a T for which ok is true.
func mustSee[T error](t *testing.T, err error, ok func(T) bool) {
	t.Helper()
	got, is := errors.AsType[T](err)
	if !is {
		t.Fatalf("error is %v (%T), want a %T", err, err, got)
	}
	if !ok(got) {
		t.Errorf("error is %#v", got)
	}
}

// noCredentialAt fails if a Front ever saw a credential.
func noCredentialAt(t *testing.T, f *registrytest.Front) {
	t.Helper()
	for _, r := range f.Requests() {
		if r.Auth != "" || r.Method == http.MethodPost && r.Path == "/oauth2/token" {
			t.Errorf("%s has seen a credential: %s with %q", f.Host, r, r.Auth)
		}
	}
}

// firstTimes answers the first n requests of a method with fault, and hands on
// the rest.
func firstTimes(n int, method, inPath string, fault http.HandlerFunc) registrytest.Fault {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		hit := n > 0 && r.Method == method && (inPath == "" || inPath == r.URL.Path)
		if hit {
			n--
		}
		mu.Unlock()
		if hit {
			fault(w, r)
			return
		}
		next.ServeHTTP(w, r)
	}
}

func cutConnection(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func answerWith(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { registrytest.WriteError(w, status, code, message) }
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }
