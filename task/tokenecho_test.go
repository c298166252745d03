package task

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"contenttrust/internal/testkit/registrytest"
)

// A proxy or a registry may repeat a request in the text of its refusal, with the token that came with it.
func TestATokenThatAServerEchoesIsNotInTheLog(t *testing.T) {
	t.Parallel()
	places := map[string]func(*http.Request) bool{
		"the start of an upload": func(r *http.Request) bool { return strings.Contains(r.URL.Path, "/blobs/uploads/") },
		"a manifest":             func(r *http.Request) bool { return isManifestOf(r, http.MethodGet, "1.4.2") },
		"another tag":            func(r *http.Request) bool { return isManifestOf(r, http.MethodPut, "latest") },
		"the trust data":         func(r *http.Request) bool { return isTrust(r) && r.Method == http.MethodGet },
		"a publish":              isPublish,
	}
	for place, fits := range places {
		for around, text := range map[string]string{"first": "%s is refused", "cut off": strings.Repeat("long ", 50) + "%s"} {
			t.Run(place+", "+around, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, everyRight())
				var mu sync.Mutex
				var tokens []string
				w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
					token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
					if !ok || !fits(r) {
						next.ServeHTTP(out, r)
						return
					}
					_, _ = io.Copy(io.Discard, r.Body)
					mu.Lock()
					tokens = append(tokens, token)
					mu.Unlock()
					registrytest.WriteError(out, http.StatusForbidden, "DENIED", strings.Replace(text, "%s", "Authorization: Bearer "+token, 1))
				})
				said := w.run(Main)
				mu.Lock() // a request that was cut off may still be answered
				defer mu.Unlock()
				if said.err == nil || len(tokens) == 0 {
					t.Fatalf("%d tokens were sent; the step ended with %v", len(tokens), said.err)
				}
				for _, token := range tokens {
					if part := leaked(said.output, token); part != "" {
						t.Errorf("the log shows %q", part)
					}
				}
			})
		}
	}
}

// leaked is a piece of a token that stands in a log outside the commands that hide it.
func leaked(output, token string) string {
	const size = 12
	for line := range strings.SplitSeq(output, "\n") {
		if strings.HasPrefix(line, "##vso[task.setsecret") {
			continue
		}
		for at := 0; at+size <= len(token); at++ {
			if strings.Contains(line, token[at:at+size]) {
				return token[at : at+size]
			}
		}
	}
	return ""
}
