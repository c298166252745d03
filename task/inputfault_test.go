package task

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/testkit/playground"
)

// fault is one thing that goes wrong, and what the reader of the log is told.
type fault struct {
	world  playground.Options
	change func(w *world) // before the state is noted that must stay
	breaks func(w *world) // after it
	codes  []string
	says   []string
	builds int // how often a build was started
}

// happens runs a phase in a world of its own with the fault in it, and looks at what the fault has left: nothing.
func (f fault) happens(t *testing.T, p phase) (*world, told) {
	t.Helper()
	w := newWorld(t, f.world)
	if f.change != nil {
		f.change(w)
	}
	tags, data := w.tags(), w.trustData()
	if f.breaks != nil {
		f.breaks(w)
	}
	said := w.run(p)
	said.failed(t, f.codes...)
	said.says(t, f.says...)
	f.unchanged(t, w, tags, data)
	return w, said
}

func (f fault) unchanged(t *testing.T, w *world, tags, data map[string]string) {
	t.Helper()
	if builds, _ := w.counts(); builds != f.builds {
		t.Errorf("%d builds were started, want %d", builds, f.builds)
	}
	if diff := cmp.Diff(tags, w.tags()); diff != "" {
		t.Errorf("tags (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff(data, w.trustData()); diff != "" {
		t.Errorf("trust data (-before +after):\n%s", diff)
	}
	if left := w.left(); len(left) != 0 {
		t.Errorf("left in temp: %v", left)
	}
}

// input makes a change of one input.
func input(name, value string) func(*world) {
	return func(w *world) { w.input(name, value) }
}

func TestWrongInputsAreToldBeforeAnythingIsDone(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fault{
		"no connection":    {change: input("containerRegistry", ""), says: []string{"containerRegistry is empty", "Service connections"}},
		"no repository":    {change: input("repository", ""), says: []string{"repository is empty", "repository: team/app"}},
		"no tag":           {change: input("tags", "\n, \n"), says: []string{"tags is empty", "$(Build.BuildId)"}},
		"no key":           {change: input("delegationKey", ""), says: []string{"delegationKey is empty", "Secure files", "sign: false"}},
		"two keys":         {change: input("delegationKeyText", "-----BEGIN"), says: []string{"delegationKey and delegationKeyText are both given", "Keep the one"}},
		"two dots":         {change: input("repository", "team/../app"), says: []string{`"team/../app" is a name that no registry accepts`, "lower-case letters"}},
		"a tag in it":      {change: input("repository", "team/app:1"), says: []string{`"team/app:1" is a name that no registry accepts: it has a tag`}},
		"a long name":      {change: input("repository", strings.Repeat("a", 300)), says: []string{"it is too long"}},
		"a tag of blanks":  {change: input("tags", "a b"), says: []string{`"a b" is a tag that no registry accepts`, "at most 128"}},
		"a tag of colons":  {change: input("tags", "ok\na:b"), says: []string{`"a:b" is a tag that no registry accepts`}},
		"a long tag":       {change: input("tags", strings.Repeat("a", 129)), says: []string{"it is too long"}},
		"a dash first":     {change: input("tags", "-x"), says: []string{"it begins with a character that is not allowed there"}},
		"a digest":         {change: input("tags", "sha256:"+strings.Repeat("0", 64)), says: []string{"is a tag that no registry accepts"}},
		"a command in it":  {change: input("tags", "##vso[task.setvariable variable=PATH]x"), says: []string{"is a tag that no registry accepts"}},
		"a file of tags":   {change: input("tags", tagList(501)), says: []string{"holds 501 tags; a step signs at most 500"}},
		"ture":             {change: input("sign", "ture"), says: []string{`"ture" is neither true nor false`, "sign: true or sign: false"}},
		"a typing error":   {change: input("command", "buildAndPsuh"), says: []string{`there is no command "buildAndPsuh"`, "Use buildAndPush"}},
		"a later command":  {change: input("command", "verify"), says: []string{"verify does not work yet"}},
		"arguments":        {change: input("arguments", "--pull"), says: []string{"arguments does not work yet", "Dockerfile"}},
		"a builder":        {change: input("builder", "tcp://b:1"), says: []string{"builder does not work yet"}},
		"images":           {change: input("images", "a/b:c"), says: []string{"images belongs to other commands than buildAndPush", "Take the input away"}},
		"a plain server":   {change: input("trustServer", "http://notary.example.com"), says: []string{"is no https address"}},
		"a password in it": {change: input("trustServer", "https://u:p@notary.example.com"), says: []string{"without user, password or query"}},
		"no root key":      {change: input("rootKeys", "abc"), says: []string{`"abc" is no root key: it is not 64 hexadecimal digits`, "64 hexadecimal digits"}},
		"no signer":        {change: input("signer", "Bob!"), says: []string{`"Bob!" is no signer's name`, "docker trust inspect"}},
		"a pin is needed":  {change: input("requirePin", "true"), says: []string{"requirePin is true, and rootKeys pins nothing", "root key as rootKeys"}},
		"no CA file":       {change: input("caFile", "/not/there.crt"), says: []string{"caFile", "/not/there.crt cannot be read: no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.codes = []string{codeInputs}
			w, _ := f.happens(t, Main)
			if n := len(w.Azure.Requests()) + w.trustRequests(); n != 0 {
				t.Errorf("%d requests were made", n)
			}
		})
	}
}

func TestAllThatIsWrongWithTheInputsIsToldAtOnce(t *testing.T) {
	t.Parallel()
	f := fault{
		change: func(w *world) {
			for name, value := range map[string]string{
				"repository": "Team//App", "tags": "ok\n-no\nno:no", "sign": "ja", "delegationKey": "", "rootKeys": "x", "images": "a", "requiredSigners": "b",
			} {
				w.input(name, value)
			}
		},
		codes: slices.Repeat([]string{codeInputs}, 8),
		says:  []string{`"ja"`, `"Team//App"`, `"-no"`, `"no:no"`, "images", "requiredSigners", `"x"`, "delegationKey is empty"},
	}
	f.happens(t, Main)
	f.happens(t, Pre)
}

// The agent leaves $(name) as it is when there is no such variable.
func TestAVariableThatIsNotSetWaitsInThePrePhaseAndFailsInTheMainPhase(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"containerRegistry", "repository", "tags", "Dockerfile", "buildContext", "sign", "requirePin", "command",
		"delegationKeyPassphrase", "signer", "rootKeys", "trustServer", "caFile",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := fault{change: input(name, "$(My.Variable)"), codes: []string{codeInputs}, says: []string{"$(My.Variable) is not set", "Define My.Variable"}}
			f.happens(t, Main)
			w := newWorld(t, playground.Options{})
			f.change(w)
			w.run(Pre).succeeded(t)
		})
	}
}

