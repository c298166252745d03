package docker

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"google.golang.org/grpc"
)

// statusGuard keeps empty status messages from the solve client. The BuildKit
// of Engine 20.10 can go on sending them without end after a build with a long
// log is done, tens of thousands a second; the client takes each for a sign of
// life and would never return. (Seen on 20.10.24 with logs of 5 to 20 MB, its
// own limit of 200 KiB/s being lifted. The end of the log is lost then.)
type statusGuard struct{ solved atomic.Bool }

const (
	// guardPatience is how long after the last real message, and the solve's
	// own answer, an endless row of empty ones is listened to.
	guardPatience = 2 * time.Second
	// A pause after so many empty messages in a row lets flow control slow the
	// Engine down, without delaying a real one by more than about a second.
	guardRow   = 64
	guardPause = 5 * time.Millisecond
)

// options are for client.New.
func (g *statusGuard) options() []client.ClientOpt {
	return []client.ClientOpt{
		client.WithGRPCDialOption(grpc.WithChainUnaryInterceptor(g.unary)),
		client.WithGRPCDialOption(grpc.WithChainStreamInterceptor(g.stream)),
	}
}

func (g *statusGuard) unary(ctx context.Context, method string, q, a any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, o ...grpc.CallOption) error {
	err := invoke(ctx, method, q, a, conn, o...)
	if strings.HasSuffix(method, ".Control/Solve") {
		g.solved.Store(true)
	}
	return err
}

func (g *statusGuard) stream(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, o ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := open(ctx, d, conn, method, o...)
	if err != nil || !strings.HasSuffix(method, ".Control/Status") {
		return s, err
	}
	return &guardedStatus{ClientStream: s, guard: g, last: time.Now()}, nil
}

type guardedStatus struct {
	grpc.ClientStream
	guard *statusGuard
	last  time.Time // of the last real message
}

// RecvMsg gives the next message that says something.
func (s *guardedStatus) RecvMsg(m any) error {
	for row := 1; ; row++ {
		if err := s.ClientStream.RecvMsg(m); err != nil {
			return err
		}
		status, ok := m.(*controlapi.StatusResponse)
		if !ok || len(status.Vertexes)+len(status.Statuses)+len(status.Logs)+len(status.Warnings) > 0 {
			s.last = time.Now()
			return nil
		}
		if row%guardRow != 0 {
			continue
		}
		if s.guard.solved.Load() && time.Since(s.last) > guardPatience {
			return io.EOF
		}
		time.Sleep(guardPause)
	}
}
