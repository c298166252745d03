package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/testkit/registrytest"
)

// seeded is a Front with an image and a Client that has read it.
func seeded(t *testing.T, o registrytest.Options, change ...func(*Options)) (*registrytest.Front, *Client, Manifest) {
	t.Helper()
	f := start(t, o)
	digest := seed(t, f, "1.0")
	c := connect(t, pusher, one(f), change...)
	m, err := c.Manifest(context.Background(), digest)
	if err != nil {
		t.Fatal(err)
	}
	f.ResetLog()
	return f, c, m
}

func names(n int) []string {
	var tags []string
	for i := range n {
		tags = append(tags, fmt.Sprintf("t%d", i))
	}
	return tags
}

func TestTagsAreWrittenWithTheSameBytesSeveralAtATime(t *testing.T) {
	t.Parallel()
	f, c, m := seeded(t, registrytest.Options{})
	var now, most atomic.Int64
	f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(20 * time.Millisecond)
			defer now.Add(-1)
		}
		next.ServeHTTP(w, r)
	})
	if err := c.Tag(context.Background(), m, names(20)); err != nil {
		t.Fatal(err)
	}
	if n := len(f.Requests()); n != 21 { // a token for pushing, and the tags
		t.Errorf("%d requests: %v", n, lines(f))
	}
	if most.Load() > 16 || most.Load() < 2 || f.Connections() > 17 {
		t.Errorf("%d at a time, %d connections", most.Load(), f.Connections())
	}
	for _, tag := range names(20) {
		if got, err := c.Manifest(context.Background(), tag); err != nil || cmp.Diff(m, got) != "" {
			t.Errorf("%s: %v, %v", tag, got.Digest, err)
		}
	}
	if err := c.Tag(context.Background(), m, nil); err != nil {
		t.Errorf("no tags: %v", err)
	}
}

func TestPassingFaultsAreTriedAgain(t *testing.T) {
	t.Parallel()
	busy := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		registrytest.WriteError(w, http.StatusTooManyRequests, "TOOMANYREQUESTS", "slow down")
	}
	at := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", time.Now().Add(20*time.Second).UTC().Format(http.TimeFormat))
		registrytest.WriteError(w, http.StatusServiceUnavailable, "UNAVAILABLE", "")
	}
	for _, c := range []struct {
		title string
		fault http.HandlerFunc
		least time.Duration // of each wait
		most  time.Duration
	}{
		{"500", answerWith(500, "UNKNOWN", ""), 250 * time.Millisecond, 4 * time.Second},
		{"408", answerWith(408, "", ""), 250 * time.Millisecond, 4 * time.Second},
		{"reset", cutConnection, 250 * time.Millisecond, 4 * time.Second},
		{"429 with Retry-After", busy, 7 * time.Second, 7 * time.Second},
		{"503 with a date", at, 17 * time.Second, 20 * time.Second},
	} {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			var waits []time.Duration
			var told []Retry
			f, client, m := seeded(t, registrytest.Options{}, func(o *Options) {
				o.Sleep = func(_ context.Context, d time.Duration) error { waits = append(waits, d); return nil }
				o.OnRetry = func(r Retry) { told = append(told, r) }
			})
			f.Intercept(firstTimes(4, http.MethodPut, "", c.fault))
			if err := client.Tag(context.Background(), m, []string{"2.0"}); err != nil {
				t.Fatal(err)
			}
			if len(waits) != 4 || len(told) != 4 {
				t.Fatalf("waits are %v, told %v", waits, told)
			}
			for i, wait := range waits {
				if wait < c.least || wait > c.most || told[i].Wait != wait || told[i].Attempt != i+1 || told[i].Op != OpWrite {
					t.Errorf("wait %d is %v, told %+v", i, wait, told[i])
				}
			}
			if c.most < 5*time.Second && waits[3] <= waits[0] {
				t.Errorf("waits do not grow: %v", waits)
			}
		})
	}
}

func TestLastingFaultsAreNot(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		title string
		fault http.HandlerFunc
		puts  int
	}{
		{"401", answerWith(401, "UNAUTHORIZED", ""), 1},
		{"403", answerWith(403, "DENIED", ""), 1},
		{"400", answerWith(400, "MANIFEST_INVALID", ""), 1},
		{"500 for ever", answerWith(500, "UNKNOWN", ""), 5},
		{"a day to wait", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "86400")
			w.WriteHeader(http.StatusTooManyRequests)
		}, 1},
	} {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			f, client, m := seeded(t, registrytest.Options{})
			f.Intercept(firstTimes(99, http.MethodPut, "", c.fault))
			mustSee(t, client.Tag(context.Background(), m, []string{"2.0"}), func(e *AccessError) bool { return e.Reference == "2.0" && e.Op == OpWrite })
			if n := count(f, "PUT", "/v2/team/app/manifests/2.0"); n != c.puts {
				t.Errorf("%d attempts, want %d", n, c.puts)
			}
		})
	}
}

func TestSomeTagsFailedSaysWhich(t *testing.T) {
	t.Parallel()
	f, c, m := seeded(t, registrytest.Options{})
	f.LockTag("t1", http.StatusMethodNotAllowed)
	f.LockTag("t3", http.StatusConflict)
	f.Intercept(firstTimes(99, http.MethodPut, "/v2/team/app/manifests/t4", answerWith(403, "DENIED", "no")))
	err := c.Tag(context.Background(), m, names(6))
	mustSee(t, err, func(e *TagsError) bool {
		var failed []string
		for _, failure := range e.Failed {
			failed = append(failed, failure.Tag)
		}
		return cmp.Equal(e.Done, []string{"t0", "t2", "t5"}) && cmp.Equal(failed, []string{"t1", "t3", "t4"}) &&
			e.Digest == m.Digest && e.Repository == app.String()
	})
	mustSee(t, err, func(e *LockedError) bool { return e.Tag == "t1" && e.Status == 405 && e.Code == "UNSUPPORTED" })
	mustSee(t, err, func(e *AccessError) bool { return e.Kind == Denied && e.Reference == "t4" })
}

