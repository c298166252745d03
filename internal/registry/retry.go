package registry

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	defaultAttempts = 5
	firstWait       = 500 * time.Millisecond
	longestWait     = 8 * time.Second
	// A server that wants to be left alone for longer than this is not waited
	// for; a pipeline pays by the minute.
	longestRetryAfter = time.Minute
	// What timed out once is likely to do so again, and each time costs a whole
	// time-out.
	attemptsAtTimeouts = 2
)

// Retry tells of a failure that will be tried again.
type Retry struct {
	Op   Op
	Host string
	// Attempt is the one that failed, from 1.
	Attempt int
	Wait    time.Duration
	Err     error
}

// patience is how often and how slowly things are tried again.
type patience struct {
	attempts int
	sleep    func(context.Context, time.Duration) error
	tell     func(Retry)
}

// run tries until it works, the failure is final, or patience ends. Failures of
// another operation than op have had their own attempts and are final here.
func (p *patience) run(ctx context.Context, op Op, host string, try func(context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := try(ctx)
		if err == nil {
			return nil
		}
		wait, again := p.wait(op, attempt, err)
		if !again || ctx.Err() != nil {
			return err
		}
		p.tell(Retry{Op: op, Host: host, Attempt: attempt, Wait: wait, Err: err})
		if stopped := p.sleep(ctx, wait); stopped != nil {
			return fmt.Errorf("%w; %w", err, stopped)
		}
	}
}

// wait decides whether err is worth another attempt, and when. 401 and 403
// never are: what is denied stays denied, and asking again locks accounts.
func (p *patience) wait(op Op, attempt int, err error) (time.Duration, bool) {
	attempts := p.attempts
	var asked time.Duration
	if answer, ok := errors.AsType[*AccessError](err); ok {
		if answer.Op != op || answer.Kind != Busy && answer.Kind != Broken {
			return 0, false
		}
		asked = answer.RetryAfter
	} else if silence, ok := errors.AsType[*UnreachableError](err); ok {
		switch {
		case silence.Op != op:
			return 0, false
		case silence.Kind == TimedOut:
			attempts = min(attempts, attemptsAtTimeouts)
		case silence.Kind != ConnectionLost && silence.Kind != UnreachableElse && !isPassing(silence):
			return 0, false
		}
	} else {
		return 0, false
	}
	if attempt >= attempts || asked > longestRetryAfter {
		return 0, false
	}
	step := min(firstWait<<min(attempt-1, 10), longestWait)
	return max(asked, step/2+rand.N(step/2)), true //nolint:gosec // spreads retries; nobody gains by guessing
}

// isPassing tells a resolver that failed from a name that does not exist.
func isPassing(e *UnreachableError) bool {
	dns, ok := errors.AsType[*net.DNSError](e.Err)
	return ok && e.Kind == UnknownHost && dns.IsTemporary && !dns.IsNotFound
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// retryAfter reads the header of that name, in either of its two forms; 0 when
// it is not there or makes no sense.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}
