package rig

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What docker CLI 28.2.2 printed for a repository with one signer.
const inspected = `[
    {
        "Name": "127.0.0.1:5000/app",
        "SignedTags": [
            {"SignedTag": "v1", "Digest": "aa11", "Signers": ["bob", "alice"]},
            {"SignedTag": "v2", "Digest": "bb22", "Signers": ["Repo Admin"]}
        ],
        "Signers": [{"Name": "alice", "Keys": [{"ID": "k2"}, {"ID": "k1"}]}],
        "AdministrativeKeys": [
            {"Name": "Root", "Keys": [{"ID": "r"}]},
            {"Name": "Repository", "Keys": [{"ID": "t"}]}
        ]
    }
]`

func TestTrustInspectIsReadIntoTagsDigestsAndSigners(t *testing.T) {
	t.Parallel()
	got, err := parseTrust([]byte(inspected))
	if err != nil {
		t.Fatal(err)
	}
	want := Trust{
		Tags: map[string]SignedTag{
			"v1": {Digest: "sha256:aa11", Signers: []string{"alice", "bob"}},
			"v2": {Digest: "sha256:bb22", Signers: []string{"Repo Admin"}},
		},
		Signers:  map[string][]string{"alice": {"k1", "k2"}},
		RootKeys: []string{"r"}, RepositoryKeys: []string{"t"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := parseTrust([]byte("[]")); err == nil {
		t.Error("no repository at all is taken for an answer")
	}
}

func TestNotaryListIsReadIntoRows(t *testing.T) {
	t.Parallel()
	const table = "NAME    DIGEST    SIZE (BYTES)    ROLE\n----    ------    ------------    ----\n" +
		"v1      aa11      528             targets/releases\nv2      bb22      1024            targets\n"
	got, err := parseNotaryList(table)
	if err != nil {
		t.Fatal(err)
	}
	want := []NotaryTarget{
		{Tag: "v1", Digest: "sha256:aa11", Size: 528, Role: "targets/releases"},
		{Tag: "v2", Digest: "sha256:bb22", Size: 1024, Role: "targets"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if rows, err := parseNotaryList("\nNo targets present in this repository.\n"); err != nil || len(rows) != 0 {
		t.Errorf("an empty repository: %v, %v", rows, err)
	}
	if _, err := parseNotaryList("fatal: out of cheese"); err == nil {
		t.Error("text without a table is taken for an answer")
	}
}
