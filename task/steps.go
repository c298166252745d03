package task

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"contenttrust/internal/docker"
	"contenttrust/internal/registry"
	"contenttrust/internal/secret"
	"contenttrust/internal/trust"
)

// How long a failed run may take to put its tag back. An agent kills a cancelled step after 7.5 seconds, of which the
// clean-up needs some; without a cancel there is time to be patient with a slow registry.
const (
	undoTime          = time.Minute
	undoTimeCancelled = 3 * time.Second
	// lateTime is how long a push that was cut off is watched for a request that was still on its way.
	lateTime = 1500 * time.Millisecond
)

// build builds the image under all its tags, so that later steps find each of them in the Engine.
func (r *run) build(ctx context.Context, c *ready) (docker.Image, error) {
	r.log.Section("Build")
	r.log.Progress(10, "Building")
	defer r.clock.lap("build")()
	names := make([]string, len(r.plan.Tags))
	for i, tag := range r.plan.Tags {
		names[i] = c.repository.Tag(tag)
	}
	r.log.CommandLine(buildCommand(c, names))
	out, err := r.newOutput("build")
	if err != nil {
		return docker.Image{}, err
	}
	image, err := c.engine.Build(ctx, docker.Build{
		Dockerfile: c.dockerfile,
		Context:    c.context,
		Names:      names,
		Labels:     labels(r.agent, r.plan.AddPipelineData),
		Credentials: func(host string) (string, secret.Value, bool) {
			return c.login.Username, c.login.Password, host == c.repository.Host
		},
		Progress: docker.Progress{Out: out, Warning: r.buildWarning},
	})
	if err := errors.Join(err, out.Close()); err != nil {
		return docker.Image{}, err
	}
	r.log.Linef("Built %s.", image.ID)
	return image, nil
}

// buildCommand is what a person would type for the same build; names and paths only, nothing secret.
func buildCommand(c *ready, names []string) string {
	return "docker build -f " + c.dockerfile + " -t " + strings.Join(names, " -t ") + " " + c.context
}

// publish pushes the image, signs it under all its tags, gives it the other tags, and proves it.
//
// The order keeps the promise that no tag is left at an image that this run failed to sign: only the first tag is moved
// before the signature, because an Engine pushes nothing without one, and it is put back if the signature fails. The
// other tags are moved when the signature stands.
func (r *run) publish(ctx context.Context, c *ready, image docker.Image) (result Result, err error) {
	signed, m := !r.plan.Sign, moved{image: image}
	if c.before, err = r.tagBefore(ctx, c); err != nil {
		return Result{}, err
	}
	// From the first moment that the push can move the tag, also when it breaks half-way.
	defer func() {
		if err != nil && !signed {
			err = r.undo(ctx, c, m, err)
		} else if err != nil && r.plan.Sign && ctx.Err() != nil {
			r.warn(codeCancelled, c.repository.Tag(r.plan.Tags[0])+" is pushed and signed; the other tags are signed, and may not be there yet. Run the step again to complete them.")
		}
	}()
	manifest, err := r.push(ctx, c, &m)
	if err != nil {
		return Result{}, err
	}
	m.digest = manifest.Digest
	result = Result{Plan: r.plan, Repository: c.repository, Manifest: manifest, Image: image, Engine: c.engine.Info()}
	if r.plan.Sign {
		result.Receipt, err = r.sign(ctx, c, manifest)
		signed = err == nil
		if err != nil {
			signed, m.unasked = r.signedAfterAll(ctx, c, manifest)
		}
		if err != nil && (!signed || ctx.Err() != nil) {
			return Result{}, err
		}
	}
	if result.State, err = r.prove(ctx, c, manifest); err != nil {
		return Result{}, err
	}
	result.Key, result.Roles = c.key, c.roles
	return result, nil
}

