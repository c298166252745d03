package task

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"contenttrust/internal/testkit/enginetest"
	"contenttrust/internal/testkit/notarytest"
	"contenttrust/internal/testkit/playground"
	"contenttrust/internal/testkit/registrytest"
)

// front makes the door answer requests that fit.
func front(status int, code, message string, fits func(*http.Request) bool) func(*world) {
	return func(w *world) { w.Front.Intercept(refuseRequests(status, code, message, fits)) }
}

func isTrust(r *http.Request) bool    { return strings.Contains(r.URL.Path, "/_trust/") }
func isManifest(r *http.Request) bool { return strings.Contains(r.URL.Path, "/manifests/") }

func TestServersThatRefuseBeforeTheBuild(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fault{
		"no Engine": {change: func(w *world) { w.env["DOCKER_HOST"] = "tcp://127.0.0.1:1" }, codes: []string{codeEngineAbsent},
			says: []string{"No Docker Engine answers at tcp://127.0.0.1:1", "mapDockerSocket"}},
		"no Engine's address": {change: func(w *world) { w.env["DOCKER_HOST"] = "gopher://x" }, codes: []string{codeEngineAddress},
			says: []string{`DOCKER_HOST is "gopher://x"`, "Correct the variable"}},
		"no Engine but a web server": {change: func(w *world) { w.env["DOCKER_HOST"] = "tcp://" + strings.TrimPrefix(w.Azure.URL, "http://") },
			codes: []string{codeEngineAddress}, says: []string{"is no Docker Engine", "Correct DOCKER_HOST"}},
		"an API version of the future": {change: func(w *world) { w.env["DOCKER_API_VERSION"] = "9.99" }, codes: []string{codeEngineVersion},
			says: []string{"DOCKER_API_VERSION"}},
		"no right to push": {world: playground.Options{User: &registrytest.User{Pull: true, Sign: true}}, codes: []string{codeRegDenied},
			says: []string{"may not push to ", "team/app", "AcrPush"}},
		"a wrong password": {change: func(w *world) {
			w.env["ENDPOINT_AUTH_PARAMETER_"+playground.ConnectionID+"_PASSWORD"] = "wrong-password"
		},
			codes: []string{codeRegLogin}, says: []string{"does not accept the service connection's credential (status 401)", "Renew its secret"}},
		"a firewall": {breaks: front(http.StatusForbidden, "DENIED", "client with IP '203.0.113.7' is not allowed access. Refer https://aka.ms/acr/firewall to grant access.",
			func(*http.Request) bool { return true }), codes: []string{codeRegFirewall}, says: []string{"firewall", "203.0.113.7", "network settings"}},
		"an unknown CA": {change: func(w *world) { w.input("caFile", w.sources) }, codes: []string{codeRegTLS}, says: []string{"certificate of an unknown authority", "caFile"}},
		"a realm elsewhere": {breaks: func(w *world) { w.Front.SetRealm("https://evil.example.com/token") }, codes: []string{codeRegRealm},
			says: []string{"wants its credential sent to https://evil.example.com/token", "It was not sent"}},
		"no right to sign": {world: playground.Options{User: &registrytest.User{Pull: true, Push: true}}, codes: []string{codeSignDenied},
			says: []string{"does not let the service connection's identity sign", "AcrImageSigner", "repository-scoped tokens"}},
		"a trust server that is down": {breaks: func(w *world) {
			w.Notary.Fail(notarytest.Fault{Status: http.StatusNotImplemented})
		},
			codes: []string{codeTrustServer}, says: []string{"The trust server", "501", "Run the step again later"}},
		"no trust server": {change: func(w *world) { w.input("trustServer", "https://127.0.0.1:1") }, codes: []string{codeTrustDown},
			says: []string{"127.0.0.1:1", "does not answer", "trustServer"}},
		"no trust data": {world: playground.Options{Uninitialised: true}, codes: []string{codeNotInitialised},
			says: []string{"has no trust data", "nobody has initialised it", "    docker trust key generate ci", "    docker trust signer add --key ci.pub ci "}},
		"expired targets": {change: func(w *world) { expire(w, "targets", -24*time.Hour) }, codes: []string{codeTrustExpired},
			says: []string{"The targets metadata of the repository expired on ", "holder of the repository key"}},
		"an expired root": {change: func(w *world) { expire(w, "root", -24*time.Hour) }, codes: []string{codeTrustExpired},
			says: []string{"The root metadata of the repository expired on ", "holder of the root key"}},
		"a root that expires soon": {change: func(w *world) { expire(w, "root", 90*24*time.Hour) }, codes: []string{codeRootExpiring},
			says: []string{"The repository's root expires on ", "takes the root key"}},
		"a snapshot key of the owner": {world: playground.Options{Uninitialised: true}, change: ownSnapshot, codes: []string{codeSnapshotKey},
			says: []string{"does not hold the snapshot key", "    notary key rotate ", " snapshot -r"}},
		"another root key": {change: input("rootKeys", strings.Repeat("0", 64)), codes: []string{codePin},
			says: []string{"is not the pinned one", "    rootKeys: ", "rotated"}},
		"a pin for another repository": {change: input("rootKeys", "other.example.com/x="+strings.Repeat("0", 64)), codes: []string{codePin},
			says: []string{"but none for ", "    rootKeys: "}},
		"a pin that is needed": {change: func(w *world) {
			w.input("requirePin", "true")
			w.input("rootKeys", "other.example.com/x="+strings.Repeat("0", 64))
		}, codes: []string{codePin}, says: []string{"    rootKeys: "}},
		"a forged signature": {breaks: func(w *world) {
			w.Notary.Mutate(func(_, name string, content []byte) []byte {
				if strings.HasPrefix(name, "targets.") {
					return []byte(strings.Replace(string(content), `"expires":"2`, `"expires":"3`, 1))
				}
				return content
			})
		}, codes: []string{codeTrustBad}, says: []string{"cannot be believed", "do not deploy"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.happens(t, Main)
		})
	}
}

