package pipeline

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/microsoft/azure-devops-go-api/azuredevops/v7"
)

// SecureFileKind tells why there is no file.
type SecureFileKind string

// The kinds of SecureFileError.
const (
	SecureFileInvalid       SecureFileKind = "request invalid"    // Err tells what is missing
	SecureFileNoTicket      SecureFileKind = "no download ticket" // the pipeline was not given the file
	SecureFileUnauthorized  SecureFileKind = "unauthorized"       // 401, or 203 with a sign-in page
	SecureFileForbidden     SecureFileKind = "forbidden"          // 403
	SecureFileNotFound      SecureFileKind = "not found"          // 404
	SecureFileTicketExpired SecureFileKind = "ticket expired"     // TF15004, whatever the status
	SecureFileRefused       SecureFileKind = "refused"            // any other status below 500, or a redirect that is not followed (Err)
	SecureFileNotAFile      SecureFileKind = "not a file"         // ContentType tells what came instead
	SecureFileEmpty         SecureFileKind = "empty"              // 200 with nothing in it
	SecureFileTooLarge      SecureFileKind = "too large"          // more than Limit
	SecureFileUnreachable   SecureFileKind = "server unreachable" // no answer, or one that ended early
	SecureFileServerError   SecureFileKind = "server error"       // 5xx, 429
	SecureFileCancelled     SecureFileKind = "cancelled"          // Err is the context's error
)

// SecureFileError is a secure file that could not be had.
type SecureFileError struct {
	Kind        SecureFileKind
	ID          string
	Status      int    // of the last answer; 0 when there was none
	Attempts    int    // requests made; 0 when none
	TypeKey     string // the server's name for its exception, "" when not told
	Message     string // the server's words, without secrets, on one line, 300 bytes at most
	ContentType string // of kind NotAFile
	Limit       int64  // of kind TooLarge, in bytes
	Err         error

	again      bool   // worth another attempt
	retryAfter string // header
}

func (e *SecureFileError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "secure file %s: %s", e.ID, e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, ", status %d", e.Status)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, ", %d attempts", e.Attempts)
	}
	if e.Limit != 0 {
		fmt.Fprintf(&b, ", limit %d bytes", e.Limit)
	}
	for _, detail := range []string{e.ContentType, e.TypeKey} {
		if detail != "" {
			b.WriteString(", " + detail)
		}
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap gives the cause: a context's error, a network error, io.ErrUnexpectedEOF.
func (e *SecureFileError) Unwrap() error { return e.Err }

const (
	// typeKeys of Azure DevOps.
	ticketExpired     = "DownloadTicketValidationException"
	versionOutOfRange = "VssVersionOutOfRangeException"
	// maxMessage bounds Message, in bytes.
	maxMessage = 300
)

// unreachable is a request without a whole answer.
func (f *fetch) unreachable(status int, err error) *SecureFileError {
	failure := &SecureFileError{Kind: SecureFileUnreachable, Status: status, Err: f.clean(err), again: true}
	var certificate *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	if errors.As(err, &certificate) || errors.As(err, &authority) {
		failure.again = false // it will be the same
	}
	if errors.Is(err, context.DeadlineExceeded) {
		// One of our own limits, not the caller's deadline, which must not be
		// found in the chain when it has not passed.
		failure.Err = errors.New("timed out: " + failure.Err.Error())
	}
	return failure
}

// refused is an answer with a status other than 200.
func (f *fetch) refused(response *http.Response, err error) *SecureFileError {
	failure := &SecureFileError{Status: response.StatusCode, retryAfter: response.Header.Get("Retry-After")}
	failure.TypeKey, failure.Message = f.words(err)
	switch status := response.StatusCode; {
	case f.redirect != nil:
		failure.Kind, failure.Err = SecureFileRefused, f.redirect
	case failure.TypeKey == ticketExpired || strings.Contains(failure.Message, "TF15004"):
		failure.Kind = SecureFileTicketExpired
	case status == http.StatusUnauthorized || status == http.StatusNonAuthoritativeInfo:
		failure.Kind = SecureFileUnauthorized
	case status == http.StatusForbidden:
		failure.Kind = SecureFileForbidden
	case status == http.StatusNotFound:
		failure.Kind = SecureFileNotFound
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500:
		failure.Kind, failure.again = SecureFileServerError, true
	default:
		failure.Kind = SecureFileRefused
	}
	return failure
}

// words takes what the server says out of an error of azuredevops, which gives
// it by value or by pointer. Other errors are about the body, whose status is
// known.
func (f *fetch) words(err error) (typeKey, message string) {
	var wrapped azuredevops.WrappedError
	var pointer *azuredevops.WrappedError
	switch {
	case errors.As(err, &pointer) && pointer != nil:
		wrapped = *pointer
	case !errors.As(err, &wrapped):
		return "", ""
	}
	if wrapped.TypeKey != nil {
		typeKey = oneLine(f.mask.Hide(*wrapped.TypeKey))
	}
	if wrapped.Message != nil {
		message = oneLine(f.mask.Hide(*wrapped.Message))
	}
	return typeKey, message
}

func oneLine(s string) string {
	s = strings.Join(strings.Fields(Neutralise(s)), " ")
	if len(s) > maxMessage {
		s = strings.ToValidUTF8(s[:maxMessage], "")
	}
	return s
}
