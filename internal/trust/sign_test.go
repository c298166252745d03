package trust

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/notarytest"

	"github.com/google/go-cmp/cmp"
)

func TestTagsAreSignedAndProvedOnFakeAndRealServer(t *testing.T) {
	t.Parallel()
	everyWorld(t, func(t *testing.T, w *world) {
		keys := w.init("alice", "bob")
		r := w.open()
		before := w.read(r)
		w.must(r.CheckSign(t.Context()))
		w.must(r.CheckSnapshotKey(t.Context(), before))
		list := targets(3)
		receipt := w.sign(r, keys[0], list...)
		want := Receipt{Roles: []string{"targets/alice", "targets/releases"}, Attempts: 1,
			Published: map[string]int{"targets/alice": 1, "targets/releases": 1}}
		if diff := cmp.Diff(want, receipt); diff != "" {
			t.Errorf("receipt (-want +got):\n%s", diff)
		}
		state := w.read(r)
		w.must(state.Prove(keys[0].ID(), list))
		if err := state.Prove(keys[1].ID(), list); !errors.As(err, new(*ProofError)) {
			t.Errorf("bob, who did not sign, has proof: %v", err)
		}
		got, role, ok := state.Released("tag-1")
		if !ok || role != "targets/releases" || got != target("tag-1") {
			t.Errorf("released: %v in %s, %t", got, role, ok)
		}
		signers := []Signature{{Signer: "alice", Role: "targets/alice", KeyIDs: []string{keys[0].ID()}, Target: target("tag-1")}}
		if diff := cmp.Diff(signers, state.Signers("tag-1")); diff != "" {
			t.Errorf("signers (-want +got):\n%s", diff)
		}

		// Bob signs the same and one more; alice's stay.
		w.sign(r, keys[1], append(list, target("more"))...)
		state = w.read(r)
		w.must(state.Prove(keys[1].ID(), append(list, target("more"))))
		w.must(state.Prove(keys[0].ID(), list))
	})
}

func TestTheRepositoryKeySignsWhereThereAreNoDelegations(t *testing.T) {
	t.Parallel()
	everyWorld(t, func(t *testing.T, w *world) {
		w.init()
		pem, err := w.Owner.KeyPEM("targets")
		w.must(err)
		key, err := ReadKey(pem, secret.Value{})
		w.must(err)
		r := w.open()
		receipt := w.sign(r, key, target("1"))
		if diff := cmp.Diff([]string{"targets"}, receipt.Roles); diff != "" {
			t.Error(diff)
		}
		w.must(w.read(r).Prove(key.ID(), []Target{target("1")}))
		w.addSigner("alice")
		if _, err := r.Sign(t.Context(), SignRequest{Key: key, Targets: targets(1)}); !errors.As(err, new(*NotAdmittedError)) {
			t.Errorf("with delegations the repository key signs: %v", err)
		}
	})
}

func TestRequestsDoNotGrowWithTheTags(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 100} {
		t.Run(fmt.Sprint(n, " tags"), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			key := w.init("alice")[0]
			w.sign(w.open(), key, target("before"))
			count := &counting{}
			r := w.open(func(o *Options) { o.Transport = count })
			got := map[string]int{}
			state := w.read(r)
			got["read"] = count.take()
			w.must(r.CheckSign(t.Context()))
			got["check"] = count.take()
			w.must(r.CheckSnapshotKey(t.Context(), state))
			got["check snapshot"] = count.take()
			w.sign(r, key, targets(n)...)
			got["sign"] = count.take()
			w.must(w.read(r).Prove(key.ID(), targets(n)))
			got["prove"] = count.take()
			want := map[string]int{"read": 6, "check": 1, "check snapshot": 1, "sign": 2, "prove": 5}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadingFetchesInParallelWhatItMay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.init("alice")[0]
	w.sign(w.open(), key, target("1"))
	// Each of a pair is held back until the other is under way.
	pairs := map[string]*sync.WaitGroup{"root.": {}, "timestamp.": nil, "targets/alice.": {}, "targets/releases.": nil}
	pairs["timestamp."], pairs["targets/releases."] = pairs["root."], pairs["targets/alice."]
	pairs["root."].Add(2)
	pairs["targets/alice."].Add(2)
	r := w.open(func(o *Options) {
		o.Transport = roundTripper(func(q *http.Request) (*http.Response, error) {
			_, name, _ := strings.Cut(q.URL.Path, "/_trust/tuf/")
			for prefix, pair := range pairs {
				if strings.HasPrefix(name, prefix) {
					pair.Done()
					pair.Wait()
				}
			}
			return http.DefaultTransport.RoundTrip(q)
		})
	})
	w.read(r) // hangs if they come one after the other
}

func TestAlreadySignedTagsPublishNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.init("alice")[0]
	r := w.open()
	w.sign(r, key, targets(2)...)
	w.requests()
	receipt := w.sign(r, key, targets(2)...)
	if !receipt.AlreadySigned || len(receipt.Published) != 0 {
		t.Errorf("receipt %+v", receipt)
	}
	for _, line := range w.requests() {
		if strings.HasPrefix(line, "POST") {
			t.Errorf("unneeded %s", line)
		}
	}
	if receipt := w.sign(r, key, targets(3)...); receipt.AlreadySigned {
		t.Error("a new tag counts as signed already")
	}
	moved := target("tag-0")
	moved.Size++
	if receipt := w.sign(r, key, moved); receipt.AlreadySigned {
		t.Error("another size counts as signed already")
	}
}

