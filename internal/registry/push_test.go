package registry

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/registrytest"
)

const uploads = "/v2/team/app/blobs/uploads/"

func TestCheckPushTellsWhyNot(t *testing.T) {
	t.Parallel()
	firewall := "client with IP '20.1.2.3' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."
	for _, c := range []struct {
		title      string
		credential Credential
		path       string // answered with the fault below; "": nothing is
		status     int
		code, text string
		basic      bool
		want       AccessError
		requests   int
	}{
		{title: "wrong password", credential: Credential{"pusher", secret.New("wrong")},
			want: AccessError{Op: OpToken, Kind: WrongCredential, Status: 401, Code: "UNAUTHORIZED"}, requests: 2},
		{title: "wrong identity token", credential: Credential{IdentityTokenUser, secret.New("wrong")},
			want: AccessError{Op: OpToken, Kind: WrongCredential, Status: 401, Code: "UNAUTHORIZED"}, requests: 2},
		{title: "no credential",
			want: AccessError{Op: OpToken, Kind: NoCredential, Status: 401, Code: "UNAUTHORIZED"}, requests: 2},
		{title: "wrong password, basic", credential: Credential{"pusher", secret.New("wrong")}, basic: true,
			want: AccessError{Op: OpUpload, Kind: WrongCredential, Status: 401, Code: "UNAUTHORIZED"}, requests: 2},
		{title: "no push", credential: reader,
			want: AccessError{Op: OpUpload, Kind: Denied, Status: 401, Code: "UNAUTHORIZED"}, requests: 3},
		{title: "denied", credential: pusher, path: uploads, status: 403, code: "DENIED", text: "requested access to the resource is denied",
			want: AccessError{Op: OpUpload, Kind: Denied, Status: 403, Code: "DENIED"}, requests: 3},
		{title: "denied at the token server", credential: pusher, path: tokenPath, status: 403, code: "DENIED",
			want: AccessError{Op: OpToken, Kind: Denied, Status: 403, Code: "DENIED"}, requests: 2},
		{title: "firewall", credential: pusher, path: uploads, status: 403, code: "DENIED", text: firewall,
			want: AccessError{Op: OpUpload, Kind: Firewall, Status: 403, Code: "DENIED", ClientIP: "20.1.2.3"}, requests: 3},
		{title: "firewall at the token server", credential: pusher, path: tokenPath, status: 403, code: "DENIED", text: firewall,
			want: AccessError{Op: OpToken, Kind: Firewall, Status: 403, Code: "DENIED", ClientIP: "20.1.2.3"}, requests: 2},
		{title: "firewall at the ping", credential: pusher, path: "/v2/", status: 403, code: "DENIED", text: firewall,
			want: AccessError{Op: OpPing, Kind: Firewall, Status: 403, Code: "DENIED", ClientIP: "20.1.2.3"}, requests: 1},
		{title: "no such repository", credential: pusher, path: uploads, status: 404, code: "NAME_UNKNOWN",
			want: AccessError{Op: OpUpload, Kind: NotFound, Status: 404, Code: "NAME_UNKNOWN"}, requests: 3},
		{title: "no registry there", credential: pusher, path: "/v2/", status: 404,
			want: AccessError{Op: OpPing, Kind: NotFound, Status: 404}, requests: 1},
		{title: "server error", credential: pusher, path: uploads, status: 503, code: "UNAVAILABLE",
			want: AccessError{Op: OpUpload, Kind: Broken, Status: 503, Code: "UNAVAILABLE"}, requests: 7},
		{title: "token server error", credential: pusher, path: tokenPath, status: 500,
			want: AccessError{Op: OpToken, Kind: Broken, Status: 500}, requests: 6},
		{title: "ping error", credential: pusher, path: "/v2/", status: 502,
			want: AccessError{Op: OpPing, Kind: Broken, Status: 502}, requests: 5},
		{title: "something else", credential: pusher, path: uploads, status: 418, code: "TEAPOT",
			want: AccessError{Op: OpUpload, Kind: Refused, Status: 418, Code: "TEAPOT"}, requests: 3},
	} {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			f := start(t, registrytest.Options{BasicOnly: c.basic})
			f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.URL.Path == c.path {
					registrytest.WriteError(w, c.status, c.code, c.text)
					return
				}
				next.ServeHTTP(w, r)
			})
			err := checkPush(context.Background(), connect(t, c.credential, one(f)))
			mustSee(t, err, func(e *AccessError) bool {
				c.want.Host, c.want.Detail, c.want.Repository, c.want.Scope = host, e.Detail, e.Repository, e.Scope
				return cmp.Equal(c.want, *e) && (c.text == "" || e.Detail == c.text)
			})
			if errors.Is(err, ErrNotFound) != (c.want.Kind == NotFound) {
				t.Error("ErrNotFound is not told from the rest")
			}
			mustSee(t, err, func(e *AccessError) bool {
				scoped := e.Op != OpPing && !c.basic
				return scoped == (e.Scope == "repository:team/app:pull,push") && (e.Op == OpPing) == (e.Repository == "")
			})
			if n := len(f.Requests()); n != c.requests {
				t.Errorf("%d requests, want %d: %v", n, c.requests, lines(f))
			}
		})
	}
}

