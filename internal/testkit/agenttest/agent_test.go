package agenttest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const smallTask = `{
  "id": "11111111-2222-3333-4444-555555555555", "name": "Small", "version": {"Major": 1, "Minor": 2, "Patch": 3},
  "inputs": [
    {"name": "registry", "type": "connectedService:dockerregistry"},
    {"name": "key", "type": "secureFile"},
    {"name": "tags", "type": "multiLine", "defaultValue": "$(Build.BuildId)"},
    {"name": "context", "type": "filePath", "defaultValue": "**"},
    {"name": "folder", "type": "filePath"},
    {"name": "sign", "type": "boolean", "defaultValue": "true"}
  ],
  "outputVariables": [{"name": "imageDigest"}],
  "restrictions": {"settableVariables": {"allowed": ["imageDigest", "RESOURCE_*", "token"]}},
  "prejobexecution": {"Node20_1": {"target": "pre.js"}, "Node24": {"target": "pre.js"}},
  "execution": {"Node20_1": {"target": "main.js"}, "Node24": {"target": "main.js"}},
  "postjobexecution": {"Node20_1": {"target": "post.js"}, "Node24": {"target": "post.js"}}
}`

// stage lays a task whose executable is a shell script, with the project's own launcher.
func stage(t *testing.T, script string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"launcher.js", "pre.js", "main.js", "post.js"} {
		data, err := os.ReadFile(filepath.Join("..", "..", "..", "task", "launcher", name))
		if err != nil {
			t.Fatal(err)
		}
		write(name, string(data))
	}
	script = "#!/bin/sh\n" + script + "\n"
	target := runtime.GOOS + "-" + runtime.GOARCH + "/contenttrust"
	sum := sha256.Sum256([]byte(script))
	sums, err := json.Marshal(map[string]string{target: hex.EncodeToString(sum[:])})
	if err != nil {
		t.Fatal(err)
	}
	write("task.json", smallTask)
	write("bin/"+target, script)
	write("bin/sha256.json", string(sums))
	return dir
}

