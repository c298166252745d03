package pipeline_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/pipeline"
	"contenttrust/internal/testkit/adotest"
)

func TestACancelledDownloadReturnsAtOnce(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*adotest.Server, *pipeline.SecureFileRequest){
		"before the answer": func(s *adotest.Server, _ *pipeline.SecureFileRequest) { s.Fail(adotest.Fault{Kind: adotest.FaultHang}) },
		"inside the body": func(s *adotest.Server, _ *pipeline.SecureFileRequest) {
			s.Fail(adotest.Fault{Kind: adotest.FaultHangMid})
		},
		"while it waits": func(s *adotest.Server, r *pipeline.SecureFileRequest) {
			s.Fail(adotest.Fault{Kind: adotest.FaultStatus, Status: 503, RetryAfter: "3600"})
			r.Retry.Sleep, r.Retry.Max = nil, time.Hour
		},
	} {
		for _, end := range []error{context.Canceled, context.DeadlineExceeded} {
			server, request := start(t, adotest.Options{})
			prepare(server, &request)
			request.Retry.Timeout = time.Minute
			ctx, cancel := context.WithCancel(t.Context())
			if errors.Is(end, context.DeadlineExceeded) {
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			} else {
				time.AfterFunc(100*time.Millisecond, cancel)
			}
			begun := time.Now()
			_, err := pipeline.FetchSecureFile(ctx, request)
			cancel()
			var failure *pipeline.SecureFileError
			if !errors.Is(err, end) || !errors.As(err, &failure) || failure.Kind != pipeline.SecureFileCancelled || failure.Attempts != 1 {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(begun); took > 3*time.Second {
				t.Errorf("%s: it took %s", name, took)
			}
			noSecrets(t, name, err)
		}
	}
}

func TestASilentServerIsTriedAgainAndIsNotTheCallersDeadline(t *testing.T) {
	t.Parallel()
	server, request := start(t, adotest.Options{})
	request.Retry.Timeout = 50 * time.Millisecond
	request.Retry.Attempts = 2
	server.Fail(adotest.Fault{Kind: adotest.FaultHang, Times: 9})
	_, err := pipeline.FetchSecureFile(t.Context(), request)
	var failure *pipeline.SecureFileError
	if !errors.As(err, &failure) || failure.Kind != pipeline.SecureFileUnreachable || failure.Attempts != 2 || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestWaitsGrowAndFollowTheServer(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		retryAfter string
		jitter     float64
		want       []time.Duration
	}{
		"the longest":          {"", 1, []time.Duration{500, 1000, 2000, 4000, 4000}},
		"the shortest":         {"", 0, []time.Duration{250, 500, 1000, 2000, 2000}},
		"asked for in seconds": {"3", 0, []time.Duration{3000, 3000, 3000, 3000, 3000}},
		"asked for too long":   {"99999999999", 0, []time.Duration{4000, 4000, 4000, 4000, 4000}},
		"asked for an hour":    {"3600", 0, []time.Duration{4000, 4000, 4000, 4000, 4000}},
		"asked for as a date":  {now.Add(2 * time.Second).Format(http.TimeFormat), 0, []time.Duration{2000, 2000, 2000, 2000, 2000}},
		"a date gone by":       {now.Add(-time.Hour).Format(http.TimeFormat), 0, []time.Duration{0, 0, 0, 0, 0}},
		"nonsense":             {"soon", 1, []time.Duration{500, 1000, 2000, 4000, 4000}},
		"negative":             {"-5", 1, []time.Duration{500, 1000, 2000, 4000, 4000}},
	} {
		server, request := start(t, adotest.Options{})
		server.Fail(adotest.Fault{Kind: adotest.FaultStatus, Status: 503, RetryAfter: tt.retryAfter, Times: 9})
		var waits []time.Duration
		request.Retry = pipeline.Retry{
			Max: 4 * time.Second, Jitter: func() float64 { return tt.jitter }, Now: func() time.Time { return now },
			Sleep: func(_ context.Context, d time.Duration) error { waits = append(waits, d/time.Millisecond); return nil },
		}
		_, _ = pipeline.FetchSecureFile(t.Context(), request)
		if diff := cmp.Diff(tt.want, waits); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
