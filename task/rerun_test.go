package task

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/testkit/notarytest"
	"contenttrust/internal/testkit/playground"
)

// A variable that has no value yet when the job begins may say "false" when the step runs.
func TestThePrePhaseAsksForNoKeyWhileItIsNotKnownWhetherToSign(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everyRight())
	w.input("sign", "$(doSign)")
	w.input("delegationKey", "")
	w.run(Pre).succeeded(t)
	if left := w.left(); len(left) != 0 {
		t.Errorf("left in temp: %v", left)
	}
	w.input("sign", "false")
	w.run(Main).succeeded(t)
	if diff := cmp.Diff(everywhere(w.digest()), w.tags()); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if len(w.signed("targets/releases")) != 0 {
		t.Error("something was signed")
	}
}

// retryCountOnTaskFailure runs the main phase again and the pre phase not: its workspace is gone by then.
func TestAStepThatIsTriedAgainWorksAfterOnePrePhase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, everyRight())
	w.run(Pre).succeeded(t)
	w.Notary.Fail(notarytest.Fault{Method: http.MethodPost, Status: http.StatusNotImplemented})
	w.run(Main).failed(t, codeTrustServer)
	w.Notary.Heal()
	w.run(Main).succeeded(t)
	if left := w.left(); len(left) != 1 || !strings.HasSuffix(left[0], ".md") {
		t.Errorf("left in temp besides the summary: %v", left)
	}
	if diff := cmp.Diff(everywhere(w.digest()), w.signed("targets/releases")); diff != "" {
		t.Errorf("signed (-want +got):\n%s", diff)
	}
	w.run(Main).succeeded(t) // also after one that went well
}

// The launcher runs a copy of the executable from the same folder, and a summary waits there to be uploaded.
func TestASweepSparesWhatIsNoWorkspace(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]phase{"pre": Pre, "main": Main, "post": Post} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, playground.Options{})
			w.leave("contenttrust-gone", "another job", "a step")
			stay := []string{"contenttrust-bin-a1b2/contenttrust", "contenttrust-file"}
			for _, path := range stay {
				path = filepath.Join(w.temp, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w.run(p).succeeded(t)
			for _, path := range stay {
				if _, err := os.Stat(filepath.Join(w.temp, path)); err != nil {
					t.Errorf("removed: %v", err)
				}
			}
			if _, err := os.Stat(filepath.Join(w.temp, "contenttrust-gone")); err == nil {
				t.Error("a workspace of another job is still there")
			}
		})
	}
}

func TestTheSummaryIsNotNamedAsAWorkspaceIs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	said := w.run(Main)
	said.succeeded(t)
	if len(said.summaries) != 1 || strings.HasPrefix(filepath.Base(said.summaries[0]), workspacePrefix) {
		t.Fatalf("summaries %v", said.summaries)
	}
	w.run(Post).succeeded(t) // the agent uploads when the step has ended
	if _, err := os.Stat(said.summaries[0]); err != nil {
		t.Errorf("the summary is gone: %v", err)
	}
}
