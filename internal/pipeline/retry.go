package pipeline

import (
	"cmp"
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Retry says how often and how soon to try again. Zero fields have the defaults
// told; the zero Retry is up to 6 attempts within some 16 seconds of waiting.
type Retry struct {
	Attempts int           // in all; default 6, 1 = no retry
	Base     time.Duration // wait after the first attempt, doubled each time; default 500 ms
	Max      time.Duration // longest wait, Retry-After included; default 30 s
	Timeout  time.Duration // for one attempt, body included; default 60 s
	// Sleep waits, or gives ctx's error as soon as it ends. Default: with a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Jitter gives a number in [0, 1): waits are between half and the whole of
	// what they grow to. Default: random.
	Jitter func() float64
	// Now is for a Retry-After that is a date. Default time.Now.
	Now func() time.Time
}

func (r Retry) withDefaults() Retry {
	r.Attempts = cmp.Or(max(r.Attempts, 0), 6)
	r.Base = cmp.Or(r.Base, 500*time.Millisecond)
	r.Max = cmp.Or(r.Max, 30*time.Second)
	r.Timeout = cmp.Or(r.Timeout, 60*time.Second)
	if r.Sleep == nil {
		r.Sleep = sleep
	}
	if r.Jitter == nil {
		r.Jitter = rand.Float64
	}
	if r.Now == nil {
		r.Now = time.Now //nolint:forbidigo // the documented default
	}
	return r
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

// wait gives the pause after an attempt, counted from 1: what the server asks
// for, or a doubling one, neither longer than Max.
func (r Retry) wait(attempt int, retryAfter string) time.Duration {
	if d, ok := r.asked(retryAfter); ok {
		return min(d, r.Max)
	}
	d := r.Base
	for range attempt - 1 {
		d = min(2*d, r.Max)
	}
	d = min(d, r.Max)
	return d/2 + time.Duration(r.Jitter()*float64(d/2))
}

// asked reads a Retry-After header, seconds or a date (RFC 9110, 10.2.3).
func (r Retry) asked(header string) (time.Duration, bool) {
	header = strings.TrimSpace(header)
	if header == "" {
		return 0, false
	}
	if seconds, err := strconv.Atoi(header); err == nil {
		if seconds < 0 {
			return 0, false
		}
		return time.Duration(min(seconds, 86400)) * time.Second, true
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0, false
	}
	return max(at.Sub(r.Now()), 0), true
}
