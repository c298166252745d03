package task

import (
	"strings"
	"sync"
	"unicode"

	"contenttrust/internal/secret"
)

// tokens takes out of a text what is left of a token when the text was cut: the log's mask knows whole secrets alone, and a
// server that repeats a token in its refusal has its text cut to a length that fits. Safe for concurrent use.
type tokens struct {
	mu     sync.Mutex
	starts []string
}

// tokenStart is how many characters of a token are enough to know it by, and are no secret: less than a JWT's header.
const tokenStart = 10

func (k *tokens) add(token secret.Value) {
	text := token.Reveal()
	if len(text) <= tokenStart {
		return // the mask hides it, or the text shows less of it than a start
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.starts = append(k.starts, text[:tokenStart])
}

// hide puts *** in the place of each word, or rest of a word, that begins as a token does.
func (k *tokens) hide(text string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, start := range k.starts {
		var out strings.Builder
		for {
			before, after, found := strings.Cut(text, start)
			out.WriteString(before)
			if !found {
				break
			}
			out.WriteString("***")
			text = after[tokenEnd(after):]
		}
		text = out.String()
	}
	return text
}

// tokenEnd is where a token ends in a text: at the first character that RFC 6750 does not let stand in one.
func tokenEnd(text string) int {
	end := strings.IndexFunc(text, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-._~+/=", r)
	})
	if end < 0 {
		return len(text)
	}
	return end
}
