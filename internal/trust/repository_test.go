package trust

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Not parallel: the library's log is one for the whole process.
func TestTheLibrarysLogGoesWhereItIsTold(t *testing.T) {
	w := newWorld(t)
	keys := w.init("alice")
	w.sign(w.open(), keys[0], target("1"))
	w.must(w.Server.Expire(testGUN, "targets/alice", time.Now().Add(-time.Hour), privateOf(keys[0])))
	var log bytes.Buffer
	w.read(w.open(func(o *Options) { o.LibraryLog = &log }))
	if !strings.Contains(log.String(), "targets/alice expired") {
		t.Errorf("log: %q", log.String())
	}
	log.Reset()
	w.read(w.open())
	if log.Len() > 0 {
		t.Errorf("not silenced: %q", log.String())
	}
}

func TestErrorsSayTheirFacts(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	cause := errors.New("cause")
	for want, err := range map[string]error{
		`tag "a b": not a tag`:                                                       &OptionError{Name: "tag", Value: "a b", Problem: "not a tag"},
		"g has no trust data on s":                                                   &NotInitialisedError{GUN: "g", Server: "s"},
		"publish: denied with status 403 DENIED: no":                                 &DeniedError{Op: OpPublish, Status: 403, Code: "DENIED", Message: "no"},
		"read trust data: no answer from s: cause":                                   &UnreachableError{Op: OpRead, Server: "s", Err: cause},
		"read trust data: root.json: status 500":                                     &ServerError{Op: OpRead, Name: "root.json", Status: 500},
		"publish: rejected with status 400 INVALID_UPDATE ErrBadTargets: no":         &RejectedError{Status: 400, Code: "INVALID_UPDATE", Reason: "ErrBadTargets", Message: "no"},
		"publish: gave up after 3 attempts: cause":                                   &ConflictError{Attempts: 3, Err: cause},
		"the snapshot key of g is not held by the server":                            &SnapshotKeyError{GUN: "g"},
		"root expired at 2026-01-02T03:04:05Z":                                       &ExpiredError{Role: "root", At: at},
		"trust data: root: malformed: cause":                                         &BadMetadataError{Role: "root", Reason: "malformed", Err: cause},
		"the root of g is signed by [{a b}], pinned is [c]":                          &PinMismatchError{GUN: "g", Got: []RootID{{"a", "b"}}, Want: []string{"c"}},
		"no root key is pinned for g":                                                &PinRequiredError{GUN: "g"},
		"key k is in none of 1 delegations":                                          &NotAdmittedError{KeyID: "k", Delegations: make([]Delegation, 1)},
		"key k is in targets/a, but not in targets/releases":                         &NotReleasedError{KeyID: "k", Roles: []string{"targets/a"}},
		`targets/a admits ["v1"], not tag v2`:                                        &PathRestrictedError{Tag: "v2", Role: "targets/a", Paths: []string{"v1"}},
		"key k is not one of signer a":                                               &NotThisSignerError{Signer: "a", KeyID: "k"},
		"root expires at 2026-01-02T03:04:05Z, and a publish would have to renew it": &RootExpiringError{At: at},
		"targets/a, with 2 tags, is not signed by a present key of it":               &BrokenDelegationError{Role: "targets/a", Tags: 2},
		"targets/a takes 2 signatures":                                               &ThresholdError{Role: "targets/a", Threshold: 2},
		"targets/a has version 7":                                                    &VersionError{Role: "targets/a", Version: 7},
		"publish: cause":                                                             &PublishError{Err: cause},
		"1: key k has no part in targets/a":                                          &ProofError{Tag: "1", Role: "targets/a", KeyID: "k"},
		"1: not in targets/a":                                                        &ProofError{Tag: "1", Role: "targets/a"},
		"1: in targets/a it is d of 3 bytes, not e of 4":                             &ProofError{Tag: "1", Role: "targets/a", Got: Target{Digest: "d", Size: 3}, Want: Target{Digest: "e", Size: 4}},
		"key: weak RSA key of 1024 bits":                                             &KeyError{Kind: WeakRSA, Bits: 1024},
		"key: unsupported cipher: RC2":                                               &KeyError{Kind: UnsupportedCipher, Detail: "RC2"},
		"key: too many iterations: 7":                                                &KeyError{Kind: TooManyIterations, Iterations: 7},
		"key: several keys: 2":                                                       &KeyError{Kind: SeveralKeys, Keys: 2},
		"key: too large: 70000 bytes":                                                &KeyError{Kind: TooLarge, Size: 70000},
		"key store: /x: cannot be used: cause":                                       &StoreError{Path: "/x", Problem: StoreFailed, Err: cause},
	} {
		if err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
		if strings.Contains(want, "cause") && !errors.Is(err, cause) {
			t.Errorf("%s does not unwrap", want)
		}
	}
	if !errors.Is(&KeyError{Kind: WrongPassphrase}, &KeyError{Kind: WrongPassphrase}) || errors.Is(&KeyError{Kind: Empty}, &KeyError{Kind: WrongPassphrase}) {
		t.Error("kinds of KeyError are not told apart")
	}
}