func expire(w *world, role string, in time.Duration) {
	w.t.Helper()
	if err := w.Notary.Expire(w.GUN, role, time.Now().Add(in), w.Owner.Keys()...); err != nil {
		w.t.Fatal(err)
	}
}

func ownSnapshot(w *world) {
	w.t.Helper()
	if err := w.Owner.InitOwnSnapshot(w.GUN); err != nil {
		w.t.Fatal(err)
	}
	if err := w.Owner.AddSigner(w.GUN, playground.SignerName, w.PublicPEM); err != nil {
		w.t.Fatal(err)
	}
}

func TestARootKeyThatIsPinnedIsNotMentionedAsTakenOnTrust(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	roots, _, err := w.Owner.RootKeys(w.GUN)
	if err != nil {
		t.Fatal(err)
	}
	w.input("rootKeys", roots[0])
	w.input("requirePin", "true")
	said := w.run(Main)
	said.succeeded(t)
	if strings.Contains(said.text(), "on trust") {
		t.Errorf("a pinned root is taken on trust:\n%s", said.text())
	}
}

func TestTargetsThatExpireSoonAreAWarning(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.now = func() time.Time { return time.Now().AddDate(3, 0, -30) } // a repository's targets live three years
	said := w.run(Main)
	said.succeeded(t)
	said.says(t, "The targets metadata of the repository expires on ", "days. The holder of the repository key")
	if diff := cmp.Diff([]string{codeExpiringSoon}, codes(said.warnings)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestABuildThatFails(t *testing.T) {
	t.Parallel()
	t.Run("by its command", func(t *testing.T) {
		t.Parallel()
		f := fault{builds: 1, codes: []string{codeBuildFailed}, breaks: func(w *world) {
			w.onSolve = func(s *enginetest.Solve) error {
				return failStep(s, "[2/2] RUN make test", "line 1\nline 2\nassertion failed\n", 2)
			}
		}, says: []string{"The build failed at RUN make test with exit code 2. Nothing was pushed.", "assertion failed"}}
		w, said := f.happens(t, Main)
		if _, pushes := w.counts(); pushes != 0 {
			t.Error("something was pushed")
		}
		said.says(t, "    assertion failed")
	})
	t.Run("by its base image", func(t *testing.T) {
		t.Parallel()
		fault{builds: 1, codes: []string{codeBuildBase}, breaks: func(w *world) {
			w.onSolve = func(*enginetest.Solve) error {
				return fmt.Errorf("failed to resolve source metadata for reg/x: pull access denied, repository does not exist or may require authorization")
			}
		}, says: []string{"A base image could not be had", "pull access denied", "Nothing was pushed"}}.happens(t, Main)
	})
	t.Run("by its Dockerfile", func(t *testing.T) {
		t.Parallel()
		fault{builds: 1, codes: []string{codeDockerfile}, breaks: func(w *world) {
			w.onSolve = func(*enginetest.Solve) error {
				return fmt.Errorf("failed to solve with frontend dockerfile.v0: failed to create LLB definition: dockerfile parse error on line 3: unknown instruction: HELLO")
			}
		}, says: []string{"The Dockerfile cannot be built", "line 3", "unknown instruction: HELLO", "Nothing was pushed"}}.happens(t, Main)
	})
}

// What a build prints must never be obeyed, in whatever form it comes. read fails the test where a command is found that
// is not ours, and setvariable would show among the variables.
func TestABuildCannotSpeakToTheAgent(t *testing.T) {
	t.Parallel()
	command := "##vso[task.setvariable variable=imageDigest]evil"
	pieces := []string{
		command + "\n", "text before " + command + "\n", "##VSO[task.setvariable variable=PATH]evil\n", "##v", "so[task.setvariable variable=PATH]evil\n",
		"progress\r" + command + "\r\n", "\x1b[31m" + command + "\x1b[0m\n", "#\u200b#vso[task.setvariable variable=PATH]evil\n", "##\x00vso[task.complete result=Failed]\n",
		"\ufeff" + command + "\n", "##[error]not ours\n", "##\x1b[0mvso[task.setvariable variable=PATH]evil\n", command,
	}
	speak := func(s *enginetest.Solve) { printLog(s, "[2/2] RUN "+command, pieces...) }
	for name, fails := range map[string]bool{"that ends well": false, "that fails": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, playground.Options{})
			w.onSolve = func(s *enginetest.Solve) error {
				speak(s)
				if fails {
					return failStep(s, "[2/2] RUN "+command, strings.Join(pieces, ""), 1)
				}
				return nil
			}
			said := w.run(Main)
			if fails {
				said.failed(t, codeBuildFailed)
			} else {
				said.succeeded(t)
			}
			for name, value := range said.variables {
				if name == "PATH" || strings.Contains(value, "evil") {
					t.Errorf("the build set %s to %q", name, value)
				}
			}
			for _, line := range said.lines {
				if strings.HasPrefix(line, "##[error]") {
					t.Errorf("the build wrote %q", line)
				}
			}
			said.says(t, "evil") // shown all the same
		})
	}
}

