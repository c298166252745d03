package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// need is a program (or a file) and the Debian package that brings it.
type need struct{ program, file, debian string }

// needs lists what the rig and the race detector cannot do without.
func needs() []need {
	return []need{
		{program: "dockerd", debian: "docker.io"},
		{program: "containerd", debian: "containerd"},
		{program: "runc", debian: "runc"},
		{program: "docker-registry", debian: "docker-registry"},
		{program: "notary", debian: "notary"},
		{program: "notary-server", debian: "notary"},
		{program: "iptables", debian: "iptables"},
		{program: "ip", debian: "iproute2"},
		{program: "busybox", debian: "busybox-static"},
		{program: "openssl", debian: "openssl"}, // makes keys as people have them
		// To build today's Engine and its runc, and for go test -race.
		{program: "gcc", debian: "gcc"},
		{file: "/usr/include/stdio.h", debian: "libc6-dev"},
		{program: "pkg-config", debian: "pkg-config"},
		{file: "/usr/include/seccomp.h", debian: "libseccomp-dev"},
	}
}

// MissingError says what a machine lacks and why it was not installed.
type MissingError struct {
	Packages []string // Debian's names
	Reason   error
}

// Error says it in one line, with the command that mends it.
func (e *MissingError) Error() string {
	return fmt.Sprintf("packages are missing (%v); as root: apt-get install --no-install-recommends %s",
		e.Reason, strings.Join(e.Packages, " "))
}

// Unwrap gives the reason.
func (e *MissingError) Unwrap() error { return e.Reason }

// Packages makes sure that the programs of the rig are there. What is missing it
// installs from Debian when it may, which is as root where apt-get exists;
// otherwise the error is a *MissingError. With everything in place it costs a
// few milliseconds.
func Packages(ctx context.Context) error { return install(ctx, needs(), os.Geteuid() == 0) }

// install brings what is missing of the needs.
func install(ctx context.Context, all []need, root bool) error {
	missing := missingPackages(all)
	if len(missing) == 0 {
		return nil
	}
	if !root {
		return &MissingError{Packages: missing, Reason: errors.New("only root may install them")}
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return &MissingError{Packages: missing, Reason: err}
	}
	wanted := slices.Concat([]string{"install", "--yes", "--no-install-recommends"}, missing)
	for _, args := range [][]string{{"update"}, wanted} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		// No questions.
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if output, err := cmd.CombinedOutput(); err != nil {
			return &MissingError{Packages: missing, Reason: fmt.Errorf("apt-get %s: %w: %s", args[0], err, lastLines(output))}
		}
	}
	if missing = missingPackages(all); len(missing) > 0 {
		return &MissingError{Packages: missing, Reason: errors.New("apt-get installed them, and still they cannot be found")}
	}
	return nil
}

func missingPackages(all []need) []string {
	var missing []string
	for _, n := range all {
		var err error
		if n.program != "" {
			_, err = exec.LookPath(n.program)
		} else {
			_, err = os.Stat(n.file)
		}
		if err != nil && !slices.Contains(missing, n.debian) {
			missing = append(missing, n.debian)
		}
	}
	return missing
}

// lastLines is the end of a program's output, as an error quotes it.
func lastLines(output []byte) string {
	const most = 2 << 10
	text := strings.TrimSpace(string(output))
	if len(text) > most {
		text = "…" + text[len(text)-most:]
	}
	return text
}
