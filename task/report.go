package task

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"contenttrust/internal/docker"
	"contenttrust/internal/pipeline"
	"contenttrust/internal/registry"
	"contenttrust/internal/secret"
	"contenttrust/internal/trust"
)

// Result is what a run did and proved. Everything that is told afterwards comes from it.
type Result struct {
	Plan       Plan
	Repository registry.Repository
	Manifest   registry.Manifest
	Image      docker.Image
	Engine     docker.Info

	// The rest is empty where the run did not sign.
	Key     *trust.Key
	Roles   []string
	Receipt trust.Receipt
	State   *trust.State // as the proof read it
}

// reference is the image by its digest: what a deployment should pull.
func (res Result) reference() string {
	return res.Repository.String() + "@" + res.Manifest.Digest
}

// stopwatch keeps the time of each step, in the order of their ends.
type stopwatch struct {
	now  func() time.Time
	laps []lap
}

type lap struct {
	step string
	took time.Duration
}

// lap starts a step, and gives the function that ends it.
func (s *stopwatch) lap(step string) func() {
	begun := s.now()
	return func() { s.laps = append(s.laps, lap{step, s.now().Sub(begun)}) }
}

// tell sets the outputs and shows the summary. It runs after the proof, so nothing is set by a run that failed; and what
// could still fail here comes before the first variable, so that there are all of them or none.
func (r *run) tell(res Result) error {
	variables := r.variables(res)
	for _, v := range variables {
		if err := r.public(v[0], v[1]); err != nil {
			return err
		}
	}
	path := filepath.Join(r.agent.TempDirectory, "content-trust-summary-"+shortID(res.Manifest.Digest)+".md")
	if err := os.WriteFile(path, []byte(r.summary(res)), 0o600); err != nil {
		return &WorkspaceError{Op: "write", Path: path, Err: err}
	}
	for _, v := range variables {
		if err := r.log.SetVariable(v[0], v[1]); err != nil {
			return err
		}
	}
	// The agent reads the file when the job's attachments are uploaded, after this step; it empties the folder itself.
	if err := r.log.UploadSummary(path); err != nil {
		return err
	}
	r.log.Progress(100, "Done")
	r.log.Section("Done")
	r.log.Linef("%s is %s %s.", res.reference(), verdict(res), strings.Join(res.Plan.Tags, ", "))
	return nil
}

// variables are the outputs, under their plain names, and what the tasks behind Docker@2 read, in the form in which it
// leaves them.
func (r *run) variables(res Result) [][2]string {
	variables := [][2]string{{"DockerOutput", r.dockerOutput()}, {"imageDigest", res.Manifest.Digest}, {"imageReference", res.reference()}}
	if res.Plan.Sign {
		variables = append(variables, [2]string{"signedTags", strings.Join(res.Plan.Tags, ",")}, [2]string{"rootKeyId", res.State.RootKeys[0].ID})
	}
	return append(variables,
		[2]string{"RESOURCE_URIS", joined(r.Environment.Get("RESOURCE_URIS"), "https://"+res.reference())},
		[2]string{"DOCKER_TASK_BUILT_IMAGES", joined(r.Environment.Get("DOCKER_TASK_BUILT_IMAGES"), shortID(res.Image.ID))},
	)
}

// public finds out whether a variable can be set at all: its value must hold nothing that is secret.
func (r *run) public(name, value string) error {
	if r.mask.Hide(value) != value {
		return &pipeline.HiddenValueError{Command: "task.setvariable", Name: name}
	}
	return nil
}

func verdict(res Result) string {
	if res.Plan.Sign {
		return "signed under the " + plural(len(res.Plan.Tags), "tag")
	}
	return "pushed, not signed, under the " + plural(len(res.Plan.Tags), "tag")
}

// joined adds to a comma list that earlier steps may have begun, as Docker@2 does.
func joined(list, item string) string {
	for known := range strings.SplitSeq(list, ",") {
		if known == item {
			return list
		}
	}
	if list == "" {
		return item
	}
	return list + "," + item
}