func TestPushesThatFail(t *testing.T) {
	t.Parallel()
	says := func(text string) func(*world) {
		return func(w *world) {
			w.onPush = func(out http.ResponseWriter, _ enginetest.PushRequest) bool {
				enginetest.Send(out, enginetest.StreamError(text))
				return true
			}
		}
	}
	for name, f := range map[string]fault{
		"denied":     {breaks: says("denied: requested access to the resource is denied"), codes: []string{codePushRefused}, says: []string{"could not be pushed: denied", "AcrPush", "Nothing was changed in the registry"}},
		"a bad CA":   {breaks: says("Get \"https://reg/v2/\": x509: certificate signed by unknown authority"), codes: []string{codePushTLS}, says: []string{"x509", "/etc/docker/certs.d/"}},
		"image gone": {breaks: says("An image does not exist locally with the tag: reg/team/app"), codes: []string{codeImageGone}, says: []string{"no longer has the image"}},
		"another image": {breaks: func(w *world) {
			w.onPush = func(out http.ResponseWriter, p enginetest.PushRequest) bool {
				other, err := random.Image(16, 1)
				if err == nil {
					err = w.writeImage(p.Name+":"+p.Tag, other, w.login())
				}
				if err != nil {
					enginetest.Send(out, enginetest.StreamError(err.Error()))
					return true
				}
				digest, _ := other.Digest()
				enginetest.Send(out, fmt.Sprintf("%s: digest: %s size: 1", p.Tag, digest))
				return true
			}
		}, codes: []string{codeForeignImage}, says: []string{"which is not the image that this run built", "Nothing was signed", "was taken away again"}},
		"other bytes": {breaks: func(w *world) {
			w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodGet && isManifest(r) && strings.Contains(r.URL.Path, "sha256:") {
					out.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v2+json")
					out.Header().Set("Docker-Content-Digest", fmt.Sprintf("sha256:%x", sha256.Sum256([]byte("{}"))))
					fmt.Fprint(out, "{}")
					return
				}
				next.ServeHTTP(out, r)
			})
		}, codes: []string{codeRegLies}, says: []string{"Nothing was signed", "do not use this image", "was taken away again"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.builds = 1
			f.world.User = &registrytest.User{Pull: true, Push: true, Delete: true, Sign: true}
			f.happens(t, Main)
		})
	}
}

