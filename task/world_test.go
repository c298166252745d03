package task

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"contenttrust/internal/pipeline"
	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/enginetest"
	"contenttrust/internal/testkit/playground"
	"contenttrust/internal/testkit/registrytest"
)

// environment is an agent's environment of exactly these variables.
func environment(vars map[string]string) pipeline.Environment {
	return func(name string) (string, bool) {
		value, ok := vars[name]
		return value, ok
	}
}

func equalSecrets(a, b secret.Value) bool { return a.Equal(b) }

// jobID and stepID are those of the one step that a world's agent runs.
const (
	jobID  = "12f1170f-54f2-53f3-20dd-22fc7dff55f9"
	stepID = "0c4b4a2c-8a0f-4a70-9a57-4e0ee28b8b06"
)

// world is a playground with an Engine and an agent: everything that a step meets, in this process. What a test changes
// before it runs a phase is what the test is about.
type world struct {
	*playground.World
	t       *testing.T
	Engine  *enginetest.Engine
	image   v1.Image // what every build builds
	env     map[string]string
	temp    string // the agent's temp folder
	sources string

	now        func() time.Time
	byManifest bool // the Engine names images by their manifest, as one with the containerd store does

	// onSolve, if set, stands in the place of the build's steps; its error fails the build.
	onSolve func(*enginetest.Solve) error
	// onPush, if set, may answer a push itself and give true.
	onPush func(w http.ResponseWriter, p enginetest.PushRequest) bool

	mu     sync.Mutex
	builds int
	pushes int
}

// newWorld starts a world in which a step with three tags ends well. It ends with the test.
func newWorld(t *testing.T, o playground.Options) *world {
	t.Helper()
	return newWorldWith(t, o, enginetest.Options{})
}

func newWorldWith(t *testing.T, o playground.Options, engine enginetest.Options) *world {
	t.Helper()
	play, err := playground.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = play.Close() })
	w := &world{World: play, t: t, now: time.Now, temp: t.TempDir(), sources: t.TempDir()}
	if w.image, err = random.Image(64, 1); err != nil {
		t.Fatal(err)
	}
	engine.Solve, engine.Push = w.solve, w.push
	if w.Engine, err = enginetest.New(engine); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Engine.Close() })
	w.write("Dockerfile", "FROM scratch\n")
	w.env = w.agentEnvironment()
	w.input("containerRegistry", playground.ConnectionID)
	w.input("repository", w.Repository)
	w.input("tags", "1.4.2\n1.4\nlatest")
	w.input("delegationKey", playground.FileID)
	w.input("caFile", w.CAFile)
	return w
}

// agentEnvironment is what an agent gives a step whose YAML says nothing.
func (w *world) agentEnvironment() map[string]string {
	env := map[string]string{
		"AGENT_TEMPDIRECTORY": w.temp, "SYSTEM_DEFAULTWORKINGDIRECTORY": w.sources, "BUILD_SOURCESDIRECTORY": w.sources,
		"SYSTEM_HOSTTYPE": "build", "SYSTEM_JOBID": jobID, "SYSTEM_TASKINSTANCEID": stepID,
		"BUILD_SOURCEVERSION": "5dcab1e2", "DOCKER_HOST": w.Engine.Host,
	}
	for _, pair := range w.Azure.Environment() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	c := w.Connection()
	auth, _ := json.Marshal(map[string]any{"parameters": c.Parameters, "scheme": c.Scheme})
	env["ENDPOINT_URL_"+c.ID], env["ENDPOINT_AUTH_"+c.ID], env["ENDPOINT_AUTH_SCHEME_"+c.ID] = c.URL, string(auth), c.Scheme
	for name, value := range c.Parameters {
		env["ENDPOINT_AUTH_PARAMETER_"+c.ID+"_"+strings.ToUpper(name)] = value
	}
	for name, value := range c.Data {
		env["ENDPOINT_DATA_"+c.ID+"_"+strings.ToUpper(name)] = value
	}
	for _, input := range readManifest(w.t).Inputs {
		value := strings.ReplaceAll(input.DefaultValue, "$(Build.BuildId)", "17")
		if input.Type == "filePath" {
			value = filepath.Join(w.sources, value) // as the agent does, also with an input that is empty
		}
		env["INPUT_"+strings.ToUpper(input.Name)] = value
	}
	return env
}

func (w *world) input(name, value string) { w.env["INPUT_"+strings.ToUpper(name)] = value }

