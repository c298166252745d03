package agenttest

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Command is a logging command as the agent understood it.
type Command struct {
	Name       string            // "task.setvariable", in lower case
	Properties map[string]string // names in lower case, values decoded
	Data       string            // decoded
}

// parseCommand is Command.cs, TryParse, and CommandStringConvertor.cs, Unescape: the prefix counts anywhere in the line.
func parseCommand(line string) (Command, bool) {
	const prefix = "##vso["
	start := strings.Index(line, prefix)
	if start < 0 {
		return Command{}, false
	}
	info, data, found := strings.Cut(line[start+len(prefix):], "]")
	if !found {
		return Command{}, false
	}
	name, properties, _ := strings.Cut(info, " ")
	parts := slices.DeleteFunc(strings.Split(name, "."), func(s string) bool { return s == "" })
	if len(parts) != 2 {
		return Command{}, false
	}
	c := Command{Name: strings.ToLower(strings.Join(parts, ".")), Properties: map[string]string{}, Data: decode(data)}
	for property := range strings.SplitSeq(properties, ";") {
		key, value, found := strings.Cut(property, "=")
		if found && key != "" && value != "" {
			c.Properties[strings.ToLower(key)] = decode(value)
		}
	}
	return c, true
}

var decodeSteps = []struct{ from, to string }{{"%3B", ";"}, {"%0D", "\r"}, {"%0A", "\n"}, {"%5D", "]"}, {"%AZP25", "%"}}

func decode(s string) string {
	for _, step := range decodeSteps {
		s = strings.ReplaceAll(s, step.from, step.to)
	}
	return s
}

// Outcome is the result of a phase, in the agent's words.
type Outcome string

// The outcomes from best to worst; a worse one replaces a better one and never the other way round.
const (
	Succeeded           Outcome = "Succeeded"
	SucceededWithIssues Outcome = "SucceededWithIssues"
	Failed              Outcome = "Failed"
	Canceled            Outcome = "Canceled"
	Skipped             Outcome = "Skipped"
)

var outcomes = []Outcome{Succeeded, SucceededWithIssues, Failed, Canceled, Skipped}

// Issue is an error or a warning on the page of the run.
type Issue struct {
	Type string // error or warning
	Code string
	Text string
	File string
	Line string
}

// Variable is a variable that the task set, or tried to.
type Variable struct {
	Name, Value string
	Secret      bool
}

// obey does what a command says. An error means that the agent could not, which fails the step. The caller holds
// agent.mu.
func (r *Run) obey(c Command) error {
	switch c.Name {
	case "task.setvariable":
		return r.setVariable(c)
	case "task.settaskvariable":
		return r.setTaskVariable(c)
	case "task.setsecret":
		r.step.agent.mask.add(c.Data)
	case "task.logissue", "task.issue":
		return r.issue(c)
	case "task.complete":
		result := Outcome(c.Properties["result"])
		if !slices.Contains(outcomes, result) {
			return fmt.Errorf("%q is no result", result)
		}
		r.worsen(result)
		r.result.Completed = append(r.result.Completed, c.Data)
	case "task.setprogress":
		percent, _ := strconv.Atoi(c.Properties["value"])
		r.result.Progress = max(r.result.Progress, min(percent, 100))
	case "task.uploadsummary":
		return r.summary(c.Data)
	case "task.debug":
		if r.step.agent.options.Debug {
			r.show("##[debug]" + c.Data)
		}
	case "task.prependpath":
		if !r.step.agent.def.maySet("path") {
			r.refuse(Variable{Name: "path", Value: c.Data})
		}
	case "task.addattachment", "task.uploadfile", "task.logdetail", "task.setendpoint", "telemetry.publish":
	default:
		r.result.Unknown = append(r.result.Unknown, c)
		if strings.HasPrefix(c.Name, "task.") { // in other areas the agent only warns
			return fmt.Errorf("%s is no command", c.Name)
		}
	}
	return nil
}

func (r *Run) setVariable(c Command) error {
	v, err := r.variable(c)
	if err != nil {
		return err
	}
	if !r.step.agent.def.maySet(v.Name) {
		r.refuse(v)
		return nil
	}
	full := v.Name
	if strings.EqualFold(c.Properties["isoutput"], "true") || r.step.agent.def.isOutput(v.Name) {
		full = r.step.name + "." + v.Name // and not the plain name
		r.result.OutputVariables[v.Name] = v.Value
	} else {
		r.result.Variables[v.Name] = v.Value
	}
	r.step.agent.variables[strings.ToUpper(full)] = variable{full, v.Value, v.Secret}
	return nil
}

func (r *Run) setTaskVariable(c Command) error {
	v, err := r.variable(c)
	if err == nil {
		r.step.private[strings.ToUpper(v.Name)] = variable{v.Name, v.Value, v.Secret}
	}
	return err
}

// variable reads what both kinds of variables share. Secrets of several lines are an error, since no line of the log
// would ever match them.
func (r *Run) variable(c Command) (Variable, error) {
	v := Variable{Name: c.Properties["variable"], Value: c.Data, Secret: strings.EqualFold(c.Properties["issecret"], "true")}
	switch {
	case v.Name == "":
		return v, fmt.Errorf("%s names no variable", c.Name)
	case v.Secret && strings.Contains(v.Value, "\n"):
		return v, fmt.Errorf("the secret variable %s has several lines", v.Name)
	case v.Secret:
		r.step.agent.mask.add(v.Value)
	}
	return v, nil
}

func (r *Run) refuse(v Variable) {
	r.result.Refused = append(r.result.Refused, v)
	r.show("##[warning]'" + v.Name + "' is not on the list of variables that this task may set")
}

// mostIssues of each kind are shown on the page of a run; the agent drops the rest.
const mostIssues = 10

func (r *Run) issue(c Command) error {
	i := Issue{
		Type: strings.ToLower(c.Properties["type"]), Code: c.Properties["code"], Text: c.Data,
		File: c.Properties["sourcepath"], Line: c.Properties["linenumber"],
	}
	if i.Type != "error" && i.Type != "warning" {
		return fmt.Errorf("%q is no type of issue", i.Type)
	}
	r.show("##[" + i.Type + "]" + i.Text)
	same := 0
	for _, have := range r.result.Issues {
		if have.Type == i.Type {
			same++
		}
	}
	if same < mostIssues {
		i.Text = r.step.agent.mask.hide(i.Text)
		r.result.Issues = append(r.result.Issues, i)
	}
	return nil
}

// summary reads the file now, as the agent does: what happens to it later has no effect.
func (r *Run) summary(path string) error {
	if path == "" || !filepath.IsAbs(path) {
		return fmt.Errorf("%q is no path of a summary", path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	r.result.Summary += r.step.agent.mask.hide(string(data))
	return nil
}

// worsen is TaskResultUtil.MergeTaskResults.
func (r *Run) worsen(o Outcome) {
	if cmp.Compare(slices.Index(outcomes, o), slices.Index(outcomes, r.result.Result)) > 0 {
		r.result.Result = o
	}
}
