package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
)

const (
	maxManifest = 4 << 20  // what registries accept, in bytes
	maxAnswer   = 64 << 10 // of any other answer
)

// call is one request to the registry's API.
type call struct {
	op        Op
	method    string
	path      string
	reference string // for errors
	actions   []string
	header    http.Header
	body      []byte
	limit     int64 // of the answer's body, more is errTooLarge; 0: nobody reads it
	once      bool  // neither tried again nor worth a new token
}

type answer struct {
	from   origin // of the last hop
	status int
	header http.Header
	body   []byte
}

var errTooLarge = errors.New("answer too large")

// do makes a call, as often as patience allows, and gives an answer of the 2xx
// kind. Its errors are those of this package, or wrap that of ctx.
func (c *Client) do(ctx context.Context, k call) (answer, error) {
	s := c.scope(k.actions)
	client := &http.Client{Transport: &authorized{endpoint: c.api, scope: s, once: k.once}, CheckRedirect: followAll}
	var got answer
	try := func(ctx context.Context) (err error) {
		got, err = c.try(ctx, client, k)
		return err
	}
	var err error
	if k.once {
		err = try(ctx)
	} else {
		err = c.session.patience.run(ctx, k.op, c.api.home.authority(), try)
	}
	return got, err
}

func (c *Client) scope(actions []string) scope {
	return scope{repository: c.repository.String(), name: c.repository.Path, actions: actions}
}

// followAll leaves it to the guard where a redirect may lead.
func followAll(*http.Request, []*http.Request) error { return nil }

func (c *Client) try(ctx context.Context, client *http.Client, k call) (answer, error) {
	host := c.api.home.authority()
	request, err := http.NewRequestWithContext(ctx, k.method, c.api.home.url(k.path), bytes.NewReader(k.body))
	if err != nil {
		return answer{}, translate(ctx, k.op, host, err)
	}
	for name, values := range k.header {
		request.Header[name] = values
	}
	response, err := client.Do(request)
	if err != nil {
		return answer{}, translate(ctx, k.op, host, err)
	}
	defer drain(response)
	good := response.StatusCode/100 == 2
	limit := k.limit
	if !good || limit == 0 {
		limit = maxAnswer
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	if err != nil {
		return answer{}, translate(ctx, k.op, host, err)
	}
	got := answer{from: originOf(response.Request.URL), status: response.StatusCode, header: response.Header, body: body}
	switch {
	case !good:
		return got, c.refused(k, got)
	case response.Request.Method != k.method: // net/http makes a GET of it after 301, 302 and 303
		return got, &RedirectError{From: host, To: got.from.url(""), Reason: "changes the method"}
	}
	if k.limit > 0 && int64(len(body)) > k.limit {
		return got, errTooLarge
	}
	return got, nil
}

// refused makes the error for an answer that is not of the 2xx kind.
func (c *Client) refused(k call, a answer) error {
	scheme := ""
	if a.from == c.api.home {
		scheme = c.api.scheme()
	}
	e := &AccessError{
		Op: k.op, Host: a.from.authority(), Status: a.status,
		Repository: c.repository.String(), Reference: k.reference,
		RetryAfter: retryAfter(a.header, c.session.now()),
	}
	if scheme == "bearer" {
		e.Scope = c.scope(k.actions).String()
	}
	e.Code, e.Detail = readErrors(a)
	e.Kind, e.ClientIP = c.session.kind(k.op, scheme, a.status, e.Detail)
	return e
}

// readErrors takes the first error out of an answer in the form of the
// distribution specification, or what a proxy says in plain text.
func readErrors(a answer) (code, detail string) {
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if json.Unmarshal(a.body, &body) == nil && len(body.Errors) > 0 {
		return printable(body.Errors[0].Code), printable(body.Errors[0].Message)
	}
	if strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		return "", printable(string(a.body))
	}
	return "", ""
}

// Azure Container Registry's words when a network rule keeps us out.
var clientIP = regexp.MustCompile(`client with IP '([^']{1,64})'`)

// kind sorts a refusal. scheme is what the registry asked for: with a token a
// 401 is about rights, with Basic about the credential.
func (s *session) kind(op Op, scheme string, status int, detail string) (kind AccessKind, ip string) {
	if match := clientIP.FindStringSubmatch(detail); match != nil && (status == http.StatusForbidden || status == http.StatusUnauthorized) {
		return Firewall, match[1]
	}
	switch {
	case (status == http.StatusUnauthorized || status == http.StatusForbidden) && s.credential.anonymous():
		return NoCredential, ""
	case status == http.StatusUnauthorized && (op == OpToken || op == OpPing || scheme == "basic"):
		return WrongCredential, ""
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Denied, ""
	case status == http.StatusNotFound:
		return NotFound, ""
	case status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return Busy, ""
	case status/100 == 5:
		return Broken, ""
	}
	return Refused, ""
}