func TestNoDockerfileAndNoContext(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]fault{
		"no such file":   {change: func(w *world) { w.input("Dockerfile", w.sources+"/service/Dockerfile") }, codes: []string{codeNoDockerfile}, says: []string{"No Dockerfile matches", "checkout"}},
		"no match":       {change: func(w *world) { w.input("Dockerfile", w.sources+"/**/Containerfile") }, codes: []string{codeNoDockerfile}, says: []string{"/**/Containerfile below", "Correct the input Dockerfile"}},
		"a folder":       {change: func(w *world) { w.write("d/x", ""); w.input("Dockerfile", w.sources+"/d") }, codes: []string{codeNoDockerfile}, says: []string{"/d is no file"}},
		"no such folder": {change: func(w *world) { w.input("buildContext", w.sources+"/nowhere") }, codes: []string{codeNoContext}, says: []string{"/nowhere is not there", "buildContext"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f.happens(t, Main)
		})
	}
}

func TestServiceConnectionsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	id := playground.ConnectionID
	unset := func(names ...string) func(*world) {
		return func(w *world) {
			for _, name := range names {
				delete(w.env, name)
			}
		}
	}
	for name, f := range map[string]fault{
		"not authorised": {change: unset("ENDPOINT_URL_"+id, "ENDPOINT_AUTH_"+id, "ENDPOINT_AUTH_SCHEME_"+id), codes: []string{codeConnection},
			says: []string{"authorise the connection for this pipeline"}},
		"no password": {change: func(w *world) {
			unset("ENDPOINT_AUTH_PARAMETER_" + id + "_PASSWORD")(w)
			w.env["ENDPOINT_AUTH_"+id] = `{"scheme":"UsernamePassword","parameters":{"username":"ci"}}`
		}, codes: []string{codeConnection}, says: []string{"lacks its password", "save it again"}},
		"federation": {change: func(w *world) { w.env["ENDPOINT_AUTH_SCHEME_"+id] = "WorkloadIdentityFederation" }, codes: []string{codeScheme},
			says: []string{"WorkloadIdentityFederation, which this version does not know", "service principal"}},
		"another host": {change: func(w *world) {
			w.env["ENDPOINT_DATA_"+id+"_REGISTRYTYPE"] = "ACR"
			w.env["ENDPOINT_AUTH_PARAMETER_"+id+"_LOGINSERVER"] = "evil.example.com"
		}, codes: []string{codeNotAzure}, says: []string{"evil.example.com", "No credential was sent"}},
		"no host": {change: func(w *world) { w.env["ENDPOINT_AUTH_PARAMETER_"+id+"_REGISTRY"] = "https://a b" }, codes: []string{codeConnection},
			says: []string{"is no host"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _ := f.happens(t, Main)
			if n := w.trustRequests(); n != 0 {
				t.Errorf("%d requests were made", n)
			}
		})
	}
}

func TestATempFolderThatIsNotThere(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]phase{"pre": Pre, "main": Main} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fault{change: func(w *world) { w.env["AGENT_TEMPDIRECTORY"] = w.temp + "/gone" }, codes: []string{codeDisk}, says: []string{"/gone", "no such file or directory", "temp folder"}}.happens(t, p)
		})
	}
}
