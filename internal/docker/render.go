package docker

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/opencontainers/go-digest"
)

// renderer turns BuildKit's status messages into lines, as they come. Steps
// run side by side; one of them is live and written at once, the others hold
// their lines back, up to a bound, until they end, until the live one ends, or
// until it is silent. Every line carries its step's number, so no line is lost
// and none is mistaken for another step's.
type renderer struct {
	p        Progress
	now      func() time.Time
	steps    map[digest.Digest]*step
	count    int     // steps that have started
	running  []*step // in the order in which they started
	live     *step
	last     time.Time // of the last line written
	line     bytes.Buffer
	failures []*step
	warned   map[string]bool
}

type step struct {
	Step
	digest  digest.Digest
	started time.Time
	ended   bool
	titled  bool // its title line is written
	spoke   bool // it has had output
	out     [3]assembler
	stamp   time.Time // of the newest output
	held    bytes.Buffer
	tail    tail
	bytes   map[string]int64
}

// maxFailures bounds the failed steps whose tail is kept: one fails, those
// beside it are stopped by that.
const maxFailures = 16

func newRenderer(p Progress, now func() time.Time) *renderer {
	if p.Heartbeat == 0 {
		p.Heartbeat = heartbeat
	}
	return &renderer{
		p: p, now: now, last: now(),
		steps:  map[digest.Digest]*step{},
		warned: map[string]bool{},
	}
}

// run reads until the channel closes, whatever happens, since the solve blocks
// on it.
func (r *renderer) run(status <-chan *client.SolveStatus) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case s, ok := <-status:
			if !ok {
				r.close()
				return
			}
			r.take(s)
		case <-tick.C:
			r.tick()
		}
	}
}

func (r *renderer) take(s *client.SolveStatus) {
	for _, v := range s.Vertexes {
		r.announce(v)
	}
	for _, v := range s.Statuses {
		r.transfer(v)
	}
	for _, l := range s.Logs {
		r.log(l)
	}
	for _, v := range s.Vertexes {
		if v.Completed != nil {
			r.finish(v)
		}
	}
	for _, w := range s.Warnings {
		r.warn(w)
	}
}

// announce knows a vertex by name and starts it when it has started.
func (r *renderer) announce(v *client.Vertex) {
	s := r.step(v.Digest, v.Name)
	started := v.Started
	if started == nil {
		started = v.Completed
	}
	// BuildKit may end a step and start it again; it keeps its number then.
	if started != nil && (s.Number == 0 || s.ended && !started.Equal(s.started)) {
		r.start(s, *started)
	}
}

func (r *renderer) step(d digest.Digest, name string) *step {
	s := r.steps[d]
	if s == nil {
		s = &step{digest: d, bytes: map[string]int64{}}
		s.Position, s.Name = splitName(name)
		r.steps[d] = s
	}
	return s
}

func (r *renderer) start(s *step, at time.Time) {
	if s.Number == 0 {
		r.count++
		s.Number = r.count
	}
	s.started, s.stamp, s.ended, s.titled, s.Bytes = at, at, false, false, 0
	r.running = append(r.running, s)
	if r.p.StepStarted != nil {
		r.p.StepStarted(s.Step)
	}
	if r.live == nil {
		r.live = s
	}
}

// transfer adds up what a step has moved, part by part.
func (r *renderer) transfer(v *client.VertexStatus) {
	s := r.steps[v.Vertex]
	if s == nil || s.ended || strings.HasPrefix(v.Name, "extracting") || strings.HasPrefix(v.ID, "extracting") {
		return
	}
	if _, known := s.bytes[v.ID]; !known && len(s.bytes) >= maxTransfers {
		return
	}
	s.Bytes += v.Current - s.bytes[v.ID]
	s.bytes[v.ID] = v.Current
}

func (r *renderer) log(l *client.VertexLog) {
	s := r.step(l.Vertex, "")
	if s.Number == 0 {
		r.start(s, l.Timestamp)
	}
	if !s.ended && r.live != s && (r.live == nil || !r.live.spoke) {
		r.live = s
		r.release(s)
	}
	s.spoke, s.stamp = true, l.Timestamp
	s.out[min(max(l.Stream, 0), 2)].feed(l.Data, func(line []byte) { r.logLine(s, line) })
}

func (r *renderer) logLine(s *step, line []byte) {
	s.tail.add(line)
	r.line.Reset()
	fmt.Fprintf(&r.line, "#%d %.3f ", s.Number, max(s.stamp.Sub(s.started), 0).Seconds())
	r.line.Write(line)
	r.line.WriteByte('\n')
	if r.live == s || s.ended {
		r.title(s)
		r.write(r.line.Bytes())
		return
	}
	s.held.Write(r.line.Bytes())
	if s.held.Len() > maxHeld {
		r.release(s)
	}
}

// release writes what a step has held back, line by line.
func (r *renderer) release(s *step) {
	if s.held.Len() == 0 {
		return
	}
	r.title(s)
	for s.held.Len() > 0 {
		line, _ := s.held.ReadBytes('\n')
		r.write(line)
	}
	s.held.Reset()
}

// title writes the line that says what a number stands for, once.
func (r *renderer) title(s *step) {
	if !s.titled {
		s.titled = true
		r.write(fmt.Appendf(nil, "%s\n", s.label()))
	}
}

func (s *step) label() string {
	if s.Position == "" {
		return fmt.Sprintf("#%d %s", s.Number, s.Name)
	}
	return fmt.Sprintf("#%d [%s] %s", s.Number, s.Position, s.Name)
}