// write puts a file into the sources.
func (w *world) write(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.sources, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// solve builds the world's image, and names it by its configuration as an Engine with a graph driver does, or as
// byManifest says.
func (w *world) solve(s *enginetest.Solve) (map[string]string, error) {
	w.mu.Lock()
	w.builds++
	w.mu.Unlock()
	if w.onSolve != nil {
		if err := w.onSolve(s); err != nil {
			return nil, err
		}
	}
	config, err := w.image.ConfigName()
	if err != nil {
		return nil, err
	}
	named := config.String()
	if w.byManifest {
		named = w.digest()
	}
	return map[string]string{"containerimage.digest": named, "containerimage.config.digest": config.String()}, nil
}

// push really pushes, with the credential that the step has given to the Engine.
func (w *world) push(out http.ResponseWriter, p enginetest.PushRequest) {
	w.mu.Lock()
	w.pushes++
	w.mu.Unlock()
	if w.onPush != nil && w.onPush(out, p) {
		return
	}
	w.doPush(out, p)
}

func (w *world) doPush(out http.ResponseWriter, p enginetest.PushRequest) {
	raw, err := base64.URLEncoding.DecodeString(p.Auth)
	var login authn.AuthConfig
	if err == nil {
		err = json.Unmarshal(raw, &login)
	}
	if err == nil {
		err = w.writeImage(p.Name+":"+p.Tag, w.image, login)
	}
	if err != nil {
		enginetest.Send(out, enginetest.StreamError(err.Error()))
		return
	}
	digest, _ := w.image.Digest()
	size, _ := w.image.Size()
	enginetest.Send(out, "The push refers to repository ["+p.Name+"]", enginetest.Layer("5f70bf18a086", "Pushed", 64, 64),
		fmt.Sprintf("%s: digest: %s size: %d", p.Tag, digest, size))
}

// login is the pipeline's own.
func (w *world) login() authn.AuthConfig {
	return authn.AuthConfig{Username: playground.User, Password: w.Password}
}

func (w *world) writeImage(reference string, image v1.Image, login authn.AuthConfig) error {
	ref, err := name.ParseReference(reference)
	if err != nil {
		return err
	}
	return remote.Write(ref, image, remote.WithTransport(w.Front.Client().Transport), remote.WithAuth(authn.FromConfig(login)))
}

// existing puts an image under a tag before the step runs, and gives its digest.
func (w *world) existing(tag string) string {
	w.t.Helper()
	image, err := random.Image(32, 1)
	if err == nil {
		err = w.writeImage(w.GUN+":"+tag, image, w.login())
	}
	digest, digestErr := image.Digest()
	if err != nil || digestErr != nil {
		w.t.Fatal(err, digestErr)
	}
	w.Front.ResetLog()
	return digest.String()
}

// digest is that of the image that every build builds.
func (w *world) digest() string {
	digest, err := w.image.Digest()
	if err != nil {
		w.t.Fatal(err)
	}
	return digest.String()
}

// tags are those of the registry, with what they point at.
func (w *world) tags() map[string]string {
	w.t.Helper()
	w.Front.Intercept(nil)
	tags := map[string]string{}
	repository, err := name.NewRepository(w.GUN)
	if err != nil {
		w.t.Fatal(err)
	}
	options := []remote.Option{remote.WithTransport(w.Front.Client().Transport), remote.WithAuth(authn.FromConfig(w.login()))}
	names, err := remote.List(repository, options...)
	if err != nil {
		return tags // a repository without a tag does not exist
	}
	for _, tag := range names {
		head, err := remote.Head(repository.Tag(tag), options...)
		if err != nil {
			w.t.Fatal(err)
		}
		tags[tag] = head.Digest.String()
	}
	return tags
}

// trustFile is one file of the trust data as the server holds it, nil when there is none.
func (w *world) trustFile(role string) []byte {
	recorder := httptest.NewRecorder()
	w.Notary.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/v2/"+w.GUN+"/_trust/tuf/"+role+".json", nil))
	if recorder.Code != http.StatusOK {
		return nil
	}
	return recorder.Body.Bytes()
}

// trustData is all that a signer could change.
func (w *world) trustData() map[string]string {
	w.Notary.Mutate(nil)
	w.Notary.Heal()
	files := map[string]string{}
	for _, role := range []string{"root", "targets", "targets/releases", "targets/" + playground.SignerName} {
		files[role] = string(w.trustFile(role))
	}
	return files
}

// signed are the tags of a role, with the digests that are signed.
func (w *world) signed(role string) map[string]string {
	w.t.Helper()
	var file struct {
		Signed struct {
			Targets map[string]struct{ Hashes map[string]string }
		}
	}
	content := w.trustFile(role)
	if content == nil {
		return map[string]string{}
	}
	if err := json.Unmarshal(content, &file); err != nil {
		w.t.Fatal(err)
	}
	tags := map[string]string{}
	for tag, target := range file.Signed.Targets {
		sum, _ := base64.StdEncoding.DecodeString(target.Hashes["sha256"])
		tags[tag] = fmt.Sprintf("sha256:%x", sum)
	}
	return tags
}

// trustRequests counts those that the step made to the trust server.
func (w *world) trustRequests() int {
	n := 0
	for _, r := range w.Front.Requests() {
		if strings.Contains(r.Path, "/_trust/") {
			n++
		}
	}
	return n
}

// left are the names of what is in the agent's temp folder, without the public files of DockerOutput.
func (w *world) left() []string {
	w.t.Helper()
	entries, err := os.ReadDir(w.temp)
	if err != nil {
		w.t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		if e.Name() != "task_outputs" {
			names = append(names, e.Name())
		}
	}
	return names
}

func (w *world) counts() (builds, pushes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.builds, w.pushes
}

type phase func(context.Context, Deps) error

// run runs a phase, hands its task variables on to the next one, and gives what it has told.
func (w *world) run(p phase) told { return w.runIn(w.t.Context(), p) }

func (w *world) runIn(ctx context.Context, p phase) told {
	w.t.Helper()
	var out lockedBuffer
	err := p(ctx, Deps{Environment: environment(maps.Clone(w.env)), Stdout: &out, Now: w.now, Version: "1.0.0-test"})
	said := read(w.t, out.String())
	said.err = err
	for name, value := range said.taskVariables {
		w.env["VSTS_TASKVARIABLE_"+name] = value
	}
	return said
}

// lockedBuffer lets a test read a log while the step writes it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// refuseRequests answers the requests that fit with a registry's error.
func refuseRequests(status int, code, message string, fits func(*http.Request) bool) registrytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !fits(r) {
			next.ServeHTTP(w, r)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		registrytest.WriteError(w, status, code, message)
	}
}
