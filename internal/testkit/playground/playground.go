// Package playground is the small world that a step of ContentTrust@1 lives in, in one process and without a network: a
// registry with a Notary server behind one TLS host as Azure Container Registry has it, Azure DevOps with a secure file,
// an administrator who has initialised the repository and admitted a signer, and an agent to run the step.
//
// Tests use it for everything that needs no real registry, and cmd/playground to show the product. What is missing is an
// Engine: a real one, or enginetest.
package playground

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"contenttrust/internal/testkit/adotest"
	"contenttrust/internal/testkit/agenttest"
	"contenttrust/internal/testkit/notarytest"
	"contenttrust/internal/testkit/registrytest"
)

// Names of this world. They are as constant as names in a play.
const (
	User         = "azure-pipelines"
	SignerName   = "ci"
	FileID       = "9d6a2f0a-52f2-4c0e-9d5c-3f0a6c1b7e55"
	ConnectionID = "3f0c8b52-6d0c-4c57-8a0e-9a4a1c0b2d11"
)

// Options say what differs from the plain world. The zero value is the plain world.
type Options struct {
	Repository string // without the registry; "" is team/app
	// Uninitialised leaves the repository without trust data.
	Uninitialised bool
	// Unadmitted leaves the signer out.
	Unadmitted bool
	// User is what the pipeline's identity may do; nil is everything.
	User *registrytest.User
	// Key is the content of the secure file; nil is the signer's private key.
	Key []byte
}

// World is a playground under way. Close it.
type World struct {
	Front      *registrytest.Front
	Notary     *notarytest.Server
	Azure      *adotest.Server
	Owner      *notarytest.Owner
	Repository string // without the registry
	GUN        string
	Password   string // of the pipeline's identity
	PrivatePEM []byte // the signer's key
	PublicPEM  []byte
	CAFile     string
	File       adotest.File // the secure file
	dir        string
}

// New starts a world. Its errors are those of listeners and files.
func New(o Options) (_ *World, err error) {
	w := &World{Notary: notarytest.New(), Repository: o.Repository, Password: rand.Text()}
	if w.Repository == "" {
		w.Repository = "team/app"
	}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	if w.dir, err = os.MkdirTemp("", "playground-"); err != nil {
		return nil, err
	}
	user := registrytest.User{Pull: true, Push: true, Sign: true}
	if o.User != nil {
		user = *o.User
	}
	user.Password = w.Password
	admin := registrytest.User{Password: rand.Text(), Pull: true, Push: true, Sign: true}
	w.Front, err = registrytest.New(registrytest.Options{
		Trust: w.Notary, VerifyTrust: true, Users: map[string]registrytest.User{User: user, "administrator": admin},
	})
	if err != nil {
		return nil, err
	}
	w.GUN = w.Front.Host + "/" + w.Repository
	w.CAFile = filepath.Join(w.dir, "ca.crt")
	if err := os.WriteFile(w.CAFile, w.Front.CAPEM, 0o600); err != nil {
		return nil, err
	}
	if w.Azure, err = adotest.New(adotest.Options{}); err != nil {
		return nil, err
	}
	return w, w.admit(o)
}

// admit does what an administrator does before a pipeline can sign.
func (w *World) admit(o Options) (err error) {
	if w.PrivatePEM, w.PublicPEM, err = notarytest.GenerateKey(); err != nil {
		return err
	}
	w.File = adotest.File{ID: FileID, Name: "ci-signer.pem", Content: w.PrivatePEM, Ticket: rand.Text()}
	if o.Key != nil {
		w.File.Content = o.Key
	}
	w.Azure.Put(w.File)
	// The administrator works at the server itself, past the door, so that the door's log is the pipeline's alone.
	w.Owner = notarytest.NewOwner("http://notary.test", direct{w.Notary})
	if o.Uninitialised {
		return nil
	}
	if err := w.Owner.Init(w.GUN); err != nil {
		return fmt.Errorf("initialise %s: %w", w.GUN, err)
	}
	if o.Unadmitted {
		return nil
	}
	return w.Owner.AddSigner(w.GUN, SignerName, w.PublicPEM)
}

// direct hands requests to a handler without a connection.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	d.handler.ServeHTTP(recorder, r)
	return recorder.Result(), nil
}

// Agent makes an agent that knows this world: Azure DevOps, the service connection and the secure file. task is the
// staged task's folder.
func (w *World) Agent(task string, options agenttest.Options) (*agenttest.Agent, error) {
	options.Task = task
	options.Collection = w.Azure.CollectionURI()
	options.Project, options.ProjectID = "Content Trust", "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c"
	options.AccessToken = "job-access-token"
	agent, err := agenttest.New(options)
	if err != nil {
		return nil, err
	}
	agent.AddConnection(w.Connection())
	agent.AddSecureFile(agenttest.SecureFile{ID: w.File.ID, Name: w.File.Name, Ticket: w.File.Ticket})
	return agent, nil
}

// Connection is the service connection to this world's registry.
func (w *World) Connection() agenttest.Connection {
	return agenttest.Connection{
		ID: ConnectionID, Name: "my-registry", URL: w.Front.URL, Scheme: "UsernamePassword",
		Parameters: map[string]string{"registry": w.Front.URL, "username": User, "password": w.Password},
		Data:       map[string]string{"registrytype": "Others"},
	}
}

// Inputs are those of a step that builds, pushes and signs the given tags (one a line).
func (w *World) Inputs(tags string) map[string]string {
	return map[string]string{
		"containerRegistry": "my-registry", "repository": w.Repository, "tags": tags,
		"delegationKey": "ci-signer.pem", "caFile": w.CAFile,
	}
}

// Close ends the world.
func (w *World) Close() error {
	if w.Front != nil {
		w.Front.Close()
	}
	if w.Azure != nil {
		w.Azure.Close()
	}
	return os.RemoveAll(w.dir)
}
