package secret_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"contenttrust/internal/secret"
)

const hunter = "hunter2-is-long"

// holder has the secret where fmt cannot reach its methods.
type holder struct {
	Open   secret.Value
	closed secret.Value
	ptr    *secret.Value
	list   []secret.Value
}

func TestAValueIsNeverPrinted(t *testing.T) {
	t.Parallel()
	v := secret.New(hunter)
	h := holder{Open: v, closed: v, ptr: &v, list: []secret.Value{v}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%T", "%20s", "%-5.2v", "%c", "%U", "%e", "%p", "%w"} {
		for name, value := range map[string]any{"value": v, "pointer": &v, "struct": h, "pointer to struct": &h, "slice": []secret.Value{v}, "map": map[string]secret.Value{"a": v}, "key": map[secret.Value]int{v: 1}} {
			leaks(t, verb+" of a "+name, fmt.Sprintf(verb, value))
		}
	}
	if got := fmt.Sprintf("%v|%+v|%#v|%s|%q|%x|%5d", v, v, v, v, v, v, v); got != strings.TrimSuffix(strings.Repeat("***|", 7), "|") {
		t.Errorf("verbs print %q", got)
	}
	if _ = h.closed; fmt.Sprint(v) != secret.Redacted {
		t.Errorf("Sprint gives %q", fmt.Sprint(v))
	}
}

func TestAValueIsNeverEncoded(t *testing.T) {
	t.Parallel()
	v := secret.New(hunter)
	body, err := json.Marshal(map[string]any{"a": v, "b": []secret.Value{v}, "c": holder{Open: v}})
	if err != nil {
		t.Fatal(err)
	}
	leaks(t, "json", string(body))
	body, err = json.Marshal(map[secret.Value]string{v: "x"})
	if err != nil {
		t.Fatal(err)
	}
	leaks(t, "json key", string(body))
	body, err = xml.Marshal(holder{Open: v})
	if err != nil {
		t.Fatal(err)
	}
	leaks(t, "xml", string(body))

	var log bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("hello", "v", v, "h", holder{Open: v, closed: v}, slog.Group("g", "v", &v))
	}
	leaks(t, "slog", log.String())
}

func leaks(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(text, hunter) || strings.Contains(text, fmt.Sprintf("%x", hunter)) {
		t.Errorf("%s shows the secret: %s", what, text)
	}
}

func TestValuesAreComparedByTheirText(t *testing.T) {
	t.Parallel()
	a, b, c := secret.New("one"), secret.New(strings.Clone("one")), secret.New("two")
	if a != b || !a.Equal(b) || a == c || a.Equal(c) {
		t.Error("== does not go by the text")
	}
	if !secret.New("").Empty() || secret.New("") != (secret.Value{}) || (secret.Value{}).Reveal() != "" || a.Empty() {
		t.Error("the zero value is not the empty one")
	}
	if got := a.Reveal(); got != "one" {
		t.Errorf("Reveal gives %q", got)
	}
	var read struct{ V secret.Value }
	if err := json.Unmarshal([]byte(`{"V":"three"}`), &read); err != nil || read.V.Reveal() != "three" {
		t.Errorf("a value cannot be read from JSON: %v", err)
	}
}
