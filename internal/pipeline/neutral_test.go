package pipeline

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTextIsNeutralised(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ in, want string }{
		"plain":                            {"Step 1/2 : FROM scratch — ok\t✓", "Step 1/2 : FROM scratch — ok\t✓"},
		"a command":                        {"##vso[task.setvariable variable=PATH;]/evil", "##_vso[task.setvariable variable=PATH;]/evil"},
		"inside a line":                    {"#8 0.1 ##vso[task.complete]", "#8 0.1 ##_vso[task.complete]"},
		"in another case":                  {"##VsO[task.debug]x", "##_VsO[task.debug]x"},
		"with the long s":                  {"##v\u017fo[task.debug]x", "##_v\u017fo[task.debug]x"},
		"without its bracket":              {"##vso", "##_vso"},
		"after more hashes":                {"####vso[a.b]", "####_vso[a.b]"},
		"twice":                            {"##vso[a]##vso[b]", "##_vso[a]##_vso[b]"},
		"nested so that removing makes it": {"##vs##vso[o[x", "##vs##_vso[o[x"},
		"on the second line":               {"a\n##vso[a.b]", "a\n##_vso[a.b]"},
		"zero-width inside":                {"#\u200b#\u200dv\ufeffs\u2060o\u00ad[a.b]", "##_vso[a.b]"},
		"variation selector inside":        {"##v\ufe0fso[a.b]", "##_vso[a.b]"},
		"control character inside":         {"##v\x00s\x08o[a.b]", "##_vso[a.b]"},
		"colour inside":                    {"##v\x1b[31mso[a.b]", "##_vso[a.b]"},
		"after a carriage return":          {"safe\r##vso[a.b]", "safe\n##_vso[a.b]"},
		"formatted line":                   {"##[error]not ours", "##_[error]not ours"},
		"formatted line, indented":         {" \t##[section]x", " \t##_[section]x"},
		"formatted later in the line":      {"a ##[error]x", "a ##[error]x"},
		"formatted with colour before":     {"\x1b[0m##[error]x", "##_[error]x"},
		"markdown heading":                 {"## Heading [x]", "## Heading [x]"},
		"colours":                          {"\x1b[1;32mok\x1b[0m \x1b[2K\x1b[38;5;200mx", "ok x"},
		"one-byte CSI":                     {"\u009b31mred", "red"},
		"title and link":                   {"\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb"},
		"device control":                   {"a\x1bPq#0\x1b\\b", "ab"},
		"character set":                    {"\x1b(Bplain", "plain"},
		"unfinished title":                 {"\x1b]0;title\nnext", "\nnext"},
		"bidi":                             {"user\u202e\u2066 // admin", "user // admin"},
		"line separators":                  {"a\u2028b\u0085c", "a bc"},
		"line ends":                        {"a\r\nb\rc\n", "a\nb\nc\n"},
		"not UTF-8":                        {"a\xff\xc0\xafb", "a\ufffd\ufffd\ufffdb"},
		"half a character":                 {"a\xe2\x82", "a\ufffd"},
		"not assigned":                     {"a\U000e0fffb\U0003fffeb", "ab\ufffdb"},
		"empty":                            {"", ""},
		"one hash":                         {"#", "#"},
		"two hashes":                       {"##", "##"},
	} {
		got := Neutralise(tt.in)
		if got != tt.want && name != "half a character" {
			t.Errorf("%s: %q gives %q, want %q", name, tt.in, got, tt.want)
		}
		if again := Neutralise(got); again != got {
			t.Errorf("%s: a second time gives %q", name, again)
		}
	}
	// The decoder may tell of a cut character once or for each of its bytes.
	if got := Neutralise("a\xe2\x82"); strings.TrimRight(got, "\ufffd") != "a" || got == "a" {
		t.Errorf("half a character gives %q", got)
	}
}

func TestAnUnfinishedSequenceDoesNotSwallowTheRest(t *testing.T) {
	t.Parallel()
	for _, start := range []string{"\x1b]0;", "\x1bP", "\x1b[", "\u009d"} {
		got := Neutralise(start + strings.Repeat("1", 3*maxSequence))
		if len(got) < maxSequence {
			t.Errorf("%q: %d bytes are left", start, len(got))
		}
	}
}

// checkSafe is what the agent must not find in a line that is not ours.
func checkSafe(t *testing.T, line string) {
	t.Helper()
	if c, ok := agentParse(line); ok {
		t.Errorf("the agent runs %+v, found in %q", c, line)
	}
	if strings.HasPrefix(strings.TrimSpace(line), "##[") {
		t.Errorf("%q looks like a line of the agent", line)
	}
	if !utf8.ValidString(line) || strings.ContainsAny(line, "\r\x1b\x00") {
		t.Errorf("%q has control characters", line)
	}
}

func FuzzNeutralise(f *testing.F) {
	for _, seed := range []string{"##vso[task.complete]", "##v\u200bso[", "\x1b[0m##[error]", "#\x1b]x\x07#vso[", "##vs\xe2\x80o[", "a\r##VSO[", "\u009b##vso[", "##\U000e0001vso["} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for line := range strings.SplitSeq(Neutralise(s), "\n") {
			checkSafe(t, line)
		}
	})
}
