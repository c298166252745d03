package registrytest

import (
	"net/http"
	"strings"
)

// embedded adds to the in-memory registry what it lacks: the cancelling of an
// upload, and Azure Container Registry's way of deleting a tag.
func (f *Front) embedded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			if strings.Contains(r.URL.Path, "/blobs/uploads/") {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			if name, tag, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/acr/v1/"), "/_tags/"); ok {
				r.URL.Path = "/v2/" + name + "/manifests/" + tag
			}
		}
		h.ServeHTTP(w, r)
	})
}
