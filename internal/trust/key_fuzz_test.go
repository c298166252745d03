package trust

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"contenttrust/internal/secret"
)

func FuzzReadKey(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "keys", "*"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(content, testPassphrase)
		f.Add(content, "")
	}
	f.Fuzz(func(t *testing.T, content []byte, passphrase string) {
		key, err := ReadKey(content, secret.New(passphrase))
		var keyError *KeyError
		switch {
		case err != nil && (key != nil || !errors.As(err, &keyError)):
			t.Fatalf("key %v with error %v", key, err)
		case err == nil && len(key.ID()) != 64:
			t.Fatalf("ID %q", key.ID())
		case err != nil && keyError.Detail == "the parser gave up":
			t.Fatal("a parser panicked")
		}
	})
}
