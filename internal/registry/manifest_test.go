package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/testkit/registrytest"
)

const configDigest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

func image(mediaType string) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"digest":%q},"layers":[]}`, mediaType, configDigest)
}

func index(mediaType string) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[]}`, mediaType)
}

func TestManifestsAreReadByTagAndByDigest(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	digest := seed(t, f, "1.0")
	var accepts []string
	f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			accepts = append(accepts, r.Header.Get("Accept"))
		}
		next.ServeHTTP(w, r)
	})
	c := connect(t, reader, one(f))
	byTag, err := c.Manifest(context.Background(), "1.0")
	if err != nil {
		t.Fatal(err)
	}
	byDigest, err := c.Manifest(context.Background(), digest)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(byTag, byDigest); diff != "" {
		t.Error(diff)
	}
	if byTag.Digest != digest || byTag.MediaType != DockerManifest || byTag.Size() != int64(len(byTag.Bytes)) || byTag.Size() == 0 {
		t.Errorf("manifest is %s, %s, %d", byTag.Digest, byTag.MediaType, byTag.Size())
	}
	if CheckDigest(byTag.Config()) != nil || byTag.IsIndex() {
		t.Errorf("config is %q", byTag.Config())
	}
	for _, accept := range accepts {
		for _, mediaType := range []string{DockerManifest, DockerList, OCIManifest, OCIIndex} {
			if !strings.Contains(accept, mediaType) {
				t.Errorf("%s is not accepted: %s", mediaType, accept)
			}
		}
	}
}

// serveBytes answers GETs of manifests with given bytes.
func serveBytes(f *registrytest.Front, mediaType, digestHeader string, body []byte) {
	f.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !strings.Contains(r.URL.Path, "/manifests/") {
			next.ServeHTTP(w, r)
			return
		}
		if mediaType != "" {
			w.Header().Set("Content-Type", mediaType)
		}
		if digestHeader != "" {
			w.Header().Set("Docker-Content-Digest", digestHeader)
		}
		_, _ = w.Write(body)
	})
}

func TestContentThatIsNotWhatItsNameSaysIsRefused(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	c := connect(t, reader, one(f))
	body := image(OCIManifest)
	good, other := DigestOf(body), DigestOf([]byte("other"))
	for _, k := range []struct {
		title, ref, header string
		want               string // "": accepted
	}{
		{"tag, no header", "1.0", "", ""},
		{"tag, right header", "1.0", good, ""},
		{"tag, wrong header", "1.0", other, other},
		{"digest, right", good, "", ""},
		{"digest, right, header lies", good, other, ""},
		{"digest, wrong", other, "", other},
		{"digest, wrong, header agrees with it", other, other, other},
	} {
		serveBytes(f, OCIManifest, k.header, body)
		m, err := c.Manifest(context.Background(), k.ref)
		if k.want == "" {
			if err != nil || m.Digest != good {
				t.Errorf("%s: %v, %v", k.title, m.Digest, err)
			}
			continue
		}
		mustSee(t, err, func(e *DigestMismatch) bool {
			return e.Want == k.want && e.Got == good && e.Reference == k.ref && e.Repository == app.String()
		})
	}
}

func TestManifestsThatCannotBeSigned(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	c := connect(t, reader, one(f))
	const known, differs = "media type not known", "media type differs from its content"
	for _, k := range []struct {
		title, mediaType string
		body             []byte
		reason           string // "": accepted
	}{
		{"docker manifest", DockerManifest, image(DockerManifest), ""},
		{"docker list", DockerList, index(DockerList), ""},
		{"OCI manifest with parameters", OCIManifest + "; charset=utf-8", image(OCIManifest), ""},
		{"OCI index that does not say so", OCIIndex, []byte(`{"schemaVersion":2,"manifests":[]}`), ""},
		{"general type", "application/json", image(OCIManifest), ""},
		{"exactly 4 MiB", OCIManifest, pad(image(OCIManifest), 4<<20), ""},
		{"one byte more", OCIManifest, pad(image(OCIManifest), 4<<20+1), "larger than 4 MiB"},
		{"nothing", OCIManifest, nil, "empty"},
		{"schema 1", "application/vnd.docker.distribution.manifest.v1+prettyjws", []byte(`{"schemaVersion":1}`), known},
		{"a login page", "text/html", []byte("<html>"), "not JSON"},
		{"no type anywhere", "application/json", []byte("{}"), known},
		{"manifest called index", OCIIndex, image(OCIManifest), differs},
		{"manifest called index, silent", OCIIndex, []byte(`{"layers":[]}`), differs},
		{"index called manifest, silent", OCIManifest, []byte(`{"manifests":[]}`), differs},
		{"both at once", OCIManifest, []byte(`{"layers":[],"manifests":[]}`), differs},
	} {
		serveBytes(f, k.mediaType, "", k.body)
		m, err := c.Manifest(context.Background(), "1.0")
		if k.reason == "" {
			if err != nil || !bytes.Equal(m.Bytes, k.body) {
				t.Errorf("%s: %d bytes, %v", k.title, m.Size(), err)
			}
			continue
		}
		mustSee(t, err, func(e *ManifestError) bool { return e.Reason == k.reason && e.Reference == "1.0" })
		if t.Failed() {
			t.Fatal(k.title)
		}
	}
}

