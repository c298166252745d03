package trust

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"contenttrust/internal/secret"

	"github.com/theupdateframework/notary"
	"github.com/theupdateframework/notary/tuf/data"
	"github.com/theupdateframework/notary/tuf/utils"
)

// Store is a directory of private keys in docker's layout, so that docker and notary
// find them too: private/<key ID>.key, PKCS#8, with the role in a PEM header.
// Files have mode 0600 in directories of 0700, and appear whole or not at all.
type Store struct{ dir string }

// StoreError says what is wrong with a store or with a file in it. Err is the
// operating system's error, if that is the reason; fs.ErrNotExist when a key is not
// there.
type StoreError struct {
	Path    string
	Problem StoreProblem
	Mode    fs.FileMode // of Path, for WritableByOthers and NotADirectory
	Err     error
}

// StoreProblem is the kind of a [StoreError].
type StoreProblem string

// The kinds of [StoreError].
const (
	StoreIsSymlink   StoreProblem = "a symbolic link"
	WritableByOthers StoreProblem = "writable by others"
	NotADirectory    StoreProblem = "not a directory"
	NotAKeyFile      StoreProblem = "not a regular file"
	MisnamedKey      StoreProblem = "named after another key"
	InvalidName      StoreProblem = "invalid name" // of a key ID or role; Path is the name
	StoreFailed      StoreProblem = "cannot be used"
)

// Error implements error.
func (e *StoreError) Error() string {
	s := fmt.Sprintf("key store: %s: %s", printable(e.Path), e.Problem)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *StoreError) Unwrap() error { return e.Err }

// OpenStore opens the store in dir (docker's is ~/.docker/trust) and makes the
// directories that are missing. It refuses, with a *[StoreError], one that is a
// symbolic link or that anybody but its owner may write to.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, notary.PrivExecPerms); err != nil {
		return nil, &StoreError{Path: dir, Problem: StoreFailed, Err: err}
	}
	private := filepath.Join(dir, notary.PrivDir)
	for _, d := range []string{dir, private} {
		if d == private {
			if err := os.Mkdir(d, notary.PrivExecPerms); err != nil && !errors.Is(err, fs.ErrExist) {
				return nil, &StoreError{Path: d, Problem: StoreFailed, Err: err}
			}
		}
		if err := checkDirectory(d); err != nil {
			return nil, err
		}
	}
	return &Store{dir: private}, nil
}

func checkDirectory(dir string) error {
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return &StoreError{Path: dir, Problem: StoreFailed, Err: err}
	case info.Mode()&fs.ModeSymlink != 0:
		return &StoreError{Path: dir, Problem: StoreIsSymlink, Mode: info.Mode()}
	case !info.IsDir():
		return &StoreError{Path: dir, Problem: NotADirectory, Mode: info.Mode()}
	case runtime.GOOS != "windows" && info.Mode()&0o022 != 0: // Windows has lists instead
		return &StoreError{Path: dir, Problem: WritableByOthers, Mode: info.Mode()}
	}
	return nil
}

// Dir returns the directory that the key files are in.
func (s *Store) Dir() string { return s.dir }

// roleName is what may stand in the header; docker's rule for signer names, and the
// slashes of Notary's.
var roleName = regexp.MustCompile(`^[a-z0-9][a-z0-9_/-]{0,254}$`)

var keyID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Add writes a key, replacing a file for the same key. role goes into the header: for
// a delegation key docker expects the signer's name. The key is encrypted the way
// docker and notary can read (PBES2, AES-256-CBC, PBKDF2-HMAC-SHA1 with 2048
// rounds: only a long passphrase protects it); without a passphrase it is not encrypted.
func (s *Store) Add(k *Key, role string, passphrase secret.Value) error {
	if !roleName.MatchString(role) {
		return &StoreError{Path: role, Problem: InvalidName}
	}
	content, err := utils.ConvertPrivateKeyToPKCS8(k.private, data.RoleName(role), "", passphrase.Reveal())
	if err != nil {
		return &StoreError{Path: k.id, Problem: StoreFailed, Err: err}
	}
	defer clear(content)
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return &StoreError{Path: s.dir, Problem: StoreFailed, Err: err}
	}
	defer root.Close()
	if err := replace(root, fileName(k.id), content); err != nil {
		return &StoreError{Path: filepath.Join(s.dir, fileName(k.id)), Problem: StoreFailed, Err: err}
	}
	return nil
}

