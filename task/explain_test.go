package task

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"contenttrust/internal/docker"
	"contenttrust/internal/pipeline"
	"contenttrust/internal/registry"
	"contenttrust/internal/trust"
)

// crafts are the folders whose errors reach a reader of the log.
var crafts = []string{"../internal/pipeline", "../internal/registry", "../internal/docker", "../internal/trust", "."}

// digits stand for a digest or a key ID.
var digits = strings.Repeat("ab", 32)

// examples hold one or more errors of every exported error type of the crafts, by its name, and the exported sentinels.
func examples() map[string][]error {
	cause := errors.New("a cause")
	rootID := []trust.RootID{{ID: digits, Canonical: digits}}
	all := map[string][]error{
		"pipeline.ConnectionError":  nil, // these are made for each of their kinds
		"pipeline.SecureFileError":  nil,
		"registry.AccessError":      nil,
		"registry.UnreachableError": nil,
		"trust.KeyError":            nil,
		"trust.StoreError":          nil,
		"registry.ReferenceError":   nil,
		"docker.PushError":          nil,
		"docker.BuildError":         {&docker.BuildError{Step: "RUN make", ExitCode: 2, Tail: []string{"oops"}, Cause: cause}, &docker.BuildError{Cause: cause}},

		"pipeline.SettingError":     {&pipeline.SettingError{Setting: "AGENT_PROXYURL", Err: cause}},
		"pipeline.RedirectError":    {&pipeline.RedirectError{From: "https://a", To: "http://b", Reason: "not https"}},
		"pipeline.HiddenValueError": {&pipeline.HiddenValueError{Command: "task.setvariable", Name: "imageDigest"}},

		"registry.OptionError":      {&registry.OptionError{Option: "trust server", Reason: "is no address"}},
		"registry.RealmError":       {&registry.RealmError{Host: "reg", Realm: "https://evil", RealmHost: "evil", Reason: "another host"}},
		"registry.RedirectError":    {&registry.RedirectError{From: "reg", To: "https://evil", Reason: "leaves the host"}},
		"registry.ChallengeError":   {&registry.ChallengeError{Op: registry.OpPing, Host: "reg", Reason: "no challenge"}},
		"registry.DigestMismatch":   {&registry.DigestMismatch{Repository: "reg/app", Reference: "1", Want: digits, Got: digits}},
		"registry.ManifestError":    {&registry.ManifestError{Repository: "reg/app", Reference: "1", Reason: "larger than 4 MiB"}},
		"registry.LockedError":      {&registry.LockedError{Repository: "reg/app", Tag: "1", Status: 405, Detail: "The operation is disallowed."}},
		"registry.UnsupportedError": {&registry.UnsupportedError{Repository: "reg/app", Reference: "1", Status: 405}},
		"registry.TagsError": {&registry.TagsError{Repository: "reg/app", Digest: digits, Done: []string{"1"},
			Failed: []registry.TagFailure{{Tag: "2", Err: &registry.LockedError{Repository: "reg/app", Tag: "2", Status: 405}}}}},
		"registry.ErrNotFound": {&registry.AccessError{Op: registry.OpRead, Kind: registry.NotFound, Host: "reg", Status: 404}},

		"docker.NotRunning":      {&docker.NotRunning{Host: "unix:///var/run/docker.sock", Err: cause}},
		"docker.NotPermitted":    {&docker.NotPermitted{Host: "unix:///var/run/docker.sock", Err: fs.ErrPermission}},
		"docker.BadHost":         {&docker.BadHost{Host: "gopher://x", Reason: "unknown scheme"}},
		"docker.BadTLS":          {&docker.BadTLS{Host: "tcp://x", Err: cause}},
		"docker.NotAnEngine":     {&docker.NotAnEngine{Host: "tcp://x", Err: cause}},
		"docker.WrongAPIVersion": {&docker.WrongAPIVersion{Asked: "9.9", Limit: "1.51", TooNew: true, Fixed: true}, &docker.WrongAPIVersion{Asked: "x"}},
		"docker.Unsupported":     {&docker.Unsupported{Feature: "--platform with several platforms", Why: "graphdriver store"}},
		"docker.BadName":         {&docker.BadName{Name: "X", Reason: "upper case"}},
		"docker.NoImage":         {&docker.NoImage{Name: "reg/app:1"}},
		"docker.NoDockerfile":    {&docker.NoDockerfile{Pattern: "**/Dockerfile", Root: "/s"}},
		"docker.NotAFile":        {&docker.NotAFile{Path: "/s/Dockerfile"}},
		"docker.Unreadable":      {&docker.Unreadable{Path: "/s/Dockerfile", Err: fs.ErrPermission}},
		"docker.BadPattern":      {&docker.BadPattern{Pattern: "[", Reason: "no end"}},
		"docker.NoContext":       {&docker.NoContext{Path: "/s/x"}, &docker.NoContext{Path: "/s/x", NotDirectory: true}},
		"docker.DockerfileError": {&docker.DockerfileError{File: "/s/Dockerfile", Line: 3, Text: "unknown instruction: X"}, &docker.DockerfileError{File: "/s/Dockerfile", Text: "x", HereDocument: true}},

		"trust.OptionError":         {&trust.OptionError{Name: "tag", Value: "x", Problem: "not a tag"}},
		"trust.NotInitialisedError": {&trust.NotInitialisedError{GUN: "reg/app", Server: "reg"}},
		"trust.DeniedError":         {&trust.DeniedError{Op: trust.OpRead, Status: 401}, &trust.DeniedError{Op: trust.OpCheck, Status: 403}, &trust.DeniedError{Op: trust.OpPublish, Status: 403}},
		"trust.UnreachableError":    {&trust.UnreachableError{Op: trust.OpRead, Server: "reg", Err: cause}},
		"trust.ServerError":         {&trust.ServerError{Op: trust.OpPublish, Status: 500}},
		"trust.RejectedError":       {&trust.RejectedError{Status: 400, Code: "INVALID_UPDATE"}},
		"trust.ConflictError":       {&trust.ConflictError{Attempts: 10, Err: &trust.RejectedError{Status: 400, Code: "VERSION"}}},
		"trust.SnapshotKeyError":    {&trust.SnapshotKeyError{GUN: "reg/app"}},
		"trust.ExpiredError": {&trust.ExpiredError{Role: "root", At: time.Now()}, &trust.ExpiredError{Role: "targets", At: time.Now()},
			&trust.ExpiredError{Role: "snapshot", At: time.Now()}, &trust.ExpiredError{Role: "timestamp", At: time.Now()}},
		"trust.BadMetadataError":      {&trust.BadMetadataError{Role: "targets", Reason: "the checksum is wrong", Err: cause}},
		"trust.PinMismatchError":      {&trust.PinMismatchError{GUN: "reg/app", Want: []string{digits}, Got: rootID}, &trust.PinMismatchError{GUN: "reg/app", Got: rootID}},
		"trust.PinRequiredError":      {&trust.PinRequiredError{GUN: "reg/app", Got: rootID}},
		"trust.NotAdmittedError":      {&trust.NotAdmittedError{KeyID: digits}, &trust.NotAdmittedError{KeyID: digits, Delegations: []trust.Delegation{{Role: "targets/ci"}}}},
		"trust.NotReleasedError":      {&trust.NotReleasedError{KeyID: digits, Roles: []string{"targets/ci"}}},
		"trust.PathRestrictedError":   {&trust.PathRestrictedError{Tag: "1", Role: "targets/ci", Paths: []string{"rc-"}}},
		"trust.NotThisSignerError":    {&trust.NotThisSignerError{Signer: "bob", KeyID: digits}, &trust.NotThisSignerError{Signer: "bob", KeyID: digits, Want: []string{digits}}},
		"trust.RootExpiringError":     {&trust.RootExpiringError{At: time.Now()}},
		"trust.BrokenDelegationError": {&trust.BrokenDelegationError{Role: "targets/ci", Tags: 3}},
		"trust.ThresholdError":        {&trust.ThresholdError{Role: "targets/ci", Threshold: 2}},
		"trust.VersionError":          {&trust.VersionError{Role: "targets", Version: 2147483647}},
		"trust.PublishError":          {&trust.PublishError{Err: cause}},
		"trust.ProofError":            {&trust.ProofError{Tag: "1", Role: "targets/releases"}},

		"task.InputError":        {&InputError{Faults: []Fault{{Input: "tags", Problem: "is empty", Fix: "name one"}}}},
		"task.CheckError":        {&CheckError{Findings: []error{&docker.NoImage{Name: "x"}, &trust.SnapshotKeyError{GUN: "reg/app"}}}},
		"task.ForeignImageError": {&ForeignImageError{Built: digits, Found: digits}},
		"task.TagMovedError":     {&TagMovedError{Image: "reg/app:1", Want: digits, Found: digits}},
		"task.ProofError": {&ProofError{Err: &TagMovedError{Image: "reg/app:1", Want: digits, Found: digits}},
			&ProofError{Err: &trust.ProofError{Tag: "1", Role: "targets/releases"}}, &ProofError{Err: errors.Join(cause, cause)}},
		"task.WorkspaceError": {&WorkspaceError{Op: "write", Path: "/tmp/x", Err: syscall.ENOSPC}, &WorkspaceError{Op: "make", Path: "/tmp/x", Err: syscall.EROFS},
			&WorkspaceError{Op: opRemove, Path: "/tmp/x", Err: fs.ErrPermission}, &WorkspaceError{Op: "make", Path: "/tmp/x", Err: fs.ErrNotExist}},
		"task.UnsignedError": nil,
	}
	for state := TagUnknown; state <= TagUnsigned; state++ {
		for _, undo := range []error{nil, cause} {
			all["task.UnsignedError"] = append(all["task.UnsignedError"],
				&UnsignedError{Image: "reg/app:1", State: state, Err: &trust.ServerError{Op: trust.OpPublish, Status: 500}, Undo: undo})
		}
	}
	for reason := docker.ReasonNone; reason.String() != "unknown"; reason++ {
		all["docker.PushError"] = append(all["docker.PushError"], &docker.PushError{Name: "reg/app:1", Reason: reason, Text: "denied", Attempts: 2})
		all["docker.BuildError"] = append(all["docker.BuildError"], &docker.BuildError{Step: "load metadata for x", Registry: reason, Cause: cause})
	}
	return all
}

