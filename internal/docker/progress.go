package docker

import (
	"io"
	"time"
)

// Progress is where a build and a push tell what they do. The zero value says
// nothing. Everything is called from one goroutine at a time.
type Progress struct {
	// Out takes finished lines, one Write a line of at most 16 KiB with its
	// line end. They hold foreign text: Out is expected to neutralise it.
	// Errors of Out are not looked at. Nil discards.
	Out io.Writer
	// Warning takes BuildKit's warnings (its Dockerfile checks), at most 100 a
	// build, each once. Nil writes them to Out as lines.
	Warning func(Warning)
	// StepStarted and StepDone, if set, see every step of a build. A step that
	// came from the cache, or took less than a moment, is started and done in
	// one breath. BuildKit may take a step up again after it was done; it keeps
	// its Number, and the last StepDone counts.
	StepStarted func(Step)
	StepDone    func(Step)
	// Heartbeat is how long Out may stay silent while something runs. Zero is
	// 30 seconds, below zero never says a word.
	Heartbeat time.Duration
}

// Warning is one of BuildKit's findings in the Dockerfile. Its texts are foreign.
type Warning struct {
	Text   string   // "MaintainerDeprecated: Maintainer instruction is deprecated in favor of using label"
	Detail []string // further lines, may be empty
	URL    string   // the rule's page, may be empty
	File   string   // as BuildKit names it, relative to the Dockerfile's folder; may be empty
	Line   int      // from 1; 0 when not said
}

// Step is one vertex of a build: an instruction or a step of BuildKit's own.
type Step struct {
	Number   int    // from 1 in the order in which steps start; the N of the "#N" in Out
	Position string // "2/5", "build 2/5", "internal", or ""
	Name     string // the instruction as the Dockerfile shows it, on one line
	Cached   bool
	Err      string // foreign; empty when it went well
	Bytes    int64  // transferred, where the step transfers
	Duration time.Duration
}

const (
	heartbeat    = 30 * time.Second
	showAfter    = time.Second     // a step that runs longer gets a line of its own before it ends
	silentAfter  = 3 * time.Second // the live step may be silent so long before others get the floor
	maxLine      = 16 << 10        // bytes of one line of output
	maxHeld      = 32 << 10        // bytes a step that is not live may hold back
	tailLines    = 40              // lines of a step's end kept for its error
	tailWidth    = 1000            // bytes of each
	maxName      = 300             // bytes of a step's name
	maxWarnings  = 100
	maxTransfers = 256 // parts of one transfer that are counted
)

// assembler makes lines of chunks. It keeps at most maxLine bytes.
type assembler struct{ part []byte }

// feed calls emit for every line that ends in data, without its end. A
// carriage return takes back what stands before it on the line, as on a
// terminal, so that a progress bar becomes its last state.
func (a *assembler) feed(data []byte, emit func(line []byte)) {
	for len(data) > 0 {
		end, size := len(data), 0
		for i, c := range data {
			if c == '\n' {
				end, size = i, 1
				break
			}
		}
		a.add(data[:end], emit)
		if size == 1 {
			a.flush(emit)
		}
		data = data[end+size:]
	}
}

func (a *assembler) add(text []byte, emit func(line []byte)) {
	for len(text) > 0 {
		n := min(len(text), maxLine-len(a.part))
		a.part = append(a.part, text[:n]...)
		text = text[n:]
		if len(a.part) == maxLine {
			a.takeBack()
			if len(a.part) > maxLine/2 {
				emit(a.part)
				a.part = a.part[:0]
			}
		}
	}
}

// flush emits what is there as a line, an empty one too.
func (a *assembler) flush(emit func(line []byte)) {
	a.takeBack()
	line := a.part
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	emit(line)
	a.part = a.part[:0]
}

// takeBack drops everything before the last carriage return that is followed by text.
func (a *assembler) takeBack() {
	for i := len(a.part) - 2; i >= 0; i-- {
		if a.part[i] == '\r' {
			if a.part[i+1] == '\r' {
				continue
			}
			a.part = append(a.part[:0], a.part[i+1:]...)
			return
		}
	}
}

// tail keeps the last lines of a step.
type tail struct {
	lines [][]byte
	next  int
}

func (t *tail) add(line []byte) {
	line = line[:min(len(line), tailWidth)]
	if len(t.lines) < tailLines {
		t.lines = append(t.lines, append([]byte(nil), line...))
		return
	}
	t.lines[t.next] = append(t.lines[t.next][:0], line...)
	t.next = (t.next + 1) % tailLines
}

// text gives them in order.
func (t *tail) text() []string {
	all := make([]string, 0, len(t.lines))
	for i := range t.lines {
		all = append(all, string(t.lines[(t.next+i)%len(t.lines)]))
	}
	return all
}
