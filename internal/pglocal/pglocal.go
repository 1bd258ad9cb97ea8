// Package pglocal finds, and where needed fetches, PostgreSQL server binaries
// and starts throw-away servers from them. The demo, the tests and the
// benchmarks run on such servers.
//
// A server lives in a temporary directory, listens on a free port of 127.0.0.1
// and trusts everybody who connects as "postgres". It gives up durability for
// speed, so its data is worth nothing once it stops. It never outlives its
// owner for long: see [Server.Stop].
//
// PostgreSQL refuses to run as root. When this process is root, servers run as
// the account "postgres", or "nobody" where there is no such account.
package pglocal

import (
	"context"
	"errors"
	"sync"
)

// Options say what server to start. The zero value is a server of the newest
// PostgreSQL found on this machine, with its default settings.
type Options struct {
	// Major is the wanted major version, for example 16. Zero takes the newest
	// installation found, and fetches the newest known when there is none.
	Major int

	// Settings are lines of postgresql.conf. They win over the defaults of this
	// package (fsync = off and the like). The port cannot be set.
	Settings map[string]string

	// InitArgs are further arguments of initdb, for example "--data-checksums"
	// or "--locale=C.UTF-8". They win over the defaults: encoding UTF8 and
	// locale C.
	InitArgs []string

	// HBA are lines of pg_hba.conf. They stand before the lines that trust all
	// local connections, so they can refuse or demand a password of some.
	HBA []string

	// TLS makes the server accept TLS with a self-signed certificate for
	// 127.0.0.1 and localhost; see [Server.CertFile]. Plain connections stay
	// possible unless HBA refuses them.
	TLS bool
}

// Start starts a new server and returns when it accepts connections. The
// caller must call [Server.Stop]. An end of ctx after Start has returned does
// not end the server.
func Start(ctx context.Context, opts Options) (*Server, error) {
	inst, err := Find(ctx, opts.Major)
	if err != nil {
		return nil, err
	}
	s, err := newServer(inst)
	if err != nil {
		return nil, err
	}
	if err := s.create(ctx, opts); err != nil {
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

// running holds the servers that are to be stopped by StopAll.
var running = struct {
	mu      sync.Mutex
	servers map[*Server]struct{}
}{servers: make(map[*Server]struct{})}

func register(s *Server) {
	running.mu.Lock()
	defer running.mu.Unlock()
	running.servers[s] = struct{}{}
}

func unregister(s *Server) {
	running.mu.Lock()
	defer running.mu.Unlock()
	delete(running.servers, s)
}

// StopAll stops every server this process has started, at once. It is meant
// for the end of a program: signal handlers and TestMain.
func StopAll(ctx context.Context) error {
	running.mu.Lock()
	servers := make([]*Server, 0, len(running.servers))
	for s := range running.servers {
		servers = append(servers, s)
	}
	running.mu.Unlock()

	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() { errs[i] = s.Stop(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
