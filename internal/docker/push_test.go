package docker_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"contenttrust/internal/docker"
	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/enginetest"
	"github.com/google/go-cmp/cmp"
)

const repo = "reg.example/team/app"

var claim = "v1: digest: " + imageID + " size: 1234"

// patient never waits and takes notes.
func patient(pauses *[]time.Duration) docker.Retry {
	return docker.Retry{
		Jitter: func() float64 { return 0 },
		Sleep: func(_ context.Context, d time.Duration) error {
			*pauses = append(*pauses, d)
			return nil
		},
	}
}

func TestPushTakesTheClaimFromTheStatusLine(t *testing.T) {
	t.Parallel()
	_, e := fake(t, enginetest.Options{Push: func(w http.ResponseWriter, p enginetest.PushRequest) {
		if p.Name != repo || p.Tag != "v1" {
			t.Errorf("pushed %s:%s", p.Name, p.Tag)
		}
		enginetest.Send(w, "The push refers to repository ["+repo+"]",
			enginetest.Layer("aaa", "Preparing", 0, 0), enginetest.Layer("bbb", "Preparing", 0, 0), enginetest.Layer("ccc", "Waiting", 0, 0),
			enginetest.Layer("aaa", "Layer already exists", 0, 0), enginetest.Layer("bbb", "Pushing", 5_000_000, 9_000_000),
			enginetest.Layer("bbb", "Pushed", 0, 0), enginetest.Layer("ccc", "Mounted from team/base", 0, 0),
			"v2: digest: sha256:"+strings.Repeat("b", 64)+" size: 9", claim,
			map[string]any{"progressDetail": map[string]any{}, "aux": map[string]any{"Tag": "v1", "Digest": "sha256:" + strings.Repeat("e", 64), "Size": 6666}})
	}})
	var out bytes.Buffer
	got, err := e.Push(t.Context(), docker.Push{Name: repo, Tag: "v1", Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(docker.Pushed{Digest: imageID, Size: 1234}, got); diff != "" {
		t.Error(diff)
	}
	want := "The push refers to repository [" + repo + "]\nlayer bbb: pushed, 9.0 MB\nlayer ccc: Mounted from team/base\n" +
		"v2: digest: sha256:" + strings.Repeat("b", 64) + " size: 9\n" + claim + "\n1 of 3 layers were already in the registry\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestPushWithoutAClaimIsNoFailure(t *testing.T) {
	t.Parallel()
	for _, last := range []string{"done", "v1: digest: sha256:abc size: 1", "v2: digest: " + imageID + " size: 5", "v1: digest: " + imageID + " size: 0"} {
		_, e := fake(t, enginetest.Options{Push: func(w http.ResponseWriter, _ enginetest.PushRequest) { enginetest.Send(w, last) }})
		got, err := e.Push(t.Context(), docker.Push{Name: repo, Tag: "v1"})
		if err != nil || got != (docker.Pushed{}) {
			t.Errorf("%q: %+v, %v", last, got, err)
		}
	}
}

func TestPushAlwaysSendsCredentials(t *testing.T) {
	t.Parallel()
	var header string
	_, e := fake(t, enginetest.Options{Push: func(w http.ResponseWriter, p enginetest.PushRequest) { header = p.Auth }})
	for want, p := range map[string]docker.Push{
		`{}`: {},
		`{"username":"me","password":"p/w+?","serveraddress":"reg.example"}`: {Username: "me", Password: secret.New("p/w+?")},
		`{"serveraddress":"reg.example","identitytoken":"tok"}`:              {Password: secret.New("tok")},
	} {
		p.Name, p.Tag = repo, "v1"
		if _, err := e.Push(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		got, err := base64.URLEncoding.DecodeString(header)
		if err != nil || string(got) != want {
			t.Errorf("sent %q (%v), want %s", got, err, want)
		}
	}
}

func TestPushRepeatsTemporaryFaultsOnly(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		fault    func(w http.ResponseWriter)
		reason   docker.Reason
		repeated bool
	}{
		{"500 at the manifest", says("received unexpected HTTP status: 500 Internal Server Error"), docker.ReasonTemporary, true},
		{"429", says("toomanyrequests: slow down"), docker.ReasonTemporary, true},
		{"503 of the containerd store", says("unexpected status from PUT request to https://r/v2/: 503 Service Unavailable"), docker.ReasonTemporary, true},
		{"a reset", says("Put \"https://r\": read tcp 1->2: read: connection reset by peer"), docker.ReasonTemporary, true},
		{"an end of file", says("Patch \"https://r\": EOF"), docker.ReasonTemporary, true},
		{"a timeout", says("net/http: TLS handshake timeout"), docker.ReasonTemporary, true},
		{"a stream that breaks off", func(w http.ResponseWriter) {
			enginetest.Send(w, "Preparing")
			c, _, _ := w.(http.Hijacker).Hijack()
			c.Close()
		}, docker.ReasonTemporary, true},
		{"a message that is too long", says(strings.Repeat("x", 2<<20)), docker.ReasonTemporary, true},
		{"an engine's own 500", func(w http.ResponseWriter) {
			enginetest.Fail(w, 500, "Get \"https://r/v2/\": dial tcp 1.2.3.4:443: i/o timeout")
		}, docker.ReasonTemporary, true},
		{"unauthorized", says("unauthorized: authentication required"), docker.ReasonUnauthorized, false},
		{"no credentials in the containerd store", says("authorization failed: no basic auth credentials"), docker.ReasonUnauthorized, false},
		{"denied", says("denied: requested access to the resource is denied"), docker.ReasonDenied, false},
		{"a firewall", says("denied: client with IP '1.2.3.4' is not allowed access"), docker.ReasonDenied, false},
		{"a locked tag", says("unknown: The operation is disallowed on this registry, repository or image."), docker.ReasonDenied, false},
		{"no such repository", says("name unknown: repository name not known to registry"), docker.ReasonNotFound, false},
		{"a certificate", says("Get \"https://r/v2/\": x509: certificate signed by unknown authority"), docker.ReasonTLS, false},
		{"plain http", says("http: server gave HTTP response to HTTPS client"), docker.ReasonTLS, false},
		{"anything else", says("manifest invalid: manifest invalid"), docker.ReasonOther, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, e := fake(t, enginetest.Options{Push: func(w http.ResponseWriter, p enginetest.PushRequest) {
				if p.Number < 3 {
					tt.fault(w)
					return
				}
				enginetest.Send(w, claim)
			}})
			var pauses []time.Duration
			var told []docker.Attempt
			retry := patient(&pauses)
			retry.OnRetry = func(a docker.Attempt) { told = append(told, a) }
			got, err := e.Push(t.Context(), docker.Push{Name: repo, Tag: "v1", Retry: retry})
			if tt.repeated {
				if err != nil || got.Digest != imageID || len(told) != 2 {
					t.Fatalf("%+v, %v, told %v", got, err, told)
				}
				if told[0].Reason != tt.reason || told[0].Number != 1 || told[0].Of != 5 || told[0].Text == "" {
					t.Errorf("told %+v", told[0])
				}
				if diff := cmp.Diff([]time.Duration{time.Second / 2, time.Second}, pauses); diff != "" {
					t.Error(diff)
				}
				return
			}
			fault := as(t, err, new(*docker.PushError))
			if fault.Reason != tt.reason || fault.Attempts != 1 || len(told) > 0 || fault.Name != repo+":v1" {
				t.Errorf("%+v, told %v", fault, told)
			}
		})
	}
}

func says(text string) func(http.ResponseWriter) {
	return func(w http.ResponseWriter) {
		enginetest.Send(w, "The push refers to …", enginetest.StreamError(text))
	}
}

func TestPushIsNotMisledByNames(t *testing.T) {
	t.Parallel()
	_, e := fake(t, enginetest.Options{Push: func(w http.ResponseWriter, _ enginetest.PushRequest) {
		says("Get \"https://unauthorized.example/v2/denied/quota/manifests/x509:\": dial tcp: connection refused (reg.example/denied/quota)")(w)
	}})
	_, err := e.Push(t.Context(), docker.Push{Name: "reg.example/denied/quota", Tag: "v1", Retry: docker.Retry{Attempts: 1}})
	if got := as(t, err, new(*docker.PushError)); got.Reason != docker.ReasonTemporary {
		t.Errorf("%+v", got)
	}
}

func TestPushGivesUpAtLast(t *testing.T) {
	t.Parallel()
	_, e := fake(t, enginetest.Options{Push: func(w http.ResponseWriter, _ enginetest.PushRequest) { says("toomanyrequests")(w) }})
	var pauses []time.Duration
	_, err := e.Push(t.Context(), docker.Push{Name: repo, Tag: "v1", Retry: patient(&pauses)})
	fault := as(t, err, new(*docker.PushError))
	if fault.Attempts != 5 || fault.Reason != docker.ReasonTemporary {
		t.Errorf("%+v", fault)
	}
	if diff := cmp.Diff([]time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second}, pauses); diff != "" {
		t.Error(diff)
	}
}

