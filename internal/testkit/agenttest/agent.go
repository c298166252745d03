package agenttest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Options say what agent and what job to play. The zero value, with Task set, is a Linux agent that builds a pull of an
// example project, with nobody's secrets and no proxy.
type Options struct {
	Task string // the staged task's folder, with its task.json
	Root string // an existing folder for the agent's own ones; "" for a new one, which Close removes
	Node string // the Node to start; "" for node from PATH

	// Direct starts the executable itself instead of the launcher's scripts, with the environment that Node would get and
	// an input that stays open: for machines without Node, and for tests that are not about the launcher.
	Direct bool

	// ReadOnlyTasks mounts the tasks' folder read-only for the task's processes, as container jobs can. It needs Linux
	// and unshare(1), and root or user name spaces.
	ReadOnlyTasks bool

	Collection  string            // "" for https://dev.azure.com/example/
	Project     string            // "" for Example Project
	ProjectID   string            // "" for a fixed GUID
	HostType    string            // "" for build; or release, deployment
	ServerType  string            // "" for Hosted; or OnPremises
	AccessToken string            // the job's access token; "" for a random one
	Debug       bool              // System.Debug
	Variables   map[string]string // public variables, as "Build.BuildId"; they win over the built-in ones
	Secrets     map[string]string // secret variables
	Env         map[string]string // the environment that the agent itself was started with, beside PATH and HOME
	Proxy       Proxy
	Certificate Certificate
}

// Proxy is how the agent was configured with --proxyurl and its like.
type Proxy struct {
	URL, Username, Password string
	Bypass                  []string // regular expressions, as in .proxybypass
}

// Certificate is how the agent was configured with --sslcacert and its like.
type Certificate struct {
	SkipValidation                 bool
	CAFile                         string // PEM
	ClientFile, ClientKeyFile      string // PEM
	ClientArchive, ArchivePassword string
}

// Connection is a service connection that the pipeline may use.
type Connection struct {
	ID, Name   string // a step's input may name either
	URL        string
	Scheme     string            // "UsernamePassword", …
	Parameters map[string]string // of the authorization, secret
	Data       map[string]string
}

// SecureFile is a secure file that the pipeline may use. The agent hands out the ticket, never the content.
type SecureFile struct {
	ID, Name string // a step's input may name either
	Ticket   string
}

// Agent is one agent with one job. Its methods may be used from several goroutines; steps of one job that run at the
// same time share the variables as they do nowhere in reality.
type Agent struct {
	Temp    string // Agent.TempDirectory, empty at the start of the job
	Tools   string // Agent.ToolsDirectory
	Home    string // HOME
	Sources string // System.DefaultWorkingDirectory and Build.SourcesDirectory
	Task    string // the task's folder below _tasks, unpacked as the agent does: no run bits

	options Options
	root    string // removed by Close when made by New
	own     bool
	def     definition
	lookup  string // VSTS_PROCESS_LOOKUP_ID

	mu          sync.Mutex
	variables   map[string]variable // by upper-case name
	connections []Connection
	files       []SecureFile
	mask        mask
	steps       int
}

type variable struct {
	name, value string
	secret      bool
}

// New sets up the agent and starts its job. Close must be called at the end.
func New(o Options) (*Agent, error) {
	def, err := readDefinition(filepath.Join(o.Task, "task.json"))
	if err != nil {
		return nil, err
	}
	root, own := o.Root, false
	if root == "" {
		if root, err = os.MkdirTemp("", "agenttest-"); err != nil {
			return nil, err
		}
		own = true
	}
	if root, err = filepath.EvalSymlinks(root); err != nil {
		return nil, err
	}
	a := &Agent{
		Temp: filepath.Join(root, "_temp"), Tools: filepath.Join(root, "_tool"), Home: filepath.Join(root, "home"),
		Sources: filepath.Join(root, "1", "s"),
		Task: filepath.Join(root, "_tasks", def.Name+"_"+def.ID,
			fmt.Sprintf("%d.%d.%d", def.Version.Major, def.Version.Minor, def.Version.Patch)),
		options: o, root: root, own: own, def: def, lookup: "vsts_" + rand.Text(),
		variables: map[string]variable{},
	}
	if err := a.layFolders(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	a.setUp()
	return a, nil
}

func (a *Agent) layFolders() error {
	for _, dir := range []string{a.Temp, a.Tools, a.Home, a.Sources, filepath.Join(a.root, "1", "a")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := emptyFolder(a.Temp); err != nil {
		return err
	}
	return unpack(a.options.Task, a.Task, a.options.Direct)
}

// unpack copies the task as the agent unpacks it: the zip of an extension has no modes, so nothing may be executed.
func unpack(from, to string, runnable bool) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if runnable && strings.HasPrefix(filepath.Base(name), "contenttrust") {
			mode = 0o755
		}
		return os.WriteFile(filepath.Join(to, name), data, mode)
	})
}

