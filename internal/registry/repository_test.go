package registry

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRepositoriesAreReadInFull(t *testing.T) {
	t.Parallel()
	for input, want := range map[string]Repository{
		"contoso.azurecr.io/app":          {"contoso.azurecr.io", "app"},
		"contoso.azurecr.io/a/b-c/d__e.f": {"contoso.azurecr.io", "a/b-c/d__e.f"},
		"localhost/app":                   {"localhost", "app"},
		"localhost:5000/app":              {"localhost:5000", "app"},
		"127.0.0.1:5000/app":              {"127.0.0.1:5000", "app"},
		"[::1]:5000/app":                  {"[::1]:5000", "app"},
		"registry:5000/a---b":             {"registry:5000", "a---b"},
		"docker.io/team/app":              {"docker.io", "team/app"},
		"docker.io/alpine":                {"docker.io", "library/alpine"},
		"index.docker.io/alpine":          {"docker.io", "library/alpine"},
	} {
		got, err := ParseRepository(input)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", input, got, err, want)
		}
	}
	r := Repository{Host: "docker.io", Path: "library/alpine"}
	if r.GUN() != "docker.io/library/alpine" || r.Tag("3") != "docker.io/library/alpine:3" {
		t.Errorf("names are %s and %s", r.GUN(), r.Tag("3"))
	}
}

func TestUnusableNamesAreRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	long := "contoso.azurecr.io/" + strings.Repeat("a", 237)
	for _, c := range []struct {
		input    string
		kind     NameKind
		position int
		meant    string
	}{
		{"", NameEmpty, 0, ""},
		{"app", NameNoHost, 0, ""},
		{"team/app", NameNoHost, 0, ""},
		{"contoso.azurecr.io", NameNoHost, 0, ""},
		{"localhost:5000", NameNoHost, 0, ""},
		{"https://contoso.azurecr.io/app", NameHasScheme, 5, ""},
		{"contoso.azurecr.io/app:1.0", NameHasTag, 22, ""},
		{"contoso.azurecr.io/app@sha256:00", NameHasDigest, 22, ""},
		{"contoso.azurecr.io/app:1@sha256:00", NameHasDigest, 24, ""},
		{"Contoso.azurecr.io/App", NameUpperCase, 0, "contoso.azurecr.io/app"},
		{"contoso.azurecr.io/App", NameUpperCase, 19, "contoso.azurecr.io/app"},
		{"contoso.azurecr.io/App..", NameUpperCase, 19, ""},
		{"contoso.azurecr.io/../../etc", NameTraversal, 19, ""},
		{"contoso.azurecr.io/a/./b", NameTraversal, 21, ""},
		{"contoso.azurecr.io/a/..", NameTraversal, 21, ""},
		{"contoso.azurecr.io//app", NameEmptyComponent, 19, ""},
		{"contoso.azurecr.io/app/", NameEmptyComponent, 23, ""},
		{"contoso.azurecr.io/", NameEmptyComponent, 19, ""},
		{"contoso.azurecr.io/a\x00b", NameBadCharacter, 20, ""},
		{"contoso.azurecr.io/a\\b", NameBadCharacter, 20, ""},
		{"contoso.azurecr.io/ä", NameBadCharacter, 19, ""},
		{"contoso.azurecr.io/a b", NameBadCharacter, 20, ""},
		{"contoso.azurecr.io/-a", NameBadCharacter, 19, ""},
		{"contoso.azurecr.io/a-", NameBadCharacter, 20, ""},
		{"contoso.azurecr.io/a..b", NameBadCharacter, 21, ""},
		{"contoso.azurecr.io/a___b", NameBadCharacter, 22, ""},
		{"contoso.azurecr.io/a._b", NameBadCharacter, 21, ""},
		{"contoso..io/app", NameBadHost, 0, ""},
		{"-a.io/app", NameBadHost, 0, ""},
		{"a_b.io/app", NameBadHost, 0, ""},
		{"contoso.azurecr.io:0/app", NameBadHost, 0, ""},
		{"contoso.azurecr.io:70000/app", NameBadHost, 0, ""},
		{"contoso.azurecr.io:/app", NameBadHost, 0, ""},
		{"127.1/app", NameBadHost, 0, ""},
		{"[fe80::1%25eth0]:5000/app", NameBadHost, 0, ""},
		{"..:1/app", NameBadHost, 0, ""},
		{long, NameTooLong, 255, ""},
	} {
		got, err := ParseRepository(c.input)
		if got != (Repository{}) {
			t.Errorf("%q: gives %+v with an error", c.input, got)
		}
		want := &ReferenceError{What: "repository", Input: c.input, Kind: c.kind, Position: c.position, Suggestion: c.meant}
		if e, ok := errors.AsType[*ReferenceError](err); !ok {
			t.Errorf("%q: error is %v", c.input, err)
		} else if diff := cmp.Diff(want, e); diff != "" {
			t.Error(diff)
		}
	}
	if _, err := ParseRepository(long[:255]); err != nil {
		t.Errorf("255 bytes: %v", err)
	}
	_, err := ParseRepository(strings.Repeat("x", 1<<20))
	mustSee(t, err, func(e *ReferenceError) bool { return len(e.Input) == 300 })
}

