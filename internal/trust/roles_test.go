package trust

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hexID makes a key ID of one digit.
func hexID(digit string) string { return strings.Repeat(digit, 64) }

func TestRolesAreDockersButNeverWithoutReleases(t *testing.T) {
	t.Parallel()
	delegation := func(name, keys string, paths ...string) Delegation {
		var ids []string
		for _, k := range strings.Split(keys, "") {
			ids = append(ids, hexID(k))
		}
		if paths == nil {
			paths = []string{""}
		}
		return Delegation{Role: "targets/" + name, Name: name, KeyIDs: ids, Paths: paths, Threshold: 1}
	}
	kind := func(err error) string {
		switch {
		case err == nil:
			return ""
		case errors.As(err, new(*NotAdmittedError)):
			return "not admitted"
		case errors.As(err, new(*NotReleasedError)):
			return "not released"
		}
		var restricted *PathRestrictedError
		if errors.As(err, &restricted) {
			return "restricted by " + restricted.Role
		}
		return err.Error()
	}
	for name, test := range map[string]struct {
		delegations []Delegation
		want        []string
		kind        string
	}{
		"no delegations":                       {nil, []string{"targets"}, ""},
		"own role and releases":                {[]Delegation{delegation("alice", "a"), delegation("releases", "ab")}, []string{"targets/alice", "targets/releases"}, ""},
		"two own roles":                        {[]Delegation{delegation("alice", "a"), delegation("releases", "a"), delegation("team", "ab")}, []string{"targets/alice", "targets/releases", "targets/team"}, ""},
		"releases alone":                       {[]Delegation{delegation("releases", "a"), delegation("bob", "b")}, []string{"targets/releases"}, ""},
		"only others":                          {[]Delegation{delegation("bob", "b"), delegation("releases", "b")}, nil, "not admitted"},
		"not among the releases":               {[]Delegation{delegation("alice", "a"), delegation("releases", "b")}, nil, "not released"},
		"no releases at all":                   {[]Delegation{delegation("alice", "a")}, nil, "not released"},
		"a grandchild does not count":          {[]Delegation{delegation("alice/x", "a"), delegation("releases", "b")}, nil, "not admitted"},
		"a path that fits":                     {[]Delegation{delegation("alice", "a", "v2", "v1"), delegation("releases", "a")}, []string{"targets/alice", "targets/releases"}, ""},
		"a path that does not":                 {[]Delegation{delegation("alice", "a", "v2"), delegation("releases", "a")}, nil, "restricted by targets/alice"},
		"releases restricted":                  {[]Delegation{delegation("alice", "a"), delegation("releases", "a", "v2")}, nil, "restricted by targets/releases"},
		"both restricted":                      {[]Delegation{delegation("alice", "a", "v3"), delegation("releases", "a", "v2")}, nil, "restricted by targets/releases"},
		"one of two own roles restricted":      {[]Delegation{delegation("alice", "a"), delegation("releases", "a"), delegation("team", "a", "v2")}, []string{"targets/alice", "targets/releases"}, ""},
		"no paths, as a role that may nothing": {[]Delegation{delegation("alice", "a", []string{}...), delegation("releases", "a")}, []string{"targets/alice", "targets/releases"}, ""},
	} {
		s := &State{TargetsKeys: []string{hexID("a")}, Delegations: test.delegations}
		if name == "no paths, as a role that may nothing" {
			s.Delegations[0].Paths = []string{}
			test.want, test.kind = nil, "restricted by targets/alice"
		}
		roles, err := s.Roles(hexID("a"), "v1.0")
		if diff := cmp.Diff(test.want, roles); diff != "" || kind(err) != test.kind {
			t.Errorf("%s: %q (-want +got):\n%s", name, kind(err), diff)
		}
	}
}

func TestASignerIsHeldToTheName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	keys := w.init("alice", "bob")
	r := w.open()
	state := w.read(r)
	w.must(state.CheckSigner("alice", keys[0].ID()))
	for signer, want := range map[string][]string{"bob": {keys[1].ID()}, "carol": nil, "releases": nil} {
		err := state.CheckSigner(signer, keys[0].ID())
		var e *NotThisSignerError
		if !errors.As(err, &e) {
			t.Fatalf("%s: %v", signer, err)
		}
		if diff := cmp.Diff(NotThisSignerError{Signer: signer, KeyID: keys[0].ID(), Want: want, Signers: []string{"alice", "bob"}}, *e); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if _, err := r.Sign(t.Context(), SignRequest{Key: keys[0], Signer: "bob", Targets: targets(1)}); !errors.As(err, new(*NotThisSignerError)) {
		t.Errorf("signed in another's name: %v", err)
	}
	_, err := r.Sign(t.Context(), SignRequest{Key: keys[0], Signer: "alice", Targets: targets(1)})
	w.must(err)
}

