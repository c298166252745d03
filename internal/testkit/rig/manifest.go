package rig

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// largestManifest bounds what is read of a manifest, in bytes, as docker's
// registry does (distribution, maxManifestBodySize).
const largestManifest = 4 << 20

// Manifest is what the registry holds under a tag or digest.
type Manifest struct {
	Digest    string // of Bytes, computed here
	MediaType string
	Bytes     []byte
}

// Manifest reads from the registry with nothing but net/http, so that a test
// knows a digest neither from the code under test nor from an Engine. user must
// be one who may pull; a name that does not exist is an error with the status.
func (s *Stack) Manifest(ctx context.Context, user, repository, reference string) (Manifest, error) {
	token, err := s.token(ctx, user, "repository:"+repository+":pull")
	if err != nil {
		return Manifest{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Front.URL+"/v2/"+repository+"/manifests/"+reference, nil)
	if err != nil {
		return Manifest{}, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	for _, kind := range []string{
		"application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.list.v2+json",
		"application/vnd.oci.image.manifest.v1+json",
		"application/vnd.oci.image.index.v1+json",
	} {
		request.Header.Add("Accept", kind)
	}
	body, header, err := s.fetch(request)
	if err != nil {
		return Manifest{}, err
	}
	sum := sha256.Sum256(body)
	return Manifest{
		Digest: "sha256:" + hex.EncodeToString(sum[:]), MediaType: header.Get("Content-Type"), Bytes: body,
	}, nil
}

// token asks the front for one in a user's name.
func (s *Stack) token(ctx context.Context, user, scope string) (string, error) {
	query := url.Values{"service": {s.Front.Service}, "scope": {scope}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Front.Realm+"?"+query.Encode(), nil)
	if err != nil {
		return "", err
	}
	request.SetBasicAuth(user, s.Users[user].Password)
	body, _, err := s.fetch(request)
	if err != nil {
		return "", err
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	return answer.Token, json.Unmarshal(body, &answer)
}

func (s *Stack) fetch(request *http.Request) ([]byte, http.Header, error) {
	client := s.Front.Client()
	defer client.CloseIdleConnections()
	answer, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, largestManifest))
	if err != nil {
		return nil, nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("%s %s: %s", request.Method, request.URL.Path, answer.Status)
	}
	return body, answer.Header, nil
}
