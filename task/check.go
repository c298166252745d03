package task

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"contenttrust/internal/docker"
	"contenttrust/internal/pipeline"
	"contenttrust/internal/registry"
	"contenttrust/internal/trust"
)

// ready is what the checks found, and what the steps go on with. Nothing in it has been changed by the checks.
type ready struct {
	login      pipeline.Login
	repository registry.Repository
	registry   *registry.Client
	before     *registry.Manifest // what the first tag pointed at right before the push; nil when it did not exist

	engine     *docker.Engine
	dockerfile string
	context    string

	key   *trust.Key
	trust *trust.Repository
	state *trust.State
	roles []string
}

// CheckError holds everything that the checks found wrong, so that a step is mended in one go.
type CheckError struct {
	Findings []error
}

// Error lists the findings, one after the other.
func (e *CheckError) Error() string {
	lines := make([]string, len(e.Findings))
	for i, finding := range e.Findings {
		lines[i] = finding.Error()
	}
	return strings.Join(lines, "; ")
}

// Unwrap gives the findings to errors.Is and errors.As.
func (e *CheckError) Unwrap() []error { return e.Findings }

// check answers every question that can be answered before the build, without changing anything, and side by side where
// the questions don't depend on each other: a run that cannot end well must not begin.
func (r *run) check(ctx context.Context) (*ready, error) {
	r.log.Section("Check")
	defer r.clock.lap("check")()
	c := &ready{}
	if err := r.connect(c); err != nil {
		return nil, err
	}
	r.atEnd = append(r.atEnd, c.registry.Settle)
	findings := sideBySide(
		func() error { return r.checkSources(ctx, c) },
		func() error { return r.checkEngine(ctx, c) },
		func() error { return r.checkRegistry(ctx, c) },
		func() error { return r.checkTrust(ctx, c) },
	)
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	switch len(findings) {
	case 0:
		return c, nil
	case 1:
		return nil, findings[0]
	}
	return nil, &CheckError{Findings: findings}
}

