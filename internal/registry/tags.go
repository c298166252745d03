package registry

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
)

// parallelTags is how many tags are written at once: twenty tags are then two rounds,
// and no registry has minded.
const parallelTags = 16

// Tag points tags at a manifest the repository already holds, by writing the
// same bytes under each, several at once. Locks, refusals and lost tags make a
// *TagsError that says which tags are done; the others are not tried less hard
// because one failed.
//
// A tag or manifest that cannot be one is a *ReferenceError or *DigestMismatch,
// before anything is sent.
func (c *Client) Tag(ctx context.Context, m Manifest, tags []string) error {
	for _, tag := range tags {
		if err := CheckTag(tag); err != nil {
			return err
		}
	}
	if got := DigestOf(m.Bytes); got != m.Digest {
		return c.mismatch(m.Digest, m.Digest, got)
	}
	errs := make([]error, len(tags))
	gate := make(chan struct{}, parallelTags)
	var group sync.WaitGroup
	for i, tag := range tags {
		gate <- struct{}{}
		group.Go(func() {
			defer func() { <-gate }()
			errs[i] = c.putTag(ctx, m, tag)
		})
	}
	group.Wait()

	result := &TagsError{Repository: c.repository.String(), Digest: m.Digest}
	for i, err := range errs {
		if err == nil {
			result.Done = append(result.Done, tags[i])
		} else {
			result.Failed = append(result.Failed, TagFailure{Tag: tags[i], Err: err})
		}
	}
	if result.Failed == nil {
		return nil
	}
	return result
}

// putTag writes one tag and checks that it holds what was written.
func (c *Client) putTag(ctx context.Context, m Manifest, tag string) error {
	got, err := c.do(ctx, call{
		op: OpWrite, method: http.MethodPut, path: c.manifestPath(tag), reference: tag, actions: []string{"pull", "push"},
		header: http.Header{"Content-Type": {m.MediaType}}, body: m.Bytes,
	})
	if err != nil {
		return c.lock(tag, err)
	}
	digest := got.header.Get("Docker-Content-Digest")
	if digest == "" { // optional in the OCI specification: look
		read, err := c.Manifest(ctx, tag)
		if err != nil {
			return err
		}
		digest = read.Digest
	}
	if digest != m.Digest {
		return c.mismatch(tag, m.Digest, digest)
	}
	return nil
}

// lock recognises a tag that must not be changed.
func (c *Client) lock(tag string, err error) error {
	answer, ok := errors.AsType[*AccessError](err)
	if !ok {
		return err
	}
	switch answer.Status {
	case http.StatusMethodNotAllowed, http.StatusConflict, http.StatusPreconditionFailed:
		return &LockedError{Repository: answer.Repository, Tag: tag, Status: answer.Status, Code: answer.Code, Detail: answer.Detail}
	}
	return err
}

// Delete removes a tag, or, given a digest, a manifest with all its tags. A tag
// is never removed by way of its manifest. A registry that cannot do it is an
// *UnsupportedError, a locked tag a *LockedError, one that is not there an
// AccessError that is ErrNotFound.
func (c *Client) Delete(ctx context.Context, ref string) error {
	byDigest, err := checkReference(ref)
	if err != nil {
		return err
	}
	path := c.manifestPath(ref)
	if !byDigest && isAzure(c.api.home.name()) {
		// Only its own interface is documented to leave the manifest alone.
		path = "/acr/v1/" + c.repository.Path + "/_tags/" + ref
	}
	_, err = c.do(ctx, call{op: OpDelete, method: http.MethodDelete, path: path, reference: ref, actions: []string{"delete"}})
	answer, ok := errors.AsType[*AccessError](err)
	switch {
	case !ok:
		return err
	case answer.Status == http.StatusMethodNotAllowed && strings.Contains(answer.Detail, "disallowed"),
		answer.Status == http.StatusConflict, answer.Status == http.StatusPreconditionFailed:
		return c.lock(ref, err)
	case answer.Status == http.StatusMethodNotAllowed, answer.Status == http.StatusBadRequest, answer.Status == http.StatusNotImplemented:
		return &UnsupportedError{Repository: answer.Repository, Reference: ref, Status: answer.Status, Code: answer.Code, Detail: answer.Detail}
	}
	return err
}

// isAzure tells Azure Container Registry, in any of its clouds.
func isAzure(host string) bool {
	for _, suffix := range []string{".azurecr.io", ".azurecr.cn", ".azurecr.us", ".azurecr.de"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}
