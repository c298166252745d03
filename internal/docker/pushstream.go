package docker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// message is what Engines send line by line while they push or build. Its aux
// part is left unread on purpose for a push: an Engine with the containerd
// store sends none, and content trust once signed nothing because of it.
// Source: moby pkg/jsonmessage, api/types.
type message struct {
	Stream   string `json:"stream"`
	Status   string `json:"status"`
	ID       string `json:"id"`
	Progress *struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	Error  string `json:"error"`
	Detail *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"errorDetail"`
	Aux json.RawMessage `json:"aux"`
}

func (m message) fault() string {
	if m.Detail != nil && m.Detail.Message != "" {
		return m.Detail.Message
	}
	return m.Error
}

// maxMessage bounds one message, in bytes.
const maxMessage = 1 << 20

// messages reads an Engine's stream to its end. An end in the middle of a
// message is io.ErrUnexpectedEOF.
func messages(body io.Reader, each func(message)) error {
	limit := &budget{r: body}
	decoder := json.NewDecoder(limit)
	for {
		limit.left = maxMessage
		var m message
		switch err := decoder.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		each(m)
	}
}

// budget fails a reader that gives more than left bytes.
type budget struct {
	r    io.Reader
	left int
}

var errTooLong = fmt.Errorf("a message of the engine is longer than %d bytes", maxMessage)

func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

const (
	summaryEvery = 5 * time.Second
	maxLayers    = 4096
)

// pushStream makes few lines of many messages: one for every layer that was
// sent or mounted, one for all that were there already, and a sum every few
// seconds in between.
type pushStream struct {
	tag    string
	out    io.Writer
	now    func() time.Time
	layers map[string]*layer
	last   time.Time
	there  int
	fault  string
	claim  Pushed
}

type layer struct {
	current, total int64
	done           bool
}

func newPushStream(tag string, out io.Writer, now func() time.Time) *pushStream {
	return &pushStream{tag: tag, out: out, now: now, layers: map[string]*layer{}, last: now()}
}

func (s *pushStream) read(body io.Reader) error {
	err := messages(body, s.take)
	if err == nil && s.fault == "" && s.there > 0 {
		s.line("%d of %d layers were already in the registry", s.there, len(s.layers))
	}
	return err
}

func (s *pushStream) take(m message) {
	switch {
	case m.fault() != "":
		if s.fault == "" {
			s.fault = m.fault()
		}
	case m.ID != "":
		s.layer(m)
	case m.Status != "":
		s.claimed(m.Status)
		s.line("%s", oneLine(m.Status, 1000))
	}
}

func (s *pushStream) layer(m message) {
	l := s.layers[m.ID]
	if l == nil {
		if len(s.layers) >= maxLayers {
			return
		}
		l = &layer{}
		s.layers[m.ID] = l
	}
	if m.Progress != nil && m.Progress.Current > 0 {
		l.current, l.total = m.Progress.Current, max(m.Progress.Total, m.Progress.Current)
	}
	id := oneLine(m.ID, 80)
	switch {
	case l.done:
	case m.Status == "Layer already exists":
		l.done = true
		s.there++
	case m.Status == "Pushed":
		l.done = true
		l.current = l.total
		if l.total == 0 { // too small for the Engine to report on
			s.line("layer %s: pushed", id)
			break
		}
		s.line("layer %s: pushed, %s", id, megabytes(l.total))
	case strings.HasPrefix(m.Status, "Mounted from"), strings.HasPrefix(m.Status, "Retrying in"):
		l.done = strings.HasPrefix(m.Status, "Mounted")
		if l.done || strings.HasSuffix(m.Status, "5 seconds") || strings.HasSuffix(m.Status, "0 seconds") {
			s.line("layer %s: %s", id, oneLine(m.Status, 300))
		}
	default:
		s.sum()
	}
}

// sum says how far the push is, every few seconds.
func (s *pushStream) sum() {
	if s.now().Sub(s.last) < summaryEvery {
		return
	}
	var done int
	var current, total int64
	for _, l := range s.layers {
		current, total = current+l.current, total+l.total
		if l.done {
			done++
		}
	}
	s.line("pushing: %d of %d layers, %s of %s", done, len(s.layers), megabytes(current), megabytes(total))
}

// digestLine is the last status of a push that went well, the same in both stores.
var digestLine = regexp.MustCompile(`^(\S{1,128}): digest: (sha256:[0-9a-f]{64}) size: (\d{1,18})$`)

func (s *pushStream) claimed(status string) {
	found := digestLine.FindStringSubmatch(strings.TrimSpace(status))
	if found == nil || found[1] != s.tag {
		return
	}
	size, err := strconv.ParseInt(found[3], 10, 64)
	if err == nil && size > 0 {
		s.claim = Pushed{Digest: found[2], Size: size}
	}
}

func (s *pushStream) line(format string, args ...any) {
	s.last = s.now()
	if s.out != nil {
		fmt.Fprintf(s.out, format+"\n", args...)
	}
}

// isMissing knows the words for an image the Engine does not have.
// Source: moby distribution/push.go, daemon/containerd/image_push.go.
func isMissing(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "does not exist locally") || strings.Contains(text, "tag does not exist") ||
		strings.Contains(text, "no such image")
}
