package task

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/pipeline"
	"contenttrust/internal/registry"
	"contenttrust/internal/secret"
)

func TestAListIsSplitAsDocker2SplitsIt(t *testing.T) {
	t.Parallel()
	for input, want := range map[string][]string{
		"":                     nil,
		" , \n,":               nil,
		"1":                    {"1"},
		"1\n2":                 {"1", "2"},
		"1,2\n3":               {"1", "2", "3"},
		"1\r\n2\r\n":           {"1", "2"},
		" 1 ,\t2 ":             {"1", "2"},
		"b\na\nb\na":           {"b", "a"},
		"1;2":                  {"1;2"}, // which no registry accepts, and is told so
		"latest\nLatest":       {"latest", "Latest"},
		"a b":                  {"a b"},
		strings.Repeat(",", 9): nil,
	} {
		if diff := cmp.Diff(want, list(input)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", input, diff)
		}
	}
}

func TestABooleanIsReadInAnyCaseAndNeverGuessed(t *testing.T) {
	t.Parallel()
	const yes, no, unset, wrong = "yes", "no", "unset", "wrong"
	for value, want := range map[string]string{
		"": unset, "  ": unset, "true": yes, "TRUE": yes, " Yes ": yes, "on": yes, "1": yes, "False": no, "no": no, "off": no, "0": no,
		"ture": wrong, "2": wrong, "y": wrong, "false positive": wrong,
	} {
		for _, byDefault := range []bool{true, false} {
			var f faults
			got := f.boolean("sign", value, byDefault)
			if expected := want == yes || want != no && byDefault; got != expected || (len(f.list) > 0) != (want == wrong) {
				t.Errorf("%q with the default %v is %v, with the faults %v", value, byDefault, got, f.list)
			}
		}
	}
}

func TestTheNearestCommandIsSuggested(t *testing.T) {
	t.Parallel()
	choices := []string{"buildAndPush", "build", "push", "sign", "verify"}
	for word, want := range map[string]string{
		"bulid": "build", "BUILDANDPUSH": "buildAndPush", "build and push": "buildAndPush", "singe": "sign", "pus": "push", "verfy": "verify", "": "push",
	} {
		if got := nearest(word, choices); got != want {
			t.Errorf("%q suggests %s, want %s", word, got, want)
		}
	}
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kitten", "sitting", 3}, {"same", "same", 0}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("from %q to %q are %d steps, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestTheRepositoryIsJoinedAsDocker2JoinsIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ host, input, want string }{
		{"reg.azurecr.io", "team/app", "reg.azurecr.io/team/app"},
		{"reg.azurecr.io", "Team/App", "reg.azurecr.io/team/app"},
		{"reg.azurecr.io", " team / app ", "reg.azurecr.io/team/app"},
		{"reg.azurecr.io", "reg.azurecr.io/team/app", "reg.azurecr.io/team/app"},
		{"index.docker.io", "fabrikam/app", "docker.io/fabrikam/app"},
		{"localhost:5000", "app", "localhost:5000/app"},
	} {
		in := Inputs{ContainerRegistry: "c", Repository: c.input, Tags: "1", Sign: "false"}
		p, err := in.Plan(false)
		if err != nil {
			t.Errorf("%q: %v", c.input, err)
			continue
		}
		got, err := p.repository(pipeline.Login{Registry: c.host})
		if err != nil || got.String() != c.want {
			t.Errorf("%q at %s is %q, want %q (%v)", c.input, c.host, got, c.want, err)
		}
	}
}

func TestAnInputErrorNamesItsInputs(t *testing.T) {
	t.Parallel()
	err := error(&InputError{Faults: []Fault{{Input: "tags", Problem: "is empty"}, {Input: "sign", Problem: `"ja" is neither true nor false`}}})
	if got := err.Error(); got != `tags: is empty; sign: "ja" is neither true nor false` {
		t.Errorf("got %s", got)
	}
}

// FuzzPlan looks for inputs that make Plan panic, and for plans that hold what no later step could use.
func FuzzPlan(f *testing.F) {
	f.Add("c", "team/app", "1\n2", "buildAndPush", "true", "key", "", "", "", "", "false")
	f.Add("", "../x", "a b,##vso[task.setvariable]", "bulid", "ture", "", "-----BEGIN", "$(pass)", "bob", "x=*", "true")
	f.Add("$(c)", "$(r)", "$(t)", "$(c)", "$(s)", "$(k)", "$(x)", "", "$(s)", "$(r)", "$(q)")
	f.Add("c", "İ/\x00", "\xff", "Σ", "1", "k", "", "", "-", strings.Repeat("0", 64)+"\nreg/x/*="+strings.Repeat("f", 64), "1")
	f.Fuzz(func(t *testing.T, connection, repository, tags, command, sign, key, text, passphrase, signer, pins, requirePin string) {
		in := Inputs{
			ContainerRegistry: connection, Repository: repository, Tags: tags, Command: command, Sign: sign, DelegationKey: key,
			DelegationKeyText: secret.New(text), DelegationKeyPassphrase: secret.New(passphrase), Signer: signer, RootKeys: pins, RequirePin: requirePin,
		}
		for _, lenient := range []bool{false, true} {
			p, err := in.Plan(lenient)
			if err != nil {
				wrong, ok := errors.AsType[*InputError](err)
				if !ok || len(wrong.Faults) == 0 || len(Explain(err)) != len(wrong.Faults) {
					t.Fatalf("an error that says nothing: %v", err)
				}
				for _, e := range Explain(err) {
					judge(t, "task.InputError", err, Explanation{Code: e.Code, What: ".", Do: e.Do})
				}
				continue
			}
			if lenient {
				continue
			}
			if len(p.Tags) == 0 || p.Name == "" || p.Connection == "" || p.Sign && p.KeyFile == "" && p.KeyText.Empty() {
				t.Fatalf("a plan that cannot be followed: %+v", p)
			}
			for _, tag := range p.Tags {
				if err := registry.CheckTag(tag); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := p.repository(pipeline.Login{Registry: "registry.example.com"}); err != nil {
				t.Fatal(err)
			}
		}
	})
}
