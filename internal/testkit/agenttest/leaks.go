package agenttest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Leak is a place where something was found that must not be there.
type Leak struct {
	Path   string
	Needle []byte
}

// FindBytes looks for each of the needles in the names and the content of all files below the folders. Symbolic links
// are not followed, and folders that do not exist hold nothing.
func FindBytes(folders []string, needles ...[]byte) ([]Leak, error) {
	needles = notEmpty(needles)
	var leaks []Leak
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed while we look
			}
			if err != nil {
				return err
			}
			found := make([]bool, len(needles))
			for i, needle := range needles {
				found[i] = bytes.Contains([]byte(entry.Name()), needle)
			}
			if entry.Type().IsRegular() {
				if err := findIn(path, needles, found); err != nil && !errors.Is(err, fs.ErrNotExist) {
					return err
				}
			}
			for i, needle := range needles {
				if found[i] {
					leaks = append(leaks, Leak{path, needle})
				}
			}
			return nil
		})
		if err != nil {
			return leaks, err
		}
	}
	return leaks, nil
}

// notEmpty drops empty needles, which are everywhere.
func notEmpty(needles [][]byte) [][]byte {
	var kept [][]byte
	for _, n := range needles {
		if len(n) > 0 {
			kept = append(kept, n)
		}
	}
	return kept
}

// findIn reads a file in pieces that overlap by the longest needle, so that a large file needs little memory.
func findIn(path string, needles [][]byte, found []bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	longest := 1
	for _, n := range needles {
		longest = max(longest, len(n))
	}
	buf := make([]byte, 1<<20+longest)
	kept := 0
	for {
		n, err := f.Read(buf[kept:])
		window := buf[:kept+n]
		for i, needle := range needles {
			found[i] = found[i] || bytes.Contains(window, needle)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		kept = copy(buf, window[max(0, len(window)-longest+1):])
	}
}
