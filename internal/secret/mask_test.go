package secret_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"contenttrust/internal/secret"
)

const pemKey = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIJb1aQ0sLbXcPlF8\r\nAwEHoUQDQgAEq0\nab==\n-----END EC PRIVATE KEY-----\n"

func TestFormsCoverWhatOtherProgramsPrint(t *testing.T) {
	t.Parallel()
	password := "p@ss/w\"ö rd&<1>"
	for name, seen := range map[string]string{
		"plain":                    password,
		"base64":                   base64.StdEncoding.EncodeToString([]byte(password)),
		"base64 url":               base64.URLEncoding.EncodeToString([]byte(password)),
		"base64 raw":               base64.RawURLEncoding.EncodeToString([]byte(password)),
		"query":                    url.QueryEscape(password),
		"path":                     url.PathEscape(password),
		"user info":                strings.SplitN(url.UserPassword("u", password).String(), ":", 2)[1],
		"json":                     string(must(json.Marshal(password)))[1:],
		"quoted":                   fmt.Sprintf("%q", password),
		"trimmed":                  "x" + password,
		"a word around it":         "a" + password + "b",
		"several times, touching":  password + password,
		"in an environment string": "PASSWORD=" + password,
	} {
		mask := secret.NewMask()
		mask.Add(secret.New(password + "\n"))
		mask.Add(secret.New(password))
		got := mask.Hide("<" + seen + ">")
		if strings.Contains(got, "ss") || !strings.Contains(got, secret.Redacted) {
			t.Errorf("%s: %q is shown as %q", name, seen, got)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestBase64OfUserAndPasswordIsHiddenWhereverThePasswordBegins(t *testing.T) {
	t.Parallel()
	password := "correct-horse-battery"
	mask := secret.NewMask()
	mask.Add(secret.New(password))
	for _, user := range []string{"u", "us", "use", "user"} {
		encoded := base64.StdEncoding.EncodeToString([]byte(user + ":" + password + "\x00tail"))
		hidden := mask.Hide(encoded)
		left := strings.ReplaceAll(hidden, secret.Redacted, "")
		if !strings.Contains(hidden, secret.Redacted) || len(left) > len(encoded)-len(password)*8/6+2 {
			t.Errorf("%s: %s is shown as %s", user, encoded, hidden)
		}
	}
}

func TestFormsOfAKeyAreItsLinesWithoutTheFrame(t *testing.T) {
	t.Parallel()
	forms := secret.Forms(secret.New(pemKey))
	for _, want := range []string{"MHcCAQEEIJb1aQ0sLbXcPlF8", "AwEHoUQDQgAEq0", pemKey, strings.TrimSpace(pemKey)} {
		if !slices.Contains(forms, want) {
			t.Errorf("no form %q", want)
		}
	}
	for _, not := range []string{"-----BEGIN EC PRIVATE KEY-----", "-----END EC PRIVATE KEY-----", "ab=="} {
		if slices.Contains(forms, not) {
			t.Errorf("%q must not be a form", not)
		}
	}
	if !slices.IsSortedFunc(forms, func(a, b string) int { return len(b) - len(a) }) {
		t.Error("not ordered longest first")
	}
	if len(slices.Compact(slices.Sorted(slices.Values(forms)))) != len(forms) {
		t.Error("duplicates")
	}
	if got := secret.Forms(secret.Value{}); len(got) != 0 {
		t.Errorf("the empty value has forms %q", got)
	}
}

func TestShortValuesAreReportedAndNotHidden(t *testing.T) {
	t.Parallel()
	mask := secret.NewMask()
	for _, tt := range []struct {
		value string
		want  bool
	}{{"", false}, {"a", true}, {"abc", true}, {"abcd", false}} {
		if got := mask.Add(secret.New(tt.value)); got != tt.want {
			t.Errorf("Add(%q) = %v", tt.value, got)
		}
	}
	if got := mask.Hide("abc abcd"); got != "abc ***" {
		t.Errorf("Hide gives %q", got)
	}
}

func TestOverlappingSecretsLeaveNoRest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		secrets    []string
		text, want string
	}{
		{[]string{"abcdef", "defghi"}, "xabcdefghiy", "x***y"},
		{[]string{"abcd", "abcdefgh"}, "abcdefgh abcdefg", "*** ***efg"},
		{[]string{"abcdefgh", "cdef"}, "abcdefgh", "***"},
		{[]string{"aaaa"}, "aaaaaa", "***"},
		{[]string{"abcd", "efgh"}, "abcdefgh", "******"},
		{[]string{"abab"}, "abababab", "***"},
	} {
		mask := secret.NewMask()
		for _, s := range tt.secrets {
			mask.Add(secret.New(s))
		}
		if got := mask.Hide(tt.text); got != tt.want {
			t.Errorf("%q in %q: got %q, want %q", tt.secrets, tt.text, got, tt.want)
		}
		for cut := range tt.text {
			if got := stream(t, mask, tt.text[:cut], tt.text[cut:]); got != tt.want {
				t.Errorf("%q in %q cut at %d: got %q, want %q", tt.secrets, tt.text, cut, got, tt.want)
			}
		}
	}
}

func stream(t *testing.T, mask *secret.Mask, chunks ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := mask.Writer(&out)
	for _, chunk := range chunks {
		if n, err := io.WriteString(w, chunk); n != len(chunk) || err != nil {
			t.Fatalf("Write gives %d, %v", n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestAStreamHidesASecretWrittenByteByByte(t *testing.T) {
	t.Parallel()
	mask := secret.NewMask()
	mask.Add(secret.New(pemKey))
	text := "before\n" + pemKey + "after, and a beginning: " + pemKey[:20]
	if got, want := stream(t, mask, strings.Split(text, "")...), "before\n***after, and a beginning: "+pemKey[:20]; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAStreamPassesOnAtOnceWhatIsNoSecret(t *testing.T) {
	t.Parallel()
	mask := secret.NewMask()
	mask.Add(secret.New("hunter2"))
	var out bytes.Buffer
	w := mask.Writer(&out)
	_, _ = io.WriteString(w, "step 1 done hunt")
	if got := out.String(); got != "step 1 done " {
		t.Errorf("after the first write: %q", got)
	}
	_, _ = io.WriteString(w, "ing")
	if got := out.String(); got != "step 1 done hunting" {
		t.Errorf("after the second write: %q", got)
	}
	mask.Add(secret.New("late-secret"))
	_, _ = io.WriteString(w, " late-secret hun")
	if err := w.Flush(); err != nil || out.String() != "step 1 done hunting *** hun" {
		t.Errorf("after flush: %q, %v", out.String(), err)
	}
}

func TestAStreamNeedsNoMoreMemoryForMoreText(t *testing.T) {
	mask := secret.NewMask()
	mask.Add(secret.New("a-secret-that-does-not-come"))
	w := mask.Writer(io.Discard)
	chunk := bytes.Repeat([]byte("a-secret-that-does-not-"), 1<<16) // 1.5 MB
	_, _ = w.Write(chunk)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		_, _ = w.Write(chunk)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 {
		t.Errorf("30 MB of text allocated %d bytes", grown)
	}
}

var errBroken = errors.New("broken pipe")

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errBroken }

func TestAStreamReportsTheFailureBelow(t *testing.T) {
	t.Parallel()
	w := secret.NewMask().Writer(broken{})
	if _, err := io.WriteString(w, "text"); !errors.Is(err, errBroken) {
		t.Errorf("Write gives %v", err)
	}
	if _, err := io.WriteString(w, "text"); !errors.Is(err, errBroken) {
		t.Errorf("the second Write gives %v", err)
	}
	if err := w.Flush(); !errors.Is(err, errBroken) {
		t.Errorf("Flush gives %v", err)
	}
}

func TestAMaskIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	mask := secret.NewMask()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			own := fmt.Sprintf("secret-number-%d", i)
			mask.Add(secret.New(own))
			for range 50 {
				if got := mask.Hide("x " + own + " y"); got != "x *** y" {
					t.Errorf("got %q", got)
				}
			}
		})
	}
	all.Wait()
}

// FuzzMask: no secret is in the output, whatever the secrets, the text and the
// cuts are, and the stream says what the string says. Secrets made of asterisks
// are left out: what replaces a secret may complete those, which tells nothing.
func FuzzMask(f *testing.F) {
	f.Add("hunter2", "ter2hun", "a hunter2hunter2 b", uint8(3), uint8(9))
	f.Add("abcdef", "defghi", "xabcdefghiy", uint8(4), uint8(7))
	f.Add("aaaa", "aaaaab", "aaaaaaaaaaab", uint8(1), uint8(2))
	f.Add(pemKey, "MHcC", "x"+pemKey+pemKey[:40], uint8(40), uint8(90))
	f.Add("p@ss word", "\xff\xfe\xfd\xfc", "p%40ss+word p@ss word \xff\xfe\xfd\xfc", uint8(2), uint8(20))
	f.Fuzz(func(t *testing.T, one, two, text string, cut1, cut2 uint8) {
		mask := secret.NewMask()
		var forms []string
		for _, s := range []string{one, two} {
			if strings.Contains(s, "*") {
				return
			}
			if !mask.Add(secret.New(s)) {
				forms = append(forms, secret.Forms(secret.New(s))...)
			}
		}
		text += one + two + one
		a := min(int(cut1), len(text))
		b := max(a, min(int(cut2), len(text)))
		got := stream(t, mask, text[:a], text[a:b], text[b:])
		if hidden := mask.Hide(text); got != hidden {
			t.Errorf("stream %q, string %q", got, hidden)
		}
		for _, form := range forms {
			if strings.Contains(got, form) {
				t.Errorf("%q is in %q", form, got)
			}
		}
	})
}

func BenchmarkWriter(b *testing.B) {
	mask := secret.NewMask()
	mask.Add(secret.New(pemKey))
	mask.Add(secret.New("hunter2-hunter2"))
	w := mask.Writer(io.Discard)
	chunk := []byte(strings.Repeat("#12 3.456 Get:17 http://packages.example/debian stable/main amd64 libfoo\n", 450))
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		_, _ = w.Write(chunk)
	}
}
