package task

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/testkit/enginetest"
	"contenttrust/internal/testkit/notarytest"
	"contenttrust/internal/testkit/playground"
	"contenttrust/internal/testkit/registrytest"
)

func TestATagIsPutBackWhenItsSignatureFails(t *testing.T) {
	t.Parallel()
	refusePublish := func(w *world) {
		w.Notary.Fail(notarytest.Fault{Method: http.MethodPost, Status: http.StatusNotImplemented})
	}
	for name, c := range map[string]struct {
		existed bool
		change  func(w *world)
		code    string
		says    []string
		removed bool // the tag that existed is not there any more, or the new tag stays
	}{
		"a new tag is taken away":           {code: codeTrustServer, says: []string{"1.4.2 had been pushed and was taken away again."}},
		"a tag that was there is put back":  {existed: true, code: codeTrustServer, says: []string{"1.4.2 had been pushed and was put back to the image it pointed at before."}},
		"a new tag that cannot be deleted":  {change: func(w *world) { w.Front.SetDeletion(false) }, code: codeTrustServer, removed: true, says: []string{"ATTENTION", "NOT signed", "delete the tag"}},
		"a tag that is locked in the while": {existed: true, removed: true, change: func(w *world) { w.onPush = lockAfterPush(w) }, code: codeTrustServer, says: []string{"ATTENTION", "NOT signed"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldWith(t, playground.Options{User: &registrytest.User{Pull: true, Push: true, Delete: true, Sign: true}}, enginetest.Options{})
			before := map[string]string{}
			if c.existed {
				before["1.4.2"] = w.existing("1.4.2")
			}
			data := w.trustData()
			if c.change != nil {
				c.change(w)
			}
			refusePublish(w)
			said := w.run(Main)
			said.failed(t, c.code)
			said.says(t, c.says...)
			if !strings.Contains(said.errors[0].Text, "501") {
				t.Errorf("the reason is not told: %q", said.errors[0].Text)
			}
			if c.removed {
				before["1.4.2"] = w.digest()
			}
			if diff := cmp.Diff(before, w.tags()); diff != "" {
				t.Errorf("tags (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(data, w.trustData()); diff != "" {
				t.Errorf("trust data (-before +after):\n%s", diff)
			}
			if left := w.left(); len(left) != 0 {
				t.Errorf("left in temp: %v", left)
			}
		})
	}
}

// lockAfterPush locks the tag when it has been pushed.
func lockAfterPush(w *world) func(http.ResponseWriter, enginetest.PushRequest) bool {
	return func(out http.ResponseWriter, p enginetest.PushRequest) bool {
		w.doPush(out, p)
		w.Front.LockTag(p.Tag, http.StatusMethodNotAllowed)
		return true
	}
}