func TestPathsAreHonouredTagByTag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.init("alice")
	bob := w.addSigner("bob", "v1.")
	r := w.open()
	w.sign(r, bob, target("v1.0"))
	w.must(w.read(r).Prove(bob.ID(), []Target{target("v1.0")}))
	_, err := r.Sign(t.Context(), SignRequest{Key: bob, Targets: []Target{target("v1.1"), target("v2.0")}})
	var e *PathRestrictedError
	if !errors.As(err, &e) || e.Tag != "v2.0" || e.Role != "targets/bob" {
		t.Errorf("error: %v", err)
	}
	if _, _, ok := w.read(r).Released("v1.1"); ok {
		t.Error("one of two tags was signed although the other could not be")
	}
}

func TestAnExpiredDelegationIsRenewedWithWhatItHad(t *testing.T) {
	t.Parallel()
	w, keys := signedWorld(t)
	for _, role := range []string{"targets/alice", "targets/releases"} {
		w.must(w.Server.Expire(testGUN, role, time.Now().Add(-time.Hour), privateOf(keys[0])))
	}
	r := w.open()
	state := w.read(r)
	for _, role := range []string{"targets/alice", "targets/releases"} {
		d, _ := state.delegation(role)
		if d.Problem != ProblemExpired || d.Expires.After(time.Now()) || len(state.Files[role].Tags) > 0 {
			t.Errorf("%s: %+v", role, d)
		}
	}
	w.must(state.CheckPublish([]string{"targets/alice", "targets/releases"}))
	receipt := w.sign(r, keys[0], target("tag-0"), target("new")) // tag-0 is in the expired files
	want := Receipt{
		Roles: []string{"targets/alice", "targets/releases"}, Attempts: 1,
		Published: map[string]int{"targets/alice": 3, "targets/releases": 3},
		Renewed:   []string{"targets/alice", "targets/releases"},
	}
	if diff := cmp.Diff(want, receipt); diff != "" {
		t.Errorf("receipt (-want +got):\n%s", diff)
	}
	w.must(w.read(r).Prove(keys[0].ID(), append(targets(2), target("new"))))
}

func TestAnExpiredFoundationIsNamed(t *testing.T) {
	t.Parallel()
	w, keys := signedWorld(t)
	for _, role := range []string{"targets", "snapshot", "timestamp", "root"} {
		at := time.Now().Add(-time.Hour).Truncate(time.Second)
		w.must(w.Server.Expire(testGUN, role, at, w.Owner.Keys()...))
		_, err := w.open().Read(t.Context())
		var e *ExpiredError
		if !errors.As(err, &e) || e.Role != role || !e.At.Equal(at) {
			t.Errorf("%s: %v", role, err)
		}
		if _, err := w.open().Sign(t.Context(), SignRequest{Key: keys[0], Targets: targets(1)}); !errors.As(err, &e) {
			t.Errorf("%s: signing: %v", role, err)
		}
		w.must(w.Server.Expire(testGUN, role, time.Now().AddDate(3, 0, 0), w.Owner.Keys()...))
	}
	w.read(w.open())
}

func TestARootAboutToExpireStopsASigner(t *testing.T) {
	t.Parallel()
	w, keys := signedWorld(t)
	at := time.Now().AddDate(0, 5, 0).UTC().Truncate(time.Second)
	w.must(w.Server.Expire(testGUN, "root", at, w.Owner.Keys()...))
	r := w.open()
	var e *RootExpiringError
	if err := w.read(r).CheckPublish([]string{"targets/alice"}); !errors.As(err, &e) || !e.At.Equal(at) {
		t.Errorf("before: %v", err)
	}
	if _, err := r.Sign(t.Context(), SignRequest{Key: keys[0], Targets: []Target{target("new")}}); !errors.As(err, &e) {
		t.Errorf("signing: %v", err)
	}
	// Even if our clock does not see it coming.
	slow := w.open(func(o *Options) { o.Now = func() time.Time { return time.Now().AddDate(-1, 0, 0) } })
	if _, err := slow.Sign(t.Context(), SignRequest{Key: keys[0], Targets: []Target{target("new")}}); !errors.As(err, &e) {
		t.Errorf("signing with a slow clock: %v", err)
	}
}

