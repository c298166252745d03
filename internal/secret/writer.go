package secret

import (
	"io"
	"sync"
)

// pieceSize bounds how much of one Write is worked on at a time, in bytes, so
// that the memory of a Writer does not depend on what is written.
const pieceSize = 32 << 10

// Writer hides secrets in a stream, however its writes cut them. It holds back
// only bytes that may be the beginning of a secret, so its memory is bounded by
// the longest form of a secret plus a constant. It is safe for concurrent use,
// as far as interleaved writes make sense.
type Writer struct {
	mask *Mask
	to   io.Writer

	mu     sync.Mutex
	held   []byte // read but not decided yet
	out    []byte // scratch
	hidden int    // how many of the held bytes' front belong to a hidden secret
	err    error  // the first failure of to; sticky
}

// Writer gives a stream that hides this mask's secrets and writes the rest to w.
// Call Flush or Close at the end: until then the last bytes may be held back.
func (m *Mask) Writer(w io.Writer) *Writer { return &Writer{mask: m, to: w} }

// Write takes p. The only errors are those of the writer below; after the first
// one every Write gives it again.
func (w *Writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	written := 0
	for len(p) > written {
		if w.err != nil {
			return written, w.err
		}
		piece := p[written:min(len(p), written+pieceSize)]
		w.held = append(w.held, piece...)
		written += len(piece)
		w.pass(false)
	}
	return written, w.err
}

// Flush writes what is held back, as the end of a text: bytes that are only the
// beginning of a secret come out as they are. So do not flush in the middle of
// a stream whose next write may continue them.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil && len(w.held) > 0 {
		w.pass(true)
	}
	return w.err
}

// Close flushes. The writer below stays open; it is not ours.
func (w *Writer) Close() error { return w.Flush() }

// pass moves what can be decided from held to the writer below.
func (w *Writer) pass(final bool) {
	var used int
	w.out, used, w.hidden = w.mask.matcher.Load().scan(w.out[:0], w.held, w.hidden, final)
	w.held = w.held[:copy(w.held, w.held[used:])]
	if len(w.out) == 0 {
		return
	}
	_, w.err = w.to.Write(w.out)
}
