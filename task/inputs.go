package task

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"contenttrust/internal/pipeline"
	"contenttrust/internal/secret"
)

// Inputs are the inputs of task.json as the agent hands them over, one field an input. A test compares the two, both
// ways, so that neither can name what the other does not know.
//
// Booleans and lists stay text here: a wrong one is a fault to be reported together with the others, by [Inputs.Plan].
type Inputs struct {
	Command                 string       `env:"INPUT_COMMAND"`
	ContainerRegistry       string       `env:"INPUT_CONTAINERREGISTRY"`
	Repository              string       `env:"INPUT_REPOSITORY"`
	Tags                    string       `env:"INPUT_TAGS"`
	Dockerfile              string       `env:"INPUT_DOCKERFILE"`
	BuildContext            string       `env:"INPUT_BUILDCONTEXT"`
	Arguments               string       `env:"INPUT_ARGUMENTS"`
	AddPipelineData         string       `env:"INPUT_ADDPIPELINEDATA"`
	AddBaseImageData        string       `env:"INPUT_ADDBASEIMAGEDATA"`
	Images                  string       `env:"INPUT_IMAGES"`
	Sign                    string       `env:"INPUT_SIGN"`
	DelegationKey           string       `env:"INPUT_DELEGATIONKEY"`
	DelegationKeyText       secret.Value `env:"INPUT_DELEGATIONKEYTEXT"`
	DelegationKeyPassphrase secret.Value `env:"INPUT_DELEGATIONKEYPASSPHRASE"`
	Signer                  string       `env:"INPUT_SIGNER"`
	TrustServer             string       `env:"INPUT_TRUSTSERVER"`
	RootKeys                string       `env:"INPUT_ROOTKEYS"`
	RequirePin              string       `env:"INPUT_REQUIREPIN"`
	RequiredSigners         string       `env:"INPUT_REQUIREDSIGNERS"`
	CAFile                  string       `env:"INPUT_CAFILE"`
	Builder                 string       `env:"INPUT_BUILDER"`

	// RepositoryPassphrase is the variable that docker reads for every key that is not a root key. Teams that come from
	// the documented recipe have it in their step's env already.
	RepositoryPassphrase secret.Value `env:"DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE"`
}

// ReadInputs reads the inputs from env. It fails only where the environment itself cannot be read; what the inputs say
// is judged by [Inputs.Plan].
func ReadInputs(ctx context.Context, env pipeline.Environment) (Inputs, error) {
	var in Inputs
	if err := env.Decode(ctx, &in); err != nil {
		return Inputs{}, fmt.Errorf("read the inputs: %w", err)
	}
	return in, nil
}

// passphrase is the step's own input, else docker's variable.
func (in Inputs) passphrase() secret.Value {
	if !in.DelegationKeyPassphrase.Empty() {
		return in.DelegationKeyPassphrase
	}
	return in.RepositoryPassphrase
}

// Fault is one thing that is wrong with one input.
type Fault struct {
	Input   string // the name in the YAML
	Problem string // what is wrong, in the reader's words
	Fix     string // the one thing to do
}

// InputError says everything that is wrong with the inputs, so that a step is mended in one go.
type InputError struct {
	Faults []Fault
}

// Error lists the faults, one after the other.
func (e *InputError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = fmt.Sprintf("%s: %s", f.Input, f.Problem)
	}
	return strings.Join(lines, "; ")
}

// faults collects what is wrong while the inputs are read.
type faults struct {
	list []Fault
	// lenient is set before the job's other steps have run: a variable that is not set yet is no fault then.
	lenient bool
}

func (f *faults) add(input, problem, fix string) {
	f.list = append(f.list, Fault{Input: input, Problem: problem, Fix: fix})
}

// macro is what the agent leaves in an input when the variable does not exist.
var macro = regexp.MustCompile(`\$\([A-Za-z_][A-Za-z0-9_. ]*\)`)

// expanded says whether value holds no $(variable) that the agent could not fill, and reports one that it does.
func (f *faults) expanded(input, value string) bool {
	name := macro.FindString(value)
	if name == "" {
		return true
	}
	if !f.lenient {
		f.add(input, "the variable "+name+" is not set, so the agent left it as it is",
			"define "+strings.Trim(name, "$()")+" (a secret variable or a variable group must be authorised for this pipeline), or correct its name")
	}
	return false
}

// boolean reads what the agent's own library reads, "true" in any case, and the words that people write beside it.
// The agent's library takes every other word for false; that would switch signing off by a typing error.
func (f *faults) boolean(input, value string, byDefault bool) bool {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "":
		return byDefault
	case "true", "yes", "on", "1":
		return true
	case "false", "no", "off", "0":
		return false
	}
	if f.expanded(input, value) {
		f.add(input, fmt.Sprintf("%q is neither true nor false", value), "write "+input+": true or "+input+": false")
	}
	return byDefault
}

// list splits as Docker@2 splits its tags: at line ends and commas, empty pieces dropped. Beyond Docker@2, blanks round a
// piece are dropped, since no tag, image or key can hold one, and a piece that stands twice counts once.
func list(value string) []string {
	var pieces []string
	for piece := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == '\n' || r == ',' }) {
		piece = strings.TrimSpace(piece)
		if piece != "" && !slices.Contains(pieces, piece) {
			pieces = append(pieces, piece)
		}
	}
	return pieces
}
