package agenttest

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// Phase is one of the three times that a step runs.
type Phase string

// The phases, in their order in a job: every Pre of the job comes before the checkout, every Post after the last step.
const (
	Pre  Phase = "pre"
	Main Phase = "main"
	Post Phase = "post"
)

// StepOptions are one step of the YAML.
type StepOptions struct {
	Name   string            // the step's name, under which others find its output variables; "" for ContentTrust1, …
	Inputs map[string]string // as written in the YAML; secure files and connections by name or by ID
	Env    map[string]string // the step's env
}

// Step is one step of the job: what its phases share.
type Step struct {
	agent   *Agent
	name    string
	inputs  map[string]string
	env     map[string]string
	private map[string]variable // task variables
}

// Step adds a step to the job. Inputs that the task does not have, and connections and secure files that the pipeline
// may not use, are errors here, as they are to the server.
func (a *Agent) Step(o StepOptions) (*Step, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.steps++
	s := &Step{agent: a, name: o.Name, inputs: map[string]string{}, env: o.Env, private: map[string]variable{}}
	fill(&s.name, fmt.Sprintf("%s%d", a.def.Name, a.steps))
	given := maps.Clone(o.Inputs)
	for _, in := range a.def.Inputs {
		value := ""
		if in.DefaultValue != nil {
			value = fmt.Sprint(in.DefaultValue)
		}
		for name, v := range given {
			if strings.EqualFold(name, in.Name) {
				value = strings.TrimSpace(v)
				delete(given, name)
			}
		}
		value, err := a.resolve(in.Name, in.Type, value)
		if err != nil {
			return nil, err
		}
		s.inputs[in.Name] = value
	}
	for name := range given {
		return nil, fmt.Errorf("the task has no input %q", name)
	}
	return s, nil
}

// resolve turns the names of connections and secure files into IDs, as the server does before a job starts.
func (a *Agent) resolve(input, kind, value string) (string, error) {
	if value == "" || kind != "secureFile" && !strings.HasPrefix(kind, "connectedService:") {
		return value, nil
	}
	if kind == "secureFile" {
		for _, f := range a.files {
			if f.ID == value || f.Name == value {
				return f.ID, nil
			}
		}
		return "", fmt.Errorf("step input %s references secure file %s which could not be found", input, value)
	}
	for _, c := range a.connections {
		if c.ID == value || c.Name == value {
			return c.ID, nil
		}
	}
	return "", fmt.Errorf("step input %s references service connection %s which could not be found", input, value)
}

// Run runs one phase to its end. A task that fails is no error but a [Result]; an error means that it could not be
// started. When ctx ends, the phase is cancelled as by a person.
func (s *Step) Run(ctx context.Context, p Phase) (Result, error) {
	run, err := s.Start(p)
	if err != nil {
		return Result{}, err
	}
	select {
	case <-run.done:
		return run.Wait(), nil
	case <-ctx.Done():
		return run.Cancel(), nil
	}
}

// RunAll runs the step as a job does in which it is the only one: Main follows when Pre did not fail, and Post always.
// The results are those of the phases that ran.
func (s *Step) RunAll(ctx context.Context) (map[Phase]Result, error) {
	results := map[Phase]Result{}
	for _, p := range []Phase{Pre, Main, Post} {
		if s.agent.def.target(p) == "" || p == Main && results[Pre].Failed() {
			continue
		}
		if p == Post {
			ctx = context.WithoutCancel(ctx)
		}
		r, err := s.Run(ctx, p)
		if err != nil {
			return results, err
		}
		results[p] = r
	}
	return results, nil
}