// replace writes a file under another name and renames it.
func replace(root *os.Root, name string, content []byte) (err error) {
	temporary := "." + rand.Text() + ".tmp"
	file, err := root.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, notary.PrivNoExecPerms)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(temporary)) // a key that is left behind is not kept quiet
		}
	}()
	_, err = file.Write(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return root.Rename(temporary, name)
}

func fileName(id string) string { return id + "." + notary.KeyExtension }

// Load reads the key with that canonical ID. Errors are *[StoreError], or *[KeyError]
// from [ReadKey].
func (s *Store) Load(id string, passphrase secret.Value) (*Key, error) {
	content, err := s.read(id)
	if err != nil {
		return nil, err
	}
	defer clear(content)
	key, err := ReadKey(content, passphrase)
	if err != nil {
		return nil, err
	}
	if key.id != id {
		return nil, &StoreError{Path: filepath.Join(s.dir, fileName(id)), Problem: MisnamedKey}
	}
	return key, nil
}

// Remove deletes a key's file. A key that is not there is no error.
func (s *Store) Remove(id string) error {
	if !keyID.MatchString(id) {
		return &StoreError{Path: id, Problem: InvalidName}
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return &StoreError{Path: s.dir, Problem: StoreFailed, Err: err}
	}
	defer root.Close()
	if err := root.Remove(fileName(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &StoreError{Path: filepath.Join(s.dir, fileName(id)), Problem: StoreFailed, Err: err}
	}
	return nil
}

// read returns the content of a key's file, at most a little more than [MaxKeySize].
func (s *Store) read(id string) ([]byte, error) {
	if !keyID.MatchString(id) {
		return nil, &StoreError{Path: id, Problem: InvalidName}
	}
	path := filepath.Join(s.dir, fileName(id))
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, &StoreError{Path: s.dir, Problem: StoreFailed, Err: err}
	}
	defer root.Close()
	info, err := root.Lstat(fileName(id))
	if err != nil {
		return nil, &StoreError{Path: path, Problem: StoreFailed, Err: err}
	}
	if !info.Mode().IsRegular() {
		return nil, &StoreError{Path: path, Problem: NotAKeyFile, Mode: info.Mode()}
	}
	file, err := root.Open(fileName(id))
	if err != nil {
		return nil, &StoreError{Path: path, Problem: StoreFailed, Err: err}
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, MaxKeySize+1))
	if err != nil {
		return nil, &StoreError{Path: path, Problem: StoreFailed, Err: err}
	}
	return content, nil
}

// StoredKey is one key of a store, as far as it is known without its passphrase.
type StoredKey struct {
	ID        string // by the file's name
	Role, GUN string // by its headers
	Encrypted bool
}

// List returns the keys of the store by ID. Files that are no keys are left out.
func (s *Store) List() ([]StoredKey, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, &StoreError{Path: s.dir, Problem: StoreFailed, Err: err}
	}
	var keys []StoredKey
	for _, entry := range entries {
		id, isKey := strings.CutSuffix(entry.Name(), "."+notary.KeyExtension)
		if !isKey {
			continue
		}
		content, err := s.read(id)
		if err != nil {
			continue
		}
		found, err := findBlocks(content)
		if err != nil || len(found.private) != 1 {
			continue
		}
		block := found.private[0]
		keys = append(keys, StoredKey{
			ID:        id,
			Role:      block.Headers["role"],
			GUN:       block.Headers["gun"],
			Encrypted: block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "",
		})
	}
	slices.SortFunc(keys, func(a, b StoredKey) int { return strings.Compare(a.ID, b.ID) })
	return keys, nil
}
