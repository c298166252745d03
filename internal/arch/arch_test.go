// Package arch holds the test that keeps the walls between the packages standing: arrows go down only, crafts never
// import each other, and each library stays in the one room that may know it. docs/layout.md draws the same picture.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "contenttrust"

// mayImport lists, for each package of ours, the packages of ours that it may import.
var mayImport = map[string][]string{
	"internal/secret":   {},
	"internal/pipeline": {"internal/secret"},
	"internal/registry": {"internal/secret"},
	"internal/docker":   {"internal/secret"},
	"internal/trust":    {"internal/secret"},
	"task":              {"internal/pipeline", "internal/registry", "internal/docker", "internal/trust", "internal/secret"},
	"cmd/contenttrust":  {"task", "internal/pipeline", "internal/registry", "internal/docker", "internal/trust", "internal/secret"},
}

// rooms lists, for each library that shapes what touches it, the packages that may import it.
var rooms = map[string][]string{
	"github.com/microsoft/azure-devops-go-api": {"internal/pipeline"},
	"github.com/sethvargo/go-envconfig":        {"internal/pipeline"},
	"github.com/docker/docker":                 {"internal/docker"},
	"github.com/docker/cli":                    {"internal/docker"},
	"github.com/moby/":                         {"internal/docker"},
	"github.com/tonistiigi/":                   {"internal/docker"},
	"github.com/theupdateframework/notary":     {"internal/trust"},
	"github.com/google/go-containerregistry":   {"internal/registry"},
	"github.com/spf13/cobra":                   {"cmd/contenttrust"},
	// Reflection over methods makes the linker keep every method there is; the executable would grow by half.
	"text/template": {},
	"html/template": {},
	"net/rpc":       {},
}

// shipped says whether the folder's code gets into the executable.
func shipped(folder string) bool {
	return !strings.HasPrefix(folder, "internal/testkit") && !strings.HasPrefix(folder, "cmd/playground") && !strings.HasPrefix(folder, "tools/") && !strings.HasPrefix(folder, "examples/")
}

func TestArrowsGoDownAndLibrariesStayInTheirRooms(t *testing.T) {
	seen := map[string]bool{}
	for folder, imports := range sourceImports(t, filepath.Join("..", "..")) {
		if !shipped(folder) {
			continue
		}
		allowed, known := mayImport[folder]
		if !known {
			t.Errorf("%s is a package that this test does not know: give it its place in mayImport, and in docs/layout.md", folder)
		}
		seen[folder] = true
		for _, path := range imports {
			if ours, ok := strings.CutPrefix(path, module+"/"); ok && !slices.Contains(allowed, ours) {
				t.Errorf("%s imports %s, which is not below it", folder, ours)
			}
			for library, may := range rooms {
				if (path == strings.TrimSuffix(library, "/") || strings.HasPrefix(path, strings.TrimSuffix(library, "/")+"/")) && !slices.Contains(may, folder) {
					t.Errorf("%s imports %s, which belongs to %v", folder, path, may)
				}
			}
		}
	}
	for folder := range mayImport {
		if !seen[folder] {
			t.Errorf("%s is in mayImport and holds no code", folder)
		}
	}
}

// sourceImports gives the imports of every folder's non-test files below root.
func sourceImports(t *testing.T, root string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() {
			if path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "dist" || name == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		folder = filepath.ToSlash(folder)
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			found[folder] = append(found[folder], imported)
		}
		if found[folder] == nil {
			found[folder] = []string{}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestTheTestItselfSeesImports(t *testing.T) {
	imports := sourceImports(t, filepath.Join("..", ".."))
	if !slices.Contains(imports["cmd/contenttrust"], "github.com/spf13/cobra") {
		t.Error("cmd/contenttrust imports cobra, and this test does not see it")
	}
}
