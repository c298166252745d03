package task

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// output is where the words of the Engine go: to the log, and to a file for the steps that read DockerOutput.
type output struct {
	log  io.WriteCloser
	mask io.WriteCloser // hides secrets on the way to file
	file *os.File
}

// newOutput makes the file as Docker@2 does, task_outputs/<command>_<milliseconds>.txt in the agent's temp folder, and
// remembers its path for [run.tell].
func (r *run) newOutput(command string) (*output, error) {
	dir := filepath.Join(r.agent.TempDirectory, "task_outputs")
	path := filepath.Join(dir, fmt.Sprintf("%s_%d.txt", command, r.Now().UnixMilli()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, &WorkspaceError{Op: "make", Path: dir, Err: err}
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, &WorkspaceError{Op: "write", Path: path, Err: err}
	}
	r.outputs = append(r.outputs, path)
	return &output{log: r.log.Foreign(), mask: r.mask.Writer(file), file: file}, nil
}

// Write takes one line or a part of one.
func (o *output) Write(p []byte) (int, error) {
	if _, err := o.mask.Write(p); err != nil {
		return 0, &WorkspaceError{Op: "write", Path: o.file.Name(), Err: err}
	}
	return o.log.Write(p)
}

// Close ends both. The log's last line is written even if the file cannot be.
func (o *output) Close() error {
	err := errors.Join(o.mask.Close(), o.file.Close())
	if err != nil {
		err = &WorkspaceError{Op: "write", Path: o.file.Name(), Err: err}
	}
	return errors.Join(o.log.Close(), err)
}

// dockerOutput is the value of DockerOutput: the paths, one a line.
func (r *run) dockerOutput() string { return strings.Join(r.outputs, "\n") }
