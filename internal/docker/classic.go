package docker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/client"
	"github.com/docker/go-units"
	"github.com/tonistiigi/fsutil"
)

// buildClassic builds with POST /build, the only builder of an Engine for
// Windows containers. The whole context is sent, as it is read.
func (e *Engine) buildClassic(ctx context.Context, b Build) (Image, error) {
	if err := b.checkClassic(); err != nil {
		return Image{}, err
	}
	options, err := e.classicOptions(b)
	if err != nil {
		return Image{}, err
	}
	files, err := classicContext(b, &options)
	if err != nil {
		return Image{}, err
	}
	read, write := io.Pipe()
	sent := make(chan error, 1)
	go func() {
		err := fsutil.WriteTar(ctx, files, write)
		write.CloseWithError(err)
		sent <- err
	}()
	// The reader's end goes first, so that the writer cannot hang.
	stop := func() error { read.Close(); return <-sent }
	response, err := e.api.ImageBuild(ctx, read, options)
	if err != nil {
		return Image{}, e.classicFault(ctx, b, err, stop())
	}
	defer response.Body.Close()
	defer context.AfterFunc(ctx, func() { response.Body.Close() })()
	s := newClassicStream(b.Progress)
	id, err := s.read(response.Body)
	sendErr := stop()
	switch {
	case ctx.Err() != nil:
		return Image{}, fmt.Errorf("build stopped: %w", ctx.Err())
	case s.fault != "" || err != nil:
		return Image{}, s.failure(b, errors.Join(err, contextFault(sendErr)))
	}
	return e.ImageID(ctx, id)
}

func (e *Engine) classicOptions(b Build) (build.ImageBuildOptions, error) {
	o := build.ImageBuildOptions{
		Version:    build.BuilderV1,
		Tags:       b.Names,
		Dockerfile: filepath.Base(b.Dockerfile),
		Target:     b.Target, NoCache: b.NoCache, PullParent: b.Pull,
		Remove: true, ForceRemove: true,
		NetworkMode: b.Network, ShmSize: b.ShmSize, CgroupParent: b.CgroupParent,
		Labels: map[string]string{}, BuildArgs: map[string]*string{},
		AuthConfigs: b.authConfigs(),
	}
	for _, l := range b.Labels {
		o.Labels[l.Name] = l.Value
	}
	for _, a := range b.Args {
		o.BuildArgs[a.Name] = &a.Value
	}
	for _, h := range b.ExtraHosts {
		o.ExtraHosts = append(o.ExtraHosts, h.Name+":"+h.Value)
	}
	for _, c := range b.CacheFrom {
		o.CacheFrom = append(o.CacheFrom, c.Attrs["ref"])
	}
	if len(b.Platforms) == 1 {
		o.Platform = b.Platforms[0]
	}
	for _, u := range b.Ulimits {
		limit, err := units.ParseUlimit(u)
		if err != nil {
			return o, &Unsupported{Feature: "--ulimit " + oneLine(u, 100), Why: err.Error()}
		}
		o.Ulimits = append(o.Ulimits, limit)
	}
	return o, nil
}

var fromLine = regexp.MustCompile(`(?i)^\s*FROM\s+(?:--\S+\s+)*(\S+)`)

// authConfigs asks for the credentials of every registry the Dockerfile's FROM
// lines and the image's names speak of: this API wants them beforehand.
func (b Build) authConfigs() map[string]registry.AuthConfig {
	hosts := map[string]bool{}
	for _, name := range b.Names {
		hosts[registryHost(name)] = true
	}
	if f, err := os.Open(b.Dockerfile); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(io.LimitReader(f, 1<<20)); lines.Scan(); {
			if found := fromLine.FindStringSubmatch(lines.Text()); found != nil {
				hosts[registryHost(found[1])] = true
			}
		}
	}
	all := map[string]registry.AuthConfig{}
	for host := range hosts {
		user, password, ok := b.Credentials.ask(host)
		if host == "" || !ok {
			continue
		}
		if host == "docker.io" {
			host = "https://index.docker.io/v1/"
		}
		config := registry.AuthConfig{Username: user, Password: password.Reveal(), ServerAddress: host}
		if user == "" {
			config = registry.AuthConfig{IdentityToken: password.Reveal(), ServerAddress: host}
		}
		all[host] = config
	}
	return all
}

// contextFault leaves out what only says that the Engine stopped reading.
func contextFault(err error) error {
	if err == nil || errors.Is(err, io.ErrClosedPipe) {
		return nil
	}
	return err
}

// classicFault types an answer that never became a stream.
func (e *Engine) classicFault(ctx context.Context, b Build, err, sendErr error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("build stopped: %w", ctx.Err())
	case contextFault(sendErr) != nil:
		return &Unreadable{Path: b.Context, Err: sendErr}
	case client.IsErrConnectionFailed(err):
		return &NotRunning{Host: e.host, Err: clipped(err)}
	}
	s := newClassicStream(b.Progress)
	s.fault = err.Error()
	return s.failure(b, clipped(err))
}

// auxID is the part of a build's stream that names the image.
func auxID(raw json.RawMessage) string {
	var aux struct{ ID string }
	if json.Unmarshal(raw, &aux) != nil || !isDigest(aux.ID) {
		return ""
	}
	return aux.ID
}
