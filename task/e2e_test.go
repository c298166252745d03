//go:build e2e

package task_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/testkit/adotest"
	"contenttrust/internal/testkit/agenttest"
	"contenttrust/internal/testkit/rig"
)

// staged is the folder of the staged task, made once for all tests of this file.
var staged string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "staged-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		stage := exec.Command("go", "run", "./tools/package", "-host-only", "-dist", dir)
		stage.Dir = ".."
		if out, err := stage.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "stage the task: %v\n%s", err, out)
			return 1
		}
		staged = filepath.Join(dir, "task")
		return m.Run()
	}())
}

const dockerfile = `FROM scratch AS build
COPY busybox /bin/busybox
RUN ["/bin/busybox", "echo", "##vso[task.setvariable variable=PATH]/evil"]
RUN ["/bin/busybox", "sh", "-c", "for i in $(/bin/busybox seq 1 200); do echo line $i; done"]
FROM build
COPY app.txt /
CMD ["/bin/busybox", "cat", "/app.txt"]
`

// pipeline is one agent with one job, on a stack of real parts.
type pipeline struct {
	*testing.T
	stack   *rig.Stack
	trusted rig.Trusted
	azure   *adotest.Server
	agent   *agenttest.Agent
	user    string
	keyFile []byte // the secure file
}

// newPipeline has an administrator initialise a repository with tool, and gives the pipeline its signer's key, as
// the tool left it or as mend has changed it.
func newPipeline(t *testing.T, s *rig.Stack, name, user string, tool rig.Tool, mend func([]byte, string) []byte) *pipeline {
	t.Helper()
	admin := must(s.Person(t.Context(), rig.Administrator))(t)
	trusted := must(admin.InitRepository(t.Context(), name, "alice", tool))(t)
	content := trusted.Key.PrivatePEM
	if mend != nil {
		content = mend(content, trusted.Key.Passphrase)
		trusted.Key.Passphrase = rig.RepositoryPassphrase
	}
	azure := must(adotest.New(adotest.Options{}))(t)
	t.Cleanup(azure.Close)
	file := adotest.File{ID: "9d6a2f0a-52f2-4c0e-9d5c-3f0a6c1b7e55", Name: "alice's key.pem", Content: content, Ticket: "a-ticket-for-the-file"}
	azure.Put(file)
	agent := must(agenttest.New(agenttest.Options{
		Task: staged, Collection: azure.CollectionURI(), Project: "Content Trust", ProjectID: "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c",
		AccessToken: "job-access-token", HostType: "build",
		Variables: map[string]string{"Build.BuildId": "42", "Build.SourceVersion": "8f3c1e"},
		Secrets:   map[string]string{"signerPassphrase": trusted.Key.Passphrase},
		Env:       map[string]string{"DOCKER_HOST": s.Engine.Host},
	}))(t)
	t.Cleanup(func() { agent.Close() })
	agent.AddSecureFile(agenttest.SecureFile{ID: file.ID, Name: file.Name, Ticket: file.Ticket})
	agent.AddConnection(agenttest.Connection{
		ID: "3f0c8b52-6d0c-4c57-8a0e-9a4a1c0b2d11", Name: "my-registry", URL: s.Front.URL, Scheme: "UsernamePassword",
		Parameters: map[string]string{"registry": s.Front.URL, "username": user, "password": s.Users[user].Password},
		Data:       map[string]string{"registrytype": "Others"},
	})
	p := &pipeline{T: t, stack: s, trusted: trusted, azure: azure, agent: agent, user: user, keyFile: content}
	p.write("app/Dockerfile", dockerfile)
	p.write("app/app.txt", "hello from "+name+"\n")
	p.write("app/.dockerignore", "secret.txt\n")
	p.write("app/secret.txt", "not for the context\n")
	p.write("ca.crt", string(s.Front.CAPEM))
	p.write("app/busybox", string(must(os.ReadFile("/bin/busybox"))(t)))
	return p
}

func (p *pipeline) write(name, content string) {
	p.Helper()
	path := filepath.Join(p.agent.Sources, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		p.Fatal(err)
	}
}

func (p *pipeline) step(tags string) *agenttest.Step {
	p.Helper()
	return must(p.agent.Step(agenttest.StepOptions{Name: "sign", Inputs: map[string]string{
		"containerRegistry": "my-registry", "repository": p.trusted.Repository, "tags": tags, "caFile": "ca.crt",
		"delegationKey": "alice's key.pem", "delegationKeyPassphrase": "$(signerPassphrase)",
	}}))(p.T)
}

