package notarytest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"contenttrust/internal/testkit/notarytest"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/notary/storage"
)

// TestTheContractHoldsForFakeAndRealServer runs one suite against our server and
// against notary-server, so that the fake cannot drift from the real one.
func TestTheContractHoldsForFakeAndRealServer(t *testing.T) {
	t.Run("fake", func(t *testing.T) {
		server := httptest.NewServer(notarytest.New())
		defer server.Close()
		contract(t, server.URL)
	})
	t.Run("notary-server", func(t *testing.T) {
		p, err := notarytest.StartProcess(t.Context())
		if errors.Is(err, notarytest.ErrNotInstalled) && os.Getenv("CI") != "true" {
			t.Log("notary-server is not installed: the contract is not checked against it")
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		contract(t, p.URL)
	})
}

func contract(t *testing.T, url string) {
	for name, test := range map[string]func(t *testing.T, c *contractClient){
		"an unknown collection is metadata not found":          unknownCollection,
		"a key endpoint keeps its key until rotated":           keyEndpoints,
		"files are served by name, by hash and by version":     threeNames,
		"an upload without files makes snapshot and timestamp": emptyUpload,
		"a stale version is refused with VERSION":              staleVersion,
		"a delegation nobody authorised is refused":            unauthorisedDelegation,
		"a missing snapshot is refused when the key is away":   missingSnapshot,
		"an upload to an unknown collection needs a root":      uploadWithoutRoot,
		"malformed uploads are named":                          malformedUploads,
		"a deleted collection is gone":                         deletion,
		"a delegation is stored under its whole name":          delegationNames,
		"a rotated root is served with its past":               rotatedRoot,
	} {
		t.Run(name, func(t *testing.T) {
			gun := "registry.example/" + strings.NewReplacer(" ", "-", ",", "").Replace(strings.ToLower(name))
			test(t, &contractClient{t, url, gun, notarytest.NewOwner(url, nil)})
		})
	}
}

type contractClient struct {
	t     *testing.T
	url   string
	gun   string
	owner *notarytest.Owner
}

func (c *contractClient) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *contractClient) do(method, name, contentType string, body []byte) (int, []byte) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, c.url+"/v2/"+c.gun+"/_trust/tuf/"+name, bytes.NewReader(body))
	c.must(err)
	r.Header.Set("Content-Type", contentType)
	response, err := http.DefaultClient.Do(r)
	c.must(err)
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	c.must(err)
	return response.StatusCode, answer
}

func (c *contractClient) get(name string) (int, []byte) {
	c.t.Helper()
	return c.do(http.MethodGet, name, "", nil)
}

func (c *contractClient) upload(files map[string][]byte) (int, []byte) {
	c.t.Helper()
	r, err := storage.NewMultiPartMetaRequest(c.url, files)
	c.must(err)
	body, err := io.ReadAll(r.Body)
	c.must(err)
	return c.do(http.MethodPost, "", r.Header.Get("Content-Type"), body)
}

// refused fails unless the answer is an error with that status, code and, if not
// empty, name of its detail.
func (c *contractClient) refused(status int, body []byte, wantStatus int, wantCode, wantDetail string) {
	c.t.Helper()
	var envelope struct {
		Errors []struct {
			Code   string
			Detail struct{ Name string }
		}
	}
	if err := json.Unmarshal(body, &envelope); err != nil || len(envelope.Errors) != 1 {
		c.t.Fatalf("status %d with a body that is not one error: %q", status, body)
	}
	e := envelope.Errors[0]
	if status != wantStatus || e.Code != wantCode || e.Detail.Name != wantDetail {
		c.t.Errorf("refused with %d %s %s, want %d %s %s: %s", status, e.Code, e.Detail.Name, wantStatus, wantCode, wantDetail, body)
	}
}

func (c *contractClient) version(name string) int {
	c.t.Helper()
	status, body := c.get(name)
	var file struct{ Signed struct{ Version int } }
	if err := json.Unmarshal(body, &file); err != nil || status != http.StatusOK {
		c.t.Fatalf("%s: status %d, %q", name, status, body)
	}
	return file.Signed.Version
}

func unknownCollection(t *testing.T, c *contractClient) {
	for _, name := range []string{"root.json", "timestamp.json", "snapshot.json", "targets/a.json", "2.root.json", "root." + strings.Repeat("a", 64) + ".json", "nonsense"} {
		status, body := c.get(name)
		c.refused(status, body, http.StatusNotFound, "METADATA_NOT_FOUND", "")
	}
}

func keyEndpoints(t *testing.T, c *contractClient) {
	c.must(c.owner.Init(c.gun))
	for _, name := range []string{"timestamp.key", "snapshot.key"} {
		_, first := c.get(name)
		_, second := c.get(name)
		if diff := cmp.Diff(string(first), string(second)); diff != "" {
			t.Errorf("%s changed by being read:\n%s", name, diff)
		}
		status, rotated := c.do(http.MethodPost, name, "", nil)
		if status != http.StatusOK || bytes.Equal(first, rotated) {
			t.Errorf("rotating %s: status %d, %s", name, status, rotated)
		}
	}
	status, body := c.get("targets.key")
	c.refused(status, body, http.StatusNotFound, "METADATA_NOT_FOUND", "")
}

