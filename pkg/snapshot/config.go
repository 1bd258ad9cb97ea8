// Package snapshot reads one PostgreSQL database at one MVCC snapshot: its
// catalog, its rows as digests, and single rows again by their keys.
//
// It only ever reads. Each connection runs in a read-only transaction whose
// settings are pinned with SET LOCAL, so that neither the role's nor the
// database's settings leak into values or plans, and nothing outlives the
// transaction behind a connection pooler.
package snapshot

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// ReadMode says how tables are streamed.
type ReadMode string

// The read modes.
const (
	// Fast reads block ranges of one table on many connections. Such reads do
	// not use the server's ring buffer: they displace its cache.
	Fast ReadMode = "fast"
	// Gentle reads tables above a quarter of shared_buffers in one scan a
	// member, which leaves the server's cache intact.
	Gentle ReadMode = "gentle"
)

// Config says how one side is read. Zero fields take the defaults named.
type Config struct {
	// ConnString is a libpq connection string: a URI or keywords. PG*
	// variables, service files and .pgpass apply as in libpq.
	ConnString string
	// Workers is the number of connections that read rows. One more holds the
	// snapshot, and one a second snapshot while rows are read again.
	// Default: DefaultWorkers.
	Workers int
	// Read is the read mode. Default: Fast.
	Read ReadMode
	// Seed seeds the row hashes; it must be the same on both sides, not 0.
	Seed uint64
	// MaxRate bounds what is read, in bytes a second. 0: unbounded.
	MaxRate int64
	// LockTimeout bounds how long a table's lock is waited for, while the
	// server's other sessions queue behind the request. Default: 2 s.
	LockTimeout time.Duration
	// StallTimeout ends a read that brings no byte for so long. Default: 60 s.
	StallTimeout time.Duration
	// ConnectTimeout bounds connecting, unless the connection string does.
	// Default: 10 s.
	ConnectTimeout time.Duration
	// ChunkBytes is the size of a block range. Default: 32 MiB.
	ChunkBytes int64
}

// DefaultWorkers is the default number of reading connections a side.
func DefaultWorkers() int { return min(4, max(3, runtime.NumCPU()/2)) }

func (c Config) withDefaults() Config {
	setDefault(&c.Workers, DefaultWorkers())
	setDefault(&c.Read, Fast)
	setDefault(&c.LockTimeout, 2*time.Second)
	setDefault(&c.StallTimeout, time.Minute)
	setDefault(&c.ConnectTimeout, 10*time.Second)
	setDefault(&c.ChunkBytes, 32<<20)
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (c Config) validate() error {
	switch {
	case c.Workers < 1:
		return fmt.Errorf("workers: %d, want at least 1", c.Workers)
	case c.Read != Fast && c.Read != Gentle:
		return fmt.Errorf("read mode %q: want %s or %s", c.Read, Fast, Gentle)
	case c.Seed == 0:
		return errors.New("seed: must not be 0")
	case c.MaxRate < 0:
		return fmt.Errorf("max rate: %d bytes/s, want 0 or more", c.MaxRate)
	}
	return nil
}

// parse turns the connection string into pgconn's form. pgconn redacts
// passwords in its errors.
func (c Config) parse() (*pgconn.Config, error) {
	pc, err := pgconn.ParseConfig(c.ConnString)
	if err != nil {
		return nil, err
	}
	if pc.ConnectTimeout == 0 {
		pc.ConnectTimeout = c.ConnectTimeout
	}
	if pc.RuntimeParams["application_name"] == "" {
		pc.RuntimeParams["application_name"] = "verifierd"
	}
	// Names are read before the first transaction, whose settings are ours.
	pc.RuntimeParams["client_encoding"] = "UTF8"
	// Other session settings would outlive us behind a pooler, and a pooler refuses
	// the options parameter; everything is set in the transaction instead.
	return pc, nil
}