func TestCheckPushIgnoresUploadsThatCannotBeCancelled(t *testing.T) {
	t.Parallel()
	for title, fault := range map[string]http.HandlerFunc{
		"refused":   answerWith(http.StatusUnauthorized, "UNAUTHORIZED", ""),
		"broken":    answerWith(http.StatusInternalServerError, "UNKNOWN", ""),
		"cut short": cutConnection,
	} {
		f := start(t, registrytest.Options{})
		f.Intercept(firstTimes(99, http.MethodDelete, "", fault))
		if err := checkPush(context.Background(), connect(t, pusher, one(f))); err != nil {
			t.Errorf("%s: %v", title, err)
		}
		if n := len(f.Requests()); n != 4 {
			t.Errorf("%s: %v", title, lines(f))
		}
	}
}

func TestAnUploadElsewhereIsLeftAlone(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	elsewhere := start(t, registrytest.Options{Host: "phisher.example"})
	f.Intercept(firstTimes(1, http.MethodPost, uploads, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", elsewhere.URL+uploads+"1")
		w.WriteHeader(http.StatusAccepted)
	}))
	if err := checkPush(context.Background(), connect(t, pusher, one(f, elsewhere))); err != nil {
		t.Error(err)
	}
	if len(elsewhere.Requests()) != 0 {
		t.Errorf("requests elsewhere are %v", lines(elsewhere))
	}
}

func TestServersThatCannotBeReached(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refusing := closed.Addr().String()
	closed.Close()
	f := start(t, registrytest.Options{Host: "localhost"})
	strange := start(t, registrytest.Options{Host: "localhost"})
	names := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "contoso.invalid", IsNotFound: true}}
	}}
	wrongName := registrytest.ClientFor(f).Transport.(*http.Transport).Clone()
	wrongName.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, f.Address)
	}
	for _, c := range []struct {
		title, host string
		transport   http.RoundTripper
		kind        UnreachableKind
		dials       int
	}{
		{"refused", refusing, http.DefaultTransport, NotListening, 1},
		{"unknown authority", strange.Host, f.Client().Transport, UnknownCA, 1},
		{"unknown host", "contoso.invalid", names, UnknownHost, 1},
		{"another's certificate", "fabrikam.azurecr.io", wrongName, WrongHostName, 1},
	} {
		t.Run(c.title, func(t *testing.T) {
			retries := 0
			client, err := New(Options{
				Repository: Repository{Host: c.host, Path: "app"}, Credential: pusher, Transport: c.transport,
				OnRetry: func(Retry) { retries++ },
			})
			if err != nil {
				t.Fatal(err)
			}
			mustSee(t, client.CheckPush(context.Background()), func(e *UnreachableError) bool {
				return e.Kind == c.kind && e.Op == OpPing && e.Host == c.host && e.Err != nil
			})
			if retries != 0 {
				t.Errorf("%d attempts more for what cannot change", retries)
			}
		})
	}
}

func TestAServerThatSaysNothingTimesOutAndIsAskedTwice(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	transport := f.Client().Transport.(*http.Transport)
	transport.ResponseHeaderTimeout = 30 * time.Millisecond
	c := connect(t, pusher, one(f), func(o *Options) { o.Transport = transport })
	f.SetDelay(5 * time.Second)
	mustSee(t, checkPush(context.Background(), c), func(e *UnreachableError) bool { return e.Kind == TimedOut })
	if n := len(f.Requests()); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestTheEndOfTheContextIsNotAFault(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	c := connect(t, pusher, one(f), func(o *Options) { o.Sleep = nil })
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := checkPush(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	// While it waits for another attempt, both are said.
	f.Intercept(firstTimes(99, "GET", "", answerWith(http.StatusServiceUnavailable, "UNAVAILABLE", "later")))
	ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	err := checkPush(ctx, c)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	mustSee(t, err, func(e *AccessError) bool { return e.Status == http.StatusServiceUnavailable })
}

func TestErrorsHoldNoControlCharactersAndNoEndlessText(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	f.Intercept(firstTimes(1, "POST", "", answerWith(403, "DEN\x1bIED", "##vso[x]\r\n\u202e\x00"+strings.Repeat("long ", 5000))))
	err := checkPush(context.Background(), connect(t, pusher, one(f)))
	mustSee(t, err, func(e *AccessError) bool {
		return e.Code == "DENIED" && len(e.Detail) <= 300 && strings.HasPrefix(e.Detail, "##vso[x] long long") && !strings.ContainsAny(err.Error(), "\r\n\x00\x1b")
	})
}

func TestAProxysPlainTextIsPassedOn(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			http.Error(w, "blocked by policy", http.StatusForbidden)
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
	mustSee(t, checkPush(context.Background(), c), func(e *AccessError) bool {
		return e.Kind == Denied && e.Detail == "blocked by policy" && e.Scope == ""
	})
}

// checkPush checks and waits until the trial upload is cancelled, so that the
// requests of both are in the log.
func checkPush(ctx context.Context, c *Client) error {
	err := c.CheckPush(ctx)
	c.Settle()
	return err
}