func newAgent(t *testing.T, o Options, script string) *Agent {
	t.Helper()
	o.Task = stage(t, script)
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

func step(t *testing.T, a *Agent, o StepOptions) *Step {
	t.Helper()
	s, err := a.Step(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustRun(t *testing.T, s *Step, p Phase) Result {
	t.Helper()
	r, err := s.Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// environment gives what the task's process found in its environment.
func environment(r Result) map[string]string {
	env := map[string]string{}
	for line := range strings.SplitSeq(r.RawLog, "\n") {
		if name, value, ok := strings.Cut(line, "="); ok {
			env[name] = value
		}
	}
	return env
}

func TestThePhasesOfAStepRunWithTheAgentsEnvironment(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{false, true} {
		a := newAgent(t, Options{
			Direct: direct, AccessToken: "job-token", Env: map[string]string{"DOCKER_HOST": "unix:///engine"},
			Variables:   map[string]string{"Build.BuildId": "99", "my.var one": "x", "INPUT_SIGN": "evil"},
			Secrets:     map[string]string{"passphrase": "s3cr3t-words"},
			Proxy:       Proxy{URL: "http://proxy:3128", Username: "u", Password: "proxy-secret", Bypass: []string{`\.corp$`}},
			Certificate: Certificate{SkipValidation: true, CAFile: "/ca.pem"},
		}, `echo "phase=$1 $2"; tr '\0' '\n' < /proc/$$/environ`)
		a.AddConnection(Connection{
			ID: "aaaaaaaa-0000-0000-0000-000000000001", Name: "my registry", URL: "https://registry.example", Scheme: "UsernamePassword",
			Parameters: map[string]string{"username": "bob-user", "password": "pa55-word"}, Data: map[string]string{"registrytype": "Others"},
		})
		a.AddConnection(Connection{ID: "aaaaaaaa-0000-0000-0000-000000000002", Name: "other", URL: "https://other.example"})
		a.AddSecureFile(SecureFile{ID: "bbbbbbbb-0000-0000-0000-000000000001", Name: "signer.key", Ticket: "the-ticket"})
		a.AddSecureFile(SecureFile{ID: "bbbbbbbb-0000-0000-0000-000000000002", Name: "other.key", Ticket: "other-ticket"})
		s := step(t, a, StepOptions{
			Inputs: map[string]string{
				"registry": "my registry", "key": "signer.key", "tags": "  $(my.var one) $(unknown) $(PASSPHRASE) ",
				"Context": "app",
			},
			Env: map[string]string{"WORDS": "$(passphrase)"},
		})
		r := mustRun(t, s, Main)
		env := environment(r)
		want := map[string]string{
			"phase": "task main", "HOME": a.Home, "DOCKER_HOST": "unix:///engine", "TF_BUILD": "True",
			"INPUT_TAGS": "x $(unknown) s3cr3t-words", "INPUT_CONTEXT": filepath.Join(a.Sources, "app"),
			"INPUT_FOLDER": a.Sources, "INPUT_SIGN": "true",
			"INPUT_REGISTRY": "aaaaaaaa-0000-0000-0000-000000000001", "INPUT_KEY": "bbbbbbbb-0000-0000-0000-000000000001",
			"SECUREFILE_NAME_bbbbbbbb-0000-0000-0000-000000000001":                  "signer.key",
			"SECUREFILE_TICKET_bbbbbbbb-0000-0000-0000-000000000001":                "the-ticket",
			"SECUREFILE_TICKET_bbbbbbbb-0000-0000-0000-000000000002":                "",
			"ENDPOINT_URL_aaaaaaaa-0000-0000-0000-000000000001":                     "https://registry.example",
			"ENDPOINT_URL_aaaaaaaa-0000-0000-0000-000000000002":                     "",
			"ENDPOINT_AUTH_SCHEME_aaaaaaaa-0000-0000-0000-000000000001":             "UsernamePassword",
			"ENDPOINT_AUTH_PARAMETER_aaaaaaaa-0000-0000-0000-000000000001_PASSWORD": "pa55-word",
			"ENDPOINT_AUTH_aaaaaaaa-0000-0000-0000-000000000001":                    `{"parameters":{"password":"pa55-word","username":"bob-user"},"scheme":"UsernamePassword"}`,
			"ENDPOINT_DATA_aaaaaaaa-0000-0000-0000-000000000001":                    `{"registrytype":"Others"}`,
			"ENDPOINT_DATA_aaaaaaaa-0000-0000-0000-000000000001_REGISTRYTYPE":       "Others",
			"ENDPOINT_AUTH_PARAMETER_SYSTEMVSSCONNECTION_ACCESSTOKEN":               "job-token",
			"SECRET_SYSTEM_ACCESSTOKEN":                                             "job-token", "SYSTEM_ACCESSTOKEN": "",
			"MY_VAR_ONE": "x", "SECRET_PASSPHRASE": "s3cr3t-words", "PASSPHRASE": "", "WORDS": "s3cr3t-words",
			"AGENT_PROXYURL": "http://proxy:3128", "AGENT_PROXYUSERNAME": "u", "SECRET_AGENT_PROXYPASSWORD": "proxy-secret",
			"AGENT_PROXYBYPASSLIST": `["\\.corp$"]`, "AGENT_SKIPCERTVALIDATION": "True", "AGENT_CAINFO": "/ca.pem",
			"AGENT_TEMPDIRECTORY": a.Temp, "SYSTEM_DEFAULTWORKINGDIRECTORY": a.Sources, "BUILD_BUILDID": "99",
			"SYSTEM_TEAMFOUNDATIONCOLLECTIONURI": "https://dev.azure.com/example/",
		}
		got := map[string]string{}
		for name := range want {
			got[name] = env[name]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("direct %t: environment (-want +got):\n%s", direct, diff)
		}
		for _, secret := range []string{"s3cr3t-words", "pa55-word", "the-ticket", "job-token", "proxy-secret"} {
			if strings.Contains(r.Log, secret) {
				t.Errorf("the log shows %s", secret)
			}
		}
		for name := range env {
			if strings.HasPrefix(name, "GO") {
				t.Errorf("the test's own environment leaks: %s", name)
			}
		}
	}
}

func TestCommandsAreCarriedOutAndTheLogIsMasked(t *testing.T) {
	t.Parallel()
	a := newAgent(t, Options{}, `
printf 'summary of hush-hush' > "$AGENT_TEMPDIRECTORY/s.md"
echo 'plain hush-hush line'
echo '##vso[task.setsecret]hush-hush'
echo 'now hush-hush is hidden, so is {"hush\u002dhush"}'
echo "##vso[task.uploadsummary]$AGENT_TEMPDIRECTORY/s.md"; sleep 0.05
: > "$AGENT_TEMPDIRECTORY/s.md"
echo 'text before ##vso[task.setvariable variable=imageDigest;]sha256:1%3B%0A%AZP250A'
echo '##vso[task.setvariable variable=RESOURCE_URIS]https://r/x' >&2
echo '##vso[task.setvariable variable=PATH]/evil'
echo '##vso[task.prependpath]/evil'
echo '##vso[task.settaskvariable variable=my.state]kept'
echo '##vso[TASK.LogIssue type=warning;code=CT1001;sourcepath=Dockerfile;linenumber=3]careful%0Aline two'
echo '##vso[task.setprogress value=40;]building'
printf 'carriage\rreturn ##vso[task.complete result=SucceededWithIssues;]almost\r\n'
echo '##vso[task.complete result=Succeeded;]done'
echo 'https://bob:pw@host/'`)
	s := step(t, a, StepOptions{Name: "sign"})
	r := mustRun(t, s, Main)
	if r.Result != SucceededWithIssues || r.ExitCode != 0 {
		t.Errorf("result %s, exit code %d", r.Result, r.ExitCode)
	}
	if diff := cmp.Diff(map[string]string{"imageDigest": "sha256:1;\n%0A"}, r.OutputVariables); diff != "" {
		t.Error(diff)
	}
	if v, _ := a.Variable("sign.imageDigest"); v != "sha256:1;\n%0A" {
		t.Errorf("later steps see %q", v)
	}
	if _, ok := a.Variable("imageDigest"); ok {
		t.Error("an output variable has the plain name, too")
	}
	if diff := cmp.Diff(map[string]string{"RESOURCE_URIS": "https://r/x"}, r.Variables); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Variable{{Name: "PATH", Value: "/evil"}, {Name: "path", Value: "/evil"}}, r.Refused); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Issue{{Type: "warning", Code: "CT1001", Text: "careful\nline two", File: "Dockerfile", Line: "3"}}, r.Issues); diff != "" {
		t.Error(diff)
	}
	if r.Summary != "summary of ***" {
		t.Errorf("summary %q", r.Summary)
	}
	if r.Progress != 40 || !slices.Equal(r.Completed, []string{"almost", "done"}) {
		t.Errorf("progress %d, completed %q", r.Progress, r.Completed)
	}
	for _, line := range []string{"plain hush-hush line\n", "now *** is hidden", "##[warning]careful\nline two\n", "carriage\n", "https://bob:***@host/\n"} {
		if !strings.Contains(r.Log, line) {
			t.Errorf("the log lacks %q:\n%s", line, r.Log)
		}
	}
	if strings.Contains(r.Log, "##vso") {
		t.Errorf("the log shows a command:\n%s", r.Log)
	}
}

func TestWhatTheAgentCannotDoFailsTheStep(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ script, log string }{
		"exit code 3":                                 {`exit 3`, "Exit code 3"},
		"task.complete Failed":                        {`echo '##vso[task.complete result=Failed;]no'`, ""},
		"a result in lower case":                      {`echo '##vso[task.complete result=succeeded;]'`, "is no result"},
		"an unknown command":                          {`echo '##vso[task.sign]x'`, "is no command"},
		"a summary that is not there":                 {`echo '##vso[task.uploadsummary]/no/such/file'`, "no such file"},
		"an issue of no type":                         {`echo '##vso[task.logissue]x'`, "is no type"},
		"a secret of several lines":                   {`echo '##vso[task.setvariable variable=token;issecret=true]a%0Ab'`, "several lines"},
		"a variable without a name":                   {`echo '##vso[task.setvariable]x'`, "names no variable"},
		"a command in the middle of a build's output": {`echo 'Step 1 ##vso[task.complete result=Failed]'`, ""},
	}
	a := newAgent(t, Options{}, `eval "$SCRIPT"`)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := mustRun(t, step(t, a, StepOptions{Env: map[string]string{"SCRIPT": test.script}}), Main)
			if r.Result != Failed || !r.Failed() || !strings.Contains(r.Log, test.log) {
				t.Errorf("%s, log:\n%s", r.Result, r.Log)
			}
		})
	}
	r := mustRun(t, step(t, a, StepOptions{Env: map[string]string{"SCRIPT": `echo 'a ##vsomething'; echo '##vso[odd]'; echo '##vso[other.thing]'`}}), Main)
	if r.Result != Succeeded || len(r.Malformed) != 2 || len(r.Unknown) != 1 {
		t.Errorf("odd lines: %s, %q, %v", r.Result, r.Malformed, r.Unknown)
	}
}

