package rig

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"contenttrust/internal/testkit/registrytest"
)

// The passphrases that every Person uses. They protect nothing: the keys die
// with the test.
const (
	RootPassphrase       = "the root passphrase of a test"
	RepositoryPassphrase = "the repository passphrase of a test"
)

// Person is somebody with an account at the registry, a home of their own, and
// the tools of the field. A new Person has seen nothing: no cached trust data,
// no keys.
type Person struct {
	Name string
	// Home is the private folder; keys that tools write land there.
	Home string
	// DockerConfig is what DOCKER_CONFIG says, with the credentials, the CA
	// (tls/<host>/ca.crt) and, below trust, docker's own trust store.
	DockerConfig string
	CLI          CLI

	user  registrytest.User
	stack *Stack
}

// ToolError is a tool that failed.
type ToolError struct {
	Tool   string   // "docker" or "notary"
	Args   []string // of the call
	Output string   // both streams
	Err    error
}

// Error quotes the call and all the tool said.
func (e *ToolError) Error() string {
	return fmt.Sprintf("%s %q: %v: %s", e.Tool, e.Args, e.Err, e.Output)
}

// Unwrap gives what os/exec said.
func (e *ToolError) Unwrap() error { return e.Err }

// Person gives somebody new with the account of that name.
func (s *Stack) Person(ctx context.Context, name string) (*Person, error) {
	user, ok := s.Users[name]
	if !ok {
		return nil, fmt.Errorf("nobody is called %q here", name)
	}
	cli, err := DockerCLI(ctx)
	if err != nil {
		return nil, err
	}
	home, err := os.MkdirTemp("", "rig-home-")
	if err != nil {
		return nil, err
	}
	if err := s.keeper.note("path", home); err != nil {
		return nil, err
	}
	p := &Person{Name: name, Home: home, DockerConfig: filepath.Join(home, ".docker"), CLI: cli, user: user, stack: s}

	auth := base64.StdEncoding.EncodeToString([]byte(name + ":" + user.Password))
	config, err := json.Marshal(map[string]any{"auths": map[string]any{s.Front.Host: map[string]string{"auth": auth}}})
	if err != nil {
		return nil, err
	}
	tls := filepath.Dir(p.caFile())
	return p, errors.Join(
		os.MkdirAll(tls, 0o700),
		os.WriteFile(p.caFile(), s.Front.CAPEM, 0o600),
		os.WriteFile(filepath.Join(p.DockerConfig, "config.json"), config, 0o600),
	)
}

func (p *Person) caFile() string {
	return filepath.Join(p.DockerConfig, "tls", p.stack.Front.Host, "ca.crt")
}

// TrustDir is the person's trust store, in docker's layout; notary uses it too.
func (p *Person) TrustDir() string { return filepath.Join(p.DockerConfig, "trust") }

// Docker runs the docker CLI 28 in the person's home and gives what it prints.
// A failure is a *ToolError.
func (p *Person) Docker(ctx context.Context, args ...string) (string, error) {
	return p.run(ctx, "docker", p.CLI.Path, nil, args)
}

// DockerTrusted is Docker with DOCKER_CONTENT_TRUST=1.
func (p *Person) DockerTrusted(ctx context.Context, args ...string) (string, error) {
	return p.run(ctx, "docker", p.CLI.Path, []string{"DOCKER_CONTENT_TRUST=1"}, args)
}

// Notary runs notary with the front as its server. Commands that only read ask
// for a token without credentials and fail where that is refused, as on Azure
// Container Registry: notary falls back to NOTARY_AUTH after a 401 of the
// server, but not of the token service (cmd/notary/tuf.go, getTransport).
// NotaryList goes around that.
func (p *Person) Notary(ctx context.Context, args ...string) (string, error) {
	return p.notaryAt(ctx, p.stack.Front.URL, args)
}

func (p *Person) notaryAt(ctx context.Context, server string, args []string) (string, error) {
	where := []string{"-s", server, "-d", p.TrustDir(), "--tlscacert", p.caFile()}
	return p.run(ctx, "notary", "notary", nil, append(where, args...))
}

func (p *Person) run(ctx context.Context, tool, path string, env, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = p.Home
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.Home, "DOCKER_CONFIG=" + p.DockerConfig,
		"DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE=" + RootPassphrase,
		"DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=" + RepositoryPassphrase,
		"NOTARY_ROOT_PASSPHRASE=" + RootPassphrase,
		"NOTARY_TARGETS_PASSPHRASE=" + RepositoryPassphrase,
		"NOTARY_SNAPSHOT_PASSPHRASE=" + RepositoryPassphrase,
		"NOTARY_DELEGATION_PASSPHRASE=" + RepositoryPassphrase,
		"NOTARY_AUTH=" + base64.StdEncoding.EncodeToString([]byte(p.Name+":"+p.user.Password)),
	}, env...)
	if p.stack.Engine != nil {
		cmd.Env = append(cmd.Env, "DOCKER_HOST="+p.stack.Engine.Host)
	}
	var said transcript
	cmd.Stdout, cmd.Stderr = stream{&said, true}, stream{&said, false}
	if err := cmd.Run(); err != nil {
		return said.out.String(), &ToolError{Tool: tool, Args: args, Output: lastLines(said.all.Bytes()), Err: err}
	}
	return said.out.String(), nil
}

// transcript keeps standard output by itself, for parsing, and both streams in
// their order, for errors: notary prints its errors to standard output.
type transcript struct {
	mu       sync.Mutex
	out, all bytes.Buffer
}

type stream struct {
	to  *transcript
	out bool
}

func (s stream) Write(p []byte) (int, error) {
	s.to.mu.Lock()
	defer s.to.mu.Unlock()
	if s.out {
		s.to.out.Write(p)
	}
	return s.to.all.Write(p)
}
