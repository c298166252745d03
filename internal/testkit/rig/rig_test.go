//go:build e2e

package rig

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// On each kind of Engine: an administrator initialises, a signer pushes and
// signs with the tools of the field, and three judges who have seen nothing
// agree on the digest and on who signed it.
func TestTheRealPartsAgreeOnWhatWasSigned(t *testing.T) {
	for _, kind := range Kinds(os.Getenv) {
		t.Run(string(kind), func(t *testing.T) {
			s := startStack(t, Options{Engine: kind, DockerHost: os.Getenv("DOCKER_HOST")})
			t.Logf("Engine %s, store %s", s.Engine.Version, s.Engine.Store)
			if want := map[Kind]string{Debian: GraphDriver, Modern: Containerd}[kind]; want != "" && s.Engine.Store != want {
				t.Errorf("store %q, want %q", s.Engine.Store, want)
			}
			admin, signer := person(t, s, Administrator), person(t, s, Signer)
			for _, tool := range []Tool{ByDocker, ByNotary} {
				t.Run("initialised by "+string(tool), func(t *testing.T) {
					trusted := must(admin.InitRepository(t.Context(), "team/"+string(tool), "alice", tool))(t)
					if err := signer.UseKey(t.Context(), trusted.Key); err != nil {
						t.Fatal(err)
					}
					digest := pushSigned(t, s, signer, trusted.GUN, "v1")
					judge(t, s, trusted.GUN, "v1", digest)
				})
			}
		})
	}
}

// pushSigned makes an image, pushes it under one tag and has it signed.
func pushSigned(t *testing.T, s *Stack, signer *Person, gun, tag string) (digest string) {
	t.Helper()
	image := gun + ":" + tag
	must(s.Engine.ImportBusybox(t.Context(), image))(t)
	if s.Engine.Store == GraphDriver {
		must(signer.DockerTrusted(t.Context(), "push", image))(t)
	} else {
		// docker push under content trust cannot sign here (docker/for-mac#7273).
		must(signer.Docker(t.Context(), "push", image))(t)
	}
	repository := strings.TrimPrefix(gun, s.Front.Host+"/")
	manifest := must(s.Manifest(t.Context(), Reader, repository, tag))(t)
	if s.Engine.Store == Containerd {
		must(signer.Notary(t.Context(), "addhash", gun, tag, strconv.Itoa(len(manifest.Bytes)),
			"--sha256", strings.TrimPrefix(manifest.Digest, "sha256:"),
			"--roles", "targets/releases", "--roles", "targets/alice", "--publish"))(t)
	}
	return manifest.Digest
}

func judge(t *testing.T, s *Stack, gun, tag, digest string) {
	t.Helper()
	trust := must(person(t, s, Reader).TrustInspect(t.Context(), gun))(t)
	want := map[string]SignedTag{tag: {Digest: digest, Signers: []string{"alice"}}}
	if diff := cmp.Diff(want, trust.Tags); diff != "" {
		t.Errorf("docker trust inspect (-want +got):\n%s", diff)
	}
	if len(trust.Signers["alice"]) != 1 || len(trust.RootKeys) != 1 || len(trust.RepositoryKeys) != 1 {
		t.Errorf("docker trust inspect: keys %+v", trust)
	}
	if got := must(person(t, s, Reader).TrustedPull(t.Context(), gun+":"+tag))(t); got != digest {
		t.Errorf("docker pull under content trust gave %s, want %s", got, digest)
	}
	rows := must(person(t, s, Reader).NotaryList(t.Context(), gun, "targets/releases", "targets/alice"))(t)
	for i, role := range []string{"targets/releases", "targets/alice"} {
		if i >= len(rows) || rows[i].Role != role || rows[i].Tag != tag || rows[i].Digest != digest || rows[i].Size == 0 {
			t.Fatalf("notary list: %+v, want %s in %s", rows, digest, role)
		}
	}
}