func TestTaskVariablesAreSharedByThePhasesOfOneStepOnly(t *testing.T) {
	t.Parallel()
	a := newAgent(t, Options{}, `case $2 in pre) echo '##vso[task.settaskvariable variable=key.path]/secret';; *) echo "have=$VSTS_TASKVARIABLE_KEY_PATH";; esac`)
	first, second := step(t, a, StepOptions{}), step(t, a, StepOptions{})
	results, err := first.RunAll(t.Context())
	if err != nil || len(results) != 3 {
		t.Fatalf("%v, %d phases", err, len(results))
	}
	for _, p := range []Phase{Main, Post} {
		if got := environment(results[p])["have"]; got != "/secret" {
			t.Errorf("%s has %q", p, got)
		}
	}
	if got := environment(mustRun(t, second, Main))["have"]; got != "" {
		t.Errorf("another step has %q", got)
	}
}

func TestMainDoesNotFollowAFailedPreAndPostAlwaysRuns(t *testing.T) {
	t.Parallel()
	a := newAgent(t, Options{}, `[ "$2" != pre ]`)
	results, err := step(t, a, StepOptions{}).RunAll(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, ran := results[Main]; ran || results[Pre].Result != Failed || results[Post].Result != Succeeded {
		t.Errorf("results %v", results)
	}
}

func TestAStepThatTheServerWouldRefuseIsRefused(t *testing.T) {
	t.Parallel()
	a := newAgent(t, Options{}, `exit 0`)
	for input, want := range map[string]string{"colour": "no input", "key": "secure file red", "registry": "service connection red"} {
		_, err := a.Step(StepOptions{Inputs: map[string]string{input: "red"}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", input, err)
		}
	}
}

func TestTheExecutableArrivesWithoutItsRunBitAndStartsAllTheSame(t *testing.T) {
	t.Parallel()
	a := newAgent(t, Options{}, `echo "i am $0"`)
	file := filepath.Join(a.Task, "bin", runtime.GOOS+"-"+runtime.GOARCH, "contenttrust")
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Fatalf("%v, %v", info, err)
	}
	if r := mustRun(t, step(t, a, StepOptions{}), Main); !strings.Contains(r.Log, "i am "+file) {
		t.Error(r.Log)
	}
}

func TestAReadOnlyTasksFolderLeadsToACopyThatIsRemoved(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("mount name spaces are Linux's")
	}
	a := newAgent(t, Options{ReadOnlyTasks: true}, `echo "i am $0"`)
	r := mustRun(t, step(t, a, StepOptions{}), Main)
	if r.Result != Succeeded || !strings.Contains(r.Log, "i am "+a.Temp) {
		t.Errorf("%s\n%s", r.Result, r.Log)
	}
	if entries, err := os.ReadDir(a.Temp); err != nil || len(entries) != 0 {
		t.Errorf("left in temp: %v, %v", entries, err)
	}
}

