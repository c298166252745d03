package docker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"contenttrust/internal/secret"
	"github.com/distribution/reference"
)

// Pair is a name with a value, for lists whose order is the author's.
type Pair struct{ Name, Value string }

// Label is an image label. Of two with the same name the later one counts.
type Label = Pair

// Cache is a source or a target of build cache, as in --cache-from and
// --cache-to: Type "registry" with Attrs "ref", "local" with "src" or "dest",
// "inline", and so on.
type Cache struct {
	Type  string
	Attrs map[string]string
}

// Secret is a build secret (RUN --mount=type=secret): the Value, or the
// content of File when Value is empty. At most 500 KiB.
type Secret struct {
	ID    string
	File  string
	Value secret.Value
}

// Credentials gives what to show a registry host; ok is false when there is
// nothing to show, which is no error. Docker Hub is asked for as "docker.io".
// An empty user means that the password is an identity (refresh) token. It is
// called from several goroutines.
type Credentials func(host string) (user string, password secret.Value, ok bool)

// Build is one build. Dockerfile is required; the zero value of everything
// else is docker's default. Fields carry the names of docker
// build's flags; what an Engine cannot do with them is refused ([*Unsupported]).
type Build struct {
	Dockerfile string   // a file; need not be below Context
	Context    string   // a folder; empty is the Dockerfile's
	Names      []string // full references the image gets in the Engine; none is allowed
	Labels     []Label
	Args       []Pair // --build-arg
	Target     string
	Platforms  []string
	Network    string // "", "default", "none" or "host", for RUN
	NoCache    bool
	// NoCacheStages: --no-cache-filter. Ignored with NoCache.
	NoCacheStages []string
	Pull          bool // look for newer base images
	ExtraHosts    []Pair
	ShmSize       int64    // bytes
	Ulimits       []string // "nofile=1024:2048"
	CgroupParent  string
	CacheFrom     []Cache
	CacheTo       []Cache
	Contexts      []Pair // --build-context; the value is a folder, or what BuildKit takes: docker-image://…, https://…
	Secrets       []Secret
	Annotations   []Pair
	Attestations  []Pair // "provenance": "mode=max", "sbom": ""
	Credentials   Credentials
	Progress      Progress
}

// Image is what the Engine calls an image.
type Image struct {
	// ID is the Engine's name for it: the configuration's digest in a
	// graphdriver store, the manifest's or index's in a containerd store.
	ID string
	// ConfigDigest and ManifestDigest are the two, each where it is known. A
	// graphdriver store knows no manifest before a push; a containerd store
	// names no configuration for an index.
	ConfigDigest   string
	ManifestDigest string
	// MediaType and Size are of the manifest, where the store says so.
	MediaType string
	Size      int64
}

// Build builds one image and gives it all its names at once.
//
// Errors: [*BuildError], [*DockerfileError], [*Unsupported], [*BadName],
// [*NoDockerfile], [*NotAFile], [*NoContext], [*Unreadable], [*NotRunning]
// when the Engine is gone, or that of ctx. When ctx ends the Engine stops the
// running step and Build returns within about two seconds.
func (e *Engine) Build(ctx context.Context, b Build) (Image, error) {
	b, err := b.resolve()
	if err != nil {
		return Image{}, err
	}
	if e.info.OSType == "windows" {
		return e.buildClassic(ctx, b)
	}
	if err := b.checkStore(e.info.Store); err != nil {
		return Image{}, err
	}
	bk, err := e.dialBuildKit(ctx)
	if err != nil {
		return Image{}, err
	}
	if bk == nil {
		return e.buildClassic(ctx, b)
	}
	defer bk.Close()
	return e.buildKit(ctx, bk, b)
}

// resolve makes the paths absolute and refuses what no builder can do.
func (b Build) resolve() (Build, error) {
	files, err := literalDockerfile(absolute("."), b.Dockerfile)
	if err != nil {
		return b, err
	}
	b.Dockerfile = files[0]
	if b.Context, err = ContextDirectory(absolute("."), b.Context, b.Dockerfile); err != nil {
		return b, err
	}
	for _, name := range b.Names {
		if err := checkName(name); err != nil {
			return b, err
		}
	}
	switch b.Network {
	case "", "default", "none", "host":
	default:
		return b, &Unsupported{Feature: "--network " + oneLine(b.Network, 100), Why: "only default, none and host exist for builds"}
	}
	for _, host := range b.ExtraHosts {
		if host.Value == "host-gateway" {
			return b, &Unsupported{Feature: "--add-host with host-gateway", Why: "the engine does not say its gateway's address"}
		}
	}
	return b, nil
}

