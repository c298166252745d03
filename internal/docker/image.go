package docker

import (
	"context"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// ImageID asks which image a name stands for in the Engine now. In a
// graphdriver store the answer proves the configuration's digest, in a
// containerd store the manifest's. Errors: [*NoImage], [*NotRunning], or that
// of ctx.
func (e *Engine) ImageID(ctx context.Context, name string) (Image, error) {
	found, err := e.api.ImageInspect(ctx, name)
	if err != nil {
		return Image{}, e.imageFault(ctx, name, err)
	}
	image := Image{ID: found.ID}
	if e.info.Store != StoreContainerd {
		image.ConfigDigest = found.ID
		return image, nil
	}
	image.ManifestDigest = found.ID
	if d := found.Descriptor; d != nil && d.Digest.String() == found.ID {
		image.MediaType, image.Size = d.MediaType, d.Size
	}
	return image, nil
}

// Tag gives an image one more name in the Engine. Errors: [*BadName], and
// those of [Engine.ImageID].
func (e *Engine) Tag(ctx context.Context, image, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := e.api.ImageTag(ctx, image, name); err != nil {
		return e.imageFault(ctx, image, err)
	}
	return nil
}

func (e *Engine) imageFault(ctx context.Context, name string, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case cerrdefs.IsNotFound(err):
		return &NoImage{Name: name}
	case client.IsErrConnectionFailed(err):
		return &NotRunning{Host: e.host, Err: clipped(err)}
	default:
		return clipped(err)
	}
}
