package pipeline

import "strings"

// Property is one key=value of a [Command].
type Property struct{ Key, Value string }

// Command is a logging command, ##vso[name key=value;…]data.
type Command struct {
	Name       string     // area and event, as "task.setvariable"
	Properties []Property // in this order
	Data       string
}

// String gives the line the agent reads, without the line end. Whatever the
// parts contain, the agent finds exactly them again: this is the one place that
// escapes (after Agent.Sdk CommandStringConvertor.cs; the agent decodes %AZP25
// last, so it is encoded first).
func (c Command) String() string {
	var b strings.Builder
	b.WriteString("##vso[")
	b.WriteString(escapeProperty(c.Name))
	for i, p := range c.Properties {
		if i == 0 {
			b.WriteByte(' ')
		}
		b.WriteString(escapeProperty(p.Key))
		b.WriteByte('=')
		b.WriteString(escapeProperty(p.Value))
		b.WriteByte(';')
	}
	b.WriteByte(']')
	b.WriteString(escapeData(c.Data))
	return b.String()
}

// A strings.Replacer goes over its input once, so what one rule has written is
// never read by another: that is the same as replacing % first.

func escapeData(s string) string {
	return strings.NewReplacer("%", "%AZP25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func escapeProperty(s string) string {
	return strings.NewReplacer("%", "%AZP25", "\r", "%0D", "\n", "%0A", "]", "%5D", ";", "%3B").Replace(s)
}
