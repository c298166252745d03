package registry

import (
	"context"
	"sync"
)

// shared keeps values that are costly to fetch and lets callers that want the
// same one at the same time wait for a single fetch.
type shared[T any] struct {
	mu      sync.Mutex
	kept    map[string]T
	flights map[string]*flight[T]
}

type flight[T any] struct {
	done  chan struct{}
	value T
	err   error
	// abandoned: whoever fetched was cancelled, or never came back.
	abandoned bool
}

// get gives a value that find accepts, or fetches one under key. fresh is true
// when the value was not there before. A fetch that fails is forgotten; a
// caller whose ctx still lives does not inherit another's cancellation.
func (s *shared[T]) get(ctx context.Context, key string, find func(map[string]T) (T, bool), fetch func(context.Context) (T, error)) (value T, fresh bool, err error) {
	for {
		s.mu.Lock()
		if value, ok := find(s.kept); ok {
			s.mu.Unlock()
			return value, false, nil
		}
		f, underway := s.flights[key]
		if !underway {
			f = &flight[T]{done: make(chan struct{}), abandoned: true}
			if s.flights == nil {
				s.flights, s.kept = map[string]*flight[T]{}, map[string]T{}
			}
			s.flights[key] = f
		}
		s.mu.Unlock()

		if !underway {
			s.fly(ctx, key, f, fetch)
			return f.value, true, f.err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return value, false, context.Cause(ctx)
		}
		if !f.abandoned {
			return f.value, true, f.err
		}
	}
}

func (s *shared[T]) fly(ctx context.Context, key string, f *flight[T], fetch func(context.Context) (T, error)) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.flights, key)
		if !f.abandoned && f.err == nil {
			s.kept[key] = f.value
		}
		close(f.done)
	}()
	f.value, f.err = fetch(ctx)
	f.abandoned = f.err != nil && ctx.Err() != nil
}

// peek gives what is kept under key.
func (s *shared[T]) peek(key string) (T, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, ok := s.kept[key]
	return value, ok
}

// drop forgets the kept values for which bad is true.
func (s *shared[T]) drop(bad func(T) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, value := range s.kept {
		if bad(value) {
			delete(s.kept, key)
		}
	}
}
