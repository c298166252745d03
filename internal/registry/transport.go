package registry

import (
	"context"
	"io"
	"net/http"
)

// TrustTransport gives a RoundTripper for the repository's trust data: requests
// to TrustServer carry a token for the actions ("pull", "push", "*"; none means
// pull) on the GUN. Requests to anywhere else carry nothing. What goes wrong on
// the way to a token comes back as an error of this package, and a refusal by
// the Notary server itself as its answer.
//
// Transports for the same actions share their tokens, and one for more actions
// serves those for fewer.
func (c *Client) TrustTransport(actions ...string) http.RoundTripper {
	return &authorized{endpoint: c.trust, scope: c.trustScope(actions)}
}

// CheckTrust gets the challenge and the token that TrustTransport would need,
// so that a wrong credential shows early, and with its own error. Whether the
// token grants anything shows in use only; a Notary server answers 401 then.
func (c *Client) CheckTrust(ctx context.Context, actions ...string) error {
	_, err := c.trust.authorize(ctx, c.trustScope(actions))
	return err
}

func (c *Client) trustScope(actions []string) scope {
	if len(actions) == 0 {
		actions = []string{"pull"}
	}
	return scope{repository: c.repository.String(), name: c.repository.GUN(), actions: actions}
}

// authorized puts a token on requests to its endpoint. When a kept token is
// refused it gets another and tries once more.
type authorized struct {
	endpoint *endpoint
	scope    scope
	// once takes the first 401 for an answer: for requests not worth a new token.
	once bool
}

func (a *authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	if originOf(r.URL) != a.endpoint.home {
		return a.endpoint.wire.RoundTrip(r) // redirected: it goes on without us
	}
	p, err := a.endpoint.authorize(r.Context(), a.scope)
	if err != nil {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, err
	}
	response, err := a.send(r, p, r.Body)
	if err != nil || response.StatusCode != http.StatusUnauthorized || p.fresh || a.once {
		return response, err
	}
	body, ok := bodyAgain(r)
	if !ok {
		return response, nil // the 401 is the answer, then
	}
	drain(response)
	a.endpoint.forget(p.token)
	p, err = a.endpoint.authorize(r.Context(), a.scope)
	if err != nil {
		return nil, err
	}
	return a.send(r, p, body)
}

// bodyAgain gives the body of a request that was sent, if there is a way to.
func bodyAgain(r *http.Request) (body io.ReadCloser, ok bool) {
	if r.Body == nil || r.Body == http.NoBody {
		return r.Body, true
	}
	if r.GetBody == nil {
		return nil, false
	}
	body, err := r.GetBody()
	return body, err == nil
}

func (a *authorized) send(r *http.Request, p permit, body io.ReadCloser) (*http.Response, error) {
	out := r.Clone(r.Context())
	out.Body = body
	out.Header.Del("Authorization")
	if p.header != "" {
		out.Header.Set("Authorization", p.header)
	}
	return a.endpoint.wire.RoundTrip(out)
}

// drain reads what is left of an answer, so that its connection can be used
// again, unless there is a lot of it.
func drain(response *http.Response) {
	_, _ = io.CopyN(io.Discard, response.Body, 64<<10)
	_ = response.Body.Close()
}