func TestJudgesRefuseWhatNobodySigned(t *testing.T) {
	s := startStack(t, Options{Engine: Kinds(os.Getenv)[0], DockerHost: os.Getenv("DOCKER_HOST")})
	image := s.Front.Host + "/unsigned:v1"
	must(s.Engine.ImportBusybox(t.Context(), image))(t)
	must(person(t, s, Pusher).Docker(t.Context(), "push", image))(t)

	reader := person(t, s, Reader)
	var refused *ToolError
	if _, err := reader.TrustInspect(t.Context(), image); !errors.As(err, &refused) {
		t.Errorf("docker trust inspect: %v", err)
	}
	if digest, err := reader.TrustedPull(t.Context(), image); !errors.As(err, &refused) {
		t.Errorf("docker pull under content trust: %s, %v", digest, err)
	}
	if rows, err := reader.NotaryList(t.Context(), s.Front.Host+"/unsigned"); !errors.As(err, &refused) {
		t.Errorf("notary list: %v, %v", rows, err)
	}
	if _, err := person(t, s, Pusher).InitRepository(t.Context(), "unsigned", "alice", ByDocker); !errors.As(err, &refused) {
		t.Errorf("somebody without the right to sign initialised a repository: %v", err)
	}
}

// Close leaves no process, no mount, no bridge, no CA and no folder, also when
// a container is still running.
func TestNothingOutlivesAStack(t *testing.T) {
	for _, kind := range Kinds(os.Getenv) {
		if kind == Existing {
			continue // not ours to stop
		}
		t.Run(string(kind), func(t *testing.T) {
			s := startStack(t, Options{Engine: kind})
			dir := filepath.Dir(strings.TrimPrefix(s.Engine.Host, "unix://"))
			host := s.Front.Host
			must(s.Engine.ImportBusybox(t.Context(), "sleeper:v1"))(t)
			p := person(t, s, Reader)
			must(p.Docker(t.Context(), "run", "--detach", "--pull=never", "--stop-timeout=1", "sleeper:v1", "sleep", "1000"))(t)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			assertGone(t, dir, p.Home, filepath.Join("/etc/docker/certs.d", host))
			assertUnused(t, dir, s.Engine.bridge)
		})
	}
}

func assertGone(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

// assertUnused looks for a folder in mounts and command lines, and for the bridge.
func assertUnused(t *testing.T, dir, bridge string) {
	t.Helper()
	if mounts := string(must(os.ReadFile("/proc/self/mountinfo"))(t)); strings.Contains(mounts, dir) {
		t.Errorf("mounts in %s are left", dir)
	}
	for _, file := range must(filepath.Glob("/proc/[0-9]*/cmdline"))(t) {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), dir) {
			t.Errorf("a process is left: %q", line)
		}
	}
	if i, err := net.InterfaceByName(bridge); err == nil {
		t.Errorf("the bridge %s is left", i.Name)
	}
}

// The next machine may have no docker CLI 28, so the one that would be built
// there is built here too.
func TestTheBuiltDockerCLIHasContentTrust(t *testing.T) {
	path := must(dockerCLI().build(t.Context()))(t)
	cli := must(cliAt(t.Context(), path))(t)
	if !strings.HasPrefix(cli.Version, "28.") {
		t.Errorf("version %q", cli.Version)
	}
	if output, err := exec.CommandContext(t.Context(), path, "trust", "sign", "--help").CombinedOutput(); err != nil {
		t.Errorf("no docker trust sign: %v: %s", err, output)
	}
}

func startStack(t *testing.T, o Options) *Stack {
	t.Helper()
	begun := time.Now()
	s := must(Start(t.Context(), o))(t)
	t.Logf("started in %v", time.Since(begun).Round(time.Millisecond))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func person(t *testing.T, s *Stack, name string) *Person {
	t.Helper()
	return must(s.Person(t.Context(), name))(t)
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}
