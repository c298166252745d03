package registrytest

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

var accounts = map[string]User{
	"pusher":   {Password: "push-secret", IdentityToken: "identity-of-pusher", Pull: true, Push: true, Delete: true},
	"signer":   {Password: "sign-secret", Pull: true, Push: true, Sign: true},
	"follower": {Password: "pull-secret", Pull: true},
}

func start(t *testing.T, o Options) *Front {
	t.Helper()
	if o.Users == nil {
		o.Users = accounts
	}
	f, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

func TestARealClientPushesAndPullsThroughTheDoor(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Host: "contoso.azurecr.io"})
	image, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference("contoso.azurecr.io/team/app:1.0")
	if err != nil {
		t.Fatal(err)
	}
	options := []remote.Option{
		remote.WithTransport(f.Client().Transport),
		remote.WithAuth(&authn.Basic{Username: "pusher", Password: "push-secret"}),
	}
	if err := remote.Write(ref, image, options...); err != nil {
		t.Fatal(err)
	}
	got, err := remote.Image(ref, options...)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := image.Digest()
	if digest, err := got.Digest(); err != nil || digest != want {
		t.Errorf("pulled %v, %v; want %v", digest, err, want)
	}
}

func TestTokensHoldWhatTheUserMayDo(t *testing.T) {
	t.Parallel()
	const plain, gun = "repository:app:pull,push", "repository:contoso.azurecr.io/app:pull,push"
	for _, c := range []struct {
		title, user, password string
		scopes                []string
		want                  []access
	}{
		{"push needs Push", "follower", "pull-secret", []string{plain},
			[]access{{"repository", "app", []string{"pull"}}}},
		{"Push grants push", "pusher", "push-secret", []string{plain},
			[]access{{"repository", "app", []string{"pull", "push"}}}},
		{"Push does not grant push on trust data", "pusher", "push-secret", []string{gun},
			[]access{{"repository", "contoso.azurecr.io/app", []string{"pull"}}}},
		{"several scopes are kept apart", "signer", "sign-secret", []string{plain, gun},
			[]access{{"repository", "app", []string{"pull", "push"}}, {"repository", "contoso.azurecr.io/app", []string{"pull", "push"}}}},
		{"a GUN may hold a port", "signer", "sign-secret", []string{"repository:127.0.0.1:5000/a/b:*"},
			[]access{{"repository", "127.0.0.1:5000/a/b", []string{"*"}}}},
	} {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			f := start(t, Options{Host: "contoso.azurecr.io"})
			query := url.Values{"service": {f.Service}, "scope": c.scopes}
			request, _ := http.NewRequest(http.MethodGet, f.Realm+"?"+query.Encode(), nil)
			request.SetBasicAuth(c.user, c.password)
			got, err := f.verify(askToken(t, f, request))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got.Access); diff != "" {
				t.Error(diff)
			}
			if got.Subject != c.user || got.Issuer != f.Issuer || got.Audience != f.Service || got.ID == "" {
				t.Errorf("claims are %+v", got)
			}
		})
	}
}

func TestTokensAreGivenForFormsToo(t *testing.T) {
	t.Parallel()
	f := start(t, Options{})
	for title, form := range map[string]url.Values{
		"password":      {"grant_type": {"password"}, "username": {"pusher"}, "password": {"push-secret"}},
		"refresh token": {"grant_type": {"refresh_token"}, "refresh_token": {"identity-of-pusher"}},
		"identity user": {"grant_type": {"password"}, "username": {IdentityUser}, "password": {"identity-of-pusher"}},
	} {
		form.Set("service", f.Service)
		form.Set("scope", "repository:app:pull repository:other:push")
		request, _ := http.NewRequest(http.MethodPost, f.Realm, strings.NewReader(form.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		got, err := f.verify(askToken(t, f, request))
		if err != nil || got.Subject != "pusher" || len(got.Access) != 2 {
			t.Errorf("%s: %+v, %v", title, got, err)
		}
	}
}

func TestNobodyGetsATokenWithoutARightCredential(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Users: map[string]User{"empty": {Pull: true}}})
	for _, login := range [][2]string{{"", ""}, {"empty", ""}, {"empty", "x"}, {"ghost", "x"}, {IdentityUser, ""}} {
		request, _ := http.NewRequest(http.MethodGet, f.Realm+"?service="+url.QueryEscape(f.Service), nil)
		if login[0] != "" {
			request.SetBasicAuth(login[0], login[1])
		}
		if status, body := do(t, f.Client(), request); status != http.StatusUnauthorized || !strings.Contains(body, "UNAUTHORIZED") {
			t.Errorf("%v: %d %s", login, status, body)
		}
	}
}

func TestTheChallengeNamesRealmServiceAndScope(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Host: "contoso.azurecr.io"})
	response, err := f.Client().Get(f.URL + "/v2/team/app/manifests/1.0")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	const want = `Bearer realm="https://contoso.azurecr.io/oauth2/token",service="contoso.azurecr.io",scope="repository:team/app:pull"`
	if got := response.Header.Get("Www-Authenticate"); got != want {
		t.Errorf("challenge is %s, want %s", got, want)
	}
}

