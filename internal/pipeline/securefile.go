package pipeline

import (
	"cmp"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/microsoft/azure-devops-go-api/azuredevops/v7"

	"contenttrust/internal/secret"
)

// SecureFile is a file of the project's library that the agent may download.
type SecureFile struct {
	ID     string       // a GUID
	Name   string       // as its owner named it: for messages, never for a path
	Ticket secret.Value // permits the download for some time
}

// ReadSecureFile reads what the agent says about the secure file of this ID,
// which is the value of an input of type secureFile. Its only error is a
// *[SecureFileError] of kind SecureFileInvalid or SecureFileNoTicket; with the
// latter the file's ID and name are given nevertheless.
func ReadSecureFile(env Environment, id string) (SecureFile, error) {
	file := SecureFile{ID: strings.TrimSpace(id)}
	if file.ID == "" {
		return file, &SecureFileError{Kind: SecureFileInvalid, Err: errors.New("no id")}
	}
	for _, key := range spellings(file.ID) {
		file.Name = cmp.Or(file.Name, env.Get("SECUREFILE_NAME_"+key))
		if file.Ticket.Empty() {
			file.Ticket = secret.New(env.Get("SECUREFILE_TICKET_" + key))
		}
	}
	if file.Ticket.Empty() {
		return file, &SecureFileError{Kind: SecureFileNoTicket, ID: file.ID}
	}
	return file, nil
}

const (
	// DefaultMaxSecureFile is how much of a secure file is read when the request
	// does not say, in bytes: ample for a key.
	DefaultMaxSecureFile = 64 << 10
	// maxErrorBody is how much of an error's body is read, in bytes.
	maxErrorBody = 64 << 10
	// The version of the API, and the one for servers that do not know it yet.
	secureFileVersion      = "7.2-preview.1"
	secureFileVersionOlder = "5.0-preview.1"
)

// SecureFileRequest says which file to download and how. File, Collection,
// Project, Token and HTTP are required.
type SecureFileRequest struct {
	File       SecureFile
	Collection string       // Agent.CollectionURI
	Project    string       // Agent.TeamProjectID or TeamProject
	Token      secret.Value // Agent.AccessToken
	// HTTP is the client to use, Agent.HTTPClient. Its redirects follow the
	// rules told there whatever its own CheckRedirect is.
	HTTP *http.Client
	// MaxBytes is the largest file that is accepted; 0 is DefaultMaxSecureFile.
	MaxBytes int64
	Retry    Retry
	// OnRetry is told of each failure that is tried again; nil tells nobody.
	OnRetry func(SecureFileRetry)
}

// SecureFileRetry is a failed attempt that another one follows.
type SecureFileRetry struct {
	Attempt, Attempts int // the one that failed, from 1, and how many there may be
	Wait              time.Duration
	Err               *SecureFileError
}

// FetchSecureFile downloads a secure file into memory.
//
// It tries again after 429, 5xx, broken connections and bodies that end early,
// with growing waits or for as long as the server's Retry-After asks for. It
// does not after anything that would come out the same. Errors are
// *[SecureFileError]; when ctx ends, the call returns at once and ctx's error
// is in the chain. Neither ticket nor token is in any error.
//
// The request is that of azure-pipelines-tasks-securefiles-common, sent by the
// client of azure-devops-go-api, which has no method for it. Its lower-casing
// of the collection's address, its look-up of locations and its unbounded
// reading of errors are gone round.
func FetchSecureFile(ctx context.Context, r SecureFileRequest) ([]byte, error) {
	f, err := newFetch(r)
	if err != nil {
		return nil, err
	}
	retry := r.Retry.withDefaults()
	for attempt := 1; ; attempt++ {
		data, failure := f.attempt(ctx, retry.Timeout)
		if failure == nil {
			return data, nil
		}
		failure.ID, failure.Attempts = r.File.ID, attempt
		if failure.TypeKey == versionOutOfRange && f.version != secureFileVersionOlder {
			f.version = secureFileVersionOlder
			continue
		}
		if !failure.again || attempt >= retry.Attempts {
			return nil, failure
		}
		wait := retry.wait(attempt, failure.retryAfter)
		if r.OnRetry != nil {
			r.OnRetry(SecureFileRetry{Attempt: attempt, Attempts: retry.Attempts, Wait: wait, Err: failure})
		}
		if err := retry.Sleep(ctx, wait); err != nil {
			return nil, &SecureFileError{Kind: SecureFileCancelled, ID: r.File.ID, Attempts: attempt, Err: err}
		}
	}
}

// fetch is one download with all its attempts.
type fetch struct {
	client  *azuredevops.Client
	address string // with the ticket in it
	version string
	max     int64
	mask    *secret.Mask // knows ticket and token
	// redirect is the redirect that was not followed: azuredevops.Client takes
	// the answer that asked for it for the outcome and drops the error.
	redirect *RedirectError
}

