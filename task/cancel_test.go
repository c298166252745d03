package task

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/testkit/enginetest"
	"contenttrust/internal/testkit/playground"
	"contenttrust/internal/testkit/registrytest"
)

var errByAPerson = errors.New("cancelled by a person")

// An agent gives a cancelled step 7.5 seconds before it kills.
const mostToEnd = 7 * time.Second

// cancelled runs the main phase, which some hook cancels, and looks at how it ends.
func (w *world) cancelled(t *testing.T, arrange func(cancel func())) told {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var at time.Time
	arrange(func() {
		at = time.Now()
		cancel(errByAPerson)
	})
	said := w.runIn(ctx, Main)
	if took := time.Since(at); at.IsZero() || took > mostToEnd {
		t.Errorf("the step ended %v after the cancel, at %v", took, at)
	}
	if said.err == nil || said.result != "Canceled" || said.completed != 1 || len(said.errors) != 0 || len(said.variables) != 0 {
		t.Errorf("ended with %q, %v, errors %v, variables %v:\n%s", said.result, said.err, said.errors, said.variables, said.text())
	}
	if left := w.left(); len(left) != 0 {
		t.Errorf("left in temp: %v", left)
	}
	return said
}

func everyRight() playground.Options {
	return playground.Options{User: &registrytest.User{Pull: true, Push: true, Delete: true, Sign: true}}
}

func TestACancelDuringTheChecks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everyRight())
	w.cancelled(t, func(cancel func()) {
		w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
			if isTrust(r) {
				w.Front.Intercept(nil)
				cancel()
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(out, r)
		})
	})
	if builds, _ := w.counts(); builds != 0 || len(w.tags()) != 0 {
		t.Errorf("%d builds, tags %v", builds, w.tags())
	}
}

func TestACancelDuringTheBuild(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everyRight())
	w.cancelled(t, func(cancel func()) {
		w.onSolve = func(s *enginetest.Solve) error {
			cancel()
			<-s.Context.Done()
			return s.Context.Err()
		}
	})
	if _, pushes := w.counts(); pushes != 0 || len(w.tags()) != 0 {
		t.Errorf("%d pushes, tags %v", pushes, w.tags())
	}
}

func TestACancelDuringThePushPutsTheTagBack(t *testing.T) {
	t.Parallel()
	for name, existed := range map[string]bool{"a new one": false, "one that was there": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, everyRight())
			before := map[string]string{}
			if existed {
				before["1.4.2"] = w.existing("1.4.2")
			}
			said := w.cancelled(t, func(cancel func()) {
				w.onPush = func(out http.ResponseWriter, p enginetest.PushRequest) bool {
					w.doPush(out, p) // the Engine was faster than the cancel
					cancel()
					return true
				}
			})
			if diff := cmp.Diff(before, w.tags()); diff != "" {
				t.Errorf("tags (-before +after):\n%s", diff)
			}
			want := "had been pushed and was taken away again"
			if existed {
				want = "had been pushed and was put back"
			}
			said.says(t, want)
			if diff := cmp.Diff([]string{codeCancelled}, codes(said.warnings)); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			if len(w.signed("targets/releases")) != 0 {
				t.Error("something was signed")
			}
		})
	}
}

func TestACancelDuringThePushSaysThatTheTagCouldStillMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everyRight())
	hold := make(chan struct{})
	defer close(hold)
	said := w.cancelled(t, func(cancel func()) {
		w.onPush = func(http.ResponseWriter, enginetest.PushRequest) bool {
			cancel()
			<-hold
			return true
		}
	})
	if len(said.warnings) != 1 || !strings.Contains(said.warnings[0].Text, "could still move the tag") || len(w.tags()) != 0 {
		t.Errorf("warnings %v, tags %v", said.warnings, w.tags())
	}
}

func TestACancelDuringThePublishPutsTheTagBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everyRight())
	before := map[string]string{"1.4.2": w.existing("1.4.2")}
	said := w.cancelled(t, func(cancel func()) {
		w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
			if isTrust(r) && r.Method == http.MethodPost {
				cancel()
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(out, r)
		})
	})
	said.says(t, "was put back")
	if diff := cmp.Diff(before, w.tags()); diff != "" {
		t.Errorf("tags (-before +after):\n%s", diff)
	}
	if len(w.signed("targets/releases")) != 0 {
		t.Error("something was signed")
	}
}

func TestACancelOfARegistryThatHangsEndsInTimeAndSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everyRight())
	w.existing("1.4.2")
	said := w.cancelled(t, func(cancel func()) {
		w.onPush = func(out http.ResponseWriter, p enginetest.PushRequest) bool {
			w.doPush(out, p)
			w.Front.Intercept(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) { <-r.Context().Done() })
			cancel()
			return true
		}
	})
	said.says(t, "ATTENTION", "may point at an image that is not signed")
}

func TestPostRemovesWhatPreHasLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.run(Pre).succeeded(t)
	if left := w.left(); len(left) != 1 || !strings.HasPrefix(left[0], workspacePrefix) {
		t.Fatalf("the pre phase left %v", left)
	}
	// The job failed in between, and the main phase was skipped.
	w.run(Post).succeeded(t)
	if left := w.left(); len(left) != 0 {
		t.Errorf("the post phase left %v", left)
	}
}

