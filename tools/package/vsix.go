package main

import (
	"archive/zip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

// mostVSIX is the largest extension, in bytes, that the galleries of older Azure DevOps Servers take. The Marketplace
// itself takes more.
const mostVSIX = 26214400

// ownAssets are the files that the Marketplace shows by their kind rather than their name. A VSIX that does not say which
// they are is accepted, and shown without icon and text.
var ownAssets = []string{
	"Microsoft.VisualStudio.Services.Icons.Default",
	"Microsoft.VisualStudio.Services.Content.Details",
	"Microsoft.VisualStudio.Services.Content.License",
}

// ownParts are the files of a VSIX that tfx writes itself.
var ownParts = []string{"[Content_Types].xml", "extension.vsixmanifest", "extension.vsomanifest"}

// settle rewrites a zip with its entries in order and with one fixed time, so that the same sources give the same VSIX,
// byte for byte. The compressed data is taken over as it is.
func settle(from, to string) error {
	in, err := zip.OpenReader(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	w := zip.NewWriter(out)
	entries := slices.Clone(in.File)
	slices.SortFunc(entries, func(a, b *zip.File) int { return strings.Compare(a.Name, b.Name) })
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name, "/") {
			continue
		}
		header := zip.FileHeader{
			Name: entry.Name, Method: entry.Method, CRC32: entry.CRC32,
			CompressedSize64: entry.CompressedSize64, UncompressedSize64: entry.UncompressedSize64,
			ModifiedDate: 1<<5 | 1, //nolint:staticcheck // CreateRaw heeds no Modified. 1 January 1980, the first day that a zip knows
		}
		if err := copyEntry(w, entry, header); err != nil {
			return fmt.Errorf("%s: %w", entry.Name, err)
		}
	}
	return errors.Join(w.Close(), out.Close())
}

func copyEntry(w *zip.Writer, entry *zip.File, header zip.FileHeader) error {
	data, err := entry.OpenRaw()
	if err != nil {
		return err
	}
	dst, err := w.CreateRaw(&header)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, data)
	return err
}

// checkVSIX opens a VSIX and compares it with the files that belong into it: all of them, unchanged, and no other. It
// gives the size of the VSIX in bytes.
func checkVSIX(path string, want map[string]file) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	if info.Size() > mostVSIX {
		return 0, fmt.Errorf("%s has %d bytes, %d more than the %d that every gallery takes",
			path, info.Size(), info.Size()-mostVSIX, int64(mostVSIX))
	}
	z, err := zip.OpenReader(path)
	if err != nil {
		return 0, err
	}
	defer z.Close()
	var problems []string
	seen := map[string]bool{}
	for _, entry := range z.File {
		expected, known := want[entry.Name]
		switch {
		case seen[entry.Name]:
			problems = append(problems, entry.Name+" is there twice")
		case entry.Name == "extension.vsixmanifest":
			problems = append(problems, checkAssets(entry)...)
		case slices.Contains(ownParts, entry.Name):
		case !known:
			problems = append(problems, entry.Name+" does not belong there")
		default:
			if err := sameContent(entry, expected); err != nil {
				problems = append(problems, entry.Name+" "+err.Error())
			}
		}
		seen[entry.Name] = true
	}
	for _, name := range append(slices.Sorted(maps.Keys(want)), ownParts...) {
		if !seen[name] {
			problems = append(problems, name+" is missing")
		}
	}
	if len(problems) > 0 {
		return 0, fmt.Errorf("%s is not what was staged:\n\t%s", path, strings.Join(problems, "\n\t"))
	}
	return info.Size(), nil
}

func sameContent(entry *zip.File, want file) error {
	r, err := entry.Open()
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	defer r.Close()
	h := sha256.New()
	// One byte more than expected is enough to know that it is another file.
	if _, err := io.Copy(h, io.LimitReader(r, want.size+1)); err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	if [sha256.Size]byte(h.Sum(nil)) != want.sum {
		return errors.New("differs from the staged file")
	}
	return nil
}

func checkAssets(entry *zip.File) []string {
	r, err := entry.Open()
	if err != nil {
		return []string{err.Error()}
	}
	defer r.Close()
	manifest, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, kind := range ownAssets {
		if !strings.Contains(string(manifest), `"`+kind+`"`) {
			problems = append(problems, entry.Name+" names no "+kind)
		}
	}
	return problems
}
