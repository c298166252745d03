package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"contenttrust/internal/secret"
)

const (
	// unsaidLife is how long a token lives whose server does not say
	// (distribution, docs/spec/auth/token.md).
	unsaidLife = 60 * time.Second
	// renewEarly is how long before its end a token is no longer used, so that
	// it cannot end on the way; at most a quarter of its life.
	renewEarly = 30 * time.Second
)

// scope is what a token is for.
type scope struct {
	repository string // in full, for errors
	name       string // as the token server knows it
	actions    []string
}

func (s scope) String() string {
	return "repository:" + s.name + ":" + strings.Join(s.actions, ",")
}

// covers tells whether a token for s serves for other.
func (s scope) covers(other scope) bool {
	return s.name == other.name && !slices.ContainsFunc(other.actions, func(action string) bool {
		return !slices.Contains(s.actions, action)
	})
}

type token struct {
	value string
	scope scope
	until time.Time
}

// endpoint is one origin that asks for tokens: the registry, or a Notary server
// on a host of its own.
type endpoint struct {
	session    *session
	home       origin
	wire       *guard
	challenges shared[*transport.Challenge]
	tokens     shared[token]
}

// permit is the header a request needs, "" if none, and the token in it.
type permit struct {
	header string
	token  string
	// fresh: it was made for this very request, so a 401 is the last word.
	fresh bool
}

// authorize makes the permit for a scope, with a ping and a token request if
// nothing kept serves.
func (e *endpoint) authorize(ctx context.Context, s scope) (permit, error) {
	challenge, err := e.challenge(ctx)
	if err != nil {
		return permit{}, err
	}
	switch strings.ToLower(challenge.Scheme) {
	case "":
		return permit{fresh: true}, nil
	case "basic":
		return permit{header: e.session.credential.basic(), fresh: true}, nil
	case "bearer":
		return e.bearer(ctx, challenge, s)
	}
	return permit{}, &ChallengeError{Op: OpPing, Host: e.home.authority(),
		Reason: "asks for unknown authentication " + printable(cut(challenge.Scheme, 40))}
}

func (c Credential) basic() string {
	if c.anonymous() || c.Username == IdentityTokenUser {
		return "" // an identity token is for token servers only
	}
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(c.Username+":"+c.Password.Reveal()))
}

func (e *endpoint) challenge(ctx context.Context) (*transport.Challenge, error) {
	find := func(kept map[string]*transport.Challenge) (*transport.Challenge, bool) {
		c, ok := kept[""]
		return c, ok
	}
	c, _, err := e.challenges.get(ctx, "", find, e.ping)
	return c, err
}

// scheme is what the endpoint asked for at its ping, in lower case; "" before.
func (e *endpoint) scheme() string {
	if c, ok := e.challenges.peek(""); ok {
		return strings.ToLower(c.Scheme)
	}
	return ""
}

// ping asks what the endpoint wants. A redirect to another host is refused:
// its challenge would not be the registry's.
func (e *endpoint) ping(ctx context.Context) (challenge *transport.Challenge, err error) {
	var options []name.Option
	if e.home.scheme == "http" {
		options = append(options, name.Insecure)
	}
	registry, err := name.NewRegistry(e.home.authority(), options...)
	if err != nil {
		return nil, &ChallengeError{Op: OpPing, Host: e.home.authority(), Reason: "host cannot be one"}
	}
	wire := &guard{inner: e.session.transport, home: e.home, stay: true}
	err = e.session.patience.run(ctx, OpPing, e.home.authority(), func(ctx context.Context) error {
		challenge, err = transport.Ping(ctx, registry, wire)
		if err == nil {
			return nil
		}
		if answer, ok := errors.AsType[*transport.Error](err); ok {
			return e.answered(OpPing, e.home.authority(), scope{}, answer)
		}
		return translate(ctx, OpPing, e.home.authority(), err)
	})
	return challenge, err
}