// shortID is the first twelve digits, which docker shows for an image.
func shortID(digest string) string {
	id := strings.TrimPrefix(digest, "sha256:")
	return id[:min(12, len(id))]
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

// warn tells of something that the run can live with, under its code.
func (r *run) warn(code, text string) {
	r.log.Warn(pipeline.Issue{Code: code, Text: text})
}

// buildWarning passes a warning of the Dockerfile's checks on.
func (r *run) buildWarning(w docker.Warning) {
	text := w.Text
	if w.URL != "" {
		text += " (" + w.URL + ")"
	}
	r.log.Warn(pipeline.Issue{Code: codeDockerfileCheck, Text: text, File: w.File, Line: w.Line})
}

// hide makes the log and the agent hide what is secret.
func (r *run) hide(values ...secret.Value) {
	for _, v := range values {
		if !v.Empty() && r.log.Secret(v) {
			r.warn(codeShortSecret, "A secret of this step is shorter than four characters, and cannot be hidden in the log.")
		}
	}
}

// hideToken hides a registry's token, also where a text holds only its beginning.
func (r *run) hideToken(token secret.Value) {
	r.tokens.add(token)
	r.hide(token)
}

// soon is how long before an expiry a run begins to warn: whoever holds the key may be on holiday.
const soon = 180 * 24 * time.Hour

// warnAhead tells what will stop a later run, and what this run had to take on trust. What signing in these roles renews
// needs no warning, and no more what the server renews by itself.
func (r *run) warnAhead(state *trust.State, signing []string) {
	renewed := slices.Concat(signing, []string{"snapshot", "timestamp"})
	for _, e := range expiries(state) {
		if left := e.at.Sub(r.Now()); left < soon && !slices.Contains(renewed, e.role) {
			r.warn(codeExpiringSoon, fmt.Sprintf("The %s metadata of the repository expires on %s, in %d days. %s",
				e.role, e.at.Format(time.DateOnly), int(left.Hours()/24), expiryRemedy(e.role)))
		}
	}
	if !state.Pinned {
		r.log.Linef("The root key is taken on trust, as docker takes it. To pin it, set rootKeys: %s", state.RootKeys[0].ID)
	}
}

// expiry is when one file of the trust data expires.
type expiry struct {
	role string
	at   time.Time
}

// expiries are those of a repository's files, in the order in which one vouches for the next.
func expiries(state *trust.State) []expiry {
	var all []expiry
	for role, file := range state.Files {
		all = append(all, expiry{role, file.Expires})
	}
	rank := func(role string) int {
		if i := slices.Index([]string{"root", "targets", "targets/releases"}, role); i >= 0 {
			return i
		}
		if strings.HasPrefix(role, "targets/") {
			return 10
		}
		return 20 // snapshot and timestamp, which the server renews
	}
	slices.SortFunc(all, func(a, b expiry) int {
		return cmp.Or(cmp.Compare(rank(a.role), rank(b.role)), cmp.Compare(a.role, b.role))
	})
	return all
}

// expiryRemedy says who must do what before a role expires. A delegation is renewed by signing, or by a witness.
func expiryRemedy(role string) string {
	switch role {
	case "root":
		return "The holder of the root key must publish the repository again (docker trust signer add, or notary publish) before that day; without it nobody can sign."
	case "targets":
		return "The holder of the repository key must publish again (notary witness GUN targets --publish) before that day; afterwards nobody can sign or verify."
	}
	return "Any signature by a signer of that role renews it."
}

// summary is the page on the run's Extensions tab.
func (r *run) summary(res Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s `%s`\n\n", map[bool]string{true: "Signed", false: "Pushed, not signed:"}[res.Plan.Sign], res.Repository)
	fmt.Fprintf(&b, "| | |\n|---|---|\n")
	row := func(name, value string) { fmt.Fprintf(&b, "| %s | %s |\n", name, value) }
	row("Tags", "`"+strings.Join(res.Plan.Tags, "` `")+"`")
	row("Digest", fmt.Sprintf("`%s` (%d bytes, %s)", res.Manifest.Digest, res.Manifest.Size(), res.Manifest.MediaType))
	row("Pull it as", "`"+res.reference()+"`")
	if res.Plan.Sign {
		r.summariseTrust(row, res)
	}
	row("Engine", fmt.Sprintf("%s, %s image store", res.Engine.Version, res.Engine.Store))
	var laps []string
	for _, l := range r.clock.laps {
		laps = append(laps, fmt.Sprintf("%s %.1f s", l.step, l.took.Seconds()))
	}
	row("Time", strings.Join(laps, " · "))
	return b.String()
}

func (r *run) summariseTrust(row func(name, value string), res Result) {
	row("Signed by", fmt.Sprintf("%s, key `%s`", strings.Join(signers(res.Roles), ", "), res.Key.ID()))
	root := res.State.RootKeys[0].ID
	if res.State.Pinned {
		row("Root key", "`"+root+"` (pinned)")
	} else {
		row("Root key", "`"+root+"` (**not pinned**: taken on trust; set `rootKeys` to pin it)")
	}
	var dates []string
	for _, e := range expiries(res.State) {
		date := e.role + " " + e.at.Format(time.DateOnly)
		if e.role != "timestamp" && e.at.Sub(r.Now()) < soon {
			date = "**" + date + "**"
		}
		dates = append(dates, date)
	}
	row("Expires", strings.Join(dates, " · "))
}

// signers are the names in roles, as docker shows them. targets/releases is the shelf that docker pulls from, and no signer.
func signers(roles []string) []string {
	var names []string
	for _, role := range roles {
		if name, ok := strings.CutPrefix(role, "targets/"); ok && name != "releases" {
			names = append(names, name)
		}
	}
	if names == nil {
		return []string{"the repository's own key"}
	}
	return names
}
