package docker

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/secrets/secretsprovider"
	"github.com/tonistiigi/fsutil"
	"google.golang.org/grpc/codes"
)

// cancelGrace is how long a stopped build may take to say goodbye before the
// connection is cut. The agent leaves a step 7.5 s in all.
const cancelGrace = 2 * time.Second

// dialBuildKit reaches the BuildKit inside the Engine: through the Engine's
// /grpc endpoint or, where an Engine has given that up (it is deprecated since
// API 1.53), as native gRPC on the Engine's own socket. Nil without an error
// means that the Engine offers neither.
func (e *Engine) dialBuildKit(ctx context.Context) (*client.Client, error) {
	conn, err := e.api.DialHijack(ctx, "/grpc", "h2c", nil)
	if err == nil {
		return e.hijacked(ctx, conn)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if !strings.Contains(err.Error(), "unable to upgrade") {
		return nil, dialError(ctx, e.host, err)
	}
	bk, err := client.New(ctx, "", append(new(statusGuard).options(),
		client.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return e.api.Dialer()(ctx)
		}))...)
	if err != nil {
		return nil, dialError(ctx, e.host, err)
	}
	// A dial is no proof here: ask something.
	short, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	_, err = bk.ListWorkers(short)
	if err == nil {
		return bk, nil
	}
	bk.Close()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case rootCode(err) == codes.Unavailable, rootCode(err) == codes.Unimplemented:
		return nil, nil // it speaks no gRPC, or knows no BuildKit
	default:
		return nil, &NotAnEngine{Host: e.host, Err: clipped(err)}
	}
}

// hijacked hands over the connection that proved the endpoint, so that the
// proof costs no request.
func (e *Engine) hijacked(ctx context.Context, first net.Conn) (*client.Client, error) {
	var mu sync.Mutex
	dial := func(ctx context.Context, _ string) (net.Conn, error) {
		mu.Lock()
		conn := first
		first = nil
		mu.Unlock()
		if conn != nil {
			return conn, nil
		}
		return e.api.DialHijack(ctx, "/grpc", "h2c", nil)
	}
	bk, err := client.New(ctx, "", append(new(statusGuard).options(),
		client.WithContextDialer(dial),
		client.WithSessionDialer(func(ctx context.Context, proto string, meta map[string][]string) (net.Conn, error) {
			return e.api.DialHijack(ctx, "/session", proto, meta)
		}))...)
	if err != nil {
		return nil, dialError(ctx, e.host, err)
	}
	return bk, nil
}

func (e *Engine) buildKit(ctx context.Context, bk *client.Client, b Build) (Image, error) {
	opt, err := solveOptions(b)
	if err != nil {
		return Image{}, err
	}
	// A small channel: a slow log slows the build, it does not pile up here.
	status := make(chan *client.SolveStatus, 4)
	r := newRenderer(b.Progress, time.Now)
	rendered := make(chan struct{})
	go func() {
		defer close(rendered)
		r.run(status)
	}()
	done := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		select {
		case <-done:
		case <-time.After(cancelGrace):
			bk.Close()
		}
	})()
	response, err := bk.Solve(ctx, nil, opt, status)
	close(done)
	<-rendered
	if err != nil {
		return Image{}, e.buildFailure(ctx, b, r, err)
	}
	r.unfinished()
	return e.builtImage(response.ExporterResponse)
}

// solveOptions says it all in the words of the dockerfile frontend.
// Source: buildx v0.36.1 build/opt.go, moby/buildkit frontend/dockerui/config.go.
func solveOptions(b Build) (client.SolveOpt, error) {
	mounts, err := localMounts(b)
	if err != nil {
		return client.SolveOpt{}, err
	}
	secrets, err := b.secrets()
	if err != nil {
		return client.SolveOpt{}, err
	}
	export := map[string]string{}
	if len(b.Names) > 0 { // BuildKit 0.8 takes an empty name for a wrong one
		export["name"] = strings.Join(b.Names, ",")
	}
	for _, a := range b.Annotations {
		export["annotation."+a.Name] = a.Value
	}
	opt := client.SolveOpt{
		Frontend:      "dockerfile.v0",
		FrontendAttrs: frontendAttributes(b),
		LocalMounts:   mounts,
		SharedKey:     sharedKey(b.Context),
		Exports:       []client.ExportEntry{{Type: "moby", Attrs: export}},
		Session: []session.Attachable{
			credentialServer{ask: b.Credentials},
			secretsprovider.FromMap(secrets),
		},
	}
	if b.Network == "host" {
		opt.AllowedEntitlements = []string{"network.host"}
	}
	for _, c := range b.CacheFrom {
		opt.CacheImports = append(opt.CacheImports, client.CacheOptionsEntry{Type: c.Type, Attrs: c.Attrs})
	}
	for _, c := range b.CacheTo {
		opt.CacheExports = append(opt.CacheExports, client.CacheOptionsEntry{Type: c.Type, Attrs: c.Attrs})
	}
	return opt, nil
}