// FuzzRead has a server serve anything for one role. Run it with -fuzzminimizetime=1x:
// requests made ahead make coverage vary, and minimising never ends.
func FuzzRead(f *testing.F) {
	roles := []string{"root", "timestamp", "snapshot", "targets", "targets/releases"}
	w := newWorld(f)
	key := w.init("alice")[0]
	w.sign(w.open(), key, target("1"))
	seeds := 0
	w.Server.Mutate(func(_, name string, content []byte) []byte {
		for i, role := range roles {
			if roleOf(strings.TrimSuffix(name, ".json")) == role {
				f.Add(uint8(i), content)
				seeds++
			}
		}
		return content
	})
	w.read(w.open())
	if seeds < len(roles) {
		f.Fatalf("%d seeds for %d roles", seeds, len(roles))
	}
	// Without a network between them, which would drown the fuzzer in goroutines.
	direct := func(o *Options) {
		o.Transport = roundTripper(func(q *http.Request) (*http.Response, error) {
			answer := httptest.NewRecorder()
			w.Server.ServeHTTP(answer, q)
			return answer.Result(), nil
		})
	}
	f.Fuzz(func(t *testing.T, n uint8, content []byte) {
		role := roles[int(n)%len(roles)]
		w.Server.Mutate(func(_, name string, genuine []byte) []byte {
			if roleOf(strings.TrimSuffix(name, ".json")) == role {
				return append([]byte{}, content...)
			}
			return genuine
		})
		state, err := w.open(direct).Read(t.Context())
		switch {
		case (state == nil) == (err == nil):
			t.Fatalf("state %v, error %v", state, err)
		case err == nil:
			return
		}
		var expired *ExpiredError
		var bad *BadMetadataError
		if !errors.As(err, &expired) && !errors.As(err, &bad) {
			t.Fatalf("%s: %v", role, err)
		}
	})
}

func TestReadToSignAsksForTheServersKeyBesides(t *testing.T) {
	t.Parallel()
	everyWorld(t, func(t *testing.T, w *world) {
		w.init("alice")
		state, err := w.open().ReadToSign(t.Context())
		if err != nil || len(state.RootKeys) != 1 {
			t.Errorf("state %+v, %v", state, err)
		}
	})
	everyWorld(t, func(t *testing.T, w *world) {
		w.must(w.Owner.InitOwnSnapshot(testGUN))
		if _, err := w.open().ReadToSign(t.Context()); !errors.As(err, new(*SnapshotKeyError)) {
			t.Errorf("a snapshot key elsewhere: %v", err)
		}
	})
	everyWorld(t, func(t *testing.T, w *world) {
		if _, err := w.open().ReadToSign(t.Context()); !errors.As(err, new(*NotInitialisedError)) {
			t.Errorf("no repository: %v", err)
		}
	})
}
