package pipeline_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/pipeline"
	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/adotest"
)

const (
	fileID = "5b3e8a52-0c6f-4a57-9d0a-6f3c1f0d9a11"
	ticket = "t1cket/with+signs="
	token  = "job-access-token"
	pemKey = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAj\n-----END ENCRYPTED PRIVATE KEY-----\n"
)

// start gives a server with one secure file, and the request for it that an
// agent's environment leads to.
func start(t *testing.T, options adotest.Options) (*adotest.Server, pipeline.SecureFileRequest) {
	t.Helper()
	server, err := adotest.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.Put(adotest.File{ID: fileID, Name: "../../key ##vso[x]", Content: []byte(pemKey), Ticket: ticket})
	env := pipeline.NewEnvironment(server.Environment())
	agent, err := pipeline.ReadAgent(t.Context(), env)
	if err != nil {
		t.Fatal(err)
	}
	file, err := pipeline.ReadSecureFile(env, strings.ToUpper(fileID))
	if err != nil {
		t.Fatal(err)
	}
	file.ID = fileID
	client, err := agent.HTTPClient(server.CAPEM)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return server, pipeline.SecureFileRequest{
		File: file, Collection: agent.CollectionURI, Project: agent.TeamProject, Token: agent.AccessToken, HTTP: client,
		Retry: pipeline.Retry{Timeout: 5 * time.Second, Sleep: func(context.Context, time.Duration) error { return nil }},
	}
}

func TestASecureFileIsFetched(t *testing.T) {
	t.Parallel()
	for _, options := range []adotest.Options{{}, {TLS: true}, {Collection: "/tfs/Default Collection/", Project: "A%B+C é"}} {
		server, request := start(t, options)
		for _, project := range []string{request.Project, "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c"} {
			request.Project = project
			data, err := pipeline.FetchSecureFile(t.Context(), request)
			if err != nil || string(data) != pemKey {
				t.Errorf("%+v: %q, %v", options, data, err)
			}
		}
		if got := server.Failures(); len(got) != 0 {
			t.Errorf("%+v: %q", options, got)
		}
		asked := server.Requests()[0]
		if asked.RawQuery != "download=false&ticket=t1cket%2Fwith%2Bsigns%3D" {
			t.Errorf("query %s", asked.RawQuery)
		}
		for name, want := range map[string]string{
			"Accept": "application/octet-stream;api-version=7.2-preview.1", "X-Tfs-Fedauthredirect": "Suppress",
			"Authorization": "Basic UEFUOmpvYi1hY2Nlc3MtdG9rZW4=",
		} {
			if got := asked.Header.Get(name); got != want {
				t.Errorf("%s is %q", name, got)
			}
		}
	}
}

func TestAnOlderServerIsAskedInItsVersion(t *testing.T) {
	t.Parallel()
	server, request := start(t, adotest.Options{OldServer: true})
	request.Retry.Attempts = 1
	if data, err := pipeline.FetchSecureFile(t.Context(), request); err != nil || string(data) != pemKey {
		t.Errorf("%q, %v", data, err)
	}
	if got := len(server.Requests()); got != 2 {
		t.Errorf("%d requests", got)
	}
}

func TestAFailureThatPassesIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]adotest.Fault{
		"500":             {Kind: adotest.FaultStatus, Status: 500, Times: 3},
		"502":             {Kind: adotest.FaultStatus, Status: 502},
		"503":             {Kind: adotest.FaultStatus, Status: 503, RetryAfter: "2"},
		"429":             {Kind: adotest.FaultStatus, Status: 429, RetryAfter: "1"},
		"408":             {Kind: adotest.FaultStatus, Status: 408},
		"reset":           {Kind: adotest.FaultReset, Times: 2},
		"reset inside":    {Kind: adotest.FaultResetMid},
		"truncated":       {Kind: adotest.FaultTruncated, Times: 5},
		"long error body": {Kind: adotest.FaultLongError, Status: 500},
	} {
		server, request := start(t, adotest.Options{TLS: strings.Contains(name, "reset")})
		server.Fail(fault)
		var retries int
		request.OnRetry = func(r pipeline.SecureFileRetry) {
			retries++
			if r.Attempt != retries || r.Attempts != 6 || r.Err == nil || r.Wait <= 0 {
				t.Errorf("%s: told %+v", name, r)
			}
		}
		data, err := pipeline.FetchSecureFile(t.Context(), request)
		if err != nil || string(data) != pemKey || retries != max(fault.Times, 1) {
			t.Errorf("%s: %q, %v after %d retries", name, data, err, retries)
		}
	}
}

