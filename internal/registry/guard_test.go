package registry

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/registrytest"
)

// Table of realms a hostile or mistaken registry may name. The fake phisher has
// a certificate the client trusts, so that nothing but our own judgement stands
// between it and the credential.
func TestTheCredentialGoesToNoRealmElsewhere(t *testing.T) {
	t.Parallel()
	for realm, reason := range map[string]string{
		"https://phisher.example/oauth2/token":                   "another host",
		"https://contoso.azurecr.io.phisher.example/token":       "another host",
		"https://contoso.azurecr.io:8443/oauth2/token":           "another host",
		"https://phisher.example/contoso.azurecr.io":             "another host",
		"https://contoso.azurecr.io@phisher.example/token":       "has a user name",
		"http://contoso.azurecr.io/oauth2/token":                 "not https",
		"http://169.254.169.254/metadata/identity":               "not https",
		"https://169.254.169.254/metadata/identity":              "another host",
		"https://127.0.0.1/token":                                "another host",
		"ftp://contoso.azurecr.io/oauth2/token":                  "not https",
		"//phisher.example/token":                                "not https",
		"/oauth2/token":                                          "not an address",
		"https:contoso.azurecr.io":                               "not an address",
		"https://%zz/":                                           "not an address",
		"https://phisher.example/" + strings.Repeat("a", 64<<10): "not an address",
	} {
		t.Run(cut(realm, 60), func(t *testing.T) {
			t.Parallel()
			f := start(t, registrytest.Options{})
			phisher := start(t, registrytest.Options{Host: "phisher.example"})
			f.SetRealm(realm)
			for _, credential := range []Credential{pusher, {IdentityTokenUser, secret.New("push-identity")}} {
				c := connect(t, credential, one(f, phisher))
				for title, err := range map[string]error{
					"registry": checkPush(context.Background(), c),
					"trust":    c.CheckTrust(context.Background(), "pull", "push"),
				} {
					mustSee(t, err, func(e *RealmError) bool {
						shown := strings.HasPrefix(realm, e.Realm) || e.Realm == "…@phisher.example/token"
						return e.Reason == reason && e.Host == host && len(e.Realm) <= 200 && shown
					})
					if t.Failed() {
						t.Fatalf("%s, reason wanted: %s", title, reason)
					}
				}
			}
			noCredentialAt(t, phisher)
			noCredentialAt(t, f)
			if n := len(phisher.Requests()); n != 0 {
				t.Errorf("%d requests reached the phisher", n)
			}
		})
	}
}

func TestARealmElsewhereIsUsedWhenItIsListed(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	var given atomic.Int64
	f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path == tokenPath {
			t.Error("the registry's own token server was asked")
		}
		next.ServeHTTP(w, r)
	})
	tokens := start(t, registrytest.Options{Host: "login.contoso.com"})
	tokens.Intercept(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		if _, password, ok := r.BasicAuth(); ok && password == "push-secret" {
			given.Add(1)
		}
		_, _ = fmt.Fprint(w, `{"token":"opaque","expires_in":300}`)
	})
	f.SetRealm("https://login.contoso.com/oauth2/token")
	c := connect(t, pusher, one(f, tokens), func(o *Options) { o.TrustedRealmHosts = []string{"login.contoso.com"} })
	if err := c.CheckTrust(context.Background()); err != nil || given.Load() != 1 {
		t.Errorf("%v; credential given %d times", err, given.Load())
	}
}

func TestATokenServerThatRedirectsElsewhereGetsNoFollowing(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 302, 303, 307, 308} {
		for title, credential := range map[string]Credential{
			"basic": pusher,
			"form":  {IdentityTokenUser, secret.New("push-identity")},
		} {
			f := start(t, registrytest.Options{})
			phisher := start(t, registrytest.Options{Host: "phisher.example"})
			for _, to := range []string{phisher.URL + tokenPath, "http://contoso.azurecr.io/oauth2/token", "http://169.254.169.254/"} {
				f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
					if r.URL.Path == tokenPath {
						http.Redirect(w, r, to, status)
						return
					}
					next.ServeHTTP(w, r)
				})
				err := checkPush(context.Background(), connect(t, credential, one(f, phisher)))
				mustSee(t, err, func(e *RedirectError) bool { return e.From == host && e.Reason == "leaves the host" })
				if t.Failed() {
					t.Fatal(title, status, to)
				}
			}
			if n := len(phisher.Requests()); n != 0 {
				t.Errorf("%s, %d: %d requests reached the phisher", title, status, n)
			}
		}
	}
}

