package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"contenttrust/internal/secret"
)

// writes keeps each Write apart.
type writes struct{ list []string }

func (w *writes) Write(p []byte) (int, error) {
	w.list = append(w.list, string(p))
	return len(p), nil
}

func TestEveryMethodOfTheLogWritesItsLine(t *testing.T) {
	t.Parallel()
	const evil = "x\n##vso[task.complete result=Succeeded;]\r##[error]hunter22%"
	for name, tt := range map[string]struct {
		do   func(*Log)
		want []string
	}{
		"Line":        {func(l *Log) { l.Line("hello") }, []string{"hello"}},
		"Line, evil":  {func(l *Log) { l.Line(evil) }, []string{"x", "##_vso[task.complete result=Succeeded;]", "##_[error]***%"}},
		"Linef":       {func(l *Log) { l.Linef("%d of %s", 1, secret.New("long enough")) }, []string{"1 of ***"}},
		"Section":     {func(l *Log) { l.Section("##[error]t") }, []string{"##[section]##_[error]t"}},
		"Group":       {func(l *Log) { l.Group("t"); l.EndGroup() }, []string{"##[group]t", "##[endgroup]"}},
		"CommandLine": {func(l *Log) { l.CommandLine("docker push -p hunter22") }, []string{"##[command]docker push -p ***"}},
		"Debug":       {func(l *Log) { l.Debug("a\n50%") }, []string{"##vso[task.debug]a", "##vso[task.debug]50%AZP25"}},
		"Warn":        {func(l *Log) { l.Warn(Issue{Text: evil}) }, []string{"##vso[task.logissue type=warning;]x%0A##_vso[task.complete result=Succeeded;]%0A##_[error]***%AZP25"}},
		"Error": {func(l *Log) {
			l.Error(Issue{Text: "bad", Code: "CT1", File: "a;b]/Dockerfile", Line: 3, Column: 4})
		}, []string{"##vso[task.logissue type=error;code=CT1;sourcepath=a%3Bb%5D/Dockerfile;linenumber=3;columnnumber=4;]bad"}},
		"Progress":           {func(l *Log) { l.Progress(-1, "a"); l.Progress(101, "b") }, []string{"##vso[task.setprogress value=0;]a", "##vso[task.setprogress value=100;]b"}},
		"SetVariable":        {func(l *Log) { check(t, l.SetVariable("a;b", "1%\n2")) }, []string{"##vso[task.setvariable variable=a%3Bb;]1%AZP25%0A2"}},
		"SetOutput":          {func(l *Log) { check(t, l.SetOutput("imageDigest", "sha256:00")) }, []string{"##vso[task.setvariable variable=imageDigest;]sha256:00"}},
		"SetTaskVariable":    {func(l *Log) { check(t, l.SetTaskVariable("k", "v")) }, []string{"##vso[task.settaskvariable variable=k;]v"}},
		"UploadSummary":      {func(l *Log) { check(t, l.UploadSummary("/t/a b.md")) }, []string{"##vso[task.uploadsummary]/t/a b.md"}},
		"Complete":           {func(l *Log) { l.Complete(Failed, "no\nkey") }, []string{"##vso[task.complete result=Failed;]no%0Akey"}},
		"Foreign":            {func(l *Log) { w := l.Foreign(); io.WriteString(w, evil); w.Close() }, []string{"x", "##_[error]***%"}},
		"secret uncovered":   {func(l *Log) { l.Line("hunt\u200ber22") }, []string{"***"}},
		"secret in its name": {func(l *Log) { l.Error(Issue{Text: "t", File: "/hunter22/f"}) }, []string{"##vso[task.logissue type=error;sourcepath=/***/f;]t"}},
	} {
		mask := secret.NewMask()
		mask.Add(secret.New("hunter22"))
		var w writes
		tt.do(NewLog(&w, mask))
		for i := range tt.want {
			tt.want[i] += "\n"
		}
		if diff := cmp.Diff(tt.want, w.list); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func TestASecretIsNotSetAsAVariable(t *testing.T) {
	t.Parallel()
	mask := secret.NewMask()
	mask.Add(secret.New("hunter22"))
	var w writes
	log := NewLog(&w, mask)
	for _, err := range []error{
		log.SetVariable("v", "a hunter22"), log.SetOutput("v", "a hunter22"),
		log.SetTaskVariable("v", "a hunter22"), log.UploadSummary("/hunter22/x.md"),
	} {
		var hidden *HiddenValueError
		if !errors.As(err, &hidden) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("got %v", err)
		}
	}
	if len(w.list) != 0 {
		t.Errorf("written: %q", w.list)
	}
}

func TestASecretIsMadeKnownToTheAgentInItsForms(t *testing.T) {
	t.Parallel()
	var w writes
	log := NewLog(&w, nil)
	key := secret.New("-----BEGIN X-----\nfirst%line\nsecondline\n-----END X-----\n")
	if log.Secret(key) {
		t.Error("too short?")
	}
	known := make(map[string]bool)
	for _, line := range w.list {
		c, ok := agentParse(line[:len(line)-1])
		if !ok || c.Name != "task.setsecret" || strings.ContainsAny(c.Data, "\r\n") {
			t.Errorf("written: %q", line)
		}
		known[c.Data] = true
	}
	for _, form := range secret.Forms(key) {
		if !known[form] && !strings.Contains(form, "\n") {
			t.Errorf("the agent is not told %q", form)
		}
	}
	if !known["first%line"] || !known["secondline"] {
		t.Errorf("the lines are not known: %v", known)
	}
	w.list = nil
	log.Line("it is secondline")
	if !log.Secret(secret.New("abc")) {
		t.Error("a short secret is not reported")
	}
	if log.Secret(secret.Value{}) {
		t.Error("an empty secret is reported")
	}
	if diff := cmp.Diff([]string{"it is ***\n"}, w.list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLinesOfManyWritersAreNotMixed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := NewLog(&out, nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			w := log.Foreign()
			defer w.Close()
			for range 100 {
				log.Line(strings.Repeat("l", 50))
				for range 5 {
					fmt.Fprint(w, strings.Repeat(fmt.Sprint(i), 10))
				}
				fmt.Fprintln(w)
			}
		})
	}
	all.Wait()
	for line := range strings.Lines(out.String()) {
		if len(line) != 51 || strings.Trim(line, line[:1]+"\n") != "" {
			t.Fatalf("mixed: %q", line)
		}
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestABrokenOutputIsKeptAndStopsNothing(t *testing.T) {
	t.Parallel()
	log := NewLog(broken{}, nil)
	log.Line("a")
	w := log.Foreign()
	if n, err := io.WriteString(w, "text\n"); n != 5 || err != nil {
		t.Errorf("Write gives %d, %v", n, err)
	}
	check(t, w.Close())
	if !errors.Is(log.Err(), io.ErrShortWrite) {
		t.Errorf("Err gives %v", log.Err())
	}
}

func TestForeignText(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		in   string
		want string
	}{
		"lines":                  {"a\nb\r\n\nc", "a\nb\n\nc\n"},
		"progress":               {"10%\r50%\r100%\r\ndone\n", "100%\ndone\n"},
		"progress, odd line end": {"10%\r100%\r\r\ndone", "100%\ndone\n"},
		"progress at the end":    {"10%\r20%\r", "20%\n"},
		"progress with erasing":  {"10%\r\x1b[K20%\n", "20%\n"},
		"a command":              {"#1 ##vso[task.setvariable variable=a]b\n", "#1 ##_vso[task.setvariable variable=a]b\n"},
		"a command after CR":     {"x\r##vso[a.b]c\n", "##_vso[a.b]c\n"},
		"a secret":               {"ENV P=hunter22\n", "ENV P=***\n"},
		"a secret with colours":  {"hun\x1b[1mter22\n", "***\n"},
		"half a secret":          {"hunte", "hunte\n"},
		"a secret not all seen":  {"ENV P=zero\u200bwidth\n", "ENV P=***\n"},
		"half a character":       {"a\xe2\x82\n\xe2\x82\xac", "a\ufffd\n\u20ac\n"},
		"nothing":                {"", ""},
	} {
		mask := secret.NewMask()
		mask.Add(secret.New("hunter22"))
		mask.Add(secret.New("zero\u200bwidth")) // as pasted from a web page
		for _, size := range []int{1, 2, 3, 1 << 10} {
			var out bytes.Buffer
			w := NewLog(&out, mask).Foreign()
			for rest := tt.in; rest != ""; {
				n := min(size, len(rest))
				io.WriteString(w, rest[:n])
				rest = rest[n:]
			}
			w.Close()
			w.Close()
			// As above: one mark or two for a cut character.
			if got := strings.ReplaceAll(out.String(), "\ufffd\ufffd", "\ufffd"); got != tt.want {
				t.Errorf("%s, in writes of %d: got %q, want %q", name, size, got, tt.want)
			}
			if _, err := w.Write([]byte("x")); err == nil {
				t.Errorf("%s: a write after Close is accepted", name)
			}
		}
	}
}

func TestLongForeignLinesAreCut(t *testing.T) {
	t.Parallel()
	var w writes
	f := NewLog(&w, nil).Foreign()
	// The token lies across the first cut, a character of three bytes across the second.
	text := strings.Repeat("a", MaxForeignLine-3) + "##vso[task.complete]" + strings.Repeat("€", MaxForeignLine/3) + strings.Repeat("##[", 10)
	io.WriteString(f, text)
	f.Close()
	if got := strings.ReplaceAll(strings.ReplaceAll(strings.Join(w.list, ""), "\n", ""), "_", ""); got != text {
		t.Errorf("text of %d bytes became %d", len(text), len(got))
	}
	for _, line := range w.list {
		if len(line) > MaxForeignLine+100 || !utf8.ValidString(line) {
			t.Errorf("a line of %d bytes, valid %v", len(line), utf8.ValidString(line))
		}
		checkSafe(t, strings.TrimSuffix(line, "\n"))
	}
}

func TestALineOfExactlyTheLimitIsOneLine(t *testing.T) {
	t.Parallel()
	var w writes
	f := NewLog(&w, nil).Foreign()
	io.WriteString(f, strings.Repeat("a", MaxForeignLine)+"\nb\n")
	f.Close()
	if len(w.list) != 2 {
		t.Errorf("%d lines", len(w.list))
	}
}

func TestForeignTextWithoutLineEndsCostsNoMemory(t *testing.T) {
	mask := secret.NewMask()
	mask.Add(secret.New("hunter22"))
	f := NewLog(io.Discard, mask).Foreign()
	chunk := bytes.Repeat([]byte("\x1b]0;hunter"), 100<<10)
	f.Write(chunk)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 20 {
		f.Write(chunk)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > before.HeapAlloc+1<<20 {
		t.Errorf("the heap grew from %d to %d", before.HeapAlloc, after.HeapAlloc)
	}
}

// FuzzForeign: whatever is written in whatever pieces, the agent finds no
// command, no line is longer than the limit allows, and no secret is shown.
func FuzzForeign(f *testing.F) {
	for _, seed := range []string{
		"##vso[task.complete]x", "#\r#vso[", "#\x1b[0m#vso[", "##v\u200bso[x.y]z", "\xef\xbb\xbf##[error]x", "\x1b]##vso[\x07##vso[",
		"a##vs\xf0\x9f\xa6\x84o[", "hun\x1b[0mter22", "hunte\u00adr22\n##[x", "##VSO[\r\n##vso", "\u2028##[x",
	} {
		f.Add([]byte(seed), uint8(1), uint8(4))
		f.Add([]byte(seed), uint8(7), uint8(2))
	}
	f.Fuzz(func(t *testing.T, text []byte, size1, size2 uint8) {
		mask := secret.NewMask()
		mask.Add(secret.New("hunter22"))
		var w writes
		out := NewLog(&w, mask).Foreign()
		for i := 0; len(text) > 0; i++ {
			n := min(len(text), 1+int([]uint8{size1, size2}[i%2]))
			out.Write(text[:n])
			text = text[n:]
		}
		out.Close()
		for _, line := range w.list {
			body, ended := strings.CutSuffix(line, "\n")
			if !ended || strings.Contains(body, "\n") {
				t.Errorf("not one line in one write: %q", line)
			}
			checkSafe(t, body)
			if strings.Contains(body, "hunter22") {
				t.Errorf("the secret is in %q", body)
			}
		}
	})
}

func BenchmarkForeign(b *testing.B) {
	mask := secret.NewMask()
	mask.Add(secret.New("hunter22"))
	f := NewLog(io.Discard, mask).Foreign()
	chunk := []byte(strings.Repeat("#12 3.456 Get:17 http://packages.example/debian stable/main amd64 libfoo\n", 450))
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		f.Write(chunk)
	}
}