// setUp sets the variables that every job has.
func (a *Agent) setUp() {
	o := &a.options
	fill(&o.Collection, "https://dev.azure.com/example/")
	fill(&o.Project, "Example Project")
	fill(&o.ProjectID, "7f3c2f5e-58ac-4b7a-9c33-0c0fd6a0a001")
	fill(&o.HostType, "build")
	fill(&o.ServerType, "Hosted")
	fill(&o.AccessToken, rand.Text()+rand.Text())
	for name, value := range a.builtIn() {
		a.set(name, value, false)
	}
	for name, value := range o.Proxy.variables() {
		a.set(name, value, false)
	}
	for name, value := range o.Certificate.variables() {
		a.set(name, value, false)
	}
	secrets := map[string]string{
		"System.AccessToken": o.AccessToken, "Agent.ProxyPassword": o.Proxy.Password,
		"Agent.ClientCertPassword": o.Certificate.ArchivePassword,
	}
	for name, value := range secrets {
		if value != "" {
			a.set(name, value, true)
		}
	}
	for name, value := range o.Variables {
		a.set(name, value, false)
	}
	for name, value := range o.Secrets {
		a.set(name, value, true)
	}
}

func fill(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

func (a *Agent) builtIn() map[string]string {
	o := a.options
	system := map[string]string{"linux": "Linux", "darwin": "Darwin", "windows": "Windows_NT"}[runtime.GOOS]
	arch := map[string]string{"amd64": "X64", "arm64": "ARM64"}[runtime.GOARCH]
	vars := map[string]string{
		"Agent.TempDirectory": a.Temp, "Agent.ToolsDirectory": a.Tools, "Agent.WorkFolder": a.root,
		"Agent.BuildDirectory": filepath.Join(a.root, "1"), "Agent.HomeDirectory": a.root,
		"Agent.Version": "4.270.0", "Agent.OS": system, "Agent.OSArchitecture": arch, "Agent.JobName": "Job",
		"Agent.Name": "emulated", "Agent.JobStatus": "Succeeded",
		"System.DefaultWorkingDirectory": a.Sources, "System.ArtifactsDirectory": filepath.Join(a.root, "1", "a"),
		"System.TeamFoundationCollectionUri": o.Collection, "System.CollectionUri": o.Collection,
		"System.TeamFoundationServerUri": o.Collection, "System.TeamProject": o.Project,
		"System.TeamProjectId": o.ProjectID, "System.HostType": o.HostType, "System.ServerType": o.ServerType,
		"System.PlanId": "0d5aefb6-3a0e-4f4e-8a35-0c0fd6a0a002", "System.JobId": "12f1170f-54f2-53f3-20dd-22fc7dff55f9",
		"System.TimelineId": "0d5aefb6-3a0e-4f4e-8a35-0c0fd6a0a003", "System.Culture": "en-US",
		"System.TaskInstanceId": "0d5aefb6-3a0e-4f4e-8a35-0c0fd6a0a004",
	}
	if o.Debug {
		vars["System.Debug"] = "true"
	}
	if o.HostType == "build" {
		maps.Copy(vars, map[string]string{
			"Build.BuildId": "4711", "Build.BuildNumber": "20260801.1", "Build.BuildUri": "vstfs:///Build/Build/4711",
			"Build.DefinitionName": "example-ci", "Build.SourceVersion": "5f0ee8a1b6d6c0a6c3ffb4fd0b9f2f0b1c9f6d55",
			"Build.SourceBranch": "refs/heads/main", "Build.SourceBranchName": "main", "Build.Reason": "IndividualCI",
			"Build.Repository.Name": "example", "Build.Repository.Uri": o.Collection + "Example%20Project/_git/example",
			"Build.Repository.Provider": "TfsGit", "Build.Repository.ID": "0d5aefb6-3a0e-4f4e-8a35-0c0fd6a0a005",
			"Build.Repository.LocalPath": a.Sources, "Build.SourcesDirectory": a.Sources,
			"Build.RequestedForEmail": "builder@example.com",
		})
	} else {
		maps.Copy(vars, map[string]string{
			"Release.ReleaseId": "815", "Release.DefinitionName": "example-cd",
			"Release.ReleaseWebUrl": o.Collection + "Example%20Project/_release?releaseId=815",
		})
	}
	return vars
}

// variables are those of ExecutionContext.cs, where the agent writes down its proxy.
func (p Proxy) variables() map[string]string {
	if p.URL == "" {
		return nil
	}
	vars := map[string]string{"Agent.ProxyUrl": p.URL}
	if p.Username != "" {
		vars["Agent.ProxyUsername"] = p.Username
	}
	if len(p.Bypass) > 0 {
		vars["Agent.ProxyBypassList"] = jsonText(p.Bypass)
	}
	return vars
}

func (c Certificate) variables() map[string]string {
	vars := map[string]string{
		"Agent.CAInfo": c.CAFile, "Agent.ClientCert": c.ClientFile, "Agent.ClientCertKey": c.ClientKeyFile,
		"Agent.ClientCertArchive": c.ClientArchive,
	}
	maps.DeleteFunc(vars, func(_, value string) bool { return value == "" })
	if c.SkipValidation {
		vars["Agent.SkipCertValidation"] = "True"
	}
	return vars
}

// set sets a job variable; the caller holds mu or is alone.
func (a *Agent) set(name, value string, secret bool) {
	a.variables[strings.ToUpper(name)] = variable{name, value, secret}
	if secret {
		a.mask.addJobSecret(value)
	}
}

// SetVariable sets a public variable of the job, as an earlier step would.
func (a *Agent) SetVariable(name, value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(name, value, false)
}

// SetSecret sets a secret variable of the job.
func (a *Agent) SetSecret(name, value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.set(name, value, true)
}

// Variable is a variable's value as a later step would see it. Output variables have the step's name before their own:
// "ContentTrust1.imageDigest".
func (a *Agent) Variable(name string) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	v, ok := a.variables[strings.ToUpper(name)]
	return v.value, ok
}

