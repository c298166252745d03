//go:build !windows

package task

import (
	"io/fs"
	"os"
	"runtime"
	"syscall"
)

// private says whether nobody but we may enter the folder. A folder of somebody else's is not private, whatever its mode.
func private(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.Mode().Perm()&0o077 == 0 && int(stat.Uid) == os.Geteuid()
}

// peakMemory is the most memory that this process has had, in bytes; 0 when the system does not tell.
func peakMemory() int64 {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return usage.Maxrss
	}
	return usage.Maxrss << 10
}
