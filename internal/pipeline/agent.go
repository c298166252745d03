package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"

	"contenttrust/internal/secret"
)

// Agent is what the agent tells about itself, the job and the run. A field is
// empty when its variable is not set; see [Agent.Missing].
type Agent struct {
	Name          string `env:"AGENT_NAME"`
	Version       string `env:"AGENT_VERSION"`
	OS            string `env:"AGENT_OS"`             // Linux, Darwin, Windows_NT
	Architecture  string `env:"AGENT_OSARCHITECTURE"` // X86, X64, ARM, ARM64
	TempDirectory string `env:"AGENT_TEMPDIRECTORY"`  // emptied at the start and the end of each job
	// ToolsDirectory keeps downloaded tools between jobs.
	ToolsDirectory string `env:"AGENT_TOOLSDIRECTORY"`
	HomeDirectory  string `env:"AGENT_HOMEDIRECTORY"`
	WorkFolder     string `env:"AGENT_WORKFOLDER"`
	BuildDirectory string `env:"AGENT_BUILDDIRECTORY"`
	JobName        string `env:"AGENT_JOBNAME"`
	// JobStatus is how the job stands: Succeeded, SucceededWithIssues, Failed, Canceled.
	JobStatus string `env:"AGENT_JOBSTATUS"`
	// ContainerMapping is JSON, container resource name to {"id": …}; "" outside container jobs.
	ContainerMapping string `env:"AGENT_CONTAINERMAPPING"`

	DefaultWorkingDirectory string `env:"SYSTEM_DEFAULTWORKINGDIRECTORY"` // the sources
	ArtifactsDirectory      string `env:"SYSTEM_ARTIFACTSDIRECTORY"`
	// CollectionURI is the organisation's or collection's address and ends in "/".
	CollectionURI  string `env:"SYSTEM_TEAMFOUNDATIONCOLLECTIONURI"`
	ServerURI      string `env:"SYSTEM_TEAMFOUNDATIONSERVERURI"`
	TeamProject    string `env:"SYSTEM_TEAMPROJECT"` // a name; may contain spaces
	TeamProjectID  string `env:"SYSTEM_TEAMPROJECTID"`
	HostType       string `env:"SYSTEM_HOSTTYPE"`   // build, release, deployment, gates, …
	ServerType     string `env:"SYSTEM_SERVERTYPE"` // Hosted or OnPremises
	PlanID         string `env:"SYSTEM_PLANID"`
	JobID          string `env:"SYSTEM_JOBID"`
	TimelineID     string `env:"SYSTEM_TIMELINEID"`
	TaskInstanceID string `env:"SYSTEM_TASKINSTANCEID"`
	DefinitionID   string `env:"SYSTEM_DEFINITIONID"`
	OIDCRequestURI string `env:"SYSTEM_OIDCREQUESTURI"`
	Culture        string `env:"SYSTEM_CULTURE"`

	// AccessToken is the job's own token, of the endpoint SYSTEMVSSCONNECTION.
	AccessToken secret.Value
	// Debug is system.debug.
	Debug bool

	Build        Build
	Release      Release
	Proxy        Proxy
	Certificates Certificates
}

// Build is what a build (or a YAML pipeline) says about its run.
type Build struct {
	ID                  string `env:"BUILD_BUILDID"`
	Number              string `env:"BUILD_BUILDNUMBER"`
	URI                 string `env:"BUILD_BUILDURI"`
	DefinitionName      string `env:"BUILD_DEFINITIONNAME"`
	SourceVersion       string `env:"BUILD_SOURCEVERSION"`
	SourceBranch        string `env:"BUILD_SOURCEBRANCH"`
	SourceBranchName    string `env:"BUILD_SOURCEBRANCHNAME"`
	SourcesDirectory    string `env:"BUILD_SOURCESDIRECTORY"`
	RepositoryName      string `env:"BUILD_REPOSITORY_NAME"`
	RepositoryURI       string `env:"BUILD_REPOSITORY_URI"`
	RepositoryProvider  string `env:"BUILD_REPOSITORY_PROVIDER"`
	RepositoryID        string `env:"BUILD_REPOSITORY_ID"`
	RepositoryLocalPath string `env:"BUILD_REPOSITORY_LOCALPATH"`
	RequestedFor        string `env:"BUILD_REQUESTEDFOR"`
	RequestedForEmail   string `env:"BUILD_REQUESTEDFOREMAIL"`
	Reason              string `env:"BUILD_REASON"`
}

// Release is what a classic release says about its run.
type Release struct {
	ID             string `env:"RELEASE_RELEASEID"`
	Name           string `env:"RELEASE_RELEASENAME"`
	DefinitionName string `env:"RELEASE_DEFINITIONNAME"`
	WebURL         string `env:"RELEASE_RELEASEWEBURL"`
}

