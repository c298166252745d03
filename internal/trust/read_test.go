package trust

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"contenttrust/internal/testkit/notarytest"

	"github.com/google/go-cmp/cmp"
)

// signedWorld has alice and bob, and two tags of alice's.
func signedWorld(t *testing.T) (*world, []*Key) {
	w := newWorld(t)
	keys := w.init("alice", "bob")
	w.sign(w.open(), keys[0], targets(2)...)
	return w, keys
}

func TestReadTellsWhatIsThere(t *testing.T) {
	t.Parallel()
	everyWorld(t, func(t *testing.T, w *world) {
		keys := w.init("alice")
		bob := w.addSigner("bob", "v1.", "v2.")
		w.sign(w.open(), keys[0], targets(1)...)
		state := w.read(w.open())
		ids, canonical, err := w.Owner.RootKeys(testGUN)
		w.must(err)
		if diff := cmp.Diff([]RootID{{ID: ids[0], Canonical: canonical[0]}}, state.RootKeys); diff != "" {
			t.Errorf("root keys (-want +got):\n%s", diff)
		}
		years := func(at time.Time) int { return int(time.Until(at).Hours()/24/365 + 0.5) }
		want := []string{
			"targets/alice [" + keys[0].ID() + `] [""] published 1, 3 years ""`,
			"targets/bob [" + bob.ID() + `] ["v1." "v2."] unpublished`,
			"targets/releases " + fmt.Sprint(sorted(keys[0].ID(), bob.ID())) + ` ["" "v1." "v2."] published 1, 3 years ""`,
		}
		var got []string
		for _, d := range state.Delegations {
			line := fmt.Sprintf("%s %v %q ", d.Role, d.KeyIDs, d.Paths)
			if d.Published {
				line += fmt.Sprintf("published %d, %d years %q", d.Version, years(d.Expires), d.Problem)
			} else {
				line += "unpublished"
			}
			got = append(got, line)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("delegations (-want +got):\n%s", diff)
		}
		for role, want := range map[string]int{"root": 10, "targets": 3, "snapshot": 3, "timestamp": 0, "targets/alice": 3} {
			file := state.Files[role]
			if years(file.Expires) != want || len(file.SignedBy) != 1 {
				t.Errorf("%s expires %v, signed by %v", role, file.Expires, file.SignedBy)
			}
		}
		if skew := time.Since(state.ServerTime); w.Server != nil && (skew > time.Minute || skew < -time.Minute) {
			t.Errorf("server time %v", state.ServerTime)
		}
		if _, _, ok := state.Released("v1.0"); ok || len(state.Signers("v1.0")) > 0 {
			t.Error("a tag nobody signed is released")
		}
	})
}

func sorted(a, b string) []string {
	if a < b {
		return []string{a, b}
	}
	return []string{b, a}
}

func TestDockerDoesNotReadATagOfASignerAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(w.Owner.Init(testGUN))
	private, public, err := notarytest.GenerateKey()
	w.must(err)
	w.must(w.Owner.AddDelegation(testGUN, "targets/alice", public))
	one := target("1")
	w.must(w.Owner.SignAs(testGUN, private, []string{"targets/alice"}, notarytest.Target(one)))
	state := w.read(w.open())
	if got, role, ok := state.Released("1"); ok {
		t.Errorf("released: %v in %s", got, role)
	}
	if len(state.Signers("1")) != 1 {
		t.Errorf("signers: %v", state.Signers("1"))
	}
}