func TestAPingThatRedirectsElsewhereIsNotBelieved(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	phisher := start(t, registrytest.Options{Host: "phisher.example"})
	f.Intercept(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, phisher.URL+r.URL.Path, http.StatusFound)
	})
	err := checkPush(context.Background(), connect(t, pusher, one(f, phisher)))
	mustSee(t, err, func(e *RedirectError) bool { return e.To == "https://phisher.example" })
	if n := len(phisher.Requests()); n != 0 {
		t.Errorf("%d requests reached the phisher", n)
	}
}

func TestNothingSecretFollowsARedirectToAnotherHost(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{Trust: trustAnswers})
	digest := seed(t, f, "1.0")
	elsewhere := start(t, registrytest.Options{Host: "blobs.example"})
	elsewhere.Intercept(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { w.WriteHeader(http.StatusAccepted) })
	c := connect(t, signer, one(f, elsewhere))
	m, err := c.Manifest(context.Background(), digest)
	if err != nil {
		t.Fatal(err)
	}
	f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path == "/v2/" || r.URL.Path == tokenPath {
			next.ServeHTTP(w, r)
			return
		}
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	// What each of them makes of the answer is not the point here.
	_, _ = c.Manifest(context.Background(), digest)
	_ = c.Tag(context.Background(), m, []string{"2.0"})
	_ = checkPush(context.Background(), c)
	_ = c.Delete(context.Background(), digest)
	ask(t, c.TrustTransport("pull", "push"), http.MethodPost, f.URL+"/v2/contoso.azurecr.io/team/app/_trust/tuf/", "metadata")

	seen := map[string]bool{}
	for _, r := range elsewhere.Requests() {
		seen[r.Method] = true
	}
	for _, method := range []string{"GET", "PUT", "POST"} {
		if !seen[method] {
			t.Errorf("no %s was redirected, so nothing is proved", method)
		}
	}
	noCredentialAt(t, elsewhere)
}

func TestRedirectsThatCouldDoHarmAreNotFollowed(t *testing.T) {
	t.Parallel()
	for to, reason := range map[string]string{
		"http://blobs.example/x":             "not https",
		"http://contoso.azurecr.io/x":        "not https",
		"http://169.254.169.254/latest":      "to an address",
		"https://169.254.169.254/latest":     "to an address",
		"https://10.0.0.1/":                  "to an address",
		"https://[fd00:ec2::254]/":           "to an address",
		"https://2852039166/":                "to an address",
		"https://0xa9fea9fe/":                "to an address",
		"https://127.0.0.1:2375/containers":  "to this machine",
		"https://localhost/":                 "to this machine",
		"https://[::ffff:127.0.0.1]/":        "to this machine",
		"https://u:p@blobs.example/":         "would carry a credential",
		"https://contoso.azurecr.io/v2/loop": "too many",
	} {
		t.Run(to, func(t *testing.T) {
			t.Parallel()
			f := start(t, registrytest.Options{})
			f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.URL.Path == "/v2/" || r.URL.Path == tokenPath {
					next.ServeHTTP(w, r)
					return
				}
				http.Redirect(w, r, to, http.StatusTemporaryRedirect)
			})
			_, err := connect(t, reader, one(f)).Manifest(context.Background(), "1.0")
			mustSee(t, err, func(e *RedirectError) bool { return e.Reason == reason && e.From == host })
			if n := len(f.Requests()); n > 2+1+maxHops {
				t.Errorf("%d requests", n)
			}
		})
	}
}

func TestARedirectThatTurnsAWriteIntoAReadIsNoSuccess(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{BasicOnly: true}) // so that the read would succeed
	c := connect(t, pusher, one(f))
	body := image(OCIManifest)
	if err := c.Tag(context.Background(), Manifest{Digest: DigestOf(body), MediaType: OCIManifest, Bytes: body}, []string{"1.0"}); err != nil {
		t.Fatal(err)
	}
	f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodDelete {
			http.Redirect(w, r, "/v2/team/app/manifests/1.0", http.StatusFound)
			return
		}
		next.ServeHTTP(w, r)
	})
	mustSee(t, c.Delete(context.Background(), "1.0"), func(e *RedirectError) bool { return e.Reason == "changes the method" })
}