// Proxy is how requests leave the machine. The addresses may hold a password,
// so they are secrets.
type Proxy struct {
	Address  secret.Value `env:"AGENT_PROXYURL"`
	Username string       `env:"AGENT_PROXYUSERNAME"`
	Password secret.Value `env:"SECRET_AGENT_PROXYPASSWORD"`
	// BypassList is a JSON array of ECMAScript regular expressions.
	BypassList string `env:"AGENT_PROXYBYPASSLIST"`

	// The customary variables, upper or lower case; used when the agent has no proxy.
	HTTPS secret.Value
	HTTP  secret.Value
	None  string // NO_PROXY
}

// Certificates are the agent's settings for TLS with its server.
type Certificates struct {
	CAFile            string       `env:"AGENT_CAINFO"` // PEM
	ClientFile        string       `env:"AGENT_CLIENTCERT"`
	ClientKeyFile     string       `env:"AGENT_CLIENTCERTKEY"`
	ClientArchiveFile string       `env:"AGENT_CLIENTCERTARCHIVE"` // PKCS#12; not read, see WarningClientArchiveOnly
	ClientPassword    secret.Value `env:"SECRET_AGENT_CLIENTCERTPASSWORD"`
	SkipValidation    bool         // AGENT_SKIPCERTVALIDATION
}

// ReadAgent reads the agent's variables. A variable that is not set is no error,
// since the command line and some phases run without most of them; an error is
// only a fault of this package's own declarations.
func ReadAgent(ctx context.Context, env Environment) (Agent, error) {
	var a Agent
	if err := env.Decode(ctx, &a); err != nil {
		return Agent{}, err
	}
	a.CollectionURI = cmp.Or(a.CollectionURI, env.Get("SYSTEM_COLLECTIONURI"))
	a.AccessToken = readAccessToken(env)
	a.Debug = truth(env.Get("SYSTEM_DEBUG"))
	a.Certificates.SkipValidation = truth(env.Get("AGENT_SKIPCERTVALIDATION"))
	a.Proxy.HTTPS = secret.New(cmp.Or(env.Get("HTTPS_PROXY"), env.Get("https_proxy")))
	a.Proxy.HTTP = secret.New(cmp.Or(env.Get("HTTP_PROXY"), env.Get("http_proxy")))
	a.Proxy.None = cmp.Or(env.Get("NO_PROXY"), env.Get("no_proxy"))
	return a, nil
}

// readAccessToken takes the job's token from where every agent puts it, or from
// where a user may have mapped it.
func readAccessToken(env Environment) secret.Value {
	const system = "SYSTEMVSSCONNECTION"
	var auth struct {
		Parameters struct{ AccessToken string } `json:"parameters"`
	}
	// A broken text leaves the field empty, which is handled like an absent one.
	_ = json.Unmarshal([]byte(env.Get("ENDPOINT_AUTH_"+system)), &auth)
	return secret.New(cmp.Or(
		env.Get("ENDPOINT_AUTH_PARAMETER_"+system+"_ACCESSTOKEN"),
		auth.Parameters.AccessToken,
		env.Get("SYSTEM_ACCESSTOKEN"),
		env.Get("SECRET_SYSTEM_ACCESSTOKEN"),
	))
}

// truth reads a switch as the agent does, with 1 as a courtesy; anything else is off.
func truth(value string) bool {
	value = strings.TrimSpace(value)
	return strings.EqualFold(value, "true") || value == "1"
}

// Missing names the variables without which no task can work and which every
// agent sets. Some missing means: not started by an agent.
func (a Agent) Missing() []string {
	var names []string
	for _, v := range []struct{ name, value string }{
		{"AGENT_TEMPDIRECTORY", a.TempDirectory},
		{"SYSTEM_TEAMFOUNDATIONCOLLECTIONURI", a.CollectionURI},
		{"SYSTEM_TEAMPROJECT", a.TeamProject + a.TeamProjectID},
	} {
		if v.value == "" {
			names = append(names, v.name)
		}
	}
	if a.AccessToken.Empty() {
		names = append(names, "ENDPOINT_AUTH_PARAMETER_SYSTEMVSSCONNECTION_ACCESSTOKEN")
	}
	return names
}

// Secrets gives every secret the agent has handed over with its settings, for
// the mask. Addresses of proxies are among them only if they hold a password.
func (a Agent) Secrets() []secret.Value {
	secrets := []secret.Value{a.AccessToken, a.Proxy.Password, a.Certificates.ClientPassword}
	for _, address := range []secret.Value{a.Proxy.Address, a.Proxy.HTTPS, a.Proxy.HTTP} {
		if u, err := parseProxy(address.Reveal()); err == nil && u != nil && u.User != nil {
			password, _ := u.User.Password()
			secrets = append(secrets, secret.New(password))
		}
	}
	var given []secret.Value
	for _, v := range secrets {
		if !v.Empty() {
			given = append(given, v)
		}
	}
	return given
}
