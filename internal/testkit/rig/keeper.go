package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// keeperScript reads "group <process group>", "path <file or folder>" and
// "bridge <name>" until its input ends, and then clears them away. Daemons get
// 20 s to end by themselves. Shims of containers are not in their Engine's
// group; they are found by the Engine's folder in their arguments, which no
// other process has.
const keeperScript = `
groups= paths= bridges=
while read -r kind what; do
	case $kind in
	group) groups="$what $groups" ;;
	path) paths="$what $paths" ;;
	bridge) bridges="$what $bridges" ;;
	esac
done
for g in $groups; do
	kill -TERM -"$g" 2>/dev/null
	n=0
	while kill -0 -"$g" 2>/dev/null && [ $n -lt 200 ]; do sleep 0.1; n=$((n+1)); done
	kill -KILL -"$g" 2>/dev/null
done
for p in $paths; do
	for c in /proc/[0-9]*/cmdline; do
		if { tr '\0' ' ' <"$c"; } 2>/dev/null | grep -qF -- "$p/"; then
			pid=${c#/proc/}
			kill -KILL "${pid%/cmdline}" 2>/dev/null
		fi
	done
	awk -v p="$p/" 'index($5, p) == 1 {print $5}' /proc/self/mountinfo | sort -r |
		while read -r m; do umount -l "$m"; done
	rm -rf --one-file-system -- "$p"
done
for b in $bridges; do ip link delete "$b"; done
:
`

// keeper clears away what it was told of when it is closed or when this
// process ends. See the package comment.
type keeper struct {
	mu     sync.Mutex
	cmd    *exec.Cmd
	input  io.WriteCloser
	output bytes.Buffer
	closed bool
}

// newKeeper starts a keeper. It belongs to no context: it has to outlive them.
func newKeeper() (*keeper, error) {
	k := &keeper{}
	k.cmd = exec.CommandContext(context.Background(), "/bin/sh", "-c", keeperScript)
	k.cmd.Stdout, k.cmd.Stderr = &k.output, &k.output
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	input, err := k.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	k.input = input
	if err := k.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the keeper: %w", err)
	}
	return k, nil
}

// note tells the keeper of one thing to clear away.
func (k *keeper) note(kind, what string) error {
	if strings.ContainsAny(what, " \t\n") {
		return fmt.Errorf("the keeper cannot take %q: no white space in paths, please set TMPDIR", what)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return errors.New("the keeper is closed")
	}
	_, err := fmt.Fprintln(k.input, kind, what)
	return err
}

// Close clears away and waits for it. Later calls do nothing.
func (k *keeper) Close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return nil
	}
	k.closed = true
	err := errors.Join(k.input.Close(), k.cmd.Wait())
	if said := strings.TrimSpace(k.output.String()); said != "" {
		err = errors.Join(err, errors.New(said))
	}
	if err != nil {
		return fmt.Errorf("clearing away: %w", err)
	}
	return nil
}
