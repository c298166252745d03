package task

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/testkit/agenttest"
	"contenttrust/internal/testkit/enginetest"
	"contenttrust/internal/testkit/playground"
)

// tagList makes n tags, one a line.
func tagList(n int) string {
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("v%d", i)
	}
	return strings.Join(tags, "\n")
}

func TestAStepBuildsPushesSignsAndProves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.env["RESOURCE_URIS"] = "https://earlier.example.com/x@sha256:00"
	w.run(Pre).succeeded(t)
	said := w.run(Main)
	said.succeeded(t)

	digest := w.digest()
	everywhere := map[string]string{"1.4.2": digest, "1.4": digest, "latest": digest}
	for where, tags := range map[string]map[string]string{
		"the registry": w.tags(), "targets/releases": w.signed("targets/releases"), "targets/ci": w.signed("targets/ci"),
	} {
		if diff := cmp.Diff(everywhere, tags); diff != "" {
			t.Errorf("%s (-want +got):\n%s", where, diff)
		}
	}
	config, err := w.image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	roots, _, err := w.Owner.RootKeys(w.GUN)
	if err != nil {
		t.Fatal(err)
	}
	wantVariables := map[string]string{
		"imageDigest": digest, "imageReference": w.GUN + "@" + digest, "signedTags": "1.4.2,1.4,latest", "rootKeyId": roots[0],
		"RESOURCE_URIS":            "https://earlier.example.com/x@sha256:00,https://" + w.GUN + "@" + digest,
		"DOCKER_TASK_BUILT_IMAGES": config.Hex[:12],
	}
	outputs := strings.Split(said.variables["DockerOutput"], "\n")
	delete(said.variables, "DockerOutput")
	if len(outputs) != 2 {
		t.Errorf("DockerOutput names %q, not the output of the build and of the push", outputs)
	}
	for i, path := range outputs {
		// The Engine of this test says nothing while it builds.
		if text, err := os.ReadFile(path); err != nil || (i == 1 && len(text) == 0) {
			t.Errorf("%s: %d bytes, %v", path, len(text), err)
		}
	}
	if diff := cmp.Diff(wantVariables, said.variables); diff != "" {
		t.Errorf("variables (-want +got):\n%s", diff)
	}
	if len(said.warnings) != 0 {
		t.Errorf("warnings: %v", said.warnings)
	}
	if len(said.summaries) != 1 {
		t.Fatalf("summaries: %v", said.summaries)
	}
	summary, err := os.ReadFile(said.summaries[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range []string{digest, w.GUN + "@" + digest, "`1.4.2` `1.4` `latest`", roots[0], "not pinned", "| Signed by | ci, key `", "root ", "targets/releases ", "28.5.2"} {
		if !strings.Contains(string(summary), piece) {
			t.Errorf("the summary does not say %q:\n%s", piece, summary)
		}
	}
	if diff := cmp.Diff([]string{filepath.Base(said.summaries[0])}, w.left()); diff != "" {
		t.Errorf("left in temp (-want +got):\n%s", diff)
	}
	if failures := w.Azure.Failures(); len(failures) != 0 {
		t.Errorf("Azure DevOps: %v", failures)
	}
}

func TestTrustServerIsAskedAsOftenForTwentyTagsAsForOne(t *testing.T) {
	t.Parallel()
	asked := map[int]int{}
	for _, n := range []int{1, 3, 20} {
		w := newWorld(t, playground.Options{})
		w.input("tags", tagList(n))
		w.run(Main).succeeded(t)
		asked[n] = w.trustRequests()
		if n := len(w.signed("targets/releases")); n != len(w.tags()) {
			t.Errorf("%d tags are signed, %d are there", n, len(w.tags()))
		}
	}
	if asked[1] != asked[3] || asked[3] != asked[20] || asked[20] > 15 || asked[1] == 0 {
		t.Errorf("requests to the trust server by number of tags: %v, want the same and at most 15", asked)
	}
}

func TestNothingSecretLeavesTheStep(t *testing.T) {
	t.Parallel()
	passphrase := "correct horse battery staple"
	w := newWorld(t, playground.Options{Key: nil})
	w.input("delegationKeyPassphrase", passphrase) // of a key that is not encrypted: a warning, and a secret all the same
	w.env["SYSTEM_DEBUG"] = "true"
	needles := map[string]string{
		"the passphrase": passphrase, "the password": w.Password, "the ticket": w.File.Ticket, "the access token": "job-access-token",
		"the credential in base64": base64.StdEncoding.EncodeToString([]byte(playground.User + ":" + w.Password)),
	}
	for i, line := range strings.Split(strings.TrimSpace(string(w.PrivatePEM)), "\n") {
		if !strings.HasPrefix(line, "-----") {
			needles[fmt.Sprintf("line %d of the key", i)] = line
		}
	}
	w.onSolve = func(s *enginetest.Solve) error {
		for _, needle := range needles { // the Dockerfile's author is somebody else
			printLog(s, "RUN echo", needle+"\n")
		}
		return nil
	}
	pre, main, post := w.run(Pre), w.run(Main), w.run(Post)
	main.succeeded(t)
	if diff := cmp.Diff([]string{codePassphraseUnused}, codes(main.warnings)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	for phase, said := range map[string]told{"pre": pre, "main": main, "post": post} {
		for line := range strings.SplitSeq(said.output, "\n") {
			for name, needle := range needles {
				if strings.Contains(line, needle) && !strings.HasPrefix(line, "##vso[task.setsecret]") {
					t.Errorf("%s shows %s: %q", phase, name, line)
				}
			}
		}
	}
	var bytes [][]byte
	for _, needle := range needles {
		bytes = append(bytes, []byte(needle))
	}
	leaks, err := agenttest.FindBytes([]string{w.temp, w.sources}, bytes...)
	if err != nil || len(leaks) != 0 {
		t.Errorf("in files: %v %v", leaks, err)
	}
}

func TestTheKeyIsInAPrivatePlaceWhileTheStepRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	checked := false
	w.onSolve = func(*enginetest.Solve) error {
		keys, err := filepath.Glob(filepath.Join(w.temp, "contenttrust-*", "trust", "private", "*.key"))
		if err != nil || len(keys) != 1 {
			t.Errorf("keys: %v %v", keys, err)
			return nil
		}
		for path, want := range map[string]fs.FileMode{
			keys[0]: 0o600, filepath.Dir(keys[0]): 0o700, filepath.Join(filepath.Dir(keys[0]), "..", ".."): 0o700,
		} {
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != want {
				t.Errorf("%s has mode %v, want %v (%v)", path, info.Mode().Perm(), want, err)
			}
		}
		checked = true
		return nil
	}
	w.run(Pre).succeeded(t)
	w.run(Main).succeeded(t)
	if !checked {
		t.Error("no key was found while the step ran")
	}
}

func TestSignFalsePushesAndSaysThatNothingIsSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{Uninitialised: true})
	w.input("sign", "false")
	w.input("delegationKey", "")
	before := w.trustData()
	w.run(Pre).succeeded(t)
	said := w.run(Main)
	said.succeeded(t)
	said.says(t, "not signed")
	digest := w.digest()
	if diff := cmp.Diff(map[string]string{"1.4.2": digest, "1.4": digest, "latest": digest}, w.tags()); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, w.trustData()); diff != "" || w.trustRequests() != 0 {
		t.Errorf("%d requests to the trust server; its data (-before +after):\n%s", w.trustRequests(), diff)
	}
	for _, name := range []string{"signedTags", "rootKeyId"} {
		if value, ok := said.variables[name]; ok {
			t.Errorf("%s is set to %q", name, value)
		}
	}
	if said.variables["imageDigest"] != digest {
		t.Errorf("imageDigest is %q", said.variables["imageDigest"])
	}
	if n := len(w.Azure.Requests()); n != 0 {
		t.Errorf("%d secure files were fetched", n)
	}
}