// ofKind makes the errors that there are in kinds.
var ofKind = map[string]func(kind string) (name string, err error){
	"pipeline.ConnectionErrorKind": func(kind string) (string, error) {
		return "pipeline.ConnectionError", &pipeline.ConnectionError{ID: "x", Kind: pipeline.ConnectionErrorKind(kind), Scheme: "WorkloadIdentityFederation", Parameter: "password", Registry: "evil"}
	},
	"pipeline.SecureFileKind": func(kind string) (string, error) {
		return "pipeline.SecureFileError", &pipeline.SecureFileError{Kind: pipeline.SecureFileKind(kind), ID: "x", Status: 403, Attempts: 2, Limit: 65536, ContentType: "text/html", Message: "TF1: No."}
	},
	"registry.AccessKind": func(kind string) (string, error) {
		return "registry.AccessError", &registry.AccessError{Op: registry.OpUpload, Kind: registry.AccessKind(kind), Host: "reg", Repository: "reg/app", Status: 403, Detail: "It says so.", ClientIP: "203.0.113.7"}
	},
	"registry.UnreachableKind": func(kind string) (string, error) {
		return "registry.UnreachableError", &registry.UnreachableError{Op: registry.OpPing, Host: "reg", Kind: registry.UnreachableKind(kind), Err: errors.New("a cause")}
	},
	"registry.NameKind": func(kind string) (string, error) {
		return "registry.ReferenceError", &registry.ReferenceError{What: "repository", Input: "x", Kind: registry.NameKind(kind)}
	},
	"trust.KeyErrorKind": func(kind string) (string, error) {
		return "trust.KeyError", &trust.KeyError{Kind: trust.KeyErrorKind(kind), Detail: "root"}
	},
	"trust.StoreProblem": func(kind string) (string, error) {
		return "trust.StoreError", &trust.StoreError{Path: "/tmp/x", Problem: trust.StoreProblem(kind), Err: fs.ErrPermission}
	},
}

