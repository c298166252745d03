package task

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"contenttrust/internal/pipeline"
	"contenttrust/internal/registry"
	"contenttrust/internal/secret"
	"contenttrust/internal/trust"
)

// Plan is what a run is going to do, decided before anything is done. It is plain data: two equal plans do the same.
type Plan struct {
	Command    string
	Connection string // ID of the service connection
	// Name is the repository as the step names it, without its registry, in lower case as Docker@2 makes it. The
	// registry comes with the connection, which [Plan] does not read.
	Name string
	Tags []string // in the order of the input, each once

	Dockerfile       string // a path, or a pattern with * or ?
	BuildContext     string // a folder, or a path that ends in ** for the Dockerfile's own
	AddPipelineData  bool
	AddBaseImageData bool

	Sign          bool
	KeyFile       string // GUID of the secure file, or ""
	KeyText       secret.Value
	KeyPassphrase secret.Value
	// PassphraseLater: a step that has not run yet sets the passphrase. Only a lenient plan has it.
	PassphraseLater bool
	Signer          string // "" for whoever the key belongs to

	TrustServer string // "" for the registry's own host
	Pins        []trust.Pin
	RequirePin  bool
	CAFile      string
}

// commands are those that task.json offers, in its order; a test compares.
func commands() []string { return []string{"buildAndPush"} }

// laterCommands are in the contract and do not work yet.
func laterCommands() []string {
	return []string{"build", "push", "sign", "verify", "inspect", "revoke", "login", "logout"}
}

// mostTags bounds a step's tags: a list that long is a file pasted by mistake, and every tag is one request.
const mostTags = 500

// Plan decides what the step does, and reports everything that is wrong with the inputs in one [*InputError].
//
// lenient is for the pre phase, in which variables that later steps set are still missing: what depends on them is
// passed over, and judged in the main phase.
func (in Inputs) Plan(lenient bool) (Plan, error) {
	f := &faults{lenient: lenient}
	p := Plan{
		Connection:       in.ContainerRegistry,
		BuildContext:     in.BuildContext,
		Dockerfile:       in.Dockerfile,
		AddPipelineData:  f.boolean("addPipelineData", in.AddPipelineData, true),
		AddBaseImageData: f.boolean("addBaseImageData", in.AddBaseImageData, true),
		Sign:             f.boolean("sign", in.Sign, true),
		RequirePin:       f.boolean("requirePin", in.RequirePin, false),
		CAFile:           in.CAFile,
	}
	p.Command = in.command(f)
	p.Name = in.name(f)
	p.Tags = in.tags(f)
	in.build(f, &p)
	in.trust(f, &p)
	if p.Sign && !(lenient && macro.MatchString(in.Sign)) {
		in.key(f, &p)
	}
	if len(f.list) > 0 {
		return Plan{}, &InputError{Faults: f.list}
	}
	return p, nil
}

func (in Inputs) command(f *faults) string {
	command := strings.TrimSpace(in.Command)
	switch {
	case command == "":
		return "buildAndPush"
	case slices.Contains(commands(), command):
		return command
	case slices.Contains(laterCommands(), command):
		f.add("command", fmt.Sprintf("%s does not work yet in this version", command),
			"use "+strings.Join(commands(), ", ")+" for now; the change log says when "+command+" arrives")
	case f.expanded("command", command):
		f.add("command", fmt.Sprintf("there is no command %q", command), "use "+nearest(command, commands()))
	}
	return command
}

// nearest is the choice that differs from word in the fewest letters, which is what a typing error meant.
func nearest(word string, choices []string) string {
	best, least := choices[0], 1<<30
	for _, choice := range choices {
		if d := distance(strings.ToLower(word), strings.ToLower(choice)); d < least {
			best, least = choice, d
		}
	}
	return best
}

// distance counts the letters to insert, drop or replace to come from a to b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// name is the repository as Docker@2 makes it: lower case, no blanks.
func (in Inputs) name(f *faults) string {
	name := strings.ToLower(strings.ReplaceAll(in.Repository, " ", ""))
	switch {
	case in.ContainerRegistry == "":
		f.add("containerRegistry", "is empty", "name the service connection to your registry (Project settings > Service connections > Docker Registry)")
	case !f.expanded("containerRegistry", in.ContainerRegistry):
	}
	if name == "" {
		f.add("repository", "is empty", "name the repository without its registry, for example repository: team/app")
		return ""
	}
	if !f.expanded("repository", in.Repository) {
		return ""
	}
	// Any registry will do for judging the path; the connection brings the real one.
	if _, err := registry.ParseRepository("registry.example.com/" + name); err != nil {
		f.add("repository", fmt.Sprintf("%q is a name that no registry accepts: it %s", in.Repository, whyNot(err)),
			"use lower-case letters, digits, and single . _ - or / between them, without a registry or a tag")
	}
	return name
}

// whyNot is what is wrong with a name, without the name: the reader knows it as it stands in the input.
func whyNot(err error) string {
	if e, ok := errors.AsType[*registry.ReferenceError](err); ok {
		return string(e.Kind)
	}
	if e, ok := errors.AsType[*trust.OptionError](err); ok {
		return "is " + e.Problem
	}
	return "is wrong: " + err.Error()
}