// push pushes the first tag through the Engine, and gives the manifest that the registry holds for it: by bytes that we
// fetched and hashed ourselves, and that name the image that we built.
func (r *run) push(ctx context.Context, c *ready, m *moved) (registry.Manifest, error) {
	first := r.plan.Tags[0]
	r.log.Section("Push " + c.repository.Tag(first))
	r.log.Progress(60, "Pushing")
	defer r.clock.lap("push")()
	out, err := r.newOutput("push")
	if err != nil {
		return registry.Manifest{}, err
	}
	pushed, err := c.engine.Push(ctx, docker.Push{
		Name: c.repository.String(), Tag: first, Username: c.login.Username, Password: c.login.Password, Out: out,
		Retry: docker.Retry{OnRetry: func(a docker.Attempt) { r.retrying("The push", a.Number, a.Pause, a.Text) }},
	})
	if err := errors.Join(err, out.Close()); err != nil {
		return registry.Manifest{}, err
	}
	// The digest that the Engine claims is asked for by name, so that a tag that somebody moved meanwhile does no harm.
	// Where the Engine claims nothing, the tag is asked, and the image's own identity below decides.
	ref := first
	if m.digest = pushed.Digest; m.digest != "" {
		ref = m.digest
	}
	manifest, err := c.registry.Manifest(ctx, ref)
	if err != nil {
		return registry.Manifest{}, err
	}
	if err := holds(manifest, m.image); err != nil {
		return registry.Manifest{}, err
	}
	r.log.Linef("The registry holds %s, %d bytes.", manifest.Digest, manifest.Size())
	return manifest, nil
}

// ForeignImageError says that the registry holds another image than the one that this run built. Nothing is signed then.
type ForeignImageError struct {
	Built string // the Engine's ID of what was built
	Found string // the digest that the registry answered with
}

// Error names both.
func (e *ForeignImageError) Error() string {
	return fmt.Sprintf("the registry holds %s, which is not the image %s that was built", e.Found, e.Built)
}

// holds checks that the manifest is the built image's. An Engine with the containerd image store names an image by its
// manifest, one with a graph driver by its configuration, and a manifest names its configuration.
func holds(manifest registry.Manifest, image docker.Image) error {
	if manifest.Digest == image.ID || (image.ManifestDigest != "" && manifest.Digest == image.ManifestDigest) {
		return nil
	}
	if config := manifest.Config(); config != "" && (config == image.ID || config == image.ConfigDigest) {
		return nil
	}
	return &ForeignImageError{Built: image.ID, Found: manifest.Digest}
}

// sign signs the digest under all tags with one publish.
func (r *run) sign(ctx context.Context, c *ready, manifest registry.Manifest) (trust.Receipt, error) {
	r.log.Section("Sign")
	r.log.Progress(80, "Signing")
	defer r.clock.lap("sign")()
	receipt, err := c.trust.Sign(ctx, trust.SignRequest{
		Key: c.key, Signer: r.plan.Signer, Targets: r.targets(manifest),
		OnRetry: func(retry trust.Retry) { r.retrying("The trust server", retry.Attempt, retry.Wait, retry.Err) },
	})
	if err != nil {
		return trust.Receipt{}, err
	}
	r.log.Linef("Signed %d %s as %s with key %s.", len(r.plan.Tags), plural(len(r.plan.Tags), "tag"), strings.Join(c.roles, " and "), c.key.ID())
	return receipt, nil
}

// signedAfterAll looks whether a signature stands although its making failed: the answer to a publish can be lost when the
// server has taken it. It has its own short time, because a cancel may be what cut the answer off; unasked is set when the
// trust data could not be read in it.
func (r *run) signedAfterAll(ctx context.Context, c *ready, manifest registry.Manifest) (signed, unasked bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lateTime)
	defer cancel()
	state, err := c.trust.Read(ctx)
	if err != nil {
		return false, true
	}
	return state.Prove(c.key.ID(), r.targets(manifest)) == nil, false
}

// tagBefore reads what the first tag points at, right before the push moves it; nil when there is no such tag.
func (r *run) tagBefore(ctx context.Context, c *ready) (*registry.Manifest, error) {
	before, err := c.registry.Manifest(ctx, r.plan.Tags[0])
	if errors.Is(err, registry.ErrNotFound) {
		return nil, nil //nolint:nilnil // no manifest is an answer here
	}
	if err != nil {
		return nil, err
	}
	return &before, nil
}

