package adotest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/testkit/adotest"
)

const id = "5b3e8a52-0c6f-4a57-9d0a-6f3c1f0d9a11"

func start(t *testing.T, options adotest.Options) *adotest.Server {
	t.Helper()
	server, err := adotest.New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	server.Put(adotest.File{ID: id, Name: "k", Content: []byte("the key"), Ticket: "t"})
	return server
}

// ask sends a request that is right but for what change does.
func ask(t *testing.T, server *adotest.Server, method, path, body string, change func(*http.Request)) (int, string, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, server.CollectionURI()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer job-access-token")
	request.Header.Set("Accept", "application/octet-stream;api-version=7.2-preview.1")
	request.Header.Set("X-TFS-FedAuthRedirect", "Suppress")
	if change != nil {
		change(request)
	}
	client := server.Client()
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header.Get("Content-Type"), string(text)
}

func TestSecureFilesAreServedAsAzureDevOpsDoes(t *testing.T) {
	t.Parallel()
	const path = "Content%20Trust/_apis/distributedtask/securefiles/" + id
	for name, tt := range map[string]struct {
		options  adotest.Options
		path     string
		change   func(*http.Request)
		status   int
		kind     string
		body     string
		failures int
	}{
		"a ticket":           {path: path + "?ticket=t", status: 200, kind: "application/octet-stream", body: "the key"},
		"over TLS":           {options: adotest.Options{TLS: true}, path: path + "?ticket=t", status: 200, kind: "application/octet-stream", body: "the key"},
		"the project's ID":   {path: strings.Replace(path, "Content%20Trust", "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c", 1) + "?ticket=t", status: 200, kind: "application/octet-stream", body: "the key"},
		"no ticket":          {path: path, status: 200, kind: "application/json", body: `"name":"k"`},
		"wrong ticket":       {path: path + "?ticket=x", status: 403, kind: "application/json", body: "DownloadTicketInvalidException"},
		"wrong token":        {path: path + "?ticket=t", change: func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, status: 401, kind: "application/json", body: "TF400813"},
		"no token":           {path: path + "?ticket=t", change: func(r *http.Request) { r.Header.Del("Authorization") }, status: 401, kind: "application/json", body: "TF400813"},
		"wrong token, page":  {options: adotest.Options{SignInPage: true}, path: path + "?ticket=t", change: func(r *http.Request) { r.SetBasicAuth("PAT", "x") }, status: 203, kind: "text/html", body: "<!DOCTYPE html>"},
		"basic":              {path: path + "?ticket=t", change: func(r *http.Request) { r.SetBasicAuth("any", "job-access-token") }, status: 200, kind: "application/octet-stream", body: "the key"},
		"no version":         {path: path + "?ticket=t", change: func(r *http.Request) { r.Header.Set("Accept", "*/*") }, status: 400, kind: "application/json", body: "VssVersionNotSpecifiedException", failures: 1},
		"no suppression":     {path: path + "?ticket=t", change: func(r *http.Request) { r.Header.Del("X-TFS-FedAuthRedirect") }, status: 200, kind: "application/octet-stream", body: "the key", failures: 1},
		"too new":            {options: adotest.Options{OldServer: true}, path: path + "?ticket=t", status: 400, kind: "application/json", body: "VssVersionOutOfRangeException"},
		"another file":       {path: strings.TrimSuffix(path, "11") + "22", status: 404, kind: "application/json", body: "SecureFileNotFoundException"},
		"another project":    {path: "other/_apis/distributedtask/securefiles/" + id, status: 404, kind: "application/json", body: "not found", failures: 1},
		"something unknown":  {path: "_apis/connectionData", status: 404, kind: "application/json", body: "not found", failures: 1},
		"a path in one case": {path: strings.ToLower(path), status: 404, kind: "application/json", body: "not found", failures: 1},
	} {
		server := start(t, tt.options)
		status, kind, body := ask(t, server, http.MethodGet, tt.path, "", tt.change)
		if status != tt.status || !strings.HasPrefix(kind, tt.kind) || !strings.Contains(body, tt.body) || len(server.Failures()) != tt.failures {
			t.Errorf("%s: %d, %s, %s, failures %q", name, status, kind, body, server.Failures())
		}
	}
}

func TestImageDetailsAreKept(t *testing.T) {
	t.Parallel()
	server := start(t, adotest.Options{})
	const path = "Content%20Trust/_apis/deployment/imagedetails?api-version=5.0-preview.1"
	if status, _, _ := ask(t, server, http.MethodPost, path, `{"imageName":"a"}`, nil); status != 200 {
		t.Errorf("status %d", status)
	}
	if status, _, _ := ask(t, server, http.MethodPost, path, `{`, nil); status != 400 {
		t.Errorf("broken JSON: status %d", status)
	}
	if got := server.ImageDetails(); len(got) != 1 || string(got[0]) != `{"imageName":"a"}` {
		t.Errorf("kept %s", got)
	}
	if got := server.Failures(); len(got) != 1 {
		t.Errorf("failures %q", got)
	}
}

func TestFaultsAreGivenInOrderAndThenNoMore(t *testing.T) {
	t.Parallel()
	server := start(t, adotest.Options{})
	server.Fail(adotest.Fault{Kind: adotest.FaultStatus, Status: 503, Times: 2}, adotest.Fault{Kind: adotest.FaultEmpty})
	var got []int
	for range 4 {
		status, _, body := ask(t, server, http.MethodGet, "Content%20Trust/_apis/distributedtask/securefiles/"+id+"?ticket=t", "", nil)
		got = append(got, status+len(body))
		if status == 503 {
			got[len(got)-1] = 503
		}
	}
	if diff := cmp.Diff([]int{503, 503, 200, 207}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var kinds []adotest.FaultKind
	for _, r := range server.Requests() {
		kinds = append(kinds, r.Fault)
	}
	if diff := cmp.Diff([]adotest.FaultKind{adotest.FaultStatus, adotest.FaultStatus, adotest.FaultEmpty, ""}, kinds); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestCloseEndsRequestsThatHang(t *testing.T) {
	t.Parallel()
	server := start(t, adotest.Options{})
	server.Fail(adotest.Fault{Kind: adotest.FaultHang})
	time.AfterFunc(50*time.Millisecond, server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.CollectionURI()+"Content%20Trust/_apis/distributedtask/securefiles/"+id, nil)
	response, err := server.Client().Do(request)
	if err == nil {
		response.Body.Close()
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		t.Errorf("the request outlived the server: %v", err)
	}
}
