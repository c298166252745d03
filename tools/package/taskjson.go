package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	guid      = `^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`
	inputName = `^[A-Za-z][A-Za-z0-9]*$`
	digits    = `^\d+$`
)

// taskShape is what a task.json of ours may hold. It is stricter than the published schema where the schema is silent
// and an agent, a server or tfx is not: everything a task needs is required, every input says what it is for, and the
// only handlers are the two whose Node is not at the end of its life.
func taskShape() rule {
	handlers := object(fields{
		"Node20_1*": object(fields{"target*": text(`^[a-z]+\.js$`)}),
		"Node24*":   object(fields{"target*": text(`^[a-z]+\.js$`)}),
	})
	input := object(fields{
		"name*": text(inputName), "label*": text(""), "helpMarkDown*": text("(?s)Example: .+"), "required*": boolean,
		"type*": either(oneOf("boolean", "filePath", "multiLine", "pickList", "radio", "secureFile", "string", "int"),
			text(`^connectedService:.+$`)),
		"defaultValue": text(`^`), "groupName": text(""), "visibleRule": text(""),
		"aliases": list(text(inputName)), "options": dictionary(text("")),
		"properties": object(fields{"EditableOptions": oneOf("True", "False"), "resizable": boolean, "rows": text(digits)}),
	})
	return object(fields{
		"$schema*": text(`^https://.*/tasks\.schema\.json$`),
		"id*":      text(guid), "name*": text(`^[A-Za-z0-9\-]+$`), "friendlyName*": text(""), "description*": text(""),
		"helpUrl": text(`^https://`), "helpMarkDown*": text(""), "author*": text(""), "releaseNotes": text(""),
		"preview": boolean, "deprecated": boolean, "showEnvironmentVariables": boolean,
		"category*":           oneOf("Build", "Utility", "Test", "Package", "Deploy"),
		"visibility":          list(oneOf("Build", "Release")),
		"runsOn":              list(oneOf("Agent", "MachineGroup", "DeploymentGroup")),
		"demands":             list(text("")),
		"version*":            object(fields{"Major*": whole, "Minor*": whole, "Patch*": whole}),
		"minimumAgentVersion": text(`^\d+\.\d+(\.\d+)?$`),
		"instanceNameFormat*": text(""),
		"groups": list(object(fields{
			"name*": text(inputName), "displayName*": text(""), "isExpanded": boolean, "visibleRule": text(""),
		})),
		"inputs*":          list(input),
		"outputVariables*": list(object(fields{"name*": text(inputName), "description*": text("")})),
		"restrictions*": object(fields{
			"commands":          object(fields{"mode": oneOf("any", "restricted")}),
			"settableVariables": object(fields{"allowed*": list(text(""))}),
		}),
		"prejobexecution*": handlers, "execution*": handlers, "postjobexecution*": handlers,
		"messages": dictionary(text("")),
	})
}

// taskFile is what this program uses of task.json.
type taskFile struct {
	raw                []byte
	FriendlyName       string
	InstanceNameFormat string
	Version            struct{ Major, Minor, Patch int }
	Groups             []struct{ Name string }
	Inputs             []struct {
		Name, Type, GroupName, VisibleRule string
		DefaultValue                       *string
		Options                            map[string]string
	}
	OutputVariables []struct{ Name string }
	Restrictions    struct {
		SettableVariables struct{ Allowed []string }
	}
	PrejobExecution, Execution, PostjobExecution map[string]struct{ Target string }
}

// version is the one place that the version of everything comes from: the extension's must equal it, and the
// executables are told.
func (t *taskFile) version() string {
	return fmt.Sprintf("%d.%d.%d", t.Version.Major, t.Version.Minor, t.Version.Patch)
}

// scripts are the files that the handlers name, each once.
func (t *taskFile) scripts() []string {
	var names []string
	for _, phase := range []map[string]struct{ Target string }{t.PrejobExecution, t.Execution, t.PostjobExecution} {
		for _, handler := range phase {
			names = append(names, handler.Target)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// readTask reads and checks a task.json, and reports everything that is wrong with it at once.
func readTask(path string) (*taskFile, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := &taskFile{raw: data}
	if err := parse(path, data, taskShape(), t); err != nil {
		return nil, err
	}
	if problems := t.problems(); len(problems) > 0 {
		return nil, fmt.Errorf("%s:\n\t%s", path, strings.Join(problems, "\n\t"))
	}
	return t, nil
}

// parse checks data against the shape and, when nothing is wrong, decodes it.
func parse(path string, data []byte, shape rule, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: something follows the JSON", path)
	}
	var problems []string
	shape("$", tree, func(at, problem string) { problems = append(problems, at+" "+problem) })
	if len(problems) > 0 {
		return fmt.Errorf("%s:\n\t%s", path, strings.Join(problems, "\n\t"))
	}
	return json.Unmarshal(data, into)
}

// problems are the faults that lie between the parts of a task.json, which no schema sees.
func (t *taskFile) problems() []string {
	var found []string
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if n := utf8.RuneCountInString(t.FriendlyName); n > 40 {
		add("friendlyName has %d letters, 40 are allowed", n)
	}
	groups := map[string]bool{"": true}
	for _, g := range t.Groups {
		groups[g.Name] = true
	}
	inputs := map[string]bool{}
	for _, in := range t.Inputs {
		if key := strings.ToUpper(in.Name); inputs[key] {
			add("input %s: another input has this name (upper and lower case are the same to the agent)", in.Name)
		} else {
			inputs[key] = true
		}
	}
	for _, in := range t.Inputs {
		if !groups[in.GroupName] {
			add("input %s: there is no group %s", in.Name, in.GroupName)
		}
		t.checkRule(in.Name, in.VisibleRule, inputs, add)
		switch {
		case in.Type == "pickList" && len(in.Options) == 0:
			add("input %s: a pick list needs options", in.Name)
		case in.Type == "pickList" && in.DefaultValue != nil && in.Options[*in.DefaultValue] == "":
			add("input %s: its default %s is not among its options", in.Name, *in.DefaultValue)
		case in.Type == "boolean" && in.DefaultValue != nil && *in.DefaultValue != "true" && *in.DefaultValue != "false":
			add("input %s: its default %s is neither true nor false", in.Name, *in.DefaultValue)
		}
	}
	for _, m := range regexp.MustCompile(`\$\(([^)]*)\)`).FindAllStringSubmatch(t.InstanceNameFormat, -1) {
		if !inputs[strings.ToUpper(m[1])] {
			add("instanceNameFormat: there is no input %s", m[1])
		}
	}
	for _, out := range t.OutputVariables {
		if !slices.Contains(t.Restrictions.SettableVariables.Allowed, out.Name) {
			add("output variable %s: restrictions.settableVariables does not allow it", out.Name)
		}
	}
	return found
}

// checkRule checks a visibleRule: conditions on inputs that exist, joined by && or by || and never by both.
func (t *taskFile) checkRule(input, visible string, inputs map[string]bool, add func(format string, args ...any)) {
	if visible == "" {
		return
	}
	join := " || "
	if strings.Contains(visible, "&&") {
		join = " && "
	}
	condition := regexp.MustCompile(`^([A-Za-z][A-Za-z0-9]*) (?:=|!=) [^\s&|]+$`)
	for part := range strings.SplitSeq(visible, join) {
		m := condition.FindStringSubmatch(part)
		switch {
		case m == nil:
			add("input %s: visibleRule has %q, which is no condition", input, part)
		case !inputs[strings.ToUpper(m[1])]:
			add("input %s: visibleRule asks for %s, which is no input", input, m[1])
		}
	}
}
