package trust

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestPinsAreTheMostSpecificOnes(t *testing.T) {
	t.Parallel()
	pins := []Pin{
		{"", "1"}, {"", "2"}, {"registry.example/*", "3"}, {"registry.example/team/*", "4"}, {"registry.example/team/app", "5"}, {"other.example/*", "6"},
	}
	for gun, want := range map[string][]string{
		"registry.example/team/app":  {"5"},
		"registry.example/team/app2": {"4"},
		"registry.example/x":         {"3"},
		"elsewhere.example/x":        {"1", "2"},
		"other.example/team/app":     {"6"},
	} {
		if got, _ := pinsFor(pins, gun); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", gun, got, want)
		}
	}
	if got, _ := pinsFor(pins[2:], "elsewhere.example/x"); got != nil {
		t.Errorf("a pin of others holds: %v", got)
	}
}

func TestAPinReplacesTrustOnFirstUse(t *testing.T) {
	t.Parallel()
	w, keys := signedWorld(t)
	ids, canonical, err := w.Owner.RootKeys(testGUN)
	w.must(err)
	for name, test := range map[string]struct {
		pins    []Pin
		require bool
		source  string
		fails   any
	}{
		"none":                    {nil, false, "", nil},
		"none, but required":      {nil, true, "", new(*PinRequiredError)},
		"the ID of docker":        {[]Pin{{"", ids[0]}}, true, "*", nil},
		"the canonical ID":        {[]Pin{{"", canonical[0]}}, false, "*", nil},
		"for this repository":     {[]Pin{{testGUN, canonical[0]}}, false, testGUN, nil},
		"for its registry":        {[]Pin{{"registry.example/*", canonical[0]}}, false, "registry.example/*", nil},
		"one of two":              {[]Pin{{"", hexID("a")}, {"", ids[0]}}, false, "*", nil},
		"another key":             {[]Pin{{"", hexID("a")}}, false, "", new(*PinMismatchError)},
		"another key, closer":     {[]Pin{{"", ids[0]}, {testGUN, hexID("a")}}, false, "", new(*PinMismatchError)},
		"only another repository": {[]Pin{{"registry.example/other", ids[0]}}, false, "", new(*PinMismatchError)},
		"a signer's key":          {[]Pin{{"", keys[0].ID()}}, false, "", new(*PinMismatchError)},
	} {
		r := w.open(func(o *Options) { o.Pins, o.RequirePin = test.pins, test.require })
		state, err := r.Read(t.Context())
		_, signErr := r.Sign(t.Context(), SignRequest{Key: keys[0], Targets: []Target{target(strings.NewReplacer(" ", "", ",", "", "'", "").Replace(name))}})
		if test.fails != nil {
			if !errors.As(err, test.fails) || !errors.As(signErr, test.fails) {
				t.Errorf("%s: reading %v, signing %v", name, err, signErr)
			}
			continue
		}
		if err != nil || signErr != nil || state.PinSource != test.source || state.Pinned != (test.source != "") {
			t.Errorf("%s: %v, %v, source %q", name, err, signErr, state.PinSource)
		}
	}
}

func TestAPinnedKeyThatOnlyStandsInTheRootIsNotEnough(t *testing.T) {
	t.Parallel()
	w, _ := signedWorld(t)
	ids, _, err := w.Owner.RootKeys(testGUN)
	w.must(err)
	w.must(w.Owner.RotateRoot(testGUN))
	// The rotated root was signed by both keys; we pin the old one, which is no longer named.
	r := w.open(func(o *Options) { o.Pins = []Pin{{"", ids[0]}} })
	if _, err := r.Read(t.Context()); !errors.As(err, new(*PinMismatchError)) {
		t.Errorf("error: %v", err)
	}
}

func TestPinsAreParsed(t *testing.T) {
	t.Parallel()
	id := hexID("a")
	for line, want := range map[string]Pin{
		id:                              {"", id},
		strings.ToUpper(id):             {"", id},
		" registry.example/app = " + id: {"registry.example/app", id},
		"registry.example/*=" + id:      {"registry.example/*", id},
	} {
		if got, err := ParsePin(line); err != nil || got != want {
			t.Errorf("%q: %v, %v", line, got, err)
		}
	}
	for _, line := range []string{"", "abc", "=" + id, "a*b=" + id, "*/x=" + id, id + "=", "sha256:" + id} {
		if _, err := ParsePin(line); !errors.As(err, new(*OptionError)) {
			t.Errorf("%q: %v", line, err)
		}
	}
}