func TestTwentySignersLoseNothing(t *testing.T) {
	t.Parallel()
	everyWorld(t, func(t *testing.T, w *world) {
		key := w.init("alice")[0]
		const signers = 20
		var wg sync.WaitGroup
		var mu sync.Mutex
		most := 0
		for i := range signers {
			wg.Go(func() {
				// Every job is a process of its own. The waits are those for a slow
				// network, so a fifth of them will do; a loaded machine needs more tries.
				r := w.open(func(o *Options) {
					o.Sleep = func(ctx context.Context, d time.Duration) error { return sleep(ctx, d/5) }
				})
				receipt, err := r.Sign(context.Background(), SignRequest{Key: key, MaxAttempts: 40, Targets: []Target{target(fmt.Sprint("job-", i))}})
				if err != nil {
					t.Errorf("signer %d after %d attempts: %v", i, receipt.Attempts, err)
				}
				mu.Lock()
				most = max(most, receipt.Attempts)
				mu.Unlock()
			})
		}
		wg.Wait()
		t.Logf("the unluckiest of %d signers needed %d attempts", signers, most)
		var all []Target
		for i := range signers {
			all = append(all, target(fmt.Sprint("job-", i)))
		}
		w.must(w.read(w.open()).Prove(key.ID(), all))
	})
}

func TestAConflictIsSettledOnTopOfTheOthersTags(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := w.init("alice", "bob")
	r := w.open(func(o *Options) {
		raced := false
		o.Transport = roundTripper(func(q *http.Request) (*http.Response, error) {
			if q.Method == http.MethodPost && !raced { // bob is quicker
				raced = true
				w.sign(w.open(), keys[1], target("bobs"))
			}
			return http.DefaultTransport.RoundTrip(q)
		})
	})
	var retries []Retry
	receipt, err := r.Sign(t.Context(), SignRequest{Key: keys[0], Targets: targets(1), OnRetry: func(r Retry) { retries = append(retries, r) }})
	w.must(err)
	var rejected *RejectedError
	if receipt.Attempts != 2 || len(retries) != 1 || !errors.As(retries[0].Err, &rejected) || rejected.Code != "VERSION" {
		t.Errorf("attempts %d, retries %v", receipt.Attempts, retries)
	}
	state := w.read(w.open())
	w.must(state.Prove(keys[0].ID(), targets(1)))
	w.must(state.Prove(keys[1].ID(), []Target{target("bobs")}))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestALostPublishIsRepeatedAndALostAnswerRecognised(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.init("alice")[0]
	for name, after := range map[string]bool{"before it took effect": false, "after it took effect": true} {
		for kind, fault := range map[string]notarytest.Fault{
			"reset": {Reset: true}, "500": {Status: 500}, "502": {Status: 502}, "503 with a wish": {Status: 503, RetryAfter: "1"}, "429": {Status: 429},
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				tag := []Target{target(strings.ReplaceAll(kind+name, " ", "-"))}
				fault.Method, fault.Times, fault.After = http.MethodPost, 1, after
				w.Server.Fail(fault)
				r := w.open()
				var waited time.Duration
				receipt, err := r.Sign(t.Context(), SignRequest{Key: key, Targets: tag, OnRetry: func(r Retry) { waited = r.Wait }})
				w.must(err)
				if receipt.Attempts != 2 || receipt.AlreadySigned || after != (len(receipt.Published) == 0) {
					t.Errorf("receipt %+v", receipt)
				}
				if fault.RetryAfter != "" && waited < time.Second {
					t.Errorf("waited %v in spite of Retry-After", waited)
				}
				w.must(w.read(r).Prove(key.ID(), tag))
			})
		}
	}
}

