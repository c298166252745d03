package docker_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"contenttrust/internal/docker"
	"contenttrust/internal/testkit/enginetest"
)

// TestMain lets the test binary play a process without rights.
func TestMain(m *testing.M) {
	if host := os.Getenv("DOCKER_TEST_CONNECT"); host != "" {
		_, err := docker.Connect(context.Background(), docker.Options{Host: host})
		if _, ok := errors.AsType[*docker.NotPermitted](err); ok {
			os.Stdout.WriteString("not permitted")
		}
		os.Exit(0)
	}
	os.Exit(runTests(m))
}

// asNobody connects as a user who may not open the socket.
func asNobody(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "nobody") //nolint:usetesting // above t.TempDir stands a folder that is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	f, err := enginetest.New(enginetest.Options{Socket: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Chmod(socket, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "test")
	if err := os.WriteFile(binary, self, 0o755); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(binary)
	c.Env = []string{"DOCKER_TEST_CONNECT=" + f.Host}
	c.Dir = "/"
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := c.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "not permitted") {
		t.Errorf("%v, %q", err, out)
	}
}
