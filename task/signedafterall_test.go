package task

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/testkit/registrytest"
)

// everywhere are the three tags of a world's step, at this digest.
func everywhere(digest string) map[string]string {
	return map[string]string{"1.4.2": digest, "1.4": digest, "latest": digest}
}

// The server takes the publish, and the answer is lost; then it refuses once, so that trying again is no way out.
func TestASignatureWhoseAnswerWasLostStandsAndTheRunEndsGreen(t *testing.T) {
	t.Parallel()
	for name, existed := range map[string]bool{"a new tag": false, "a tag that was there": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, everyRight())
			if existed {
				w.existing("1.4.2")
			}
			var lost, refused atomic.Bool
			w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
				switch {
				case isPublish(r) && lost.CompareAndSwap(false, true):
					next.ServeHTTP(httptest.NewRecorder(), r)
					panic(http.ErrAbortHandler)
				case isTrust(r) && lost.Load() && refused.CompareAndSwap(false, true):
					_, _ = io.Copy(io.Discard, r.Body)
					registrytest.WriteError(out, http.StatusForbidden, "DENIED", "not now")
				default:
					next.ServeHTTP(out, r)
				}
			})
			said := w.run(Main)
			said.succeeded(t)
			said.says(t, "in the registry and in the trust data") // the proof
			if len(said.variables) == 0 || !refused.Load() {
				t.Errorf("variables %v; refused: %v", said.variables, refused.Load())
			}
			if diff := cmp.Diff(everywhere(w.digest()), w.tags()); diff != "" {
				t.Errorf("tags (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(everywhere(w.digest()), w.signed("targets/releases")); diff != "" {
				t.Errorf("signed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestASignatureThatACancelCutOffAfterItWasTakenStands(t *testing.T) {
	t.Parallel()
	for name, existed := range map[string]bool{"a new tag": false, "a tag that was there": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, everyRight())
			if existed {
				w.existing("1.4.2")
			}
			said := w.cancelled(t, func(cancel func()) {
				w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
					if isPublish(r) {
						next.ServeHTTP(httptest.NewRecorder(), detached(t, r))
						cancel()
						<-r.Context().Done()
						return
					}
					next.ServeHTTP(out, r)
				})
			})
			said.says(t, "1.4.2 is pushed and signed", "Run the step again to complete them")
			if strings.Contains(said.text(), "taken away") || strings.Contains(said.text(), "put back") {
				t.Errorf("something was undone:\n%s", said.text())
			}
			if w.tags()["1.4.2"] != w.digest() {
				t.Errorf("tags %v", w.tags())
			}
			if diff := cmp.Diff(everywhere(w.digest()), w.signed("targets/releases")); diff != "" {
				t.Errorf("signed (-want +got):\n%s", diff)
			}
		})
	}
}

// In "Tag and prove" the signature stands already.
func TestACancelDuringTheProofUndoesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everyRight())
	w.existing("1.4.2")
	var published, tagged atomic.Bool
	said := w.cancelled(t, func(cancel func()) {
		w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
			if published.Load() && isManifestOf(r, http.MethodGet, "latest") && tagged.CompareAndSwap(false, true) {
				cancel()
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(out, r)
			if isPublish(r) {
				published.Store(true)
			}
		})
	})
	said.says(t, "Tag and prove", "1.4.2 is pushed and signed", "Run the step again to complete them")
	if diff := cmp.Diff(everywhere(w.digest()), w.tags()); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(everywhere(w.digest()), w.signed("targets/releases")); diff != "" {
		t.Errorf("signed (-want +got):\n%s", diff)
	}
}

func TestAPublishNobodyCanAskAboutIsSaidToBeOpen(t *testing.T) {
	t.Parallel()
	e := &UnsignedError{Image: "registry.example/app:1", State: TagRestored, Unasked: true, Err: errors.New("no answer")}
	text := Explain(e)[0].What
	for _, piece := range []string{"was put back", "could not be asked whether it has taken the signature"} {
		if !strings.Contains(text, piece) {
			t.Errorf("nothing says %q: %s", piece, text)
		}
	}
}