// bearer gives a kept token that covers s, or gets one for exactly s.
func (e *endpoint) bearer(ctx context.Context, challenge *transport.Challenge, s scope) (permit, error) {
	find := func(kept map[string]token) (token, bool) {
		now := e.session.now()
		for _, t := range kept {
			if t.scope.covers(s) && now.Before(t.until) {
				return t, true
			}
		}
		return token{}, false
	}
	t, fresh, err := e.tokens.get(ctx, s.String(), find, func(ctx context.Context) (token, error) {
		return e.exchange(ctx, challenge, s)
	})
	if err != nil {
		return permit{}, err
	}
	return permit{header: "Bearer " + t.value, token: t.value, fresh: fresh}, nil
}

// forget drops a token the endpoint did not accept, unless another goroutine
// has already put a new one in its place.
func (e *endpoint) forget(value string) {
	e.tokens.drop(func(t token) bool { return t.value == value })
}

// exchange turns the credential into a token. The realm is judged first, and
// the library sees only a transport that cannot leave it.
func (e *endpoint) exchange(ctx context.Context, challenge *transport.Challenge, s scope) (token, error) {
	realm, at, err := e.realm(challenge)
	if err != nil {
		return token{}, err
	}
	// The realm's own host is passed as the registry's, because the library
	// trusts addresses on this machine or in a private network only for the
	// registry; whether to trust it has been decided above.
	server, err := name.NewRegistry(realm.Host)
	if err != nil {
		return token{}, e.realmError(realm.String(), realm.Host, "not an address")
	}
	judged := &transport.Challenge{Scheme: "bearer", Parameters: challenge.Parameters, Insecure: at.scheme == "http"}
	wire := &guard{inner: e.session.transport, home: at, stay: true}

	var got *transport.Token
	var asked time.Time
	err = e.session.patience.run(ctx, OpToken, at.authority(), func(ctx context.Context) error {
		asked = e.session.now()
		got, err = transport.Exchange(ctx, server, e.session.credential.authenticator(), wire, []string{s.String()}, judged)
		if err == nil {
			return nil
		}
		return e.exchangeError(ctx, at.authority(), s, err)
	})
	if err != nil {
		return token{}, err
	}
	value := got.AccessToken
	if value == "" {
		value = got.Token
	}
	if e.session.onToken != nil {
		e.session.onToken(secret.New(value))
	}
	return token{value: value, scope: s, until: asked.Add(usableLife(got.ExpiresIn))}, nil
}

// usableLife is how long a token is used that lives for some seconds.
func usableLife(seconds int) time.Duration {
	life := unsaidLife
	if seconds > 0 {
		life = time.Duration(min(seconds, 24*60*60)) * time.Second
	}
	return life - min(renewEarly, life/4)
}

// exchangeError sorts the failures of a token request. What is none of the
// known ones comes from reading the answer; its text could quote a token, so it
// goes no further.
func (e *endpoint) exchangeError(ctx context.Context, host string, s scope, err error) error {
	if answer, ok := errors.AsType[*transport.Error](err); ok {
		return e.answered(OpToken, host, s, answer)
	}
	_, sent := errors.AsType[*url.Error](err)
	if ctx.Err() != nil || sent || ownError(err) != nil || reachKind(err) == ConnectionLost {
		return translate(ctx, OpToken, host, err)
	}
	return &ChallengeError{Op: OpToken, Host: host, Reason: "answer holds no token"}
}

// answered makes an AccessError of the library's.
func (e *endpoint) answered(op Op, host string, s scope, answer *transport.Error) error {
	err := &AccessError{Op: op, Host: host, Repository: s.repository, Status: answer.StatusCode}
	if op == OpToken {
		err.Scope = s.String()
	}
	if len(answer.Errors) > 0 {
		err.Code, err.Detail = printable(string(answer.Errors[0].Code)), printable(answer.Errors[0].Message)
	}
	err.Kind, err.ClientIP = e.session.kind(op, "", answer.StatusCode, err.Detail)
	return err
}

func (c Credential) authenticator() authn.Authenticator {
	switch {
	case c.anonymous():
		return authn.Anonymous
	case c.Username == IdentityTokenUser:
		return authn.FromConfig(authn.AuthConfig{IdentityToken: c.Password.Reveal()})
	}
	return authn.FromConfig(authn.AuthConfig{Username: c.Username, Password: c.Password.Reveal()})
}
