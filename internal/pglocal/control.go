package pglocal

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// Mode is a way to shut a server down.
type Mode string

const (
	// Fast disconnects the clients and shuts down cleanly.
	Fast Mode = "fast"
	// Immediate ends all processes; the next start recovers as after a crash.
	Immediate Mode = "immediate"
)

// ErrStopped is returned by methods that need a server which Stop has not
// ended yet.
var ErrStopped = errors.New("the server was stopped and its data removed")

// Restart shuts the server down in the given mode and starts it again on the
// same port. A server that is down, after Kill or by itself, is just started.
// If a shutdown takes longer than some seconds it is forced.
func (s *Server) Restart(ctx context.Context, mode Mode) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return fmt.Errorf("restart PostgreSQL %s: %w", s.Version, ErrStopped)
	}
	if err := s.shutdown(ctx, mode); err != nil {
		return fmt.Errorf("restart PostgreSQL %s: %w", s.Version, err)
	}
	return s.launch(ctx)
}

// Kill ends all processes of the server with SIGKILL, as a crash of the
// machine would. The data stays; Restart starts the server again.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kill()
}

// Pause freezes all processes of the server. The kernel still completes
// connections and takes in data, but nothing ever answers: to clients the
// server is black-holed. Resume ends that, and so does Stop.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pm.running() {
		return fmt.Errorf("pause PostgreSQL %s: it does not run", s.Version)
	}
	_, err := s.freeze()
	return err
}

// Resume lets a paused server go on. It does nothing to one that runs.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pm.running() {
		return fmt.Errorf("resume PostgreSQL %s: it does not run", s.Version)
	}
	return s.resume()
}

// Promote makes a standby a primary and returns when it is one.
func (s *Server) Promote(ctx context.Context) error {
	rows, err := s.query(ctx, "SELECT pg_catalog.pg_promote(true, 60)")
	if err != nil {
		return fmt.Errorf("promote PostgreSQL %s: %w", s.Version, err)
	}
	if rows[0][0] != "t" {
		return fmt.Errorf("promote PostgreSQL %s: it is still a standby after 60 s; see %s", s.Version, s.LogPath)
	}
	return nil
}

// query runs one statement in the database postgres and returns its rows as
// text.
func (s *Server) query(ctx context.Context, sql string) ([][]string, error) {
	conn, err := pgconn.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return queryConn(ctx, conn, sql)
}

func queryConn(ctx context.Context, conn *pgconn.PgConn, sql string) ([][]string, error) {
	results, err := conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for _, result := range results {
		for _, values := range result.Rows {
			row := make([]string, len(values))
			for i, value := range values {
				row[i] = string(value)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}