// environ is the whole environment of the task's process. The order decides who wins, as in Handler.cs since July 2026:
// variables first, and inputs, connections and secure files over them. The caller holds agent.mu.
func (s *Step) environ(path string) []string {
	a := s.agent
	env := map[string]string{"PATH": path, "HOME": a.Home}
	maps.Copy(env, a.options.Env)
	env["TF_BUILD"] = "True"
	env["VSTS_PROCESS_LOOKUP_ID"] = a.lookup
	s.addVariables(env)
	for name, value := range s.env {
		env[name] = a.expand(value)
	}
	used := map[string]bool{}
	for _, in := range a.def.Inputs {
		value := a.expand(s.inputs[in.Name])
		if in.Type == "filePath" {
			value = a.rooted(value)
		}
		env["INPUT_"+envName(in.Name)] = value
		if in.Type == "secureFile" || strings.HasPrefix(in.Type, "connectedService:") {
			for id := range strings.SplitSeq(value, ",") {
				used[id] = true
			}
		}
	}
	for _, c := range a.connections {
		if used[c.ID] {
			addConnection(env, strings.ToLower(c.ID), c)
		}
	}
	addConnection(env, "SYSTEMVSSCONNECTION", Connection{
		URL: a.options.Collection, Scheme: "OAuth", Parameters: map[string]string{"AccessToken": a.options.AccessToken},
	})
	for _, f := range a.files {
		if used[f.ID] {
			env["SECUREFILE_NAME_"+f.ID] = f.Name
			env["SECUREFILE_TICKET_"+f.ID] = f.Ticket
		}
	}
	for _, v := range s.private {
		env["VSTS_TASKVARIABLE_"+envName(v.name)] = v.value
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

func (s *Step) addVariables(env map[string]string) {
	public, secret := []string{}, []string{}
	for _, key := range slices.Sorted(maps.Keys(s.agent.variables)) {
		v := s.agent.variables[key]
		if v.secret {
			env["SECRET_"+envName(v.name)] = v.value
			secret = append(secret, v.name)
			continue
		}
		if strings.EqualFold(v.name, "agent.jobstatus") {
			env["agent.jobstatus"] = v.value
		}
		env[envName(v.name)] = v.value
		public = append(public, v.name)
	}
	env["VSTS_PUBLIC_VARIABLES"] = jsonText(public)
	env["VSTS_SECRET_VARIABLES"] = jsonText(secret)
}

// addConnection writes a connection as Handler.cs does. The system's own connection has no data.
func addConnection(env map[string]string, id string, c Connection) {
	env["ENDPOINT_URL_"+id] = c.URL
	env["ENDPOINT_AUTH_"+id] = jsonText(map[string]any{"parameters": c.Parameters, "scheme": c.Scheme})
	env["ENDPOINT_AUTH_SCHEME_"+id] = c.Scheme
	for name, value := range c.Parameters {
		env["ENDPOINT_AUTH_PARAMETER_"+id+"_"+envName(name)] = value
	}
	if c.ID == "" {
		return
	}
	env["ENDPOINT_DATA_"+id] = jsonText(c.Data)
	for name, value := range c.Data {
		env["ENDPOINT_DATA_"+id+"_"+envName(name)] = value
	}
}

// envName is VarUtil.ConvertToEnvVariableFormat.
func envName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '.' || r == ' ' {
			return '_'
		}
		return unicode.ToUpper(r)
	}, name)
}

// rooted is TaskRunner.cs, TranslateFilePathInput: paths stand in the checkout, or in a release with the artifacts.
func (a *Agent) rooted(value string) string {
	root := a.Sources
	if a.options.HostType == "release" {
		root = a.variables["SYSTEM.ARTIFACTSDIRECTORY"].value
	}
	if filepath.IsAbs(value) {
		return value
	}
	return filepath.Join(root, value)
}

// expand fills $(name) from the job's variables and leaves what it does not know (VarUtil.ExpandValues). What is filled
// in is not looked at again.
func (a *Agent) expand(value string) string {
	var out strings.Builder
	for {
		start := strings.Index(value, "$(")
		if start < 0 {
			break
		}
		end := strings.IndexByte(value[start:], ')')
		if end < 0 {
			break
		}
		v, ok := a.variables[strings.ToUpper(value[start+2:start+end])]
		if !ok {
			out.WriteString(value[:start+1]) // the rest may hold a known one: $($(name))
			value = value[start+1:]
			continue
		}
		out.WriteString(value[:start])
		out.WriteString(v.value)
		value = value[start+end+1:]
	}
	return out.String() + value
}