func TestACancelThatTheTaskObeysTakesNoTime(t *testing.T) {
	t.Parallel()
	for _, direct := range []bool{false, true} {
		a := newAgent(t, Options{Direct: direct}, `trap 'echo cleaning; exit 130' INT; echo ready; while :; do sleep 0.05; done`)
		run, err := step(t, a, StepOptions{}).Start(Main)
		if err != nil {
			t.Fatal(err)
		}
		if err := run.WaitFor(t.Context(), "ready"); err != nil {
			t.Fatal(err)
		}
		r := run.Cancel()
		if r.Result != Canceled || !r.Cancelled || r.ExitCode != 130 || !strings.Contains(r.Log, "cleaning") ||
			!slices.Equal(r.Signals, []string{"SIGINT"}) || r.CancelIn <= 0 || r.CancelIn > 5*time.Second || len(r.Survivors) != 0 {
			t.Errorf("direct %t: %+v", direct, r)
		}
	}
}

func TestATaskThatIgnoresSIGINTGetsSIGTERMAfterTheAgentsPatience(t *testing.T) {
	t.Parallel()
	a := newAgent(t, Options{}, `trap 'echo not yet' INT; trap 'exit 143' TERM; echo ready; while :; do sleep 0.05; done`)
	ctx, cancel := context.WithCancel(t.Context())
	s := step(t, a, StepOptions{})
	run, err := s.Start(Main)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.WaitFor(ctx, "ready"); err != nil {
		t.Fatal(err)
	}
	cancel()
	r := run.Cancel()
	if !slices.Equal(r.Signals, []string{"SIGINT", "SIGTERM"}) || r.CancelIn < interruptPatience || r.CancelIn > interruptPatience+2*time.Second {
		t.Errorf("%v in %s", r.Signals, r.CancelIn)
	}
}

func TestProcessesThatOutliveTheStepAreFoundAndEndWithTheJob(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("processes are found in /proc, which is Linux's")
	}
	a := newAgent(t, Options{}, `sleep 60 >/dev/null 2>&1 & echo started`)
	r := mustRun(t, step(t, a, StepOptions{}), Main)
	if len(r.Survivors) != 1 {
		t.Fatalf("survivors %v", r.Survivors)
	}
	if err := os.WriteFile(filepath.Join(a.Temp, "left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ended, err := a.EndJob()
	if err != nil || !slices.Equal(ended, r.Survivors) {
		t.Errorf("ended %v, %v", ended, err)
	}
	if entries, err := os.ReadDir(a.Temp); err != nil || len(entries) != 0 {
		t.Errorf("left in temp: %v, %v", entries, err)
	}
	for range 100 {
		if len(a.processes()) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("still there: %v", a.processes())
}
