package docker

import (
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// matcher is the part of minimatch that Docker@2 uses: *, ?, [classes],
// {alternatives} and ** between slashes, with dot:false and matchBase:true.
// Extended patterns such as +(a|b), and patterns turned round by a leading !,
// are refused rather than misread.
// Source: minimatch 3.0.5 (the version azure-pipelines-task-lib uses), README.
type matcher struct {
	alternatives []alternative
	root         []string // parts of the search folder, for rooted alternatives
}

type alternative struct {
	parts  []string
	rooted bool // compare with the whole path, not with the one below root
	base   bool // compare with the last part only
}

// maxAlternatives bounds what {a,b}{c,d}… may grow to.
const maxAlternatives = 1024

func newMatcher(root, pattern string) (*matcher, error) {
	if strings.HasPrefix(pattern, "!") || strings.HasPrefix(pattern, "#") {
		return nil, &BadPattern{Pattern: pattern, Reason: "it starts with " + pattern[:1]}
	}
	for _, sign := range []string{"?(", "*(", "+(", "@(", "!("} {
		if strings.Contains(pattern, sign) {
			return nil, &BadPattern{Pattern: pattern, Reason: "extended patterns like " + sign + "a|b) are not supported"}
		}
	}
	slashed := toSlash(pattern)
	expanded := expandBraces(slashed)
	if expanded == nil {
		return nil, &BadPattern{Pattern: pattern, Reason: "its braces make too many alternatives"}
	}
	m := &matcher{root: strings.Split(strings.Trim(toSlash(root), "/"), "/")}
	for _, text := range expanded {
		a := alternative{
			base:   !strings.Contains(slashed, "/"),
			rooted: strings.HasPrefix(text, "/") || filepath.IsAbs(text),
		}
		for part := range strings.SplitSeq(strings.Trim(text, "/"), "/") {
			if part != "" && part != "." {
				a.parts = append(a.parts, part)
			}
		}
		m.alternatives = append(m.alternatives, a)
	}
	return m, nil
}

// toSlash is filepath.ToSlash where a backslash separates; elsewhere it
// escapes, as in minimatch.
func toSlash(s string) string {
	if runtime.GOOS == "windows" {
		return strings.ReplaceAll(s, `\`, "/")
	}
	return s
}

// matches compares a path below root, with slashes.
func (m *matcher) matches(rel string) bool {
	parts := strings.Split(rel, "/")
	for _, a := range m.alternatives {
		switch {
		case a.base:
			if len(a.parts) == 1 && matchPart(a.parts[0], parts[len(parts)-1]) {
				return true
			}
		case a.rooted:
			if matchRooted(a.parts, m.root, parts) {
				return true
			}
		default:
			if matchParts(a.parts, parts) {
				return true
			}
		}
	}
	return false
}

// matchRooted takes the search folder literally when the pattern starts with
// it, as the agent writes it, even if a folder's name has wildcards in it.
func matchRooted(pattern, root, rel []string) bool {
	if len(pattern) >= len(root) && slices.Equal(pattern[:len(root)], root) {
		return matchParts(pattern[len(root):], rel)
	}
	return matchParts(pattern, slices.Concat(root, rel))
}

// matchParts compares part by part; ** stands for any number of parts that do
// not start with a dot.
func matchParts(pattern, name []string) bool {
	// Where the last ** stood, to come back to with one more part swallowed.
	p, n, star, mark := 0, 0, -1, 0
	for {
		switch {
		case p < len(pattern) && pattern[p] == "**":
			star, mark = p, n
			p++
			continue
		case p == len(pattern) && n == len(name):
			// A closing ** stands for something, not for nothing.
			return len(pattern) == 0 || pattern[len(pattern)-1] != "**" || mark < len(name)
		case p < len(pattern) && n < len(name) && matchPart(pattern[p], name[n]):
			p, n = p+1, n+1
			continue
		}
		if star < 0 || mark == len(name) || strings.HasPrefix(name[mark], ".") {
			return false
		}
		mark++
		p, n = star+1, mark
	}
}

func matchPart(pattern, name string) bool {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return pattern == name
	}
	if strings.HasPrefix(name, ".") && !strings.HasPrefix(pattern, ".") {
		return false
	}
	ok, err := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), name)
	if err != nil { // a class that does not close is text
		ok, err = path.Match(strings.ReplaceAll(pattern, "[", `\[`), name)
	}
	return err == nil && ok
}

// expandBraces gives the alternatives of {a,b}, nested ones too. Braces
// without a comma, or that do not close, are text. Nil means too many.
func expandBraces(s string) []string {
	open, depth, cuts := -1, 0, []int(nil)
	for i := range len(s) {
		switch s[i] {
		case '{':
			if depth == 0 {
				open, cuts = i, []int{i}
			}
			depth++
		case ',':
			if depth == 1 {
				cuts = append(cuts, i)
			}
		case '}':
			if depth == 0 {
				continue
			}
			if depth--; depth > 0 || len(cuts) < 2 {
				continue
			}
			return join(s[:open], s, append(cuts, i))
		}
	}
	return []string{s}
}

func join(head, s string, cuts []int) []string {
	var all []string
	for i := 0; i+1 < len(cuts); i++ {
		rest := expandBraces(head + s[cuts[i]+1:cuts[i+1]] + s[cuts[len(cuts)-1]+1:])
		if rest == nil || len(all)+len(rest) > maxAlternatives {
			return nil
		}
		all = append(all, rest...)
	}
	return all
}
