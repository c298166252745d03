package registrytest

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// claims is a token's content as docker/distribution reads it
// (registry/auth/token/token.go, ClaimSet).
type claims struct {
	Issuer     string   `json:"iss"`
	Subject    string   `json:"sub"`
	Audience   string   `json:"aud"`
	Expiration int64    `json:"exp"`
	NotBefore  int64    `json:"nbf"`
	IssuedAt   int64    `json:"iat"`
	ID         string   `json:"jti"`
	Access     []access `json:"access"`
}

type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

type header struct {
	Type      string   `json:"typ"`
	Algorithm string   `json:"alg"`
	Chain     []string `json:"x5c"`
}

type signer struct {
	key         *ecdsa.PrivateKey
	certificate []byte // DER
}

var errBadToken = errors.New("token is malformed, expired or not ours")

// serveToken is /oauth2/token: GET with Basic, or POST with a form.
func (f *Front) serveToken(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		WriteError(w, http.StatusBadRequest, "INVALID", "form cannot be read")
		return
	}
	if service := r.Form.Get("service"); service != f.Service {
		WriteError(w, http.StatusBadRequest, "INVALID", "unknown service "+strconv.Quote(service))
		return
	}
	name, user, ok := f.login(r)
	if !ok {
		unauthorized(w, nil)
		return
	}
	life := f.faults.life()
	token, err := f.sign(name, f.grant(user, r.Form["scope"]), life)
	if err != nil {
		WriteError(w, http.StatusInternalServerError, "UNKNOWN", err.Error())
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": token,
		"token":        token,
		"expires_in":   int(life / time.Second),
	})
}

// login finds the account behind a token request.
func (f *Front) login(r *http.Request) (name string, user User, ok bool) {
	if r.Method == http.MethodPost {
		switch r.PostForm.Get("grant_type") {
		case "password":
			return f.byPassword(r.PostForm.Get("username"), r.PostForm.Get("password"))
		case "refresh_token":
			return f.byIdentity(r.PostForm.Get("refresh_token"))
		}
		return "", User{}, false
	}
	if username, password, given := r.BasicAuth(); given {
		return f.byPassword(username, password)
	}
	return "anonymous", User{Pull: true}, f.options.AnonymousPull
}

func (f *Front) byPassword(name, password string) (string, User, bool) {
	if name == IdentityUser {
		return f.byIdentity(password)
	}
	user, ok := f.options.Users[name]
	return name, user, ok && same(user.Password, password)
}

func (f *Front) byIdentity(token string) (string, User, bool) {
	for name, user := range f.options.Users {
		if same(user.IdentityToken, token) {
			return name, user, true
		}
	}
	return "", User{}, false
}

func same(want, got string) bool {
	return want != "" && subtle.ConstantTimeCompare([]byte(want), []byte(got)) == 1
}

// grant cuts the wanted scopes down to what the user may do. What is left of a
// scope may be nothing; a token is given all the same, as ACR does.
func (f *Front) grant(user User, scopes []string) []access {
	granted := []access{}
	for _, scope := range strings.Fields(strings.Join(scopes, " ")) {
		want, ok := parseScope(scope)
		if !ok {
			continue
		}
		may := map[string]bool{
			"pull":          user.Pull,
			"push":          user.Push,
			"delete":        user.Delete,
			"metadata_read": user.Pull,
		}
		if f.isGUN(want.Name) {
			may = map[string]bool{"pull": user.Pull, "push": user.Sign, "*": user.Sign}
		}
		want.Actions = slices.DeleteFunc(want.Actions, func(a string) bool { return !may[a] })
		granted = append(granted, want)
	}
	return granted
}

// isGUN tells names of trust data, which begin with a host, from names of
// repositories, which do not.
func (f *Front) isGUN(name string) bool {
	first, rest, found := strings.Cut(name, "/")
	return found && rest != "" && (first == f.Host || strings.ContainsAny(first, ".:") || first == "localhost")
}

// parseScope reads repository:<name>:<action>,<action>, where the name may hold
// colons of its own.
func parseScope(s string) (access, bool) {
	kind, rest, ok := strings.Cut(s, ":")
	last := strings.LastIndexByte(rest, ':')
	if !ok || last < 0 {
		return access{}, false
	}
	return access{Type: kind, Name: rest[:last], Actions: strings.Split(rest[last+1:], ",")}, true
}

func (f *Front) sign(subject string, granted []access, life time.Duration) (string, error) {
	now := time.Now()
	id := strconv.FormatInt(f.faults.epoch.Load(), 10) + "." + rand.Text()
	head, err := json.Marshal(header{
		Type: "JWT", Algorithm: "ES256",
		Chain: []string{base64.StdEncoding.EncodeToString(f.signer.certificate)},
	})
	if err != nil {
		return "", err
	}
	body, err := json.Marshal(claims{
		Issuer: f.Issuer, Subject: subject, Audience: f.Service, ID: id,
		IssuedAt: now.Unix(), NotBefore: now.Unix(), Expiration: now.Add(life).Unix(),
		Access: granted,
	})
	if err != nil {
		return "", err
	}
	raw := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(raw))
	r, s, err := ecdsa.Sign(rand.Reader, f.signer.key, sum[:])
	if err != nil {
		return "", err
	}
	signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	return raw + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// verify reads a token this Front has signed.
func (f *Front) verify(token string) (claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims{}, errBadToken
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || len(signature) != 64 {
		return claims{}, errBadToken
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(&f.signer.key.PublicKey, sum[:], r, s) {
		return claims{}, errBadToken
	}
	c, err := readClaims(token)
	if err != nil || c.Audience != f.Service || !time.Now().Before(time.Unix(c.Expiration, 0)) {
		return claims{}, errBadToken
	}
	return c, nil
}

// readClaims reads a token without believing it.
func readClaims(token string) (claims, error) {
	var c claims
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, errBadToken
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return c, errBadToken
	}
	return c, json.Unmarshal(body, &c)
}