func TestAReplacedKeyStartsItsOwnRoleAnewAndNotTheReleases(t *testing.T) {
	t.Parallel()
	everyWorld(t, func(t *testing.T, w *world) {
		old := w.init("alice")[0]
		w.sign(w.open(), old, targets(2)...)
		replacement := w.addSigner("alice")
		for _, role := range []string{"targets/alice", "targets/releases"} {
			w.must(w.Owner.RemoveKey(testGUN, role, old.ID()))
		}
		r := w.open()
		state := w.read(r)
		for _, d := range state.Delegations {
			if d.Problem != ProblemSignatures {
				t.Errorf("%s: problem %q", d.Role, d.Problem)
			}
		}
		q := SignRequest{Key: replacement, Targets: []Target{target("new")}}
		_, err := r.Sign(t.Context(), q)
		var e *BrokenDelegationError
		if !errors.As(err, &e) || e.Role != "targets/releases" || e.Tags != 2 {
			t.Fatalf("the releases: %v", err)
		}
		q.AdoptUnverifiedReleases = true
		receipt, err := r.Sign(t.Context(), q)
		w.must(err)
		if diff := cmp.Diff([][]string{{"targets/releases"}, {"targets/alice"}}, [][]string{receipt.Renewed, receipt.Restarted}); diff != "" {
			t.Errorf("renewed and restarted (-want +got):\n%s", diff)
		}
		state = w.read(r)
		w.must(state.Prove(replacement.ID(), q.Targets))
		if _, _, ok := state.Released("tag-0"); !ok {
			t.Error("an adopted tag is gone")
		}
		if len(state.Signers("tag-0")) != 0 {
			t.Error("the new key vouches for what the old one signed in its own role")
		}
	})
}

func TestAKeyRemovedMeanwhileIsNotAdmitted(t *testing.T) {
	t.Parallel()
	w, keys := signedWorld(t)
	r := w.open()
	w.read(r)
	for _, role := range []string{"targets/bob", "targets/releases"} {
		w.must(w.Owner.RemoveKey(testGUN, role, keys[1].ID()))
	}
	if _, err := r.Sign(t.Context(), SignRequest{Key: keys[1], Targets: targets(1)}); !errors.As(err, new(*NotAdmittedError)) {
		t.Errorf("error: %v", err)
	}
}

func TestARotatedRootIsFollowedBetweenReadAndSign(t *testing.T) {
	t.Parallel()
	everyWorld(t, func(t *testing.T, w *world) {
		key := w.init("alice")[0]
		r := w.open()
		w.read(r)
		w.must(w.Owner.RotateRoot(testGUN))
		w.sign(r, key, target("1"))
		w.must(w.read(r).Prove(key.ID(), []Target{target("1")}))
	})
}

func TestTheLastVersionNumberIsNotUsedUp(t *testing.T) {
	t.Parallel()
	for version, blocked := range map[int]bool{1<<31 - 3: false, 1<<31 - 1: true} {
		w, keys := signedWorld(t)
		w.must(w.Server.Edit(testGUN, "targets/alice", func(signed map[string]any) { signed["version"] = version }, privateOf(keys[0])))
		_, err := w.open().Sign(t.Context(), SignRequest{Key: keys[0], Targets: []Target{target("new")}})
		var e *VersionError
		if errors.As(err, &e) != blocked || !blocked && err != nil {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

func TestAThresholdOfTwoIsMoreThanOneSigner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	key := w.init("alice")[0]
	w.must(w.Server.Edit(testGUN, "targets", func(signed map[string]any) {
		for _, role := range signed["delegations"].(map[string]any)["roles"].([]any) {
			role.(map[string]any)["threshold"] = 2
		}
	}, w.Owner.Keys()...))
	_, err := w.open().Sign(t.Context(), SignRequest{Key: key, Targets: targets(1)})
	var e *ThresholdError
	if !errors.As(err, &e) || e.Threshold != 2 {
		t.Errorf("error: %v", err)
	}
}

func TestProofFailsForEverythingThatIsNotAsSigned(t *testing.T) {
	t.Parallel()
	w, keys := signedWorld(t)
	alice := keys[0].ID()
	state := w.read(w.open())
	w.must(state.Prove(alice, targets(2)))
	other := target("tag-0")
	other.Digest = target("tag-1").Digest
	bigger := target("tag-0")
	bigger.Size++
	for name, test := range map[string]struct {
		key    string
		target Target
		change func(*State)
	}{
		"another digest":      {alice, other, nil},
		"another size":        {alice, bigger, nil},
		"a tag not signed":    {alice, target("tag-9"), nil},
		"a signer not on it":  {keys[1].ID(), target("tag-0"), nil},
		"missing in releases": {alice, target("tag-0"), func(s *State) { delete(s.Files, "targets/releases") }},
		"missing in own role": {alice, target("tag-0"), func(s *State) { delete(s.Files, "targets/alice") }},
		"signed by nobody":    {alice, target("tag-0"), func(s *State) { f := s.Files["targets/releases"]; f.SignedBy = nil; s.Files["targets/releases"] = f }},
		"own role, other hand": {alice, target("tag-0"), func(s *State) {
			f := s.Files["targets/alice"]
			f.SignedBy = []string{keys[1].ID()}
			s.Files["targets/alice"] = f
		}},
	} {
		state := w.read(w.open())
		if test.change != nil {
			test.change(state)
		}
		var e *ProofError
		if err := state.Prove(test.key, []Target{target("tag-1"), test.target}); !errors.As(err, &e) || e.Role == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := state.Prove(hexID("0"), targets(1)); !errors.As(err, new(*NotAdmittedError)) {
		t.Errorf("a stranger: %v", err)
	}
}