func threeNames(t *testing.T, c *contractClient) {
	c.must(c.owner.Init(c.gun))
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		_, plain := c.get(role + ".json")
		sum := sha256.Sum256(plain)
		_, hashed := c.get(role + "." + hex.EncodeToString(sum[:]) + ".json")
		_, numbered := c.get(strconv.Itoa(c.version(role+".json")) + "." + role + ".json")
		if len(plain) == 0 || !bytes.Equal(plain, hashed) || !bytes.Equal(plain, numbered) {
			t.Errorf("%s differs by its name: %d, %d, %d bytes", role, len(plain), len(hashed), len(numbered))
		}
	}
}

func emptyUpload(t *testing.T, c *contractClient) {
	c.must(c.owner.Init(c.gun))
	// The library signs the first targets file twice, hence its version 2.
	if status, body := c.upload(nil); status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	got := map[string]int{}
	for _, role := range []string{"root", "targets", "snapshot", "timestamp"} {
		got[role] = c.version(role + ".json")
	}
	if diff := cmp.Diff(map[string]int{"root": 1, "targets": 2, "snapshot": 2, "timestamp": 2}, got); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

func staleVersion(t *testing.T, c *contractClient) {
	c.must(c.owner.Init(c.gun))
	_, targets := c.get("targets.json")
	status, body := c.upload(map[string][]byte{"targets": targets})
	c.refused(status, body, http.StatusBadRequest, "VERSION", "")
}

func unauthorisedDelegation(t *testing.T, c *contractClient) {
	alice, alicePublic, err := notarytest.GenerateKey()
	c.must(err)
	mallory, _, err := notarytest.GenerateKey()
	c.must(err)
	c.must(c.owner.Init(c.gun))
	c.must(c.owner.AddSigner(c.gun, "alice", alicePublic))
	target := notarytest.Target{Tag: "1", Digest: "sha256:" + strings.Repeat("ab", 32), Size: 7}
	c.must(c.owner.SignAs(c.gun, alice, []string{"targets/alice"}, target))
	status, file := c.get("targets/alice.json")
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, file)
	}
	status, body := c.upload(map[string][]byte{"targets/nobody": file})
	c.refused(status, body, http.StatusBadRequest, "INVALID_UPDATE", "ErrBadTargets")

	// The library refuses to sign for others, so we take alice's name off the file.
	if err := c.owner.SignAs(c.gun, mallory, []string{"targets/alice"}, notarytest.Target{Tag: "2", Digest: target.Digest, Size: 7}); err == nil {
		t.Error("a key without a role signed")
	}
	var signed map[string]json.RawMessage
	c.must(json.Unmarshal(file, &signed))
	signed["signatures"] = json.RawMessage("[]")
	unsigned, err := json.Marshal(signed)
	c.must(err)
	status, body = c.upload(map[string][]byte{"targets/alice": unsigned})
	c.refused(status, body, http.StatusBadRequest, "INVALID_UPDATE", "ErrBadTargets")
}

func missingSnapshot(t *testing.T, c *contractClient) {
	c.must(c.owner.InitOwnSnapshot(c.gun))
	status, body := c.upload(nil)
	c.refused(status, body, http.StatusBadRequest, "INVALID_UPDATE", "ErrBadHierarchy")
}

func uploadWithoutRoot(t *testing.T, c *contractClient) {
	status, body := c.upload(nil)
	c.refused(status, body, http.StatusBadRequest, "INVALID_UPDATE", "ErrValidation")
}

func malformedUploads(t *testing.T, c *contractClient) {
	c.must(c.owner.Init(c.gun))
	status, body := c.do(http.MethodPost, "", "application/json", []byte("{}"))
	c.refused(status, body, http.StatusBadRequest, "MALFORMED_UPLOAD", "")
	status, body = c.upload(map[string][]byte{"Nonsense!": []byte("{}")})
	if status != http.StatusBadRequest || !bytes.Contains(body, []byte("INVALID_ROLE")) {
		t.Errorf("status %d: %s", status, body)
	}
	status, body = c.upload(map[string][]byte{"targets": []byte("{")})
	c.refused(status, body, http.StatusBadRequest, "MALFORMED_JSON", "")
}

func deletion(t *testing.T, c *contractClient) {
	c.must(c.owner.Init(c.gun))
	if status, body := c.do(http.MethodDelete, "", "", nil); status != http.StatusOK {
		t.Fatalf("status %d: %s", status, body)
	}
	status, body := c.get("root.json")
	c.refused(status, body, http.StatusNotFound, "METADATA_NOT_FOUND", "")
}

func delegationNames(t *testing.T, c *contractClient) {
	alice, public, err := notarytest.GenerateKey()
	c.must(err)
	c.must(c.owner.Init(c.gun))
	c.must(c.owner.AddSigner(c.gun, "alice", public))
	target := notarytest.Target{Tag: "1", Digest: "sha256:" + strings.Repeat("ab", 32), Size: 7}
	c.must(c.owner.SignAs(c.gun, alice, []string{"targets/releases", "targets/alice"}, target))
	_, snapshot := c.get("snapshot.json")
	var file struct {
		Signed struct{ Meta map[string]any }
	}
	c.must(json.Unmarshal(snapshot, &file))
	want := []string{"root", "targets", "targets/alice", "targets/releases"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(file.Signed.Meta))); diff != "" {
		t.Errorf("roles of the snapshot (-want +got):\n%s", diff)
	}
}

func rotatedRoot(t *testing.T, c *contractClient) {
	c.must(c.owner.Init(c.gun))
	c.must(c.owner.RotateRoot(c.gun))
	if c.version("root.json") != 2 || c.version("1.root.json") != 1 || c.version("2.root.json") != 2 {
		t.Error("the root's versions are not 1 and 2")
	}
}
