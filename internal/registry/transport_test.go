package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/registrytest"
)

const (
	tokenPath = "/oauth2/token"
	rootPath  = "/v2/contoso.azurecr.io/team/app/_trust/tuf/root.json"
	keyPath   = "/v2/contoso.azurecr.io/team/app/_trust/tuf/timestamp.key"
)

// trustAnswers stands for a Notary server where only the way to it matters.
var trustAnswers = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	_, _ = fmt.Fprintf(w, "%s %s", r.Method, body)
})

func TestOnePingServesRegistryAndTrust(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{Trust: trustAnswers})
	digest := seed(t, f, "1.0")
	c := connect(t, signer, one(f))
	ctx := context.Background()

	if err := checkPush(ctx, c); err != nil {
		t.Fatal(err)
	}
	if err := c.CheckTrust(ctx, "pull", "push"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{rootPath, keyPath} {
		if status := ask(t, c.TrustTransport("pull", "push"), http.MethodGet, f.URL+path, ""); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status := ask(t, c.TrustTransport(), http.MethodGet, f.URL+rootPath, ""); status != http.StatusOK {
		t.Errorf("a token for more is not used for less: %d", status)
	}
	m, err := c.Manifest(ctx, digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Tag(ctx, m, []string{"2.0"}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"GET /v2/ 401",
		"GET /oauth2/token 200", // repository:team/app:pull,push
		"POST /v2/team/app/blobs/uploads/ 202",
		"DELETE " + f.Requests()[3].Path + " 204",
		"GET /oauth2/token 200", // repository:contoso.azurecr.io/team/app:pull,push
		"GET " + rootPath + " 200",
		"GET " + keyPath + " 200",
		"GET " + rootPath + " 200",
		"GET /v2/team/app/manifests/" + digest + " 200",
		"PUT /v2/team/app/manifests/2.0 201",
	}
	if diff := cmp.Diff(want, lines(f)); diff != "" {
		t.Error(diff)
	}
	if n := f.Connections(); n != 1 {
		t.Errorf("%d connections for requests one after the other", n)
	}
	for _, r := range f.Requests() {
		if r.Path == tokenPath && r.Auth != "Basic" || strings.Contains(r.Path, "/team/app/") && r.Auth != "Bearer" {
			t.Errorf("%s came with %q", r, r.Auth)
		}
	}
}

func TestRequestsAtTheSameTimeShareOneToken(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{Trust: trustAnswers, Delay: 20 * time.Millisecond})
	c := connect(t, reader, one(f))
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if status := ask(t, c.TrustTransport("pull"), http.MethodGet, f.URL+rootPath, ""); status != http.StatusOK {
				t.Errorf("status %d", status)
			}
		})
	}
	group.Wait()
	if pings, tokens := count(f, "GET", "/v2/"), count(f, "GET", tokenPath); pings != 1 || tokens != 1 {
		t.Errorf("%d pings and %d tokens for 20 requests", pings, tokens)
	}
}

func TestACancelledCallerDoesNotTakeOthersAlong(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{Trust: trustAnswers, Delay: 100 * time.Millisecond})
	c := connect(t, reader, one(f))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	var group sync.WaitGroup
	group.Go(func() {
		if err := c.CheckTrust(ctx); err == nil {
			t.Error("the cancelled one got its token")
		}
	})
	time.Sleep(10 * time.Millisecond) // let it be the one that fetches
	group.Go(func() {
		if err := c.CheckTrust(context.Background()); err != nil {
			t.Errorf("the other: %v", err)
		}
	})
	group.Wait()
}

func TestARefusedTokenIsRenewedOnceWithItsBody(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{Trust: trustAnswers})
	c := connect(t, signer, one(f))
	if err := c.CheckTrust(context.Background(), "pull", "push"); err != nil {
		t.Fatal(err)
	}
	f.RevokeTokens()
	f.ResetLog()
	request, _ := http.NewRequest(http.MethodPost, f.URL+"/v2/contoso.azurecr.io/team/app/_trust/tuf/", strings.NewReader("metadata"))
	response, err := c.TrustTransport("pull", "push").RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, _ := io.ReadAll(response.Body); string(body) != "POST metadata" {
		t.Errorf("answer is %d %q", response.StatusCode, body)
	}
	if n := count(f, "GET", tokenPath); n != 1 || len(f.Requests()) != 3 {
		t.Errorf("requests are %v", lines(f))
	}
	if request.Header.Get("Authorization") != "" {
		t.Error("the caller's request was changed")
	}
}

func TestATokenThatIsRefusedFreshIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{Trust: trustAnswers})
	c := connect(t, pusher, one(f)) // may push, may not sign
	if status := ask(t, c.TrustTransport("pull", "push"), http.MethodGet, f.URL+keyPath, ""); status != http.StatusUnauthorized {
		t.Errorf("status %d", status)
	}
	want := []string{"GET /v2/ 401", "GET /oauth2/token 200", "GET " + keyPath + " 401"}
	if diff := cmp.Diff(want, lines(f)); diff != "" {
		t.Error(diff)
	}
	// Kept by now, it is given one chance more, not two.
	f.ResetLog()
	ask(t, c.TrustTransport("pull", "push"), http.MethodGet, f.URL+keyPath, "")
	if diff := cmp.Diff([]string{"GET " + keyPath + " 401", "GET /oauth2/token 200", "GET " + keyPath + " 401"}, lines(f)); diff != "" {
		t.Error(diff)
	}
}

func TestATokenThatIsAboutToExpireIsReplacedBeforeItIsUsed(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{Trust: trustAnswers, TokenLife: 4 * time.Minute})
	var mu sync.Mutex
	now := time.Now()
	c := connect(t, reader, one(f), func(o *Options) {
		o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	})
	for _, step := range []struct {
		forward time.Duration
		tokens  int
	}{{0, 1}, {200 * time.Second, 1}, {11 * time.Second, 2}} {
		mu.Lock()
		now = now.Add(step.forward)
		mu.Unlock()
		ask(t, c.TrustTransport(), http.MethodGet, f.URL+rootPath, "")
		if n := count(f, "GET", tokenPath); n != step.tokens {
			t.Errorf("%v later: %d tokens, want %d", step.forward, n, step.tokens)
		}
	}
}

func TestUsableLife(t *testing.T) {
	t.Parallel()
	for seconds, want := range map[int]time.Duration{
		0: 45 * time.Second, -5: 45 * time.Second, 60: 45 * time.Second, 4500: 4470 * time.Second,
		1 << 62: 24*time.Hour - renewEarly,
	} {
		if got := usableLife(seconds); got != want {
			t.Errorf("%d: %v, want %v", seconds, got, want)
		}
	}
}

func TestCredentialsOfEveryKind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		title      string
		credential Credential
		front      registrytest.Options
		tokenBy    string // method of the token request
	}{
		{"password", reader, registrytest.Options{}, "GET"},
		{"identity token", Credential{IdentityTokenUser, secret.New("push-identity")}, registrytest.Options{}, "POST"},
		{"identity token as ACR's password", Credential{registrytest.IdentityUser, secret.New("push-identity")}, registrytest.Options{}, "GET"},
		{"nobody", Credential{}, registrytest.Options{AnonymousPull: true}, "GET"},
		{"basic", reader, registrytest.Options{BasicOnly: true}, ""},
	} {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			f := start(t, c.front)
			c2 := connect(t, c.credential, one(f))
			_, err := c2.Manifest(context.Background(), "none")
			mustSee(t, err, func(e *AccessError) bool { return e.Kind == NotFound && e.Reference == "none" })
			if c.tokenBy != "" && count(f, c.tokenBy, tokenPath) != 1 || c.tokenBy == "" && len(f.Requests()) != 2 {
				t.Errorf("requests are %v", lines(f))
			}
		})
	}
}

