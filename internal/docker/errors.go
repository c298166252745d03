package docker

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxErrorText bounds every foreign text an error carries, in bytes.
const maxErrorText = 4096

// NotRunning says that nothing answers at Host: no socket or pipe, connection
// refused, name unknown, or no answer in time.
type NotRunning struct {
	Host string
	Err  error
}

func (e *NotRunning) Error() string { return fmt.Sprintf("no docker engine at %s: %v", e.Host, e.Err) }
func (e *NotRunning) Unwrap() error { return e.Err }

// NotPermitted says that the Engine's socket or pipe is there and this user
// may not open it.
type NotPermitted struct {
	Host string
	Err  error
}

func (e *NotPermitted) Error() string {
	return fmt.Sprintf("not permitted to open %s: %v", e.Host, e.Err)
}
func (e *NotPermitted) Unwrap() error { return e.Err }

// BadHost says that an Engine address cannot be one.
type BadHost struct {
	Host   string
	Reason string
}

func (e *BadHost) Error() string { return fmt.Sprintf("bad engine address %q: %s", e.Host, e.Reason) }

// BadTLS says that the certificates for the Engine cannot be used, or that
// the Engine's certificate does not verify, or that the Engine refused ours.
type BadTLS struct {
	Host string
	Err  error
}

func (e *BadTLS) Error() string { return fmt.Sprintf("tls with the engine at %s: %v", e.Host, e.Err) }
func (e *BadTLS) Unwrap() error { return e.Err }

// NotAnEngine says that something answers at Host, but not as an Engine does.
type NotAnEngine struct {
	Host string
	Err  error
}

func (e *NotAnEngine) Error() string {
	return fmt.Sprintf("%s does not answer as a docker engine: %v", e.Host, e.Err)
}
func (e *NotAnEngine) Unwrap() error { return e.Err }

// WrongAPIVersion says that the Engine refused the version of its API. With
// Fixed the version came from Options.APIVersion; without, this program and
// the Engine have none in common.
type WrongAPIVersion struct {
	Asked string // the version used, or the text that is no version
	Limit string // the Engine's highest (TooNew) or lowest version; "" when it did not say
	// TooNew: Asked is above Limit. Otherwise it is below, or no version at all.
	TooNew bool
	Fixed  bool
}

func (e *WrongAPIVersion) Error() string {
	switch {
	case e.Limit == "":
		return fmt.Sprintf("bad engine api version %q", e.Asked)
	case e.TooNew:
		return fmt.Sprintf("engine api version %s is too new, the engine's highest is %s", e.Asked, e.Limit)
	default:
		return fmt.Sprintf("engine api version %s is too old, the engine's lowest is %s", e.Asked, e.Limit)
	}
}

// Unsupported says that this Engine would drop or refuse a wish of the
// build. It is found before the build starts, because an Engine with the
// graphdriver store ignores some wishes without a word.
type Unsupported struct {
	Feature string // the wish, in the words of docker build's flags: "--platform with several platforms"
	Why     string // "graphdriver store", "classic builder"
}

func (e *Unsupported) Error() string { return fmt.Sprintf("%s is not supported: %s", e.Feature, e.Why) }

// BadName says that an image name cannot be given to the Engine.
type BadName struct {
	Name   string
	Reason string
}

func (e *BadName) Error() string { return fmt.Sprintf("bad image name %q: %s", e.Name, e.Reason) }

// NoImage says that the Engine does not hold the image.
type NoImage struct{ Name string }

func (e *NoImage) Error() string { return fmt.Sprintf("the engine has no image %s", e.Name) }

// NoDockerfile says that nothing below Root matches Pattern, or that the file
// Pattern names is not there.
type NoDockerfile struct {
	Pattern string
	Root    string
}

func (e *NoDockerfile) Error() string {
	return fmt.Sprintf("no dockerfile matches %q below %s", e.Pattern, e.Root)
}

// NotAFile says that what should be a Dockerfile is a folder, a socket or
// another thing that holds no text.
type NotAFile struct{ Path string }

func (e *NotAFile) Error() string { return fmt.Sprintf("%s is not a regular file", e.Path) }

// Unreadable says that a file or folder is there and cannot be read.
type Unreadable struct {
	Path string
	Err  error
}

func (e *Unreadable) Error() string { return fmt.Sprintf("cannot read %s: %v", e.Path, e.Err) }
func (e *Unreadable) Unwrap() error { return e.Err }

// BadPattern says that a Dockerfile pattern cannot be understood.
type BadPattern struct {
	Pattern string
	Reason  string
}

func (e *BadPattern) Error() string { return fmt.Sprintf("bad pattern %q: %s", e.Pattern, e.Reason) }

// NoContext says that the build context is not there, or is not a folder.
type NoContext struct {
	Path         string
	NotDirectory bool // it is there, and is something else
}

func (e *NoContext) Error() string {
	if e.NotDirectory {
		return fmt.Sprintf("build context %s is not a directory", e.Path)
	}
	return fmt.Sprintf("no build context %s", e.Path)
}

// BuildError says that a build failed in one of its steps.
type BuildError struct {
	// Step is the instruction as the Dockerfile shows it ("RUN make test"), or
	// BuildKit's name of a step of its own ("load metadata for docker.io/…").
	// Empty when the failure belongs to no step.
	Step string
	// Position is where the step stands: "2/5", "build 2/5", "internal", or "".
	Position string
	// ExitCode is the command's, for a RUN that failed; otherwise 0.
	ExitCode int
	// Tail is the end of the step's output, at most 40 lines of at most 1000 bytes.
	Tail []string
	// File and Line say where the step stands; "" and 0 when BuildKit did not say.
	File string
	Line int
	// Registry is why a base image could not be had; ReasonNone for every other failure.
	Registry Reason
	// Cause is BuildKit's own error; its text is foreign.
	Cause error
}

func (e *BuildError) Error() string {
	if e.Step == "" {
		return "build failed: " + clip(e.Cause.Error(), maxErrorText)
	}
	return fmt.Sprintf("build failed at %s: %s", e.Step, clip(e.Cause.Error(), maxErrorText))
}
func (e *BuildError) Unwrap() error { return e.Cause }

// DockerfileError says that the Dockerfile cannot be parsed or does not make a
// build.
type DockerfileError struct {
	File string // as given in Build.Dockerfile
	Line int    // from 1; 0 when not said
	Text string // BuildKit's words
	// HereDocument: the Engine's own Dockerfile frontend is older than BuildKit
	// 0.10 (Engine before 23.0) and knows no here-documents, the Dockerfile
	// uses one before Line, and has no "# syntax=" line that would bring a
	// newer frontend.
	HereDocument bool
}

func (e *DockerfileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("dockerfile %s: %s", e.File, e.Text)
	}
	return fmt.Sprintf("dockerfile %s line %d: %s", e.File, e.Line, e.Text)
}

// clip shortens s to at most n bytes without cutting a character.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[:n]
	for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	if len(s) > 0 && s[len(s)-1] >= utf8.RuneSelf {
		s = s[:len(s)-1]
	}
	return s + "…"
}

// oneLine makes a foreign text fit on one line of at most n bytes.
func oneLine(s string, n int) string {
	return clip(strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return r < ' ' || r == 0x7f || r == ' '
	}), " "), n)
}
