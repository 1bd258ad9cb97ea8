package pglocal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	host = "127.0.0.1"

	initTimeout  = 2 * time.Minute
	startTimeout = time.Minute
	// fastTimeout bounds a fast shutdown, which waits for the standbys.
	fastTimeout      = 5 * time.Second
	immediateTimeout = 5 * time.Second
	// removeTimeout bounds the wait for killed processes to be gone.
	removeTimeout = 5 * time.Second

	pollInterval = 10 * time.Millisecond
)

// Server is one PostgreSQL server. Its methods may be called at any time and
// from several goroutines; those that change its state wait for one another.
type Server struct {
	Installation

	Host    string // always 127.0.0.1
	Port    int
	DataDir string
	LogPath string // what the server says, through all restarts

	// CertFile is the server's self-signed certificate in PEM, which is also
	// the root to verify it with. It is empty unless Options.TLS was set.
	CertFile string

	account account
	scratch *scratch

	mu      sync.Mutex // guards what follows, and the state of the processes
	pm      *postmaster
	stopped bool
}

// newServer makes room for a server and registers it with StopAll.
func newServer(inst Installation) (*Server, error) {
	account, err := serverAccount()
	if err != nil {
		return nil, err
	}
	scratch, err := newScratch(account)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Installation: inst,
		Host:         host,
		DataDir:      filepath.Join(scratch.dir, "data"),
		LogPath:      filepath.Join(scratch.dir, "postgres.log"),
		account:      account,
		scratch:      scratch,
	}
	register(s)
	return s, nil
}

// create initialises the data directory and starts the server for the first
// time.
func (s *Server) create(ctx context.Context, opts Options) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.initdb(ctx, opts.InitArgs); err != nil {
		return err
	}
	settings := map[string]string{
		"listen_addresses":   host,
		"max_connections":    "100",
		"shared_buffers":     "128MB",
		"fsync":              "off",
		"full_page_writes":   "off",
		"synchronous_commit": "off",
	}
	if opts.TLS {
		if err := s.writeCertificate(); err != nil {
			return err
		}
		settings["ssl"] = "on"
	}
	maps.Copy(settings, opts.Settings)
	if err := s.configure(settings); err != nil {
		return err
	}
	if err := s.prependHBA(opts.HBA); err != nil {
		return err
	}
	return s.launch(ctx)
}

// initdb creates the data directory. Copying one from a template would hardly
// be faster, and would give all servers the same system identifier.
func (s *Server) initdb(ctx context.Context, args []string) error {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	args = append([]string{
		"--pgdata", s.DataDir, "--username=postgres", "--auth=trust", "--no-sync",
		"--encoding=UTF8", "--locale=C",
	}, args...)
	var out strings.Builder
	cmd := s.command(ctx, "initdb", args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	err := startChild(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("initdb of PostgreSQL %s%s: %w\n%s", s.Version, s.account.suffix(), err, &out)
	}
	return nil
}

// command prepares a server binary to be run as the account, in a directory it
// can enter, and without the client settings of our own environment.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.BinDir, name), args...)
	cmd.Dir = s.scratch.dir
	cmd.SysProcAttr = s.account.serverAttributes()
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "PG") || strings.HasPrefix(v, "LC_") || strings.HasPrefix(v, "LANG")
	})
	cmd.Env = append(cmd.Env, "LC_ALL=C", "HOME="+s.scratch.dir)
	return cmd
}

// configure appends to postgresql.conf, where the last of several lines wins.
func (s *Server) configure(settings map[string]string) error {
	f, err := os.OpenFile(filepath.Join(s.DataDir, "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("configure the server: %w", err)
	}
	quote := strings.NewReplacer(`\`, `\\`, `'`, `''`)
	var b strings.Builder
	b.WriteByte('\n')
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, quote.Replace(settings[name]))
	}
	_, err = io.WriteString(f, b.String())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("configure the server: %w", err)
	}
	return nil
}

// prependHBA puts lines at the head of pg_hba.conf, where the first match wins.
func (s *Server) prependHBA(lines []string) error {
	if len(lines) == 0 {
		return nil
	}
	name := filepath.Join(s.DataDir, "pg_hba.conf")
	rest, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("configure the server: %w", err)
	}
	content := strings.Join(lines, "\n") + "\n" + string(rest)
	// The file exists and keeps its owner and mode.
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		return fmt.Errorf("configure the server: %w", err)
	}
	return nil
}

// writeFile creates a file in the data directory.
func (s *Server) writeFile(name string, content []byte) error {
	name = filepath.Join(s.DataDir, name)
	if err := os.WriteFile(name, content, 0o600); err != nil {
		return fmt.Errorf("configure the server: %w", err)
	}
	if err := s.account.own(name); err != nil {
		return fmt.Errorf("configure the server: %w", err)
	}
	return nil
}

// DSN returns a connection string for a database, as the superuser and without
// TLS. Each of params is a further "key=value" and wins over these defaults,
// for example "sslmode=verify-full" or "user=alice".
func (s *Server) DSN(database string, params ...string) string {
	user := "postgres"
	query := url.Values{"sslmode": {"disable"}}
	for _, param := range params {
		key, value, _ := strings.Cut(param, "=")
		if key == "user" {
			user = value
			continue
		}
		query.Set(key, value)
	}
	dsn := url.URL{
		Scheme:   "postgres",
		User:     url.User(user),
		Host:     net.JoinHostPort(s.Host, strconv.Itoa(s.Port)),
		Path:     "/" + database,
		RawQuery: query.Encode(),
	}
	return dsn.String()
}

// Running reports whether the server's main process lives; a paused server
// does.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pm.running()
}

// Stop stops the server and removes its directory. It tries a fast shutdown,
// then an immediate one, then kills; once ctx has ended it kills at once. To
// stop a stopped server does nothing.
//
// On Linux the kernel shuts a server down when its owner ends without calling
// Stop, even by SIGKILL. Its directory is removed by the next process that
// starts a server. On other systems that next start ends the server, too.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil
	}
	err := s.shutdown(ctx, Fast)
	if rmErr := s.scratch.remove(); rmErr != nil {
		err = errors.Join(err, fmt.Errorf("remove the directory of PostgreSQL %s: %w", s.Version, rmErr))
	}
	s.stopped = true
	unregister(s)
	return err
}
