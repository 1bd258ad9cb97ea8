package pglocal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// StartStandby starts a hot standby that streams from primary, and returns
// when it accepts read-only connections. The primary keeps running meanwhile.
// The standby has the primary's configuration; of opts, only Settings and HBA
// count.
func StartStandby(ctx context.Context, primary *Server, opts Options) (*Server, error) {
	s, err := newServer(primary.Installation)
	if err != nil {
		return nil, err
	}
	if err := s.createStandby(ctx, primary, opts); err != nil {
		return nil, errors.Join(err, s.Stop(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (s *Server) createStandby(ctx context.Context, primary *Server, opts Options) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.backup(ctx, primary); err != nil {
		return fmt.Errorf("copy the primary on port %d: %w", primary.Port, err)
	}
	if err := s.writeFile("standby.signal", nil); err != nil {
		return err
	}
	if primary.CertFile != "" {
		s.CertFile = filepath.Join(s.DataDir, filepath.Base(primary.CertFile))
	}
	settings := map[string]string{
		"primary_conninfo": fmt.Sprintf("host=%s port=%d user=postgres", primary.Host, primary.Port),
		"hot_standby":      "on",
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

// backup copies the files of a running primary. This is the low-level protocol
// of base backups: not every set of binaries comes with pg_basebackup.
func (s *Server) backup(ctx context.Context, primary *Server) error {
	begin := "SELECT pg_catalog.pg_backup_start('standby', true)"
	end := "SELECT labelfile, spcmapfile FROM pg_catalog.pg_backup_stop(false)"
	if primary.Major < 15 {
		begin = "SELECT pg_catalog.pg_start_backup('standby', true, false)"
		end = "SELECT labelfile, spcmapfile FROM pg_catalog.pg_stop_backup(false, false)"
	}
	// A backup lasts as long as its session.
	conn, err := pgconn.Connect(ctx, primary.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := queryConn(ctx, conn, begin); err != nil {
		return err
	}
	if err := s.copyData(ctx, primary.DataDir); err != nil {
		return err
	}
	rows, err := queryConn(ctx, conn, end)
	if err != nil {
		return err
	}
	label, tablespaces := rows[0][0], rows[0][1]
	if tablespaces != "" {
		return errors.New("it has tablespaces, which would be shared with the standby")
	}
	return s.writeFile("backup_label", []byte(label))
}

// copyData copies a data directory in use, without what a standby must not
// have or gets by streaming.
func (s *Server) copyData(ctx context.Context, source string) error {
	return filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the primary goes on removing files
		}
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		if leftOut(name) {
			return nil
		}
		dest := filepath.Join(s.DataDir, name)
		switch {
		case entry.IsDir():
			err = os.Mkdir(dest, 0o700)
		case entry.Type().IsRegular():
			err = copyFile(dest, path)
		default:
			return nil
		}
		if errors.Is(err, errVanished) {
			return nil
		}
		if err != nil {
			return err
		}
		return s.account.own(dest)
	})
}

// leftOut reports whether a file of a primary is left out of the copy.
// Of some directories only the content is.
func leftOut(name string) bool {
	if name == "postmaster.pid" || name == "postmaster.opts" {
		return true
	}
	dir, _, inside := strings.Cut(name, string(filepath.Separator))
	return inside && (dir == "pg_wal" || dir == "pg_replslot" || dir == "pg_stat_tmp")
}

var errVanished = errors.New("the file vanished")

// copyFile returns errVanished if the source does not exist.
func copyFile(dest, source string) error {
	from, err := os.Open(source)
	if errors.Is(err, fs.ErrNotExist) {
		return errVanished
	}
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := os.OpenFile(dest, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}