func (r *renderer) finish(v *client.Vertex) {
	s := r.steps[v.Digest]
	if s == nil || s.ended {
		return
	}
	r.drain(s)
	s.ended, s.Cached, s.Err = true, v.Cached, clip(v.Error, maxErrorText)
	s.Duration = v.Completed.Sub(s.started)
	r.end(s)
	s.bytes, s.out = map[string]int64{}, [3]assembler{}
	if s.Err != "" && len(r.failures) < maxFailures {
		r.failures = append(r.failures, s)
	} else {
		s.tail = tail{}
	}
	if r.p.StepDone != nil {
		r.p.StepDone(s.Step)
	}
	r.running = slices.DeleteFunc(r.running, func(o *step) bool { return o == s })
	if r.live == s {
		r.live = nil
		if len(r.running) > 0 {
			r.live = r.running[0]
			r.release(r.live)
		}
	}
}

// end writes a step's last line. What BuildKit does for itself is told only
// when it took a while, moved something or failed.
func (r *renderer) end(s *step) {
	if s.Position == "internal" && !s.titled && s.Err == "" && s.Duration < showAfter && s.Bytes < 1000 {
		return
	}
	text := fmt.Sprintf("done in %.1fs", s.Duration.Seconds())
	switch {
	case s.Err != "":
		text = fmt.Sprintf("failed after %.1fs: %s", s.Duration.Seconds(), oneLine(s.Err, 500))
	case s.Cached:
		text = "cached"
	case s.Bytes > 0:
		text = fmt.Sprintf("done in %.1fs, %s", s.Duration.Seconds(), megabytes(s.Bytes))
	}
	if s.titled {
		r.write(fmt.Appendf(nil, "#%d %s\n", s.Number, text))
		return
	}
	r.write(fmt.Appendf(nil, "%s: %s\n", s.label(), text))
}

// tick runs once a second.
func (r *renderer) tick() {
	now := r.now()
	if r.live == nil {
		return
	}
	if !r.live.titled && now.Sub(r.live.started) >= showAfter {
		r.title(r.live)
	}
	silent := now.Sub(r.last)
	if silent >= silentAfter {
		for _, s := range r.running {
			r.release(s)
		}
	}
	if r.p.Heartbeat > 0 && silent >= r.p.Heartbeat {
		r.beat(now)
	}
}

func (r *renderer) beat(now time.Time) {
	s := r.live
	text := fmt.Sprintf("%s: running for %s", s.label(), max(now.Sub(s.started), 0).Round(time.Second))
	if s.Bytes > 0 {
		text += ", " + megabytes(s.Bytes)
	}
	if others := len(r.running) - 1; others > 0 {
		text += fmt.Sprintf(" (and %d more)", others)
	}
	r.write(append([]byte(text), '\n'))
}

// drain writes everything a step still holds, the unfinished line too.
func (r *renderer) drain(s *step) {
	for i := range s.out {
		if len(s.out[i].part) > 0 {
			s.out[i].flush(func(line []byte) { r.logLine(s, line) })
		}
	}
	r.release(s)
}

// close drains the steps that never ended and those that spoke after their end.
func (r *renderer) close() {
	for _, s := range r.steps {
		r.drain(s)
	}
}

// unfinished names the steps whose output the Engine stopped telling although
// the build went well, so that a log that ends early is not taken for whole.
func (r *renderer) unfinished() {
	for _, s := range r.running {
		if s.spoke {
			r.write(fmt.Appendf(nil, "#%d the engine stopped reporting on this step; the end of its output is missing\n", s.Number))
		}
	}
}

func (r *renderer) write(line []byte) {
	r.last = r.now()
	if r.p.Out != nil {
		_, _ = r.p.Out.Write(line) // a log that cannot be written does not fail a build
	}
}

func (r *renderer) warn(v *client.VertexWarning) {
	w := Warning{Text: oneLine(string(v.Short), 1000), URL: oneLine(v.URL, 500)}
	for _, d := range v.Detail[:min(len(v.Detail), 20)] {
		w.Detail = append(w.Detail, oneLine(string(d), 1000))
	}
	if v.SourceInfo != nil {
		w.File = oneLine(v.SourceInfo.Filename, 500)
	}
	if len(v.Range) > 0 && v.Range[0].GetStart() != nil {
		w.Line = int(v.Range[0].Start.Line)
	}
	key := fmt.Sprintf("%s\n%s\n%d", w.Text, w.File, w.Line)
	if r.warned[key] || len(r.warned) >= maxWarnings {
		return
	}
	r.warned[key] = true
	if r.p.Warning != nil {
		r.p.Warning(w)
		return
	}
	place := ""
	if w.Line > 0 {
		place = fmt.Sprintf(" (%s line %d)", w.File, w.Line)
	}
	r.write(fmt.Appendf(nil, "warning: %s%s\n", w.Text, place))
}

// position is how BuildKit's dockerfile frontend marks an instruction's place.
var position = regexp.MustCompile(`^\[([^\]]{1,100})\] +(.*)$`)

// splitName parts "[build 2/5] RUN make" into place and instruction.
func splitName(name string) (place, instruction string) {
	name = oneLine(name, maxName)
	if found := position.FindStringSubmatch(name); found != nil {
		return found[1], found[2]
	}
	return "", name
}

func megabytes(n int64) string {
	if n < 1_000_000 {
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
