package adotest

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
)

// FaultKind is a way a request for a secure file goes wrong.
type FaultKind string

// The kinds of Fault.
const (
	FaultStatus     FaultKind = "status"       // an error of Status with RetryAfter
	FaultReset      FaultKind = "reset"        // the connection is reset before an answer
	FaultResetMid   FaultKind = "reset inside" // … in the middle of the file
	FaultTruncated  FaultKind = "truncated"    // the connection is closed in the middle of the file
	FaultHTML       FaultKind = "html"         // 200 with a sign-in page
	FaultHiddenHTML FaultKind = "hidden html"  // … declared as a file
	FaultEmpty      FaultKind = "empty"        // 200 with nothing
	FaultHuge       FaultKind = "huge"         // 1 GiB, with its Content-Length
	FaultEndless    FaultKind = "endless"      // chunked, as long as anyone reads
	FaultLongError  FaultKind = "long error"   // Status with an endless body
	FaultHang       FaultKind = "hang"         // no answer at all
	FaultHangMid    FaultKind = "hang inside"  // none after half of the file
	FaultRedirect   FaultKind = "redirect"     // 302 to Location
)

// Fault is how requests are answered instead of properly.
type Fault struct {
	Kind       FaultKind
	Times      int    // how many requests; 0 is one
	Status     int    // of FaultStatus and FaultLongError
	RetryAfter string // header of FaultStatus, "" for none
	Location   string // of FaultRedirect
}

// nextFault takes the fault that is next, if any.
func (s *Server) nextFault() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.faults) == 0 {
		return Fault{}
	}
	fault := s.faults[0]
	s.faults = s.faults[1:]
	return fault
}

// answer does what the fault says. content is the file, for those that break
// inside it.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, fault Fault, content []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	switch fault.Kind {
	case FaultStatus:
		if fault.RetryAfter != "" {
			w.Header().Set("Retry-After", fault.RetryAfter)
		}
		problem(w, fault.Status, "TeamFoundationServiceException", "The service is not available: "+r.URL.String())
	case FaultReset, FaultResetMid, FaultTruncated, FaultHang, FaultHangMid:
		s.breakOff(w, r, fault.Kind, content)
	case FaultHTML, FaultHiddenHTML:
		if fault.Kind == FaultHTML {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
		}
		_, _ = io.WriteString(w, signInPage)
	case FaultEmpty:
		w.WriteHeader(http.StatusOK)
	case FaultHuge:
		w.Header().Set("Content-Length", strconv.Itoa(1<<30))
		pour(w, 1<<30)
	case FaultEndless:
		pour(w, -1)
	case FaultLongError:
		w.WriteHeader(fault.Status)
		pour(w, -1)
	case FaultRedirect:
		w.Header().Set("Location", fault.Location)
		w.WriteHeader(http.StatusFound)
	default:
		s.fail("unknown fault %q", fault.Kind)
	}
}

// pour writes n bytes, or without an end for -1, until nobody reads them.
func pour(w io.Writer, n int64) {
	chunk := make([]byte, 32<<10)
	for i := range chunk {
		chunk[i] = 'A'
	}
	for n != 0 {
		size := int64(len(chunk))
		if n > 0 {
			size = min(size, n)
			n -= size
		}
		if _, err := w.Write(chunk[:size]); err != nil {
			return
		}
	}
}

// breakOff answers with half of the file, or nothing, and what the kind says.
func (s *Server) breakOff(w http.ResponseWriter, r *http.Request, kind FaultKind, content []byte) {
	controller := http.NewResponseController(w)
	if kind == FaultResetMid || kind == FaultTruncated || kind == FaultHangMid {
		w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		_, _ = w.Write(content[:len(content)/2])
		_ = controller.Flush()
	}
	if kind == FaultHang || kind == FaultHangMid {
		<-r.Context().Done() // the client goes, or Close
		return
	}
	conn, _, err := controller.Hijack()
	if err != nil {
		s.fail("fault %q: %v", kind, err)
		return
	}
	if kind != FaultTruncated {
		linger(conn)
	}
	_ = conn.Close()
}

// linger makes closing the connection reset it.
func linger(conn net.Conn) {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if plain, ok := conn.(*net.TCPConn); ok {
		_ = plain.SetLinger(0)
	}
}