func TestWhatPassesIsTriedAgainAndTold(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breaks func(w *world)
		says   []string
	}{
		"the registry": {func(w *world) {
			var failed atomic.Bool
			w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/blobs/uploads/") && !failed.Swap(true) {
					registrytest.WriteError(out, http.StatusBadGateway, "UNKNOWN", "try again")
					return
				}
				next.ServeHTTP(out, r)
			})
		}, []string{": try 1 failed (", "502", "trying again in"}},
		"the push": {func(w *world) {
			var failed atomic.Bool
			w.onPush = func(out http.ResponseWriter, _ enginetest.PushRequest) bool {
				if failed.Swap(true) {
					return false
				}
				enginetest.Send(out, enginetest.StreamError("received unexpected HTTP status: 503 Service Unavailable"))
				return true
			}
		}, []string{"The push: try 1 failed (received unexpected HTTP status: 503 Service Unavailable); trying again in"}},
		"another signer": {func(w *world) {
			w.onPush = func(out http.ResponseWriter, p enginetest.PushRequest) bool {
				w.doPush(out, p)
				return true
			}
			w.Notary.Fail(notarytest.Fault{Method: http.MethodPost, Times: 1, Status: http.StatusBadRequest,
				Body: `{"errors":[{"code":"VERSION","message":"The submitted version is not valid"}]}`})
		}, []string{"The trust server: try 1 failed (", "trying again in"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, playground.Options{})
			c.breaks(w)
			said := w.run(Main)
			said.succeeded(t)
			said.says(t, c.says...)
			if len(w.signed("targets/releases")) != 3 || len(w.tags()) != 3 {
				t.Error("the tags are not there")
			}
		})
	}
}

func TestATagThatSomebodyMovesIsFoundByTheProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.Front.Intercept(func(out http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(out, r)
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/manifests/latest") {
			w.Front.Intercept(nil)
			w.existing("latest")
		}
	})
	said := w.run(Main)
	said.failed(t, codeTagMoved)
	said.says(t, ":latest points at sha256:", "which this run pushed", "Another pipeline pushes the same tag")
	if left := w.left(); len(left) != 0 {
		t.Errorf("left in temp: %v", left)
	}
}

func TestTagsThatCannotBeWrittenAfterTheSignature(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.Front.LockTag("latest", http.StatusMethodNotAllowed)
	said := w.run(Main)
	said.failed(t, codeRegTags)
	said.says(t, "latest failed, done: 1.4", "What is signed stays signed", "is locked", "az acr repository update")
}

// The agent would act on an output with a hole in it, and on one without it would show the secret.
func TestAPasswordThatIsAWordOfTheImagesNameIsToldBeforeTheBuild(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fault{
		"of the repository": {change: input("delegationKeyPassphrase", "team"), codes: []string{codeHidden}, says: []string{"The variable imageReference would have shown a secret", "Choose a password"}},
		"a tag":             {change: input("delegationKeyPassphrase", "latest"), codes: []string{codeHidden}, says: []string{"The variable signedTags would have shown a secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.happens(t, Main)
		})
	}
}

func TestAllOutputsAreSetOrNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.env["RESOURCE_URIS"] = "https://u:a-later-password@reg.example.com/x"
	w.input("delegationKeyPassphrase", "a-later-password")
	said := w.run(Main)
	said.failed(t, codeHidden)
	said.says(t, "The variable RESOURCE_URIS would have shown a secret")
}
