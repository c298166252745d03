package notarytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// ErrNotInstalled is what [StartProcess] returns where there is no notary-server.
var ErrNotInstalled = errors.New("notary-server is not installed")

// Process is a real notary-server on a loopback port, with storage in memory,
// without TLS and without authentication.
type Process struct {
	URL     string
	command *exec.Cmd
	dir     string
	gone    chan struct{}
}

// StartProcess starts the notary-server found on the PATH and waits until it
// answers. The caller closes it.
func StartProcess(ctx context.Context) (*Process, error) {
	binary, err := exec.LookPath("notary-server")
	if err != nil {
		return nil, ErrNotInstalled
	}
	// Another process may take the port between our asking for one and the
	// server's opening it, hence the second and third try.
	for range 3 {
		var p *Process
		if p, err = startProcess(ctx, binary); err == nil {
			return p, nil
		}
	}
	return nil, err
}

func startProcess(ctx context.Context, binary string) (*Process, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	address := listener.Addr().String()
	listener.Close()
	dir, err := os.MkdirTemp("", "notary-server-")
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(map[string]any{
		"server":        map[string]any{"http_addr": address},
		"trust_service": map[string]any{"type": "local", "key_algorithm": "ecdsa"},
		"storage":       map[string]any{"backend": "memory"},
		"logging":       map[string]any{"level": "fatal"},
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	p := &Process{URL: "http://" + address, dir: dir, gone: make(chan struct{})}
	p.command = exec.Command(binary, "-config", file)
	if err := p.command.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	go func() {
		_ = p.command.Wait() // that it is gone is all there is to know
		close(p.gone)
	}()
	if err := p.await(ctx); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// await returns when the server answers.
func (p *Process) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+"/v2/", nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultTransport.RoundTrip(request); err == nil {
			response.Body.Close()
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("notary-server does not answer: %w", ctx.Err())
		case <-p.gone:
			return errors.New("notary-server ended at once")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Close ends the server and removes what it left.
func (p *Process) Close() {
	p.command.Process.Kill()
	<-p.gone
	os.RemoveAll(p.dir)
}
