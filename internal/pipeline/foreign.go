package pipeline

import (
	"io"
	"sync"
	"unicode/utf8"

	"contenttrust/internal/secret"
)

// MaxForeignLine is the longest line [Log.Foreign] writes, in bytes. Longer ones
// are cut into several, so that a build that never ends a line costs no memory.
// Neutralising adds a byte for each token it breaks.
const MaxForeignLine = 64 << 10

// Foreign gives a writer for text that is not ours, such as the output of a
// build: it goes through what [Neutralise] and the mask do, however it is cut
// into writes, and is written line by line. A CR that no LF follows starts the
// line anew, as on a terminal, so a progress bar leaves its last state.
//
// Several may be in use at once, each for one stream. Close writes an unfinished
// last line; text after it is an error. Writes never fail for the sake of the
// log (see [Log.Err]).
func (l *Log) Foreign() io.WriteCloser {
	f := &foreign{lines: lineWriter{log: l}}
	f.inner = l.mask.Writer(&f.lines)
	// The mask is passed twice, for the reasons given at Log.safe.
	f.outer = l.mask.Writer(&f.strip)
	f.strip.to = f.inner
	return f
}

type foreign struct {
	mu           sync.Mutex
	closed       bool
	outer, inner *secret.Writer
	strip        stripWriter
	lines        lineWriter
}

// Write implements io.Writer.
func (f *foreign) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return 0, io.ErrClosedPipe
	}
	return f.outer.Write(p)
}

// Close implements io.Closer.
func (f *foreign) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.closed = true
	// From the outside in; none of these can fail, since lineWriter does not.
	_ = f.outer.Flush()
	f.strip.finish()
	_ = f.inner.Flush()
	f.lines.finish()
	return nil
}

// stripWriter is the stripper as a link in a chain of writers.
type stripWriter struct {
	stripper stripper
	out      []byte
	to       io.Writer
}

// Write implements io.Writer.
func (s *stripWriter) Write(p []byte) (int, error) {
	s.out = s.stripper.strip(s.out[:0], p, false)
	if _, err := s.to.Write(s.out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *stripWriter) finish() {
	s.out = s.stripper.strip(s.out[:0], nil, true)
	_, _ = s.to.Write(s.out)
}

// lineWriter collects lines and gives them to the log.
type lineWriter struct {
	log      *Log
	line     []byte
	returned bool // a CR was the last thing: LF ends the line, anything else starts it anew
}

// Write implements io.Writer. It never fails.
func (w *lineWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		switch {
		case c == '\n':
			w.emit(len(w.line))
			w.returned = false
			continue
		case c == '\r':
			w.returned = true
			continue
		case w.returned:
			w.line, w.returned = w.line[:0], false
		}
		if len(w.line) >= MaxForeignLine {
			w.emit(wholeRunes(w.line))
		}
		w.line = append(w.line, c)
	}
	return len(p), nil
}

// emit writes the first n bytes of the line and keeps the others.
func (w *lineWriter) emit(n int) {
	w.log.write(breakLine(string(w.line[:n])))
	w.line = w.line[:copy(w.line, w.line[n:])]
}

func (w *lineWriter) finish() {
	if len(w.line) > 0 {
		w.emit(len(w.line))
	}
}

// wholeRunes gives how much of b is complete characters.
func wholeRunes(b []byte) int {
	for back := 1; back < utf8.UTFMax && back <= len(b); back++ {
		if tail := b[len(b)-back:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return len(b)
			}
			return len(b) - back
		}
	}
	return len(b)
}
