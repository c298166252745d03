package pipeline

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Neutralise gives s as text that is safe to print: no line of it is a command
// to the agent or looks like one of its formatted lines.
//
//   - Escape sequences of terminals are removed, and so are control characters
//     other than tab and line feed, and every character that is not seen or that
//     reorders others (bidirectional controls, zero-width ones, variation
//     selectors): the agent looks for its prefix by a comparison that may skip
//     them, and people read the log.
//   - CR and CRLF become LF; what is no UTF-8 becomes U+FFFD.
//   - "##vso", in any case and anywhere, becomes "##_vso", and "##[" at the
//     beginning of a line "##_[".
func Neutralise(s string) string {
	var st stripper
	text := string(st.strip(nil, []byte(s), true))
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	return breakTokens(text)
}

// breakTokens takes the meaning out of what the agent would act on, in text that
// the stripper has been through.
func breakTokens(text string) string {
	if !strings.Contains(text, "##") {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = breakLine(line)
	}
	return strings.Join(lines, "\n")
}

func breakLine(line string) string {
	if rest := strings.TrimLeftFunc(line, unicode.IsSpace); strings.HasPrefix(rest, "##[") {
		line = line[:len(line)-len(rest)] + "##_" + rest[len("##"):]
	}
	var b strings.Builder
	for {
		at := strings.Index(line, "##")
		if at < 0 {
			b.WriteString(line)
			return b.String()
		}
		// One '#' at a time: in ###vso the second one begins the token.
		b.WriteString(line[:at+1])
		line = line[at+1:]
		if hasVSO(line[1:]) {
			b.WriteString("#_")
			line = line[1:]
		}
	}
}

// hasVSO says whether s begins with vso in any case. Unicode has one more letter
// that is an s when case is ignored, U+017F.
func hasVSO(s string) bool {
	for _, want := range "vso" {
		r, size := utf8.DecodeRuneInString(s)
		if unicode.ToLower(r) != want && (want != 's' || r != '\u017f') {
			return false
		}
		s = s[size:]
	}
	return true
}

// maxSequence bounds a terminal's escape sequence, in runes. A longer one is
// taken for text that only begins like one, so that a stray ESC cannot swallow
// the rest of a log.
const maxSequence = 4096

// state is where in an escape sequence of ECMA-48 the stripper is.
type state uint8

const (
	ground       state = iota
	escape             // after ESC
	intermediate       // after ESC and a byte of 0x20-0x2F, as in ESC ( B
	control            // in CSI … final byte: colours, cursor
	text               // in OSC, DCS, SOS, PM, APC: until BEL, ST, or the end of the line
	textEscape         // in such a text after ESC, which begins ST
)

// stripper removes from a stream what [Neutralise] removes. It keeps CR and LF,
// which its user handles. The zero value is ready.
type stripper struct {
	state state
	runes int     // length of the sequence so far
	part  [4]byte // an unfinished UTF-8 sequence at the end of the last chunk
	parts int
}

// strip appends what remains of src to dst. final says that nothing follows.
func (s *stripper) strip(dst, src []byte, final bool) []byte {
	for s.parts > 0 && len(src) > 0 {
		s.part[s.parts] = src[0]
		s.parts++
		src = src[1:]
		if head := s.part[:s.parts]; utf8.FullRune(head) {
			// An invalid sequence is one byte long; the bytes after it are read anew.
			r, size := utf8.DecodeRune(head)
			again := append([]byte(nil), head[size:]...)
			s.parts = 0
			dst = s.rune(dst, r)
			dst = s.strip(dst, again, false)
		}
	}
	for len(src) > 0 {
		if !utf8.FullRune(src) && !final {
			s.parts = copy(s.part[:], src)
			return dst
		}
		r, size := utf8.DecodeRune(src)
		src = src[size:]
		dst = s.rune(dst, r)
	}
	if final && s.parts > 0 {
		s.parts = 0
		dst = s.rune(dst, utf8.RuneError)
	}
	return dst
}

// rune takes one character.
func (s *stripper) rune(dst []byte, r rune) []byte {
	if s.state == ground {
		if next := begins(r); next != ground {
			s.state, s.runes = next, 0
			return dst
		}
		return appendVisible(dst, r)
	}
	s.runes++
	if r == '\n' || r == '\r' || s.runes > maxSequence {
		s.state = ground
		return appendVisible(dst, r)
	}
	s.state = s.within(r)
	return dst
}

// begins gives the state a character leads to from plain text. The C1 controls
// are the one-character spellings of ESC and a letter.
func begins(r rune) state {
	switch r {
	case 0x1b:
		return escape
	case 0x9b:
		return control
	case 0x90, 0x98, 0x9d, 0x9e, 0x9f:
		return text
	}
	return ground
}

// within gives the state after r inside a sequence.
func (s *stripper) within(r rune) state {
	switch {
	case r == 0x18 || r == 0x1a: // CAN, SUB
		return ground
	case s.state == text || s.state == textEscape:
		return withinText(s.state, r)
	case r == 0x1b:
		return escape
	case s.state == escape && r == '[':
		return control
	case s.state == escape && strings.ContainsRune("]PX^_", r):
		return text
	case s.state == control && r >= 0x20 && r <= 0x3f:
		return control
	case s.state != control && r >= 0x20 && r <= 0x2f:
		return intermediate
	}
	return ground // the final byte, or something that does not belong here
}

func withinText(from state, r rune) state {
	switch {
	case r == 0x07 || r == 0x9c || from == textEscape && r == '\\':
		return ground
	case r == 0x1b:
		return textEscape
	}
	return text
}

// appendVisible appends r if it is something to be seen.
func appendVisible(dst []byte, r rune) []byte {
	switch {
	case r >= ' ' && r < 0x7f || r == '\t' || r == '\n' || r == '\r':
		return append(dst, byte(r))
	case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
		return dst
	case unicode.In(r, unicode.Zl, unicode.Zp):
		return append(dst, ' ')
	case unicode.IsGraphic(r) || unicode.Is(unicode.Co, r):
		return utf8.AppendRune(dst, r)
	}
	// Not assigned, as far as this program knows: some comparisons skip it.
	return utf8.AppendRune(dst, utf8.RuneError)
}