func (r *run) targets(manifest registry.Manifest) []trust.Target {
	targets := make([]trust.Target, len(r.plan.Tags))
	for i, tag := range r.plan.Tags {
		targets[i] = trust.Target{Tag: tag, Digest: manifest.Digest, Size: manifest.Size()}
	}
	return targets
}

// prove gives the image its other tags, and reads everything again: the trust data into an empty store, and the registry's
// manifest for each tag. A green run says what was found here, never what was meant before.
//
// The other tags are written at the registry itself: an Engine would ask for every layer again for each of them. The trust
// data names them already, so both go on side by side.
func (r *run) prove(ctx context.Context, c *ready, manifest registry.Manifest) (state *trust.State, err error) {
	r.log.Section("Tag and prove")
	r.log.Progress(90, "Proving")
	defer r.clock.lap("tag and prove")()
	findings := sideBySide(
		func() error {
			if err := c.registry.Tag(ctx, manifest, r.plan.Tags[1:]); err != nil {
				return err
			}
			return r.proveTags(ctx, c, manifest)
		},
		func() (err error) {
			if state, err = r.proveTrust(ctx, c, manifest); err != nil {
				return &ProofError{Err: err}
			}
			return nil
		},
	)
	if len(findings) > 0 {
		return nil, errors.Join(findings...)
	}
	where := " in the registry"
	if r.plan.Sign {
		where = ", in the registry and in the trust data"
	}
	r.log.Linef("%s: %s %s to %s%s.", c.repository, strings.Join(r.plan.Tags, ", "), resolves(len(r.plan.Tags)), manifest.Digest, where)
	return state, nil
}

func resolves(n int) string {
	if n == 1 {
		return "resolves"
	}
	return "resolve"
}

func (r *run) proveTrust(ctx context.Context, c *ready, manifest registry.Manifest) (*trust.State, error) {
	if !r.plan.Sign {
		return nil, nil //nolint:nilnil // an unsigned push has no trust data to look at
	}
	state, err := c.trust.Read(ctx)
	if err != nil {
		return nil, err
	}
	return state, state.Prove(c.key.ID(), r.targets(manifest))
}

// proveTags asks the registry for each tag, several at once.
func (r *run) proveTags(ctx context.Context, c *ready, manifest registry.Manifest) error {
	found := make([]string, len(r.plan.Tags))
	err := eachOf(len(found), func(i int) error {
		got, err := c.registry.Manifest(ctx, r.plan.Tags[i])
		found[i] = got.Digest
		return err
	})
	if err != nil {
		return err
	}
	for i, tag := range r.plan.Tags {
		if found[i] != manifest.Digest {
			return &ProofError{Err: &TagMovedError{Image: c.repository.Tag(tag), Want: manifest.Digest, Found: found[i]}}
		}
	}
	return nil
}

// atOnce is how many tags are asked for side by side; a registry begins to refuse when it is asked more.
const atOnce = 16

// eachOf calls do for 0 to n-1, several at once, and joins the errors.
func eachOf(n int, do func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = do(i)
			<-slots
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// TagMovedError says that a tag does not point at the image that this run pushed, when it was asked again at the end.
type TagMovedError struct {
	Image string // repository:tag
	Want  string
	Found string
}

// Error names both digests.
func (e *TagMovedError) Error() string {
	return fmt.Sprintf("%s points at %s, not at %s", e.Image, e.Found, e.Want)
}

// ProofError says that the run did its work and could not prove it: something else changed the registry or the trust
// data meanwhile, or one of them lies.
type ProofError struct {
	Err error
}

// Error says what did not hold.
func (e *ProofError) Error() string { return "the proof failed: " + e.Err.Error() }

// Unwrap gives what did not hold.
func (e *ProofError) Unwrap() error { return e.Err }
