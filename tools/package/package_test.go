package main

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func TestTheCommittedContractsAreValidAndAgreeOnTheVersion(t *testing.T) {
	t.Parallel()
	task, err := readTask(filepath.Join(root, "task.json"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := readExtension(filepath.Join(root, "vss-extension.json"), task); err != nil {
		t.Fatal(err)
	}
	if got, want := task.scripts(), []string{"main.js", "post.js", "pre.js"}; !slices.Equal(got, want) {
		t.Errorf("the handlers start %q, want %q", got, want)
	}
	for from := range sources(task) {
		if _, err := os.Stat(filepath.Join(root, from)); err != nil {
			t.Error(err)
		}
	}
}

func TestTheLauncherKnowsThePlatformsThatAreBuilt(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(filepath.Join(root, "task", "launcher", "launcher.js"))
	if err != nil {
		t.Fatal(err)
	}
	var built, known []string
	for _, target := range allTargets {
		built = append(built, target.os+"-"+target.arch)
	}
	for _, m := range regexp.MustCompile(`(?m)^  '[a-z0-9]+-[a-z0-9]+': '([a-z0-9-]+)',$`).FindAllSubmatch(script, -1) {
		known = append(known, string(m[1]))
	}
	slices.Sort(known)
	if !slices.Equal(built, known) {
		t.Errorf("built for %q, the launcher knows %q", built, known)
	}
}

// change gives the committed task.json with one change made to it as JSON.
func change(t *testing.T, edit func(task map[string]any)) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "task.json"))
	if err != nil {
		t.Fatal(err)
	}
	var task map[string]any
	if err := json.Unmarshal(data, &task); err != nil {
		t.Fatal(err)
	}
	edit(task)
	if data, err = json.Marshal(task); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "task.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func input(task map[string]any, name string) map[string]any {
	for _, in := range task["inputs"].([]any) {
		if in := in.(map[string]any); in["name"] == name {
			return in
		}
	}
	panic("no input " + name)
}

func TestAWrongTaskJSONIsRefusedAndTheFaultNamed(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		edit func(task map[string]any)
		want string
	}{
		"an unknown key":          {func(m map[string]any) { m["colour"] = "red" }, "$.colour is not known"},
		"a key in the wrong case": {func(m map[string]any) { m["OutputVariables"] = m["outputVariables"] }, "$.OutputVariables is not known"},
		"no id":                   {func(m map[string]any) { delete(m, "id") }, "$.id is missing"},
		"an id that is no GUID":   {func(m map[string]any) { m["id"] = "1234" }, "$.id 1234"},
		"a name with a space":     {func(m map[string]any) { m["name"] = "Content Trust" }, "$.name"},
		"a friendly name of 41":   {func(m map[string]any) { m["friendlyName"] = strings.Repeat("x", 41) }, "41 letters"},
		"a version as text":       {func(m map[string]any) { m["version"].(map[string]any)["Minor"] = "1" }, "$.version.Minor"},
		"an unknown category":     {func(m map[string]any) { m["category"] = "Sign" }, "$.category"},
		"a phase that is missing": {func(m map[string]any) { delete(m, "postjobexecution") }, "$.postjobexecution is missing"},
		"a Node at its end of life": {func(m map[string]any) {
			m["execution"].(map[string]any)["Node10"] = map[string]any{"target": "main.js"}
		}, "$.execution.Node10 is not known"},
		"a target outside the folder": {func(m map[string]any) {
			m["execution"].(map[string]any)["Node24"] = map[string]any{"target": "../main.js"}
		}, "$.execution.Node24.target"},
		"an input without help":       {func(m map[string]any) { delete(input(m, "tags"), "helpMarkDown") }, "helpMarkDown is missing"},
		"help without an example":     {func(m map[string]any) { input(m, "tags")["helpMarkDown"] = "Tags." }, "helpMarkDown"},
		"an unknown type":             {func(m map[string]any) { input(m, "tags")["type"] = "text" }, ".type text"},
		"a boolean of another kind":   {func(m map[string]any) { input(m, "sign")["defaultValue"] = "yes" }, "input sign: its default yes"},
		"a default not offered":       {func(m map[string]any) { input(m, "command")["defaultValue"] = "build" }, "input command: its default build"},
		"a pick list of nothing":      {func(m map[string]any) { delete(input(m, "command"), "options") }, "a pick list needs options"},
		"the same name twice":         {func(m map[string]any) { input(m, "Dockerfile")["name"] = "Tags" }, "another input has this name"},
		"an unknown group":            {func(m map[string]any) { input(m, "tags")["groupName"] = "other" }, "there is no group other"},
		"a rule for no input":         {func(m map[string]any) { input(m, "tags")["visibleRule"] = "colour = red" }, "asks for colour"},
		"a rule that mixes && and ||": {func(m map[string]any) { input(m, "tags")["visibleRule"] = "sign = true && sign = a || sign = b" }, "which is no condition"},
		"a name format of no input":   {func(m map[string]any) { m["instanceNameFormat"] = "$(cmd)" }, "there is no input cmd"},
		"an output not allowed": {func(m map[string]any) {
			m["restrictions"].(map[string]any)["settableVariables"] = map[string]any{"allowed": []any{"DockerOutput"}}
		}, "output variable imageDigest: restrictions"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readTask(change(t, test.edit))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want it to say %q", err, test.want)
			}
		})
	}
}