// AddConnection authorises a service connection for this pipeline. Its parameters are masked as the agent masks them:
// all but those that name no secret.
func (a *Agent) AddConnection(c Connection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	open := []string{"role", "scope", "tenantid", "issuedat", "expiresat", "audience", "authenticationtype"}
	for name, value := range c.Parameters {
		if !slices.Contains(open, strings.ToLower(name)) {
			a.mask.addJobSecret(value)
		}
	}
	a.connections = append(a.connections, c)
}

// AddSecureFile authorises a secure file for this pipeline.
func (a *Agent) AddSecureFile(f SecureFile) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mask.addJobSecret(f.Ticket)
	a.files = append(a.files, f)
}

// EndJob does what the agent does when a job ends: it ends the processes that the job left running, and empties the
// temporary folder. It gives the IDs of the processes it ended.
func (a *Agent) EndJob() ([]int, error) {
	left := a.processes()
	for _, pid := range left {
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Signal(syscall.SIGKILL) // it may have ended by itself in the meantime
		}
	}
	return left, emptyFolder(a.Temp)
}

// Close ends the job if it has not ended, and removes the agent's folders if New made them.
func (a *Agent) Close() error {
	_, err := a.EndJob()
	if !a.own {
		return err
	}
	return errors.Join(err, os.RemoveAll(a.root))
}

func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}