func TestAServerThatFailsIsAskedAgainOrBelieved(t *testing.T) {
	t.Parallel()
	w, _ := signedWorld(t)
	for name, test := range map[string]struct {
		fault notarytest.Fault
		tries int // of the name that fails
		want  func(error) bool
	}{
		"one 503":          {notarytest.Fault{Name: "targets.", Status: 503, Times: 1}, 2, nil},
		"three resets":     {notarytest.Fault{Name: "snapshot.", Reset: true, Times: 3}, 4, nil},
		"429 with seconds": {notarytest.Fault{Name: "targets/alice.", Status: 429, RetryAfter: "2", Times: 1}, 2, nil},
		"500 for ever": {notarytest.Fault{Name: "targets.", Status: 500, Body: `{"errors":[{"code":"UNKNOWN","message":"unknown error"}]}`}, 4, func(err error) bool {
			var e *ServerError
			return errors.As(err, &e) && e.Status == 500 && e.Code == "UNKNOWN" && strings.HasPrefix(e.Name, "targets.")
		}},
		"resets for ever": {notarytest.Fault{Name: "root", Reset: true}, 4, func(err error) bool {
			var e *UnreachableError
			return errors.As(err, &e) && e.Op == OpRead
		}},
		"a redirect": {notarytest.Fault{Name: "root", Status: 302}, 1, func(err error) bool {
			var e *ServerError
			return errors.As(err, &e) && e.Status == 302
		}},
		"401": {notarytest.Fault{Name: "root", Status: 401, Body: "<html>"}, 1, func(err error) bool {
			var e *DeniedError
			return errors.As(err, &e) && e.Status == 401 && e.Op == OpRead
		}},
		"403 on a delegation": {notarytest.Fault{Name: "targets/alice", Status: 403}, 1, func(err error) bool {
			var e *DeniedError
			return errors.As(err, &e) && e.Status == 403
		}},
		"404 on the root": {notarytest.Fault{Name: "root", Status: 404, Body: "not here"}, 1, func(err error) bool {
			var e *NotInitialisedError
			return errors.As(err, &e) && e.GUN == testGUN && e.Code == ""
		}},
		// The library fetches the root anew and tries once more, in case a rotation is the reason.
		"404 on the timestamp": {notarytest.Fault{Name: "timestamp", Status: 404}, 2, func(err error) bool {
			var e *BadMetadataError
			return errors.As(err, &e) && e.Role == "timestamp"
		}},
		"404 on a delegation": {notarytest.Fault{Name: "targets/alice", Status: 404}, 2, func(err error) bool {
			var e *BadMetadataError
			return errors.As(err, &e) && e.Role == "targets/alice"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w.Server.Heal()
			w.Server.ResetLog()
			w.Server.Fail(test.fault)
			_, err := w.open().Read(t.Context())
			if test.want == nil && err != nil || test.want != nil && !test.want(err) {
				t.Errorf("error: %v", err)
			}
			tries := 0
			for _, r := range w.Server.Requests() {
				if strings.HasPrefix(r.Name, test.fault.Name) {
					tries++
				}
			}
			// Go's transport repeats a GET itself when a kept connection turns out to be dead.
			if tries < test.tries || tries > test.tries && !test.fault.Reset {
				t.Errorf("%s was asked for %d times, want %d", test.fault.Name, tries, test.tries)
			}
		})
	}
}

func TestManipulatedTrustDataIsNotBelieved(t *testing.T) {
	t.Parallel()
	version := regexp.MustCompile(`"version":\d+`)
	kind := regexp.MustCompile(`"_type":"\w+"`)
	signature := regexp.MustCompile(`"sig":"....`)
	damage := map[string]func([]byte) []byte{
		"is empty":                func([]byte) []byte { return []byte{} },
		"is not JSON":             func(b []byte) []byte { return b[:len(b)/2] },
		"is null":                 func([]byte) []byte { return []byte("null") },
		"has no signed part":      func([]byte) []byte { return []byte(`{"signatures":[]}`) },
		"has null for signatures": func([]byte) []byte { return []byte(`{"signed":{},"signatures":null}`) },
		"is of another version":   func(b []byte) []byte { return version.ReplaceAll(b, []byte(`"version":77`)) },
		"has a wrong signature":   func(b []byte) []byte { return signature.ReplaceAll(b, []byte(`"sig":"AAAA`)) },
		"is a deep nest":          func([]byte) []byte { return bytes.Repeat([]byte("["), 100_000) },
		"has a deep nest in its signed part": func(b []byte) []byte {
			nest := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
			return bytes.Replace(b, []byte(`"signed":{`), []byte(`"signed":{"x":`+nest+`,`), 1)
		},
		"has spaces after it": func(b []byte) []byte { return append(b, "  "...) },
		"is of another type":  func(b []byte) []byte { return kind.ReplaceAll(b, []byte(`"_type":"Other"`)) },
	}
	w, _ := signedWorld(t)
	for _, role := range []string{"root", "timestamp", "snapshot", "targets", "targets/releases"} {
		for name, change := range damage {
			if name == "has spaces after it" && (role == "timestamp" || role == "root") {
				// Nothing has the timestamp's checksum, and the library cuts the root to
				// the size that the snapshot says.
				continue
			}
			w.Server.Mutate(func(_, file string, content []byte) []byte {
				if roleOf(strings.TrimSuffix(file, ".json")) != role {
					return content
				}
				return change(content)
			})
			var bad *BadMetadataError
			if state, err := w.open().Read(t.Context()); !errors.As(err, &bad) {
				t.Errorf("%s %s: state %v, error %v", role, name, state != nil, err)
			}
		}
	}
	w.Server.Mutate(nil)
	w.read(w.open())
}

