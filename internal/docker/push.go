package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"contenttrust/internal/secret"
	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/client"
)

// Push is one tag to push.
type Push struct {
	Name     string // the repository with its host: "reg.azurecr.io/team/app"
	Tag      string
	Username string // empty with a password: the password is an identity token
	Password secret.Value
	Out      io.Writer // as Progress.Out
	Retry    Retry
}

// Retry is the patience with temporary faults. The zero value tries 5 times
// with pauses of about 1, 2, 4 and 8 seconds.
type Retry struct {
	Attempts int           // in all; zero is 5, one never repeats
	Base     time.Duration // the first pause; zero is 1 s, each next one doubles
	Max      time.Duration // the longest pause; zero is 15 s
	// Sleep waits or gives ctx's error. Nil is a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Jitter gives a number in [0,1); a pause is between 50 and 100 % of its
	// nominal length. Nil is math/rand.
	Jitter func() float64
	// OnRetry, if set, is told before every pause.
	OnRetry func(Attempt)
}

// Attempt is one try that failed and will be repeated.
type Attempt struct {
	Number int // from 1
	Of     int
	Reason Reason
	Text   string // foreign, one line
	Pause  time.Duration
}

// Pushed is what the Engine's last status line claims. It is not proven:
// anybody may have moved the tag since, and the caller asks the registry for
// bytes it can hash. Digest is empty when the Engine did not say.
type Pushed struct {
	Digest string // of the manifest or index
	Size   int64  // its bytes
}

// PushError says that a push failed for good.
type PushError struct {
	Name     string // with the tag
	Reason   Reason
	Text     string // the Engine's words, foreign, one line
	Attempts int
	Err      error // what broke the stream, or nil when the Engine told it in the stream
}

func (e *PushError) Error() string { return fmt.Sprintf("push of %s failed: %s", e.Name, e.Text) }
func (e *PushError) Unwrap() error { return e.Err }

// Push pushes one tag through the Engine and reads its answer to the end.
// Only temporary faults are tried again; layers that have arrived are not sent
// twice. Errors: [*PushError], [*NoImage], [*BadName], [*NotRunning], or that
// of ctx.
//
// Engines repeat some faults themselves and others not at all: with the
// graphdriver store one 500 or 429 on the manifest ends the push at once, and
// a refusal of an upload (403) takes 50 s to be told.
func (e *Engine) Push(ctx context.Context, p Push) (Pushed, error) {
	name := p.Name + ":" + p.Tag
	if p.Tag == "" {
		return Pushed{}, &BadName{Name: p.Name, Reason: "a tag is missing"}
	}
	if err := checkName(name); err != nil {
		return Pushed{}, err
	}
	auth, err := p.header()
	if err != nil {
		return Pushed{}, &BadName{Name: name, Reason: "its credentials do not encode"}
	}
	retry := p.Retry.withDefaults()
	for attempt := 1; ; attempt++ {
		done, err := e.pushOnce(ctx, p, name, auth)
		var fault *PushError
		if err == nil || !errors.As(err, &fault) {
			return done, err
		}
		fault.Attempts = attempt
		if fault.Reason != ReasonTemporary || attempt >= retry.Attempts {
			return Pushed{}, fault
		}
		pause := retry.pause(attempt)
		if retry.OnRetry != nil {
			retry.OnRetry(Attempt{Number: attempt, Of: retry.Attempts, Reason: fault.Reason, Text: fault.Text, Pause: pause})
		}
		if err := retry.Sleep(ctx, pause); err != nil {
			return Pushed{}, fmt.Errorf("push stopped: %w", err)
		}
	}
}

// header is X-Registry-Auth. It is always sent: Engine 20.10 answers a push
// without it with 400. Anonymous is an empty object.
func (p Push) header() (string, error) {
	config := registry.AuthConfig{}
	switch {
	case p.Password.Empty():
	case p.Username == "":
		config = registry.AuthConfig{IdentityToken: p.Password.Reveal(), ServerAddress: registryHost(p.Name)}
	default:
		config = registry.AuthConfig{Username: p.Username, Password: p.Password.Reveal(), ServerAddress: registryHost(p.Name)}
	}
	return registry.EncodeAuthConfig(config)
}

func (e *Engine) pushOnce(ctx context.Context, p Push, name, auth string) (Pushed, error) {
	body, err := e.api.ImagePush(ctx, name, image.PushOptions{RegistryAuth: auth})
	if err != nil {
		return Pushed{}, e.pushFault(ctx, name, err)
	}
	defer body.Close()
	// A cancelled request leaves a read that may take its time.
	defer context.AfterFunc(ctx, func() { body.Close() })()
	s := newPushStream(p.Tag, p.Out, time.Now)
	err = s.read(body)
	switch {
	case ctx.Err() != nil:
		return Pushed{}, fmt.Errorf("push stopped: %w", ctx.Err())
	case err != nil:
		return Pushed{}, &PushError{Name: name, Reason: ReasonTemporary, Text: "the engine's answer broke off: " + oneLine(err.Error(), 300), Err: err}
	case isMissing(s.fault):
		return Pushed{}, &NoImage{Name: name}
	case s.fault != "":
		return Pushed{}, &PushError{Name: name, Reason: classify(s.fault, p.Name, repositoryPath(p.Name)), Text: oneLine(s.fault, maxErrorText)}
	}
	return s.claim, nil
}

// pushFault types an answer that never became a stream.
func (e *Engine) pushFault(ctx context.Context, name string, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("push stopped: %w", ctx.Err())
	case client.IsErrConnectionFailed(err):
		return &NotRunning{Host: e.host, Err: clipped(err)}
	case cerrdefs.IsNotFound(err), isMissing(err.Error()):
		return &NoImage{Name: name}
	}
	return &PushError{Name: name, Reason: classify(err.Error(), name), Text: oneLine(err.Error(), maxErrorText), Err: clipped(err)}
}

func (r Retry) withDefaults() Retry {
	if r.Attempts <= 0 {
		r.Attempts = 5
	}
	if r.Base <= 0 {
		r.Base = time.Second
	}
	if r.Max <= 0 {
		r.Max = 15 * time.Second
	}
	if r.Sleep == nil {
		r.Sleep = sleep
	}
	if r.Jitter == nil {
		r.Jitter = rand.Float64
	}
	return r
}

func (r Retry) pause(attempt int) time.Duration {
	nominal := r.Max
	if shift := attempt - 1; shift < 20 {
		nominal = min(r.Base<<shift, r.Max)
	}
	return nominal/2 + time.Duration(r.Jitter()*float64(nominal/2))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