func TestAnExtensionOfAnotherVersionThanTheTaskIsRefused(t *testing.T) {
	t.Parallel()
	task, err := readTask(change(t, func(m map[string]any) { m["version"].(map[string]any)["Patch"] = 99 }))
	if err != nil {
		t.Fatal(err)
	}
	_, err = readExtension(filepath.Join(root, "vss-extension.json"), task)
	if err == nil || !strings.Contains(err.Error(), "raise both together") {
		t.Errorf("got %v", err)
	}
}

// project lays a small project that has everything that the real one has, but a small program.
func project(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"task.json", "vss-extension.json", "icon.png", "LICENSE", "overview.md", "images", "task/launcher"} {
		from, err := filepath.Abs(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module small\n\ngo 1.26\n")
	write("cmd/contenttrust/main.go", "package main\n\nimport \"os\"\n\nvar version string\n\nfunc main() { os.Stdout.WriteString(version) }\n")
	return dir
}

func TestHostOnlyStagesATaskFolderWhoseExecutableKnowsItsVersion(t *testing.T) {
	t.Parallel()
	dir := project(t)
	o := options{root: dir, main: "./cmd/contenttrust", hostOnly: true, log: io.Discard}
	if err := run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	staged := filepath.Join(dir, "dist", "task")
	host := target{runtime.GOOS, runtime.GOARCH}.path()
	files, err := readFolder(staged)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"LICENSE", "bin/" + host, "bin/sha256.json", "icon.png", "launcher.js", "main.js", "post.js", "pre.js", "task.json"}
	for _, name := range want {
		if _, ok := files[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	if len(files) != len(want) {
		t.Errorf("%d files, want %d", len(files), len(want))
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(staged, "bin", host)).Output()
	if err != nil || string(out) != "1.0.0" {
		t.Errorf("the executable says %q, %v", out, err)
	}
	var sums map[string]string
	data, err := os.ReadFile(filepath.Join(staged, "bin", "sha256.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &sums); err != nil {
		t.Fatal(err)
	}
	if len(sums) != 1 || len(sums[host]) != 64 {
		t.Errorf("sums are %v", sums)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "dist"))
	if err != nil || len(entries) != 1 {
		t.Errorf("dist holds %v, %v; want the task alone", entries, err)
	}
	// A second run replaces the folder and gives the same bytes, whatever Go's own settings in the environment are.
	again := t.TempDir()
	o.dist = again
	if err := run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if second, err := readFolder(filepath.Join(again, "task")); err != nil || second["bin/"+host] != files["bin/"+host] {
		t.Errorf("a second build gives other bytes: %v", err)
	}
}

func TestAFailedBuildLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	dir := project(t)
	if err := os.WriteFile(filepath.Join(dir, "cmd", "contenttrust", "main.go"), []byte("package main\n\nfunc main() { nonsense }\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := run(t.Context(), options{root: dir, main: "./cmd/contenttrust", hostOnly: true, log: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "undefined: nonsense") {
		t.Errorf("got %v, want the compiler's words", err)
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, "dist")); len(entries) != 0 {
		t.Errorf("dist holds %v", entries)
	}
}

// vsix writes a zip with these entries and what tfx adds.
func vsix(t *testing.T, entries map[string]string) string {
	t.Helper()
	all := map[string]string{
		"[Content_Types].xml": "", "extension.vsomanifest": "",
		"extension.vsixmanifest": `"` + strings.Join(ownAssets, `" "`) + `"`,
	}
	for name, text := range entries {
		if all[name] = text; text == "absent" {
			delete(all, name)
		}
	}
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for name, text := range all {
		f, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.vsix")
	if err := os.WriteFile(path, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAVSIXThatIsNotWhatWasStagedIsRefused(t *testing.T) {
	t.Parallel()
	want := map[string]file{"T/a": {sha256.Sum256([]byte("aa")), 2}, "T/b": {sha256.Sum256([]byte("bb")), 2}}
	tests := map[string]struct {
		entries map[string]string
		want    string // "" when the VSIX is good
	}{
		"the staged files": {map[string]string{"T/a": "aa", "T/b": "bb"}, ""},
		"a file missing":   {map[string]string{"T/a": "aa"}, "T/b is missing"},
		"a file too many":  {map[string]string{"T/a": "aa", "T/b": "bb", "T/c": "cc"}, "T/c does not belong there"},
		"a file changed":   {map[string]string{"T/a": "ax", "T/b": "bb"}, "T/a differs"},
		"a file grown":     {map[string]string{"T/a": "aaa", "T/b": "bb"}, "T/a differs"},
		"no list of types": {map[string]string{"T/a": "aa", "T/b": "bb", "[Content_Types].xml": "absent"}, "[Content_Types].xml is missing"},
		"no icon in the listing": {map[string]string{"T/a": "aa", "T/b": "bb", "extension.vsixmanifest": "<x/>"},
			"names no Microsoft.VisualStudio.Services.Icons.Default"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := checkVSIX(vsix(t, test.entries), want)
			if (test.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestAVSIXOverTheLimitIsRefusedWithTheNumbers(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "big.vsix")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(mostVSIX + 7); err != nil {
		t.Fatal(err)
	}
	f.Close()
	_, err = checkVSIX(path, nil)
	if err == nil || !strings.Contains(err.Error(), "26214407 bytes, 7 more than the 26214400") {
		t.Errorf("got %v", err)
	}
}

func TestSettlingGivesTheSameBytesWhateverTheOrder(t *testing.T) {
	t.Parallel()
	entries := map[string]string{"T/a": strings.Repeat("a", 1000), "T/b": "bb", "T/c": "", "T/d": "d"}
	var first []byte
	for range 5 { // the maps above are written in another order each time
		out := filepath.Join(t.TempDir(), "out.vsix")
		if err := settle(vsix(t, entries), out); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		}
		if !bytes.Equal(first, data) {
			t.Fatal("two runs differ")
		}
	}
	z, err := zip.NewReader(bytes.NewReader(first), int64(len(first)))
	if err != nil || len(z.File) != len(entries)+len(ownParts) {
		t.Fatalf("%v", err)
	}
	for _, entry := range z.File {
		if r, err := entry.Open(); err != nil {
			t.Error(err)
		} else if _, err := io.Copy(io.Discard, r); err != nil { // also checks the CRC
			t.Errorf("%s: %v", entry.Name, err)
		}
	}
}