func TestTheKeyMayComeAsText(t *testing.T) {
	t.Parallel()
	for name, form := range map[string]func(pem string) string{
		"PEM":           func(pem string) string { return pem },
		"base64 of PEM": func(pem string) string { return base64.StdEncoding.EncodeToString([]byte(pem)) },
		"one line":      func(pem string) string { return strings.ReplaceAll(pem, "\n", " ") },
		"no line ends":  func(pem string) string { return strings.ReplaceAll(pem, "\n", "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, playground.Options{})
			w.input("delegationKey", "")
			w.input("delegationKeyText", form(string(w.PrivatePEM)))
			pre := w.run(Pre)
			pre.succeeded(t)
			pre.says(t, "The key opens")
			if left := w.left(); len(left) != 0 {
				t.Errorf("the pre phase left %v", left)
			}
			w.run(Main).succeeded(t)
			if len(w.signed("targets/releases")) != 3 {
				t.Error("the tags are not signed")
			}
		})
	}
}

func TestTheMainPhaseFetchesTheKeyWhereThePrePhaseDidNotRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.run(Main).succeeded(t)
	if n := len(w.Azure.Requests()); n != 1 {
		t.Errorf("%d requests for the secure file", n)
	}
	w.input("tags", "again")
	w.run(Main).succeeded(t) // a step that is tried again
}

func TestTheMainPhaseUsesTheKeyOfThePrePhase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.run(Pre).succeeded(t)
	w.File.Expired = true // the job has run for hours since
	w.Azure.Put(w.File)
	w.run(Main).succeeded(t)
	if n := len(w.Azure.Requests()); n != 1 {
		t.Errorf("%d requests for the secure file", n)
	}
}

func TestATagThatIsSignedAlreadyIsSignedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.run(Main).succeeded(t)
	w.run(Main).succeeded(t)
	if len(w.signed("targets/releases")) != 3 {
		t.Error("the tags are not signed")
	}
}

func TestOtherTagsOfTheRepositoryKeepTheirSignatures(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.run(Main).succeeded(t)
	w.input("tags", "2.0")
	w.run(Main).succeeded(t)
	if got := w.signed("targets/releases"); len(got) != 4 {
		t.Errorf("signed: %v", got)
	}
}

func TestAContainerdEngineNamesAnImageByItsManifest(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, playground.Options{}, enginetest.Options{Containerd: true})
	w.byManifest = true
	w.run(Main).succeeded(t)
	if w.tags()["latest"] != w.digest() {
		t.Error("the image was not pushed")
	}
}

func TestTwoDockerfilesAreAWarning(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.write("service/Dockerfile", "FROM scratch\n")
	said := w.run(Main)
	said.succeeded(t)
	said.says(t, "2 Dockerfiles match", "service/Dockerfile", "name one to be sure")
	if diff := cmp.Diff([]string{codeSeveralDockerfiles}, codes(said.warnings)); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestAFilePathThatIsNotGivenIsTheSourcesFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.input("caFile", w.sources) // what the agent makes of an empty input of type filePath
	w.env["AGENT_CAINFO"] = w.CAFile
	w.run(Pre).succeeded(t)
	w.run(Main).succeeded(t)
}

func TestACAFileOfTheRepositoryIsNotThereBeforeTheCheckout(t *testing.T) {
	t.Parallel()
	w := newWorld(t, playground.Options{})
	w.input("caFile", filepath.Join(w.sources, "ca.crt"))
	w.run(Pre).succeeded(t)
	ca, err := os.ReadFile(w.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	w.write("ca.crt", string(ca))
	w.run(Main).succeeded(t)
}
