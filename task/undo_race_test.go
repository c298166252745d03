package task

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"contenttrust/internal/testkit/enginetest"
	"contenttrust/internal/testkit/notarytest"
	"contenttrust/internal/testkit/registrytest"
)

func isPublish(r *http.Request) bool { return isTrust(r) && r.Method == http.MethodPost }

func isManifestOf(r *http.Request, method, tag string) bool {
	return r.Method == method && strings.HasSuffix(r.URL.Path, "/manifests/"+tag)
}

// detached is a request that goes on when its sender has gone away, with all of its body.
func detached(t *testing.T, r *http.Request) *http.Request {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	other := r.Clone(context.WithoutCancel(r.Context()))
	other.Body = io.NopCloser(strings.NewReader(string(body)))
	return other
}

// release moves a tag as another pipeline would, and gives the digest that it points at then.
func (w *world) release(tag string) (string, error) {
	image, err := random.Image(40, 1)
	if err != nil {
		return "", err
	}
	digest, err := image.Digest()
	if err != nil {
		return "", err
	}
	return digest.String(), w.writeImage(w.GUN+":"+tag, image, w.login())
}

// The registry has the last request of a push that was cut off, and carries it out when the run has looked once already.
func TestAPushThatLandsAfterTheCancelIsUndone(t *testing.T) {
	t.Parallel()
	for name, existed := range map[string]bool{"a new tag": false, "a tag that was there": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, everyRight())
			before := map[string]string{}
			if existed {
				before["1.4.2"] = w.existing("1.4.2")
			}
			landed := make(chan struct{})
			said := w.cancelled(t, func(cancel func()) {
				w.Front.Intercept(latePut(t, cancel, landed))
			})
			<-landed
			if diff := cmp.Diff(before, w.tags()); diff != "" {
				t.Errorf("tags (-before +after):\n%s\n%s", diff, said.text())
			}
			want := "had been pushed and was taken away again"
			if existed {
				want = "had been pushed and was put back"
			}
			said.says(t, want)
			if len(w.signed("targets/releases")) != 0 {
				t.Error("something was signed")
			}
		})
	}
}

// latePut cancels when the Engine writes the first tag, and lets that be done 700 milliseconds later, or when the run has
// looked at the tag, whichever is the later.
func latePut(t *testing.T, cancel func(), landed chan<- struct{}) registrytest.Fault {
	t.Helper()
	looked := make(chan struct{})
	var look sync.Once
	var began atomic.Bool
	return func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		if isManifestOf(r, http.MethodPut, "1.4.2") && began.CompareAndSwap(false, true) {
			late := detached(t, r)
			cancel()
			time.Sleep(700 * time.Millisecond)
			<-looked
			next.ServeHTTP(httptest.NewRecorder(), late)
			close(landed)
			return
		}
		next.ServeHTTP(out, r)
		if began.Load() && isManifestOf(r, http.MethodGet, "1.4.2") {
			look.Do(func() { close(looked) })
		}
	}
}

// A push that lands when the run has ended cannot be undone by it; the log has said that it could come.
func TestAPushThatLandsAfterTheEndWasSaidToBePossible(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everyRight())
	before := w.existing("1.4.2")
	ended, landed := make(chan struct{}), make(chan struct{})
	said := w.cancelled(t, func(cancel func()) {
		w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
			if isManifestOf(r, http.MethodPut, "1.4.2") {
				late := detached(t, r)
				cancel()
				<-ended
				next.ServeHTTP(httptest.NewRecorder(), late)
				close(landed)
				return
			}
			next.ServeHTTP(out, r)
		})
	})
	close(ended)
	<-landed
	if now := w.tags()["1.4.2"]; now == before || now != w.digest() {
		t.Errorf("the push has not landed: %s", now)
	}
	said.says(t, "1.4.2 is as it was", "could still move the tag to the unsigned image")
}

// Between our push and our signature that fails, another pipeline releases under the same tag.
func TestATagThatSomebodyElseHasMovedIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, existed := range map[string]bool{"a new tag": false, "a tag that was there": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, everyRight())
			if existed {
				w.existing("1.4.2")
			}
			var theirs string
			w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
				if !isPublish(r) {
					next.ServeHTTP(out, r)
					return
				}
				var err error
				if theirs, err = w.release("1.4.2"); err != nil {
					t.Error(err)
				}
				_, _ = io.Copy(io.Discard, r.Body)
				registrytest.WriteError(out, http.StatusNotImplemented, "UNSUPPORTED", "not here")
			})
			said := w.run(Main)
			said.failed(t, codeTrustServer)
			said.says(t, "somebody else has moved "+w.GUN+":1.4.2", "left as they put it")
			if diff := cmp.Diff(map[string]string{"1.4.2": theirs}, w.tags()); diff != "" {
				t.Errorf("tags (-theirs +after):\n%s", diff)
			}
		})
	}
}

// Another run releases while we build. Its release is what the tag goes back to, not what was there when we began.
func TestATagGoesBackToWhatItWasRightBeforeThePush(t *testing.T) {
	t.Parallel()
	for name, existed := range map[string]bool{"a tag that did not exist when the run began": false, "a tag that did": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, everyRight())
			if existed {
				w.existing("1.4.2")
			}
			var theirs string
			w.onSolve = func(*enginetest.Solve) (err error) {
				theirs, err = w.release("1.4.2")
				return err
			}
			w.Notary.Fail(notarytest.Fault{Method: http.MethodPost, Status: http.StatusNotImplemented})
			said := w.run(Main)
			said.failed(t, codeTrustServer)
			said.says(t, "was put back to the image it pointed at before")
			if diff := cmp.Diff(map[string]string{"1.4.2": theirs}, w.tags()); diff != "" {
				t.Errorf("tags (-theirs +after):\n%s", diff)
			}
		})
	}
}

// Without a cancel nobody waits to kill the run, so it is patient with a registry that takes its time.
func TestASlowRegistryTakesTheTagAwayAllTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everyRight())
	var refused atomic.Bool
	w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		if isPublish(r) {
			refused.Store(true)
			_, _ = io.Copy(io.Discard, r.Body)
			registrytest.WriteError(out, http.StatusNotImplemented, "UNSUPPORTED", "not here")
			return
		}
		if refused.Load() {
			time.Sleep(1500 * time.Millisecond)
		}
		next.ServeHTTP(out, r)
	})
	said := w.run(Main)
	said.failed(t, codeTrustServer)
	said.says(t, "had been pushed and was taken away again")
	if tags := w.tags(); len(tags) != 0 {
		t.Errorf("tags %v", tags)
	}
}