func TestNestingIsCountedOutsideOfStrings(t *testing.T) {
	t.Parallel()
	for text, deeper := range map[string]bool{
		`{"a":["[[[[","\"[[[[","\\"]}`: false,
		`[[[`:                          true,
		`[[][]{}[]]`:                   false,
		``:                             false,
		`"\`:                           false,
	} {
		if nestedDeeper([]byte(text), 2) != deeper {
			t.Errorf("%s: %t", text, !deeper)
		}
	}
}

func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	w, _ := signedWorld(t)
	for name, limit := range map[string]int64{"root": maxRoot, "timestamp": maxTimestamp, "snapshot": maxSnapshot} {
		t.Run(name, func(t *testing.T) {
			var taken int64
			r := w.open(func(o *Options) {
				o.Transport = roundTripper(func(q *http.Request) (*http.Response, error) {
					response, err := http.DefaultTransport.RoundTrip(q)
					if err == nil && strings.Contains(q.URL.Path, "/tuf/"+name+".") {
						response.Body = io.NopCloser(&endless{&taken})
					}
					return response, err
				})
			})
			_, err := r.Read(t.Context())
			var bad *BadMetadataError
			if !errors.As(err, &bad) || bad.Role != name || !strings.HasPrefix(bad.Reason, "larger than") {
				t.Errorf("error: %v", err)
			}
			if taken > 2*(limit+64<<10) { // the library tries twice
				t.Errorf("%d bytes were read", taken)
			}
		})
	}
}

// endless never ends, and counts what was taken of it.
type endless struct{ taken *int64 }

func (e *endless) Read(p []byte) (int, error) {
	*e.taken += int64(len(p))
	return len(p), nil
}

func TestASilentServerIsGivenUp(t *testing.T) {
	t.Parallel()
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	r := Open(Options{GUN: testGUN, Server: silent.URL, RequestTimeout: 20 * time.Millisecond, Sleep: func(context.Context, time.Duration) error { return nil }})
	var unreachable *UnreachableError
	if _, err := r.Read(t.Context()); !errors.As(err, &unreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	patient := Open(Options{GUN: testGUN, Server: silent.URL})
	if _, err := patient.Read(ctx); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &unreachable) {
		t.Errorf("the caller's own deadline: %v", err)
	}
}

type permanentError struct{}

func (permanentError) Error() string   { return "no credential" }
func (permanentError) Permanent() bool { return true }

func TestATransportsOwnErrorIsHandedOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked := 0
	r := w.open(func(o *Options) {
		o.Transport = roundTripper(func(q *http.Request) (*http.Response, error) {
			if strings.HasSuffix(q.URL.Path, "/root.json") {
				asked++
			}
			return nil, permanentError{}
		})
	})
	if _, err := r.Read(t.Context()); !errors.As(err, new(permanentError)) || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

func TestTheRightToSignIsChecked(t *testing.T) {
	t.Parallel()
	w, _ := signedWorld(t)
	for status, denied := range map[int]bool{401: true, 403: true, 500: false} {
		before := w.read(w.open())
		w.Server.Fail(notarytest.Fault{Name: "timestamp.key", Status: status})
		err := w.open().CheckSign(t.Context())
		var e *DeniedError
		if errors.As(err, &e) != denied || err == nil || denied && (e.Op != OpCheck || e.Status != status) {
			t.Errorf("status %d: %v", status, err)
		}
		w.Server.Heal()
		w.must(w.open().CheckSign(t.Context()))
		if diff := cmp.Diff(before.Files, w.read(w.open()).Files); diff != "" {
			t.Errorf("checking changed something:\n%s", diff)
		}
	}
}

func TestASnapshotKeyTheServerDoesNotHoldIsFound(t *testing.T) {
	t.Parallel()
	everyWorld(t, func(t *testing.T, w *world) {
		w.must(w.Owner.InitOwnSnapshot(testGUN))
		pem, err := w.Owner.KeyPEM("targets")
		w.must(err)
		key, err := ReadKey(pem, secretNone)
		w.must(err)
		r := w.open()
		var e *SnapshotKeyError
		if err := r.CheckSnapshotKey(t.Context(), w.read(r)); !errors.As(err, &e) {
			t.Errorf("before: %v", err)
		}
		receipt, err := r.Sign(t.Context(), SignRequest{Key: key, Targets: targets(1)})
		if !errors.As(err, &e) || receipt.Attempts != 1 {
			t.Errorf("after %d attempts: %v", receipt.Attempts, err)
		}
	})
}

func TestOptionsThatCannotBeRightAreRefused(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"no repository":         {},
		"no path":               {GUN: "registry.example"},
		"a way out":             {GUN: "registry.example/../../etc"},
		"a doubled slash":       {GUN: "registry.example//app"},
		"a backslash":           {GUN: `registry.example/a\b`},
		"a query":               {GUN: "registry.example/a?b"},
		"an escape":             {GUN: "registry.example/%2e%2e/a"},
		"a server without host": {GUN: testGUN, Server: "registry.example"},
		"a file":                {GUN: testGUN, Server: "file:///etc"},
		"a password":            {GUN: testGUN, Server: "https://a:b@registry.example"},
		"a pin that is none":    {GUN: testGUN, Pins: []Pin{{ID: "abc"}}},
	} {
		o.Transport = roundTripper(func(*http.Request) (*http.Response, error) {
			t.Errorf("%s: a request was made", name)
			return nil, errors.New("no")
		})
		r := Open(o)
		_, readErr := r.Read(t.Context())
		_, signErr := r.Sign(t.Context(), SignRequest{Key: readTestKey(t, "ec-sec1.pem"), Targets: targets(1)})
		for _, err := range []error{readErr, signErr, r.CheckSign(t.Context()), r.CheckSnapshotKey(t.Context(), &State{})} {
			if !errors.As(err, new(*OptionError)) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
