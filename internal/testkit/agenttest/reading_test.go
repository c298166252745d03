package agenttest

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommandsAreReadAsTheAgentReadsThem(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		line string
		want Command
		ok   bool
	}{
		"properties and data":            {"##vso[task.setvariable variable=a;issecret=true;]b", Command{"task.setvariable", map[string]string{"variable": "a", "issecret": "true"}, "b"}, true},
		"anywhere in a line":             {"x ##vso[a.b]c", Command{"a.b", map[string]string{}, "c"}, true},
		"escapes":                        {"##vso[a.b p=%5D%3B%AZP253B]%0D%0A%25", Command{"a.b", map[string]string{"p": "];%3B"}, "\r\n%25"}, true},
		"an equals sign":                 {"##vso[a.b p=q=r]", Command{"a.b", map[string]string{"p": "q=r"}, ""}, true},
		"no property value":              {"##vso[a.b p=;q]", Command{"a.b", map[string]string{}, ""}, true},
		"the prefix in capitals is none": {"##VSO[a.b]c", Command{}, false},
		"no bracket":                     {"##vso[a.b c", Command{}, false},
		"one word":                       {"##vso[ab]c", Command{}, false},
		"three words":                    {"##vso[a.b.c]d", Command{}, false},
	}
	for name, test := range tests {
		got, ok := parseCommand(test.line)
		if diff := cmp.Diff(test.want, got); diff != "" || ok != test.ok {
			t.Errorf("%s: %t %s", name, ok, diff)
		}
	}
}

func TestLinesEndAsInDotNet(t *testing.T) {
	t.Parallel()
	var got []string
	readLines(strings.NewReader("a\nb\r\nc\rd\r\r\n\ne"), func(s string) { got = append(got, s) })
	if want := []string{"a", "b", "c", "d", "", "", "e"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestJobSecretsAreMaskedInTheFormsThatTheAgentKnows(t *testing.T) {
	t.Parallel()
	var m mask
	m.addJobSecret(` "q u"`)
	m.addJobSecret(`p%a/s\s`)
	for _, form := range []string{
		`q u`, `p%a/s\s`, `p%AZP25a/s\s`, base64.StdEncoding.EncodeToString([]byte(`p%a/s\s`)), `p%25a%2Fs%5Cs`, `p%a/s\\s`,
	} {
		if got := m.hide("x" + form + "y"); strings.Contains(got, form) {
			t.Errorf("%s shows as %s", form, got)
		}
	}
	if got := m.hide("nothing here"); got != "nothing here" {
		t.Error(got)
	}
}

func TestFindBytesLooksIntoNamesAndContentAndAcrossItsOwnPieces(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	needle := []byte("the secret needle")
	big := append(make([]byte, 1<<20+len(needle)-5), needle...)
	for name, data := range map[string][]byte{"big": big, "clean": []byte("the secret needl"), "sub-abc.key": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	leaks, err := FindBytes([]string{dir, filepath.Join(dir, "absent")}, needle, []byte("abc.key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Leak{{filepath.Join(dir, "big"), needle}, {filepath.Join(dir, "sub-abc.key"), []byte("abc.key")}}
	if diff := cmp.Diff(want, leaks); diff != "" {
		t.Error(diff)
	}
}
