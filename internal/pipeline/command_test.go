package pipeline

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// agentParse reads a line as the agent does (Command.cs): the prefix anywhere,
// the first ']' ends the properties, and the escapes are decoded with %AZP25
// last. Like a comparison that goes by culture it looks past characters that are
// not seen and past case. ok is false when the line is no command.
func agentParse(line string) (c Command, ok bool) {
	seen := strings.Map(func(r rune) rune {
		if len(appendVisible(nil, r)) == 0 {
			return -1
		}
		return r
	}, line)
	at := strings.Index(strings.ToLower(strings.ReplaceAll(seen, "\u017f", "s")), "##vso[")
	if at < 0 {
		return Command{}, false
	}
	info, data, _ := strings.Cut(seen[at+len("##vso["):], "]")
	name, properties, _ := strings.Cut(info, " ")
	c = Command{Name: agentUnescape(name), Data: agentUnescape(data)}
	for _, pair := range strings.Split(properties, ";") {
		if key, value, ok := strings.Cut(pair, "="); ok {
			c.Properties = append(c.Properties, Property{agentUnescape(key), agentUnescape(value)})
		}
	}
	return c, true
}

func agentUnescape(s string) string {
	for _, rule := range [][2]string{{"%3B", ";"}, {"%0D", "\r"}, {"%0A", "\n"}, {"%5D", "]"}, {"%AZP25", "%"}} {
		s = strings.ReplaceAll(s, rule[0], rule[1])
	}
	return s
}

func TestCommandsAreEscapedAsTheAgentDecodes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		command Command
		want    string
	}{
		{Command{Name: "task.debug", Data: "hello"}, "##vso[task.debug]hello"},
		{Command{"task.setvariable", []Property{{"variable", "a;b]c"}}, "100%\r\n;]"}, "##vso[task.setvariable variable=a%3Bb%5Dc;]100%AZP25%0D%0A;]"},
		{Command{"task.logissue", []Property{{"type", "error"}, {"code", "CT1"}}, "%0A"}, "##vso[task.logissue type=error;code=CT1;]%AZP250A"},
		{Command{"task.x", []Property{{"a", "%AZP25"}}, "%AZP25%3B"}, "##vso[task.x a=%AZP25AZP25;]%AZP25AZP25%AZP253B"},
		{Command{"task.x", []Property{{"a", "1;done=true]"}}, "##vso[task.complete result=Failed;]"}, "##vso[task.x a=1%3Bdone=true%5D;]##vso[task.complete result=Failed;]"},
	} {
		got := tt.command.String()
		if got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
		back, ok := agentParse(got)
		if diff := cmp.Diff(tt.command, back); !ok || diff != "" {
			t.Errorf("the agent reads something else (-given +read):\n%s", diff)
		}
	}
}

// FuzzCommand: whatever the parts contain, it is one line, and the agent reads
// them back.
func FuzzCommand(f *testing.F) {
	f.Add("name", "value", "data")
	f.Add("a;b", "x]y=z;", "100%\r\n%0A%AZP25##vso[task.complete]")
	f.Add("]", "%5D%AZP255D", "%%\r\r\n")
	f.Fuzz(func(t *testing.T, key, value, data string) {
		// Invisible characters are looked past by the parser of this test alone;
		// a key that ends at '=' is never made by this program.
		for _, s := range []string{key, value, data} {
			if string((&stripper{}).strip(nil, []byte(s), true)) != s {
				return
			}
		}
		if strings.ContainsAny(key, "= ") {
			return
		}
		given := Command{"task.setvariable", []Property{{key, value}, {"last", "1"}}, data}
		line := given.String()
		if strings.ContainsAny(line, "\r\n") {
			t.Fatalf("more than one line: %q", line)
		}
		got, ok := agentParse(line)
		if diff := cmp.Diff(given, got); !ok || diff != "" {
			t.Errorf("%q is read as (-given +read):\n%s", line, diff)
		}
	})
}
