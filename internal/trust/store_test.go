package trust

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"contenttrust/internal/secret"

	"github.com/google/go-cmp/cmp"
	"github.com/theupdateframework/notary/trustmanager"
)

func readTestKey(t testing.TB, file string) *Key {
	t.Helper()
	key, err := ReadKey(keyFile(t, file), secret.New(testPassphrase))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestAStoredKeyIsReadBackAndByNotarysLibrary(t *testing.T) {
	t.Parallel()
	for _, passphrase := range []string{"", testPassphrase} {
		for _, file := range []string{"ec-sec1.pem", "rsa-pkcs1.pem", "ec-p384-sec1.pem", "ed25519-pkcs8.pem"} {
			dir := filepath.Join(t.TempDir(), "trust")
			store, err := OpenStore(dir)
			if err != nil {
				t.Fatal(err)
			}
			key := readTestKey(t, file)
			if err := store.Add(key, "alice", secret.New(passphrase)); err != nil {
				t.Fatal(err)
			}
			again, err := store.Load(key.ID(), secret.New(passphrase))
			if err != nil || again.ID() != key.ID() || again.Role() != "alice" {
				t.Fatalf("%s: read back %v, %v", file, again, err)
			}
			list, err := store.List()
			want := []StoredKey{{ID: key.ID(), Role: "alice", Encrypted: passphrase != ""}}
			if diff := cmp.Diff(want, list); diff != "" || err != nil {
				t.Errorf("%s: list (-want +got): %s %v", file, diff, err)
			}
			library, err := trustmanager.NewKeyFileStore(dir, func(string, string, bool, int) (string, bool, error) { return passphrase, false, nil })
			if err != nil {
				t.Fatal(err)
			}
			private, role, err := library.GetKey(key.ID())
			if err != nil || private.ID() != key.ID() || role != "alice" {
				t.Errorf("%s: notary reads %v, %v", file, role, err)
			}
		}
	}
}

func TestAStoreIsForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "trust")
	store, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	key := readTestKey(t, "ec-sec1.pem")
	for range 2 { // the second replaces the first
		if err := store.Add(key, "alice", secret.New(testPassphrase)); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]fs.FileMode{}
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		rel, _ := filepath.Rel(dir, path)
		got[filepath.ToSlash(rel)] = info.Mode()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	want := map[string]fs.FileMode{
		".":                            fs.ModeDir | 0o700,
		"private":                      fs.ModeDir | 0o700,
		"private/" + key.ID() + ".key": 0o600,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestAnUnsafeStoreIsRefused(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("Windows has access lists instead of modes, and links need a privilege")
	}
	for name, test := range map[string]struct {
		make func(dir string) error
		want StoreProblem
	}{
		"a symbolic link": {func(dir string) error {
			return errors.Join(os.Mkdir(dir+"2", 0o700), os.Symlink(dir+"2", dir))
		}, StoreIsSymlink},
		"a link inside": {func(dir string) error {
			return errors.Join(os.MkdirAll(dir, 0o700), os.Mkdir(dir+"2", 0o700), os.Symlink(dir+"2", filepath.Join(dir, "private")))
		}, StoreIsSymlink},
		"writable by the group": {func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o770))
		}, WritableByOthers},
		"writable by all inside": {func(dir string) error {
			private := filepath.Join(dir, "private")
			return errors.Join(os.MkdirAll(private, 0o700), os.Chmod(private, 0o777))
		}, WritableByOthers},
		"a file": {func(dir string) error { return os.WriteFile(dir, nil, 0o600) }, StoreFailed},
		"a file inside": {func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(dir, "private"), nil, 0o600))
		}, NotADirectory},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "trust")
			if err := test.make(dir); err != nil {
				t.Fatal(err)
			}
			_, err := OpenStore(dir)
			var got *StoreError
			if !errors.As(err, &got) || got.Problem != test.want {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestAStoreRefusesWhatIsNotItsOwn(t *testing.T) {
	t.Parallel()
	store, err := OpenStore(filepath.Join(t.TempDir(), "trust"))
	if err != nil {
		t.Fatal(err)
	}
	key := readTestKey(t, "ec-sec1.pem")
	other := strings.Repeat("a", 64)
	path := func(id string) string { return filepath.Join(store.Dir(), id+".key") }
	if err := os.WriteFile(path(other), keyFile(t, "ec-sec1.pem"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := strings.Repeat("b", 64)
	if runtime.GOOS == "windows" { // links need a privilege there; a directory is no key either
		if err := os.Mkdir(path(link), 0o700); err != nil {
			t.Fatal(err)
		}
	} else if err := os.Symlink(path(other), path(link)); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		id      string
		problem StoreProblem
		is      error
	}{
		"a key that is not there":  {strings.Repeat("c", 64), StoreFailed, fs.ErrNotExist},
		"a file with another key":  {other, MisnamedKey, nil},
		"a link":                   {link, NotAKeyFile, nil},
		"a path":                   {"../../etc/passwd", InvalidName, nil},
		"an ID in capital letters": {strings.ToUpper(other), InvalidName, nil},
	} {
		_, err := store.Load(test.id, secret.Value{})
		var got *StoreError
		if !errors.As(err, &got) || got.Problem != test.problem || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, role := range []string{"", "a b", "a\nrole: root", "A", "../x", strings.Repeat("a", 300)} {
		if err := store.Add(key, role, secret.Value{}); !errors.As(err, new(*StoreError)) {
			t.Errorf("role %q: %v", role, err)
		}
	}
	if err := errors.Join(store.Remove(other), store.Remove(other)); err != nil {
		t.Error(err)
	}
}

func TestAFailedWriteLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	store, err := OpenStore(filepath.Join(t.TempDir(), "trust"))
	if err != nil {
		t.Fatal(err)
	}
	key := readTestKey(t, "ec-sec1.pem")
	// A directory in the key's place cannot be replaced by a file.
	if err := os.MkdirAll(filepath.Join(store.Dir(), key.ID()+".key", "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := store.Add(key, "alice", secret.Value{}); !errors.As(err, new(*StoreError)) {
		t.Errorf("got %v, want a StoreError", err)
	}
	entries, err := os.ReadDir(store.Dir())
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestNotarysCommandLineListsAStoredKey(t *testing.T) {
	t.Parallel()
	notary, err := exec.LookPath("notary")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("notary is not installed")
		}
		t.Log("notary is not installed: the store is not checked against it")
		return
	}
	dir := filepath.Join(t.TempDir(), "trust")
	store, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	key := readTestKey(t, "ec-pbes2-default.pem")
	if err := store.Add(key, "alice", secret.New(testPassphrase)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), notary, "-d", dir, "key", "list").CombinedOutput()
	if err != nil || !strings.Contains(string(out), key.ID()) || !strings.Contains(string(out), "alice") {
		t.Errorf("%v: %s", err, out)
	}
	// Changing the passphrase makes notary decrypt the file.
	passwd := exec.CommandContext(t.Context(), notary, "-d", dir, "key", "passwd", key.ID())
	passwd.Env = append(os.Environ(), "NOTARY_DELEGATION_PASSPHRASE="+testPassphrase, "NOTARY_ALICE_PASSPHRASE="+testPassphrase)
	if out, err := passwd.CombinedOutput(); err != nil || !strings.Contains(string(out), "Successfully updated") {
		t.Errorf("%v: %s", err, out)
	}
}
