package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/verifierd/verifierd/internal/pglocal"
)

// settings are those of a server that holds the narrow table in its own cache,
// and that does nothing by itself while something is measured.
var settings = map[string]string{
	"shared_buffers":       "512MB",
	"fsync":                "off",
	"max_wal_size":         "32GB",
	"checkpoint_timeout":   "1h",
	"autovacuum":           "off",
	"maintenance_work_mem": "256MB",
}

const (
	source = 0
	target = 1
)

var sideNames = [2]string{"source", "target"}

// pair is the two servers.
type pair struct {
	server [2]*pglocal.Server
	// locale says what the text key is collated with on each side.
	locale [2]string
	// idle is how many processes each server has while nobody is connected.
	idle [2]int
}

func startServers(ctx context.Context, major int) (*pair, error) {
	p := &pair{}
	return p, eachSide(func(side int) error {
		s, err := pglocal.Start(ctx, pglocal.Options{Major: major, Settings: settings})
		p.server[side] = s
		return err
	})
}

// eachSide does something for both sides at once.
func eachSide(f func(side int) error) error {
	var failed [2]error
	var wg sync.WaitGroup
	for side := range failed {
		wg.Go(func() {
			if err := f(side); err != nil {
				failed[side] = fmt.Errorf("%s: %w", sideNames[side], err)
			}
		})
	}
	wg.Wait()
	return errors.Join(failed[:]...)
}

// exec runs statements, each in a transaction of its own.
func (p *pair) exec(ctx context.Context, side int, database string, statements ...string) error {
	conn, err := pgconn.Connect(ctx, p.server[side].DSN(database))
	if err != nil {
		return err
	}
	defer func() {
		closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = conn.Close(closeCtx)
		<-conn.CleanupDone() // the database may be copied next, which needs it unused
	}()
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			return fmt.Errorf("%.80s: %w", sql, err)
		}
	}
	return nil
}

// tools are the programs that are measured.
type tools struct {
	psql      string
	verifierd string
}

// findTools finds psql and builds verifierd, unless a binary is given.
func findTools(ctx context.Context, binary string) (t tools, cleanup func(), err error) {
	cleanup = func() {}
	if t.psql, err = findPSQL(); err != nil {
		return t, cleanup, err
	}
	if binary != "" {
		t.verifierd, err = filepath.Abs(binary)
		return t, cleanup, err
	}
	dir, err := os.MkdirTemp("", "verifierd-bench-*")
	if err != nil {
		return t, cleanup, err
	}
	cleanup = func() { _ = os.RemoveAll(dir) }
	t.verifierd = filepath.Join(dir, "verifierd")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", t.verifierd, "github.com/verifierd/verifierd/cmd/verifierd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		cleanup()
		return t, func() {}, fmt.Errorf("build cmd/verifierd (run this inside the checkout): %w\n%s", err, out)
	}
	return t, cleanup, nil
}

// psqlDirs are where psql is looked for after PATH. On Debian the one in PATH
// is a wrapper in Perl, whose start costs a tenth of a second; so what it would
// start is preferred.
var psqlDirs = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/libexec/postgresql*",
	"/usr/local/pgsql/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/opt/homebrew/opt/libpq/bin",
	"/usr/local/opt/postgresql@*/bin",
	"/usr/local/opt/libpq/bin",
	"/Applications/Postgres.app/Contents/Versions/*/bin",
	"/Library/PostgreSQL/*/bin",
}

func findPSQL() (string, error) {
	found := ""
	for _, dir := range psqlDirs {
		matches, _ := filepath.Glob(filepath.Join(dir, "psql")) // the patterns are constant and well-formed
		for _, m := range matches {
			if info, err := os.Stat(m); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				found = m // the last one is the newest, as a rule
			}
		}
	}
	if found != "" {
		return found, nil
	}
	if path, err := exec.LookPath("psql"); err == nil {
		return path, nil
	}
	return "", errors.New("there is no psql, which the floor is measured with, on PATH or in the usual folders: " +
		"install postgresql-client (Debian, Ubuntu), postgresql (Fedora) or libpq (Homebrew)")
}