func TestAnAnswerWithAnotherDigestIsNoSuccess(t *testing.T) {
	t.Parallel()
	other := DigestOf([]byte("other"))
	f, c, m := seeded(t, registrytest.Options{})
	f.Intercept(firstTimes(1, http.MethodPut, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Docker-Content-Digest", other)
		w.WriteHeader(http.StatusCreated)
	}))
	mustSee(t, c.Tag(context.Background(), m, []string{"2.0"}), func(e *DigestMismatch) bool {
		return e.Want == m.Digest && e.Got == other && e.Reference == "2.0"
	})
}

func TestAnAnswerWithoutADigestIsLookedUp(t *testing.T) {
	t.Parallel()
	f, c, m := seeded(t, registrytest.Options{})
	silent := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }
	f.Intercept(firstTimes(1, http.MethodPut, "", silent))
	if err := c.Tag(context.Background(), m, []string{"1.0"}); err != nil { // is there already
		t.Error(err)
	}
	f.Intercept(firstTimes(1, http.MethodPut, "", silent))
	if err := c.Tag(context.Background(), m, []string{"2.0"}); !errors.Is(err, ErrNotFound) { // lost
		t.Errorf("error is %v", err)
	}
}

func TestTagSendsNothingElseThanTheManifestItWasGiven(t *testing.T) {
	t.Parallel()
	f, c, m := seeded(t, registrytest.Options{})
	altered := m
	altered.Bytes = append([]byte(" "), m.Bytes...)
	mustSee(t, c.Tag(context.Background(), altered, []string{"2.0"}), func(e *DigestMismatch) bool { return e.Want == m.Digest })
	if len(f.Requests()) != 0 {
		t.Errorf("requests are %v", lines(f))
	}
	var mu sync.Mutex
	var sent []string
	f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPut {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(strings.NewReader(string(body)))
			mu.Lock()
			sent = append(sent, r.Header.Get("Content-Type")+" "+DigestOf(body))
			mu.Unlock()
		}
		next.ServeHTTP(w, r)
	})
	// The first token is revoked, so the first body is sent twice.
	f.RevokeTokens()
	if err := c.Tag(context.Background(), m, []string{"2.0", "3.0"}); err != nil {
		t.Fatal(err)
	}
	for _, s := range sent {
		if s != m.MediaType+" "+m.Digest {
			t.Errorf("sent %s", s)
		}
	}
}

func TestATokenThatEndsMidRunIsRenewedOnceForAllTags(t *testing.T) {
	t.Parallel()
	f, c, m := seeded(t, registrytest.Options{})
	if err := checkPush(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	f.RevokeTokens()
	f.ResetLog()
	f.SetDelay(20 * time.Millisecond)
	if err := c.Tag(context.Background(), m, names(8)); err != nil {
		t.Fatal(err)
	}
	if n := count(f, "GET", tokenPath); n != 1 || len(f.Requests()) != 17 {
		t.Errorf("%d tokens, requests are %v", n, sorted(lines(f)))
	}
}

func TestDeleteRemovesATagAndNothingElse(t *testing.T) {
	t.Parallel()
	for _, where := range []string{host, "registry.contoso.com"} {
		f, c, m := seeded(t, registrytest.Options{Host: where})
		ctx := context.Background()
		if err := c.Tag(ctx, m, []string{"2.0"}); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(ctx, "2.0"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Manifest(ctx, "2.0"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: the tag is still there: %v", where, err)
		}
		for _, ref := range []string{"1.0", m.Digest} {
			if _, err := c.Manifest(ctx, ref); err != nil {
				t.Errorf("%s: %s is gone: %v", where, ref, err)
			}
		}
		ofAzure := count(f, "DELETE", "/acr/v1/team/app/_tags/2.0")
		if (ofAzure == 1) != (where == host) {
			t.Errorf("%s: requests are %v", where, lines(f))
		}
		if err := c.Delete(ctx, "2.0"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: deleting twice: %v", where, err)
		}
		if err := c.Delete(ctx, m.Digest); err != nil {
			t.Errorf("%s: by digest: %v", where, err)
		}
	}
}

func TestDeleteTellsWhyNot(t *testing.T) {
	t.Parallel()
	f, c, _ := seeded(t, registrytest.Options{})
	ctx := context.Background()
	f.LockTag("1.0", http.StatusMethodNotAllowed)
	mustSee(t, c.Delete(ctx, "1.0"), func(e *LockedError) bool { return e.Tag == "1.0" && e.Status == 405 })
	f.LockTag("1.0", http.StatusConflict)
	mustSee(t, c.Delete(ctx, "1.0"), func(e *LockedError) bool { return e.Status == 409 })
	f.LockTag("1.0", 0)
	f.SetDeletion(false)
	mustSee(t, c.Delete(ctx, "1.0"), func(e *UnsupportedError) bool { return e.Reference == "1.0" && e.Status == 405 })
	f.SetDeletion(true)
	err := connect(t, signer, one(f)).Delete(ctx, "1.0")
	mustSee(t, err, func(e *AccessError) bool {
		return e.Kind == Denied && e.Op == OpDelete && e.Scope == "repository:team/app:delete"
	})
}