func TestPushFaultsThatAreNoRegistrys(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"An image does not exist locally with the tag: " + repo, "tag does not exist: " + repo + ":v1"} {
		_, e := fake(t, enginetest.Options{Push: func(w http.ResponseWriter, _ enginetest.PushRequest) { says(text)(w) }})
		_, err := e.Push(t.Context(), docker.Push{Name: repo, Tag: "v1"})
		as(t, err, new(*docker.NoImage))
	}
	f, e := fake(t, enginetest.Options{Push: func(w http.ResponseWriter, _ enginetest.PushRequest) {
		enginetest.Fail(w, 404, "No such image")
	}})
	_, err := e.Push(t.Context(), docker.Push{Name: repo, Tag: "v1"})
	as(t, err, new(*docker.NoImage))
	for _, p := range []docker.Push{{Name: repo}, {Name: "Reg/App", Tag: "1"}, {Name: repo, Tag: "a b"}} {
		_, err := e.Push(t.Context(), p)
		as(t, err, new(*docker.BadName))
	}
	f.Close()
	_, err = e.Push(t.Context(), docker.Push{Name: repo, Tag: "v1"})
	as(t, err, new(*docker.NotRunning))
}

func TestPushStopsWithItsContext(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, e := fake(t, enginetest.Options{Push: func(w http.ResponseWriter, _ enginetest.PushRequest) {
		enginetest.Send(w, "Preparing")
		cancel()
		<-release
	}})
	if _, err := e.Push(ctx, docker.Push{Name: repo, Tag: "v1"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	waiting, stop := context.WithCancel(t.Context())
	_, e = fake(t, enginetest.Options{Push: func(w http.ResponseWriter, _ enginetest.PushRequest) { says("toomanyrequests")(w) }})
	_, err := e.Push(waiting, docker.Push{Name: repo, Tag: "v1", Retry: docker.Retry{Base: time.Hour, Max: time.Hour, OnRetry: func(docker.Attempt) { stop() }}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
