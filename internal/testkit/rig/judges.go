package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Trust is what docker trust inspect says of a repository or an image.
type Trust struct {
	// Tags by name.
	Tags map[string]SignedTag
	// Signers are the delegations but targets/releases: name to canonical IDs
	// of the keys, sorted.
	Signers map[string][]string
	// RootKeys and RepositoryKeys are the IDs of the administrative keys as in
	// root.json: the root's is that of its certificate.
	RootKeys, RepositoryKeys []string
}

// SignedTag is one signed tag.
type SignedTag struct {
	Digest string // sha256:<hex>
	// Signers, sorted; "Repo Admin" stands for the repository key.
	Signers []string
}

// TrustInspect judges with docker trust inspect. image is host/name, or
// host/name:tag for that tag alone. A tag without a signature is no error: it
// is absent from Tags. No trust data at all is a *ToolError.
func (p *Person) TrustInspect(ctx context.Context, image string) (Trust, error) {
	output, err := p.Docker(ctx, "trust", "inspect", image)
	if err != nil {
		return Trust{}, err
	}
	return parseTrust([]byte(output))
}

func parseTrust(output []byte) (Trust, error) {
	type keys []struct{ ID string }
	var all []struct {
		SignedTags []struct {
			SignedTag, Digest string
			Signers           []string
		}
		Signers, AdministrativeKeys []struct {
			Name string
			Keys keys
		}
	}
	if err := json.Unmarshal(output, &all); err != nil {
		return Trust{}, fmt.Errorf("docker trust inspect: %w", err)
	}
	if len(all) != 1 {
		return Trust{}, fmt.Errorf("docker trust inspect speaks of %d repositories", len(all))
	}
	ids := func(k keys) []string {
		list := make([]string, len(k))
		for i := range k {
			list[i] = k[i].ID
		}
		slices.Sort(list)
		return list
	}
	t := Trust{Tags: map[string]SignedTag{}, Signers: map[string][]string{}}
	for _, tag := range all[0].SignedTags {
		slices.Sort(tag.Signers)
		t.Tags[tag.SignedTag] = SignedTag{Digest: "sha256:" + tag.Digest, Signers: tag.Signers}
	}
	for _, signer := range all[0].Signers {
		t.Signers[signer.Name] = ids(signer.Keys)
	}
	for _, admin := range all[0].AdministrativeKeys {
		switch admin.Name {
		case "Root":
			t.RootKeys = ids(admin.Keys)
		case "Repository":
			t.RepositoryKeys = ids(admin.Keys)
		}
	}
	return t, nil
}

// pullLine is how the docker CLI says what the trust data led it to.
var pullLine = regexp.MustCompile(`(?m)^Pull \(1 of 1\): \S+@(sha256:[0-9a-f]{64})$`)

// TrustedPull judges with docker pull under content trust and gives the digest
// that it pulled. image is host/name:tag.
func (p *Person) TrustedPull(ctx context.Context, image string) (string, error) {
	output, err := p.DockerTrusted(ctx, "pull", image)
	if err != nil {
		return "", err
	}
	match := pullLine.FindStringSubmatch(output)
	if match == nil {
		return "", fmt.Errorf("docker pull %s succeeded without saying what it trusted: %s", image, output)
	}
	return match[1], nil
}

// NotaryTarget is one row of notary list.
type NotaryTarget struct {
	Tag    string
	Digest string // sha256:<hex>
	Size   int64  // of the manifest, in bytes
	Role   string // such as targets/releases
}

// NotaryList judges with notary list. With roles, each is asked by itself, in
// the order given, and a role that does not exist is an error of the tool's.
// Without, the tool names for each tag the first role that has it.
func (p *Person) NotaryList(ctx context.Context, gun string, roles ...string) ([]NotaryTarget, error) {
	server, stop, err := p.withToken(ctx, gun)
	if err != nil {
		return nil, err
	}
	defer stop()
	asks := [][]string{{"list", gun}}
	if len(roles) > 0 {
		asks = nil
	}
	for _, role := range roles {
		asks = append(asks, []string{"list", gun, "--roles", role})
	}
	var all []NotaryTarget
	for _, args := range asks {
		output, err := p.notaryAt(ctx, server, args)
		if err != nil {
			return nil, err
		}
		rows, err := parseNotaryList(output)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	return all, nil
}

// withToken is a way to the front for tools that read without credentials: a
// server on loopback that adds the person's token for pulling from gun.
func (p *Person) withToken(ctx context.Context, gun string) (server string, stop func(), err error) {
	token, err := p.stack.token(ctx, p.Name, "repository:"+gun+":pull")
	if err != nil {
		return "", nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	target, client := &url.URL{Scheme: "https", Host: p.stack.Front.Host}, p.stack.Front.Client()
	way := &http.Server{
		ReadHeaderTimeout: serverStart,
		Handler: &httputil.ReverseProxy{
			Transport: client.Transport,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(target)
				r.Out.Header.Set("Authorization", "Bearer "+token)
			},
		},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = way.Serve(listener)
	}()
	return "http://" + listener.Addr().String(), func() {
		_ = way.Close()
		<-done
		client.CloseIdleConnections()
	}, nil
}

// parseNotaryList reads the table: name, digest, size, role.
func parseNotaryList(output string) ([]NotaryTarget, error) {
	var rows []NotaryTarget
	_, body, found := strings.Cut(output, "----")
	if !found {
		if strings.Contains(output, "No targets present") {
			return nil, nil
		}
		return nil, fmt.Errorf("notary list: no table in %q", output)
	}
	for line := range strings.Lines(body) {
		fields := strings.Fields(line)
		if len(fields) != 4 || strings.HasPrefix(fields[0], "--") {
			continue
		}
		row := NotaryTarget{Tag: fields[0], Digest: "sha256:" + fields[1], Role: fields[3]}
		if _, err := fmt.Sscan(fields[2], &row.Size); err != nil {
			return nil, fmt.Errorf("notary list: size in %q: %w", line, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}
