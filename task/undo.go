package task

import (
	"context"
	"errors"
	"fmt"

	"contenttrust/internal/registry"
)

// UnsignedError is the failure of a run that had moved a tag already, with the state that the tag is in now. It is what
// the release engineer must know first: is there an unsigned image under a name that somebody pulls?
type UnsignedError struct {
	Image string // repository:tag
	State TagState
	Err   error // why the run failed
	Undo  error // why the tag could not be put back; nil when it was
}

// TagState is what became of a tag that was moved before the signature failed.
type TagState int

// The states of the first tag after a failed run.
const (
	TagUnknown  TagState = iota // could not be asked
	TagAsBefore                 // it is where it was, or does not exist, as before
	TagRestored                 // it was moved, and was put back
	TagRemoved                  // it was new, and was taken away
	TagUnsigned                 // it points at an image that is not signed
)

// Error gives the reason; the state is told by the explanation.
func (e *UnsignedError) Error() string {
	return fmt.Sprintf("%s (%s %s)", e.Err, e.Image, [...]string{"in an unknown state", "as before", "put back", "taken away", "left unsigned"}[e.State])
}

// Unwrap gives the reason of the failure.
func (e *UnsignedError) Unwrap() []error {
	if e.Undo == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Undo}
}

// undo puts the first tag back where it was before the push, or takes it away if it is new and the registry lets us. It
// has its own short time, because the run's own may be what ran out.
func (r *run) undo(ctx context.Context, c *ready, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	tag := r.plan.Tags[0]
	state, err := putBack(ctx, c.registry, tag, c.before)
	return &UnsignedError{Image: c.repository.Tag(tag), State: state, Err: cause, Undo: err}
}

func putBack(ctx context.Context, client *registry.Client, tag string, before *registry.Manifest) (TagState, error) {
	now, err := client.Manifest(ctx, tag)
	missing := errors.Is(err, registry.ErrNotFound)
	switch {
	case missing && before == nil:
		return TagAsBefore, nil
	case err != nil && !missing:
		return TagUnknown, err
	case before != nil && now.Digest == before.Digest:
		return TagAsBefore, nil
	case before != nil:
		if err := client.Tag(ctx, *before, []string{tag}); err != nil {
			return TagUnsigned, err
		}
		return TagRestored, nil
	}
	// By its tag, never by its digest: other tags may point at the same image, and would go with it.
	if err := client.Delete(ctx, tag); err != nil {
		return TagUnsigned, err
	}
	return TagRemoved, nil
}
