package registrytest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// guarded asks for a token before h sees a request, as a registry with token
// authentication does.
func (f *Front) guarded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		need := neededAccess(r)
		if f.options.BasicOnly {
			name, password, _ := r.BasicAuth()
			if _, user, ok := f.byPassword(name, password); !ok || !allowed(f.grantNeeded(user, need), need) {
				w.Header().Set("WWW-Authenticate", `Basic realm="`+f.Host+`"`)
				unauthorized(w, need)
				return
			}
			h.ServeHTTP(w, r)
			return
		}
		kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		c, err := f.verify(token)
		switch {
		case !strings.EqualFold(kind, "Bearer"):
			f.challenge(w, need, "")
		case err != nil:
			f.challenge(w, need, "invalid_token")
		case !allowed(c.Access, need):
			f.challenge(w, need, "insufficient_scope")
		default:
			h.ServeHTTP(w, r)
		}
	})
}

// grantNeeded is grant for one access that is already taken apart.
func (f *Front) grantNeeded(user User, need *access) []access {
	if need == nil {
		return nil
	}
	return f.grant(user, []string{need.scope()})
}

func (f *Front) challenge(w http.ResponseWriter, need *access, code string) {
	value := fmt.Sprintf(`Bearer realm=%q,service=%q`, f.Realm, f.Service)
	if need != nil {
		value += fmt.Sprintf(`,scope=%q`, need.scope())
	}
	if code != "" {
		value += fmt.Sprintf(`,error=%q`, code)
	}
	w.Header().Set("WWW-Authenticate", value)
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	unauthorized(w, need)
}

// unauthorized answers 401 in Azure Container Registry's words.
func unauthorized(w http.ResponseWriter, need *access) {
	var detail any
	if need != nil {
		lines := []map[string]string{}
		for _, action := range need.Actions {
			lines = append(lines, map[string]string{"Type": need.Type, "Name": need.Name, "Action": action})
		}
		detail = lines
	}
	writeErrors(w, http.StatusUnauthorized, "UNAUTHORIZED",
		"authentication required, visit https://aka.ms/acr/authorization for more information.", detail)
}

// WriteError answers in the form of the distribution specification, one error.
func WriteError(w http.ResponseWriter, status int, code, message string) {
	writeErrors(w, status, code, message, nil)
}

func writeErrors(w http.ResponseWriter, status int, code, message string, detail any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"errors": []map[string]any{{"code": code, "message": message, "detail": detail}},
	})
}

func (a *access) scope() string {
	return a.Type + ":" + a.Name + ":" + strings.Join(a.Actions, ",")
}

func allowed(granted []access, need *access) bool {
	if need == nil {
		return true
	}
	return !slices.ContainsFunc(need.Actions, func(action string) bool {
		return !slices.ContainsFunc(granted, func(g access) bool {
			return g.Type == need.Type && g.Name == need.Name && slices.Contains(g.Actions, action)
		})
	})
}

// neededAccess says what a request needs, after docker/distribution
// (registry/handlers/app.go) and notary (server/server.go); nil: any token.
func neededAccess(r *http.Request) *access {
	path, found := strings.CutPrefix(r.URL.Path, "/v2/")
	if name, _, ok := strings.Cut(path, "/_trust/"); found && ok {
		return &access{Type: "repository", Name: name, Actions: trustActions(r)}
	}
	name := repositoryName(r.URL.Path)
	if name == "" {
		return nil
	}
	actions := []string{"pull", "push"}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		actions = []string{"pull"}
	case http.MethodDelete:
		if !strings.Contains(r.URL.Path, "/blobs/uploads/") {
			actions = []string{"delete"}
		}
	}
	return &access{Type: "repository", Name: name, Actions: actions}
}

func trustActions(r *http.Request) []string {
	isKey := strings.HasSuffix(r.URL.Path, ".key")
	switch {
	case r.Method == http.MethodGet && !isKey:
		return []string{"pull"}
	case r.Method == http.MethodDelete, r.Method == http.MethodPost && isKey:
		return []string{"*"}
	}
	return []string{"push", "pull"}
}

// repositoryName is the name in /v2/<name>/manifests|blobs|tags/… and in
// /acr/v1/<name>/_tags/…, "" in other paths.
func repositoryName(path string) string {
	rest, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		rest, _ = strings.CutPrefix(path, "/acr/v1/")
	}
	for _, mark := range []string{"/manifests/", "/blobs/", "/tags/", "/_tags/", "/referrers/"} {
		if i := strings.LastIndex(rest, mark); i > 0 {
			return rest[:i]
		}
	}
	return ""
}
