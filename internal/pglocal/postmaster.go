package pglocal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// A postmaster is one life of a server's main process.
type postmaster struct {
	pid    int
	exited chan struct{} // closed after the process was waited for
	err    error         // how it ended; read only once exited is closed
}

func (pm *postmaster) running() bool {
	if pm == nil {
		return false
	}
	select {
	case <-pm.exited:
		return false
	default:
		return true
	}
}

// wait reports whether the process ended before the timeout and ctx did.
func (pm *postmaster) wait(ctx context.Context, timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-pm.exited:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// signal does nothing once the process has ended: its id may be another's.
func (pm *postmaster) signal(sig syscall.Signal) error {
	if !pm.running() {
		return nil
	}
	return signal(pm.pid, sig)
}

// request asks the process to end by a signal and gives it some time for that.
// Once ctx has ended it does nothing.
func (pm *postmaster) request(ctx context.Context, sig syscall.Signal, timeout time.Duration) {
	if !pm.running() || ctx.Err() != nil {
		return
	}
	if err := pm.signal(sig); err == nil {
		pm.wait(ctx, timeout)
	}
}

// launch starts the server and returns when it accepts connections. A new
// server looks for a free port; a restarted one keeps its own. In between
// another process may take the port, so both try again.
func (s *Server) launch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	fresh := s.Port == 0
	for attempt := 1; ; attempt++ {
		if fresh {
			port, err := freePort()
			if err != nil {
				return err
			}
			s.Port = port
		}
		logged := s.logSize()
		err := s.tryLaunch(ctx)
		if err == nil {
			return nil
		}
		log := s.logSince(logged)
		if attempt < 10 && strings.Contains(log, "Address already in use") && pause(ctx, 20*pollInterval) == nil {
			continue
		}
		return fmt.Errorf("start PostgreSQL %s from %s on port %d%s: %w; its log ends:\n%s",
			s.Version, s.BinDir, s.Port, s.account.suffix(), err, tail(log, 20))
	}
}

// tryLaunch leaves no process behind if it fails.
func (s *Server) tryLaunch(ctx context.Context) error {
	pm, err := s.spawn()
	if err != nil {
		return err
	}
	s.pm = pm
	if err := s.waitReady(ctx, pm); err != nil {
		return errors.Join(err, s.kill())
	}
	return nil
}

// spawn starts the main process and the goroutine that waits for it.
func (s *Server) spawn() (*postmaster, error) {
	log, err := os.OpenFile(s.LogPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	// The port and the socket directory differ between a standby and its
	// primary, so they stand here and not in the configuration that is copied.
	args := []string{"-D", s.DataDir, "-p", strconv.Itoa(s.Port), "-c", "unix_socket_directories=" + s.socketDir()}
	cmd := s.command(context.Background(), "postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := startChild(cmd); err != nil {
		return nil, err
	}
	pm := &postmaster{pid: cmd.Process.Pid, exited: make(chan struct{})}
	go func() {
		pm.err = cmd.Wait()
		close(pm.exited)
	}()
	return pm, nil
}

// socketDir returns the directory of the server's Unix socket, or nothing if
// the socket's path would be too long for the system.
func (s *Server) socketDir() string {
	const longest = 103 // sun_path holds 104 bytes on macOS, 108 on Linux
	if len(filepath.Join(s.scratch.dir, ".s.PGSQL.65535.lock")) > longest {
		return ""
	}
	return s.scratch.dir
}

// waitReady waits until a connection succeeds. It does not try before the
// server says in its pid file that it is ready, to keep its log free of
// refused connections.
func (s *Server) waitReady(ctx context.Context, pm *postmaster) error {
	for {
		if s.saysReady(pm.pid) {
			if err := s.ping(ctx); err == nil {
				return nil
			}
		}
		if pm.wait(ctx, pollInterval) {
			return fmt.Errorf("it ended at once: %w", pm.err)
		}
		if ctx.Err() != nil {
			return fmt.Errorf("it does not accept connections: %w", context.Cause(ctx))
		}
	}
}

// saysReady reads the state that the main process of this id keeps in its pid
// file, as pg_ctl does.
func (s *Server) saysReady(pid int) bool {
	content, err := os.ReadFile(filepath.Join(s.DataDir, "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(content), "\n")
	return len(lines) > 7 && lines[0] == strconv.Itoa(pid) && strings.TrimSpace(lines[7]) == "ready"
}

// ping connects to the server. One that refuses us after a conversation, say
// because of Options.HBA, is up all the same.
func (s *Server) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := pgconn.Connect(ctx, s.DSN("postgres"))
	if err == nil {
		return conn.Close(ctx)
	}
	const cannotConnectNow = "57P03"
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code != cannotConnectNow {
		return nil
	}
	return err
}

// shutdown ends all processes of the server, by the given mode if that works
// in time and by force if not.
func (s *Server) shutdown(ctx context.Context, mode Mode) error {
	// Frozen processes would not act on signals. Whatever fails here, kill has
	// the last word.
	_ = s.resume()
	if mode == Fast {
		s.pm.request(ctx, sigFast, fastTimeout)
	}
	s.pm.request(ctx, sigImmediate, immediateTimeout)
	return s.kill()
}

// kill ends all processes of the server at once and waits until they are gone.
func (s *Server) kill() error {
	if !s.pm.running() {
		return nil
	}
	// Stopped first, it cannot start further children.
	pids, err := s.freeze()
	for _, pid := range pids {
		err = errors.Join(err, signal(pid, sigKill))
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), removeTimeout)
	defer cancel()
	for _, pid := range pids {
		for pid != s.pm.pid && alive(pid) {
			if err := pause(ctx, pollInterval); err != nil {
				return fmt.Errorf("kill PostgreSQL %s: process %d is still there: %w", s.Version, pid, err)
			}
		}
	}
	if !s.pm.wait(ctx, removeTimeout) {
		return fmt.Errorf("kill PostgreSQL %s: process %d is still there", s.Version, s.pm.pid)
	}
	return nil
}

// freeze stops the main process, then all of its children, and returns the ids
// of all it knows, even with an error. The children of PostgreSQL lead process
// groups of their own, so a signal to one group would not do.
func (s *Server) freeze() ([]int, error) {
	pids := []int{s.pm.pid}
	if err := s.pm.signal(sigStop); err != nil {
		return pids, err
	}
	seen := map[int]bool{s.pm.pid: true}
	// A signal takes effect a little after it was sent, so the main process
	// may still start a child after we looked: look until there is none left.
	for found := true; found; {
		found = false
		kids, err := children(s.pm.pid)
		if err != nil {
			return pids, err
		}
		for _, pid := range kids {
			if seen[pid] {
				continue
			}
			if err := signal(pid, sigStop); err != nil {
				return pids, err
			}
			seen[pid], found = true, true
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// resume undoes freeze. It wakes the children first, as the main process may
// act on signals that wait for it.
func (s *Server) resume() error {
	if !s.pm.running() {
		return nil
	}
	kids, err := children(s.pm.pid)
	for _, pid := range kids {
		err = errors.Join(err, signal(pid, sigContinue))
	}
	return errors.Join(err, s.pm.signal(sigContinue))
}

// freePort returns a port on which nobody listens now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) logSize() int64 {
	info, err := os.Stat(s.LogPath)
	if err != nil {
		return 0
	}
	return info.Size()
}

// logSince returns what the server has logged after the first size bytes.
func (s *Server) logSince(size int64) string {
	content, err := os.ReadFile(s.LogPath)
	if err != nil || int64(len(content)) < size {
		return ""
	}
	return string(content[size:])
}

// tail returns the last n lines of a text.
func tail(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
