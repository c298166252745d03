package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// logTail is how much of a daemon's log an error quotes, in bytes.
const logTail = 4 << 10

// daemon is one started program.
type daemon struct {
	name, logFile string
	pid           int
	done          chan struct{} // closed when it has ended
	err           error         // why, once done is closed
}

// daemonSpec says how to start one.
type daemonSpec struct {
	Path string
	Args []string
	Env  []string // whole; nil: PATH only
	Dir  string   // where its log goes
}

// startDaemon starts a program in a process group of its own and tells the
// keeper of it. The program does not end with ctx: it ends with the keeper.
func startDaemon(k *keeper, spec daemonSpec) (*daemon, error) {
	name := filepath.Base(spec.Path)
	d := &daemon{name: name, logFile: filepath.Join(spec.Dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(d.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the program has its own handle

	cmd := exec.CommandContext(context.Background(), spec.Path, spec.Args...)
	cmd.Env = spec.Env
	if cmd.Env == nil {
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = spec.Dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	d.pid = cmd.Process.Pid
	go func() {
		d.err = cmd.Wait()
		close(d.done)
	}()
	return d, k.note("group", fmt.Sprint(d.pid))
}

// waitFor asks ready every 50 ms until it says nil, the daemon ends, or limit
// has passed.
func (d *daemon) waitFor(ctx context.Context, limit time.Duration, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		last := ready(ctx)
		if last == nil {
			return nil
		}
		select {
		case <-d.done:
			return fmt.Errorf("%s ended early (%w); its log ends with:\n%s", d.name, orEnded(d.err), d.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready (%w; %w); its log ends with:\n%s", d.name, context.Cause(ctx), last, d.tail())
		case <-tick.C:
		}
	}
}

func orEnded(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// tail is the end of the daemon's log.
func (d *daemon) tail() string {
	file, err := os.Open(d.logFile)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && info.Size() > logTail {
		_, _ = file.Seek(-logTail, io.SeekEnd)
	}
	text, _ := io.ReadAll(io.LimitReader(file, logTail))
	return string(text)
}

// freeAddress is a loopback address nobody listens on at this moment. Whoever
// uses it must be ready to find it taken after all.
func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// answers is nil when something listens at a TCP address.
func answers(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}