// run runs all phases, and fails the test unless they end as they should.
func (p *pipeline) run(step *agenttest.Step, want agenttest.Outcome) agenttest.Result {
	p.Helper()
	results := must(step.RunAll(p.Context()))(p.T)
	main, ok := results[agenttest.Main]
	if !ok {
		main = results[agenttest.Pre]
	}
	if main.Result != want {
		p.Errorf("the step ended as %s, not %s:\n%s%s", main.Result, want, results[agenttest.Pre].Log, main.Log)
	}
	for phase, result := range results {
		if len(result.Unknown)+len(result.Malformed)+len(result.Refused)+len(result.Survivors) > 0 {
			p.Errorf("%s: unknown %v, malformed %v, refused %v, survivors %v", phase, result.Unknown, result.Malformed, result.Refused, result.Survivors)
		}
	}
	p.nothingLeft(results)
	return main
}

// nothingLeft looks for the key, the passphrase and the credential in all that a step could have left behind.
func (p *pipeline) nothingLeft(results map[agenttest.Phase]agenttest.Result) {
	p.Helper()
	password := p.stack.Users[p.user].Password
	needles := [][]byte{[]byte(password), []byte("a-ticket-for-the-file"), []byte("job-access-token"),
		[]byte(base64.StdEncoding.EncodeToString([]byte(p.user + ":" + password)))}
	if p.trusted.Key.Passphrase != "" {
		needles = append(needles, []byte(p.trusted.Key.Passphrase))
	}
	for line := range strings.Lines(string(p.keyFile)) {
		if line = strings.TrimSpace(line); len(line) > 20 && !strings.HasPrefix(line, "-----") {
			needles = append(needles, []byte(line))
		}
	}
	leaks := must(agenttest.FindBytes([]string{p.agent.Temp, p.agent.Tools, p.agent.Home}, needles...))(p.T)
	for _, leak := range leaks {
		p.Errorf("left behind: %s holds %q", leak.Path, leak.Needle)
	}
	for phase, result := range results {
		for _, needle := range needles {
			if strings.Contains(result.Log, string(needle)) {
				p.Errorf("%s: the log shows %q", phase, needle)
			}
		}
	}
}

// judge asks those who are not ours: docker trust inspect and a trusted pull of the docker CLI 28, and notary list.
func (p *pipeline) judge(digest string, tags ...string) {
	p.Helper()
	reader := func() *rig.Person { return must(p.stack.Person(p.Context(), rig.Reader))(p.T) }
	want := map[string]rig.SignedTag{}
	for _, tag := range tags {
		want[tag] = rig.SignedTag{Digest: digest, Signers: []string{"alice"}}
		if got := must(reader().TrustedPull(p.Context(), p.trusted.GUN+":"+tag))(p.T); got != digest {
			p.Errorf("docker pull under content trust gave %s for %s, we said %s", got, tag, digest)
		}
		if got := must(p.stack.Manifest(p.Context(), rig.Reader, p.trusted.Repository, tag))(p.T); got.Digest != digest {
			p.Errorf("the registry holds %s as %s, we said %s", got.Digest, tag, digest)
		}
	}
	inspected := must(reader().TrustInspect(p.Context(), p.trusted.GUN))(p.T)
	if diff := cmp.Diff(want, inspected.Tags); diff != "" {
		p.Errorf("docker trust inspect (-we said +it says):\n%s", diff)
	}
	rows := must(reader().NotaryList(p.Context(), p.trusted.GUN, "targets/releases", "targets/alice"))(p.T)
	if len(rows) != 2*len(tags) {
		p.Errorf("notary list shows %d rows for %d tags in two roles: %v", len(rows), len(tags), rows)
	}
	for _, row := range rows {
		if row.Digest != digest || !slices.Contains(tags, row.Tag) {
			p.Errorf("notary list: %+v, we said %s for %v", row, digest, tags)
		}
	}
}

