package secret

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// Mask hides secrets in text. It is safe for concurrent use; a secret that is
// added is hidden in everything that passes from then on, in writers too that
// were made before.
type Mask struct {
	mu      sync.Mutex // serialises Add
	forms   map[string]bool
	matcher atomic.Pointer[matcher]
}

// NewMask gives a mask that hides nothing yet.
func NewMask() *Mask {
	m := &Mask{forms: make(map[string]bool)}
	m.matcher.Store(&matcher{})
	return m
}

// Add makes the mask hide every form of v (see [Forms]). A value under 4 bytes
// is not hidden, since that would make ordinary text unreadable and point at
// the secret: then tooShort is true and the caller should warn. The empty value
// is nothing to hide and not too short.
func (m *Mask) Add(v Value) (tooShort bool) {
	if v.Empty() {
		return false
	}
	if len(v.Reveal()) < minForm {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, form := range Forms(v) {
		m.forms[form] = true
	}
	m.matcher.Store(newMatcher(m.forms))
	return false
}

// Hide gives s with every secret replaced by "***". Secrets that overlap are
// replaced together, so that no rest of the second one remains.
func (m *Mask) Hide(s string) string {
	matcher := m.matcher.Load()
	if matcher.longest == 0 || s == "" {
		return s
	}
	out, _, _ := matcher.scan(make([]byte, 0, len(s)), []byte(s), 0, true)
	return string(out)
}

// matcher finds any of a set of texts at a position. It is never changed once
// made, so readers need no lock.
type matcher struct {
	byFirst [256][]string // by first byte, longest first
	longest int           // length of the longest text, in bytes; 0 = no texts
}

func newMatcher(forms map[string]bool) *matcher {
	m := &matcher{}
	for form := range forms {
		m.byFirst[form[0]] = append(m.byFirst[form[0]], form)
		m.longest = max(m.longest, len(form))
	}
	for _, list := range m.byFirst {
		slices.SortFunc(list, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	}
	return m
}

// match gives the length of the longest text that src begins with, 0 for none.
// If a longer one could still be made out of src and what follows it, undecided
// is true.
func (m *matcher) match(src []byte) (length int, undecided bool) {
	for _, form := range m.byFirst[src[0]] {
		if len(form) > len(src) {
			if form[:len(src)] == string(src) {
				return 0, true
			}
			continue
		}
		if string(src[:len(form)]) == form {
			return len(form), false
		}
	}
	return 0, false
}

// scan appends src to dst with every text replaced. hidden is the number of
// bytes at the front of src that belong to a text replaced before. It stops at
// the first byte that cannot be decided without knowing what follows, unless
// final says that nothing does. It gives dst, the number of bytes of src it has
// dealt with, and hidden for the next call.
func (m *matcher) scan(dst, src []byte, hidden int, final bool) ([]byte, int, int) {
	for i, c := range src {
		if len(m.byFirst[c]) > 0 {
			length, undecided := m.match(src[i:])
			if undecided {
				if !final {
					return dst, i, hidden
				}
				length = m.longestWithin(src[i:])
			}
			if length > hidden {
				if hidden == 0 {
					dst = append(dst, Redacted...)
				}
				hidden = length
			}
		}
		if hidden > 0 {
			hidden--
			continue
		}
		dst = append(dst, c)
	}
	return dst, len(src), hidden
}

// longestWithin is match for the end of the text, where a longer form can no
// longer come.
func (m *matcher) longestWithin(src []byte) int {
	for _, form := range m.byFirst[src[0]] {
		if len(form) <= len(src) && string(src[:len(form)]) == form {
			return len(form)
		}
	}
	return 0
}
