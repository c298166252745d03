package enginetest

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/session/auth"
	"github.com/moby/buildkit/session/grpchijack"
	"github.com/moby/buildkit/session/secrets"
	"github.com/moby/buildkit/util/grpcerrors"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Solve is one build as BuildKit sees it.
type Solve struct {
	Context context.Context // ends when the client stops the build
	Request *controlapi.SolveRequest
	// Send streams progress to the client; it blocks while the client is slow.
	Send func(*controlapi.StatusResponse)

	session *grpc.ClientConn
}

// Credentials asks the client's session as BuildKit does.
func (s *Solve) Credentials(host string) (user, secret string, err error) {
	answer, err := auth.NewAuthClient(s.session).Credentials(s.Context, &auth.CredentialsRequest{Host: host})
	if err != nil {
		return "", "", err
	}
	return answer.Username, answer.Secret, nil
}

// TokenAuthority asks whether the client wants to fetch tokens itself.
func (s *Solve) TokenAuthority(host string) error {
	_, err := auth.NewAuthClient(s.session).GetTokenAuthority(s.Context, &auth.GetTokenAuthorityRequest{Host: host, Salt: []byte("salt")})
	return err
}

// Secret asks the client's session for a build secret.
func (s *Solve) Secret(id string) ([]byte, error) {
	answer, err := secrets.NewSecretsClient(s.session).GetSecret(s.Context, &secrets.GetSecretRequest{ID: id})
	if err != nil {
		return nil, err
	}
	return answer.Data, nil
}

// buildKit is the control service.
type buildKit struct {
	controlapi.UnimplementedControlServer
	grpc    *grpc.Server
	solve   func(*Solve) (map[string]string, error)
	endless bool // see Options.EmptyStatus

	mu       sync.Mutex
	status   map[string]chan *controlapi.StatusResponse
	sessions map[string]*grpc.ClientConn
	conns    []net.Conn
	closed   bool
	stop     chan struct{} // closed with the Engine
}

func newBuildKit(solve func(*Solve) (map[string]string, error)) *buildKit {
	k := &buildKit{
		solve:    solve,
		status:   map[string]chan *controlapi.StatusResponse{},
		sessions: map[string]*grpc.ClientConn{},
		stop:     make(chan struct{}),
		grpc: grpc.NewServer(
			grpc.UnaryInterceptor(grpcerrors.UnaryServerInterceptor),
			grpc.StreamInterceptor(grpcerrors.StreamServerInterceptor),
		),
	}
	controlapi.RegisterControlServer(k.grpc, k)
	return k
}

func (k *buildKit) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return
	}
	k.closed = true
	close(k.stop)
	for _, c := range k.conns {
		c.Close()
	}
	k.grpc.Stop()
}

func (k *buildKit) channel(ref string) chan *controlapi.StatusResponse {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.status[ref] == nil {
		k.status[ref] = make(chan *controlapi.StatusResponse)
	}
	return k.status[ref]
}

// Solve implements the control service.
func (k *buildKit) Solve(ctx context.Context, q *controlapi.SolveRequest) (*controlapi.SolveResponse, error) {
	status := k.channel(q.Ref)
	defer close(status)
	if k.solve == nil {
		return nil, fmt.Errorf("no build is expected")
	}
	session, err := k.session(ctx, q.Session)
	if err != nil {
		return nil, err
	}
	response, err := k.solve(&Solve{Context: ctx, Request: q, session: session, Send: func(s *controlapi.StatusResponse) {
		select {
		case status <- s:
		case <-ctx.Done():
		case <-k.stop:
		}
	}})
	if err != nil {
		return nil, err
	}
	return &controlapi.SolveResponse{ExporterResponse: response}, nil
}

// Status implements the control service.
func (k *buildKit) Status(q *controlapi.StatusRequest, stream grpc.ServerStreamingServer[controlapi.StatusResponse]) error {
	for s := range k.channel(q.Ref) {
		if err := stream.Send(s); err != nil {
			return err
		}
	}
	for k.endless {
		if err := stream.Send(&controlapi.StatusResponse{}); err != nil {
			return err
		}
	}
	return nil
}

// ListWorkers implements the control service.
func (k *buildKit) ListWorkers(context.Context, *controlapi.ListWorkersRequest) (*controlapi.ListWorkersResponse, error) {
	return &controlapi.ListWorkersResponse{}, nil
}

// Session implements the control service: the native way to a session.
func (k *buildKit) Session(stream grpc.BidiStreamingServer[controlapi.BytesMessage, controlapi.BytesMessage]) error {
	conn, closed, meta := grpchijack.Hijack(stream)
	defer conn.Close()
	id := http.Header{}
	for name, values := range meta {
		id[http.CanonicalHeaderKey(name)] = values
	}
	if err := k.addSession(id.Get("X-Docker-Expose-Session-Uuid"), conn); err != nil {
		return err
	}
	select {
	case <-closed:
	case <-stream.Context().Done():
	case <-k.stop:
	}
	return nil
}

// session waits for the client's session, which arrives beside the solve.
func (k *buildKit) session(ctx context.Context, id string) (*grpc.ClientConn, error) {
	for range 500 {
		k.mu.Lock()
		s := k.sessions[id]
		k.mu.Unlock()
		if s != nil {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-k.stop:
			return nil, errClosed
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("no active session for %s", id)
}

func (k *buildKit) addSession(id string, conn net.Conn) error {
	client, err := grpc.NewClient("passthrough:///session",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return conn, nil }))
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.sessions[id] = client
	k.mu.Unlock()
	return nil
}

// hijack answers 101 and takes the connection over.
func (k *buildKit) hijack(w http.ResponseWriter, proto string) (net.Conn, error) {
	conn, buffered, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(buffered, "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", proto)
	if err := buffered.Flush(); err != nil {
		return nil, err
	}
	k.mu.Lock()
	k.conns = append(k.conns, conn)
	k.mu.Unlock()
	return readAhead{conn, buffered.Reader}, nil
}

type readAhead struct {
	net.Conn
	r *bufio.Reader
}

func (c readAhead) Read(p []byte) (int, error) { return c.r.Read(p) }

func (k *buildKit) hijackControl(w http.ResponseWriter, r *http.Request) {
	conn, err := k.hijack(w, r.Header.Get("Upgrade"))
	if err != nil {
		return
	}
	(&http2.Server{}).ServeConn(conn, &http2.ServeConnOpts{Handler: k.grpc}) //nolint:staticcheck // net/http serves listeners, and this connection is taken over from HTTP/1.1
}

func (k *buildKit) hijackSession(w http.ResponseWriter, r *http.Request) {
	conn, err := k.hijack(w, r.Header.Get("Upgrade"))
	if err != nil {
		return
	}
	if k.addSession(r.Header.Get("X-Docker-Expose-Session-Uuid"), conn) != nil {
		conn.Close() // the client waits for calls that nobody will make
	}
}
