//go:build !windows

package task

import (
	"io/fs"
	"os"
	"syscall"
)

// private says whether nobody but we may enter the folder. A folder of somebody else's is not private, whatever its mode.
func private(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().Perm()&0o077 == 0 && int(stat.Uid) == os.Geteuid()
}