func TestEveryFailureHasItsKindAndNoSecretInIt(t *testing.T) {
	t.Parallel()
	type outcome struct {
		Kind             pipeline.SecureFileKind
		Status, Attempts int
	}
	status := func(code int) []adotest.Fault {
		return []adotest.Fault{{Kind: adotest.FaultStatus, Status: code, Times: 9}}
	}
	fault := func(kind adotest.FaultKind) []adotest.Fault { return []adotest.Fault{{Kind: kind, Times: 9}} }
	for name, tt := range map[string]struct {
		options adotest.Options
		faults  []adotest.Fault
		change  func(*adotest.Server, *pipeline.SecureFileRequest)
		want    outcome
	}{
		"400":                   {faults: status(400), want: outcome{pipeline.SecureFileRefused, 400, 1}},
		"401":                   {faults: status(401), want: outcome{pipeline.SecureFileUnauthorized, 401, 1}},
		"403":                   {faults: status(403), want: outcome{pipeline.SecureFileForbidden, 403, 1}},
		"404":                   {faults: status(404), want: outcome{pipeline.SecureFileNotFound, 404, 1}},
		"500 for ever":          {faults: status(500), want: outcome{pipeline.SecureFileServerError, 500, 6}},
		"429 for ever":          {faults: status(429), want: outcome{pipeline.SecureFileServerError, 429, 6}},
		"reset for ever":        {faults: fault(adotest.FaultReset), want: outcome{pipeline.SecureFileUnreachable, 0, 6}},
		"reset inside for ever": {faults: fault(adotest.FaultResetMid), want: outcome{pipeline.SecureFileUnreachable, 200, 6}},
		"truncated for ever":    {faults: fault(adotest.FaultTruncated), want: outcome{pipeline.SecureFileUnreachable, 200, 6}},
		"html":                  {faults: fault(adotest.FaultHTML), want: outcome{pipeline.SecureFileNotAFile, 200, 1}},
		"hidden html":           {faults: fault(adotest.FaultHiddenHTML), want: outcome{pipeline.SecureFileNotAFile, 200, 1}},
		"empty":                 {faults: fault(adotest.FaultEmpty), want: outcome{pipeline.SecureFileEmpty, 200, 1}},
		"1 GiB":                 {faults: fault(adotest.FaultHuge), want: outcome{pipeline.SecureFileTooLarge, 200, 1}},
		"endless":               {faults: fault(adotest.FaultEndless), want: outcome{pipeline.SecureFileTooLarge, 200, 1}},
		"an endless 404":        {faults: []adotest.Fault{{Kind: adotest.FaultLongError, Status: 404}}, want: outcome{pipeline.SecureFileNotFound, 404, 1}},
		"wrong token": {change: func(_ *adotest.Server, r *pipeline.SecureFileRequest) { r.Token = secret.New("an-old-token") },
			want: outcome{pipeline.SecureFileUnauthorized, 401, 1}},
		"wrong token, sign-in page": {options: adotest.Options{SignInPage: true},
			change: func(_ *adotest.Server, r *pipeline.SecureFileRequest) { r.Token = secret.New("an-old-token") },
			want:   outcome{pipeline.SecureFileUnauthorized, 203, 1}},
		"wrong ticket": {change: func(_ *adotest.Server, r *pipeline.SecureFileRequest) { r.File.Ticket = secret.New("another t1cket") },
			want: outcome{pipeline.SecureFileForbidden, 403, 1}},
		"another file": {change: func(_ *adotest.Server, r *pipeline.SecureFileRequest) { r.File.ID = "0-0" },
			want: outcome{pipeline.SecureFileNotFound, 404, 1}},
		"expired, as 500": {change: expire, want: outcome{pipeline.SecureFileTicketExpired, 500, 1}},
		"expired, as 401": {options: adotest.Options{ExpiredStatus: 401}, change: expire, want: outcome{pipeline.SecureFileTicketExpired, 401, 1}},
		"a redirect to http": {options: adotest.Options{TLS: true},
			faults: []adotest.Fault{{Kind: adotest.FaultRedirect, Location: "http://127.0.0.1:1/?ticket=t1cket"}},
			want:   outcome{pipeline.SecureFileRefused, 302, 1}},
		"a certificate of nobody": {options: adotest.Options{TLS: true},
			change: func(_ *adotest.Server, r *pipeline.SecureFileRequest) { r.HTTP = http.DefaultClient },
			want:   outcome{pipeline.SecureFileUnreachable, 0, 1}},
		"nobody there": {change: func(s *adotest.Server, r *pipeline.SecureFileRequest) { s.Close() },
			want: outcome{pipeline.SecureFileUnreachable, 0, 6}},
		"no ticket": {change: func(_ *adotest.Server, r *pipeline.SecureFileRequest) { r.File.Ticket = secret.Value{} },
			want: outcome{pipeline.SecureFileNoTicket, 0, 0}},
		"no project": {change: func(_ *adotest.Server, r *pipeline.SecureFileRequest) { r.Project = "" },
			want: outcome{pipeline.SecureFileInvalid, 0, 0}},
		"no token": {change: func(_ *adotest.Server, r *pipeline.SecureFileRequest) { r.Token = secret.Value{} },
			want: outcome{pipeline.SecureFileInvalid, 0, 0}},
		"no client": {change: func(_ *adotest.Server, r *pipeline.SecureFileRequest) { r.HTTP = nil },
			want: outcome{pipeline.SecureFileInvalid, 0, 0}},
		"no address": {change: func(_ *adotest.Server, r *pipeline.SecureFileRequest) { r.Collection = "dev.azure.com/x" },
			want: outcome{pipeline.SecureFileInvalid, 0, 0}},
		"an id that is a path": {change: func(_ *adotest.Server, r *pipeline.SecureFileRequest) { r.File.ID = "../x" },
			want: outcome{pipeline.SecureFileInvalid, 0, 0}},
	} {
		server, request := start(t, tt.options)
		server.Fail(tt.faults...)
		if tt.change != nil {
			tt.change(server, &request)
		}
		_, err := pipeline.FetchSecureFile(t.Context(), request)
		var failure *pipeline.SecureFileError
		if !errors.As(err, &failure) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, outcome{failure.Kind, failure.Status, failure.Attempts}); diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
		noSecrets(t, name, err)
	}
}

