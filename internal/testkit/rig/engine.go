package rig

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Kind says which Engine to use.
type Kind string

// The kinds of Engine.
const (
	// Debian is Debian's dockerd (20.10 in Debian 12) with the graphdriver store.
	Debian Kind = "debian"
	// Modern is today's dockerd with the containerd image store.
	Modern Kind = "modern"
	// Existing is the Engine at DOCKER_HOST.
	Existing Kind = "existing"
)

// The image stores an Engine can have.
const (
	GraphDriver = "graphdriver"
	Containerd  = "containerd"
)

// Kinds are the Engines that the end-to-end tests run on. The first is the one
// at DOCKER_HOST or, without it, Debian's. The second is today's; only where it
// cannot be started, for want of root, and DOCKER_HOST gives us another, and
// this is not CI, is it left out.
func Kinds(getenv func(string) string) []Kind {
	if getenv("DOCKER_HOST") == "" {
		return []Kind{Debian, Modern}
	}
	if os.Geteuid() != 0 && getenv("CI") == "" {
		return []Kind{Existing}
	}
	return []Kind{Existing, Modern}
}

// Engine is a running Docker Engine.
type Engine struct {
	Kind Kind
	// Host is what DOCKER_HOST says for it: unix:///… or tcp://….
	Host string
	// Version is the Engine's, Store is GraphDriver or Containerd.
	Version, Store string
	// Client speaks to the Engine; the host in its URLs does not matter.
	Client *http.Client

	keeper *keeper
	bridge string // "" for Existing
}

// StartEngine starts a private Engine of a kind, or checks the one at
// dockerHost, which is used for Existing only. A private Engine needs root, has
// everything of its own, and takes 2 to 5 s to start; Modern is built first
// when it is not in .cache/bin, which takes minutes.
func StartEngine(ctx context.Context, kind Kind, dockerHost string) (_ *Engine, err error) {
	k, err := newKeeper()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, k.Close())
		}
	}()
	e := &Engine{Kind: kind, keeper: k, Host: dockerHost}
	switch kind {
	case Debian, Modern:
		if err := e.startPrivate(ctx); err != nil {
			return nil, fmt.Errorf("start the %s Engine: %w", kind, err)
		}
	case Existing:
		if e.Client, err = clientFor(dockerHost); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("unknown kind of Engine %q", kind)
	}
	if err := e.describe(ctx); err != nil {
		return nil, fmt.Errorf("the Engine at %s: %w", e.Host, err)
	}
	return e, nil
}

// Close stops a private Engine with all it has, and forgets the CAs.
func (e *Engine) Close() error {
	e.Client.CloseIdleConnections()
	return e.keeper.Close()
}

// TrustCA makes the Engine believe a registry's CA, until Close. Engines read
// the file at every connection, so that works while one runs. The folder is the
// same for all Engines of a machine.
func (e *Engine) TrustCA(host string, pem []byte) error {
	dir := filepath.Join("/etc/docker/certs.d", host)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := e.keeper.note("path", dir); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "ca.crt"), pem, 0o644)
}

// ImportBusybox makes an image that holds a shell and the usual commands and
// nothing else, without any registry, for FROM lines and for pushing. name is
// "repository:tag"; the result is the image's ID. Two imports never have the
// same ID, because the Engine notes the time.
func (e *Engine) ImportBusybox(ctx context.Context, name string) (string, error) {
	archive, err := busyboxArchive(ctx)
	if err != nil {
		return "", err
	}
	// The tag may not be left to the Engine: a port looks like one.
	colon := strings.LastIndexByte(name, ':')
	if colon < 0 || strings.Contains(name[colon:], "/") {
		return "", fmt.Errorf("import busybox as %q: needs a tag", name)
	}
	query := url.Values{"fromSrc": {"-"}, "repo": {name[:colon]}, "tag": {name[colon+1:]}, "changes": {`CMD ["/bin/sh"]`}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://engine/images/create?"+query.Encode(), archive)
	if err != nil {
		return "", err
	}
	answer, err := e.Client.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil || answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("import busybox: %s %s: %w", answer.Status, bytes.TrimSpace(body), err)
	}
	var last struct{ Status, Error string }
	for decoder := json.NewDecoder(bytes.NewReader(body)); decoder.More(); {
		if err := decoder.Decode(&last); err != nil {
			return "", err
		}
	}
	if last.Error != "" || !strings.HasPrefix(last.Status, "sha256:") {
		return "", fmt.Errorf("import busybox: %s", bytes.TrimSpace(body))
	}
	return last.Status, nil
}

// busyboxArchive is a root file system of one statically linked program.
func busyboxArchive(ctx context.Context) (*bytes.Buffer, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	applets, err := exec.CommandContext(ctx, path, "--list").Output()
	if err != nil {
		return nil, err
	}
	archive := &bytes.Buffer{}
	w := tar.NewWriter(archive)
	err = w.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg})
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	for name := range strings.FieldsSeq(string(applets)) {
		if name == "busybox" {
			continue
		}
		header := &tar.Header{Name: "bin/" + name, Linkname: "busybox", Mode: 0o777, Typeflag: tar.TypeSymlink}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
	}
	for _, dir := range []string{"tmp/", "etc/"} {
		if err := w.WriteHeader(&tar.Header{Name: dir, Mode: 0o777, Typeflag: tar.TypeDir}); err != nil {
			return nil, err
		}
	}
	return archive, w.Close()
}

// describe asks the Engine for its version and store.
func (e *Engine) describe(ctx context.Context) error {
	var info struct {
		ServerVersion string
		DriverStatus  [][2]string
	}
	if err := e.get(ctx, "/info", &info); err != nil {
		return err
	}
	e.Version, e.Store = info.ServerVersion, GraphDriver
	for _, row := range info.DriverStatus {
		// moby, daemon/containerd/service.go: how the Engine names that store.
		if row[0] == "driver-type" && row[1] == "io.containerd.snapshotter.v1" {
			e.Store = Containerd
		}
	}
	return nil
}

func (e *Engine) get(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine"+path, nil)
	if err != nil {
		return err
	}
	answer, err := e.Client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, answer.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(io.LimitReader(answer.Body, 4<<20)).Decode(into)
}

// clientFor speaks HTTP to an address as DOCKER_HOST has it.
func clientFor(host string) (*http.Client, error) {
	network, address, ok := strings.Cut(host, "://")
	if !ok || (network != "unix" && network != "tcp") {
		return nil, fmt.Errorf("DOCKER_HOST %q: unix:// and tcp:// are understood here", host)
	}
	dialer := net.Dialer{Timeout: 10 * time.Second}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
	}}, nil
}