func (in Inputs) tags(f *faults) []string {
	tags := list(in.Tags)
	switch {
	case len(tags) == 0:
		f.add("tags", "is empty", "name at least one tag, for example tags: $(Build.BuildId)")
	case len(tags) > mostTags:
		f.add("tags", fmt.Sprintf("holds %d tags; a step signs at most %d", len(tags), mostTags), "look whether a whole file has got into the input")
		return nil
	}
	for _, tag := range tags {
		if !f.expanded("tags", tag) {
			continue
		}
		if err := registry.CheckTag(tag); err != nil {
			f.add("tags", fmt.Sprintf("%q is a tag that no registry accepts: it %s", tag, whyNot(err)),
				"use letters, digits, _ . and -, at most 128 of them, the first a letter, a digit or _")
		}
	}
	return tags
}

func (in Inputs) build(f *faults, p *Plan) {
	f.expanded("Dockerfile", in.Dockerfile)
	f.expanded("buildContext", in.BuildContext)
	if strings.TrimSpace(in.Dockerfile) == "" {
		p.Dockerfile = "**/Dockerfile"
	}
	if strings.TrimSpace(in.BuildContext) == "" {
		p.BuildContext = "**"
	}
	if strings.TrimSpace(in.Arguments) != "" {
		f.add("arguments", "does not work yet in this version, and is not silently dropped as Docker@2 drops it",
			"take the input away, and say in the Dockerfile what it said")
	}
	if strings.TrimSpace(in.Builder) != "" {
		f.add("builder", "does not work yet in this version", "take the input away: the image is then built by the Engine of the agent")
	}
	for _, other := range [][2]string{{"images", in.Images}, {"requiredSigners", in.RequiredSigners}} {
		if strings.TrimSpace(other[1]) != "" {
			f.add(other[0], "belongs to other commands than "+p.Command, "take the input away")
		}
	}
}

func (in Inputs) trust(f *faults, p *Plan) {
	f.expanded("caFile", in.CAFile)
	p.TrustServer = strings.TrimSuffix(strings.TrimSpace(in.TrustServer), "/")
	if p.TrustServer != "" && f.expanded("trustServer", p.TrustServer) {
		u, err := url.Parse(p.TrustServer)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
			f.add("trustServer", fmt.Sprintf("%q is no https address of a server", in.TrustServer), "write it as https://notary.example.com, without user, password or query")
		}
	}
	for _, line := range list(in.RootKeys) {
		if !f.expanded("rootKeys", line) {
			continue
		}
		pin, err := trust.ParsePin(line)
		if err != nil {
			f.add("rootKeys", fmt.Sprintf("%q is no root key: it %s", line, whyNot(err)),
				"write the 64 hexadecimal digits that `docker trust inspect` shows as the root key, or repository=digits")
			continue
		}
		p.Pins = append(p.Pins, pin)
	}
	if p.RequirePin && strings.TrimSpace(in.RootKeys) == "" {
		f.add("requirePin", "is true, and rootKeys pins nothing", "give the repository's root key as rootKeys")
	}
}

// signerName is what Notary takes for the last part of a delegation's name (notary, tuf/data/roles.go).
var signerName = regexp.MustCompile(`^[a-z0-9_-]+$`)

// key reads what signs. The key's own content is judged where it is opened, in [openKey].
func (in Inputs) key(f *faults, p *Plan) {
	p.KeyFile, p.KeyText, p.KeyPassphrase, p.Signer = in.DelegationKey, in.DelegationKeyText, in.passphrase(), strings.TrimSpace(in.Signer)
	switch {
	case in.DelegationKey != "" && !in.DelegationKeyText.Empty():
		f.add("delegationKey", "and delegationKeyText are both given", "keep the one, take the other away")
	case in.DelegationKey == "" && in.DelegationKeyText.Empty():
		f.add("delegationKey", "is empty, so there is no key to sign with",
			"name the secure file that holds the signer's private key (Pipelines > Library > Secure files), or write sign: false to push without signing")
	}
	f.expanded("delegationKey", in.DelegationKey)
	if f.expanded("signer", in.Signer) && p.Signer != "" && !signerName.MatchString(p.Signer) {
		f.add("signer", fmt.Sprintf("%q is no signer's name", in.Signer), "write it as `docker trust inspect` shows it: lower-case letters, digits, _ and -")
	}
	if !f.expanded("delegationKeyText", in.DelegationKeyText.Reveal()) {
		p.KeyText = secret.Value{}
	}
	if !f.expanded("delegationKeyPassphrase", p.KeyPassphrase.Reveal()) {
		p.KeyPassphrase, p.PassphraseLater = secret.Value{}, true
	}
}

// repository joins the step's name with the registry that the connection leads to, as Docker@2 does: Docker Hub's own
// host is left away there, and comes back as docker.io here, because a repository without a registry has no trust data.
func (p Plan) repository(login pipeline.Login) (registry.Repository, error) {
	host := login.Registry
	if host == "index.docker.io" {
		host = "docker.io"
	}
	return registry.ParseRepository(host + "/" + strings.TrimPrefix(p.Name, host+"/"))
}
