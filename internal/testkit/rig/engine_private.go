package rig

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"crypto/rand"
)

const (
	// engineStart is more than an Engine needs on a machine that is busy.
	engineStart = 90 * time.Second
	// longestSocket is the kernel's limit for the path of a unix socket, in
	// bytes, without the closing zero (unix(7)).
	longestSocket = 107
)

// containerdConfig keeps everything of a containerd below one folder, which is
// the one parameter, and leaves out Kubernetes.
const containerdConfig = `version = 2
root = "%[1]s/containerd"
state = "%[1]s/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "%[1]s/containerd.sock"
[ttrpc]
address = "%[1]s/containerd.sock.ttrpc"
[debug]
address = "%[1]s/containerd-debug.sock"
`

// startPrivate starts containerd and dockerd below a new folder. The flags are
// what a second Engine beside another needs: without --bridge it would take the
// other's docker0, and with iptables it would write the machine's rules.
func (e *Engine) startPrivate(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root; without it, DOCKER_HOST may name an Engine to use")
	}
	if err := Packages(ctx); err != nil {
		return err
	}
	path, search, err := engineProgram(ctx, e.Kind)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "rig-engine-")
	if err != nil {
		return err
	}
	if err := e.keeper.note("path", dir); err != nil {
		return err
	}
	socket := filepath.Join(dir, "docker.sock")
	if len(filepath.Join(dir, "containerd.sock.ttrpc")) > longestSocket {
		return fmt.Errorf("%s is too long for a socket, please set TMPDIR", socket)
	}
	if e.bridge, err = makeBridge(ctx, e.keeper); err != nil {
		return err
	}
	env := []string{"PATH=" + search, "HOME=" + dir, "TMPDIR=" + dir}
	if err := startContainerd(ctx, e.keeper, dir, env); err != nil {
		return err
	}
	config := filepath.Join(dir, "daemon.json") // so that the machine's own is not read
	if err := os.WriteFile(config, []byte("{}\n"), 0o600); err != nil {
		return err
	}
	d, err := startDaemon(e.keeper, daemonSpec{
		Path: path, Dir: dir, Env: env,
		Args: []string{
			"--config-file", config, "--host", "unix://" + socket,
			"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
			"--pidfile", filepath.Join(dir, "docker.pid"), "--containerd", filepath.Join(dir, "containerd.sock"),
			"--bridge", e.bridge, "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--userland-proxy=false",
		},
	})
	if err != nil {
		return err
	}
	e.Host = "unix://" + socket
	if e.Client, err = clientFor(e.Host); err != nil {
		return err
	}
	return d.waitFor(ctx, engineStart, func(ctx context.Context) error { return e.get(ctx, "/_ping", nil) })
}

// engineProgram gives dockerd's path and the PATH to run it with.
func engineProgram(ctx context.Context, kind Kind) (path, search string, err error) {
	search = os.Getenv("PATH")
	if kind == Debian {
		path, err = exec.LookPath("dockerd")
		return path, search, err
	}
	if path, err = dockerd().build(ctx); err != nil {
		return "", "", err
	}
	runtime, err := runc().build(ctx)
	if err != nil {
		return "", "", err
	}
	return path, filepath.Dir(runtime) + string(os.PathListSeparator) + search, nil
}

func startContainerd(ctx context.Context, k *keeper, dir string, env []string) error {
	path, err := exec.LookPath("containerd")
	if err != nil {
		return err
	}
	config := filepath.Join(dir, "containerd.toml")
	if err := os.WriteFile(config, fmt.Appendf(nil, containerdConfig, dir), 0o600); err != nil {
		return err
	}
	d, err := startDaemon(k, daemonSpec{Path: path, Args: []string{"--config", config}, Dir: dir, Env: env})
	if err != nil {
		return err
	}
	return d.waitFor(ctx, engineStart, func(ctx context.Context) error {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "unix", filepath.Join(dir, "containerd.sock"))
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// makeBridge adds a network bridge with a /24 that no other interface has.
func makeBridge(ctx context.Context, k *keeper) (string, error) {
	taken, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	network, err := freeNetwork(taken)
	if err != nil {
		return "", err
	}
	var random [4]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	name := "rig" + hex.EncodeToString(random[:])
	address := netip.PrefixFrom(network.Addr().Next(), network.Bits()).String()
	for i, args := range [][]string{
		{"link", "add", "name", name, "type", "bridge"},
		{"address", "add", address, "dev", name},
		{"link", "set", name, "up"},
	} {
		if output, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("ip %v: %w: %s", args, err, lastLines(output))
		}
		if i == 0 {
			if err := k.note("bridge", name); err != nil {
				return "", err
			}
		}
	}
	return name, nil
}

// freeNetwork is the first 10.213.x.0/24 that overlaps none of the addresses.
func freeNetwork(taken []net.Addr) (netip.Prefix, error) {
next:
	for i := range 256 {
		candidate := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 213, byte(i), 0}), 24)
		for _, address := range taken {
			if other, err := netip.ParsePrefix(address.String()); err == nil && other.Overlaps(candidate) {
				continue next
			}
		}
		return candidate, nil
	}
	return netip.Prefix{}, errors.New("every network in 10.213.0.0/16 is taken")
}
