package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/secret"
)

func TestTheEnvironmentIsReadAsGiven(t *testing.T) {
	t.Parallel()
	env := NewEnvironment([]string{"A=1", "A=2", "EMPTY=", "EQ=a=b", "=C:=C:\\dir", "broken", "", "="})
	for _, tt := range []struct {
		key, want string
		ok        bool
	}{{"A", "1", true}, {"EMPTY", "", true}, {"EQ", "a=b", true}, {"=C:", "C:\\dir", true}, {"B", "", false}, {"broken", "", false}} {
		if got, ok := env.Lookup(tt.key); got != tt.want || ok != tt.ok || env.Get(tt.key) != tt.want {
			t.Errorf("%s gives %q, %v", tt.key, got, ok)
		}
	}
	if got, ok := Environment(nil).Lookup("A"); got != "" || ok {
		t.Error("a nil environment has something")
	}
}

func TestAStructIsFilledFromTheEnvironment(t *testing.T) {
	t.Parallel()
	env := NewEnvironment([]string{"INPUT_TAGS=a,b\nc", "INPUT_KEY=hunter22", "INPUT_EMPTY="})
	var in struct {
		Tags  string       `env:"INPUT_TAGS"`
		Key   secret.Value `env:"INPUT_KEY"`
		Empty secret.Value `env:"INPUT_EMPTY"`
		None  secret.Value `env:"INPUT_NONE"`
	}
	if err := env.Decode(t.Context(), &in); err != nil {
		t.Fatal(err)
	}
	if in.Tags != "a,b\nc" || in.Key.Reveal() != "hunter22" || !in.Empty.Empty() || !in.None.Empty() {
		t.Errorf("got %+v", in)
	}
}

func TestTaskVariablesAndSensitiveNames(t *testing.T) {
	t.Parallel()
	env := NewEnvironment([]string{"VSTS_TASKVARIABLE_CONTENT_TRUST_DIR=/t"})
	if got, ok := TaskVariable(env, "content.trust dir"); got != "/t" || !ok {
		t.Errorf("got %q, %v", got, ok)
	}
	if _, ok := TaskVariable(env, "other"); ok {
		t.Error("an absent variable is there")
	}
	for _, name := range []string{"INPUT_X", "ENDPOINT_AUTH_PARAMETER_X_Y", "ENDPOINT_AUTH_x", "SECUREFILE_TICKET_x", "SECRET_X", "secret_x", "VSTS_TASKVARIABLE_X", "SYSTEM_ACCESSTOKEN", "VSTS_SECRET_VARIABLES"} {
		if !Sensitive(name) {
			t.Errorf("%s is not sensitive", name)
		}
	}
	for _, name := range []string{"PATH", "ENDPOINT_URL_x", "SECUREFILE_NAME_x", "BUILD_BUILDID", "VSTS_PROCESS_LOOKUP_ID"} {
		if Sensitive(name) {
			t.Errorf("%s is sensitive", name)
		}
	}
}

func TestTheAgentIsRead(t *testing.T) {
	t.Parallel()
	agent, err := ReadAgent(t.Context(), NewEnvironment([]string{
		"AGENT_TEMPDIRECTORY=/w/_temp", "AGENT_TOOLSDIRECTORY=/w/_tool", "AGENT_OS=Linux", "AGENT_JOBSTATUS=Succeeded",
		"SYSTEM_COLLECTIONURI=https://dev.azure.com/Fabrikam/", "SYSTEM_TEAMPROJECT=Content Trust", "SYSTEM_TEAMPROJECTID=6ce954b1",
		"SYSTEM_HOSTTYPE=build", "SYSTEM_SERVERTYPE=Hosted", "SYSTEM_JOBID=j", "SYSTEM_TASKINSTANCEID=t", "SYSTEM_DEBUG=True",
		"ENDPOINT_AUTH_PARAMETER_SYSTEMVSSCONNECTION_ACCESSTOKEN=the-job-token",
		"BUILD_BUILDID=7", "BUILD_BUILDNUMBER=20.1", "BUILD_REPOSITORY_NAME=r", "BUILD_SOURCEBRANCHNAME=main", "RELEASE_RELEASEID=9", "RELEASE_RELEASEWEBURL=https://r",
		"AGENT_PROXYURL=http://u:pass-in-url@proxy:3128", "AGENT_PROXYUSERNAME=me", "SECRET_AGENT_PROXYPASSWORD=proxy-password",
		"AGENT_SKIPCERTVALIDATION=True", "AGENT_CLIENTCERT=/c.pem", "SECRET_AGENT_CLIENTCERTPASSWORD=cert-password",
		"https_proxy=http://lower:1", "NO_PROXY=a,b",
	}))
	if err != nil {
		t.Fatal(err)
	}
	want := Agent{
		TempDirectory: "/w/_temp", ToolsDirectory: "/w/_tool", OS: "Linux", JobStatus: "Succeeded",
		CollectionURI: "https://dev.azure.com/Fabrikam/", TeamProject: "Content Trust", TeamProjectID: "6ce954b1",
		HostType: "build", ServerType: "Hosted", JobID: "j", TaskInstanceID: "t", Debug: true, AccessToken: secret.New("the-job-token"),
		Build:        Build{ID: "7", Number: "20.1", RepositoryName: "r", SourceBranchName: "main"},
		Release:      Release{ID: "9", WebURL: "https://r"},
		Proxy:        Proxy{Address: secret.New("http://u:pass-in-url@proxy:3128"), Username: "me", Password: secret.New("proxy-password"), HTTPS: secret.New("http://lower:1"), None: "a,b"},
		Certificates: Certificates{ClientFile: "/c.pem", ClientPassword: secret.New("cert-password"), SkipValidation: true},
	}
	if diff := cmp.Diff(want, agent); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := agent.Missing(); len(got) != 0 {
		t.Errorf("missing: %q", got)
	}
	text := fmt.Sprintf("%v %+v %#v", agent, agent, agent)
	for _, v := range agent.Secrets() {
		if strings.Contains(text, v.Reveal()) {
			t.Errorf("%q is printed", v.Reveal())
		}
	}
	if got := len(agent.Secrets()); got != 4 {
		t.Errorf("%d secrets, want token, two proxy passwords, certificate password", got)
	}
}

func TestWhatAnAgentAlwaysTellsIsMissedByName(t *testing.T) {
	t.Parallel()
	agent, err := ReadAgent(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"AGENT_TEMPDIRECTORY", "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI", "SYSTEM_TEAMPROJECT", "ENDPOINT_AUTH_PARAMETER_SYSTEMVSSCONNECTION_ACCESSTOKEN"}
	if diff := cmp.Diff(want, agent.Missing()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheAccessTokenIsFoundWhereverItIs(t *testing.T) {
	t.Parallel()
	for _, entry := range []string{
		"ENDPOINT_AUTH_PARAMETER_SYSTEMVSSCONNECTION_ACCESSTOKEN=tok",
		`ENDPOINT_AUTH_SYSTEMVSSCONNECTION={"parameters":{"AccessToken":"tok"},"scheme":"OAuth"}`,
		"SYSTEM_ACCESSTOKEN=tok", "SECRET_SYSTEM_ACCESSTOKEN=tok",
	} {
		agent, err := ReadAgent(t.Context(), NewEnvironment([]string{entry, "SYSTEM_DEBUG=maybe"}))
		if err != nil || agent.AccessToken.Reveal() != "tok" || agent.Debug {
			t.Errorf("%s: %q, debug %v, %v", entry, agent.AccessToken.Reveal(), agent.Debug, err)
		}
	}
}
