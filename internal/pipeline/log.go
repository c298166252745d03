package pipeline

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"contenttrust/internal/secret"
)

// Log writes what a step says, in the lines the agent understands. It is the
// only thing that may write to standard output: every line goes out in one
// Write, without secrets and without any command that is not the Log's own.
// Text of several lines becomes several lines. It is safe for concurrent use.
//
// A failure of the writer below is kept for [Log.Err]; a step must not fail
// because nobody reads its log.
type Log struct {
	mask *secret.Mask

	mu  sync.Mutex // guards w and err; held for the lines of one call
	w   io.Writer
	err error
}

// NewLog gives a Log that writes to w and hides what m knows. A nil m is a mask
// of the Log's own, which knows what is given to [Log.Secret].
func NewLog(w io.Writer, m *secret.Mask) *Log {
	if m == nil {
		m = secret.NewMask()
	}
	return &Log{mask: m, w: w}
}

// Err gives the first failure of the writer below.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Line writes text as it is, made safe.
func (l *Log) Line(text string) { l.prefixed("", text) }

// Linef is Line with fmt.Sprintf.
func (l *Log) Linef(format string, args ...any) { l.Line(fmt.Sprintf(format, args...)) }

// Section writes a heading: ##[section]title.
func (l *Log) Section(title string) { l.prefixed("##[section]", title) }

// Group begins lines that the log viewer folds away: ##[group]title.
func (l *Log) Group(title string) { l.prefixed("##[group]", title) }

// EndGroup ends the group: ##[endgroup].
func (l *Log) EndGroup() { l.write("##[endgroup]") }

// CommandLine shows what is done, as a command line one could type:
// ##[command]text. The agent runs nothing of it.
func (l *Log) CommandLine(text string) { l.prefixed("##[command]", text) }

// Debug writes text that is shown only when system.debug is set:
// ##vso[task.debug]text, one for each line.
func (l *Log) Debug(text string) {
	var lines []string
	for line := range strings.SplitSeq(l.safe(text), "\n") {
		lines = append(lines, Command{Name: "task.debug", Data: line}.String())
	}
	l.write(lines...)
}

// Issue is a warning or an error of the step, shown on the run's page.
type Issue struct {
	Text         string // may have several lines
	Code         string // stable, "" for none
	File         string // the source it is about, "" for none
	Line, Column int    // from 1; 0 for none
}

// Warn records a warning: ##vso[task.logissue type=warning;…]text.
func (l *Log) Warn(issue Issue) { l.issue("warning", issue) }

// Error records an error: ##vso[task.logissue type=error;…]text. It does not
// fail the step; [Log.Complete] does.
func (l *Log) Error(issue Issue) { l.issue("error", issue) }

func (l *Log) issue(kind string, issue Issue) {
	properties := []Property{{"type", kind}}
	for _, p := range []Property{
		{"code", l.safe(issue.Code)},
		{"sourcepath", l.safe(issue.File)},
		{"linenumber", position(issue.Line)},
		{"columnnumber", position(issue.Column)},
	} {
		if p.Value != "" {
			properties = append(properties, p)
		}
	}
	l.command(Command{"task.logissue", properties, l.safe(issue.Text)})
}

func position(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// Progress shows how far the step is: ##vso[task.setprogress value=…;]text.
// percent is brought into 0…100.
func (l *Log) Progress(percent int, text string) {
	percent = max(0, min(100, percent))
	l.command(Command{"task.setprogress", []Property{{"value", strconv.Itoa(percent)}}, l.safe(text)})
}

// HiddenValueError refuses a value that contains a registered secret. The agent
// would act on the text, so neither the secret nor text with a hole in it may
// be given.
type HiddenValueError struct {
	Command string // "task.setvariable", …
	Name    string // of the variable; "" where there is none
}

func (e *HiddenValueError) Error() string {
	return strings.TrimRight(e.Command+" "+e.Name, " ") + ": the value contains a secret"
}

// SetVariable sets a pipeline variable for later steps:
// ##vso[task.setvariable variable=name;]value. The value is public. The only
// error is *[HiddenValueError], and then nothing is set.
func (l *Log) SetVariable(name, value string) error {
	return l.set("task.setvariable", []Property{{"variable", name}}, name, value)
}

// SetOutput sets an output variable under its plain name. The name has to be
// listed in outputVariables of task.json; isoutput=true is left out because the
// plain name would then not be set. Errors are those of SetVariable.
func (l *Log) SetOutput(name, value string) error { return l.SetVariable(name, value) }

// SetTaskVariable sets a variable for the later phases of this step, read by
// [TaskVariable]: ##vso[task.settaskvariable variable=name;]value. Errors are
// those of SetVariable.
func (l *Log) SetTaskVariable(name, value string) error {
	return l.set("task.settaskvariable", []Property{{"variable", name}}, name, value)
}

// UploadSummary shows a Markdown file on the run's page:
// ##vso[task.uploadsummary]path. The path is absolute; the agent fails the step
// when it cannot read the file. Errors are those of SetVariable.
func (l *Log) UploadSummary(path string) error { return l.set("task.uploadsummary", nil, "", path) }

// set writes a command whose data the agent takes literally.
func (l *Log) set(command string, properties []Property, name, data string) error {
	if l.mask.Hide(data) != data {
		return &HiddenValueError{Command: command, Name: name}
	}
	l.command(Command{command, properties, data})
	return nil
}

// Result is how a step ends. The agent is strict about its case.
type Result string

// The results of [Log.Complete]; of several the agent keeps the worst.
const (
	Succeeded           Result = "Succeeded"
	SucceededWithIssues Result = "SucceededWithIssues"
	Failed              Result = "Failed"
	Canceled            Result = "Canceled"
	Skipped             Result = "Skipped"
)

// Complete says how the step ended: ##vso[task.complete result=…;]text.
func (l *Log) Complete(result Result, text string) {
	l.command(Command{"task.complete", []Property{{"result", string(result)}}, l.safe(text)})
}

// Secret makes the Log and the agent hide v: each of secret.Forms is given to the
// agent by ##vso[task.setsecret]…, except those of several lines, since the
// agent hides line by line. A value under 4 bytes is hidden by nobody; then
// tooShort is true and the caller should warn.
func (l *Log) Secret(v secret.Value) (tooShort bool) {
	if tooShort = l.mask.Add(v); tooShort {
		return true
	}
	var lines []string
	for _, form := range secret.Forms(v) {
		if !strings.ContainsAny(form, "\r\n") {
			lines = append(lines, Command{Name: "task.setsecret", Data: form}.String())
		}
	}
	l.write(lines...) // the one thing that is written with its secret in it
	return false
}

func (l *Log) command(c Command) { l.write(c.String()) }

// prefixed writes text line by line, each after the prefix.
func (l *Log) prefixed(prefix, text string) {
	var lines []string
	for line := range strings.SplitSeq(l.safe(text), "\n") {
		lines = append(lines, prefix+line)
	}
	l.write(lines...)
}

// safe hides secrets and neutralises. It hides before, for secrets that contain
// what neutralising removes, and after, for those it uncovers.
func (l *Log) safe(text string) string {
	return l.mask.Hide(Neutralise(l.mask.Hide(text)))
}

// write writes lines, together, that are safe already.
func (l *Log) write(lines ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range lines {
		if _, err := io.WriteString(l.w, line+"\n"); err != nil && l.err == nil {
			l.err = err
		}
	}
}