func pad(b []byte, n int) []byte { return append(b, bytes.Repeat([]byte(" "), n-len(b))...) }

func TestConfigIsThatOfSingleManifestsOnly(t *testing.T) {
	t.Parallel()
	for title, c := range map[string]struct {
		m    Manifest
		want string
	}{
		"manifest":     {Manifest{MediaType: OCIManifest, Bytes: image(OCIManifest)}, configDigest},
		"index":        {Manifest{MediaType: OCIIndex, Bytes: image(OCIIndex)}, ""},
		"no config":    {Manifest{MediaType: OCIManifest, Bytes: []byte(`{}`)}, ""},
		"not a digest": {Manifest{MediaType: OCIManifest, Bytes: []byte(`{"config":{"digest":"../x"}}`)}, ""},
		"not JSON":     {Manifest{MediaType: OCIManifest, Bytes: []byte(`{`)}, ""},
	} {
		if got := c.m.Config(); got != c.want {
			t.Errorf("%s: %q", title, got)
		}
	}
}

func TestReferencesAreCheckedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	c := connect(t, pusher, one(f))
	for _, ref := range []string{"", "../../_catalog", "a/b", "sha256:../x", "a?b", "sha256:00"} {
		_, err := c.Manifest(context.Background(), ref)
		mustSee(t, err, func(e *ReferenceError) bool { return e.Input == ref })
		mustSee(t, c.Delete(context.Background(), ref), func(e *ReferenceError) bool { return e.Input == ref })
		mustSee(t, c.Tag(context.Background(), Manifest{}, []string{"1.0", ref}), func(*ReferenceError) bool { return true })
	}
	if len(f.Requests()) != 0 {
		t.Errorf("requests are %v", lines(f))
	}
}

func TestAMissingTagIsNotFound(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	_, err := connect(t, reader, one(f)).Manifest(context.Background(), "none")
	mustSee(t, err, func(e *AccessError) bool { return e.Reference == "none" && e.Op == OpRead })
	if !errors.Is(err, ErrNotFound) || len(f.Requests()) != 3 {
		t.Errorf("%v after %v", err, lines(f))
	}
}

func TestAManifestCutShortIsReadAgain(t *testing.T) {
	t.Parallel()
	f := start(t, registrytest.Options{})
	digest := seed(t, f, "1.0")
	f.Intercept(firstTimes(2, http.MethodGet, "/v2/team/app/manifests/1.0", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(1000))
		_, _ = io.WriteString(w, "{")
		panic(http.ErrAbortHandler)
	}))
	m, err := connect(t, reader, one(f)).Manifest(context.Background(), "1.0")
	if err != nil || m.Digest != digest {
		t.Errorf("%s, %v", m.Digest, err)
	}
}

func FuzzMediaType(f *testing.F) {
	f.Add(OCIManifest, image(OCIManifest))
	f.Add(OCIIndex+";x=y", index(OCIIndex))
	f.Add("", []byte(`{"mediaType":"`+DockerList+`","manifests":[],"layers":null}`))
	f.Add("application/json;", []byte(`{"config":1}`))
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		got, reason := mediaType(header, body)
		if (got == "") == (reason == "") {
			t.Fatalf("type %q with reason %q", got, reason)
		}
		m := Manifest{MediaType: got, Bytes: body}
		if config := m.Config(); config != "" && CheckDigest(config) != nil {
			t.Fatalf("config is %q", config)
		}
	})
}