// Whatever the code above the guard does, no credential gets past it.
func TestTheGuardBelievesNobody(t *testing.T) {
	t.Parallel()
	passed := 0
	g := &guard{home: hostOrigin("https", host), inner: roundTripper(func(*http.Request) (*http.Response, error) {
		passed++
		return httptest.NewRecorder().Result(), nil
	})}
	form := url.Values{"refresh_token": {"x"}}.Encode()
	for _, r := range []*http.Request{
		withHeader("GET", "https://phisher.example/", "Authorization", "Basic eDp5", ""),
		withHeader("GET", "https://contoso.azurecr.io:444/", "Authorization", "Bearer x", ""),
		withHeader("GET", "http://contoso.azurecr.io/", "Authorization", "Bearer x", ""),
		withHeader("GET", "https://phisher.example/", "Cookie", "session=1", ""),
		withHeader("POST", "https://phisher.example/", "Content-Type", "application/x-www-form-urlencoded; charset=utf-8", form),
	} {
		if _, err := g.RoundTrip(r); err == nil {
			t.Errorf("%s %s went out", r.Method, r.URL)
		}
	}
	if passed != 0 {
		t.Errorf("%d requests went out", passed)
	}
	for _, address := range []string{"https://contoso.azurecr.io/", "https://CONTOSO.azurecr.io:443/"} {
		if _, err := g.RoundTrip(withHeader("GET", address, "Authorization", "Bearer x", "")); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func withHeader(method, address, name, value, body string) *http.Request {
	r, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	r.Header.Set(name, value)
	return r
}

func TestChallengesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		headers []string
		want    string
	}{
		"no realm":         {[]string{`Bearer service="x"`}, "names no token server"},
		"cut off":          {[]string{`Bearer realm="https://contoso.azurecr.io/oauth2/tok`}, "names no token server"},
		"unknown":          {[]string{`Negotiate`}, "unknown authentication negotiate"},
		"not a challenge":  {[]string{`"` + strings.Repeat("x", 64<<10)}, "unknown authentication"},
		"64 KiB of scheme": {[]string{strings.Repeat("y", 64<<10)}, "unknown authentication"},
		"64 KiB of commas": {[]string{`Bearer ` + strings.Repeat(",", 64<<10)}, "names no token server"},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			f := start(t, registrytest.Options{})
			f.Intercept(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
				w.Header()["Www-Authenticate"] = c.headers
				w.WriteHeader(http.StatusUnauthorized)
			})
			err := checkPush(context.Background(), connect(t, pusher, one(f)))
			mustSee(t, err, func(e *ChallengeError) bool {
				return e.Op == OpPing && strings.Contains(e.Reason, c.want) && len(e.Reason) < 150
			})
			noCredentialAt(t, f)
		})
	}
}

func TestTwoChallengesAreNoneTooMany(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Path == "/v2/" {
			w.Header()["Www-Authenticate"] = []string{`Negotiate`, fmt.Sprintf(`Bearer realm=%q,service=%q`, f.Realm, f.Service)}
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	if err := checkPush(context.Background(), connect(t, pusher, one(f))); err != nil {
		t.Error(err)
	}
}

func TestTokenAnswersThatCannotBeUsedAreNotQuoted(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		"", "{", "[]", `{"refresh_token":"hush-hush"}`, `"hush-hush"`,
		`{"token":"hush-hush","expires_in":"soon"}`, `{"token":"` + strings.Repeat("hush-hush", 10000) + `"}`,
	} {
		f := start(t, registrytest.Options{})
		f.Intercept(firstTimes(99, "GET", tokenPath, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
		err := checkPush(context.Background(), connect(t, pusher, one(f)))
		mustSee(t, err, func(e *ChallengeError) bool {
			return e.Op == OpToken && e.Host == host && !strings.Contains(e.Error(), "hush")
		})
	}
}
