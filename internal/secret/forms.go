package secret

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	// minForm is the shortest text that is hidden, in bytes. Hiding shorter ones
	// would tear holes into ordinary text and so give them away.
	minForm = 4
	// minLine is the shortest line of a value of several lines that is hidden
	// alone, in bytes: the last line of a PEM block is often a few characters.
	minLine = 6
	// minCore is the shortest run of base64 characters, cut out of a longer
	// encoding, that is worth hiding.
	minCore = 8
)

// Forms gives the texts under which v may appear in a log: itself (and without
// surrounding white space), its lines, base64 (standard and URL alphabet, with
// and without padding), the part of a longer base64 text that v alone decides
// (as in the encoding of "user:password"), URL-escaped (query, path, user
// info), and escaped as in JSON and in a quoted Go string.
//
// Lines that begin or end a PEM block, and lines under 6 bytes, are left out,
// and so is every form under 4 bytes. The result has no duplicates and is
// ordered longest first, so that a replacer working in order hides most.
func Forms(v Value) []string {
	text := v.Reveal()
	seen := make(map[string]bool)
	add := func(s string) {
		if len(s) >= minForm {
			seen[s] = true
		}
	}
	add(text)
	if trimmed := strings.TrimSpace(text); trimmed != text {
		add(trimmed)
		addEncodings(add, trimmed)
	}
	addEncodings(add, text)
	addLines(add, text)

	forms := make([]string, 0, len(seen))
	for s := range seen {
		forms = append(forms, s)
	}
	slices.SortFunc(forms, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b))
	})
	return forms
}

// addLines adds each line of a text that has several. The agent masks line by
// line, so a key of many lines is only hidden if each of them is known.
func addLines(add func(string), text string) {
	if !strings.ContainsAny(text, "\r\n") {
		return
	}
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }) {
		line = strings.TrimSpace(line)
		if len(line) < minLine || strings.HasPrefix(line, "-----BEGIN ") || strings.HasPrefix(line, "-----END ") {
			continue
		}
		add(line)
	}
}

func addEncodings(add func(string), text string) {
	if len(text) < minForm {
		return
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		add(encoding.EncodeToString([]byte(text)))
		add(encoding.WithPadding(base64.NoPadding).EncodeToString([]byte(text)))
		for before := range 3 {
			if core := base64Core(encoding, text, before); len(core) >= minCore {
				add(core)
			}
		}
	}
	add(url.QueryEscape(text))
	add(url.PathEscape(text))
	add(strings.TrimPrefix(url.UserPassword("", text).String(), ":"))
	add(inner(strconv.Quote(text)))
	for _, html := range []bool{true, false} {
		add(jsonEscape(text, html))
	}
}

// base64Core gives the characters that text decides alone when it is encoded
// with some bytes before it (their number modulo 3 is what matters) and any
// after it. Six bits make a character: the first and last one or two are shared
// with the neighbours and left out.
func base64Core(encoding *base64.Encoding, text string, before int) string {
	encoded := encoding.WithPadding(base64.NoPadding).EncodeToString(append(make([]byte, before), text...))
	first := (8*before + 5) / 6
	last := 8 * (before + len(text)) / 6
	return encoded[first:last]
}

func jsonEscape(text string, html bool) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(html)
	if err := encoder.Encode(text); err != nil {
		return "" // a string always encodes
	}
	return inner(strings.TrimSuffix(b.String(), "\n"))
}

// inner takes the quotes off a quoted string.
func inner(quoted string) string { return quoted[1 : len(quoted)-1] }