func TestARegistryThatAsksForNothingGetsNothing(t *testing.T) {
	t.Parallel()
	var sawAuth bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sawAuth = sawAuth || r.Header.Get("Authorization") != ""
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	defer server.Close()
	c, err := New(Options{
		Repository: Repository{Host: strings.TrimPrefix(server.URL, "https://"), Path: "app"},
		Credential: pusher, Transport: server.Client().Transport,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := checkPush(context.Background(), c); err != nil || sawAuth {
		t.Errorf("%v; a credential was sent: %v", err, sawAuth)
	}
}

func TestATrustServerElsewhereIsAskedOnItsOwn(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	elsewhere := start(t, registrytest.Options{Host: "notary.contoso.com", Trust: trustAnswers})
	c := connect(t, signer, one(f, elsewhere), func(o *Options) { o.TrustServer = "https://notary.contoso.com/" })
	if c.TrustServer() != "https://notary.contoso.com" {
		t.Errorf("trust server is %s", c.TrustServer())
	}
	if status := ask(t, c.TrustTransport("pull", "push"), http.MethodGet, elsewhere.URL+keyPath, ""); status != http.StatusOK {
		t.Errorf("status %d", status)
	}
	if err := checkPush(context.Background(), c); err != nil {
		t.Error(err)
	}
	if len(elsewhere.Requests()) != 3 || count(f, "GET", "/v2/") != 1 {
		t.Errorf("requests are %v and %v", lines(elsewhere), lines(f))
	}
}

func TestClientsForOneRegistryShareWhatTheyKnow(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	c := connect(t, pusher, one(f))
	other, err := c.For(Repository{Host: host, Path: "other"})
	if err != nil {
		t.Fatal(err)
	}
	for _, client := range []*Client{c, other} {
		if err := client.CheckPush(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if count(f, "GET", "/v2/") != 1 || count(f, "GET", tokenPath) != 2 {
		t.Errorf("requests are %v", lines(f))
	}
	_, err = c.For(Repository{Host: "fabrikam.azurecr.io", Path: "app"})
	mustSee(t, err, func(e *OptionError) bool { return e.Option == "Repository" })
}

func TestDockerHubIsServedByOtherHosts(t *testing.T) {
	t.Parallel()
	c, err := New(Options{Repository: Repository{Host: "docker.io", Path: "team/app"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.api.home.url("") != "https://registry-1.docker.io" || c.TrustServer() != "https://notary.docker.io" {
		t.Errorf("hosts are %s and %s", c.api.home.url(""), c.TrustServer())
	}
	if !c.session.realms[hostOrigin("https", "auth.docker.io")] {
		t.Error("its token server is not trusted")
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	t.Parallel()
	good := Options{Repository: app}
	for title, c := range map[string]struct {
		change func(*Options)
		option string
	}{
		"no repository":         {func(o *Options) { o.Repository = Repository{} }, "Repository"},
		"half a credential":     {func(o *Options) { o.Credential.Username = "x" }, "Credential"},
		"plain http elsewhere":  {func(o *Options) { o.InsecureHTTP = true }, "InsecureHTTP"},
		"trust over http":       {func(o *Options) { o.TrustServer = "http://notary.contoso.com" }, "TrustServer"},
		"trust with a path":     {func(o *Options) { o.TrustServer = "https://notary.contoso.com/x" }, "TrustServer"},
		"trust with a query":    {func(o *Options) { o.TrustServer = "https://notary.contoso.com?x" }, "TrustServer"},
		"trust without scheme":  {func(o *Options) { o.TrustServer = "notary.contoso.com" }, "TrustServer"},
		"trust with a password": {func(o *Options) { o.TrustServer = "https://u:hunter2@notary.contoso.com" }, "TrustServer"},
	} {
		o := good
		c.change(&o)
		_, err := New(o)
		mustSee(t, err, func(e *OptionError) bool {
			return e.Option == c.option && !strings.Contains(err.Error(), "hunter2")
		})
		if t.Failed() {
			t.Fatal(title)
		}
	}
}

func TestPlainHTTPOnThisMachineWhenAskedFor(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	defer server.Close()
	o := Options{Repository: Repository{Host: strings.TrimPrefix(server.URL, "http://"), Path: "app"}, Attempts: 1}
	for _, insecure := range []bool{true, false} {
		o.InsecureHTTP = insecure
		c, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		err = checkPush(context.Background(), c)
		if insecure && err != nil {
			t.Error(err)
		}
		if !insecure {
			mustSee(t, err, func(e *UnreachableError) bool { return e.Kind == NotTLS && e.Op == OpPing })
		}
	}
}

// ask makes one request through a transport and gives the status, 0 for none.
func ask(t *testing.T, rt http.RoundTripper, method, address, body string) int {
	t.Helper()
	request, err := http.NewRequest(method, address, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0
	}
	response, err := (&http.Client{Transport: rt}).Do(request)
	if err != nil {
		t.Error(err)
		return 0
	}
	drain(response)
	return response.StatusCode
}
