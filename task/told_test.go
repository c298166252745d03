package task

import (
	"slices"
	"strings"
	"testing"
)

// issue is an error or a warning of a log.
type issue struct{ Code, Text string }

// told is what an agent understood of a phase's output.
type told struct {
	err           error // what the phase returned
	output        string
	lines         []string // without the commands
	errors        []issue
	warnings      []issue
	result, final string // of task.complete
	completed     int    // how often
	variables     map[string]string
	taskVariables map[string]string
	summaries     []string // paths
	secrets       []string
}

// read reads a log as the agent does: a command counts anywhere in a line, and there must be none but ours.
func read(t *testing.T, output string) told {
	t.Helper()
	said := told{output: output, variables: map[string]string{}, taskVariables: map[string]string{}}
	for line := range strings.SplitSeq(strings.TrimSuffix(output, "\n"), "\n") {
		at := strings.Index(strings.ToLower(line), "##vso[")
		if at < 0 {
			said.lines = append(said.lines, line)
			continue
		}
		if at > 0 {
			t.Errorf("a command inside a line: %q", line)
		}
		said.command(t, line)
	}
	return said
}

var unescape = []string{"%3B", ";", "%0D", "\r", "%0A", "\n", "%5D", "]", "%AZP25", "%"}

func (said *told) command(t *testing.T, line string) {
	t.Helper()
	head, data, _ := strings.Cut(strings.TrimPrefix(line, "##vso["), "]")
	name, rest, _ := strings.Cut(head, " ")
	properties := map[string]string{}
	for pair := range strings.SplitSeq(rest, ";") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			properties[key] = decode(value)
		}
	}
	data = decode(data)
	switch name {
	case "task.setvariable":
		said.variables[properties["variable"]] = data
	case "task.settaskvariable":
		said.taskVariables[properties["variable"]] = data
	case "task.setsecret":
		said.secrets = append(said.secrets, data)
	case "task.uploadsummary":
		said.summaries = append(said.summaries, data)
	case "task.complete":
		said.result, said.final = properties["result"], data
		said.completed++
	case "task.logissue":
		if properties["type"] == "error" {
			said.errors = append(said.errors, issue{properties["code"], data})
			return
		}
		said.warnings = append(said.warnings, issue{properties["code"], data})
	case "task.setprogress", "task.debug":
	default:
		t.Errorf("an unknown command: %q", line)
	}
}

func decode(s string) string {
	for pair := range slices.Chunk(unescape, 2) {
		s = strings.ReplaceAll(s, pair[0], pair[1])
	}
	return s
}

// text is the log as a person sees it: the lines, the errors and the warnings.
func (said told) text() string {
	all := slices.Clone(said.lines)
	for _, i := range said.warnings {
		all = append(all, "warning "+i.Code+": "+i.Text)
	}
	for _, i := range said.errors {
		all = append(all, "error "+i.Code+": "+i.Text)
	}
	return strings.Join(all, "\n")
}

func codes(issues []issue) []string {
	found := []string{}
	for _, i := range issues {
		found = append(found, i.Code)
	}
	return found
}

// succeeded fails the test when the phase did not end well.
func (said told) succeeded(t *testing.T) {
	t.Helper()
	if said.err != nil || said.completed != 0 || len(said.errors) != 0 {
		t.Fatalf("the phase failed: %v\n%s", said.err, said.text())
	}
}

// failed fails the test when the phase did not end with exactly these errors.
func (said told) failed(t *testing.T, want ...string) {
	t.Helper()
	if said.err == nil || said.result != "Failed" || said.completed != 1 || !slices.Equal(codes(said.errors), want) {
		t.Errorf("ended with %q, error %v, codes %v; want Failed with %v:\n%s", said.result, said.err, codes(said.errors), want, said.text())
	}
	if len(said.variables) != 0 || len(said.summaries) != 0 {
		t.Errorf("a failed run has set variables: %v %v", said.variables, said.summaries)
	}
	for _, i := range said.errors {
		if !strings.HasSuffix(i.Text, " ("+i.Code+")") {
			t.Errorf("the text does not end with its code: %q", i.Text)
		}
	}
}

// says fails the test when a piece stands nowhere in what a person sees.
func (said told) says(t *testing.T, pieces ...string) {
	t.Helper()
	text := said.text()
	for _, piece := range pieces {
		if !strings.Contains(text, piece) {
			t.Errorf("nothing says %q:\n%s", piece, text)
		}
	}
}