func expire(s *adotest.Server, _ *pipeline.SecureFileRequest) {
	s.Put(adotest.File{ID: fileID, Content: []byte(pemKey), Ticket: ticket, Expired: true})
}

// noSecrets looks for ticket and token in whatever an error can be asked for.
func noSecrets(t *testing.T, name string, err error) {
	t.Helper()
	var failure *pipeline.SecureFileError
	errors.As(err, &failure)
	text := fmt.Sprintf("%v %+v %#v %q %q", err, failure, failure, failure.Message, failure.TypeKey)
	for e := err; e != nil; e = errors.Unwrap(e) {
		text += e.Error()
	}
	for _, hidden := range []string{"t1cket", token, "UEFUOmpvYi1hY2Nlc3MtdG9rZW4=", "an-old-token"} {
		if strings.Contains(text, hidden) {
			t.Errorf("%s: %q is in %s", name, hidden, text)
		}
	}
	var withAddress *url.Error
	if errors.As(err, &withAddress) {
		t.Errorf("%s: the chain holds the address: %v", name, withAddress)
	}
}

func TestWhatTheServerSaysIsKept(t *testing.T) {
	t.Parallel()
	server, request := start(t, adotest.Options{})
	expire(server, nil)
	_, err := pipeline.FetchSecureFile(t.Context(), request)
	var failure *pipeline.SecureFileError
	if !errors.As(err, &failure) || failure.TypeKey != "DownloadTicketValidationException" || !strings.HasPrefix(failure.Message, "TF15004: ") || failure.ID != fileID {
		t.Errorf("got %+v", failure)
	}
	server.Fail(adotest.Fault{Kind: adotest.FaultTruncated, Times: 9})
	if _, err = pipeline.FetchSecureFile(t.Context(), request); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a truncated body: %v", err)
	}
}

