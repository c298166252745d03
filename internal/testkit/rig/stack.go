package rig

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"

	"contenttrust/internal/testkit/registrytest"
)

// The accounts a Stack has when Options names none. Their passwords are random.
const (
	// Administrator and Signer may pull, push, delete and sign; there are two
	// so that logs and signatures tell them apart.
	Administrator = "administrator"
	Signer        = "signer"
	// Pusher may pull and push, but not sign (AcrPush without AcrImageSigner).
	Pusher = "pusher"
	// Reader may pull.
	Reader = "reader"
)

// Options says what a Stack is made of. The zero value is registry and Notary
// server behind a front on a free port, without an Engine.
type Options struct {
	// Engine is the kind to start; "" starts none.
	Engine Kind
	// DockerHost is the Engine's address for Existing.
	DockerHost string
	// Front is handed on to registrytest.New, but for Registry and Trust, which
	// are the real ones. Without Users it has the four accounts above.
	Front registrytest.Options
	// NoTrust leaves the Notary server out: a registry without content trust.
	NoTrust bool
}

// Stack is all the parts, connected.
type Stack struct {
	Front    *registrytest.Front
	Registry *Server
	Notary   *Server // nil with Options.NoTrust
	Engine   *Engine // nil without Options.Engine
	// Users are the front's accounts, by name.
	Users map[string]registrytest.User

	keeper *keeper // of the people's homes
	stops  []func() error
}

// StartFront starts the front door alone, with the usual accounts when o has
// none. The real servers need its certificate and so come later, by
// Front.SetRegistry and Front.SetTrust.
func StartFront(o registrytest.Options) (*registrytest.Front, map[string]registrytest.User, error) {
	if o.Users == nil {
		o.Users = usualUsers()
	}
	// Until the real ones are there, nobody is to be served by the embedded.
	o.Registry, o.Trust = http.NotFoundHandler(), http.NotFoundHandler()
	front, err := registrytest.New(o)
	if err != nil {
		return nil, nil, fmt.Errorf("start the front: %w", err)
	}
	return front, maps.Clone(o.Users), nil
}

func usualUsers() map[string]registrytest.User {
	users := map[string]registrytest.User{
		Administrator: {Pull: true, Push: true, Delete: true, Sign: true},
		Signer:        {Pull: true, Push: true, Delete: true, Sign: true},
		Pusher:        {Pull: true, Push: true},
		Reader:        {Pull: true},
	}
	for name, user := range users {
		user.Password = rand.Text()
		users[name] = user
	}
	return users
}

// Start puts a Stack together. What has started is stopped again when a later
// part fails.
func Start(ctx context.Context, o Options) (_ *Stack, err error) {
	s := &Stack{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if s.keeper, err = newKeeper(); err != nil {
		return nil, err
	}
	s.atClose(s.keeper.Close)
	if s.Front, s.Users, err = StartFront(o.Front); err != nil {
		return nil, err
	}
	s.atClose(func() error { s.Front.Close(); return nil })

	if s.Registry, err = StartRegistry(ctx, tokensOf(s.Front)); err != nil {
		return nil, err
	}
	s.atClose(s.Registry.Close)
	s.Front.SetRegistry(s.Registry.Handler)

	if !o.NoTrust {
		if s.Notary, err = StartNotary(ctx, tokensOf(s.Front)); err != nil {
			return nil, err
		}
		s.atClose(s.Notary.Close)
		s.Front.SetTrust(s.Notary.Handler)
	}
	if o.Engine == "" {
		return s, nil
	}
	if s.Engine, err = StartEngine(ctx, o.Engine, o.DockerHost); err != nil {
		return nil, err
	}
	s.atClose(s.Engine.Close)
	if o.Engine == Existing && os.Geteuid() != 0 {
		return s, nil // Engines take loopback registries without their CA too
	}
	return s, s.Engine.TrustCA(s.Front.Host, s.Front.CAPEM)
}

// atClose notes what to stop; the last started is the first stopped.
func (s *Stack) atClose(stop func() error) { s.stops = append([]func() error{stop}, s.stops...) }

// Close stops everything. Later calls do nothing.
func (s *Stack) Close() error {
	var failures []error
	for _, stop := range s.stops {
		failures = append(failures, stop())
	}
	s.stops = nil
	return errors.Join(failures...)
}
