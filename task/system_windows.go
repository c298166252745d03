package task

import "io/fs"

// private has nothing to look at on Windows: the mode bits there do not tell who may enter. The agent's temp folder
// belongs to the agent's account, and a folder made in it inherits that.
func private(fs.FileInfo) bool { return true }

// peakMemory is not asked for on Windows.
func peakMemory() int64 { return 0 }
