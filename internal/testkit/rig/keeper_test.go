package rig

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestAKeeperEndsWholeProcessGroupsAndRemovesFolders(t *testing.T) {
	t.Parallel()
	k, err := newKeeper()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "kept")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := k.note("path", dir); err != nil {
		t.Fatal(err)
	}
	// A program that starts another, and one outside the group that only its
	// arguments give away, as a container's shim.
	parent, err := startDaemon(k, daemonSpec{Path: "/bin/sh", Args: []string{"-c", "sleep 1000 & wait"}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	stray := exec.CommandContext(t.Context(), "tail", "-f", filepath.Join(dir, "sh.log"))
	if err := stray.Start(); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
	<-parent.done
	if err := syscall.Kill(-parent.pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the group is still there: %v", err)
	}
	if err := stray.Wait(); err == nil {
		t.Error("the stray process ended by itself, it was to be killed")
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	if err := k.note("path", dir); err == nil {
		t.Error("a closed keeper takes more")
	}
}

func TestAKeeperRefusesPathsItCouldNotRead(t *testing.T) {
	t.Parallel()
	k, err := newKeeper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.Close() })
	if err := k.note("path", "/tmp/with space"); err == nil {
		t.Error("a path with a space was taken; the shell would remove two others")
	}
}
