package agenttest

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
)

// definition is what the agent uses of task.json.
type definition struct {
	ID, Name string
	Version  struct{ Major, Minor, Patch int }
	Inputs   []struct {
		Name, Type   string
		DefaultValue any
	}
	OutputVariables []struct{ Name string }
	Restrictions    struct {
		Commands struct {
			Mode string
		}
		SettableVariables *struct{ Allowed []string }
	}
	PrejobExecution, Execution, PostjobExecution map[string]struct{ Target string }
}

func readDefinition(path string) (definition, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return definition{}, err
	}
	var d definition
	if err := json.Unmarshal(data, &d); err != nil {
		return definition{}, fmt.Errorf("%s: %w", path, err)
	}
	return d, nil
}

// target is the script of a phase: that of the newest Node handler, as the agent prefers it; "" when the task has no
// such phase.
func (d definition) target(p Phase) string {
	handlers := map[Phase]map[string]struct{ Target string }{Pre: d.PrejobExecution, Main: d.Execution, Post: d.PostjobExecution}[p]
	for _, name := range []string{"Node24", "Node20_1"} {
		if h, ok := handlers[name]; ok {
			return h.Target
		}
	}
	return ""
}

// isOutput says whether a variable becomes an output variable without being told to (ExecutionContext.cs, SetVariable).
func (d definition) isOutput(name string) bool {
	for _, out := range d.OutputVariables {
		if out.Name == name {
			return true
		}
	}
	return false
}

// maySet is TaskRestrictionsExtension.cs, IsSetVariableAllowed: patterns, ignoring case; no list allows everything.
func (d definition) maySet(name string) bool {
	if d.Restrictions.SettableVariables == nil {
		return true
	}
	for _, pattern := range d.Restrictions.SettableVariables.Allowed {
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(name)); err == nil && ok {
			return true
		}
	}
	return false
}

func jsonText(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // maps and lists of strings always marshal
	}
	return string(data)
}
