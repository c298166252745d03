package task

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"contenttrust/internal/pipeline"
)

// workspacePrefix marks our folders in the agent's temp folder, so that a later run knows what it may sweep.
const workspacePrefix = "contenttrust-"

// ownerFile in a workspace says whose it is.
const ownerFile = "owner.json"

// keyFile is the delegation key as it came from secure files, between the pre phase and the main phase.
const keyFile = "delegation.key"

// opRemove is the Op of a [WorkspaceError] after which something private is left.
const opRemove = "remove"

// Workspace is the one private folder of a step: 0700, under the agent's temp folder, with everything in it that must
// not outlive the step. It is removed on every exit, and what a killed run leaves is swept by the next.
type Workspace struct {
	Dir   string
	owner owner
}

// owner tells a living workspace from one whose run was killed. Between the phases of a step no process of ours is
// running, so a process ID would not do; the job and the step say it.
type owner struct {
	Job  string `json:"job"`
	Step string `json:"step"`
}

// newOwner is the owner that the agent's variables describe.
func newOwner(agent pipeline.Agent) owner {
	return owner{Job: agent.JobID, Step: agent.TaskInstanceID}
}

// NewWorkspace makes a fresh workspace under the agent's temp folder.
func NewWorkspace(agent pipeline.Agent) (*Workspace, error) {
	base := agent.TempDirectory
	if base == "" {
		base = os.TempDir()
	}
	dir, err := os.MkdirTemp(base, workspacePrefix) // 0700 by contract
	if err != nil {
		return nil, &WorkspaceError{Op: "make", Path: base, Err: err}
	}
	w := &Workspace{Dir: dir, owner: newOwner(agent)}
	mark, err := json.Marshal(w.owner)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, ownerFile), mark, 0o600)
	}
	if err != nil {
		return nil, errors.Join(&WorkspaceError{Op: "mark", Path: dir, Err: err}, w.Close())
	}
	return w, nil
}

// reopenWorkspace finds the workspace that an earlier phase of this step made. ok is false when there is none, or when
// what is there is not ours: the path comes through a variable, which another step could have written.
func reopenWorkspace(agent pipeline.Agent, dir string) (w *Workspace, ok bool) {
	if dir == "" || filepath.Dir(dir) != filepath.Clean(agent.TempDirectory) || !strings.HasPrefix(filepath.Base(dir), workspacePrefix) {
		return nil, false
	}
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || !private(info) {
		return nil, false
	}
	if whose, err := readOwner(dir); err != nil || whose != newOwner(agent) {
		return nil, false
	}
	return &Workspace{Dir: dir, owner: newOwner(agent)}, true
}

// saveKey keeps the fetched key for the main phase, 0600.
func (w *Workspace) saveKey(pem []byte) error {
	path := filepath.Join(w.Dir, keyFile)
	if err := os.WriteFile(path, pem, 0o600); err != nil {
		return &WorkspaceError{Op: "write", Path: path, Err: err}
	}
	return nil
}

// savedKey is the key that the pre phase fetched, if it did.
func (w *Workspace) savedKey() (pem []byte, ok bool, err error) {
	path := filepath.Join(w.Dir, keyFile)
	pem, err = os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, false, nil
	case err != nil:
		return nil, false, &WorkspaceError{Op: "read", Path: path, Err: err}
	}
	return pem, true, nil
}

// Close removes the workspace and all that is in it. A second Close is harmless.
func (w *Workspace) Close() error {
	if w == nil {
		return nil
	}
	// Overwriting first would promise more than today's disks keep; the folder was private all along.
	if err := os.RemoveAll(w.Dir); err != nil {
		return &WorkspaceError{Op: opRemove, Path: w.Dir, Err: err}
	}
	return nil
}

// sweep removes what killed runs left under the agent's temp folder: workspaces of other jobs, because an agent runs one
// job at a time, and those of this very step other than keep, because a step's phases run one after the other. The
// workspaces of other steps of this job may be waiting for their main phase, and stay.
//
// It returns the names of the folders it removed, and the first thing that hindered it; neither stops a run.
func sweep(agent pipeline.Agent, keep string) (removed []string, err error) {
	found, globErr := filepath.Glob(filepath.Join(agent.TempDirectory, workspacePrefix+"*"))
	if agent.TempDirectory == "" || globErr != nil {
		return nil, globErr
	}
	us := newOwner(agent)
	for _, dir := range found {
		// The launcher's copy of this very executable lies beside, and is the launcher's to remove.
		if info, statErr := os.Lstat(dir); dir == keep || statErr != nil || !info.IsDir() || strings.HasPrefix(filepath.Base(dir), workspacePrefix+"bin-") {
			continue
		}
		whose, readErr := readOwner(dir)
		if readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
			continue // not a workspace of ours
		}
		if readErr == nil && whose.Job == us.Job && whose.Step != us.Step {
			continue
		}
		if removeErr := os.RemoveAll(dir); removeErr != nil {
			err = errors.Join(err, &WorkspaceError{Op: opRemove, Path: dir, Err: removeErr})
			continue
		}
		removed = append(removed, filepath.Base(dir))
	}
	return removed, err
}

func readOwner(dir string) (owner, error) {
	data, err := os.ReadFile(filepath.Join(dir, ownerFile))
	if err != nil {
		return owner{}, err
	}
	var o owner
	if err := json.Unmarshal(data, &o); err != nil {
		return owner{}, fmt.Errorf("read the owner of %s: %w", dir, err)
	}
	return o, nil
}

// WorkspaceError says that a private folder or a file in it could not be made, written or removed. Err is the system's
// reason: a full disk, a read-only folder, missing rights.
type WorkspaceError struct {
	Op   string
	Path string
	Err  error
}

// Error names what was tried, and where.
func (e *WorkspaceError) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Path, e.Err) }

// Unwrap gives the system's reason.
func (e *WorkspaceError) Unwrap() error { return e.Err }
