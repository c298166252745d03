package registry

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// The media types of manifests and of indexes, which docker calls lists.
const (
	DockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	DockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	OCIManifest    = "application/vnd.oci.image.manifest.v1+json"
	OCIIndex       = "application/vnd.oci.image.index.v1+json"
)

func mediaTypes() []string { return []string{DockerManifest, DockerList, OCIManifest, OCIIndex} }

// Manifest is a manifest or index as it lies in a registry.
type Manifest struct {
	// Digest is that of Bytes, computed by us.
	Digest string
	// MediaType is one of the four constants.
	MediaType string
	Bytes     []byte
}

// Size is the length in bytes, which trust data records beside the digest.
func (m Manifest) Size() int64 { return int64(len(m.Bytes)) }

// IsIndex tells an index, of several manifests, from a manifest.
func (m Manifest) IsIndex() bool { return m.MediaType == DockerList || m.MediaType == OCIIndex }

// Config is the digest of the image's configuration, which docker calls the
// image's ID; "" for an index or when there is none. It proves that what was
// pushed is what was built.
func (m Manifest) Config() string {
	var content struct {
		Config struct{ Digest string }
	}
	if m.IsIndex() || json.Unmarshal(m.Bytes, &content) != nil || CheckDigest(content.Config.Digest) != nil {
		return ""
	}
	return content.Config.Digest
}

// Manifest reads a manifest or index of at most 4 MiB by its tag or digest.
//
// The bytes are hashed here. By digest, another hash is a *DigestMismatch; by
// tag, it must be the one the registry says it sends, if it says so. A
// *ManifestError is content that cannot be signed; a *ReferenceError a ref that
// cannot be one. The rest are AccessError (errors.Is ErrNotFound for a tag that
// is not there) and the errors of the way there.
func (c *Client) Manifest(ctx context.Context, ref string) (Manifest, error) {
	byDigest, err := checkReference(ref)
	if err != nil {
		return Manifest{}, err
	}
	got, err := c.do(ctx, call{
		op: OpRead, method: http.MethodGet, path: c.manifestPath(ref), reference: ref, actions: []string{"pull"},
		header: http.Header{"Accept": {strings.Join(mediaTypes(), ", ")}}, limit: maxManifest,
	})
	fail := func(reason, mediaType string) (Manifest, error) {
		return Manifest{}, &ManifestError{Repository: c.repository.String(), Reference: ref, Reason: reason, MediaType: printable(mediaType)}
	}
	switch {
	case errors.Is(err, errTooLarge):
		return fail("larger than 4 MiB", got.header.Get("Content-Type"))
	case err != nil:
		return Manifest{}, err
	case len(got.body) == 0:
		return fail("empty", got.header.Get("Content-Type"))
	}
	m := Manifest{Digest: DigestOf(got.body), Bytes: got.body}
	want := got.header.Get("Docker-Content-Digest")
	if byDigest {
		want = ref
	}
	if want != "" && want != m.Digest {
		return Manifest{}, c.mismatch(ref, want, m.Digest)
	}
	var reason string
	if m.MediaType, reason = mediaType(got.header.Get("Content-Type"), got.body); reason != "" {
		return fail(reason, got.header.Get("Content-Type"))
	}
	return m, nil
}

func (c *Client) mismatch(ref, want, got string) error {
	return &DigestMismatch{Repository: c.repository.String(), Reference: ref, Want: printable(want), Got: printable(got)}
}

// manifestPath needs no escaping of a checked reference.
func (c *Client) manifestPath(ref string) string {
	return "/v2/" + c.repository.Path + "/manifests/" + url.PathEscape(ref)
}

// checkReference tells a digest from a tag and checks either.
func checkReference(ref string) (byDigest bool, err error) {
	if strings.Contains(ref, ":") {
		return true, CheckDigest(ref)
	}
	return false, CheckTag(ref)
}

// mediaType reads the type from the header and from the content, which must not
// contradict each other: bytes that are a manifest to one reader and an index to
// another have one digest and two meanings (CVE-2021-41190). A registry that
// gives a general type is overruled by the content.
func mediaType(header string, body []byte) (mediaType, reason string) {
	var content struct {
		MediaType string
		Manifests []json.RawMessage
		Layers    []json.RawMessage
		Config    json.RawMessage
	}
	if json.Unmarshal(body, &content) != nil {
		return "", "not JSON"
	}
	mediaType, _, err := mime.ParseMediaType(header)
	if err != nil || mediaType == "application/json" || mediaType == "application/octet-stream" || mediaType == "text/plain" {
		mediaType = content.MediaType
	}
	if !slices.Contains(mediaTypes(), mediaType) {
		return "", "media type not known"
	}
	index := mediaType == DockerList || mediaType == OCIIndex
	if content.MediaType != "" && content.MediaType != mediaType ||
		index && (content.Layers != nil || content.Config != nil) || !index && content.Manifests != nil {
		return "", "media type differs from its content"
	}
	return mediaType, ""
}
