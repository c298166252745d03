package registry

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// cancelTime is how long the cancelling of a trial upload may take.
const cancelTime = 2 * time.Second

// CheckPush finds out whether the credential may push, by starting an upload
// and cancelling it. Nothing remains in the registry; one that does not let us
// cancel forgets the empty upload by itself. The cancelling goes on when CheckPush
// has returned; Settle waits for it.
//
// The error is nil or an *AccessError, *UnreachableError, *RealmError,
// *RedirectError or *ChallengeError, or wraps that of ctx.
func (c *Client) CheckPush(ctx context.Context) error {
	got, err := c.do(ctx, call{
		op: OpUpload, method: http.MethodPost, path: "/v2/" + c.repository.Path + "/blobs/uploads/", actions: []string{"pull", "push"},
	})
	if err != nil {
		return err
	}
	if path, ok := c.uploadPath(got.header.Get("Location")); ok {
		c.session.background.Go(func() {
			ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelTime)
			defer stop()
			// docker/distribution wants the right to delete for this; failing is normal.
			_, _ = c.do(ctx, call{op: OpUpload, method: http.MethodDelete, path: path, actions: []string{"pull", "push"}, once: true})
		})
	}
	return nil
}

// Settle waits for what this Client still has under way that nobody else waits for, at
// most two seconds. Call it before the process ends.
func (c *Client) Settle() { c.session.background.Wait() }

// uploadPath is an upload's address without its host, if that is the registry;
// an upload elsewhere is left alone.
func (c *Client) uploadPath(location string) (string, bool) {
	base, err := url.Parse(c.api.home.url("/"))
	if err != nil || location == "" {
		return "", false
	}
	at, err := base.Parse(location)
	if err != nil || originOf(at) != c.api.home {
		return "", false
	}
	return at.RequestURI(), true
}