// sideBySide runs the checks at once and gives their findings in the order of the checks, so that a log reads the same
// every time.
func sideBySide(checks ...func() error) []error {
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, check := range checks {
		wg.Go(func() { errs[i] = check() })
	}
	wg.Wait()
	return slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// connect reads the service connection and lays the ways to the registry and the trust server. It asks nobody yet.
func (r *run) connect(c *ready) error {
	connection, err := pipeline.ReadConnection(r.Environment, r.plan.Connection)
	if err != nil {
		return err
	}
	if c.login, err = connection.Login(); err != nil {
		return err
	}
	r.hide(connection.Secrets()...)
	r.hide(c.login.Password)
	if c.repository, err = r.plan.repository(c.login); err != nil {
		return err
	}
	// A password that is a word of the image's own name would be found out by the last step only.
	if err := errors.Join(r.public("imageReference", c.repository.String()), r.public("signedTags", strings.Join(r.plan.Tags, ","))); err != nil {
		return err
	}
	client, err := r.http()
	if err != nil {
		return err
	}
	c.registry, err = registry.New(registry.Options{
		Repository:  c.repository,
		Credential:  registry.Credential{Username: c.login.Username, Password: c.login.Password},
		Transport:   client.Transport,
		TrustServer: r.plan.TrustServer,
		Now:         r.Now,
		OnToken:     r.hideToken,
		OnRetry:     func(retry registry.Retry) { r.retrying(c.repository.Host, retry.Attempt, retry.Wait, retry.Err) },
	})
	if err != nil || !r.plan.Sign {
		return err
	}
	c.trust = trust.Open(trust.Options{
		GUN:        c.repository.GUN(),
		Server:     c.registry.TrustServer(),
		Transport:  c.registry.TrustTransport("pull", "push"),
		Pins:       r.plan.Pins,
		RequirePin: r.plan.RequirePin,
		Now:        r.Now,
	})
	return nil
}

// http is a client as the agent's proxy and certificate settings want it, with the step's own CA beside.
func (r *run) http() (*http.Client, error) {
	var ca []byte
	if r.plan.CAFile != "" && !r.isRoot(r.plan.CAFile) {
		var err error
		ca, err = os.ReadFile(r.plan.CAFile)
		// A file of the repository is not there before the checkout. Azure DevOps, which alone is asked then, has the
		// agent's own setting.
		if err != nil && !r.early {
			return nil, &InputError{Faults: []Fault{{Input: "caFile", Problem: fmt.Sprintf("%s cannot be read: %v", r.plan.CAFile, withoutPath(err)),
				Fix: "give the path of a PEM file that is there when the step runs"}}}
		}
	}
	return r.agent.HTTPClient(ca)
}

// withoutPath is the system's reason alone, where the sentence names the path already.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

// isRoot says whether path is a folder in which the agent roots inputs of the type filePath: it makes such a folder of an
// input that is not given (TaskRunner.cs, TranslateFilePathInput; task-lib has filePathSupplied for the same reason).
func (r *run) isRoot(path string) bool {
	path = filepath.Clean(path)
	for _, root := range []string{
		r.agent.DefaultWorkingDirectory, r.agent.Build.SourcesDirectory, r.agent.Build.RepositoryLocalPath, r.agent.ArtifactsDirectory,
	} {
		if root != "" && filepath.Clean(root) == path {
			return true
		}
	}
	return false
}

// retrying tells of a second try in the log; a run that was slow should say why.
func (r *run) retrying(who string, attempt int, wait time.Duration, cause any) {
	r.log.Linef("%s: try %d failed (%s); trying again in %s.", who, attempt, r.tokens.hide(fmt.Sprint(cause)), wait.Round(time.Second/10))
}

func (r *run) checkSources(ctx context.Context, c *ready) error {
	root := r.agent.DefaultWorkingDirectory
	found, err := docker.FindDockerfile(ctx, root, r.plan.Dockerfile)
	if err != nil {
		return err
	}
	c.dockerfile = found[0]
	if len(found) > 1 {
		r.warn(codeSeveralDockerfiles, fmt.Sprintf("%d Dockerfiles match %s: %s. The first is built, as Docker@2 does; name one to be sure.",
			len(found), r.plan.Dockerfile, strings.Join(found, ", ")))
	}
	c.context, err = docker.ContextDirectory(root, r.plan.BuildContext, c.dockerfile)
	if err != nil {
		return err
	}
	r.log.Linef("Dockerfile %s, context %s.", c.dockerfile, c.context)
	return nil
}

func (r *run) checkEngine(ctx context.Context, c *ready) error {
	engine, err := docker.Connect(ctx, docker.OptionsFrom(r.Environment))
	if err != nil {
		return err
	}
	c.engine = engine
	info := engine.Info()
	r.log.Linef("Engine %s, API %s, %s image store.", info.Version, info.APIVersion, info.Store)
	return nil
}

func (r *run) checkRegistry(ctx context.Context, c *ready) error {
	if err := c.registry.CheckPush(ctx); err != nil {
		return err
	}
	r.log.Linef("%s lets us push to %s.", c.repository.Host, c.repository.Path)
	return nil
}

// checkTrust reads the trust data while the key is opened, and asks whether the one admits the other. Without its key a
// run still says what is wrong with the repository, and the other way round.
func (r *run) checkTrust(ctx context.Context, c *ready) error {
	if !r.plan.Sign {
		return nil
	}
	findings := sideBySide(
		func() (err error) { c.key, err = r.openKey(ctx); return err },
		// Only who may sign is shown the server's keys, so with the key two things are known: may we, and can we.
		func() (err error) { c.state, err = c.trust.ReadToSign(ctx); return err },
	)
	if len(findings) > 0 {
		return errors.Join(findings...)
	}
	var err error
	if c.roles, err = r.signingRoles(c); err != nil {
		return err
	}
	if err := c.state.CheckPublish(c.roles); err != nil {
		return err
	}
	r.log.Linef("The trust data admits the key: %s signs as %s.", c.key.ID(), strings.Join(c.roles, " and "))
	r.warnAhead(c.state, c.roles)
	return nil
}

// signingRoles asks for each tag which roles admit the key; a delegation can be restricted to some tags.
func (r *run) signingRoles(c *ready) (roles []string, err error) {
	if r.plan.Signer != "" {
		if err := c.state.CheckSigner(r.plan.Signer, c.key.ID()); err != nil {
			return nil, err
		}
	}
	for _, tag := range r.plan.Tags {
		of, err := c.state.Roles(c.key.ID(), tag)
		if err != nil {
			return nil, err
		}
		for _, role := range of {
			if !slices.Contains(roles, role) {
				roles = append(roles, role)
			}
		}
	}
	return roles, nil
}