// leave makes a workspace as a run of that job and step would have left it, with a key in it.
func (w *world) leave(name, job, step string) string {
	w.t.Helper()
	dir := filepath.Join(w.temp, name)
	mark, err := json.Marshal(owner{Job: job, Step: step})
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, ownerFile), mark, 0o600)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, keyFile), otherKey(w.t), 0o600)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return dir
}

func TestWhatAKilledRunLeftIsSweptAndWhatIsOthersStays(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]phase{"pre": Pre, "main": Main, "post": Post} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, playground.Options{})
			w.leave("contenttrust-1", "another job", "a step")
			w.leave("contenttrust-2", jobID, stepID)
			w.leave("contenttrust-3", jobID, "another step of this job")
			if err := os.Mkdir(filepath.Join(w.temp, "contenttrust-4"), 0o700); err != nil { // killed before it was marked
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(w.temp, "contenttrust-summary-x.md"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(filepath.Join(w.temp, "somebody-else"), 0o700); err != nil {
				t.Fatal(err)
			}
			w.run(p).succeeded(t)
			stay := map[string]bool{"contenttrust-3": true, "contenttrust-summary-x.md": true, "somebody-else": true}
			for _, left := range w.left() {
				if strings.HasPrefix(left, "contenttrust-") && len(left) == len("contenttrust-1") && !stay[left] {
					t.Errorf("%s is still there", left)
				}
				delete(stay, left)
			}
			if len(stay) != 0 {
				t.Errorf("removed: %v", stay)
			}
		})
	}
}

// The path comes through a variable, which another step could have written.
func TestAWorkspaceThatIsNotOursIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(w *world) string{
		"outside temp": func(w *world) string {
			dir := filepath.Join(w.sources, "contenttrust-1")
			if err := os.Rename(w.leave("contenttrust-1", jobID, stepID), dir); err != nil {
				w.t.Fatal(err)
			}
			return dir
		},
		"through dots": func(w *world) string {
			dir := filepath.Join(w.sources, "contenttrust-1")
			if err := os.Rename(w.leave("contenttrust-1", jobID, stepID), dir); err != nil {
				w.t.Fatal(err)
			}
			return w.temp + "/../" + filepath.Base(w.sources) + "/contenttrust-1"
		},
		"a link": func(w *world) string {
			dir := filepath.Join(w.sources, "contenttrust-1")
			link := filepath.Join(w.temp, "contenttrust-1")
			if err := errors.Join(os.Rename(w.leave("contenttrust-1", jobID, stepID), dir), os.Symlink(dir, link)); err != nil {
				w.t.Fatal(err)
			}
			return link
		},
		"open to others": func(w *world) string {
			dir := w.leave("contenttrust-1", jobID, stepID)
			if err := os.Chmod(dir, 0o755); err != nil {
				w.t.Fatal(err)
			}
			return dir
		},
		"of another step": func(w *world) string { return w.leave("contenttrust-1", jobID, "another") },
		"of another name": func(w *world) string { return w.leave("somebody-else", jobID, stepID) },
		"not there":       func(w *world) string { return filepath.Join(w.temp, "contenttrust-9") },
		"temp itself":     func(w *world) string { return w.temp },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, playground.Options{})
			dir := make(w)
			w.env["VSTS_TASKVARIABLE_"+workspaceVariable] = dir
			w.run(Main).succeeded(t) // with the key of secure files: the one that lies there is admitted nowhere
			if len(w.Azure.Requests()) != 1 {
				t.Error("the key was not fetched")
			}
			if strings.HasPrefix(dir, w.sources) {
				if _, err := os.Stat(dir); err != nil {
					t.Errorf("what is not ours was removed: %v", err)
				}
			}
			if name == "a link" {
				if _, err := os.Stat(filepath.Join(w.sources, "contenttrust-1", keyFile)); err != nil {
					t.Errorf("what the link leads to was removed: %v", err)
				}
			}
		})
	}
}

func TestAWorkspaceThatIsLeftIsToldAlsoAfterACancel(t *testing.T) {
	t.Parallel()
	left := &WorkspaceError{Op: opRemove, Path: "/tmp/contenttrust-1", Err: os.ErrPermission}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, step := range []struct {
		name  string
		said  []string
		never string
	}{
		{"a failed run", []string{"error " + codeDisk + ": The run could not remove /tmp/contenttrust-1: permission denied."}, ""},
		{"a cancelled run", []string{"warning " + codeLeftBehind + ": The private folder of this step could not be removed: remove /tmp/contenttrust-1"}, "Nothing of the key"},
	} {
		var out lockedBuffer
		r, err := begin(ctx, Deps{Environment: environment(nil), Stdout: &out, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.end(ctx, errors.Join(&InputError{Faults: []Fault{{Input: "tags", Problem: "is empty", Fix: "name one"}}}, left)); got == nil {
			t.Error("end lost the error")
		}
		said := read(t, out.String())
		said.says(t, step.said...)
		if step.never != "" && strings.Contains(said.final, step.never) {
			t.Errorf("%s ends with %q", step.name, said.final)
		}
		cancel()
	}
}

func TestACancelAfterTheSignatureSaysWhatIsThere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everyRight())
	said := w.cancelled(t, func(cancel func()) {
		w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/latest") {
				cancel()
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(out, r)
		})
	})
	said.says(t, "1.4.2 is pushed and signed", "Run the step again to complete them")
	if w.tags()["1.4.2"] != w.digest() || w.signed("targets/releases")["1.4.2"] != w.digest() {
		t.Errorf("tags %v, signed %v", w.tags(), w.signed("targets/releases"))
	}
}