func frontendAttributes(b Build) map[string]string {
	attrs := map[string]string{"filename": filepath.Base(b.Dockerfile)}
	set := func(made bool, name, value string) {
		if made {
			attrs[name] = value
		}
	}
	set(b.Target != "", "target", b.Target)
	set(len(b.Platforms) > 0, "platform", strings.Join(b.Platforms, ","))
	set(len(b.NoCacheStages) > 0, "no-cache", strings.Join(b.NoCacheStages, ","))
	set(b.NoCache, "no-cache", "")
	set(b.Pull, "image-resolve-mode", "pull")
	set(!b.Pull, "image-resolve-mode", "local")
	set(b.Network == "none" || b.Network == "host", "force-network-mode", b.Network)
	set(len(b.ExtraHosts) > 0, "add-hosts", joinPairs(b.ExtraHosts))
	set(b.ShmSize > 0, "shm-size", strconv.FormatInt(b.ShmSize, 10))
	set(len(b.Ulimits) > 0, "ulimit", strings.Join(b.Ulimits, ","))
	set(b.CgroupParent != "", "cgroup-parent", b.CgroupParent)
	for _, l := range b.Labels {
		attrs["label:"+l.Name] = l.Value
	}
	for _, a := range b.Args {
		attrs["build-arg:"+a.Name] = a.Value
	}
	for _, a := range b.Attestations {
		attrs["attest:"+a.Name] = a.Value
	}
	for i, c := range b.Contexts {
		attrs["context:"+c.Name] = c.Value
		if !strings.Contains(c.Value, "://") {
			attrs["context:"+c.Name] = "local:" + contextMount(i)
		}
	}
	return attrs
}

func joinPairs(pairs []Pair) string {
	all := make([]string, len(pairs))
	for i, p := range pairs {
		all[i] = p.Name + "=" + p.Value
	}
	return strings.Join(all, ",")
}

func contextMount(i int) string { return fmt.Sprintf("context-%d", i) }

// localMounts are the folders BuildKit may read, file by file as it needs
// them. It asks for .dockerignore and <Dockerfile>.dockerignore itself.
func localMounts(b Build) (map[string]fsutil.FS, error) {
	folders := map[string]string{"context": b.Context, "dockerfile": filepath.Dir(b.Dockerfile)}
	for i, c := range b.Contexts {
		if !strings.Contains(c.Value, "://") {
			folders[contextMount(i)] = c.Value
		}
	}
	mounts := map[string]fsutil.FS{}
	for name, folder := range folders {
		info, err := os.Stat(folder)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil, &NoContext{Path: folder}
		case err != nil:
			return nil, &Unreadable{Path: folder, Err: cause(err)}
		case !info.IsDir():
			return nil, &NoContext{Path: folder, NotDirectory: true}
		}
		if mounts[name], err = fsutil.NewFS(folder); err != nil {
			return nil, &Unreadable{Path: folder, Err: cause(err)}
		}
	}
	return mounts, nil
}

// sharedKey lets the next build from the same folder of the same machine send
// only what has changed. It decides what is compared, never what is built.
func sharedKey(context string) string {
	machine, _ := os.Hostname()
	sum := sha256.Sum256([]byte("contenttrust\x00" + machine + "\x00" + context))
	return hex.EncodeToString(sum[:16])
}

// builtImage reads the exporter's answer. "containerimage.digest" is the
// configuration's digest in one store and the manifest's in the other; a
// BuildKit older than 0.9 says nothing else.
func (e *Engine) builtImage(response map[string]string) (Image, error) {
	image := Image{ID: response["containerimage.digest"], ConfigDigest: response["containerimage.config.digest"]}
	if !isDigest(image.ID) {
		return Image{}, &BuildError{Cause: fmt.Errorf("the engine named no image: %q", clip(image.ID, 100))}
	}
	if e.info.Store != StoreContainerd {
		image.ConfigDigest = image.ID
		return image, nil
	}
	image.ManifestDigest = image.ID
	var descriptor struct {
		MediaType string
		Digest    string
		Size      int64
	}
	raw, err := base64.StdEncoding.DecodeString(response["containerimage.descriptor"])
	if err == nil && json.Unmarshal(raw, &descriptor) == nil && descriptor.Digest == image.ID {
		image.MediaType, image.Size = descriptor.MediaType, descriptor.Size
	}
	return image, nil
}

// isDigest admits sha256 alone: it is what content trust signs.
func isDigest(s string) bool {
	sum, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(sum) != 64 {
		return false
	}
	return strings.Trim(sum, "0123456789abcdef") == ""
}