// declared is what the source of the crafts declares.
type declared struct {
	errors []string            // exported types with a method Error, and exported variables Err…
	kinds  map[string][]string // values of constants of a named text type, by the type
}

func readDeclared(t *testing.T) declared {
	t.Helper()
	found := declared{kinds: map[string][]string{}}
	for _, folder := range crafts {
		for _, file := range parseFolder(t, folder) {
			in := file.Name.Name + "."
			for _, decl := range file.Decls {
				if name := errorType(decl); name != "" {
					found.errors = append(found.errors, in+name)
				}
				found.values(in, decl)
			}
		}
	}
	slices.Sort(found.errors)
	return found
}

// parseFolder reads the files of a package that are no tests.
func parseFolder(t *testing.T, folder string) []*ast.File {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(paths) == 0 {
		t.Fatal(folder, err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// errorType is the exported type that a method Error belongs to.
func errorType(decl ast.Decl) string {
	method, ok := decl.(*ast.FuncDecl)
	if !ok || method.Recv == nil || method.Name.Name != "Error" || method.Type.Params.NumFields() != 0 {
		return "" // the log has a method Error too, which takes an issue
	}
	of := method.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if name, ok := of.(*ast.Ident); ok && name.IsExported() {
		return name.Name
	}
	return ""
}

// values collects sentinels and the constants of kinds.
func (d *declared) values(in string, decl ast.Decl) {
	group, ok := decl.(*ast.GenDecl)
	if !ok {
		return
	}
	for _, spec := range group.Specs {
		value, ok := spec.(*ast.ValueSpec)
		if !ok {
			continue
		}
		for i, name := range value.Names {
			if group.Tok == token.VAR && strings.HasPrefix(name.Name, "Err") {
				d.errors = append(d.errors, in+name.Name)
			}
			of, typed := value.Type.(*ast.Ident)
			if group.Tok != token.CONST || !typed || i >= len(value.Values) {
				continue
			}
			if literal, ok := value.Values[i].(*ast.BasicLit); ok && literal.Kind == token.STRING {
				text, _ := strconv.Unquote(literal.Value)
				d.kinds[in+of.Name] = append(d.kinds[in+of.Name], text)
			}
		}
	}
}

func TestEveryErrorOfEveryCraftHasAnExplanation(t *testing.T) {
	t.Parallel()
	have, source := examples(), readDeclared(t)
	for kind, build := range ofKind {
		if len(source.kinds[kind]) == 0 {
			t.Errorf("the source declares no %s any more", kind)
		}
		for _, value := range source.kinds[kind] {
			name, err := build(value)
			have[name] = append(have[name], err)
		}
	}
	for _, name := range source.errors {
		if len(have[name]) == 0 {
			t.Errorf("%s has no example here: give it one, and a rule in explain_*.go", name)
		}
	}
	for name, errs := range have {
		if !slices.Contains(source.errors, name) {
			t.Errorf("%s is declared nowhere", name)
		}
		for _, err := range errs {
			for _, explained := range slices.Concat(Explain(err), Explain(fmt.Errorf("around: %w", err))) {
				judge(t, name, err, explained)
			}
		}
	}
}

// judge looks at the form of an explanation: every reader gets what happened and what to do.
func judge(t *testing.T, name string, err error, e Explanation) {
	t.Helper()
	text := e.String()
	switch {
	case e.Code == codeUnexpected:
		t.Errorf("%s has no rule: %v", name, err)
	case !strings.HasSuffix(e.What, "."):
		t.Errorf("%s: what happened does not end: %q", name, e.What)
	case len(e.Commands) == 0 && !strings.HasSuffix(e.Do, "."):
		t.Errorf("%s: what to do does not end: %q", name, e.Do)
	case len(e.Commands) > 0 && !strings.HasSuffix(e.Do, ":"):
		t.Errorf("%s: what to do does not lead to its commands: %q", name, e.Do)
	}
	for _, odd := range []string{"..", "  ", "()", "%!", "<nil>", " :", ": .", ".:", "\n"} {
		if strings.Contains(text, odd) {
			t.Errorf("%s reads odd (%q): %s", name, odd, text)
		}
	}
}

func TestWhatNobodyKnowsIsStillExplained(t *testing.T) {
	t.Parallel()
	all := Explain(errors.New("the moon fell"))
	if len(all) != 1 || all[0].Code != codeUnexpected || !strings.Contains(all[0].String(), "the moon fell") || !strings.Contains(all[0].Do, "system.debug") {
		t.Errorf("explained as %v", all)
	}
}

func TestTheSameFindingTwiceIsToldOnce(t *testing.T) {
	t.Parallel()
	same := &trust.SnapshotKeyError{GUN: "reg/app"}
	if all := Explain(&CheckError{Findings: []error{same, errors.Join(same, &docker.NoImage{Name: "x"}), same}}); len(all) != 2 {
		t.Errorf("explained as %v", all)
	}
}

func TestARefusedRegistryBehindTheTrustServerKeepsItsRemedy(t *testing.T) {
	t.Parallel()
	for _, err := range []error{
		&registry.AccessError{Op: registry.OpToken, Kind: registry.WrongCredential, Host: "reg", Status: 401},
		&registry.UnreachableError{Op: registry.OpToken, Host: "reg", Kind: registry.UnknownCA, Err: errors.New("x509")},
	} {
		want := Explain(err)[0].Code
		if got := Explain(&trust.UnreachableError{Op: trust.OpRead, Server: "reg", Err: err})[0].Code; got != want {
			t.Errorf("%v behind the trust server is %s, want %s", err, got, want)
		}
	}
}

func TestTheCatalogueListsEveryCodeOnceAndNoOther(t *testing.T) {
	t.Parallel()
	constants, used := map[string]string{}, map[string]bool{}
	for _, file := range parseFolder(t, ".") {
		for _, decl := range file.Decls {
			group, isGroup := decl.(*ast.GenDecl)
			if isGroup && group.Tok == token.CONST {
				for _, spec := range group.Specs {
					value := spec.(*ast.ValueSpec)
					if name := value.Names[0].Name; len(value.Values) == 1 && strings.HasPrefix(name, "code") {
						constants[name], _ = strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
					}
				}
				continue
			}
			if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == "catalogue" {
				continue
			}
			ast.Inspect(decl, func(n ast.Node) bool {
				if name, ok := n.(*ast.Ident); ok {
					used[name.Name] = true
				}
				return true
			})
		}
	}
	launcher, err := os.ReadFile("launcher/launcher.js")
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Collect(maps.Values(constants))
	for _, code := range regexp.MustCompile(`CT\d{4}`).FindAllString(string(launcher), -1) {
		if !slices.Contains(want, code) {
			want = append(want, code)
		}
	}
	for name := range constants {
		if !used[name] {
			t.Errorf("%s is used nowhere", name)
		}
	}
	var got []string
	for _, group := range catalogue() {
		for _, e := range group.entries {
			got = append(got, e.code)
			if e.what == "" || e.do == "" {
				t.Errorf("%s says nothing", e.code)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(want, got) || len(constants) < 60 {
		t.Errorf("the catalogue lists\n%v, the code has\n%v", got, want)
	}
}