func TestOneStepTakesADockerfileToThreeSignedTags(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s *rig.Stack) {
		for name, makeKey := range map[string]struct {
			tool rig.Tool
			mend func([]byte, string) []byte
		}{
			"a key in docker's own form":  {tool: rig.ByDocker},
			"a plain key of notary":       {tool: rig.ByNotary},
			"a key as OpenSSL 3 encrypts": {tool: rig.ByNotary, mend: encryptedByOpenSSL(t)},
		} {
			t.Run(name, func(t *testing.T) {
				repository := "team/" + strings.ReplaceAll(strings.ToLower(name), " ", "-")
				p := newPipeline(t, s, strings.ReplaceAll(repository, "'", ""), rig.Signer, makeKey.tool, makeKey.mend)
				result := p.run(p.step("$(Build.BuildId)\nlatest,v1.0"), agenttest.Succeeded)
				digest := result.OutputVariables["imageDigest"]
				if got := result.OutputVariables["signedTags"]; got != "42,latest,v1.0" {
					t.Errorf("signedTags is %q", got)
				}
				if got := result.Variables["PATH"]; got != "" {
					t.Errorf("the build's output has set PATH to %q", got)
				}
				if !strings.Contains(result.Summary, digest) || !strings.Contains(result.Summary, "alice") {
					t.Errorf("the summary misses digest or signer:\n%s", result.Summary)
				}
				p.judge(digest, "42", "latest", "v1.0")
				t.Log(result.Log)
				t.Log(result.Summary)
			})
		}
	})
}

func TestAPusherWithoutTheRightToSignIsToldBeforeTheBuild(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s *rig.Stack) {
		p := newPipeline(t, s, "team/pusher", rig.Pusher, rig.ByDocker, nil)
		result := p.run(p.step("v1"), agenttest.Failed)
		if len(result.Issues) != 1 || result.Issues[0].Code != "CT4002" || !strings.Contains(result.Issues[0].Text, "AcrImageSigner") {
			t.Errorf("issues: %+v", result.Issues)
		}
		if strings.Contains(result.Log, "docker build") {
			t.Errorf("a build was started:\n%s", result.Log)
		}
		if _, err := s.Manifest(t.Context(), rig.Reader, "team/pusher", "v1"); err == nil {
			t.Error("v1 exists in the registry")
		}
	})
}

func TestACancelledStepIsGoneInSevenSecondsAndLeavesNothing(t *testing.T) {
	onEveryEngine(t, func(t *testing.T, s *rig.Stack) {
		p := newPipeline(t, s, "team/cancel", rig.Signer, rig.ByDocker, nil)
		p.write("app/Dockerfile", strings.Replace(dockerfile, `"for i in`, `"echo started; /bin/busybox sleep 300; for i in`, 1))
		step := p.step("v1")
		results := map[agenttest.Phase]agenttest.Result{}
		results[agenttest.Pre] = must(step.Run(t.Context(), agenttest.Pre))(t)
		run := must(step.Start(agenttest.Main))(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := run.WaitFor(ctx, "started"); err != nil {
			t.Fatal(err)
		}
		result := run.Cancel()
		results[agenttest.Main] = result
		if result.CancelIn > 7*time.Second || len(result.Survivors) > 0 || !slices.Equal(result.Signals, []string{"SIGINT"}) {
			t.Errorf("cancelled in %s by %v, survivors %v\n%s", result.CancelIn, result.Signals, result.Survivors, result.Log)
		}
		p.nothingLeft(results) // before the post phase, which may never come
		if left, _ := filepath.Glob(filepath.Join(p.agent.Temp, "contenttrust-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if _, err := s.Manifest(t.Context(), rig.Reader, "team/cancel", "v1"); err == nil {
			t.Error("v1 exists in the registry")
		}
		must(step.Run(t.Context(), agenttest.Post))(t)
	})
}

// onEveryEngine runs a test on a fresh stack with each kind of Engine.
func onEveryEngine(t *testing.T, test func(*testing.T, *rig.Stack)) {
	t.Helper()
	for _, kind := range rig.Kinds(os.Getenv) {
		t.Run(string(kind), func(t *testing.T) {
			s := must(rig.Start(t.Context(), rig.Options{Engine: kind, DockerHost: os.Getenv("DOCKER_HOST")}))(t)
			t.Cleanup(func() { s.Close() })
			if err := s.Engine.TrustCA(s.Front.Host, s.Front.CAPEM); err != nil {
				t.Fatal(err)
			}
			test(t, s)
		})
	}
}

// encryptedByOpenSSL encrypts a key as OpenSSL 3 does by default: PBES2 with HMAC-SHA256, which Notary's library takes for
// a wrong passphrase.
func encryptedByOpenSSL(t *testing.T) func([]byte, string) []byte {
	return func(key []byte, _ string) []byte {
		cmd := exec.CommandContext(t.Context(), "openssl", "pkcs8", "-topk8", "-passout", "env:PASSPHRASE")
		cmd.Env = append(os.Environ(), "PASSPHRASE="+rig.RepositoryPassphrase)
		cmd.Stdin = strings.NewReader(string(key))
		return must(cmd.Output())(t)
	}
}

func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
