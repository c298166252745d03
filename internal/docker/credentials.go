package docker

import (
	"context"
	"strings"

	"github.com/moby/buildkit/session/auth"
	"google.golang.org/grpc"
)

// credentialServer answers BuildKit's questions for registry credentials in
// the build's session. It gives the credentials and lets the Engine fetch the
// token, as a push does: BuildKit's own provider would fetch tokens from this
// process with transport settings of its own, and keeps a seed file in
// docker's configuration folder. The methods it leaves out answer
// "unimplemented", which BuildKit takes as this wish
// (session/auth/auth.go GetTokenAuthority).
type credentialServer struct {
	auth.UnimplementedAuthServer
	ask Credentials
}

func (c credentialServer) Register(server *grpc.Server) { auth.RegisterAuthServer(server, c) }

// Credentials answers for one host; an empty answer means anonymous.
func (c credentialServer) Credentials(_ context.Context, q *auth.CredentialsRequest) (*auth.CredentialsResponse, error) {
	user, password, ok := c.ask.ask(strings.TrimSpace(q.Host))
	if !ok {
		return &auth.CredentialsResponse{}, nil
	}
	return &auth.CredentialsResponse{Username: user, Secret: password.Reveal()}, nil
}
