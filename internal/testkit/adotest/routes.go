package adotest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxBody bounds what is read of a request, in bytes.
const maxBody = 4 << 20

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		s.fail("%s %s: body: %v", r.Method, r.URL.EscapedPath(), err)
		return
	}
	rest, ok := s.project(r.URL.Path)
	id, isFile := strings.CutPrefix(rest, "_apis/distributedtask/securefiles/")
	request := Request{Method: r.Method, Path: r.URL.EscapedPath(), RawQuery: r.URL.RawQuery, Header: r.Header.Clone(), Body: body}
	var fault Fault
	if ok && isFile {
		fault = s.nextFault()
		request.Fault = fault.Kind
	}
	s.mu.Lock()
	s.requests = append(s.requests, request)
	s.mu.Unlock()

	switch {
	case fault.Kind != "":
		s.answer(w, r, fault, s.content(id))
	case ok && isFile && r.Method == http.MethodGet:
		s.secureFile(w, r, id)
	case ok && rest == "_apis/deployment/imagedetails" && r.Method == http.MethodPost:
		s.imageDetails(w, r, body)
	default:
		s.fail("unknown request: %s %s", r.Method, r.URL.EscapedPath())
		problem(w, http.StatusNotFound, "PageNotFound", "The page was not found.")
	}
}

// project takes collection and project off a path.
func (s *Server) project(path string) (rest string, ok bool) {
	path, ok = strings.CutPrefix(path, s.options.Collection)
	if !ok {
		return "", false
	}
	for _, name := range []string{s.options.Project, s.options.ProjectID} {
		if rest, ok := strings.CutPrefix(path, name+"/"); ok {
			return rest, true
		}
	}
	return "", false
}

// permitted checks the token, which Azure DevOps takes as Bearer or as the
// password of any user.
func (s *Server) permitted(w http.ResponseWriter, r *http.Request) bool {
	given := r.Header.Get("Authorization")
	if encoded, ok := strings.CutPrefix(given, "Basic "); ok {
		decoded, _ := base64.StdEncoding.DecodeString(encoded)
		_, given, _ = strings.Cut(string(decoded), ":")
	} else {
		given, _ = strings.CutPrefix(given, "Bearer ")
	}
	if given == s.options.Token {
		return true
	}
	if s.options.SignInPage {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusNonAuthoritativeInfo)
		_, _ = io.WriteString(w, signInPage)
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="https://tfsprodweu.example/"`)
	problem(w, http.StatusUnauthorized, "UnauthorizedRequestException", "TF400813: The user is not authorized to access this resource.")
	return false
}

func (s *Server) secureFile(w http.ResponseWriter, r *http.Request, id string) {
	if !s.permitted(w, r) {
		return
	}
	accept := r.Header.Get("Accept")
	_, version, found := strings.Cut(accept, "api-version=")
	switch {
	case !found:
		s.fail("secure file: no api-version in Accept %q", accept)
		problem(w, http.StatusBadRequest, "VssVersionNotSpecifiedException", "No api-version was supplied.")
		return
	case s.options.OldServer && version > "5.1":
		problem(w, http.StatusBadRequest, "VssVersionOutOfRangeException", "The requested REST API version of "+version+" is out of range for this server.")
		return
	}
	if r.Header.Get("X-TFS-FedAuthRedirect") != "Suppress" {
		s.fail("secure file: X-TFS-FedAuthRedirect is not Suppress")
	}
	s.mu.Lock()
	file, ok := s.files[id]
	s.mu.Unlock()
	ticket := r.URL.Query().Get("ticket")
	switch {
	case !ok:
		problem(w, http.StatusNotFound, "SecureFileNotFoundException", "Secure file with id "+id+" not found.")
	case ticket == "":
		metadata, _ := json.Marshal(map[string]any{"id": file.ID, "name": file.Name, "properties": map[string]string{}})
		w.Header().Set("Content-Type", "application/json; charset=utf-8; api-version="+version)
		_, _ = w.Write(metadata)
	case file.Expired:
		problem(w, s.options.ExpiredStatus, "DownloadTicketValidationException", "TF15004: The download request signature has expired.")
	case ticket != file.Ticket:
		problem(w, http.StatusForbidden, "DownloadTicketInvalidException", "The download ticket is not valid: "+ticket)
	default:
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Disposition", "attachment; filename*=UTF-8''"+url.PathEscape(file.Name))
		w.Header().Set("Content-Length", fmt.Sprint(len(file.Content)))
		_, _ = w.Write(file.Content)
	}
}

func (s *Server) content(id string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[id].Content
}

func (s *Server) imageDetails(w http.ResponseWriter, r *http.Request, body []byte) {
	if !s.permitted(w, r) {
		return
	}
	if !json.Valid(body) {
		s.fail("imagedetails: no JSON")
		problem(w, http.StatusBadRequest, "VssRequestException", "The body is not JSON.")
		return
	}
	s.mu.Lock()
	s.images = append(s.images, json.RawMessage(body))
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = w.Write(body)
}

// problem is an error as Azure DevOps writes it.
func problem(w http.ResponseWriter, status int, typeKey, message string) {
	body, _ := json.Marshal(map[string]any{
		"$id": "1", "innerException": nil, "message": message,
		"typeName": "Microsoft.TeamFoundation.DistributedTask.WebApi." + typeKey + ", Microsoft.TeamFoundation.DistributedTask.WebApi",
		"typeKey":  typeKey, "errorCode": 0, "eventId": 3000,
	})
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

const signInPage = "\r\n<!DOCTYPE html>\r\n<html lang=\"en-US\"><head><title>Azure DevOps Services | Sign In</title></head><body></body></html>\r\n"
