//go:build e2e

package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/registrytest"
	"contenttrust/internal/testkit/rig"
)

// The same Client, against docker-registry and notary-server.
func TestRealServersAnswerAsTheFakeDoes(t *testing.T) {
	ctx := context.Background()
	stack, err := rig.Start(ctx, rig.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Close(); err != nil {
			t.Error(err)
		}
	})
	f := stack.Front
	as := func(user string) *Client {
		return connect(t, Credential{Username: user, Password: secret.New(stack.Users[user].Password)}, one(f))
	}
	seedAs(t, f, "1.0", rig.Pusher, stack.Users[rig.Pusher].Password)
	c := as(rig.Signer)

	if err := checkPush(ctx, c); err != nil {
		t.Fatal(err)
	}
	m, err := c.Manifest(ctx, "1.0")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Tag(ctx, m, names(20)); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Manifest(ctx, "t19"); err != nil || cmp.Diff(m, got) != "" {
		t.Errorf("t19 is %s, %v", got.Digest, err)
	}
	if _, err := c.Manifest(ctx, "none"); !errors.Is(err, ErrNotFound) {
		t.Errorf("error is %v", err)
	}
	// docker-registry 2.8 removes manifests only, never a tag by itself.
	mustSee(t, c.Delete(ctx, "t0"), func(e *UnsupportedError) bool { return e.Reference == "t0" })
	if err := c.Delete(ctx, m.Digest); err != nil {
		t.Error(err)
	}
	mustSee(t, as(rig.Reader).CheckPush(ctx), func(e *AccessError) bool { return e.Kind == Denied && e.Op == OpUpload })

	key := f.URL + "/v2/" + c.Repository().GUN() + "/_trust/tuf/timestamp.key"
	for user, want := range map[string]int{rig.Signer: http.StatusOK, rig.Pusher: http.StatusUnauthorized} {
		if got := ask(t, as(user).TrustTransport("pull", "push"), http.MethodGet, key, ""); got != want {
			t.Errorf("%s: status %d, want %d", user, got, want)
		}
	}
	t.Log("\n" + strings.Join(lines(f), "\n"))
	f.Intercept(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		registrytest.WriteError(w, http.StatusForbidden, "DENIED", "client with IP '203.0.113.9' is not allowed access.")
	})
	mustSee(t, as(rig.Signer).CheckPush(ctx), func(e *AccessError) bool { return e.Kind == Firewall })
}