// absolute is filepath.Abs, or the path itself where the working folder is gone.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// checkName admits a full reference with an optional tag.
func checkName(name string) error {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return &BadName{Name: name, Reason: err.Error()}
	}
	if _, ok := ref.(reference.Digested); ok {
		return &BadName{Name: name, Reason: "an image cannot be named by digest"}
	}
	return nil
}

// checkStore refuses what an Engine with the graphdriver store drops without a
// word or refuses late. Source: measured on Engines 20.10 and 28.5; buildx
// v0.36.1 driver/docker/driver.go gates the same features.
func (b Build) checkStore(store string) error {
	if store == StoreContainerd {
		return nil
	}
	exports := slices.ContainsFunc(b.CacheTo, func(c Cache) bool { return c.Type != "inline" })
	for _, wish := range []struct {
		made    bool
		feature string
	}{
		{len(b.Platforms) > 1, "--platform with several platforms"},
		{len(b.Attestations) > 0, "--attest, --provenance, --sbom"},
		{len(b.Annotations) > 0, "--annotation"},
		{exports, "--cache-to of a type other than inline"},
	} {
		if wish.made {
			return &Unsupported{Feature: wish.feature, Why: "graphdriver store"}
		}
	}
	return nil
}

// checkClassic refuses what only BuildKit can do.
func (b Build) checkClassic() error {
	for _, wish := range []struct {
		made    bool
		feature string
	}{
		{len(b.Platforms) > 1, "--platform with several platforms"},
		{len(b.Attestations) > 0, "--attest, --provenance, --sbom"},
		{len(b.Annotations) > 0, "--annotation"},
		{len(b.CacheTo) > 0, "--cache-to"},
		{len(b.Secrets) > 0, "--secret"},
		{len(b.Contexts) > 0, "--build-context"},
		{len(b.NoCacheStages) > 0 && !b.NoCache, "--no-cache-filter"},
		{slices.ContainsFunc(b.CacheFrom, func(c Cache) bool { return c.Type != "registry" }), "--cache-from of a type other than registry"},
	} {
		if wish.made {
			return &Unsupported{Feature: wish.feature, Why: "classic builder"}
		}
	}
	return nil
}

// maxSecret is BuildKit's own bound (session/secrets/secretsprovider).
const maxSecret = 500 << 10

// secrets reads the build secrets into memory.
func (b Build) secrets() (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, s := range b.Secrets {
		value := []byte(s.Value.Reveal())
		if s.Value.Empty() && s.File != "" {
			info, err := os.Stat(s.File)
			if err == nil && info.Size() > maxSecret {
				err = fmt.Errorf("a build secret holds at most %d bytes", maxSecret)
			}
			if err == nil {
				value, err = os.ReadFile(s.File)
			}
			if err != nil {
				return nil, &Unreadable{Path: s.File, Err: cause(err)}
			}
		}
		all[s.ID] = value
	}
	return all, nil
}

// registryHost is the host part of a reference, "docker.io" for Docker Hub.
func registryHost(name string) string {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return ""
	}
	return reference.Domain(ref)
}

// repositoryPath is a name without its host.
func repositoryPath(name string) string {
	ref, err := reference.ParseNormalizedNamed(name)
	if err != nil {
		return name
	}
	return reference.Path(ref)
}

// isHub knows the names under which BuildKit and Engines know Docker Hub.
func isHub(host string) bool {
	return slices.Contains([]string{"docker.io", "registry-1.docker.io", "index.docker.io", "https://index.docker.io/v1/"}, host)
}

// ask asks for a host's credentials under the name [Credentials] promises.
func (c Credentials) ask(host string) (user string, password secret.Value, ok bool) {
	if c == nil {
		return "", secret.Value{}, false
	}
	host = strings.ToLower(host)
	if isHub(host) {
		host = "docker.io"
	}
	return c(host)
}
