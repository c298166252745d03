package trust

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"time"

	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/notarytest"

	"github.com/theupdateframework/notary/tuf/data"
)

const testGUN = "registry.example/team/app"

// world is a Notary server with an initialised repository and its owner. The server
// is the fake one; Server is nil when it is the real one.
type world struct {
	t      testing.TB
	Server *notarytest.Server
	URL    string
	Owner  *notarytest.Owner
}

// newWorld makes a fake server, without any repository.
func newWorld(t testing.TB) *world {
	t.Helper()
	server := notarytest.New()
	front := httptest.NewServer(server)
	t.Cleanup(front.Close)
	return &world{t: t, Server: server, URL: front.URL, Owner: notarytest.NewOwner(front.URL, nil)}
}

// newRealWorld starts notary-server, which may be missing only outside of CI.
func newRealWorld(t testing.TB) *world {
	t.Helper()
	p, err := notarytest.StartProcess(t.Context())
	if errors.Is(err, notarytest.ErrNotInstalled) && os.Getenv("CI") != "true" {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &world{t: t, URL: p.URL, Owner: notarytest.NewOwner(p.URL, nil)}
}

// everyWorld runs a test against the fake and the real server.
func everyWorld(t *testing.T, test func(t *testing.T, w *world)) {
	t.Run("fake", func(t *testing.T) {
		t.Parallel()
		test(t, newWorld(t))
	})
	t.Run("notary-server", func(t *testing.T) {
		t.Parallel()
		w := newRealWorld(t)
		if w == nil {
			t.Log("notary-server is not installed: not tested against it")
			return
		}
		test(t, w)
	})
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// init initialises the repository and adds signers with new keys.
func (w *world) init(signers ...string) []*Key {
	w.t.Helper()
	w.must(w.Owner.Init(testGUN))
	var keys []*Key
	for _, name := range signers {
		keys = append(keys, w.addSigner(name))
	}
	return keys
}

func (w *world) addSigner(name string, paths ...string) *Key {
	w.t.Helper()
	key := newTestKey(w.t)
	public, err := key.PublicPEM()
	w.must(err)
	w.must(w.Owner.AddSigner(testGUN, name, public, paths...))
	return key
}

func newTestKey(t testing.TB) *Key {
	t.Helper()
	private, _, err := notarytest.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ReadKey(private, secret.Value{})
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// open opens the repository with sleeps that last a thousandth.
func (w *world) open(change ...func(*Options)) *Repository {
	o := Options{GUN: testGUN, Server: w.URL, Sleep: func(ctx context.Context, d time.Duration) error {
		return sleep(ctx, d/1000)
	}}
	for _, c := range change {
		c(&o)
	}
	return Open(o)
}

func (w *world) read(r *Repository) *State {
	w.t.Helper()
	s, err := r.Read(w.t.Context())
	w.must(err)
	return s
}

func (w *world) sign(r *Repository, key *Key, targets ...Target) Receipt {
	w.t.Helper()
	receipt, err := r.Sign(w.t.Context(), SignRequest{Key: key, Targets: targets})
	w.must(err)
	return receipt
}

// requests returns the log of the fake server since the last call, as "GET name".
func (w *world) requests() []string {
	var list []string
	for _, r := range w.Server.Requests() {
		list = append(list, fmt.Sprintf("%s %s %d", r.Method, r.Name, r.Status))
	}
	w.Server.ResetLog()
	return list
}

func target(tag string) Target {
	return Target{Tag: tag, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(tag))), Size: int64(100 + len(tag))}
}

func targets(n int) []Target {
	var list []Target
	for i := range n {
		list = append(list, target(fmt.Sprint("tag-", i)))
	}
	return list
}

// privateOf gives a key to notarytest.Server.Edit.
func privateOf(k *Key) data.PrivateKey { return k.private }

// counting is a transport that counts.
type counting struct {
	mu sync.Mutex
	n  int
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.n++
	c.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

func (c *counting) take() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = 0
	return n
}

// secretNone is no passphrase.
var secretNone secret.Value