func TestFaultsCanBeSwitchedWhileRunning(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Host: "contoso.azurecr.io"})
	put := func(tag string) int { return f.as(t, "pusher", http.MethodPut, "/v2/app/manifests/"+tag) }
	remove := func(path string) int { return f.as(t, "pusher", http.MethodDelete, path) }

	f.LockTag("stable", http.StatusConflict)
	check(t, "a locked tag", put("stable"), http.StatusConflict)
	check(t, "another tag", put("edge"), http.StatusCreated)
	f.LockTag("stable", 0)
	check(t, "an unlocked tag", put("stable"), http.StatusCreated)

	f.SetDeletion(false)
	check(t, "deletion switched off", remove("/v2/app/manifests/edge"), http.StatusMethodNotAllowed)
	f.SetDeletion(true)
	check(t, "deletion", remove("/v2/app/manifests/edge"), http.StatusAccepted)
	check(t, "untagging as ACR does", remove("/acr/v1/app/_tags/stable"), http.StatusAccepted)
	check(t, "cancelling an upload", remove("/v2/app/blobs/uploads/1"), http.StatusNoContent)

	f.Intercept(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { WriteError(w, 418, "TEAPOT", "short") })
	check(t, "an intercepted request", f.get(t, "/v2/"), 418)
	f.Intercept(nil)
	check(t, "no token", f.get(t, "/v2/"), http.StatusUnauthorized)

	f.SetRealm("https://phisher.example/token")
	response, err := f.Client().Get(f.URL + "/v2/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if got := response.Header.Get("Www-Authenticate"); !strings.Contains(got, `realm="https://phisher.example/token"`) {
		t.Errorf("challenge is %s", got)
	}
}

func TestOldTokensAreRefusedOnceRevokedOrExpired(t *testing.T) {
	t.Parallel()
	f := start(t, Options{})
	token, err := f.sign("pusher", nil, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "a fresh token", f.with(t, token, http.MethodGet, "/v2/"), http.StatusOK)
	f.RevokeTokens()
	check(t, "a revoked token", f.with(t, token, http.MethodGet, "/v2/"), http.StatusUnauthorized)
	token, err = f.sign("pusher", nil, -time.Second)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "an expired token", f.with(t, token, http.MethodGet, "/v2/"), http.StatusUnauthorized)
	token, err = f.sign("pusher", nil, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	check(t, "a forged token", f.with(t, token[:len(token)-6]+"AAAAAA", http.MethodGet, "/v2/"), http.StatusUnauthorized)
}

func TestRequestsAndConnectionsAreCounted(t *testing.T) {
	t.Parallel()
	f := start(t, Options{})
	one, other := f.Client(), f.Client()
	for _, client := range []*http.Client{one, one, other} {
		request, _ := http.NewRequest(http.MethodGet, f.URL+"/v2/", nil)
		do(t, client, request)
	}
	var conns []int64
	for _, r := range f.Requests() {
		conns = append(conns, r.Conn)
		if r.String() != "GET /v2/ 401" {
			t.Errorf("logged %s", r)
		}
	}
	if !slices.Equal(conns, []int64{1, 1, 2}) || f.Connections() != 2 {
		t.Errorf("connections are %v", conns)
	}
	f.ResetLog()
	if len(f.Requests()) != 0 {
		t.Error("the log is not empty")
	}
}

func TestTrustDataNeedsRightsOfItsOwn(t *testing.T) {
	t.Parallel()
	trust := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) })
	f := start(t, Options{Host: "contoso.azurecr.io", Trust: trust, VerifyTrust: true})
	const key = "/v2/contoso.azurecr.io/app/_trust/tuf/timestamp.key"
	check(t, "a pusher", f.as(t, "pusher", http.MethodGet, key), http.StatusUnauthorized)
	check(t, "a signer", f.as(t, "signer", http.MethodGet, key), http.StatusOK)
	check(t, "a reader", f.as(t, "follower", http.MethodGet, "/v2/contoso.azurecr.io/app/_trust/tuf/root.json"), http.StatusOK)
}

func TestDelayAndBlobRedirects(t *testing.T) {
	t.Parallel()
	f := start(t, Options{Delay: 30 * time.Millisecond})
	begin := time.Now()
	f.get(t, "/v2/")
	if took := time.Since(begin); took < 30*time.Millisecond {
		t.Errorf("took %v", took)
	}
	f.SetDelay(0)
	f.RedirectBlobs("https://blobs.example")
	check(t, "a blob", f.as(t, "follower", http.MethodGet, "/v2/app/blobs/sha256:00"), http.StatusTemporaryRedirect)
}

// as asks with a token for all a user may have.
func (f *Front) as(t *testing.T, user, method, path string) int {
	t.Helper()
	need := neededAccess(&http.Request{Method: method, URL: &url.URL{Path: path}})
	token, err := f.sign(user, f.grantNeeded(f.options.Users[user], need), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return f.with(t, token, method, path)
}

func (f *Front) with(t *testing.T, token, method, path string) int {
	t.Helper()
	request, err := http.NewRequest(method, f.URL+path, bytes.NewReader([]byte("{}")))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	client := f.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	status, _ := do(t, client, request)
	return status
}

func (f *Front) get(t *testing.T, path string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, f.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	status, _ := do(t, f.Client(), request)
	return status
}

func askToken(t *testing.T, f *Front, request *http.Request) string {
	t.Helper()
	status, body := do(t, f.Client(), request)
	var answer struct {
		AccessToken string `json:"access_token"`
		Token       string `json:"token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		t.Fatalf("%d %s: %v", status, body, err)
	}
	if answer.Token != answer.AccessToken || answer.ExpiresIn != 4500 {
		t.Errorf("answer is %+v", answer)
	}
	return answer.AccessToken
}

func do(t *testing.T, client *http.Client, request *http.Request) (int, string) {
	t.Helper()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func check(t *testing.T, what string, got, want int) {
	t.Helper()
	if got != want {
		t.Errorf("%s: status %d, want %d", what, got, want)
	}
}