func TestARefusedPublishIsNotRepeated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.init("alice")[0]
	for name, test := range map[string]struct {
		fault notarytest.Fault
		want  func(error) bool
	}{
		"401": {notarytest.Fault{Status: 401}, func(err error) bool {
			var e *DeniedError
			return errors.As(err, &e) && e.Op == OpPublish && e.Status == 401
		}},
		"403 with words": {notarytest.Fault{Status: 403, Body: `{"errors":[{"code":"DENIED","message":"requested access is denied"}]}`}, func(err error) bool {
			var e *DeniedError
			return errors.As(err, &e) && e.Code == "DENIED" && e.Message == "requested access is denied"
		}},
		"413": {notarytest.Fault{Status: 413}, func(err error) bool {
			var e *RejectedError
			return errors.As(err, &e) && e.Status == 413
		}},
		"404": {notarytest.Fault{Status: 404}, func(err error) bool {
			var e *ServerError
			return errors.As(err, &e) && e.Status == 404
		}},
		"an error larger than the library reads": {notarytest.Fault{Status: 400, Body: `{"errors":[{"code":"INVALID_PARAMETERS","message":"` + strings.Repeat("x", 2000) + `"}]}`}, func(err error) bool {
			var e *RejectedError
			return errors.As(err, &e) && e.Code == "INVALID_PARAMETERS" && len(e.Message) > 400 && len(e.Message) < 600
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w.Server.Heal()
			test.fault.Method = http.MethodPost
			w.Server.Fail(test.fault)
			receipt, err := w.open().Sign(t.Context(), SignRequest{Key: key, Targets: targets(1)})
			if !test.want(err) || receipt.Attempts != 1 {
				t.Errorf("after %d attempts: %v", receipt.Attempts, err)
			}
		})
	}
}

func TestEndlessConflictsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.init("alice")[0]
	w.Server.Fail(notarytest.Fault{Method: http.MethodPost, Status: 400, Body: `{"errors":[{"code":"VERSION","message":"newer","detail":{}}]}`})
	receipt, err := w.open().Sign(t.Context(), SignRequest{Key: key, Targets: targets(1), MaxAttempts: 3})
	var conflict *ConflictError
	var rejected *RejectedError
	if !errors.As(err, &conflict) || conflict.Attempts != 3 || receipt.Attempts != 3 || !errors.As(err, &rejected) {
		t.Errorf("after %d attempts: %v", receipt.Attempts, err)
	}
}

func TestSigningNeverInitialisesARepository(t *testing.T) {
	t.Parallel()
	everyWorld(t, func(t *testing.T, w *world) {
		_, err := w.open().Sign(t.Context(), SignRequest{Key: newTestKey(t), Targets: targets(1)})
		if !errors.As(err, new(*NotInitialisedError)) {
			t.Errorf("unknown repository: %v", err)
		}
		if _, err := w.open().Read(t.Context()); !errors.As(err, new(*NotInitialisedError)) {
			t.Errorf("the repository exists now: %v", err)
		}
	})
	t.Run("nor when it vanishes between reading and signing", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		key := w.init("alice")[0]
		r := w.open()
		w.read(r)
		q, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, w.URL+"/v2/"+testGUN+"/_trust/tuf/", nil)
		w.must(err)
		response, err := http.DefaultClient.Do(q)
		w.must(err)
		response.Body.Close()
		if _, err := r.Sign(t.Context(), SignRequest{Key: key, Targets: targets(1)}); err == nil {
			t.Error("signed in a repository that is gone")
		}
		if _, err := r.Read(t.Context()); !errors.As(err, new(*NotInitialisedError)) {
			t.Errorf("the repository is back: %v", err)
		}
	})
}

func TestABadRequestIsRefusedBeforeAnyTraffic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := newTestKey(t)
	good := target("1")
	with := func(change func(*Target)) []Target {
		t := good
		change(&t)
		return []Target{t}
	}
	twice := good
	twice.Size++
	for name, q := range map[string]SignRequest{
		"no key":                  {Targets: []Target{good}},
		"no targets":              {Key: key},
		"an empty tag":            {Key: key, Targets: with(func(t *Target) { t.Tag = "" })},
		"a tag with a slash":      {Key: key, Targets: with(func(t *Target) { t.Tag = "a/b" })},
		"a digest without prefix": {Key: key, Targets: with(func(t *Target) { t.Digest = t.Digest[7:] })},
		"a digest in capitals":    {Key: key, Targets: with(func(t *Target) { t.Digest = strings.ToUpper(t.Digest) })},
		"no size":                 {Key: key, Targets: with(func(t *Target) { t.Size = 0 })},
		"a tag for two images":    {Key: key, Targets: []Target{good, twice}},
	} {
		if _, err := w.open().Sign(t.Context(), q); !errors.As(err, new(*OptionError)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := w.requests(); len(got) > 0 {
		t.Errorf("requests: %v", got)
	}
}

func TestACancelledSignReturnsTheCause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.init("alice")[0]
	cause := errors.New("the job was cancelled")
	for name, cancelAt := range map[string]string{"while reading": http.MethodGet, "while publishing": http.MethodPost} {
		ctx, cancel := context.WithCancelCause(t.Context())
		r := w.open(func(o *Options) {
			o.Transport = roundTripper(func(q *http.Request) (*http.Response, error) {
				if q.Method == cancelAt {
					cancel(cause)
				}
				return http.DefaultTransport.RoundTrip(q)
			})
		})
		if _, err := r.Sign(ctx, SignRequest{Key: key, Targets: []Target{target(name[:5])}}); !errors.Is(err, cause) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
