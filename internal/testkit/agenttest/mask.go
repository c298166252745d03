package agenttest

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// mask hides secrets in one line of the log, as the agent does: what has several lines is never found in one.
type mask struct {
	values []string // longest first
}

// add takes what task.setsecret and secret variables bring, with the forms of the agent's encoders: JSON, URI, backslash.
func (m *mask) add(value string) {
	if value == "" {
		return
	}
	quoted := jsonText(value)
	for _, form := range []string{
		value, quoted[1 : len(quoted)-1], strings.ReplaceAll(url.QueryEscape(value), "+", "%20"),
		strings.ReplaceAll(value, `\`, `\\`),
	} {
		if !slices.Contains(m.values, form) {
			m.values = append(m.values, form)
		}
	}
	slices.SortStableFunc(m.values, func(a, b string) int { return len(b) - len(a) })
}

// addJobSecret takes a secret that the server sent with the job; of these the agent knows more forms.
func (m *mask) addJobSecret(value string) {
	if value == "" {
		return
	}
	for _, form := range []string{
		value, strings.TrimSpace(value), strings.Trim(strings.TrimSpace(value), `"'`),
		strings.ReplaceAll(value, "%", "%AZP25"), base64.StdEncoding.EncodeToString([]byte(value)),
	} {
		m.add(form)
	}
}

var urlPassword = regexp.MustCompile(`(://[^:/?#@\s]*:)[^/?#@\s]+@`)

func (m *mask) hide(line string) string {
	for _, value := range m.values {
		line = strings.ReplaceAll(line, value, "***")
	}
	return urlPassword.ReplaceAllString(line, "${1}***@")
}