func TestARedirectThatIsNotFollowedIsTold(t *testing.T) {
	t.Parallel()
	server, request := start(t, adotest.Options{TLS: true})
	server.Fail(adotest.Fault{Kind: adotest.FaultRedirect, Location: "http://127.0.0.1:1/?ticket=t1cket"})
	_, err := pipeline.FetchSecureFile(t.Context(), request)
	var redirect *pipeline.RedirectError
	if !errors.As(err, &redirect) || redirect.To != "http://127.0.0.1:1" || redirect.Reason != "leaves https" {
		t.Errorf("got %v", err)
	}
}

func TestAnEndlessErrorIsNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	server, request := start(t, adotest.Options{})
	server.Fail(adotest.Fault{Kind: adotest.FaultLongError, Status: 404})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	request.Retry.Timeout = time.Minute
	_, err := pipeline.FetchSecureFile(ctx, request)
	var failure *pipeline.SecureFileError
	if !errors.As(err, &failure) || failure.Kind != pipeline.SecureFileNotFound {
		t.Errorf("got %v", err)
	}
}

func TestALimitOfTheCallersOwn(t *testing.T) {
	t.Parallel()
	_, request := start(t, adotest.Options{})
	for _, tt := range []struct {
		limit int64
		ok    bool
	}{{int64(len(pemKey)), true}, {int64(len(pemKey)) - 1, false}} {
		request.MaxBytes = tt.limit
		_, err := pipeline.FetchSecureFile(t.Context(), request)
		var failure *pipeline.SecureFileError
		if (err == nil) != tt.ok || err != nil && (!errors.As(err, &failure) || failure.Limit != tt.limit) {
			t.Errorf("limit %d: %v", tt.limit, err)
		}
	}
}

func TestTheTicketIsReadFromTheEnvironment(t *testing.T) {
	t.Parallel()
	env := pipeline.NewEnvironment([]string{"SECUREFILE_NAME_" + fileID + "=../../k", "SECUREFILE_TICKET_" + fileID + "=" + ticket, "SECUREFILE_NAME_x=only a name"})
	for _, id := range []string{fileID, strings.ToUpper(fileID), fileID + "\n"} {
		got, err := pipeline.ReadSecureFile(env, id)
		if err != nil || got.Name != "../../k" || got.Ticket.Reveal() != ticket || got.ID != strings.TrimSpace(id) {
			t.Errorf("%q: %+v, %v", id, got, err)
		}
	}
	var failure *pipeline.SecureFileError
	if got, err := pipeline.ReadSecureFile(env, "x"); !errors.As(err, &failure) || failure.Kind != pipeline.SecureFileNoTicket || got.Name != "only a name" {
		t.Errorf("no ticket: %+v, %v", got, err)
	}
	if _, err := pipeline.ReadSecureFile(env, " "); !errors.As(err, &failure) || failure.Kind != pipeline.SecureFileInvalid {
		t.Errorf("no id: %v", err)
	}
}

func TestARedirectElsewhereGetsNeitherTicketNorToken(t *testing.T) {
	t.Parallel()
	var seen bytes.Buffer
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.Header.Write(&seen)
		_, _ = io.WriteString(w, pemKey)
	}))
	t.Cleanup(elsewhere.Close)
	server, request := start(t, adotest.Options{})
	request.HTTP = &http.Client{} // one without our policy
	server.Fail(adotest.Fault{Kind: adotest.FaultRedirect, Location: elsewhere.URL + "/blob"})
	if data, err := pipeline.FetchSecureFile(t.Context(), request); err != nil || string(data) != pemKey {
		t.Errorf("%q, %v", data, err)
	}
	if text := seen.String(); text == "" || strings.Contains(text, "Authorization") || strings.Contains(text, "t1cket") {
		t.Errorf("elsewhere was told:\n%s", text)
	}
}

func TestABrokenHandshakeIsNotPassedOver(t *testing.T) {
	t.Parallel()
	_, request := start(t, adotest.Options{TLS: true})
	request.HTTP = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "another.example"}}}
	request.Retry.Attempts = 1
	_, err := pipeline.FetchSecureFile(t.Context(), request)
	var certificate *tls.CertificateVerificationError
	if !errors.As(err, &certificate) {
		t.Errorf("got %v", err)
	}
}
