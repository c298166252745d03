package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"contenttrust/internal/docker"
	"contenttrust/internal/registry"
)

// UnsignedError is the failure of a run that had moved a tag already, with the state that the tag is in now. It is what
// the release engineer must know first: is there an unsigned image under a name that somebody pulls?
type UnsignedError struct {
	Image string // repository:tag
	State TagState
	// Unasked is set when a publish was tried and nobody could say whether the trust server has taken it.
	Unasked bool
	// Late is set when the push was cut off: the Engine or the registry may still move the tag.
	Late bool
	Err  error // why the run failed
	Undo error // why the tag could not be put back; nil when it was
}

// TagState is what became of a tag that was moved before the signature failed.
type TagState int

// The states of the first tag after a failed run.
const (
	TagUnknown   TagState = iota // could not be asked
	TagAsBefore                  // it is where it was, or does not exist, as before
	TagRestored                  // it was moved, and was put back
	TagRemoved                   // it was new, and was taken away
	TagUnsigned                  // it points at an image that is not signed
	TagElsewhere                 // somebody else has moved it meanwhile; it was left alone
)

// Error gives the reason; the state is told by the explanation.
func (e *UnsignedError) Error() string {
	return fmt.Sprintf("%s (%s %s)", e.Err, e.Image, [...]string{"in an unknown state", "as before", "put back", "taken away", "left unsigned", "moved by somebody else"}[e.State])
}

// Unwrap gives the reason of the failure.
func (e *UnsignedError) Unwrap() []error {
	if e.Undo == nil {
		return []error{e.Err}
	}
	return []error{e.Err, e.Undo}
}

// moved is what is known about a push that moved the first tag, or may have moved it.
type moved struct {
	image  docker.Image
	digest string // of the manifest that was pushed; "" when the push did not come so far
	// unasked is set when a publish failed and the trust data could not be read afterwards.
	unasked bool
}

// ours says whether the tag points at what this run pushed. A tag that somebody else has moved meanwhile is theirs.
func (m moved) ours(now registry.Manifest) bool {
	if m.digest != "" {
		return now.Digest == m.digest
	}
	return holds(now, m.image) == nil
}

// undo puts the first tag back where it was before the push, or takes it away if it is new and the registry lets us. It
// has its own time, because the run's own may be what ran out.
func (r *run) undo(ctx context.Context, c *ready, m moved, cause error) error {
	limit := undoTime
	if ctx.Err() != nil {
		limit = undoTimeCancelled
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	tag := r.plan.Tags[0]
	state, err := putBack(ctx, c, tag, m)
	// A push that was cut off may have left a request on its way, which arrives when we have already looked.
	late := m.digest == "" && cutOff(cause)
	for begun := time.Now(); late && state == TagAsBefore && time.Since(begun) < lateTime; { //nolint:forbidigo // a wait, not a decision
		select {
		case <-ctx.Done():
			return &UnsignedError{Image: c.repository.Tag(tag), State: state, Late: late, Unasked: m.unasked, Err: cause}
		case <-time.After(lateTime / 6):
			state, err = putBack(ctx, c, tag, m)
		}
	}
	return &UnsignedError{Image: c.repository.Tag(tag), State: state, Late: late, Unasked: m.unasked, Err: cause, Undo: err}
}

// cutOff says whether the push ended before the Engine had told how it went.
func cutOff(cause error) bool {
	if errors.Is(cause, context.Canceled) || errors.Is(cause, context.DeadlineExceeded) {
		return true
	}
	push, ok := errors.AsType[*docker.PushError](cause)
	return ok && push.Reason == docker.ReasonTemporary
}

func putBack(ctx context.Context, c *ready, tag string, m moved) (TagState, error) {
	now, err := c.registry.Manifest(ctx, tag)
	missing := errors.Is(err, registry.ErrNotFound)
	switch {
	case missing && c.before == nil:
		return TagAsBefore, nil
	case err != nil && !missing:
		return TagUnknown, err
	case c.before != nil && now.Digest == c.before.Digest:
		return TagAsBefore, nil
	case !missing && !m.ours(now):
		return TagElsewhere, nil
	case c.before != nil:
		if err := c.registry.Tag(ctx, *c.before, []string{tag}); err != nil {
			return TagUnsigned, err
		}
		return TagRestored, nil
	}
	// By its tag, never by its digest: other tags may point at the same image, and would go with it.
	if err := c.registry.Delete(ctx, tag); err != nil {
		return TagUnsigned, err
	}
	return TagRemoved, nil
}