func newFetch(r SecureFileRequest) (*fetch, error) {
	invalid := func(text string) error {
		return &SecureFileError{Kind: SecureFileInvalid, ID: r.File.ID, Err: errors.New(text)}
	}
	base, err := url.Parse(strings.TrimSpace(r.Collection))
	switch {
	case err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.RawQuery != "":
		return nil, invalid("collection address not usable")
	case r.Project == "":
		return nil, invalid("no project")
	case r.Token.Empty():
		return nil, invalid("no access token")
	case r.HTTP == nil:
		return nil, invalid("no http client")
	case !isID(r.File.ID):
		return nil, invalid("not the id of a secure file")
	case r.File.Ticket.Empty():
		return nil, &SecureFileError{Kind: SecureFileNoTicket, ID: r.File.ID}
	}
	address := base.JoinPath(url.PathEscape(r.Project), "_apis/distributedtask/securefiles", r.File.ID)
	address.RawQuery = url.Values{"ticket": {r.File.Ticket.Reveal()}, "download": {"false"}}.Encode()
	connection := &azuredevops.Connection{
		AuthorizationString:     azuredevops.CreateBasicAuthHeaderValue("PAT", r.Token.Reveal()),
		SuppressFedAuthRedirect: true, // a status instead of the way to a sign-in page
	}
	f := &fetch{
		address: address.String(),
		version: secureFileVersion,
		max:     cmp.Or(r.MaxBytes, DefaultMaxSecureFile),
		mask:    secret.NewMask(),
	}
	f.client = azuredevops.NewClientWithOptions(connection, base.String(), azuredevops.WithHTTPClient(f.bounded(r.HTTP)))
	f.mask.Add(r.File.Ticket)
	f.mask.Add(r.Token)
	f.mask.Add(secret.New(connection.AuthorizationString))
	return f, nil
}

// isID keeps anything but a GUID (or the like) out of the path.
func isID(id string) bool {
	return id != "" && strings.Trim(strings.ToLower(id), "0123456789abcdefghijklmnopqrstuvwxyz-") == ""
}

// attempt makes the request once.
func (f *fetch) attempt(parent context.Context, timeout time.Duration) ([]byte, *SecureFileError) {
	ctx, cancel := context.WithTimeout(parent, timeout)
	defer cancel()
	request, err := f.client.CreateRequestMessage(ctx, http.MethodGet, f.address, f.version, nil, "", "application/octet-stream", nil)
	if err != nil {
		return nil, &SecureFileError{Kind: SecureFileInvalid, Err: f.clean(err)}
	}
	response, err := f.client.SendRequest(request)
	if response != nil {
		defer response.Body.Close()
	}
	if err := parent.Err(); err != nil {
		return nil, &SecureFileError{Kind: SecureFileCancelled, Err: err}
	}
	if response == nil {
		return nil, f.unreachable(0, err)
	}
	if err != nil || response.StatusCode != http.StatusOK {
		return nil, f.refused(response, err)
	}
	data, failure := f.read(response)
	if parent.Err() != nil {
		return nil, &SecureFileError{Kind: SecureFileCancelled, Err: parent.Err()}
	}
	return data, failure
}

// read takes the file out of a response of status 200.
func (f *fetch) read(response *http.Response) ([]byte, *SecureFileError) {
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	switch kind {
	case "text/html", "application/xhtml+xml", "application/json":
		// A sign-in page; the file's description, which is the answer without a ticket.
		return nil, &SecureFileError{Kind: SecureFileNotAFile, Status: response.StatusCode, ContentType: kind}
	}
	if response.ContentLength > f.max {
		return nil, &SecureFileError{Kind: SecureFileTooLarge, Status: response.StatusCode, Limit: f.max}
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, f.max+1))
	switch {
	case err != nil:
		return nil, f.unreachable(response.StatusCode, err)
	case int64(len(data)) > f.max:
		return nil, &SecureFileError{Kind: SecureFileTooLarge, Status: response.StatusCode, Limit: f.max}
	case len(data) == 0:
		return nil, &SecureFileError{Kind: SecureFileEmpty, Status: response.StatusCode}
	case looksLikeHTML(data):
		return nil, &SecureFileError{Kind: SecureFileNotAFile, Status: response.StatusCode, ContentType: "text/html"}
	}
	return data, nil
}

// looksLikeHTML recognises a page that is not declared as one.
func looksLikeHTML(data []byte) bool {
	head := strings.ToLower(strings.TrimLeft(string(data[:min(len(data), 64)]), "\ufeff \t\r\n"))
	return strings.HasPrefix(head, "<!doctype html") || strings.HasPrefix(head, "<html")
}

// bounded gives a client that reads no more of an error than maxErrorBody:
// azuredevops.Client reads errors to their end. It also keeps to our rules about
// redirects, whoever made the client.
func (f *fetch) bounded(client *http.Client) *http.Client {
	transport := client.Transport
	if transport == nil {
		transport = http.DefaultTransport //nolint:forbidigo // what a client without a transport means
	}
	ours := *client
	ours.Transport = errorBound{transport}
	ours.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		err := checkRedirect(r, via)
		errors.As(err, &f.redirect)
		return err
	}
	return &ours
}

type errorBound struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t errorBound) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err == nil && (response.StatusCode < 200 || response.StatusCode > 299) {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(response.Body, maxErrorBody), response.Body}
	}
	return response, err
}

// clean takes addresses and secrets out of an error, keeping the chain below
// them where that is harmless.
func (f *fetch) clean(err error) error {
	var withAddress *url.Error
	for errors.As(err, &withAddress) {
		err = withAddress.Err
	}
	if text := err.Error(); f.mask.Hide(text) != text {
		return errors.New(f.mask.Hide(text))
	}
	return err
}