func TestTagsFollowTheGrammar(t *testing.T) {
	t.Parallel()
	for _, tag := range []string{"1", "latest", "_x", "V1.2-rc_3", strings.Repeat("a", 128)} {
		if err := CheckTag(tag); err != nil {
			t.Errorf("%q: %v", tag, err)
		}
	}
	for tag, want := range map[string]ReferenceError{
		"":                       {Kind: NameEmpty},
		".1":                     {Kind: NameBadFirst},
		"-1":                     {Kind: NameBadFirst},
		"a b":                    {Kind: NameBadCharacter, Position: 1},
		"refs/heads":             {Kind: NameBadCharacter, Position: 4},
		"1+2":                    {Kind: NameBadCharacter, Position: 1},
		"tag:x":                  {Kind: NameBadCharacter, Position: 3},
		"é":                      {Kind: NameBadCharacter},
		strings.Repeat("a", 129): {Kind: NameTooLong, Position: 128},
	} {
		mustSee(t, CheckTag(tag), func(e *ReferenceError) bool {
			return e.What == "tag" && e.Kind == want.Kind && e.Position == want.Position && e.Input == tag
		})
	}
}

func TestOnlySHA256DigestsAreDigests(t *testing.T) {
	t.Parallel()
	if err := CheckDigest(DigestOf(nil)); err != nil {
		t.Error(err)
	}
	const hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if got := DigestOf(nil); got != "sha256:"+hex {
		t.Errorf("digest of nothing is %s", got)
	}
	for _, bad := range []string{"", hex, "sha512:" + hex, "sha256:" + hex[1:], "sha256:" + strings.ToUpper(hex), "sha256:" + hex + "0"} {
		mustSee(t, CheckDigest(bad), func(e *ReferenceError) bool { return e.What == "digest" && e.Kind == NameNotSHA256 })
	}
}

func FuzzParseRepository(f *testing.F) {
	for _, seed := range []string{"contoso.azurecr.io/a/b", "docker.io/x", "[::1]:1/a", "localhost/a__b.c-d", "A.b/C", "a.b/../c", "x.y/a:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseRepository(s)
		if err != nil {
			if e, ok := errors.AsType[*ReferenceError](err); !ok || e.Position < 0 || e.Position > len(s) {
				t.Fatalf("%q: %#v", s, err)
			}
			return
		}
		if again, err := ParseRepository(r.String()); err != nil || again != r {
			t.Fatalf("%q reads as %+v and then as %+v, %v", s, r, again, err)
		}
		if strings.ContainsAny(r.String(), "\\\x00@ %?#") || strings.Contains(r.String(), "..") || strings.Contains(r.String(), "//") {
			t.Fatalf("%q gives %s", s, r)
		}
	})
}

func FuzzCheckTag(f *testing.F) {
	for _, seed := range []string{"1.0", "", "-", "a/b", strings.Repeat("x", 129)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckTag(s) == nil && (s == "" || len(s) > 128 || strings.ContainsAny(s, "/:@ \x00%")) {
			t.Fatalf("%q is accepted", s)
		}
	})
}
