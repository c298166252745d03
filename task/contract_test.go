package task

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// update rewrites the generated pages of docs/ instead of comparing them.
var update = flag.Bool("update", false, "rewrite the generated pages")

// manifest is the part of task.json that code must agree with.
type manifest struct {
	Groups []struct{ Name, DisplayName string }
	Inputs []struct {
		Name, Type, Label, DefaultValue, HelpMarkDown, VisibleRule, GroupName string
		Required                                                              bool
		Options                                                               map[string]string
	}
	OutputVariables []struct{ Name, Description string }
	Restrictions    struct {
		SettableVariables struct{ Allowed []string }
	}
}

func readManifest(t *testing.T) manifest {
	t.Helper()
	data, err := os.ReadFile("../task.json")
	if err != nil {
		t.Fatal(err)
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEveryInputOfTaskJSONIsReadAndNoOther(t *testing.T) {
	t.Parallel()
	var declared, read []string
	for _, input := range readManifest(t).Inputs {
		declared = append(declared, "INPUT_"+strings.ToUpper(input.Name))
	}
	for field := range reflect.TypeFor[Inputs]().Fields() {
		if name := field.Tag.Get("env"); strings.HasPrefix(name, "INPUT_") {
			read = append(read, name)
		}
	}
	slices.Sort(declared)
	slices.Sort(read)
	if diff := cmp.Diff(declared, read); diff != "" {
		t.Errorf("task.json (-) and Inputs (+) disagree:\n%s", diff)
	}
}

func TestThePickListOffersWhatWorks(t *testing.T) {
	t.Parallel()
	for _, input := range readManifest(t).Inputs {
		if input.Name != "command" {
			continue
		}
		if diff := cmp.Diff(slices.Sorted(slices.Values(commands())), slices.Sorted(maps.Keys(input.Options))); diff != "" {
			t.Errorf("code (-) and pick list (+) disagree:\n%s", diff)
		}
		return
	}
	t.Error("task.json has no input command")
}

func TestDefaultsOfTaskJSONMakeAPlan(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"INPUT_CONTAINERREGISTRY": "c", "INPUT_REPOSITORY": "team/app", "INPUT_DELEGATIONKEY": "k",
	}
	for _, input := range readManifest(t).Inputs {
		name := "INPUT_" + strings.ToUpper(input.Name)
		if _, given := env[name]; !given {
			env[name] = strings.ReplaceAll(input.DefaultValue, "$(Build.BuildId)", "17")
		}
	}
	in, err := ReadInputs(t.Context(), environment(env))
	if err != nil {
		t.Fatal(err)
	}
	p, err := in.Plan(false)
	if err != nil {
		t.Fatal(err)
	}
	want := Plan{
		Command: "buildAndPush", Connection: "c", Name: "team/app", Tags: []string{"17"}, Dockerfile: "**/Dockerfile", BuildContext: "**",
		AddPipelineData: true, AddBaseImageData: true, Sign: true, KeyFile: "k",
	}
	if diff := cmp.Diff(want, p, cmp.Comparer(equalSecrets)); diff != "" {
		t.Errorf("the plan of the defaults (-want +got):\n%s", diff)
	}
}

func TestEveryOutputMayBeSet(t *testing.T) {
	t.Parallel()
	m := readManifest(t)
	for _, output := range m.OutputVariables {
		if !slices.Contains(m.Restrictions.SettableVariables.Allowed, output.Name) {
			t.Errorf("%s is an output, and the restrictions forbid to set it", output.Name)
		}
	}
}

func TestInputsPageIsGenerated(t *testing.T) {
	t.Parallel()
	comparePage(t, "../docs/inputs.md", inputsPage(readManifest(t)))
}

func TestErrorsPageIsGenerated(t *testing.T) {
	t.Parallel()
	comparePage(t, "../docs/errors.md", errorsPage())
}

func comparePage(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is not what make generate makes (-generated +file):\n%s", path, diff)
	}
}

func inputsPage(m manifest) string {
	var b strings.Builder
	b.WriteString("# Inputs and outputs of `ContentTrust@1`\n\nGenerated from `task.json` by `make generate`.\n\n")
	for _, group := range m.Groups {
		fmt.Fprintf(&b, "## %s\n\n", group.DisplayName)
		for _, input := range m.Inputs {
			if input.GroupName != group.Name {
				continue
			}
			fmt.Fprintf(&b, "### `%s`\n\n%s", input.Name, input.Type)
			if input.Required {
				b.WriteString(", required")
			}
			if input.DefaultValue != "" {
				fmt.Fprintf(&b, ", default `%s`", input.DefaultValue)
			}
			if input.VisibleRule != "" {
				fmt.Fprintf(&b, ", used when `%s`", input.VisibleRule)
			}
			fmt.Fprintf(&b, "\n\n%s\n\n", input.HelpMarkDown)
		}
	}
	b.WriteString("## Outputs\n\nSet by a run that proved what it did, and by no other.\n\n| variable | meaning |\n|---|---|\n")
	for _, output := range m.OutputVariables {
		fmt.Fprintf(&b, "| `%s` | %s |\n", output.Name, output.Description)
	}
	return b.String()
}

func errorsPage() string {
	var b strings.Builder
	b.WriteString("# Error codes\n\nGenerated from `task/codes.go` by `make generate`. A log line ends with its code; the text there names your\nrepository, key and server, this page says what the code means in general. Codes stay the same from version to version.\n")
	for _, group := range catalogue() {
		fmt.Fprintf(&b, "\n## %s\n\n| code | what happened | what to do |\n|---|---|---|\n", group.title)
		for _, e := range group.entries {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", e.code, e.what, e.do)
		}
	}
	return b.String()
}
