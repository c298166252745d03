package trust

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

func TestNotarysCommandLineSeesWhatWeSigned(t *testing.T) {
	t.Parallel()
	notary, err := exec.LookPath("notary")
	w := newRealWorld(t)
	if w == nil || err != nil && os.Getenv("CI") != "true" {
		t.Log("notary is not installed: our signatures are not checked with it")
		return
	}
	key := w.init("alice")[0]
	w.sign(w.open(), key, targets(2)...)
	list := exec.CommandContext(t.Context(), notary, "-s", w.URL, "-d", t.TempDir(), "list", testGUN, "-r", "targets/releases", "-r", "targets/alice")
	out, err := list.CombinedOutput()
	for _, target := range targets(2) {
		if digest := strings.TrimPrefix(target.Digest, "sha256:"); !strings.Contains(string(out), digest) {
			t.Errorf("%v: no %s in %s", err, digest, out)
		}
	}
}
