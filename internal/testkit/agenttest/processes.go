package agenttest

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// processes are the IDs of all processes that this job started and that still live. They are known by their environment,
// which the agent marks for the same purpose. Nothing is found where there is no /proc.
func (a *Agent) processes() []int {
	entries, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var found []int
	for _, entry := range entries {
		env, err := os.ReadFile(filepath.Join(entry, "environ"))
		if err != nil || !bytes.Contains(env, []byte("VSTS_PROCESS_LOOKUP_ID="+a.lookup+"\x00")) {
			continue // it has ended, or it is not ours to look at
		}
		if pid, err := strconv.Atoi(filepath.Base(entry)); err == nil {
			found = append(found, pid)
		}
	}
	return found
}
